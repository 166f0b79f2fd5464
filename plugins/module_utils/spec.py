# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The topology a user asks for: its parts, their defaults, their checks.

:func:`Topology.from_params` is total: it reads whatever was given, converts what has one meaning (``"8"`` is 8) and
raises :class:`InvalidInput` with *every* problem. A ``Topology`` that exists is valid.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TypedDict

from .errors import InvalidInput, Problem
from .reader import Reader
from .spec_kubernetes import Kubernetes, read_kubernetes, read_resources

NAME_PATTERN = r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADDRESS_PATTERN = rf"{_LABEL}(\.{_LABEL})*"
DATASETS = ("mnist", "fashion_mnist", "custom")
PROFILES = ("fast", "thesis")
RUNTIMES = ("process", "kubernetes")


@dataclass(frozen=True)
class Host:
    """A machine that runs tasks: its inventory name and the address its peers reach it by."""

    name: str
    address: str


@dataclass(frozen=True)
class TaskGroup:
    """All tasks of one role.

    Attributes:
        replicas: number of tasks.
        port: task ``i`` on a host listens on ``port + i``.
        memory_mb: what one task is expected to need, checked against the host before it starts (MiB).
        gpus: devices a worker may use on its host; 0 is CPU only.
        resources: Kubernetes' ``{requests, limits}`` of one task, laid over what follows from ``memory_mb`` and
            ``gpus``; only with runtime ``kubernetes``.
    """

    replicas: int
    port: int
    memory_mb: int
    gpus: int = 0
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


DEFAULT_PS = TaskGroup(replicas=1, port=8000, memory_mb=700)
DEFAULT_WORKERS = TaskGroup(replicas=2, port=9000, memory_mb=1000)


@dataclass(frozen=True)
class Training:
    """What is trained and how; each field is the trainer's flag of the same meaning."""

    dataset: str = "mnist"
    steps: int = 2000
    hidden_units: int = 100
    batch_size: int = 20
    learning_rate: float = 0.001
    sync: bool = False
    replicas_to_aggregate: int | None = None
    communication_interval: int = 1
    profile: str = "fast"
    seed: int = 0
    evaluation_interval: int = 0
    summary_interval: int = 100


@dataclass(frozen=True)
class Lifecycle:
    """How the tasks are kept alive and ended; may change while a training runs.

    Attributes:
        restart_limit: how often one task is started again before the run fails.
        restart_backoff_seconds: wait before the first restart; it doubles with each further one, up to 30 s.
        checkpoint_interval_seconds: how much training a lost chief may cost.
        peer_timeout_seconds: how long a task waits for a peer before it gives up and is restarted.
        stop_grace_seconds: time between SIGTERM and SIGKILL.
        lease_seconds: without a waiting controller for so long the run is checkpointed and stopped; 0 is never.
    """

    restart_limit: int = 5
    restart_backoff_seconds: float = 1.0
    checkpoint_interval_seconds: float = 30.0
    peer_timeout_seconds: float = 60.0
    stop_grace_seconds: float = 10.0
    lease_seconds: float = 0.0


