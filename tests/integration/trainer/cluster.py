"""A cluster of real tasks on the loopback interface, and the plainest supervisor that the exit codes allow."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TRAINER = Path(__file__).resolve().parents[3] / "trainer"
PEER_LOST = 75
PATIENCE = 90.0
"""Seconds after which a test is stuck, not slow."""

Event = dict[str, Any]
T = TypeVar("T")
Key = tuple[str, int]


def trainer_python() -> str:
    """Return the interpreter that tasks run with: ``DTF_TRAINER_PYTHON``, else the one of the tests."""
    return os.environ.get("DTF_TRAINER_PYTHON") or sys.executable


def write_data(folder: Path) -> Path:
    """Write a data set of ten bright bars, which any worker that learns at all tells apart, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(0)
    for stem, count in (("train", 3000), ("t10k", 500)):
        labels = noise.randint(0, 10, count).astype(np.uint8)
        images = noise.randint(0, 100, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 2 : 2 * label + 5, 4:24] = noise.randint(100, 256)
        header = np.array([2051, count, 28, 28], ">u4").tobytes()
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(np.array([2049, count], ">u4").tobytes() + labels.tobytes())
    return folder


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has, below the ranges that other suites and outgoing connections take theirs from."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(15000, 20999)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


class Task:
    """One task, with all its starts: what it said, and how it ended each time."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        """Remember how it is started."""
        self.command = command
        self.environment = environment
        self.attempt = 0
        self.events: list[Event] = []
        self.prose: list[str] = []
        self.exits: list[int] = []
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it, as its ``attempt``."""
        # The first is what a parent that imported TensorFlow hands on: it must not matter.
        inherited = {**os.environ, "TF2_BEHAVIOR": "1"}
        environment = {**inherited, **self.environment, "PYTHONPATH": str(TRAINER), "DTF_ATTEMPT": str(self.attempt)}
        self.process = subprocess.Popen(
            self.command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("DTF_EVENT "):
                self.events.append(json.loads(line.removeprefix("DTF_EVENT ")))
            else:
                self.prose.append(line.rstrip())

    def poll(self) -> int | None:
        """Return how this start ended, once it has and everything it said is read."""
        assert self.process is not None
        code = self.process.poll()
        if code is not None and self._reader is not None:
            self._reader.join(5)
            self._reader = None
            self.exits.append(code)
        return code

    def named(self, event: str) -> list[Event]:
        """Return its events of that name."""
        return [found for found in list(self.events) if found["event"] == event]

    def kill(self) -> None:
        """Make sure that it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Cluster:
    """The tasks of one run. ``restart`` starts whoever was killed, or lost a peer, again."""

    def __init__(
        self, ps: int, workers: int, flags: Sequence[str], *, environment: dict[str, str] | None = None
    ) -> None:
        """Lay the run out on free ports; nothing is started yet."""
        ports = free_ports(ps + workers)
        self.ps_hosts = [f"127.0.0.1:{port}" for port in ports[:ps]]
        self.worker_hosts = [f"127.0.0.1:{port}" for port in ports[ps:]]
        self.flags = list(flags)
        self.environment = environment or {}
        keys = [("ps", index) for index in range(ps)] + [("worker", index) for index in range(workers)]
        self.tasks: dict[Key, Task] = {key: self.task(*key) for key in keys}

    def task(self, job: str, index: int, *more: str, prefix: Sequence[str] = ()) -> Task:
        """Return a task of this layout that is not started."""
        command = [*prefix, trainer_python(), "-m", "dtf_trainer", "--job_name", job, "--task_index", str(index)]
        command += ["--ps_hosts", ",".join(self.ps_hosts), "--worker_hosts", ",".join(self.worker_hosts)]
        return Task([*command, *self.flags, *more], self.environment)

    def __enter__(self) -> Self:
        """Do nothing: tasks are started by the test, in the order it wants."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind."""
        for task in self.tasks.values():
            task.kill()

    @property
    def chief(self) -> Task:
        """Worker 0."""
        return self.tasks["worker", 0]

    def start(self, *keys: Key) -> None:
        """Start the tasks, or all."""
        for key in keys or self.tasks:
            self.tasks[key].start()

    def until(self, what: str, condition: Callable[[], T], *, restart: bool = True) -> T:
        """Return what ``condition`` does once that is true; restart, meanwhile, what should be restarted."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            if time.monotonic() > deadline or any(code in (1, 64, 66) for code in self.exit_codes()):
                raise AssertionError(f"no {what} (waited up to {PATIENCE:.0f} s)\n{self.report()}")
            if restart:
                self.restart_lost()
            time.sleep(0.02)
        return found

    def exit_codes(self) -> list[int]:
        """Return how all tasks ended that did."""
        return [code for task in self.tasks.values() for code in task.exits]

    def restart_lost(self) -> None:
        """Start again each task that exited with 75 or was killed."""
        for task in self.tasks.values():
            if task.process is not None and len(task.exits) == task.attempt:
                code = task.poll()
                if code in (PEER_LOST, -signal.SIGKILL):
                    task.attempt += 1
                    task.start()

    def finish(self) -> None:
        """Wait until every task has exited with a code that is final."""

        def ended() -> bool:
            return all(task.process is not None and len(task.exits) > task.attempt for task in self.tasks.values())

        self.until("all tasks to end", ended)

    def until_all_exited(self) -> None:
        """Wait until every task has exited, and restart none."""
        self.until("all ends", lambda: all(task.poll() is not None for task in self.tasks.values()), restart=False)

    def run(self) -> None:
        """Start everything and wait for its end; all must have done their part."""
        self.start()
        self.finish()
        self.require_done()

    def require_done(self) -> None:
        """Fail unless every task's last exit code is 0."""
        codes = {key: task.exits[-1] for key, task in self.tasks.items()}
        assert set(codes.values()) == {0}, f"{codes}\n{self.report()}"

    def wait_for(self, event: str, job: str = "worker", index: int = 0, *, times: int = 1) -> Event:
        """Return a task's ``times``-th event of that name, when it comes."""
        task = self.tasks[job, index]
        self.until(f"{event} of {job} {index}", lambda: len(task.named(event)) >= times)
        return task.named(event)[times - 1]

    def wait_for_step(self, step: int) -> Event:
        """Return the chief's first progress at or after ``step``."""

        def reached() -> Event | None:
            return next((event for event in self.chief.named("progress") if event["global_step"] >= step), None)

        found = self.until(f"global step {step}", reached)
        assert found is not None
        return found

    def report(self) -> str:
        """Return what all tasks said last, for a failed test to print."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for (job, index), task in self.tasks.items():
            yield f"--- {job} {index}: exits {task.exits}"
            yield from (json.dumps({k: v for k, v in e.items() if k != "sha256"}) for e in task.events[-8:])
            yield from task.prose[-15:]


def require_sums(cluster: Cluster) -> None:
    """Fail unless, in everything the chief counted, the steps of all workers add up to the global step."""
    counted = [*cluster.chief.named("target"), *cluster.chief.named("progress")]
    assert counted
    for event in counted:
        assert event["global_step"] == event["carried_steps"] + sum(event["worker_steps"]), event
