"""What the operator's stand-in decides, and a ClusterPolicy's life with it, against an API that is a dictionary."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
Document = dict[str, Any]
NAMESPACE = "gpu"
CARD = "feature.node.kubernetes.io/pci-10de.present"
DAEMON_SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"


def _loaded() -> ModuleType:
    path = ROOT / "tests/fixtures/charts/gpu-operator/files/operator_stand_in.py"
    spec = importlib.util.spec_from_file_location("operator_stand_in", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


stand_in: Any = _loaded()


def merged(base: Document, over: Document) -> Document:
    """Return a document with a merge patch applied."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


class FakeApi:
    """Path → object, and what was written to it."""

    def __init__(self, *nodes: Document, policies: tuple[Document, ...] = ()) -> None:
        self.objects: dict[str, Document] = {f"{stand_in.NODES}/{node['metadata']['name']}": node for node in nodes}
        self.objects |= {f"{stand_in.POLICIES}/{one['metadata']['name']}": one for one in policies}
        self.written: list[str] = []

    def get(self, path: str) -> Document | None:
        found = self.objects.get(path)
        return copy.deepcopy(found) if found else None

    def items(self, path: str) -> list[Document]:
        below = {key for key in self.objects if key.rpartition("/")[0] == path}
        return [copy.deepcopy(self.objects[key]) for key in sorted(below)]

    def create(self, path: str, document: Document) -> Document:
        return self._put(f"{path}/{document['metadata']['name']}", document, "POST")

    def replace(self, path: str, document: Document) -> Document:
        assert document["metadata"]["resourceVersion"] == self.objects[path]["metadata"]["resourceVersion"]
        return self._put(path, document, "PUT")

    def patch(self, path: str, document: Document) -> Document:
        self.written.append(f"PATCH {path}")
        path = path.removesuffix("/status")
        self.objects[path] = merged(self.objects.get(path) or {}, document)
        return copy.deepcopy(self.objects[path])

    def delete(self, path: str) -> None:
        self.written.append(f"DELETE {path}")
        self.objects.pop(path, None)

    def _put(self, path: str, document: Document, verb: str) -> Document:
        self.written.append(f"{verb} {path}")
        generation = self.objects.get(path, {}).get("metadata", {}).get("generation", 0) + 1
        version = {"generation": generation, "resourceVersion": str(len(self.written))}
        self.objects[path] = merged(self.objects.get(path) or {}, merged(document, {"metadata": version}))
        return copy.deepcopy(self.objects[path])

    def arrive(self, *without: str) -> None:
        """Do what Kubernetes does: each DaemonSet's pods are there, but for some of no use."""
        for path, one in self.objects.items():
            if path.startswith(DAEMON_SETS):
                (selector,) = one["spec"]["template"]["spec"]["nodeSelector"].items()
                nodes = [node for node in self.items(stand_in.NODES) if selector in stand_in.labels_of(node).items()]
                there = 0 if one["metadata"]["name"] in without else len(nodes)
                one["status"] = {
                    "observedGeneration": one["metadata"]["generation"],
                    "desiredNumberScheduled": len(nodes),
                    "updatedNumberScheduled": there,
                    "numberAvailable": there,
                }


def node(name: str = "w1", *, cards: int = 0, image: str = "Debian GNU/Linux 12 (bookworm)") -> Document:
    words = {"annotations": {stand_in.CARDS: str(cards)}} if cards else {}
    return {
        "metadata": {"name": name, "labels": {}, **words},
        "status": {"nodeInfo": {"osImage": image, "kernelVersion": "6.1.0-18"}},
    }


def policy(name: str = "cluster-policy", created: str = "2026-01-01T00:00:00Z", **spec: Document) -> Document:
    image = {"repository": "dtf.cluster", "image": "python", "version": "3.11"}
    parts: Document = {operand.component: dict(image) for operand in stand_in.OPERANDS}
    parts["driver"] |= {"enabled": False, "manager": image}
    parts["dcgm"]["enabled"] = False
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": created},
        "spec": merged({"operator": {}, "daemonsets": {}, **parts}, spec),
    }


def carried_out(api: FakeApi, times: int = 1) -> Document:
    """Have the operator look at all once and again; return the status of the ClusterPolicy."""
    for second in range(times):
        stand_in.operate(api, NAMESPACE, f"2026-01-01T00:00:0{second}Z")
    status: Document = api.objects[f"{stand_in.POLICIES}/cluster-policy"].get("status", {})
    return status


def holding(status: Document) -> tuple[str, str]:
    """Return reason and message of the condition that holds."""
    (condition,) = [entry for entry in status["conditions"] if entry["status"] == "True"]
    return condition["reason"], condition["message"]


# Nodes


