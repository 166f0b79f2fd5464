# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live progress of a training as one line of text, from the newest events and the supervisors' records.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .events import Event, first, last
from .status import tasks_up

#: What a chief is about after each of its events, the latest first.
_BEFORE_TRAINING = (
    ("ready", "waiting at the barrier"),
    ("connected", "compiling the step"),
    ("imported", "connecting"),
    ("started", "importing TensorFlow"),
)


def progress_line(
    chief: Sequence[Event], tasks: Sequence[Mapping[str, object]], task_count: int, target_step: int
) -> str:
    """Return what a person wants to know now: step, rate, time left, tasks up, restarts.

    Args:
        chief: the chief's events so far.
        tasks: supervisors' records of all tasks known to this controller.
        task_count: how many tasks the topology has.
        target_step: the global step asked for; 0 is for ever.
    """
    up = f"{tasks_up(tasks)}/{task_count} tasks up"
    restarts = sum(int(str(task["restarts"])) for task in tasks)
    if restarts:
        up += ", {} restart{}".format(restarts, "" if restarts == 1 else "s")
    return f"{_stage(chief, target_step)} · {up}"


def _stage(chief: Sequence[Event], target_step: int) -> str:
    attempt = _newest_attempt(chief)
    ended = last(attempt, "finished")
    code = ended.number("exit_code") if ended else None
    if last(chief, "exported") or code == 0:
        return "exported, ending"
    # A chief that lost a peer, or was told to stop, says that it is finished too.
    if code is not None:
        return f"the chief ended with exit code {code:.0f}"
    if first(chief, "target"):
        return "target reached, evaluating and exporting"
    # The barrier opens once in a run: a chief that was started again says only that it trains.
    if not any(last(attempt, name) for name in ("released", "first_step", "progress")):
        return next((text for name, text in _BEFORE_TRAINING if last(attempt, name)), "starting")
    newest = last(attempt, "progress")
    step = newest.number("global_step") if newest else None
    if newest is None or step is None:
        return "training"
    rate = _rate(attempt)
    text = f"step {step:,.0f}" + (f" of {target_step:,}" if target_step else "")
    if rate:
        text += f" · {rate:,.0f} steps/s"
        if target_step > step:
            text += f" · {duration((target_step - step) / rate)} left"
    loss = newest.number("loss")
    return text + (f" · loss {loss:.3g}" if loss is not None else "")


def _newest_attempt(chief: Sequence[Event]) -> Sequence[Event]:
    """Return what the chief has said since it was started last."""
    begun = [number for number, event in enumerate(chief) if event.event == "started"]
    return chief[begun[-1] :] if begun else chief


def _rate(chief: Sequence[Event]) -> float | None:
    """Return global steps a second over the last few progress events: recent, but not nervous."""
    reports = [event for event in chief if event.event in ("released", "progress")][-6:]
    oldest, newest = reports[0], reports[-1]
    seconds = newest.monotonic - oldest.monotonic
    before, after = oldest.number("global_step"), newest.number("global_step")
    if seconds <= 0 or before is None or after is None or after <= before:
        return None
    return (after - before) / seconds


def duration(seconds: float) -> str:
    """Return a time as people read it: ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return "{} min {:02d} s".format(*divmod(whole, 60))
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
