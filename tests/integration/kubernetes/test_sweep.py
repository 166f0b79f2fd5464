"""``benchmark.yml`` over a cluster: processes and pods in turn, what has no room, what a killed playbook leaves."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.power_cut import power_cut
from tests.integration.ansible_command import ansible_playbook, environment
from tests.integration.kubernetes.conftest import run

ROOT = Path(__file__).resolve().parents[3]


class Sweeps:
    """A user's benchmarks on the laboratory's cluster, with results of their own."""

    def __init__(self, inventory: Path, image: str, results: Path) -> None:
        self.inventory = inventory
        self.results = results
        self.variables = {
            "dtf_results_dir": str(results),
            "dtf_trainer_image": image,
            "dtf_root": "/tmp/dtf-sweep",
            "report_page": False,
        }

    def command(self, *more: str, **words: object) -> list[str]:
        """Return the command line."""
        given = [f"-e{word}={value}" for word, value in words.items()]
        playbook = ["-i", str(self.inventory), "benchmark.yml", "-e", json.dumps(self.variables)]
        return ansible_playbook(*playbook, *given, *more)

    def play(self, *more: str, **words: object) -> str:
        """Run it to its end, which must be a good one; return its output."""
        return run(*self.command(*more, **words))

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Return the run documents of a benchmark, oldest first."""
        documents = [json.loads(path.read_text()) for path in (self.results / name).glob("*/run.json")]
        return sorted(documents, key=lambda document: str(document["created"]))


@pytest.fixture
def sweeps(laboratory: Path | None, image: str, tmp_path: Path) -> Sweeps:
    """Benchmarks on a laboratory's cluster, whose nodes have the trainer's image."""
    if laboratory is None:
        pytest.skip("needs the inventory of a laboratory")
    return Sweeps(laboratory, image, tmp_path / "results")


def test_processes_and_pods_take_turns_on_the_same_nodes(sweeps: Sweeps) -> None:
    runtimes = {"runtime": "process,kubernetes", "backend": "statefulset"}
    words = {
        "workers": 2,
        "nodes": 2,
        **runtimes,
        "repeats": 2,
        "steps": 500,
        "name": "turns",
        "benchmark_warm_up": "false",
    }
    output = sweeps.play(**words)
    assert "The price of Kubernetes: pods beside processes" in output
    made = [(run["runtime"], run["benchmark"]["repeat"], run["state"]) for run in sweeps.runs("turns")]
    assert sorted(made) == [
        (runtime, repeat, "succeeded") for runtime in ("kubernetes", "process") for repeat in (1, 2)
    ]
    # No runtime has all of its runs before the other's.
    assert [repeat for _runtime, repeat, _state in made] == [1, 1, 2, 2]
    hosts = {frozenset(task["host"] for task in run["tasks"]) for run in sweeps.runs("turns")}
    assert len(hosts) == 1
    for each in sweeps.runs("turns"):
        assert each["training"]["curves"]["test"]["accuracy"][-1] == each["training"]["test_accuracy"]
        served = [task["phases"]["exit"] for task in each["tasks"] if task["role"] == "ps"]
        assert min(served) > each["training"]["seconds"], "of pods and of processes alike"
    document = json.loads((sweeps.results / "turns" / "benchmark.json").read_text())
    backends = {cell["cell"]["runtime"]: cell["cell"]["backend"] for cell in document["cells"]}
    assert backends == {"process": None, "kubernetes": "statefulset"}
    (pair,) = document["price"]
    assert pair["training_seconds"]["design"] == "paired"
    assert "changed=0" in sweeps.play(**words).rpartition("PLAY RECAP")[2]


def test_what_has_no_room_is_told_before_anything_is_made(sweeps: Sweeps) -> None:
    output = sweeps.play("--check", workers="1,200", nodes="1,3", steps=100, name="room")
    assert re.search(r"1 worker, 1 ps, 3 nodes +cannot run here: it wants 3 nodes and there are 2", output)
    assert "200 workers, 1 ps, 1 node" in output
    assert "find no room in room-worker: each asks for cpu 0.25, memory 1000Mi" in output


def kill_while_it_trains(sweeps: Sweeps, **words: object) -> None:
    """Begin a benchmark and kill the playbook when its first run has made a step: the training goes on."""
    begun = subprocess.Popen(
        sweeps.command(**words),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert begun.stdout is not None
    deadline = time.monotonic() + 180
    for line in begun.stdout:
        assert time.monotonic() < deadline, line
        if "steps/s" in line:
            break
    power_cut(begun)
    assert sweeps.runs(str(words["name"])) == []


def test_what_outlived_its_playbook_is_recorded_and_trains_beside_nothing_that_is_measured(sweeps: Sweeps) -> None:
    """Two playbooks are killed one after the other; a play that has no host of what it finds stops it all the same."""
    words = {"workers": 1, "nodes": 1, "name": "outlived", "benchmark_warm_up": "false"}
    kill_while_it_trains(sweeps, steps=400000, runtime="process", **words)
    kill_while_it_trains(sweeps, steps=400000, runtime="kubernetes", **words)
    sweeps.play(steps=300, runtime="process,kubernetes", **words)
    processes, pods, *finished = sweeps.runs("outlived")
    for stopped, runtime in ((processes, "process"), (pods, "kubernetes")):
        assert (stopped["runtime"], stopped["state"]) == (runtime, "stopped")
        assert stopped["training"]["target_step"] == 400000
    assert pods["benchmark"]["repeat"] == 1
    # Recorded by a play that has its hosts, stopped by the one before.
    assert processes["finished"] < pods["created"]
    made = sorted((run["runtime"], run["state"], run["training"]["target_step"]) for run in finished)
    assert made == [("kubernetes", "succeeded", 300), ("process", "succeeded", 300)]
    assert all(pods["finished"] < run["created"] for run in finished)
