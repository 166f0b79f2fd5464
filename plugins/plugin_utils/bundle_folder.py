# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bundle's folder: its manifest, its files and what is remembered of them.

This plugin util is private to the collection.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from ..module_utils.bundle import PROGRAMS, Entry, Measured, Output, check_manifest
from ..module_utils.errors import ActionFailed, InvalidInput
from ..module_utils.host_files import read, write

MANIFEST = "manifest.json"
#: Digests of files as they were measured: a file of the same size, time and inode need not be read again.
RECORD = ".verified.json"
#: What has arrived and is not yet part of the bundle.
SCRATCH = ".fetch"
LOCK = ".lock"
TOP = ("bin", "charts", "data", "images")
BLOCK = 1 << 20


class BundleFolder:
    """The files of one bundle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scratch = path / SCRATCH
        try:
            record = json.loads(read(path / RECORD) or "{}")
        except ValueError:
            record = {}
        self._record: dict[str, Any] = record if isinstance(record, dict) else {}
        self._recorded = json.dumps(self._record, sort_keys=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one to fill this bundle."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest, ``None`` where there is none; raise with all that is wrong with it."""
        text = read(self.path / MANIFEST)
        if text is None:
            return None
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ActionFailed("manifest_damaged", f"{self.path / MANIFEST}: no JSON document ({error})") from error
        problems = check_manifest(document)
        if problems:
            raise InvalidInput(str(self.path / MANIFEST), problems)
        found: dict[str, Any] = document
        return found

    def write_manifest(self, document: Mapping[str, Any]) -> None:
        """Write the manifest, which says what counts from now on."""
        write(self.path / MANIFEST, json.dumps(document, indent=2) + "\n")

    def measure(self, paths: Iterable[str], *, remember: bool, parallel: int) -> dict[str, Measured | None]:
        """Return size and digest of files; with ``remember``, from memory where the file is the one remembered."""
        names = list(paths)
        with ThreadPoolExecutor(parallel) as pool:
            return dict(zip(names, pool.map(lambda name: self._measured(name, remember=remember), names)))

    def _measured(self, name: str, *, remember: bool) -> Measured | None:
        path = self.path / name
        try:
            status = path.stat()
            seen = [status.st_size, status.st_mtime_ns, status.st_ino]
            known = self._record.get(name)
            if remember and isinstance(known, dict) and known.get("seen") == seen and "sha256" in known:
                return Measured(status.st_size, str(known["sha256"]))
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._record.pop(name, None)
            return None
        self._record[name] = {"seen": seen, "sha256": digest.hexdigest()}
        return Measured(status.st_size, digest.hexdigest())

    def save_record(self) -> None:
        """Keep what was measured; a folder that cannot be written to is as good, only slower."""
        there = {name: entry for name, entry in self._record.items() if (self.path / name).exists()}
        if json.dumps(there, sort_keys=True) != self._recorded:
            with contextlib.suppress(OSError):
                write(self.path / RECORD, json.dumps(there, indent=1, sort_keys=True) + "\n")

    def place(self, arrived: Path, output: Output, sha256: str) -> None:
        """Make what has arrived part of the bundle, in one step."""
        path = self.path / output.path
        path.parent.mkdir(parents=True, exist_ok=True)
        arrived.chmod(0o755 if output.kind in PROGRAMS else 0o644)
        arrived.replace(path)
        status = path.stat()
        self._record[output.path] = {
            "seen": [status.st_size, status.st_mtime_ns, status.st_ino],
            "sha256": sha256,
        }

    def others(self, known: Iterable[str]) -> list[str]:
        """Return the files below the bundle's folders that are none of those."""
        there = (path for top in TOP for path in (self.path / top).rglob("*") if path.is_symlink() or path.is_file())
        return sorted({str(path.relative_to(self.path)) for path in there} - set(known))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and folders that are empty then."""
        for name in names:
            path = self.path / name
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    def forget_downloads(self) -> None:
        """Remove what was kept for the continuation of a download."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def unpack(archive: Path, entry: Entry, scratch: Path) -> dict[str, tuple[Path, Measured]]:
    """Take an entry's members out of an archive, each into a file of ours: no path of the archive is ever followed."""
    wanted = {_plain(path): name for name, path in entry.members.items()}
    taken: dict[str, tuple[Path, Measured]] = {}
    names: list[str] = []
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                names.append(member.name)
                name = wanted.get(_plain(member.name))
                source = opened.extractfile(member) if name and member.isfile() else None
                if name and source:
                    target = scratch / f"{entry.name}-{name}"
                    taken[name] = (target, _copied(source, target))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ActionFailed("archive_damaged", f"{entry.origin}: not a tar archive ({error})") from error
    lacking = sorted(set(entry.members) - taken.keys())
    if lacking:
        paths = ", ".join(entry.members[name] for name in lacking)
        inside = ", ".join(sorted(names)[:20])
        raise ActionFailed("archive_incomplete", f"{entry.origin}: has no file {paths}; there is {inside}")
    return taken


def _plain(path: str) -> str:
    return os.path.normpath(path)


def _copied(source: IO[bytes], target: Path) -> Measured:
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        while block := source.read(BLOCK):
            file.write(block)
            digest.update(block)
            size += len(block)
    return Measured(size, digest.hexdigest())
