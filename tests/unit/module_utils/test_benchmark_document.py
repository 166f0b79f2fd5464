"""Run documents to a benchmark's document: what counts, what is compared, what is doubted; tables as golden files."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import stats, sweep
from ansible_collections.dtf.cluster.plugins.module_utils.benchmark_directory import read_runs
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed, InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.grid import CELL_WORDS, cell_of
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from ansible_collections.dtf.cluster.plugins.plugin_utils import scientific
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import benchmark_document
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_tables import cells_csv, runs_csv, table
from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling import GAIN_THRESHOLD
from tests.fixtures.synthetic_runs import run_document as run
from tests.fixtures.synthetic_runs import topology, write_folder

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "fixtures" / "benchmark"
SCHEMA = json.loads((ROOT / "schemas" / "benchmark.schema.json").read_text(encoding="utf-8"))
ONE, TWO, FOUR = (topology(count) for count in (1, 2, 4))
SELDOM = topology(training={"communication_interval": 10})


def document(runs: list[dict[str, Any]], *cells: Topology, repeats: int = 1, **more: Any) -> dict[str, Any]:
    """Return the document of some runs, and of a plan if there are cells; it keeps to its schema."""
    plan = sweep.plan("b", [sweep.Cell(cell_of(cell), cell) for cell in cells], repeats, 1, True) if cells else None
    made = benchmark_document("b", runs, plan, **more)
    jsonschema.validate(made, SCHEMA, cls=jsonschema.Draft202012Validator)
    return made


def only(made: dict[str, Any]) -> dict[str, Any]:
    """Return the one cell of a document."""
    (cell,) = made["cells"]
    return dict(cell)


def series(seconds: dict[int, list[float]], blocks: bool = True) -> list[dict[str, Any]]:
    """Return runs of several numbers of workers, each with its training times, repeat by repeat."""
    return [
        run(topology(workers), value, number=number, repeat=repeat if blocks else None, run_id=f"{workers}-{repeat}")
        for number, (workers, repeat, value) in enumerate(
            (workers, repeat, value)
            for workers, values in seconds.items()
            for repeat, value in enumerate(values, 1)
        )
    ]  # fmt: skip


def test_a_cell_sums_up_its_good_runs_only() -> None:
    runs = [run(ONE, 8.0), run(ONE, 12.0), run(ONE, state="failed"), run(ONE, state="stopped"), run(TWO, 5.0)]
    cell, other = document(runs, ONE, TWO)["cells"]
    assert cell["cell"] == cell_of(ONE)
    summary = cell["training_seconds"]
    assert (summary["n"], summary["mean"], summary["minimum"], summary["maximum"]) == (2, 10, 8, 12)
    assert summary["interval"]["method"] == "t"
    assert (cell["phases"]["train"], cell["phases"]["barrier"], cell["startup_seconds"]["mean"]) == (10, 0.25, 1.75)
    counts = [cell[state] for state in ("succeeded", "failed", "stopped", "warm_up")]
    assert (counts, len(cell["runs"]), len(other["runs"])) == ([2, 1, 1, 0], 4, 1)


def test_a_warm_up_is_kept_and_not_counted() -> None:
    cell = only(document([run(ONE, 99.0, repeat=0), run(ONE, 10.0, number=2, repeat=1)]))
    assert (cell["training_seconds"]["mean"], cell["warm_up"], cell["succeeded"]) == (10, 1, 1)
    assert [entry["counted"] for entry in cell["runs"]] == [False, True]


def test_an_outlier_is_shown_and_stays_in_every_number() -> None:
    values = [10.0, 10.1, 9.9, 10.05, 9.95, 40.0]
    cell = only(document([run(ONE, value, number=number) for number, value in enumerate(values)]))
    assert [entry["outlier"] for entry in cell["runs"]] == [False] * 5 + [True]
    assert cell["training_seconds"]["mean"] == pytest.approx(sum(values) / 6)
    assert "outliers inside the means: 1" in cell["notes"]


def test_speed_up_is_against_the_smallest_of_the_same_series() -> None:
    other = {"ps": {"replicas": 2}}
    runs = [
        run(TWO, 8.0, number=1), run(FOUR, 4.0, number=2), run(ONE, 12.0, number=3),
        run(topology(2, **other), 30.0, number=4), run(topology(4, **other), 10.0, number=5),
    ]  # fmt: skip
    made = document(runs)
    found = {
        (cell["cell"]["workers"], cell["cell"]["ps"]): cell["speed_up"] and (
            cell["speed_up"]["value"], cell["efficiency"]["value"], cell["gain"]["value"]
        )
        for cell in made["cells"]
    }  # fmt: skip
    assert found == {
        (1, 1): None,
        (2, 1): pytest.approx((1.5, 0.75, 1.5)),
        (4, 1): pytest.approx((3, 0.75, 2)),
        (2, 2): None,
        (4, 2): pytest.approx((3, 1.5, 3)),
    }
    assert [entry["label"] for entry in made["series"]] == ["1 ps", "2 ps"]
    assert made["axes"] == {"workers": [1, 2, 4], "ps": [1, 2]}


def test_runs_of_one_repeat_are_compared_with_one_another() -> None:
    # The machine became slower from repeat to repeat, for both cells alike.
    drift = [1.0, 1.5, 2.0, 2.5]
    seconds = {1: [10 * factor for factor in drift], 2: [5.05 * factor for factor in drift]}
    paired = document(series(seconds))["cells"][1]["speed_up"]
    loose = document(series(seconds, blocks=False))["cells"][1]["speed_up"]
    assert (paired["design"], loose["design"]) == ("paired", "independent")
    assert paired["interval"]["high"] - paired["interval"]["low"] < 0.01
    assert loose["interval"]["low"] < 1.2
    assert loose["interval"]["high"] > 2.8


def test_a_cell_without_repeats_to_pair_makes_its_series_independent() -> None:
    runs = series({1: [10.0, 11.0], 2: [5.0, 5.5]})
    runs[3]["benchmark"]["repeat"] = 1
    assert document(runs)["cells"][1]["speed_up"]["design"] == "independent"


def test_a_bootstrap_is_begun_for_all_cells_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning takes most of its time: a cell more must not begin one more."""
    begun = []

    def counted(*arguments: Any, **more: Any) -> Any:
        begun.append(arguments)
        return bootstrap(*arguments, **more)

    bootstrap = scientific.stats.bootstrap
    monkeypatch.setattr(scientific.stats, "bootstrap", counted)
    chance = random.Random(1)
    for sizes in ((1, 2, 3), (1, 2, 3, 4, 5, 6)):
        document(series({size: [chance.uniform(9, 10) / size for _repeat in range(8)] for size in sizes}))
    # The means of the series, its ratios, the records; and the same again.
    assert len(begun) == 6


