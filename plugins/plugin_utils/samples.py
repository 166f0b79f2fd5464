# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a sample of measurements says, and how sure that is: mean, spread, outliers, the ratio of two samples.

Every interval is meant to hold the true value in 95 of 100 repetitions of the whole experiment, for the handful of
repeats that a benchmark has. A plain bootstrap does not: of n values it never leaves the range from the smallest to the
largest, which misses the median of a symmetric law once in ``2 ** (n - 1)`` times, a quarter of the time at n = 3, and
its variance is too small by ``(n - 1) / n``. Hence two methods, and every interval names the one it is from:

- ``bootstrap`` from :data:`LEAST_BOOTSTRAP` values on: percentiles of a seeded bootstrap
  (:func:`scipy.stats.bootstrap`), expanded for small n as in T. Hesterberg, "What Teachers Should Know About the
  Bootstrap", The American Statistician 69 (2015);
- ``t`` below: Student's interval.

Ratios are ratios of geometric means, made on the scale of logarithms: noise of a training time is a percentage, and
there "twice as fast" and "half as fast" are the same distance (P. Fleming and J. Wallace, "How not to lie with
statistics", CACM 29 (1986); T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .scientific import np, stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    #: The block of each value of two samples.
    Blocks = tuple[Sequence[Hashable], Sequence[Hashable]]
    Pair = tuple[Sequence[float], Sequence[float], Blocks | None]

#: How often an interval is to hold the truth.
CONFIDENCE = 0.95
#: Fewer values than this are not bootstrapped: the range of five holds the median with less than 95 %, and up to seven
#: even the expanded percentiles fall short of what they promise.
LEAST_BOOTSTRAP = 8
#: Resamples of a bootstrap, and what their choice begins with: the same runs give the same bytes.
RESAMPLES, SEED = 1999, 6
#: Numbers that one batch of resamples may hold at a time.
BATCH = 2_000_000
#: Rows that are resampled at a time: each keeps all its resamples until the end.
ROWS = 100
#: Values from which on an outlier can be told from the spread.
LEAST_OUTLIERS = 4
#: Level of the test for outliers. It is liberal with small samples: one in thirty without any shows one.
OUTLIER_ALPHA = 0.01


@dataclass(frozen=True)
class Interval:
    """Where the true value lies with 95 % confidence.

    Attributes:
        low: lower end, in the unit of the value.
        high: upper end.
        method: ``bootstrap``, ``t``, or how else it was made.
    """

    low: float
    high: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def times(self, factor: float) -> Interval:
        """Return the interval of the value multiplied by a positive factor."""
        return Interval(self.low * factor, self.high * factor, self.method)

    def exponential(self) -> Interval:
        """Return the interval of e to the power of the value."""
        return Interval(math.exp(self.low), math.exp(self.high), self.method)

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return dict(vars(self))


@dataclass(frozen=True)
class Summary:
    """A sample in numbers, all in the unit of its values.

    Attributes:
        n: how many values.
        mean: arithmetic mean; ``None`` without a value, as are the next three.
        median: the middle.
        minimum: smallest.
        maximum: largest.
        stdev: sample standard deviation; ``None`` below two values.
        interval: where the true mean lies; ``None`` below two values.
        outliers: positions of values that the spread of the others does not explain. They are in every number above.
    """

    n: int
    mean: float | None
    median: float | None
    minimum: float | None
    maximum: float | None
    stdev: float | None
    interval: Interval | None
    outliers: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        # Not asdict, which looks into every number: a benchmark has thousands of these.
        return {**vars(self), "interval": _plain(self.interval), "outliers": list(self.outliers)}


@dataclass(frozen=True)
class Ratio:
    """One sample over another.

    Attributes:
        value: ratio of the geometric means.
        interval: where the true ratio lies; ``None`` where there are not two values (or two pairs) to see a spread of.
        design: ``paired``, by the block that both belong to, or ``independent``.
        n: pairs, or values of the smaller sample.
    """

    value: float
    interval: Interval | None
    design: str
    n: int

    def times(self, factor: float) -> Ratio:
        """Return the ratio multiplied by a positive factor."""
        return Ratio(self.value * factor, self.interval and self.interval.times(factor), self.design, self.n)

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return {**vars(self), "interval": _plain(self.interval)}


@dataclass(frozen=True)
class Difference:
    """One sample less another, in the unit of both.

    Attributes:
        value: difference of the means.
        interval: where the true difference lies; ``None`` where there are not two values (or two pairs).
        design: ``paired``, by the block that both belong to, or ``independent``.
        n: pairs, or values of the smaller sample.
    """

    value: float
    interval: Interval | None
    design: str
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return {**vars(self), "interval": _plain(self.interval)}


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else interval.as_dict()


def describe(values: Sequence[float]) -> Summary:
    """Return a sample in numbers.

    Args:
        values: measurements of one unit, none of them negative; any number of them.
    """
    return describe_all([values])[0]


def describe_all(samples: Sequence[Sequence[float]]) -> list[Summary]:
    """Return several samples in numbers, each as :func:`describe` does, in less time than one by one.

    The ends of an interval may differ from those of one by one in their last bit, which no document keeps.

    Args:
        samples: each with measurements of one unit, none of them negative; any number of them.
    """
    found: dict[int, Summary] = {}
    for places, rows in _alike(samples):
        found.update(zip(places, _summaries(rows)))
    return [found[place] for place in range(len(samples))]


def _alike(samples: Sequence[Sequence[float] | Floats]) -> Iterator[tuple[list[int], Floats]]:
    """Yield the places of samples of one length, and the samples as rows: many at once cost little more than one."""
    alike: dict[int, list[int]] = {}
    for place, values in enumerate(samples):
        alike.setdefault(len(values), []).append(place)
    for places in alike.values():
        yield places, np.asarray([samples[place] for place in places], dtype=float)


def _summaries(rows: Floats) -> list[Summary]:
    count, n = rows.shape
    if not n:
        return [Summary(0, None, None, None, None, None, None, ())] * count
    columns = [found.tolist() for found in (rows.mean(1), np.median(rows, 1), rows.min(1), rows.max(1))]
    spreads: Sequence[float | None] = rows.std(axis=1, ddof=1).tolist() if n > 1 else [None] * count
    # What is measured here (seconds, rates, shares) cannot be negative; with two values Student's interval may be.
    intervals: Sequence[Interval | None] = (
        [Interval(max(0.0, found.low), found.high, found.method) for found in _mean_intervals(rows)]
        if n > 1
        else [None] * count
    )
    return [Summary(n, *numbers) for numbers in zip(*columns, spreads, intervals, _outliers(rows))]


def ratio(
    above: Sequence[float],
    below: Sequence[float],
    blocks: Blocks | None = None,
) -> Ratio:
    """Return the first sample over the second.

    Args:
        above: positive measurements.
        below: positive measurements of the same unit.
        blocks: the block (the repeat, in a benchmark) of each value of either sample, if the runs were made in blocks.
            Then values are compared within their block, so that what slows a whole block down says nothing. Blocks that
            only one sample has are left out; where fewer than two are shared, the samples are compared as independent.

    Raises:
        ValueError: a sample is empty or holds a value that is not positive.
    """
    return ratios([(above, below, blocks)])[0]


def ratios(pairs: Sequence[Pair]) -> list[Ratio]:
    """Return several ratios, each as :func:`ratio` does, in less time than one by one.

    Args:
        pairs: the arguments of each.

    Raises:
        ValueError: a sample is empty or holds a value that is not positive.
    """
    if any(not len(above) or not len(below) or min(*above, *below) <= 0 for above, below, _blocks in pairs):
        raise ValueError("a ratio is of two samples of positive values")
    logs = [
        (np.log(np.asarray(above, dtype=float)), np.log(np.asarray(below, dtype=float)), blocks)
        for above, below, blocks in pairs
    ]
    return [
        Ratio(math.exp(found.value), found.interval and found.interval.exponential(), found.design, found.n)
        for found in _compared(logs)
    ]


def difference(
    above: Sequence[float],
    below: Sequence[float],
    blocks: Blocks | None = None,
) -> Difference:
    """Return the first sample less the second, for what adds to a time whatever else it is made of.

    Args:
        above: measurements.
        below: measurements of the same unit.
        blocks: as those of :func:`ratio`.

    Raises:
        ValueError: a sample is empty.
    """
    if not len(above) or not len(below):
        raise ValueError("a difference is of two samples")
    return _compared([(np.asarray(above, dtype=float), np.asarray(below, dtype=float), blocks)])[0]


def _compared(pairs: Sequence[tuple[Floats, Floats, Blocks | None]]) -> list[Difference]:
    """Return the difference of each two samples, within their blocks where two or more are shared."""
    within = [_within_blocks(*pair) for pair in pairs]
    intervals: dict[int, Interval] = {}
    for places, rows in _alike(within):
        if rows.shape[1]:
            intervals.update(zip(places, _mean_intervals(rows)))
    found = []
    for place, (first, second, _blocks) in enumerate(pairs):
        own, n = within[place], min(len(first), len(second))
        if len(own):
            found.append(Difference(float(own.mean()), intervals[place], "paired", len(own)))
        else:
            interval = _difference_interval(first, second) if n > 1 else None
            found.append(Difference(float(first.mean() - second.mean()), interval, "independent", n))
    return found


def _within_blocks(first: Floats, second: Floats, blocks: Blocks | None) -> Floats:
    """Return the differences within the blocks that both samples have; none where these are fewer than two."""
    own, other = blocks or ((), ())
    of_second = {block: place for place, block in enumerate(other)}
    shared = [(place, of_second[block]) for place, block in enumerate(own) if block in of_second]
    if len(shared) < 2:
        return np.empty(0)
    rows, others = zip(*shared)
    found: Floats = first[list(rows)] - second[list(others)]
    return found


def _mean_intervals(samples: Floats) -> list[Interval]:
    """Return the interval of each mean, of a row each."""
    n = samples.shape[1]
    if n >= LEAST_BOOTSTRAP:
        parts = [samples[begin : begin + ROWS] for begin in range(0, len(samples), ROWS)]
        return [interval for part in parts for interval in _bootstrap((part,), _mean, n, n - 1)]
    centres, reaches = samples.mean(axis=1), _quantile(n - 1) * samples.std(axis=1, ddof=1) / math.sqrt(n)
    return [Interval(float(centre - reach), float(centre + reach), "t") for centre, reach in zip(centres, reaches)]


def _difference_interval(first: Floats, second: Floats) -> Interval:
    """Return the interval of a difference of means, the spreads of which may differ (Welch)."""
    parts = [float(sample.var(ddof=1)) / len(sample) for sample in (first, second)]
    error, value = sum(parts), float(first.mean() - second.mean())
    if not error:
        return Interval(value, value, "t")
    freedom = error**2 / sum(part**2 / (len(sample) - 1) for part, sample in zip(parts, (first, second)))
    smaller = min(len(first), len(second))
    if smaller < LEAST_BOOTSTRAP:
        reach = _quantile(freedom) * math.sqrt(error)
        return Interval(value - reach, value + reach, "t")
    return _bootstrap((first[None, :], second[None, :]), _difference, smaller, freedom)[0]


def _bootstrap(samples: tuple[Floats, ...], statistic: Any, n: int, freedom: float) -> list[Interval]:
    """Return percentiles of a bootstrap, at a level that makes up for small n (Hesterberg's expanded percentiles).

    Args:
        samples: each with a row for each interval wanted; all rows are resampled alike.
        statistic: of the samples, along their last axis.
        n: values of the smallest sample.
        freedom: degrees of freedom of Student's interval of the same.
    """
    level = 1 - 2 * stats.norm.sf(_quantile(freedom) * math.sqrt(n / (n - 1)))
    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // max(sample.size for sample in samples)),
        axis=-1,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return [Interval(low, high, "bootstrap") for low, high in zip(found.low.tolist(), found.high.tolist())]


def _mean(sample: Floats, axis: int = -1) -> Any:
    return sample.mean(axis=axis)


def _difference(first: Floats, second: Floats, axis: int = -1) -> Any:
    return first.mean(axis=axis) - second.mean(axis=axis)


@lru_cache(maxsize=1000)
def _quantile(freedom: float) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))


