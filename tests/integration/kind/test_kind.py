"""Kind as its users have it: from a container engine to a training on two nodes, changed, and taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import KUBECONFIG, Laptop

TRAINING = ("-e", "workers=2", "-e", "steps=1000", "-e", "name=training")
NODES = {"dtf-control-plane", "dtf-worker", "dtf-worker2"}


def changed(printed: str) -> int:
    """Return how many tasks changed something on localhost."""
    (line,) = [line for line in printed.splitlines() if line.startswith("localhost ") and "changed=" in line]
    return int(line.partition("changed=")[2].split()[0])


def addresses(laptop: Laptop) -> dict[str, str]:
    """Return node → address, as the cluster knows it."""
    return {
        node["metadata"]["name"]: next(
            entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"
        )
        for node in laptop.kubectl("get", "nodes")
    }


@pytest.fixture(scope="session")
def site(laptop: Laptop) -> Laptop:
    """A laptop with a cluster on which something was trained."""
    laptop.play("site.yml", *TRAINING)
    return laptop


def test_check_mode_shows_a_cluster_and_makes_nothing(laptop: Laptop) -> None:
    if laptop.containers():
        pytest.skip("there is a cluster already")
    printed = laptop.play("playbooks/cluster.yml", "--check", "--diff")
    assert "role: worker" in printed
    assert changed(printed) > 0
    assert laptop.containers() == {}
    assert not (laptop.folder / "kind").exists()


def test_a_site_trains_on_two_nodes_and_the_second_time_changes_nothing(site: Laptop) -> None:
    (path,) = (site.folder / "results" / "training").glob("*/run.json")
    run = json.loads(path.read_text(encoding="utf-8"))
    assert (run["state"], run["runtime"]) == ("succeeded", "kubernetes")
    assert run["training"]["test_accuracy"] > 0.8
    assert {task["host"] for task in run["tasks"]} == NODES - {"dtf-control-plane"}
    assert site.containers().keys() == NODES
    assert changed(site.play("site.yml", *TRAINING)) == 0


def test_nodes_find_each_other_by_name_and_nothing_had_to_be_restarted(site: Laptop) -> None:
    pods: list[Any] = site.kubectl("get", "pods", "--namespace=kube-system")
    restarts = {
        pod["metadata"]["name"]: status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"]
    }
    assert len(restarts) > len(NODES)
    assert {name for name, count in restarts.items() if count} == set()
    for node in NODES:
        done = site.engine.run(["docker", "exec", node, "getent", "ahostsv4", "dtf-control-plane"])
        assert done.stdout.split()[0] == addresses(site)["dtf-control-plane"]


def test_another_number_of_nodes_is_shown_and_not_made_unless_it_is_allowed(site: Laptop) -> None:
    before = site.containers()
    words = ("playbooks/cluster.yml", "-e", "kind_workers=3")
    shown = site.play(*words, "--check", "--diff")
    assert "+    - dtf-worker3" in shown
    assert "it has 3 nodes and not 4" in shown
    refused = site.play(*words, fails=True)
    assert "needs_recreate" in refused
    assert "kind_recreate: true" in refused
    assert site.containers() == before


def test_a_sweep_takes_as_many_nodes_as_it_is_told(site: Laptop) -> None:
    # What the cluster itself takes is not this test's, and kubelets would be waited for to know it.
    brief = ("benchmark_platform=false", "benchmark_warm_up=false")
    words = ("workers=1", "nodes=1,2", "steps=100", "repeats=1", "name=sweep", *brief)
    site.play("benchmark.yml", *(word for pair in words for word in ("-e", pair)))
    report = json.loads((site.folder / "results" / "sweep" / "benchmark.json").read_text(encoding="utf-8"))
    assert report["axes"] == {"nodes": [1, 2]}
    assert [cell["succeeded"] for cell in report["cells"]] == [1, 1]


def test_nodes_that_come_back_at_other_addresses_are_the_same_cluster(site: Laptop) -> None:
    before, were = site.containers(), addresses(site)
    site.engine.docker("stop", *NODES)
    # The first to come back gets the first address.
    last = max(were, key=lambda name: were[name])
    site.engine.docker("start", last)
    assert changed(site.play("playbooks/cluster.yml")) == 1
    assert site.containers() == before
    assert addresses(site) != were
    assert changed(site.play("playbooks/cluster.yml")) == 0


def test_a_change_that_is_allowed_makes_the_cluster_anew(site: Laptop) -> None:
    before = site.containers()
    words = ("playbooks/cluster.yml", "-e", "kind_workers=0")
    assert changed(site.play(*words, "-e", "kind_recreate=true")) > 0
    assert site.containers().keys() == {"dtf-control-plane"}
    assert site.containers()["dtf-control-plane"] != before["dtf-control-plane"]


def test_a_reset_asks_first_and_leaves_nothing(site: Laptop) -> None:
    refused = site.play("playbooks/reset.yml", "-e", "confirm=no", fails=True)
    assert "-e confirm=yes" in refused
    assert site.containers()
    site.play("playbooks/reset.yml", "-e", "confirm=yes")
    assert site.containers() == {}
    assert site.engine.docker("volume", "ls", "--quiet") == ""
    assert "dtf.cluster/kind-node" not in site.engine.docker("image", "ls", "--format", "{{.Repository}}")
    assert "kind" not in site.engine.docker("network", "ls", "--format", "{{.Name}}").split()
    assert not (site.folder / "kind").exists()
    assert not (site.folder / KUBECONFIG).exists()
    assert changed(site.play("playbooks/reset.yml", "-e", "confirm=yes")) == 0
