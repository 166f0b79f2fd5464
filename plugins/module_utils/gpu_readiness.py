# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a cluster's nodes offer the GPUs that are expected of them, and if not, why: objects of Kubernetes → verdict.

What counts is what a node's kubelet offers. NVIDIA's operator calls itself ready where it has found no card at all, and
a device plugin that runs may offer nothing. All else is looked at for the reason only.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .cluster_status import node_cause
from .gpu_stack import (
    DEPLOY_DRIVER,
    MIG_CONFIG,
    MIG_STATE,
    has_run,
    is_of_stack,
    is_operator,
    kept_away,
    named,
    newest,
    owner,
    place,
    plugin_container,
    plugins,
    rank,
    unknown,
    waits_for,
)
from .kube_causes import Cause, Suspicion
from .pod_trouble import short, trouble
from .pod_view import seconds
from .quantities import parse

Object = Mapping[str, Any]
Counts = dict[str, int]

READY, NOT_READY, IGNORED, ABSENT = "ready", "notReady", "ignored", "absent"
VENDOR = "nvidia.com/"
#: An operator that was told something new may need so long to say that it is not ready.
SETTLE_SECONDS = 10.0
#: A device plugin that has run for so long has found what it will find.
SEARCH_SECONDS = 90.0
#: Logs that are worth reading at once.
LOGS_READ = 6

#: Reasons that may just be a symptom, or a matter of time.
_WEAK = ("init_waiting", "not_ready", "starting")
#: Lines of a log that say more than others.
_UNHEALTHY = re.compile("unhealthy", re.IGNORECASE)
_TELLING = re.compile(r"error|fail|unhealthy|no devices|not found|incompatible|nvml|\bxid\b", re.IGNORECASE)
#: Where a line begins that klog wrote, and lines of a printed configuration.
_KLOG = re.compile(r"^[IWEF]\d{4} [\d:.]+ +\d+ \S+\] ")
_SETTING = re.compile(r'^\s*"\w+":')


@dataclass(frozen=True)
class Wanted:
    """What is expected of a cluster.

    Attributes:
        namespace: where the operator, or the device plugin alone, is.
        policy: name of the operator's ClusterPolicy; empty where there is a device plugin alone.
        nodes: node → resource → how many at least; a name may end with ``*`` for all that begin so.
    """

    namespace: str
    policy: str
    nodes: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Seen:
    """What there is, as the API writes it.

    Attributes:
        nodes: all.
        pods: of the namespace.
        daemon_sets: of the namespace.
        events: of the namespace.
        policies: all ClusterPolicies; ``None`` where the cluster does not know the kind.
        logs: last lines of pods, as far as they were read.
        now: the server's clock, seconds since the epoch; 0 where it is not known.
    """

    nodes: Sequence[Object]
    pods: Sequence[Object] = ()
    daemon_sets: Sequence[Object] = ()
    events: Sequence[Object] = ()
    policies: Sequence[Object] | None = ()
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    now: float = 0.0


@dataclass(frozen=True)
class Why:
    """Why something is not as expected.

    Attributes:
        reason: a short stable word.
        object: ``Kind name`` of what to look at.
        message: what is so.
        next_step: what the user can do.
        hopeless: whether waiting longer is of no use.
        pod: whose log says more; empty where none does.
        container: of that pod.
    """

    reason: str
    object: str
    message: str
    next_step: str
    hopeless: bool = False
    pod: str = ""
    container: str = ""

    def __str__(self) -> str:
        return f"{self.message}: {self.next_step}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "reason": self.reason,
            "object": self.object,
            "message": self.message,
            "next_step": self.next_step,
            "hopeless": self.hopeless,
        }


@dataclass(frozen=True)
class Policy:
    """A ClusterPolicy in short; its state is empty where none is asked for."""

    name: str
    state: str
    reason: str = ""
    message: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {"name": self.name, "state": self.state, "reason": self.reason, "message": self.message}


