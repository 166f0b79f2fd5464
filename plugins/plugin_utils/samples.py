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


def describe(values: Sequence[float]) -> Summary:
    """Return a sample in numbers.

    Args:
        values: measurements of one unit, none of them negative; any number of them.
    """
    if not values:
        return Summary(0, None, None, None, None, None, None, ())
    sample = np.asarray(values, dtype=float)
    more = len(sample) > 1
    interval = _mean_interval(sample) if more else None
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
    first, second = np.log(np.asarray(above, dtype=float)), np.log(np.asarray(below, dtype=float))
    shared = [block for block in blocks[0] if block in set(blocks[1])] if blocks else []
    if blocks and len(shared) > 1:
        rows = [list(blocks[0]).index(block) for block in shared], [list(blocks[1]).index(block) for block in shared]
        differences = first[rows[0]] - second[rows[1]]
        return Ratio(
            math.exp(differences.mean()), _mean_interval(differences).exponential(), "paired", len(differences)
        )
    interval = _difference_interval(first, second) if min(len(first), len(second)) > 1 else None
    value = math.exp(first.mean() - second.mean())
    return Ratio(value, interval and interval.exponential(), "independent", min(len(first), len(second)))


def _mean_interval(sample: Floats) -> Interval:
    n = len(sample)
    if n < LEAST_BOOTSTRAP:
        reach = _quantile(n - 1) * float(sample.std(ddof=1)) / math.sqrt(n)
        return Interval(float(sample.mean()) - reach, float(sample.mean()) + reach, "t")
    return _bootstrap((sample,), _mean, n, n - 1)


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
    return _bootstrap((first, second), _difference, smaller, freedom)


def _bootstrap(samples: tuple[Floats, ...], statistic: Any, n: int, freedom: float) -> Interval:
    """Return percentiles of a bootstrap, at a level that makes up for small n (Hesterberg's expanded percentiles)."""
    level = 1 - 2 * stats.norm.sf(_quantile(freedom) * math.sqrt(n / (n - 1)))
    found = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // max(map(len, samples))),
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(float(found.low), float(found.high), "bootstrap")


def _mean(sample: Floats, axis: int = -1) -> Any:
    return sample.mean(axis=axis)


def _difference(first: Floats, second: Floats, axis: int = -1) -> Any:
    return first.mean(axis=axis) - second.mean(axis=axis)


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
    for _turn in range(len(values) // 3):
        spread, n = float(rest.std(ddof=1)), len(rest)
        # Values that are equal but for rounding have no outlier; nor is there one among two.
        if spread <= 1e-12 or n < 3:
            break
        deviations = np.abs(rest - rest.mean()) / spread
        place = int(deviations.argmax())
        t = float(stats.t.isf(OUTLIER_ALPHA / (2 * n), n - 2))
        candidates.append(positions.pop(place))
        if deviations[place] > (n - 1) * t / math.sqrt((n - 2 + t * t) * n):
            beyond = len(candidates)
        rest = np.delete(rest, place)
    return tuple(sorted(candidates[:beyond]))
