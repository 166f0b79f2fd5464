# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run document of a run whose tasks were pods: the same document as for processes, from other sources.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import stats
from .events import PREFIX, Event, first, last
from .gpu_load import gpu_fields, with_gpus
from .hosts import Task, tasks
from .kube_causes import told
from .pod_timings import (
    RESOLUTION,
    Skew,
    Stretch,
    Timeline,
    image_seconds,
    on_wall_clock,
    pods_of,
    released_step,
    restarts,
    timeline,
    training,
)
from .pod_view import PodView
from .quantities import parse
from .run_document import LOG_TAIL_LINES, SCHEMA, rfc3339
from .spec import Topology

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """What is known of a run that is over.

    Attributes:
        run_id: which run.
        created: when it was decided (seconds since the epoch, controller's clock).
        ended: when it was over (the same).
        phase: ``succeeded``, ``failed`` or ``stopped``.
        cause: why it did not succeed, or ``None``.
        resumed_from: the run whose checkpoint it was to continue, or ``None``.
        pods: all pods that were seen, those that are gone too, in the order they were made.
        events: Kubernetes' events of the namespace.
        nodes: node objects, as far as they may be read.
        stretches: the trainer's events, process by process.
        logs: each task's lines.
        skews: the clocks beside the controller's.
    """

    run_id: str
    created: float
    ended: float
    phase: str
    cause: Mapping[str, Any] | None
    resumed_from: str | None
    pods: Sequence[PodView]
    events: Sequence[Object]
    nodes: Sequence[Object]
    stretches: Sequence[Stretch]
    logs: Mapping[str, Sequence[str]]
    skews: Sequence[Skew]


