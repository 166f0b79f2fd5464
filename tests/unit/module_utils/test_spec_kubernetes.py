"""The part of a topology that only pods have: read, refused with every problem, and given back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import host_list, task_sets, tasks
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from ansible_collections.dtf.cluster.plugins.module_utils.spec_kubernetes import Kubernetes, Placement, Volumes

IMAGE = "registry.example:5000/dtf/trainer@sha256:" + "0" * 64


def params(**kubernetes: Any) -> dict[str, Any]:
    """Return a topology's parameters with some of what only pods have."""
    return {"name": "demo", "runtime": "kubernetes", "kubernetes": {"image": IMAGE, **kubernetes}}


def problems(given: dict[str, Any]) -> list[str]:
    """Return the fields that are refused."""
    with pytest.raises(InvalidInput) as refused:
        Topology.from_params(given)
    return [problem.field for problem in refused.value.problems]


def test_an_image_is_enough() -> None:
    topology = Topology.from_params(params())
    assert topology.kubernetes == Kubernetes(image=IMAGE)
    assert (topology.hosts, topology.python, topology.root, topology.data_dir) == ((), "", "", "/data/mnist")


def test_the_data_set_says_where_it_lies() -> None:
    given = {**params(), "training": {"dataset": "fashion_mnist"}}
    assert Topology.from_params(given).data_dir == "/data/fashion_mnist"
    assert Topology.from_params({**given, "data_dir": "/mnt/own"}).data_dir == "/mnt/own"


