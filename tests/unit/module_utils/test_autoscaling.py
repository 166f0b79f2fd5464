"""How many workers are worth having: where a search ends over trainings of a known law, and what it never does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.plugin_utils.autoscale_document import (
    autoscale_document,
    limits_of,
    line,
    table,
)
from ansible_collections.dtf.cluster.plugins.plugin_utils.autoscaling import Limits, Measure, Stop, decide, search
from tests.unit.module_utils.schema_check import assert_exactly
from tests.unit.module_utils.synthetic_trainings import Law

LIMITS = Limits(max_workers=16)
SEEDS = range(40)

#: Laws with their right size that runs with noise of 15 % can tell from all but its neighbours.
CLEAR = [
    (Law(), 16),
    (Law(contention=0.1), 16),
    (Law(contention=0.6), 4),
    (Law(contention=0.7), 3),
    (Law(contention=0.9), 1),
    (Law(coherency=0.03), 5),
    (Law(contention=0.05, coherency=0.02), 6),
    (Law(contention=0.1, coherency=0.01), 8),
    (Law(contention=0.3, coherency=0.02), 4),
    (Law(contention=0.02, coherency=0.05), 4),
    (Law(contention=0.3, coherency=0.2), 2),
]
#: Laws whose cost is so flat around the right size that a worker more or less changes it by less than half a percent.
FLAT = [
    (Law(contention=0.3), 15),
    (Law(contention=0.4), 9),
    (Law(contention=0.2, coherency=0.005), 9),
]


def cost(law: Law, size: int, limits: Limits = LIMITS) -> float:
    """Return the cost of a size by its definition: what a doubling has to bring is paid for each."""
    return math.log(law.seconds(size)) + math.log2(size) * math.log(1 + limits.threshold)


def right_size(law: Law, limits: Limits = LIMITS) -> int:
    """Return the last size that is worth growing to, worker by worker."""
    size = 1
    while size < limits.top and cost(law, size + 1, limits) <= cost(law, size, limits):
        size += 1
    return size


class Machine:
    """Measures a law with noise, and writes down what it was asked for."""

    def __init__(self, law: Callable[[int], float], noise: float, seed: int) -> None:
        self.law = law
        self.noise = noise
        self.chance = np.random.default_rng(seed)
        self.runs: dict[int, list[float]] = {}
        self.asked: list[Measure] = []

    def measure(self, wanted: Measure) -> None:
        self.asked.append(wanted)
        own = self.runs.setdefault(wanted.size, [])
        while len(own) < wanted.repeats:
            own.append(float(self.law(wanted.size) * math.exp(self.noise * self.chance.standard_normal())))

    def scale(self, limits: Limits = LIMITS) -> Stop:
        """Go on until the end."""
        while isinstance(decision := decide(self.runs, limits), Measure):
            self.measure(decision)
        return decision


@pytest.mark.parametrize(("law", "size"), CLEAR + FLAT, ids=str)
def test_the_right_size_is_the_cheapest_and_the_last_that_a_worker_more_was_worth(law: Law, size: int) -> None:
    assert right_size(law) == size == min(range(1, 17), key=lambda one: cost(law, one))


@pytest.mark.parametrize(("law", "size"), CLEAR, ids=str)
def test_with_noise_of_15_percent_it_stops_within_one_of_the_right_size_in_nine_of_ten(law: Law, size: int) -> None:
    found = [Machine(law.seconds, 0.15, seed).scale() for seed in SEEDS]
    assert sum(abs(end.size - size) <= 1 for end in found) >= 0.9 * len(SEEDS)


@pytest.mark.parametrize("noise", [0.02, 0.05])
@pytest.mark.parametrize(("law", "size"), CLEAR, ids=str)
def test_with_less_noise_it_is_nearly_always_right(law: Law, size: int, noise: float) -> None:
    found = [Machine(law.seconds, noise, seed).scale() for seed in SEEDS[:20]]
    assert sum(abs(end.size - size) <= 1 for end in found) >= 19


@pytest.mark.parametrize(("law", "size"), FLAT, ids=str)
def test_where_a_worker_hardly_matters_the_size_it_stops_at_costs_hardly_more(law: Law, size: int) -> None:
    """And it seldom claims to know what it does not."""
    found = [Machine(law.seconds, 0.15, seed).scale() for seed in SEEDS[:10]]
    assert sum(cost(law, end.size) - cost(law, size) < 0.03 for end in found) >= 9
    assert sum(end.certain and abs(end.size - size) > 1 for end in found) <= 1


def test_without_noise_it_asks_for_little_and_is_exact() -> None:
    machine = Machine(Law(contention=0.1, coherency=0.01).seconds, 1e-4, 1)
    end = machine.scale()
    assert (end.size, end.reason, end.certain, end.source) == (8, "threshold", True, "usl")
    assert [(wanted.size, wanted.repeats) for wanted in machine.asked] == [(1, 3), (2, 3), (4, 3), (8, 3), (16, 3)]
    assert [wanted.why for wanted in machine.asked][:3] == [
        "everything is compared with it",
        "1 may be worth doubling",
        "2 may be worth doubling",
    ]


@pytest.mark.parametrize(("law", "size"), [*CLEAR[2:9:2], FLAT[1]], ids=str)
def test_it_never_measures_a_run_twice_and_never_above_a_limit(law: Law, size: int) -> None:
    del size
    for limits in (LIMITS, Limits(max_workers=6, min_repeats=2, max_repeats=4), Limits(64, bounds={11: "quota"})):
        machine = Machine(law.seconds, 0.15, 7)
        end = machine.scale(limits)
        assert max(machine.runs) <= limits.top
        assert all(limits.min_repeats <= len(runs) <= limits.max_repeats for runs in machine.runs.values())
        # Each thing it asks for is more than it had, and once only.
        assert len({(wanted.size, wanted.repeats) for wanted in machine.asked}) == len(machine.asked)
        for earlier, wanted in enumerate(machine.asked):
            assert all(
                before.repeats < wanted.repeats for before in machine.asked[:earlier] if before.size == wanted.size
            )
        assert end.size in machine.runs


def test_a_search_that_was_broken_off_after_any_run_comes_to_the_same_end() -> None:
    machine = Machine(Law(contention=0.3, coherency=0.02).seconds, 0.15, 3)
    end = machine.scale()
    course = search(machine.runs, LIMITS)
    assert course[-1] == (end, {size: len(runs) for size, runs in sorted(machine.runs.items())})
    assert [decision for decision, _known in course[:-1]] == machine.asked
    # With any number of the last size's runs lost, the same is missing.
    for place, wanted in enumerate(machine.asked):
        before = {asked.size: machine.runs[asked.size][: asked.repeats] for asked in machine.asked[:place]}
        had = len(before.get(wanted.size, ()))
        for some in range(had, wanted.repeats):
            partly = {**before, wanted.size: machine.runs[wanted.size][:some]}
            assert search(partly, LIMITS)[-1][0] == wanted


def test_what_nobody_asked_for_changes_nothing() -> None:
    machine = Machine(Law(contention=0.7).seconds, 0.02, 5)
    end = machine.scale()
    more = {**machine.runs, 1: [*machine.runs[1], 1000.0], 7: [1.0, 2.0], 32: [0.1] * 5}
    assert search(more, LIMITS)[-1][0] == end


@pytest.mark.parametrize(
    ("limits", "size", "reason"),
    [
        (Limits(16), 16, "max_workers"),
        (Limits(6), 6, "max_workers"),
        (Limits(1), 1, "max_workers"),
        (Limits(16, bounds={5: "quota: 4 of 4 pods"}), 4, "bound"),
        (Limits(16, bounds={2: "quota", 3: "quota"}), 1, "bound"),
    ],
)
def test_a_training_that_scales_is_stopped_by_its_limit_alone(limits: Limits, size: int, reason: str) -> None:
    machine = Machine(Law().seconds, 0.02, 2)
    end = machine.scale(limits)
    assert (end.size, end.reason, end.certain) == (size, reason, True)
    if reason == "bound":
        assert f"{size + 1} cannot be measured: quota" in " ".join(end.statements)
    else:
        assert f"{size} is the largest size allowed" in end.statements


def test_one_worker_that_cannot_be_measured_is_an_error_that_says_why() -> None:
    with pytest.raises(ActionFailed, match="one worker cannot be measured: no memory"):
        decide({}, Limits(16, bounds={1: "no memory"}))


def test_a_law_that_is_refuted_is_not_asked() -> None:
    """A staircase: six workers do what five cannot, and more than eight are in each other's way."""
    stairs = {1: 100.0, 2: 58.0, 3: 57.0, 4: 40.0, 5: 39.0, 6: 20.0, 7: 20.0, 8: 20.0}
    machine = Machine(lambda size: stairs.get(size, 60.0), 0.01, 4)
    end = machine.scale()
    assert (end.size, end.source, end.certain) == (6, "cells", True)
    assert set(machine.runs) == {1, 2, 4, 8, 16, 6, 5, 7}


