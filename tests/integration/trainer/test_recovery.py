"""What happens when tasks are killed, stopped, misplaced or misled."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from dtf_trainer import checkpoint
from tests.fixtures.relay import relay

from .cluster import Cluster, Key, Task, free_ports, require_sums

SLOW = ["--batch_size=300", "--hidden_units=200"]
"""A step that takes long enough for a killed task to come back before the target."""


@pytest.mark.parametrize("victim", [("worker", 1), ("worker", 0), ("ps", 1)], ids=["worker", "chief", "ps"])
def test_a_killed_task_comes_back_and_the_run_ends(flags: list[str], tmp_path: Path, victim: Key) -> None:
    layout = [*flags, *SLOW, "--train_steps=1500", f"--export_dir={tmp_path / 'export'}"]
    with Cluster(2, 2, layout) as cluster:
        cluster.start()
        cluster.wait_for_step(200)
        if victim[0] == "ps":
            cluster.wait_for("checkpoint")
        cluster.tasks[victim].kill()
        before = cluster.chief.named("progress")[-1]
        cluster.finish()
        cluster.require_done()
        require_sums(cluster)
        target = cluster.chief.named("target")[-1]
        assert target["global_step"] >= 1500
        assert len(cluster.chief.named("released")) == 1, "a run has one start barrier"
        assert cluster.tasks[victim].exits == [-signal.SIGKILL, 0]
        assert cluster.chief.named("exported")
        others = {key: task.exits for key, task in cluster.tasks.items() if key != victim}
        if victim[0] == "worker":
            assert set(map(tuple, others.values())) == {(0,)}, "a worker that comes back needs nobody else to"
        if victim == ("worker", 0):
            back = cluster.chief.named("connected")[-1]
            assert back["resumed"]
            assert back["global_step"] >= before["global_step"], "the ps kept every step"
        if victim[0] == "ps":
            lost = cluster.chief.named("peer_lost")
            assert lost
            back = cluster.chief.named("connected")[-1]
            saved = [event for event in cluster.chief.named("checkpoint") if event["wall"] < back["wall"]]
            assert back["global_step"] == saved[-1]["global_step"]
            # At most one checkpoint interval (0.5 s), and what writing one takes on a busy machine.
            assert lost[-1]["wall"] - saved[-1]["wall"] < 0.5 + 3.0


def test_a_lost_ps_and_rounds_with_slots_of_their_own(flags: list[str]) -> None:
    layout = [*flags, *SLOW, "--train_steps=4000", "--communication_interval=10"]
    with Cluster(1, 2, layout) as cluster:
        cluster.start()
        cluster.wait_for("checkpoint")
        cluster.wait_for_step(400)
        cluster.tasks["ps", 0].kill()
        cluster.finish()
        cluster.require_done()
        assert all(len(task.exits) == 2 for task in cluster.tasks.values())
        assert cluster.chief.named("connected")[-1]["global_step"] > 0
        target = cluster.chief.named("target")[-1]
        assert target["global_step"] == sum(target["worker_steps"]) >= 4000
        assert cluster.chief.named("evaluated")[-1]["test_accuracy"] > 0.9


def stop(task: Task, pid: int) -> float:
    """Send SIGTERM to ``pid`` of ``task`` and return the seconds until the task was gone."""
    assert task.process is not None
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    task.process.wait(30)
    return time.monotonic() - began


def test_sigterm_ends_every_role_in_every_phase(flags: list[str]) -> None:
    with Cluster(1, 2, [*flags, "--train_steps=0", "--checkpoint_interval_seconds=600"]) as cluster:
        early = cluster.task("worker", 1)
        early.start()
        cluster.tasks["early", 9] = early
        assert early.process is not None
        libraries = Path(f"/proc/{early.process.pid}/maps")
        cluster.until("its imports", lambda: "tensorflow" in libraries.read_text(), restart=False)
        # How long a library takes to be loaded is the machine's affair: nothing can be done in the meantime.
        stop(early, early.process.pid)
        cluster.until("its last word", lambda: early.named("finished"), restart=False)
        assert early.named("stopping")
        assert not early.named("imported")
        took = {}
        waiting = cluster.task("worker", 1)
        waiting.start()
        cluster.tasks["waiting", 9] = waiting
        cluster.until("the waiting worker", lambda: waiting.named("serving"), restart=False)
        assert waiting.process is not None
        took["waiting for its ps"] = stop(waiting, waiting.process.pid)
        cluster.start(("ps", 0), ("worker", 0), ("worker", 1))
        cluster.wait_for_step(100)
        for key in (("worker", 1), ("worker", 0), ("ps", 0)):
            process = cluster.tasks[key].process
            assert process is not None
            took[str(key)] = stop(cluster.tasks[key], process.pid)
        cluster.until_all_exited()
        assert {task.exits[-1] for task in cluster.tasks.values()} == {143}, cluster.report()
        (saved,) = cluster.chief.named("checkpoint")
        assert saved["reason"] == "signal"
        assert cluster.chief.named("stopping")
        # Two seconds are the promise; the rest is for a machine that has other things to do.
        assert max(took.values()) < 4.0, took


def namespaces_work() -> bool:
    """Say whether this machine lets us be PID 1 of a namespace."""
    command = ["unshare", "-p", "-f", "--kill-child", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def child_of(pid: int) -> int:
    """Return the only child of ``pid``."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.mark.skipif(not namespaces_work(), reason="this machine does not let us make a PID namespace")