def test_the_answer_is_what_intervals_support() -> None:
    noise = random.Random(1)
    seconds = {
        workers: [law * noise.uniform(0.99, 1.01) for _repeat in range(6)]
        for workers, law in {1: 20.0, 2: 10.4, 4: 5.8, 8: 5.7}.items()
    }
    made = document(series(seconds))
    assert made["answer"].startswith("8 workers are 3.")
    assert "beyond 4 workers the next step, to 8, brings less than 10%" in made["answer"]
    assert made["series"][0]["scaling"]["knee"]["size"] == 4
    assert document([])["answer"] == "No run has succeeded yet."
    assert document([run(ONE)])["answer"] == "1 worker, 1 ps: 10.00 s, n = 1."
    assert document([run(ONE), run(TWO)])["answer"].startswith(
        "2 cells were measured; what differs between them is not"
    )


@pytest.mark.parametrize("threshold", [10, -0.1, float("nan"), "much"])
def test_a_threshold_that_is_no_share_is_refused(threshold: Any) -> None:
    with pytest.raises(InvalidInput, match=r"gain_threshold: .* accepted: a number from 0 and at most 1"):
        benchmark_document("b", [], threshold=threshold)


def test_what_is_missing_to_judge_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scientific, "MISSING", "No module named 'scipy'")
    with pytest.raises(ActionFailed, match="need numpy and scipy on the controller"):
        benchmark_document("b", [])


