"""GPUs that are not there, on the nodes of a laboratory: a device plugin of ours talks to the real kubelets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster
from tests.integration.ansible_command import ansible_playbook, environment

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(__file__).with_suffix(".yml")
GPU = "nvidia.com/gpu"
NAMESPACE = "kube-system"


class StandIn:
    """The devices of a cluster's nodes, and what is done to them."""

    def __init__(self, inventory: Path, kubeconfig: Path) -> None:
        self._inventory = inventory
        self._kubeconfig = kubeconfig
        self._cluster = Cluster({"kubeconfig": str(kubeconfig)})

    def offer(self, devices: int) -> None:
        """Have each node offer so many."""
        self._play("present", devices)

    def withdraw(self) -> None:
        """Have no node offer any."""
        self._play("absent", 0)

    def _play(self, state: str, devices: int) -> None:
        manifest = json.loads((ROOT / "build/bundle/manifest.json").read_text(encoding="utf-8"))
        image = next(entry["reference"] for entry in manifest["artifacts"] if entry["name"] == "gpu-stand-in")
        words = {"image": image, "state": state, "devices": devices}
        given = {f"gpu_stand_in_{name}": value for name, value in words.items()}
        _output(ansible_playbook("-i", str(self._inventory), str(PLAYBOOK), "-e", json.dumps(given)))

    def allocatable(self) -> dict[str, int]:
        """Return node → how many GPUs the kubelet offers; nodes without any are left out."""
        found = {}
        for node in self._cluster.list("Node", "").items:
            count = int(node["status"]["allocatable"].get(GPU, 0))
            if count:
                found[str(node["metadata"]["name"])] = count
        return found

    def set(self, node: str, device: str, state: str) -> None:
        """Say how a device is from now on."""
        self._exec(node, "set", device, state)

    def allocated(self, node: str) -> list[list[str]]:
        """Return the devices that the plugin of a node gave to containers, the oldest first."""
        lines = self._kubectl("logs", self._pod(node)).splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines if line.startswith("{")]
        return [event["devices"] for event in events if event["event"] == "allocated"]

    def _exec(self, node: str, *words: str) -> str:
        return self._kubectl("exec", self._pod(node), "--", "/gpu-stand-in", *words)

    def _pod(self, node: str) -> str:
        selected = ["--selector=app=gpu-stand-in", f"--field-selector=spec.nodeName={node}"]
        return self._kubectl("get", "pods", "--output=name", *selected).strip()

    def _kubectl(self, *words: str) -> str:
        kubectl = str(ROOT / "build/bundle/bin/kubectl")
        return _output([kubectl, f"--kubeconfig={self._kubeconfig}", f"--namespace={NAMESPACE}", *words])


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout
