"""``thesis.yml``: the thesis's experiments on a grid that a test has time for; twice, interrupted by nothing."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from .conftest import Desk

#: Words that make of a series two cells.
TINY = {"workers": "2,3", "steps": 20, "hidden_units": 10, "repeats": 2, "benchmark_warm_up": "false"}
WRITTEN = ("thesis.json", "thesis.html", "summary.txt", "figures/kind-workers.svg", "figures/kind-workers.png")


@pytest.mark.timeout(600)
def test_a_series_is_measured_once_and_judged(desk: Desk, repository: Path) -> None:
    desk.variables["thesis_series"] = ["kind-workers"]
    desk.prepared = False
    first = desk.play("thesis.yml", **TINY).succeeded()
    assert "left out: nodes 2-5: there is 1" in first.output
    assert "kind-workers: minimum at 4 workers" in first.output
    folder = desk.results / "thesis"
    document = json.loads((folder / "thesis.json").read_text())
    schema = json.loads((repository / "schemas/thesis.schema.json").read_text())
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    workers, *others = document["experiments"]
    assert [(line["nodes"], [point["x"] for point in line["points"]]) for line in workers["lines"]] == [(1, [2, 3])]
    assert (workers["here"]["ps"], workers["here"]["runs"], workers["here"]["words"]["profile"]) == ([2], 4, "thesis")
    assert workers["own_clock"]["low"] > 1
    assert [entry["here"] for entry in others] == [None, None, None]
    runs = desk.runs("thesis-kind-workers")
    assert [run["state"] for run in runs] == ["succeeded"] * 4, [run["cause"] for run in runs]
    assert document["verdicts"]["not_measured"] == len(document["claims"])
    assert not (folder / "figures/google-ps.svg").exists()

    assert desk.play("thesis.yml", **TINY).succeeded().changed == 0

    before = {name: (folder / name).read_bytes() for name in WRITTEN}
    for name in WRITTEN:
        (folder / name).unlink()
    assert desk.play("thesis.yml", "--tags", "thesis", **TINY).succeeded().changed == 1
    assert {name: (folder / name).read_bytes() for name in WRITTEN} == before


def test_check_mode_shows_the_plan_of_each_experiment_and_measures_nothing(desk: Desk) -> None:
    played = desk.play("thesis.yml", "--check", name="mine", thesis_grid="full").succeeded()
    for name in ("kind-workers", "kind-ps", "google-workers", "google-ps"):
        assert f"mine-{name}: " in played.output
    assert "200000 steps, 1000 hidden units" in played.output
    assert not desk.results.exists()
    assert desk.processes() == []


def test_what_makes_no_grid_is_refused_at_once(desk: Desk) -> None:
    played = desk.play("thesis.yml", profile="fast,thesis", steps="many")
    assert played.code != 0
    assert "steps: 'many' is not valid" in played.output
    played = desk.play("thesis.yml", profile="fast,thesis")
    assert played.code != 0
    assert "profile: 'fast,thesis' is not valid, accepted: one value" in played.output
    assert not desk.results.exists()
