# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a training of pods cannot go on: objects of Kubernetes and the tasks' own events to a cause.

:func:`suspicions` looks at one moment. Each has the seconds for which it must last to be believed: none for what no
waiting mends (an image that the registry does not know), some for what often passes (a pod that waits for another to
end), many for what usually does (a volume that is being made). :class:`Patience` keeps that time.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cluster_status import BUSY_NODE
from .events import Event, last, of_task
from .hosts import Task, task_sets, tasks
from .pod_view import End, Object, PodView, newest, pod_views, seconds
from .spec import Topology

DONE, BAD_INPUT, BAD_DATA, PEER_LOST, STOPPED = 0, 64, 66, 75, 143
#: Signals by which a program dies of its own fault: illegal instruction, abort, bus, arithmetic, segmentation.
OWN_FAULT = (132, 134, 135, 136, 139)
#: How long something must last, in seconds.
AT_ONCE, BRIEF, SHORT, LONG = 0.0, 3.0, 7.0, 60.0
#: A container that has run for so long since another one ended has left that behind.
RECOVERED_SECONDS = 30.0
#: A pod that was pushed out so long before another one of its task was made is no part of that story.
STORY_SECONDS = 120.0
#: A pod that is asked to go and is still there so long after its grace period is on a node that does not answer.
STUCK_SECONDS = 8.0
#: A cluster's name servers may remember for so long that a name was unknown, which since then is known.
RESOLVERS_MEMORY = 35.0
#: Kubernetes' events that a cause carries.
EVENTS_KEPT = 5

_NO_SUCH_IMAGE = re.compile(
    r"not found|manifest unknown|name unknown|no match for platform|unauthorized|denied|forbidden|\b40[134]\b|"
    r"authorization failed|invalid reference",
    re.IGNORECASE,
)
#: What a registry says that is there and has no time.
BUSY_REGISTRY = re.compile(
    r"timeout|deadline exceeded|too ?many ?requests|\b(429|50[0234])\b|connection reset|unexpected EOF", re.IGNORECASE
)
#: What no further try finds in an image.
_NO_PROGRAM = re.compile(r"exec: .*(no such file or directory|not found|permission denied)|exec format error")
#: A pod that took more than it was given, and not its node that had too little.
_OWN_FAULT = re.compile(r"exceed(s|ed)\b.*\blimit\b")
#: What containerd and CRI-O say of a RuntimeClass whose handler they do not have.
NO_RUNTIME = re.compile(r"no runtime for \S+ is configured|failed to find runtime handler \S+")
_NO_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_MISSING_OBJECT = re.compile(
    r'(secret|configmap) "([^"]+)" not found|references non-existent (secret|config) key', re.IGNORECASE
)
#: What a resolver says of a name that it does not know, and not of servers that it cannot ask.
_UNKNOWN_NAME = re.compile(r"not known|No address associated", re.IGNORECASE)
#: Why a container waits whose image a node cannot get.
WAITING_FOR_IMAGE = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
)
#: A cluster that is about to add a node says so on the pod.
_SCALING_UP = ("TriggeredScaleUp", "Nominated")


