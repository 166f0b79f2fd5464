"""Whether nodes offer their GPUs, and why not: NVIDIA's operator and device plugin as the API shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_readiness import (
    SEARCH_SECONDS,
    NodeVerdict,
    Policy,
    Seen,
    Verdict,
    Wanted,
    hopeless,
    judge,
    lines,
    progress,
    worth_reading,
)
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_stack import newest
from ansible_collections.dtf.cluster.plugins.module_utils.kind_stages import Stages
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster, Listing, Resource
from ansible_collections.dtf.cluster.plugins.module_utils.pod_trouble import PULL_TRIES, trouble
from ansible_collections.dtf.cluster.plugins.module_utils.waiter import Clock, wait
from ansible_collections.dtf.cluster.plugins.modules.gpu_ready import Watch, problems
from tests.unit.module_utils.pod_samples import BEGIN, stamp

Document = dict[str, Any]

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-1g.5gb"
NAMESPACE, POLICY = "gpu-operator", "cluster-policy"
PLUGIN, TOOLKIT = "nvidia-device-plugin-daemonset", "nvidia-container-toolkit-daemonset"
PULLED_BY = "registry.example/nvidia/plugin:v1"
#: A node as node-feature-discovery and the operator label one with a card.
FOUND = {"feature.node.kubernetes.io/pci-10de.present": "true"}
LABELS = {**FOUND, "nvidia.com/gpu.present": "true", "nvidia.com/gpu.deploy.device-plugin": "true"}
TOLERATED = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
RUNNING: Document = {"running": {"startedAt": stamp(0)}}
NO_RUNTIME = (
    'Failed to create pod sandbox: rpc error: desc = unable to get OCI runtime: no runtime for "n" is configured'
)


def node(name: str = "w1", offered: int | dict[str, int] = 2, **more: Any) -> Document:
    """Return a node; ``more``: ``there`` (its capacity), ``labels``, ``ready``, ``taints``, ``cordoned``."""
    counts = {GPU: offered} if isinstance(offered, int) else offered
    amounts = {name: str(count) for name, count in counts.items()}
    there = {name: str(count) for name, count in more.get("there", {}).items()}
    ready = more.get("ready", True)
    condition = {
        "type": "Ready",
        "status": "True" if ready else "Unknown",
        "reason": "KubeletReady" if ready else "NodeStatusUnknown",
        "message": "" if ready else "Kubelet stopped posting node status.",
    }
    spec: Document = {"taints": more.get("taints", [])}
    return {
        "metadata": {"name": name, "labels": more.get("labels", LABELS)},
        "spec": {**spec, "unschedulable": True} if more.get("cordoned") else spec,
        "status": {
            "conditions": [condition],
            "capacity": {"cpu": "8", "memory": "16Gi", **amounts, **there},
            "allocatable": {"cpu": "8", "memory": "15Gi", **amounts},
        },
    }


def template(name: str) -> Document:
    """Return what a DaemonSet's pods are made of."""
    spec: Document = {"tolerations": TOLERATED, "containers": [{"name": "sidecar"}, {"name": name}]}
    if "device-plugin" in name:
        spec["nodeSelector"] = {"nvidia.com/gpu.deploy.device-plugin": "true"}
        spec["volumes"] = [{"name": "sockets", "hostPath": {"path": "/var/lib/kubelet/device-plugins"}}]
        spec["containers"][1]["volumeMounts"] = [{"name": "sockets"}]
    return spec


def daemon_set(name: str = PLUGIN, **spec: Any) -> Document:
    return {"metadata": {"name": name}, "spec": {"template": {"spec": {**template(name), **spec}}}}


def pod(owner: str = PLUGIN, on: str = "w1", **more: Any) -> Document:
    """Return a pod of a DaemonSet; ``more``: ``state``, ``init``, ``last``, ``restarts``, ``created``, ``phase``."""
    name = more.get("name", f"{owner}-{on}")
    ready = "state" not in more and "init" not in more
    main = {
        "name": owner,
        "image": PULLED_BY,
        "restartCount": more.get("restarts", 0),
        "state": more.get("state", RUNNING if ready else {"waiting": {"reason": "PodInitializing"}}),
        "lastState": more.get("last", {}),
    }
    init = [{"name": word, "image": PULLED_BY, "restartCount": 0, "state": RUNNING} for word in more.get("init", ())]
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Initialized", "status": "False" if init else "True"},
        {"type": "Ready", "status": "True" if ready else "False", "reason": "ContainersNotReady", "message": "wait"},
    ]
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": name,
            "creationTimestamp": more.get("created", stamp(0)),
            "ownerReferences": [{"kind": "DaemonSet", "name": owner}],
        },
        "spec": {"nodeName": on, **template(owner)},
        "status": {
            "phase": more.get("phase", "Running" if ready else "Pending"),
            "conditions": conditions,
            "initContainerStatuses": init,
            "containerStatuses": [main],
        },
    }


