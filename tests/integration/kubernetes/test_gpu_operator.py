"""The role gpu_operator against a real cluster: NVIDIA's charts, operator and cards are stand-ins, all else is real."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster
from tests.integration.ansible_command import ansible_playbook, environment
from tests.integration.kubernetes import bundle_images
from tests.integration.kubernetes.charts import DEVICE_PLUGIN, OPERATOR, pack, with_field
from tests.integration.kubernetes.lab_hosts import LabHosts
from tests.integration.kubernetes.plays import until

ROOT = Path(__file__).resolve().parents[3]
GPU = "nvidia.com/gpu"
#: How many cards the stand-in for NVIDIA's operator finds on a node.
CARDS = "dtf.cluster/stand-in-cards"
SCENARIO = ROOT / "molecule/gpu/group_vars/all/30_scenario.yml"
#: The stand-in's devices are named in a variable, and there is no nvidia-smi.
SMOKE = {
    "gpu_operator_smoke_image": "dtf.cluster/python:3.11",
    "gpu_operator_smoke_command": ["python3", "-c", "import os; print('device', os.environ['NVIDIA_VISIBLE_DEVICES'])"],
    "gpu_operator_smoke_expect": "device gpu-",
    # No node of this cluster has NVIDIA's runtime.
    "gpu_operator_runtime_class": "",
    # The images are on the nodes.
    "gpu_operator_registry": "",
}


@dataclass(frozen=True)
class Played:
    """How the role ended."""

    code: int
    printed: str

    @property
    def changed(self) -> int:
        assert self.code == 0, self.printed[-6000:]
        return sum(int(number) for number in re.findall(r"changed=(\d+)", self.printed))


class Site:
    """A cluster of which the first worker has two cards, and the second none."""

    def __init__(self, hosts: LabHosts, inventory: Path, kubeconfig: Path, folder: Path) -> None:
        self.cluster = Cluster({"kubeconfig": str(kubeconfig)})
        self.folder = folder
        self.inventory = inventory
        self.with_cards, self.without = hosts.nodes[:2]
        said = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))["gpu_operator_found"]
        card = said["w1"]["cards"][0]
        second = {**card, "address": "0000:81:00.0", "gpu": {**card["gpu"], "address": "0000:81:00.0", "uuid": "GPU-2"}}
        self.found = {self.with_cards: {**said["w1"], "cards": [card, second]}, self.without: said["w2"]}

    def play(self, *words: str, **variables: Any) -> Played:
        """Run the role."""
        play = {"hosts": "localhost", "gather_facts": False, "roles": ["dtf.cluster.gpu_operator"]}
        playbook = self.folder / "play.yml"
        playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
        given = {"gpu_operator_found": self.found, **SMOKE, **variables}
        done = subprocess.run(
            ansible_playbook("-i", str(self.inventory), str(playbook), "-e", json.dumps(given), *words),
            cwd=ROOT,
            env={**environment(), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        return Played(done.returncode, done.stdout)

    def offered(self) -> dict[str, dict[str, str]]:
        """Return node → what it offers of NVIDIA's."""
        nodes = {node["metadata"]["name"]: node["status"]["allocatable"] for node in self.cluster.list("Node").items}
        return {
            name: {resource: count for resource, count in there.items() if "nvidia" in resource and count != "0"}
            for name, there in nodes.items()
            if name in self.found
        }

    def labels(self, node: str) -> set[str]:
        """Return the names of a node's labels that are NVIDIA's."""
        found = self.cluster.get("Node", node) or {}
        return {name for name in found["metadata"]["labels"] if name.startswith("nvidia.com/")}

    def forget(self, *more: str) -> None:
        """Remove what the operator said of a node with cards: it leaves that, as NVIDIA's does."""
        self.cluster.patch(
            "Node", self.with_cards, "", {"metadata": {"labels": dict.fromkeys({*more, *self.labels(self.with_cards)})}}
        )

    def kinds(self) -> list[str]:
        """Return the kinds of NVIDIA's that the cluster knows."""
        return [name for name in self.cluster.api_versions() if name.startswith("nvidia.com/")]


