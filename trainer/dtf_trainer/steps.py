"""The steps of the fast profile, as graphs: each session run makes several, and talks little.

Without a communication interval (:class:`EachStep`) every step pulls the parameters, computes gradients and has them
applied on the ps, as in the thesis. A run makes a chain of such steps, unrolled: the ps starts the next pull by itself
when it has applied a gradient, so no round trip is lost between two steps.

With one of N (:class:`Rounds`) a worker pulls, makes N Adam steps on variables and slots of its own, and pushes the
difference, which the ps adds to the parameters: DistBelief's Downpour with n_fetch = n_push = N.

Both leave the count of steps on ps 0, in the same run, after what the steps changed there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from . import adam
from .distributed import ADAM_STEP, SharedState, Values, ps_device, ship, slot_names, worker_device
from .model import BETA1, BETA2, CLASSES, HIDDEN_WEIGHTS, PIXELS, gradients
from .shards import batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from .datasets import Data
    from .flags import TaskConfig
    from .tf_api import Api, Graph, Session, Tensor

CHAINS: Final = (20, 5, 1)
"""How many steps that each talk to the ps a run may make."""

SETTLING: Final = 6
"""Rounds become shorter when fewer than this many of them are left for every worker; see :class:`Rounds`."""

PIECES: Final = (1, 8, 50)
"""The lengths that a round is put together from if it is too long to be made in one run."""

UNROLLED: Final = 50
"""How many local steps a graph holds at most."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run did: its ``steps``, the ``loss`` of its last batch, and the state on ps 0 after it."""

    steps: int
    loss: float
    status: Status

    @property
    def global_step(self) -> int:
        """The global step, as this worker saw it last."""
        return self.status.global_step


@dataclass(frozen=True, kw_only=True)
class Status:
    """What ps 0 says: the generation, the steps carried over, each worker's, whether the barrier was ever released."""

    generation: int
    carried_steps: int
    released: bool
    worker_steps: tuple[int, ...]

    @property
    def global_step(self) -> int:
        """The steps of all workers, and of the run before."""
        return self.carried_steps + sum(self.worker_steps)

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> Status:
        """Return the status in the numbers of :meth:`SharedState.status`."""
        generation, carried, released, *steps = numbers.tolist()
        return cls(generation=generation, carried_steps=carried, released=bool(released), worker_steps=tuple(steps))


class Stepper(Protocol):
    """A way of training: what a worker's loop needs of it."""

    @property
    def bytes_per_step(self) -> float:
        """The bytes of parameters and gradients that a worker exchanges with the ps for one step of its own."""

    def warm_up(self, session: Session, start: int) -> None:
        """Run everything once, so that it is compiled and connected, and change nothing that is shared.

        All later runs are made in ``session``. The first batch is the ``start``-th of this worker's stream.
        """

    def advance(self, left: int) -> Outcome:
        """Make some steps: one at least, and not many more than this worker's share of the ``left`` global steps."""

    def publish(self) -> None:
        """Bring to the ps what a checkpoint needs and only this worker has."""