def test_a_node_with_cards_is_discovered_and_its_system_is_told() -> None:
    found = stand_in.discovered(node(cards=2))
    assert found["labels"] == {
        CARD: "true",
        stand_in.OS_ID: "debian",
        stand_in.OS_VERSION: "12",
        stand_in.KERNEL: "6.1.0-18",
    }
    assert CARD not in stand_in.discovered(node(image="Ubuntu 22.04.5 LTS"))["labels"]
    assert stand_in.discovered(node(image="Ubuntu 22.04.5 LTS"))["labels"][stand_in.OS_VERSION] == "22.04"


def test_discovery_takes_back_what_it_has_set_and_nothing_else() -> None:
    api = FakeApi(node(cards=1), node("w2"))
    api.objects[f"{stand_in.NODES}/w2"]["metadata"]["labels"][CARD] = "true"
    stand_in.discover(api)
    first = list(api.written)
    stand_in.discover(api)
    assert api.written == first
    del api.objects[f"{stand_in.NODES}/w1"]["metadata"]["annotations"][stand_in.CARDS]
    stand_in.discover(api)
    assert CARD not in api.objects[f"{stand_in.NODES}/w1"]["metadata"]["labels"]
    assert api.objects[f"{stand_in.NODES}/w2"]["metadata"]["labels"][CARD] == "true"


def test_operands_are_let_onto_a_node_with_a_card_and_words_that_stand_there_are_heeded() -> None:
    deploy = stand_in.DEPLOY
    found = stand_in.operated({CARD: "true", f"{deploy}driver": "pre-installed", f"{deploy}dcgm": ""})
    assert found[stand_in.PRESENT] == "true"
    assert found[f"{deploy}driver"] == "pre-installed"
    assert found[f"{deploy}dcgm"] == "true"
    assert found[f"{deploy}device-plugin"] == "true"
    assert f"{deploy}mig-manager" not in found


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, {}),
        # Before a card is discovered, what somebody has set goes too.
        ({"nvidia.com/gpu.deploy.driver": "false"}, {}),
        ({"nvidia.com/gpu.present": "true"}, {"nvidia.com/gpu.present": "false"}),
        (
            {CARD: "true", "nvidia.com/gpu.deploy.operands": "false", "nvidia.com/gpu.deploy.driver": "true"},
            {CARD: "true", "nvidia.com/gpu.deploy.operands": "false", "nvidia.com/gpu.present": "true"},
        ),
    ],
)
def test_operands_are_kept_off_other_nodes(labels: dict[str, str], expected: dict[str, str]) -> None:
    assert stand_in.operated(labels) == expected


@pytest.mark.parametrize(
    ("config", "product", "replicas"),
    [
        ("", "Stand-In", "1"),
        ("version: v1\n", "Stand-In", "1"),
        (
            "sharing:\n  timeSlicing:\n    resources:\n      - {name: nvidia.com/gpu, replicas: 4}\n",
            "Stand-In-SHARED",
            "4",
        ),
        (json.dumps({"sharing": {"mps": {"renameByDefault": True, "resources": [{"replicas": 3}]}}}), "Stand-In", "3"),
    ],
)
def test_cards_are_described_where_that_is_found_out(config: str, product: str, replicas: str) -> None:
    labels = {f"{stand_in.DEPLOY}gpu-feature-discovery": "true", "mine": "x"}
    found = stand_in.featured(labels, 2, config)
    assert found["nvidia.com/gpu.count"] == "2"
    assert (found["nvidia.com/gpu.product"], found["nvidia.com/gpu.replicas"]) == (product, replicas)
    assert stand_in.featured(found, 0, config) == labels
    assert stand_in.featured({"mine": "x"}, 2, config) == {"mine": "x"}


def test_only_what_differs_is_written() -> None:
    assert stand_in.changes({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "3", "d": "4"}) == {
        "b": "3",
        "c": None,
        "d": "4",
    }


# What runs


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        ({"repository": "r.example/n", "image": "i", "version": "v1"}, "r.example/n/i:v1"),
        ({"repository": "r", "image": "i", "version": "sha256:ab"}, "r/i@sha256:ab"),
        ({"image": "r/i@sha256:ab"}, "r/i@sha256:ab"),
    ],
)
def test_an_image_is_named_in_parts_or_whole(component: Document, expected: str) -> None:
    assert stand_in.image(component) == expected


def test_half_an_image_is_refused() -> None:
    with pytest.raises(stand_in.Refused, match="repository 'r', image 'i' and version ''"):
        stand_in.image({"repository": "r", "image": "i"})