@pytest.fixture(scope="module")
def site(
    hosts: LabHosts, laboratory: Path, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The cluster, which has nothing of NVIDIA's before each test here and after the last."""
    folder = tmp_path_factory.mktemp("site")
    made = Site(hosts, laboratory, kubeconfig, folder)
    bundle_images.load(laboratory, "python", "gpu-stand-in")
    made.cluster.patch("Node", made.with_cards, "", {"metadata": {"labels": {CARDS: "2"}}})
    yield made
    for way, name in (("operator", OPERATOR), ("device_plugin", DEVICE_PLUGIN)):
        chart = str(pack(name, folder).path)
        made.play("-e", "gpu_operator_state=absent", gpu_operator_way=way, gpu_operator_chart=chart)
    made.forget(CARDS)


def test_the_operator_comes_changes_is_upgraded_and_goes(site: Site) -> None:
    """Each twice, and first in check mode."""
    chart = pack(OPERATOR, site.folder)
    given: dict[str, Any] = {"gpu_operator_chart": str(chart.path), "gpu_operator_chart_sha256": chart.sha256}
    told = site.play("--check", "--diff", **given)
    assert told.changed
    assert "+kind: ClusterPolicy" in told.printed
    assert site.kinds() == []
    assert site.labels(site.with_cards) == set()
    done = site.play(**given)
    assert done.changed
    assert site.offered() == {site.with_cards: {GPU: "2"}, site.without: {}}
    assert f"{site.without}: no " in done.printed
    # What the first program printed of the device that it was given.
    assert re.search(r"device gpu-\d", done.printed)
    policy = json.loads(json.dumps(site.cluster.get_at(_policies(site.cluster), "cluster-policy")))
    assert policy["spec"]["driver"]["enabled"] is False
    assert policy["status"]["state"] == "ready"
    assert site.play(**given).changed == 0

    newer = pack(OPERATOR, site.folder, version="v0.2.0", app_version="v2", files=with_field("flavour"))
    upgraded = {
        **given,
        "gpu_operator_chart": str(newer.path),
        "gpu_operator_chart_sha256": newer.sha256,
        "gpu_operator_sharing": {"time_slicing": {"replicas": 3}},
    }
    told = site.play("--check", "--diff", **upgraded)
    assert told.changed
    assert "flavour" in told.printed
    assert site.offered()[site.with_cards] == {GPU: "2"}
    assert site.play(**upgraded).changed
    assert site.offered()[site.with_cards] == {GPU: "6"}
    assert site.play(**upgraded).changed == 0

    gone = {**upgraded, "gpu_operator_state": "absent"}
    assert site.play("--check", **gone).changed
    assert site.kinds() != []
    assert site.play(**gone).changed
    assert site.kinds() == []
    until("the kubelet has forgotten the devices", lambda: site.offered()[site.with_cards] == {}, 90)
    assert site.play(**gone).changed == 0
    site.forget()


def test_the_device_plugin_alone_is_the_lighter_way(site: Site) -> None:
    chart = pack(DEVICE_PLUGIN, site.folder)
    given = {
        "gpu_operator_way": "device_plugin",
        "gpu_operator_chart": str(chart.path),
        "gpu_operator_sharing": {"time_slicing": {"replicas": 2}},
    }
    assert site.play("--check", **given).changed
    assert site.play(**given).changed
    assert site.offered() == {site.with_cards: {GPU: "4"}, site.without: {}}
    assert site.play(**given).changed == 0
    assert site.kinds() == []
    gone = {**given, "gpu_operator_state": "absent"}
    assert site.play(**gone).changed
    assert site.labels(site.with_cards) == set()
    assert site.play(**gone).changed == 0


def test_everything_that_is_wrong_is_told_before_anything_is_done(site: Site) -> None:
    chart = pack(OPERATOR, site.folder)
    ended = site.play(
        gpu_operator_chart=str(chart.path),
        gpu_operator_sharing={"time_slicing": {"replicas": 1}, "nodes": ["w9"]},
        gpu_operator_mig={"strategy": "none", "config": {site.with_cards: "all-1g.5gb"}},
        gpu_operator_values={"drivr": {}},
    )
    assert ended.code
    for field in ("sharing.time_slicing.replicas", "sharing.nodes", "mig.strategy"):
        assert f"gpu_operator_{field}" in ended.printed
    assert "changed=0" in ended.printed
    assert site.kinds() == []


def test_what_waiting_cannot_mend_is_told_with_its_cause(site: Site) -> None:
    """The operator is to bring a driver of which there is no image. The last test: it leaves the release."""
    chart = pack(OPERATOR, site.folder)
    found = {**site.found[site.with_cards], "driver": site.found[site.without]["driver"]}
    found["cards"] = [{**card, "bound_to": "", "gpu": None} for card in found["cards"]]
    ended = site.play(
        gpu_operator_found={site.with_cards: {**found, "packages": {}}, site.without: site.found[site.without]},
        gpu_operator_chart=str(chart.path),
        gpu_operator_grace_seconds=5,
    )
    assert ended.code
    assert "image_pull" in ended.printed
    assert site.with_cards in ended.printed
    assert "nvidia-driver-daemonset" in ended.printed


def _policies(cluster: Cluster) -> Any:
    return cluster.resource("nvidia.com/v1", "ClusterPolicy")
