# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a topology keeps its state on a host, and reading and writing it.

::

    <root>/topologies/<name>/
        lock                 held while a module changes the topology
        current.json         {run_id, spec, created, resumed_from, checkpoint_run_id}
        supervisor.py        the supervisor as the module that started it shipped it
        runs/<run_id>/       plan.json, lifecycle.json, lease, supervisor.json, status.json
            logs/            <role>-<index>.log, standard output and error of the task
            checkpoint/ export/ summaries/   written by the chief

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import ActionFailed
from .supervisor import write_json

CHECKPOINT = "checkpoint/checkpoint.npz"


class TopologyDirectory:
    """The state of one topology on this host."""

    def __init__(self, root: str, name: str) -> None:
        self.path = Path(root).expanduser() / "topologies" / name
        self._current = self.path / "current.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the topology for one change.

        Raises:
            ActionFailed: another process changes it at this moment, or has just removed it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = os.open(str(self.path / "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            for _attempt in range(50):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
                raise ActionFailed(
                    "locked",
                    "topology {!r}: process {} is changing it at this moment; try again when that has ended".format(
                        self.path.name, holder or "of unknown number"
                    ),
                )
            if not self._is_lock(lock):
                raise ActionFailed(
                    "locked", f"topology {self.path.name!r} was removed at this moment by another process; try again"
                )
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(lock)

    def _is_lock(self, lock: int) -> bool:
        """Whether an open file is still the one that others will find and lock."""
        try:
            return os.path.samestat(os.fstat(lock), (self.path / "lock").stat())
        except FileNotFoundError:
            return False

    def current(self) -> dict[str, object] | None:
        """Return what ``current.json`` says of the newest run, or ``None``."""
        return read_json(self._current)

    def set_current(self, document: Mapping[str, object]) -> None:
        """Make a run the newest one."""
        write_json(self._current, document)

    def run(self, run_id: str) -> Path:
        """Return the directory of a run."""
        return self.path / "runs" / run_id

    def checkpoint(self, run_id: str | None) -> Path | None:
        """Return the checkpoint of a run if there is one."""
        if run_id is None:
            return None
        path = self.run(run_id) / CHECKPOINT
        return path if path.is_file() else None

    def prune(self, keep: set[str]) -> None:
        """Delete the directories of all runs but those named."""
        for directory in (self.path / "runs").glob("*"):
            if directory.name not in keep:
                shutil.rmtree(str(directory))

    def remove(self) -> None:
        """Delete everything the topology keeps on this host."""
        shutil.rmtree(str(self.path), ignore_errors=False)


def read_json(path: Path) -> dict[str, object] | None:
    """Return a document, or ``None`` where the file does not exist.

    Raises:
        ActionFailed: the file is there but damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ActionFailed("damaged_state", f"{path} is damaged ({error}); remove the topology") from error
    if not isinstance(document, dict):
        raise ActionFailed("damaged_state", f"{path} is not a document; remove the topology")
    return document
