# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One pod as the API shows it: which task it is, how its container stands, when what happened to it.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .hosts import Task, TaskSet
from .kube_labels import LABEL_COMPONENT

Object = Mapping[str, Any]

CONTAINER = "trainer"
JOB_INDEX = "batch.kubernetes.io/job-completion-index"
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z")


@dataclass(frozen=True)
class End:
    """How a container ended.

    Attributes:
        exit_code: 128 + n for one that died of signal n.
        reason: the kubelet's word: ``Completed``, ``Error``, ``OOMKilled``, ``StartError`` ...
        message: what the kubelet kept of it: the last lines of its log, if it failed.
        started: wall clock of the node, whole seconds; ``None`` if it never ran.
        finished: the same of its end.
    """

    exit_code: int
    reason: str
    message: str
    started: float | None
    finished: float | None


@dataclass(frozen=True)
class PodView:
    """A pod of a task; stamps are seconds since the epoch, of which the API knows whole ones only."""

    pod: Object
    task: Task
    component: str

    @property
    def name(self) -> str:
        """Return the pod's name."""
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Return what tells it from an earlier pod of the same name."""
        return str(self.pod["metadata"]["uid"])

    @property
    def node(self) -> str:
        """Return the node it was bound to; empty before."""
        return str(self.pod.get("spec", {}).get("nodeName") or "")

    @property
    def phase(self) -> str:
        """Return ``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Unknown``."""
        return str(self._status.get("phase") or "Pending")

    @property
    def reason(self) -> str:
        """Return the word that the pod's phase was given, such as ``Evicted``."""
        return str(self._status.get("reason") or "")

    @property
    def message(self) -> str:
        """Return the sentence to it."""
        return str(self._status.get("message") or "").strip()

    @property
    def terminating(self) -> bool:
        """Whether it was asked to go."""
        return bool(self.pod["metadata"].get("deletionTimestamp"))

    @property
    def created(self) -> float | None:
        """Return when the API server took it in."""
        return seconds(self.pod["metadata"].get("creationTimestamp"))

    @property
    def scheduled(self) -> float | None:
        """Return when it was bound to a node."""
        condition = self.condition("PodScheduled")
        return seconds(condition.get("lastTransitionTime")) if condition.get("status") == "True" else None

    @property
    def ready(self) -> bool:
        """Whether its readiness probe says that its server takes connections."""
        return self.condition("Ready").get("status") == "True"

    @property
    def restarts(self) -> int:
        """Return how often its container was started again."""
        return int(self._container.get("restartCount") or 0)

    @property
    def started(self) -> float | None:
        """Return when the container that runs now was started."""
        return seconds(self._state("running").get("startedAt"))

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return "running" in (self._container.get("state") or {})

    @property
    def waiting(self) -> tuple[str, str]:
        """Return why its container does not run, as ``(reason, message)``; empty if it does or has ended."""
        state = self._state("waiting")
        return str(state.get("reason") or ""), str(state.get("message") or "")

    @property
    def end(self) -> End | None:
        """Return how the container ended that ran last, if none runs now."""
        return _end(self._state("terminated"))

    @property
    def previous_end(self) -> End | None:
        """Return how the container before the present one ended."""
        return _end((self._container.get("lastState") or {}).get("terminated") or {})

    @property
    def ends(self) -> list[End]:
        """Return what is known of ended containers, the oldest first."""
        return [end for end in (self.previous_end, self.end) if end is not None]

    @property
    def lost_devices(self) -> list[str]:
        """Return the devices given to its container that the node's device plugin no longer calls healthy."""
        return [
            "{} {}".format(entry.get("name"), device.get("resourceID"))
            for entry in self._container.get("allocatedResourcesStatus") or ()
            for device in entry.get("resources") or ()
            if device.get("health") == "Unhealthy"
        ]

    @property
    def image_digest(self) -> str | None:
        """Return the digest of the image that runs, as the node knows it."""
        found = re.search(r"sha256:[0-9a-f]{64}", str(self._container.get("imageID") or ""))
        return found.group() if found else None

    def condition(self, kind: str) -> Object:
        """Return a condition of the pod, empty if there is none."""
        return next((entry for entry in self._status.get("conditions") or () if entry.get("type") == kind), {})

    @property
    def _status(self) -> Object:
        return self.pod.get("status") or {}

    @property
    def _container(self) -> Object:
        found = self._status.get("containerStatuses") or ()
        return next((entry for entry in found if entry.get("name") == CONTAINER), found[0] if found else {})

    def _state(self, kind: str) -> Object:
        return (self._container.get("state") or {}).get(kind) or {}


def _end(state: Object) -> End | None:
    if not state:
        return None
    return End(
        exit_code=int(state.get("exitCode") or 0),
        reason=str(state.get("reason") or ""),
        message=str(state.get("message") or "").strip(),
        started=seconds(state.get("startedAt")),
        finished=seconds(state.get("finishedAt")),
    )


def seconds(stamp: object) -> float | None:
    """Return a time stamp of the API, whole seconds or with a fraction, as seconds since the epoch."""
    found = _STAMP.fullmatch(str(stamp))
    if found is None:
        return None
    whole = calendar.timegm(time.strptime(found.group(1), "%Y-%m-%dT%H:%M:%S"))
    return whole + float(found.group(2) or 0)


def pod_views(pods: Iterable[Object], sets: Sequence[TaskSet], tasks: Sequence[Task]) -> list[PodView]:
    """Return the pods that are tasks, in the order they were made; others with the same labels are left out."""
    by_component = {entry.component: entry for entry in sets}
    by_name = {(task.role, task.index): task for task in tasks}
    found = []
    for pod in pods:
        metadata = pod["metadata"]
        entry = by_component.get((metadata.get("labels") or {}).get(LABEL_COMPONENT, ""))
        index = _index(metadata)
        task = by_name.get((entry.role, entry.first + index)) if entry is not None and index is not None else None
        if entry is not None and task is not None:
            found.append(PodView(pod, task, entry.component))
    return sorted(found, key=lambda view: (str(view.pod["metadata"].get("creationTimestamp")), view.name))


def newest(views: Iterable[PodView]) -> dict[str, PodView]:
    """Return the pod that stands for each task: the last one made. Those before it were replaced."""
    return {view.task.name: view for view in views}


def _index(metadata: Object) -> int | None:
    """Return the place in its set: a Job says it, a StatefulSet ends the name with it."""
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    told = annotations.get(JOB_INDEX) or labels.get(JOB_INDEX) or str(metadata["name"]).rpartition("-")[2]
    return int(told) if str(told).isdigit() else None
