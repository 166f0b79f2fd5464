"""How a task ends: by itself, by a signal, or because a peer has been silent for too long.

The main thread does nothing but wait. Python runs a signal handler only there and only between two of its own
instructions, so a main thread inside a session's run or a server's join would be deaf; and a process with PID 1 does
not even have the default action. All work is done in daemon threads, and ``os._exit`` ends them wherever they are.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Final, NoReturn

from . import exit_codes
from .datasets import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .events import EventLog

CRASHED: Final = 1
"""The exit code of an error that nobody foresaw: the interpreter's own. Its trace is in the task's log."""

STOP_SECONDS: Final = 1.2
"""How long a stopped task may take to bring its affairs in order; it must be gone within two seconds."""


class PeerLost(Exception):
    """Another task is gone, never came, or belongs to another run. The message says which, and how long was waited."""


class Progress:
    """What the threads of a task tell its main thread: where it is, that it lives, what to do when it is stopped."""

    def __init__(self) -> None:
        """Start without a deadline."""
        self._deadline: float | None = None
        self._waiting_for = ""
        self.global_step = 0
        self.local_steps = 0
        self.on_stop: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        """What is still to be said, however the task ends; it must not wait."""
        self.leave_at: float | None = None
        """When, on the monotonic clock, the task is done whatever it still waits for."""

    def expect(self, what: str, seconds: float | None) -> None:
        """Say that ``what`` will happen within ``seconds``; ``None``: it may take as long as it likes."""
        self._waiting_for = what
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def overdue(self) -> str | None:
        """Return what has not happened in time, if anything."""
        deadline = self._deadline
        return self._waiting_for if deadline is not None and time.monotonic() > deadline else None


class Task:
    """The frame of a task: runs ``work`` in a thread, and turns however it ends into events and an exit code."""

    def __init__(self, log: EventLog, progress: Progress) -> None:
        """Take over SIGTERM and SIGINT."""
        self._log = log
        self._progress = progress
        self._wake = threading.Event()
        self._code: int | None = None
        self._signal: str | None = None
        self.stay: Callable[[], None] | None = None
        """What to do before staying when the task is done; not given, the process ends."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signal = self._signal or signal.Signals(number).name
        self._wake.set()

    def run(self, work: Callable[[], int]) -> NoReturn:
        """Do ``work`` in a daemon thread and end the process with what it returns, or with what stopped it."""
        threading.Thread(target=self._work, args=(work,), name="work", daemon=True).start()
        while not self._wake.wait(0.2):
            late = self._progress.overdue()
            if late is not None:
                self._log.emit("peer_lost", message=f"waited too long for {late}")
                self._code = exit_codes.PEER_LOST
                break
            if self._progress.leave_at is not None and time.monotonic() > self._progress.leave_at:
                self._code = exit_codes.DONE
                break
        if self._signal is not None and self._code is None:
            self._log.emit("stopping", signal=self._signal)
            self._set_in_order()
            self._code = exit_codes.STOPPED
        self._end(CRASHED if self._code is None else self._code)

    def _work(self, work: Callable[[], int]) -> None:
        try:
            code = work()
        except PeerLost as problem:
            self._log.emit("peer_lost", message=str(problem))
            code = exit_codes.PEER_LOST
        except DataError as problem:
            self._log.emit("failed", reason=type(problem).__name__, message=str(problem))
            code = exit_codes.DATA
        except BaseException as problem:  # noqa: BLE001  whatever it is, the supervisor must hear of it
            traceback.print_exc()
            self._log.emit("failed", reason=type(problem).__name__, message=str(problem))
            code = CRASHED
        if self._signal is None:
            self._code = code
        self._wake.set()

    def _set_in_order(self) -> None:
        if self._progress.on_stop is None:
            return
        # In a thread of its own: it may talk to a ps that is gone, and the end must come in time all the same.
        helper = threading.Thread(target=self._guarded, args=(self._progress.on_stop,), name="stop", daemon=True)
        helper.start()
        helper.join(STOP_SECONDS)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as problem:  # noqa: BLE001  stopping goes on
            print(f"while stopping: {problem}", file=sys.stderr)

    def _end(self, code: int) -> NoReturn:
        used = resource.getrusage(resource.RUSAGE_SELF)
        staying = self.stay is not None and code == exit_codes.DONE
        if self._progress.on_end is not None:
            self._guarded(self._progress.on_end)
        if self.stay is not None and staying:
            # Before it is said: whoever hears it may take the machine away.
            self._guarded(self.stay)
        self._log.emit(
            "finished",
            exit_code=code,
            global_step=self._progress.global_step,
            local_steps=self._progress.local_steps,
            cpu_seconds=round(used.ru_utime + used.ru_stime, 3),
            max_rss_bytes=used.ru_maxrss * 1024,
        )
        if staying:
            self._wake.clear()
            while self._signal is None:
                self._wake.wait()
        sys.stdout.flush()
        sys.stderr.flush()
        # Servers have no way to stop, and their threads would run through the interpreter's own end.
        os._exit(code)
