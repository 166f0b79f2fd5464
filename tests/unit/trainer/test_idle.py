"""A task that is done and stays, seen from outside: real processes, and no training."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dtf_trainer.__main__ import count_start
from dtf_trainer.flags import TaskConfig, parse
from dtf_trainer.idle import is_done, write_done
from tests.fixtures.free_port import free_port

TRAINER = Path(__file__).resolve().parents[3] / "trainer"


def task(*flags: str) -> TaskConfig:
    return parse(["--job_name=worker", "--ps_hosts=p:1", "--worker_hosts=w:1", "--run_id=r2", *flags], {})


def test_what_was_done_is_known_by_its_run(tmp_path: Path) -> None:
    mark = tmp_path / "kept" / "done"
    config = task("--idle_when_done", f"--done_file={mark}")
    assert not is_done(config)
    write_done(config)
    assert is_done(config)
    assert not is_done(task(f"--done_file={mark}", "--idle_when_done", "--run_id=r3"))


def test_somebody_else_may_say_that_a_run_is_over(tmp_path: Path) -> None:
    told = tmp_path / "finished"
    config = task("--idle_when_done", f"--finished_file={told}", f"--done_file={tmp_path / 'none'}")
    for text, done in (("", False), ("r1\n", False), ("r2\n", True), ("r2", True)):
        told.write_text(text, encoding="utf-8")
        assert is_done(config) is done


def test_a_place_that_cannot_be_written_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    write_done(task("--idle_when_done", f"--done_file={tmp_path}/file/done"))
    assert "a restart will not know" in capsys.readouterr().err


def test_starts_are_counted_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "attempt"
    assert [count_start(file) for _ in range(3)] == [0, 1, 2]
    file.write_text("many", encoding="ascii")
    assert count_start(file) == 0
    assert "not counted" in capsys.readouterr().err


@pytest.mark.parametrize("job", ["ps", "worker"])
def test_a_task_that_was_done_listens_and_waits_to_be_removed(job: str, tmp_path: Path) -> None:
    port = free_port()
    done = tmp_path / "done"
    done.write_text("r\n", encoding="utf-8")
    hosts = {"ps": "p:1", "worker": "w:1", job: f"127.0.0.1:{port}"}
    flags = [f"--job_name={job}", f"--ps_hosts={hosts['ps']}", f"--worker_hosts={hosts['worker']}", "--run_id=r"]
    command = [sys.executable, "-m", "dtf_trainer", *flags, "--idle_when_done", f"--done_file={done}"]
    environment = {**os.environ, "PYTHONPATH": str(TRAINER)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "run r is done; waiting to be removed\n"
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        else:
            pytest.fail("it does not listen")
        process.send_signal(signal.SIGTERM)
        # It trained nothing and says nothing: the events of the run are those of the process that did.
        assert process.stdout.read() == ""
    assert process.returncode == 0


STAYING = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from dtf_trainer.events import EventLog
from dtf_trainer.lifecycle import Progress, Task
task = Task(EventLog(run_id='r', role='worker', index=0, attempt=0), Progress())
task.stay = lambda: print('written down', flush=True)
task.run(lambda: int(sys.argv[2]))
"""


def test_a_task_that_is_done_says_so_once_it_is_written_down_and_stays() -> None:
    command = [sys.executable, "-c", STAYING, str(TRAINER), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written down\n"
        finished = json.loads(process.stdout.readline().removeprefix("DTF_EVENT "))
        assert (finished["event"], finished["exit_code"]) == ("finished", 0)
        assert finished["cpu_seconds"] > 0
        assert finished["max_rss_bytes"] > 1_000_000
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_task_that_is_not_done_does_not_stay() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STAYING, str(TRAINER), "75"], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 75
    assert "written down" not in ended.stdout
