"""The same files are the same image, whoever built it; each layer is compressed once; what is damaged is not there."""

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

from ansible_collections.dtf.cluster.plugins.module_utils import image_layout
from ansible_collections.dtf.cluster.plugins.module_utils.image_layout import Store
from ansible_collections.dtf.cluster.plugins.module_utils.image_plan import LAYERS

#: File → content of each layer, from the bottom.
CONTENT = [{f"opt/{name}/file": name.encode() * 100, f"opt/{name}/a": b"x"} for name in ("base", *LAYERS)]


def layer(files: dict[str, bytes], *, time: int, turned: bool) -> bytes:
    """Return a layer as one builder or another writes it."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files, reverse=turned):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uname = len(files[name]), time, "root" if turned else ""
            archive.addfile(info, io.BytesIO(files[name]))
    return written.getvalue()


def saved(folder: Path, content: list[dict[str, bytes]], *, time: int = 1, turned: bool = False) -> Path:
    """Return an image as a builder saves it. The base's layer is what it is for all of them."""
    layers = [layer(content[0], time=0, turned=False)]
    layers += [layer(files, time=time, turned=turned) for files in content[1:]]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": f"202{time}-01-01T00:00:00Z",
        "container": f"{time}",
        "config": {
            "Env": ["PATH=/usr/bin"],
            "User": "1000:1000",
            "Entrypoint": ["python3"],
            "Hostname": f"host{time}",
            "Cmd": None,
            "Labels": {"io.buildah.version": "1.28"} if turned else None,
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]},
    }
    files = {f"{place}/layer.tar": data for place, data in enumerate(layers)}
    entry = {"Config": "config.json", "RepoTags": ["x:1"], "Layers": list(files)}
    files["config.json"] = json.dumps(config).encode()
    files["manifest.json"] = json.dumps([entry]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "saved.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_two_builders_make_one_image(tmp_path: Path) -> None:
    one = Store(tmp_path / "one").keep("tag", "gzip", saved(tmp_path, CONTENT))
    two = Store(tmp_path / "two").keep("tag", "gzip", saved(tmp_path, CONTENT, time=2, turned=True))
    assert one == two
    assert [entry["name"] for entry in one["layers"]] == ["base", *LAYERS]


@pytest.mark.parametrize("program", [True, False], ids=["zstd", "the module zstandard"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_manifest_leads_to_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, program: bool
) -> None:
    if not program:
        monkeypatch.setattr(image_layout.shutil, "which", lambda _: None)
    store = Store(tmp_path / "store")
    record = store.keep("tag", compression, saved(tmp_path, CONTENT))
    manifest = json.loads(blob(store, record["manifest"]))
    config = json.loads(blob(store, manifest["config"]))
    assert config["config"] == {"Entrypoint": ["python3"], "Env": ["PATH=/usr/bin"], "User": "1000:1000"}
    for pointer, diff_id, files in zip(manifest["layers"], config["rootfs"]["diff_ids"], CONTENT, strict=True):
        assert pointer["mediaType"].endswith(f"tar+{compression}")
        packed = blob(store, pointer)
        plain = gzip.decompress(packed) if compression == "gzip" else unpacked(packed)
        assert "sha256:" + hashlib.sha256(plain).hexdigest() == diff_id
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            assert {entry.name: archive.extractfile(entry).read() for entry in archive} == files  # type: ignore[union-attr]


def unpacked(packed: bytes) -> bytes:
    """Return what zstd has packed, whether or not it has written down how much it is."""
    return zstandard.ZstdDecompressor().stream_reader(packed).read()


def blob(store: Store, pointer: dict[str, Any]) -> bytes:
    """Return what is pointed to, which has to be what it says."""
    data = store.blob(pointer["digest"]).read_bytes()
    assert len(data) == pointer["size"]
    assert "sha256:" + hashlib.sha256(data).hexdigest() == pointer["digest"]
    return data


def test_another_trainer_is_another_last_layer_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = store.keep("one", "gzip", saved(tmp_path, CONTENT))
    after = store.keep("two", "gzip", saved(tmp_path, [*CONTENT[:-1], {"opt/dtf/new": b"new"}], time=2))
    assert before["layers"][:-1] == after["layers"][:-1]
    assert before["layers"][-1]["digest"] != after["layers"][-1]["digest"]
    assert before["manifest"] != after["manifest"]


def test_a_layer_is_compressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    path = saved(tmp_path, CONTENT)
    first = store.keep("one", "gzip", path)
    monkeypatch.setattr(image_layout, "compressing", None)
    assert store.keep("two", "gzip", path)["layers"] == first["layers"]


def test_what_is_not_whole_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    record = store.keep("tag", "gzip", saved(tmp_path, CONTENT))
    assert store.find("tag", "gzip") == record
    assert store.find("tag", "zstd") is None
    assert store.find("another", "gzip") is None
    path = store.blob(record["layers"][2]["digest"])
    path.write_bytes(path.read_bytes()[:-1])
    assert store.find("tag", "gzip") is None
    assert store.keep("tag", "gzip", saved(tmp_path, CONTENT)) == record
    assert store.find("tag", "gzip") == record


def test_an_archive_is_the_image_under_a_name(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    record = store.keep("tag", "gzip", saved(tmp_path, CONTENT))
    target = tmp_path / "out" / "image.tar"
    digest = store.archive(record, "dtf.cluster/trainer:tag", target)
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    with tarfile.open(target) as archive:
        names = set(archive.getnames())
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    (pointer,) = index["manifests"]
    assert pointer["annotations"]["io.containerd.image.name"] == "dtf.cluster/trainer:tag"
    assert pointer["digest"] == record["manifest"]["digest"]
    parts = [record["config"], record["manifest"], *record["layers"]]
    assert {"blobs/" + part["digest"].replace(":", "/") for part in parts} <= names


def test_what_no_kept_image_has_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old = store.keep("old", "gzip", saved(tmp_path, CONTENT))
    new = store.keep("new", "gzip", saved(tmp_path, [*CONTENT[:-1], {"opt/dtf/new": b"new"}]))
    os.utime(tmp_path / "store" / "images" / "old-gzip.json", (1, 1))
    fresh = tmp_path / "store" / "blobs" / ".being-written"
    fresh.write_bytes(b"")
    for path in (tmp_path / "store" / "blobs").iterdir():
        if path != fresh:
            os.utime(path, (1, 1))
    assert store.forget(1) == ["old"]
    assert store.find("new", "gzip") == new
    assert store.find("old", "gzip") is None
    assert not store.blob(old["layers"][-1]["digest"]).exists()
    assert fresh.exists()
