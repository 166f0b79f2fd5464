# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many workers are worth having: what to measure next, or where to stop.

**The right size.** Growing from ``w`` workers to ``v`` is worth it where the training becomes at least
``(1 + threshold) ** log2(v / w)`` times as fast: a threshold for each doubling, of which one worker more is a part. So
the right size is the one with the least *cost*, ``log(seconds) + log2(workers) log(1 + threshold)``. For Amdahl's law
and the universal one the cost falls up to the right size and rises behind it: it is the last size that is worth growing
to, whatever the steps in which one goes there.

**The search.** Sizes are doubled until one is surely not worth it. Then a law is fitted to all runs so far; the size
where it is least is measured, and after it one run after the other of whatever size tells most of where that is, until
the runs leave only that size and its neighbours, or every size has all runs that it may have. A law that the runs
refute is not asked: then the gaps around the cheapest measured size are halved.

A decision is a function of what was measured. There is no other memory, so a search that was broken off goes on where
it was, and its whole course can be told afterwards. Pure.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

from ..module_utils.errors import ActionFailed
from .samples import CONFIDENCE, Interval, Ratio
from .scaling import LEAST_MISFIT, comparison
from .scaling_laws import Fit, Times, TooLittle, amdahl, means, student_draws, usl
from .scientific import np, require, special

#: How much of what may be true has to speak for a decision. The runs are looked at again after each of them, and a look
#: too many finds what is not there: 95 % would end one search in six too early.
CERTAIN = 0.98
#: The least gain of a doubling that is worth it, as a share.
THRESHOLD = 0.1
#: How many runs a size gets at first, and at most.
MIN_REPEATS, MAX_REPEATS = 3, 10
#: Sizes beside the most probable ones that a sentence names.
MOST_NAMED = 4

#: What says how fast a size is, in sentences.
NAMES = {"usl": "the universal law", "amdahl": "Amdahl's law", "cells": "the runs"}

#: Training seconds of each successful run, oldest first, by size.
Seconds = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Limits:
    """What a search may do.

    Attributes:
        max_workers: the largest size.
        threshold: by what share a doubling has to make the training faster.
        min_repeats: runs that each size gets that is measured at all; two or more.
        max_repeats: runs that a size gets at most.
        bounds: sizes that cannot be measured, and why: they have no place, or are given up.
    """

    max_workers: int
    threshold: float = THRESHOLD
    min_repeats: int = MIN_REPEATS
    max_repeats: int = MAX_REPEATS
    bounds: Mapping[int, str] = field(default_factory=dict)

    @property
    def top(self) -> int:
        """The largest size below all that cannot be measured; 0 where there is none."""
        return min([self.max_workers, *(size - 1 for size in self.bounds)])

    @property
    def toll(self) -> float:
        """What a doubling has to bring, as a logarithm."""
        return math.log1p(self.threshold)

    def least_gain(self, small: int, large: int) -> float:
        """Return how many times as fast a size has to be to be worth growing to."""
        return math.exp(self.toll * math.log2(large / small))

    def ladder(self) -> list[int]:
        """Return the sizes that doubling comes by, and the largest."""
        rungs = [1]
        while rungs[-1] < self.top:
            rungs.append(min(2 * rungs[-1], self.top))
        return rungs


@dataclass(frozen=True)
class Measure:
    """A size to measure.

    Attributes:
        size: workers.
        repeats: successful runs that it is to have then.
        why: what for.
    """

    size: int
    repeats: int
    why: str


@dataclass(frozen=True)
class Stop:
    """The end of a search.

    Attributes:
        size: workers that are worth having.
        reason: ``threshold``, growing further is not worth it; ``max_workers`` or ``bound``, the size is the largest
            that is allowed, or that can be measured.
        certain: whether the runs leave only it and its neighbours.
        shares: how much of what may be true has the right size there, by size.
        source: ``usl`` or ``amdahl``, the law that says so, or ``cells``, the measured sizes each for itself.
        fit: the law.
        statements: sentences that explain it.
    """

    size: int
    reason: str
    certain: bool
    shares: Mapping[int, float]
    source: str
    fit: Fit | None
    statements: tuple[str, ...]


# Evaluated when the file is imported, by Python 3.9 too.
Decision = Union[Measure, Stop]