def test_what_gain_is_worth_a_step_is_the_users() -> None:
    runs = series({1: [10.0, 10.01, 9.99], 2: [8.0, 8.01, 7.99], 4: [7.0, 7.01, 6.99]})
    assert document(runs, threshold=0.1)["series"][0]["scaling"]["knee"]["size"] is None
    made = document(runs, threshold=0.2)
    assert (made["threshold"], made["series"][0]["scaling"]["knee"]["size"]) == (0.2, 2)
    # The plan remembers it for whoever asks for the same document later; one that is given goes before it.
    plan = sweep.plan("b", [sweep.Cell(cell_of(cell), cell) for cell in (ONE, TWO, FOUR)], 3, 1, False, 0.2)
    later = benchmark_document("b", runs, plan)
    assert later == benchmark_document("b", runs, {**plan, "gain_threshold": 0.3}, 0.2)
    assert (later["threshold"], later["series"][0]["scaling"]["knee"]["size"]) == (0.2, 2)
    del plan["gain_threshold"]
    assert benchmark_document("b", runs, plan)["threshold"] == 0.1
    with pytest.raises(InvalidInput, match="gain_threshold: "):
        benchmark_document("b", runs, {**plan, "gain_threshold": 2})


def test_a_cell_that_failed_twice_in_a_row_is_given_up() -> None:
    runs = [run(ONE, number=1), *(run(ONE, state="failed", number=number) for number in (2, 3))]
    cell = only(document(runs))
    assert cell["given_up"] == {
        "reason": "exit_3", "message": "worker 0 ended with exit code 3", "runs": ["run-02", "run-03"],
    }  # fmt: skip
    assert only(document(runs[:2]))["given_up"] is None


