"""One topology over two hosts that have nothing in common but a wire: two network namespaces with own addresses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.power_cut import power_cut

from .conftest import Desk
from .test_site import assert_honest

NAMES = ("alpha", "beta")


def ip(*arguments: str) -> None:
    """Run ``ip``, which must succeed."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def wired() -> Iterator[dict[str, str]]:
    """Two namespaces joined by a cable; yields the namespace of each host."""
    tag = f"{os.getpid() % 10000}"
    spaces = {name: f"dtf-{name}-{tag}" for name in NAMES}
    made = []
    try:
        for space in spaces.values():
            ip("netns", "add", space)
            made.append(space)
        ends = [f"dtf{number}-{tag}" for number in (1, 2)]
        ip(
            "link",
            "add",
            ends[0],
            "netns",
            spaces["alpha"],
            "type",
            "veth",
            "peer",
            "name",
            ends[1],
            "netns",
            spaces["beta"],
        )
        for number, (space, end) in enumerate(zip(spaces.values(), ends, strict=True), start=1):
            ip("-n", space, "addr", "add", f"10.255.77.{number}/24", "dev", end)
            ip("-n", space, "link", "set", end, "up")
            ip("-n", space, "link", "set", "lo", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        for space in made:
            ip("netns", "del", space)
        pytest.skip(f"this machine does not allow network namespaces: {error}")
    yield spaces
    for space in made:
        ip("netns", "del", space)


@pytest.fixture
def two_hosts(desk: Desk, wired: dict[str, str], prepared_root: Path) -> Desk:
    """A desk whose inventory has two hosts, each with a home, a network and an interpreter of its own."""
    hosts = {}
    for number, name in enumerate(NAMES, start=1):
        home = desk.home / name
        home.mkdir()
        python = desk.home / f"python-{name}"
        python.write_text(
            f'#!/bin/sh\nexport HOME="{home}"\nexec ip netns exec {wired[name]} "{sys.executable}" "$@"\n',
            encoding="utf-8",
        )
        python.chmod(0o755)
        hosts[name] = {"dtf_address": f"10.255.77.{number}", "ansible_python_interpreter": str(python)}
        (home / "dtf").mkdir()
        for part in ("data", "trainer"):
            (home / "dtf" / part).symlink_to(prepared_root / part)
    desk.inventory = desk.home / "hosts.json"
    desk.inventory.write_text(
        json.dumps({"training_hosts": {"hosts": hosts, "vars": {"ansible_connection": "local"}}}), encoding="utf-8"
    )
    desk.variables["dtf_root"] = "~/dtf"
    return desk


@pytest.mark.namespaces
def test_tasks_are_dealt_to_both_hosts_and_meet(two_hosts: Desk, repository: Path) -> None:
    tags = ("--tags", "request,topology")
    two_hosts.play("site.yml", *tags, steps=400, workers=3, ps=2).succeeded()
    (run,) = two_hosts.runs("demo")
    assert_honest(run, repository)
    assert [(task["role"], task["index"], task["host"]) for task in run["tasks"]] == [
        ("ps", 0, "alpha"),
        ("ps", 1, "beta"),
        ("worker", 0, "alpha"),
        ("worker", 1, "beta"),
        ("worker", 2, "alpha"),
    ]
    assert [host["name"] for host in run["environment"]["hosts"]] == list(NAMES)
    assert all(task["exit_code"] == 0 for task in run["tasks"])
    assert two_hosts.play("site.yml", *tags, steps=400, workers=3, ps=2).succeeded().changed == 0


@pytest.mark.namespaces
def test_a_failure_on_one_host_ends_the_run_on_both(two_hosts: Desk) -> None:
    broken = two_hosts.home / "broken-python"
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *--job_name=worker*--task_index=1*) echo cannot go on; exit 3;; esac\n'
        f'exec "{two_hosts.root}/trainer/venv/bin/python" "$@"\n',
        encoding="utf-8",
    )
    broken.chmod(0o755)
    two_hosts.variables["topology_python"] = str(broken)
    failed = two_hosts.play("site.yml", "--tags", "request,topology", steps=0, workers=2)
    assert failed.code != 0
    (run,) = two_hosts.runs("demo")
    assert (run["state"], run["cause"]["task"]) == ("failed", "worker-1")
    assert run["cause"]["log_tail"] == ["cannot go on"]
    assert not [line for line in two_hosts.processes() if "dtf_trainer" in line]


@pytest.mark.namespaces
def test_a_host_that_a_benchmark_goes_on_without_does_not_train_beside_it(two_hosts: Desk) -> None:
    two_hosts.root = two_hosts.home / "alpha" / "dtf"
    # Nothing but the next playbook ends it.
    two_hosts.variables["benchmark_lifecycle"] = {"lease_seconds": 0}
    tags = ("--tags", "request,benchmark")
    words = {"workers": 1, "nodes": 1, "benchmark_warm_up": "false"}
    begun = two_hosts.begin("benchmark.yml", *tags, steps=100000, profile="thesis", **words)
    begun.until_trained("benchmark")
    power_cut(begun.process)
    assert [line for line in two_hosts.processes() if "dtf_trainer" in line]

    two_hosts.play("benchmark.yml", *tags, "--limit", "beta", steps=200, **words).succeeded()
    assert two_hosts.processes() == []
    (run,) = two_hosts.runs("benchmark")
    assert ({task["host"] for task in run["tasks"]}, run["state"]) == ({"beta"}, "succeeded")  # type: ignore[attr-defined]
    # What it was is told as soon as a playbook has that host again.
    two_hosts.play("benchmark.yml", *tags, steps=200, **words).succeeded()
    assert [run["state"] for run in two_hosts.runs("benchmark")] == ["stopped", "succeeded", "succeeded"]
