"""Everything that knows TensorFlow's distributed runtime: servers, sessions, devices, and what the ps hold.

All state that tasks share lives on the parameter servers, in resource variables and queues with fixed names
(:class:`SharedState`): any task finds them again after a restart, and none depends on another task's graph.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .lifecycle import PeerLost
from .model import parameter_shapes
from .placement import by_size, round_robin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from .events import Emit
    from .flags import TaskConfig
    from .tf_api import Api, Graph, Server, Session, Tensor, Untyped

POLL_SECONDS: Final = 0.05
WAITING_SECONDS: Final = 3.0
"""How long a peer may be silent until its absence is worth a word: longer than tasks that start together differ."""

PACK_BYTES: Final = 256 * 1024
"""Tensors up to this size that go the same way travel in one message."""

ADAM_STEP: Final = "adam_step"
WORKER_STEPS: Final = "worker_steps"
CARRIED_STEPS: Final = "carried_steps"
Values = dict[str, "NDArray[Any]"]
"""Values of shared variables by name."""


def slot_names(parameter: str) -> tuple[str, str]:
    """Return the names of Adam's two slots (mean, variance) of ``parameter``."""
    return f"{parameter}/adam_m", f"{parameter}/adam_v"


def ps_device(index: int) -> str:
    """Return the device on which ps ``index`` keeps its variables."""
    return f"/job:ps/task:{index}/device:CPU:0"


def worker_device(config: TaskConfig) -> str:
    """Return the device on which this worker computes: its share of the GPUs if it has any, else its CPU."""
    name = f"/job:worker/task:{config.task_index}"
    return f"{name}/device:GPU:{config.task_index % config.num_gpus}" if config.num_gpus else f"{name}/device:CPU:0"


def session_config(api: Api, config: TaskConfig) -> Untyped:
    """Return the ``ConfigProto`` of a task's server and of its sessions.

    In the fast profile one thread does the work of a task: steps are small, and threads that look for work cost more
    than they do. The device filter keeps workers from waiting for, and failing with, each other. A worker's GPU memory
    grows as needed, operations without a GPU version fall back to the CPU, and a ps sees no GPU.
    """
    proto = api.ConfigProto(log_device_placement=config.log_device_placement, allow_soft_placement=config.num_gpus > 0)
    if config.profile == "fast":
        proto.intra_op_parallelism_threads = 1
        proto.inter_op_parallelism_threads = 1
        # Our graphs are written in the form the optimizer would give them, and it costs start-up time.
        proto.graph_options.rewrite_options.disable_meta_optimizer = True
    if config.job_name == "ps" or not config.num_gpus:
        proto.device_count["GPU"] = 0
    else:
        proto.gpu_options.allow_growth = True
    me = f"/job:{config.job_name}/task:{config.task_index}"
    proto.device_filters.extend([me] if config.job_name == "ps" else ["/job:ps", me])
    return proto


def start_server(api: Api, config: TaskConfig) -> Server:
    """Start this task's server on its own address. It serves until the process ends.

    Raises :class:`PeerLost` if another process listens there: gRPC would share the port with it without a word.
    """
    addresses = config.ps_hosts if config.job_name == "ps" else config.worker_hosts
    require_free_port(addresses[config.task_index])
    definition = api.ServerDef(job_name=config.job_name, task_index=config.task_index, protocol="grpc")
    for job, hosts in (("ps", config.ps_hosts), ("worker", config.worker_hosts)):
        entry = definition.cluster.job.add()
        entry.name = job
        for index, address in enumerate(hosts):
            entry.tasks[index] = address
    definition.default_session_config.CopyFrom(session_config(api, config))
    server: Server = api.Server(definition)
    return server


