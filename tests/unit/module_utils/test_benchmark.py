"""Run documents to a benchmark: which runs are missing, what a cell is worth, and its tables, kept as golden files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import stats
from ansible_collections.dtf.cluster.plugins.module_utils.benchmark import (
    benchmark_document,
    cells_csv,
    cells_to_run,
    runs_csv,
    table,
)
from ansible_collections.dtf.cluster.plugins.module_utils.grid import CELL_WORDS, cell_of
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from tests.unit.module_utils.schema_check import assert_exactly

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "benchmark"
BASE: dict[str, Any] = {
    "name": "sweep",
    "hosts": [{"name": "lab", "address": "127.0.0.1"}],
    "python": "/p",
    "data_dir": "/d",
    "root": "/r",
    "workers": {"replicas": 1},
}


def topology(**params: Any) -> Topology:
    """Return a cell on one host, with one worker unless told otherwise."""
    return Topology.from_params({**BASE, **params})


def run(of: Topology, seconds: float = 10.0, state: str = "succeeded", number: int = 1, **more: Any) -> dict[str, Any]:
    """Return what a benchmark reads of a run's document; the number says how many minutes after nine it began."""
    good = state == "succeeded"
    steps = of.training.steps if good else None
    phases = dict.fromkeys(stats.PHASES, 0.25) | {"train": seconds}
    tasks = of.ps.replicas + of.workers.replicas
    return {
        "run_id": f"run-{number:02d}",
        "state": state,
        "created": f"2026-01-01T09:{number:02d}:00.000Z",
        "spec": of.as_dict(),
        "environment": {"hosts": [{"name": "lab", "cores": 4}]},
        "training": {
            "seconds": seconds if good else None,
            "steps_per_second": steps / seconds if steps else None,
            "global_step_last": steps,
            "test_accuracy": 0.9 + number / 1000 if good else None,
        },
        "phases": phases,
        "wall_seconds": sum(phases.values()),
        "tasks": [{"host": "lab", "restarts": 0} for _task in range(tasks)],
        **more,
    }


def missing(topologies: list[Topology], repeats: int, runs: list[dict[str, Any]]) -> list[tuple[object, object]]:
    """Return workers and repeat of each run that is still missing."""
    found = cells_to_run(topologies, repeats, runs)
    return [(entry["cell"]["workers"], entry["repeat"]) for entry in found]  # type: ignore[index]


ONE, TWO, FOUR = (topology(workers={"replicas": count}) for count in (1, 2, 4))
SYNC, SELDOM = topology(training={"sync": True}), topology(training={"communication_interval": 10})


@pytest.mark.parametrize(
    ("runs", "left"),
    [
        ([], [(1, 1), (2, 1), (1, 2), (2, 2)]),  # repeat by repeat: a drift of the machine hits all cells alike
        ([run(ONE)], [(2, 1), (1, 2), (2, 2)]),
        ([run(ONE), run(ONE)], [(2, 1), (2, 2)]),
        ([run(ONE), run(TWO), run(ONE), run(TWO)], []),
        ([run(ONE)] * 9, [(2, 1), (2, 2)]),
        ([run(ONE, state="failed"), run(TWO, state="stopped")], [(1, 1), (2, 1), (1, 2), (2, 2)]),
        ([run(FOUR)], [(1, 1), (2, 1), (1, 2), (2, 2)]),
    ],
)
def test_what_is_still_to_run(runs: list[dict[str, Any]], left: list[tuple[int, int]]) -> None:
    assert missing([ONE, TWO], 2, runs) == left


@pytest.mark.parametrize(
    ("params", "same"),
    [
        ({"name": "other", "run_label": "r7", "owner": "benchmark"}, True),
        ({"lifecycle": {"restart_limit": 1}}, True),
        ({"python": "/other", "root": "/other"}, True),
        ({"workers": {"replicas": 1, "port": 7000, "memory_mb": 5}}, True),
        ({"training": {"steps": 100}}, False),
        ({"training": {"seed": 1}}, False),
        ({"training": {"dataset": "custom"}}, False),
        ({"ps": {"replicas": 2}}, False),
        ({"workers": {"replicas": 1, "gpus": 1}}, False),
        ({"hosts": [{"name": "other", "address": "127.0.0.1"}]}, False),
    ],
)
def test_which_runs_measured_a_cell(params: dict[str, Any], same: bool) -> None:
    assert (missing([ONE], 1, [run(topology(**params))]) == []) is same


