"""The task of a parameter server: hold variables until the last worker needs them no longer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from . import exit_codes, tf_api
from .distributed import done_queue, ps_device, session_config, start_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import EventLog
    from .flags import TaskConfig
    from .lifecycle import Progress
    from .tf_api import Api

AFTER_CHIEF_SECONDS: Final = 15.0
"""How long a ps waits for other workers when the chief is done: enough for a lost one to be started again."""

LINGER_SECONDS: Final = 0.5
"""How long a ps stays after the last farewell, so that its answer gets out."""

STOP_LINGER_SECONDS: Final = 1.0
"""How long a ps that is stopped stays, so that a chief that is stopped with it gets its checkpoint."""


def run(config: TaskConfig, log: EventLog, progress: Progress, imported: Callable[[Api], None]) -> int:
    """Serve, and return the exit code when all workers are done."""
    api = tf_api.load(verbose=config.log_device_placement)
    imported(api)
    server = start_server(api, config)
    progress.on_stop = lambda: time.sleep(STOP_LINGER_SECONDS)
    farewells = Farewells(api, config, server.target)
    log.emit("serving", address=config.ps_hosts[config.task_index])
    _count_farewells(farewells, progress, len(config.worker_hosts))
    time.sleep(LINGER_SECONDS)
    return exit_codes.DONE


class Farewells:
    """This ps's queue of workers that are done. Making it also writes whose ps this is, before anybody can ask."""

    def __init__(self, api: Api, config: TaskConfig, target: str) -> None:
        """Claim this ps for the run and open its queue."""
        graph = api.graph()
        with graph.as_default(), graph.device(ps_device(config.task_index)):
            identity = api.raw.VarHandleOp(dtype=api.string, shape=(), shared_name=f"dtf/identity/{config.task_index}")
            claim = api.raw.AssignVariableOp(resource=identity, value=api.constant(config.run_id))
            queue = done_queue(api, graph, config.task_index)
            self._next = api.raw.QueueDequeueV2(handle=queue, component_types=[api.int32])[0]
        self._session: Any = api.Session(target, graph=graph, config=session_config(api, config))
        self._session.run(claim)

    def next(self) -> int:
        """Return the index of the next worker that says it is done; wait for it as long as it takes."""
        return int(self._session.run(self._next))


def _count_farewells(farewells: Farewells, progress: Progress, workers: int) -> None:
    """Return when every worker is done, or a bounded time after the chief is.

    A worker that was restarted may say so twice: a set is counted. The bound is kept by the main thread, since nothing
    ends a wait for the queue.
    """
    done: set[int] = set()
    while len(done) < workers:
        done.add(farewells.next())
        if 0 in done and progress.leave_at is None:
            progress.leave_at = time.monotonic() + AFTER_CHIEF_SECONDS
