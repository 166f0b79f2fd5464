"""What the supervisor decides: restarts, the order of a stop, the lease. Nothing is started and no time passes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import supervisor as supervisor_module
from ansible_collections.dtf.cluster.plugins.module_utils.supervisor import (
    LONGEST_BACKOFF_SECONDS,
    PS_FAREWELL_SECONDS,
    Supervisor,
    TaskState,
    Verdict,
    judge,
    process_identity,
    write_json,
)

LIFECYCLE = {
    "restart_limit": 2,
    "restart_backoff_seconds": 1.0,
    "stop_grace_seconds": 10.0,
    "lease_seconds": 0.0,
}
TERM, KILL = signal.SIGTERM, signal.SIGKILL
#: Process ids that no process can have; every signal is caught on its way.
PIDS = {"ps-0": 2**30, "worker-0": 2**30 + 1, "worker-1": 2**30 + 2}


@pytest.mark.parametrize(
    ("exit_code", "restarts", "verdict"),
    [
        (0, 0, Verdict("done")),
        (0, 9, Verdict("done")),  # an end is an end, however often it was restarted
        (1, 0, Verdict("failed", reason="exit_1")),
        (2, 0, Verdict("failed", reason="exit_2")),
        (64, 0, Verdict("failed", reason="exit_64")),
        (66, 0, Verdict("failed", reason="exit_66")),
        (127, 0, Verdict("failed", reason="exit_127")),
        (128, 0, Verdict("failed", reason="exit_128")),
        (75, 0, Verdict("restart", delay=1.0)),
        (75, 1, Verdict("restart", delay=2.0)),
        (75, 2, Verdict("failed", reason="restart_limit")),
        (128 + signal.SIGKILL, 0, Verdict("restart", delay=1.0)),
        (128 + signal.SIGSEGV, 1, Verdict("restart", delay=2.0)),
        (128 + signal.SIGTERM, 0, Verdict("restart", delay=1.0)),  # stopped by a stranger
        (128 + signal.SIGKILL, 2, Verdict("failed", reason="restart_limit")),
    ],
)
def test_what_an_exit_code_means(exit_code: int, restarts: int, verdict: Verdict) -> None:
    assert judge(exit_code, restarts, LIFECYCLE) == verdict


@pytest.mark.parametrize(
    ("backoff", "restarts", "delay"),
    [
        (1.0, 4, 16.0),
        (1.0, 5, LONGEST_BACKOFF_SECONDS),
        (0.1, 3, 0.8),
        (0.0, 3, 0.0),
        (0.0, 100_000, 0.0),
        (30.0, 100_000, LONGEST_BACKOFF_SECONDS),
    ],
)
def test_the_wait_doubles_up_to_its_longest(backoff: float, restarts: int, delay: float) -> None:
    lifecycle = {"restart_limit": 10**6, "restart_backoff_seconds": backoff}
    assert judge(75, restarts, lifecycle) == Verdict("restart", delay=pytest.approx(delay))


class Scene:
    """A supervisor whose clock, signals and starts are in the test's hands."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, tasks: tuple[str, ...], **lifecycle: float
    ) -> None:
        self.now = 1000.0
        self.signals: list[tuple[str, int]] = []
        self.started: list[str] = []
        self.directory = directory
        names = {pid: name for name, pid in PIDS.items()}
        monkeypatch.setattr(os, "kill", lambda pid, number: self.signals.append((names[pid], number)))
        monkeypatch.setattr(Supervisor, "_start", lambda _supervisor, task: self._start(task))
        entries = [dict(zip(("role", "index"), name.split("-"), strict=True)) for name in tasks]
        plan = [{"role": e["role"], "index": int(e["index"]), "argv": [], "env": {}, "log": ""} for e in entries]
        write_json(directory / "plan.json", {"run_id": "r1", "has_chief": "worker-0" in tasks, "tasks": plan})
        self.set_lifecycle(**lifecycle)
        self.supervisor = Supervisor(directory, lambda: self.now)
        for task in self.supervisor.tasks:
            self._start(task)
        self.started.clear()

    def _start(self, task: TaskState) -> None:
        name = f"{task.role}-{task.index}"
        self.started.append(name)
        task.pid, task.state = PIDS[name], "running"
        task.attempts.append({"spawned_wall": 0.0, "spawned_monotonic": self.now})

    def set_lifecycle(self, **lifecycle: float) -> None:
        write_json(self.directory / "lifecycle.json", {**LIFECYCLE, **lifecycle})

    def task(self, name: str) -> TaskState:
        return next(task for task in self.supervisor.tasks if f"{task.role}-{task.index}" == name)

    def end(self, name: str, code: int, max_rss_kib: int = 1, cpu_seconds: float = 1.0) -> None:
        """Let a task's process end; a negative code is a signal, as Popen counts."""
        self.supervisor._ended(self.task(name), code, max_rss_kib, cpu_seconds)

    def turn(self, seconds: float = 0.0) -> list[tuple[str, int]]:
        """Pass one turn of the loop some seconds later; return the signals sent since the last one."""
        self.now += seconds
        self.supervisor._reload_lifecycle()
        self.supervisor._check_lease()
        self.supervisor._restart_due()
        self.supervisor._check_farewell()
        self.supervisor._pursue_stop()
        sent, self.signals = self.signals, []
        return sent

    def status(self) -> dict[str, Any]:
        self.supervisor._write_status()
        document: dict[str, Any] = json.loads((self.directory / "status.json").read_text())
        return document


