# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that starts, signals and reads processes of this host.

Everything that decides is elsewhere (:mod:`.drift`, :mod:`.status`, :mod:`.supervisor`); here the decisions are
carried out on the machine the module runs on.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from . import supervisor as supervisor_module
from .errors import ActionFailed
from .hosts import Run, command, new_run_id, tasks
from .spec import Topology
from .status import HostState, host_phase
from .supervisor import process_identity, write_json
from .topology_directory import TopologyDirectory, read_json

START_TIMEOUT_SECONDS = 20.0
#: Beyond the grace: the supervisor itself must write its status and leave.
STOP_MARGIN_SECONDS = 5.0
#: A task ends within two seconds of the signal its dying supervisor sends it.
ORPHAN_ENDS_SECONDS = 3.0
#: How long a machine is looked at to tell whether something else is at work on it.
BUSY_SECONDS = 0.2
MIB = 1024 * 1024


def observe(root: str, name: str, host: str) -> HostState:
    """Read what this host knows of a topology; changes nothing."""
    directory = TopologyDirectory(root, name)
    now = time.time()
    state = HostState(
        host=host,
        name=name,
        candidate_created=now,
        candidate_run_id=new_run_id(now),
    )
    current = directory.current()
    if current is None:
        return state
    run_id = str(current["run_id"])
    run = directory.run(run_id)
    status = read_json(run / "status.json")
    checkpoint_run_id = run_id if directory.checkpoint(run_id) else current.get("checkpoint_run_id")
    return replace(
        state,
        phase=host_phase(status, supervisor_alive(run)),
        run_id=run_id,
        spec=current["spec"],  # type: ignore[arg-type]
        created=current["created"],  # type: ignore[arg-type]
        resumed_from=current["resumed_from"],  # type: ignore[arg-type]
        cause=status["cause"] if status else None,  # type: ignore[arg-type]
        tasks=status["tasks"] if status else (),  # type: ignore[arg-type]
        checkpoint_run_id=str(checkpoint_run_id) if checkpoint_run_id else None,
    )


def supervisor_alive(run: Path) -> bool:
    """Whether the process that wrote ``supervisor.json`` still lives, and not another one with its pid."""
    identity = read_json(run / "supervisor.json")
    return identity is not None and _same_process(identity)


def _same_process(identity: Mapping[str, object]) -> bool:
    found = process_identity(int(str(identity["pid"])))
    return found is not None and all(found[key] == identity[key] for key in ("start_ticks", "boot_id"))


def send_signal(identity: Mapping[str, object], number: int) -> bool:
    """Signal a process if it is still the one that was identified; return whether it was.

    The pidfd is opened *before* the check: what it refers to can no longer change, so a reused pid is never hit.
    """
    try:
        handle = os.pidfd_open(int(str(identity["pid"])))
    except ProcessLookupError:
        return False
    try:
        if not _same_process(identity):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def start(topology: Topology, host: str, run: Run, current: Mapping[str, object]) -> None:
    """Start the supervisor of a run on this host, and with it the host's tasks.

    Args:
        topology: what is to run.
        host: this host's inventory name.
        run: the run.
        current: the document that makes the run the topology's newest one.

    Raises:
        ActionFailed: the supervisor did not come up.
    """
    directory = TopologyDirectory(topology.root, topology.name)
    place = directory.run(run.run_id)
    for part in ("logs", "checkpoint", "summaries"):
        (place / part).mkdir(parents=True, exist_ok=True)
    own = [task for task in tasks(topology) if task.host == host]
    here = expanded(topology)
    write_json(
        place / "plan.json",
        {
            "run_id": run.run_id,
            "has_chief": any(task.role == "worker" and task.index == 0 for task in own),
            "tasks": [
                {
                    "role": task.role,
                    "index": task.index,
                    "argv": command(here, task, run),
                    "env": {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"},
                    "log": str(place / "logs" / (task.name + ".log")),
                }
                for task in own
            ],
        },
    )
    write_json(place / "lifecycle.json", asdict(topology.lifecycle))
    directory.set_current(current)
    script = directory.path / "supervisor.py"
    # By way of its loader, since a module travels in an archive.
    script.write_text(inspect.getsource(supervisor_module), encoding="utf-8")
    # -I keeps the user's environment out of the supervisor; the tasks still inherit it.
    with (place / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", str(script), str(place)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=str(place),
            start_new_session=True,
        )
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while read_json(place / "status.json") is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ActionFailed(
                "supervisor_failed",
                "the supervisor of topology {!r} did not come up on {}; its last words: {}".format(
                    topology.name,
                    host,
                    (place / "supervisor.log").read_text(errors="replace")[-2000:].strip() or "none",
                ),
            )
        time.sleep(0.02)
    process.returncode = 0


def begin(argv: Sequence[str], log: Path) -> dict[str, object] | None:
    """Start a program that outlives this one, and return its identity; ``None`` where it has ended already.

    It has no proxy in its environment: what it talks to is on this machine.
    """
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=str(log.parent),
            env=dict(environment, PYTHONUNBUFFERED="1"),
            start_new_session=True,
        )
    identity = process_identity(process.pid)
    process.returncode = 0
    return identity