@dataclass(frozen=True)
class NodeVerdict:
    """What a node offers of what is expected.

    Attributes:
        name: of the node.
        ok: whether it is Ready and offers enough.
        expected: resource → how many at least.
        capacity: resource → how many devices its plugins have told of.
        allocatable: resource → how many of them are healthy, which is what pods may ask for.
        why: what stands in the way.
        notes: what is odd and stands in nobody's way.
    """

    name: str
    ok: bool
    expected: Counts
    capacity: Counts
    allocatable: Counts
    why: tuple[Why, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "ok": self.ok,
            "expected": self.expected,
            "capacity": self.capacity,
            "allocatable": self.allocatable,
            "why": [entry.as_dict() for entry in self.why],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Verdict:
    """Whether all is there, and what is not; ``why`` is what concerns no node that something is expected of."""

    ready: bool
    policy: Policy
    nodes: tuple[NodeVerdict, ...]
    why: tuple[Why, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "ready": self.ready,
            "policy": self.policy.as_dict(),
            "why": [entry.as_dict() for entry in self.why],
            "nodes": {node.name: node.as_dict() for node in self.nodes},
        }

    def to_try(self) -> dict[str, list[str]]:
        """Return resource → nodes, of each node the first that is expected of it and that it offers."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            there = sorted(
                name
                for name, count in node.allocatable.items()
                if count > 0 and any(fnmatchcase(name, pattern) for pattern in node.expected)
            )
            if there:
                found.setdefault(there[0], []).append(node.name)
        return found


@dataclass(frozen=True)
class Log:
    """A log that says more of a verdict."""

    pod: str
    container: str
    previous: bool


def judge(wanted: Wanted, seen: Seen) -> Verdict:
    """Return whether all is there that is expected."""
    look = _Look.at(wanted, seen)
    policy, of_policy = _policy(look)
    # The operator's word is about all nodes: while it is not given, each pod may be the reason.
    explain = policy.state not in ("", READY)
    nodes = tuple(_node(look, name, explain=explain) for name in sorted(wanted.nodes))
    why = [*of_policy, *_operator(look, policy), *(_elsewhere(look) if explain else ())]
    return Verdict(not why and all(node.ok for node in nodes), policy, nodes, tuple(why))


def hopeless(verdict: Verdict) -> list[Why]:
    """Return what waiting does not mend; a verdict that is ready has none."""
    return [why for why in _all_whys(verdict) if why.hopeless]


def suspicions(verdict: Verdict, grace: float) -> list[Suspicion]:
    """Return what waiting does not mend, as what is believed when it has lasted for some seconds."""
    return [
        Suspicion(Cause(why.reason, None, why.object, why.message, why.next_step), grace) for why in hopeless(verdict)
    ]


def lines(verdict: Verdict, *, final: bool = False) -> list[str]:
    """Return what is not as expected, a line each, with the node it is about.

    Args:
        verdict: that was given.
        final: leave out what waiting may mend.
    """
    found = [("", why) for why in verdict.why]
    found += [(f"{node.name}: ", why) for node in verdict.nodes for why in node.why]
    return [f"{whose}{why}" for whose, why in found if why.hopeless or not final]


def progress(verdict: Verdict) -> str:
    """Return how far it is, for people."""
    done = sum(node.ok for node in verdict.nodes)
    told = [f"{done} of {len(verdict.nodes)} nodes offer their GPUs"] if verdict.nodes else []
    told += [f"ClusterPolicy {verdict.policy.state}"] if verdict.policy.state else []
    first = next((f"{node.name}: {node.why[0].message}" for node in verdict.nodes if node.why), "")
    first = first or next((why.message for why in verdict.why), "")
    return ", ".join(told) + (f"; {first}" if first else "")


def worth_reading(verdict: Verdict) -> list[Log]:
    """Return the logs that say more than the verdict does; with them in :class:`Seen` it says so itself."""
    found = {
        (why.pod, why.container): Log(why.pod, why.container, previous=why.reason == "crash_loop")
        for why in _all_whys(verdict)
        if why.pod
    }
    return list(found.values())[:LOGS_READ]


def _all_whys(verdict: Verdict) -> list[Why]:
    return [] if verdict.ready else [*verdict.why, *(why for node in verdict.nodes for why in node.why)]


@dataclass(frozen=True)
class _Look:
    """What was seen, sorted by what is asked."""

    wanted: Wanted
    seen: Seen
    nodes: Mapping[str, Object]
    pods: Mapping[str, Sequence[Object]]
    plugins: Sequence[Object]

    @classmethod
    def at(cls, wanted: Wanted, seen: Seen) -> _Look:
        by_node: dict[str, list[Object]] = {}
        for pod in sorted(newest(filter(is_of_stack, seen.pods)), key=rank):
            by_node.setdefault(place(pod), []).append(pod)
        return cls(wanted, seen, {named(node): node for node in seen.nodes}, by_node, plugins(seen.daemon_sets))

    @property
    def operated(self) -> bool:
        """Whether NVIDIA's operator is expected to be at work."""
        return bool(self.wanted.policy)

    def turned_off(self, part: str) -> bool:
        """Whether the ClusterPolicy says that a part is not the operator's."""
        policy: Object = next((entry for entry in self.seen.policies or () if named(entry) == self.wanted.policy), {})
        return ((policy.get("spec") or {}).get(part) or {}).get("enabled") is False

    def plugin_pod(self, node: str) -> Object | None:
        names = {named(entry) for entry in self.plugins}
        return next((pod for pod in self.pods.get(node, ()) if owner(pod) in names), None)

    def last_words(self, pod: str, *telling: re.Pattern[str]) -> str:
        """Return the line of a pod's log that says most, if its log was read; expressions that say most come first."""
        said = [_KLOG.sub("", line).strip() for line in self.seen.logs.get(pod, ()) if not _SETTING.match(line)]
        said = list(filter(None, said))
        for is_it in (*telling, _TELLING):
            found = [line for line in said if is_it.search(line)]
            if found:
                return short(found[-1])
        return short(said[-1]) if said else ""

    def kubectl(self, words: str) -> str:
        return f"kubectl -n {self.wanted.namespace} {words}"


def _policy(look: _Look) -> tuple[Policy, list[Why]]:
    """Return how the ClusterPolicy stands, and what is wrong with it."""
    name, policies = look.wanted.policy, look.seen.policies
    if not name:
        return Policy("", ""), []
    subject = f"ClusterPolicy {name}"
    found = next((entry for entry in policies or () if named(entry) == name), None)
    others = [entry for entry in policies or () if named(entry) != name]
    if found is None:
        text = f"there is no {subject}" if policies is not None else "the cluster does not know the kind ClusterPolicy"
        text += ", but {}".format(", ".join(sorted(map(named, others)))) if others else ""
        step = "install the operator, give policy the name it has, or an empty one for a device plugin alone"
        return Policy(name, ABSENT), [Why("policy_absent", subject, text, step, hopeless=True)]
    status = found.get("status") or {}
    state, (word, text) = str(status.get("state") or ""), _condition(status)
    # An operator that ignores a second policy may not even say so in it.
    followed = [named(entry) for entry in others if (entry.get("status") or {}).get("state") in (READY, NOT_READY)]
    if state == IGNORED or (not state and followed):
        other = (followed or ["another one"])[0]
        text = f"the operator ignores {subject}, because it follows {other}"
        step = f"remove one of the two, or wait for {other} (policy)"
        return Policy(name, IGNORED, word, text), [Why("policy_ignored", subject, text, step, hopeless=True)]
    policy = Policy(name, state or NOT_READY, word, text or ("" if state else "the operator has not looked at it yet"))
    return policy, [*_wrong_namespace(look, status, subject), *_unready(look, policy, found)]


def _condition(status: Object) -> tuple[str, str]:
    """Return reason and message of the condition that holds."""
    for entry in status.get("conditions") or ():
        if entry.get("type") in ("Ready", "Error") and entry.get("status") == "True":
            return str(entry.get("reason") or ""), short(str(entry.get("message") or ""))
    return "", ""


def _wrong_namespace(look: _Look, status: Object, subject: str) -> list[Why]:
    namespace = status.get("namespace") or look.wanted.namespace
    if namespace == look.wanted.namespace:
        return []
    text = f"the operator of {subject} is in namespace {namespace}, and {look.wanted.namespace} was looked at"
    return [Why("wrong_namespace", subject, text, f"give namespace: {namespace}", hopeless=True)]


def _unready(look: _Look, policy: Policy, found: Object) -> list[Why]:
    subject = f"ClusterPolicy {policy.name}"
    if policy.state != READY:
        text = ": ".join(filter(None, (f"{subject} is {policy.state}", policy.reason, policy.message)))
        return [Why("policy_not_ready", subject, text, f"see kubectl describe clusterpolicy {policy.name}")]
    changed = [
        seconds(entry.get("time")) or 0.0
        for entry in found["metadata"].get("managedFields") or ()
        if entry.get("subresource") != "status"
    ]
    age = look.seen.now - max(changed, default=0.0)
    if look.seen.now and age < SETTLE_SECONDS:
        text = f"{subject} is ready, and was changed {max(age, 0.0):.0f} s ago"
        return [Why("policy_fresh", subject, text, "the operator may not have looked at it since")]
    return []


def _operator(look: _Look, policy: Policy) -> list[Why]:
    """Return what is wrong with the operator itself: without it, what its policy says may be long past."""
    if policy.state in ("", ABSENT):
        return []
    own = [(pod, node) for node, pods in look.pods.items() for pod in pods if is_operator(pod)]
    if not own:
        text = f"the operator has no pod in namespace {look.wanted.namespace}"
        step = f"see {look.kubectl('describe deployment gpu-operator')}"
        return [Why("operator_missing", f"Namespace {look.wanted.namespace}", text, step)]
    found = [_of_pod(look, pod, node) for pod, node in own]
    # While one takes another's place, the one that is up does the work.
    return [] if None in found else [why for why in found if why is not None]


def _elsewhere(look: _Look) -> list[Why]:
    """Return what is wrong with pods of nodes that nothing is expected of: the operator waits for those too."""
    pods = [(pod, node) for node in sorted(set(look.pods) - set(look.wanted.nodes)) for pod in look.pods[node]]
    found = [_of_pod(look, pod, node) for pod, node in pods if not is_operator(pod)]
    return [why for why in found if why is not None and why.reason not in _WEAK]


def _node(look: _Look, name: str, *, explain: bool) -> NodeVerdict:
    expected = dict(look.wanted.nodes[name])
    node = look.nodes.get(name)
    if node is None:
        text = f"the cluster has no node {name}" + (f", which is to offer {_listed(expected)}" if expected else "")
        step = "see kubectl get nodes; let the host join, or correct its name in expected"
        return NodeVerdict(name, False, expected, {}, {}, (Why("node_missing", f"Node {name}", text, step, True),))
    capacity, allocatable = (_counts(node, part, expected) for part in ("capacity", "allocatable"))
    cause, lacking = node_cause(node), _lacking(expected, allocatable)
    found: list[Why] = []
    if cause:
        step = f"see kubectl describe node {name}, and the kubelet's log on it"
        found = [Why("node_not_ready", f"Node {name}", short(f"the node is not Ready: {cause}"), step)]
    elif lacking or explain:
        found = _explained(look, node, capacity, allocatable)
    notes = _notes(node, capacity, allocatable)
    return NodeVerdict(name, not cause and not lacking, expected, capacity, allocatable, tuple(found), notes)


def _counts(node: Object, part: str, expected: Iterable[str]) -> Counts:
    """Return what a node has of devices, of NVIDIA's and of those that are expected."""
    every = (node.get("status") or {}).get(part) or {}
    found = sorted(name for name in every if name.startswith(VENDOR) or _is_one(name, expected))
    return {name: int(parse(every[name])) for name in found}


def _is_one(resource: str, expected: Iterable[str]) -> bool:
    return any(fnmatchcase(resource, name) for name in expected)


def _sum(counts: Mapping[str, int], name: str) -> int:
    """Return how many there are of a resource, or of all that its name stands for."""
    return sum(count for resource, count in counts.items() if fnmatchcase(resource, name))


def _lacking(expected: Mapping[str, int], allocatable: Mapping[str, int]) -> list[str]:
    return [resource for resource, least in expected.items() if _sum(allocatable, resource) < least]


def _notes(node: Object, capacity: Counts, allocatable: Counts) -> tuple[str, ...]:
    notes = ["no pod is placed on it (see kubectl uncordon)"] if (node.get("spec") or {}).get("unschedulable") else []
    unhealthy = {name: count - allocatable.get(name, 0) for name, count in capacity.items()}
    return (
        *notes,
        *(f"{count} of {capacity[name]} {name} not healthy" for name, count in unhealthy.items() if count > 0),
    )


def _explained(look: _Look, node: Object, capacity: Counts, allocatable: Counts) -> list[Why]:
    """Return why a node does not offer what is expected, or why the operator is not ready with it."""
    name = named(node)
    lacking, plugin = _lacking(look.wanted.nodes[name], allocatable), look.plugin_pod(name)
    pods = look.pods.get(name, ()) if look.operated else filter(None, [plugin])
    found = [why for why in (_of_pod(look, pod, name) for pod in pods if not is_operator(pod)) if why is not None]
    # What only waits is told where nothing else is; the first of it explains what waits for that.
    told = [why for why in found if why.reason not in _WEAK] or found[:2]
    if lacking and plugin is None:
        placed = _not_placed(look, node)
        told = [*told, placed] if placed.reason == "no_pod_yet" else [placed, *told]
    elif plugin is not None and trouble(plugin, look.seen.events) is None:
        told += [_short_of(look, node, plugin, entry, capacity, allocatable) for entry in lacking]
    return [*told, *_labels(look, node, told, lacking)]


def _of_pod(look: _Look, pod: Object, node: str) -> Why | None:
    """Return what is wrong with a pod, and what that means for the operator's work."""
    found = trouble(pod, look.seen.events)
    if found is None:
        return None
    name = named(pod)
    message, step, for_good = found.message, found.next_step, found.hopeless
    if found.reason == "init_waiting":
        log = look.kubectl(f"logs {name} -c {found.container}")
        doing, where = waits_for(found.container, node or "its node", log)
        message, step = (f"{doing} ({found.container})", where) if doing else (message, step)
    # The operator's own toolkit is what brings the runtime.
    if found.reason == "runtime_class" and look.operated and not look.turned_off("toolkit"):
        for_good = False
    has_log = found.reason in ("crash_loop", "init_waiting")
    said = look.last_words(name) if has_log else ""
    if said:
        message += f"; its log says: {said}"
    logged = (name, found.container) if has_log else ("", "")
    return Why(found.reason, f"Pod {name}", f"pod {name}: {message}", step, for_good, *logged)


def _not_placed(look: _Look, node: Object) -> Why:
    """Return why a node has no pod of the device plugin."""
    name, namespace = named(node), look.wanted.namespace
    if look.turned_off("devicePlugin"):
        text, step = "the ClusterPolicy turns the device plugin off", "set devicePlugin.enabled: true"
        return Why("plugin_off", f"ClusterPolicy {look.wanted.policy}", text, step, hopeless=True)
    kept = unknown(node, namespace) if look.operated else None
    kept = kept or next(filter(None, (kept_away(entry, node) for entry in look.plugins)), None)
    if kept is not None:
        return Why(kept.reason, f"Node {name}", kept.message, kept.next_step, kept.hopeless)
    if not look.plugins:
        text = f"namespace {namespace} has no DaemonSet of a device plugin"
        step = "see the operator's log" if look.operated else "install one, or give the namespace it is in (namespace)"
        return Why("no_plugin", f"Namespace {namespace}", text, step, hopeless=not look.operated)
    plugin = named(look.plugins[0])
    step = f"see {look.kubectl(f'describe daemonset {plugin}')}"
    return Why("no_pod_yet", f"DaemonSet {plugin}", f"no pod of the device plugin is on {name} yet", step)


def _short_of(look: _Look, node: Object, plugin: Object, resource: str, capacity: Counts, allocatable: Counts) -> Why:
    """Return why a node whose device plugin runs does not offer enough of a resource."""
    name, pod, container = named(node), named(plugin), plugin_container(plugin)
    least, offered, there = look.wanted.nodes[name][resource], _sum(allocatable, resource), _sum(capacity, resource)
    others = {
        entry: count for entry, count in allocatable.items() if count and not _is_one(entry, look.wanted.nodes[name])
    }
    log = look.kubectl(f"logs {pod} -c {container}")
    final = has_run(plugin, container, look.seen.now) >= SEARCH_SECONDS
    if there > offered:
        reason, final = "device_unhealthy", False
        text = f"{there - offered} of {there} {resource} not healthy, {least} expected"
        step = f"see nvidia-smi and `journalctl -k | grep Xid` on {name}, and {log}"
    elif offered:
        reason, text = "too_few", f"it offers {offered} {resource}, {least} expected"
        step = f"see which cards nvidia-smi lists on {name}, and {log}; or correct what is expected"
    elif others:
        reason, text = "other_resource", f"it offers {_listed(others)} and no {resource}, {least} expected"
        step = "expect what it offers, or change the device plugin's configuration (sharing, MIG strategy)"
    else:
        reason, text = "no_device", f"the device plugin (pod {pod}) runs and offers no {resource}, {least} expected"
        step = f"it has found no device: see {log}, nvidia-smi on {name}, and whether its pods have NVIDIA's runtime"
    said = look.last_words(pod, *([_UNHEALTHY] if reason == "device_unhealthy" else []))
    text += f"; its log says: {said}" if said else ""
    return Why(reason, f"Node {name}", text, step, final, pod, container)


def _labels(look: _Look, node: Object, told: Sequence[Why], lacking: Sequence[str]) -> list[Why]:
    """Return what labels of a node add to what was found."""
    name, labels = named(node), node["metadata"].get("labels") or {}
    found = []
    driver, state = labels.get(DEPLOY_DRIVER), labels.get(MIG_STATE)
    about_driver = ("no_device", "crash_loop", "init_waiting", "runtime_class")
    if look.operated and driver in ("pre-installed", "false") and any(why.reason in about_driver for why in told):
        text = f"the operator installs no driver on {name} (label {DEPLOY_DRIVER}={driver})"
        step = f"the host's own has to answer: see nvidia-smi on {name} (role nvidia_driver)"
        found.append(Why("driver_of_host", f"Node {name}", text, step))
    if state in ("failed", "pending", "rebooting") and any(entry.startswith(f"{VENDOR}mig-") for entry in lacking):
        text = f"the MIG configuration {labels.get(MIG_CONFIG)} of {name} is {state}"
        step = f"see the pod nvidia-mig-manager of that node ({look.kubectl('get pods -o wide')})"
        found.append(Why("mig", f"Node {name}", text, step))
    return found


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{resource} {count}" for resource, count in sorted(counts.items()))
