# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run document (schema ``dtf.run/2``): everything that is known of a run that has ended, in one value.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import stats
from .events import PREFIX, Event, first, last, of_task
from .gpu_load import gpu_fields, with_gpus
from .hosts import Task, tasks
from .spec import Topology
from .status import HostState, overall_cause, overall_phase

SCHEMA = "dtf.run/2"
LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class HostPart:
    """What one host contributes to a run document.

    Attributes:
        state: the host's last view of the topology.
        supervisor: the supervisor's ``{wall, monotonic}`` when it was up.
        ended: ``{wall, monotonic}`` when all tasks of this host had ended.
        environment: cores, memory, CPU model, kernel of the host, its load before the run, its clock.
    """

    state: HostState
    supervisor: Mapping[str, float]
    ended: Mapping[str, float]
    environment: Mapping[str, object]


def run_document(
    topology: Topology,
    parts: Sequence[HostPart],
    events: Sequence[Event],
    logs: Mapping[str, Sequence[str]],
    artifacts: Mapping[str, object],
    versions: Mapping[str, object],
    benchmark: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Assemble the document of a run.

    Args:
        topology: what ran.
        parts: every host's contribution, the chief's host first.
        events: all tasks' events; each task's are in order.
        logs: the lines of each task's log, by task name.
        artifacts: relative paths of what was kept.
        versions: of the software on the controller.
        benchmark: which run of a benchmark it was, as :func:`sweep.benchmark_of` has it.
    """
    head = parts[0]
    states = [part.state for part in parts]
    phase = overall_phase(states)
    chief = of_task(events, "worker", 0)
    end = max(_on_clock_of(head, part) for part in parts)
    created = head.supervisor["monotonic"] - (head.supervisor["wall"] - float(head.state.created or 0))
    ended_wall = head.ended["wall"] + (end - head.ended["monotonic"])
    training = topology.training
    records = _task_records(topology, parts, events)
    return {
        "schema": SCHEMA,
        "run_id": head.state.run_id,
        "name": topology.name,
        "state": phase if phase in ("succeeded", "stopped") else "failed",
        "cause": None if phase == "succeeded" else _cause(states, events, logs),
        "runtime": topology.runtime,
        "backend": None,
        "spec": topology.as_dict(),
        "spec_hash": topology.spec_hash(),
        "environment": with_gpus(_environment(parts, chief, versions), records),
        "created": rfc3339(float(head.state.created or 0)),
        "finished": rfc3339(ended_wall),
        "resumed_from": _resumed_from(head.state, chief),
        "benchmark": dict(benchmark) if benchmark else None,
        "training": stats.training(chief, training.steps, training.batch_size),
        "phases": {
            name: stats.rounded(seconds)
            for name, seconds in stats.consecutive(
                created,
                head.supervisor["monotonic"],
                _spawned(head, "worker", 0),
                stats.boundaries(chief, stats.ENDS),
                end,
            ).items()
        },
        "wall_seconds": stats.rounded(ended_wall - float(head.state.created or 0)),
        "tasks": records,
        "artifacts": dict(artifacts),
    }


def refused_document(
    topology: Topology,
    run_id: str,
    created: float,
    cause: Mapping[str, object],
    versions: Mapping[str, object],
    benchmark: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return the document of a run that was refused before any task of it was started.

    Args:
        topology: what should have run.
        run_id: names the run.
        created: when it was refused (seconds since the epoch).
        cause: ``{reason, message}``.
        versions: of the software on the controller.
        benchmark: which run of a benchmark it was.
    """
    nothing = dict.fromkeys(stats.PHASES)
    host = {"cores": None, "memory_bytes": None, "cpu_model": None, "kernel": None}
    environment = _environment((), (), versions)
    environment["hosts"] = [
        {"name": entry.name, **host, "load_before": None, "clock_ahead_seconds": None} for entry in topology.hosts
    ]
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "name": topology.name,
        "state": "failed",
        "cause": {"reason": "refused", "task": None, "message": "", "events": [], "log_tail": [], **cause},
        "runtime": topology.runtime,
        "backend": topology.kubernetes.backend if topology.kubernetes else None,
        "spec": topology.as_dict(),
        "spec_hash": topology.spec_hash(),
        "environment": environment,
        "created": rfc3339(created),
        "finished": rfc3339(created),
        "resumed_from": None,
        "benchmark": dict(benchmark) if benchmark else None,
        "training": stats.training((), topology.training.steps, topology.training.batch_size),
        "phases": dict.fromkeys(stats.PHASES, 0.0),
        "wall_seconds": 0.0,
        "tasks": [
            {
                "role": task.role,
                "index": task.index,
                "host": task.host,
                "restarts": 0,
                "exit_code": None,
                "phases": nothing,
                "local_steps": None,
                "max_rss_bytes": None,
                "cpu_seconds": None,
            }
            for task in tasks(topology)
        ],
        "artifacts": {"logs": {}, "events": "events.jsonl", "export": None, "checkpoint": None},
    }


