"""Watching a run by one cheap command: what is asked for, and how a log that grows is read piece by piece."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.plugin_utils.run_watch import LOG_BYTES_A_LOOK, SEPARATOR, RunWatch

STATUS = {"finished": False, "state": "running", "monotonic": 5.0, "tasks": [{"role": "worker", "index": 0}]}
GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "events" / "one_ps_two_workers.jsonl"


class FakeHost:
    """A host whose file ``logs/worker-0.log`` can be read from the byte that a command names."""

    def __init__(self, log: bytes = b"", line_end: bytes = b"\n") -> None:
        self.log = log
        self.line_end = line_end
        self.bytes_a_look = LOG_BYTES_A_LOOK
        self.moment = "1000.5"
        self.commands: list[str] = []

    def __call__(self, command: str) -> tuple[int, str, str]:
        self.commands.append(command)
        text = json.dumps(STATUS) + SEPARATOR + self.moment + "\n" + SEPARATOR
        if "tail -c +" in command:
            first_byte = int(command.partition("tail -c +")[2].split()[0])
            piece = self.log[first_byte - 1 :][: self.bytes_a_look].replace(b"\n", self.line_end)
            text += piece.decode("utf-8", errors="surrogateescape")  # as Ansible reads what a command printed
        return 0, text, ""


def chief_lines(count: int) -> list[str]:
    """Return the first event lines of the golden run's chief."""
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if '"role":"worker","index":0' in line][:count]


def test_a_look_renews_the_lease_and_reads_the_status() -> None:
    host = FakeHost()
    look = RunWatch("/run dir", host, chief_log=False).look()
    assert host.commands == [
        "cd '/run dir' && touch lease && cat status.json && printf '\\036' && date +%s.%N && printf '\\036'"
    ]
    assert (look.reached, look.finished, look.tasks) == (True, False, STATUS["tasks"])


def test_the_command_is_a_shell_s() -> None:
    host = FakeHost()
    RunWatch("/it's; rm -rf $HOME", host, chief_log=True).look()
    words = shlex.split(host.commands[0])
    assert words[:4] == ["cd", "/it's; rm -rf $HOME", "&&", "touch"]


def test_the_host_s_clock_is_that_of_the_shortest_look() -> None:
    host = FakeHost()
    # Each look reads this machine's clock before and after: 4 s, 1 s and 2 s long.
    times = iter([1000.0, 1004.0, 1010.0, 1011.0, 1020.0, 1022.0])
    watch = RunWatch("/run", host, chief_log=False, wall=lambda: next(times))
    seen = []
    for moment in ("1001.5", "1013.0", "1021.0"):
        host.moment = moment
        watch.look()
        seen.append(watch.clock_ahead_seconds)
    assert seen == [-0.5, 2.5, 2.5]
    watch = RunWatch("/run", host, chief_log=False)
    host.moment = "1021.N"
    watch.look()
    assert watch.clock_ahead_seconds is None


def run_here(command: str) -> tuple[int, str, str]:
    """Run a command as a connection does."""
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
    return ended.returncode, ended.stdout.decode("utf-8", errors="surrogateescape"), ended.stderr.decode()


def test_a_shell_does_what_the_command_says(tmp_path: Path) -> None:
    place = tmp_path / "it's a run; $HOME"
    watch = RunWatch(str(place), run_here, chief_log=True)
    assert "it's a run" in watch.look().message
    place.mkdir()
    assert not watch.look().reached  # the supervisor has not written yet
    lease = place / "lease"
    os.utime(lease, (1, 1))
    (place / "status.json").write_text(json.dumps(STATUS))
    assert watch.look().tasks == STATUS["tasks"]  # no log yet
    assert lease.stat().st_mtime > 1
    first, second = chief_lines(2)
    (place / "logs").mkdir()
    log = place / "logs" / "worker-0.log"
    log.write_text(f"你好\n{first}\n{second[:30]}", encoding="utf-8")
    assert watch.look().reached
    assert [event.event for event in watch.events] == ["started"]
    log.write_text(f"你好\n{first}\n{second}\n", encoding="utf-8")
    assert watch.look().reached
    assert [event.event for event in watch.events] == ["started", "imported"]


def test_a_host_that_was_gone_for_a_while_is_read_on() -> None:
    lines = chief_lines(3)
    host = FakeHost("".join(line + "\n" for line in lines[:1]).encode())
    answers = True

    def execute(command: str) -> tuple[int, str, str]:
        return host(command) if answers else (255, "", "no route")

    watch = RunWatch("/r", execute, chief_log=True)
    assert watch.look().message == ""
    answers = False
    assert watch.look().message == "no route"
    host.log = "".join(line + "\n" for line in lines).encode()
    answers = True
    assert watch.look().reached
    assert len(watch.events) == 3


@pytest.mark.parametrize(
    ("code", "output", "error", "message"),
    [
        (255, "", "ssh: connect to host a: No route to host\n", "ssh: connect to host a: No route to host"),
        (1, "cat: status.json: No such file", "", "return code 1"),
        (0, "", "", "return code 0"),
    ],
)
def test_a_host_that_does_not_answer(code: int, output: str, error: str, message: str) -> None:
    look = RunWatch("/r", lambda _command: (code, output, error), chief_log=True).look()
    assert (look.status, look.reached, look.message) == (None, False, message)
    assert (look.tasks, look.finished) == ([], False)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["pipe", "terminal"])
@pytest.mark.parametrize("bytes_a_look", [1, 7, 100, 1000, LOG_BYTES_A_LOOK])
def test_lines_cut_anywhere_come_out_whole_and_once(bytes_a_look: int, line_end: bytes) -> None:
    lines = chief_lines(6)
    log = "\n".join(["Grüße, 你好 👋", *lines, "prose", ""]).encode()
    host = FakeHost(log, line_end)
    host.bytes_a_look = bytes_a_look
    watch = RunWatch("/r", host, chief_log=True)
    for _look in range(len(log) // bytes_a_look + 1):
        watch.look()
    assert [event.event for event in watch.events] == [json.loads(line.partition(" ")[2])["event"] for line in lines]


def test_a_line_that_is_still_being_written_waits_for_its_end() -> None:
    (line,) = chief_lines(1)
    host = FakeHost(line[:40].encode())
    watch = RunWatch("/r", host, chief_log=True)
    watch.look()
    assert watch.events == []
    host.log = (line + "\n").encode()
    watch.look()
    assert [event.event for event in watch.events] == ["started"]
    watch.look()
    assert len(watch.events) == 1


def test_a_restarted_chief_goes_on_in_the_same_log() -> None:
    lines = chief_lines(2)
    host = FakeHost((lines[0] + "\nDTF_EVENT {cut off by a kill").encode())
    watch = RunWatch("/r", host, chief_log=True)
    watch.look()
    host.log += ("\n" + lines[1] + "\n").encode()
    watch.look()
    assert [event.event for event in watch.events] == ["started", "imported"]


def test_another_task_s_event_is_not_the_chief_s() -> None:
    other = chief_lines(1)[0].replace('"index":0', '"index":1')
    watch = RunWatch("/r", FakeHost((other + "\n").encode()), chief_log=True)
    watch.look()
    assert watch.events == []
