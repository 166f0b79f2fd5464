"""The task of a worker: connect, wait for the start, train until the target, and — if it is the chief — bring it home.

The chief (worker 0) initialises the ps or finds them initialised, keeps the checkpoint, releases the start barrier,
says when the target is reached, evaluates and exports. Any other worker may come, go and come again at any time.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import checkpoint as checkpoints
from . import datasets, exit_codes, tf_api
from .checkpoint import Checkpoint, CheckpointError
from .chief import Chief
from .distributed import POLL_SECONDS, Absence, SharedState, session_config, start_server, wait_for_listeners
from .lifecycle import PeerLost
from .steps import EachStep, Exchange, Feed, Outcome, Rounds, Status, Stepper
from .sync import Batches, Synchronous

if TYPE_CHECKING:
    from collections.abc import Callable

    from .datasets import Data
    from .events import EventLog
    from .flags import TaskConfig
    from .gpu_watch import GpuWatch
    from .lifecycle import Progress
    from .tf_api import Api, Graph, Session

FAREWELL_SECONDS: Final = 5.0
"""How long a worker tries to tell the parameter servers that it is done."""

FOREVER: Final = 1 << 62

_NOT_A_PEERS_FAULT: Final = (3, 8, 11, 12)
"""gRPC's codes for a bad argument, too little memory, out of range, not implemented: mistakes, not losses."""


def run(config: TaskConfig, log: EventLog, progress: Progress, imported: Callable[[Api], None]) -> int:
    """Train, and return the exit code."""
    watch = watch_gpus(config, log, progress) if config.num_gpus else None
    loading = Loading(config)
    # What must not be loaded is refused first: the chief of a run never starts on another's checkpoint.
    found, origin = find_checkpoint(config) if config.is_chief else (None, None)
    api = tf_api.load(lean=config.profile == "fast", verbose=config.log_device_placement)
    imported(api)
    data = loading.result()
    log.emit(
        "data",
        dataset=config.dataset,
        train_examples=len(data.train_labels),
        test_examples=len(data.test_labels),
        sha256=dict(data.sha256),
    )
    return Worker(api, config, data, log, progress, found, origin).run(watch)


def watch_gpus(config: TaskConfig, log: EventLog, progress: Progress) -> GpuWatch:
    """Return a watch over this worker's GPUs that has begun, and that is told of at the task's end."""
    from .gpu_watch import GpuWatch  # noqa: PLC0415  without a GPU there is nothing to watch

    watch = GpuWatch(config, os.environ)
    watch.start()
    progress.on_end = lambda: log.emit("gpu", **watch.report())
    return watch


class Loading:
    """The data set on its way into memory, in a thread, while TensorFlow is imported."""

    def __init__(self, config: TaskConfig) -> None:
        """Start the thread."""
        self._data: Data | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._load, args=(config,), name="data", daemon=True)
        self._thread.start()

    def _load(self, config: TaskConfig) -> None:
        try:
            self._data = datasets.load(config.dataset, config.data_dir)
        except BaseException as problem:  # noqa: BLE001  raised again where the data is asked for
            self._problem = problem

    def result(self) -> Data:
        """Wait for the data set and return it. Raises what loading it raised."""
        self._thread.join()
        if self._problem is not None:
            raise self._problem
        assert self._data is not None  # noqa: S101  the thread ended with the one or the other
        return self._data


