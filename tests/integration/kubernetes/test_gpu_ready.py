"""Waiting for GPUs, and a first program on each, in a real cluster whose kubelets offer some.

The devices are a device plugin's of ours, so no card answers: what stands in for nvidia-smi is a line of shell that
prints what that would, with the device that the kubelet gave the container. NVIDIA's operator is not here either.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.ansible_command import ansible_playbook, environment
from tests.integration.kubernetes.conftest import PACKAGE, Controller, Document
from tests.integration.kubernetes.gpu_stand_in import GPU, NAMESPACE, StandIn
from tests.integration.kubernetes.plays import until

ROOT = Path(__file__).resolve().parents[3]
#: Devices a node.
DEVICES = 2
#: A card's line, and the variable itself; there has to be a device file too.
NVIDIA_SMI = (
    'echo "Stand-in card, $NVIDIA_VISIBLE_DEVICES, 1024, 535.183.01, 0"; '
    'echo "NVIDIA_VISIBLE_DEVICES=$NVIDIA_VISIBLE_DEVICES"; test -e /dev/nvidia0'
)
KEYS = {"ok", "code", "reason", "gpus", "devices", "exit_code", "said", "seconds"}
NO_REGISTRY = "127.0.0.1:9/no/such:1"


@pytest.fixture(scope="module")
def gpus(laboratory: Path | None, kubeconfig: Path) -> Iterator[StandIn]:
    """Two GPUs on each node that takes pods, for as long as these tests take."""
    if laboratory is None:
        pytest.skip("the hosts of a cluster that was given are not ours to put anything on")
    stand_in = StandIn(laboratory, kubeconfig)
    stand_in.offer(DEVICES)
    until("all nodes offer devices", lambda: sorted(stand_in.allocatable().values()) == [DEVICES, DEVICES])
    yield stand_in
    stand_in.withdraw()


@pytest.fixture
def nodes(gpus: StandIn) -> list[str]:
    """The nodes with devices."""
    return sorted(gpus.allocatable())


def ready(controller: Controller, expected: Document, check: bool = False, **more: Any) -> Document:
    """Run the module for a device plugin alone."""
    given: Document = {"namespace": NAMESPACE, "policy": "", "poll_seconds": 0.5, "expected": expected, **more}
    return controller.module("gpu_ready", check, runtime=None, **given)


def why(result: Document, node: str) -> Document:
    """Return the only reason why a node is not as expected."""
    (found,) = result["verdict"]["nodes"][node]["why"]
    return dict(found)


def smoke(controller: Controller, nodes: list[str], image: str, script: str, check: bool = False, **more: Any) -> Any:
    """Run the module with a script in place of a program."""
    given: Document = {"namespace": controller.namespace, "nodes": nodes, "image": image, **more}
    return controller.module("gpu_smoke", check, runtime=None, command=["sh", "-c", script], **given)


def pods(controller: Controller) -> list[str]:
    """Return the names of the smoke test's pods that are there."""
    found = controller.cluster.list("Pod", controller.namespace, labels="app.kubernetes.io/name=dtf-gpu-smoke").items
    return [pod["metadata"]["name"] for pod in found]


def codes(result: Document) -> dict[str, str]:
    """Return node → why it failed."""
    return {node: outcome["code"] for node, outcome in result["verdict"]["nodes"].items()}


def test_nodes_that_offer_enough_are_ready(controller: Controller, nodes: list[str]) -> None:
    expected = {node: {GPU: DEVICES} for node in nodes}
    for check in (True, False):
        result = ready(controller, expected, check)
        assert "failed" not in result, result["msg"]
        assert set(result) - {"invocation", "warnings"} == {"changed", "verdict", "to_try", "waited"}
        assert (result["changed"], result["verdict"]["ready"]) == (False, True)
        assert result["verdict"]["policy"] == {"name": "", "state": "", "reason": "", "message": ""}
        assert list(result["verdict"]["nodes"]) == nodes
        for told in result["verdict"]["nodes"].values():
            assert (told["ok"], told["why"], told["notes"]) == (True, [], [])
            assert told["allocatable"] == told["capacity"] == {GPU: DEVICES}
    assert ready(controller, {node: {"nvidia.com/*": 1} for node in nodes}, check=True)["verdict"]["ready"]


