"""What a series says: speed-up, efficiency, the knee, sentences; and that none of them says more than the runs do."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed, InvalidInput
from ansible_collections.dtf.cluster.plugins.plugin_utils import scientific
from ansible_collections.dtf.cluster.plugins.plugin_utils.samples import Interval, Ratio
from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling import (
    Cell,
    Knee,
    comparison,
    faster,
    find_knee,
    scaling,
)
from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling_laws import usl
from tests.unit.module_utils.synthetic_trainings import NOISES, SEEDS, SIZES, Law, times

#: Laws whose knee noise cannot move easily: no step's gain is within eight hundredths of the threshold.
CLEAR = [
    (Law(contention=0.02, coherency=0.05), 4),
    (Law(contention=0.3, coherency=0.02), 4),
    (Law(coherency=0.03), 4),
    (Law(contention=0.1, coherency=0.01), 8),
    (Law(contention=0.05, coherency=0.003), None),
    (Law(contention=0.1), None),
]
#: Laws with a step that gains nearly the threshold; nobody can tell where the knee is from 5 runs with noise of 15 %.
CLOSE = [
    (Law(contention=0.05, coherency=0.02), 8),
    (Law(contention=0.4), 8),
    (Law(contention=0.6), 4),
]


def true_knee(law: Law) -> int | None:
    """Return the knee of a law at the default threshold, by its definition."""
    pairs = itertools.pairwise(SIZES)
    return next((size for size, larger in pairs if law.seconds(size) / law.seconds(larger) < 1.1), None)


def knees(law: Law, noise: float) -> list[Knee]:
    """Return the knee found in each of 100 trainings of a law."""
    series = [law.times(seed, noise) for seed in SEEDS]
    found = [find_knee(one, usl(one)) for one in series]
    return [knee for knee in found if knee is not None]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("law", "size"), CLEAR, ids=str)
def test_the_knee_is_right_in_nine_of_ten(law: Law, size: int | None, noise: float) -> None:
    assert true_knee(law) == size
    assert sum(knee.size == size for knee in knees(law, noise)) >= 90


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("law", "size"), CLEAR + CLOSE, ids=str)
def test_a_knee_that_is_certain_is_right(law: Law, size: int | None, noise: float) -> None:
    """Also where it is hard to see: then it is seldom certain, and as seldom wrong as 95 % say."""
    assert true_knee(law) == size
    assert sum(knee.certain and knee.size != size for knee in knees(law, noise)) <= 8


def test_with_little_noise_a_knee_is_certain() -> None:
    assert sum(knee.certain for law, _size in CLEAR for knee in knees(law, 0.02)) >= 590


def test_a_law_that_is_refuted_is_not_asked() -> None:
    """A staircase: nothing of the universal law; the cells say where it ends."""
    cells = [
        Cell(size, tuple(seconds * factor for factor in (0.99, 1.0, 1.01, 1.005)))
        for size, seconds in [(1, 100.0), (2, 99.0), (4, 40.0), (8, 39.5), (16, 39.0)]
    ]
    series = times(cells)
    found = find_knee(series, usl(series))
    assert found is not None
    assert (found.size, found.next_size, found.source, found.certain) == (1, 2, "cells", True)
    assert found.gain == pytest.approx(0.01, abs=0.01)


def test_the_threshold_moves_the_knee() -> None:
    series = Law(contention=0.4).times(1, 0.001)
    found = [find_knee(series, usl(series), threshold) for threshold in (0.05, 0.1, 0.2, 0.3, 0.5)]
    assert [knee and knee.size for knee in found] == [None, 8, 4, 2, 1]


def test_a_drift_between_repeats_does_not_hide_the_knee() -> None:
    series = [times(CLEAR[1][0].cells(seed, 0.02, drift=0.3)) for seed in SEEDS]
    assert sum((knee := find_knee(one, usl(one))) is not None and knee.size == 4 for one in series) == 100


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_speed_ups_and_efficiencies_are_the_laws(drift: float) -> None:
    law = Law(contention=0.05, coherency=0.01)
    held = dict.fromkeys(SIZES[1:], 0)
    efficient = dict.fromkeys(SIZES[1:], 0)
    for seed in SEEDS:
        cells = law.cells(seed, 0.05, drift)
        for cell in cells[1:]:
            found = faster(cells[0], cell)
            assert found.interval is not None
            assert found.design == ("paired" if drift else "independent")
            held[cell.size] += law.one / law.seconds(cell.size) in found.interval
            part = found.times(1 / cell.size).interval
            efficient[cell.size] += part is not None and law.one / law.seconds(cell.size) / cell.size in part
    assert held == efficient
    # Sizes share the one worker's runs, and so their luck.
    assert min(held.values()) >= 89
    assert sum(held.values()) / len(held) >= 92


def test_a_series_as_a_whole() -> None:
    found = scaling(list(reversed(Law(contention=0.02, coherency=0.02).cells(1, 0.02, drift=0.1))))
    assert [step.size for step in found.steps] == list(SIZES)
    assert found.steps[0].speed_up is None
    assert found.knee is not None
    assert (found.knee.size, found.missing) == (true_knee(Law(contention=0.02, coherency=0.02)), ())
    two = found.steps[1]
    assert two.speed_up is not None
    assert two.efficiency is not None
    assert two.efficiency.value == pytest.approx(two.speed_up.value / 2)
    assert two.gain == two.speed_up
    assert found.amdahl is not None
    assert found.amdahl.misfit is not None
    assert found.amdahl.misfit < 0.05
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert document == json.loads(
        json.dumps(scaling(Law(contention=0.02, coherency=0.02).cells(1, 0.02, 0.1)).as_dict())
    )
    assert [entry["size"] for entry in document["steps"]] == list(SIZES)


def test_efficiency_is_relative_to_the_smallest_cell() -> None:
    found = scaling([Cell(2, (10.0, 10.0)), Cell(8, (5.0, 5.0))])
    step = found.steps[1]
    assert step.speed_up is not None
    assert step.efficiency is not None
    assert (step.speed_up.value, step.efficiency.value) == pytest.approx((2, 0.5))


def test_statements() -> None:
    cells = [
        Cell(1, (100.0, 101.0, 99.0)),
        Cell(4, (55.0, 56.5, 53.5)),
        Cell(8, (55.2, 53.1, 56.9)),
        Cell(16, (80.0, 83.0, 77.0)),
    ]
    assert list(scaling(cells).statements) == [
        "4 workers are 1.7 to 2.0 times as fast as 1",
        "8 workers are 1.6 to 2.0 times as fast as 1",
        "8 workers are not measurably faster or slower than 4 (0.9 to 1.1 times as fast)",
        "16 workers are 1.1 to 1.4 times as fast as 1",
        "16 workers are only 0.6 to 0.8 times as fast as 8",
        "beyond 4 workers the next step, to 8, brings less than 10%",
    ]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.71, 1.89, "4 workers are 1.7 to 1.9 times as fast as 2"),
        (1.04, 1.5, "4 workers are 1.04 to 1.50 times as fast as 2"),
        (1.001, 1.5, "4 workers are 1.001 to 1.500 times as fast as 2"),
        (0.5, 0.97, "4 workers are only 0.50 to 0.97 times as fast as 2"),
        (0.98, 1.02, "4 workers are not measurably faster or slower than 2 (0.98 to 1.02 times as fast)"),
        (1.0, 1.5, "4 workers are not measurably faster or slower than 2 (1.0 to 1.5 times as fast)"),
    ],
)
def test_a_sentence_says_no_more_than_its_interval(low: float, high: float, said: str) -> None:
    assert comparison(4, 2, Ratio((low * high) ** 0.5, Interval(low, high, "t"), "independent", 5)) == said


def test_without_an_interval_nothing_is_said() -> None:
    assert comparison(4, 2, Ratio(2.0, None, "independent", 1)) == ""


def test_a_law_without_gain_is_seldom_called_one() -> None:
    """Equal cells: of the sentences about one step, at most as many are wrong as 95 % allow."""
    wrong = 0
    for seed in range(300):
        slow, fast = (
            Cell(size, cell.seconds) for size, cell in zip((1, 2), Law().cells(seed, 0.15)[:1] * 2, strict=True)
        )
        other = Law(one=slow.size * 100.0).cells(seed + 5000, 0.15)[0]
        found = faster(slow, Cell(fast.size, other.seconds))
        wrong += found.interval is not None and 1 not in found.interval
    assert 2 <= wrong <= 27


def test_what_could_not_be_said_is_told() -> None:
    found = scaling([Cell(1, (10.0,)), Cell(2, (6.0,)), Cell(4, ())])
    assert [step.size for step in found.steps] == [1, 2]
    assert (found.amdahl, found.usl, found.knee, found.statements) == (None, None, None, ())
    assert found.missing == (
        "4 workers: no successful run",
        "1 worker: 1 run, an interval needs two",
        "2 workers: 1 run, an interval needs two",
        "amdahl: 2 parameters need 2 sizes and a run more than that, not 2 sizes",
        "usl: 3 parameters need 3 sizes and a run more than that, not 2 sizes",
        "the knee: needs two sizes and repeats",
    )
    assert scaling([]).steps == ()


def test_an_uncertain_knee_says_where_it_may_be() -> None:
    found = scaling(CLOSE[1][0].cells(3, 0.15))
    assert found.knee is not None
    assert not found.knee.certain
    assert sum(found.knee.shares.values()) == pytest.approx(1)
    assert found.statements[-1].startswith("where the knee is, these runs do not show with confidence: ")


def test_every_problem_of_a_series_is_told_at_once() -> None:
    cells = [
        Cell(0, (1.0,), (1,)),
        Cell(2, (1.0, -1.0), (1, 2)),
        Cell(2, (1.0, float("nan")), (1, 1)),
        Cell(4, (1.0, 2.0)),
    ]
    with pytest.raises(InvalidInput) as refused:
        scaling(cells, threshold=-1)
    fields = [problem.field for problem in refused.value.problems]
    assert fields == [
        "cells[0].size",
        "cells[2].size",
        "cells[2].seconds",
        "cells[2].size",
        "cells[2].seconds",
        "cells[2].blocks",
        "cells",
        "threshold",
    ]


def test_without_scipy_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scientific, "MISSING", "No module named 'scipy'")
    with pytest.raises(ActionFailed, match="pip install numpy scipy") as failed:
        scaling([Cell(1, (1.0,))])
    assert failed.value.code == "missing_library"


@pytest.mark.parametrize("sizes", [(2, 3), (2, 4, 7)])
def test_two_wild_repeats_are_no_error(sizes: tuple[int, ...]) -> None:
    """Times that grow with the workers lead a law nowhere, or so far that no number holds it."""
    missing = set()
    for seed in range(100):
        wild = np.exp(np.random.default_rng(seed).normal(0, 0.8, (len(sizes), 2)))
        found = scaling([Cell(size, tuple(map(float, row)), (1, 2)) for size, row in zip(sizes, wild, strict=True)])
        json.dumps(found.as_dict(), allow_nan=False)
        missing.update(found.missing)
    assert "amdahl: times grow with the workers faster than it allows" in missing
