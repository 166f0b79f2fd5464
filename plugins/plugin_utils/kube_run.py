# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of pods, from now to its end: watched, judged, and put together into the files of its results.

Nothing is polled. Whatever happens in the cluster or in a task's log wakes the one who waits; then everything that is
known is looked at once, by the pure functions that judge (:mod:`kube_state`, :mod:`kube_causes`).

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..module_utils import kube_state
from ..module_utils.errors import ActionFailed
from ..module_utils.events import last, of_task
from ..module_utils.hosts import task_sets, tasks
from ..module_utils.kube_causes import Cause, Patience, View, suspicions
from ..module_utils.kube_labels import ANNOTATION_OUTCOME, LABEL_RUN_ID, label_selector
from ..module_utils.kube_state import Live, Memory, at_rest, memory, observed, working
from ..module_utils.kubernetes_client import Cluster
from ..module_utils.pod_run_document import Ended, kept_events, pod_run_document
from ..module_utils.pod_timings import Skew, Stretch, skew
from ..module_utils.pod_view import PodView, pod_views
from ..module_utils.spec import Topology
from ..module_utils.status import HostState
from .kube_watch import LEASES, ClusterWatch, Subject
from .pod_logs import PodLogs
from .run_results import RunResults

Document = dict[str, Any]

#: What is watched of a topology.
KINDS = ("ConfigMap", "Pod", "Job", "StatefulSet")
#: Seconds until the first lists have to be there.
FIRST_LISTS = 30.0
#: Seconds between two looks when nothing happens: patience runs out by itself.
IDLE = 1.0
#: Seconds that logs may take to come after the end, and that others have to say that they are done after the chief.
LOGS_SECONDS, FAREWELL_SECONDS = 10.0, 20.0


