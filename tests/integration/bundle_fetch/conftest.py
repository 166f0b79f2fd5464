"""The bundle's playbook, as a user runs it, against servers of our own."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from .servers import Upstream, serving, sha256

REPOSITORY = Path(__file__).resolve().parents[3]
#: Versions, and so the paths, are those of no release.
KUBELET = "/release/v9.9.9/bin/linux/amd64/kubelet"
KUBECTL = "/release/v9.9.9/bin/linux/amd64/kubectl"
PLUGINS = "/containernetworking/plugins/releases/download/v9.9.9/cni-plugins-linux-amd64-v9.9.9.tgz"


@dataclass
class Played:
    """What a run of the playbook came to."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Return how many tasks changed something, after checking that none failed."""
        assert self.code == 0, self.output
        (number,) = re.findall(r"changed=(\d+)", self.output)
        return int(number)

    @property
    def failure(self) -> str:
        """Return the text of the run that failed."""
        assert self.code == 2, self.output
        return self.output


@dataclass
class Site:
    """A controller with its mirror: where the bundle is, what the lock says and what upstream has."""

    folder: Path
    upstream: Upstream
    port: int
    lock: dict[str, Any] = field(default_factory=dict)

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.folder / "bundle"

    @property
    def lock_path(self) -> Path:
        """The lock that is given to the playbook."""
        return self.folder / "bundle.lock.yml"

    @property
    def mirrors(self) -> dict[str, str]:
        """Mirror of each official host."""
        address = f"http://127.0.0.1:{self.port}"
        return {"dl.k8s.io": address, "github.com": address, "registry.k8s.io": address}

    def run(self, *arguments: str, **variables: object) -> Played:
        """Run the playbook."""
        if self.lock:
            self.lock_path.write_text(yaml.safe_dump(self.lock, sort_keys=False), encoding="utf-8")
        given = {
            "bundle_dir": str(self.bundle),
            "bundle_lock": str(self.lock_path),
            "bundle_mirrors": self.mirrors,
            "bundle_require": [],
            "bundle_retries": 0,
            **variables,
        }
        environment = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "playbooks/bundle.yml",
                "-e",
                json.dumps({name: content for name, content in given.items() if content is not None}),
                *arguments,
            ],
            cwd=REPOSITORY,
            env={
                **environment,
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_FORCE_COLOR": "0",
                "HOME": str(self.folder),
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Played(done.returncode, done.stdout + done.stderr)

    def manifest(self) -> dict[str, Any]:
        """Return the artifacts of the bundle's manifest by their paths."""
        document = json.loads((self.bundle / "manifest.json").read_text(encoding="utf-8"))
        return {artifact["path"]: artifact for artifact in document["artifacts"]}

    def line(self, name: str) -> dict[str, Any]:
        """Return an artifact's line of the lock."""
        found: dict[str, Any] = next(line for line in self.lock["artifacts"] if line["name"] == name)
        return found


def archive(files: dict[str, bytes]) -> bytes:
    """Return a compressed tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as opened:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            opened.addfile(info, io.BytesIO(text))
    return content.getvalue()


def filled(folder: Path, upstream: Upstream, port: int) -> Site:
    """Return a site whose upstream has two programs, two plug-ins and an image, all of them in the lock."""
    upstream.files = {
        KUBELET: b"kubelet" * 100_000,
        KUBECTL: b"kubectl" * 10_000,
        PLUGINS: archive({"./bridge": b"bridge" * 500, "./portmap": b"portmap" * 500, "../README.md": b"up"}),
    }
    index = upstream.add_image("pause", "9.9")
    kubernetes = "https://dl.k8s.io/release/v{version}/bin/linux/{architecture}/"
    plugins = "https://github.com/containernetworking/plugins/releases/download/v{version}/"
    lock = {
        "schema": "dtf.bundle_lock/1",
        "artifacts": [
            {
                "name": name,
                "kind": "binary",
                "version": "9.9.9",
                "url": kubernetes + name,
                "sha256": {"amd64": sha256(upstream.files[path])},
                "needed_by": "role kubeadm, on every node",
            }
            for name, path in (("kubelet", KUBELET), ("kubectl", KUBECTL))
        ]
        + [
            {
                "name": "cni-plugins",
                "kind": "cni_plugin",
                "version": "9.9.9",
                "url": plugins + "cni-plugins-linux-{architecture}-v{version}.tgz",
                "sha256": {"amd64": sha256(upstream.files[PLUGINS])},
                "members": {"bridge": "bridge", "portmap": "portmap"},
            },
            {
                "name": "pause",
                "kind": "image",
                "version": "9.9",
                "image": "registry.k8s.io/pause",
                "digest": f"sha256:{index}",
                "nodes": "all",
            },
        ],
    }
    return Site(folder, upstream, port, lock)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A controller with a mirror that has everything."""
    upstream = Upstream()
    with serving(upstream) as port:
        yield filled(tmp_path, upstream, port)