def find_checkpoint(config: TaskConfig) -> tuple[Checkpoint | None, str | None]:
    """Return the state to go on from: this run's own checkpoint, else one that it was told to resume, else none.

    The second is the run that wrote it.

    Raises :class:`CheckpointError` if there is one that cannot be used.
    """
    workers = len(config.worker_hosts)
    own = checkpoint_path(config)
    if own is not None and own.exists():
        latest = checkpoints.read(own, run_id=config.run_id, hidden_units=config.hidden_units)
        return latest.continued(config.run_id, workers), config.run_id
    for run_id, place in config.resume_candidates:
        try:
            earlier = checkpoints.read(Path(place), run_id=run_id, hidden_units=config.hidden_units)
        except FileNotFoundError:
            continue
        return earlier.continued(config.run_id, workers), run_id
    if config.resume_checkpoint is None or config.resume_run_id is None:
        return None, None
    path = Path(config.resume_checkpoint)
    try:
        earlier = checkpoints.read(path, run_id=config.resume_run_id, hidden_units=config.hidden_units)
    except FileNotFoundError as problem:
        raise CheckpointError(
            file=str(path), expected=f"a checkpoint of run {config.resume_run_id}", found="no file"
        ) from problem
    return earlier.continued(config.run_id, workers), config.resume_run_id


def checkpoint_path(config: TaskConfig) -> Path | None:
    """Return the file of this run's checkpoint, if it keeps one."""
    return None if config.checkpoint_dir is None else Path(config.checkpoint_dir) / checkpoints.FILE