def test_too_few_devices_are_waited_for_and_told(controller: Controller, nodes: list[str]) -> None:
    asking, other = nodes
    result = ready(controller, {asking: {GPU: DEVICES + 1}, other: {GPU: 1}}, timeout_seconds=3)
    assert result["failure"]["code"] == "not_ready"
    told = rf"GPUs are not ready after \d+ s \(namespace {NAMESPACE}\):\n  {asking}: it offers 2 {GPU}"
    assert re.match(told, result["msg"])
    assert [told["ok"] for told in result["verdict"]["nodes"].values()] == [False, True]
    assert why(result, asking)["reason"] == "too_few"
    assert 3 <= result["waited"] < 20


def test_a_device_that_turns_unhealthy_is_named(gpus: StandIn, controller: Controller, nodes: list[str]) -> None:
    node = nodes[0]
    gpus.set(node, "gpu-1", "unhealthy")
    try:
        until("the node offers one device less", lambda: gpus.allocatable()[node] == DEVICES - 1)
        result = ready(controller, {node: {GPU: DEVICES}}, timeout_seconds=2)
        found = why(result, node)
        assert found["reason"] == "device_unhealthy"
        assert f"1 of {DEVICES} {GPU} not healthy, {DEVICES} expected" in found["message"]
        assert "gpu-1 unhealthy" in found["message"]
        assert f"{node}: 1 of {DEVICES} {GPU} not healthy" in result["msg"]
        # Where the other one is enough, it is only noted.
        enough = ready(controller, {node: {GPU: DEVICES - 1}})
        assert enough["verdict"]["ready"]
        assert enough["verdict"]["nodes"][node]["notes"] == [f"1 of {DEVICES} {GPU} not healthy"]
    finally:
        gpus.set(node, "gpu-1", "healthy")
    until("the device is back", lambda: gpus.allocatable().get(node) == DEVICES)


def test_a_device_plugin_that_finds_nothing_is_told(gpus: StandIn, controller: Controller, nodes: list[str]) -> None:
    node = nodes[0]
    for number in range(DEVICES):
        gpus.set(node, f"gpu-{number}", "gone")
    try:
        until("the node offers nothing", lambda: node not in gpus.allocatable())
        found = why(ready(controller, {node: {GPU: 1}}, check=True), node)
        # A kubelet may know of devices for a while that its plugin lists no longer.
        assert found["reason"] in ("no_device", "device_unhealthy")
        assert "gpu-stand-in" in found["next_step"]
    finally:
        for number in range(DEVICES):
            gpus.set(node, f"gpu-{number}", "healthy")
    until("the devices are back", lambda: gpus.allocatable().get(node) == DEVICES)


def test_a_node_that_the_plugin_is_not_on_says_why(controller: Controller, nodes: list[str]) -> None:
    every = {str(node["metadata"]["name"]) for node in controller.cluster.list("Node").items}
    (control_plane,) = every - set(nodes)
    result = ready(controller, {control_plane: {GPU: 1}}, check=True)
    assert "failed" not in result
    assert (result["changed"], result["verdict"]["ready"]) == (False, False)
    found = why(result, control_plane)
    assert found["reason"] == "not_placed"
    assert "its taint node-role.kubernetes.io/control-plane:NoSchedule is not tolerated" in found["message"]
    # Another namespace has no plugin at all, and the node with devices is as well off as before.
    elsewhere = ready(controller, {control_plane: {GPU: 1}, nodes[0]: {GPU: 1}}, True, namespace=controller.namespace)
    assert why(elsewhere, control_plane)["reason"] == "no_plugin"
    assert elsewhere["verdict"]["nodes"][nodes[0]]["ok"]


def test_a_node_that_does_not_exist_ends_the_wait_early(controller: Controller, nodes: list[str]) -> None:
    expected = {"nowhere": {GPU: 1}, nodes[0]: {GPU: 1}}
    result = ready(controller, expected, timeout_seconds=120, grace_seconds=1)
    assert result["failure"]["code"] == "hopeless"
    assert f"the cluster has no node nowhere, which is to offer {GPU} 1" in result["msg"]
    assert 1 <= result["waited"] < 30


def test_a_cluster_without_the_operator_is_an_answer(controller: Controller) -> None:
    result = ready(controller, {}, check=True, policy="no-such-policy", namespace="gpu-operator")
    assert "failed" not in result
    assert (result["changed"], result["verdict"]["ready"]) == (False, False)
    assert result["verdict"]["policy"]["state"] == "absent"
    failed = ready(controller, {}, policy="no-such-policy", grace_seconds=0)
    assert failed["failure"]["code"] == "hopeless"


