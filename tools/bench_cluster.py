"""Times the cluster's playbook against kubeadm typed by hand, and against itself with more hosts.

Each measurement is a laboratory of fresh hosts. What is compared takes turns, so that a busy machine is busy for both.
`make bench-cluster` writes a table for docs/performance.md; no test depends on how fast a machine is.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import yaml

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "build" / "bundle"
NAME = "bench"
SUBNET = "172.30.9.0/24"


def lab(command: str, *options: str) -> None:
    """Call the laboratory, silently unless it fails."""
    words = [sys.executable, str(ROOT / "tools" / "lab.py"), command, f"--name={NAME}", *options]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(words[1:])} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")


class Hosts:
    """Fresh hosts for one measurement."""

    def __init__(self, count: int, folder: Path) -> None:
        self.inventory = folder / f"inventory-{time.monotonic_ns()}"
        self.count = count

    def __enter__(self) -> Self:
        lab("up", f"--subnet={SUBNET}", f"--hosts={self.count}", f"--inventory={self.inventory}")
        return self

    def __exit__(self, *_exception: object) -> None:
        lab("down", f"--inventory={self.inventory}")

    def playbook(self) -> tuple[float, str]:
        """Run the cluster's playbook; return its seconds and what it printed."""
        words = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(self.inventory),
            "playbooks/cluster.yml",
        ]
        return timed(words)

    def by_hand(self, folder: Path) -> tuple[float, str]:
        """Run the script; return its seconds and what it printed."""
        document = yaml.safe_load((self.inventory / "hosts.yml").read_text(encoding="utf-8"))
        group = document["all"]["children"]["lab"]
        options = re.findall(r"-o (\w+)=(\S+)", group["vars"]["ansible_ssh_args"])
        config = folder / "ssh_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in options), encoding="utf-8")
        addresses = [host["ansible_host"] for host in group["hosts"].values()]
        return timed(["bash", str(ROOT / "tools" / "cluster_by_hand.sh"), str(BUNDLE), str(config), *addresses])


def timed(words: list[str]) -> tuple[float, str]:
    """Run a program that must succeed; return its seconds and its output."""
    began = time.monotonic()
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if ended.returncode:
        raise SystemExit(f"{words[0]} ended with {ended.returncode}:\n{ended.stdout[-4000:]}{ended.stderr[-2000:]}")
    return seconds, ended.stdout


def told(name: str, seconds: list[float]) -> str:
    """Return a row: the middle and the range."""
    return f"| {name} | {statistics.median(seconds):.1f} | {min(seconds):.1f}-{max(seconds):.1f} | {len(seconds)} |"


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--hosts", type=int, nargs="*", default=[1, 3, 6, 9], help="how many hosts (default: 1 3 6 9)")
    options = parser.parse_args()
    hand: list[float] = []
    first: list[float] = []
    second: list[float] = []
    last = ""
    with tempfile.TemporaryDirectory(prefix="dtf-bench-") as name:
        folder = Path(name)
        for _ in range(options.repeats):
            with Hosts(3, folder) as hosts:
                hand.append(hosts.by_hand(folder)[0])
            with Hosts(3, folder) as hosts:
                seconds, last = hosts.playbook()
                first.append(seconds)
                seconds, output = hosts.playbook()
                second.append(seconds)
                if re.search(r"changed=[1-9]", output):
                    raise SystemExit("the second run changed something:\n" + output[-3000:])
        print("\n| three hosts, seconds | median | range | runs |\n| --- | --- | --- | --- |")
        print(told("kubeadm by hand", hand))
        print(told("playbook, first run", first))
        print(told("playbook, second run", second))
        ratios = [ours / theirs for ours, theirs in zip(first, hand, strict=True)]
        print(f"\nplaybook / by hand: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        print(last[last.rindex("\nrole ") :])
        print("| hosts | first run, seconds | second run |\n| --- | --- | --- |")
        for count in options.hosts:
            with Hosts(count, folder) as hosts:
                begin, _output = hosts.playbook()
                again, _output = hosts.playbook()
            print(f"| {count} | {begin:.1f} | {again:.1f} |", flush=True)


if __name__ == "__main__":
    main()
