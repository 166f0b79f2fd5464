"""A laptop for Kind: an engine of the tests' own, the bundle, and the inventory of a user who has only that."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_apart import CannotBeApart, EngineApart

from tests.integration.ansible_command import ansible_playbook, environment

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 600
KUBECONFIG = "kubeconfig"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS))


@dataclass
class Laptop:
    """What a user of Kind has.

    Attributes:
        engine: the container engine.
        folder: for everything else; the inventory is in there.
    """

    engine: EngineApart
    folder: Path

    def play(self, *words: str, fails: bool = False) -> str:
        """Run a playbook as that user; return what it printed."""
        done = self.engine.run(ansible_playbook("-i", str(self.folder / "inventory"), *words), environment())
        printed = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, printed[-6000:]
        return printed

    def kubectl(self, *words: str) -> Any:
        """Return objects as kubectl tells them, from where the user is."""
        kubectl = [str(self.folder / "kind" / "bin" / "kubectl"), f"--kubeconfig={self.folder / KUBECONFIG}"]
        done = self.engine.run([*kubectl, *words, "--output=json"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["items"]

    def containers(self) -> dict[str, str]:
        """Return name → id of all that the engine has."""
        lines = self.engine.docker("ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
        return dict(line.split() for line in lines)  # type: ignore[misc]


@pytest.fixture(scope="session")
def laptop() -> Iterator[Laptop]:
    """An engine without a way out, and an inventory."""
    if os.geteuid() != 0:
        pytest.skip("an engine of one's own is for root")
    # Short: a socket's path may not have more than a hundred letters.
    folder = Path(tempfile.mkdtemp(prefix="dtf-kind-"))
    apart = folder / "engine"
    apart.mkdir()
    try:
        engine = EngineApart(apart)
    except CannotBeApart as reason:
        shutil.rmtree(folder)
        pytest.skip(str(reason))
    try:
        inventory = folder / "inventory"
        inventory.mkdir()
        (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts(folder, engine)), encoding="utf-8")
        yield Laptop(engine, folder)
    finally:
        engine.end()
        shutil.rmtree(folder)


def hosts(folder: Path, engine: EngineApart) -> dict[str, Any]:
    """Return the inventory for users of Kind, and what is so because of this machine."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "inventories" / "kind" / "hosts.yml").read_text(encoding="utf-8"))
    kubelet = engine.told()["kubelet_configuration"]
    found["kind_host"]["vars"] |= {
        "bundle_source": "directory",
        "dtf_bundle": str(ROOT / "build" / "bundle"),
        "dtf_kubeconfig": str(folder / KUBECONFIG),
        "dtf_results_dir": str(folder / "results"),
        "kind_dir": str(folder / "kind"),
        "kind_environment": {"DOCKER_HOST": engine.host},
        "kind_configuration": {
            "kubeadmConfigPatches": [{"kind": "KubeletConfiguration", **kubelet}] if kubelet else []
        },
    }
    return found
