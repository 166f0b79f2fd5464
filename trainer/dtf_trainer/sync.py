"""Synchronous training: in each round several workers contribute, and the mean of it is applied once.

A worker writes its contribution — the gradients of one batch or, with a communication interval of N, the difference
that N steps of its own made — into variables kept for it on the ps, and reports it in a queue. The chief collects the
reports of the current round until ``replicas_to_aggregate`` different workers are in, applies the mean of exactly
these, counts their steps, and starts the next round by a number in each worker's queue. So what is counted is what was
applied; a report that comes twice (a worker was restarted) or late (of a round before) changes nothing; and whoever is
restarted finds on the ps what it needs.

The global step counts batches that were learnt from, as everywhere: a round of R contributions advances it by R, or by
R·N.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import adam
from .distributed import SharedState, ps_device
from .steps import Exchange, Feed, Outcome, Replica, Status

if TYPE_CHECKING:
    from .flags import TaskConfig
    from .tf_api import Api, Graph, Session, Tensor


class Learner(Protocol):
    """What a worker contributes to a round."""

    loss: Tensor
    there: list[dict[str, Tensor]]
    """For each ps, what is contributed for its parameters."""
    extra: list[Tensor]
    """More to fetch, handed to ``record``."""

    @property
    def bytes_per_step(self) -> float:
        """The bytes exchanged with the ps for one step."""

    def warm_up(self, session: Session, start: int) -> None:
        """Get ready to compute; the first batch is the ``start``-th of this worker's stream."""

    def nothing(self) -> dict[Tensor, Any]:
        """Return what to feed so that a run learns nothing."""

    def following(self) -> dict[Tensor, Any]:
        """Return what to feed for the next batches."""

    def record(self, extra: list[Any], global_step: int) -> None:
        """Take what ``extra`` fetched."""


class Batches:
    """The fast profile's learner: gradients of a batch from the device or, of N batches, the difference they make."""

    def __init__(
        self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, feed: Feed, exchange: Exchange
    ) -> None:
        """Build what computes."""
        self._feed = feed
        self._interval = config.communication_interval
        self.replica = Replica(api, graph, config, state, feed) if self._interval > 1 else None
        self._indices = feed.indices(self._interval)
        rows = feed.rows(self._indices, self._interval)
        pulled = exchange.pull([[] for _ in range(state.servers)])
        if self.replica is None:
            self.loss, self.there = exchange.compute_and_push(pulled, *feed.batch(rows[0]))
        else:
            self.loss, stepped = self.replica.steps(rows, self.replica.take(pulled))
            self.there = exchange.push(self.replica.difference(stepped))
        self.extra: list[Tensor] = []
        self.bytes_per_step = sum(exchange.traffic) / self._interval

    def warm_up(self, session: Session, start: int) -> None:
        """Load the data, and take the slots of the checkpoint."""
        self._feed.load(session, start)
        if self.replica is not None:
            self.replica.adopt_slots(session)

    def nothing(self) -> dict[Tensor, Any]:
        """Return any indices, and frozen rates for the replica."""
        return {self._indices: self._feed.none(self._interval), **self._rates(live=False)}

    def following(self) -> dict[Tensor, Any]:
        """Return the indices of the next batches, and the rates for the replica."""
        return {self._indices: self._feed.next(self._interval), **self._rates(live=True)}

    def _rates(self, *, live: bool) -> dict[Tensor, Any]:
        if self.replica is None:
            return {}
        by = self.replica.rates
        return {by.feed: by.live if live else adam.FROZEN}

    def record(self, extra: list[Any], global_step: int) -> None:
        """Do nothing."""


