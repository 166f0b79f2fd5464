"""The order of a benchmark's runs, what is missing of it, what is given up, and how long it will take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils import sweep
from ansible_collections.dtf.cluster.plugins.module_utils.grid import cell_of
from ansible_collections.dtf.cluster.plugins.module_utils.run_document import refused_document, rfc3339
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "schemas" / "plan.schema.json").read_text(encoding="utf-8"))
RUN_SCHEMA = json.loads(
    (Path(__file__).resolve().parents[3] / "schemas" / "run.schema.json").read_text(encoding="utf-8")
)
BASE: dict[str, Any] = {
    "name": "b",
    "hosts": [{"name": "lab", "address": "127.0.0.1"}],
    "python": "/p",
    "data_dir": "/d",
    "root": "/r",
}
PODS: dict[str, Any] = {"name": "b", "runtime": "kubernetes", "kubernetes": {"image": "trainer:1"}}


def topology(workers: int = 1, **params: Any) -> Topology:
    """Return a topology of processes on one host, or of pods."""
    base = PODS if params.get("runtime") == "kubernetes" else BASE
    return Topology.from_params({**base, "workers": {"replicas": workers}, **params})


def cell(workers: int = 1, unfit: str | None = None, **params: Any) -> sweep.Cell:
    """Return a cell of so many workers."""
    made = topology(workers, **params)
    return sweep.Cell(cell_of(made), made, unfit)


def run(
    of: Topology, repeat: int | None = None, state: str = "succeeded", minute: int = 0, wall: float = 10.0
) -> dict[str, Any]:
    """Return what is read of a run's document; it was made so many minutes after the epoch."""
    return {
        "run_id": f"run-{minute:03d}",
        "state": state,
        "cause": None if state == "succeeded" else {"reason": "exit_3", "message": "worker 0 ended with exit code 3"},
        "created": rfc3339(60.0 * minute),
        "finished": rfc3339(60.0 * minute + wall),
        "wall_seconds": wall,
        "spec": of.as_dict(),
        "runtime": of.runtime,
        "backend": of.kubernetes.backend if of.kubernetes else None,
        "benchmark": None if repeat is None else {"name": "b", "repeat": repeat, "number": 1, "seed": 1},
    }


ONE, TWO, FOUR = (cell(count) for count in (1, 2, 4))
TOPOLOGIES = [topology(count) for count in (1, 2, 4)]


def planned(*cells: sweep.Cell, repeats: int = 2, seed: int = 1, warm_up: bool = False) -> dict[str, Any]:
    """Return a plan that keeps to its schema."""
    made = sweep.plan("b", cells or (ONE, TWO, FOUR), repeats, seed, warm_up)
    jsonschema.validate(made, SCHEMA, cls=jsonschema.Draft202012Validator)
    return made


def left(plan: dict[str, Any], runs: Sequence[dict[str, Any]], since: float | None = None) -> Counter[tuple[int, int]]:
    """Return workers and repeat of what is missing."""
    workers = [entry["cell"]["workers"] for entry in plan["cells"]]
    return Counter((workers[slot.cell], slot.repeat) for slot in sweep.missing(plan, runs, since))


def test_what_the_runs_are_judged_with_is_kept_and_changes_no_run() -> None:
    kept = sweep.plan("b", (ONE, TWO), 2, 1, True, 0.2)
    jsonschema.validate(kept, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert kept == {**sweep.plan("b", (ONE, TWO), 2, 1, True), "gain_threshold": 0.2}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**kept, "gain_threshold": 1.5}, SCHEMA, cls=jsonschema.Draft202012Validator)


@given(seed=st.integers(0, 2**31), repeats=st.integers(1, 6), counts=st.sets(st.integers(1, 30), min_size=1))
@settings(max_examples=60, deadline=None)
def test_each_block_has_every_cell_once(seed: int, repeats: int, counts: set[int]) -> None:
    plan = planned(*(cell(count) for count in counts), repeats=repeats, seed=seed)
    assert [slot.number for slot in sweep.slots(plan)] == list(range(1, repeats * len(counts) + 1))
    blocks = [[slot.cell for slot in sweep.slots(plan) if slot.repeat == block] for block in range(1, repeats + 1)]
    assert [slot.repeat for slot in sweep.slots(plan)] == sorted(slot.repeat for slot in sweep.slots(plan))
    assert all(sorted(block) == list(range(len(counts))) for block in blocks)


