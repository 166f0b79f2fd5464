"""kubeadm's documents: what is decided here, what the user lays over it, and every problem at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import kubeadm_documents as documents
from ansible_collections.dtf.cluster.plugins.module_utils.kubeadm_documents import Cluster, Node

CLUSTER = Cluster(version="1.36.3", endpoint="10.0.0.11:6443", pod_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16")
CP = Node("cp1", "10.0.0.11")
W1 = Node("w1", "10.0.0.12")


def kinds(items: list[dict[str, object]]) -> dict[str, dict[str, Any]]:
    return {str(item["kind"]): item for item in items}


def arguments(document: dict[str, Any], component: str) -> dict[str, str]:
    return {item["name"]: item["value"] for item in document[component]["extraArgs"]}


def test_init_is_given_four_documents_in_the_only_version_that_is_written() -> None:
    found = kinds(documents.init_documents(CLUSTER, CP))
    assert list(found) == [
        "InitConfiguration",
        "ClusterConfiguration",
        "KubeletConfiguration",
        "KubeProxyConfiguration",
    ]
    assert found["InitConfiguration"]["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    assert found["InitConfiguration"]["localAPIEndpoint"] == {"advertiseAddress": "10.0.0.11", "bindPort": 6443}
    assert found["ClusterConfiguration"]["kubernetesVersion"] == "v1.36.3"
    assert found["ClusterConfiguration"]["networking"]["podSubnet"] == "10.244.0.0/16"


def test_the_token_that_kubeadm_would_keep_for_a_day_lives_a_minute() -> None:
    init = documents.init_documents(CLUSTER, CP)[0]
    assert init["bootstrapTokens"] == [{"ttl": "1m0s", "usages": ["signing", "authentication"]}]


def test_a_missing_image_is_told_and_not_fetched() -> None:
    join: Any = documents.join_document(CLUSTER, W1)
    assert join["nodeRegistration"]["imagePullPolicy"] == "Never"
    assert join["nodeRegistration"]["kubeletExtraArgs"] == [{"name": "node-ip", "value": "10.0.0.12"}]


@pytest.mark.parametrize(
    ("taints", "expected"),
    [
        (None, "left to kubeadm"),
        ((), []),
        (({"key": "gpu", "effect": "NoSchedule"},), [{"key": "gpu", "effect": "NoSchedule"}]),
    ],
)
def test_no_taints_is_something_else_than_kubeadms(taints: Any, expected: Any) -> None:
    join: Any = documents.join_document(CLUSTER, replace(W1, taints=taints))
    assert join["nodeRegistration"].get("taints", "left to kubeadm") == expected


def test_version_one_of_the_cgroups_is_made_known_to_both() -> None:
    old = replace(CLUSTER, cgroup_v1=True)
    assert documents.kubelet_configuration(old)["failCgroupV1"] is False
    assert "failCgroupV1" not in documents.kubelet_configuration(CLUSTER)
    assert documents.ignored_checks(old, ["Swap"]) == ["Swap", "SystemVerification"]
    assert documents.ignored_checks(CLUSTER, ["Swap"]) == ["Swap"]


@pytest.mark.parametrize(("version", "mode"), [("1.31.0", "iptables"), ("1.32.9", "iptables"), ("1.33.0", "nftables")])
def test_the_proxy_uses_nftables_where_it_is_stable(version: str, mode: str) -> None:
    assert documents.kube_proxy_configuration(replace(CLUSTER, version=version))["mode"] == mode


def test_the_users_documents_are_merged_over_ours() -> None:
    over = {
        "KubeletConfiguration": {"maxPods": 200, "authentication": {"webhook": {"cacheTTL": "1m"}}},
        "ClusterConfiguration": {
            "apiServer": {"extraArgs": [{"name": "profiling", "value": "true"}, {"name": "event-ttl", "value": "4h"}]}
        },
        "KubeProxyConfiguration": {"mode": "iptables"},
    }
    found = kinds(documents.init_documents(replace(CLUSTER, documents=over), CP))
    assert found["KubeletConfiguration"]["maxPods"] == 200
    assert found["KubeletConfiguration"]["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "1m"}
    assert arguments(found["ClusterConfiguration"], "apiServer") == {"profiling": "true", "event-ttl": "4h"}
    assert arguments(found["ClusterConfiguration"], "scheduler") == {"profiling": "false"}
    assert found["KubeProxyConfiguration"]["mode"] == "iptables"


def test_a_list_that_is_no_list_of_arguments_is_replaced() -> None:
    assert documents.merged({"certSANs": ["a", "b"]}, {"certSANs": ["c"]}) == {"certSANs": ["c"]}


def test_an_argument_may_be_given_twice_under_one_name() -> None:
    twice = [{"name": "feature-gates", "value": "A=true"}, {"name": "feature-gates", "value": "B=true"}]
    assert documents.merged({"extraArgs": [{"name": "feature-gates", "value": "C=true"}]}, {"extraArgs": twice}) == {
        "extraArgs": twice
    }


def test_merging_leaves_both_as_they_were() -> None:
    base, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert documents.merged(base, over) == {"a": {"b": 1, "c": 2}}
    assert (base, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_audit_and_encryption_bring_their_files_into_the_api_server() -> None:
    server = kinds([documents.cluster_configuration(replace(CLUSTER, audit_policy="5f2b", encryption_at_rest=True))])
    api: Any = server["ClusterConfiguration"]["apiServer"]
    given = {item["name"]: item["value"] for item in api["extraArgs"]}
    mounted = {volume["hostPath"] for volume in api["extraVolumes"]}
    assert given["audit-policy-file"] in mounted
    assert given["encryption-provider-config"] in mounted
    assert given["audit-log-path"].rpartition("/")[0] in mounted
    assert [volume["readOnly"] for volume in api["extraVolumes"]] == [True, False, True]
    assert api["extraEnvs"][0]["value"] == "5f2b"
    plain: Any = documents.cluster_configuration(CLUSTER)["apiServer"]
    assert "extraVolumes" not in plain


def test_what_makes_sense_has_no_problem() -> None:
    assert documents.problems(CLUSTER, [CP, W1], {"kubeadm": "1.36.3", "kubelet": "v1.36.3"}) == []


@pytest.mark.parametrize(
    ("changes", "nodes", "bundle", "fields"),
    [
        ({"version": "1.30.9"}, [CP], {}, ["kubeadm_version"]),
        ({"version": "latest"}, [CP], {}, ["kubeadm_version"]),
        ({}, [CP], {"kubelet": "1.35.0"}, ["kubeadm_version"]),
        ({"endpoint": "10.0.0.11:99999"}, [CP], {}, ["kubeadm_control_plane_endpoint"]),
        ({"endpoint": "https://x:1"}, [CP], {}, ["kubeadm_control_plane_endpoint"]),
        ({"pod_cidr": "10.244.0.1/16"}, [CP], {}, ["kubeadm_pod_cidr"]),
        ({"service_cidr": "10.244.128.0/20"}, [CP], {}, ["kubeadm_service_cidr"]),
        ({"pod_cidr": "10.244.0.0/24"}, [CP, W1], {}, ["kubeadm_pod_cidr"]),
        ({}, [CP, Node("w1", "w1.bank.example")], {}, ["kubeadm_node_ip of w1"]),
        ({}, [CP, Node("w1", "10.244.3.4")], {}, ["kubeadm_node_ip of w1"]),
        ({}, [CP, Node("w1", "10.0.0.11")], {}, ["kubeadm_node_ip"]),
        ({}, [CP, Node("W_1", "10.0.0.12")], {}, ["kubeadm_node_name"]),
        ({}, [CP, Node("cp1", "10.0.0.12")], {}, ["kubeadm_node_name"]),
        (
            {"documents": {"InitConfiguration": {"apiVersion": "kubeadm.k8s.io/v1beta3"}}},
            [CP], {}, ["kubeadm InitConfiguration.apiVersion"],
        ),
    ],
)  # fmt: skip
def test_each_problem_is_named_by_its_field(
    changes: dict[str, Any], nodes: list[Node], bundle: dict[str, str], fields: list[str]
) -> None:
    assert [problem.field for problem in documents.problems(replace(CLUSTER, **changes), nodes, bundle)] == fields


def test_all_problems_are_told_at_once() -> None:
    bad = replace(CLUSTER, version="1", endpoint="", pod_cidr="x", service_cidr="y")
    fields = {problem.field for problem in documents.problems(bad, [Node("w1", "nowhere")], {})}
    assert fields == {
        "kubeadm_version", "kubeadm_control_plane_endpoint", "kubeadm_pod_cidr", "kubeadm_service_cidr",
        "kubeadm_node_ip of w1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("10.0.0.1", ("10.0.0.1", 6443)),
        ("api.bank.example:443", ("api.bank.example", 443)),
        ("[fd00::1]:6443", ("fd00::1", 6443)),
        ("10.0.0.1:0", None),
        ("", None),
        ("a b:1", None),
    ],
)
def test_an_endpoint_is_taken_apart(endpoint: str, parts: tuple[str, int] | None) -> None:
    assert documents.endpoint_parts(endpoint) == parts