ALL = ("ps-0", "worker-0", "worker-1")


def test_a_lost_task_is_restarted_after_its_wait_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    scene.end("worker-1", -signal.SIGKILL, max_rss_kib=2048, cpu_seconds=3.0)
    assert (scene.task("worker-1").state, scene.task("worker-1").exit_code) == ("backoff", 137)
    scene.turn(0.9)
    assert scene.started == []
    scene.turn(0.2)
    assert scene.started == ["worker-1"]
    scene.end("worker-1", 0, max_rss_kib=1024, cpu_seconds=2.0)
    record = scene.task("worker-1").record()
    assert (record["state"], record["restarts"], record["exit_code"]) == ("done", 1, 0)
    assert (record["max_rss_bytes"], record["cpu_seconds"]) == (2048 * 1024, 5.0)  # the largest, and the sum
    assert [attempt["exit_code"] for attempt in scene.task("worker-1").attempts] == [137, 0]


def test_once_a_task_cannot_start_no_other_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    for task in scene.supervisor.tasks:
        task.pid, task.state = None, "waiting"

    def start(supervisor: Supervisor, task: TaskState) -> None:
        scene._start(task)
        if task.role == "worker":  # the machine has no more processes to give
            task.pid, task.state, task.exit_code, task.reason = None, "failed", 127, "cannot_start"
            supervisor._fail(task, "cannot start /p: Resource temporarily unavailable")
        else:
            scene.end("ps-0", 0)

    monkeypatch.setattr(Supervisor, "_start", start)
    assert scene.supervisor.run() == 1
    assert scene.started == ["ps-0", "worker-0"]
    assert (scene.task("worker-1").state, scene.task("worker-1").attempts[1:]) == ("stopped", [])
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["cause"]["reason"]) == ("failed", "cannot_start")


def test_a_task_that_cannot_recover_stops_the_run_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    scene.end("worker-1", 66)
    assert scene.turn() == [("worker-0", TERM)]
    scene.end("worker-0", 143)  # what ends from now on ended because it was told to
    assert scene.turn() == [("ps-0", TERM)]
    scene.end("ps-0", 143)
    status = scene.status()
    assert status["cause"] == {
        "reason": "exit_66",
        "task": "worker-1",
        "message": "worker 1 ended with exit code 66, which no restart cures",
    }
    states = {f"{task['role']}-{task['index']}": task["state"] for task in status["tasks"]}
    assert states == {"worker-1": "failed", "worker-0": "stopped", "ps-0": "stopped"}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, "ps 0 ended with exit code 3, which no restart cures"),
        (75, "ps 0 ended with exit code 75 and had been restarted 0 times, the limit"),
        (-signal.SIGSEGV, "ps 0 was killed by SIGSEGV and had been restarted 0 times, the limit"),
        (200, "ps 0 ended with 200 and had been restarted 0 times, the limit"),  # 128 and no signal
    ],
)
def test_an_end_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL, restart_limit=0)
    scene.end("ps-0", code)
    assert scene.status()["cause"]["message"] == message


def test_the_limit_of_restarts_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL, restart_limit=1)
    scene.end("worker-1", 75)
    scene.turn(1)
    scene.end("worker-1", -signal.SIGKILL)
    cause = scene.status()["cause"]
    assert cause["reason"] == "restart_limit"
    assert cause["message"] == "worker 1 was killed by SIGKILL and had been restarted 1 times, the limit"


def test_only_the_first_cause_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    scene.end("worker-1", 66)
    scene.end("worker-0", 64)
    assert scene.status()["cause"]["task"] == "worker-1"
    scene.supervisor._begin_stop("stopped", {"reason": "stopped", "message": "asked, when it was too late"})
    assert scene.status()["cause"]["task"] == "worker-1"