def test_sigterm_ends_every_role_as_pid_1(flags: list[str]) -> None:
    with Cluster(1, 2, [*flags, "--train_steps=0"]) as cluster:
        prefix = ["unshare", "-p", "-f", "--kill-child"]
        cluster.tasks = {key: cluster.task(*key, prefix=prefix) for key in cluster.tasks}
        cluster.start()
        cluster.wait_for_step(100)
        for key in (("worker", 1), ("worker", 0), ("ps", 0)):
            task = cluster.tasks[key]
            assert task.process is not None
            assert task.named("started")[0]["pid"] == 1
            assert stop(task, child_of(task.process.pid)) < 4.0
        cluster.until_all_exited()
        assert {task.exits[-1] for task in cluster.tasks.values()} == {143}
        assert cluster.chief.named("checkpoint")[-1]["reason"] == "signal"


def test_peers_that_never_come_or_are_another_run_s(flags: list[str]) -> None:
    patience = [*flags, "--train_steps=100", "--peer_timeout_seconds=8"]
    with Cluster(1, 2, patience) as cluster:
        stranger = cluster.task("worker", 1, "--run_id=another")
        cluster.tasks["stranger", 9] = stranger
        cluster.start(("ps", 0))
        cluster.wait_for("serving", "ps")
        cluster.start(("worker", 0), ("stranger", 9))
        chief = cluster.chief
        cluster.until("both ends", lambda: [task.poll() for task in (chief, stranger)] == [75, 75], restart=False)
        assert "run tested" in stranger.named("peer_lost")[0]["message"]
        assert "worker 1 not ready" in chief.named("peer_lost")[0]["message"]
    with Cluster(1, 1, patience) as alone:
        alone.start(("worker", 0))
        alone.until("its end", lambda: alone.chief.poll() is not None, restart=False)
        assert alone.chief.exits == [75]
        assert alone.ps_hosts[0] in alone.chief.named("peer_lost")[0]["message"]


def misled(cluster: Cluster) -> int:
    """Let the ps look for worker 1 at a port at which nobody listens, as for a pod that was replaced; return it."""
    first, second = cluster.worker_hosts
    (port,) = free_ports(1)
    cluster.tasks["ps", 0] = cluster.task("ps", 0, f"--worker_hosts={first},127.0.0.1:{port}")
    cluster.start()
    waiting = cluster.wait_for("waiting", "worker", 1)
    assert waiting["address"] == second
    assert str(port) in waiting["message"]
    assert "Failed to connect" in waiting["message"]
    return port


