"""The chief's checkpoint: one ``checkpoint.npz`` with everything a run needs to go on, written whole or not at all.

It holds the parameters, Adam's slots and counter (``adam_step``: the powers of the betas are ``beta ** adam_step``),
the steps of each worker, the steps carried over from an earlier run, whether the start barrier was ever released, and
whose it is: format, run_id, hidden units. NumPy only: TensorFlow is not asked to read or write it.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .datasets import DataError
from .model import parameter_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT: Final = "dtf.checkpoint/1"
FILE: Final = "checkpoint.npz"
HEADER: Final = "header"


class CheckpointError(DataError):
    """A checkpoint cannot be used: damaged, of other shapes, or of another run. Nothing of it was loaded."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run.

    ``arrays`` has each parameter and its two slots (``float32``) by name; ``adam_step`` is 1 before the first update.
    The global step is ``carried_steps`` + the sum of ``worker_steps``.
    """

    run_id: str
    hidden_units: int
    arrays: Mapping[str, NDArray[np.float32]]
    adam_step: float
    worker_steps: tuple[int, ...]
    carried_steps: int
    released: bool

    @property
    def global_step(self) -> int:
        """The global step of the run."""
        return self.carried_steps + sum(self.worker_steps)

    def continued(self, run_id: str, workers: int) -> Checkpoint:
        """Return this state as the first one of run ``run_id`` with ``workers`` workers.

        The same run with as many workers goes on as it was. Otherwise the steps so far become carried steps and each
        worker counts from zero; another run has its own barrier.
        """
        if run_id == self.run_id and workers == len(self.worker_steps):
            return self
        return Checkpoint(
            run_id=run_id,
            hidden_units=self.hidden_units,
            arrays=self.arrays,
            adam_step=self.adam_step,
            worker_steps=(0,) * workers,
            carried_steps=self.global_step,
            released=self.released and run_id == self.run_id,
        )


def array_shapes(hidden_units: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of a checkpoint by name: each parameter, then its slots."""
    return {
        part: shape
        for name, shape in parameter_shapes(hidden_units).items()
        for part in (name, f"{name}/adam_m", f"{name}/adam_v")
    }


def write(path: Path, checkpoint: Checkpoint) -> int:
    """Write ``checkpoint`` to ``path`` and return its size in bytes.

    The file appears under its name only when it is complete and on the disk; one that was there before stays whole
    until then. Raises ``OSError`` if the folder cannot be written.
    """
    header = {
        "format": FORMAT,
        "run_id": checkpoint.run_id,
        "hidden_units": checkpoint.hidden_units,
        "adam_step": checkpoint.adam_step,
        "worker_steps": list(checkpoint.worker_steps),
        "carried_steps": checkpoint.carried_steps,
        "global_step": checkpoint.global_step,
        "released": checkpoint.released,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            members: dict[str, Any] = {HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8)}
            members.update(checkpoint.arrays)
            np.savez(stream, **members)
            stream.flush()
            os.fsync(stream.fileno())
        size = temporary.stat().st_size
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return size


def read(path: Path, *, run_id: str, hidden_units: int) -> Checkpoint:
    """Return the checkpoint in ``path`` after checking all of it.

    Raises :class:`CheckpointError` if it is not whole (each member's checksum is verified), not of this format, not of
    run ``run_id``, or not of a model with ``hidden_units``; ``FileNotFoundError`` if there is none.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with np.load(path, allow_pickle=False) as members:
            header = json.loads(members[HEADER].tobytes())
            arrays = {name: members[name] for name in members.files if name != HEADER}
        found = Checkpoint(
            run_id=str(header["run_id"]),
            hidden_units=int(header["hidden_units"]),
            arrays=arrays,
            adam_step=float(header["adam_step"]),
            worker_steps=tuple(int(steps) for steps in header["worker_steps"]),
            carried_steps=int(header["carried_steps"]),
            released=bool(header["released"]),
        )
        written_as = str(header["format"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
        damage = f"a damaged file ({problem})"
        raise CheckpointError(file=str(path), expected="a whole checkpoint", found=damage) from problem
    _check(path, found, written_as=written_as, run_id=run_id, hidden_units=hidden_units)
    return found


def _check(path: Path, found: Checkpoint, *, written_as: str, run_id: str, hidden_units: int) -> None:
    def refuse(expected: str, was: str) -> CheckpointError:
        return CheckpointError(file=str(path), expected=expected, found=was)

    if written_as != FORMAT:
        raise refuse(f"a checkpoint of format {FORMAT}", f"format {written_as}")
    if found.run_id != run_id:
        raise refuse(f"a checkpoint of run {run_id}", f"one of run {found.run_id}")
    shapes = array_shapes(hidden_units)
    if found.hidden_units != hidden_units:
        raise refuse(f"{hidden_units} hidden units", f"{found.hidden_units}")
    if set(found.arrays) != set(shapes):
        raise refuse(f"the arrays {', '.join(shapes)}", ", ".join(sorted(found.arrays)) or "none")
    for name, shape in shapes.items():
        array = found.arrays[name]
        if array.shape != shape or array.dtype != np.float32:
            raise refuse(f"{name} as float32 {list(shape)}", f"{array.dtype} {list(array.shape)}")
        if not np.isfinite(array).all():
            raise refuse(f"finite numbers in {name}", "some that are not")
    if min(found.worker_steps, default=-1) < 0 or found.carried_steps < 0 or not found.adam_step >= 1:
        raise refuse("counts of steps that are not negative", f"{found.worker_steps}, {found.carried_steps}")