def alive(identity: Mapping[str, object] | None) -> bool:
    """Whether the process that was identified still lives, and not another one with its pid."""
    return identity is not None and _same_process(identity)


def end(identity: Mapping[str, object], seconds: float = STOP_MARGIN_SECONDS) -> None:
    """Stop exactly the process that was identified, and return when it is gone.

    Raises:
        ActionFailed: it lives although it was killed.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not send_signal(identity, number) or _wait_until_gone(identity, seconds):
            return
    raise ActionFailed("cannot_stop", "process {} does not end although it was killed".format(identity["pid"]))


def expanded(topology: Topology) -> Topology:
    """Return the topology with ``~`` in its paths replaced by this user's home."""
    return replace(
        topology,
        python=os.path.expanduser(topology.python),
        data_dir=os.path.expanduser(topology.data_dir),
        root=os.path.expanduser(topology.root),
    )


def stop(state: HostState, root: str) -> None:
    """Stop what runs of a topology on this host, with a checkpoint, and return when it has ended.

    Raises:
        ActionFailed: something still lives although it was killed.
    """
    if state.run_id is None or state.spec is None:
        return
    run = TopologyDirectory(root, state.name).run(state.run_id)
    identity = read_json(run / "supervisor.json")
    lifecycle = state.spec["lifecycle"]
    grace = float(lifecycle["stop_grace_seconds"])  # type: ignore[index]
    asked = identity is not None and send_signal(identity, signal.SIGTERM)
    if identity is not None and asked and not _wait_until_gone(identity, grace + STOP_MARGIN_SECONDS):
        send_signal(identity, signal.SIGKILL)
    # Tasks die with their supervisor; one that was stuck in the kernel or lost its parent is ended here.
    for task in (read_json(run / "status.json") or {}).get("tasks", ()):  # type: ignore[attr-defined]
        if task["pid"] is None or identity is None:
            continue
        orphan = {"pid": task["pid"], "start_ticks": task["start_ticks"], "boot_id": identity["boot_id"]}
        if not _wait_until_gone(orphan, ORPHAN_ENDS_SECONDS):
            send_signal(orphan, signal.SIGKILL)
            if not _wait_until_gone(orphan, STOP_MARGIN_SECONDS):
                raise ActionFailed(
                    "cannot_stop",
                    "{} {} of topology {!r} (pid {}) does not end although it was killed".format(
                        task["role"], task["index"], state.name, task["pid"]
                    ),
                )


