# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out what was planned for a topology of pods; the counterpart of :mod:`processes`.

What happens is decided elsewhere (:mod:`drift`, :mod:`manifests`, :mod:`kube_state`); here is the order. Everything is
read with one LIST a kind and written with one request an object, and objects are per set of tasks: the number of
requests is the same for two workers and for a thousand. An interruption at any point leaves a state from which the same
call goes on: the ConfigMap is written before the sets of its run, and sets of another run are gone before it is.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import drift, kube_state
from .errors import ActionFailed, InvalidInput
from .events import parse_line
from .hosts import PodRun, new_run_id
from .kube_causes import Patience, View, suspicions
from .kube_diff import comparable, different
from .kube_labels import LABEL_COMPONENT, label_selector
from .kube_state import Live, Object, active, keeps_checkpoints, memory, observed
from .kubernetes_client import FIELD_MANAGER, Cluster
from .manifests import KINDS, objects
from .owned_fields import contains
from .quota import quota_problems
from .spec import Topology
from .status import HostState
from .waiter import Clock, wait

#: The chief first, so that its checkpoint is written while its peers are there; the servers of all others last.
STOP_ORDER = ("chief", "worker", "ps")
#: Sets are replaced by every run; what their pods need around them stays.
SET_KINDS = kube_state.SET_KINDS
#: Runs whose checkpoint a new one may look for.
CANDIDATES = 8
#: Seconds between two looks, and beyond the pods' own grace until they have to be gone.
INTERVAL, BEYOND_GRACE = 0.5, 60.0
#: A set is tried under another name while one of its own name is there, whose pods cannot be changed.
TRIAL_SUFFIX = "-trial"


@dataclass(frozen=True)
class Change:
    """What was done to a topology, or would be.

    Attributes:
        plan: what was decided.
        before: the topology before.
        after: the topology now.
        wanted: its complete specification afterwards, or ``None``.
        old: the objects' parts that are ours and change, as they were, by ``Kind/name``.
        new: the same afterwards.
        warnings: what a user should know, though nothing failed.
    """

    plan: drift.Plan
    before: HostState
    after: HostState
    wanted: Mapping[str, object] | None
    old: Mapping[str, object] = field(default_factory=dict)
    new: Mapping[str, object] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Manner:
    """How a change is made.

    Attributes:
        check_mode: the server tries everything and stores nothing.
        force: take over fields that another manager owns.
        clock: time, for waiting.
    """

    check_mode: bool = False
    force: bool = False
    clock: Clock = field(default_factory=Clock)


def observe(cluster: Cluster, name: str, namespace: str) -> Live:
    """Read everything that has the topology's labels: one LIST a kind, whatever their number."""
    kinds = [kind for _version, kind, _plural in KINDS] + ["Pod"]
    selector = label_selector(name)
    return Live(name, namespace, {kind: cluster.list(kind, namespace, labels=selector).items for kind in kinds})


def present(cluster: Cluster, topology: Topology, manner: Manner) -> Change:
    """Bring a topology to what is wanted.

    Raises:
        InvalidInput: it does not fit into the namespace's quotas; nothing was changed.
        ActionFailed: the cluster refuses, before anything was changed as far as that can be tried.
    """
    live = observe(cluster, topology.name, _namespace(topology))
    before = observed(live)
    plan = drift.plan_present(topology, [before])
    run = _run(plan, live)
    wanted = _objects(cluster, topology, run)
    if not plan.starts:
        plan, wanted = _repair(plan, wanted, live)
    if not plan.changes:
        return Change(plan, before, before, topology.as_dict())
    if plan.starts:
        _refuse_quota(cluster, topology, wanted, live)
    tried, warnings = _try(cluster, wanted, live, manner)
    old, new = _difference(tried, live, run, _superfluous(live, wanted) if plan.starts else ())
    after = before
    if not manner.check_mode:
        if plan.starts:
            _stop(cluster, live, manner.clock)
            _prune(cluster, live, wanted)
        _apply(cluster, wanted, manner.force)
        if plan.action == "update":
            _tune_jobs(cluster, topology, run, live)
        if _is_upgrade(plan, topology):
            _await_first_step(cluster, topology, run, before, manner)
        after = observed(observe(cluster, topology.name, _namespace(topology)))
    return Change(plan, before, after, topology.as_dict(), old, new, warnings)


