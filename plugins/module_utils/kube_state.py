# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster's objects to what is known of a topology: the same state that a host tells of its processes.

The ConfigMap is the topology's memory: what was wanted, which run it is, how that ended. Sets and pods say what has
become of it. Where both speak, an end that was written down outlives the objects it was read from.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ActionFailed
from .hosts import PodRun, task_sets, tasks
from .kube_causes import View, suspicions
from .kube_labels import (
    ANNOTATION_OUTCOME,
    ANNOTATION_RUN,
    ANNOTATION_SPEC,
    LABEL_COMPONENT,
    LABEL_RUN_ID,
)
from .pod_view import PodView, newest, pod_views
from .spec import Topology
from .status import HostState

Object = Mapping[str, Any]

#: The one "host" of a topology whose tasks are pods.
HOST = "kubernetes"
#: Kinds that are sets of pods.
SET_KINDS = ("Job", "StatefulSet")
#: Volumes whose content does not end with the pod that wrote it.
_LASTING_VOLUMES = ("claim", "persistentVolumeClaim", "hostPath", "nfs", "csi")


@dataclass(frozen=True)
class Live:
    """Everything in a namespace that has a topology's labels, as the API writes it, by kind."""

    name: str
    namespace: str
    objects: Mapping[str, Sequence[Object]]

    @property
    def config_map(self) -> Object | None:
        """Return the topology's memory."""
        found = self.objects.get("ConfigMap", ())
        return next((entry for entry in found if entry["metadata"]["name"] == self.name), None)

    @property
    def pods(self) -> Sequence[Object]:
        """Return the pods, also those that have ended."""
        return self.objects.get("Pod", ())

    @property
    def sets(self) -> list[Object]:
        """Return the Jobs and StatefulSets."""
        return [entry for kind in SET_KINDS for entry in self.objects.get(kind, ())]

    @property
    def anything(self) -> bool:
        """Whether there is any object at all."""
        return any(self.objects.values())


@dataclass(frozen=True)
class Memory:
    """What the ConfigMap remembers.

    Attributes:
        spec: the complete topology.
        run: the newest run.
        outcome: ``{run_id, phase, cause}`` of that run, if it is over and somebody noticed.
        finished: the run that is marked as done for its own pods.
    """

    spec: Mapping[str, Any]
    run: PodRun
    outcome: Mapping[str, Any] | None
    finished: str


