"""Times a training of pods: beside kubectl with the same objects, beside processes on the same hosts, and its notice.

Needs a cluster that `site.yml` has made, and its inventory. What is compared takes turns, so that a busy machine is
busy for both. `make bench-kubernetes INVENTORY=inventories/lab` prints tables for docs/performance.md; no test depends
on how fast a machine is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "collections")]

from ansible_collections.dtf.cluster.plugins.module_utils.hosts import PodRun, task_sets  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.kube_topology import Manner, absent, present  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import objects  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.pod_timings import Stretch, on_wall_clock  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology  # noqa: E402
from ansible_collections.dtf.cluster.plugins.module_utils.waiter import Clock  # noqa: E402
from ansible_collections.dtf.cluster.plugins.plugin_utils.kube_run import KubeRun  # noqa: E402

NAME = "bench"
KUBECTL = ROOT / "build" / "bundle" / "bin" / "kubectl"
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


def timed(words: list[str], text: str = "") -> float:
    """Run a program that must succeed; return its seconds."""
    began = time.monotonic()
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, input=text)
    if ended.returncode:
        raise SystemExit(f"{words[0]} ended with {ended.returncode}:\n{ended.stdout[-4000:]}{ended.stderr[-2000:]}")
    return time.monotonic() - began


def row(name: str, seconds: list[float]) -> str:
    """Return a row: the middle and the range."""
    return f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f}-{max(seconds):.2f} | {len(seconds)} |"


class Bench:
    """One cluster and what is measured on it."""

    def __init__(self, kubeconfig: str, image: str, steps: int) -> None:
        self.kubeconfig = kubeconfig
        self.cluster = Cluster({"kubeconfig": kubeconfig})
        self.params: dict[str, Any] = {
            "name": NAME,
            "runtime": "kubernetes",
            "workers": {"replicas": 2},
            "training": {"steps": steps},
            "kubernetes": {"image": image},
        }
        self.topology = Topology.from_params(self.params)

    def remove(self) -> None:
        """Leave nothing of the last measurement."""
        absent(self.cluster, NAME, "default", Manner(check_mode=False, force=False, clock=Clock()))

    def by_playbook(self, folder: Path) -> float:
        """Apply and wait by the modules, in one playbook; return its seconds."""
        connection = {"kubeconfig": self.kubeconfig}
        shared = {"name": NAME, "runtime": "kubernetes", "kubernetes": self.params["kubernetes"]}
        tasks = [
            {"dtf.cluster.topology": {**shared, **connection, **self.params}},
            {"dtf.cluster.training": {**shared, **connection, "results_dir": str(folder / "results")}},
        ]
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        path = folder / "apply_and_wait.yml"
        path.write_text(yaml.safe_dump(play), encoding="utf-8")
        return timed([str(PLAYBOOK), str(path)])

    def by_kubectl(self) -> float:
        """Apply the same objects and wait with kubectl; return its seconds."""
        stamp = time.strftime("%Y%m%dt%H%M%S-000000", time.gmtime())
        documents = yaml.safe_dump_all(objects(self.topology, PodRun(stamp, time.time())))
        kubectl = [str(KUBECTL), "--kubeconfig", self.kubeconfig]
        jobs = [f"job/{entry.name}" for entry in task_sets(self.topology)]
        seconds = timed([*kubectl, "apply", "--server-side", "--filename", "-"], documents)
        return seconds + timed([*kubectl, "wait", "--for=condition=complete", "--timeout=600s", *jobs])

    def notice(self) -> tuple[float, float]:
        """Return the seconds from the last task's end to the notice of it, and from the decision to the chief's t0."""
        manner = Manner(check_mode=False, force=False, clock=Clock())
        change = present(self.cluster, self.topology, manner)
        run = KubeRun(self.cluster, self.topology, str(change.after.run_id))
        try:
            moment, _elapsed, _over = run.wait(lambda _moment: None, 600)
            noticed = time.time()
            run.logs.finish(moment.pods, 10)
        finally:
            run.close()
        events = [
            event
            for chapter in run.logs.chapters()
            for event in on_wall_clock([Stretch(chapter.task, chapter.pod, chapter.node, chapter.events)])
        ]
        ended = max(event.monotonic for event in events if event.event == "finished")
        released = min(event.monotonic for event in events if event.event == "released")
        return noticed - ended, released - float(change.after.created or 0)


def compare_runtimes(inventory: Path, repeats: int, folder: Path) -> None:
    """Measure the same cells in processes and in pods, on the same hosts, one runtime after the other and back."""
    print("\n| runtime, workers | train s | steps/s | created to t0 s | wall s | runs |\n|" + " --- |" * 6)
    for runtime in ("process", "kubernetes"):
        words = [str(PLAYBOOK), "-i", str(inventory), "playbooks/benchmark.yml", "-e", f"runtime={runtime}"]
        words += [
            "-e",
            f"name={runtime}",
            "-e",
            "workers=1,2",
            "-e",
            f"repeats={repeats}",
            "-e",
            f"dtf_results_dir={folder}",
        ]
        timed(words)
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / runtime).glob("*/run.json"))]
        for workers in (1, 2):
            own = [run for run in runs if run["spec"]["workers"]["replicas"] == workers]
            starts = [sum(list(run["phases"].values())[:7]) for run in own]
            middle = statistics.median
            print(
                f"| {runtime}, {workers} | {middle(run['training']['seconds'] for run in own):.2f} "
                f"| {middle(run['training']['steps_per_second'] for run in own):.0f} | {middle(starts):.2f} "
                f"| {middle(run['wall_seconds'] for run in own):.2f} | {len(own)} |",
                flush=True,
            )


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inventory", type=Path, help="a cluster that site.yml has made")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--steps", type=int, default=10000, help="global steps of a training (default: 10000)")
    parser.add_argument("--image", default="", help="the trainer's image (default: the one that was made last)")
    options = parser.parse_args()
    told = json.loads((Path.home() / ".local/share/dtf-cluster/image/trainer.json").read_text(encoding="utf-8"))
    variables = yaml.safe_load((options.inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]["vars"]
    bench = Bench(f"{variables['dtf_lab_folder']}/kubeconfig", options.image or told["reference"], options.steps)
    print(f"image: {told['size'] / 1e6:.0f} MB compressed, {told['unpacked'] / 1e6:.0f} MB unpacked")
    hand: list[float] = []
    ours: list[float] = []
    notices: list[float] = []
    starts: list[float] = []
    bench.remove()
    with tempfile.TemporaryDirectory(prefix="dtf-bench-") as name:
        folder = Path(name)
        for _ in range(options.repeats):
            hand.append(bench.by_kubectl())
            bench.remove()
            ours.append(bench.by_playbook(folder))
            bench.remove()
            noticed, started = bench.notice()
            notices.append(noticed)
            starts.append(started)
            bench.remove()
        print(
            f"\n| {options.steps} steps, 2 workers, 1 ps; seconds | median | range | runs |\n| --- | --- | --- | --- |"
        )
        print(row("kubectl apply + kubectl wait", hand))
        print(row("playbook: topology + training", ours))
        print(row("end of the last task to its notice", notices))
        print(row("decision to t0, image on the node", starts))
        ratios = [mine / theirs for mine, theirs in zip(ours, hand, strict=True)]
        print(
            f"\nplaybook / kubectl: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})", flush=True
        )
        compare_runtimes(options.inventory, options.repeats, folder)


if __name__ == "__main__":
    main()
