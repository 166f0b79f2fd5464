"""A bundle from upstream: filled once, whatever the servers do, and never with anything but what the lock says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import KUBECTL, KUBELET, PLUGINS, REPOSITORY, Site, archive, filled
from .servers import MANIFEST, Upstream, certificate, proxy, serving, sha256

PATHS = ["bin/cni/bridge", "bin/cni/portmap", "bin/kubectl", "bin/kubelet", "images/pause.tar"]


def files(folder: Path) -> dict[str, tuple[int, str]]:
    """Return path → time and digest of everything below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, sha256(path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_bundle_is_filled_once(site: Site) -> None:
    foretold = site.run("--check", "--diff", "-v")
    assert foretold.changed == 1
    assert all(f"+{path}: " in foretold.output for path in PATHS)
    assert f"address: http://127.0.0.1:{site.port}{KUBELET}" in foretold.output
    assert not site.bundle.exists()
    assert site.upstream.asked == [], "check mode asks nobody"

    assert site.run().changed == 1
    artifacts = site.manifest()
    assert sorted(artifacts) == PATHS
    for path, artifact in artifacts.items():
        content = (site.bundle / path).read_bytes()
        assert (artifact["size"], artifact["sha256"]) == (len(content), sha256(content))
    assert (site.bundle / "bin/kubelet").read_bytes() == site.upstream.files[KUBELET]
    assert (site.bundle / "bin/cni/bridge").read_bytes() == b"bridge" * 500
    assert artifacts["bin/kubelet"]["source"] == "https://dl.k8s.io/release/v9.9.9/bin/linux/amd64/kubelet"
    assert os.access(site.bundle / "bin/kubelet", os.X_OK)
    assert {path.name for path in site.bundle.iterdir()} == {
        "bin",
        "images",
        "manifest.json",
        ".lock",
        ".verified.json",
    }, "nothing is left of the downloads"

    before, asked = files(site.bundle), len(site.upstream.asked)
    assert site.run().changed == 0
    assert site.run("--check").changed == 0
    assert files(site.bundle) == before
    assert len(site.upstream.asked) == asked


def test_a_laptop_with_kind_fetches_nothing_that_machines_would_need(site: Site) -> None:
    wanted = {"bundle_require": ["kubectl"], "bundle_only_required": True}
    assert site.run(**wanted).changed == 1
    assert sorted(site.manifest()) == ["bin/kubectl"]
    assert set(site.upstream.paths()) == {KUBECTL}
    assert site.run(**wanted).changed == 0
    assert site.run().changed == 1
    assert sorted(site.manifest()) == PATHS


def test_an_image_is_one_file_with_the_same_bytes_each_time(site: Site) -> None:
    assert site.run().changed == 1
    archived = site.bundle / "images/pause.tar"
    first = archived.read_bytes()
    artifact = site.manifest()["images/pause.tar"]
    with tarfile.open(archived) as opened:
        assert opened.getnames() == sorted(opened.getnames())
        inside = {member.name: opened.extractfile(member).read() for member in opened if member.isfile()}  # type: ignore[union-attr]
    blobs = {name.rpartition("/")[2]: content for name, content in inside.items() if name.startswith("blobs/sha256/")}
    assert {name: sha256(content) for name, content in blobs.items()} == {name: name for name in blobs}
    (described,) = json.loads(inside["index.json"])["manifests"]
    assert described["digest"] == artifact["digest"]
    assert described["annotations"] == {
        "io.containerd.image.name": "registry.k8s.io/pause:9.9",
        "org.opencontainers.image.ref.name": "9.9",
    }
    manifest = json.loads(blobs[described["digest"].removeprefix("sha256:")])
    assert json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])["architecture"] == "amd64"
    assert {part["digest"].removeprefix("sha256:") for part in manifest["layers"]} < blobs.keys()
    assert (artifact["reference"], artifact["nodes"]) == ("registry.k8s.io/pause:9.9", "all")

    archived.unlink()
    assert site.run().changed == 1
    assert archived.read_bytes() == first


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_a_cut_download_continues_in_the_next_run(site: Site, ranges: bool) -> None:
    site.upstream.ranges = ranges
    site.upstream.faults[KUBELET] = ["cut:300000"]
    failure = site.run().failure
    assert "1 artifact could not be fetched" in failure
    assert "the connection ended after 300000 of 700000 bytes" in failure
    assert "bin/kubectl" in site.manifest(), "the others came"

    site.upstream.asked.clear()
    assert site.run().changed == 1
    assert [(asked.path, asked.range) for asked in site.upstream.asked] == [(KUBELET, "bytes=300000-")]
    assert (site.bundle / "bin/kubelet").read_bytes() == site.upstream.files[KUBELET]


