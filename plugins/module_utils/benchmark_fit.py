# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which cells of a benchmark have a place on the machines, and why the others have none.

This module util is private to the collection.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ActionFailed
from .grid import cell_of, machines, with_words
from .hosts import PodRun, tasks
from .kube_labels import LABEL_INSTANCE
from .kubernetes_client import Cluster
from .manifests import objects
from .node_room import no_room, worker_nodes
from .quota import quota_problems
from .spec import Topology
from .spec_kubernetes import namespace_of
from .sweep import Cell

Object = Mapping[str, Any]


@dataclass(frozen=True)
class ClusterView:
    """What a cluster has for pods; a part that its user may not read is empty, and refuses nothing.

    Attributes:
        nodes: all nodes.
        pods: the pods of others.
        quotas: the namespace's ResourceQuotas.
        limits: its LimitRanges.
        version: of the API server.
    """

    nodes: Sequence[Object]
    pods: Sequence[Object]
    quotas: Sequence[Object]
    limits: Sequence[Object]
    version: tuple[int, int]


def view(cluster: Cluster, kubernetes: object, name: str) -> ClusterView:
    """Look at a cluster.

    Args:
        cluster: which.
        kubernetes: the part of a topology's parameters of that name.
        name: the topology whose own pods do not count: they go before it is made anew.
    """
    namespace = namespace_of(kubernetes)

    def readable(kind: str, where: str = "") -> list[Object]:
        try:
            return list(cluster.list(kind, where).items)
        except ActionFailed as error:
            if error.code != "forbidden":
                raise
            return []

    pods = [
        pod
        for pod in readable("Pod")
        if (pod["metadata"].get("labels") or {}).get(LABEL_INSTANCE) != name
        or pod["metadata"]["namespace"] != namespace
    ]
    return ClusterView(
        nodes=readable("Node"),
        pods=pods,
        quotas=readable("ResourceQuota", namespace),
        limits=readable("LimitRange", namespace),
        version=cluster.version(),
    )


def nodes_of(base: Mapping[str, object], cluster: ClusterView | None) -> list[str]:
    """Return the names of the nodes in the order in which the word ``nodes`` takes them: as told, or as they are."""
    given = base.get("nodes")
    if isinstance(given, Sequence) and given:
        return [str(name) for name in given]
    return worker_nodes(cluster.nodes) if cluster else []


def cells(
    words: Sequence[Mapping[str, object]],
    base: Mapping[str, object],
    hosts: Sequence[Mapping[str, object]],
    cluster: ClusterView | None,
) -> list[Cell]:
    """Return the cells of a benchmark.

    Args:
        words: those of each cell, checked.
        base: what they are laid over, with the names of the ``nodes``.
        hosts: what the hosts of process runs have, as ``{name, available_memory_mb}``.
        cluster: what a cluster has for pods, ``None`` where none is asked for, or none can be asked.
    """
    memory = {str(host["name"]): int(str(host["available_memory_mb"])) for host in hosts}
    return [_cell(entry, base, memory, cluster) for entry in words]


def _cell(
    words: Mapping[str, object],
    base: Mapping[str, object],
    memory: Mapping[str, int],
    cluster: ClusterView | None,
) -> Cell:
    topology = Topology.from_params(with_words(base, words))
    there = machines(base, words)
    wanted = int(str(words.get("nodes") or 0))
    if wanted > there and (there or topology.kubernetes is None):
        kind = "host" if topology.kubernetes is None else "node"
        reason = f"it wants {wanted} {kind}s and there {'is' if there == 1 else 'are'} {there}"
        return Cell({**cell_of(topology), "nodes": wanted}, None, reason)
    if topology.kubernetes is None:
        return Cell(cell_of(topology), topology, _no_memory(topology, memory))
    return Cell(cell_of(topology), topology, _refused(topology, cluster) if cluster else None)


def _no_memory(topology: Topology, memory: Mapping[str, int]) -> str | None:
    """Return which host has too little memory for the tasks that would be dealt to it."""
    short = []
    for host in topology.hosts:
        own = [task for task in tasks(topology) if task.host == host.name]
        needed = sum(topology.ps.memory_mb if task.role == "ps" else topology.workers.memory_mb for task in own)
        if needed > memory.get(host.name, needed):
            short.append(f"{host.name} has {memory[host.name]} MiB left, its {len(own)} tasks want {needed}")
    return "; ".join(short) or None


def _refused(topology: Topology, cluster: ClusterView) -> str | None:
    """Return what a namespace's quota would refuse of a topology, or which pods find no room."""
    wanted = objects(topology, PodRun("plan", time.time()), server_version=cluster.version)
    problems = quota_problems(wanted, cluster.quotas, cluster.limits)
    if problems:
        return "; ".join(f"{problem.field} {problem.value}: {problem.accepted}" for problem in problems)
    return no_room(wanted, cluster.nodes, cluster.pods) if cluster.nodes else None
