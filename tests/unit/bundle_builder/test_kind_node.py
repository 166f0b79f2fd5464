"""The node of a Kind cluster: what it is given, and that its own files are whole."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from bundle_builder import builder, kind_node, oci, parts
from bundle_builder.problems import CannotBuild

NODE = parts.image("kind-node")
PAUSE = "registry.k8s.io/pause:3.10.2"


def test_it_has_the_version_of_the_cluster_it_is_for() -> None:
    assert NODE.reference == f"dtf.cluster/kind-node:v{parts.module('kubernetes').version}"


def test_what_it_carries_is_compiled_with_it() -> None:
    names = {program.name for program in parts.compiled([NODE])}
    assert names >= {"kubelet", "containerd", "bridge", "kube-apiserver", "kube-proxy", "etcd", "coredns", "pause"}
    # Everything that kubeadm asks for on a control plane, and nothing of another network.
    assert set(NODE.carries) == {
        image.name for image in parts.IMAGES if image.repository.startswith("registry.k8s.io/")
    }


def test_its_files_are_filled_in_and_its_programs_can_be_run() -> None:
    entries = kind_node.files("1.36.3", PAUSE)
    assert entries["kind/version"].content == b"v1.36.3\n"
    assert f'sandbox = "{PAUSE}"'.encode() in entries["etc/containerd/config.toml.template"].content  # type: ignore[operator]
    assert not [path for path, entry in entries.items() if b"@PAUSE@" in (entry.content or b"")]  # type: ignore[operator]
    programs = {path for path, entry in entries.items() if entry.mode == 0o755 and isinstance(entry.content, bytes)}
    assert programs == {f"usr/local/sbin/{name}" for name in ("node-start", "node-cgroups", "node-network")}
    assert f"/{next(path for path in programs if path.endswith('start'))}" == kind_node.FIRST_PROCESS
    links = {entry.link for entry in entries.values() if entry.link}
    assert {link.lstrip("/") for link in links} <= entries.keys()


@pytest.mark.parametrize("path", sorted((kind_node.FILES / "usr/local/sbin").iterdir()), ids=lambda path: path.name)
def test_its_programs_are_shell(path: Path) -> None:
    done = subprocess.run(["sh", "-n", str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_network_is_a_configuration_once_a_range_is_filled_in() -> None:
    text = kind_node.texts()["etc/containerd/cni.conflist.template"]
    # Of one range and one route, as containerd fills it in.
    text = re.sub(r"{{[^{}]*}}", "", text.replace("{{if $i}}, {{end}}", ""))
    assert [plugin["type"] for plugin in json.loads(text)["plugins"]] == ["bridge", "portmap"]


def test_a_layer_may_be_an_archive_as_it_is(tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(__file__, arcname="file")
    layer = oci.layer_of(archive, tmp_path, "gzip-fast")
    assert gzip.decompress(layer.path.read_bytes()) == archive.read_bytes()
    assert layer.diff_id == "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()


def test_it_is_refused_before_anything_is_made_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind_node.os, "geteuid", lambda: 1000)  # type: ignore[attr-defined]
    maker = builder.Builder(None, lambda _: None)  # type: ignore[arg-type]
    monkeypatch.setattr(builder.golang, "compiler", lambda _: "go")
    monkeypatch.setattr(builder.debian, "provide", lambda _: [])
    with pytest.raises(CannotBuild, match="kind-node: not root"):
        maker.prepare([NODE])
    maker.prepare([parts.image("pause")])
