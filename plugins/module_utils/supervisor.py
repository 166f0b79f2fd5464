# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor: one small process per host and run that keeps the run's tasks alive and outlives Ansible.

The module copies this file beside the run's plan and starts it with any Python 3.9 or later; it therefore imports the
standard library only and nothing of this collection. Around it are only files, all in the run's directory:

``plan.json``
    in, written once: ``{run_id, has_chief, tasks: [{role, index, argv, env, log}]}``.
``lifecycle.json``
    in, may be replaced while the run lasts: the fields of ``spec.Lifecycle``.
``lease``
    in, touched by whoever waits for the run.
``supervisor.json``
    out: ``{pid, start_ticks, boot_id, monotonic, wall}``, the identity that makes a reused pid harmless.
``status.json``
    out, replaced at every change and once a second: state, cause and one record a task.

SIGTERM stops the run: workers and chief first, so that the chief can still pull a checkpoint from the parameter
servers, then those. The tasks die with the supervisor, however it ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

EXIT_DONE = 0
EXIT_PEER_LOST = 75
EXIT_STOPPED = 143
LONGEST_BACKOFF_SECONDS = 30.0
#: A task ends within two seconds of SIGTERM, the chief with its checkpoint written; a host that has parameter servers
#: but not the chief leaves them running for so long.
CHIEF_CHECKPOINT_SECONDS = 2.0
#: A parameter server ends by itself when its workers have; this is how long it may take.
PS_FAREWELL_SECONDS = 20.0
STATUS_INTERVAL_SECONDS = 1.0
PR_SET_PDEATHSIG = 1
HANDLED_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Verdict:
    """What follows from a task's end: ``done``, ``failed`` or ``restart`` after ``delay`` seconds."""

    action: str
    delay: float = 0.0
    reason: str | None = None


def judge(exit_code: int, restarts: int, lifecycle: Mapping[str, float]) -> Verdict:
    """Decide what an ended task's exit code means.

    Args:
        exit_code: as the shell counts: 128 + n for a task that died of signal n.
        restarts: how often the task has been started again before.
        lifecycle: ``restart_limit`` and ``restart_backoff_seconds``.
    """
    if exit_code == EXIT_DONE:
        return Verdict("done")
    if exit_code != EXIT_PEER_LOST and exit_code <= 128:
        return Verdict("failed", reason=f"exit_{exit_code}")
    if restarts >= lifecycle["restart_limit"]:
        return Verdict("failed", reason="restart_limit")
    delay = min(LONGEST_BACKOFF_SECONDS, lifecycle["restart_backoff_seconds"] * 2.0 ** min(restarts, 60))
    return Verdict("restart", delay=delay)


def process_identity(pid: int) -> dict[str, object] | None:
    """Return ``{pid, start_ticks, boot_id}`` of a living process, or ``None``; a zombie does not live."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    # The command's name may hold spaces and brackets: fields are counted behind its closing one.
    after_name = stat.rpartition(")")[2].split()
    if after_name[0] in ("Z", "X"):
        return None
    return {"pid": pid, "start_ticks": int(after_name[19]), "boot_id": boot_id}


def write_json(path: Path, document: object) -> None:
    """Replace a file by a document at once: a reader sees the old text or the new."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(path)


@dataclass
class TaskState:
    """A task of this host and what has become of it."""

    role: str
    index: int
    argv: list[str]
    env: dict[str, str]
    log: str
    state: str = "waiting"
    restarts: int = 0
    exit_code: int | None = None
    reason: str | None = None
    pid: int | None = None
    start_ticks: int | None = None
    due: float = 0.0
    attempts: list[dict[str, object]] = field(default_factory=list)
    max_rss_bytes: int = 0
    ended_cpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    ended: float | None = None

    @property
    def alive(self) -> bool:
        """Whether a process of the task runs now."""
        return self.pid is not None

    @property
    def over(self) -> bool:
        """Whether the task will not run again."""
        return self.state in ("done", "failed", "stopped")

    def record(self) -> dict[str, object]:
        """Return the task's part of ``status.json``."""
        names = ("role", "index", "state", "restarts", "exit_code", "reason", "pid", "start_ticks", "attempts")
        record: dict[str, object] = {name: getattr(self, name) for name in names}
        record.update(max_rss_bytes=self.max_rss_bytes, cpu_seconds=round(self.cpu_seconds, 3), log=self.log)
        return record


