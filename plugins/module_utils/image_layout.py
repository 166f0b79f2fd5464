# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image as a builder saves it in, an OCI image with compressed layers out; each layer is compressed once.

The same layers give the same image, whoever built them: what a builder writes into an image of itself, its name and
the time, is left out. So a registry and an archive have one and the same digest.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import shutil
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .image_plan import BASE, LONG_AGO, layer_names
from .programs import feeding

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+"
#: What says how to run it; the rest of a configuration is about its builder.
_KEPT = ("Entrypoint", "Env", "Labels", "User")
_BEGINNING = "1970-01-01T00:00:00Z"
_CHUNK = 1 << 20
#: zstd's own default takes a tenth of gzip's time and is smaller; higher levels win a few percent.
ZSTD_LEVEL = 3


class Hashing:
    """A file to write to that remembers digest and size of what went through."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Pass some bytes on."""
        self._digest.update(data)
        self.size += len(data)
        self._below.write(data)
        return len(data)

    @property
    def sha256(self) -> str:
        """Digest of what went through so far."""
        return self._digest.hexdigest()


def compressions() -> list[str]:
    """Return what this host can compress with, the best first."""
    return [*(["zstd"] if shutil.which("zstd") or _zstandard() else []), "gzip"]


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        return None


@contextmanager
def compressing(target: IO[bytes], compression: str) -> Iterator[Any]:
    """Give a file to write to, whose content goes compressed into another: the same bytes for the same content."""
    program = shutil.which("zstd")
    if compression == "gzip":
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=target, mtime=0) as stream:
            yield stream
    elif program is None:
        with _zstandard().ZstdCompressor(level=ZSTD_LEVEL, threads=-1).stream_writer(target, closefd=False) as stream:
            yield stream
    else:
        with feeding([program, f"-{ZSTD_LEVEL}", "-T0", "-q", "-c"], target) as stream:
            yield stream


def settled(source: IO[bytes], target: Any) -> None:
    """Write a layer anew without what its builder left in it: order, times, names of owners."""
    with (
        tarfile.open(fileobj=source, mode="r:") as before,
        tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_CHUNK) as after,
    ):
        for member in sorted(before, key=lambda entry: entry.name):
            content = before.extractfile(member) if member.isreg() else None
            member.mtime = LONG_AGO
            member.uname = member.gname = ""
            member.pax_headers = {}
            after.addfile(member, content)


