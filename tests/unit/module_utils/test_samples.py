"""Samples in numbers: intervals hold the truth as often as they say, outliers are shown and stay where they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ansible_collections.dtf.cluster.plugins.plugin_utils import samples as samples_module
from ansible_collections.dtf.cluster.plugins.plugin_utils.samples import (
    LEAST_BOOTSTRAP,
    describe,
    describe_all,
    outliers,
    ratio,
    ratios,
)

SEEDS = range(300)


def samples(seed: int, n: int, noise: float = 0.05, drift: float = 0.0) -> tuple[list[float], list[float]]:
    """Return times of mean 10 and 5 with noise; the drift slows both of a pair down alike."""
    generator = np.random.default_rng(seed)
    shared = np.exp(drift * generator.standard_normal(n))
    first, second = (mean * (1 + noise * generator.standard_normal(n)) * shared for mean in (10, 5))
    return first.tolist(), second.tolist()


@pytest.mark.parametrize("n", [2, 3, 5, LEAST_BOOTSTRAP, 20])
def test_the_interval_of_a_mean_holds_it(n: int) -> None:
    seeds = range(1000)
    intervals = [describe(samples(seed, n, 0.15)[0]).interval for seed in seeds]
    assert {interval.method for interval in intervals if interval} == {"t" if n < LEAST_BOOTSTRAP else "bootstrap"}
    assert 0.93 <= sum(interval is not None and 10 in interval for interval in intervals) / len(seeds) <= 0.975


@pytest.mark.parametrize(("n", "most"), [(3, 0.80), (5, 0.94)])
def test_a_bootstrap_of_few_values_would_not_hold_it(n: int, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their range holds the middle of the law in no more than ``1 - 2 ** (1 - n)`` of all samples."""
    monkeypatch.setattr(samples_module, "LEAST_BOOTSTRAP", 2)
    found = [summary.interval for summary in describe_all([samples(seed, n, 0.15)[0] for seed in range(2000)])]
    assert {interval.method for interval in found if interval} == {"bootstrap"}
    assert sum(interval is not None and 10 in interval for interval in found) / len(found) < most


@pytest.mark.parametrize("design", ["independent", "paired"])
@pytest.mark.parametrize("n", [3, 5, LEAST_BOOTSTRAP, 20])
def test_the_interval_of_a_ratio_holds_it(n: int, design: str) -> None:
    held = 0
    for seed in SEEDS:
        drift = 0.3 if design == "paired" else 0.0
        found = ratio(*samples(seed, n, 0.15, drift), (range(n), range(n)) if drift else None)
        assert (found.design, found.n) == (design, n)
        assert found.interval is not None
        held += 2 in found.interval
    assert 0.92 <= held / len(SEEDS) <= 0.985


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_pairs_are_compared_within_their_block(noise: float) -> None:
    """A drift of 30 % that both share leaves the paired interval as narrow as without, and the other one wide."""
    first, second = samples(1, 20, noise, drift=0.3)
    paired, apart = ratio(first, second, (range(20), range(20))), ratio(first, second)
    calm = ratio(*samples(1, 20, noise), (range(20), range(20)))
    assert paired.interval is not None
    assert apart.interval is not None
    assert calm.interval is not None
    assert (paired.interval.low, paired.interval.high) == pytest.approx((calm.interval.low, calm.interval.high))
    assert apart.interval.high - apart.interval.low > 1.3 * (paired.interval.high - paired.interval.low)


def test_intervals_are_no_wider_than_the_noise_makes_them() -> None:
    for n, most in ((3, 2.6), (5, 1.6), (20, 1.15)):
        found = [describe(samples(seed, n)[0]).interval for seed in SEEDS]
        width = np.mean([interval.high - interval.low for interval in found if interval])
        assert 0.9 < width / (2 * 1.96 * 10 * 0.05 / np.sqrt(n)) < most


def test_blocks_that_only_one_sample_has_are_left_out() -> None:
    found = ratio([8.0, 9.0, 100.0], [4.0, 4.4], (["a", "b", "c"], ["b", "a"]))
    assert (found.design, found.n) == ("paired", 2)
    assert found.value == pytest.approx((8 / 4.4 * 9 / 4) ** 0.5)
    assert ratio([8.0, 9.0], [4.0, 4.4], (["a", "b"], ["b", "c"])).design == "independent"


