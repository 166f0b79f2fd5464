"""Kind: what is given to it, every problem at once, and what is done about what is there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.dtf.cluster.plugins.filter.kind_configuration import kind_configuration
from ansible_collections.dtf.cluster.plugins.module_utils.kind_documents import (
    REGISTRIES,
    Cluster,
    document,
    node_names,
    problems,
)
from ansible_collections.dtf.cluster.plugins.module_utils.kind_plan import (
    CREATE,
    DELETE,
    NOTHING,
    RECREATE,
    REFUSE,
    START,
    Seen,
    planned,
    stale,
)

CLUSTER = Cluster("dtf", workers=2, image="dtf.cluster/kind-node:v1.36.3")
WANTED = document(CLUSTER)
NODES = dict.fromkeys(node_names(WANTED), True)
IMAGE = "sha256:" + "0" * 64
MADE = Seen(NODES, WANTED, IMAGE)


def test_a_cluster_is_one_control_plane_and_so_many_workers_of_one_image() -> None:
    assert WANTED["apiVersion"] == "kind.x-k8s.io/v1alpha4"
    assert [node["role"] for node in WANTED["nodes"]] == ["control-plane", "worker", "worker"]
    assert {node["image"] for node in WANTED["nodes"]} == {"dtf.cluster/kind-node:v1.36.3"}
    assert WANTED["networking"] == {
        "podSubnet": "10.244.0.0/16",
        "serviceSubnet": "10.96.0.0/16",
        "apiServerAddress": "127.0.0.1",
    }
    assert node_names(WANTED) == {"dtf-control-plane": "control-plane", "dtf-worker": "worker", "dtf-worker2": "worker"}


def test_without_workers_one_node_runs_everything() -> None:
    assert list(node_names(document(replace(CLUSTER, workers=0)))) == ["dtf-control-plane"]


def test_ports_are_the_control_planes_and_mounts_are_everybodys() -> None:
    mount = {"hostPath": "/srv/data", "containerPath": "/data"}
    made = document(
        replace(
            CLUSTER,
            mounts=[mount],
            registries="/srv/certs.d",
            port_mappings=[{"containerPort": 30080, "hostPort": 8080}],
            api_port=7443,
        )
    )
    trust = {"hostPath": "/srv/certs.d", "containerPath": REGISTRIES, "readOnly": True}
    assert [node["extraMounts"] for node in made["nodes"]] == [[mount, trust]] * 3
    assert [len(node.get("extraPortMappings", [])) for node in made["nodes"]] == [1, 0, 0]
    assert made["networking"]["apiServerPort"] == 7443


def test_kinds_own_structure_lies_over_everything_and_patches_may_be_documents() -> None:
    patch = {"kind": "KubeletConfiguration", "maxPods": 40}
    over = {
        "networking": {"kubeProxyMode": "nftables", "apiServerAddress": None},
        "kubeadmConfigPatches": [patch, "kind: KubeProxyConfiguration\n"],
    }
    made = document(replace(CLUSTER, configuration=over))
    assert made["networking"] == {
        "podSubnet": "10.244.0.0/16",
        "serviceSubnet": "10.96.0.0/16",
        "kubeProxyMode": "nftables",
    }
    first, second = made["kubeadmConfigPatches"]
    assert json.loads(first) == patch
    assert second == "kind: KubeProxyConfiguration\n"


def test_nodes_of_ones_own_take_the_place_of_all_and_are_named_as_kind_names_them() -> None:
    nodes = [{"role": "worker"}, {}, {"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}]
    made = document(replace(CLUSTER, configuration={"nodes": nodes}))
    assert list(node_names(made)) == [
        "dtf-worker",
        "dtf-control-plane",
        "dtf-control-plane2",
        "dtf-worker2",
        "dtf-worker3",
    ]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"name": "Dtf_1"}, ["name"]),
        ({"workers": -1}, ["workers"]),
        ({"api_address": "gpu1.bank.example"}, ["api_address"]),
        ({"api_port": 70000}, ["api_port"]),
        ({"pod_cidr": "10.244.0.1/16"}, ["pod_cidr"]),
        ({"service_cidr": "10.244.8.0/24"}, ["service_cidr"]),
        ({"port_mappings": [{"hostPort": 0}]}, ["port_mappings[0].containerPort", "port_mappings[0].hostPort"]),
        (
            {"port_mappings": [{"containerPort": 80, "protocol": "HTTP", "port": 80}]},
            ["port_mappings[0].port", "port_mappings[0].protocol"],
        ),
        ({"mounts": [{"hostPath": "data"}]}, ["mounts[0].hostPath", "mounts[0].containerPath"]),
        ({"configuration": {"name": "other", "kind": "Node"}}, ["configuration.kind", "configuration.name"]),
        ({"configuration": {"nodes": []}}, ["configuration.nodes"]),
        (
            {"configuration": {"nodes": [{"role": "master"}]}},
            ["configuration.nodes[0].role", "configuration.nodes"],
        ),
        ({"name": "", "workers": 100, "api_port": -1}, ["name", "workers", "api_port"]),
    ],
)
def test_everything_that_is_wrong_is_told_at_once(change: dict[str, Any], fields: list[str]) -> None:
    assert [problem.field for problem in problems(replace(CLUSTER, **change))] == fields


def test_what_is_asked_for_is_right() -> None:
    assert problems(CLUSTER) == []


def test_the_filter_knows_its_words() -> None:
    assert kind_configuration({"name": "dtf", "workers": 2, "image": CLUSTER.image}) == WANTED
    with pytest.raises(AnsibleFilterError, match=r"2 problems(.|\n)*nodes: 3(.|\n)*workers: 99"):
        kind_configuration({"name": "dtf", "workers": 99, "nodes": 3})


@pytest.mark.parametrize(
    ("seen", "action", "reason"),
    [
        (Seen(), CREATE, "no cluster of that name"),
        (MADE, NOTHING, ""),
        (replace(MADE, unfinished=True), RECREATE, "broken off"),
        (Seen(NODES), REFUSE, "was not made by this module"),
        (replace(MADE, nodes={**NODES, "dtf-worker3": True}), REFUSE, "has 4 nodes and not 3"),
        (replace(MADE, nodes={"dtf-control-plane": True, "dtf-worker": True, "x": True}), REFUSE, "its nodes are"),
        (replace(MADE, configuration={**WANTED, "networking": {}}), REFUSE, "its networking differs"),
        (replace(MADE, configuration={**WANTED, "nodes": WANTED["nodes"][:1] * 3}), REFUSE, "made otherwise"),
        (replace(MADE, image=""), REFUSE, "image that its nodes are made from is another"),
        (replace(MADE, nodes={**NODES, "dtf-worker2": False}), START, "dtf-worker2 does not run"),
        # At rest it cannot tell what it was made with, and there is nothing to hold against it yet.
        (Seen(dict.fromkeys(NODES, False)), START, "does not run"),
    ],
)
def test_what_is_done_follows_from_what_is_there(seen: Seen, action: str, reason: str) -> None:
    image = IMAGE if seen.configuration is not None else ""
    plan = planned(seen, WANTED, image=image)
    assert plan.action == action
    assert reason in "; ".join(plan.reasons)
    assert plan.changes == (action != NOTHING)
    assert (plan.before != plan.after) == plan.changes


def test_a_change_that_is_allowed_makes_the_cluster_anew_and_shows_both() -> None:
    wanted = document(replace(CLUSTER, workers=3))
    plan = planned(MADE, wanted, image=IMAGE, recreate=True)
    assert plan.action == RECREATE
    assert plan.before == {"nodes": sorted(NODES), "configuration": WANTED, "image": IMAGE}
    assert plan.after == {"nodes": [*sorted(NODES), "dtf-worker3"], "configuration": wanted, "image": IMAGE}


def test_what_is_there_is_removed_whole_and_nothing_is_removed_twice() -> None:
    assert planned(MADE, None).action == DELETE
    assert planned(Seen({"dtf-worker": False}, unfinished=True), None).action == DELETE
    assert planned(Seen(), None).action == NOTHING


def test_nodes_that_were_started_are_not_believed_before_they_have_spoken() -> None:
    def node(name: str, at: str) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": "True", "lastHeartbeatTime": at}]
        return {"metadata": {"name": name}, "status": {"conditions": conditions}}

    def pod(name: str, on: str, at: str) -> dict[str, Any]:
        status = {"containerStatuses": [{"state": {"running": {"startedAt": at}}}]}
        return {"metadata": {"name": name}, "spec": {"nodeName": on}, "status": status}

    before, since, after = (f"2026-11-24T02:00:{second}Z" for second in ("00", "10", "20"))
    nodes = [node("a", before), node("b", after), node("c", before)]
    pods = [pod("one", "a", before), pod("two", "b", after), pod("three", "c", before)]
    told = [waiting.subject for waiting in stale(nodes, pods, ["a", "b"], since)]
    assert told == ["node a", "pod one"]
