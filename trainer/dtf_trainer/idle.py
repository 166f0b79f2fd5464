"""A task that is done and stays: where whatever runs it would start it again, and it would train again.

A StatefulSet's pods are restarted however they end. There a task that is done writes that down, keeps its process, and
a process that finds it written down does nothing but listen, so that whoever asks whether it is ready hears yes.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import exit_codes

if TYPE_CHECKING:
    from types import FrameType

    from .flags import TaskConfig


def is_done(config: TaskConfig) -> bool:
    """Say whether this task's part in its run was played before this process began."""
    if not config.idle_when_done:
        return False
    return any(_read(path) == config.run_id for path in (config.done_file, config.finished_file) if path)


def write_done(config: TaskConfig) -> None:
    """Write down that this task is done. That it cannot be written is said, and no reason to fail now."""
    if config.done_file is None:
        return
    path = Path(config.done_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config.run_id + "\n", encoding="utf-8")
    except OSError as problem:
        print(f"a restart will not know that this task is done: {problem}", file=sys.stderr)


def idle(config: TaskConfig) -> NoReturn:
    """Listen on the task's port and do nothing until a signal says to end."""
    print(f"run {config.run_id} is done; waiting to be removed", flush=True)
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    hosts = config.ps_hosts if config.job_name == "ps" else config.worker_hosts
    threading.Thread(target=_listen, args=(hosts[config.task_index],), name="idle", daemon=True).start()
    stopped.wait()
    sys.exit(exit_codes.DONE)


def _listen(address: str) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("", int(address.rpartition(":")[2])))
        server.listen()
        while True:
            server.accept()[0].close()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