def test_a_cell_without_a_place_is_in_the_document() -> None:
    unfit = sweep.Cell({**cell_of(TWO), "nodes": 3}, None, "it wants 3 hosts and there is 1")
    plan = sweep.plan("b", [sweep.Cell(cell_of(ONE), ONE), unfit], 1, 1, False)
    made = benchmark_document("b", [run(ONE)], plan)
    jsonschema.validate(made, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert made["cells"][1]["unfit"] == "it wants 3 hosts and there is 1"
    assert made["cells"][1]["series"] is None


def test_without_a_plan_the_runs_tell_the_cells() -> None:
    runs = series({4: [3.0], 1: [10.0, 11.0], 2: [6.0]})
    made = document(runs)
    assert [cell["cell"]["workers"] for cell in made["cells"]] == [1, 2, 4]
    planned = document(runs, TWO, ONE)
    # Those of the plan come first, in its order; what else was measured follows.
    assert [cell["cell"]["workers"] for cell in planned["cells"]] == [2, 1, 4]
    assert {cell["label"]: cell["runs"] for cell in made["cells"]} == {
        cell["label"]: cell["runs"] for cell in planned["cells"]
    }


def test_the_order_in_which_runs_are_read_does_not_matter() -> None:
    runs = series({1: [10.0, 11.0, 10.5], 2: [6.0, 6.1, 6.2], 4: [4.0, 4.1, 4.2]})
    assert document(runs, ONE, TWO, FOUR) == document(runs[::-1], ONE, TWO, FOUR)


def test_runs_stand_in_the_order_in_which_they_were_made_and_then_by_name() -> None:
    runs = [run(ONE, number=2, run_id="a"), run(ONE, number=1, run_id="c"), run(ONE, number=1, run_id="b")]
    assert [entry["run_id"] for entry in only(document(runs))["runs"]] == ["b", "c", "a"]


def test_a_document_of_an_earlier_version_is_read_too() -> None:
    old = run(ONE)
    del old["benchmark"], old["environment"]["hosts"][0]["load_before"]
    del old["environment"]["hosts"][0]["clock_ahead_seconds"]
    cell = only(document([old, run(ONE, 12.0, number=2)]))
    assert cell["training_seconds"]["n"] == 2
    assert cell["runs"][0]["repeat"] is None


def test_a_plan_of_an_earlier_version_is_passed_over() -> None:
    runs = series({1: [10.0, 11.0], 2: [6.0, 6.1]})
    assert benchmark_document("b", runs, {"schema": "dtf.plan/1", "topologies": []}) == benchmark_document("b", runs)


def test_without_a_plan_the_newest_run_says_what_was_wanted() -> None:
    runs = series({1: [10.0, 11.0], 2: [9.0, 9.1]})
    for number, made in enumerate(runs):
        made["benchmark"].update(repeats=3 + number, gain_threshold=0.2 + number / 100)
    told = benchmark_document("b", runs[::-1])
    assert (told["repeats"], told["threshold"]) == (6, 0.23)
    assert benchmark_document("b", runs, threshold=0.5)["threshold"] == 0.5
    for made in runs:
        made["benchmark"].update(repeats=None, gain_threshold=None)
    untold = benchmark_document("b", runs)
    assert (untold["repeats"], untold["threshold"]) == (2, GAIN_THRESHOLD)


def test_what_never_trained_has_not_started() -> None:
    broken = run(ONE, state="failed")
    assert only(document([broken]))["runs"][0]["startup_seconds"] == 1.75
    broken["phases"].update(train=0.0, connect=10.25)
    assert only(document([broken]))["runs"][0]["startup_seconds"] is None


def test_damaged_documents_are_named_all_at_once(tmp_path: Path) -> None:
    write_folder(tmp_path, series({1: [10.0, 11.0], 2: [6.0]}))
    for name in ("1-1", "2-1"):
        (tmp_path / name / "run.json").write_text('{"schema": ', encoding="utf-8")
    with pytest.raises(ActionFailed, match=r"1-1/run.json: .*; .*2-1/run.json: "):
        read_runs(tmp_path)


def _first_step(document: dict[str, Any]) -> None:
    document["training"]["global_step_first"] = 500


def _missed(document: dict[str, Any]) -> None:
    document["training"]["global_step_last"] = 1990
    document["tasks"][1]["local_steps"] = 1990


def _steps(document: dict[str, Any]) -> None:
    document["tasks"][1]["local_steps"] -= 400


def _restarts(document: dict[str, Any]) -> None:
    document["tasks"][0]["restarts"] = 1


def _phases(document: dict[str, Any]) -> None:
    document["phases"]["exit"] += 0.5


def _load(document: dict[str, Any]) -> None:
    document["environment"]["hosts"][0]["load_before"] = 1.5


def _clock(document: dict[str, Any]) -> None:
    document["environment"]["hosts"][0]["clock_ahead_seconds"] = -0.2


def _clock_of_pods(document: dict[str, Any]) -> None:
    clock = {"name": "w1", "ahead_seconds": 1.3, "uncertainty_seconds": 1.0}
    document["clocks"] = {"beside_controller": [clock]}


def _clocks_apart(document: dict[str, Any]) -> None:
    (host,) = document["environment"]["hosts"]
    others = [{**host, "name": name, "clock_ahead_seconds": ahead} for name, ahead in (("h2", 0.09), ("h3", -0.09))]
    document["environment"]["hosts"] += others


def _clocks_of_pods_apart(document: dict[str, Any]) -> None:
    clocks = [("w1", 1.09, 1.0), ("w2", -1.09, 1.0), ("w3", 0.0, None), ("w4", None, None)]
    document["clocks"] = {
        "beside_controller": [
            {"name": name, "ahead_seconds": ahead, "uncertainty_seconds": unsure} for name, ahead, unsure in clocks
        ]
    }


DOUBTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "first_step": _first_step, "target_missed": _missed, "steps": _steps, "restarts": _restarts, "phases": _phases,
    "load": _load, "clock_skew": _clock, "clock_skew of pods": _clock_of_pods, "clock_skew of two hosts": _clocks_apart,
    "clock_skew of two nodes": _clocks_of_pods_apart,
}  # fmt: skip