def test_the_plugin_is_told_its_node_and_its_configurations() -> None:
    spec = policy(devicePlugin={"config": {"name": "sharing", "default": "two"}, "args": ["--devices=2"]})
    made = stand_in.daemonset(stand_in.DEVICE_PLUGIN, spec, NAMESPACE, "debian12")
    pod = made["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == [
        *("serve", "--devices=0", "--node=$(NODE_NAME)"),
        *("--configs=/available-configs", "--config=two", "--devices=2"),
    ]
    assert {"name": "available-configs", "configMap": {"name": "sharing"}} in pod["volumes"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.deploy.device-plugin": "true"}
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-cluster-policy"


def test_what_all_daemonsets_share_comes_from_the_policy() -> None:
    common = {"tolerations": [{"key": "x"}], "labels": {"team": "a"}, "priorityClassName": "high"}
    spec = policy(daemonsets=common, toolkit={"imagePullSecrets": ["login"], "env": [{"name": "A", "value": "b"}]})
    toolkit = next(operand for operand in stand_in.OPERANDS if operand.component == "toolkit")
    template = stand_in.daemonset(toolkit, spec, NAMESPACE, "debian12")["spec"]["template"]
    assert template["metadata"]["labels"] == {"team": "a", "app": "nvidia-container-toolkit-daemonset"}
    assert template["spec"]["tolerations"] == [{"key": "x"}]
    assert template["spec"]["priorityClassName"] == "high"
    assert template["spec"]["imagePullSecrets"] == [{"name": "login"}]
    assert template["spec"]["containers"][0]["env"] == [{"name": "A", "value": "b"}]


def test_the_driver_s_image_is_one_for_a_system_and_is_never_rolled() -> None:
    made = stand_in.daemonset(stand_in.DRIVER, policy(driver={"enabled": True}), NAMESPACE, "rhel9")
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "dtf.cluster/python:3.11-rhel9"
    assert made["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert stand_in.system({stand_in.OS_ID: "rocky", stand_in.OS_VERSION: "9.4"}) == "rocky9"


def test_a_daemonset_is_ready_when_all_its_new_pods_are_and_kubernetes_has_seen_it() -> None:
    there = {"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
    live = {"metadata": {"generation": 2}, "spec": {"updateStrategy": {"type": "RollingUpdate"}}, "status": there}
    assert stand_in.is_ready(live)
    for late in ({"observedGeneration": 1}, {"updatedNumberScheduled": 1}, {"numberAvailable": 1}):
        assert not stand_in.is_ready({**live, "status": {**there, **late}})
    assert not stand_in.is_ready({**live, "status": {}})
    on_delete = {**live, "spec": {"updateStrategy": {"type": "OnDelete"}}}
    assert stand_in.is_ready({**on_delete, "status": {**there, "updatedNumberScheduled": 0}})


# A ClusterPolicy's life


def test_a_policy_becomes_ready_when_its_operands_are() -> None:
    api = FakeApi(node(cards=2), node("w2"), policies=(policy(),))
    stand_in.discover(api)
    status = carried_out(api)
    reason, message = holding(status)
    assert (status["state"], status["namespace"], reason) == ("notReady", NAMESPACE, "OperandNotReady")
    assert message.startswith("ClusterPolicy is not ready; states not ready: [state-container-toolkit ")
    api.arrive("nvidia-device-plugin-daemonset")
    assert holding(carried_out(api))[1] == "ClusterPolicy is not ready; states not ready: [state-device-plugin]"
    api.arrive()
    status = carried_out(api)
    assert (status["state"], holding(status)[0]) == ("ready", "Reconciled")
    assert [entry["status"] for entry in status["conditions"]] == ["True", "False"]
    quiet = list(api.written)
    carried_out(api, times=3)
    assert api.written == quiet


def test_a_driver_that_never_comes_is_named() -> None:
    api = FakeApi(node(cards=1), policies=(policy(driver={"enabled": True}),))
    stand_in.discover(api)
    carried_out(api)
    api.arrive("nvidia-driver-daemonset")
    assert holding(carried_out(api)) == (
        "OperandNotReady",
        "ClusterPolicy is not ready; states not ready: [state-driver]",
    )


def test_a_driver_that_is_kept_off_its_nodes_keeps_nothing_up() -> None:
    api = FakeApi(node(cards=1), policies=(policy(driver={"enabled": True}),))
    stand_in.discover(api)
    api.objects[f"{stand_in.NODES}/w1"]["metadata"]["labels"][f"{stand_in.DEPLOY}driver"] = "false"
    carried_out(api)
    api.arrive("nvidia-driver-daemonset")
    assert carried_out(api)["state"] == "ready"


def test_without_a_card_a_policy_is_ready_and_nothing_runs() -> None:
    api = FakeApi(node(), policies=(policy(),))
    assert holding(carried_out(api))[0] == "NFDLabelsMissing"
    stand_in.discover(api)
    assert holding(carried_out(api))[0] == "NoGPUNodes"
    assert not [path for path in api.objects if path.startswith(DAEMON_SETS)]


def test_the_oldest_policy_is_carried_out_and_the_others_are_ignored() -> None:
    younger = policy("a-second", created="2026-01-02T00:00:00Z")
    api = FakeApi(node(), policies=(policy(), younger))
    assert carried_out(api)["state"] == "ready"
    assert api.objects[f"{stand_in.POLICIES}/a-second"]["status"] == {"state": "ignored", "namespace": NAMESPACE}


def test_what_cannot_be_carried_out_is_said() -> None:
    half = policy(devicePlugin={"version": ""})
    api = FakeApi(node(cards=1), policies=(half,))
    stand_in.discover(api)
    reason, message = holding(carried_out(api))
    assert reason == "ReconcileFailed"
    assert message.startswith("state-device-plugin: repository 'dtf.cluster', image 'python' and version ''")


def test_a_card_of_a_node_that_tells_no_system_is_refused() -> None:
    api = FakeApi(node(cards=1), policies=(policy(),))
    api.objects[f"{stand_in.NODES}/w1"]["metadata"]["labels"] = {CARD: "true"}
    assert holding(carried_out(api)) == (
        "ReconcileFailed",
        f"a node with a card does not tell its system: there is no label {stand_in.OS_ID}",
    )


def test_what_is_turned_off_goes_and_what_changes_is_replaced() -> None:
    api = FakeApi(node(cards=1), policies=(policy(),))
    stand_in.discover(api)
    carried_out(api)
    spec = api.objects[f"{stand_in.POLICIES}/cluster-policy"]["spec"]
    spec["toolkit"]["enabled"] = False
    spec["gfd"]["version"] = "3.12"
    before = len(api.written)
    carried_out(api)
    later = [line for line in api.written[before:] if "daemonsets" in line]
    assert later == [
        f"DELETE {DAEMON_SETS}/nvidia-container-toolkit-daemonset",
        f"PUT {DAEMON_SETS}/gpu-feature-discovery",
    ]


def test_sharing_is_described_by_what_each_node_chooses() -> None:
    shared = policy(devicePlugin={"config": {"name": "sharing", "default": "whole"}})
    api = FakeApi(node(cards=2), node("w2", cards=1), policies=(shared,))
    configs = {"whole": "version: v1", "shared": '{"replicas": 4}'}
    api.objects[f"/api/v1/namespaces/{NAMESPACE}/configmaps/sharing"] = {"data": configs}
    stand_in.discover(api)
    api.objects[f"{stand_in.NODES}/w2"]["metadata"]["labels"]["nvidia.com/device-plugin.config"] = "shared"
    carried_out(api)
    parts = [stand_in.labels_of(one)["nvidia.com/gpu.replicas"] for one in api.items(stand_in.NODES)]
    assert parts == ["1", "4"]


def test_a_runtime_class_of_somebody_else_becomes_the_policy_s() -> None:
    api = FakeApi(node(), policies=(policy(cdi={"enabled": False}),))
    path = f"{stand_in.RUNTIME_CLASSES}/nvidia"
    api.objects[path] = {"metadata": {"name": "nvidia", "resourceVersion": "7"}, "handler": "nvidia"}
    carried_out(api)
    assert api.objects[path]["metadata"]["ownerReferences"][0]["name"] == "cluster-policy"
    api.objects[path]["handler"] = "other"
    assert holding(carried_out(api))[0] == "ReconcileFailed"


def test_a_condition_keeps_its_time_as_long_as_it_holds() -> None:
    waiting = stand_in.outcome(["state-driver"], features=True, nodes=True)
    first = stand_in.status({}, waiting, NAMESPACE, "2026-01-01T00:00:00Z")
    later = stand_in.outcome(["state-dcgm"], features=True, nodes=True)
    second = stand_in.status(first, later, NAMESPACE, "2026-01-01T00:01:00Z")
    assert {entry["lastTransitionTime"] for entry in second["conditions"]} == {"2026-01-01T00:00:00Z"}
    assert holding(second)[1].endswith("[state-dcgm]")
    done = stand_in.status(second, stand_in.outcome([], features=True, nodes=True), NAMESPACE, "2026-01-01T00:02:00Z")
    assert {entry["lastTransitionTime"] for entry in done["conditions"]} == {"2026-01-01T00:02:00Z"}


def test_definitions_are_brought_and_brought_again() -> None:
    api = FakeApi()
    document: Document = {"metadata": {"name": "clusterpolicies.nvidia.com"}, "spec": {"scope": "Cluster"}}
    stand_in.apply(api, copy.deepcopy(document))
    stand_in.apply(api, copy.deepcopy(document))
    path = f"{stand_in.DEFINITIONS}/clusterpolicies.nvidia.com"
    assert api.written == [f"POST {path}", f"PUT {path}"]