def test_what_is_left_of_another_file_is_not_continued(site: Site) -> None:
    site.upstream.faults[KUBELET] = ["cut:300000"]
    assert "connection ended" in site.run().failure
    (part,) = (site.bundle / ".fetch").glob("*.part")
    part.write_bytes(b"x" * 700_000)
    assert site.run().changed == 1, "too long: the server has no rest, and it is not what was wanted"
    assert (site.bundle / "bin/kubelet").read_bytes() == site.upstream.files[KUBELET]


def test_servers_that_fail_for_a_while(site: Site) -> None:
    blob = next(path for path in site.upstream.blobs if len(site.upstream.blobs[path]) > 10_000)
    site.upstream.faults[KUBELET] = ["500", "cut:100000", "503"]
    site.upstream.faults[f"/v2/pause/blobs/{blob}"] = ["cut:1000"]
    assert site.run(bundle_retries=4).changed == 1
    assert (site.bundle / "bin/kubelet").read_bytes() == site.upstream.files[KUBELET]
    ranges = [asked.range for asked in site.upstream.asked if asked.path == KUBELET]
    assert ranges == ["", "", "bytes=100000-", "bytes=100000-"]


def test_a_wrong_digest_is_refused(site: Site) -> None:
    right, wrong = site.line("kubelet")["sha256"]["amd64"], "0" * 64
    site.line("kubelet")["sha256"]["amd64"] = wrong
    site.line("pause")["digest"] = f"sha256:{wrong}"
    body = b'{"schemaVersion": 2}'
    site.upstream.manifests[f"pause@sha256:{wrong}"] = (MANIFEST, body)
    failure = site.run(bundle_retries=2).failure
    assert f"{KUBELET}: expected sha256 {wrong}, found sha256 {right}; refused" in failure
    assert f"expected sha256 {wrong}, found sha256 {sha256(body)}; refused" in failure
    assert "2 artifacts could not be fetched" in failure
    assert not (site.bundle / "bin/kubelet").exists()
    assert sorted(site.manifest()) == ["bin/cni/bridge", "bin/cni/portmap", "bin/kubectl"]
    assert site.upstream.paths().count(KUBELET) == 1, "asking again would give the same"


def test_what_upstream_does_not_have(site: Site) -> None:
    del site.upstream.files[KUBECTL]
    site.upstream.files[PLUGINS] = archive({"bridge": b"x", "portmap.txt": b"x"})
    site.line("cni-plugins")["sha256"]["amd64"] = sha256(site.upstream.files[PLUGINS])
    arm = site.upstream.add_image("only-arm", "1", ("arm64",))
    line = {**site.line("pause"), "name": "arm", "image": "registry.k8s.io/only-arm", "digest": f"sha256:{arm}"}
    site.lock["artifacts"].append(line)
    failure = site.run(bundle_retries=2).failure
    assert "kubectl 9.9.9: " in failure
    assert "HTTP 404" in failure
    assert "has no file portmap; there is bridge, portmap.txt" in failure
    assert "no image for linux/amd64, only for linux/arm64" in failure


