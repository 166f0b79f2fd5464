"""A checkpoint comes back as it was, or not at all."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dtf_trainer import checkpoint
from dtf_trainer.checkpoint import Checkpoint, CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = 5


def state(**changes: Any) -> Checkpoint:
    random = np.random.RandomState(1)
    made = Checkpoint(
        run_id="one",
        hidden_units=HIDDEN,
        arrays={
            name: np.asarray(random.rand(*shape), np.float32) for name, shape in checkpoint.array_shapes(HIDDEN).items()
        },
        adam_step=31.0,
        worker_steps=(10, 20),
        carried_steps=7,
        released=True,
    )
    return dataclasses.replace(made, **changes)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / checkpoint.FILE
    size = checkpoint.write(path, state())
    found = checkpoint.read(path, run_id="one", hidden_units=HIDDEN)
    assert size == path.stat().st_size
    assert (found.worker_steps, found.carried_steps, found.global_step) == ((10, 20), 7, 37)
    assert (found.adam_step, found.released, found.run_id) == (31.0, True, "one")
    for name, array in state().arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert [file.name for file in path.parent.iterdir()] == [checkpoint.FILE], "nothing else is left behind"


def test_every_length_but_the_whole_is_refused(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.FILE
    checkpoint.write(path, state())
    whole = path.read_bytes()
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.read(path, run_id="one", hidden_units=HIDDEN)


def test_a_flipped_bit_anywhere_in_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.FILE
    checkpoint.write(path, state())
    whole = path.read_bytes()
    start = whole.index(state().arrays["hidden_weights"].tobytes()[:16])
    for offset in (start, start + 1000):
        damaged = bytearray(whole)
        damaged[offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            checkpoint.read(path, run_id="one", hidden_units=HIDDEN)


def rewritten(path: Path, arrays: dict[str, Any] | None = None, **header: Any) -> None:
    """Write a file that is whole and says something else."""
    checkpoint.write(path, state())
    with np.load(path) as members:
        content = {name: members[name] for name in members.files}
    told = {**json.loads(content.pop(checkpoint.HEADER).tobytes()), **header}
    content.update(arrays or {})
    with path.open("wb") as stream:
        everything: dict[str, Any] = {checkpoint.HEADER: np.frombuffer(json.dumps(told).encode(), np.uint8)}
        everything.update({name: value for name, value in content.items() if value is not None})
        np.savez(stream, **everything)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "dtf.checkpoint/2"}, "format dtf.checkpoint/2"),
        ({"run_id": "two"}, "run two"),
        ({"hidden_units": 6}, "6"),
        ({"worker_steps": []}, "steps"),
        ({"worker_steps": [-1]}, "steps"),
        ({"adam_step": 0}, "steps"),
        ({"worker_steps": None}, "damaged"),
        ({"arrays": {"hidden_weights": np.zeros((784, 6), np.float32)}}, "784, 6"),
        ({"arrays": {"hidden_weights": np.zeros((784, HIDDEN), np.float64)}}, "float64"),
        ({"arrays": {"hidden_biases": np.full(HIDDEN, np.nan, np.float32)}}, "finite"),
        ({"arrays": {"hidden_biases": None}}, "the arrays"),
        ({"arrays": {"surprise": np.zeros(1, np.float32)}}, "surprise"),
    ],
)
def test_what_is_whole_but_not_ours_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / checkpoint.FILE
    rewritten(path, **change)
    with pytest.raises(CheckpointError, match=says) as refused:
        checkpoint.read(path, run_id="one", hidden_units=HIDDEN)
    assert str(path) in str(refused.value)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.FILE
    rewritten(path, arrays={"hidden_biases": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(path, run_id="one", hidden_units=HIDDEN)


def test_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.read(tmp_path / checkpoint.FILE, run_id="one", hidden_units=HIDDEN)


def test_a_failed_write_leaves_the_old_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / checkpoint.FILE
    checkpoint.write(path, state())
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, state(carried_steps=99))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [checkpoint.FILE]


@pytest.mark.parametrize(
    ("run_id", "workers", "worker_steps", "carried", "released"),
    [
        ("one", 2, (10, 20), 7, True),
        ("one", 3, (0, 0, 0), 37, True),
        ("two", 2, (0, 0), 37, False),
        ("two", 1, (0,), 37, False),
    ],
)
def test_what_a_run_goes_on_from(
    run_id: str, workers: int, worker_steps: tuple[int, ...], carried: int, *, released: bool
) -> None:
    found = state().continued(run_id, workers)
    assert (found.run_id, found.worker_steps, found.carried_steps) == (run_id, worker_steps, carried)
    assert found.global_step == state().global_step, "no step is lost or invented"
    assert found.released is released