EVERYTHING: dict[str, Any] = {
    "namespace": "lab",
    "backend": "statefulset",
    "image_pull_policy": "Never",
    "image_pull_secrets": ["site-registry"],
    "placement": {"strategy": "nodes", "nodes": ["w1", "w2.example"]},
    "node_selector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "priority_class": "batch-low",
    "runtime_class": "nvidia",
    "service_account": "trainer",
    "volumes": {
        "data": {"nfs": {"server": "10.0.0.9", "path": "/data"}},
        "checkpoints": {"claim": {"size": "5Gi", "storage_class": "", "access_modes": ["ReadWriteMany"]}},
        "logs": {"persistentVolumeClaim": {"claimName": "logs"}},
    },
    "first_step_timeout_seconds": 90,
    "network_policy": False,
    "disruption_budget": False,
    "pod_patch": {"chief": {"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["x"]}]}}},
}


@pytest.mark.parametrize("given", [{}, EVERYTHING])
def test_what_was_read_is_json_and_reads_back_the_same(given: dict[str, Any]) -> None:
    topology = Topology.from_params(
        {**params(**given), "workers": {"replicas": 3, "resources": {"limits": {"cpu": 2, "memory": "2Gi"}}}}
    )
    document = topology.as_dict()
    again = Topology.from_params(json.loads(json.dumps(document)))
    assert again == topology
    assert (again.as_dict(), again.spec_hash()) == (document, topology.spec_hash())
    assert topology.workers.resources == {"limits": {"cpu": "2", "memory": "2Gi"}}


def test_a_claim_is_written_by_one_node_unless_it_says_otherwise() -> None:
    topology = Topology.from_params(params(volumes={"checkpoints": {"claim": {"size": "1Gi"}}}))
    assert topology.kubernetes is not None
    expected = {"claim": {"size": "1Gi", "access_modes": ["ReadWriteOnce"]}}
    assert topology.kubernetes.volumes == Volumes(checkpoints=expected)


def test_a_volume_source_may_be_empty() -> None:
    topology = Topology.from_params(params(volumes={"logs": {"emptyDir": None}}))
    assert topology.kubernetes is not None
    assert topology.kubernetes.volumes.logs == {"emptyDir": {}}


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"image": None}, ["kubernetes.image"]),
        ({"image": "has space"}, ["kubernetes.image"]),
        ({"namespace": "Lab"}, ["kubernetes.namespace"]),
        ({"backend": "deployment"}, ["kubernetes.backend"]),
        ({"image_pull_policy": "always"}, ["kubernetes.image_pull_policy"]),
        ({"image_pull_secrets": "one"}, ["kubernetes.image_pull_secrets"]),
        ({"image_pull_secrets": ["One"]}, ["kubernetes.image_pull_secrets[0]"]),
        ({"placement": {"strategy": "random"}}, ["kubernetes.placement.strategy"]),
        ({"placement": {"strategy": "nodes"}}, ["kubernetes.placement.nodes"]),
        ({"placement": {"nodes": ["w1"]}}, ["kubernetes.placement.nodes"]),
        ({"placement": {"strategy": "nodes", "nodes": ["w1", "w1"]}}, ["kubernetes.placement.nodes"]),
        ({"node_selector": {"gpu": True}}, ["kubernetes.node_selector.gpu"]),
        ({"node_selector": ["gpu"]}, ["kubernetes.node_selector"]),
        ({"tolerations": {"key": "gpu"}}, ["kubernetes.tolerations"]),
        ({"tolerations": ["gpu"]}, ["kubernetes.tolerations[0]"]),
        ({"priority_class": "No Such"}, ["kubernetes.priority_class"]),
        ({"volumes": {"models": {}}}, ["kubernetes.volumes.models"]),
        ({"volumes": {"logs": {}}}, ["kubernetes.volumes.logs"]),
        ({"volumes": {"logs": {"emptyDir": {}, "nfs": {}}}}, ["kubernetes.volumes.logs"]),
        ({"volumes": {"logs": {"gitRepo": {}}}}, ["kubernetes.volumes.logs"]),
        ({"volumes": {"logs": {"claim": {}}}}, ["kubernetes.volumes.logs.claim.size"]),
        ({"volumes": {"logs": {"claim": {"size": "big"}}}}, ["kubernetes.volumes.logs.claim.size"]),
        (
            {"volumes": {"logs": {"claim": {"size": "1Gi", "access_modes": ["RWX"]}}}},
            ["kubernetes.volumes.logs.claim.access_modes[0]"],
        ),
        ({"ttl_seconds_after_finished": -1}, ["kubernetes.ttl_seconds_after_finished"]),
        ({"active_deadline_seconds": "soon"}, ["kubernetes.active_deadline_seconds"]),
        (
            {"backend": "statefulset", "active_deadline_seconds": 5, "ttl_seconds_after_finished": 5},
            ["kubernetes.ttl_seconds_after_finished", "kubernetes.active_deadline_seconds"],
        ),
        ({"pod_patch": {"master": {}}}, ["kubernetes.pod_patch.master"]),
        ({"pod_patch": {"all": "nodeName: w1"}}, ["kubernetes.pod_patch.all"]),
        ({"imagePullPolicy": "Never"}, ["kubernetes.imagePullPolicy"]),
        (
            {"image": None, "backend": "x", "volumes": {"x": 1}},
            ["kubernetes.image", "kubernetes.backend", "kubernetes.volumes.x"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(given: dict[str, Any], fields: list[str]) -> None:
    assert sorted(problems(params(**given))) == sorted(fields)


def test_each_runtime_refuses_what_only_the_other_has() -> None:
    place = {"hosts": [{"name": "a", "address": "10.0.0.1"}], "python": "/p", "data_dir": "/d", "root": "/r"}
    process = {"name": "demo", **place}
    assert problems({**process, "kubernetes": {"image": IMAGE}}) == ["kubernetes"]
    assert problems({**process, "ps": {"resources": {"limits": {"cpu": "1"}}}}) == ["ps.resources"]
    assert problems({**params(), "lifecycle": {"lease_seconds": 60}}) == ["lifecycle.lease_seconds"]
    assert problems({"name": "demo", "runtime": "kubernetes"}) == ["kubernetes.image"]


@pytest.mark.parametrize("resources", [{"limits": {"cpu": "two"}}, {"limits": "2"}, {"limit": {}}, 3])
def test_amounts_are_those_of_kubernetes(resources: object) -> None:
    (field,) = problems({**params(), "workers": {"resources": resources}})
    assert field.startswith("workers.resources")


def test_pods_may_all_have_one_port() -> None:
    topology = Topology.from_params({**params(), "ps": {"replicas": 2, "port": 9000}})
    assert [task.port for task in tasks(topology)] == [9000] * 4


def test_the_hash_is_of_what_runs() -> None:
    topology = Topology.from_params(params())
    for same in ({"ttl_seconds_after_finished": 60}, {"first_step_timeout_seconds": 60}):
        assert Topology.from_params(params(**same)).spec_hash() == topology.spec_hash()
    for other in ({"image": "other:1"}, {"backend": "statefulset"}, {"placement": {"strategy": "pack"}}):
        assert Topology.from_params(params(**other)).spec_hash() != topology.spec_hash()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_chief_is_a_set_of_its_own(workers: int) -> None:
    topology = Topology.from_params(
        {**params(namespace="lab"), "ps": {"replicas": 2}, "workers": {"replicas": workers}}
    )
    sizes = {entry.component: (entry.size, entry.first) for entry in task_sets(topology)}
    more = {"worker": (workers - 1, 1)} if workers > 1 else {}
    assert sizes == {"ps": (2, 0), "chief": (1, 0), **more}
    assert [(task.role, task.index) for task in tasks(topology)] == [
        ("ps", 0), ("ps", 1), *(("worker", index) for index in range(workers)),
    ]  # fmt: skip
    assert host_list(topology, "ps") == "demo-ps-0.demo-ps.lab.svc:8000,demo-ps-1.demo-ps.lab.svc:8000"
    others = [f"demo-worker-{pod}.demo-worker.lab.svc:9000" for pod in range(workers - 1)]
    assert host_list(topology, "worker").split(",") == ["demo-chief-0.demo-chief.lab.svc:9000", *others]


def test_spreading_is_the_default() -> None:
    assert Kubernetes(image=IMAGE).placement == Placement("spread", ())