def test_a_cell_sums_up_its_good_runs_only() -> None:
    runs = [run(ONE, 8.0), run(ONE, 12.0), run(ONE, state="failed"), run(ONE, state="stopped"), run(TWO, 5.0)]
    cell, other = benchmark_document("b", [ONE, TWO], 2, runs)["cells"]  # type: ignore[misc]
    assert cell["cell"] == cell_of(ONE)
    assert cell["training_seconds"] == {"n": 2, "mean": 10, "minimum": 8, "maximum": 12, "stdev": 2.828427}
    assert cell["phases"]["train"] == 10
    assert cell["phases"]["barrier"] == 0.25
    assert (cell["failed"], len(cell["runs"]), len(other["runs"])) == (1, 4, 1)
    assert [entry["state"] for entry in cell["runs"]] == ["succeeded", "succeeded", "failed", "stopped"]


@pytest.mark.parametrize(
    ("topologies", "runs", "expected"),
    [
        ([ONE, TWO, FOUR], [run(ONE, 12.0), run(TWO, 8.0), run(FOUR, 4.0)], [(1, 1), (1.5, 0.75), (3, 0.75)]),
        # the base is a mean, and slower than one worker is slower
        ([ONE, TWO], [run(ONE, 8.0), run(ONE, 12.0), run(TWO, 20.0)], [(1, 1), (0.5, 0.25)]),
        ([TWO, FOUR], [run(TWO), run(FOUR)], [(None, None), (None, None)]),
        ([ONE, TWO], [run(ONE, state="failed"), run(TWO)], [(None, None), (None, None)]),
        ([ONE, TWO], [run(ONE)], [(1, 1), (None, None)]),
        # one worker of another training is no base
        ([SYNC, TWO], [run(SYNC), run(TWO)], [(1, 1), (None, None)]),
    ],
)
def test_speed_up_is_against_one_worker_of_the_same_training(
    topologies: list[Topology], runs: list[dict[str, Any]], expected: list[tuple[float | None, float | None]]
) -> None:
    cells: Any = benchmark_document("b", topologies, 1, runs)["cells"]
    assert [(cell["speed_up"], cell["efficiency"]) for cell in cells] == expected


@pytest.mark.parametrize(
    ("of", "runs", "notes"),
    [
        (ONE, [run(ONE)], []),
        (ONE, [], ["no successful run"]),
        (ONE, [run(ONE, state="failed")], ["failed runs outside the means: 1", "no successful run"]),
        (TWO, [run(TWO)], ["no cell with one worker to compare with"]),
        (
            ONE,
            [run(ONE, tasks=[{"host": "lab", "restarts": 2}, {"host": "lab", "restarts": 1}])],
            ["task restarts inside these times: 3"],
        ),
        (
            ONE,
            [run(ONE, environment={"hosts": [{"name": "lab", "cores": 1}, {"name": "idle", "cores": 1}]})],
            ["2 tasks share the 1 cores of lab"],
        ),
        # a host is crowded above its cores, not at them
        (ONE, [run(ONE, environment={"hosts": [{"name": "lab", "cores": 2}]})], []),
        # of a run outside the means nothing is noted but that it is there
        (
            ONE,
            [
                run(ONE, state="failed", tasks=[{"host": "lab", "restarts": 9}] * 5),
                run(ONE, number=2),
            ],
            ["failed runs outside the means: 1"],
        ),
        (
            SELDOM,
            [run(SELDOM)],
            ["workers exchange every 10 steps only, which is another algorithm than every step"],
        ),
    ],
)
def test_what_a_reader_must_know_is_noted(of: Topology, runs: list[dict[str, Any]], notes: list[str]) -> None:
    (cell,) = benchmark_document("b", [of], 1, runs)["cells"]  # type: ignore[misc]
    assert cell["notes"] == notes