@pytest.mark.parametrize(
    "body",
    [b"<html>Log in first</html>", b"[]", b'{"mediaType": "%s", "config": 3, "layers": []}' % MANIFEST.encode(), b"{}"],
)
def test_an_answer_that_is_no_image(site: Site, body: bytes) -> None:
    site.line("pause")["digest"] = f"sha256:{sha256(body)}"
    site.upstream.manifests[f"pause@sha256:{sha256(body)}"] = ("text/html", body)
    failure = site.run().failure
    assert f"pause 9.9: http://127.0.0.1:{site.port}/v2/pause" in failure
    assert "no image that" in failure
    assert "bin/kubelet" in site.manifest()


def test_a_login_is_told_to_its_host_only(site: Site) -> None:
    site.upstream.token = "a-token"
    site.upstream.files["/moved"] = site.upstream.files.pop(KUBECTL)
    site.upstream.redirects[KUBECTL] = f"http://localhost:{site.port}/moved"
    netrc = site.folder / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    assert site.run().changed == 1
    told = {asked.path: asked.authorization for asked in site.upstream.asked}
    basic = "Basic bWU6c2VjcmV0"
    assert [told[path] for path in (KUBELET, KUBECTL, "/moved", "/token")] == [basic, basic, "", basic]
    assert {text for path, text in told.items() if path.startswith("/v2/")} == {"Bearer a-token"}


def test_an_unknown_digest_is_refused_until_it_is_learnt(site: Site) -> None:
    original = {name: site.line(name).pop(field) for name, field in (("kubectl", "sha256"), ("pause", "digest"))}
    site.line("kubelet").pop("sha256")
    failure = site.run().failure
    for name in ("kubectl 9.9.9: https://dl.k8s.io/", "kubelet 9.9.9", "pause 9.9: registry.k8s.io/pause:9.9"):
        assert name in failure
    assert f"-e bundle_lock={site.lock_path} -e bundle_pin_unknown=true" in failure
    assert site.upstream.asked == []

    site.upstream.files[KUBELET + ".sha256"] = b"0" * 64
    refused = site.run(bundle_pin_unknown=True)
    assert f"expected sha256 {'0' * 64}" in refused.failure, "what upstream publishes beside a file is expected of it"
    site.upstream.files[KUBELET + ".sha256"] = sha256(site.upstream.files[KUBELET]).encode() + b"\n"
    site.lock = {}  # the lock on the disk is the one that has learnt
    assert site.run(bundle_pin_unknown=True).changed == 1
    learnt = {line["name"]: line for line in yaml.safe_load(site.lock_path.read_text())["artifacts"]}
    assert learnt["kubectl"]["sha256"] == original["kubectl"]
    assert learnt["kubelet"]["sha256"] == {"amd64": sha256(site.upstream.files[KUBELET])}
    assert learnt["pause"]["digest"] == original["pause"]
    assert site.run().changed == 0
    shutil.rmtree(site.bundle)
    assert site.run().changed == 1


def test_a_lock_of_one_s_own_begins_as_the_collection_s(site: Site) -> None:
    site.lock = {}
    shipped = REPOSITORY / "roles" / "bundle" / "files" / "bundle.lock.yml"
    before = shipped.read_bytes()
    assert site.run("--check", bundle_pin_unknown=True).changed == 1
    failure = site.run(bundle_pin_unknown=True, bundle_lock="").failure
    assert "the collection's own lock is never changed" in failure
    assert not site.lock_path.exists()
    assert shipped.read_bytes() == before


