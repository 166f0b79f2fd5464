# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that writes a node's files: whole or not at all, with what was there before kept for the way back.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: What the collection remembers on a node: what it found there, and how far an installation came.
STATE = Path("/var/lib/dtf-cluster")


def read(path: Path) -> str | None:
    """Return a file's text, ``None`` where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_state(name: str) -> dict[str, object]:
    """Return what is remembered under a name; nothing is an empty mapping."""
    text = read(STATE / (name + ".json"))
    document = json.loads(text) if text else {}
    return document if isinstance(document, dict) else {}


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file in one step: after a crash it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".dtf-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # noqa: PTH101 - a name from mkstemp
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def write_state(name: str, document: dict[str, object]) -> None:
    """Remember something under a name; an empty mapping forgets it."""
    path = STATE / (name + ".json")
    if document:
        STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
        write(path, json.dumps(document, indent=1, sort_keys=True) + "\n", mode=0o600)
        return
    remove(path)
    with contextlib.suppress(OSError):
        STATE.rmdir()  # only the last one to forget something finds it empty


def remove(path: Path) -> bool:
    """Remove a file; return whether there was one."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def emptied(folder: Path) -> None:
    """Remove a folder or file with all it holds; a mount point stays, with nothing in it."""
    if not folder.is_dir():
        remove(folder)
        return
    if not os.path.ismount(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink()


def sha256(path: Path) -> str:
    """Return the digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(name: str, directory: Path = Path("/run/dtf-cluster")) -> Iterator[int]:
    """Hold a node's lock of that name; yields its descriptor, which children inherit.

    A play that was killed leaves its program running on the node: the lock is held for as long as that lives, so the
    next play waits for its end instead of starting a second one beside it.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(directory / (name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.set_inheritable(descriptor, True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
