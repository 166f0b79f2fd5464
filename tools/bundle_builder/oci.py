"""Packs files into a container image, the same bytes each time: an OCI image layout in one tar archive.

Nothing is kept of the machine it is made on: entries are sorted, belong to user 0 and are from the beginning of time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

from .problems import CannotBuild

# Decompression, which each node does, is as fast for any level; higher ones take minutes and save little.
LEVEL = 9
_CHUNK = 1 << 20
_BEGINNING = "1970-01-01T00:00:00Z"

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPES = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    # For an image that others are built on: a docker from before 23 reads nothing else, nor an OCI layout.
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "gzip-fast": "application/vnd.oci.image.layer.v1.tar+gzip",
}
_LEVELS = {"zstd": LEVEL, "gzip": LEVEL, "gzip-fast": 1}


@dataclass(frozen=True)
class Entry:
    """Something in an image.

    Attributes:
        mode: its permissions.
        content: a file's bytes, or the file to read them from; None for a folder or a link.
        link: where a symbolic link points; empty for a file or a folder.
    """

    mode: int = 0o755
    content: bytes | Path | None = None
    link: str = ""


@dataclass(frozen=True)
class Blob:
    """A part of an image, kept in a file: its digest and, for a layer, that of what is compressed in it, and how."""

    path: Path
    digest: str
    size: int
    diff_id: str = ""
    compression: str = ""


@dataclass(frozen=True)
class Config:
    """How a container of an image runs."""

    architecture: str
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""


class _Hashing:
    """A file to write to that remembers the digest and the size of what went through."""

    def __init__(self, below: IO[bytes] | Any) -> None:
        self._below = below
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._sha256.update(data)
        self.size += len(data)
        self._below.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha256.hexdigest()


def _add(archive: tarfile.TarFile, name: str, entry: Entry) -> None:
    info = tarfile.TarInfo(name)
    info.mode = entry.mode
    if entry.link:
        info.type = tarfile.SYMTYPE
        info.linkname = entry.link
        info.mode = 0o777
        archive.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        archive.addfile(info, io.BytesIO(entry.content))
    else:
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as opened:
            archive.addfile(info, opened)


def _write_tar(target: Any, entries: Mapping[str, Entry]) -> None:
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_CHUNK) as archive:
        for name in sorted(entries):
            _add(archive, name, entries[name])


def with_parents(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return entries under relative names, with a folder for each that lies in none."""
    named = {name.strip("/"): entry for name, entry in entries.items()}
    parents = {str(parent) for name in named for parent in Path(name).parents if str(parent) != "."}
    return {**{name: Entry() for name in parents}, **named}


@contextmanager
def _compressing(target: Any, compression: str) -> Iterator[Any]:
    """Give a file to write to, whose content goes compressed into `target`."""
    level = _LEVELS[compression]
    if compression != "zstd":
        with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=target, mtime=0) as stream:
            yield stream
    else:
        compressor = zstandard.ZstdCompressor(level=level)
        with compressor.stream_writer(target, closefd=False) as stream:
            yield stream


def layer(entries: Mapping[str, Entry], scratch: Path, compression: str = "zstd") -> Blob:
    """Pack entries into a compressed layer in the folder `scratch`."""
    return _layer(lambda stream: _write_tar(stream, with_parents(entries)), scratch, compression)


def layer_of(archive: Path, scratch: Path, compression: str) -> Blob:
    """Make a tar archive, as it is, a compressed layer in the folder `scratch`."""

    def copy(stream: Any) -> None:
        with archive.open("rb") as opened:
            shutil.copyfileobj(opened, stream, _CHUNK)

    return _layer(copy, scratch, compression)


def _layer(write_to: Callable[[Any], None], scratch: Path, compression: str) -> Blob:
    path = scratch / "layer"
    with path.open("wb") as opened:
        compressed = _Hashing(opened)
        with _compressing(compressed, compression) as stream:
            plain = _Hashing(stream)
            write_to(plain)
    final = path.with_name(compressed.digest.removeprefix("sha256:"))
    path.replace(final)
    return Blob(final, compressed.digest, compressed.size, plain.digest, compression)


def _document(content: Mapping[str, Any], scratch: Path) -> Blob:
    data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = scratch / digest
    path.write_bytes(data)
    return Blob(path, f"sha256:{digest}", len(data))


def _points_to(blob: Blob, kind: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size, **more}


def write(target: Path, reference: str, layers: Iterable[Blob], config: Config, scratch: Path) -> str:
    """Write an image as an archive that container runtimes import; return its manifest's digest."""
    stacked = list(layers)
    running = {
        "Entrypoint": list(config.entrypoint),
        "Env": [f"{name}={value}" for name, value in sorted(config.environment.items())],
        "User": config.user,
        "StopSignal": config.stop_signal,
    }
    settings = _document(
        {
            "architecture": config.architecture,
            "config": {name: value for name, value in running.items() if value},
            "created": _BEGINNING,
            "history": [{"created": _BEGINNING, "created_by": "dtf.cluster bundle"} for _ in stacked],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for blob in stacked]},
        },
        scratch,
    )
    manifest = _document(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _points_to(settings, CONFIG_TYPE),
            "layers": [_points_to(blob, LAYER_TYPES[blob.compression]) for blob in stacked],
        },
        scratch,
    )
    annotations = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    platform = {"architecture": config.architecture, "os": "linux"}
    described = _points_to(manifest, MANIFEST_TYPE, annotations=annotations, platform=platform)
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [described]}
    files = {
        "index.json": Entry(0o644, json.dumps(index, sort_keys=True).encode()),
        "oci-layout": Entry(0o644, b'{"imageLayoutVersion":"1.0.0"}'),
        **{
            "blobs/sha256/" + blob.digest.removeprefix("sha256:"): Entry(0o644, blob.path)
            for blob in (*stacked, settings, manifest)
        },
    }
    if all(blob.compression != "zstd" for blob in stacked):
        files["manifest.json"] = Entry(0o644, _for_docker(reference, settings, stacked))
    with target.open("wb") as opened:
        _write_tar(opened, with_parents(files))
    return manifest.digest


def _for_docker(reference: str, settings: Blob, layers: Iterable[Blob]) -> bytes:
    """Return docker's own table of contents, with which `docker load` takes the same archive."""

    def path(blob: Blob) -> str:
        return "blobs/sha256/" + blob.digest.removeprefix("sha256:")

    contents = {"Config": path(settings), "RepoTags": [reference], "Layers": [path(blob) for blob in layers]}
    return json.dumps([contents], sort_keys=True).encode()


def described(archive: Path) -> tuple[str, str]:
    """Return the reference and the manifest's digest that an image archive names; every blob has to be what it says."""
    try:
        with tarfile.open(archive) as opened:
            member = opened.extractfile("index.json")
            index = json.load(member) if member else {}
            for entry in opened:
                found = opened.extractfile(entry) if entry.name.startswith("blobs/sha256/") else None
                if found is not None:
                    digest = hashlib.file_digest(found, "sha256").hexdigest()  # type: ignore[arg-type]
                    if digest != Path(entry.name).name:
                        raise CannotBuild(f"{archive}: {entry.name} is damaged, its sha256 is {digest}")
            manifest = index["manifests"][0]
            opened.getmember("blobs/" + manifest["digest"].replace(":", "/"))
            return manifest["annotations"]["io.containerd.image.name"], manifest["digest"]
    except (OSError, tarfile.TarError, ValueError, KeyError, IndexError, TypeError) as problem:
        raise CannotBuild(f"{archive}: not an OCI image layout in a tar archive ({problem!r})") from problem