@dataclass(frozen=True)
class _View:
    """What the runs say.

    Attributes:
        best: the size with the least cost.
        shares: how much of what may be true has it there, by size.
        source: the law that says so, or ``cells``.
        fit: the law.
        larger: the next size a law or the runs know, and how many times as fast it is; ``None`` where there is none.
        speed_up: how many times as fast as one worker.
    """

    best: int
    shares: Mapping[int, float]
    source: str
    fit: Fit | None
    larger: tuple[int, float] | None
    speed_up: Ratio

    @property
    def certain(self) -> bool:
        """Whether the runs leave only the best size and its neighbours."""
        return math.fsum(share for size, share in self.shares.items() if abs(size - self.best) <= 1) >= CERTAIN


def search(runs: Seconds, limits: Limits) -> list[tuple[Decision, dict[int, int]]]:
    """Return a whole search over runs that there are: each decision, with the runs of each size it was made of.

    The last is the end, or what is still to be measured. Runs that no decision asked for are not looked at, so that the
    same runs give the same search, however often it was broken off.

    Args:
        runs: all successful ones, oldest first, by size.
        limits: what the search may do.

    Raises:
        ActionFailed: not even one worker can be measured, or SciPy is not there.
    """
    known: dict[int, tuple[float, ...]] = {}
    course: list[tuple[Decision, dict[int, int]]] = []
    while True:
        decision = decide(known, limits)
        course.append((decision, {size: len(seconds) for size, seconds in sorted(known.items())}))
        if isinstance(decision, Stop):
            return course
        there = tuple(runs.get(decision.size, ()))[: decision.repeats]
        if len(there) < decision.repeats:
            return course
        known[decision.size] = there


def decide(measured: Seconds, limits: Limits) -> Decision:
    """Return what to measure next, or where to stop.

    Args:
        measured: what has been measured.
        limits: what the search may do.

    Raises:
        ActionFailed: not even one worker can be measured, or SciPy is not there.
    """
    require()
    if limits.top < 1:
        raise ActionFailed("nothing_fits", f"one worker cannot be measured: {limits.bounds.get(1, 'none is allowed')}")
    known = {size: tuple(seconds) for size, seconds in sorted(measured.items()) if seconds and size <= limits.top}
    climbed = _climb(known, limits)
    if isinstance(climbed, Measure):
        return climbed
    view = _look(known, climbed, limits)
    return _narrow(known, view, limits) or _stop(view, limits)


def _climb(known: Seconds, limits: Limits) -> int | Measure:
    """Return the largest size that doubling comes to, the first that is surely not worth it; or what is missing."""
    ladder = limits.ladder()
    for place, size in enumerate(ladder):
        if len(known.get(size, ())) < limits.min_repeats:
            why = f"{ladder[place - 1]} may be worth doubling" if place else "everything is compared with it"
            return Measure(size, limits.min_repeats, why)
        if place and 1 - _worth(known, ladder[place - 1], size, limits) >= CERTAIN:
            return size
    return ladder[-1]


def _worth(known: Seconds, small: int, large: int, limits: Limits) -> float:
    """Return how sure it is that growing is worth it, of the runs of these two sizes and the spread of all."""
    found = means(_times(known))
    pick = np.asarray([(size == small) - (size == large) for size in found.sizes], dtype=float)
    more = float(pick @ found.logs) - math.log(limits.least_gain(small, large))
    error = math.sqrt(float(pick @ found.covariance @ pick))
    return float(special.stdtr(found.freedom, more / error)) if error else float(more >= 0)


def _times(known: Seconds) -> Times:
    pairs = [(size, value) for size, values in known.items() for value in values]
    return Times(tuple(size for size, _value in pairs), tuple(value for _size, value in pairs))