@dataclass(frozen=True)
class Moment:
    """What one look showed.

    Attributes:
        state: the topology.
        known: what its ConfigMap remembers, or ``None`` where that is gone.
        pods: those of the run, gone ones too.
        phase: ``running``, or how it ended.
        cause: why, if it did not end well.
    """

    state: HostState
    known: Memory | None
    pods: Sequence[PodView]
    phase: str
    cause: Mapping[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.phase != "running"


class KubeRun:
    """Waits for one run.

    Args:
        cluster: where it runs.
        topology: what runs.
        run_id: which run.
    """

    def __init__(self, cluster: Cluster, topology: Topology, run_id: str) -> None:
        self._cluster = cluster
        self._topology = topology
        self._run_id = run_id
        self._namespace = topology.kubernetes.namespace if topology.kubernetes else "default"
        labels = label_selector(topology.name)
        self._watch = ClusterWatch(
            cluster,
            [
                *(Subject(kind, self._namespace, labels) for kind in KINDS),
                Subject("Event", self._namespace, optional=True),
                Subject("Node", optional=True),
                Subject("Lease", LEASES, optional=True),
            ],
        )
        self.logs = PodLogs(cluster, self._namespace, run_id, self._watch.poke)
        self._patience = Patience()
        self._chief_done: float | None = None
        self._lingering = False
        self._gone_since: float | None = None

    def close(self) -> None:
        """End watching."""
        self._watch.close()
        self.logs.close()

    def wait(self, show: Callable[[Moment], None], timeout: float | None) -> tuple[Moment, float, bool]:
        """Look whenever something happens, until the run is over.

        Args:
            show: takes each moment.
            timeout: seconds after which waiting ends; ``None`` is never.

        Returns:
            the last moment, the seconds it took and whether the run is over.

        Raises:
            ActionFailed: the cluster does not answer from the beginning, or may not be asked.
        """
        begin = time.monotonic()
        if not self._watch.ready(FIRST_LISTS):
            raise ActionFailed("unreachable", f"{self._cluster.host} has not answered for {FIRST_LISTS:g} s")
        version = -1
        while True:
            moment = self._look()
            show(moment)
            elapsed = time.monotonic() - begin
            if moment.over:
                return moment, elapsed, True
            if timeout is not None and elapsed >= timeout:
                return moment, elapsed, False
            left = IDLE if timeout is None else min(IDLE, timeout - elapsed)
            version = self._watch.wait(version, left)

    @property
    def silent(self) -> float:
        """Return for how many seconds the API server has not answered."""
        since = self._watch.silent_since
        return 0.0 if since is None else time.monotonic() - since

    def _look(self) -> Moment:
        live = Live(self._topology.name, self._namespace, {kind: self._watch.objects(kind) for kind in KINDS})
        pods = self._pods(live.pods)
        self.logs.attend(pods)
        if live.config_map is None:
            return self._removed(live, pods)
        known = memory(live.config_map)
        state = observed(live)
        if state.phase != "lost":
            self._gone_since = None
        if known.run.run_id != self._run_id:
            text = f"run {known.run.run_id} has taken its place: the topology was applied anew meanwhile"
            return Moment(state, known, pods, "stopped", _own_cause("replaced", text))
        phase, cause = self._judge(live, known, state, pods)
        return Moment(state, known, pods, phase, cause)

    def _judge(
        self, live: Live, known: Memory, state: HostState, pods: Sequence[PodView]
    ) -> tuple[str, Mapping[str, Any] | None]:
        """Return how the run stands and why; what was written down of its end counts before what is seen."""
        if known.outcome is not None:
            return str(known.outcome["phase"]), known.outcome.get("cause")
        if state.phase == "succeeded" or self._said_done():
            return "succeeded", None
        if state.phase == "stopped" and all(at_rest(entry) for entry in live.sets):
            text = "its sets were told to rest (state: stopped, or by hand) while it was waited for"
            return "stopped", _own_cause("stopped", text)
        if self._chief_done is not None:
            # What becomes of the others changes nothing of the run.
            return "running", None
        found = self._suspected(live, pods)
        if found is not None or state.phase == "failed":
            return "failed", found.as_dict() if found is not None else state.cause
        return self._lost(live) if state.phase == "lost" else ("running", None)

    def _lost(self, live: Live) -> tuple[str, Mapping[str, Any] | None]:
        """Sets that are missing: for a moment that is how a change looks, then somebody has removed them."""
        there = {entry["metadata"]["name"] for entry in live.sets}
        missing = [entry.name for entry in task_sets(self._topology) if entry.name not in there]
        if not self._gone_for_good():
            return "running", None
        kind = "StatefulSet" if self._backend == "statefulset" else "Job"
        cause = _own_cause("removed", f"{kind} {', '.join(missing)} was deleted while the run was waited for")
        cause.update(
            object=f"{kind} {missing[0]}" if missing else None,
            next_step="apply the topology again: it goes on from its checkpoint, if one is on a volume",
        )
        return "failed", cause

    def _removed(self, live: Live, pods: Sequence[PodView]) -> Moment:
        if not self._gone_for_good():
            return Moment(observed(live), None, pods, "running")
        text = f"topology {self._topology.name!r} was removed from namespace {self._namespace} while it was waited for"
        return Moment(observed(live), None, pods, "failed", _own_cause("removed", text))

    def _gone_for_good(self) -> bool:
        """Whether what is missing has been missing for a while."""
        now = time.monotonic()
        if self._gone_since is None:
            self._gone_since = now
        return now - self._gone_since >= 2 * IDLE

    def _said_done(self) -> bool:
        """Whether the tasks have said that they are done.

        Of a Job that is told seconds later by the kubelet and the Job's controller. Of a StatefulSet, whose pods stay,
        nothing else tells. When the chief is done the run is: a task that does not come back to say so (its node went,
        or it was killed at that moment) is not waited for.
        """
        done = {
            task.name
            for task in tasks(self._topology)
            if (event := last(of_task(self.logs.events(task.name), task.role, task.index), "finished")) is not None
            and event.number("exit_code") == 0
        }
        if len(done) == len(tasks(self._topology)):
            return True
        if "worker-0" not in done:
            return False
        now = time.monotonic()
        if self._chief_done is None:
            self._chief_done = now
        self._lingering = now - self._chief_done > FAREWELL_SECONDS
        return self._lingering

    @property
    def _backend(self) -> str:
        return self._topology.kubernetes.backend if self._topology.kubernetes else "indexed_job"

    def _suspected(self, live: Live, pods: Sequence[PodView]) -> Cause | None:
        if self._watch.silent_since is not None:
            # A cluster that does not answer shows an old picture: nothing is concluded from it, and nothing lasts.
            self._patience = Patience()
            return None
        present = {pod["metadata"]["uid"] for pod in live.pods}
        view = View(
            pods=[pod.pod for pod in pods if pod.uid in present],
            sets=[entry for entry in live.sets if _run_of(entry) == self._run_id],
            events=self._watch.objects("Event"),
            nodes=self._watch.objects("Node") if self._watch.known("Node") else None,
            trainer=self.logs.events(),
            now=time.time(),
        )
        return self._patience.judge(suspicions(self._topology, view), time.monotonic())

    def _pods(self, present: Sequence[Mapping[str, Any]]) -> list[PodView]:
        """Return the run's pods: those that are there, and those that went."""
        seen = {pod["metadata"]["uid"]: pod for pod in [*self._watch.departed("Pod"), *present]}
        own = [pod for pod in seen.values() if _run_of(pod) == self._run_id]
        return pod_views(own, task_sets(self._topology), tasks(self._topology))

    def gather(
        self,
        moment: Moment,
        results: RunResults,
        versions: Mapping[str, object],
        benchmark: Mapping[str, object] | None = None,
    ) -> Document:
        """Write what is known of a run that is over to its results; return its document."""
        ended = time.time()
        self.logs.finish(moment.pods, LOGS_SECONDS)
        logs = self.logs.lines()
        results.write_logs(logs)
        results.write_events(logs, self._run_id)
        about = self._events_about(moment.pods)
        results.write_objects(
            {
                "pods": [pod.pod for pod in moment.pods],
                "sets": [entry for kind in kube_state.SET_KINDS for entry in self._watch.objects(kind)],
                "events": kept_events(about),
            }
        )
        run = Ended(
            run_id=self._run_id,
            created=moment.state.created or ended,
            ended=ended,
            phase=moment.phase,
            cause=moment.cause,
            resumed_from=moment.known.run.resumed_from if moment.known else None,
            pods=moment.pods,
            events=about,
            nodes=self._watch.objects("Node"),
            stretches=[Stretch(each.task, each.pod, each.node, each.events) for each in self.logs.chapters()],
            logs=logs,
            skews=self._skews(moment.pods),
        )
        document = pod_run_document(
            self._topology, run, results.artifacts_of_pods(logs), self._versions(versions), benchmark
        )
        results.write_document(document)
        return document

    def _events_about(self, pods: Sequence[PodView]) -> list[Mapping[str, Any]]:
        """Return the cluster's events about the run's sets and pods; it keeps them for an hour, a run may be longer."""
        ours = {entry.name for entry in task_sets(self._topology)} | {pod.name for pod in pods}
        every = [*self._watch.departed("Event"), *self._watch.objects("Event")]
        return [event for event in every if event["involvedObject"].get("name") in ours]

    def _versions(self, versions: Mapping[str, object]) -> Mapping[str, object]:
        try:
            major, minor = self._cluster.version()
        except ActionFailed:
            return versions
        return {**versions, "kubernetes": f"{major}.{minor}"}

    def _skews(self, pods: Sequence[PodView]) -> list[Skew]:
        by_node: dict[str, list[float]] = {}
        for renewal in self._watch.renewals:
            by_node.setdefault(renewal.node, []).append(renewal.ahead)
        found = skew({pod.node for pod in pods if pod.node}, by_node, self._watch.known("Lease"))
        try:
            offset = self._cluster.clock_offset()
        except ActionFailed as error:
            return [*found, Skew("the API server", None, None, 0, str(error))]
        return [*found, Skew("the API server", offset.seconds, offset.uncertainty, 1)]

    def conclude(self, moment: Moment) -> None:
        """Write down in the cluster how the run ended, and let a run that failed, or does not end, rest.

        What is written outlives the run's objects: a finished run that is applied again trains nothing, and pods that
        are made anew for it idle at once.
        """
        if moment.known is None or moment.known.run.run_id != self._run_id:
            return
        if moment.known.outcome is None:
            self._note(moment)
        # Also where whoever noted it came no further.
        if moment.phase == "failed" or (self._lingering and self._backend == "indexed_job"):
            self._rest()
        # Pods that idle, or are gone, need no protection: it would keep a node from being drained for ever.
        labels = label_selector(self._topology.name)
        self._cluster.delete_collection("PodDisruptionBudget", self._namespace, labels=labels)

    def _note(self, moment: Moment) -> None:
        outcome = {"run_id": self._run_id, "phase": moment.phase, "cause": _short(moment.cause)}
        document: Document = {"metadata": {"annotations": {ANNOTATION_OUTCOME: json.dumps(outcome, sort_keys=True)}}}
        if moment.phase == "succeeded":
            document["data"] = {"finished": self._run_id}
        self._cluster.patch("ConfigMap", self._topology.name, self._namespace, document)

    def _rest(self) -> None:
        """Tell the sets of a run to have no pods: the chief first, which then writes its checkpoint."""
        live = Live(self._topology.name, self._namespace, {kind: self._watch.objects(kind) for kind in KINDS})
        for entry in sorted(working(live), key=lambda found: not found["metadata"]["name"].endswith("-chief")):
            if _run_of(entry) != self._run_id:
                continue
            spec = {"suspend": True} if entry["kind"] == "Job" else {"replicas": 0}
            self._cluster.patch(entry["kind"], entry["metadata"]["name"], self._namespace, {"spec": spec})


def _run_of(entry: Mapping[str, Any]) -> str:
    return str((entry["metadata"].get("labels") or {}).get(LABEL_RUN_ID, ""))


def _own_cause(reason: str, message: str) -> Document:
    return {"reason": reason, "task": None, "object": None, "message": message, "next_step": None, "events": []}


def _short(cause: Mapping[str, Any] | None) -> Document | None:
    """Return a cause as it is kept in the cluster: what it is, without its evidence."""
    return None if cause is None else {name: cause.get(name) for name in ("reason", "task", "message")}