def test_a_worker_waits_until_its_ps_finds_the_way_to_it(flags: list[str]) -> None:
    with Cluster(1, 2, [*flags, "--train_steps=100", "--sync_replicas"]) as cluster:
        port = misled(cluster)
        host, _, own = cluster.worker_hosts[1].rpartition(":")
        with relay(port, (host, int(own))):
            cluster.finish()
        cluster.require_done()
        late = cluster.tasks["worker", 1]
        assert [event["event"] for event in late.events if event["event"] in {"waiting", "reached", "connected"}] == [
            "waiting",
            "reached",
            "connected",
        ]
        assert late.named("target")[0]["worker_steps"] == [50, 50]
        assert all(task.exits == [0] for task in cluster.tasks.values()), "nobody had to be started again"


def test_a_worker_that_its_ps_never_finds_says_so(flags: list[str]) -> None:
    with Cluster(1, 2, [*flags, "--train_steps=100", "--peer_timeout_seconds=8"]) as cluster:
        misled(cluster)
        lost = cluster.tasks["worker", 1]
        cluster.until("its end", lambda: lost.poll() is not None, restart=False)
        assert lost.exits == [75]
        (said,) = lost.named("peer_lost")
        assert said["message"].startswith("not reached by the parameter servers in 8 s: ")
        assert "Failed to connect" in said["message"]


def test_a_late_worker_finds_the_run_at_its_end(flags: list[str]) -> None:
    with Cluster(1, 2, [*flags, "--train_steps=100", "--peer_timeout_seconds=90"]) as cluster:
        cluster.start()
        cluster.wait_for("released")
        # Held until the other is on its way: a parameter server waits for it for so long only.
        assert cluster.chief.process is not None
        cluster.chief.process.send_signal(signal.SIGSTOP)
        cluster.tasks["worker", 1].kill()
        cluster.wait_for("imported", "worker", 1, times=2)
        cluster.chief.process.send_signal(signal.SIGCONT)
        cluster.finish()
        cluster.require_done()
        assert not cluster.tasks["worker", 1].exits[-1]


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--batch_size=0", "--task_index=7"], 64, "batch_size"),
        (["--data_dir=/nowhere/at/all"], 66, "/nowhere/at/all"),
        (["damage"], 66, "damaged"),
        (["--run_id=other"], 66, "run tested"),
        (["--hidden_units=33"], 66, "33 hidden units"),
        (["--resume_checkpoint=/nowhere.npz", "--resume_run_id=x", "--checkpoint_dir=/tmp/none"], 66, "/nowhere.npz"),
    ],
)
def test_refusals(flags: list[str], tmp_path: Path, more: list[str], code: int, says: str) -> None:
    folder = tmp_path / "checkpoint"
    write_checkpoint(folder / "checkpoint.npz")
    if more == ["damage"]:
        path = folder / "checkpoint.npz"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        more = []
    with Cluster(1, 1, flags) as cluster:
        task = cluster.task("worker", 0, *more)
        task.start()
        assert task.process is not None
        task.process.wait(60)
        assert task.poll() == code, task.prose
        (failed,) = task.named("failed")
        assert says in failed["message"]
        assert not task.named("serving"), "nothing was started"
        if code == 64:
            assert not task.named("imported")


def write_checkpoint(path: Path) -> None:
    """Write a good checkpoint of run ``tested`` with 32 hidden units."""
    made = checkpoint.Checkpoint(
        run_id="tested",
        hidden_units=32,
        arrays={name: np.ones(shape, np.float32) for name, shape in checkpoint.array_shapes(32).items()},
        adam_step=11.0,
        worker_steps=(10,),
        carried_steps=0,
        released=True,
    )
    checkpoint.write(path, made)
