"""Workers with GPUs, in a real cluster whose kubelets offer some: placed, counted, refused, and told when one is lost.

The devices are a device plugin's of ours; nothing computes on them, and the trainer falls back on the processor.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.ansible_command import ansible_playbook, environment
from tests.integration.kubernetes.conftest import Controller
from tests.integration.kubernetes.gpu_stand_in import GPU, StandIn
from tests.integration.kubernetes.lab_hosts import LabHosts
from tests.integration.kubernetes.plays import Play, until

ROOT = Path(__file__).resolve().parents[3]
#: Devices a node.
DEVICES = 2
ASLEEP = {"spec": {"containers": [{"name": "trainer", "command": ["python3", "-c", "import time; time.sleep(600)"]}]}}


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


def play(laboratory: Path, playbook: str, *words: str) -> str:
    """Run a playbook on the laboratory's hosts to its end, which must be a good one; return its output."""
    done = subprocess.run(
        ansible_playbook("-i", str(laboratory), playbook, *words),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def topology(name: str, controller: Controller, image: str, workers: int, **more: Any) -> dict[str, Any]:
    """Return a topology whose workers have a GPU each."""
    return {
        "name": name,
        "workers": {"replicas": workers, "gpus": 1},
        "training": {"steps": 100},
        "lifecycle": {"stop_grace_seconds": 1},
        "kubernetes": {"image": image, "namespace": controller.namespace, **more},
    }


def pods(controller: Controller) -> list[dict[str, Any]]:
    """Return the pods of the test's namespace."""
    return list(controller.cluster.list("Pod", controller.namespace).items)


def test_workers_train_with_a_gpu_each_spread_over_the_nodes(
    gpus: StandIn, controller: Controller, image: str, tmp_path: Path
) -> None:
    before = {node: len(gpus.allocated(node)) for node in gpus.allocatable()}
    ended = Play(controller.kubeconfig, tmp_path / "play", topology("two", controller, image, 2)).end()
    assert ended.run["state"] == "succeeded", ended.printed[-4000:]
    assert ended.run["spec"]["workers"]["gpus"] == 1
    assert len({task["host"] for task in ended.run["tasks"] if task["role"] == "worker"}) == len(before)
    # Each kubelet asked its plugin for one device, and the ps for none.
    given = {node: gpus.allocated(node)[count:] for node, count in before.items()}
    assert [[len(devices) for devices in each] for each in given.values()] == [[1], [1]]


def test_the_plan_refuses_what_the_cluster_cannot_hold(
    gpus: StandIn, laboratory: Path, image: str, tmp_path: Path
) -> None:
    del gpus
    given = {
        "benchmark_topology": {"workers": {"gpus": 1}},
        "dtf_trainer_image": image,
        "dtf_results_dir": str(tmp_path),
    }
    words = ["-e", "workers=4,5", "-e", "steps=100", "-e", "name=room", "--check"]
    printed = play(laboratory, "benchmark.yml", "-e", json.dumps(given), *words)
    refused = "1 pod finds no room in room-worker: each asks for cpu 0.25, memory 1000Mi, nvidia.com/gpu 1"
    assert printed.count("cannot run here") == 1
    assert refused in printed
    assert list(tmp_path.iterdir()) == []


def test_a_fifth_worker_waits_for_a_gpu_and_the_scheduler_says_so(
    gpus: StandIn, controller: Controller, image: str, tmp_path: Path
) -> None:
    del gpus
    wanted = topology("five", controller, image, 5, pod_patch={"all": ASLEEP})
    ended = Play(controller.kubeconfig, tmp_path / "play", wanted).end()
    assert ended.cause["reason"] == "unschedulable"
    assert f"Insufficient {GPU}" in ended.cause["message"]


def test_a_gpu_that_turns_unhealthy_ends_the_run_with_its_name(
    gpus: StandIn, controller: Controller, image: str, tmp_path: Path
) -> None:
    wanted = topology("lost", controller, image, 1, pod_patch={"all": ASLEEP})
    play = Play(controller.kubeconfig, tmp_path / "play", wanted)

    def chief() -> dict[str, Any] | None:
        running = [pod for pod in pods(controller) if "chief" in pod["metadata"]["name"]]
        return next((pod for pod in running if pod["status"]["phase"] == "Running"), None)

    node = until("the chief runs", chief, 90, play)["spec"]["nodeName"]
    (device,) = gpus.allocated(node)[-1]
    gpus.set(node, device, "unhealthy")
    try:
        ended = play.end()
        assert ended.cause["reason"] == "device_lost"
        assert f"its device on node {node} is unhealthy: {GPU} {device}" in ended.cause["message"]
        # The kubelet tells of the pod at once and of the node with its next status, ten seconds later at most.
        until("the node offers one device less", lambda: gpus.allocatable()[node] == DEVICES - 1)
    finally:
        gpus.set(node, device, "healthy")
    until("the device is back", lambda: gpus.allocatable()[node] == DEVICES)


def test_each_node_of_the_group_gets_what_it_lacks_and_no_more(
    hosts: LabHosts, laboratory: Path, controller: Controller, image: str, tmp_path: Path
) -> None:
    """Neither node has a card. One has a program by the name of NVIDIA's runtime, which is runc, and so a runtime."""
    group = tmp_path / "gpu.yml"
    group.write_text(yaml.safe_dump({"gpu": {"hosts": dict.fromkeys(hosts.nodes)}}), encoding="utf-8")
    words = ("playbooks/gpu.yml", "-i", str(group))
    having, lacking = hosts.nodes[:2]
    hosts.run(having, "cp $(command -v runc) /usr/bin/nvidia-container-runtime")
    try:
        shown = play(laboratory, *words, "--check", "--diff")
        assert len(re.findall(r"no NVIDIA card that is this host'+s own to use: nothing to do", shown)) == 2
        assert shown.count("containerd.runtimes.nvidia]") == 1
        assert "nvidia" not in hosts.run(having, "cat /etc/containerd/config.toml")
        play(laboratory, *words)
        recap = play(laboratory, *words).rpartition("PLAY RECAP")[2]
        # Each node, the control plane, and this machine for the cluster.
        assert recap.count("changed=0") == len(hosts.nodes[:2]) + 2, recap

        def run(name: str, node: str) -> Any:
            placed = {"strategy": "nodes", "nodes": [node]}
            wanted = topology(name, controller, image, 1, runtime_class="nvidia", placement=placed)
            return Play(controller.kubeconfig, tmp_path / name, {**wanted, "workers": {"replicas": 1}}).end()

        assert run("having", having).run["state"] == "succeeded"
        cause = run("lacking", lacking).cause
        assert cause["reason"] == "runtime_class"
        assert f"node {lacking} lacks what kubernetes.runtime_class means" in cause["next_step"]
    finally:
        hosts.run(having, "rm -f /usr/bin/nvidia-container-runtime")
        play(laboratory, *words)
    assert "nvidia" not in hosts.run(having, "cat /etc/containerd/config.toml")