class Worker:
    """One worker, from its server's start to its farewell."""

    def __init__(
        self,
        api: Api,
        config: TaskConfig,
        data: Data,
        log: EventLog,
        progress: Progress,
        found: Checkpoint | None,
        origin: str | None,
    ) -> None:
        """Build the graphs; ``found`` is the checkpoint that the chief goes on from, ``origin`` the run it is of."""
        self._origin = origin
        self._api = api
        self._config = config
        self._log = log
        self._progress = progress
        self._target = config.train_steps or FOREVER
        self._generation = 0
        self._graph = graph = api.graph()
        with graph.as_default():
            self._state = SharedState(api, graph, config)
            self._stepper = make_stepper(api, graph, config, self._state, data)
            self._status = self._state.status([])
            self._woken = self._state.dequeue(self._state.wake[config.task_index])
        self._chief = (
            Chief(api, config, data, self._state, log, found=found, path=checkpoint_path(config))
            if config.is_chief
            else None
        )

    def run(self, watch: GpuWatch | None = None) -> int:
        """Do all of a worker's part, and tell ``watch``, which looks at its GPUs, when it trains.

        Raises :class:`PeerLost` if another task is lost before the target is reached.
        """
        try:
            target = self._serve()
            session = self._connect(target)
            status = self._enter(session)
            if watch is not None:
                watch.tensorflow_gpus = self._count_gpus(session)
            trained = status.global_step < self._target
            if trained:
                status = self._pass_barrier(session, self._prepare(session, status))
                if watch is not None:
                    watch.begin()
                status = self._train(session, status)
                if watch is not None:
                    watch.end()
            self._say_target(status)
            if self._chief is not None:
                self._chief.take_home(session, self._stepper if trained else None)
        except self._api.OpError as problem:
            if getattr(problem, "error_code", None) in _NOT_A_PEERS_FAULT:
                raise
            raise PeerLost(tf_api.said(problem)) from problem
        # From here on nothing of the other tasks is needed: the target is reached, and what there was to say is said.
        if self._chief is not None:
            self._chief.finish()
        self._say_farewell(session)
        return exit_codes.DONE

    def _say_target(self, status: Status) -> None:
        """Say that the target is reached; by the chief's word the training time ends."""
        self._log.emit(
            "target",
            global_step=status.global_step,
            local_steps=status.worker_steps[self._config.task_index],
            worker_steps=list(status.worker_steps),
            carried_steps=status.carried_steps,
        )

    def _count_gpus(self, session: Session) -> int:
        """Return how many GPUs TensorFlow has found for this worker: without any it computes on the processor."""
        mine = f"/job:worker/replica:0/task:{self._config.task_index}/"
        devices = [device for device in session.list_devices() if device.name.startswith(mine)]
        return sum(device.device_type == "GPU" for device in devices)

    def _serve(self) -> str:
        config = self._config
        address = config.worker_hosts[config.task_index]
        target = f"grpc://{address}" if config.existing_servers else start_server(self._api, config).target
        self._log.emit("serving", address=address)
        return target

    def _connect(self, target: str) -> Session:
        """Return a session, as soon as every ps is there, is of this run, and reaches this worker.

        A ps that was there before this worker goes on looking for it where one before was, which for a pod is another
        address: gRPC asks for the address of a name every 30 s at most. So long this worker waits, rather than fail.
        """
        config = self._config
        self._progress.expect("the parameter servers", config.peer_timeout_seconds + 5)
        deadline = time.monotonic() + config.peer_timeout_seconds
        absence: Absence | None = None
        while True:
            wait_for_listeners(config.ps_hosts, deadline, self._log.emit)
            session: Session = self._api.Session(target, graph=self._graph, config=session_config(self._api, config))
            lost, ours = f"the parameter servers of run {config.run_id} not found", False
            try:
                owners = [owner for owner, _ in self._state.claims(session)]
                seen = f"they belong to {', '.join(f'run {o}' if o else 'no run' for o in owners)}"
                # Servers that stay between runs are the chief's to take over.
                ours = all(owner == config.run_id for owner in owners) or (config.existing_servers and config.is_chief)
                if ours:
                    absence = absence or Absence(config.worker_hosts[config.task_index], self._log.emit)
                    self._state.reach_back(session)
                    absence.ends()
                    return session
            except self._api.OpError as problem:
                seen = tf_api.said(problem)
            session.close()
            if absence is not None and ours:
                lost = "not reached by the parameter servers"
                absence.goes_on(time.monotonic(), seen)
            if time.monotonic() >= deadline:
                raise PeerLost(f"{lost} in {config.peer_timeout_seconds:.0f} s: {seen}")
            time.sleep(4 * POLL_SECONDS)

    def _enter(self, session: Session) -> Status:
        """Return the state of the run, which the chief first makes or finds; say ``connected``."""
        if self._chief is not None:
            resumed = self._chief.enter(session)
        else:
            self._wait_for_chief(session)
            resumed = None
        status = self._read_status(session)
        self._generation = status.generation
        self._log.emit(
            "connected",
            generation=status.generation,
            resumed=status.global_step > 0 if resumed is None else resumed,
            resumed_from=self._origin,
            global_step=status.global_step,
            carried_steps=status.carried_steps,
        )
        self._note(status)
        return status

    def _wait_for_chief(self, session: Session) -> None:
        config = self._config
        self._progress.expect("the chief to initialise the parameter servers", config.peer_timeout_seconds)
        while True:
            claims = self._state.claims(session)
            generations = {generation for _, generation in claims}
            if len(generations) == 1 and None not in generations and {o for o, _ in claims} == {config.run_id}:
                return
            time.sleep(POLL_SECONDS)

    def _prepare(self, session: Session, status: Status) -> Status:
        """Load the data onto the device, compile every step, and say ``ready``."""
        mine = status.worker_steps[self._config.task_index]
        self._progress.expect("the first run of the training step", self._config.peer_timeout_seconds)
        self._stepper.warm_up(session, mine + status.carried_steps // len(status.worker_steps))
        status = self._read_status(session)
        self._log.emit("ready", global_step=status.global_step)
        return status

    def _pass_barrier(self, session: Session, status: Status) -> Status:
        """Return when all workers have been ready once; a run has one barrier, and restarted workers none."""
        config = self._config
        if status.released:
            return status
        seconds = config.peer_timeout_seconds
        self._progress.expect("all workers to be ready", seconds)
        me = [int(worker == config.task_index) for worker in range(len(config.worker_hosts))]
        session.run(self._state.arrive, {self._state.arrival: me})
        if self._chief is not None:
            self._chief.hold_barrier(session, self._progress, seconds)
            self._log.emit("released", global_step=status.global_step)
            self._chief.release(session)
            return self._read_status(session)
        while True:
            session.run(self._woken)
            woken = self._read_status(session)
            self._check_generation(woken)
            if woken.released:
                self._log.emit("released", global_step=woken.global_step)
                return woken

    def _train(self, session: Session, status: Status) -> Status:
        """Train until the global step reaches the target; return the state then."""
        config = self._config
        meter = Meter(self._log, config.progress_interval_seconds, self._stepper.bytes_per_step)
        first = True
        if self._chief is not None:
            chief = self._chief
            self._progress.on_stop = lambda: chief.save(session, self._stepper, "signal")
        while status.global_step < self._target:
            self._progress.expect("a training step", config.peer_timeout_seconds)
            outcome = self._stepper.advance(self._target - status.global_step)
            status = outcome.status
            self._check_generation(status)
            self._note(status, outcome.steps)
            if first:
                self._log.emit("first_step", global_step=status.global_step)
                first = False
            meter.record(outcome, everything=config.is_chief)
            if self._chief is not None and status.global_step < self._target:
                self._chief.attend(session, outcome, self._stepper)
        self._progress.expect("the end", None if config.is_chief else config.peer_timeout_seconds)
        return status

    def _say_farewell(self, session: Session) -> None:
        """Tell every ps that this worker needs it no longer; that one is gone already is no matter."""
        self._progress.leave_at = time.monotonic() + FAREWELL_SECONDS
        try:
            session.run(self._state.done, {self._state.done_index: self._config.task_index})
        except self._api.OpError as problem:
            print(f"a parameter server was gone before this worker: {tf_api.said(problem)}")

    def _read_status(self, session: Session) -> Status:
        return Status.of(session.run(self._status))

    def _check_generation(self, status: Status) -> None:
        if status.generation != self._generation:
            raise PeerLost("a parameter server was lost and the run initialised anew")

    def _note(self, status: Status, steps: int = 0) -> None:
        self._progress.global_step = status.global_step
        self._progress.local_steps += steps


class Meter:
    """Says ``progress`` every now and then: the rate since the last time it did."""

    def __init__(self, log: EventLog, interval: float, bytes_per_step: float) -> None:
        """Start counting now."""
        self._log = log
        self._interval = interval
        self._bytes_per_step = bytes_per_step
        self._local = 0
        self._last: tuple[float, int] | None = None

    def record(self, outcome: Outcome, *, everything: bool) -> None:
        """Take note of a run; ``everything``: say what all workers did, too."""
        self._local += outcome.steps
        now = time.monotonic()
        if self._last is None:
            self._last = now, outcome.global_step
            return
        then, step = self._last
        if now - then < self._interval:
            return
        self._last = now, outcome.global_step
        status = outcome.status
        more = {}
        if everything:
            exchanged = int(self._bytes_per_step * sum(status.worker_steps))
            more = {"worker_steps": list(status.worker_steps), "ps_bytes": exchanged}
        self._log.emit(
            "progress",
            global_step=outcome.global_step,
            local_steps=self._local,
            steps_per_second=round((outcome.global_step - step) / (now - then), 3),
            loss=outcome.loss,
            carried_steps=status.carried_steps,
            **more,
        )


def make_stepper(api: Api, graph: Graph, config: TaskConfig, state: SharedState, data: Data) -> Stepper:
    """Return the way of training that the flags ask for."""
    if config.profile == "thesis":
        from .thesis import ThesisLearner, ThesisStep  # noqa: PLC0415  it needs the whole of TensorFlow

        learner = ThesisLearner(api, graph, config, state, data)
        if config.sync_replicas:
            return Synchronous(api, graph, config, state, learner, Exchange(api, graph, config, state))
        return ThesisStep(api, graph, config, state, learner)
    feed = Feed(api, graph, config, data)
    if config.sync_replicas:
        exchange = Exchange(api, graph, config, state)
        own = Batches(api, graph, config, state, feed, exchange)
        return Synchronous(api, graph, config, state, own, exchange)
    if config.communication_interval > 1:
        return Rounds(api, graph, config, state, feed)
    return EachStep(api, graph, config, state, feed)
