"""The command line: every flag's bad forms, who goes first, what does not fit together."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from dtf_trainer.flags import FLAGS, FlagErrors, TaskConfig, env_name, help_text, is_address, parse

WORKER = ["--job_name=worker", "--ps_hosts=a:1", "--worker_hosts=b:1,c:1,d:1"]


def problems(argv: list[str], environ: dict[str, str] | None = None) -> list[str]:
    """Return what is wrong with a command line that must be refused."""
    with pytest.raises(FlagErrors) as caught:
        parse(argv, environ or {})
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_defaults() -> None:
    config = parse(WORKER, {})
    assert (config.hidden_units, config.batch_size, config.learning_rate, config.train_steps) == (100, 20, 0.001, 0)
    assert (config.profile, config.communication_interval, config.sync_replicas) == ("fast", 1, False)
    assert (config.dataset, config.data_dir) == ("mnist", str(Path.home() / ".cache/dtf/data"))
    assert (config.run_id, config.attempt, config.task_index) == ("local", 0, 0)
    assert config.replicas_to_aggregate is None
    assert config.is_chief
    with pytest.raises(FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]


GOOD = {
    "job_name": ("worker", "worker"),
    "task_index": ("2", 2),
    "task_index_offset": ("1", 1),
    "ps_hosts": ("x:1,[::1]:65535", ("x:1", "[::1]:65535")),
    "worker_hosts": ("b:1, c.example.org:2,10.0.0.3:3", ("b:1", "c.example.org:2", "10.0.0.3:3")),
    "existing_servers": ("1", True),
    "dataset": ("fashion_mnist", "fashion_mnist"),
    "data_dir": ("/data", "/data"),
    "data_source": ("https://mirror/mnist", "https://mirror/mnist"),
    "download_only": ("TRUE", True),
    "verify_only": ("false", False),
    "hidden_units": ("1000", 1000),
    "batch_size": ("64", 64),
    "learning_rate": ("1e-3", 0.001),
    "train_steps": ("2000", 2000),
    "seed": ("7", 7),
    "sync_replicas": ("true", True),
    "replicas_to_aggregate": ("2", 2),
    "profile": ("thesis", "thesis"),
    "communication_interval": ("10", 10),
    "num_gpus": ("1", 1),
    "gpu_interval_seconds": ("0", 0.0),
    "log_device_placement": ("0", False),
    "log_dir": ("/l", "/l"),
    "summary_interval": ("5", 5),
    "evaluation_interval": ("50", 50),
    "progress_interval_seconds": ("0.5", 0.5),
    "checkpoint_dir": ("/c", "/c"),
    "checkpoint_interval_seconds": ("2", 2.0),
    "resume_checkpoint": ("/c/checkpoint.npz", "/c/checkpoint.npz"),
    "resume_run_id": ("other.run-1", "other.run-1"),
    "resume_candidates": ("b=/c/b.npz,a=/c/a.npz", (("b", "/c/b.npz"), ("a", "/c/a.npz"))),
    "export_dir": ("~/e", str(Path.home() / "e")),
    "peer_timeout_seconds": ("1.5", 1.5),
    "run_id": ("a.B_c-9", "a.B_c-9"),
    "attempt": ("3", 3),
    "attempt_file": ("/tmp/attempt", "/tmp/attempt"),
    "idle_when_done": ("true", True),
    "done_file": ("/tmp/done", "/tmp/done"),
    "finished_file": ("/etc/dtf/finished", "/etc/dtf/finished"),
}
"""An accepted text of each flag and what it means."""

FITTING = {
    "replicas_to_aggregate": ["--sync_replicas"],
    "resume_checkpoint": ["--resume_run_id=r"],
    "done_file": ["--idle_when_done"],
    "finished_file": ["--idle_when_done"],
}
"""What a flag needs beside it."""

BAD = {
    "job_name": ["boss", "PS", "worker "],
    "task_index": ["-1", "one", "1.0", "0x1", "", "1_0", "9" * 30],
    "task_index_offset": ["-1", "first"],
    "ps_hosts": ["a", "a:", "a:0", "a:65536", ":1", "a:1,", "a:1;b:2", "a b:1", "http://a:1", "::1:5", "-a:1", ""],
    "worker_hosts": ["a:one", "a:1,,b:1", "a:-1", "a/b:1"],
    "existing_servers": ["yes", "2", ""],
    "dataset": ["cifar", "MNIST", ""],
    "data_dir": [""],
    "data_source": [""],
    "download_only": ["on"],
    "verify_only": ["no"],
    "hidden_units": ["0", "-5", "many", "1e3", ""],
    "batch_size": ["0", "zero", "2.5"],
    "learning_rate": ["0", "-0.1", "nan", "inf", "1e999", "fast", "", "e"],
    "train_steps": ["-1", "all", "1.5"],
    "seed": ["-1", "x"],
    "sync_replicas": ["async"],
    "replicas_to_aggregate": ["0", "all"],
    "profile": ["slow", "FAST"],
    "communication_interval": ["0", "-1", "often"],
    "num_gpus": ["-1", "all"],
    "gpu_interval_seconds": ["-1", "often", "nan", ""],
    "log_device_placement": ["maybe"],
    "log_dir": [""],
    "summary_interval": ["0", "x"],
    "evaluation_interval": ["-1", "x"],
    "progress_interval_seconds": ["0", "-1", "x", "infinity"],
    "checkpoint_dir": [""],
    "checkpoint_interval_seconds": ["0", "1s"],
    "resume_checkpoint": [""],
    "resume_run_id": ["a/b", ""],
    "resume_candidates": ["", "a", "a=", "=/c", "a b=/c", "a=/c,", "a=/c,b"],
    "export_dir": [""],
    "peer_timeout_seconds": ["0", "-3", "1m"],
    "run_id": ["", "a b", "ü", "../x", "x" * 65],
    "attempt": ["-1", "first"],
    "attempt_file": [""],
    "idle_when_done": ["stay"],
    "done_file": [""],
    "finished_file": [""],
}


def test_the_tables_are_complete() -> None:
    assert set(GOOD) == set(BAD) == set(FLAGS)


@pytest.mark.parametrize("name", FLAGS)
def test_good_form(name: str) -> None:
    text, meaning = GOOD[name]
    base = [word for word in WORKER if not word.startswith(f"--{name}=")]
    beside = FITTING.get(name, [])
    spellings = ([f"--{name}", text], [f"--{name}={text}"], [f"--{name.replace('_', '-')}", text])
    for spelling in spellings:
        assert getattr(parse([*base, *beside, *spelling], {}), name) == meaning
    assert getattr(parse([*base, *beside], {env_name(name): text}), name) == meaning


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_bad_form(name: str, text: str) -> None:
    base = [word for word in WORKER if not word.startswith(f"--{name}=")]
    found = problems([*base, f"--{name}={text}"])
    assert len(found) == 1, "one mistake, one problem"
    assert found[0].startswith(f"--{name}: {text!r} is not accepted; expected ")
    assert FLAGS[name].metadata["kind"].accepted in found[0]
    if text:
        (line,) = problems(base, {env_name(name): text})
        assert line.startswith(f"{env_name(name)}: {text!r} is not accepted")


def test_every_problem_at_once() -> None:
    found = problems(
        ["--batch_size=zero", "--wrokers", "3", "stray", "--ps_hosts", "--hidden-units", "0", "--seed"],
        {"PROFILE": "slow", "WORKER_HOSTS": "b:1,b:1"},
    )
    assert found == [
        "--wrokers: not a flag of this program; --help lists them",
        "stray: not a flag of this program; --help lists them",
        "--ps_hosts: has no value; expected host:port[,host:port…]",
        "--seed: has no value; expected a whole number, 0 or more",
        "PROFILE: 'slow' is not accepted; expected one of fast, thesis",
        "--batch_size: 'zero' is not accepted; expected a whole number, 1 or more",
        "--hidden_units: '0' is not accepted; expected a whole number, 1 or more",
        "--job_name (JOB_NAME): has no value; expected one of ps, worker",
        "--ps_hosts (PS_HOSTS): has no value; expected host:port[,host:port…]",
        "--ps_hosts, --worker_hosts: 'b:1' stands there more than once; expected an address for each task",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--download_only", "--verify_only"], "--download_only and --verify_only: give one of them"),
        (WORKER[1:], "--job_name (JOB_NAME): has no value"),
        (["--job_name=ps", "--worker_hosts=b:1"], "--ps_hosts (PS_HOSTS): has no value"),
        (["--job_name=ps", "--ps_hosts=b:1"], "--worker_hosts (WORKER_HOSTS): has no value"),
        (["--job_name=ps", "--ps_hosts=b:1", "--worker_hosts=a:1,b:1"], "'b:1' stands there more than once"),
        ([*WORKER, "--task_index=3"], "--task_index: 3 is not accepted; expected 0 to 2"),
        (["--job_name=ps", *WORKER[1:], "--task_index=1"], "--task_index: 1 is not accepted; expected 0 to 0"),
        ([*WORKER, "--replicas_to_aggregate=2"], "has no meaning without --sync_replicas"),
        ([*WORKER, "--sync_replicas", "--replicas_to_aggregate=4"], "--replicas_to_aggregate: 4 is not accepted"),
        ([*WORKER, "--profile=thesis", "--communication_interval=2"], "expected 1 with --profile thesis"),
        ([*WORKER, "--resume_checkpoint=/c"], "--resume_run_id: has no value"),
        (
            [*WORKER, "--resume_checkpoint=/c", "--resume_run_id=r", "--resume_candidates=r=/c"],
            "--resume_checkpoint and --resume_candidates: give one",
        ),
        ([*WORKER, "--done_file=/d"], "--done_file: has no meaning without --idle_when_done"),
        ([*WORKER, "--finished_file=/d"], "--finished_file: has no meaning without --idle_when_done"),
    ],
)
def test_what_does_not_fit_together(argv: list[str], message: str) -> None:
    (found,) = problems(argv)
    assert message in found


@pytest.mark.parametrize(
    ("argv", "environ", "index"),
    [
        ([], {"TASK_INDEX": "1"}, 1),
        ([], {"TASK_INDEX": "1", "POD_NAME": "training-worker-2"}, 2),
        ([], {"POD_NAME": "training-worker-2", "JOB_COMPLETION_INDEX": "0"}, 0),
        (["--task_index=1"], {"POD_NAME": "training-worker-2", "JOB_COMPLETION_INDEX": "0"}, 1),
        ([], {"POD_NAME": "training-worker-0-x7k2p", "TASK_INDEX": "2"}, 2),
        ([], {"JOB_COMPLETION_INDEX": "", "TASK_INDEX": "2"}, 2),
    ],
)
def test_whose_task_index_counts(argv: list[str], environ: dict[str, str], index: int) -> None:
    assert parse([*WORKER, *argv], environ).task_index == index


@pytest.mark.parametrize(
    ("argv", "environ", "index"),
    [
        ([], {"JOB_COMPLETION_INDEX": "1"}, 2),
        ([], {"POD_NAME": "training-worker-1"}, 2),
        # An index that somebody chose for this very task is not counted on.
        (["--task_index=1"], {"JOB_COMPLETION_INDEX": "1"}, 1),
        ([], {"TASK_INDEX": "1"}, 1),
    ],
)
def test_an_offset_is_added_to_what_the_platform_counts(argv: list[str], environ: dict[str, str], index: int) -> None:
    assert parse([*WORKER, *argv], {**environ, "DTF_TASK_INDEX_OFFSET": "1"}).task_index == index


def test_a_bad_completion_index_is_named() -> None:
    assert problems(WORKER, {"JOB_COMPLETION_INDEX": "two"}) == [
        "JOB_COMPLETION_INDEX: 'two' is not accepted; expected a whole number, 0 or more"
    ]


def test_environment_of_the_original_program() -> None:
    environ = {"PS_HOSTS": "p:1", "WORKER_HOSTS": "w:1,w:2", "JOB_NAME": "worker", "POD_NAME": "w-1", "BATCH_SIZE": "5"}
    config = parse(["--batch_size=6"], environ)
    assert (config.job_name, config.task_index, config.is_chief) == ("worker", 1, False)
    assert (config.ps_hosts, config.worker_hosts, config.batch_size) == (("p:1",), ("w:1", "w:2"), 6)


def test_run_and_attempt_come_from_their_own_variables() -> None:
    config = parse(WORKER, {"DTF_RUN_ID": "r7", "DTF_ATTEMPT": "2", "RUN_ID": "no", "ATTEMPT": "9"})
    assert (config.run_id, config.attempt) == ("r7", 2)


@pytest.mark.parametrize("flag", ["--download_only", "--verify-only"])
def test_the_data_step_needs_no_peers(flag: str) -> None:
    config = parse([flag], {})
    assert not config.needs_peers
    assert not config.is_chief


@pytest.mark.parametrize(
    ("words", "meaning"),
    [(["--sync_replicas"], True), (["--sync_replicas", "0"], False), (["--sync-replicas=False"], False)],
)
def test_booleans(words: list[str], meaning: bool) -> None:
    assert parse([*words, *WORKER], {}).sync_replicas is meaning


def test_the_last_of_a_repeated_flag_counts() -> None:
    assert parse([*WORKER, "--seed=1", "--seed=2"], {}).seed == 2


def test_help_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {})
    assert caught.value.code == 0
    assert capsys.readouterr().out == help_text() + "\n"
    for name in FLAGS:
        assert f"\n  --{name}\n" in help_text()
        assert env_name(name) in help_text()
    assert str(Path.home()) not in help_text(), "the text is the same on every machine"


@pytest.mark.parametrize("text", ["[fe80::1%eth0]:80", "a_b:1", "worker-0.svc.cluster.local.:9000"])
def test_addresses_of_real_clusters(text: str) -> None:
    assert is_address(text)


def test_a_config_can_be_made_by_hand() -> None:
    assert TaskConfig(job_name="worker", task_index=0).is_chief
    assert not TaskConfig(job_name="ps", task_index=0).is_chief


def test_reading_flags_and_data_imports_the_standard_library_only() -> None:
    """A wrong flag is refused at once, on a machine without NumPy, too."""
    program = (
        "import sys\n"
        "from dtf_trainer import datasets, events, exit_codes, fetch, flags\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'tensorflow'}))"
    )
    trainer = Path(__file__).resolve().parents[3] / "trainer"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=trainer, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