class Synchronous:
    """A worker's part in the rounds, and on the chief the leading of them."""

    def __init__(
        self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, learner: Learner, exchange: Exchange
    ) -> None:
        """Build the runs: contribute, wait for the next round, and for the chief collect and apply."""
        self._api = api
        self._graph = graph
        self._config = config
        self._state = state
        self._learner = learner
        self._exchange = exchange
        self._interval = config.communication_interval
        self._needed = config.replicas_to_aggregate or state.workers
        self._round = 0
        self._handles = {
            (worker, name): self._variable(worker, name) for worker in range(state.workers) for name in state.shapes
        }
        self._reports = state.queue("reports")
        self._number = api.raw.Placeholder(dtype=api.int64, shape=())
        self._contribute = self._contributing()
        self.bytes_per_step = learner.bytes_per_step
        token = state.dequeue(state.wake[config.task_index])
        with graph.control_dependencies([token]):
            self._wait = [token, state.read("round"), state.status([])]
        self._current = state.read("round")
        self._status = state.status([])
        self._collect = state.dequeue(self._reports)
        self._apply = self._applying() if config.is_chief else []
        self._room = self._making_room()
        replica = learner.replica if isinstance(learner, Batches) else None
        self._publishing = replica.publishing() if replica is not None else []

    def _variable(self, worker: int, name: str) -> Tensor:
        with self._graph.device(ps_device(self._state.placement[name])):
            return self._api.raw.VarHandleOp(
                dtype=self._api.float32, shape=self._state.shapes[name], shared_name=f"dtf/contribution/{worker}/{name}"
            )

    def _contributing(self) -> list[Tensor]:
        raw, me = self._api.raw, self._config.task_index
        written = []
        for server, values in enumerate(self._learner.there):
            with self._graph.device(ps_device(server)):
                written += [
                    raw.AssignVariableOp(resource=self._handles[me, name], value=value)
                    for name, value in values.items()
                ]
        with self._graph.device(ps_device(0)), self._graph.control_dependencies(written):
            report = raw.QueueEnqueueV2(handle=self._reports, components=[self._number])
        return [self._learner.loss, report, *self._learner.extra]

    def _applying(self) -> list[Tensor]:
        """Return the chief's run: apply the mean of the chosen contributions, count, and start the next round."""
        raw, api, state = self._api.raw, self._api, self._state
        self._chosen = raw.Placeholder(dtype=api.float32, shape=(state.workers,))
        means: list[dict[str, Tensor]] = []
        for server in range(state.servers):
            with self._graph.device(ps_device(server)):
                number = raw.Maximum(x=raw.Sum(input=self._chosen, axis=0), y=api.constant(1.0))
                weights = raw.Unpack(value=raw.RealDiv(x=self._chosen, y=number), num=state.workers, axis=0)
                means.append({name: self._mean(name, weights) for name in state.names_on(server)})
        done = self._exchange.add(means) if self._interval > 1 else self._exchange.apply(means)
        everything = [operation for operations in done for operation in operations]
        with self._graph.device(ps_device(0)), self._graph.control_dependencies(everything):
            steps = raw.Cast(x=raw.Mul(x=self._chosen, y=api.constant(float(self._interval))), DstT=api.int64)
            counted = raw.AssignAddVariableOp(resource=state.handles["worker_steps"], value=steps)
            turned = raw.AssignVariableOp(resource=state.handles["round"], value=self._number)
        with self._graph.device(ps_device(0)), self._graph.control_dependencies([counted, turned]):
            started = [raw.QueueEnqueueV2(handle=queue, components=[self._number]) for queue in state.wake]
        return [state.status(started)]

    def _mean(self, name: str, weights: list[Tensor]) -> Tensor:
        raw = self._api.raw
        parts = []
        for worker, weight in enumerate(weights):
            value = raw.ReadVariableOp(resource=self._handles[worker, name], dtype=self._api.float32)
            parts.append(raw.Mul(x=value, y=weight))
        return raw.AddN(inputs=parts)

    def warm_up(self, session: Session, start: int) -> None:
        """Contribute nothing once; the chief also makes room for all contributions and begins a new round.

        The reports that a chief before this one had taken are lost with it, so every worker is asked once more.
        """
        self._session = session
        self._learner.warm_up(session, start)
        session.run(self._contribute, {**self._learner.nothing(), self._number: 0})
        status = Status.of(session.run(self._status))
        self._generation, self._mine = status.generation, status.worker_steps[self._config.task_index]
        if self._config.is_chief:
            session.run(self._room)
            following = int(session.run(self._current)) + 1
            nobody = np.zeros(self._state.workers, np.float32)
            feeds = {self._chosen: nobody, self._number: following, **self._exchange.feeds(live=False)}
            session.run(self._apply, feeds)

    def _making_room(self) -> list[Tensor]:
        raw = self._api.raw
        made = []
        for (_, name), handle in self._handles.items():
            with self._graph.device(handle.device):
                zeros = raw.Fill(dims=self._state.shapes[name], value=self._api.constant(0.0))
                made.append(raw.AssignVariableOp(resource=handle, value=zeros))
        return made

    def advance(self, left: int) -> Outcome:  # noqa: ARG002  a round is as long for every worker
        """Take part in one round; return when the next one has begun."""
        if not self._round:
            self._round = int(self._session.run(self._current))
        me, workers = self._config.task_index, self._state.workers
        feeds = {**self._learner.following(), self._number: self._round * workers + me}
        loss, _, *extra = self._session.run(self._contribute, feeds)
        status = self._lead() if self._config.is_chief else self._follow()
        self._learner.record(extra, status.global_step)
        before, self._mine = self._mine, status.worker_steps[me]
        return Outcome(steps=max(0, self._mine - before), loss=float(loss), status=status)

    def _lead(self) -> Status:
        """Collect reports of this round until there are enough, apply them, and start the next round."""
        chosen = np.zeros(self._state.workers, np.float32)
        while chosen.sum() < self._needed:
            number, worker = divmod(int(self._session.run(self._collect)), self._state.workers)
            if number == self._round:
                chosen[worker] = 1.0
        self._round += 1
        feeds = {self._chosen: chosen, self._number: self._round, **self._exchange.feeds(live=True)}
        (status,) = self._session.run(self._apply, feeds)
        return Status.of(status)

    def _follow(self) -> Status:
        """Wait until the round is over, or the run was initialised anew; older numbers are left over from before."""
        while True:
            token, current, numbers = self._session.run(self._wait)
            status = Status.of(numbers)
            if int(token) > self._round or status.generation != self._generation:
                self._round = max(int(token), int(current))
                return status

    def publish(self) -> None:
        """Copy the slots of the chief's replica to the ps, if it has one."""
        if self._publishing:
            self._session.run(self._publishing)