def test_a_stop_waits_for_the_chief_s_checkpoint_before_it_ends_the_ps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    scene.supervisor._begin_stop("stopped", {"reason": "stopped", "message": "asked"})
    assert scene.turn() == [("worker-0", TERM), ("worker-1", TERM)]
    scene.end("worker-1", 143)
    assert scene.turn(1.5) == []
    scene.end("worker-0", 143)
    assert scene.turn() == [("ps-0", TERM)]
    assert scene.turn(1) == []  # once


def test_a_host_without_the_chief_gives_it_two_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ("ps-0",))
    scene.supervisor._begin_stop("stopped", {"reason": "stopped", "message": "asked"})
    assert scene.turn(1.9) == []
    assert scene.turn(0.2) == [("ps-0", TERM)]


def test_what_outstays_the_grace_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL, stop_grace_seconds=5)
    scene.supervisor._begin_stop("stopped", {"reason": "stopped", "message": "asked"})
    scene.turn()
    assert scene.turn(5) == []
    assert scene.turn(0.1) == [("worker-0", KILL), ("worker-1", KILL), ("ps-0", KILL)]


def test_a_task_that_waits_for_its_restart_is_not_started_into_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    scene.end("worker-1", 75)
    scene.supervisor._begin_stop("stopped", {"reason": "stopped", "message": "asked"})
    scene.turn(60)
    assert scene.started == []
    assert scene.task("worker-1").state == "stopped"


@pytest.mark.parametrize(
    ("lease", "touched_at", "looked_at", "stopped"),
    [
        (0, None, 10**6, False),  # no lease
        (30, None, 30, False),
        (30, None, 31, True),
        (30, 20, 45, False),  # somebody waits
        (30, 20, 51, True),
    ],
)
def test_a_lease_ends_a_run_that_nobody_waits_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lease: float,
    touched_at: float | None,
    looked_at: float,
    stopped: bool,
) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL, lease_seconds=lease)
    if touched_at is not None:
        scene.turn(touched_at)
        (tmp_path / "lease").touch()
        scene.turn()
        looked_at -= touched_at
    scene.turn(looked_at)
    status = scene.status()
    assert (status["state"], (status["cause"] or {}).get("reason")) == (
        ("stopping", "lease_expired") if stopped else ("running", None)
    )


def test_a_lifecycle_may_change_while_the_run_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL, restart_limit=0)
    scene.set_lifecycle(restart_limit=5)
    scene.turn()
    scene.end("worker-1", 75)
    assert scene.task("worker-1").state == "backoff"


def test_parameter_servers_that_linger_are_ended_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    scene.end("worker-0", 0)
    scene.turn()
    scene.end("worker-1", 0)
    scene.turn()
    assert scene.turn(PS_FAREWELL_SECONDS) == []
    assert scene.turn(1) == [("ps-0", TERM)]
    scene.end("ps-0", 143)
    monkeypatch.setattr(Supervisor, "_start", lambda _supervisor, _task: None)
    assert scene.supervisor.run() == 0
    assert (scene.status()["state"], scene.status()["cause"]["reason"]) == ("succeeded", "ps_lingered")


@pytest.mark.parametrize(
    ("codes", "state", "result"),
    [({}, "succeeded", 0), ({"worker-1": 66}, "failed", 1), ({"ps-0": 1}, "failed", 1)],
)
def test_how_a_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: dict[str, int], state: str, result: int
) -> None:
    scene = Scene(tmp_path, monkeypatch, ALL)
    for name in ("worker-1", "ps-0", "worker-0"):
        scene.end(name, codes.get(name, 0))
    monkeypatch.setattr(Supervisor, "_start", lambda _supervisor, _task: None)
    assert scene.supervisor.run() == result
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["finished"], status["state"], status["run_id"]) == (True, state, "r1")


def test_the_own_process_has_an_identity_and_nobody_has_that_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    own, parent = process_identity(os.getpid()), process_identity(os.getppid())
    assert own is not None
    assert parent is not None
    assert own == process_identity(os.getpid())
    assert own["boot_id"] == parent["boot_id"]
    assert own["pid"] == os.getpid()
    assert process_identity(2**31 - 1) is None
    # pid (command) state and 19 more fields; the name of a command may look like the end of it
    texts = {"/proc/7/stat": "7 (a) R (b) {} " + " ".join(map(str, range(1, 40))), "boot_id": "b\n"}
    monkeypatch.setattr(
        supervisor_module.Path, "read_text", lambda path, **_how: texts.get(str(path), texts["boot_id"])
    )
    texts["/proc/7/stat"] = texts["/proc/7/stat"].format("S")
    assert process_identity(7) == {"pid": 7, "start_ticks": 19, "boot_id": "b"}
    texts["/proc/7/stat"] = texts["/proc/7/stat"].replace(") S ", ") Z ")
    assert process_identity(7) is None
