"""Event lines: what a task says about itself to the programs that watch it.

One event is one line on standard output, ``DTF_EVENT {json}``, shorter than 4 KiB and written in one piece, so that
lines of several threads, or of processes that share a pipe, never mix. Everything else on the stream is prose.
The fields of each event are in ``schemas/event.schema.json``; the golden files in ``tests/fixtures/events`` show whole
runs. Standard library only: the first event of a process is older than its first heavy import.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TextIO

SCHEMA: Final = "dtf.event/1"
PREFIX: Final = "DTF_EVENT "
MAX_LINE_BYTES: Final = 4095
"""The longest line, its newline included: below the 4 096 bytes that a pipe takes in one piece."""

EVENTS: Final = frozenset(
    {
        "started",
        "imported",
        "data",
        "serving",
        "waiting",
        "reached",
        "connected",
        "ready",
        "released",
        "first_step",
        "progress",
        "checkpoint",
        "evaluated",
        "target",
        "exported",
        "gpu",
        "peer_lost",
        "stopping",
        "failed",
        "fetched",
        "verified",
        "finished",
    }
)
"""The closed set of event names."""


class Emit(Protocol):
    """What a function needs that reports events: the ``emit`` of an :class:`EventLog`, or a list's in a test."""

    def __call__(self, event: str, **fields: object) -> None:
        """Report ``event`` with its own fields."""


class EventLog:
    """The events of one task, each stamped with the task's identity and both clocks.

    ``role`` is ``ps``, ``worker``, ``data`` (the step that fetches and verifies; its index is 0) or ``unknown`` (the
    flags could not be read). ``attempt`` counts the restarts of this task so far. ``wall`` is seconds since the epoch,
    comparable between hosts as far as their clocks agree; ``monotonic`` is seconds on a clock that never jumps,
    comparable only within one host. ``stream`` defaults to what ``sys.stdout`` is at the time of each event.
    """

    def __init__(
        self,
        *,
        run_id: str,
        role: str,
        index: int,
        attempt: int,
        stream: TextIO | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the task's identity; nothing is written before the first event."""
        self._identity = {"run_id": run_id, "role": role, "index": index, "attempt": attempt}
        self._stream = stream
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def emit(self, event: str, **fields: object) -> None:
        """Write one line and flush it. Any thread may call this, a signal handler must not (it could wait for itself).

        Numbers that JSON does not know (``nan``, ``inf``) become null, NumPy scalars plain numbers. A line that would
        be too long is shortened, long strings first; fields that must go are named in ``omitted``.
        Raises ``ValueError`` for an event that is not in :data:`EVENTS`.
        """
        if event not in EVENTS:
            raise ValueError(f"event {event!r} is not one of {', '.join(sorted(EVENTS))}")
        stream = self._stream if self._stream is not None else sys.stdout
        with self._lock:
            # The clocks are read under the lock, so that the lines of one task stand in the order of their times.
            stamp = {"wall": round(self._wall(), 6), "monotonic": round(self._monotonic(), 6)}
            record = {"schema": SCHEMA, "event": event, **self._identity, **stamp}
            stream.write(render(record, fields))
            stream.flush()


def render(record: Mapping[str, object], fields: Mapping[str, object]) -> str:
    """Return the line of an event: ``record`` whole, ``fields`` shortened as far as the line's limit asks for."""
    plain = {name: _plain(value) for name, value in fields.items()}
    shortened = plain
    limit = MAX_LINE_BYTES
    while len(line := _line({**record, **shortened})) > MAX_LINE_BYTES and limit > 64:
        limit //= 2
        shortened = {name: _cut(value, limit) for name, value in plain.items()}
    omitted: list[str] = []
    while len(line) > MAX_LINE_BYTES and shortened:
        longest = max(shortened, key=lambda name: len(json.dumps(shortened[name])))
        del shortened[longest]
        omitted.append(longest)
        line = _line({**record, **shortened, "omitted": omitted})
    return line


def _line(record: Mapping[str, object]) -> str:
    # ASCII only: one character is one byte, whatever encoding the stream was given.
    return f"{PREFIX}{json.dumps(record, separators=(',', ':'), allow_nan=False)}\n"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "tolist"):  # NumPy's scalars and arrays, without importing NumPy here
        return _plain(value.tolist())
    return str(value)


def _cut(value: object, limit: int) -> object:
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]}…"
    if isinstance(value, dict):
        return {key: _cut(item, limit) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, limit) for item in value]
    return value