def test_progress_is_shown_while_it_waits(controller: Controller, nodes: list[str], tmp_path: Path) -> None:
    wait = {
        "kubeconfig": str(controller.kubeconfig),
        "namespace": NAMESPACE,
        "policy": "",
        "expected": {nodes[0]: {GPU: DEVICES + 1}},
        "timeout_seconds": 12,
        "poll_seconds": 0.5,
        "progress": "lines",
    }
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"dtf.cluster.gpu_ready": wait}],
    }
    playbook = tmp_path / "play.yml"
    python = {"vars": {"ansible_python_interpreter": sys.executable}}
    playbook.write_text(yaml.safe_dump([{**play, **python}]), encoding="utf-8")
    ended = subprocess.run(
        ansible_playbook("-i", "localhost,", str(playbook)),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 2, ended.stdout
    assert "GPUs: Waiting: 0 of 1 nodes offer their GPUs" in ended.stdout


def test_a_program_runs_on_each_node_and_names_its_device(
    gpus: StandIn, controller: Controller, nodes: list[str], busybox: str
) -> None:
    """The namespace lets only pods in that Kubernetes' strictest standard allows."""
    controller.kubectl("label", "namespace", controller.namespace, "pod-security.kubernetes.io/enforce=restricted")
    result = smoke(controller, nodes, busybox, NVIDIA_SMI)
    assert "failed" not in result, result["msg"]
    assert set(result) - {"invocation", "warnings"} == {"changed", "verdict"}
    assert (result["changed"], result["verdict"]["ok"]) == (False, True)
    assert "warnings" not in result
    assert list(result["verdict"]["nodes"]) == nodes
    for node, outcome in result["verdict"]["nodes"].items():
        assert set(outcome) == KEYS
        (device,) = gpus.allocated(node)[-1]
        assert outcome["gpus"] == [
            {"name": "Stand-in card", "uuid": device, "memory_mib": 1024, "driver": "535.183.01", "utilisation": 0}
        ]
        assert (outcome["devices"], outcome["exit_code"]) == ([device], 0)
        assert outcome["said"].startswith("Stand-in card")
    assert pods(controller) == []


def test_a_program_that_fails_is_told_with_its_node_and_what_it_said(
    controller: Controller, nodes: list[str], busybox: str
) -> None:
    script = "echo it has fallen off the bus; exit 15"
    failed = smoke(controller, [*nodes, "nowhere"], busybox, script)
    assert failed["failure"]["code"] == "smoke"
    assert codes(failed) == {**dict.fromkeys(nodes, "exit_code"), "nowhere": "node_missing"}
    for node in nodes:
        assert f"{node}: the program ended with exit code 15: it has fallen off the bus" in failed["msg"]
        assert failed["verdict"]["nodes"][node]["exit_code"] == 15
    assert pods(controller) == []
    told = smoke(controller, nodes[:1], busybox, script, fail=False)
    assert "failed" not in told
    assert (told["verdict"]["ok"], codes(told)) == (False, {nodes[0]: "exit_code"})
    assert "it has fallen off the bus" in str(told["warnings"])
    assert pods(controller) == []


def test_what_is_expected_has_to_be_printed(controller: Controller, nodes: list[str], busybox: str) -> None:
    node = nodes[0]
    good = smoke(controller, [node], busybox, "echo adding; echo Test PASSED", expect="^Test PASSED$")
    assert good["verdict"]["ok"], good
    bad = smoke(controller, [node], busybox, "echo Test FAILED", expect="^Test PASSED$")
    assert codes(bad) == {node: "unexpected_output"}
    missing = controller.module(
        "gpu_smoke", runtime=None, namespace=controller.namespace, nodes=[node], image=busybox
    )  # nvidia-smi itself, which nothing has put there
    assert codes(missing) == {node: "cannot_start"}
    assert "NVIDIA's runtime has not put nvidia-smi into the container" in missing["msg"]
    assert pods(controller) == []


def test_an_image_that_cannot_be_pulled_ends_early(controller: Controller, nodes: list[str]) -> None:
    result = smoke(controller, nodes[:1], NO_REGISTRY, "true", timeout_seconds=200)
    assert codes(result) == {nodes[0]: "image_pull"}
    assert f"cannot pull image {NO_REGISTRY} (3 tries)" in result["msg"]
    assert result["verdict"]["nodes"][nodes[0]]["seconds"] < 180
    assert pods(controller) == []


def test_a_program_that_hangs_is_ended_in_time(controller: Controller, nodes: list[str], busybox: str) -> None:
    result = smoke(controller, nodes[:1], busybox, "echo on my way; sleep 600", timeout_seconds=15)
    assert codes(result) == {nodes[0]: "timeout"}
    assert "the program did not end within 15 s" in result["msg"]
    assert pods(controller) == []


def sleeper(controller: Controller, node: str, image: str, number: int) -> Document:
    """Return a pod that has a device and does nothing with it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"sleeper-{number}", "namespace": controller.namespace},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "sleeper",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": ["sleep", "600"],
                    "resources": {"limits": {GPU: "1"}},
                }
            ],
        },
    }


def test_where_all_devices_are_taken_the_scheduler_says_so(
    controller: Controller, nodes: list[str], busybox: str
) -> None:
    taken, free = nodes
    controller.kubectl(
        "apply", "-f", "-", documents=[sleeper(controller, taken, busybox, number) for number in range(DEVICES)]
    )

    def asleep() -> bool:
        found = controller.cluster.list("Pod", controller.namespace).items
        return [pod["status"]["phase"] for pod in found] == ["Running"] * DEVICES

    until("all devices of a node are taken", asleep)
    result = smoke(controller, [taken, free], busybox, NVIDIA_SMI)
    assert codes(result) == {taken: "unschedulable", free: ""}
    assert f"Insufficient {GPU}" in result["verdict"]["nodes"][taken]["reason"]
    assert f"{taken}: no node takes it" in result["msg"]
    assert result["verdict"]["nodes"][free]["ok"]
    assert pods(controller) == []
    skipped = smoke(controller, [taken, free], busybox, NVIDIA_SMI, when_busy="skip")
    assert (skipped["verdict"]["ok"], codes(skipped)) == (True, {taken: "busy", free: ""})
    assert f"{controller.namespace}/" in skipped["verdict"]["nodes"][taken]["reason"]
    controller.kubectl("delete", "pods", "--all", "--now")
    assert smoke(controller, [taken], busybox, NVIDIA_SMI)["verdict"]["ok"]


def test_check_mode_asks_the_api_server_and_stores_nothing(
    controller: Controller, nodes: list[str], busybox: str
) -> None:
    good = smoke(controller, nodes, busybox, NVIDIA_SMI, check=True)
    assert (good["changed"], good["verdict"]["ok"], codes(good)) == (False, True, dict.fromkeys(nodes, ""))
    unknown = smoke(controller, nodes, busybox, NVIDIA_SMI, check=True, runtime_class="no-such-class")
    assert "failed" not in unknown
    assert set(codes(unknown).values()) == {"admission"}
    assert "no-such-class" in str(unknown["warnings"])
    metadata = {"name": "none", "namespace": controller.namespace}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata,
        "spec": {"hard": {f"requests.{GPU}": 0}},
    }
    controller.kubectl("apply", "-f", "-", documents=[quota])

    def counted() -> object:
        found = controller.cluster.get("ResourceQuota", "none", controller.namespace)
        return found and found.get("status", {}).get("hard")

    until("the quota is counted", counted)
    told = smoke(controller, nodes, busybox, NVIDIA_SMI, check=True)
    assert set(codes(told).values()) == {"quota"}
    assert "exceeded quota: none" in str(told["warnings"])
    refused = smoke(controller, nodes, busybox, NVIDIA_SMI)
    assert refused["failure"]["code"] == "smoke"
    assert codes(refused) == codes(told)
    missing = smoke(controller, nodes, busybox, NVIDIA_SMI, check=True, namespace=f"{controller.namespace}-none")
    assert set(codes(missing).values()) == {"namespace_missing"}
    assert pods(controller) == []


def test_who_is_told_to_end_takes_the_pods_along(
    controller: Controller, nodes: list[str], busybox: str, tmp_path: Path
) -> None:
    given = {
        "kubeconfig": str(controller.kubeconfig),
        "namespace": controller.namespace,
        "nodes": nodes,
        "image": busybox,
        "command": ["sleep", "600"],
    }
    arguments = tmp_path / "killed.json"
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}), encoding="utf-8")
    module = subprocess.Popen(
        [sys.executable, "-m", f"{PACKAGE}.gpu_smoke", str(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
    )
    try:
        until("the pods are there", lambda: len(pods(controller)) == len(nodes))
        module.terminate()
        printed, _errors = module.communicate(timeout=90)
        assert json.loads(printed)["failure"]["code"] == "interrupted"
    finally:
        module.kill()
    assert pods(controller) == []
