"""An image archive is a readable OCI layout, its digests are right, and it is the same each time."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from bundle_builder import oci
from bundle_builder.problems import CannotBuild

REFERENCE = "registry.example/tools/thing:v1.2"


def write(folder: Path, content: bytes = b"program", compression: str = "zstd") -> Path:
    """Write an image of two layers and return its archive."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    program = folder / "program"
    program.write_bytes(content)
    base = {"tmp": oci.Entry(0o1777), "bin": oci.Entry(link="usr/bin"), "etc/hosts": oci.Entry(0o644, b"127.0.0.1 a\n")}
    layers = [
        oci.layer(base, scratch, compression),
        oci.layer({"/usr/bin/program": oci.Entry(0o755, program)}, scratch, compression),
    ]
    config = oci.Config("amd64", ("/usr/bin/program",), "65535:65535", {"PATH": "/usr/bin"})
    oci.write(folder / "image.tar", REFERENCE, layers, config, scratch)
    return folder / "image.tar"


def members(archive: Path) -> dict[str, bytes]:
    """Return path → content of an archive's files; its index's digests are followed from there."""
    with tarfile.open(archive) as opened:
        assert [entry.name for entry in opened] == sorted(opened.getnames())
        return {entry.name: opened.extractfile(entry).read() for entry in opened if entry.isfile()}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], pointer: dict[str, Any]) -> bytes:
    """Return what a descriptor points to, which has to be what it says."""
    content = files["blobs/" + pointer["digest"].replace(":", "/")]
    assert len(content) == pointer["size"]
    assert "sha256:" + hashlib.sha256(content).hexdigest() == pointer["digest"]
    return content


def test_the_layout_leads_from_the_index_to_every_file(tmp_path: Path) -> None:
    files = members(write(tmp_path))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (pointer,) = json.loads(files["index.json"])["manifests"]
    assert pointer["annotations"] == {
        "io.containerd.image.name": REFERENCE,
        "org.opencontainers.image.ref.name": "v1.2",
    }
    manifest = json.loads(blob(files, pointer))
    config = json.loads(blob(files, manifest["config"]))
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"] == {
        "Entrypoint": ["/usr/bin/program"],
        "Env": ["PATH=/usr/bin"],
        "User": "65535:65535",
    }

    plain = [zstandard.ZstdDecompressor().stream_reader(blob(files, layer)).read() for layer in manifest["layers"]]
    assert ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in plain] == config["rootfs"]["diff_ids"]
    assert all(layer["mediaType"].endswith("tar+zstd") for layer in manifest["layers"])

    found = {}
    for layer in plain:
        with tarfile.open(fileobj=io.BytesIO(layer)) as opened:
            for entry in opened:
                assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 0)
                found[entry.name] = (entry.type, entry.mode, entry.linkname)
    assert found == {
        "bin": (tarfile.SYMTYPE, 0o777, "usr/bin"),
        "etc": (tarfile.DIRTYPE, 0o755, ""),
        "etc/hosts": (tarfile.REGTYPE, 0o644, ""),
        "tmp": (tarfile.DIRTYPE, 0o1777, ""),
        "usr": (tarfile.DIRTYPE, 0o755, ""),
        "usr/bin": (tarfile.DIRTYPE, 0o755, ""),
        "usr/bin/program": (tarfile.REGTYPE, 0o755, ""),
    }
    # Only the blobs that something points to are there.
    assert len([name for name in files if name.startswith("blobs/")]) == 4


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "first")
    os.utime(tmp_path / "first" / "program", (1, 1))
    before = os.umask(0o077)
    try:
        second = write(tmp_path / "second")
    finally:
        os.umask(before)
    assert first.read_bytes() == second.read_bytes()
    assert write(tmp_path / "third", b"another").read_bytes() != first.read_bytes()


def test_layers_that_any_docker_reads_come_with_its_own_table_of_contents(tmp_path: Path) -> None:
    files = members(write(tmp_path / "gzip", compression="gzip"))
    manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
    assert all(layer["mediaType"].endswith("tar+gzip") for layer in manifest["layers"])
    (contents,) = json.loads(files["manifest.json"])
    assert contents["RepoTags"] == [REFERENCE]
    assert files[contents["Config"]] == blob(files, manifest["config"])
    plain = [gzip.decompress(files[path]) for path in contents["Layers"]]
    diff_ids = json.loads(files[contents["Config"]])["rootfs"]["diff_ids"]
    assert ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in plain] == diff_ids
    assert members(write(tmp_path / "again", compression="gzip")) == files
    assert "manifest.json" not in members(write(tmp_path / "zstd"))


def test_an_archive_tells_what_it_is(tmp_path: Path) -> None:
    archive = write(tmp_path)
    reference, digest = oci.described(archive)
    assert reference == REFERENCE
    assert digest == json.loads(members(archive)["index.json"])["manifests"][0]["digest"]


def test_a_damaged_blob_is_named(tmp_path: Path) -> None:
    archive = write(tmp_path)
    damaged = archive.read_bytes().replace(b'"os":"linux"', b'"os":"lunix"', 1)
    archive.write_bytes(damaged)
    with pytest.raises(CannotBuild, match=r"image.tar: blobs/sha256/[0-9a-f]{64} is damaged, its sha256 is"):
        oci.described(archive)


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240], ids=["empty", "text", "an empty tar"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(content)
    with pytest.raises(CannotBuild, match="not an OCI image layout in a tar archive"):
        oci.described(archive)
