"""Workers that ask for GPUs, beside a program that stands in for nvidia-smi: it never outlives them, nor keeps them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from .cluster import Cluster, Task

STAND_IN = Path(__file__).resolve().parents[2] / "fixtures" / "nvidia_smi"
FLAGS = ["--num_gpus=1", "--gpu_interval_seconds=0.1"]


def environment(says: str) -> dict[str, str]:
    """Return the environment of a machine with that card."""
    return {"PATH": f"{STAND_IN}:{os.environ['PATH']}", "NVIDIA_SMI_SAYS": says}


def looking(task: Task) -> list[int]:
    """Return the processes of the stand-in that a task has started."""
    assert task.process is not None
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            line = (entry.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if b"nvidia-smi" in line and int(parent) == task.process.pid and state != "Z":
            found.append(int(entry.parent.name))
    return found


def lives(process: int) -> bool:
    """Tell whether a process is still there, and is more than its record."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("says", ["one_card", "hang"])
def test_a_stopped_worker_tells_of_its_gpus_and_is_gone_in_time(flags: list[str], says: str) -> None:
    with Cluster(1, 1, [*flags, *FLAGS], environment=environment(says)) as cluster:
        cluster.start()
        cluster.wait_for_step(50)
        (process,) = looking(cluster.chief)
        time.sleep(3)  # the first second of a training is not looked at
        assert cluster.chief.process is not None
        began = time.monotonic()
        cluster.chief.process.send_signal(signal.SIGTERM)
        code = cluster.chief.process.wait(10)
        assert (code, time.monotonic() - began < 4) == (143, True)
        cluster.until("the last word", lambda: cluster.chief.named("finished"), restart=False)
        told = [event["event"] for event in cluster.chief.events]
        assert told[-2:] == ["gpu", "finished"]
        (gpu,) = cluster.chief.named("gpu")
        (device,) = gpu["devices"]
        assert (device["model"], device["samples"] > 0) == ("Tesla T4", says == "one_card")
        cluster.until("the end of the program", lambda: not lives(process), restart=False)


def test_what_looks_for_a_killed_worker_ends_with_it_and_the_next_attempt_looks_again(flags: list[str]) -> None:
    with Cluster(1, 2, [*flags, *FLAGS, "--train_steps=6000"], environment=environment("one_card")) as cluster:
        cluster.start()
        cluster.wait_for_step(100)
        other = cluster.tasks["worker", 1]
        (process,) = looking(other)
        other.kill()
        cluster.until("the end of the program", lambda: not lives(process))
        cluster.finish()
        cluster.require_done()
        (told,) = other.named("gpu")
        assert (told["attempt"], told["problem"], told["tensorflow_gpus"]) == (1, None, 0)
        assert not cluster.tasks["ps", 0].named("gpu")


def test_without_gpus_nobody_looks(flags: list[str]) -> None:
    with Cluster(1, 1, [*flags, "--train_steps=100"], environment=environment("one_card")) as cluster:
        cluster.start()
        cluster.wait_for("first_step")
        assert looking(cluster.chief) == []
        cluster.finish()
        assert not cluster.chief.named("gpu")
