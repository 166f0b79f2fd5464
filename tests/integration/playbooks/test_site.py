"""``site.yml``: from nothing to a finished training, again without change, and what happens when it is disturbed."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import jsonschema
import pytest

from .conftest import Desk


def task(run: dict[str, object], role: str, index: int) -> dict[str, object]:
    """Return one task of a run document."""
    return next(entry for entry in run["tasks"] if (entry["role"], entry["index"]) == (role, index))


def assert_honest(run: dict[str, object], repository: Path) -> None:
    """Assert what every document of a successful run must hold."""
    schema = json.loads((repository / "schemas/run.schema.json").read_text())
    jsonschema.validate(run, schema, cls=jsonschema.Draft202012Validator)
    assert run["state"] == "succeeded"
    assert sum(run["phases"].values()) == pytest.approx(run["wall_seconds"], rel=0.02)
    training = run["training"]
    assert training["global_step_last"] >= training["target_step"]
    if run["resumed_from"] is None:
        assert training["global_step_first"] == 0
        steps = [entry["local_steps"] for entry in run["tasks"] if entry["role"] == "worker"]
        assert sum(steps) == training["global_step_last"]
    assert training["seconds"] == pytest.approx(run["phases"]["train"])
    assert training["curves"]["test"]["accuracy"][-1] == training["test_accuracy"]
    for entry in run["tasks"]:
        own = [seconds for seconds in entry["phases"].values() if seconds is not None]
        assert sum(own) <= run["wall_seconds"] + 0.1, "a parameter server's too, which served all the while"
        assert sum(own) >= training["seconds"]


def test_trains_once_and_then_changes_nothing(desk: Desk, repository: Path) -> None:
    desk.prepared = False
    first = desk.play("site.yml", steps=600, workers=2).succeeded()
    assert first.changed > 0
    (run,) = desk.runs("demo")
    assert_honest(run, repository)
    assert run["training"]["test_accuracy"] > 0.8
    folder = desk.results / "demo" / str(run["run_id"])
    assert (folder / run["artifacts"]["export"] / "saved_model.pb").is_file()
    assert (folder / run["artifacts"]["checkpoint"]).is_file()
    assert all((folder / log).is_file() for log in run["artifacts"]["logs"].values())
    assert desk.processes() == []

    again = desk.play("site.yml", steps=600, workers=2).succeeded()
    assert again.changed == 0
    assert len(desk.runs("demo")) == 1

    checked = desk.play("site.yml", "--check", "--diff", steps=600, workers=3).succeeded()
    assert "changed: workers.replicas" in checked.output
    assert len(desk.runs("demo")) == 1

    # One worker more continues the checkpoint up to a further target.
    desk.play("site.yml", steps=900, workers=3).succeeded()
    _first, second = desk.runs("demo")
    assert_honest(second, repository)
    resumed = second["resumed_from"]
    assert resumed["run_id"] == run["run_id"]
    # The checkpoint is of after the target: the other worker may have had a chain of up to 20 steps under way.
    assert 0 <= resumed["global_step"] - run["training"]["global_step_last"] < 20
    assert second["training"]["global_step_first"] == resumed["global_step"]


def test_every_variant_of_training_reaches_its_target(desk: Desk, repository: Path) -> None:
    desk.play("site.yml", name="sync", steps=200, workers=2, sync="true").succeeded()
    desk.play("site.yml", name="interval", steps=600, workers=2, ps=2, communication_interval=10).succeeded()
    for name in ("sync", "interval"):
        (run,) = desk.runs(name)
        assert_honest(run, repository)


def test_an_interrupted_playbook_leaves_no_process_and_goes_on(desk: Desk, repository: Path) -> None:
    begun = desk.begin("site.yml", steps=500, workers=2, profile="thesis")
    begun.until_trained("demo")
    interrupted = begun.interrupt()
    assert interrupted.code != 0
    assert desk.processes() == []
    (stopped,) = desk.runs("demo")
    assert (stopped["state"], stopped["cause"]["reason"]) == ("stopped", "stopped")

    desk.play("site.yml", steps=500, workers=2, profile="thesis").succeeded()
    _stopped, finished = desk.runs("demo")
    assert_honest(finished, repository)
    assert finished["resumed_from"]["run_id"] == stopped["run_id"]
    assert finished["resumed_from"]["global_step"] > 0


@pytest.mark.parametrize(("role", "index"), [("worker", 0), ("ps", 0)])
def test_a_task_killed_in_mid_training_is_named_and_the_target_reached(
    desk: Desk, repository: Path, role: str, index: int
) -> None:
    begun = desk.begin("site.yml", steps=400, workers=2, profile="thesis")
    begun.until_trained("demo")
    status = desk.status("demo")
    assert status is not None
    victim = next(entry for entry in status["tasks"] if (entry["role"], entry["index"]) == (role, index))
    os.kill(victim["pid"], signal.SIGKILL)
    begun.end().succeeded()
    (run,) = desk.runs("demo")
    assert_honest(run, repository)
    assert task(run, role, index)["restarts"] >= 1


def test_a_late_worker_costs_waiting_and_not_training(desk: Desk, repository: Path) -> None:
    late = desk.home / "late-python"
    # It comes ten seconds after the chief has nothing more to do than to wait for it.
    log = f"{desk.root}/topologies/demo/runs/*/logs/worker-0.log"
    ready = f'until grep -qs \'"event":"ready"\' {log}; do sleep 0.2; done'
    late.write_text(
        f'#!/bin/sh\ncase "$*" in *--job_name=worker*--task_index=1*) {ready}; sleep 10;; esac\n'
        f'exec "{desk.root}/trainer/venv/bin/python" "$@"\n',
        encoding="utf-8",
    )
    late.chmod(late.stat().st_mode | stat.S_IXUSR)
    desk.variables["topology_python"] = str(late)
    desk.play("site.yml", steps=200, workers=2).succeeded()
    (run,) = desk.runs("demo")
    assert_honest(run, repository)
    delayed, chief = task(run, "worker", 1), task(run, "worker", 0)
    waited = run["phases"]["barrier"]
    assert delayed["phases"]["start"] > sum(chief["phases"][name] for name in ("start", "import", "connect"))
    assert waited > max(10, delayed["phases"]["barrier"])
    assert run["training"]["seconds"] + waited < run["wall_seconds"]
    assert run["training"]["seconds"] < waited


def test_a_damaged_data_set_is_named_with_its_cause(desk: Desk) -> None:
    data = desk.home / "own-data"
    data.mkdir()
    for file in (desk.root / "data" / "mnist").iterdir():
        if not file.name.startswith("."):
            (data / file.name).write_bytes(file.read_bytes()[: 1000 if "t10k-labels" in file.name else None])
    desk.variables["topology_data_dir"] = str(data)
    failed = desk.play("site.yml", steps=100, workers=1)
    assert failed.code != 0
    assert "t10k-labels" in failed.output
    (run,) = desk.runs("demo")
    assert run["state"] == "failed"
    assert run["cause"]["task"] == "worker-0"
    assert task(run, "worker", 0)["exit_code"] == 66
    assert desk.processes() == []


def test_every_problem_of_a_command_line_comes_at_once_and_nothing_starts(desk: Desk) -> None:
    in_the_way = desk.home / "file"
    in_the_way.write_text("", encoding="utf-8")
    desk.variables["dtf_results_dir"] = str(in_the_way / "results")
    refused = desk.play("site.yml", workers="zero", ps=0, wrokers=3, learning_rate="fast", backend="indexed_job")
    assert refused.code != 0
    for problem in ("wrokers: '3'", "did you mean workers?", "workers: 'zero'", "ps: '0'", "learning_rate: 'fast'",
                    "backend: 'indexed_job'", "results_dir: "):  # fmt: skip
        assert problem in refused.output
    assert "the command line: 6 problems" in refused.output
    assert desk.processes() == []
    assert not (desk.root / "topologies").exists()