def _wait_until_gone(identity: Mapping[str, object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _same_process(identity):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def update_lifecycle(topology: Topology, run_id: str) -> None:
    """Hand changed lifecycle values to a supervisor that may be at work."""
    directory = TopologyDirectory(topology.root, topology.name)
    write_json(directory.run(run_id) / "lifecycle.json", asdict(topology.lifecycle))
    directory.set_current(dict(directory.current() or {}, spec=topology.as_dict()))


def obstacles(topology: Topology, state: HostState) -> list[dict[str, object]]:
    """Return what would keep the wanted tasks from running on this host, as ``{field, value, accepted}``.

    What the topology's present run occupies counts as free, because that run ends before the new one starts.
    """
    own = [task for task in tasks(topology) if task.host == state.host]
    here = expanded(topology)
    found = _path_obstacles(here)
    released_ports, released_bytes = _held_by(state)
    for task in own:
        owner = None if task.port in released_ports else listener(task.address)
        if owner is not None:
            group = "ps" if task.role == "ps" else "workers"
            found.append(
                _obstacle(
                    f"{group}.port",
                    task.port,
                    f"a port that is free on {state.host} for {task.name}; {owner} has it",
                )
            )
    needed = sum(topology.ps.memory_mb if task.role == "ps" else topology.workers.memory_mb for task in own)
    available = available_memory_mb() + released_bytes // MIB
    if needed > available:
        found.append(
            _obstacle(
                "ps.memory_mb, workers.memory_mb",
                needed,
                f"at most the {available} MiB available on {state.host} for its {len(own)} tasks; fewer tasks, more "
                "hosts, or lower memory_mb if you know better",
            )
        )
    return found


def _obstacle(field: str, value: object, accepted: str) -> dict[str, object]:
    return {"field": field, "value": value, "accepted": accepted}


def _path_obstacles(topology: Topology) -> list[dict[str, object]]:
    found = []
    if not os.access(topology.python, os.X_OK) or Path(topology.python).is_dir():
        found.append(_obstacle("python", topology.python, "an interpreter that exists on the host and may be executed"))
    if not Path(topology.data_dir).is_dir():
        found.append(_obstacle("data_dir", topology.data_dir, "a directory that exists on the host"))
    existing = Path(topology.root)
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(str(existing), os.W_OK | os.X_OK):
        found.append(_obstacle("root", topology.root, f"a directory that can be written ({existing} cannot)"))
    return found


def _held_by(state: HostState) -> tuple[set[int], int]:
    """Return the ports and the resident bytes that the topology's own run on this host will give back."""
    if state.phase not in ("running", "stopping") or state.spec is None:
        return set(), 0
    before = Topology.from_params(state.spec)
    ports = {task.port for task in tasks(before) if task.host == state.host}
    return ports, sum(int(str(task["max_rss_bytes"])) for task in state.tasks)


def listener(address: str) -> str | None:
    """Say who listens on ``host:port`` of this machine, or ``None`` if the port can be had."""
    name, _separator, port = address.rpartition(":")
    try:
        family, kind, protocol, _canonical, place = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        return f"nobody: {name} cannot be resolved ({error})"
    probe = socket.socket(family, kind, protocol)
    try:
        # As servers do, so that connections in TIME_WAIT do not count; a listener still refuses this.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return f"nobody: {name} is no address of this host"
        return _owner_of_port(int(port)) or f"another process ({error.strerror})"
    finally:
        probe.close()
    return None


def _owner_of_port(port: int) -> str | None:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({_short_command(line)})"
        except OSError:
            continue
    return None


def _short_command(line: str) -> str:
    """Return a command line cut to what tells a task from another."""
    run = re.search(r"--run_id=(\S+)", line)
    task = re.search(r"--job_name=(\S+) --task_index=(\S+)", line)
    if run and task:
        return f"{task.group(1)} {task.group(2)} of run {run.group(1)}"
    return line[:80]


def available_memory_mb(root: Path = Path("/")) -> int:
    """Return what this host can still give to processes, with the limit of an enclosing cgroup (MiB).

    A cgroup's usage counts the page cache, which the kernel gives back to whoever needs it: it is not in use here, as
    it is not in the kernel's own MemAvailable.
    """
    meminfo = (root / "proc/meminfo").read_text(encoding="ascii")
    match = re.search(r"^MemAvailable:\s+([0-9]+) kB$", meminfo, re.MULTILINE)
    available = int(match.group(1)) // 1024 if match else 0
    for folder, limit, used, cache in (
        ("sys/fs/cgroup", "memory.max", "memory.current", r"(?:in)?active_file"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", r"total_(?:in)?active_file"),
    ):
        try:
            most, taken = (int((root / folder / name).read_text(encoding="ascii")) for name in (limit, used))
            stat = (root / folder / "memory.stat").read_text(encoding="ascii")
        except (OSError, ValueError):
            continue
        cached = sum(int(size) for size in re.findall(rf"^{cache} ([0-9]+)$", stat, re.MULTILINE))
        available = min(available, (most - taken + cached) // MIB)
    return available


def busy_cores(seconds: float = BUSY_SECONDS, stat: Path = Path("/proc/stat")) -> float:
    """Return how many cores of this machine are at work, averaged over a moment in which this process rests.

    A load average would tell of the minute before, in which a benchmark's last run was at work.
    """

    def spent() -> tuple[int, int]:
        fields = [int(part) for part in stat.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
        return sum(fields) - fields[3] - fields[4], sum(fields)

    before = spent()
    time.sleep(seconds)
    after = spent()
    ticks = after[1] - before[1]
    return round((after[0] - before[0]) / ticks * (os.cpu_count() or 1), 2) if ticks > 0 else 0.0


def host_environment() -> dict[str, object]:
    """Return what a reader of a measurement must know of the machine: cores, memory, CPU model, kernel."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    memory = re.search(r"^MemTotal:\s+([0-9]+) kB$", meminfo, re.MULTILINE)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory.group(1)) * 1024 if memory else None,
        "cpu_model": model.group(1).strip() if model else None,
        "kernel": os.uname().release,
    }