def pod_run_document(
    topology: Topology,
    run: Ended,
    artifacts: Mapping[str, object],
    versions: Mapping[str, object],
    benchmark: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Assemble the document of a run.

    Args:
        topology: what ran.
        run: what is known of it.
        artifacts: relative paths of what was kept.
        versions: of the software on the controller, and of the API server.
        benchmark: which run of a benchmark it was, as :func:`sweep.benchmark_of` has it.
    """
    own = {task.name: [entry for entry in run.stretches if entry.task == task.name] for task in tasks(topology)}
    chief = [event for stretch in own["worker-0"] for event in stretch.events]
    end = _end(run)
    lines = {task.name: _timeline(run, task, own[task.name], end) for task in tasks(topology)}
    notes = [f"{name}: {note}" for name, line in lines.items() for note in line.notes]
    measured = training(own["worker-0"], topology.training.steps, topology.training.batch_size)
    records = [_task(topology, run, task, own[task.name], lines[task.name], chief) for task in tasks(topology)]
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "name": topology.name,
        "state": run.phase,
        "cause": None if run.phase == "succeeded" else _cause(run),
        "runtime": topology.runtime,
        "backend": topology.kubernetes.backend if topology.kubernetes else None,
        "spec": topology.as_dict(),
        "spec_hash": topology.spec_hash(),
        "environment": with_gpus(_environment(run, chief, versions), records),
        "created": rfc3339(run.created),
        "finished": rfc3339(end),
        "resumed_from": _resumed_from(run, chief),
        "benchmark": dict(benchmark) if benchmark else None,
        "training": measured,
        "phases": {name: stats.rounded(length) for name, length in lines["worker-0"].phases.items()},
        "wall_seconds": stats.rounded(end - run.created),
        "tasks": records,
        "artifacts": dict(artifacts),
        "clocks": {
            "axis": "wall clock; within a process the trainer's monotonic clock",
            "resolution_seconds": RESOLUTION,
            "beside_controller": [skew.as_dict() for skew in run.skews],
            "notes": notes,
        },
    }


def _end(run: Ended) -> float:
    """Return when the last task had ended; a run that did not end by itself was over when somebody saw that.

    No clock can make it end before it began.
    """
    finished = [
        event.monotonic for stretch in run.stretches for event in on_wall_clock([stretch]) if event.event == "finished"
    ]
    return max(run.created, *finished) if run.phase == "succeeded" and finished else max(run.created, run.ended)


def _timeline(run: Ended, task: Task, own: Sequence[Stretch], end: float) -> Timeline:
    pods = pods_of(run.pods, task.name)
    pod = pods[0] if pods else None
    image = image_seconds(pod, run.events) if pod else None
    events = on_wall_clock(own)
    finished = last(events, "finished")
    # The chief's phases are the run's: they end when the last of all has ended.
    alone = finished is not None and run.phase == "succeeded" and task.name != "worker-0"
    over = max(run.created, finished.monotonic) if finished is not None and alone else end
    return timeline(run.created, pod, image, events, over, stats.task_ends(task.role, task.index))


def _task(
    topology: Topology, run: Ended, task: Task, own: Sequence[Stretch], line: Timeline, chief: Sequence[Event]
) -> dict[str, object]:
    pods = pods_of(run.pods, task.name)
    events = [event for stretch in own for event in stretch.events]
    steps = stats.worker_steps(chief, topology.workers.replicas)
    existing = ("created", "scheduled", "image", *stats.task_ends(task.role, task.index), "exit")
    done = [event for event in events if event.event == "finished"]
    return {
        "role": task.role,
        "index": task.index,
        "host": pods[-1].node if pods else "",
        "restarts": max(restarts(pods), len(own) - 1),
        "exit_code": _exit_code(pods, done),
        "phases": {name: stats.rounded(line.phases[name]) if name in existing else None for name in stats.PHASES},
        "local_steps": steps[task.index] if task.role == "worker" and task.index < len(steps) else None,
        "max_rss_bytes": _whole(max((event.number("max_rss_bytes") or 0 for event in done), default=0)),
        "cpu_seconds": stats.rounded(sum(event.number("cpu_seconds") or 0 for event in done)) or None,
        **gpu_fields(events),
    }


def _exit_code(pods: Sequence[PodView], done: Sequence[Event]) -> int | None:
    """Return how the last process ended: its container's code; that of a task which stays is what it said itself."""
    if pods and pods[-1].ends and not pods[-1].running:
        return pods[-1].ends[-1].exit_code
    said = done[-1].number("exit_code") if done else None
    return None if said is None else int(said)


def _whole(value: float) -> int | None:
    return int(value) if value else None


def _resumed_from(run: Ended, chief: Sequence[Event]) -> dict[str, object] | None:
    """Return what was continued; a checkpoint that was looked for and not there was not."""
    connected = first(chief, "connected")
    origin = connected.fields.get("resumed_from") if connected else run.resumed_from
    if not origin or origin == run.run_id:
        return None
    step = released_step(chief)
    return {"run_id": origin, "global_step": None if step is None else int(step)}


def _cause(run: Ended) -> dict[str, object]:
    cause = dict(run.cause or {"reason": "unknown", "task": None, "message": "nobody said why"})
    name = cause.get("task")
    said = [event for stretch in run.stretches if stretch.task == name for event in stretch.events]
    failed = last(said, "failed")
    if failed is not None:
        cause["message"] = "{}: {}".format(cause["message"], failed.fields.get("message"))
    prose = [line for line in run.logs.get(str(name), ()) if line.strip() and not line.startswith(PREFIX)]
    spoken = [dict(event=event.event, attempt=event.attempt, wall=event.wall, **event.fields) for event in said[-5:]]
    return {
        "reason": cause["reason"],
        "task": name,
        "message": cause["message"],
        "events": [*(cause.get("events") or ()), *spoken],
        "log_tail": prose[-LOG_TAIL_LINES:],
        "object": cause.get("object"),
        "next_step": cause.get("next_step"),
    }


def _environment(run: Ended, chief: Sequence[Event], versions: Mapping[str, object]) -> dict[str, object]:
    imported, data = last(chief, "imported"), last(chief, "data")
    used = {pod.node for pod in run.pods if pod.node}
    nodes = {str(node["metadata"]["name"]): node for node in run.nodes}
    runtimes = {_info(nodes[name]).get("containerRuntimeVersion") for name in used if name in nodes}
    digests = {pod.image_digest for pod in run.pods if pod.image_digest}
    return {
        "hosts": [_host(name, nodes.get(name)) for name in sorted(used)],
        "versions": {
            "python": imported.fields.get("python") if imported else None,
            "tensorflow": imported.fields.get("tensorflow") if imported else None,
            "ansible": versions.get("ansible"),
            "collection": versions.get("collection"),
            "kubernetes": versions.get("kubernetes"),
            "container_runtime": ", ".join(sorted(filter(None, runtimes))) or None,
        },
        "image_digest": ", ".join(sorted(digests)) or None,
        "data_sha256": data.fields.get("sha256") if data else None,
    }


def _host(name: str, node: Object | None) -> dict[str, object]:
    # The API tells neither of a node: clocks has an estimate of the one, and the other goes unseen.
    unknown = {"load_before": None, "clock_ahead_seconds": None}
    if node is None:
        return {"name": name, "cores": None, "memory_bytes": None, "cpu_model": None, "kernel": None, **unknown}
    capacity = (node.get("status") or {}).get("capacity") or {}
    return {
        "name": name,
        "cores": int(parse(str(capacity.get("cpu", "0")))),
        "memory_bytes": int(parse(str(capacity.get("memory", "0")))),
        "cpu_model": None,
        "kernel": _info(node).get("kernelVersion"),
        **unknown,
    }


def _info(node: Object) -> Object:
    return (node.get("status") or {}).get("nodeInfo") or {}


def kept_events(events: Sequence[Object]) -> list[dict[str, object]]:
    """Return Kubernetes' events in the few words that are kept beside a run."""
    return [told(event) for event in events]
