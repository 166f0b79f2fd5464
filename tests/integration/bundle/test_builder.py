"""The builder with the real compiler and the real registries, on its quickest parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from bundle_builder import oci, parts

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = [sys.executable, str(REPOSITORY / "tools" / "bundle.py")]
PARTS = ("pause", "loopback", "busybox")

pytestmark = pytest.mark.network


def run(cache: Path, *arguments: str, fails: bool = False, **environment: str) -> str:
    """Run the builder with a cache of its own; return what it printed."""
    settings = {**os.environ, "XDG_CACHE_HOME": str(cache), "GOFLAGS": "-race", **environment}
    # The modules and the compiler's own cache stay the user's: what is tested is this builder.
    settings.setdefault("GOCACHE", str(Path("~/.cache/go-build").expanduser()))
    result = subprocess.run([*PROGRAM, *arguments], env=settings, check=False, capture_output=True, text=True)
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of the quickest parts, and the cache it was filled from."""
    folder = tmp_path_factory.mktemp("built")
    run(folder / "cache", "build", "--output", str(folder / "bundle"), *PARTS)
    return folder


def test_a_bundle_is_whole_and_its_programs_say_their_versions(built: Path) -> None:
    assert "3 artifacts" in run(built / "cache", "verify", str(built / "bundle"))
    artifacts = json.loads((built / "bundle/manifest.json").read_text(encoding="utf-8"))["artifacts"]
    assert [entry["path"] for entry in artifacts] == ["bin/cni/loopback", "images/busybox.tar", "images/pause.tar"]
    said = subprocess.run([built / "bundle/bin/cni/loopback"], env={}, check=False, capture_output=True, text=True)
    assert f"CNI loopback plugin v{artifacts[0]['version']}" in said.stdout + said.stderr
    assert artifacts[0]["version"] == parts.module("cni-plugins").version
    assert artifacts[1]["source"].startswith("debian:busybox-static=")
    assert oci.described(built / "bundle/images/pause.tar") == (artifacts[2]["reference"], artifacts[2]["digest"])


def test_the_same_inputs_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Nothing that was made before is used: neither parts nor, for the first of them, compiled packages."""
    fresh = tmp_path / "go"
    run(tmp_path / "cache", "build", "--output", str(tmp_path / "bundle"), "pause", GOCACHE=str(fresh))
    said = run(tmp_path / "cache", "build", "--output", str(tmp_path / "bundle"), *PARTS)
    assert "image pause 3.10.2: cached" in said
    assert "loopback 1.9.1: compiled" in said.replace(parts.module("cni-plugins").version, "1.9.1")
    for path in ("manifest.json", "bin/cni/loopback", "images/busybox.tar", "images/pause.tar"):
        assert (tmp_path / "bundle" / path).read_bytes() == (built / "bundle" / path).read_bytes(), path


def test_what_is_there_is_not_made_again_and_what_is_damaged_is(built: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "bundle")
    said = run(built / "cache", "build", "--output", output, *PARTS)
    assert said.count(": cached, ") == 3
    assert "compiling" not in said
    listed = run(built / "cache", "list").splitlines()
    assert len(listed) == len(parts.chosen([]))
    assert sum("cached" in line for line in listed) == 3

    before = (built / "bundle/images/pause.tar").read_bytes()
    kept = next((built / "cache/dtf/bundle").glob("image-pause-*/image-pause"))
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "pause: damaged in" in run(built / "cache", "build", "--output", output, "pause")
    assert (tmp_path / "bundle/images/pause.tar").read_bytes() == before
    # Whoever had the damaged file still has it, and is told so; building again mends it.
    wrong = run(built / "cache", "verify", str(built / "bundle"), fails=True)
    assert "bundle/images/pause.tar: sha256" in wrong
    run(built / "cache", "build", "--output", str(built / "bundle"), "pause")
    assert "every digest is right" in run(built / "cache", "verify", str(built / "bundle"))


def test_an_interrupted_build_leaves_no_part_and_no_compiler(built: Path, tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "GOCACHE": str(tmp_path / "go")}
    command = [*PROGRAM, "build", "--output", str(output), "cni-plugins"]
    building = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with building:
        assert building.stdout is not None
        assert building.stdout.readline().startswith("cni-plugins: compiling bandwidth, bridge")
        building.send_signal(signal.SIGTERM)
        building.stdout.read()
    assert building.returncode == 130
    group = subprocess.run(["pgrep", "-a", "-g", str(building.pid)], check=False, capture_output=True, text=True)
    assert group.stdout == ""
    assert [path.name for path in (tmp_path / "cache/dtf/bundle").iterdir()] == [".lock"]
    assert list(output.rglob("*.*")) == []
    assert (built / "bundle").exists()


def test_images_hold_what_they_say(built: Path) -> None:
    """Busybox runs from the image's layer, outside of any container."""
    scratch = built / "image"
    scratch.mkdir()
    subprocess.run(["tar", "-xf", built / "bundle/images/busybox.tar", "-C", scratch], check=True)
    (pointer,) = json.loads((scratch / "index.json").read_text(encoding="utf-8"))["manifests"]

    def blob(digest: str) -> bytes:
        return (scratch / "blobs" / digest.replace(":", "/")).read_bytes()

    (layer,) = json.loads(blob(pointer["digest"]))["layers"]
    unpacked = zstandard.ZstdDecompressor().stream_reader(blob(layer["digest"])).read()
    root = built / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", root], input=unpacked, check=True)
    said = subprocess.run([root / "bin/busybox", "expr", "6", "*", "7"], check=True, stdout=subprocess.PIPE, text=True)
    assert said.stdout == "42\n"
    assert (root / "bin/sh").readlink() == Path("busybox")
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