def _look(known: Seconds, largest: int, limits: Limits) -> _View:
    """Return what the runs say of the sizes up to the largest: by a law, or of those measured."""
    times = _times(known)
    fit = _law(times)
    if fit is not None:
        sizes = tuple(range(1, largest + 1))
        logs, draws = np.log([fit.seconds(size) for size in sizes]), fit.draws(sizes)
    else:
        found = means(times)
        sizes, logs = found.sizes, found.logs
        draws = student_draws(logs, found.covariance, found.freedom)
    paid = limits.toll * np.log2(sizes)
    place = int((logs + paid).argmin())
    counts = np.bincount((draws + paid).argmin(axis=1), minlength=len(sizes)) / len(draws)
    larger = (sizes[place + 1], math.exp(logs[place] - logs[place + 1])) if place + 1 < len(sizes) else None
    shares = {size: float(share) for size, share in zip(sizes, counts) if share}
    low, high = np.exp(np.quantile(draws[:, 0] - draws[:, place], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    value = math.exp(logs[0] - logs[place])
    speed_up = Ratio(value, Interval(float(low), float(high), "draws"), "independent", len(times.sizes))
    return _View(sizes[place], shares, fit.law if fit else "cells", fit, larger, speed_up)


def _law(times: Times) -> Fit | None:
    """Return the law to ask: the universal one unless its coherency is negative, then Amdahl's; none if refuted."""
    for law in (usl, amdahl):
        try:
            fit = law(times)
        except TooLittle:
            continue
        if law is usl and fit.theta[-1] < 0:
            continue
        return fit if fit.misfit is None or fit.misfit >= LEAST_MISFIT else None
    return None


def _narrow(known: Seconds, view: _View, limits: Limits) -> Measure | None:
    """Return what tells more of where the right size is; nothing where it is known, or no more can be."""
    if view.fit is None:
        gap = _widest_gap(sorted(known), view.best)
        if gap:
            return Measure(sum(gap) // 2, limits.min_repeats, f"it is between {gap[0]} and {gap[1]}; no law fits")
    elif len(known.get(view.best, ())) < limits.min_repeats:
        return Measure(view.best, limits.min_repeats, f"{NAMES[view.source]} has the right size there")
    if view.certain:
        return None
    open_sizes = [size for size, seconds in known.items() if len(seconds) < limits.max_repeats]
    if view.fit is None:
        open_sizes = _around(sorted(known), view.best, open_sizes)
    if not open_sizes:
        return None
    fit = view.fit
    size = max(open_sizes, key=lambda size: _told(fit, view.best, size) if fit else -len(known[size]))
    return Measure(size, len(known[size]) + 1, f"the right size may be {_named(view.shares)}")


def _widest_gap(sizes: Sequence[int], best: int) -> tuple[int, int] | None:
    """Return the wider gap of those beside a size, as a ratio, that has a size in it."""
    gaps = [(low, high) for low, high in zip(sizes, sizes[1:]) if high - low > 1 and best in (low, high)]
    return max(gaps, key=lambda gap: gap[1] / gap[0]) if gaps else None


def _around(sizes: Sequence[int], best: int, open_sizes: Sequence[int]) -> list[int]:
    """Return the open ones of a size and its measured neighbours."""
    place = sizes.index(best)
    return [size for size in sizes[max(0, place - 1) : place + 2] if size in open_sizes]


def _told(fit: Fit, best: int, size: int) -> float:
    """Return how much surer one more run of a size would make whether the best is too small or too large.

    That is told by how its neighbours differ; the variance of their difference is what a run lessens.
    """
    below, above, here = fit.slopes([max(best - 1, 0.5), best + 1, size])
    covariance = np.asarray(fit.covariance)
    shared = float((above - below) @ covariance @ here)
    return shared**2 / (fit.noise**2 + float(here @ covariance @ here))


def _named(shares: Mapping[int, float]) -> str:
    """Return the sizes that may be right, the most probable first."""
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{size} ({share:.0%})" for size, share in ordered[:MOST_NAMED] if share >= 0.005]
    return ", ".join(named)


def _stop(view: _View, limits: Limits) -> Stop:
    largest = "max_workers" if view.best == limits.max_workers else "bound"
    reason = largest if view.best == limits.top else "threshold"
    statements = (*_speed(view), *_growth(view, reason, limits), _sureness(view, limits))
    return Stop(view.best, reason, view.certain, view.shares, view.source, view.fit, statements)


def _speed(view: _View) -> tuple[str, ...]:
    return (comparison(view.best, 1, view.speed_up),) if view.best > 1 else ()


def _growth(view: _View, reason: str, limits: Limits) -> tuple[str, ...]:
    """Return why it is not larger."""
    if reason == "max_workers":
        return (f"{limits.max_workers} is the largest size allowed",)
    if reason == "bound":
        return (f"{limits.top + 1} cannot be measured: {limits.bounds[limits.top + 1]}",)
    if view.larger is None:
        return ()
    size, times = view.larger
    least = limits.least_gain(view.best, size)
    doubling = "" if size == 2 * view.best else f" for a doubling, {least - 1:.1%} for this"
    found = f"growing to {size} makes it {_changed(times)}, and {limits.threshold:.0%} is the least{doubling}"
    return (f"{found} ({NAMES[view.source]})",)


def _changed(times: float) -> str:
    return f"{abs(times - 1):.1%} {'faster' if times >= 1 else 'slower'}"


def _sureness(view: _View, limits: Limits) -> str:
    if view.certain:
        return f"the runs leave {'no other size' if len(view.shares) == 1 else 'only it and its neighbours'}"
    return f"no more sure after {limits.max_repeats} repeats than that: {_named(view.shares)}"