def stopped(cluster: Cluster, name: str, namespace: str, manner: Manner) -> Change:
    """Bring a topology to rest: no pods, everything else stays."""
    live = observe(cluster, name, namespace)
    before = observed(live)
    plan = drift.plan_stopped([before])
    if not plan.changes and kube_state.working(live):
        plan = drift.Plan("stop", "its pods are to go")
    after = before
    if plan.changes:
        for component in _components(live):
            _rest(cluster, live, component, manner)
        if not manner.check_mode:
            after = observed(observe(cluster, name, namespace))
    return Change(plan, before, after, before.spec)


def absent(cluster: Cluster, name: str, namespace: str, manner: Manner) -> Change:
    """Remove everything that has the topology's labels, and wait until pods, addresses and volumes are gone."""
    live = observe(cluster, name, namespace)
    before = _observed_anyhow(live)
    plan = drift.plan_absent([before])
    after = before
    if plan.changes:
        selector = label_selector(name)
        # The memory goes last: until then an interrupted removal is still known for what it is.
        kinds = [kind for _version, kind, _plural in KINDS if kind not in (*SET_KINDS, "ConfigMap")]
        for kind in [*SET_KINDS, "Pod", *kinds]:
            if kind == "Pod" or live.objects[kind]:
                cluster.delete_collection(kind, namespace, labels=selector, dry_run=manner.check_mode)
        if not manner.check_mode:
            for kind in ("Pod", "EndpointSlice", "PersistentVolumeClaim"):
                _wait_gone(cluster, live, kind, selector, manner.clock, lambda found: found)
        cluster.delete_collection("ConfigMap", namespace, labels=selector, dry_run=manner.check_mode)
        if not manner.check_mode:
            after = observed(observe(cluster, name, namespace))
    return Change(plan, before, after, None)


def _observed_anyhow(live: Live) -> HostState:
    """Return what is known of a topology that is to be gone, whatever its memory looks like."""
    try:
        return observed(live)
    except (ActionFailed, InvalidInput):
        return HostState(host=kube_state.HOST, name=live.name, phase="lost")


def _namespace(topology: Topology) -> str:
    return topology.kubernetes.namespace if topology.kubernetes else "default"


def _objects(cluster: Cluster, topology: Topology, run: PodRun) -> list[dict[str, Any]]:
    return objects(topology, run, openshift=cluster.is_openshift(), server_version=cluster.version())


def _run(plan: drift.Plan, live: Live) -> PodRun:
    """Return the run that will be there afterwards: the one that is, or a new one that may look for checkpoints."""
    known = memory(live.config_map).run if live.config_map else None
    if known is not None and not plan.starts:
        return known
    return _new_run(plan.resume_run_id, known.candidates if known else ())


def _new_run(resumes: str | None, older: Sequence[str]) -> PodRun:
    now = time.time()
    # The newest may have ended before its first checkpoint: then an older one still serves.
    candidates = (resumes, *(entry for entry in older if entry != resumes))[:CANDIDATES] if resumes else ()
    return PodRun(new_run_id(now), now, candidates, resumes)


def _repair(plan: drift.Plan, wanted: Sequence[dict[str, Any]], live: Live) -> tuple[drift.Plan, list[dict[str, Any]]]:
    """Return what has to be applied of a run that stays: what somebody else changed, and a spec that is only tuned."""
    around = [entry for entry in wanted if entry["kind"] not in SET_KINDS]
    if live.config_map is not None and not plan.changes and memory(live.config_map).outcome is not None:
        # Whoever saw the end took them away: what idles or is gone must not keep a node from being drained.
        around = [entry for entry in around if entry["kind"] != "PodDisruptionBudget"]
    for entry in around:
        if entry["kind"] == "ConfigMap" and live.config_map is not None:
            # Whoever waited has marked the run as done; that is no business of the spec.
            entry["data"]["finished"] = memory(live.config_map).finished
    strayed = [entry for entry in around if not _as_wanted(live, entry)]
    if plan.changes or not strayed:
        return plan, strayed
    names = ", ".join("{} {}".format(entry["kind"], entry["metadata"]["name"]) for entry in strayed)
    return replace(plan, action="update", reason=f"changed or removed by somebody else: {names}"), strayed