@dataclass(frozen=True)
class Topology:
    """One training spread over hosts: the complete specification.

    Attributes:
        name: unique among the topologies below one ``root``.
        owner: who asked for it; a topology of another owner is never taken over.
        hosts: machines in the order in which tasks are dealt to them; the first runs the chief. None with runtime
            ``kubernetes``, whose scheduler deals.
        python: interpreter on the hosts that can run ``python -m dtf_trainer``; empty with runtime ``kubernetes``.
        data_dir: the data set's files on the hosts, or in the containers.
        root: directory on the hosts below which topologies keep their state; empty with runtime ``kubernetes``.
        run_label: a new label asks for a fresh training that continues nothing.
    """

    name: str
    hosts: tuple[Host, ...]
    python: str
    data_dir: str
    root: str
    runtime: str = "process"
    owner: str = "site"
    run_label: str = ""
    ps: TaskGroup = DEFAULT_PS
    workers: TaskGroup = DEFAULT_WORKERS
    training: Training = field(default_factory=Training)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    kubernetes: Kubernetes | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, object]) -> Topology:
        """Read a topology from module arguments or from a stored document.

        Args:
            params: nested mapping with the names of this class's fields; what is missing or ``None`` is the default.

        Raises:
            InvalidInput: with every problem found.
        """
        reader = Reader()
        topology = _read_topology(reader, params)
        reader.problems.extend(_cross_checks(topology, {problem.field for problem in reader.problems}))
        if reader.problems:
            raise InvalidInput("topology", reader.problems)
        return topology

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values; ``from_params`` reads them back to an equal topology."""
        document = asdict(self)
        document["hosts"] = [asdict(host) for host in self.hosts]
        if self.kubernetes is None:
            # What a process has no use for is not in its document, so that one of an earlier version means the same.
            del document["kubernetes"], document["ps"]["resources"], document["workers"]["resources"]
        else:
            document["kubernetes"] = _plain(document["kubernetes"])
        return document

    def defining(self) -> dict[str, object]:
        """Return the part of the spec that makes a run what it is: all but lifecycle and bookkeeping of memory."""
        document = self.as_dict()
        del document["lifecycle"]
        for group in ("ps", "workers"):
            del document[group]["memory_mb"]  # type: ignore[attr-defined]
        if self.kubernetes is not None:
            # When a change is taken back, and when its objects go, says nothing of what runs.
            for name in ("first_step_timeout_seconds", "ttl_seconds_after_finished"):
                del document["kubernetes"][name]  # type: ignore[attr-defined]
        return document

    def spec_hash(self) -> str:
        """Return a short stable digest of :meth:`defining`."""
        canonical = json.dumps(self.defining(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]

    def with_workers(self, replicas: int) -> Topology:
        """Return the same topology with another number of workers."""
        return replace(self, workers=replace(self.workers, replicas=replicas))


def _read_topology(reader: Reader, params: Mapping[str, object]) -> Topology:
    known = [item.name for item in fields(Topology)]
    given = reader.mapping("", params, known)
    runtime = reader.choice("runtime", given.get("runtime", "process"), RUNTIMES)
    place = {"process": _read_place_on_hosts, "kubernetes": _read_place_in_cluster}[runtime](reader, given)
    return Topology(
        name=reader.text(
            "name", given.get("name"), NAME_PATTERN, "1 to 40 lower-case letters, digits and inner hyphens", "invalid"
        ),
        runtime=runtime,
        owner=reader.text("owner", given.get("owner", "site"), r"\S(.{0,78}\S)?", "1 to 80 characters", "site"),
        run_label=reader.text(
            "run_label", given.get("run_label", ""), r"\S{0,80}", "up to 80 characters, no space", ""
        ),
        ps=_read_group(reader, "ps", given.get("ps"), DEFAULT_PS, runtime),
        workers=_read_group(reader, "workers", given.get("workers"), DEFAULT_WORKERS, runtime),
        training=_read_training(reader, given.get("training")),
        lifecycle=_read_lifecycle(reader, given.get("lifecycle")),
        **place,
    )


class _Place(TypedDict, total=False):
    hosts: tuple[Host, ...]
    python: str
    data_dir: str
    root: str
    kubernetes: Kubernetes


def _read_place_on_hosts(reader: Reader, given: Mapping[str, object]) -> _Place:
    path = r"[/~].*"
    path_form = "an absolute path, or one that starts with ~"
    if "kubernetes" in given:
        reader.problem("kubernetes", given["kubernetes"], "nothing, with runtime process")
    return {
        "hosts": _read_hosts(reader, given.get("hosts")),
        "python": reader.text("python", given.get("python"), path, path_form, "/"),
        "data_dir": reader.text("data_dir", given.get("data_dir"), path, path_form, "/"),
        "root": reader.text("root", given.get("root"), path, path_form, "/"),
    }


def _read_place_in_cluster(reader: Reader, given: Mapping[str, object]) -> _Place:
    training = given.get("training")
    dataset = training.get("dataset") if isinstance(training, Mapping) else None
    default = f"/data/{dataset or Training.dataset}"
    form = "an absolute path in the container"
    return {
        "hosts": (),
        "python": "",
        "data_dir": reader.text("data_dir", given.get("data_dir") or default, r"/.*", form, "/"),
        "root": "",
        "kubernetes": read_kubernetes(reader, given.get("kubernetes")),
    }


def _plain(value: object) -> object:
    """Return a value with its tuples as lists, as JSON would give it back."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _read_hosts(reader: Reader, value: object) -> tuple[Host, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        reader.problem("hosts", value, "a list of at least one {name, address}")
        return ()
    hosts = []
    for position, entry in enumerate(value):
        where = f"hosts[{position}]"
        given = reader.mapping(where, entry, ("name", "address"))
        hosts.append(
            Host(
                name=reader.text(where + ".name", given.get("name"), r"\S+", "an inventory host name", "host"),
                address=reader.text(
                    where + ".address",
                    given.get("address"),
                    ADDRESS_PATTERN,
                    "an IPv4 address or a DNS name",
                    "127.0.0.1",
                ),
            )
        )
    return tuple(hosts)


