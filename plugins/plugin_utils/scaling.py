# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What more workers bring: speed-up, efficiency, the knee, and the sentences that the intervals support.

A *series* is all cells that differ in nothing but their size, the number of workers. Everything is relative to its
smallest cell. Pure: values in, values out, the same bytes for the same runs.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..module_utils.errors import InvalidInput, Problem
from .samples import CONFIDENCE, Ratio, Summary, describe_all, ratio, ratios
from .scaling_laws import Fit, Times, TooLittle, amdahl, means, student_draws, usl
from .scientific import np, require

if TYPE_CHECKING:
    from .samples import Pair

#: A step that makes a training less than this much faster is not worth taking.
GAIN_THRESHOLD = 0.10
#: A law whose misfit is rarer than this is not believed where single cells can be.
LEAST_MISFIT = 0.05


@dataclass(frozen=True)
class Cell:
    """The runs of one size.

    Attributes:
        size: workers.
        seconds: training time of each run that succeeded.
        blocks: the repeat each of them belongs to, in the same order; ``None`` where runs were not made in blocks.
    """

    size: int
    seconds: tuple[float, ...]
    blocks: tuple[Hashable, ...] | None = None


@dataclass(frozen=True)
class Step:
    """One size of a series.

    Attributes:
        size: workers.
        seconds: its training times.
        speed_up: how many times as fast as the smallest cell; ``None`` for that cell.
        efficiency: speed-up over what the number of workers promises (1: all of it); ``None`` for the smallest cell.
        gain: how many times as fast as the next smaller size; ``None`` for the smallest cell.
    """

    size: int
    seconds: Summary
    speed_up: Ratio | None
    efficiency: Ratio | None
    gain: Ratio | None

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return {
            "size": self.size,
            "seconds": self.seconds.as_dict(),
            **{name: part and part.as_dict() for name, part in self._ratios().items()},
        }

    def _ratios(self) -> dict[str, Ratio | None]:
        return {"speed_up": self.speed_up, "efficiency": self.efficiency, "gain": self.gain}


