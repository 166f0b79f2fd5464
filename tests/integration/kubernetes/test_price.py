"""What a real cluster takes of its machines during a real run, from each source; and that asking never spoils a run."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.platform_usage import (
    PLATFORM,
    moment,
    part_of_pod,
    reading_of_summary,
)
from tests.integration.ansible_command import ansible_playbook
from tests.integration.kubernetes.conftest import Controller, Document, run
from tests.integration.kubernetes.plays import SCHEMA, Play, until

STEPS = 3000


def measured(
    controller: Controller,
    image: str,
    folder: Path,
    *words: str,
    kubeconfig: Path | None = None,
    steps: int = STEPS,
    **more: object,
) -> Document:
    """Return the document of the one run that a benchmark of pods makes."""
    given = {
        "dtf_kubeconfig": str(kubeconfig or controller.kubeconfig),
        "dtf_results_dir": str(folder / "results"),
        "benchmark_image": image,
        "benchmark_kubernetes": {"namespace": controller.namespace},
        "benchmark_warm_up": False,
        "report_page": False,
        **more,
    }
    asked = [
        "-e",
        "runtime=kubernetes",
        "-e",
        "workers=1",
        "-e",
        f"steps={steps}",
        "-e",
        "repeats=1",
        "-e",
        "name=cost",
    ]
    run(*ansible_playbook("benchmark.yml", *words, *asked, "-e", json.dumps(given)))
    (path,) = (folder / "results" / "cost").glob("*/run.json")
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(document, SCHEMA)
    assert document["state"] == "succeeded"
    return document


def parts(document: Document, host: str) -> dict[str, Document]:
    """Return a machine's parts by their names."""
    return {part["part"]: part for part in document["platform"]["parts"] if part["host"] == host}


def nodes(controller: Controller) -> dict[str, bool]:
    """Return every node of the cluster, and whether it is of the control plane."""
    found = [node["metadata"] for node in controller.cluster.list("Node").items]
    return {node["name"]: "node-role.kubernetes.io/control-plane" in node["labels"] for node in found}


def carrying(controller: Controller) -> set[str]:
    """Return the nodes with a pod that counts as control plane: the cluster's DNS is anywhere."""
    return {
        str(pod["spec"]["nodeName"])
        for pod in controller.cluster.list("Pod", "kube-system").items
        if part_of_pod("kube-system", pod["metadata"]["name"]) == "control_plane"
    }


def test_the_kubelets_tell_where_there_is_only_a_kubeconfig(controller: Controller, image: str, tmp_path: Path) -> None:
    document = measured(controller, image, tmp_path, benchmark_platform_hosts=[])
    assert document["platform"]["source"] == "kubelet"
    assert document["platform"]["seconds"] == round(document["wall_seconds"], 3)
    carriers = carrying(controller)
    for host, control_plane in nodes(controller).items():
        found = parts(document, host)
        assert {"network", "trainer", "other"} <= set(found), host
        assert ("control_plane" in found) == (host in carriers)
        if control_plane:
            assert found["control_plane"]["cpu_seconds"] > 0
            assert found["control_plane"]["memory_bytes"] > 50 * 2**20
        assert found["network"]["memory_bytes"] > 2**20
    own = sum(task["cpu_seconds"] for task in document["tasks"])
    assert sum(parts(document, host)["trainer"]["cpu_seconds"] for host in nodes(controller)) == pytest.approx(own)


def test_the_machines_tell_themselves(
    controller: Controller, laboratory: Path | None, image: str, tmp_path: Path
) -> None:
    if laboratory is None:
        pytest.skip("of a cluster that was given there is no inventory")
    document = measured(controller, image, tmp_path, "-i", str(laboratory), steps=2 * STEPS)
    platform = document["platform"]
    assert (platform["source"], document["platform_notes"]) == ("cgroup", [])
    # And how busy they were before it.
    assert all(0 <= host["load_before"] <= host["cores"] for host in document["environment"]["hosts"])
    # The run is between the two readings, and nothing else of its length.
    assert 0 < platform["seconds"] - document["wall_seconds"] < document["wall_seconds"]
    carriers = carrying(controller)
    for host, control_plane in nodes(controller).items():
        found = parts(document, host)
        assert {"kubelet", "container_runtime", "network", "trainer", "other"} <= set(found), host
        assert ("control_plane" in found) == (host in carriers)
        for name in ("kubelet", "container_runtime", *(["control_plane"] if control_plane else [])):
            assert 0 < found[name]["cpu_seconds"] < platform["seconds"], (host, name)
            assert found[name]["memory_bytes"] > 2**20, (host, name)
    # A machine has taken more than its tasks say they did: what is in no part is not taken from another.
    for host in {task["host"] for task in document["tasks"]}:
        found = parts(document, host)
        assert 0 < found["other"]["cpu_seconds"] < found["trainer"]["cpu_seconds"], host
    taken = sum(part["cpu_seconds"] for part in platform["parts"] if part["part"] in PLATFORM)
    assert 0.1 < taken < 2 * sum(task["cpu_seconds"] for task in document["tasks"])


def test_a_busy_pod_took_what_its_tasks_say(controller: Controller, image: str, tmp_path: Path) -> None:
    """Pods of a StatefulSet stay, so the kubelets' count of them can be held against their own getrusage."""
    topology = {
        "name": "busy",
        "training": {"steps": STEPS},
        "kubernetes": {"namespace": controller.namespace, "image": image, "backend": "statefulset"},
    }
    ended = Play(controller.kubeconfig, tmp_path / "play", topology).end()
    assert ended.code == 0, ended.printed
    own = sum(task["cpu_seconds"] for task in ended.run["tasks"])
    over = moment(ended.run["finished"])

    def counted() -> list[float]:
        """Return what the kubelets have counted of the pods, once they have since the run's end."""
        readings = [reading_of_summary(controller.cluster.kubelet_summary(name)) for name in nodes(controller)]
        pods = [
            counter
            for reading in readings
            for name, counter in reading.counters.items()
            if name.startswith(f"pod {controller.namespace}/")
        ]
        return [pod.cpu_seconds for pod in pods if pod.time > over + 1] if len(pods) == len(ended.run["tasks"]) else []

    found = until("counters of all pods", lambda: len(now := counted()) == len(ended.run["tasks"]) and now, 90)
    assert 0.95 * own < sum(found) < 1.5 * own


def test_a_run_succeeds_where_nobody_may_ask(controller: Controller, image: str, tmp_path: Path) -> None:
    """Who may only use a namespace gets the run, no platform, and the reason."""
    controller.kubectl("create", "serviceaccount", "user")
    subject = f"--serviceaccount={controller.namespace}:user"
    controller.kubectl("create", "rolebinding", "user-edits", "--clusterrole=edit", subject)
    token = controller.kubectl("create", "token", "user").strip()
    config = yaml.safe_load(controller.kubeconfig.read_text(encoding="utf-8"))
    for user in config["users"]:
        user["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
    document = measured(controller, image, tmp_path, kubeconfig=kubeconfig, steps=300, benchmark_platform_hosts=[])
    assert document["platform"] is None
    assert any("nodes" in note and "forbidden" in note for note in document["platform_notes"]), document[
        "platform_notes"
    ]
