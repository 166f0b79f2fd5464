"""``benchmark.yml``: one topology or several, interleaved, each from nothing, none twice, whatever breaks it off."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path

import jsonschema

from tests.fixtures.power_cut import power_cut

from .conftest import Desk

DERIVED = ("benchmark.json", "runs.csv", "cells.csv", "summary.txt", "report.html")


def repeats(desk: Desk, name: str = "benchmark") -> list[tuple[int, int, str]]:
    """Return workers, repeat and end of each run, oldest first."""
    return [
        (run["spec"]["workers"]["replicas"], run["benchmark"]["repeat"], str(run["state"]))  # type: ignore[index]
        for run in desk.runs(name)
    ]


def test_a_sweep_is_measured_once_and_its_report_is_a_function_of_its_runs(desk: Desk, repository: Path) -> None:
    words = {"steps": 400, "benchmark_gain_threshold": 0.2}
    desk.prepared = False
    desk.variables["report_page"] = True
    first = desk.play("benchmark.yml", workers="1,2", **words).succeeded()
    assert "speed-up" in first.output
    folder = desk.results / "benchmark"
    assert str(folder / "benchmark.json") in first.output
    assert str(folder / "report.html") in first.output
    document = json.loads((folder / "benchmark.json").read_text())
    schema = json.loads((repository / "schemas/benchmark.schema.json").read_text())
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    assert [cell["cell"]["workers"] for cell in document["cells"]] == [1, 2]
    assert [cell["training_seconds"]["n"] for cell in document["cells"]] == [1, 1]
    by_hand = document["cells"][0]["training_seconds"]["mean"] / document["cells"][1]["training_seconds"]["mean"]
    assert math.isclose(document["cells"][1]["speed_up"]["value"], by_hand, abs_tol=1e-5)
    runs = desk.runs("benchmark")
    # The warm-up comes first, is the largest cell, and does not count.
    assert (len(runs), repeats(desk)[0]) == (3, (2, 0, "succeeded"))
    run_schema = json.loads((repository / "schemas/run.schema.json").read_text())
    for run in runs:
        jsonschema.validate(run, run_schema, cls=jsonschema.Draft202012Validator)
        assert run["training"]["global_step_first"] == 0  # type: ignore[index]
        assert run["resumed_from"] is None
        (host,) = run["environment"]["hosts"]  # type: ignore[index]
        assert host["load_before"] >= 0
        assert abs(host["clock_ahead_seconds"]) < 1
    assert desk.processes() == []

    again = desk.play("benchmark.yml", workers="1,2", **words).succeeded()
    assert again.changed == 0

    before = {name: (folder / name).read_bytes() for name in DERIVED}
    for name in DERIVED:
        (folder / name).unlink()
    # Nobody tells it the threshold again.
    assert document["threshold"] == 0.2
    assert desk.play("playbooks/report.yml").succeeded().changed > 0
    assert {name: (folder / name).read_bytes() for name in DERIVED} == before

    # One repeat more measures just what is missing, and what was measured before stays in the document.
    desk.play("benchmark.yml", workers="1", steps=400, repeats=2).succeeded()
    assert repeats(desk)[3:] == [(1, 2, "succeeded")]
    document = json.loads((folder / "benchmark.json").read_text())
    assert [cell["training_seconds"]["n"] for cell in document["cells"]] == [2, 1]


def test_an_interrupted_benchmark_goes_on_where_it_was(desk: Desk) -> None:
    words = {"workers": "1,2", "steps": 300, "profile": "thesis", "benchmark_warm_up": "false"}
    begun = desk.begin("benchmark.yml", **words)
    begun.until(lambda: len(desk.runs("benchmark")) == 1)
    begun.until(lambda: (status := desk.status("benchmark")) is not None and status["state"] == "running")
    begun.until_trained("benchmark")
    begun.interrupt()
    assert desk.processes() == []
    finished, stopped = desk.runs("benchmark")
    assert (finished["state"], stopped["state"]) == ("succeeded", "stopped")

    desk.play("benchmark.yml", **words).succeeded()
    runs = desk.runs("benchmark")
    assert [run["state"] for run in runs] == ["succeeded", "stopped", "succeeded"]
    assert runs[0] == finished
    assert runs[2]["training"]["global_step_first"] == 0  # type: ignore[index]
    assert repeats(desk)[1][:2] == repeats(desk)[2][:2] != repeats(desk)[0][:2]


def test_a_playbook_that_was_killed_leaves_a_run_that_the_next_one_records(desk: Desk) -> None:
    """Nothing of the killed playbook can write a document; its training goes on until somebody looks."""
    words = {"workers": "2", "steps": 100000, "profile": "thesis", "benchmark_warm_up": "false"}
    begun = desk.begin("benchmark.yml", **words)
    begun.until_trained("benchmark")
    power_cut(begun.process)
    assert desk.runs("benchmark") == []
    assert desk.processes() != []

    # What is asked for now need not be what was being made then.
    wanted = {"workers": "2", "steps": 300, "benchmark_warm_up": "false"}
    desk.play("benchmark.yml", **wanted).succeeded()
    stopped, finished = desk.runs("benchmark")
    assert (stopped["state"], stopped["training"]["target_step"]) == ("stopped", 100000)  # type: ignore[index]
    assert stopped["benchmark"]["repeat"] == 1  # type: ignore[index]
    assert (finished["state"], finished["training"]["target_step"]) == ("succeeded", 300)  # type: ignore[index]
    assert desk.processes() == []

    # Of what is asked for nothing is missing now: what was being made would train on beside whatever is measured next.
    begun = desk.begin("benchmark.yml", **{**words, "workers": "1"})
    begun.until_trained("benchmark")
    power_cut(begun.process)
    assert desk.processes() != []
    left = json.loads((desk.results / "benchmark" / ".current.json").read_text())
    assert left["where"] == {"runtime": "process", "hosts": ["localhost"], "namespace": None}
    desk.play("benchmark.yml", **wanted).succeeded()
    assert desk.processes() == []
    *_before, last = desk.runs("benchmark")
    assert len(desk.runs("benchmark")) == 3
    assert (last["state"], last["benchmark"]) == ("stopped", left["benchmark"])


def test_pods_of_a_cluster_that_is_gone_keep_nobody_from_measuring_processes(desk: Desk) -> None:
    left = {"name": "benchmark", "repeat": 1, "number": 1, "seed": 1}
    where = {"runtime": "kubernetes", "hosts": [], "namespace": "learning"}
    note = desk.results / "benchmark" / ".current.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"benchmark": left, "known": [], "where": where}))
    words = {"workers": 1, "steps": 200, "benchmark_warm_up": "false", "dtf_kubeconfig": desk.home / "gone"}
    told = "Pods of benchmark were at work in namespace learning when a playbook was broken off, and may still be: "
    assert told + "cannot read credentials" in " ".join(desk.play("benchmark.yml", **words).succeeded().output.split())
    assert repeats(desk) == [(1, 1, "succeeded")]


def test_a_cell_that_fails_twice_is_given_up_and_the_others_are_measured(desk: Desk) -> None:
    fussy = desk.home / "fussy-python"
    fussy.write_text(
        f'#!/bin/sh\ncase "$*" in *--job_name=worker*127.0.0.1*,127.0.0.1*--run_id*) exit 3;; esac\n'
        f'exec "{desk.root}/trainer/venv/bin/python" "$@"\n',
        encoding="utf-8",
    )
    fussy.chmod(0o755)
    words = {"workers": "2,1", "steps": 200, "benchmark_warm_up": "false"}
    python = desk.variables["benchmark_python"] = str(fussy)
    played = desk.play("benchmark.yml", **words).succeeded()
    assert sorted(repeats(desk)) == [(1, 1, "succeeded"), *[(2, 1, "failed")] * 2]
    assert "given up after two failures: " in played.output
    assert {run["cause"]["reason"] for run in desk.runs("benchmark") if run["cause"]} == {"exit_3"}  # type: ignore[index]

    # It stays given up until somebody says that it may work now.
    assert desk.play("benchmark.yml", **words).succeeded().changed == 0
    Path(python).write_text(f'#!/bin/sh\nexec "{desk.root}/trainer/venv/bin/python" "$@"\n', encoding="utf-8")
    desk.play("benchmark.yml", **words, benchmark_retry="true").succeeded()
    assert sorted(repeats(desk))[1:] == [(2, 1, "failed"), (2, 1, "failed"), (2, 1, "succeeded")]


def test_what_cannot_start_is_a_result_too(desk: Desk, ports: tuple[int, int]) -> None:
    desk.variables["benchmark_topology"] = {
        **desk.variables["benchmark_topology"],  # type: ignore[dict-item]
        "workers": {"memory_mb": 400000},
    }
    refused = desk.play("benchmark.yml", workers="1,2", steps=200)
    assert refused.code != 0
    assert "no cell has a place" in refused.output
    assert "tasks want" in refused.output
    assert not desk.results.exists()

    # Ports that somebody has are seen when a run begins, not in the plan.
    ps, workers = ports
    desk.variables["benchmark_topology"] = {"workers": {"port": workers}, "ps": {"port": ps}}
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", workers + 1))
        taken.listen()
        desk.play("benchmark.yml", workers="1,2", steps=200, benchmark_warm_up="false").succeeded()
    assert sorted(repeats(desk)) == [(1, 1, "succeeded"), *[(2, 1, "failed")] * 2]
    (cause, _again) = [run["cause"] for run in desk.runs("benchmark") if run["cause"]]
    assert cause["reason"] == "invalid_input"  # type: ignore[index]
    assert str(workers + 1) in cause["message"]  # type: ignore[index]


def test_what_the_report_could_not_use_is_told_before_anything_is_measured(desk: Desk) -> None:
    refused = desk.play("benchmark.yml", workers="1,2", steps=200, benchmark_gain_threshold=10)
    assert refused.code != 0
    assert "gain_threshold: '10' is not valid, accepted: a number from 0 and at most 1" in refused.output
    assert not desk.results.exists()


def test_check_mode_shows_the_plan_and_measures_nothing(desk: Desk) -> None:
    desk.prepared = False
    played = desk.play("benchmark.yml", "--check", workers="1,2", nodes="1,2", repeats=3).succeeded()
    assert "benchmark: 7 of 7 runs to make; 4 cells, 3 repeats, order by seed 1" in played.output
    assert "2 workers, 1 ps, 2 nodes  cannot run here: it wants 2 hosts and there is 1" in played.output
    assert "in this order: 1: 2 workers, 1 ps, 1 node (warm-up)" in played.output
    assert not desk.results.exists()
    assert desk.processes() == []
