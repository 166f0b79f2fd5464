"""How a task ends, seen from outside: each case is a process of its own, since a task never returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAINER = Path(__file__).resolve().parents[3] / "trainer"

FRAME = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from dtf_trainer.events import EventLog
from dtf_trainer.lifecycle import PeerLost, Progress, Task
from dtf_trainer.datasets import DataError
progress = Progress()
def send():
    time.sleep(0.1); os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)
"""


def ending(body: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and the events of a task whose work is ``body``."""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    program = f"{FRAME}def work():\n{indented}\n"
    program += "log = EventLog(run_id='r', role='worker', index=0, attempt=0)\nTask(log, progress).run(work)\n"
    done = subprocess.run(
        [sys.executable, "-c", program, str(TRAINER)], check=False, capture_output=True, text=True, timeout=60
    )
    lines = [line.removeprefix("DTF_EVENT ") for line in done.stdout.splitlines() if line.startswith("DTF_EVENT ")]
    return done.returncode, [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("body", "code", "events"),
    [
        ("return 0", 0, ["finished"]),
        ("raise PeerLost('ps 1 is gone')", 75, ["peer_lost", "finished"]),
        ("raise DataError(file='f', expected='e', found='x')", 66, ["failed", "finished"]),
        ("raise ZeroDivisionError('oh')", 1, ["failed", "finished"]),
        ("raise SystemExit(3)", 1, ["failed", "finished"]),
        ("progress.expect('a step', 0.1)\ntime.sleep(60)", 75, ["peer_lost", "finished"]),
        ("progress.leave_at = time.monotonic()\ntime.sleep(60)", 0, ["finished"]),
        ("send()", 143, ["stopping", "finished"]),
        ("progress.on_stop = lambda: print('in order', flush=True)\nsend()", 143, ["stopping", "finished"]),
        ("progress.on_stop = lambda: time.sleep(60)\nsend()", 143, ["stopping", "finished"]),
        ("progress.on_stop = lambda: 1 / 0\nsend()", 143, ["stopping", "finished"]),
        ("progress.on_end = lambda: log.emit('exported')\nreturn 0", 0, ["exported", "finished"]),
        ("progress.on_end = lambda: log.emit('exported')\nsend()", 143, ["stopping", "exported", "finished"]),
        ("progress.on_end = lambda: 1 / 0\nraise PeerLost('ps 1 is gone')", 75, ["peer_lost", "finished"]),
    ],
)
def test_every_way_to_end(body: str, code: int, events: list[str]) -> None:
    exit_code, said = ending(body)
    assert (exit_code, [event["event"] for event in said]) == (code, events)
    assert said[-1]["exit_code"] == code
