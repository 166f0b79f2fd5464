"""NVIDIA's driver on a host of the laboratory, as far as that goes without a card and a kernel of its own.

The packages are real: the distribution's, from its mirror; and one of ours in an archive of the bundle.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.ansible_command import ansible_playbook, environment
from tests.integration.kubernetes.lab_hosts import LabHosts

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
LAB = [sys.executable, str(ROOT / "tools" / "lab.py")]
NAME = "gpu-driver-test"
HOST = "cp1"
#: What a host would be asked for that has a card; without one it has to be said that it is wanted all the same. Headers
#: of the machine's kernel are in no package, so dkms keeps the module's source and builds nothing.
WANTED: dict[str, Any] = {
    "nvidia_driver_without_card": True,
    "nvidia_driver_toolkit_packages": {},
    "nvidia_driver_packages": {"nvidia-kernel-dkms": "{version}", "nvidia-smi": "{version}", "libcuda1": "{version}"},
}
FOLDER = "/var/lib/dtf-cluster/nvidia-driver"


class Site:
    """One host."""

    def __init__(self, inventory: Path, folder: Path) -> None:
        self.inventory = inventory
        self.folder = folder
        self.hosts = LabHosts(inventory)

    def play(self, *options: str, **variables: Any) -> tuple[int, str]:
        """Run the role, which has to succeed; return how many tasks changed something, and what was printed."""
        playbook = self.folder / "play.yml"
        play = {"hosts": HOST, "gather_facts": False, "roles": ["dtf.cluster.nvidia_driver"]}
        playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
        words = ("-i", str(self.inventory), str(playbook), "-e", json.dumps({**WANTED, **variables}), *options)
        done = subprocess.run(
            ansible_playbook(*words), cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        return int(re.findall(r"changed=(\d+)", done.stdout)[-1]), done.stdout

    def versions(self) -> dict[str, str]:
        """Return package → version, of those of NVIDIA's that are installed."""
        shown = self.hosts.run(
            HOST, "dpkg-query --show --showformat '${Status} ${Package} ${Version}\\n' '*nvidia*' || :"
        )
        lines = (line.split() for line in shown.splitlines() if line.startswith("install ok installed"))
        return {package: version for *_status, package, version in lines}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("driver")
    inventory = folder / "inventory"
    named = [f"--name={NAME}", f"--inventory={inventory}"]
    try:
        subprocess.run([*LAB, "up", *named, "--subnet=172.30.35.0/24", "--hosts=1"], cwd=ROOT, check=True, timeout=300)
        yield Site(inventory, folder)
    finally:
        subprocess.run([*LAB, "down", *named], cwd=ROOT, check=True, timeout=120)


def test_the_distributions_driver_is_installed_held_and_taken_back(site: Site) -> None:
    """Each twice, and first in check mode."""
    assert site.versions() == {}
    assert site.play("--check")[0]
    assert site.versions() == {}
    changed, _printed = site.play()
    assert changed
    there = site.versions()
    assert {"nvidia-kernel-dkms", "nvidia-smi"} <= set(there)
    assert {version.partition(".")[0] for name, version in there.items() if name == "nvidia-smi"} == {"535"}
    # dkms has the module's source, of the same version as the rest.
    dkms = site.hosts.run(HOST, "dkms status")
    assert there["nvidia-smi"].partition("-")[0] in dkms
    policy = site.hosts.run(HOST, "apt-cache policy nvidia-smi")
    assert "1001" in policy
    assert "blacklist nouveau" in site.hosts.run(HOST, "cat /etc/modprobe.d/*.conf")
    assert site.play("--check")[0] == 0
    assert site.play()[0] == 0
    gone = {"nvidia_driver_state": "absent"}
    assert site.play("--check", **gone)[0]
    assert site.versions() == there
    assert site.play(**gone)[0]
    assert site.versions() == {}
    assert site.play(**gone)[0] == 0
    assert site.hosts.run(HOST, "ls /etc/apt/sources.list.d /etc/apt/preferences.d").count("dtf-nvidia") == 0


def archive(folder: Path) -> Path:
    """Make a bundle whose archive has a repository with one package; return the bundle."""
    tree = folder / "package"
    (tree / "DEBIAN").mkdir(parents=True)
    control = {"Package": "nvidia-smi", "Version": "535.999.01-1", "Architecture": "all", "Maintainer": "tests"}
    text = "".join(f"{name}: {value}\n" for name, value in control.items()) + "Description: stands in for NVIDIA's\n"
    (tree / "DEBIAN" / "control").write_text(text, encoding="utf-8")
    (tree / "usr/share/doc/nvidia-smi").mkdir(parents=True)
    package = folder / "nvidia-smi_535.999.01-1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)], check=True)
    content = package.read_bytes()
    told = f"Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    index = folder / "Packages"
    index.write_text(text + told, encoding="utf-8")
    bundle = folder / "bundle"
    (bundle / "data").mkdir(parents=True)
    made = bundle / "data" / "nvidia-driver.tar.gz"
    with tarfile.open(made, "w:gz") as tar:
        tar.add(package, package.name)
        tar.add(index, index.name)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    entry = {"name": "nvidia-driver", "kind": "data", "version": "535.999.01", "path": "data/nvidia-driver.tar.gz"}
    artifact = {**entry, "sha256": digest, "size": made.stat().st_size, "source": "tests"}
    manifest = {"schema": "dtf.bundle/1", "architecture": "amd64", "artifacts": [artifact]}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


def test_a_host_without_a_network_gets_the_packages_from_the_bundle(site: Site, tmp_path: Path) -> None:
    given = {
        "nvidia_driver_bundle_dir": str(archive(tmp_path)),
        "nvidia_driver_archive": "data/nvidia-driver.tar.gz",
        "nvidia_driver_version": "535.999.01",
        "nvidia_driver_packages": {"nvidia-smi": "{version}"},
    }
    assert site.play("--check", **given)[0]
    assert site.versions() == {}
    assert site.play(**given)[0]
    assert site.versions() == {"nvidia-smi": "535.999.01-1"}
    assert site.play(**given)[0] == 0
    gone = {**given, "nvidia_driver_state": "absent"}
    assert site.play(**gone)[0]
    assert site.versions() == {}
    assert site.hosts.run(HOST, f"ls -d {FOLDER}* 2>/dev/null || :") == ""
    assert site.play(**gone)[0] == 0