def test_a_ratio_and_its_reverse_say_the_same() -> None:
    first, second = samples(1, 5)
    there, back = ratio(first, second), ratio(second, first)
    assert there.interval is not None
    assert back.interval is not None
    assert there.value == pytest.approx(1 / back.value)
    assert there.interval.low == pytest.approx(1 / back.interval.high)


@pytest.mark.parametrize(("first", "second"), [([], [1.0]), ([1.0], []), ([1.0, 0.0], [1.0]), ([1.0], [-1.0])])
def test_a_ratio_of_what_is_no_time_is_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio(first, second)


def test_small_samples() -> None:
    nothing, one, equal = describe([]), describe([3.0]), describe([3.0, 3.0, 3.0])
    assert (nothing.n, nothing.mean, nothing.interval) == (0, None, None)
    assert (one.n, one.mean, one.median, one.stdev, one.interval) == (1, 3.0, 3.0, None, None)
    assert equal.interval is not None
    assert (equal.interval.low, equal.interval.high) == (3.0, 3.0)
    assert ratio([2.0], [1.0]).interval is None
    assert ratio([2.0, 2.0], [1.0, 1.0]).value == pytest.approx(2)
    far = describe([0.1, 10.0]).interval
    assert far is not None
    assert far.low == 0


def test_the_numbers_of_a_sample() -> None:
    found = describe([4.0, 1.0, 2.0, 5.0])
    assert (found.n, found.mean, found.median, found.minimum, found.maximum) == (4, 3.0, 3.0, 1.0, 5.0)
    assert found.stdev == pytest.approx(1.825742)
    assert found.as_dict()["interval"]["method"] == "t"
    assert describe([1.0, 2.0, 3.0] * 5).as_dict() == describe([1.0, 2.0, 3.0] * 5).as_dict()


def test_many_at_once_are_what_each_is_alone() -> None:
    lengths = [0, 1, 2, 5, LEAST_BOOTSTRAP, 5, 0, 20, LEAST_BOOTSTRAP, *[12] * 250]
    many = [samples(seed, n, 0.15)[0] for seed, n in enumerate(lengths)]
    # One without a spread, one with an outlier, one with a zero, among others of their length.
    many += [[7.0] * 12, [*([10.0, 10.2, 9.9, 10.1] * 2), 20.0, 10.0, 21.0, 9.8], [0.0, *range(1, 12)]]
    found = describe_all(many)
    same(found, [describe(values) for values in many])
    assert [one.outliers for one in found] == [outliers(values) for values in many]
    assert found[-2].outliers == (8, 10)
    pairs = [
        (*samples(seed, n, 0.15), (range(n), range(n)) if seed % 2 else None) for seed, n in enumerate([3, 9, 9] * 5)
    ]
    same(ratios(pairs), [ratio(*pair) for pair in pairs])


def same(found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Compare what was made of many at once with what was made of each: the same but for an interval's last bit."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if other.interval is not None:
            assert (one.interval.low, one.interval.high) == pytest.approx(
                (other.interval.low, other.interval.high), rel=1e-13
            )
        assert dataclasses.replace(one, interval=other.interval) == other


def test_an_outlier_is_shown_and_counts() -> None:
    values = [10.0, 10.2, 9.9, 10.1, 20.0, 10.0]
    found = describe(values)
    assert found.outliers == (4,)
    assert found.n == 6
    assert found.mean == pytest.approx(sum(values) / 6)


def test_two_outliers_do_not_hide_each_other() -> None:
    assert outliers([10.0, 10.2, 9.9, 20.0, 10.1, 21.0, 10.0, 9.8, 10.05]) == (3, 5)


@pytest.mark.parametrize("values", [[1.0, 1.0, 9.0], [5.0] * 6, [0.0, 0.1, 0.2, 9.0], [10.0, 10.5, 9.6, 10.2, 9.9]])
def test_what_is_no_outlier(values: list[float]) -> None:
    assert outliers(values) == ()


def test_outliers_are_rare_where_there_are_none() -> None:
    for n in (5, 8, 20):
        assert sum(bool(outliers(samples(seed, n)[0])) for seed in SEEDS) / len(SEEDS) < 0.06