def _as_wanted(live: Live, wanted: Mapping[str, Any]) -> bool:
    found = _live_object(live, wanted)
    if found is None:
        return False
    # A claim is bound once and for all, and the server writes its size in a way of its own.
    parts = ("metadata",) if wanted["kind"] == "PersistentVolumeClaim" else tuple(wanted)
    return contains(found, {part: wanted[part] for part in parts})


def _live_object(live: Live, wanted: Mapping[str, Any]) -> Object | None:
    name = wanted["metadata"]["name"]
    return next((entry for entry in live.objects[wanted["kind"]] if entry["metadata"]["name"] == name), None)


def _refuse_quota(cluster: Cluster, topology: Topology, wanted: Sequence[Mapping[str, object]], live: Live) -> None:
    """Fail with everything that the namespace's quotas and limits would refuse later, pod by pod."""
    namespace = _namespace(topology)
    try:
        quotas = cluster.list("ResourceQuota", namespace).items
        limits = cluster.list("LimitRange", namespace).items
    except ActionFailed as error:
        if error.code == "forbidden":
            # Not everybody may read them; then the pods' own events tell it, while waiting.
            return
        raise
    released = [entry for kind in live.objects for entry in live.objects[kind] if kind != "Pod"]
    problems = quota_problems(wanted, quotas, limits, released=released)
    if problems:
        raise InvalidInput(f"topology {topology.name!r} cannot start in namespace {namespace}", problems)


def _try(
    cluster: Cluster, wanted: Iterable[Mapping[str, Any]], live: Live, manner: Manner
) -> tuple[list[dict[str, Any]], list[str]]:
    """Let the server try every object, so that nothing that runs is stopped for what would be refused.

    Returns:
        what the server would store, and warnings.

    Raises:
        ActionFailed: it refuses; with every refusal.
    """
    tried, refusals = [], []
    for entry in wanted:
        name = entry["metadata"]["name"]
        replaced = entry["kind"] in SET_KINDS and _live_object(live, entry) is not None
        trial = {**entry, "metadata": {**entry["metadata"], "name": name + TRIAL_SUFFIX}} if replaced else entry
        try:
            found = _apply_one(cluster, trial, manner.force, dry_run=True)
        except ActionFailed as error:
            if error.code == "namespace_missing" and manner.check_mode:
                text = f"namespace {live.namespace} does not exist: what is in it could not be tried"
                return [dict(entry) for entry in wanted], [text]
            if error.code not in ("invalid", "conflict", "admission", "quota", "forbidden"):
                raise
            refusals.append(error)
        else:
            found["metadata"]["name"] = name
            tried.append(found)
    if len(refusals) > 1:
        lines = [f"{len(refusals)} objects are refused", *(f"  - {error}" for error in refusals)]
        failures = [error.as_failure() for error in refusals]
        raise ActionFailed(refusals[0].code, "\n".join(lines), refusals=failures)
    if refusals:
        raise refusals[0]
    return tried, []


def _difference(
    tried: Iterable[Mapping[str, Any]], live: Live, run: PodRun, removed: Iterable[Object]
) -> tuple[dict[str, object], dict[str, object]]:
    """Return what is ours of the objects that change, before and after."""
    known = memory(live.config_map).run.run_id if live.config_map else ""
    old: dict[str, object] = {}
    new: dict[str, object] = {}
    for entry in removed:
        old["{}/{}".format(entry["kind"], entry["metadata"]["name"])] = comparable(entry, FIELD_MANAGER, known)
    for entry in tried:
        found = _live_object(live, entry)
        name = "{}/{}".format(entry["kind"], entry["metadata"]["name"])
        if found is not None:
            old[name] = comparable(found, FIELD_MANAGER, known)
        new[name] = comparable(entry, FIELD_MANAGER, run.run_id)
    return different(old, new)


