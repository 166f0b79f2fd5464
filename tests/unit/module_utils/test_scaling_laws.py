"""Laws are recovered from noise: intervals hold the truth as often as they say, and are not wider than that takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling_laws import Fit, Times, TooLittle, amdahl, means, usl
from tests.unit.module_utils.synthetic_trainings import NOISES, SEEDS, SIZES, Law

AMDAHL = [Law(contention=0.1), Law(one=40.0, contention=0.02), Law(contention=0.4)]
USL = [Law(contention=0.05, coherency=0.003), Law(contention=0.02, coherency=0.02), Law(contention=0.3, coherency=0.01)]
#: Of 100 seeds, how many intervals have to hold the truth: 95 are promised, two are the luck of 100 seeds.
ENOUGH = 93


def fits(law: Law, noise: float, drift: float = 0.0, seeds: range = SEEDS) -> list[Fit]:
    """Return the law fitted to trainings of it."""
    fit = usl if law.coherency else amdahl
    return [fit(law.times(seed, noise, drift)) for seed in seeds]


def hits(found: list[Fit], law: Law) -> dict[str, int]:
    """Return for each parameter how many of the intervals hold the truth."""
    truth = law.truth()
    return {name: sum(truth[name] in fit.parameters[name].interval for fit in found) for name in found[0].parameters}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("law", [AMDAHL[0], USL[0]], ids=str)
def test_intervals_hold_the_parameters_of_the_law(law: Law, noise: float) -> None:
    found = hits(fits(law, noise), law)
    assert {name: count for name, count in found.items() if count < ENOUGH} == {}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("law", AMDAHL + USL, ids=str)
def test_they_do_for_any_law_and_by_no_luck(law: Law, noise: float) -> None:
    """Other seeds, five times as many: less luck, so more is asked."""
    found = hits(fits(law, noise, seeds=range(1000, 1500)), law)
    assert {name: count / 500 for name, count in found.items() if count / 500 < 0.94} == {}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("law", [AMDAHL[0], USL[0]], ids=str)
def test_a_drift_that_a_repeat_shares_does_not_mislead(law: Law, noise: float) -> None:
    found = hits(fits(law, noise, drift=0.1), law)
    shape = {name for name in found if name in {"contention", "coherency"}}
    assert {name: found[name] for name in shape if found[name] < ENOUGH} == {}
    # Seconds are as sure as five repeats are of the drift, the same five of a seed for all noises.
    assert min(found.values()) >= 90


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("law", AMDAHL + USL, ids=str)
def test_intervals_are_no_wider_than_the_noise_makes_them(law: Law, noise: float) -> None:
    """Beside the bound of Cramer and Rao for whoever knows the noise: no unbiased estimate has a narrower interval."""
    count = 3 if law.coherency else 2
    sizes = np.repeat(np.asarray(SIZES, dtype=float), 5)
    growth = 1 + law.contention * (sizes - 1) + law.coherency * sizes * (sizes - 1)
    slopes = np.stack([np.ones_like(sizes), (sizes - 1) / growth, sizes * (sizes - 1) / growth], axis=1)[:, :count]
    bound = noise * np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)))
    found = fits(law, noise)
    for place, name in list(enumerate(["one_worker_seconds", "contention", "coherency"]))[1:count]:
        # Half of the interval above the value: the lower half may end at zero.
        widths = [fit.parameters[name].interval.high - fit.parameters[name].value for fit in found]
        best = float(stats.norm.ppf(0.975)) * bound[place]
        assert 0.95 < float(np.mean(widths)) / best < 1.4, name


def test_seconds_of_the_law_are_the_laws() -> None:
    for law in (AMDAHL[0], USL[0]):
        (fit,) = [(usl if law.coherency else amdahl)(law.times(1, 1e-6))]
        assert [fit.seconds(size) for size in (3, 32)] == pytest.approx([law.seconds(3), law.seconds(32)], rel=1e-4)


def test_the_largest_speed_up_and_where_it_is() -> None:
    found = amdahl(Law(contention=0.1).times(1, 1e-6))
    assert found.most == pytest.approx(10, rel=1e-3)
    assert found.best_size is None
    law = Law(contention=0.02, coherency=0.02)
    found = usl(law.times(1, 1e-6))
    assert found.best_size == pytest.approx(math.sqrt(0.98 / 0.02), rel=1e-3)
    assert found.most == pytest.approx(law.one / law.seconds(7), rel=1e-2)


def test_a_wrong_law_is_told_from_a_right_one() -> None:
    """The F test: refutes Amdahl where workers slow each other down, and the true law in about 5 of 100."""
    law = Law(contention=0.05, coherency=0.02)
    refuted = [amdahl(law.times(seed, 0.05)).misfit for seed in SEEDS]
    kept = [usl(law.times(seed, 0.05)).misfit for seed in SEEDS]
    assert sum(p is not None and p < 0.05 for p in refuted) == 100
    assert sum(p is not None and p < 0.05 for p in kept) <= 10


def test_the_noise_is_recovered() -> None:
    for noise in NOISES:
        found = [fit.noise for fit in fits(USL[0], noise, seeds=range(1000, 1500))]
        assert np.mean(found) == pytest.approx(noise, rel=0.04)


def test_a_speed_up_beyond_the_workers_is_not_bent_to_fit() -> None:
    cells = Times((1, 1, 2, 2, 4, 4), (100.0, 101.0, 40.0, 41.0, 12.0, 12.5))
    found = amdahl(cells)
    assert found.parameters["contention"].value < 0
    assert found.parameters["contention"].interval.low == 0
    assert found.most is None


@pytest.mark.parametrize(
    ("law", "given"),
    [
        (amdahl, Times((1, 1, 1), (1.0, 1.1, 1.2))),
        (amdahl, Times((1, 2), (1.0, 0.6))),
        (usl, Times((1, 1, 2, 2), (1.0, 1.1, 0.6, 0.7))),
        (usl, Times((1, 2, 4), (1.0, 0.6, 0.4))),
        (usl, Times((1, 2, 2, 4), (1.0, 0.6, 0.7, 0.4), (0, 0, 1, 1))),
    ],
)
def test_too_little_is_said_so(law: object, given: Times) -> None:
    with pytest.raises(TooLittle, match="parameters need"):
        law(given)  # type: ignore[operator]


def test_blocks_that_share_no_size_are_none() -> None:
    """Else nobody could tell the size of a training from the day it was made on."""
    sizes, seconds = (1, 1, 2, 2, 4, 4), (10.0, 10.2, 5.5, 5.4, 3.2, 3.1)
    apart = Times(sizes, seconds, (1, 2, 1, 2, 3, 4))
    assert amdahl(apart) == amdahl(Times(sizes, seconds))
    assert means(apart).freedom == 3
    assert means(Times(sizes, seconds, (1, 2, 1, 2, 1, 3))).freedom == 1


def test_means_take_the_effect_of_blocks_out() -> None:
    """Two repeats, the second twice as slow, and one size missing in it: the missing one does not look faster."""
    found = means(Times((1, 2, 4, 1, 2), (8.0, 4.0, 2.0, 16.0, 8.0), ("a", "a", "a", "b", "b")))
    assert np.exp(found.logs - found.logs[0]) == pytest.approx([1, 0.5, 0.25])
    assert found.freedom == 1


@pytest.mark.parametrize("count", [2, 10, 30, 60])
def test_means_of_many_sizes_are_those_of_a_balanced_table(count: int) -> None:
    generator = np.random.default_rng(count)
    logs = 0.2 * generator.standard_normal(5)[None, :] + 0.01 * generator.standard_normal((count, 5))
    rows, columns = logs.mean(axis=1, keepdims=True), logs.mean(axis=0, keepdims=True)
    sizes = tuple(size for size in range(1, count + 1) for _repeat in range(5))
    found = means(Times(sizes, tuple(map(float, np.exp(logs).ravel())), tuple(range(5)) * count))
    assert found.logs == pytest.approx(rows.ravel())
    assert found.squares == pytest.approx(float(((logs - rows - columns + logs.mean()) ** 2).sum()))


def test_the_same_runs_say_the_same() -> None:
    times = USL[0].times(3, 0.05)
    assert usl(times).as_dict() == usl(times).as_dict()
    assert (usl(times).draws(SIZES) == usl(times).draws(SIZES)).all()