class Feed:
    """The training set on the worker's device, and the batches of a run out of it."""

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, data: Data) -> None:
        """Add the variables to ``graph``."""
        self._api = api
        self._graph = graph
        self._config = config
        self._data = data
        self.device = worker_device(config)
        examples = len(data.train_labels)
        with graph.device(self.device):
            self._images = api.raw.VarHandleOp(dtype=api.uint8, shape=(examples, PIXELS), shared_name="dtf/images")
            self._labels = api.raw.VarHandleOp(dtype=api.float32, shape=(examples, CLASSES), shared_name="dtf/labels")
            self._values = api.raw.Placeholder(dtype=api.uint8), api.raw.Placeholder(dtype=api.float32)
            self._load = [
                api.raw.AssignVariableOp(resource=handle, value=value)
                for handle, value in zip((self._images, self._labels), self._values, strict=True)
            ]
        self._batches: Iterator[NDArray[np.int32]] = iter(())

    def load(self, session: Session, start: int) -> None:
        """Bring the training set to the device; the first batch will be the ``start``-th of this worker's stream."""
        config = self._config
        one_hot = np.eye(CLASSES, dtype=np.float32)[self._data.train_labels]
        session.run(self._load, dict(zip(self._values, (self._data.train_images, one_hot), strict=True)))
        examples, workers = len(self._data.train_labels), len(config.worker_hosts)
        self._batches = batches(config.seed, examples, config.task_index, workers, config.batch_size, start)

    def indices(self, steps: int) -> Tensor:
        """Return a placeholder for the indices of ``steps`` batches."""
        with self._graph.device(self.device):
            return self._api.raw.Placeholder(dtype=self._api.int32, shape=(steps, self._config.batch_size))

    def rows(self, indices: Tensor, steps: int) -> list[Tensor]:
        """Return the indices of each batch."""
        with self._graph.device(self.device):
            rows: list[Tensor] = self._api.raw.Unpack(value=indices, num=steps, axis=0)
        return rows

    def batch(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images and labels of one batch, on the worker's device."""
        raw = self._api.raw
        with self._graph.device(self.device):
            images = raw.ResourceGather(resource=self._images, indices=row, dtype=self._api.uint8)
            labels = raw.ResourceGather(resource=self._labels, indices=row, dtype=self._api.float32)
        return images, labels

    def next(self, steps: int) -> NDArray[np.int32]:
        """Return the indices of the next ``steps`` batches, ``[steps, batch]``."""
        return np.stack([next(self._batches) for _ in range(steps)])

    def none(self, steps: int) -> NDArray[np.int32]:
        """Return indices that stand for ``steps`` batches when nothing is learnt."""
        return np.zeros((steps, self._config.batch_size), np.int32)


class Exchange:
    """The ways between a worker and the ps: parameters to the worker, gradients or differences to the ps."""

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, state: SharedState) -> None:
        """Add the rates of every ps to ``graph``."""
        self._api = api
        self._graph = graph
        self._config = config
        self._state = state
        self.worker = worker_device(config)
        self.traffic: list[int] = []
        self.rates = [adam.rates(api, graph, config.learning_rate, ps_device(s)) for s in range(state.servers)]
        self.slots = [
            adam.Slots(device=ps_device(s), handles=state.handles, step=state.handles[f"{ADAM_STEP}/{s}"])
            for s in range(state.servers)
        ]

    def feeds(self, *, live: bool) -> dict[Tensor, Any]:
        """Return the rates to feed, or those with which the updates of a run change nothing."""
        return {by.feed: by.live if live else adam.FROZEN for by in self.rates}

    def pull(self, after: list[list[Tensor]]) -> dict[str, Tensor]:
        """Return the parameters on the worker, read from each ps after its operations in ``after``."""
        pulled: dict[str, Tensor] = {}
        for server in range(self._state.servers):
            with self._graph.control_dependencies(after[server]):
                values = {name: self._state.read(name) for name in self._state.names_on(server)}
            pulled |= ship(self._api, self._graph, values, ps_device(server), self.worker, self.traffic)
        return pulled

    def push(self, values: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return, for each ps, the ``values`` of its parameters as they arrive there."""
        return [
            ship(
                self._api,
                self._graph,
                {name: values[name] for name in self._state.names_on(server)},
                self.worker,
                ps_device(server),
                self.traffic,
            )
            for server in range(self._state.servers)
        ]

    def compute_and_push(
        self, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Return the loss of a batch, and for each ps the gradients of its parameters as they arrive there.

        The gradient of the hidden weights is a product of two matrices with ``batch`` rows. If these are smaller than
        it, they travel instead (the images as bytes), and the ps multiplies them: the same numbers, fewer bytes.
        """
        raw = self._api.raw
        with self._graph.device(self.worker):
            found = gradients(self._api, parameters, images, labels)
            sent = dict(found.dense)
            units, batch = self._config.hidden_units, self._config.batch_size
            factored = batch * (PIXELS + 4 * units) < 4 * PIXELS * units
            if factored:
                sent["images"] = raw.Bitcast(
                    input=raw.Reshape(tensor=images, shape=[batch, PIXELS // 4, 4]), type=self._api.float32
                )
                sent["errors"] = found.hidden_errors
            else:
                sent[HIDDEN_WEIGHTS] = raw.MatMul(a=found.hidden_inputs, b=found.hidden_errors, transpose_a=True)
        arrived = []
        for server in range(self._state.servers):
            names = self._state.names_on(server)
            if factored and HIDDEN_WEIGHTS in names:
                names = [*(name for name in names if name != HIDDEN_WEIGHTS), "images", "errors"]
            wanted = {name: sent[name] for name in names}
            there = ship(self._api, self._graph, wanted, self.worker, ps_device(server), self.traffic)
            if "errors" in there:
                there[HIDDEN_WEIGHTS] = self._multiply(server, there.pop("images"), there.pop("errors"))
            arrived.append(there)
        return found.loss, arrived

    def _multiply(self, server: int, images: Tensor, errors: Tensor) -> Tensor:
        raw = self._api.raw
        with self._graph.device(ps_device(server)):
            pixels = raw.Reshape(
                tensor=raw.Bitcast(input=images, type=self._api.uint8), shape=[self._config.batch_size, PIXELS]
            )
            # The scaling of the images goes to the smaller factor's side of the product only in exact arithmetic;
            # here it stays where the worker has it, so that both ways give the same gradient to the last bit.
            inputs = raw.Mul(
                x=raw.Cast(x=pixels, DstT=self._api.float32), y=self._api.constant(1.0 / 255.0, self._api.float32)
            )
            return raw.MatMul(a=inputs, b=errors, transpose_a=True)

    def apply(self, gradients_there: list[dict[str, Tensor]]) -> list[list[Tensor]]:
        """Apply gradients on their ps with Adam; return for each ps the operations after which it is done."""
        return [
            adam.apply(self._api, self._graph, self.slots[server], self.rates[server], there)
            for server, there in enumerate(gradients_there)
        ]

    def add(self, differences_there: list[dict[str, Tensor]]) -> list[list[Tensor]]:
        """Add differences to their parameters; return for each ps the operations after which it is done."""
        done = []
        for server, there in enumerate(differences_there):
            with self._graph.device(ps_device(server)):
                done.append(
                    [
                        self._api.raw.AssignAddVariableOp(resource=self._state.handles[name], value=value)
                        for name, value in there.items()
                    ]
                )
        return done

    def count(self, steps: int, after: list[Tensor]) -> Tensor:
        """Return an operation on ps 0 that adds to this worker's steps; none if the rates are frozen."""
        raw = self._api.raw
        with self._graph.device(ps_device(0)):
            live = raw.Cast(x=self.rates[0].count, DstT=self._api.int64)
            number = raw.Mul(x=live, y=self._api.constant(steps, self._api.int64))
        return self._state.add_steps(self._config.task_index, number, after)


class Run:
    """A run of a training graph: takes the indices of its batches, gives the values of what it fetches."""

    def __init__(self, session: Session, fetches: list[Tensor], indices: Tensor, by: list[adam.Rates]) -> None:
        """Compile ``fetches``, fed with ``indices`` and the rates ``by``, in a first call that changes nothing."""
        self._call = session.make_callable(fetches, [indices, *(rates.feed for rates in by)])
        self._live = [np.array(rates.live, np.float32) for rates in by]
        frozen = np.array(adam.FROZEN, np.float32)
        self._call(np.zeros(indices.shape.as_list(), np.int32), *[frozen for _ in by])

    def __call__(self, indices: NDArray[np.int32]) -> list[Any]:
        """Learn from the batches of ``indices``, ``[steps, batch]``."""
        values: list[Any] = self._call(indices, *self._live)
        return values


class EachStep:
    """Asynchronous training in which each step pulls the parameters and pushes its gradients."""

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, feed: Feed) -> None:
        """Build the chain, and a run for each of its lengths."""
        self._feed = feed
        self._workers = state.workers
        self._exchange = exchange = Exchange(api, graph, config, state)
        self._indices = feed.indices(CHAINS[0])
        after: list[list[Tensor]] = [[] for _ in range(state.servers)]
        self._runs: dict[int, Run] = {}
        self._fetches: dict[int, list[Tensor]] = {}
        for number, row in enumerate(feed.rows(self._indices, CHAINS[0]), start=1):
            images, labels = feed.batch(row)
            loss, there = exchange.compute_and_push(exchange.pull(after), images, labels)
            after = exchange.apply(there)
            after[0] = [exchange.count(1, after[0])]
            if number in CHAINS:
                self._fetches[number] = [state.status(after[0]), loss, *(op for ops in after for op in ops)]
        self.bytes_per_step = sum(exchange.traffic) / CHAINS[0]

    def warm_up(self, session: Session, start: int) -> None:
        """Load the data, and run each length of the chain with frozen rates."""
        self._feed.load(session, start)
        for length, fetches in self._fetches.items():
            self._runs[length] = Run(session, fetches, self._indices, self._exchange.rates)

    def advance(self, left: int) -> Outcome:
        """Make the longest chain that is not longer than this worker's share of what is left."""
        length = next(length for length in CHAINS if length <= max(1, left // self._workers))
        # A run takes as many rows of the placeholder as its chain is long; the others are not looked at.
        indices = self._feed.none(CHAINS[0])
        indices[:length] = self._feed.next(length)
        status, loss, *_ = self._runs[length](indices)
        return Outcome(steps=length, loss=float(loss), status=Status.of(status))

    def publish(self) -> None:
        """Do nothing: the slots are on the ps."""


class Replica:
    """Parameters and slots of the worker's own, and Adam steps on them."""

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, feed: Feed) -> None:
        """Add the variables to ``graph``: the replica, what was pulled last, the slots, the counter."""
        self._api = api
        self._graph = graph
        self._config = config
        self._feed = feed
        self._state = state
        self.handles: dict[str, Tensor] = {}
        for name, shape in state.shapes.items():
            for part in (name, f"{name}/pulled", *slot_names(name)):
                self.handles[part] = self._variable(part, shape)
        self.step = self._variable(ADAM_STEP, ())
        self.rates = adam.rates(api, graph, config.learning_rate, feed.device)
        self._slots = adam.Slots(device=feed.device, handles=self.handles, step=self.step)
        self._adopted = self._adopting()

    def _variable(self, name: str, shape: tuple[int, ...]) -> Tensor:
        with self._graph.device(self._feed.device):
            return self._api.raw.VarHandleOp(dtype=self._api.float32, shape=shape, shared_name=f"dtf/replica/{name}")

    def read(self, name: str) -> Tensor:
        """Return a new read of one of the variables."""
        with self._graph.device(self._feed.device):
            return self._api.raw.ReadVariableOp(resource=self.handles[name], dtype=self._api.float32)

    def take(self, pulled: Mapping[str, Tensor]) -> list[Tensor]:
        """Return operations that make the replica what was ``pulled``."""
        with self._graph.device(self._feed.device):
            return [
                self._api.raw.AssignVariableOp(resource=self.handles[part], value=value)
                for name, value in pulled.items()
                for part in (name, f"{name}/pulled")
            ]

    def steps(self, rows: list[Tensor], after: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Make an Adam step with each of ``rows``; return the last loss, and the operations after which it is done."""
        raw = self._api.raw
        with self._graph.device(self._feed.device), self._graph.control_dependencies(after):
            first = raw.ReadVariableOp(resource=self.step, dtype=self._api.float32)
            numbers = raw.AddV2(x=first, y=self._api.constant([float(n) for n in range(len(rows))]))
            powers = [
                raw.Unpack(value=raw.Pow(x=self._api.constant(beta), y=numbers), num=len(rows), axis=0)
                for beta in (BETA1, BETA2)
            ]
        loss: Tensor = None
        for row, *both in zip(rows, *powers, strict=True):
            images, labels = self._feed.batch(row)
            with self._graph.control_dependencies(after):
                parameters = {name: self.read(name) for name in self._state.shapes}
            with self._graph.device(self._feed.device):
                found = gradients(self._api, parameters, images, labels)
                weights = raw.MatMul(a=found.hidden_inputs, b=found.hidden_errors, transpose_a=True)
                every = {HIDDEN_WEIGHTS: weights, **found.dense}
                after = [
                    adam.apply_one(self._api, self._slots, self.rates, both, name, gradient)
                    for name, gradient in every.items()
                ]
            loss = found.loss
        with self._graph.device(self._feed.device), self._graph.control_dependencies([*after, first]):
            taken = raw.Mul(x=self.rates.count, y=self._api.constant(float(len(rows))))
            return loss, [*after, raw.AssignAddVariableOp(resource=self.step, value=taken)]

    def difference(self, after: list[Tensor]) -> dict[str, Tensor]:
        """Return what the steps since the last pull changed, read ``after`` the operations."""
        with self._graph.control_dependencies(after):
            pairs = {name: (self.read(name), self.read(f"{name}/pulled")) for name in self._state.shapes}
        with self._graph.device(self._feed.device):
            return {name: self._api.raw.Sub(x=mine, y=pulled) for name, (mine, pulled) in pairs.items()}

    def adopt_slots(self, session: Session) -> None:
        """Take slots and counter from the ps: a fresh run's are zero, a resumed run's those of its checkpoint."""
        values: Values = self._state.fetch(session, self._adopted)
        operations = [operation for _, operation in self._adopted.values()]
        session.run(operations, {self._adopted[name][0]: value for name, value in values.items()})

    def _adopting(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return, by the name of each shared slot and counter, a placeholder and its assignment to the own one."""
        raw = self._api.raw
        names = [slot for name in self._state.shapes for slot in slot_names(name)]
        own = {name: self.handles[name] for name in names} | {f"{ADAM_STEP}/0": self.step}
        adopted = {}
        with self._graph.device(self._feed.device):
            for name, handle in own.items():
                value = raw.Placeholder(dtype=self._api.float32)
                adopted[name] = value, raw.AssignVariableOp(resource=handle, value=value)
        return adopted

    def publishing(self) -> list[Tensor]:
        """Return operations that copy slots and counter to the ps."""
        raw = self._api.raw
        operations = []
        for name in self._state.shapes:
            for slot in slot_names(name):
                value = self.read(slot)
                with self._graph.device(self._state.handles[slot].device):
                    operations.append(raw.AssignVariableOp(resource=self._state.handles[slot], value=value))
        with self._graph.device(self._feed.device):
            step = raw.ReadVariableOp(resource=self.step, dtype=self._api.float32)
        for server in range(self._state.servers):
            with self._graph.device(ps_device(server)):
                handle = self._state.handles[f"{ADAM_STEP}/{server}"]
                operations.append(raw.AssignVariableOp(resource=handle, value=step))
        return operations


class Rounds:
    """Asynchronous training in rounds: pull, N steps on the worker's own replica, push the difference.

    A run makes one round or, if rounds are short, several. Towards the target rounds become shorter, down to a step:
    what several workers add at once swings around the minimum, and the swing must not be what is left at the end. A few
    shortened lengths have a run of their own; rounds too long for one run are put together from pieces, of any length.

    The slots are the worker's own and live with its process. The chief copies its slots to the ps for every checkpoint;
    a worker that starts takes its first slots from there. So a run can be resumed with another interval, or none.
    """

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, feed: Feed) -> None:
        """Build the runs of one and several rounds, and the pieces of a short one."""
        self._feed = feed
        self._workers = state.workers
        self._interval = interval = config.communication_interval
        self._exchange = exchange = Exchange(api, graph, config, state)
        self._replica = replica = Replica(api, graph, config, state, feed)
        self._state = state
        never: list[list[Tensor]] = [[] for _ in range(state.servers)]
        self._placeholders: dict[int, Tensor] = {}
        self._whole: dict[int, Run] = {}
        self._steps: dict[int, Run] = {}
        plans = _plans(interval) if interval <= UNROLLED else []
        self._fetches = {sum(plan): self._rounds(feed, exchange, replica, plan) for plan in plans}
        self._pull = replica.take(exchange.pull(never))
        self._pieces = {}
        for length in (size for size in PIECES if size == 1 or size < interval):
            indices = feed.indices(length)
            loss, after = replica.steps(feed.rows(indices, length), [])
            self._pieces[length] = (indices, [loss, *after])
        exchange.traffic.clear()
        self._taken = api.raw.Placeholder(dtype=api.int64, shape=())
        done = exchange.add(exchange.push(replica.difference([])))
        done[0] = [state.add_steps(config.task_index, self._taken, done[0])]
        self._push = [state.status(done[0]), *(op for ops in done for op in ops)]
        self.bytes_per_step = 2.0 * sum(exchange.traffic) / interval
        self._publishing = replica.publishing()

    def _rounds(self, feed: Feed, exchange: Exchange, replica: Replica, plan: tuple[int, ...]) -> list[Tensor]:
        length = sum(plan)
        self._placeholders[length] = indices = feed.indices(length)
        rows = feed.rows(indices, length)
        after: list[list[Tensor]] = [[] for _ in range(self._state.servers)]
        loss: Tensor = None
        first = 0
        for steps in plan:
            taken = replica.take(exchange.pull(after))
            loss, stepped = replica.steps(rows[first : first + steps], taken)
            after = exchange.add(exchange.push(replica.difference(stepped)))
            after[0] = [exchange.count(steps, after[0])]
            first += steps
        return [self._state.status(after[0]), loss, *(op for ops in after for op in ops)]

    def warm_up(self, session: Session, start: int) -> None:
        """Load the data, take the slots of the checkpoint, then run everything with frozen rates: nothing differs."""
        self._session = session
        self._feed.load(session, start)
        self._replica.adopt_slots(session)
        rates = [*self._exchange.rates, self._replica.rates]
        self._session.run(self._pull)
        for length, (indices, fetches) in self._pieces.items():
            self._steps[length] = Run(session, fetches, indices, [self._replica.rates])
        self._session.run(self._push, {self._taken: 0})
        for length, fetches in self._fetches.items():
            self._whole[length] = Run(session, fetches, self._placeholders[length], rates)

    def advance(self, left: int) -> Outcome:
        """Make the longest run of rounds that this worker's share of what is left allows."""
        share = max(1, math.ceil(left / (SETTLING * self._workers)))
        for length in sorted(self._whole, reverse=True):
            if length <= share:
                status, loss, *_ = self._whole[length](self._feed.next(length))
                return Outcome(steps=length, loss=float(loss), status=Status.of(status))
        return self._short_round(min(share, self._interval))

    def _short_round(self, length: int) -> Outcome:
        self._session.run(self._pull)
        loss = math.nan
        for piece in _pieces(length, sorted(self._pieces, reverse=True)):
            loss = float(self._steps[piece](self._feed.next(piece))[0])
        status, *_ = self._session.run(self._push, {self._taken: length})
        return Outcome(steps=length, loss=loss, status=Status.of(status))

    def publish(self) -> None:
        """Copy this worker's slots to the ps."""
        self._session.run(self._publishing)


def _plans(interval: int) -> list[tuple[int, ...]]:
    """Return the lengths of the rounds of each run: several whole ones, one, and one of each shortened length."""
    several = max(1, 2 * CHAINS[0] // interval)
    shortened = {1, *(max(1, interval * part // 3) for part in (1, 2))}
    return [*((length,) for length in sorted(shortened)), *((interval,) * number for number in sorted({1, several}))]


def _pieces(length: int, sizes: list[int]) -> Iterator[int]:
    for size in sizes:
        whole, length = divmod(length, size)
        yield from [size] * whole