def _components(live: Live) -> list[str]:
    """Return the parts that have sets or pods, in the order of stopping; one of another version goes first."""
    found = {_component(entry) for entry in [*live.sets, *live.pods]}
    strangers = sorted(found - set(STOP_ORDER))
    return strangers + [name for name in STOP_ORDER if name in found]


def _component(entry: Object) -> str:
    return str((entry["metadata"].get("labels") or {}).get(LABEL_COMPONENT, ""))


def _selector(live: Live, component: str) -> str:
    return f"{label_selector(live.name)},{LABEL_COMPONENT}={component}"


def _stop(cluster: Cluster, live: Live, clock: Clock) -> None:
    """Remove all sets with their pods, one after the other; returns when no pod of them is left."""
    for component in _components(live):
        for entry in live.sets:
            if _component(entry) == component:
                cluster.delete(entry["kind"], entry["metadata"]["name"], live.namespace)
        # Its owner is gone, so nobody replaces a pod; whoever cleans up after the owner might take a while.
        cluster.delete_collection("Pod", live.namespace, labels=_selector(live, component))
        _wait_gone(cluster, live, "Pod", _selector(live, component), clock, lambda found: found)


def _rest(cluster: Cluster, live: Live, component: str, manner: Manner) -> None:
    """Tell the sets of a part to have no pods, and wait until none runs."""
    for entry in kube_state.working(live):
        if _component(entry) == component:
            spec = {"suspend": True} if entry["kind"] == "Job" else {"replicas": 0}
            name = entry["metadata"]["name"]
            cluster.patch(entry["kind"], name, live.namespace, {"spec": spec}, dry_run=manner.check_mode)
    if not manner.check_mode:
        _wait_gone(cluster, live, "Pod", _selector(live, component), manner.clock, active)


def _wait_gone(
    cluster: Cluster,
    live: Live,
    kind: str,
    selector: str,
    clock: Clock,
    counted: Callable[[Sequence[Object]], Sequence[Object]],
) -> None:
    """Wait until objects are gone; nothing new is started beside something old."""
    grace = max((pod["spec"].get("terminationGracePeriodSeconds") or 0 for pod in live.pods), default=0)
    timeout = grace + BEYOND_GRACE
    outcome = wait(
        lambda: counted(cluster.list(kind, live.namespace, labels=selector).items),
        lambda found: not found,
        interval=INTERVAL,
        timeout=timeout,
        clock=clock,
    )
    if not outcome.satisfied:
        left = [
            "{} (node {})".format(entry["metadata"]["name"], (entry.get("spec") or {}).get("nodeName", "none"))
            for entry in outcome.seen
        ]
        raise ActionFailed(
            "objects_stay",
            f"topology {live.name!r}: after {outcome.elapsed:.0f} s still there: {kind} {', '.join(left)}: if a node "
            f"is gone for good, kubectl -n {live.namespace} delete {kind.lower()} --force --grace-period=0 NAME; then "
            "apply again",
            objects=[entry["metadata"]["name"] for entry in outcome.seen],
        )


def _superfluous(live: Live, wanted: Iterable[Mapping[str, Any]]) -> list[Object]:
    """Return what the former spec had and the new one has not; claims stay until the topology is absent."""
    kept = {(entry["kind"], entry["metadata"]["name"]) for entry in wanted}
    return [
        entry
        for kind, found in live.objects.items()
        for entry in found
        if kind not in ("Pod", "PersistentVolumeClaim") and (kind, entry["metadata"]["name"]) not in kept
    ]


def _prune(cluster: Cluster, live: Live, wanted: Iterable[Mapping[str, Any]]) -> None:
    for entry in _superfluous(live, wanted):
        if entry["kind"] not in SET_KINDS:
            cluster.delete(entry["kind"], entry["metadata"]["name"], live.namespace)


def _apply(cluster: Cluster, wanted: Iterable[Mapping[str, Any]], force: bool) -> None:
    for entry in wanted:
        _apply_one(cluster, entry, force, dry_run=False)