def memory(config_map: Object) -> Memory:
    """Read a topology's ConfigMap.

    Raises:
        ActionFailed: somebody damaged it.
    """
    metadata = config_map["metadata"]
    try:
        annotations = metadata["annotations"]
        spec, run = json.loads(annotations[ANNOTATION_SPEC]), json.loads(annotations[ANNOTATION_RUN])
        outcome = json.loads(annotations.get(ANNOTATION_OUTCOME, "null"))
        found = PodRun(
            run_id=str(run["run_id"]),
            created=float(run["created"]),
            candidates=tuple(run["candidates"]),
            resumed_from=run["resumed_from"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ActionFailed(
            "damaged_state",
            f"ConfigMap {metadata['name']} in namespace {metadata.get('namespace')} does not say what it should "
            f"({type(error).__name__}: {error}); remove the topology (state: absent)",
        ) from error
    finished = str((config_map.get("data") or {}).get("finished", ""))
    return Memory(spec, found, outcome if outcome and outcome.get("run_id") == found.run_id else None, finished)


def keeps_checkpoints(topology: Topology) -> bool:
    """Whether a checkpoint outlives the chief's pod."""
    source = topology.kubernetes.volumes.checkpoints if topology.kubernetes else {}
    return any(kind in source for kind in _LASTING_VOLUMES)


def observed(live: Live) -> HostState:
    """Return what is known of a topology."""
    if live.config_map is None:
        # What an interrupted removal left is nobody's run any more, but it is not nothing either.
        return HostState(host=HOST, name=live.name, phase="lost" if live.anything else "absent")
    known = memory(live.config_map)
    topology = Topology.from_params(known.spec)
    views = newest(pod_views(live.pods, task_sets(topology), tasks(topology)))
    phase = _phase(topology, known, live, views)
    return HostState(
        host=HOST,
        name=live.name,
        phase=phase,
        run_id=known.run.run_id,
        spec=known.spec,
        created=known.run.created,
        resumed_from={"run_id": known.run.resumed_from, "global_step": None} if known.run.resumed_from else None,
        cause=_cause(topology, known, live, phase),
        tasks=[_record(task.role, task.index, views.get(task.name), phase) for task in tasks(topology)],
        checkpoint_run_id=known.run.run_id if keeps_checkpoints(topology) else None,
    )


def _phase(topology: Topology, known: Memory, live: Live, views: Mapping[str, PodView]) -> str:
    if known.outcome is not None:
        return str(known.outcome["phase"])
    sets = [entry for entry in live.sets if _label(entry, LABEL_RUN_ID) == known.run.run_id]
    # Kubernetes deletes finished Jobs one by one when their time has come.
    if known.finished == known.run.run_id or (sets and all(condition(entry, "Complete") for entry in sets)):
        return "succeeded"
    if any(condition(entry, "Failed") for entry in sets) or _out_of_restarts(topology, sets, views):
        return "failed"
    resting = [at_rest(entry) for entry in sets if not condition(entry, "Complete")]
    if resting and all(resting):
        return "stopping" if active(live.pods) else "stopped"
    if {entry.component for entry in task_sets(topology)} - {_label(entry, LABEL_COMPONENT) for entry in sets}:
        return "lost"
    return "stopping" if any(resting) else "running"


def working(live: Live) -> list[Object]:
    """Return the sets that have pods, or would make some."""
    over = ("Complete", "Failed")
    return [entry for entry in live.sets if not at_rest(entry) and not any(condition(entry, kind) for kind in over)]


def condition(entry: Object, kind: str) -> Object | None:
    """Return a condition of a set that holds, or ``None``."""
    conditions = (entry.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == kind and found.get("status") == "True"), None)


def at_rest(entry: Object) -> bool:
    """Whether a set was told to have no pods."""
    spec = entry.get("spec") or {}
    return bool(spec.get("suspend")) if entry["kind"] == "Job" else spec.get("replicas") == 0


def active(pods: Sequence[Object]) -> list[Object]:
    """Return the pods in which something runs or may still run."""
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]


def _out_of_restarts(topology: Topology, sets: Sequence[Object], views: Mapping[str, PodView]) -> bool:
    """Whether a task was restarted more often than it may be; only a Job's controller sees to that by itself."""
    if any(entry["kind"] == "Job" for entry in sets):
        return False
    return any(view.restarts > topology.lifecycle.restart_limit and not view.running for view in views.values())


def _cause(topology: Topology, known: Memory, live: Live, phase: str) -> Mapping[str, Any] | None:
    if known.outcome is not None:
        cause: Mapping[str, Any] | None = known.outcome.get("cause")
        return cause
    if phase == "lost":
        text = f"objects of run {known.run.run_id} are gone or incomplete, and nobody noted how it ended"
        return {"reason": "objects_gone", "task": None, "message": text}
    if phase != "failed":
        return None
    found = suspicions(topology, View(pods=live.pods, sets=live.sets))
    return found[0].cause.as_dict() if found else {"reason": "failed", "task": None, "message": "a set has failed"}


def _record(role: str, index: int, view: PodView | None, phase: str) -> dict[str, object]:
    """Return a task's record, as the supervisor of a process writes one."""
    end = view.end if view else None
    return {
        "role": role,
        "index": index,
        "state": _task_state(view, phase),
        "restarts": view.restarts if view else 0,
        "exit_code": end.exit_code if end else None,
        "reason": (end.reason if end else view.waiting[0]) or None if view else None,
        "pod": view.name if view else None,
        "node": view.node or None if view else None,
        "ready": view.ready if view else False,
    }


def _task_state(view: PodView | None, phase: str) -> str:
    if phase == "succeeded":
        return "done"
    if view is None:
        return "waiting" if phase == "running" else "stopped"
    if view.phase == "Succeeded":
        return "done"
    if view.phase == "Failed":
        return "failed"
    if view.running:
        return "running"
    return "backoff" if view.ends else "waiting"


def _label(entry: Object, name: str) -> str:
    return str((entry["metadata"].get("labels") or {}).get(name, ""))