def test_the_order_is_random_but_the_seed_s() -> None:
    cells = [cell(count) for count in range(1, 9)]
    plans = {seed: [slot.cell for slot in sweep.slots(planned(*cells, seed=seed, repeats=1))] for seed in range(40)}
    assert len({tuple(order) for order in plans.values()}) == 40
    assert plans[7] == [slot.cell for slot in sweep.slots(planned(*cells, seed=7, repeats=1))]
    # Nobody is always first.
    assert len({order[0] for order in plans.values()}) == 8


def test_one_more_cell_and_repeat_leave_the_order_of_the_others() -> None:
    small = planned(ONE, TWO, repeats=3)
    large = planned(ONE, TWO, FOUR, repeats=4)
    orders = [
        [(slot.repeat, slot.cell) for slot in sweep.slots(plan) if slot.cell < 2 and slot.repeat < 4]
        for plan in (small, large)
    ]
    assert orders[0] == orders[1]


def test_a_warm_up_is_the_largest_cell_of_each_runtime() -> None:
    pods = [cell(count, runtime="kubernetes") for count in (1, 3)]
    plan = planned(ONE, FOUR, TWO, *pods, warm_up=True, repeats=1)
    warm = [slot for slot in sweep.slots(plan) if slot.repeat == 0]
    assert [(slot.number, plan["cells"][slot.cell]["cell"]["workers"]) for slot in warm] == [(1, 4), (2, 3)]


@pytest.mark.parametrize(
    ("runs", "missing"),
    [
        ([], [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2)]),
        # a run fills its own block
        ([run(TOPOLOGIES[0], 2)], [(1, 1), (2, 1), (4, 1), (2, 2), (4, 2)]),
        # one made in no block, or in one that is not asked for, fills the first that is open
        ([run(TOPOLOGIES[0])], [(2, 1), (4, 1), (1, 2), (2, 2), (4, 2)]),
        ([run(TOPOLOGIES[0], 1), run(TOPOLOGIES[0], 7)], [(2, 1), (4, 1), (2, 2), (4, 2)]),
        # failed, stopped and warm-up runs fill nothing
        ([run(TOPOLOGIES[0], 1, "failed"), run(TOPOLOGIES[1], 1, "stopped"), run(TOPOLOGIES[2], 0)],
         [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2)]),
        # nor do runs of other cells
        ([run(topology(8), 1), run(topology(1, training={"steps": 7}), 1)],
         [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2)]),
    ],
)  # fmt: skip
def test_what_is_missing(runs: list[dict[str, Any]], missing: list[tuple[int, int]]) -> None:
    assert left(planned(), runs) == Counter(missing)


def test_a_warm_up_is_made_once_and_not_for_nothing() -> None:
    plan = planned(ONE, TWO, repeats=1, warm_up=True)
    assert left(plan, [])[(2, 0)] == 1
    assert left(plan, [run(TOPOLOGIES[1], 0)]) == Counter([(1, 1), (2, 1)])
    assert left(plan, [run(TOPOLOGIES[0], 1), run(TOPOLOGIES[1], 1)]) == Counter()
    # Of another cell it is a warm-up too.
    assert left(plan, [run(TOPOLOGIES[0], 0)]) == Counter([(1, 1), (2, 1)])


def test_two_failures_in_a_row_and_a_cell_is_given_up() -> None:
    failed = [run(TOPOLOGIES[0], 1, "failed", minute) for minute in (1, 3)]
    assert left(planned(), failed) == Counter([(2, 1), (4, 1), (2, 2), (4, 2)])
    # One that was stopped says nothing, a good one in between does; the order is that of their making.
    assert left(planned(), [*failed, run(TOPOLOGIES[0], 1, "stopped", 4)])[(1, 1)] == 0
    assert left(planned(), [failed[1], run(TOPOLOGIES[0], 1, minute=2), failed[0]])[(1, 2)] == 1
    assert left(planned(), failed[:1])[(1, 1)] == 1
    # Forgiven are failures before a moment.
    assert left(planned(), failed, since=200.0)[(1, 1)] == 1
    assert left(planned(), failed, since=30.0)[(1, 1)] == 0


def test_a_cell_without_a_place_has_no_runs() -> None:
    plan = planned(ONE, cell(2, unfit="it wants 3 hosts and there is 1"))
    assert left(plan, []) == Counter([(1, 1), (1, 2)])
    assert plan["cells"][1]["unfit"] == "it wants 3 hosts and there is 1"
    lost = planned(ONE, sweep.Cell({**cell_of(topology(2)), "nodes": 3}, None, "it wants 3 hosts and there is 1"))
    assert lost["cells"][1]["topology"] is None
    assert left(lost, [run(TOPOLOGIES[0], 1)]) == Counter([(1, 2)])
    assert "cannot run here: it wants 3 hosts" in sweep.standing(lost, [])["table"]