def _apply_one(cluster: Cluster, entry: Mapping[str, Any], force: bool, dry_run: bool) -> dict[str, Any]:
    """Apply an object; a field that is ours by another request, such as the mark of a finished run, is ours."""
    try:
        return cluster.apply(entry, dry_run=dry_run, force=force)
    except ActionFailed as error:
        managers = error.details.get("managers")
        if error.code != "conflict" or not isinstance(managers, Mapping) or set(managers) != {FIELD_MANAGER}:
            raise
        return cluster.apply(entry, dry_run=dry_run, force=True)


def _tune_jobs(cluster: Cluster, topology: Topology, run: PodRun, live: Live) -> None:
    """Change what a running Job can change; the rest of a lifecycle is in its pods, and holds from the next run on."""
    for entry in _objects(cluster, topology, run):
        found = _live_object(live, entry) if entry["kind"] == "Job" else None
        if found is None:
            continue
        names = ("backoffLimit", "ttlSecondsAfterFinished")
        tuned = {name: entry["spec"].get(name) for name in names if entry["spec"].get(name) != found["spec"].get(name)}
        if tuned:
            cluster.patch("Job", entry["metadata"]["name"], live.namespace, {"spec": tuned})


def _is_upgrade(plan: drift.Plan, topology: Topology) -> bool:
    """Whether something that ran is replaced, and is to come back if its successor does not get anywhere."""
    limit = topology.kubernetes.first_step_timeout_seconds if topology.kubernetes else 0
    return plan.starts and bool(plan.differences) and limit > 0


def _await_first_step(cluster: Cluster, topology: Topology, run: PodRun, before: HostState, manner: Manner) -> None:
    """Wait for the chief's first step; where it does not come, go back to what was there.

    Raises:
        ActionFailed: ``rolled_back``.
    """
    limit = topology.kubernetes.first_step_timeout_seconds if topology.kubernetes else 0
    patience = Patience()

    def look() -> Mapping[str, Any] | bool:
        live = observe(cluster, topology.name, _namespace(topology))
        if _has_stepped(cluster, live, run.run_id):
            return True
        events = cluster.list("Event", live.namespace).items
        moment = View(pods=live.pods, sets=live.sets, events=events, now=time.time())
        cause = patience.judge(suspicions(topology, moment), manner.clock.monotonic())
        return cause.as_dict() if cause else False

    outcome = wait(look, bool, interval=1.0, timeout=limit, clock=manner.clock)
    if outcome.seen is True:
        return
    cause = outcome.seen or {"reason": "first_step_timeout", "task": None, "message": f"no step within {limit:g} s"}
    former = Topology.from_params(before.spec or {})
    live = observe(cluster, topology.name, _namespace(topology))
    # The run that is given up has made no step; a checkpoint is its predecessor's.
    resumes = before.run_id if keeps_checkpoints(former) else None
    back = _new_run(resumes, [entry for entry in run.candidates if entry != before.run_id])
    wanted = _objects(cluster, former, back)
    _stop(cluster, live, manner.clock)
    _prune(cluster, live, wanted)
    _apply(cluster, wanted, manner.force)
    goes_on = f"continued from {resumes}" if resumes else "from the beginning"
    raise ActionFailed(
        "rolled_back",
        f"topology {topology.name!r}: the change was taken back after {outcome.elapsed:.0f} s without a first step "
        f"({cause['message']}); run {back.run_id} of the former specification is under way, {goes_on}",
        cause=cause,
        run_id=back.run_id,
        given_up=run.run_id,
    )


def _has_stepped(cluster: Cluster, live: Live, run_id: str) -> bool:
    """Whether the chief's log tells of a step of this run."""
    for pod in live.pods:
        if _component(pod) != "chief":
            continue
        try:
            for line in cluster.logs(pod["metadata"]["name"], live.namespace):
                event = parse_line(line)
                if event is not None and event.run_id == run_id and event.event in ("first_step", "progress", "target"):
                    return True
        except ActionFailed as error:
            # Its container has not started yet, or is just being replaced.
            if error.code not in ("invalid", "not_found", "server_error"):
                raise
    return False