def test_a_step_down_after_which_nothing_gains_ends_the_doubling() -> None:
    machine = Machine(Law(contention=0.02, coherency=0.05).seconds, 0.02, 1)
    machine.scale()
    assert 16 not in machine.runs


def test_the_threshold_moves_the_size() -> None:
    law = Law(contention=0.3)
    found = [
        Machine(law.seconds, 0.001, 1).scale(replace(LIMITS, threshold=threshold)).size
        for threshold in (0.1, 0.2, 0.4, 0.8)
    ]
    assert found == [right_size(law, replace(LIMITS, threshold=threshold)) for threshold in (0.1, 0.2, 0.4, 0.8)]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4


def as_sizes(runs: dict[int, list[float]], largest: int, **reasons: dict[int, str]) -> list[dict[str, object]]:
    """Return sizes as the module has them."""
    return [
        {
            "workers": size,
            "label": f"{size} workers, 1 ps",
            "unfit": reasons.get("unfit", {}).get(size),
            "given_up": reasons.get("given_up", {}).get(size),
            "runs": [
                {"run_id": f"r{size}-{place}", "seconds": value} for place, value in enumerate(runs.get(size, ()))
            ],
        }
        for size in range(1, largest + 1)
    ]


def test_the_document_is_as_its_schema_says_and_tells_the_whole_way(repository: Path) -> None:
    machine = Machine(Law(contention=0.1, coherency=0.01).seconds, 0.05, 2)
    end = machine.scale()
    sizes = as_sizes(machine.runs, 16)
    document = autoscale_document("scale", {"steps": 2000, "ps": None}, sizes, LIMITS)
    schema = json.loads((repository / "schemas/autoscale.schema.json").read_text())
    assert_exactly(schema, document)
    assert (document["workers"], document["finished"], document["words"]) == (end.size, True, {"steps": 2000})
    assert len(document["decisions"]) == len(machine.asked) + 1
    assert [entry["workers"] for entry in document["sizes"]] == sorted(machine.runs)
    assert json.dumps(document) == json.dumps(autoscale_document("scale", {"steps": 2000}, sizes, LIMITS))
    shown = table(document)
    assert shown.startswith(f"{end.size} workers are worth having, if a doubling has to make the training 10% faster")
    assert f"> {end.size}" in shown
    assert all(f"= {statement}" in shown for statement in end.statements)
    assert line(document).startswith(f"scale: {end.size} workers are worth having")


