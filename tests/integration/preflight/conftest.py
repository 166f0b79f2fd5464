"""A laboratory for the tests of preflight, and faults to put into its hosts and take out again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LAB = "preflight-test"
SUBNET = "172.31.78.0/24"
#: What this kind of laboratory is known for: an old control group, a clock that is its machine's business.
KNOWN = ["cgroup", "time_sync"]
#: A machine that is busy with other things is no fault of a host. Each injected fault is far beyond these.
LIMITS = {
    "etcd_free_gib_min": 0.1,
    "images_free_gib_min": 0.1,
    "kubelet_free_gib_min": 0.1,
    "data_free_gib_min": 0.1,
    "fdatasync_p99_ms_max": 150,
    "sequential_write_mib_s_min": 1,
    "latency_ms_max": 500,
    "bandwidth_mbit_s_min": 5,
    "clock_skew_warning_ms": 1000,
    "clock_skew_error_ms": 5000,
}
#: One file system for all of a host, which a laboratory's volumes are; the defaults would measure its root beside it.
PATHS = {
    "etcd": "/var/lib/etcd",
    "images": "/var/lib/containerd",
    "kubelet": "/var/lib/kubelet",
    "data": "/var/lib/kubelet/data",
}


@dataclass
class Played:
    """What a run of preflight came to."""

    code: int
    output: str
    report: dict[str, Any]

    @property
    def findings(self) -> list[tuple[str, tuple[str, ...], str]]:
        """What is not good: check, hosts, verdict."""
        return sorted(
            (found["check"], tuple(found["hosts"]), found["verdict"])
            for found in self.report["findings"]
            if found["verdict"] != "ok"
        )

    def finding(self, check: str) -> dict[str, Any]:
        """Return the one finding of a check that is not good."""
        (found,) = [one for one in self.report["findings"] if one["check"] == check and one["verdict"] != "ok"]
        return dict(found)


@dataclass
class Lab:
    """Three hosts."""

    repository: Path
    inventory: Path

    def run(self, host: str, *command: str, check: bool = True) -> str:
        """Run a command in a host, past all of Ansible."""
        call = ["docker", "exec", f"{LAB}-{host}", *command]
        done = subprocess.run(call, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout

    def address(self, host: str) -> str:
        """Return a host's address."""
        return json.loads(self._ansible_inventory("--host", host))["ansible_host"]  # type: ignore[no-any-return]

    def _ansible_inventory(self, *arguments: str) -> str:
        program = str(Path(sys.executable).with_name("ansible-inventory"))
        call = [program, "-i", str(self.inventory), *arguments]
        return subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, cwd=self.repository).stdout

    def preflight(
        self,
        results: Path,
        *arguments: str,
        accepted: list[str] | None = None,
        playbook: str = "playbooks/preflight.yml",
        **variables: object,
    ) -> Played:
        """Run the playbook as a user does."""
        given = {
            "preflight_limits": LIMITS,
            "preflight_accepted": KNOWN if accepted is None else accepted,
            "dtf_results_dir": str(results),
            "preflight_paths": PATHS,
            "preflight_disk_seconds": 1,
            **variables,
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        call = [program, "-i", str(self.inventory), playbook, "-e", json.dumps(given), *arguments]
        own = {"ANSIBLE_CONFIG": str(self.repository / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            call,
            cwd=self.repository,
            env={**os.environ, **own},
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        report = results / "preflight" / "preflight.json"
        return Played(done.returncode, done.stdout, json.loads(report.read_text()) if report.exists() else {})


@pytest.fixture(scope="session")
def lab(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three hosts of their own for these tests, gone afterwards."""
    inventory = tmp_path_factory.mktemp("inventory")
    tool = [sys.executable, str(repository / "tools" / "lab.py")]
    named = ["--name", LAB]
    up = [*tool, "up", *named, "--subnet", SUBNET, "--hosts", "3", "--inventory", str(inventory)]
    try:
        subprocess.run(up, check=True, cwd=repository)
        yield Lab(repository, inventory)
    finally:
        subprocess.run([*tool, "down", *named], check=True, cwd=repository)
