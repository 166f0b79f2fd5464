"""``python -m dtf_trainer``: one task. Nothing heavy is imported before the flags are known to be right."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import connections, exit_codes
from .events import EventLog
from .flags import FlagErrors, TaskConfig, parse
from .idle import idle, is_done, write_done

if TYPE_CHECKING:
    from collections.abc import Callable

    from .lifecycle import Progress
    from .tf_api import Api


def main() -> NoReturn:
    """Run the task that the command line and the environment describe, and exit with its code."""
    try:
        config = parse(sys.argv[1:], os.environ)
    except FlagErrors as problem:
        refuse(problem)
    if config.needs_peers and is_done(config):
        idle(config)
    role = config.job_name if config.needs_peers else "data"
    index = config.task_index if config.needs_peers else 0
    attempt = config.attempt if config.attempt_file is None else count_start(Path(config.attempt_file))
    log = EventLog(run_id=config.run_id, role=role, index=index, attempt=attempt)
    log.emit("started", pid=os.getpid(), host=socket.gethostname())
    from .lifecycle import Progress, Task  # noqa: PLC0415

    progress = Progress()
    task = Task(log, progress)
    if config.needs_peers and config.idle_when_done:
        task.stay = lambda: write_done(config)
    task.run(work_of(config, log, progress))


def count_start(file: Path) -> int:
    """Return how often a task was started before, as its file says, and count this time.

    A file that cannot be written or read counts nothing: every start is the first, which is no reason to fail.
    """
    try:
        starts = int(file.read_text(encoding="ascii")) if file.exists() else 0
        file.write_text(str(starts + 1), encoding="ascii")
    except (OSError, ValueError) as problem:
        print(f"restarts are not counted: {problem}", file=sys.stderr)
        return 0
    return starts


def refuse(problem: FlagErrors) -> NoReturn:
    """Say everything that is wrong with the flags, to people and to programs, and exit."""
    for line in problem.problems:
        print(line, file=sys.stderr)
    log = EventLog(run_id=os.environ.get("DTF_RUN_ID") or "local", role="unknown", index=0, attempt=0)
    log.emit("started", pid=os.getpid(), host=socket.gethostname())
    log.emit("failed", reason="FlagErrors", message="; ".join(problem.problems))
    log.emit("finished", exit_code=exit_codes.BAD_INPUT, global_step=0, local_steps=0)
    sys.exit(exit_codes.BAD_INPUT)


def work_of(config: TaskConfig, log: EventLog, progress: Progress) -> Callable[[], int]:
    """Return what the task does; it is imported when it is called, in a thread that signals can overtake."""

    def look_after_data() -> int:
        from . import fetch  # noqa: PLC0415

        if config.verify_only:
            fetch.report_verified(config.dataset, config.data_dir, log.emit)
        else:
            fetch.fetch(config.dataset, config.data_dir, config.data_source, log.emit)
        return exit_codes.DONE

    def take_part() -> int:
        began = time.monotonic()
        # Before anybody gives up waiting for a task that is there again, the way to it must be free.
        connections.watch(config.peer_timeout_seconds / 3)

        def imported(api: Api) -> None:
            import numpy as np  # noqa: PLC0415

            log.emit(
                "imported",
                seconds=round(time.monotonic() - began, 3),
                tensorflow=api.version,
                python=platform.python_version(),
                numpy=np.__version__,
                lean=api.lean,
            )

        if config.job_name == "ps":
            from . import ps  # noqa: PLC0415

            return ps.run(config, log, progress, imported)
        from . import worker  # noqa: PLC0415

        return worker.run(config, log, progress, imported)

    return take_part if config.needs_peers else look_after_data


if __name__ == "__main__":
    main()