def test_what_is_damaged_comes_again_and_what_is_strange_goes(site: Site) -> None:
    assert site.run().changed == 1
    (site.bundle / "bin/kubelet").write_bytes(b"damaged")
    (site.bundle / "bin/cni/portmap").unlink()
    stranger = site.bundle / "charts/old/chart.tgz"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"x")
    site.upstream.asked.clear()
    assert site.run().changed == 1
    assert sorted(set(site.upstream.paths())) == sorted([KUBELET, PLUGINS])
    assert stranger.exists()

    site.lock["artifacts"] = [line for line in site.lock["artifacts"] if line["name"] != "kubectl"]
    foretold = site.run("--check", "--diff", bundle_prune=True)
    assert foretold.changed == 1
    assert "-bin/kubectl: " in foretold.output
    assert "-charts/old/chart.tgz: " in foretold.output
    assert stranger.exists()
    assert site.run(bundle_prune=True).changed == 1
    assert not stranger.exists()
    assert not (site.bundle / "bin/kubectl").exists()
    assert sorted(site.manifest()) == ["bin/cni/bridge", "bin/cni/portmap", "bin/kubelet", "images/pause.tar"]
    assert site.run(bundle_prune=True).changed == 0


def test_a_bundle_that_was_carried(site: Site) -> None:
    assert site.run().changed == 1
    there = site.folder / "elsewhere"
    shutil.copytree(site.bundle, there)
    (there / ".verified.json").unlink()
    given: dict[str, Any] = {"bundle_dir": str(there), "bundle_source": "directory", "bundle_mirrors": None}
    site.upstream.asked.clear()
    assert site.run(**given, bundle_require=["kubelet", "bridge", "cni-plugins", "pause"]).changed == 0
    assert (there / ".verified.json").exists()

    # The same size, time and inode: what is remembered is believed, unless all is to be read.
    kubectl = there / "bin/kubectl"
    status, right = kubectl.stat(), sha256(kubectl.read_bytes())
    with kubectl.open("r+b") as opened:
        opened.write(b"KUBECTL")
    os.utime(kubectl, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert site.run(**given).changed == 0
    found = sha256(kubectl.read_bytes())
    assert (
        f"bin/kubectl: expected sha256 {right}, found sha256 {found}"
        in site.run(**given, bundle_verify="always").failure
    )

    (there / "bin/kubelet").unlink()
    with (there / "images/pause.tar").open("ab") as opened:
        opened.write(b"more")
    site.lock["artifacts"].append({**site.line("kubelet"), "name": "kubeadm", "url": "https://dl.k8s.io/kubeadm"})
    before = {name: digest for name, (_, digest) in files(there).items() if not name.startswith(".")}
    failure = site.run(**given, bundle_verify="always", bundle_require=["kubeadm", "mine"]).failure
    assert "5 problems, the bundle is refused" in failure
    for line in (
        f"bin/kubectl: expected sha256 {right}, found sha256 {found}",
        f"bin/kubelet: expected sha256 {sha256(site.upstream.files[KUBELET])}, found no such file",
        "images/pause.tar: expected sha256 ",
        "kubeadm: expected an artifact of this name (role kubeadm, on every node), found none",
        "mine: expected an artifact of this name (asked for by name), found none",
    ):
        assert line in failure
    assert {name: digest for name, (_, digest) in files(there).items() if not name.startswith(".")} == before
    assert site.upstream.asked == []


def test_a_folder_that_is_no_bundle(site: Site) -> None:
    assert "a folder with a bundle's manifest.json" in site.run(bundle_source="directory").failure
    site.bundle.mkdir()
    (site.bundle / "manifest.json").write_text(json.dumps({"schema": "dtf.bundle/2", "artifacts": [{"path": "x"}]}))
    failure = site.run(bundle_source="directory").failure
    for field in ("schema: 'dtf.bundle/2'", "architecture: None", "artifacts[0](x).sha256: None"):
        assert field in failure


def test_wrong_options_are_told_at_once(site: Site) -> None:
    failure = site.run(bundle_mirrors={"dl.k8s.io": "mirror"}, bundle_ca="/no/ca.pem", bundle_parallel=0).failure
    assert "the bundle: 3 problems" in failure
    for field in ("parallel: 0", "ca: '/no/ca.pem'", "mirrors[dl.k8s.io]: 'mirror'"):
        assert field in failure


def test_official_addresses_through_a_proxy_with_a_ca_and_a_token(tmp_path: Path) -> None:
    """Nothing is replaced by a mirror: each host is reached by its own name, behind a proxy that stands for all."""
    upstream, tunnels = Upstream(token="a-token"), []  # type: ignore[var-annotated]
    pem = certificate(tmp_path, ["dl.k8s.io", "*.dl.k8s.io", "github.com", "registry.k8s.io"])
    with serving(upstream, pem) as port, proxy(port, tunnels) as gate:
        site = filled(tmp_path, upstream, port)
        upstream.files["/cdn/kubelet"] = upstream.files.pop(KUBELET)
        upstream.redirects[KUBELET] = "https://cdn.dl.k8s.io/cdn/kubelet"
        blob = min(upstream.blobs)
        upstream.files["/elsewhere"] = upstream.blobs[blob]
        upstream.redirects[f"/v2/pause/blobs/{blob}"] = "https://github.com/elsewhere"
        address = f"http://127.0.0.1:{gate}"
        given: dict[str, Any] = {"bundle_mirrors": {}, "bundle_environment": {"https_proxy": address}}
        assert "CERTIFICATE_VERIFY_FAILED" in site.run(**given).failure
        assert site.run(**given, bundle_ca=str(pem)).changed == 1
    assert sorted(site.manifest()) == PATHS
    assert (site.bundle / "bin/kubelet").read_bytes() == upstream.files["/cdn/kubelet"]
    assert set(tunnels) >= {"dl.k8s.io:443", "cdn.dl.k8s.io:443", "github.com:443", "registry.k8s.io:443"}
    told = {asked.host for asked in upstream.asked if asked.authorization}
    assert told == {"registry.k8s.io"}, "a token is told to nobody else"


def registry_program() -> str | None:
    """Return a registry of the CNCF's project, as the bundle's builder or PATH has it."""
    built = REPOSITORY / "build" / "bundle" / "bin" / "registry"
    return str(built) if built.exists() else shutil.which("registry")


@contextmanager
def real_registry(folder: Path, program: str) -> Iterator[str]:
    """Run a registry on a free port; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "registry.yml").write_text(yaml.safe_dump(configuration))
    with (folder / "registry.log").open("wb") as log:
        running = subprocess.Popen([program, "serve", str(folder / "registry.yml")], stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
                break
            except OSError:
                assert running.poll() is None, (folder / "registry.log").read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


def push(address: str, upstream: Upstream, name: str) -> None:
    """Put the images of an upstream into a registry, by its own protocol."""

    def send(method: str, url: str, body: bytes, kind: str) -> str:
        request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.headers.get("Location"))

    for digest, blob in upstream.blobs.items():
        place = send("POST", f"{address}/v2/{name}/blobs/uploads/", b"", "application/octet-stream")
        separator = "&" if "?" in place else "?"
        send("PUT", f"{place}{separator}digest={digest}", blob, "application/octet-stream")
    for reference, (kind, body) in upstream.manifests.items():
        send("PUT", f"{address}/v2/{name}/manifests/{reference.partition('@')[2]}", body, kind)


@pytest.mark.skipif(registry_program() is None, reason="no registry: `python tools/bundle.py build registry` makes one")
def test_an_image_from_a_real_registry_is_the_one_of_ours(site: Site) -> None:
    assert site.run().changed == 1
    first = hashlib.sha256((site.bundle / "images/pause.tar").read_bytes()).hexdigest()
    program = registry_program()
    assert program
    with real_registry(site.folder, program) as address:
        push(address, site.upstream, "k8s/proxy/pause")
        (site.bundle / "images/pause.tar").unlink()
        mirrors = {**site.mirrors, "registry.k8s.io": f"{address}/k8s/proxy"}
        site.upstream.asked.clear()
        assert site.run(bundle_mirrors=mirrors).changed == 1
    assert hashlib.sha256((site.bundle / "images/pause.tar").read_bytes()).hexdigest() == first
    assert site.upstream.asked == []