def require_free_port(address: str) -> None:
    """Raise :class:`PeerLost` if a process of this machine listens on the port of ``address``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(address.rpartition(":")[2])))
        except OSError as problem:
            raise PeerLost(f"the port of {address} is taken by another process: {problem}") from problem


def wait_for_listeners(
    addresses: Iterable[str], deadline: float, emit: Emit, *, clock: Callable[[], float] = time.monotonic
) -> None:
    """Return as soon as every ``host:port`` accepts a connection.

    Asked for by plain sockets, because TensorFlow's own connections wait ever longer between two attempts. Names that
    do not resolve yet count as not there yet. An address that lets itself be waited for is told of once, and once more
    when it answers. Raises :class:`PeerLost` at ``deadline`` (of ``clock``).
    """
    started = clock()
    for address in addresses:
        host, _, port = address.rpartition(":")
        absence = Absence(address, emit, clock=clock)
        while True:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
                break
            except OSError as problem:
                now = clock()
                if now >= deadline:
                    raise PeerLost(f"ps {address} not reached in {now - started:.0f} s: {problem}") from problem
                absence.goes_on(now, str(problem))
                time.sleep(POLL_SECONDS)
        absence.ends()


class Absence:
    """What is said of an address that is waited for: once if it takes long, and once more when that is over."""

    def __init__(self, address: str, emit: Emit, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to wait."""
        self._address = address
        self._emit = emit
        self._begun = clock()
        self._told = False

    def goes_on(self, now: float, message: str) -> None:
        """Say why the newest try failed, if that is worth a word; ``now`` is of the same clock."""
        if now - self._begun >= WAITING_SECONDS and not self._told:
            self._emit("waiting", address=self._address, message=message)
            self._told = True

    def ends(self) -> None:
        """Say that the address is reached, if somebody was told that it was not."""
        if self._told:
            self._emit("reached", address=self._address)


