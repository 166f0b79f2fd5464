"""Somebody else's manifest, made a topology by the role."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.integration.ansible_command import ansible_playbook, environment
from tests.integration.kubernetes.plays import ROOT

if TYPE_CHECKING:
    from tests.integration.kubernetes.conftest import Controller


def replicas(count: int, *words: str) -> dict[str, object]:
    """Return a group of a TFJob."""
    container = {"name": "tensorflow", "image": "registry.example.com/digits:1", "args": list(words)}
    return {"replicas": count, "restartPolicy": "ExitCode", "template": {"spec": {"containers": [container]}}}


def test_a_tfjob_is_applied_as_a_topology(controller: Controller, tmp_path: Path) -> None:
    manifest = tmp_path / "digits.yml"
    trained = ("--train_steps=4321", "--batch_size=50")
    groups = {"PS": replicas(2, *trained), "Worker": replicas(3, *trained)}
    manifest.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubeflow.org/v1",
                "kind": "TFJob",
                "metadata": {"name": "digits", "namespace": controller.namespace},
                "spec": {"runPolicy": {"cleanPodPolicy": "None"}, "tfReplicaSpecs": groups},
            }
        ),
        encoding="utf-8",
    )
    given = {
        "ansible_python_interpreter": sys.executable,
        "topology_runtime": "kubernetes",
        "topology_from": str(manifest),
        "topology_connection": {"kubeconfig": str(controller.kubeconfig)},
        "topology_wait": False,
        # What stands in the manifest is only below what the user says.
        "topology_workers": {"replicas": 2},
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        yaml.safe_dump(
            [{"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["dtf.cluster.topology"]}]
        ),
        encoding="utf-8",
    )

    def play(*words: str) -> str:
        command = ansible_playbook("-i", "localhost,", str(playbook), "-e", json.dumps(given), *words)
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first = play()
    assert "cleanPodPolicy" in first
    assert "changed=1" in first
    memory = controller.cluster.get("ConfigMap", "digits", controller.namespace)
    assert memory is not None
    spec = json.loads(memory["metadata"]["annotations"]["dtf.cluster/spec"])
    assert (spec["ps"]["replicas"], spec["workers"]["replicas"]) == (2, 2)
    assert (spec["training"]["steps"], spec["training"]["batch_size"]) == (4321, 50)
    assert spec["kubernetes"]["image"] == "registry.example.com/digits:1"
    assert "changed=0" in play()
    given["topology_state"] = "absent"
    assert "changed=1" in play()
    assert controller.kubectl("get", "pods,services,configmaps", "-l", "app.kubernetes.io/instance=digits") == ""