def test_a_search_on_its_way_says_what_is_next(repository: Path) -> None:
    schema = json.loads((repository / "schemas/autoscale.schema.json").read_text())
    nothing = autoscale_document("scale", {}, as_sizes({}, 16), LIMITS)
    assert_exactly(schema, nothing)
    assert line(nothing) == "scale: 3 runs with 1 worker: everything is compared with it"
    some = autoscale_document("scale", {}, as_sizes({1: [9.0, 9.1, 9.2], 2: [5.0, 5.1]}, 16), LIMITS)
    assert line(some) == "scale: 3 runs with 2 workers: 1 may be worth doubling"
    assert (some["finished"], some["workers"], some["sizes"][0]["runs"]) == (False, None, ["r1-0", "r1-1", "r1-2"])


def test_what_has_no_place_or_is_given_up_bounds_the_search_with_its_reason() -> None:
    machine = Machine(Law().seconds, 0.02, 2)
    sizes = as_sizes(machine.runs, 16, unfit={5: "quota pods: 4"}, given_up={3: "worker 0 ended with exit code 3"})
    limits = limits_of(sizes, LIMITS)
    assert limits.bounds == {3: "given up after two failures: worker 0 ended with exit code 3"}
    machine.scale(limits)
    document = autoscale_document("scale", {}, as_sizes(machine.runs, 16, given_up={3: "it broke"}), LIMITS)
    assert (document["workers"], document["reason"]) == (2, "bound")
    assert document["bound"] == {"workers": 3, "reason": "given up after two failures: it broke"}
    assert "3 cannot be measured: given up after two failures: it broke" in table(document)