def operator(**more: Any) -> Document:
    found = pod("gpu-operator", on="cp1", **{"name": "gpu-operator-7d-x", **more})
    found["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "gpu-operator-7d"}]
    found["metadata"]["labels"] = {"app": "gpu-operator", "app.kubernetes.io/component": "gpu-operator"}
    return found


def waits(reason: str, message: str = "") -> Document:
    return {"waiting": {"reason": reason, "message": message}}


def policy(state: str = "ready", word: str = "", text: str = "", **more: Any) -> Document:
    condition = {"type": "Ready" if state == "ready" else "Error", "status": "True", "reason": word, "message": text}
    return {
        "metadata": {"name": more.get("name", POLICY), "managedFields": more.get("managed", [])},
        "spec": more.get("spec", {}),
        "status": {"state": state, "namespace": more.get("namespace", NAMESPACE), "conditions": [condition]},
    }


def event(reason: str, message: str, about: Document, count: int = 1, second: float = 10) -> Document:
    return {
        "metadata": {"creationTimestamp": stamp(second)},
        "involvedObject": {"kind": "Pod", "name": about["metadata"]["name"], "uid": about["metadata"]["uid"]},
        "reason": reason,
        "message": message,
        "count": count,
    }


#: The device plugin alone, and one with its operator; each with what is expected of one node.
ALONE = Wanted("kube-system", "", {"w1": {GPU: 2}})
WHOLE = Wanted(NAMESPACE, POLICY, {"w1": {GPU: 2}})


def alone(*nodes: Document, pods: Sequence[Document] = (pod(),), **more: Any) -> Seen:
    return Seen(nodes=nodes or (node(),), pods=pods, daemon_sets=more.pop("daemon_sets", [daemon_set()]), **more)


def whole(*nodes: Document, pods: Sequence[Document] = (pod(),), **more: Any) -> Seen:
    given: Document = {"policies": [policy()], "daemon_sets": [daemon_set(), daemon_set(TOOLKIT)], **more}
    return Seen(nodes=nodes or (node(),), pods=[operator(), *pods], **given)


def reasons(verdict: Verdict, name: str = "w1") -> list[str]:
    return [why.reason for entry in verdict.nodes if entry.name == name for why in entry.why]


def test_what_is_offered_is_all_that_counts_for_a_device_plugin_alone() -> None:
    """Neither its pods nor its DaemonSet need be found, because somebody else may run it."""
    verdict = judge(ALONE, Seen(nodes=[node()]))
    assert verdict.ready
    assert verdict.as_dict() == {
        "ready": True,
        "policy": {"name": "", "state": "", "reason": "", "message": ""},
        "why": [],
        "nodes": {
            "w1": {
                "ok": True,
                "expected": {GPU: 2},
                "capacity": {GPU: 2},
                "allocatable": {GPU: 2},
                "why": [],
                "notes": [],
            }
        },
    }


def test_an_operator_that_is_ready_with_nodes_that_offer_enough_is_ready() -> None:
    verdict = judge(WHOLE, whole(node(offered=4)))
    assert verdict.ready
    assert verdict.policy.state == "ready"
    assert lines(verdict) == []


@pytest.mark.parametrize("word", ["NoGPUNodes", "NFDLabelsMissing"])
def test_an_operator_that_is_ready_because_it_knows_no_card_is_not_believed(word: str) -> None:
    verdict = judge(WHOLE, whole(node(offered={}, labels={}), pods=[], policies=[policy("ready", word)]))
    assert not verdict.ready
    assert (verdict.policy.state, verdict.policy.reason) == ("ready", word)
    assert reasons(verdict) == ["not_discovered"]


LABEL = "nvidia.com/gpu.deploy.device-plugin"
IMAGE = event("Pulling", "Pulling image", pod(), count=PULL_TRIES)
BACKS_OFF = pod(state=waits("ImagePullBackOff", 'Back-off pulling image "x": 404 Not Found'))
CRASHED = pod(
    state=waits("CrashLoopBackOff", "back-off 5m0s"),
    last={"terminated": {"exitCode": 1, "reason": "Error"}},
    restarts=6,
)
MAKING = pod(state=waits("ContainerCreating"))


@pytest.mark.parametrize(
    ("seen", "reason", "words", "final"),
    [
        (alone(node("w2")), "node_missing", "the cluster has no node w1, which is to offer nvidia.com/gpu 2", True),
        (alone(node(ready=False)), "node_not_ready", "Kubelet stopped posting node status.", False),
        (
            alone(node(offered=0), pods=[BACKS_OFF], events=[IMAGE]),
            "image_pull", f"cannot pull image {PULLED_BY} (3 tries): ImagePullBackOff", True,
        ),
        (alone(node(offered=0), pods=[BACKS_OFF]), "image_pull", f"cannot pull image {PULLED_BY}: Image", False),
        (
            alone(node(offered=0), pods=[pod(state=waits("ErrImagePull", "i/o timeout"))], events=[IMAGE]),
            "image_pull", "i/o timeout", False,
        ),
        (
            alone(node(offered=0), pods=[CRASHED]),
            "crash_loop", f"container {PLUGIN} ended with exit code 1, 6 restarts", True,
        ),
        (
            alone(node(offered=0), pods=[MAKING], events=[event("FailedCreatePodSandBox", NO_RUNTIME, MAKING)]),
            "runtime_class", 'no runtime for "n" is configured', True,
        ),
        (
            alone(node(offered=0), pods=[MAKING], events=[event("FailedMount", 'configmap "c" not found', MAKING)]),
            "volume", 'configmap "c" not found', False,
        ),
        (alone(node(offered=0), pods=[pod(state=RUNNING)]), "not_ready", "ContainersNotReady: wait", False),
        (alone(node(offered={})), "no_device", f"(pod {PLUGIN}-w1) runs and offers no {GPU}, 2 expected", False),
        (alone(node(offered=1)), "too_few", f"it offers 1 {GPU}, 2 expected", False),
        (alone(node(offered=1, there={GPU: 2})), "device_unhealthy", f"1 of 2 {GPU} not healthy, 2 expected", False),
        (alone(node(offered=0, there={GPU: 2})), "device_unhealthy", f"2 of 2 {GPU} not healthy, 2 expected", False),
        (
            alone(node(offered={"nvidia.com/gpu.shared": 8, MIG: 0})),
            "other_resource", f"it offers nvidia.com/gpu.shared 8 and no {GPU}, 2 expected", False,
        ),
        (alone(node(offered={}), pods=[]), "no_pod_yet", "no pod of the device plugin is on w1 yet", False),
        (
            alone(node(offered={}, labels={}), pods=[]),
            "not_placed", f"no pod of {PLUGIN} is placed on w1: it lacks the label {LABEL}=true", False,
        ),
        (
            alone(node(offered={}, taints=[{"key": "team", "value": "a", "effect": "NoSchedule"}]), pods=[]),
            "not_placed", "its taint team:NoSchedule is not tolerated", False,
        ),
        (
            alone(node(offered={}, taints=[{"key": GPU, "value": "x", "effect": "NoSchedule"}]), pods=[]),
            "no_pod_yet", "no pod of the device plugin is on w1 yet", False,
        ),
        (alone(node(offered={}), pods=[], daemon_sets=[]), "no_plugin", "has no DaemonSet of a device plugin", True),
    ],
)  # fmt: skip
def test_a_device_plugin_alone(seen: Seen, reason: str, words: str, final: bool) -> None:
    verdict = judge(ALONE, seen)
    assert not verdict.ready
    (found,) = verdict.nodes[0].why
    assert (found.reason, found.hopeless) == (reason, final), found
    assert words in found.message
    assert found.next_step
    assert hopeless(verdict) == ([found] if final else [])
    assert lines(verdict) == [f"w1: {found.message}: {found.next_step}"]


def test_a_chart_that_wants_one_of_several_labels_says_which() -> None:
    """As NVIDIA's chart of the device plugin does."""
    names = ("feature.node.kubernetes.io/pci-10de.present", "nvidia.com/gpu.present")
    terms = [{"matchExpressions": [{"key": name, "operator": "In", "values": ["true"]}]} for name in names]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    chart = daemon_set(affinity={"nodeAffinity": required}, nodeSelector={})
    seen = alone(node(offered={}, labels={}), pods=[], daemon_sets=[chart])
    (found,) = judge(ALONE, seen).nodes[0].why
    assert found.message.endswith(f"it has none of the labels {names[0]}=true; {names[1]}=true")
    labelled = alone(node(offered={}, labels={names[1]: "true"}), pods=[], daemon_sets=[chart])
    assert reasons(judge(ALONE, labelled)) == ["no_pod_yet"]


def test_a_device_plugin_that_has_searched_for_long_will_find_nothing_more() -> None:
    for second, final in ((SEARCH_SECONDS - 1, False), (SEARCH_SECONDS, True)):
        for offered in ({}, 1):
            assert bool(hopeless(judge(ALONE, alone(node(offered=offered), now=BEGIN + second)))) is final
    broken = alone(node(offered=1, there={GPU: 2}), now=BEGIN + 2 * SEARCH_SECONDS)
    assert hopeless(judge(ALONE, broken)) == []


@pytest.mark.parametrize(
    ("labels", "reason", "words"),
    [
        ({}, "not_discovered", "node-feature-discovery has not looked at w1"),
        ({"feature.node.kubernetes.io/cpu-model.family": "6"}, "no_card", "finds no NVIDIA card in w1"),
        (FOUND, "not_labelled", "the operator has not given w1 the label nvidia.com/gpu.present=true"),
        ({**LABELS, "nvidia.com/gpu.deploy.operands": "false"}, "kept_away", "keeps the operator off w1"),
        ({**LABELS, LABEL: "false"}, "not_labelled", f"w1 lacks the label {LABEL}=true, it is false"),
        ({**LABELS, LABEL: "paused-for-driver-upgrade"}, "not_labelled", "it is paused-for-driver-upgrade"),
        (LABELS, "no_pod_yet", "no pod of the device plugin is on w1 yet"),
    ],
)
def test_the_way_by_which_the_operator_comes_to_a_node(labels: dict[str, str], reason: str, words: str) -> None:
    (found,) = judge(WHOLE, whole(node(offered={}, labels=labels), pods=[])).nodes[0].why
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize(
    ("policies", "state", "reason", "words", "final"),
    [
        (None, "absent", "policy_absent", "the cluster does not know the kind ClusterPolicy", True),
        ([policy(name="theirs")], "absent", "policy_absent", f"there is no ClusterPolicy {POLICY}, but theirs", True),
        ([policy("ignored"), policy(name="first")], "ignored", "policy_ignored", "because it follows first", True),
        ([policy("ignored")], "ignored", "policy_ignored", "because it follows another one", True),
        ([policy(""), policy("notReady", name="first")], "ignored", "policy_ignored", "it follows first", True),
        ([policy("")], "notReady", "policy_not_ready", "the operator has not looked at it yet", False),
        (
            [policy("notReady", "OperandNotReady", "states not ready: [state-driver]")],
            "notReady", "policy_not_ready", "OperandNotReady: states not ready: [state-driver]", False,
        ),
        ([policy(namespace="gpus")], "ready", "wrong_namespace", "is in namespace gpus", True),
    ],
)  # fmt: skip
def test_a_policy(policies: list[Document] | None, state: str, reason: str, words: str, final: bool) -> None:
    verdict = judge(WHOLE, whole(policies=policies))
    assert not verdict.ready
    assert verdict.policy.state == state
    (found,) = verdict.why
    assert (found.reason, found.hopeless) == (reason, final)
    assert words in found.message


def test_a_policy_that_was_just_changed_may_not_know_it_yet() -> None:
    managed = [{"time": stamp(100)}, {"time": stamp(500), "subresource": "status"}]
    for second, expected in ((103, ["policy_fresh"]), (110, []), (-BEGIN, [])):
        verdict = judge(WHOLE, whole(policies=[policy(managed=managed)], now=BEGIN + second))
        assert [why.reason for why in verdict.why] == expected


def test_an_operator_that_does_not_run_is_not_believed() -> None:
    """What it said last may be long past."""
    broken = operator(state=waits("CrashLoopBackOff"), last={"terminated": {"exitCode": 2}}, restarts=2)
    for pods, expected in (
        ([broken], ["crash_loop"]),
        ([], ["operator_missing"]),
        ([operator(name="gpu-operator-8c-y"), broken], []),
    ):
        verdict = judge(WHOLE, replace(whole(), pods=[pod(), *pods]))
        assert [why.reason for why in verdict.why] == expected
        assert verdict.ready is (not expected)


NOT_READY = [policy("notReady", "OperandNotReady", "states not ready")]


@pytest.mark.parametrize(
    ("pods", "expected", "words"),
    [
        ([pod(TOOLKIT, init=["driver-validation"])], ["init_waiting"], "waits for the driver of w1 (driver-val"),
        (
            [pod(init=["toolkit-validation"]), pod(TOOLKIT, init=["driver-validation"])],
            ["init_waiting", "init_waiting"], f"pod {TOOLKIT}-w1: waits for the driver of w1",
        ),
        (
            [pod(init=["toolkit-validation"]), pod(TOOLKIT, state=waits("ErrImagePull", "404"))],
            ["image_pull"], f"pod {TOOLKIT}-w1: cannot pull image {PULLED_BY}",
        ),
        ([pod("nvidia-driver-daemonset", state=RUNNING), pod(init=["toolkit-validation"])],
         ["not_ready", "init_waiting"], "pod nvidia-driver-daemonset-w1: ContainersNotReady"),
        ([pod(), pod("nvidia-dcgm-exporter", state=waits("ErrImagePull", "404"))], ["image_pull"], "dcgm-exporter"),
    ],
)  # fmt: skip
def test_what_comes_first_is_why_an_operator_is_not_ready(
    pods: list[Document], expected: list[str], words: str
) -> None:
    verdict = judge(WHOLE, whole(pods=pods, policies=NOT_READY))
    assert not verdict.ready
    assert reasons(verdict) == expected
    assert words in verdict.nodes[0].why[0].message


def test_pods_that_are_not_the_operators_are_not_looked_at() -> None:
    stranger = pod("app", state=waits("ErrImagePull", "404"))
    stranger["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "app"}]
    verdict = judge(WHOLE, whole(pods=[pod(), stranger], policies=NOT_READY))
    assert reasons(verdict) == []
    assert [why.reason for why in verdict.why] == ["policy_not_ready"]


def test_a_node_that_nothing_is_expected_of_can_keep_the_operator_from_being_ready() -> None:
    pods = [pod(), pod("nvidia-driver-daemonset", on="w9", state=waits("ErrImagePull", "404"))]
    verdict = judge(WHOLE, whole(node(), node("w9", {}), pods=pods, policies=NOT_READY))
    assert [node.ok for node in verdict.nodes] == [True]
    assert [why.object for why in verdict.why] == [f"ClusterPolicy {POLICY}", "Pod nvidia-driver-daemonset-w9"]


def test_a_runtime_that_the_operator_is_about_to_bring_is_waited_for() -> None:
    events = [event("FailedCreatePodSandBox", NO_RUNTIME, MAKING)]
    for spec, final in (({}, False), ({"toolkit": {"enabled": True}}, False), ({"toolkit": {"enabled": False}}, True)):
        seen = whole(node(offered={}), pods=[MAKING], events=events, policies=[policy("notReady", spec=spec)])
        (found,) = judge(WHOLE, seen).nodes[0].why
        assert (found.reason, found.hopeless) == ("runtime_class", final)


def test_a_device_plugin_that_is_turned_off_never_comes() -> None:
    seen = whole(node(offered={}), pods=[], policies=[policy(spec={"devicePlugin": {"enabled": False}})])
    assert [why.reason for why in hopeless(judge(WHOLE, seen))] == ["plugin_off"]


@pytest.mark.parametrize("value", ["pre-installed", "false"])
def test_whose_driver_it_is_is_told_where_the_driver_may_be_the_reason(value: str) -> None:
    labels = {**LABELS, "nvidia.com/gpu.deploy.driver": value}
    waiting = whole(
        node(offered={}, labels=labels), pods=[pod(TOOLKIT, init=["driver-validation"])], policies=NOT_READY
    )
    verdict = judge(WHOLE, waiting)
    assert reasons(verdict)[-1] == "driver_of_host"
    assert f"nvidia.com/gpu.deploy.driver={value}" in verdict.nodes[0].why[-1].message
    unhealthy = whole(node(offered=0, there={GPU: 2}, labels=labels))
    assert reasons(judge(WHOLE, unhealthy)) == ["device_unhealthy"]


def test_mig_that_is_half_done_is_told() -> None:
    labels = {**LABELS, "nvidia.com/mig.config": "all-1g.5gb", "nvidia.com/mig.config.state": "failed"}
    verdict = judge(replace(WHOLE, nodes={"w1": {MIG: 7}}), whole(node(offered={GPU: 1}, labels=labels)))
    assert reasons(verdict) == ["other_resource", "mig"]
    assert "the MIG configuration all-1g.5gb of w1 is failed" in verdict.nodes[0].why[1].message


@pytest.mark.parametrize(
    ("offered", "least", "ok"),
    [({MIG: 4, "nvidia.com/mig-3g.20gb": 3}, 7, True), ({MIG: 4}, 7, False), ({GPU: 7}, 7, False), ({}, 0, True)],
)
def test_a_name_may_stand_for_several_resources(offered: dict[str, int], least: int, ok: bool) -> None:
    verdict = judge(replace(ALONE, nodes={"w1": {"nvidia.com/mig-*": least}}), alone(node(offered=offered)))
    assert verdict.ready is ok
    expected = [] if ok else ["other_resource" if GPU in offered else "too_few"]
    assert reasons(verdict) == expected


def test_what_stands_in_nobodys_way_is_noted() -> None:
    verdict = judge(ALONE, alone(node(offered=2, there={GPU: 3}, cordoned=True)))
    assert verdict.ready
    assert verdict.nodes[0].notes == ("no pod is placed on it (see kubectl uncordon)", f"1 of 3 {GPU} not healthy")


def test_the_last_pod_of_a_daemon_set_counts() -> None:
    old = pod(name=f"{PLUGIN}-aaaaa", created=stamp(0), phase="Failed", state=waits("x"))
    new = pod(name=f"{PLUGIN}-bbbbb", created=stamp(9))
    going = pod(name=f"{PLUGIN}-ccccc", created=stamp(10))
    going["metadata"]["deletionTimestamp"] = stamp(11)
    test = pod("nvidia-operator-validator", name="nvidia-cuda-validator-ddddd")
    assert newest([going, new, old, test]) == [test, new] or newest([going, new, old, test]) == [new, test]


def test_a_pod_that_waits_for_its_node_belongs_to_it() -> None:
    """The scheduler has not bound it, but its DaemonSet made it for one node."""
    waiting = pod(state=waits("x"))
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["w1"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    waiting["spec"].update(nodeName=None, affinity={"nodeAffinity": required})
    waiting["status"] = {
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "1 Insufficient memory"}
        ],
    }
    (found,) = judge(ALONE, alone(node(offered={}), pods=[waiting])).nodes[0].why
    assert found.reason == "unschedulable"
    assert "no node takes it: 1 Insufficient memory" in found.message


@pytest.mark.parametrize(
    ("seen", "said", "words"),
    [
        (
            alone(node(offered=1, there={GPU: 2})),
            ["I0102 03:04:05.678901       1 server.go:279] 'nvidia.com/gpu' device marked unhealthy: GPU-5d1f", "x"],
            "its log says: 'nvidia.com/gpu' device marked unhealthy: GPU-5d1f",
        ),
        (alone(node(offered={})), ['    "failOnInitError": true,', "No devices found. Waiting indefinitely.", ""],
         "its log says: No devices found. Waiting indefinitely."),
        (alone(node(offered=0), pods=[CRASHED]), ["one", "E0102 03:04:05.6  1 main.go:1] nvml init failed: x", "bye"],
         "its log says: nvml init failed: x"),
        (alone(node(offered={})), ["hello"], "its log says: hello"),
        (alone(node(offered={})), [], "2 expected"),
    ],
)  # fmt: skip
def test_a_log_that_was_read_says_more(seen: Seen, said: list[str], words: str) -> None:
    (log,) = worth_reading(judge(ALONE, seen))
    assert (log.pod, log.container) == (f"{PLUGIN}-w1", PLUGIN)
    assert log.previous is (seen.pods[0] is CRASHED)
    (found,) = judge(ALONE, replace(seen, logs={log.pod: said})).nodes[0].why
    assert found.message.endswith(words)


def test_progress_says_how_many_and_what_is_first() -> None:
    wanted = replace(WHOLE, nodes={"w1": {GPU: 2}, "w2": {GPU: 1}})
    seen = whole(node(), node("w2", {}), pods=[pod(), pod(on="w2")], policies=NOT_READY)
    assert progress(judge(wanted, seen)) == (
        "1 of 2 nodes offer their GPUs, ClusterPolicy notReady; "
        f"w2: the device plugin (pod {PLUGIN}-w2) runs and offers no {GPU}, 1 expected"
    )
    assert progress(judge(ALONE, alone())) == "1 of 1 nodes offer their GPUs"


COUNTS = st.dictionaries(st.sampled_from([GPU, MIG, "nvidia.com/gpu.shared"]), st.integers(0, 8), max_size=3)


@given(offered=COUNTS, there=COUNTS, expected=COUNTS, placed=st.booleans(), operated=st.booleans())
def test_a_node_is_ok_just_when_it_offers_enough_and_else_says_why(
    offered: dict[str, int], there: dict[str, int], expected: dict[str, int], placed: bool, operated: bool
) -> None:
    wanted = replace(WHOLE if operated else ALONE, nodes={"w1": expected})
    pods = [pod()] if placed else []
    look = whole if operated else alone
    verdict = judge(wanted, look(node(offered=offered, there=there), pods=pods))
    enough = all(offered.get(resource, 0) >= least for resource, least in expected.items())
    assert verdict.ready is verdict.nodes[0].ok is enough
    assert bool(verdict.nodes[0].why) is (not enough)
    json.dumps(verdict.as_dict())


def text(*letters: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", *letters])


@given(
    waiting=text("ContainerCreating", "ErrImagePull", "CrashLoopBackOff", "RunContainerError", "Odd"),
    message=text("Back-off", "timeout", "x" * 5000),
    phase=st.sampled_from(["Pending", "Running", "Failed", "Unknown"]),
    code=st.integers(0, 255),
    init=st.booleans(),
)
def test_whatever_a_pod_is_its_trouble_is_one_line_with_a_next_step(
    waiting: str, message: str, phase: str, code: int, init: bool
) -> None:
    state = waits(waiting, message) if waiting else {"terminated": {"exitCode": code, "reason": "Error"}}
    odd = pod(state=state, phase=phase, init=["first"] if init else ())
    found = trouble(odd, [event("Failed", message, odd), event("FailedMount", message, odd)])
    assert found is not None
    assert "\n" not in found.message
    assert 0 < len(found.message) <= 600
    assert found.next_step


class FakeCluster:
    """What :class:`Watch` asks of a cluster; its nodes are another look's each time, the last one stays."""

    def __init__(self, *looks: Seen | ActionFailed) -> None:
        self.looks = list(looks)
        self.seen: Seen | None = None
        self.server_date = None
        self.logs_read: list[str] = []

    def resource(self, _api_version: str, _kind: str) -> Resource:
        return Resource("nvidia.com/v1", "ClusterPolicy", "clusterpolicies", False)

    def list_at(self, resource: Resource, _namespace: str = "") -> Listing:
        if resource.kind == "ClusterPolicy":
            look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
            if isinstance(look, ActionFailed):
                raise look
            self.seen = look
            return Listing(list(map(dict, look.policies or ())), "1")
        assert self.seen is not None
        return Listing(list(map(dict, self.seen.daemon_sets)), "1")

    def list(self, kind: str, _namespace: str = "") -> Listing:
        assert self.seen is not None
        found = {"Node": self.seen.nodes, "Pod": self.seen.pods, "Event": self.seen.events}[kind]
        return Listing(list(map(dict, found)), "1")

    def logs(self, pod: str, _namespace: str, **_more: object) -> list[str]:
        self.logs_read.append(pod)
        return ["No devices found. Waiting indefinitely."]


@pytest.mark.parametrize(
    ("resource", "namespace", "place"),
    [
        (Resource("apps/v1", "DaemonSet", "daemonsets", True), "gpus", "/apis/apps/v1/namespaces/gpus/daemonsets"),
        (
            Resource("nvidia.com/v1", "ClusterPolicy", "clusterpolicies", False),
            "",
            "/apis/nvidia.com/v1/clusterpolicies",
        ),
    ],
)
def test_objects_of_any_kind_are_listed(
    monkeypatch: pytest.MonkeyPatch, resource: Resource, namespace: str, place: str
) -> None:
    cluster, asked = Cluster.__new__(Cluster), []

    def answer(_request: object, method: str, address: str) -> Document:
        asked.append(f"{method} {address}")
        return {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}

    monkeypatch.setattr(cluster, "_json", answer)
    listing = cluster.list_at(resource, namespace)
    assert asked == [f"GET {place}"]
    assert listing.resource_version == "7"
    assert listing.items == [
        {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {"name": "a"}},
    ]


class Time:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def watched(*looks: Seen | ActionFailed, grace: float = 60, timeout: float = 900) -> tuple[Watch, float, FakeCluster]:
    """Return a watch that is over, what it took, and the cluster."""
    cluster, time = FakeCluster(*looks), Time()
    watch = Watch(cluster, WHOLE, grace, Stages(), time.clock)  # type: ignore[arg-type]
    wait(watch.over, bool, interval=5, timeout=timeout, clock=time.clock)
    watch.explain()
    return watch, time.now, cluster


def test_a_wait_ends_when_all_is_there() -> None:
    watch, waited, cluster = watched(whole(node(offered={})), whole(node(offered=1)), whole())
    assert watch.verdict.ready
    assert (waited, cluster.logs_read) == (10, [])


def test_what_waiting_cannot_mend_ends_the_wait_after_a_grace() -> None:
    broken = whole(node(offered=0), pods=[BACKS_OFF], events=[IMAGE])
    watch, waited, _cluster = watched(broken)
    failure = watch.failure(waited)
    assert (waited, failure.code) == (60, "hopeless")
    assert str(failure).splitlines()[0] == (
        "GPUs are not ready after 60 s (namespace gpu-operator), and waiting is of no use: for 60 s it was so:"
    )
    assert f"w1: pod {PLUGIN}-w1: cannot pull image {PULLED_BY} (3 tries)" in str(failure)


def test_what_looked_hopeless_for_a_moment_is_forgotten() -> None:
    broken = whole(node(offered=0), pods=[BACKS_OFF], events=[IMAGE])
    watch, waited, _cluster = watched(broken, broken, whole(node(offered=1)), broken, whole())
    assert watch.verdict.ready
    assert waited == 20


def test_a_timeout_says_how_long_for_what_and_what_was_seen_last() -> None:
    watch, waited, cluster = watched(whole(node(offered={})), timeout=12)
    failure = watch.failure(waited)
    assert failure.code == "not_ready"
    assert str(failure).startswith(
        "GPUs are not ready after 12 s (namespace gpu-operator):\n  w1: the device plugin (pod"
    )
    assert "its log says: No devices found. Waiting indefinitely.: it has found no device" in str(failure)
    assert cluster.logs_read == [f"{PLUGIN}-w1"]


def test_an_api_server_that_is_away_for_a_while_is_waited_for() -> None:
    """NVIDIA's toolkit restarts the runtime, and with it a control plane that is on the same node."""
    away = ActionFailed("unreachable", "it does not answer")
    watch, waited, _cluster = watched(whole(node(offered={})), away, away, whole())
    assert (watch.verdict.ready, waited) == (True, 15)
    watch, waited, _cluster = watched(whole(node(offered={})), away, timeout=30)
    told = str(watch.failure(waited)).splitlines()
    assert told[1:3] == ["  it does not answer", "  before that:"]
    for refused in (away, ActionFailed("forbidden", "no")):
        with pytest.raises(ActionFailed):
            watched(refused)
    with pytest.raises(ActionFailed, match="no"):
        watched(whole(node(offered={})), ActionFailed("forbidden", "no"))


def arguments(**given: Any) -> dict[str, Any]:
    numbers = {"timeout_seconds": 900.0, "poll_seconds": 5.0, "grace_seconds": 60.0}
    return {"namespace": NAMESPACE, "policy": POLICY, "expected": {"w1": {GPU: 1}}, **numbers, **given}


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, []),
        ({"expected": {}}, []),
        ({"expected": {"w1": {}, "w2.example": {MIG: "7", "nvidia.com/gpu.shared": 0}}}, []),
        ({"expected": {"w1": {"nvidia.com/mig-*": 7, "nvidia.com/*": 1}}}, []),
        ({"expected": {"w1": {"*": 7}}}, ["expected.w1.*"]),
        ({"expected": {}, "policy": ""}, ["expected"]),
        ({"expected": {"w1": 2}}, ["expected.w1"]),
        ({"expected": {"W 1": {}}}, ["expected.W 1"]),
        ({"expected": {"w1": {"gpu": 1, GPU: -1, MIG: True}}},
         ["expected.w1.gpu", f"expected.w1.{GPU}", f"expected.w1.{MIG}"]),
        (
            {"namespace": "Gpu", "policy": "a b", "timeout_seconds": 0, "poll_seconds": 0, "grace_seconds": -1},
            ["namespace", "policy", "timeout_seconds", "poll_seconds", "grace_seconds"],
        ),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_told_at_once(given: dict[str, Any], fields: list[str]) -> None:
    assert [problem.field for problem in problems(arguments(**given))] == fields


def test_of_each_node_the_first_thing_that_is_expected_and_there_is_tried() -> None:
    nodes = (
        NodeVerdict("w1", True, {GPU: 2}, {}, {GPU: 2, MIG: 1, "cpu": 4}),
        NodeVerdict("w2", True, {"nvidia.com/mig-*": 1}, {}, {GPU: 1, MIG: 7, "nvidia.com/mig-2g.10gb": 1}),
        NodeVerdict("w3", False, {GPU: 1}, {}, {GPU: 0}),
        NodeVerdict("w4", True, {GPU: 1}, {}, {GPU: 1}),
    )
    verdict = Verdict(False, Policy("", "", "", ""), nodes)
    assert verdict.to_try() == {GPU: ["w1", "w4"], MIG: ["w2"]}
