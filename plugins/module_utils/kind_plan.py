# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host has of a Kind cluster, and what it is to have → what is done.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .cluster_status import Waiting
from .kind_documents import node_names

NOTHING = "nothing"
CREATE = "create"
START = "start"
RECREATE = "recreate"
DELETE = "delete"
#: Something would have to be recreated that nobody has allowed to be.
REFUSE = "refuse"


@dataclass(frozen=True)
class Seen:
    """What there is of a cluster.

    Attributes:
        nodes: name of each node → whether it runs.
        configuration: what the cluster was made with; none if it was not made here, or does not run and cannot tell.
        image: digest of the image that its nodes were made from, where that is known.
        unfinished: whether a creation of ours was broken off.
    """

    nodes: Mapping[str, bool] = field(default_factory=dict)
    configuration: Mapping[str, Any] | None = None
    image: str = ""
    unfinished: bool = False

    @property
    def stopped(self) -> list[str]:
        """Names of the nodes that do not run."""
        return sorted(name for name, runs in self.nodes.items() if not runs)


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        action: one of this file's words.
        reasons: why, in words.
        before: what there was.
        after: what there will be.
    """

    action: str
    reasons: tuple[str, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether anything would be done if everything were allowed."""
        return self.action != NOTHING


def planned(seen: Seen, wanted: Mapping[str, Any] | None, *, image: str = "", recreate: bool = False) -> Plan:
    """Return what is done.

    Args:
        seen: what there is.
        wanted: the configuration that is asked for; ``None`` for no cluster.
        image: digest of the image that its nodes are to be made from; empty for whatever the configuration names.
        recreate: whether a cluster that differs may be deleted and made anew.
    """
    if wanted is None:
        nodes = sorted(seen.nodes)
        return Plan(DELETE if nodes else NOTHING, (), {"nodes": nodes} if nodes else {}, {})
    after = _shown(node_names(wanted), wanted, image)
    if not seen.nodes:
        return Plan(CREATE, ("there is no cluster of that name",), {}, after)
    if seen.unfinished:
        # Nobody has used it yet.
        return Plan(RECREATE, ("its creation was broken off",), {"nodes": sorted(seen.nodes)}, after)
    reasons = differences(seen, wanted, image)
    if reasons:
        before = _shown(seen.nodes, seen.configuration, seen.image)
        return Plan(RECREATE if recreate else REFUSE, tuple(reasons), before, after)
    if seen.stopped:
        running = {"running": sorted(set(seen.nodes) - set(seen.stopped))}
        return Plan(START, (f"{', '.join(seen.stopped)} does not run",), running, {"running": sorted(seen.nodes)})
    return Plan(NOTHING, (), after, after)


def _shown(nodes: Iterable[str], configuration: Mapping[str, Any] | None, image: str) -> dict[str, Any]:
    known = {"configuration": configuration, "image": image}
    return {"nodes": sorted(nodes), **{name: value for name, value in known.items() if value}}


def differences(seen: Seen, wanted: Mapping[str, Any], image: str = "") -> list[str]:
    """Return in words how a cluster is not what is asked for; what it cannot tell while it rests is passed over."""
    names = node_names(wanted)
    found = []
    if len(seen.nodes) != len(names):
        found.append(f"it has {len(seen.nodes)} nodes and not {len(names)}")
    elif set(seen.nodes) != set(names):
        found.append(f"its nodes are {', '.join(sorted(seen.nodes))} and not {', '.join(sorted(names))}")
    if seen.configuration is None:
        if not seen.stopped:
            found.append("it was not made by this module")
        return found
    changed = sorted(
        name
        for name in {*seen.configuration, *wanted}
        if name != "nodes" and seen.configuration.get(name) != wanted.get(name)
    )
    found += [f"its {name} differs" for name in changed]
    if not found and seen.configuration.get("nodes") != wanted.get("nodes"):
        found.append("its nodes are made otherwise")
    if image and seen.image != image:
        found.append("the image that its nodes are made from is another")
    return found


def stale(
    nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], started: Collection[str], since: str
) -> list[Waiting]:
    """Return what the API still tells of from before nodes were started: for a while they look as they did then.

    Args:
        nodes: the cluster's nodes.
        pods: its system pods.
        started: names of the nodes that were started.
        since: when that was, as the API writes times.
    """
    found = []
    for node in nodes:
        if node["metadata"]["name"] in started:
            conditions = {entry["type"]: entry for entry in node.get("status", {}).get("conditions", [])}
            if conditions.get("Ready", {}).get("lastHeartbeatTime", "") < since:
                found.append(Waiting("node " + node["metadata"]["name"], "has not reported since it was started"))
    for pod in pods:
        running = [status.get("state", {}).get("running") for status in pod["status"].get("containerStatuses", [])]
        if pod["spec"].get("nodeName") in started and any(state and state["startedAt"] < since for state in running):
            found.append(
                Waiting("pod " + pod["metadata"]["name"], "has not been reported on since its node was started")
            )
    return found
