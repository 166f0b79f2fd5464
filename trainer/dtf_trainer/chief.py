"""The duties of worker 0: initialise the run, hold the barrier, keep the checkpoint, and bring the result home."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import checkpoint as checkpoints
from .checkpoint import Checkpoint
from .distributed import ADAM_STEP, CARRIED_STEPS, WORKER_STEPS, SharedState, Values
from .evaluation import Evaluator
from .export import export
from .lifecycle import PeerLost
from .model import initial_parameters, parameter_shapes
from .summaries import Summaries

if TYPE_CHECKING:
    from .datasets import Data
    from .events import EventLog
    from .flags import TaskConfig
    from .lifecycle import Progress
    from .steps import Outcome, Stepper
    from .tf_api import Api, Session

BARRIER_POLL_SECONDS: Final = 0.02


class Chief:
    """What only worker 0 does. ``found`` is the checkpoint to go on from, ``path`` where this run keeps its own."""

    def __init__(
        self,
        api: Api,
        config: TaskConfig,
        data: Data,
        state: SharedState,
        log: EventLog,
        *,
        found: Checkpoint | None,
        path: Path | None,
    ) -> None:
        """Build the evaluation's graph."""
        self._api = api
        self._config = config
        self._state = state
        self._log = log
        self._found = found
        self._path = path
        self._evaluator = Evaluator(api, data, config.hidden_units)
        self._saving = threading.Lock()
        self._saver: threading.Thread | None = None
        self._saved_at = time.monotonic()
        self._evaluated_at = 0
        self._final: Values = {}
        # The thesis's loop writes its own.
        self._summaries = Summaries(api, config.log_dir) if config.log_dir and config.profile == "fast" else None
        self._summarized: tuple[int, float] = (0, time.monotonic())

    def enter(self, session: Session) -> bool:
        """Find the run going on on all ps, or initialise all of them; return whether there were steps before.

        If one ps has lost its state all are initialised, from the checkpoint if there is one: a run is never half old.
        """
        claims = self._state.claims(session)
        ours = {owner for owner, _ in claims} == {self._config.run_id}
        generations = {generation for _, generation in claims}
        if ours and len(generations) == 1 and None not in generations:
            return True
        found = self._found
        released = False if found is None else found.released
        self._state.initialize(session, self._first_values(), run_id=self._config.run_id, released=released)
        return found is not None

    def _first_values(self) -> dict[str, Any]:
        found = self._found
        if found is None:
            shapes = checkpoints.array_shapes(self._config.hidden_units)
            found = Checkpoint(
                run_id=self._config.run_id,
                hidden_units=self._config.hidden_units,
                arrays={name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
                | initial_parameters(self._config.hidden_units, self._config.seed),
                adam_step=1.0,
                worker_steps=(0,) * self._state.workers,
                carried_steps=0,
                released=False,
            )
        return {
            **found.arrays,
            f"{ADAM_STEP}/0": found.adam_step,
            WORKER_STEPS: found.worker_steps,
            CARRIED_STEPS: found.carried_steps,
        }

    def hold_barrier(self, session: Session, progress: Progress, seconds: float) -> None:
        """Wait until each worker was ready once, and write the checkpoint that remembers it.

        Raises :class:`PeerLost`, naming the missing, if that takes longer than ``seconds``.
        """
        deadline = time.monotonic() + seconds
        progress.expect("all workers to be ready", seconds + 5)
        while True:
            arrived = self._state.fetch(session, ["arrived"])["arrived"]
            missing = [str(worker) for worker, times in enumerate(arrived) if not times]
            if not missing:
                break
            if time.monotonic() >= deadline:
                raise PeerLost(f"worker {', '.join(missing)} not ready in {seconds:.0f} s")
            time.sleep(BARRIER_POLL_SECONDS)
        # Whoever restarts from this checkpoint must not wait at the barrier again: not all may come a second time.
        if self._path is not None:
            checkpoints.write(self._path, self._checkpoint(self._pull(session), released=True))

    def release(self, session: Session) -> None:
        """Let all workers go."""
        self._state.assign(session, {"released": 1})
        session.run(self._state.wake_all, {self._state.wake_number: 0})

    def attend(self, session: Session, outcome: Outcome, stepper: Stepper) -> None:
        """Between two runs: write a checkpoint, evaluate, write summaries, whatever it is time for."""
        now = time.monotonic()
        busy = self._saver is not None and self._saver.is_alive()
        if self._path is not None and not busy and now - self._saved_at >= self._config.checkpoint_interval_seconds:
            self._saved_at = now
            # In a thread: neither the ps nor the disk should keep this worker from training.
            arguments = (session, stepper, "interval")
            self._saver = threading.Thread(target=self._save_quietly, args=arguments, name="checkpoint", daemon=True)
            self._saver.start()
        step, interval = outcome.global_step, self._config.evaluation_interval
        if self._config.profile == "fast" and interval and step - self._evaluated_at >= interval:
            self._evaluated_at = step
            self._say_score(self._state.fetch(session, self._state.shapes), step, final=False)
        if self._summaries is not None and step - self._summarized[0] >= self._config.summary_interval:
            before, then = self._summarized
            self._summarized = step, now
            rate = (step - before) / max(now - then, 1e-9)
            self._summaries.scalars(step, {"cross_entropy": outcome.loss, "global_steps_per_second": rate})

    def _save_quietly(self, session: Session, stepper: Stepper, reason: str) -> None:
        try:
            self.save(session, stepper, reason)
        except (self._api.OpError, OSError) as problem:
            # A lost ps the training thread meets as well, and knows what to do about it. A full disk may have room for
            # the next checkpoint; only the last one must be written, or the run fails.
            print(f"no checkpoint: {problem}", file=sys.stderr)

    def save(self, session: Session, stepper: Stepper, reason: str) -> None:
        """Write a checkpoint of the state on the ps, if the run keeps one; ``reason``: interval, signal or end."""
        if self._path is None:
            return
        with self._saving:
            stepper.publish()
            self._write(self._pull(session), reason)

    def _pull(self, session: Session) -> Values:
        return self._state.fetch(session, self._state.trained_names())

    def _checkpoint(self, values: Values, *, released: bool) -> Checkpoint:
        return Checkpoint(
            run_id=self._config.run_id,
            hidden_units=self._config.hidden_units,
            arrays={name: values[name] for name in checkpoints.array_shapes(self._config.hidden_units)},
            adam_step=float(values[f"{ADAM_STEP}/0"]),
            worker_steps=tuple(int(steps) for steps in values[WORKER_STEPS]),
            carried_steps=int(values[CARRIED_STEPS]),
            released=released,
        )

    def _write(self, values: Values, reason: str) -> None:
        if self._path is None:
            return
        made = self._checkpoint(values, released=True)
        size = checkpoints.write(self._path, made)
        self._log.emit("checkpoint", global_step=made.global_step, file=str(self._path), bytes=size, reason=reason)

    def take_home(self, session: Session, stepper: Stepper | None) -> None:
        """Get the final state: after this, no ps is needed any more. ``stepper`` is what trained here, if anything."""
        with self._saving:
            if stepper is not None:
                stepper.publish()
            self._final = self._pull(session)

    def finish(self) -> None:
        """Score, save and export the final state."""
        step = int(self._final[CARRIED_STEPS]) + int(self._final[WORKER_STEPS].sum())
        self._say_score(self._final, step, final=True)
        with self._saving:
            self._write(self._final, "end")
        if self._config.export_dir is not None:
            size = export(self._api, Path(self._config.export_dir), self._final)
            self._log.emit("exported", path=self._config.export_dir, bytes=size)

    def _say_score(self, values: Values, step: int, *, final: bool) -> None:
        score = self._evaluator.score(values)
        self._log.emit("evaluated", global_step=step, test_accuracy=score.accuracy, test_loss=score.loss, final=final)
        if self._summaries is not None:
            self._summaries.scalars(step, {"test_accuracy": score.accuracy, "test_loss": score.loss})
            self._summaries.histograms(step, {name: values[name] for name in parameter_shapes(1)})
            self._summaries.flush()
