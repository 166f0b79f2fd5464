"""The role dataset: fetched once on the controller, copied where it must be, and honest about both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import Play, tree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}


@pytest.fixture
def play(tmp_path: Path, origin: Path) -> Play:
    """Return a play that brings the small data set from a folder."""
    return Play(tmp_path, "dataset", {"dataset_name": "custom", "dataset_source": str(origin)})


def test_check_apply_again(play: Play) -> None:
    assert play.run("--check").changed == 1
    assert not play.root.exists(), "check mode leaves nothing behind"
    assert play.run().changed == 1
    data = play.root / "data" / "custom"
    assert tree(data) >= FILES
    before = {path: path.stat().st_mtime_ns for path in data.iterdir()}
    assert play.run().changed == 0
    assert play.run("--check").changed == 0
    assert {path: path.stat().st_mtime_ns for path in data.iterdir()} == before


def test_another_folder_than_the_cache_gets_copies(play: Play, tmp_path: Path, origin: Path) -> None:
    play.variables["dataset_cache_dir"] = str(tmp_path / "cache")
    assert play.run("--check").changed == 2, "nothing is there to copy yet"
    assert play.run().changed == 3, "fetched, the folder made, the files copied"
    assert tree(play.root / "data" / "custom") == FILES, "the cache's own marks stay with it"
    for name in FILES:
        assert (play.root / "data" / "custom" / name).read_bytes() == (origin / name).read_bytes()
    (play.root / "data" / "custom" / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    assert play.run().changed == 1
    assert play.run().changed == 0


def test_files_that_are_there_already(play: Play, origin: Path) -> None:
    assert play.run(dataset_source="auto", dataset_dir=str(origin)).changed == 0


def test_a_damaged_file_is_brought_again_and_the_old_one_is_kept(play: Play) -> None:
    assert play.run().changed == 1
    damaged = play.root / "data" / "custom" / "t10k-labels-idx1-ubyte"
    damaged.write_bytes(b"damaged")
    assert play.run("--check").changed == 1
    assert play.run().changed == 1
    assert damaged.with_name(f"{damaged.name}.rejected").read_bytes() == b"damaged"
    assert play.run().changed == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"dataset_name": "cifar"}, "value of dataset_name must be one of: mnist, fashion_mnist, custom, got: cifar"),
        ({"dataset_source": "/no/where"}, "dataset_source: /no/where is not accepted; expected auto, the http(s)://"),
        ({"dataset_source": "auto"}, "expected an IDX file of this name, plain or .gz, found no such folder"),
        ({"dataset_source": "http://127.0.0.1:9/x"}, "Connection refused"),
        ({"dataset_python": "/no/python"}, "/no/python -m dtf_trainer"),
        ({"dataset_dir": "/proc/nowhere"}, "/proc/nowhere: expected a folder that can be written"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(play: Play, variables: dict[str, object], message: str) -> None:
    assert message in play.run(**variables).failure


def test_a_source_that_is_damaged(play: Play, origin: Path) -> None:
    labels = origin / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    assert f"{labels}: expected 12 bytes for its 4 examples, found 11 bytes" in play.run().failure