def rfc3339(wall: float) -> str:
    """Return a moment in UTC with milliseconds."""
    milliseconds = round(wall * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000)) + f".{milliseconds % 1000:03d}Z"


def _on_clock_of(head: HostPart, part: HostPart) -> float:
    """Return when a host's tasks had ended, on the first host's monotonic clock; other hosts by their wall clock."""
    if part is head:
        return part.ended["monotonic"]
    return head.ended["monotonic"] + (part.ended["wall"] - head.ended["wall"])


def _record(part: HostPart, role: str, index: int) -> Mapping[str, object] | None:
    return next((task for task in part.state.tasks if task["role"] == role and task["index"] == index), None)


def _spawned(part: HostPart, role: str, index: int) -> float:
    record = _record(part, role, index)
    attempts: Sequence[Mapping[str, float]] = record["attempts"] if record else ()  # type: ignore[assignment]
    return attempts[0]["spawned_monotonic"] if attempts else part.supervisor["monotonic"]


def _task_records(topology: Topology, parts: Sequence[HostPart], events: Sequence[Event]) -> list[dict[str, object]]:
    steps = stats.worker_steps(of_task(events, "worker", 0), topology.workers.replicas)
    by_host = {part.state.host: part for part in parts}
    records = []
    for task in tasks(topology):
        part = by_host[task.host]
        record = _record(part, task.role, task.index) or {}
        own = of_task(events, task.role, task.index)
        records.append(
            {
                "role": task.role,
                "index": task.index,
                "host": task.host,
                "restarts": record.get("restarts", 0),
                "exit_code": record.get("exit_code"),
                "phases": _task_phases(task, part, own),
                "local_steps": steps[task.index] if task.role == "worker" and task.index < len(steps) else None,
                "max_rss_bytes": record.get("max_rss_bytes"),
                "cpu_seconds": record.get("cpu_seconds"),
                **gpu_fields(own),
            }
        )
    return records


def _task_phases(task: Task, part: HostPart, own: Sequence[Event]) -> dict[str, float | None]:
    """Return a task's phases on its own host's clock; ``None`` for those its role does not have."""
    ends = stats.task_ends(task.role, task.index)
    record = _record(part, task.role, task.index) or {}
    attempts: Sequence[Mapping[str, float]] = record.get("attempts") or ()  # type: ignore[assignment]
    end = attempts[-1].get("ended_monotonic", part.ended["monotonic"]) if attempts else part.ended["monotonic"]
    # Of another host, whose wall clock may be behind the first one's.
    created = part.supervisor["monotonic"] - max(0.0, part.supervisor["wall"] - float(part.state.created or 0))
    spawned, found = _spawned(part, task.role, task.index), stats.boundaries(own, ends)
    lengths = stats.consecutive(created, part.supervisor["monotonic"], spawned, found, end, ends)
    existing = ("created", "scheduled", "image", *ends, "exit")
    return {name: stats.rounded(lengths[name]) if name in existing else None for name in stats.PHASES}


def _resumed_from(state: HostState, chief: Sequence[Event]) -> dict[str, object] | None:
    if state.resumed_from is None:
        return None
    released = first(chief, "released")
    return {"run_id": state.resumed_from["run_id"], "global_step": released.number("global_step") if released else None}


def _cause(
    states: Sequence[HostState], events: Sequence[Event], logs: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    """Return ``{reason, task, message, events, log_tail}``: the supervisor's word, made precise by the task's own."""
    cause = dict(overall_cause(states) or {"reason": "unknown", "message": "no task said why"})
    name = cause.get("task")
    own = [event for event in events if event.task == name]
    told = last(own, "failed")
    if told is not None:
        cause["reason"] = told.fields.get("reason", cause["reason"])
        cause["message"] = "{}: {}".format(cause["message"], told.fields.get("message"))
    prose = [line for line in logs.get(str(name), ()) if line.strip() and not line.startswith(PREFIX)]
    return {
        "reason": cause["reason"],
        "task": name,
        "message": cause["message"],
        "events": [
            dict(event=event.event, attempt=event.attempt, wall=event.wall, **event.fields) for event in own[-5:]
        ],
        "log_tail": prose[-LOG_TAIL_LINES:],
    }


def _environment(
    parts: Sequence[HostPart], chief: Sequence[Event], versions: Mapping[str, object]
) -> dict[str, object]:
    imported, data = last(chief, "imported"), last(chief, "data")
    unknown = {"load_before": None, "clock_ahead_seconds": None}
    return {
        # A host that was lost has told nothing.
        "hosts": [{**unknown, **part.environment, "name": part.state.host} for part in parts],
        "versions": {
            "python": imported.fields.get("python") if imported else None,
            "tensorflow": imported.fields.get("tensorflow") if imported else None,
            "ansible": versions.get("ansible"),
            "collection": versions.get("collection"),
            "kubernetes": None,
            "container_runtime": None,
        },
        "image_digest": None,
        "data_sha256": data.fields.get("sha256") if data else None,
    }
