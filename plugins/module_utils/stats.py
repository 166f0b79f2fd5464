# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records to numbers: phases, training time, rates.

Every number here is computed from event records and the supervisor's stamps, and from nothing else.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from .events import Event, first, last

PHASES = ("created", "scheduled", "image", "start", "import", "connect", "barrier", "train", "export", "exit")
#: Created to barrier: what passes before a step is made.
STARTUP = PHASES[: PHASES.index("train")]
#: The event that ends a phase of a worker. ``created`` to ``image`` end with stamps of the supervisor, ``exit`` with
#: the end of the run.
ENDS = {
    "start": "started",
    "import": "imported",
    "connect": "ready",
    "barrier": "released",
    "train": "target",
    "export": "exported",
}
#: What a parameter server goes through; it neither trains nor exports, so the other phases do not exist for it.
PS_ENDS = {"start": "started", "import": "imported", "connect": "serving"}
#: Curve to the event that its points are from, and what each point tells, by the name of the event's field.
CURVES: dict[str, tuple[str, dict[str, str]]] = {
    "batch": ("progress", {"loss": "loss", "steps_per_second": "steps_per_second"}),
    "test": ("evaluated", {"accuracy": "test_accuracy", "loss": "test_loss"}),
}
#: Points that are kept of a curve: more would be seen in no picture, and documents are read by the thousand.
MOST_POINTS = 50

Item = TypeVar("Item")


def task_ends(role: str, index: int) -> dict[str, str]:
    """Return the events that end a task's later phases, in their order; of the workers only the chief exports."""
    if role == "ps":
        return dict(PS_ENDS)
    return {phase: event for phase, event in ENDS.items() if phase != "export" or index == 0}


def boundaries(events: Sequence[Event], ends: Mapping[str, str]) -> dict[str, float]:
    """Return when each phase of a task ended for good (monotonic seconds of the task's host).

    Up to the first release (of a parameter server: until it first serves) the *last* attempt counts, since one
    that failed before was only waiting; from then on the first occurrence counts, so that whatever a restart costs
    stands inside ``train``.
    """
    settled = first(events, ends.get("barrier", ends["connect"]))
    before = [event for event in events if settled is None or event.monotonic <= settled.monotonic]
    found = {}
    for phase, name in ends.items():
        event = first(events, name) if phase in ("barrier", "train", "export") else last(before, name)
        if event is not None:
            found[phase] = event.monotonic
    return found


def consecutive(
    created: float,
    supervised: float,
    spawned: float,
    ended: Mapping[str, float],
    end: float,
    later: Iterable[str] = tuple(ENDS),
) -> dict[str, float]:
    """Return the length of each phase; together they cover ``created`` to ``end`` without gap or overlap.

    Args:
        created: when the run was decided; this and all below are monotonic seconds of one host.
        supervised: when its supervisor was up.
        spawned: when the task's first process was started.
        ended: when each later phase ended, from :func:`boundaries`; a phase that was never reached is missing.
        end: when the run was over.
        later: the phases that :func:`task_ends` has of the task, in their order; the chief's unless given.
    """
    lengths = dict.fromkeys(PHASES, 0.0)
    lengths["created"] = supervised - created
    lengths["scheduled"] = spawned - supervised
    reached = spawned
    # A run that broke off spends its remaining time in the phase it could not finish.
    open_phase = "exit"
    for phase in later:
        # One that ended before the phase in front of it did so in an attempt that was given up.
        if phase not in ended or ended[phase] < reached:
            open_phase = phase
            break
        lengths[phase] = ended[phase] - reached
        reached = ended[phase]
    lengths[open_phase] = end - reached
    return lengths


def training(chief: Sequence[Event], target_step: int, batch_size: int) -> dict[str, object]:
    """Return the training's measures from the chief's events.

    Args:
        chief: the chief's events in order.
        target_step: the global step asked for.
        batch_size: examples of one global step, which counts the batches learnt from, also in synchronous training.

    Returns:
        the ``training`` part of a run document; what never happened is ``None``.
    """
    released, target = first(chief, "released"), first(chief, "target")
    evaluated = [event for event in chief if event.event == "evaluated" and event.fields.get("final")]
    step_first = released.number("global_step") if released else None
    ending = target or last(chief, "progress")
    step_last = ending.number("global_step") if ending else None
    seconds = target.monotonic - released.monotonic if released and target else None
    rate = None
    if seconds and step_first is not None and step_last is not None:
        rate = (step_last - step_first) / seconds
    return {
        "seconds": rounded(seconds),
        "global_step_first": step_first,
        "global_step_last": step_last,
        "target_step": target_step,
        "steps_per_second": rounded(rate),
        "examples_per_second": rounded(rate * batch_size if rate is not None else None),
        "test_accuracy": evaluated[-1].number("test_accuracy") if evaluated else None,
        "test_loss": evaluated[-1].number("test_loss") if evaluated else None,
        "clock": "chief monotonic",
        "curves": {name: _curve(chief, *source) for name, source in CURVES.items()},
    }


def _curve(chief: Sequence[Event], name: str, fields: Mapping[str, str]) -> dict[str, list[float | None]]:
    """Return a curve as columns: seconds since the release, on the training time's own clock, global step, values."""
    released = first(chief, "released")
    since = [event for event in chief if released and event.event == name and event.monotonic >= released.monotonic]
    points = thinned(since, MOST_POINTS)
    begun = released.monotonic if released else 0.0
    return {
        "seconds": [rounded(event.monotonic - begun) for event in points],
        "global_step": [event.number("global_step") for event in points],
        **{column: [event.number(field) for event in points] for column, field in fields.items()},
    }


def thinned(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most so many of these in their order, evenly chosen, with both ends."""
    if len(items) <= most:
        return list(items)
    step = (len(items) - 1) / (most - 1)
    return [items[round(place * step)] for place in range(most)]


def worker_steps(chief: Sequence[Event], workers: int) -> list[int | None]:
    """Return each worker's own steps as the parameter servers counted them; ``None`` before the first count."""
    for event in reversed(chief):
        steps = event.fields.get("worker_steps")
        if event.event in ("target", "progress") and isinstance(steps, list):
            return [int(step) for step in steps]
    return [None] * workers


def rounded(value: float | None) -> float | None:
    """Return a measure with the six decimals that are stored (microseconds for times)."""
    return None if value is None else round(value, 6)