class Store:
    """Images below a folder of the build host: ``blobs/`` by digest, ``layers/`` by content, ``images/`` by tag."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blob(self, digest: str) -> Path:
        """Return where a blob lies, or would."""
        return self.folder / "blobs" / digest.partition(":")[2]

    def find(self, tag: str, compression: str) -> dict[str, Any] | None:
        """Return the record of an image whose parts are all here."""
        record = _read(self._record(tag, compression))
        if record is None:
            return None
        parts = [record["manifest"], record["config"], *record["layers"]]
        whole = all(_size(self.blob(part["digest"])) == part["size"] for part in parts)
        return record if whole else None

    def _record(self, tag: str, compression: str) -> Path:
        return self.folder / "images" / f"{tag}-{compression}.json"

    def layer(self, source: IO[bytes], diff_id: str, name: str, compression: str) -> dict[str, Any]:
        """Return digests and sizes of a layer, compressed now unless it was before. The base's stay as they are."""
        note = self.folder / "layers" / "{}-{}.json".format(diff_id.partition(":")[2], compression)
        known = _read(note)
        if known is not None and _size(self.blob(known["digest"])) == known["size"]:
            return known
        blobs = self.folder / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        partial = blobs / f".{note.stem}.partial"
        with partial.open("wb") as target, compressing(target, compression) as stream:
            plain = Hashing(stream)
            if name == BASE:
                shutil.copyfileobj(source, plain, _CHUNK)
            else:
                settled(source, plain)
        with partial.open("rb") as opened:
            digest = "sha256:" + _digest(opened)
        facts = {
            "digest": digest,
            "size": partial.stat().st_size,
            "unpacked": plain.size,
            "diff_id": "sha256:" + plain.sha256,
        }
        partial.replace(self.blob(digest))
        _write(note, facts)
        return facts

    def document(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a JSON document as a blob; return its digest and size."""
        data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        path = self.blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"digest": digest, "size": len(data)}

    def keep(self, tag: str, compression: str, saved: Path) -> dict[str, Any]:
        """Take an image as a builder saved it; return its record."""
        with tarfile.open(saved) as archive:
            entry = json.load(_member(archive, "manifest.json"))[0]
            config = json.load(_member(archive, entry["Config"]))
            diff_ids = config["rootfs"]["diff_ids"]
            layers = [
                {"name": name, **self.layer(_member(archive, path), diff_id, name, compression)}
                for path, diff_id, name in zip(entry["Layers"], diff_ids, layer_names(len(diff_ids)))
            ]
        settings = self.document(configuration(config, layers))
        manifest = self.document(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": CONFIG_TYPE, **settings},
                "layers": [
                    {"mediaType": LAYER_TYPE + compression, "digest": layer["digest"], "size": layer["size"]}
                    for layer in layers
                ],
            }
        )
        record = {
            "tag": tag,
            "architecture": config["architecture"],
            "manifest": manifest,
            "config": settings,
            "layers": layers,
        }
        _write(self._record(tag, compression), record)
        return record

    def archive(self, record: Mapping[str, Any], reference: str, target: Path) -> str:
        """Write an image into one file that container runtimes import; return the file's sha256."""
        pointer = {
            "mediaType": MANIFEST_TYPE,
            **record["manifest"],
            "annotations": {
                "io.containerd.image.name": reference,
                "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
            },
            "platform": {"architecture": record["architecture"], "os": "linux"},
        }
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [pointer]}
        parts = [record["config"], *record["layers"], record["manifest"]]
        blobs = {part["digest"].replace(":", "/"): self.blob(part["digest"]) for part in parts}
        files: dict[str, bytes | Path] = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps(index, sort_keys=True).encode(),
            **{f"blobs/{name}": path for name, path in blobs.items()},
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("wb") as opened:
            hashing = Hashing(opened)
            with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
                for name in sorted(files):
                    _add(tar, name, files[name])
        partial.replace(target)
        return hashing.sha256

    def forget(self, kept: int) -> list[str]:
        """Remove all but the images used last, and every blob that none of them has; return the tags that are gone."""
        images = sorted((self.folder / "images").glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        needed = set()
        for path in images[:kept]:
            record = _read(path) or {"layers": []}
            parts = [record.get("manifest"), record.get("config"), *record["layers"]]
            needed |= {part["digest"].partition(":")[2] for part in parts if part}
        gone = {path.stem.rpartition("-")[0] for path in images[kept:]}
        for path in images[kept:]:
            path.unlink()
        for note in (self.folder / "layers").glob("*.json"):
            if (_read(note) or {"digest": ""})["digest"].partition(":")[2] not in needed:
                note.unlink()
        an_hour_ago = time.time() - 3600
        for path in (self.folder / "blobs").iterdir():
            # What is being written is nobody's yet.
            if path.name not in needed and path.stat().st_mtime < an_hour_ago:
                path.unlink()
        return sorted(gone - {path.stem.rpartition("-")[0] for path in images[:kept]})


def configuration(found: Mapping[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an image's configuration without what is only its builder's."""
    running = dict(found.get("config") or {})
    labels = running.get("Labels") or {}
    running["Labels"] = {name: text for name, text in labels.items() if not name.startswith("io.buildah.")}
    return {
        "architecture": found["architecture"],
        "os": found["os"],
        "created": _BEGINNING,
        "config": {name: running[name] for name in _KEPT if running.get(name)},
        "history": [{"created": _BEGINNING, "created_by": "dtf.cluster: {}".format(layer["name"])} for layer in layers],
        "rootfs": {"type": "layers", "diff_ids": [layer["diff_id"] for layer in layers]},
    }


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise OSError(f"{name} is no file in what the builder saved")
    return found


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with _opened(content) as source:
        archive.addfile(info, source)


@contextmanager
def _opened(content: bytes | Path) -> Iterator[IO[bytes]]:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as opened:
        yield opened


def _digest(opened: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := opened.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