@dataclass(frozen=True)
class Cause:
    """Why a run cannot go on.

    Attributes:
        reason: a short stable word.
        task: ``role-index``, or ``None`` where no single task is at fault.
        object: ``Kind name`` of what to look at.
        message: what happened, with the cluster's own words.
        next_step: what the user can do.
        events: Kubernetes' events about that object, the newest last.
    """

    reason: str
    task: str | None
    object: str
    message: str
    next_step: str
    events: tuple[Mapping[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "reason": self.reason,
            "task": self.task,
            "object": self.object,
            "message": self.message,
            "next_step": self.next_step,
            "events": [dict(event) for event in self.events],
        }


@dataclass(frozen=True)
class Suspicion:
    """What would be a cause if it lasted.

    Attributes:
        cause: that cause.
        patience: seconds for which it must have lasted.
    """

    cause: Cause
    patience: float

    @property
    def key(self) -> tuple[str, str]:
        """Return what makes two looks see the same thing, whatever the words are."""
        return self.cause.reason, self.cause.task or self.cause.object


@dataclass(frozen=True)
class View:
    """All that is known of a run's objects at one moment, as the API writes them.

    Attributes:
        pods: of the run, those that are gone left out.
        sets: its Jobs or StatefulSets.
        events: of the namespace; those of other objects are not looked at.
        nodes: all nodes, or ``None`` where they may not be read.
        trainer: the tasks' own events so far.
        now: seconds since the epoch.
    """

    pods: Sequence[Object]
    sets: Sequence[Object]
    events: Sequence[Object] = ()
    nodes: Sequence[Object] | None = None
    trainer: Sequence[Event] = ()
    now: float = 0.0


class Patience:
    """Believes a suspicion when it has lasted; time is an argument."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}

    def judge(self, found: Sequence[Suspicion], now: float) -> Cause | None:
        """Return the first cause that has lasted for long enough at ``now``, seconds of a clock that never jumps."""
        self._since = {entry.key: self._since.get(entry.key, now) for entry in found}
        return next((entry.cause for entry in found if now - self._since[entry.key] >= entry.patience), None)


def suspicions(topology: Topology, view: View) -> list[Suspicion]:
    """Return everything that looks wrong, what tells most about the origin first."""
    look = _Look.at(topology, view)
    found: list[Suspicion] = []
    for check in _CHECKS:
        found.extend(check(look))
    return found


@dataclass(frozen=True)
class _Look:
    """A view, sorted by what the checks ask for."""

    topology: Topology
    view: View
    pods: Mapping[str, PodView]
    tasks: Mapping[str, Task]

    @classmethod
    def at(cls, topology: Topology, view: View) -> _Look:
        every = tasks(topology)
        live = newest(pod_views(view.pods, task_sets(topology), every))
        return cls(topology, view, live, {task.name: task for task in every})

    @property
    def namespace(self) -> str:
        return self.topology.kubernetes.namespace if self.topology.kubernetes else "default"

    def events_of(self, kind: str, name: str, uid: str | None = None) -> list[Object]:
        """Return the events about an object, the oldest first."""
        about = [
            event
            for event in self.view.events
            if event["involvedObject"].get("kind") == kind
            and event["involvedObject"].get("name") == name
            and uid in (None, event["involvedObject"].get("uid"))
        ]
        return sorted(about, key=event_time)

    def told(self, pod: PodView, *reasons: str) -> list[Object]:
        return [event for event in self.events_of("Pod", pod.name, pod.uid) if event.get("reason") in reasons]

    def pushed_out(self, pod: PodView) -> list[Object]:
        """Return the events of preemption about the pods that this one was made in place of."""
        name = pod.task.address.partition(".")[0]
        since = (pod.created or 0.0) - STORY_SECONDS
        found = [
            event
            for event in self.view.events
            if event.get("reason") == "Preempted"
            and event["involvedObject"].get("uid") != pod.uid
            and re.fullmatch(re.escape(name) + "(-[a-z0-9]+)?", str(event["involvedObject"].get("name")))
            and event_time(event) >= since
        ]
        return sorted(found, key=event_time)

    def of_pod(self, reason: str, pod: PodView, message: str, next_step: str, patience: float) -> Suspicion:
        events = self.events_of("Pod", pod.name, pod.uid)
        text = f"{pod.task.name} (pod {pod.name}): {message}"
        return Suspicion(self.cause(reason, pod.task.name, f"Pod {pod.name}", text, next_step, events), patience)

    def cause(
        self, reason: str, task: str | None, name: str, message: str, next_step: str, events: Sequence[Object] = ()
    ) -> Cause:
        kept = tuple(told(event) for event in events[-EVENTS_KEPT:])
        return Cause(reason, task, name, message.strip(), next_step, kept)

    def kubectl(self, words: str) -> str:
        return f"kubectl -n {self.namespace} {words}"


def told(event: Object) -> dict[str, object]:
    """Return what an event says, in the few words that a run document keeps."""
    about = event["involvedObject"]
    return {
        "event": event.get("reason"),
        "object": "{} {}".format(about.get("kind"), about.get("name")),
        "type": event.get("type"),
        "count": event_count(event),
        "wall": event_time(event),
        "message": event.get("message"),
    }


def event_time(event: Object) -> float:
    """Return when an event happened last, as far as it says so."""
    series = event.get("series") or {}
    for stamp in (
        series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"), event.get("firstTimestamp"),
        event["metadata"].get("creationTimestamp"),
    ):  # fmt: skip
        found = seconds(stamp)
        if found is not None:
            return found
    return 0.0


def event_count(event: Object) -> int:
    """Return how often it happened."""
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def _device_lost(look: _Look) -> Iterator[Suspicion]:
    """Tasks whose GPU has turned unhealthy: the kubelet tells it and lets them run on."""
    for pod in look.pods.values():
        if pod.lost_devices and pod.phase != "Succeeded":
            text = "its device on node {} is unhealthy: {}".format(pod.node, ", ".join(pod.lost_devices))
            step = (
                f"see nvidia-smi and `journalctl -k | grep Xid` on {pod.node}; cordon the node or mend it, then apply "
                "the topology again"
            )
            yield look.of_pod("device_lost", pod, text, step, SHORT if pod.running else AT_ONCE)


def _ended_badly(look: _Look) -> Iterator[Suspicion]:
    """Containers that ended in a way that another start does not mend, or that the run has no more starts for."""
    for pod in look.pods.values():
        end = _last_end(pod, look.view.now)
        if end is None or pod.reason == "Evicted":
            continue
        log = f"its last lines are in logs/{pod.task.name}.log of the results"
        if end.reason == "OOMKilled":
            limit = _memory_limit(pod)
            step = f"give {_group(pod)} a higher memory_mb (or resources.limits.memory), or train a smaller model"
            yield look.of_pod("out_of_memory", pod, f"killed because it took more memory than {limit}", step, AT_ONCE)
        elif end.reason in ("StartError", "ContainerCannotRun"):
            step = "the image lacks the trainer or cannot run here: build it with the role trainer_image"
            text = end.message or end.reason
            yield look.of_pod("cannot_start", pod, text, step, _runtime_patience(text))
        elif end.exit_code in (DONE, PEER_LOST) or end.exit_code > 128:
            yield from _too_many_restarts(look, pod, end)
        else:
            reason, meaning, step = {
                BAD_INPUT: ("exit_64", "refused its input", "correct the field that its `failed` event names"),
                BAD_DATA: (
                    "exit_66",
                    "found its data set missing or damaged",
                    "look at data_dir and kubernetes.volumes.data, or use an image with the data set inside",
                ),
            }.get(end.exit_code, (f"exit_{end.exit_code}", "ended by an error of its own", "mend what its log says"))
            yield look.of_pod(reason, pod, f"{meaning} (exit code {end.exit_code})", f"{step}; {log}", AT_ONCE)


def _runtime_patience(text: str) -> float:
    if _NO_PROGRAM.search(text):
        return AT_ONCE
    return LONG if BUSY_NODE.search(text) else BRIEF


def _too_many_restarts(look: _Look, pod: PodView, end: End) -> Iterator[Suspicion]:
    limit = look.topology.lifecycle.restart_limit
    again = f"apply the topology again to continue; its last lines are in logs/{pod.task.name}.log of the results"
    if end.exit_code in OWN_FAULT and pod.waiting[0] == "CrashLoopBackOff":
        text = f"dies of signal {end.exit_code - 128} again and again ({pod.restarts} restarts)"
        step = "the image does not fit the node's processor, or has a fault; look at the log"
        yield look.of_pod("crash_loop", pod, text, step, AT_ONCE)
    elif not pod.running and end.exit_code != DONE and pod.restarts >= limit and not pod.terminating:
        text = f"ended with exit code {end.exit_code} after {pod.restarts} restarts, restart_limit is {limit}"
        yield look.of_pod("restart_limit", pod, text, again, AT_ONCE)


def _last_end(pod: PodView, now: float) -> End | None:
    """Return the end that counts: of the present container, or of the one before if that one is not over it yet."""
    if pod.end is not None or not pod.running:
        return pod.end or pod.previous_end
    fresh = pod.started is None or now - pod.started < RECOVERED_SECONDS
    return pod.previous_end if fresh else None


def _group(pod: PodView) -> str:
    return "ps" if pod.task.role == "ps" else "workers"


def _memory_limit(pod: PodView) -> str:
    containers = pod.pod.get("spec", {}).get("containers") or [{}]
    limit = ((containers[0].get("resources") or {}).get("limits") or {}).get("memory")
    return f"its limit of {limit}" if limit else "the node has"


def _job_failed(look: _Look) -> Iterator[Suspicion]:
    """Jobs that the controller has given up."""
    for entry in look.view.sets:
        conditions = (entry.get("status") or {}).get("conditions") or ()
        name = str(entry["metadata"]["name"])
        for condition in conditions:
            if condition.get("type") not in ("Failed", "FailureTarget") or condition.get("status") != "True":
                continue
            word, text = str(condition.get("reason")), str(condition.get("message"))
            events = look.events_of("Job", name)
            if word == "DeadlineExceeded":
                step = "give a larger kubernetes.active_deadline_seconds, or fewer training.steps; then apply it again"
                yield Suspicion(look.cause("deadline", None, f"Job {name}", f"{name}: {text}", step, events), AT_ONCE)
            else:
                ended = [
                    f"{pod.task.name} ended with exit code {pod.ends[-1].exit_code}"
                    for pod in look.pods.values()
                    if pod.component == _component(entry) and pod.ends
                ]
                said = "; ".join([text, *ended])
                step = "read the logs in the results, mend what they say and apply the topology again"
                reason = "restart_limit" if word == "BackoffLimitExceeded" else "job_failed"
                yield Suspicion(look.cause(reason, None, f"Job {name}", f"{name}: {said}", step, events), AT_ONCE)
            break


def _component(entry: Object) -> str:
    return str(entry["metadata"]["name"]).rpartition("-")[2]


def _image(look: _Look) -> Iterator[Suspicion]:
    """Images that a node cannot get."""
    for pod in look.pods.values():
        word, text = pod.waiting
        if word not in WAITING_FOR_IMAGE:
            continue
        text = _why_not_pulled(look, pod, text)
        if word == "ErrImageNeverPull":
            patience = AT_ONCE
            step = f"bring the image to node {pod.node} first (role trainer_image), or change image_pull_policy"
        elif word == "InvalidImageName" or _NO_SUCH_IMAGE.search(text):
            patience = AT_ONCE
            step = "look at kubernetes.image and at what the registry holds; for a private one, at image_pull_secrets"
        else:
            patience = LONG if BUSY_REGISTRY.search(text) else SHORT
            step = f"see that node {pod.node} reaches the registry (name, port, certificate, proxy), or pre-load it"
        yield look.of_pod("image_pull", pod, f"{word}: {text or 'no reason given'}", step, patience)


def _why_not_pulled(look: _Look, pod: PodView, text: str) -> str:
    """Return why an image is not there. Older kubelets do not repeat it while they back off: then their events tell."""
    if text and not (text.startswith("Back-off") and ": " not in text):
        return text
    said = [str(event.get("message")) for event in look.told(pod, "Failed")]
    return next((words for words in reversed(said) if words.startswith("Failed to pull")), text)


def _configuration(look: _Look) -> Iterator[Suspicion]:
    """Secrets, config maps and volumes that a container cannot do without."""
    for pod in look.pods.values():
        word, text = pod.waiting
        if word in ("CreateContainerConfigError", "CreateContainerError"):
            missing = _MISSING_OBJECT.search(text)
            what = f"create it in namespace {look.namespace}" if missing else "correct kubernetes.pod_patch"
            patience = _runtime_patience(text)
            yield look.of_pod("configuration", pod, text or word, f"{what}, then apply the topology again", patience)
        elif word == "RunContainerError":
            step = "the image lacks the trainer or cannot run here: build it with the role trainer_image"
            yield look.of_pod("cannot_start", pod, text, step, _runtime_patience(text))
        elif word in ("ContainerCreating", "PodInitializing"):
            yield from _not_mounted(look, pod)


def _not_mounted(look: _Look, pod: PodView) -> Iterator[Suspicion]:
    failed = look.told(pod, "FailedMount", "FailedAttachVolume")
    if failed:
        text = str(failed[-1].get("message"))
        if _MISSING_OBJECT.search(text):
            step = f"create it in namespace {look.namespace}, then apply the topology again"
            yield look.of_pod("configuration", pod, text, step, BRIEF)
        else:
            # A volume that another node still has attached comes free by itself.
            patience = LONG if "Multi-Attach" in text or "timed out" in text else SHORT
            step = f"look at kubernetes.volumes and at node {pod.node}"
            yield look.of_pod("volume", pod, text, step, patience)
    sandbox = look.told(pod, "FailedCreatePodSandBox")
    if sandbox:
        text = str(sandbox[-1].get("message"))
        if NO_RUNTIME.search(text):
            step = (
                f"node {pod.node} lacks what kubernetes.runtime_class means: install that runtime (for NVIDIA's the "
                "container toolkit) and run the role containerd, or keep the pods off it (kubernetes.node_selector)"
            )
            yield look.of_pod("runtime_class", pod, text, step, BRIEF)
            return
        yield look.of_pod("sandbox", pod, text, f"look at the runtime and at the pod network of node {pod.node}", LONG)


def _unschedulable(look: _Look) -> Iterator[Suspicion]:
    """Pods that no node takes, and claims that no volume is bound to."""
    for pod in look.pods.values():
        condition = pod.condition("PodScheduled")
        if pod.node or condition.get("reason") != "Unschedulable":
            continue
        text = str(condition.get("message"))
        claim = _NO_CLAIM.search(text)
        if claim:
            step = f"create the PersistentVolumeClaim {claim.group(1)}, or name another in kubernetes.volumes"
            yield look.of_pod("volume", pod, text, step, BRIEF)
        elif "unbound immediate PersistentVolumeClaims" in text:
            yield _unbound(look, pod, text)
        else:
            preempted = look.pushed_out(pod)
            reason = "preempted" if preempted else "unschedulable"
            if preempted:
                text = "{}; since then {}".format(preempted[-1].get("message"), text)
            step = (
                f"ask for less ({_group(pod)}.resources, {_group(pod)}.replicas), let it go to more nodes "
                "(kubernetes.placement, node_selector, tolerations), or add nodes; see kubectl describe nodes"
            )
            patience = LONG * 10 if look.told(pod, *_SCALING_UP) else SHORT
            yield look.of_pod(reason, pod, text, step, patience)


def _unbound(look: _Look, pod: PodView, text: str) -> Suspicion:
    names = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod.pod.get("spec", {}).get("volumes") or ()
        if "persistentVolumeClaim" in volume
    ]
    said = [
        (name, event)
        for name in names
        for event in look.events_of("PersistentVolumeClaim", name)
        if event.get("reason") in ("FailedBinding", "ProvisioningFailed")
    ]
    step = "see kubectl get pvc,storageclass; give kubernetes.volumes…claim.storage_class a class that exists"
    if not said:
        return look.of_pod("volume", pod, text, step, LONG)
    name, event = said[-1]
    words = "PersistentVolumeClaim {}: {}".format(name, event.get("message"))
    hopeless = "no storage class is set" in words or "storageclass" in words
    suspicion = look.of_pod("volume", pod, words, step, SHORT if hopeless else LONG)
    events = (*suspicion.cause.events, told(event))
    about = f"PersistentVolumeClaim {name}"
    return Suspicion(
        Cause("volume", pod.task.name, about, suspicion.cause.message, step, events[-EVENTS_KEPT:]), suspicion.patience
    )


def _refused(look: _Look) -> Iterator[Suspicion]:
    """Pods that the API server does not let the set's controller create."""
    for entry in look.view.sets:
        kind, name = str(entry.get("kind")), str(entry["metadata"]["name"])
        refused = _failed_to_create(look, entry)
        if not refused:
            continue
        text = str(refused[-1].get("message"))
        if "exceeded quota" in text or "failed quota" in text:
            reason, patience = "quota", SHORT
            step = "ask for less (replicas, resources) or for more quota; see " + look.kubectl("describe resourcequota")
        elif "failed calling webhook" in text or "failed to call webhook" in text:
            reason, patience = "admission", SHORT
            step = "the webhook it names does not answer: ask who runs it"
        elif "serviceaccount" in text.lower() and "not found" in text:
            reason, patience = "configuration", SHORT
            step = f"create the ServiceAccount in namespace {look.namespace}, or leave service_account out"
        elif "is forbidden" in text or "denied" in text or "is invalid" in text:
            reason, patience = "admission", AT_ONCE
            step = "change what the policy names (kubernetes.pod_patch, kubernetes.volumes), or ask for an exception"
        else:
            reason, patience = "cannot_create", SHORT
            step = "see " + look.kubectl(f"describe {kind.lower()} {name}")
        yield Suspicion(look.cause(reason, None, f"{kind} {name}", f"{name}: {text}", step, refused), patience)


def _failed_to_create(look: _Look, entry: Object) -> list[Object]:
    """Return the events of pods that a set could not make, if it lacks some and has made none since."""
    there = [pod for pod in look.pods.values() if pod.component == _component(entry)]
    if len(there) >= _wanted(entry):
        return []
    about = look.events_of(str(entry.get("kind")), str(entry["metadata"]["name"]), entry["metadata"].get("uid"))
    made = [pod.created or 0.0 for pod in there]
    made += [event_time(event) for event in about if event.get("reason") == "SuccessfulCreate"]
    # Time stamps have whole seconds: what happened in the same one may have been the last word.
    return [
        event for event in about if event.get("reason") == "FailedCreate" and event_time(event) >= max(made, default=0)
    ]


def _wanted(entry: Object) -> int:
    """Return how many pods a set is to have."""
    spec = entry.get("spec") or {}
    return 0 if spec.get("suspend") else int(spec.get("parallelism", spec.get("replicas", 1)))


def _evicted(look: _Look) -> Iterator[Suspicion]:
    """Pods that were put out, and that nothing has replaced."""
    for pod in look.pods.values():
        if pod.phase != "Failed" or pod.reason != "Evicted":
            continue
        own_fault = _OWN_FAULT.search(pod.message) is not None
        step = (
            f"give {_group(pod)} a larger limit, or the volume a larger sizeLimit"
            if own_fault
            else f"node {pod.node} ran out of what it names: ask for what a task needs in {_group(pod)}.resources"
        )
        # A Job's controller makes another after ten seconds; what was its own fault would happen again.
        yield look.of_pod("evicted", pod, f"evicted: {pod.message}", step, AT_ONCE if own_fault else 2 * SHORT)


def _node_lost(look: _Look) -> Iterator[Suspicion]:
    """Tasks on nodes that no longer answer."""
    nodes = None if look.view.nodes is None else {str(node["metadata"]["name"]): node for node in look.view.nodes}
    for pod in look.pods.values():
        if not pod.node or pod.phase in ("Succeeded", "Failed"):
            continue
        text = _trouble_of(pod, nodes, look)
        if text is not None:
            step = f"see kubectl describe node {pod.node}, bring it back or remove it; then apply the topology again"
            suspicion = look.of_pod("node_lost", pod, text, step, SHORT)
            events = look.events_of("Node", pod.node)
            kept = (*suspicion.cause.events, *map(told, events[-2:]))[-EVENTS_KEPT:]
            message = suspicion.cause.message
            yield Suspicion(Cause("node_lost", pod.task.name, f"Node {pod.node}", message, step, kept), SHORT)


def _trouble_of(pod: PodView, nodes: Mapping[str, Object] | None, look: _Look) -> str | None:
    if nodes is not None and pod.node not in nodes:
        return f"its node {pod.node} is gone"
    if nodes is not None:
        conditions = (nodes[pod.node].get("status") or {}).get("conditions") or ()
        ready: Object = next((entry for entry in conditions if entry.get("type") == "Ready"), {})
        if ready.get("status") != "True":
            words = ready.get("message") or ready.get("reason") or "no word of it"
            return f"its node {pod.node} is not Ready: {words}"
    elif look.told(pod, "NodeNotReady") and not pod.ready:
        return f"its node {pod.node} is not Ready"
    if pod.reason == "NodeLost":
        return pod.message or f"its node {pod.node} is lost"
    gone_by = seconds(pod.pod["metadata"].get("deletionTimestamp"))
    if gone_by is not None and look.view.now - gone_by > STUCK_SECONDS:
        return f"it was to be gone and its node {pod.node} does not say so"
    return None


def _no_connection(look: _Look) -> Iterator[Suspicion]:
    """Tasks that all run and do not reach each other."""
    if len(look.pods) < len(look.tasks) or not all(pod.running or pod.end for pod in look.pods.values()):
        return
    for pod in look.pods.values():
        own = of_task(look.view.trainer, pod.task.role, pod.task.index)
        waiting = own[-1] if own and own[-1].event == "waiting" else None
        lost = last(own, "peer_lost")
        if waiting is not None and pod.running:
            yield from _unreached(look, pod, waiting, before=last(own, "connected") is not None)
        elif lost is not None and last(own, "connected") is None and _was_up(look, lost):
            yield look.of_pod("no_connection", pod, str(lost.fields["message"]), _connection_step(look, None), AT_ONCE)


def _unreached(look: _Look, pod: PodView, waiting: Event, *, before: bool) -> Iterator[Suspicion]:
    """A task that waits for an address, maybe reached ``before``, though whoever may be meant by it serves.

    It may be its own: then the parameter servers do not reach it.
    """
    address, tried = str(waiting.fields.get("address")), str(waiting.fields.get("message"))
    peer = _task_at(look, address)
    servers = [name for name, task in look.tasks.items() if task.role == "ps"]
    if not all(_serves(look, name) for name in ([peer] if peer else servers)):
        return
    if peer is None:
        message, patience = f"cannot reach {address}, which is the address of no task: {tried}", BRIEF
    elif peer == pod.task.name:
        # A parameter server may look for a pod before this one, until gRPC asks for the address of its name again.
        message, patience = f"its parameter servers cannot reach it at {address}: {tried}", LONG
    else:
        message = f"cannot reach {peer} at {address}, which runs and says that it serves: {tried}"
        patience = RESOLVERS_MEMORY if _UNKNOWN_NAME.search(tried) else SHORT
        if look.tasks[peer].address != address:
            patience = BRIEF
        elif before:
            # A node that was booted starts its pods before the network's programs are done.
            patience = LONG
    yield look.of_pod("no_connection", pod, message, _connection_step(look, peer), patience)


def _serves(look: _Look, name: str) -> bool:
    """Whether a task takes connections, as its probe or itself says."""
    return look.pods[name].ready or last(of_task(look.view.trainer, *_split(name)), "serving") is not None


def _was_up(look: _Look, lost: Event) -> bool:
    """Whether a parameter server that was not reached had said long before that it serves: else it was only late."""
    servers = [task for task in look.tasks.values() if task.role == "ps"]
    serving = [last(of_task(look.view.trainer, "ps", server.index), "serving") for server in servers]
    up = all(event is not None and lost.wall - event.wall > SHORT for event in serving)
    return up and "not reached" in str(lost.fields.get("message"))


def _connection_step(look: _Look, peer: str | None) -> str:
    name = look.topology.name
    services = look.kubectl(f"get service,endpointslice,networkpolicy -l app.kubernetes.io/instance={name}")
    whose = f"{peer}'s" if peer else "its peer's"
    return f"see that the name resolves, the port is {whose} and no NetworkPolicy stands between: {services}"


def _task_at(look: _Look, address: str) -> str | None:
    exact = next((name for name, task in look.tasks.items() if task.address == address), None)
    if exact is not None:
        return exact
    # With another port than the topology's, the host still tells whom it means.
    host = address.rpartition(":")[0]
    return next((name for name, task in look.tasks.items() if task.address.rpartition(":")[0] == host), None)


def _split(name: str) -> tuple[str, int]:
    role, _dash, index = name.rpartition("-")
    return role, int(index)


#: What tells most about the origin comes first: a node that is lost explains peers that are, and not the other way.
_CHECKS: tuple[Callable[[_Look], Iterable[Suspicion]], ...] = (
    _node_lost,
    _evicted,
    _device_lost,
    _ended_badly,
    _job_failed,
    _image,
    _configuration,
    _unschedulable,
    _refused,
    _no_connection,
)