def _read_group(reader: Reader, name: str, value: object, default: TaskGroup, runtime: str) -> TaskGroup:
    given = reader.mapping(name, value, [item.name for item in fields(TaskGroup)])
    return TaskGroup(
        replicas=reader.integer(name + ".replicas", given.get("replicas", default.replicas), 1, 1000),
        port=reader.integer(name + ".port", given.get("port", default.port), 1, 65535),
        memory_mb=reader.integer(name + ".memory_mb", given.get("memory_mb", default.memory_mb), 0, 16777216),
        gpus=reader.integer(name + ".gpus", given.get("gpus", default.gpus), 0, 64),
        resources=read_resources(reader, name + ".resources", given.get("resources"), runtime),
    )


def _read_training(reader: Reader, value: object) -> Training:
    default = Training()
    given = reader.mapping("training", value, [item.name for item in fields(Training)])

    def take(name: str) -> object:
        return given.get(name, getattr(default, name))

    aggregate = given.get("replicas_to_aggregate")
    return Training(
        dataset=reader.choice("training.dataset", take("dataset"), DATASETS),
        steps=reader.integer("training.steps", take("steps"), 0, 10**12),
        hidden_units=reader.integer("training.hidden_units", take("hidden_units"), 1, 10**6),
        batch_size=reader.integer("training.batch_size", take("batch_size"), 1, 60000),
        learning_rate=reader.number("training.learning_rate", take("learning_rate"), 0, 100, above=True),
        sync=reader.boolean("training.sync", take("sync")),
        replicas_to_aggregate=None
        if aggregate is None
        else reader.integer("training.replicas_to_aggregate", aggregate, 1, 1000),
        communication_interval=reader.integer(
            "training.communication_interval", take("communication_interval"), 1, 10**6
        ),
        profile=reader.choice("training.profile", take("profile"), PROFILES),
        seed=reader.integer("training.seed", take("seed"), 0, 2**31 - 1),
        evaluation_interval=reader.integer("training.evaluation_interval", take("evaluation_interval"), 0, 10**12),
        summary_interval=reader.integer("training.summary_interval", take("summary_interval"), 1, 10**12),
    )


def _read_lifecycle(reader: Reader, value: object) -> Lifecycle:
    default = Lifecycle()
    given = reader.mapping("lifecycle", value, [item.name for item in fields(Lifecycle)])

    def seconds(name: str, minimum: float, maximum: float, above: bool = False) -> float:
        return reader.number("lifecycle." + name, given.get(name, getattr(default, name)), minimum, maximum, above)

    return Lifecycle(
        restart_limit=reader.integer(
            "lifecycle.restart_limit", given.get("restart_limit", default.restart_limit), 0, 10**6
        ),
        restart_backoff_seconds=seconds("restart_backoff_seconds", 0, 30),
        checkpoint_interval_seconds=seconds("checkpoint_interval_seconds", 0, 10**6, above=True),
        peer_timeout_seconds=seconds("peer_timeout_seconds", 0, 10**6, above=True),
        stop_grace_seconds=seconds("stop_grace_seconds", 0, 3600, above=True),
        lease_seconds=seconds("lease_seconds", 0, 10**6),
    )


