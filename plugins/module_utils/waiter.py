# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read + predicate + clock: the whole of waiting.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Clock:
    """Time as an argument, so that a test needs none."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Outcome(Generic[Seen]):
    """What a wait came to: the last thing seen, the seconds it took and whether the predicate held."""

    seen: Seen
    elapsed: float
    satisfied: bool


def wait(
    read: Callable[[], Seen],
    predicate: Callable[[Seen], bool],
    *,
    interval: float,
    timeout: float | None = None,
    clock: Clock | None = None,
) -> Outcome[Seen]:
    """Read until the predicate holds.

    Args:
        read: looks at the world.
        predicate: judges what was read.
        interval: seconds between two looks.
        timeout: seconds after which waiting ends unsatisfied, after one last look; ``None`` is never.
        clock: time; the real one unless given.
    """
    clock = clock or Clock()
    begin = clock.monotonic()
    while True:
        seen = read()
        elapsed = clock.monotonic() - begin
        if predicate(seen):
            return Outcome(seen, elapsed, True)
        if timeout is not None and elapsed >= timeout:
            return Outcome(seen, elapsed, False)
        left = interval if timeout is None else min(interval, timeout - elapsed)
        clock.sleep(max(0.0, left))
