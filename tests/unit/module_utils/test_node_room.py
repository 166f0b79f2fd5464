"""Whether nodes have room for a topology's pods; its real twin is the scheduler of a cluster (test_sweep.py there)."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.benchmark_fit import ClusterView, cells, nodes_of
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import PodRun
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import objects
from ansible_collections.dtf.cluster.plugins.module_utils.node_room import no_room, worker_nodes
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

#: A worker asks for 0.25 cores and 1000 MiB, a ps for 0.25 cores and 700 MiB.
BASE: dict[str, Any] = {"name": "t", "runtime": "kubernetes", "kubernetes": {"image": "trainer:1"}}


def node(name: str, cpu: str = "2", memory: str = "8Gi", pods: str = "110", **spec: Any) -> dict[str, Any]:
    """Return a node that is ready."""
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(on: str, cpu: str, phase: str = "Running") -> dict[str, Any]:
    """Return somebody's pod."""
    container = {"resources": {"requests": {"cpu": cpu}}}
    return {"spec": {"nodeName": on, "containers": [container]}, "status": {"phase": phase}}


def room(
    workers: int, nodes: list[dict[str, Any]], pods: list[dict[str, Any]] | None = None, **more: Any
) -> str | None:
    """Return why so many workers and one ps find no room."""
    kubernetes = {**BASE["kubernetes"], **more}
    topology = Topology.from_params({**BASE, "workers": {"replicas": workers}, "kubernetes": kubernetes})
    return no_room(objects(topology, PodRun("r", 0.0)), nodes, pods or [])


TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def test_pods_fill_nodes_until_one_is_left_over() -> None:
    # Eight pods of 0.25 cores fill two cores, over two nodes sixteen.
    assert room(7, [node("a")]) is None
    assert room(15, [node("a"), node("b")]) is None
    assert room(16, [node("a"), node("b")]) == (
        "1 pod finds no room in t-worker: each asks for cpu 0.25, memory 1000Mi, and left are: "
        "a has cpu 0, memory 492Mi; b has cpu 0, memory 192Mi"
    )


def with_gpus(name: str, count: int, **spec: Any) -> dict[str, Any]:
    """Return a node that offers GPUs."""
    found = node(name, **spec)
    found["status"]["allocatable"]["nvidia.com/gpu"] = str(count)
    return found


def gpu_room(workers: int, nodes: list[dict[str, Any]], pods: list[dict[str, Any]] | None = None) -> str | None:
    """Return why so many workers with a GPU each and one ps find no room."""
    topology = Topology.from_params({**BASE, "workers": {"replicas": workers, "gpus": 1}})
    return no_room(objects(topology, PodRun("r", 0.0)), nodes, pods or [])


def test_workers_with_gpus_need_as_many_as_they_are() -> None:
    nodes = [node("a"), with_gpus("b", 2), with_gpus("c", 1)]
    assert gpu_room(3, nodes) is None
    refused = gpu_room(4, nodes)
    assert refused is not None
    assert refused.startswith(
        "1 pod finds no room in t-worker: each asks for cpu 0.25, memory 1000Mi, nvidia.com/gpu 1"
    )
    assert refused.count("nvidia.com/gpu 0") == len(nodes)


def test_nodes_kept_for_gpus_are_for_workers_that_have_one() -> None:
    kept = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    assert gpu_room(2, [node("a"), with_gpus("b", 2, taints=[kept])]) is None
    # A ps uses no GPU, and there is no other node for it.
    assert gpu_room(2, [with_gpus("b", 2, taints=[kept])]) == "no ready node is one that the pods of t-ps may run on"


def test_a_device_that_is_lost_in_use_leaves_nothing() -> None:
    taken = {"resources": {"limits": {"nvidia.com/gpu": 2}, "requests": {"nvidia.com/gpu": 2}}}
    used = {"spec": {"nodeName": "b", "containers": [taken]}, "status": {"phase": "Running"}}
    refused = gpu_room(1, [with_gpus("b", 1)], [used])
    assert refused is not None
    assert refused.endswith("nvidia.com/gpu 0")