def _cross_checks(topology: Topology, doubtful: Collection[str]) -> list[Problem]:
    """Return the problems that only several fields together show.

    A doubtful field has a problem of its own and stands at a value that nobody gave: nothing is concluded from it.
    """

    def is_doubtful(name: str) -> bool:
        return any(field.startswith(name) or name.startswith(field + ".") for field in doubtful)

    found = [
        *_host_problems(topology.hosts),
        *_port_problems(topology),
        *_training_problems(topology),
        *_cluster_problems(topology),
    ]
    return [problem for names, problem in found if not any(map(is_doubtful, names))]


def _host_problems(hosts: Sequence[Host]) -> Iterator[tuple[tuple[str, ...], Problem]]:
    """Yield the fields concerned and the problem; so do the two below."""
    names, addresses = [host.name for host in hosts], [host.address for host in hosts]
    if len(set(names)) < len(names):
        yield ("hosts",), Problem("hosts", names, "each host once")
    if len(set(addresses)) < len(addresses):
        yield ("hosts",), Problem("hosts", addresses, "an address of its own for each host")


def _port_problems(topology: Topology) -> Iterator[tuple[tuple[str, ...], Problem]]:
    if topology.runtime != "process":
        # Every pod has an address of its own.
        return
    ps, workers = topology.ps, topology.workers
    for name, group in (("ps", ps), ("workers", workers)):
        if group.port + group.replicas - 1 > 65535:
            accepted = "port + replicas - 1 at most 65535"
            yield (name + ".port", name + ".replicas"), Problem(name + ".port", group.port, accepted)
    low, high = sorted((ps, workers), key=lambda group: group.port)
    if low.port + low.replicas > high.port:
        concerned = ("ps.port", "ps.replicas", "workers.port", "workers.replicas")
        accepted = f"ranges that do not overlap ({ps.replicas} ps and {workers.replicas} workers, one port a task)"
        yield concerned, Problem("ps.port, workers.port", (ps.port, workers.port), accepted)


def _training_problems(topology: Topology) -> Iterator[tuple[tuple[str, ...], Problem]]:
    training, workers = topology.training, topology.workers.replicas
    if topology.ps.gpus:
        yield ("ps.gpus",), Problem("ps.gpus", topology.ps.gpus, "0: a parameter server uses no GPU")
    name, aggregate = "training.replicas_to_aggregate", training.replicas_to_aggregate
    if aggregate is not None and not training.sync:
        yield (name, "training.sync"), Problem(name, aggregate, "only with training.sync")
    if aggregate is not None and training.sync and aggregate > workers:
        accepted = f"at most workers.replicas ({workers})"
        yield (name, "training.sync", "workers.replicas"), Problem(name, aggregate, accepted)
    name, interval = "training.communication_interval", training.communication_interval
    if training.profile == "thesis" and interval > 1:
        accepted = "1 with profile thesis, which exchanges gradients on every step"
        yield (name, "training.profile"), Problem(name, interval, accepted)


def _cluster_problems(topology: Topology) -> Iterator[tuple[tuple[str, ...], Problem]]:
    kubernetes = topology.kubernetes
    if kubernetes is None:
        return
    if topology.name[0].isdigit():
        accepted = "a name that begins with a letter with runtime kubernetes, whose Services must"
        yield ("name",), Problem("name", topology.name, accepted)
    name, lease = "lifecycle.lease_seconds", topology.lifecycle.lease_seconds
    if lease:
        accepted = "0 with runtime kubernetes, whose runs go on without Ansible; there is active_deadline_seconds"
        yield (name,), Problem(name, lease, accepted)
    if kubernetes.backend == "statefulset":
        for name, value in (
            ("kubernetes.ttl_seconds_after_finished", kubernetes.ttl_seconds_after_finished),
            ("kubernetes.active_deadline_seconds", kubernetes.active_deadline_seconds),
        ):
            if value is not None:
                accepted = "nothing with backend statefulset: only Jobs have it"
                yield (name, "kubernetes.backend"), Problem(name, value, accepted)
