# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watching a run on one host with commands so light that watching does not disturb the measurement.

A module costs half a second of CPU; one look here is a shell with ``cat`` and ``tail``.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..module_utils.events import Event, parse_line

#: More than a chief can print between two looks; what is left over is read with the next one.
LOG_BYTES_A_LOOK = 262144
SEPARATOR = "\x1e"


@dataclass(frozen=True)
class Look:
    """What one look at a host showed.

    Attributes:
        status: the supervisor's ``status.json``, or ``None`` before it was written.
        reached: whether the host answered.
        message: what the connection said if it did not.
    """

    status: dict[str, Any] | None
    reached: bool = True
    message: str = ""

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The supervisor's records of this host's tasks."""
        return list(self.status["tasks"]) if self.status is not None else []

    @property
    def finished(self) -> bool:
        """Whether all tasks of this host have ended."""
        return self.status is not None and bool(self.status["finished"])


@dataclass
class RunWatch:
    """Reads the state of a run and the chief's new events through ``execute``.

    Attributes:
        run_dir: the run's directory on the host.
        execute: runs a shell command on the host and returns ``(return code, standard output, standard error)``.
        chief_log: whether the chief's log is on this host.
        events: the chief's events so far.
        wall: this machine's clock (seconds since the epoch).
        clock_ahead_seconds: how far the host's clock is ahead of this machine's, from the look that took the shortest
            time, half of which it may be wrong by; ``None`` before the first look, or where the host cannot tell.
    """

    run_dir: str
    execute: Callable[[str], tuple[int, str, str]]
    chief_log: bool
    events: list[Event] = field(default_factory=list)
    wall: Callable[[], float] = time.time
    clock_ahead_seconds: float | None = None
    _shortest_look: float = float("inf")
    _offset: int = 0
    _rest: str = ""

    def look(self) -> Look:
        """Renew the lease, read the status and what the chief has printed since the last look."""
        place = shlex.quote(self.run_dir)
        command = f"cd {place} && touch lease && cat status.json && printf '\\036' && date +%s.%N && printf '\\036'"
        if self.chief_log:
            command += f" && tail -c +{self._offset + 1} logs/worker-0.log 2>/dev/null | head -c {LOG_BYTES_A_LOOK}"
        asked = self.wall()
        code, output, error = self.execute(command)
        answered = self.wall()
        text, separator, rest = output.partition(SEPARATOR)
        if not separator:
            return Look(None, reached=False, message=error.strip() or f"return code {code}")
        moment, _separator, log = rest.partition(SEPARATOR)
        self._compare_clocks(asked, moment, answered)
        self._take(log)
        return Look(json.loads(text))

    def _compare_clocks(self, asked: float, moment: str, answered: float) -> None:
        """Take the host's clock for the middle of the look, as NTP does; the shortest look errs least."""
        try:
            host = float(moment)
        except ValueError:
            # A `date` that knows no fractions of a second prints something else.
            return
        if 0 <= answered - asked < self._shortest_look:
            self._shortest_look = answered - asked
            self.clock_ahead_seconds = round(host - (asked + answered) / 2, 6)

    def _take(self, log: str) -> None:
        """Add the events of complete lines; a line that is still being written waits for its end."""
        # A connection with a terminal, as SSH makes one, turns each line's end into two characters.
        log = log.replace("\r\n", "\n")
        self._offset += len(log.encode("utf-8", errors="surrogateescape"))
        *lines, self._rest = (self._rest + log).split("\n")
        for line in lines:
            event = parse_line(line)
            if event is not None and event.task == "worker-0":
                self.events.append(event)