@pytest.mark.parametrize("code", DOUBTS)
def test_each_guard_sees_what_it_is_for_and_nothing_else(code: str) -> None:
    good = [run(ONE, number=number) for number in (1, 2)]
    assert document(good)["doubts"] == []
    bad = copy.deepcopy(good)
    DOUBTS[code](bad[1])
    made = document(bad)
    expected = {code.partition(" ")[0]} | ({"steps"} if code == "first_step" else set())
    assert {doubt["code"] for doubt in made["doubts"]} == expected
    assert {(doubt["run_id"], doubt["cell"]) for doubt in made["doubts"]} == {("run-02", 0)}
    assert [entry["doubts"] for entry in only(made)["runs"]] == [[], sorted(expected)]
    assert all(doubt["message"] in table(made) for doubt in made["doubts"])


def test_a_clock_that_may_be_right_is_not_doubted() -> None:
    document_of_pods = run(ONE)
    document_of_pods["clocks"] = {
        "beside_controller": [
            {"name": "w1", "ahead_seconds": 0.9, "uncertainty_seconds": 1.0},
            {"name": "w2", "ahead_seconds": -0.9, "uncertainty_seconds": 1.0},
        ]
    }
    assert document([document_of_pods])["doubts"] == []


def test_a_thirtyfold_speed_up_is_flagged() -> None:
    runs = series({1: [300.0, 301.0, 299.0], 2: [10.0, 10.1, 9.9]})
    made = document(runs)
    assert {doubt["code"] for doubt in made["doubts"]} == {"superlinear"}
    assert all("superlinear" in entry["doubts"] for entry in made["cells"][1]["runs"])
    assert document(series({1: [300.0, 301.0, 299.0], 2: [150.0, 151.0, 152.0]}))["doubts"] == []


def test_accuracies_that_differ_by_more_than_chance_are_flagged() -> None:
    runs = series({1: [10.0, 10.1, 10.2], 2: [6.0, 6.1, 6.2]})
    for entry, accuracy in zip(runs, [0.951, 0.952, 0.950, 0.921, 0.922, 0.923], strict=True):
        entry["training"]["test_accuracy"] = accuracy
    (doubt,) = document(runs)["doubts"]
    assert (doubt["code"], doubt["run_id"]) == ("accuracy", None)
    for entry, accuracy in zip(runs, [0.951, 0.952, 0.950, 0.949, 0.953, 0.951], strict=True):
        entry["training"]["test_accuracy"] = accuracy
    assert document(runs)["doubts"] == []


def test_what_is_not_the_same_in_all_runs_is_told() -> None:
    runs = [run(ONE, number=number) for number in (1, 2)]
    assert document(runs)["environment"]["differing"] == []
    runs[1]["environment"]["versions"]["tensorflow"] = "2.16"
    runs[1]["environment"]["hosts"][0]["kernel"] = "7"
    differing = {entry["what"]: entry["values"] for entry in document(runs)["environment"]["differing"]}
    assert differing["version of tensorflow"] == ["2.15", "2.16"]
    assert [host["kernel"] for host in differing["host lab"]] == ["6", "7"]