class SharedState:
    """The variables and queues on the ps, as operations of one graph.

    On ps 0: the steps of each worker, the steps carried over from an earlier run, the barrier, the rounds of
    synchronous training. On every ps: the run it belongs to, its generation (set, and equal on all, when the run is
    initialised), its parameters with their slots, Adam's step (1 before the first update), and its queue of workers
    that are done. The global step is no variable of its own: it *is* carried + the sum of the workers' steps.
    """

    def __init__(self, api: Api, graph: Graph, config: TaskConfig) -> None:
        """Add the handles, reads and assignments of all shared variables to ``graph``."""
        self.api = api
        self.graph = graph
        self.shapes = parameter_shapes(config.hidden_units)
        self.servers = len(config.ps_hosts)
        self.workers = len(config.worker_hosts)
        place = by_size if config.profile == "fast" else round_robin
        self.placement = place(self.shapes, self.servers)
        self._dtypes: dict[str, Any] = {}
        self.handles: dict[str, Tensor] = {}
        for name, shape in self.shapes.items():
            for part in (name, *slot_names(name)):
                self._variable(part, api.float32, shape, self.placement[name])
        for server in range(self.servers):
            self._variable(f"{ADAM_STEP}/{server}", api.float32, (), server)
            self._variable(f"identity/{server}", api.string, (), server)
            self._variable(f"generation/{server}", api.int64, (), server)
        self._variable(WORKER_STEPS, api.int64, (self.workers,), 0)
        self._variable(CARRIED_STEPS, api.int64, (), 0)
        self._variable("arrived", api.int64, (self.workers,), 0)
        self._variable("released", api.int64, (), 0)
        self._variable("round", api.int64, (), 0)
        self._add_reads_and_assignments()
        self._add_queues()
        self._add_fetches(f"/job:worker/task:{config.task_index}/device:CPU:0")

    def _variable(self, name: str, dtype: Untyped, shape: tuple[int, ...], server: int) -> None:
        with self.graph.device(ps_device(server)):
            self.handles[name] = self.api.raw.VarHandleOp(dtype=dtype, shape=shape, shared_name=f"dtf/{name}")
        self._dtypes[name] = dtype

    def read(self, name: str) -> Tensor:
        """Return a new read of the variable ``name``, on its ps."""
        with self.graph.device(self.handles[name].device):
            return self.api.raw.ReadVariableOp(resource=self.handles[name], dtype=self._dtypes[name])

    def _add_reads_and_assignments(self) -> None:
        raw = self.api.raw
        self._reads = {name: self.read(name) for name in self.handles}
        self._assigned: dict[str, tuple[Tensor, Tensor]] = {}
        for name, handle in self.handles.items():
            with self.graph.device(handle.device):
                value = raw.Placeholder(dtype=self._dtypes[name])
                self._assigned[name] = (value, raw.AssignVariableOp(resource=handle, value=value))
        self._initialized = []
        for server in range(self.servers):
            for name in (f"identity/{server}", f"generation/{server}"):
                with self.graph.device(ps_device(server)):
                    self._initialized.append(raw.VarIsInitializedOp(resource=self.handles[name]))
        with self.graph.device(ps_device(0)):
            self.arrival = raw.Placeholder(dtype=self.api.int64, shape=(self.workers,))
            self.arrive = raw.AssignAddVariableOp(resource=self.handles["arrived"], value=self.arrival)

    def _add_queues(self) -> None:
        raw = self.api.raw
        self.done = []
        self.done_index = raw.Placeholder(dtype=self.api.int32, shape=())
        for server in range(self.servers):
            queue = done_queue(self.api, self.graph, server)
            with self.graph.device(ps_device(server)):
                self.done.append(raw.QueueEnqueueV2(handle=queue, components=[self.done_index]))
        self.wake = [self.queue(f"wake/{worker}") for worker in range(self.workers)]
        """For each worker a queue of numbers on ps 0: something it waits for has happened, or a new round began."""
        self.wake_number = raw.Placeholder(dtype=self.api.int64, shape=())
        self.wake_all = []
        for queue in self.wake:
            with self.graph.device(ps_device(0)):
                self.wake_all.append(raw.QueueEnqueueV2(handle=queue, components=[self.wake_number]))

    def _add_fetches(self, here: str) -> None:
        """Add, for each ps, the fetching of a number from the device ``here`` of this worker."""
        with self.graph.device(here):
            self._number = self.api.raw.Placeholder(dtype=self.api.int64, shape=())
        self._fetched = []
        for server in range(self.servers):
            with self.graph.device(ps_device(server)):
                self._fetched.append(self.api.raw.Identity(input=self._number))

    def queue(self, name: str) -> Tensor:
        """Return a queue of whole numbers on ps 0."""
        with self.graph.device(ps_device(0)):
            return self.api.raw.FIFOQueueV2(component_types=[self.api.int64], shapes=[()], shared_name=f"dtf/{name}")

    def dequeue(self, queue: Tensor) -> Tensor:
        """Return an operation that waits for the next number of ``queue``."""
        with self.graph.device(ps_device(0)):
            return self.api.raw.QueueDequeueV2(handle=queue, component_types=[self.api.int64])[0]

    def status(self, after: list[Tensor]) -> Tensor:
        """Return ``int64 [3 + workers]``: generation, carried steps, released, each worker's steps; read ``after``."""
        raw = self.api.raw
        with self.graph.device(ps_device(0)), self.graph.control_dependencies(after):
            numbers = [self.read(name) for name in ("generation/0", CARRIED_STEPS, "released")]
            steps = self.read(WORKER_STEPS)
            packed = [raw.Pack(values=numbers), steps]
            return raw.ConcatV2(values=packed, axis=0)

    def add_steps(self, worker: int, steps: Tensor, after: list[Tensor]) -> Tensor:
        """Return an operation on ps 0 that adds ``steps``, ``int64 []``, to those of ``worker``, ``after`` others."""
        raw = self.api.raw
        mine = self.api.constant([int(worker == number) for number in range(self.workers)], self.api.int64)
        with self.graph.device(ps_device(0)), self.graph.control_dependencies(after):
            return raw.AssignAddVariableOp(resource=self.handles[WORKER_STEPS], value=raw.Mul(x=mine, y=steps))

    def names_on(self, server: int) -> list[str]:
        """Return the parameters that ps ``server`` holds."""
        return [name for name, place in self.placement.items() if place == server]

    # What follows runs operations.

    def claims(self, session: Session) -> list[tuple[str | None, int | None]]:
        """Return each ps's run and generation, ``None`` for what is not set."""
        flags = session.run(self._initialized)
        found: list[tuple[str | None, int | None]] = []
        for server in range(self.servers):
            owned, ready = flags[2 * server : 2 * server + 2]
            owner = session.run(self._reads[f"identity/{server}"]).decode() if owned else None
            found.append((owner, int(session.run(self._reads[f"generation/{server}"])) if ready else None))
        return found

    def reach_back(self, session: Session) -> None:
        """Have every ps fetch a number from this worker: over a connection of its own, to the address it knows."""
        session.run(self._fetched, {self._number: 0})

    def fetch(self, session: Session, names: Iterable[str]) -> Values:
        """Return the values of the variables ``names``, all read in one run."""
        values: Values = session.run({name: self._reads[name] for name in names})
        return values

    def assign(self, session: Session, values: Mapping[str, Any]) -> None:
        """Set the variables to ``values``, all in one run."""
        operations = [self._assigned[name][1] for name in values]
        session.run(operations, {self._assigned[name][0]: value for name, value in values.items()})

    def trained_names(self) -> list[str]:
        """Return the names of what training changes: parameters, slots, Adam's step of ps 0, and the steps."""
        parts = [part for name in self.shapes for part in (name, *slot_names(name))]
        return [*parts, f"{ADAM_STEP}/0", WORKER_STEPS, CARRIED_STEPS]

    def initialize(self, session: Session, values: Mapping[str, Any], *, run_id: str, released: bool) -> int:
        """Set everything on every ps, ``values`` of :meth:`trained_names` among it; return the new generation.

        The generations are set last: until then every other task waits. It is the time in microseconds, so no two are
        the same, and rounds, which count up from it, never repeat either.
        """
        generation = time.time_ns() // 1000
        everything: dict[str, Any] = {**values, "arrived": np.zeros(self.workers, np.int64)}
        everything |= {"released": int(released), "round": generation}
        for server in range(self.servers):
            everything[f"{ADAM_STEP}/{server}"] = values[f"{ADAM_STEP}/0"]
            everything[f"identity/{server}"] = run_id
        self.assign(session, everything)
        self.assign(session, {f"generation/{server}": generation for server in range(self.servers)})
        # Whoever still waits on a queue of the generation before looks, sees another one, and leaves.
        session.run(self.wake_all, {self.wake_number: 0})
        return generation


