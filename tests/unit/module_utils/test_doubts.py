"""Every guard: what it flags, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ansible_collections.dtf.cluster.plugins.plugin_utils.doubts import (
    Doubt,
    Limits,
    RunFacts,
    accuracy_doubts,
    gpu_doubts,
    run_doubts,
    series_doubts,
)
from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling import Cell, scaling
from tests.unit.module_utils.synthetic_trainings import NOISES, SEEDS, SIZES, Law

GOOD = RunFacts(
    run_id="r1",
    workers=2,
    training_seconds=8.0,
    global_step_first=0,
    global_step_last=1001,
    target_step=1000,
    local_steps=(500, 501),
    phases_seconds={"start": 1.0, "train": 8.0, "image": None, "exit": 1.0},
    wall_seconds=10.0,
    load_per_core={"a": 0.1, "b": None},
    clock_skew_seconds={"a": 0.0, "b": -0.05},
)


def codes(doubts: list[Doubt]) -> list[str]:
    """Return what was flagged."""
    return [doubt.code for doubt in doubts]


def test_a_good_run_is_not_doubted() -> None:
    assert run_doubts(GOOD) == []
    assert run_doubts(RunFacts("empty", 1)) == []


@pytest.mark.parametrize(
    ("changed", "code", "seen", "expected"),
    [
        ({"global_step_first": 900, "local_steps": (50, 51)}, "first_step", 900, 0),
        ({"global_step_last": 998, "local_steps": (499, 499)}, "target_missed", 998, 1000),
        ({"local_steps": (500, 400)}, "steps", 900, 1001),
        ({"local_steps": (500, 504)}, "steps", 1004, 1001),
        ({"contributions": 2}, "steps", 1001, 2002),
        ({"restarts": 3}, "restarts", 3, 0),
        ({"wall_seconds": 10.3}, "phases", 10.0, 10.3),
        ({"wall_seconds": 9.7}, "phases", 10.0, 9.7),
        ({"load_per_core": {"a": 0.1, "b": 0.9}}, "load", 0.9, 0.3),
        ({"clock_skew_seconds": {"a": -0.5}}, "clock_skew", -0.5, 0.1),
        ({"clock_skew_seconds": {"a": -0.5, "b": 0.09}}, "clock_skew", -0.5, 0.1),
        ({"clock_skew_seconds": {"a": 0.09, "b": 0.0, "c": None, "d": -0.09}}, "clock_skew", 0.18, 0.1),
        ({"without_gpu": 2}, "gpu_unseen", 2, 0),
    ],
)
def test_each_guard_of_a_run(changed: dict[str, Any], code: str, seen: float, expected: float) -> None:
    (doubt,) = run_doubts(replace(GOOD, **changed))
    assert (doubt.code, doubt.about, doubt.seen, doubt.expected) == (code, "r1", seen, expected)
    assert doubt.as_dict()["message"]


@pytest.mark.parametrize(
    "changed",
    [
        {"global_step_first": 900, "local_steps": (50, 51), "resumed": True},
        {"local_steps": (500, 499)},  # one in flight of each
        {"local_steps": (500, None)},  # not counted is not doubted
        {"local_steps": ()},
        {"contributions": 2, "local_steps": (1001, 1001)},
        {"target_step": 0, "global_step_last": 900, "local_steps": (450, 450)},
        {"wall_seconds": 10.15},
        {"wall_seconds": None},
        {"phases_seconds": {}},
    ],
)
def test_what_no_guard_of_a_run_minds(changed: dict[str, Any]) -> None:
    assert run_doubts(replace(GOOD, **changed)) == []


def test_two_clocks_that_are_apart_are_named() -> None:
    (doubt,) = run_doubts(replace(GOOD, clock_skew_seconds={"a": 0.03, "b": -0.08, "c": 0.06}))
    assert doubt.message.startswith("the clocks of c and b are 0.140 s apart: ")
    near = replace(GOOD, clock_skew_seconds={"a": 0.04, "b": -0.05, "c": None})
    assert run_doubts(near) == run_doubts(replace(GOOD, clock_skew_seconds={"a": None})) == []


def test_the_bounds_can_be_moved() -> None:
    loose = Limits(phases_share=0.5, load_per_core=2, clock_skew_seconds=1, steps_in_flight=100)
    bad = replace(
        GOOD, wall_seconds=12.0, load_per_core={"a": 1.0}, clock_skew_seconds={"a": 0.9}, local_steps=(400, 500)
    )
    assert sorted(codes(run_doubts(bad))) == ["clock_skew", "load", "phases", "steps"]
    assert run_doubts(bad, loose) == []


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("place", range(1, len(SIZES)))
def test_a_speed_up_of_thirty_is_flagged(place: int, noise: float) -> None:
    """A whole size, all runs of which are thirty times faster than they should be: at each size, in each seed."""
    for seed in SEEDS[:20]:
        cells = Law(contention=0.05, coherency=0.003).cells(seed, noise)
        cells[place] = Cell(cells[place].size, tuple(value / 30 for value in cells[place].seconds))
        doubts = series_doubts(cells, scaling(cells))
        assert f"size {cells[place].size}" in {doubt.about for doubt in doubts}
        assert set(codes(doubts)) == {"superlinear"}


@pytest.mark.parametrize("noise", NOISES)
def test_a_single_run_thirty_times_as_fast_is_flagged(noise: float) -> None:
    """The size's interval becomes so wide that it proves nothing; the run is named nevertheless, and is an outlier."""
    for seed in SEEDS[:20]:
        cells = Law(contention=0.05, coherency=0.003).cells(seed, noise)
        cells[2] = Cell(4, (cells[2].seconds[0] / 30, *cells[2].seconds[1:]))
        found = scaling(cells)
        assert "size 4, run 1" in {doubt.about for doubt in series_doubts(cells, found)}
        assert found.steps[2].seconds.outliers == (0,)