def outliers(values: Sequence[float]) -> tuple[int, ...]:
    """Return the positions of outliers, in their order.

    Generalised extreme Studentised deviates on logarithms, at most a third of the values: B. Rosner, "Percentage Points
    for a Generalized ESD Many-Outlier Procedure", Technometrics 25 (1983). For one outlier it is Grubbs' test.

    Args:
        values: measurements; below :data:`LEAST_OUTLIERS`, or where one is not positive, none is told apart.
    """
    return _outliers(np.asarray([values], dtype=float))[0]


def _outliers(rows: Floats) -> list[tuple[int, ...]]:
    """Return the positions of outliers of each row, as :func:`outliers` does."""
    found: list[tuple[int, ...]] = [()] * len(rows)
    if rows.shape[1] < LEAST_OUTLIERS:
        return found
    positive = np.flatnonzero(rows.min(axis=1) > 0)
    rest = np.log(rows[positive])
    positions = np.tile(np.arange(rows.shape[1]), (len(rest), 1))
    lines, beyond, spread_out = np.arange(len(rest)), np.zeros(len(rest), dtype=int), np.ones(len(rest), dtype=bool)
    candidates = []
    for count, bound in enumerate(_bounds(rows.shape[1]), 1):
        spreads = rest.std(axis=1, ddof=1)
        # Values that are equal but for rounding have no outlier.
        spread_out &= spreads > 1e-12
        deviations = np.abs(rest - rest.mean(axis=1)[:, None]) / np.where(spread_out, spreads, 1.0)[:, None]
        places = deviations.argmax(axis=1)
        candidates.append(positions[lines, places])
        beyond[spread_out & (deviations[lines, places] > bound)] = count
        left, shape = np.arange(rest.shape[1]) != places[:, None], (len(rest), rest.shape[1] - 1)
        rest, positions = rest[left].reshape(shape), positions[left].reshape(shape)
    for line, place in enumerate(positive.tolist()):
        found[place] = tuple(sorted(int(candidate[line]) for candidate in candidates[: beyond[line]]))
    return found


@lru_cache(maxsize=1000)
def _bounds(n: int) -> tuple[float, ...]:
    """Return how far out the most extreme of n values may be, of those left then, and so on, for a third of them."""
    left = n - np.arange(n // 3)
    t = stats.t.isf(OUTLIER_ALPHA / (2 * left), left - 2)
    return tuple(((left - 1) * t / np.sqrt((left - 2 + t * t) * left)).tolist())