def done_queue(api: Api, graph: Graph, server: int) -> Tensor:
    """Return ps ``server``'s queue of the indices of workers that need it no longer."""
    with graph.device(ps_device(server)):
        return api.raw.FIFOQueueV2(component_types=[api.int32], shapes=[()], shared_name="dtf/done")


def ship(
    api: Api, graph: Graph, tensors: Mapping[str, Tensor], source: str, destination: str, traffic: list[int]
) -> dict[str, Tensor]:
    """Return ``tensors`` (``float32``, of known shapes) as they arrive on ``destination``, coming from ``source``.

    The small ones travel together: a message costs more than a few hundred kilobytes. The bytes of each message are
    appended to ``traffic``.
    """
    raw = api.raw
    bytes_of = {name: 4 * int(np.prod(tensor.shape.as_list())) for name, tensor in tensors.items()}
    small = [name for name in tensors if bytes_of[name] <= PACK_BYTES]
    traffic.append(sum(bytes_of.values()))
    if len(small) < 2:
        return dict(tensors)
    with graph.device(source):
        flat = raw.ConcatV2(values=[raw.Reshape(tensor=tensors[name], shape=[-1]) for name in small], axis=0)
    with graph.device(destination):
        parts = raw.SplitV(
            value=flat, size_splits=[bytes_of[name] // 4 for name in small], axis=0, num_split=len(small)
        )
        unpacked = [
            raw.Reshape(tensor=part, shape=tensors[name].shape.as_list())
            for name, part in zip(small, parts, strict=True)
        ]
    return {**tensors, **dict(zip(small, unpacked, strict=True))}