@pytest.mark.parametrize(
    ("nodes", "pods", "told"),
    [
        ([node("a")], [pod("a", "1800m")], "1 pod finds no room in t-ps"),
        ([node("a")], [pod("a", "1800m", "Succeeded"), pod("b", "9")], None),
        ([node("a", memory="1Gi")], [], "no room in t-chief"),
        ([node("a", pods="2")], [], "1 pod finds no room in t-worker"),
        ([node("a", unschedulable=True)], [], "no node is ready for pods"),
        ([node("a", taints=[TAINT])], [], "no ready node is one that the pods of t-ps may run on"),
        ([node("a", taints=[{**TAINT, "effect": "PreferNoSchedule"}])], [], None),
    ],
)
def test_what_takes_room(nodes: list[dict[str, Any]], pods: list[dict[str, Any]], told: str | None) -> None:
    found = room(2, nodes, pods)
    assert (found is None) if told is None else (found is not None and told in found)


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({"tolerations": [{"operator": "Exists"}]}, True),
        ({"tolerations": [{"key": TAINT["key"], "operator": "Exists", "effect": "NoSchedule"}]}, True),
        ({"tolerations": [{"key": TAINT["key"], "operator": "Exists", "effect": "NoExecute"}]}, False),
        ({"tolerations": [{"key": TAINT["key"], "value": "x"}]}, False),
        ({"tolerations": [{"operator": "Exists"}], "node_selector": {"disk": "ssd"}}, False),
        ({"tolerations": [{"operator": "Exists"}], "placement": {"strategy": "nodes", "nodes": ["a"]}}, True),
        ({"tolerations": [{"operator": "Exists"}], "placement": {"strategy": "nodes", "nodes": ["b"]}}, False),
    ],
)
def test_where_pods_may_run(more: dict[str, Any], fits: bool) -> None:
    assert (room(1, [node("a", taints=[TAINT])], **more) is None) is fits


def test_a_node_that_is_not_ready_is_none() -> None:
    broken = node("a")
    broken["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    assert worker_nodes([node("c"), broken, node("b"), node("cp", taints=[TAINT])]) == ["b", "c"]


HOSTS = [{"name": name, "address": f"10.0.0.{place}"} for place, name in enumerate("ab", 1)]
BOTH: dict[str, Any] = {
    "name": "t", "hosts": HOSTS, "python": "/p", "data_dir": "/d", "root": "/r", "kubernetes": {"image": "trainer:1"},
}  # fmt: skip


def test_cells_of_processes_have_hosts_and_memory() -> None:
    words = [{"workers": 2, "nodes": 3}, {"workers": 6, "nodes": 2}, {"workers": 2, "nodes": 1}]
    found = cells(words, BOTH, [{"name": "a", "available_memory_mb": 3000}], None)
    assert [cell.unfit for cell in found] == [
        "it wants 3 hosts and there are 2",
        # Host b has told nothing.
        "a has 3000 MiB left, its 4 tasks want 3700",
        None,
    ]
    assert [cell.words["nodes"] for cell in found] == [3, 2, 1]
    assert found[0].topology is None


def test_cells_of_pods_have_nodes_quota_and_room() -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "3"}}, "status": {"hard": {"pods": "3"}}}
    nodes = [node("n2"), node("n1"), node("cp", taints=[TAINT])]
    cluster = ClusterView(nodes, [], [], [], (1, 36))
    words = [{"runtime": "kubernetes", "workers": 2, "nodes": count} for count in (1, 2, 3)]
    assert nodes_of(BOTH, cluster) == ["n1", "n2"]
    assert nodes_of({**BOTH, "nodes": ["n2"]}, cluster) == ["n2"]
    found = cells(words, {**BOTH, "nodes": nodes_of(BOTH, cluster)}, [], cluster)
    placed = [cell.topology.kubernetes.placement.nodes for cell in found[:2]]  # type: ignore[union-attr]
    assert placed == [("n1",), ("n1", "n2")]
    assert [cell.unfit for cell in found] == [None, None, "it wants 3 nodes and there are 2"]
    many = {"runtime": "kubernetes", "workers": 30}
    (full,) = cells([many], BOTH, [], cluster)
    assert "no room in t-worker" in str(full.unfit)
    (refused,) = cells([many], BOTH, [], ClusterView(nodes, [], [quota], [], (1, 36)))
    assert str(refused.unfit).startswith("quota.pods 31: at most 3")
    # Of a cluster that cannot be asked nothing is known to be in the way.
    assert cells([many], BOTH, [], None)[0].unfit is None
