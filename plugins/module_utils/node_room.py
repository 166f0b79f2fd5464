# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a cluster's nodes have room for a topology's pods, asked before any is made.

The scheduler has the last word; this is what it can be expected to say, from what pods ask for and nodes have left.
Where it is in doubt a topology is taken to fit.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from .quantities import parse, words
from .quota import pod_amounts, pods_of_sets

Object = Mapping[str, Any]
Amounts = dict[str, Fraction]

#: What a pod takes of a node beside what its containers ask for: a place.
_PLACES = "pods"
_HOSTNAME = "kubernetes.io/hostname"


def usable(nodes: Sequence[Object]) -> list[Object]:
    """Return the nodes that are ready and take pods, by name."""
    found = [node for node in nodes if _is_ready(node) and not (node.get("spec") or {}).get("unschedulable")]
    return sorted(found, key=_name)


def worker_nodes(nodes: Sequence[Object]) -> list[str]:
    """Return the names of the nodes that take any pod: ready, and without a taint that keeps pods away."""
    return [_name(node) for node in usable(nodes) if not list(_taints(node))]


def no_room(objects: Sequence[Object], nodes: Sequence[Object], pods: Sequence[Object]) -> str | None:
    """Return why the pods of a topology find no place, or ``None``.

    Args:
        objects: what :func:`manifests.objects` returned.
        nodes: all nodes.
        pods: all pods of the cluster.
    """
    candidates = usable(nodes)
    if not candidates:
        return "no node is ready for pods"
    free = {_name(node): _free(node, pods) for node in candidates}
    for name, size, spec in pods_of_sets(objects):
        asked = {resource: amount for resource, amount in sorted(pod_amounts(spec)[0].items()) if amount}
        allowed = [_name(node) for node in candidates if _admits(node, spec)]
        if not allowed:
            return f"no ready node is one that the pods of {name} may run on"
        for placed in range(size):
            if not _place({**asked, _PLACES: Fraction(1)}, allowed, free):
                return _told(name, size - placed, asked, {node: free[node] for node in allowed})
    return None


def _place(asked: Amounts, allowed: Sequence[str], free: dict[str, Amounts]) -> bool:
    """Take a pod's amounts from the node that has most left, as spreading does; return whether one had enough."""
    with_room = [node for node in allowed if all(free[node].get(name, 0) >= amount for name, amount in asked.items())]
    if not with_room:
        return False
    chosen = max(with_room, key=lambda node: (free[node].get("cpu", Fraction(0)), free[node].get(_PLACES, Fraction(0))))
    for name, amount in asked.items():
        free[chosen][name] -= amount
    return True


def _told(name: str, left: int, asked: Amounts, free: Mapping[str, Amounts]) -> str:
    wanted = ", ".join(f"{resource} {words(resource, amount)}" for resource, amount in asked.items())
    rest = "; ".join(
        f"{node} has "
        # A device that was lost while it was in use leaves less than nothing.
        + ", ".join(
            f"{resource} {words(resource, max(amounts.get(resource, Fraction(0)), Fraction(0)))}" for resource in asked
        )
        for node, amounts in free.items()
    )
    pods = "1 pod finds" if left == 1 else f"{left} pods find"
    return f"{pods} no room in {name}: each asks for {wanted}, and left are: {rest}"


def _free(node: Object, pods: Sequence[Object]) -> Amounts:
    """Return what a node can still give: what it has for pods, less what those on it ask for."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    left = {str(name): parse(amount) for name, amount in allocatable.items()}
    for pod in pods:
        spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
        if spec.get("nodeName") != _name(node) or phase in ("Succeeded", "Failed"):
            continue
        left[_PLACES] = left.get(_PLACES, Fraction(0)) - 1
        for name, amount in pod_amounts(spec)[0].items():
            left[name] = left.get(name, Fraction(0)) - amount
    return left


def _admits(node: Object, spec: Object) -> bool:
    """Whether a pod may run on a node: its labels are those that are asked for, its taints are tolerated."""
    labels = {_HOSTNAME: _name(node), **((node.get("metadata") or {}).get("labels") or {})}
    selected: bool = all(labels.get(key) == value for key, value in (spec.get("nodeSelector") or {}).items())
    return selected and _has_affinity(labels, spec) and all(_tolerated(taint, spec) for taint in _taints(node))


def _has_affinity(labels: Mapping[str, str], spec: Object) -> bool:
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = affinity.get("nodeSelectorTerms")
    return not terms or any(
        all(_matches(labels, expression) for expression in term.get("matchExpressions") or ()) for term in terms
    )


def _matches(labels: Mapping[str, str], expression: Object) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    if expression["operator"] == "In":
        return bool(value in values)
    if expression["operator"] == "NotIn":
        return bool(value not in values)
    if expression["operator"] in ("Exists", "DoesNotExist"):
        return bool((value is not None) == (expression["operator"] == "Exists"))
    return True


def _taints(node: Object) -> Iterator[Object]:
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute"):
            yield taint


def _tolerated(taint: Object, spec: Object) -> bool:
    for toleration in spec.get("tolerations") or ():
        if toleration.get("effect") not in (None, "", taint["effect"]):
            continue
        if not toleration.get("key"):
            if toleration.get("operator") == "Exists":
                return True
        elif toleration["key"] == taint["key"] and (
            toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")
        ):
            return True
    return False


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _name(node: Object) -> str:
    return str((node.get("metadata") or {}).get("name", ""))
