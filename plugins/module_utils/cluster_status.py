# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes and system pods, as the API returns them → what is not ready yet, and what never will be.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Reasons a container waits for that waiting does not cure.
HOPELESS = frozenset({"ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"})
#: What a kubelet or its runtime says with such a reason while it has only begun, or is busy: it comes right by itself.
BUSY_NODE = re.compile(r"deadline exceeded|timed out|name .* is reserved|not yet been read", re.IGNORECASE)
#: So many restarts in a row are no start-up race any more.
MANY_RESTARTS = 5


@dataclass(frozen=True)
class Waiting:
    """One thing that is not ready.

    Attributes:
        subject: ``node w1`` or ``pod coredns-… on w1``.
        cause: why, in the API's own words.
        hopeless: whether waiting longer is of no use.
    """

    subject: str
    cause: str
    hopeless: bool = False

    def __str__(self) -> str:
        return f"{self.subject}: {self.cause}"


def waiting(
    nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], expected: list[str]
) -> list[Waiting]:
    """Return everything that is not ready, nodes first.

    Args:
        nodes: the cluster's nodes.
        pods: its system pods.
        expected: names of the nodes there must be.
    """
    by_name = {node["metadata"]["name"]: node for node in nodes}
    causes = {name: node_cause(by_name[name]) if name in by_name else "has not registered" for name in expected}
    found = [Waiting(f"node {name}", cause) for name, cause in causes.items() if cause]
    pods = list(pods)
    for pod in pods:
        judged = pod_cause(pod)
        if judged:
            where = pod["spec"].get("nodeName")
            found.append(Waiting("pod " + pod["metadata"]["name"] + (f" on {where}" if where else ""), *judged))
    if not pods:
        found.append(Waiting("system pods", "none has been made"))
    return found


def settled(found: Sequence[Waiting]) -> bool:
    """Return whether there is nothing to wait for, or something that waiting does not cure."""
    return not found or any(item.hopeless for item in found)


def verdict(found: Sequence[Waiting], seconds: float) -> tuple[str, list[str]]:
    """Return what is to be said of a cluster that is not ready, and what stands in the way.

    Args:
        found: what was not ready at last; only what is hopeless is told where something is.
        seconds: how long it was waited for.
    """
    hopeless = [item for item in found if item.hopeless]
    told = [str(item) for item in hopeless or found]
    return "not ready, and waiting is of no use" if hopeless else f"not ready after {seconds:.0f} s", told


def node_cause(node: Mapping[str, Any]) -> str:
    """Return why a node is not Ready; empty where it is, and its lease is not the only thing that says so."""
    conditions = {condition["type"]: condition for condition in node.get("status", {}).get("conditions", [])}
    ready = conditions.get("Ready")
    if ready is None:
        return "has not reported yet"
    if ready["status"] == "True":
        return ""
    return f"{ready.get('reason', 'NotReady')}: {ready.get('message', '')}".strip(": ")


def pod_cause(pod: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Return why a pod is not ready and whether that is for good; ``None`` where it is ready or done."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return None
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        state = container.get("state", {}).get("waiting")
        if state:
            reason = state.get("reason", "waiting")
            restarts = container.get("restartCount", 0)
            ended = container.get("lastState", {}).get("terminated", {})
            last = f" (ended with {ended['exitCode']}, {restarts} restarts)" if "exitCode" in ended else ""
            message = state.get("message", "")
            hopeless = is_hopeless(reason, message) or (reason == "CrashLoopBackOff" and restarts >= MANY_RESTARTS)
            return f"{container['name']}: {reason}: {message}".strip(": ") + last, hopeless
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    if conditions.get("Ready", {}).get("status") == "True":
        return None
    for kind in ("PodScheduled", "ContainersReady", "Ready"):
        condition = conditions.get(kind)
        if condition and condition["status"] != "True":
            return f"{condition.get('reason', 'not ready')}: {condition.get('message', '')}".strip(": "), False
    return status.get("phase", "Pending"), False


def is_hopeless(reason: str, message: str) -> bool:
    """Return whether waiting longer does not cure what a container waits for."""
    return reason in HOPELESS and not BUSY_NODE.search(message)
