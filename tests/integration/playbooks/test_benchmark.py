"""``benchmark.yml``: one topology or several, in sequence, each from nothing, none twice."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from .conftest import Desk

DERIVED = ("benchmark.json", "runs.csv", "cells.csv", "summary.txt")


def test_a_sweep_is_measured_once_and_its_report_is_a_function_of_its_runs(desk: Desk, repository: Path) -> None:
    first = desk.play("benchmark.yml", workers="1,2", steps=400).succeeded()
    assert "speed-up" in first.output
    folder = desk.results / "benchmark"
    assert str(folder / "benchmark.json") in first.output
    document = json.loads((folder / "benchmark.json").read_text())
    schema = json.loads((repository / "schemas/benchmark.schema.json").read_text())
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    assert [cell["cell"]["workers"] for cell in document["cells"]] == [1, 2]
    assert [cell["training_seconds"]["n"] for cell in document["cells"]] == [1, 1]
    assert document["cells"][0]["speed_up"] == 1
    by_hand = document["cells"][0]["training_seconds"]["mean"] / document["cells"][1]["training_seconds"]["mean"]
    assert abs(document["cells"][1]["speed_up"] - by_hand) < 1e-6
    for run in desk.runs("benchmark"):
        assert run["training"]["global_step_first"] == 0
        assert run["resumed_from"] is None
    assert desk.processes() == []

    again = desk.play("benchmark.yml", workers="1,2", steps=400).succeeded()
    assert again.changed == 0

    before = {name: (folder / name).read_bytes() for name in DERIVED}
    for name in DERIVED:
        (folder / name).unlink()
    assert desk.play("playbooks/report.yml").succeeded().changed == 1
    assert {name: (folder / name).read_bytes() for name in DERIVED} == before

    # One repeat more measures just what is missing.
    desk.play("benchmark.yml", workers="1", steps=400, repeats=2).succeeded()
    assert len(desk.runs("benchmark")) == 3


def test_an_interrupted_benchmark_goes_on_where_it_was(desk: Desk) -> None:
    words = {"workers": "1,2", "steps": 300, "profile": "thesis"}
    begun = desk.begin("benchmark.yml", **words)
    begun.until(lambda: len(desk.runs("benchmark")) == 1)
    begun.until(lambda: (status := desk.status("benchmark")) is not None and len(status["tasks"]) == 3)
    begun.until_trained("benchmark")
    begun.interrupt()
    assert desk.processes() == []
    finished, stopped = desk.runs("benchmark")
    assert (finished["state"], stopped["state"]) == ("succeeded", "stopped")

    desk.play("benchmark.yml", **words).succeeded()
    runs = desk.runs("benchmark")
    assert [run["state"] for run in runs] == ["succeeded", "stopped", "succeeded"]
    assert runs[0] == finished
    assert runs[2]["training"]["global_step_first"] == 0


def test_a_failed_run_is_a_result_and_the_next_one_is_made(desk: Desk) -> None:
    fussy = desk.home / "fussy-python"
    fussy.write_text(
        f'#!/bin/sh\ncase "$*" in *--job_name=worker*127.0.0.1*,127.0.0.1*--run_id*) exit 3;; esac\n'
        f'exec "{desk.root}/trainer/venv/bin/python" "$@"\n',
        encoding="utf-8",
    )
    fussy.chmod(0o755)
    desk.variables["benchmark_python"] = str(fussy)
    played = desk.play("benchmark.yml", workers="2,1", steps=200)
    assert {run["state"] for run in desk.runs("benchmark")} == {"failed", "succeeded"}
    assert "failed runs outside the means: 1" in played.output
    failed = next(run for run in desk.runs("benchmark") if run["state"] == "failed")
    assert failed["cause"]["reason"] == "exit_3"


def test_check_mode_plans_and_measures_nothing(desk: Desk) -> None:
    desk.play("benchmark.yml", "--check", workers="1,2").succeeded()
    assert not desk.results.exists()
    assert desk.processes() == []
