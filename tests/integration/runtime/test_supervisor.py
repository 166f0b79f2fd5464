"""The supervisor with real processes: restarts, limits, ends, and what happens when it is killed itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import processes
from ansible_collections.dtf.cluster.plugins.module_utils.supervisor import process_identity

from .conftest import Host, task_of


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    return process_identity(pid) is None


def until_gone(pids: list[int], seconds: float = 15) -> None:
    """Return once no process of a list lives."""
    deadline = time.monotonic() + seconds
    while not all(gone(pid) for pid in pids):
        assert time.monotonic() < deadline, [pid for pid in pids if not gone(pid)]
        time.sleep(0.05)


@pytest.mark.parametrize(("role", "index"), [("worker", 1), ("worker", 0), ("ps", 0)])
def test_a_killed_task_is_started_again(host: Host, role: str, index: int) -> None:
    host.environment["FAKE_SECONDS"] = "8"
    host.topology(lifecycle={"restart_backoff_seconds": 0.1})
    state = host.until_event("released")
    os.kill(task_of(state, role, index)["pid"], signal.SIGKILL)
    ended = host.until_phase("succeeded")
    task = task_of(ended, role, index)
    assert (task["restarts"], task["exit_code"]) == (1, 0)
    assert [attempt.get("exit_code") for attempt in task["attempts"]] == [137, 0]
    others = [other for other in ended["tasks"] if other is not task]
    assert all(other["restarts"] == 0 for other in others)


def test_a_lost_peer_is_retried_with_growing_patience_up_to_the_limit(host: Host) -> None:
    host.environment.update(FAKE_SECONDS="60", FAKE_EXIT="75")
    host.topology(lifecycle={"restart_limit": 3, "restart_backoff_seconds": 0.1})
    failed = host.until_phase("failed")
    task = task_of(failed, "worker", 1)
    assert (task["restarts"], task["exit_code"], task["reason"]) == (3, 75, "restart_limit")
    waits = [
        later["spawned_monotonic"] - earlier["ended_monotonic"]
        for earlier, later in zip(task["attempts"], task["attempts"][1:], strict=False)
    ]
    # Never earlier than it is due; how much later is the machine's affair.
    assert all(waited >= 0.1 * 2**restart for restart, waited in enumerate(waits))
    assert len(waits) == 3
    assert failed["cause"]["task"] == "worker-1"
    assert "restarted 3 times, the limit" in failed["cause"]["message"]
    assert {other["state"] for other in failed["tasks"]} == {"failed", "stopped"}


def test_a_peer_that_comes_back_in_time_costs_only_a_restart(host: Host) -> None:
    host.environment.update(FAKE_SECONDS="1", FAKE_EXIT="75", FAKE_EXIT_ATTEMPTS="2")
    host.topology(lifecycle={"restart_backoff_seconds": 0.1})
    ended = host.until_phase("succeeded")
    assert task_of(ended, "worker", 1)["restarts"] == 2


@pytest.mark.parametrize("exit_code", [1, 64, 66])
def test_what_no_restart_cures_ends_the_run(host: Host, exit_code: int) -> None:
    host.environment.update(FAKE_SECONDS="60", FAKE_EXIT=str(exit_code))
    host.topology()
    failed = host.until_phase("failed")
    assert task_of(failed, "worker", 1)["restarts"] == 0
    assert f"exit code {exit_code}" in failed["cause"]["message"]


def test_an_interpreter_that_cannot_run_is_told(host: Host, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/nowhere/at/all\n", encoding="utf-8")
    broken.chmod(0o755)
    host.topology(python=str(broken))
    failed = host.until_phase("failed")
    assert failed["cause"]["reason"] == "cannot_start"


def test_it_outlives_the_module_and_ends_with_its_tasks(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "5"
    host.topology()
    supervisor = json.loads(host.run_file("supervisor.json").read_text())["pid"]
    assert not gone(supervisor)
    host.until_phase("succeeded")
    until_gone([supervisor])


def test_its_tasks_do_not_outlive_it(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "60"
    host.topology()
    state = host.until_event("released")
    pids = [task["pid"] for task in state["tasks"]]
    os.kill(json.loads(host.run_file("supervisor.json").read_text())["pid"], signal.SIGKILL)
    until_gone(pids)
    assert host.state()["phase"] == "lost"
    resumed = host.topology()
    assert resumed["plan"]["action"] == "resume"
    assert resumed["topology"]["phase"] == "running"


def test_a_lease_that_nobody_renews_ends_the_run_with_a_checkpoint(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "60"
    host.topology(lifecycle={"lease_seconds": 6})
    stopped = host.until_phase("stopped")
    assert stopped["cause"]["reason"] == "lease_expired"
    assert stopped["checkpoint_run_id"] == stopped["run_id"]


def test_a_lease_that_is_renewed_keeps_the_run(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "4"
    host.topology(lifecycle={"lease_seconds": 2})
    lease, status = host.run_file("lease"), host.run_file("status.json")
    deadline = time.monotonic() + 60
    while json.loads(status.read_text())["state"] == "running":
        assert time.monotonic() < deadline
        lease.touch()
        time.sleep(0.1)
    assert host.state()["phase"] == "succeeded"


def test_the_chief_saves_before_the_parameter_servers_go(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "60"
    host.topology(ps={"port": host.ports[0], "replicas": 2})
    host.until_event("released")
    host.module("topology", name="t", state="stopped")
    stopping = {}
    for log in host.run_file("logs").glob("*.log"):
        for line in log.read_text().splitlines():
            event = json.loads(line.partition(" ")[2]) if line.startswith("DTF_EVENT") else {}
            if event.get("event") in ("stopping", "checkpoint"):
                stopping[log.stem, event["event"]] = event["monotonic"]
    saved = stopping["worker-0", "checkpoint"]
    assert saved < stopping["ps-0", "stopping"]
    assert saved < stopping["ps-1", "stopping"]


def test_a_reused_pid_is_never_signalled() -> None:
    with subprocess.Popen(["sleep", "30"]) as stranger:
        identity = process_identity(stranger.pid)
        assert identity is not None
        for key, other in (("start_ticks", 1), ("boot_id", "another boot")):
            assert processes.send_signal({**identity, key: other}, signal.SIGKILL) is False
        assert stranger.poll() is None
        assert processes.send_signal(identity, signal.SIGKILL) is True
        assert stranger.wait() == -signal.SIGKILL
    assert processes.send_signal(identity, signal.SIGKILL) is False


def test_a_task_that_ignores_sigterm_is_killed_after_the_grace(host: Host, tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n", encoding="utf-8")
    stubborn.chmod(0o755)
    host.topology(python=str(stubborn), lifecycle={"stop_grace_seconds": 1})
    pids = [task["pid"] for task in host.until(lambda state: len(state["tasks"]) == 3)["tasks"]]
    stopped = host.module("topology", name="t", state="stopped")
    assert stopped["topology"]["phase"] == "stopped"
    assert all(gone(pid) for pid in pids)
    assert {task["exit_code"] for task in stopped["topology"]["tasks"]} == {137}
