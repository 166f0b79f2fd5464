# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Beginnings of tasks → how long each role took.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True)
class Clocked:
    """One task's beginning.

    Attributes:
        role: the role it belongs to.
        task: its name.
        begun: seconds on a monotonic clock.
    """

    role: str
    task: str
    begun: float


@dataclass(frozen=True)
class Phase:
    """One role's time in the order of its first task.

    Attributes:
        role: its name.
        seconds: all of its tasks, however often the role was run.
        longest: name of the task that took longest.
        longest_seconds: how long that one took.
    """

    role: str
    seconds: float
    longest: str
    longest_seconds: float


def phases(clocked: Sequence[Clocked], ended: float) -> list[Phase]:
    """Return each role's time; they add up to the time from the first task to the end."""
    ends = chain((clock.begun for clock in clocked[1:]), [ended])
    spent: dict[str, list[tuple[float, str]]] = {}
    for clock, end in zip(clocked, ends):
        spent.setdefault(clock.role, []).append((end - clock.begun, clock.task))
    return [
        Phase(role, sum(seconds for seconds, _task in times), max(times)[1], max(times)[0])
        for role, times in spent.items()
    ]


def table(clocked: Sequence[Clocked], ended: float, shortest: float) -> list[str]:
    """Return the lines to print; none for a playbook that took no time worth telling.

    Args:
        clocked: every task's beginning, in order.
        ended: when the last task ended.
        shortest: seconds below which a whole playbook is not worth a table.
    """
    found = phases(clocked, ended)
    total = sum(phase.seconds for phase in found)
    if not found or total < shortest:
        return []
    width = max(len(phase.role) for phase in found)
    lines = ["", f"{'role'.ljust(width)}  seconds  longest task"]
    lines += [
        f"{phase.role.ljust(width)}  {phase.seconds:7.1f}  {phase.longest} ({phase.longest_seconds:.1f})"
        for phase in found
    ]
    return [*lines, f"{'all'.ljust(width)}  {total:7.1f}"]
