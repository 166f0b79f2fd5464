"""Data sets: each fault named, plain or gzip, and nothing read twice that need not be."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from idx import images, labels

from dtf_trainer import datasets
from dtf_trainer.datasets import (
    DATASETS,
    FILES,
    MARKER,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    DataError,
    load,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a small data set of one's own: four training examples, three for the test."""
    contents = (images(4), labels([3, 1, 4, 1]), images(3), labels([5, 9, 2]))
    for name, content in zip(FILES, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_load(folder: Path) -> None:
    pytest.importorskip("numpy")
    data = load("custom", folder)
    assert data.train_images.shape == (4, 784)
    assert data.train_images[1, :3].tolist() == [784 % 256, 785 % 256, 786 % 256]
    assert data.train_labels.tolist() == [3, 1, 4, 1]
    assert data.test_images.shape == (3, 784)
    assert data.test_labels.tolist() == [5, 9, 2]
    assert {str(array.dtype) for array in (data.train_images, data.train_labels)} == {"uint8"}
    assert dict(data.sha256) == verify("custom", folder)


@pytest.mark.parametrize("spelling", ["{}.gz", "dotted", "dotted.gz", "gzip without a suffix"])
def test_other_names_and_gzip(folder: Path, spelling: str) -> None:
    pytest.importorskip("numpy")
    digests = verify("custom", folder)
    for name in FILES:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        stem = name.replace("-idx", ".idx") if "dotted" in spelling else name
        target = folder / (f"{stem}.gz" if spelling.endswith(".gz") else stem)
        target.write_bytes(gzip.compress(content) if "gz" in spelling else content)
    assert verify("custom", folder) == digests
    assert load("custom", folder).test_labels.tolist() == [5, 9, 2]


def truncate(path: Path) -> None:
    """Cut the last ten bytes off."""
    path.write_bytes(path.read_bytes()[:-10])


FAULTS: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "missing": (TRAIN_LABELS, Path.unlink, "an IDX file of this name, plain or .gz", "no such file among the 3 there"),
    "a folder in its place": (
        TRAIN_LABELS,
        lambda path: (path.unlink(), path.mkdir()),
        "an IDX file of this name",
        "no such file among the 4 there",
    ),
    "empty": (
        TRAIN_LABELS,
        lambda path: path.write_bytes(b""),
        "an IDX header of 8 bytes",
        "0 bytes in the whole file",
    ),
    "header cut": (
        TRAIN_IMAGES,
        lambda path: path.write_bytes(images(1)[:12]),
        "an IDX header of 16 bytes",
        "12 bytes",
    ),
    "truncated": (TRAIN_IMAGES, truncate, "3152 bytes for its 4 examples", "3142 bytes"),
    "too long": (
        TRAIN_LABELS,
        lambda path: path.write_bytes(labels([1, 2, 3, 4]) + b"\0"),
        "12 bytes for its 4 examples",
        "13 bytes",
    ),
    "mislabelled": (
        TRAIN_LABELS,
        lambda path: path.write_bytes(images(4)),
        "magic number 2049 (labels)",
        "magic number 2051 (images)",
    ),
    "not IDX": (
        TRAIN_IMAGES,
        lambda path: path.write_bytes(b"<html>Please log in</html>"),
        "magic number 2051 (images)",
        "magic number 1013478509",
    ),
    "image size": (
        TRAIN_IMAGES,
        lambda path: path.write_bytes(images(4, 32, 30)),
        "images of 28x28",
        "images of 32x30",
    ),
    "no example": (TRAIN_LABELS, lambda path: path.write_bytes(labels([])), "at least one example", "none"),
    "count": (
        TRAIN_LABELS,
        lambda path: path.write_bytes(labels([1, 2, 3])),
        "4 labels, one for each image of train-images-idx3-ubyte",
        "3 labels",
    ),
    "label above 9": (
        TEST_LABELS,
        lambda path: path.write_bytes(labels([5, 10, 2])),
        "labels from 0 to 9",
        "a label 10",
    ),
    "gzip cut": (
        TRAIN_IMAGES,
        lambda path: path.write_bytes(gzip.compress(images(4))[:-200]),
        "a whole gzip file",
        "a damaged one",
    ),
    "gzip damaged": (
        TRAIN_IMAGES,
        lambda path: path.write_bytes(gzip.compress(images(4))[:30] + b"\xff" * 40),
        "a whole gzip file",
        "a damaged one",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_names_file_expected_and_found(folder: Path, fault: str) -> None:
    name, damage, expected, found = FAULTS[fault]
    damage(folder / name)
    with pytest.raises(DataError) as caught:
        verify("custom", folder)
    assert caught.value.file == str(folder / name)
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert str(caught.value) == f"{folder / name}: expected {caught.value.expected}, found {caught.value.found}"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such folder"):
        verify("mnist", tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(folder: Path) -> None:
    (folder / TRAIN_IMAGES).chmod(0)
    with pytest.raises(DataError, match="expected a readable file, found Permission denied"):
        verify("custom", folder)


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_a_wrong_digest(folder: Path, dataset: str) -> None:
    with pytest.raises(DataError) as caught:
        verify(dataset, folder)
    expected = DATASETS[dataset].sha256[TRAIN_IMAGES]
    assert caught.value.expected == f"sha256 {expected} (data set {dataset})"
    assert caught.value.found == f"sha256 {verify('custom', folder)[TRAIN_IMAGES]}"


def test_the_catalogue_is_complete() -> None:
    for dataset in ("mnist", "fashion_mnist"):
        assert tuple(DATASETS[dataset].sha256) == FILES
    assert not DATASETS["custom"].sha256


def test_what_the_marker_remembers_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read_through = datasets._read_through

    def counted(*arguments: object) -> str:
        reads.append(arguments)
        return read_through(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(datasets, "_read_through", counted)
    first = verify("custom", folder)
    assert len(reads) == 4
    assert verify("custom", folder) == first
    assert len(reads) == 4
    os.utime(folder / TEST_LABELS, ns=(1, 1))
    assert verify("custom", folder) == first
    assert len(reads) == 5, "only the file that was touched"


def test_the_marker_does_not_hide_a_change(folder: Path) -> None:
    verify("custom", folder)
    (folder / TEST_LABELS).write_bytes(labels([5, 9, 99]))
    with pytest.raises(DataError, match="a label 99"):
        verify("custom", folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}', '{"files": {"train-images-idx3-ubyte": 7}}'])
def test_a_marker_that_cannot_be_understood_is_ignored(folder: Path, content: str) -> None:
    digests = verify("custom", folder)
    (folder / MARKER).write_text(content, encoding="utf-8")
    assert verify("custom", folder) == digests
    assert set(json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]) == set(FILES)


def test_a_folder_that_cannot_be_written_is_verified_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert set(verify("custom", folder)) == set(FILES)
    assert not (folder / MARKER).exists()