def sweep() -> dict[str, object]:
    """Return the document of a small benchmark with a failed run, a restart and a crowded host."""
    restarted = [{"host": "lab", "restarts": 1}, *({"host": "lab", "restarts": 0} for _task in range(4))]
    runs = [
        run(FOUR, 5.0, number=6, tasks=restarted),
        run(TWO, 7.5, number=5),
        run(ONE, 12.0, number=1),
        run(FOUR, state="failed", number=3),
        run(ONE, 12.5, number=4),
        run(TWO, 8.5, number=2),
    ]
    return benchmark_document("sweep", [ONE, TWO, FOUR], 2, runs)


@pytest.mark.parametrize(
    ("name", "render"),
    [("summary.txt", lambda document: table(document) + "\n"), ("runs.csv", runs_csv), ("cells.csv", cells_csv)],
)
def test_the_tables_are_as_in_the_golden_files(name: str, render: Any) -> None:
    """To change them on purpose: ``python tests/unit/module_utils/test_benchmark.py``."""
    assert render(sweep()) == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_order_in_which_runs_are_read_does_not_matter() -> None:
    runs = [run(ONE, 8.0, number=2), run(ONE, 9.0, number=1), run(ONE, state="failed", number=3), run(TWO, number=4)]
    assert benchmark_document("b", [ONE, TWO], 2, runs) == benchmark_document("b", [ONE, TWO], 2, runs[::-1])


def test_runs_stand_in_the_order_in_which_they_were_made_and_then_by_name() -> None:
    runs = [run(ONE, number=2, run_id="a"), run(ONE, number=1, run_id="c"), run(ONE, number=1, run_id="b")]
    (cell,) = benchmark_document("b", [ONE], 3, runs)["cells"]  # type: ignore[misc]
    assert [entry["run_id"] for entry in cell["runs"]] == ["b", "c", "a"]


def test_csv_has_every_number_once_and_cells_of_another_program_can_read_it() -> None:
    document: Any = sweep()
    rows = list(csv.DictReader(io.StringIO(runs_csv(document))))
    assert len(rows) == sum(len(cell["runs"]) for cell in document["cells"])
    assert rows[0].keys() >= {*CELL_WORDS, *(f"phase_{phase}" for phase in stats.PHASES)}
    assert [row["training_seconds"] for row in rows] == ["12.0", "12.5", "8.5", "7.5", "", "5.0"]
    (one, two, four) = csv.DictReader(io.StringIO(cells_csv(document)))
    assert (one["training_seconds_mean"], two["speed_up"]) == ("12.25", "1.53125")
    assert four["notes"].count("; ") == len(document["cells"][2]["notes"]) - 1


def test_a_benchmark_without_runs_still_has_its_table() -> None:
    document = benchmark_document("b", [ONE, TWO], 1, [])
    assert runs_csv(document) == ""
    lines = table(document).splitlines()
    assert [line.split() for line in lines[3:5]] == [[str(count), "1", "0", *"--------"] for count in (1, 2)]
    assert lines[5:] == ["* no successful run"]


def plan() -> dict[str, Any]:
    """Return a plan as the module ``benchmark_plan`` writes it."""
    cells = [cell.as_dict() for cell in (ONE, TWO)]
    return {"schema": "dtf.plan/1", "name": "b", "repeats": 2, "order": "words", "seed": None, "topologies": cells}


@pytest.mark.parametrize(("name", "document"), [("benchmark", sweep()), ("plan", plan())])
def test_what_is_written_is_what_the_schema_says(repository: Path, name: str, document: dict[str, Any]) -> None:
    schema = json.loads((repository / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert_exactly(schema, document)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for golden_name, golden_text in (
        ("summary.txt", table(sweep()) + "\n"),
        ("runs.csv", runs_csv(sweep())),
        ("cells.csv", cells_csv(sweep())),
    ):
        (GOLDEN / golden_name).write_text(golden_text, encoding="utf-8")
