"""Kind in podman: it is installed for the test alone, and its nodes are as good as docker's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from engine_apart import CannotBeApart, PodmanApart
from laboratory import machine

from .conftest import KUBECONFIG, Laptop, hosts


@pytest.fixture
def laptop() -> Iterator[Laptop]:
    """A laptop with podman."""
    if not machine.is_root():
        pytest.skip("an engine of one's own is for root")
    folder = Path(tempfile.mkdtemp(prefix="dtf-podman-"))
    try:
        engine = PodmanApart(folder / "engine")
    except CannotBeApart as reason:
        shutil.rmtree(folder)
        pytest.skip(str(reason))
    try:
        inventory = hosts(folder, engine)
        inventory["kind_host"]["vars"] |= {"kind_engine": "podman", "kind_environment": {}, "kind_workers": 1}
        (folder / "inventory").mkdir()
        (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        yield Laptop(engine, folder)
    finally:
        engine.end()
        shutil.rmtree(folder, ignore_errors=True)


def podman(laptop: Laptop, *words: str) -> list[str]:
    """Return the lines that podman prints."""
    done = laptop.engine.run(["podman", *words])
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.network
def test_a_cluster_of_two_nodes_is_made_and_leaves_nothing(laptop: Laptop) -> None:
    made = laptop.play("playbooks/cluster.yml")
    assert "Kind cluster dtf: took " in made
    nodes = {"dtf-control-plane", "dtf-worker"}
    assert {node["metadata"]["name"] for node in laptop.kubectl("get", "nodes")} == nodes
    assert set(podman(laptop, "ps", "--format", "{{.Names}}")) == nodes
    assert "changed=0" in laptop.play("playbooks/cluster.yml")
    laptop.play("playbooks/reset.yml", "-e", "confirm=yes")
    # kind makes volumes by name in this engine.
    assert [podman(laptop, kind, "ls", "--quiet") for kind in ("container", "volume", "image")] == [[], [], []]
    assert podman(laptop, "network", "ls", "--quiet") == ["podman"]
    assert not (laptop.folder / KUBECONFIG).exists()
