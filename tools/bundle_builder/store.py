"""What was made before, kept outside the checkout under the digest of what it was made from."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_ENTRY = "part.json"
_TEMPORARY = ".tmp-"
# The one in use and the one before: whoever goes to and fro between two versions waits once.
_KEPT = 2


def default_folder() -> Path:
    """Return the user's cache folder for bundles."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "dtf" / "bundle"


def key(inputs: Mapping[str, Any]) -> str:
    """Return the digest of everything that decides how a part comes out."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:20]


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclass(frozen=True)
class Made:
    """A part in the store: its file and what is known of it.

    Attributes:
        path: the file.
        sha256: its digest when it was made.
        size: its size then.
        digest: of an image, the digest of its manifest.
    """

    path: Path
    sha256: str
    size: int
    digest: str = ""


class Store:
    """Parts under ``NAME-KEY/``: whole, or not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str, key: str) -> Made | None:
        """Return a part, if it is there and still what it was."""
        folder = self.folder / f"{name}-{key}"
        try:
            known = json.loads((folder / _ENTRY).read_text(encoding="utf-8"))
            made = Made(**{**known, "path": folder / known["path"]})
            return made if made.path.stat().st_size == made.size else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def intact(self, made: Made) -> bool:
        """Tell whether a part's content is what it was when it was made."""
        return sha256(made.path) == made.sha256

    def keep(self, name: str, key: str, file: Path, digest: str = "") -> Made:
        """Move a finished file into the store; an interruption leaves nothing of it."""
        with self.scratch() as folder:
            whole = folder / "whole"
            whole.mkdir()
            shutil.move(file, whole / name)
            (whole / name).chmod(0o755 if os.access(whole / name, os.X_OK) else 0o644)
            size = (whole / name).stat().st_size
            made = Made(Path(name), sha256(whole / name), size, digest)
            text = json.dumps({**asdict(made), "path": name}, indent=2)
            (whole / _ENTRY).write_text(text + "\n", encoding="utf-8")
            target = self.folder / f"{name}-{key}"
            if target.exists():
                target.replace(folder / "before")
            whole.replace(target)
        self._forget(name)
        return Made(target / name, made.sha256, size, digest)

    def _forget(self, name: str) -> None:
        """Remove all but the newest entries of a part."""
        pattern = re.compile(re.escape(name) + "-[0-9a-f]{20}")
        entries = [path for path in self.folder.iterdir() if pattern.fullmatch(path.name)]
        for old in sorted(entries, key=lambda path: path.stat().st_mtime_ns, reverse=True)[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder on the store's own file system that is gone afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=_TEMPORARY) as name:
            yield Path(name)

    @contextmanager
    def alone(self, waiting: str, say: Any = print) -> Iterator[None]:
        """Hold the store: two builds at once would do the same work twice. The end of a process lets go of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(waiting)
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever left these behind is gone.
            self._sweep()
            try:
                yield
            finally:
                # A signal between a folder's making and the first line that knows its name leaves it to this.
                self._sweep()

    def _sweep(self) -> None:
        """Remove every scratch folder; only for the one who holds the store."""
        for left in self.folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)