def test_processes_and_pods_of_one_cell_have_a_price() -> None:
    pods = topology(runtime="kubernetes")
    runs = [run(ONE, 10.0 + repeat / 100, number=repeat, repeat=repeat) for repeat in (1, 2, 3)]
    runs += [run(pods, 11.0 + repeat / 100, number=repeat + 3, repeat=repeat) for repeat in (1, 2, 3)]
    made = document(runs)
    (pair,) = made["price"]
    assert [made["cells"][pair[runtime]]["cell"]["runtime"] for runtime in ("process", "kubernetes")] == [
        "process",
        "kubernetes",
    ]
    assert pair["training_seconds"]["value"] == pytest.approx(1.1, abs=0.001)
    assert pair["training_seconds"]["design"] == "paired"
    assert pair["statement"] in table(made)


@pytest.mark.parametrize(
    ("runs", "notes"),
    [
        ([run(ONE)], []),
        ([run(ONE, state="failed")], ["failed runs outside the means: 1", "no successful run"]),
        ([run(ONE), run(ONE, state="stopped", number=2)], ["stopped runs outside the means: 1"]),
        ([run(ONE, environment={**run(ONE)["environment"], "hosts": [{"name": "lab", "cores": 1}]})],
         ["2 tasks share the 1 cores of lab"]),
        # a host is crowded above its cores, not at them
        ([run(ONE, environment={**run(ONE)["environment"], "hosts": [{"name": "lab", "cores": 2}]})], []),
        ([run(SELDOM)], ["workers exchange every 10 steps only, which is another algorithm than every step"]),
    ],
)  # fmt: skip
def test_what_a_reader_must_know_is_noted(runs: list[dict[str, Any]], notes: list[str]) -> None:
    assert only(document(runs))["notes"] == notes


def small_sweep() -> dict[str, Any]:
    """Return the document of a small benchmark with a failed run, a restart and a crowded host."""
    runs = [
        run(FOUR, 5.0, number=6, repeat=2),
        run(TWO, 7.5, number=5, repeat=2),
        run(ONE, 12.0, number=1, repeat=1),
        run(FOUR, state="failed", number=3, repeat=1),
        run(ONE, 12.5, number=4, repeat=2),
        run(TWO, 8.5, number=2, repeat=1),
        run(FOUR, 6.0, number=0, repeat=0),
    ]
    runs[0]["tasks"][0]["restarts"] = 1
    return document(runs, ONE, TWO, FOUR, repeats=2)


RENDERED: dict[str, Callable[[dict[str, Any]], str]] = {
    "summary.txt": lambda made: table(made) + "\n", "runs.csv": runs_csv, "cells.csv": cells_csv,
}  # fmt: skip


@pytest.mark.parametrize("name", RENDERED)
def test_the_tables_are_as_in_the_golden_files(name: str, renew_golden: bool) -> None:
    if renew_golden:
        (GOLDEN / name).write_text(RENDERED[name](small_sweep()), encoding="utf-8")
    assert RENDERED[name](small_sweep()) == (GOLDEN / name).read_text(encoding="utf-8")


def test_csv_has_every_number_once_and_cells_of_another_program_can_read_it() -> None:
    made = small_sweep()
    rows = list(csv.DictReader(io.StringIO(runs_csv(made))))
    assert len(rows) == sum(len(cell["runs"]) for cell in made["cells"])
    assert rows[0].keys() >= {*CELL_WORDS, *(f"phase_{phase}" for phase in stats.PHASES)}
    assert [row["training_seconds"] for row in rows] == ["12.0", "12.5", "8.5", "7.5", "6.0", "", "5.0"]
    (one, two, four) = csv.DictReader(io.StringIO(cells_csv(made)))
    assert one["training_seconds_mean"] == "12.25"
    assert float(two["speed_up_low"]) < float(two["speed_up"]) < float(two["speed_up_high"])
    assert four["notes"].count("; ") == len(made["cells"][2]["notes"]) - 1


def test_a_benchmark_without_runs_still_has_its_table() -> None:
    made = document([], ONE, TWO)
    assert runs_csv(made) == ""
    assert table(made).splitlines()[-1] == "* no successful run"
    assert table(document([])) == "b: No run has succeeded yet."