@pytest.mark.parametrize("noise", NOISES)
def test_honest_series_are_not_flagged(noise: float) -> None:
    found = [
        series_doubts(cells, scaling(cells))
        for cells in (Law(contention=0.05).cells(seed, noise) for seed in SEEDS[:50])
    ]
    assert sum(bool(doubts) for doubts in found) <= 3


def test_one_run_a_size_is_judged_by_its_value() -> None:
    cells = [Cell(1, (90.0,)), Cell(2, (3.0,)), Cell(4, (30.0,))]
    doubts = series_doubts(cells, scaling(cells))
    assert [doubt.about for doubt in doubts] == ["size 2", "size 2, run 1"]
    assert doubts[0].seen == pytest.approx(30)
    assert series_doubts([], scaling([])) == []


def accuracies(seed: int, better: float = 0.0) -> dict[str, list[float]]:
    """Return accuracies of three cells of five runs, the last of which is another training by so much."""
    generator = np.random.default_rng(seed)
    return {
        name: (0.95 + more + spread * generator.standard_normal(5)).tolist()
        for name, more, spread in (("1", 0.0, 0.002), ("2", 0.0, 0.004), ("4", better, 0.003))
    }


def test_accuracies_that_differ_by_chance_are_not_flagged() -> None:
    assert sum(bool(accuracy_doubts(accuracies(seed))) for seed in range(300)) <= 9


def test_accuracies_that_differ_by_more_are_flagged() -> None:
    found = [accuracy_doubts(accuracies(seed, -0.02)) for seed in range(100)]
    assert sum(map(len, found)) >= 99
    assert found[0][0].about.startswith("4, ")
    assert "more than chance" in found[0][0].message


def test_accuracies_without_a_spread_are_compared_by_the_test_set() -> None:
    far, near = {"1": [0.95], "2": [0.90]}, {"1": [0.95, 0.95], "2": [0.9505]}
    assert codes(accuracy_doubts(far, 10_000)) == ["accuracy"]
    assert accuracy_doubts(near, 10_000) == []
    assert accuracy_doubts(far) == []
    assert accuracy_doubts({"1": [1.0], "2": [1.0]}, 10_000) == []
    assert accuracy_doubts({"1": [0.9, 0.91], "2": []}, 10_000) == []


@pytest.mark.parametrize(
    ("models", "about"),
    [
        ({}, []),
        ({"1": [], "2": []}, []),
        ({"1": ["T4"], "2": ["T4", "T4"]}, []),
        # What tells of none is compared with nothing.
        ({"1": [], "2": ["T4"], "4": ["T4"]}, []),
        ({"1": ["T4"], "2": ["A100"], "4": ["A100"]}, ["1, 2"]),
        ({"1": ["T4"], "2": ["A100", "T4"]}, ["2", "1, 2"]),
        ({"1": ["T4", "A100"], "2": ["A100", "T4"]}, ["1", "2"]),
        # Parts of one card are of different size.
        ({"1": ["A100 MIG 3g.20gb"], "2": ["A100 MIG 2g.10gb"]}, ["1, 2"]),
    ],
)
def test_gpus_that_differ_within_a_cell_and_between_cells(models: dict[str, list[str]], about: list[str]) -> None:
    doubts = gpu_doubts(models)
    assert [doubt.about for doubt in doubts] == about
    assert {doubt.code for doubt in doubts} <= {"gpu_models"}
    assert all(doubt.seen == 2 > doubt.expected for doubt in doubts)
