"""Writes the results of a benchmark that was never run: times of a known law with known noise.

``python tools/synthetic_benchmark.py FOLDER -e workers=1,2,4,8 -e ps=1,2 -e repeats=5`` writes the plan and the run
documents that such a sweep leaves. What makes reports of it cannot tell; tests and measurements of the
report use it, because real trainings would take hours.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "collections")]

from ansible_collections.dtf.cluster.plugins.module_utils import stats, sweep  # noqa: E402  (needs that on the path)
from ansible_collections.dtf.cluster.plugins.module_utils.events import Event  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.grid import cell_of, read_words, with_words  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology  # noqa: E402

#: What words are laid over: three hosts, and a cluster's image.
BASE: dict[str, Any] = {
    "hosts": [{"name": f"host{number}", "address": f"192.0.2.{number}"} for number in (1, 2, 3)],
    "python": "/opt/trainer/bin/python",
    "data_dir": "/srv/data/mnist",
    "root": "/srv/dtf",
    "kubernetes": {"image": "registry.example:5000/dtf-trainer@sha256:" + "0" * 64},
    "nodes": ["host1", "host2", "host3"],
}
#: Seconds of each phase outside training, by runtime.
AROUND = {
    "process": {"created": 0.04, "scheduled": 0.01, "image": 0.0, "start": 0.07, "import": 1.1, "connect": 0.9},
    "kubernetes": {"created": 0.2, "scheduled": 0.1, "image": 0.5, "start": 1.2, "import": 1.4, "connect": 1.8},
}
#: Every so many runs one fails, and one is an outlier.
ONE_FAILS, ONE_IS_SLOW = 41, 29


@dataclass(frozen=True)
class Law:
    """The universal scalability law; parameter servers take contention away, pods and more hosts add to the time."""

    one: float
    contention: float
    coherency: float
    noise: float

    def seconds(self, cell: dict[str, Any]) -> float:
        """Return a cell's time without noise."""
        workers, contention = cell["workers"], self.contention / cell["ps"]
        growth = 1 + contention * (workers - 1) + self.coherency * workers * (workers - 1)
        pods = 1.05 if cell["runtime"] == "kubernetes" else 1.0
        return float(self.one * growth / workers * pods * (1 + 0.03 * ((cell["nodes"] or 1) - 1)))


