# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Event lines to records: the reader of what the trainer prints (schema ``dtf.event/1``).

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PREFIX = "DTF_EVENT "
SCHEMA = "dtf.event/1"


@dataclass(frozen=True)
class Event:
    """One event of one task.

    Attributes:
        event: its name, such as ``released``.
        run_id: the run it belongs to.
        role: ``ps`` or ``worker`` (``data`` for the download step).
        index: the task's index.
        attempt: how often the task had been restarted before.
        wall: seconds since the epoch on the task's host.
        monotonic: seconds of that host's monotonic clock.
        fields: what else the event tells.
    """

    event: str
    run_id: str
    role: str
    index: int
    attempt: int
    wall: float
    monotonic: float
    fields: dict[str, object] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """Return ``role-index``."""
        return f"{self.role}-{self.index}"

    def number(self, name: str) -> float | None:
        """Return a field that should be a number, or ``None`` if it is missing or something else."""
        value = self.fields.get(name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


_COMMON = ("event", "run_id", "role", "index", "attempt", "wall", "monotonic")


def parse_line(line: str) -> Event | None:
    """Return the event a line holds; ``None`` for prose and for lines that were cut off while being written."""
    if not line.startswith(PREFIX):
        return None
    try:
        document = json.loads(line[len(PREFIX) :])
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return None
    if any(name not in document for name in _COMMON):
        return None
    common = {name: document[name] for name in _COMMON}
    extra = {name: value for name, value in document.items() if name not in _COMMON and name != "schema"}
    return Event(fields=extra, **common)


def parse(lines: Iterable[str], run_id: str | None = None) -> list[Event]:
    """Return the events among lines of a log, of one run if ``run_id`` is given, in the order they stand there."""
    events = []
    for line in lines:
        event = parse_line(line)
        if event is not None and run_id in (None, event.run_id):
            events.append(event)
    return events


def of_task(events: Sequence[Event], role: str, index: int) -> list[Event]:
    """Return one task's events in order."""
    return [event for event in events if event.role == role and event.index == index]


def first(events: Sequence[Event], name: str) -> Event | None:
    """Return the first event of a name, or ``None``."""
    return next((event for event in events if event.event == name), None)


def last(events: Sequence[Event], name: str) -> Event | None:
    """Return the last event of a name, or ``None``."""
    return next((event for event in reversed(events) if event.event == name), None)