def test_how_long_it_takes() -> None:
    plan = planned(ONE, TWO, repeats=3)
    assert sweep.remaining_seconds(plan, sweep.missing(plan, []), []) is None
    own = [run(TOPOLOGIES[0], 1, wall=10), run(TOPOLOGIES[0], 2, minute=1, wall=20)]
    first, second = sweep.estimates(plan, own)
    assert (first.seconds, first.source) == (15, "2 its own runs")
    assert (second.seconds, second.source) == (15, "2 similar runs")
    # Runs that trained more or elsewhere tell nothing; those of other benchmarks do.
    other = [run(topology(1, training={"steps": 9}), wall=500), run(topology(1, runtime="kubernetes"), wall=500)]
    assert sweep.estimates(plan, [], other)[0] == sweep.Estimate(None, "no run to tell from")
    assert sweep.estimates(plan, [], own)[0].seconds == 15
    # Four are missing, 15 s each, and 50 s passed between the two that were made.
    assert sweep.remaining_seconds(plan, sweep.missing(plan, own), own) == 4 * 15 + 4 * 50
    done = [run(of, repeat, minute=place) for place, (of, repeat) in enumerate(
        [(of, repeat) for of in TOPOLOGIES[:2] for repeat in (1, 2, 3)]
    )]  # fmt: skip
    assert sweep.remaining_seconds(plan, sweep.missing(plan, done), done) == 0


def test_what_is_said_when_it_is_a_run_s_turn() -> None:
    plan = planned(ONE, TWO, repeats=1, warm_up=True)
    warm, first, second = sweep.slots(plan)
    told = sweep.turn(plan, warm, [])
    assert (told.wanted, told.label) == (True, "b 1/3 (2 workers, 1 ps, warm-up)")
    of = [TOPOLOGIES[slot.cell] for slot in (first, second)]
    runs = [run(TOPOLOGIES[1], 0), run(of[0], 1, minute=1)]
    assert sweep.turn(plan, first, runs).reason == "it has been measured"
    now = sweep.turn(plan, second, runs)
    assert now.wanted
    assert now.label.startswith("b 3/3 (")
    assert now.label.endswith(", repeat 1; all in about 1 min 00 s)")
    failed = [run(of[1], 1, "failed", minute) for minute in (4, 5)]
    gone = sweep.turn(plan, second, [*runs, *failed])
    assert (gone.wanted, gone.reason) == (False, "given up: worker 0 ended with exit code 3")


def test_how_a_benchmark_stands() -> None:
    plan = planned(ONE, TWO, repeats=2, warm_up=True)
    standing = sweep.standing(plan, [run(TOPOLOGIES[0], 1)])
    assert (len(standing["runs"]), standing["total"]) == (4, 5)
    assert standing["runs"][0] == {"number": 1, "repeat": 0, "cell": cell_of(TOPOLOGIES[1]), "label": "2 workers, 1 ps"}
    assert [entry["done"] for entry in standing["cells"]] == [1, 0]
    assert standing["table"].splitlines()[:3] == [
        "b: 4 of 5 runs to make, about 40 s; 2 cells, 2 repeats, order by seed 1",
        "  1 worker, 1 ps   1 there, 1 to make, 10 s each (from 1 its own run)",
        "  2 workers, 1 ps  0 there, 2 to make, 10 s each (from 1 similar run)",
    ]


def test_a_cell_is_told_by_what_is_not_the_same_in_all() -> None:
    words = [cell_of(topology(1)), cell_of(topology(2, training={"hidden_units": 50}))]
    assert sweep.varying_words(words) == ["workers", "hidden_units"]
    assert [sweep.label(entry, sweep.varying_words(words)) for entry in words] == [
        "1 worker, 1 ps, hidden units 100",
        "2 workers, 1 ps, hidden units 50",
    ]


@pytest.mark.parametrize("of", [topology(2), topology(2, runtime="kubernetes")])
def test_a_refused_run_has_a_document_like_any_other(of: Topology) -> None:
    cause = {"reason": "invalid_input", "message": "quota"}
    label = {"name": "b", "repeat": 1, "number": 3, "seed": 1, "repeats": 5, "gain_threshold": None}
    document = refused_document(of, "r-1", 1000.0, cause, {"ansible": "2.19", "collection": None}, label)
    jsonschema.validate(document, RUN_SCHEMA, cls=jsonschema.Draft202012Validator)
    assert (document["state"], document["benchmark"]) == ("failed", label)
    assert document["cause"]["message"] == "quota"  # type: ignore[index]