class Supervisor:
    """Keeps the tasks of one run on one host; :meth:`run` returns when all have ended."""

    def __init__(self, directory: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._monotonic = monotonic
        plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
        self._run_id = plan["run_id"]
        self._has_chief = plan["has_chief"]
        self.tasks = [TaskState(**entry) for entry in plan["tasks"]]
        self._lifecycle_stamp: object = None
        self._lifecycle: dict[str, float] = {}
        self._reload_lifecycle()
        self._lease_stamp: object = None
        self._lease_seen = monotonic()
        self._state = "running"
        self._cause: dict[str, object] | None = None
        self._stop_since: float | None = None
        self._ps_stop_due: float | None = None
        self._workers_over_since: float | None = None
        self._written = 0.0

    def run(self) -> int:
        """Start every task and return 0 when all have ended well, else 1."""
        for task in self.tasks:
            # One that cannot start stops the run, and with it those that have not been started yet.
            if not task.over:
                self._start(task)
        self._write_status()
        while not all(task.over for task in self.tasks):
            received = signal.sigtimedwait(HANDLED_SIGNALS, 0.2)
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._begin_stop("stopped", {"reason": "stopped", "message": "the run was asked to stop"})
            changed = self._reap()
            self._reload_lifecycle()
            self._check_lease()
            changed = self._restart_due() or changed
            self._check_farewell()
            self._pursue_stop()
            if changed or self._monotonic() - self._written >= STATUS_INTERVAL_SECONDS:
                self._write_status()
        if self._state == "running":
            self._state = "succeeded"
        elif self._state == "stopping":
            self._state = str(self._cause["state"]) if self._cause else "stopped"
        self._write_status(finished=True)
        return 0 if self._state == "succeeded" else 1

    def _start(self, task: TaskState) -> None:
        """Start a process for the task; its output is appended to the task's log."""
        environment = dict(os.environ, **task.env)
        environment["DTF_ATTEMPT"] = str(task.restarts)
        supervisor_pid = os.getpid()

        def in_child() -> None:
            # A task never outlives its supervisor, not even one that was killed.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != supervisor_pid:
                os._exit(EXIT_STOPPED)
            signal.pthread_sigmask(signal.SIG_SETMASK, set())

        attempt: dict[str, object] = {"spawned_wall": time.time(), "spawned_monotonic": self._monotonic()}
        task.attempts.append(attempt)
        log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            process = subprocess.Popen(
                task.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                preexec_fn=in_child,  # noqa: PLW1509  the supervisor has one thread
            )
        except OSError as error:
            os.write(log, f"cannot start {task.argv[0]}: {error}\n".encode())
            task.state, task.exit_code, task.reason = "failed", 127, "cannot_start"
            self._fail(task, f"cannot start {task.argv[0]}: {error}")
            return
        finally:
            os.close(log)
        identity = process_identity(process.pid)
        # The process belongs to wait4 below; Popen must not wait for it as well.
        process.returncode = 0
        task.pid = process.pid
        task.start_ticks = int(str(identity["start_ticks"])) if identity else None
        task.state = "running"
        attempt["pid"] = process.pid

    def _reap(self) -> bool:
        """Collect ended children and decide what follows; return whether there was one."""
        changed = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return changed
            if pid == 0:
                return changed
            for task in self.tasks:
                if task.pid == pid:
                    self._ended(
                        task, os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime
                    )
                    changed = True

    def _ended(self, task: TaskState, code: int, max_rss_kib: int, cpu_seconds: float) -> None:
        exit_code = code if code >= 0 else 128 - code
        task.pid, task.start_ticks, task.exit_code = None, None, exit_code
        task.max_rss_bytes = max(task.max_rss_bytes, max_rss_kib * 1024)
        task.ended_cpu_seconds += cpu_seconds
        task.cpu_seconds = task.ended_cpu_seconds
        now = self._monotonic()
        task.attempts[-1].update(ended_wall=time.time(), ended_monotonic=now, exit_code=exit_code)
        task.ended = now
        if self._stop_since is not None:
            task.state = "done" if exit_code == EXIT_DONE else "stopped"
            return
        verdict = judge(exit_code, task.restarts, self._lifecycle)
        if verdict.action == "restart":
            task.state, task.due = "backoff", now + verdict.delay
        elif verdict.action == "failed":
            task.state, task.reason = "failed", verdict.reason
            self._fail(task, _describe_end(task, exit_code, verdict.reason))
        else:
            task.state = "done"

    def _fail(self, task: TaskState, message: str) -> None:
        self._begin_stop(
            "failed",
            {"reason": task.reason or "failed", "task": f"{task.role}-{task.index}", "message": message},
        )

    def _begin_stop(self, end_state: str, cause: dict[str, object]) -> None:
        if self._stop_since is not None:
            return
        self._state, self._cause = "stopping", dict(cause, state=end_state)
        self._stop_since = self._monotonic()
        for task in self.tasks:
            if not task.alive and not task.over:
                task.state = "stopped"
        self._signal_role("worker", signal.SIGTERM)

    def _pursue_stop(self) -> None:
        """Stop the parameter servers once nobody needs them, and kill what outstays the grace."""
        if self._stop_since is None:
            return
        now = self._monotonic()
        workers_alive = any(task.alive for task in self.tasks if task.role == "worker")
        if self._ps_stop_due is None and not workers_alive:
            self._ps_stop_due = now if self._has_chief else max(now, self._stop_since + CHIEF_CHECKPOINT_SECONDS)
        if self._ps_stop_due is not None and now >= self._ps_stop_due:
            self._signal_role("ps", signal.SIGTERM)
            self._ps_stop_due = float("inf")
        if now - self._stop_since > self._lifecycle["stop_grace_seconds"]:
            self._signal_role("worker", signal.SIGKILL)
            self._signal_role("ps", signal.SIGKILL)

    def _signal_role(self, role: str, number: int) -> None:
        for task in self.tasks:
            # An own child that was not waited for keeps its pid, so this can hit no stranger.
            if task.role == role and task.pid is not None:
                os.kill(task.pid, number)

    def _restart_due(self) -> bool:
        changed = False
        for task in self.tasks:
            if task.state == "backoff" and self._monotonic() >= task.due:
                task.restarts += 1
                self._start(task)
                changed = True
        return changed

    def _check_farewell(self) -> None:
        """End parameter servers that nobody told that their workers have finished."""
        if self._stop_since is not None or not self._has_chief:
            return
        if all(task.state == "done" for task in self.tasks if task.role == "worker"):
            self._workers_over_since = self._workers_over_since or self._monotonic()
            if self._monotonic() - self._workers_over_since > PS_FAREWELL_SECONDS:
                self._begin_stop("succeeded", {"reason": "ps_lingered", "message": "parameter servers did not end"})

    def _check_lease(self) -> None:
        """Stop when nobody has waited for longer than the lease; only the own clock is read."""
        seconds = self._lifecycle["lease_seconds"]
        stamp = _stamp(self._directory / "lease")
        now = self._monotonic()
        if stamp != self._lease_stamp:
            self._lease_stamp, self._lease_seen = stamp, now
        if seconds > 0 and now - self._lease_seen > seconds:
            message = f"nobody has waited for the run for {seconds:g} s"
            self._begin_stop("stopped", {"reason": "lease_expired", "message": message})

    def _reload_lifecycle(self) -> None:
        path = self._directory / "lifecycle.json"
        stamp = _stamp(path)
        if stamp != self._lifecycle_stamp:
            self._lifecycle = json.loads(path.read_text(encoding="utf-8"))
            self._lifecycle_stamp = stamp

    def _write_status(self, finished: bool = False) -> None:
        for task in self.tasks:
            if task.pid is not None:
                rss, cpu = _usage(task.pid)
                task.max_rss_bytes = max(task.max_rss_bytes, rss)
                task.cpu_seconds = task.ended_cpu_seconds + cpu
        cause = {key: value for key, value in self._cause.items() if key != "state"} if self._cause else None
        write_json(
            self._directory / "status.json",
            {
                "run_id": self._run_id,
                "state": self._state,
                "cause": cause,
                "finished": finished,
                "wall": time.time(),
                "monotonic": self._monotonic(),
                "tasks": [task.record() for task in self.tasks],
            },
        )
        self._written = self._monotonic()


def _describe_end(task: TaskState, exit_code: int, reason: str | None) -> str:
    """Say in a sentence how a task ended for good."""
    name = f"{task.role} {task.index}"
    if exit_code > 128:
        try:
            how = f"was killed by {signal.Signals(exit_code - 128).name}"
        except ValueError:
            how = f"ended with {exit_code}"
    else:
        how = f"ended with exit code {exit_code}"
    if reason == "restart_limit":
        return f"{name} {how} and had been restarted {task.restarts} times, the limit"
    return f"{name} {how}, which no restart cures"


def _stamp(path: Path) -> object:
    """Return a value that changes whenever the file is replaced or touched; ``None`` without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ino)


def _usage(pid: int) -> tuple[int, float]:
    """Return the peak resident bytes and the CPU seconds of a process so far; zeros once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        peak = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0, 0.0
    after_name = stat.rpartition(")")[2].split()
    return (peak[0] if peak else 0), (int(after_name[11]) + int(after_name[12])) / CLOCK_TICKS


def main(directory: Path) -> int:
    """Announce the own identity, then supervise until the run's end."""
    # Blocked before anyone can know the pid: a signal is then taken in the loop and never lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    identity = process_identity(os.getpid())
    supervisor = Supervisor(directory)
    write_json(directory / "supervisor.json", dict(identity or {}, wall=time.time(), monotonic=time.monotonic()))
    return supervisor.run()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