@dataclass(frozen=True)
class Knee:
    """The smallest size whose next step brings less than the threshold.

    Attributes:
        size: workers; ``None`` where each step that was measured brings more.
        next_size: the next size measured; ``None`` where there is no knee.
        gain: by what share the next size is faster, negative where it is slower; ``None`` where there is no knee.
        confidence: share of all that may be true, given the spread of the runs, in which the knee is here.
        shares: the same for each size that it may be at; ``None`` stands for beyond the largest.
        threshold: the least gain that is worth a step.
        source: ``usl``, the fitted law, or ``cells``, the measured sizes each for itself.
    """

    size: int | None
    next_size: int | None
    gain: float | None
    confidence: float
    shares: dict[int | None, float]
    threshold: float
    source: str

    @property
    def certain(self) -> bool:
        """Whether the runs leave no other knee with 95 % confidence."""
        return self.confidence >= CONFIDENCE

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value; ``shares`` as a list of ``{size, share}``, because a key of JSON is a text."""
        return {
            "size": self.size,
            "next_size": self.next_size,
            "gain": self.gain,
            "confidence": self.confidence,
            "certain": self.certain,
            "shares": [{"size": size, "share": share} for size, share in self.shares.items()],
            "threshold": self.threshold,
            "source": self.source,
        }


@dataclass(frozen=True)
class Scaling:
    """All that a series says.

    Attributes:
        steps: from the smallest size to the largest; a size without a successful run is left out.
        amdahl: Amdahl's law, if there was enough to fit.
        usl: the universal scalability law, if there was enough to fit.
        knee: ``None`` where there are fewer than two sizes, or no size has repeats.
        statements: sentences, each supported by an interval.
        missing: what could not be said, and why.
    """

    steps: tuple[Step, ...]
    amdahl: Fit | None
    usl: Fit | None
    knee: Knee | None
    statements: tuple[str, ...]
    missing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return {
            "steps": [step.as_dict() for step in self.steps],
            "amdahl": self.amdahl and self.amdahl.as_dict(),
            "usl": self.usl and self.usl.as_dict(),
            "knee": self.knee and self.knee.as_dict(),
            "statements": list(self.statements),
            "missing": list(self.missing),
        }


def scaling(cells: Sequence[Cell], threshold: float = GAIN_THRESHOLD) -> Scaling:
    """Return all that a series says.

    Args:
        cells: one for each size, in any order.
        threshold: the least gain that is worth a step, as a share (0.1: a tenth faster).

    Raises:
        InvalidInput: a size twice, a time that is none, blocks that do not belong to runs; all problems at once.
        ActionFailed: SciPy is not there.
    """
    require()
    _check(cells, threshold)
    ordered = sorted((cell for cell in cells if cell.seconds), key=lambda cell: cell.size)
    missing = [f"{_workers(cell.size)}: no successful run" for cell in cells if not cell.seconds]
    steps = _steps(ordered)
    missing += [
        f"{_workers(step.size)}: {step.seconds.n} run, an interval needs two" for step in steps if step.seconds.n == 1
    ]
    times = _times(ordered)
    fits: dict[str, Fit] = {}
    for law in (amdahl, usl):
        try:
            fit = law(times)
            fits[fit.law] = fit
        except TooLittle as reason:
            missing.append(str(reason))
    knee = find_knee(times, fits.get("usl"), threshold)
    if knee is None:
        missing.append("the knee: needs two sizes and repeats")
    statements = (*_speed_statements(steps), *([_knee_statement(knee, ordered[-1].size)] if knee else []))
    return Scaling(steps, fits.get("amdahl"), fits.get("usl"), knee, statements, tuple(missing))


def _check(cells: Sequence[Cell], threshold: float) -> None:
    problems = []
    sizes = [cell.size for cell in cells]
    for cell in cells:
        field = f"cells[{cell.size}]"
        if cell.size < 1 or sizes.count(cell.size) > 1:
            problems.append(Problem(f"{field}.size", cell.size, "a number of workers from 1, each once"))
        bad = [value for value in cell.seconds if not (math.isfinite(value) and value > 0)]
        if bad:
            problems.append(Problem(f"{field}.seconds", bad, "seconds above 0"))
        if cell.blocks is not None and (
            len(cell.blocks) != len(cell.seconds) or len(set(cell.blocks)) < len(cell.blocks)
        ):
            problems.append(Problem(f"{field}.blocks", list(cell.blocks), "one for each run, each once"))
    if len({cell.blocks is None for cell in cells if cell.seconds}) > 1:
        problems.append(Problem("cells", "with and without blocks", "blocks for all cells, or for none"))
    if not (math.isfinite(threshold) and threshold >= 0):
        problems.append(Problem("threshold", threshold, "a share from 0"))
    if problems:
        raise InvalidInput("series", problems)


def _times(cells: Sequence[Cell]) -> Times:
    return Times(
        sizes=tuple(cell.size for cell in cells for _value in cell.seconds),
        seconds=tuple(value for cell in cells for value in cell.seconds),
        blocks=tuple(block for cell in cells for block in cell.blocks or ()) if _blocked(cells) else None,
    )


def _blocked(cells: Sequence[Cell]) -> bool:
    return any(cell.blocks is not None for cell in cells)


def _steps(cells: Sequence[Cell]) -> tuple[Step, ...]:
    # All at once: of a thousand cells it is the bootstrap's own beginning and end that takes the time.
    summaries = describe_all([cell.seconds for cell in cells])
    neighbours = list(zip(cells[1:], cells[2:]))
    found = ratios([_pair(cells[0], cell) for cell in cells[1:]] + [_pair(*pair) for pair in neighbours])
    speed_ups: list[Ratio | None] = [None, *found[: len(cells) - 1]]
    # The second size's next smaller one is the smallest.
    gains = [*speed_ups[:2], *found[len(cells) - 1 :]]
    return tuple(
        Step(cell.size, seconds, speed_up, speed_up and speed_up.times(cells[0].size / cell.size), gain)
        for cell, seconds, speed_up, gain in zip(cells, summaries, speed_ups, gains)
    )


def faster(slow: Cell, fast: Cell) -> Ratio:
    """Return how many times as fast the second cell is as the first: paired by block where both have blocks."""
    return ratio(*_pair(slow, fast))


def _pair(slow: Cell, fast: Cell) -> Pair:
    blocks = (slow.blocks, fast.blocks) if slow.blocks is not None and fast.blocks is not None else None
    return slow.seconds, fast.seconds, blocks


def find_knee(times: Times, fit: Fit | None, threshold: float = GAIN_THRESHOLD) -> Knee | None:
    """Return the smallest size whose next size, of those measured, brings less than the threshold.

    Single cells say little of a gain of a tenth: with noise of 15 % and five repeats the ratio of two is known to
    a fifth. A law that fits takes what it says from all of them. So the law is asked where it can be, and is not
    refuted; what it says is of the sizes measured, never beyond them.

    Args:
        times: the series.
        fit: the universal law fitted to it, if there is one.
        threshold: the least gain worth a step, as a share.
    """
    if len(set(times.sizes)) < 2:
        return None
    measured = means(times)
    sizes = measured.sizes
    if fit is not None and len(sizes) > len(fit.theta) and (fit.misfit is None or fit.misfit >= LEAST_MISFIT):
        source, best, draws = "usl", np.log([fit.seconds(size) for size in sizes]), fit.draws(sizes)
    elif measured.freedom:
        source, best = "cells", measured.logs
        draws = student_draws(measured.logs, measured.covariance, measured.freedom)
    else:
        return None
    places = _knees(draws, threshold)
    place = int(_knees(best[None, :], threshold)[0])
    counts = np.bincount(places, minlength=len(sizes)) / len(places)
    shares = {size: float(share) for size, share in zip((*sizes[:-1], None), counts) if share}
    size = sizes[place] if place < len(sizes) - 1 else None
    return Knee(
        size=size,
        next_size=None if size is None else sizes[place + 1],
        gain=None if size is None else math.expm1(best[place] - best[place + 1]),
        confidence=shares.get(size, 0.0),
        shares=shares,
        threshold=threshold,
        source=source,
    )


def _knees(logs: Any, threshold: float) -> Any:
    """Return for each row of logarithms of seconds the place of its knee; the last place where it has none."""
    below = logs[:, :-1] - logs[:, 1:] < math.log1p(threshold)
    return np.where(below.any(axis=1), below.argmax(axis=1), below.shape[1])


def _workers(size: int) -> str:
    return "1 worker" if size == 1 else f"{size} workers"


def _speed_statements(steps: Sequence[Step]) -> list[str]:
    statements = []
    for before, step in zip(steps, steps[1:]):
        parts = []
        if before is not steps[0] and step.speed_up is not None:
            parts.append(comparison(step.size, steps[0].size, step.speed_up))
        if step.gain is not None:
            parts.append(comparison(step.size, before.size, step.gain))
        statements += [part for part in parts if part]
    return statements


def comparison(size: int, other: int, found: Ratio) -> str:
    """Return in a sentence how fast one size is beside another, or nothing where no interval supports one."""
    if found.interval is None:
        return ""
    verb = "is" if size == 1 else "are"
    low, high = found.interval.low, found.interval.high
    if low <= 1 <= high:
        return f"{_workers(size)} {verb} not measurably faster or slower than {other} ({span(low, high)} times as fast)"
    only = "only " if high < 1 else ""
    return f"{_workers(size)} {verb} {only}{span(low, high)} times as fast as {other}"


def span(low: float, high: float, about: float = 1.0) -> str:
    """Return an interval rounded outwards, with as many digits as keep its ends apart, and apart from a value."""
    for digits in (1, 2, 3):
        factor = 10**digits
        # What is a round number but for the last bit of a float is that number.
        ends = math.floor(low * factor + 1e-9) / factor, math.ceil(high * factor - 1e-9) / factor
        if (
            (ends[0] > about) == (low > about)
            and (ends[1] < about) == (high < about)
            and ends[1] - ends[0] <= 2 * (high - low)
        ):
            break
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _knee_statement(knee: Knee, largest: int) -> str:
    least = f"{knee.threshold:.0%}"
    if knee.size is None:
        verdict = f"each step up to {_workers(largest)} brings at least {least}"
    else:
        verdict = f"beyond {_workers(knee.size)} the next step, to {knee.next_size}, brings less than {least}"
    if knee.certain:
        return verdict
    others = ", ".join(
        f"{'beyond ' + str(largest) if size is None else size} ({share:.0%})"
        for size, share in sorted(knee.shares.items(), key=lambda item: -item[1])
    )
    return f"where the knee is, these runs do not show with confidence: {others}"
