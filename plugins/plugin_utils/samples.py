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
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .scientific import np, stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: How often an interval is to hold the truth.
CONFIDENCE = 0.95
#: Fewer values than this are not bootstrapped: the range of five holds the median with less than 95 %, and up to seven
#: even the expanded percentiles fall short of what they promise.
LEAST_BOOTSTRAP = 8
#: Resamples of a bootstrap, and what their choice begins with: the same runs give the same bytes.
RESAMPLES, SEED = 1999, 6
#: Numbers that one batch of resamples may hold at a time.
BATCH = 2_000_000
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
        return asdict(self)


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
        return {**asdict(self), "outliers": list(self.outliers)}


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
        return asdict(self)


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
        return asdict(self)


def describe(values: Sequence[float]) -> Summary:
    """Return a sample in numbers.

    Args:
        values: measurements of one unit, none of them negative; any number of them.
    """
    return describe_all([values])[0]


def describe_all(samples: Sequence[Sequence[float]]) -> list[Summary]:
    """Return several samples in numbers, each as :func:`describe` does, in less time than one by one.

    Args:
        samples: each with measurements of one unit, none of them negative; any number of them.
    """
    lengths = {len(values) for values in samples if len(values) > 1}
    intervals: dict[int, Interval] = {}
    for length in lengths:
        places = [place for place, values in enumerate(samples) if len(values) == length]
        rows = np.asarray([samples[place] for place in places], dtype=float)
        intervals.update(zip(places, _mean_intervals(rows)))
    return [_summary(values, intervals.get(place)) for place, values in enumerate(samples)]


def _summary(values: Sequence[float], interval: Interval | None) -> Summary:
    if not values:
        return Summary(0, None, None, None, None, None, None, ())
    sample = np.asarray(values, dtype=float)
    more = len(sample) > 1
    return Summary(
        n=len(sample),
        mean=float(sample.mean()),
        median=float(np.median(sample)),
        minimum=float(sample.min()),
        maximum=float(sample.max()),
        stdev=float(sample.std(ddof=1)) if more else None,
        # What is measured here (seconds, rates, shares) cannot be negative; with two values Student's interval may be.
        interval=interval and Interval(max(0.0, interval.low), interval.high, interval.method),
        outliers=outliers(values),
    )


def ratio(
    above: Sequence[float],
    below: Sequence[float],
    blocks: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
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
    if not len(above) or not len(below) or min(*above, *below) <= 0:
        raise ValueError("a ratio is of two samples of positive values")
    found = _compared(np.log(np.asarray(above, dtype=float)), np.log(np.asarray(below, dtype=float)), blocks)
    interval = found.interval and found.interval.exponential()
    return Ratio(math.exp(found.value), interval, found.design, found.n)


def difference(
    above: Sequence[float],
    below: Sequence[float],
    blocks: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
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
    return _compared(np.asarray(above, dtype=float), np.asarray(below, dtype=float), blocks)


def _compared(
    first: Floats, second: Floats, blocks: tuple[Sequence[Hashable], Sequence[Hashable]] | None
) -> Difference:
    """Return the difference of two samples, within their blocks where two or more are shared."""
    shared = [block for block in blocks[0] if block in set(blocks[1])] if blocks else []
    if blocks and len(shared) > 1:
        rows = [list(blocks[0]).index(block) for block in shared], [list(blocks[1]).index(block) for block in shared]
        pairs = first[rows[0]] - second[rows[1]]
        return Difference(float(pairs.mean()), _mean_intervals(pairs[None, :])[0], "paired", len(pairs))
    n = min(len(first), len(second))
    interval = _difference_interval(first, second) if n > 1 else None
    return Difference(float(first.mean() - second.mean()), interval, "independent", n)


def _mean_intervals(samples: Floats) -> list[Interval]:
    """Return the interval of each mean, of a row each."""
    n = samples.shape[1]
    if n >= LEAST_BOOTSTRAP:
        return _bootstrap((samples,), _mean, n, n - 1)
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
    if len(values) < LEAST_OUTLIERS or min(values) <= 0:
        return ()
    rest, positions = np.log(np.asarray(values, dtype=float)), list(range(len(values)))
    candidates: list[int] = []
    beyond = 0
    for bound in _bounds(len(values)):
        spread = float(rest.std(ddof=1))
        # Values that are equal but for rounding have no outlier.
        if spread <= 1e-12:
            break
        deviations = np.abs(rest - rest.mean()) / spread
        place = int(deviations.argmax())
        candidates.append(positions.pop(place))
        if deviations[place] > bound:
            beyond = len(candidates)
        rest = np.delete(rest, place)
    return tuple(sorted(candidates[:beyond]))


@lru_cache(maxsize=1000)
def _bounds(n: int) -> tuple[float, ...]:
    """Return how far out the most extreme of n values may be, of those left then, and so on, for a third of them."""
    left = n - np.arange(n // 3)
    t = stats.t.isf(OUTLIER_ALPHA / (2 * left), left - 2)
    return tuple(((left - 1) * t / np.sqrt((left - 2 + t * t) * left)).tolist())