def folder(path: Path, words: dict[str, str], law: Law, seed: int, name: str = "synthetic") -> int:
    """Write the results of a benchmark and return how many runs it has."""
    request, problems = read_words(words, BASE, sweep=True)
    if problems:
        raise SystemExit("\n".join(map(str, problems)))
    topologies = [Topology.from_params(with_words({**BASE, "name": name}, chosen)) for chosen in request.cells]
    cells = [sweep.Cell(cell_of(topology), topology) for topology in topologies]
    plan = sweep.plan(name, cells, request.repeats, seed, warm_up=True)
    path.mkdir(parents=True, exist_ok=True)
    (path / "plan.json").write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    chance = random.Random(seed)
    begun = datetime(2026, 1, 5, 9, tzinfo=UTC)
    slots = sweep.slots(plan)
    # The platform is looked at where pods are measured.
    both = any(cell.words["runtime"] == "kubernetes" for cell in cells)
    for slot in slots:
        document = run(topologies[slot.cell], law, plan, slot, begun, chance, counted=both)
        place = path / document["run_id"]
        place.mkdir(exist_ok=True)
        (place / "run.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
        begun += timedelta(seconds=document["wall_seconds"] + 1)
    return len(slots)


def run(
    topology: Topology,
    law: Law,
    plan: sweep.Document,
    slot: sweep.Slot,
    begun: datetime,
    chance: random.Random,
    *,
    counted: bool,
) -> dict[str, Any]:
    """Return the document of one run that never was."""
    cell: dict[str, Any] = cell_of(topology)
    pods = cell["runtime"] == "kubernetes"
    failed = slot.number % ONE_FAILS == 0
    seconds = law.seconds(cell) * math.exp(law.noise * chance.gauss(0, 1))
    seconds *= 1.35 if slot.number % ONE_IS_SLOW == 0 else 1.0
    around = {phase: usual * chance.uniform(0.9, 1.2) for phase, usual in AROUND[cell["runtime"]].items()}
    phases = {**around, "barrier": 0.04 * cell["workers"], "train": seconds, "export": 0.12, "exit": 0.5}
    phases = {phase: round(phases[phase], 6) for phase in stats.PHASES}
    run_id = f"{begun:%Y%m%dt%H%M%S}-{slot.number:06x}"
    steps = cell["steps"]
    hosts = [host["name"] for host in BASE["hosts"]][: cell["nodes"] or 3]
    tasks = _tasks(cell, phases, hosts, chance)
    chief = _chief(run_id, begun, phases, steps, chance)
    training = stats.training(chief, steps, cell["batch_size"])
    if failed:
        training.update(dict.fromkeys(("seconds", "steps_per_second", "examples_per_second", "test_accuracy")))
        training.update(global_step_last=steps // 2, test_loss=None)
    wall = round(math.fsum(phases.values()), 6)
    return {
        "schema": "dtf.run/2",
        "run_id": run_id,
        "name": topology.name,
        "state": "failed" if failed else "succeeded",
        "cause": {
            "reason": "out_of_memory",
            "task": "worker-0",
            "message": "worker-0 was stopped by the kernel: out of memory",
            "events": [],
            "log_tail": [],
        }
        if failed
        else None,
        "runtime": cell["runtime"],
        "backend": cell["backend"],
        "spec": topology.as_dict(),
        "spec_hash": "0" * 16,
        "environment": {
            "hosts": [
                {
                    "name": name,
                    "cores": 8,
                    "memory_bytes": 16 * 2**30,
                    "cpu_model": "Synthetic CPU",
                    "kernel": "6.1.0",
                    "load_before": round(chance.uniform(0, 1), 2),
                    "clock_ahead_seconds": round(chance.uniform(-0.01, 0.01), 4),
                }
                for name in hosts
            ],
            "versions": {
                "python": "3.11.7",
                "tensorflow": "2.21.0",
                "ansible": "2.19.14",
                "collection": "0.1.0",
                "kubernetes": "v1.34.0" if pods else None,
                "container_runtime": "containerd 2.1.0" if pods else None,
            },
            "image_digest": "sha256:" + "0" * 64 if pods else None,
            "data_sha256": {"train-images-idx3-ubyte": "0" * 64},
        },
        "created": _stamp(begun),
        "finished": _stamp(begun + timedelta(seconds=wall)),
        "resumed_from": None,
        "benchmark": sweep.benchmark_of(plan, slot),
        "training": training,
        "phases": phases,
        "wall_seconds": wall,
        "platform": _platform(cell, wall, hosts, chance) if counted else None,
        "tasks": tasks,
        "artifacts": {"logs": {}, "events": "events.jsonl", "export": None, "checkpoint": None},
    }


def _platform(cell: dict[str, Any], wall: float, hosts: list[str], chance: random.Random) -> dict[str, Any]:
    """Return what a cluster took: more beside pods, and a little more with each of them."""
    busy = {"control_plane": 0.08, "kubelet": 0.03, "container_runtime": 0.01, "network": 0.005}
    more = 1 + 0.04 * cell["workers"] if cell["runtime"] == "kubernetes" else 0.8
    parts = []
    for host in hosts:
        own = {part: use * more * wall * chance.uniform(0.9, 1.1) for part, use in busy.items()}
        own["trainer"] = 0.9 * wall
        if host != hosts[0]:
            del own["control_plane"]
        parts += [
            {"host": host, "part": part, "cpu_seconds": round(seconds, 3), "memory_bytes": 80 * 2**20}
            for part, seconds in own.items()
        ]
    return {"seconds": wall, "source": "cgroup", "parts": parts}


def _stamp(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tasks(
    cell: dict[str, Any], phases: dict[str, float], hosts: list[str], chance: random.Random
) -> list[dict[str, Any]]:
    roles = [("ps", index) for index in range(cell["ps"])] + [("worker", index) for index in range(cell["workers"])]
    shares = [cell["steps"] // cell["workers"]] * cell["workers"]
    shares[0] += cell["steps"] - sum(shares)
    tasks = []
    for place, (role, index) in enumerate(roles):
        own: dict[str, float | None] = dict(phases)
        if role == "ps":
            rest = math.fsum(phases[phase] for phase in ("connect", "barrier", "train", "export", "exit")) - 0.1
            own.update(dict.fromkeys(("barrier", "train", "export")), connect=0.1, exit=round(rest, 6))
        elif index:
            # The others wait for the slowest, and see the target a little later than the chief.
            slow = chance.uniform(0, 0.3)
            own.update({"import": phases["import"] + slow, "connect": max(0.0, phases["connect"] - slow)})
            own.update(export=None, exit=0.05)
        tasks.append(
            {
                "role": role,
                "index": index,
                "host": hosts[place % len(hosts)],
                "restarts": 0,
                "exit_code": 0,
                "phases": own,
                "local_steps": shares[index] if role == "worker" else None,
                "max_rss_bytes": 600 * 2**20,
                "cpu_seconds": round(phases["train"], 3),
            }
        )
    return tasks


def _chief(run_id: str, begun: datetime, phases: dict[str, float], steps: int, chance: random.Random) -> list[Event]:
    """Return what the chief said of the training."""
    before = sum(phases[phase] for phase in stats.STARTUP)

    def event(name: str, at: float, **fields: object) -> Event:
        return Event(name, run_id, "worker", 0, 0, begun.timestamp() + at, 1000.0 + at, fields)

    found = [event("released", before, global_step=0)]
    for place in range(1, 21):
        share = place / 20
        at, step = before + share * phases["train"], round(steps * share)
        wrong = 0.03 + 0.3 * math.exp(-5 * share) + chance.uniform(0, 0.004)
        loss = round(20 * wrong * math.exp(chance.gauss(0, 0.2)), 4)
        found.append(event("progress", at, global_step=step, steps_per_second=None, loss=loss))
        if place % 4 == 0:
            evaluated = {"test_accuracy": round(1 - wrong, 4), "test_loss": round(3.3 * wrong, 4), "final": place == 20}
            found.append(event("evaluated", at, global_step=step, **evaluated))
    return [*found, event("target", before + phases["train"], global_step=steps)]


def main() -> None:
    """Read the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the results go, one folder a run")
    parser.add_argument("-e", dest="words", action="append", default=[], metavar="WORD=VALUES", help="as benchmark.yml")
    parser.add_argument("--one", type=float, default=60.0, help="seconds of one worker")
    parser.add_argument("--contention", type=float, default=0.06, help="with one ps")
    parser.add_argument("--coherency", type=float, default=0.006)
    parser.add_argument("--noise", type=float, default=0.03, help="standard deviation, as a share of a time")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    words = dict(word.split("=", 1) for word in arguments.words)
    law = Law(arguments.one, arguments.contention, arguments.coherency, arguments.noise)
    count = folder(arguments.folder, words, law, arguments.seed, arguments.folder.name)
    print(f"{arguments.folder}: {count} runs")


if __name__ == "__main__":
    main()
