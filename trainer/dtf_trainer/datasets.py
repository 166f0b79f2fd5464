"""The data sets: four IDX files each, what they must contain, and how they are verified and loaded.

``verify`` needs the standard library only; ``load`` imports NumPy when it is called. A file may be plain or gzip
(``….gz``), and named as its publishers do, ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import struct
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

TRAIN_IMAGES: Final = "train-images-idx3-ubyte"
TRAIN_LABELS: Final = "train-labels-idx1-ubyte"
TEST_IMAGES: Final = "t10k-images-idx3-ubyte"
TEST_LABELS: Final = "t10k-labels-idx1-ubyte"
FILES: Final = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
"""The names under which the files of every data set are fetched and reported."""

PAIRS: Final = ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS))

ROWS: Final = 28
COLUMNS: Final = 28
CLASSES: Final = 10

MARKER: Final = ".verified"
"""The file in the data folder that remembers which files, by size and time of change, were found right."""

_MAGIC: Final = {"images": 2051, "labels": 2049}
_CHUNK: Final = 1 << 20


class DataError(Exception):
    """A data set cannot be used. The message names the file, what was expected of it and what was found."""

    def __init__(self, *, file: str, expected: str, found: str) -> None:
        """Say what was expected of ``file`` and what was found; both are kept for programs."""
        super().__init__(f"{file}: expected {expected}, found {found}")
        self.file = file
        self.expected = expected
        self.found = found


@dataclass(frozen=True)
class DatasetFiles:
    """What a data set's files must be: the sha256 of each one's plain content, or nothing known (``sha256`` empty)."""

    title: str
    sha256: Mapping[str, str]


DATASETS: Final[Mapping[str, DatasetFiles]] = MappingProxyType(
    {
        "mnist": DatasetFiles(
            title="MNIST, handwritten digits",
            sha256={
                TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
        ),
        "fashion_mnist": DatasetFiles(
            title="Fashion-MNIST, articles of clothing",
            sha256={
                TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        ),
        "custom": DatasetFiles(title="IDX files of your own", sha256={}),
    }
)


@dataclass(frozen=True, kw_only=True)
class Data:
    """A loaded data set: images ``uint8 [n, 784]``, rows after rows; labels ``uint8 [n]``, 0 to 9; digests by file."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    sha256: Mapping[str, str]


def verify(dataset: str, data_dir: str | os.PathLike[str]) -> dict[str, str]:
    """Return ``{file: sha256 of its plain content}`` after checking all four files of ``dataset`` in ``data_dir``.

    A file that the marker remembers is not read through again; the marker is brought up to date if the folder can be
    written. Raises :class:`DataError` for the first fault: a missing, damaged or truncated file, a wrong magic number,
    image size or digest, a label above 9, not as many labels as images.
    """
    folder = Path(data_dir)
    known = _read_marker(folder)
    checked: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    for name in FILES:
        path = locate(folder, name)
        identity = _identity(path)
        entry = known.get(path.name, {})
        remembered = str(entry["sha256"]) if entry == {**identity, "sha256": entry.get("sha256")} else None
        counts[name], digests[name] = check_file(path, name, remembered)
        _compare_digest(dataset, name, path, digests[name])
        checked[path.name] = {**identity, "sha256": digests[name]}
    for images, labels in PAIRS:
        if counts[images] != counts[labels]:
            raise DataError(
                file=str(locate(folder, labels)),
                expected=f"{counts[images]} labels, one for each image of {locate(folder, images).name}",
                found=f"{counts[labels]} labels",
            )
    if checked != known:
        _write_marker(folder, checked)
    return digests


def load(dataset: str, data_dir: str | os.PathLike[str]) -> Data:
    """Verify ``dataset`` in ``data_dir`` and return it as arrays. Raises :class:`DataError` as :func:`verify` does."""
    folder = Path(data_dir)
    digests = verify(dataset, folder)
    arrays = {name: _read_array(locate(folder, name), name) for name in FILES}
    return Data(
        train_images=arrays[TRAIN_IMAGES],
        train_labels=arrays[TRAIN_LABELS],
        test_images=arrays[TEST_IMAGES],
        test_labels=arrays[TEST_LABELS],
        sha256=digests,
    )


def locate(folder: Path, name: str) -> Path:
    """Return the path of the file ``name`` in ``folder``, under whichever of its names it is there.

    Raises :class:`DataError` if it is not.
    """
    for spelling in spellings(name):
        if (folder / spelling).is_file():
            return folder / spelling
    found = f"no such file among the {len(list(folder.iterdir()))} there" if folder.is_dir() else "no such folder"
    raise DataError(file=str(folder / name), expected="an IDX file of this name, plain or .gz", found=found)


def spellings(name: str) -> tuple[str, ...]:
    """Return the names under which the file ``name`` may stand in a folder, the first one that is there counts."""
    dotted = name.replace("-idx", ".idx")
    return (name, f"{name}.gz", dotted, f"{dotted}.gz")


def check_file(path: Path, name: str, remembered: str | None = None) -> tuple[int, str]:
    """Return how many examples the file ``name`` at ``path`` holds, and the sha256 of its plain content.

    The content is read through unless its digest is ``remembered``. Raises :class:`DataError` for a file that is not
    what its ``name`` says.
    """
    try:
        with open_plain(path) as stream:
            header = stream.read(_header_bytes(name))
            count = _read_header(path, name, header)
            if remembered is None:
                return count, _read_through(stream, path, name, header, count)
            return count, remembered
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(file=str(path), expected="a whole gzip file", found=f"a damaged one ({error})") from error
    except OSError as error:
        raise DataError(file=str(path), expected="a readable file", found=error.strerror or str(error)) from error


def _header_bytes(name: str) -> int:
    return 16 if "images" in name else 8


def _read_header(path: Path, name: str, header: bytes) -> int:
    """Return the number of examples that ``header`` announces, after checking that it is the header of ``name``."""
    expected_magic = _MAGIC["images" if "images" in name else "labels"]
    if len(header) < _header_bytes(name):
        raise DataError(
            file=str(path),
            expected=f"an IDX header of {_header_bytes(name)} bytes",
            found=f"{len(header)} bytes in the whole file",
        )
    magic, count, *shape = struct.unpack(f">{len(header) // 4}I", header)
    if magic != expected_magic:
        meaning = next((f" ({kind})" for kind, number in _MAGIC.items() if number == magic), "")
        kind = "images" if "images" in name else "labels"
        raise DataError(
            file=str(path), expected=f"magic number {expected_magic} ({kind})", found=f"magic number {magic}{meaning}"
        )
    if shape and tuple(shape) != (ROWS, COLUMNS):
        found = f"images of {shape[0]}x{shape[1]}"
        raise DataError(file=str(path), expected=f"images of {ROWS}x{COLUMNS}", found=found)
    if count == 0:
        raise DataError(file=str(path), expected="at least one example", found="none")
    return int(count)


def _read_through(stream: IO[bytes], path: Path, name: str, header: bytes, count: int) -> str:
    """Return the digest of the whole plain content, after checking its length and, of labels, every value."""
    digest = hashlib.sha256(header)
    length = len(header)
    highest = 0
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        length += len(chunk)
        if "labels" in name:
            highest = max(highest, *chunk)
    expected_length = len(header) + count * (ROWS * COLUMNS if "images" in name else 1)
    if length != expected_length:
        raise DataError(
            file=str(path), expected=f"{expected_length} bytes for its {count} examples", found=f"{length} bytes"
        )
    if highest >= CLASSES:
        raise DataError(file=str(path), expected=f"labels from 0 to {CLASSES - 1}", found=f"a label {highest}")
    return digest.hexdigest()


def open_plain(path: Path) -> IO[bytes]:
    """Open the plain content of ``path``. Its first bytes, not its name, say whether it is gzip."""
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_gzip else path.open("rb")


def _read_array(path: Path, name: str) -> NDArray[np.uint8]:
    import numpy as np  # noqa: PLC0415 (whoever only verifies may not have it)

    with open_plain(path) as stream:
        stream.seek(_header_bytes(name))
        values = np.frombuffer(stream.read(), dtype=np.uint8)
    return values.reshape(-1, ROWS * COLUMNS) if "images" in name else values


def _compare_digest(dataset: str, name: str, path: Path, digest: str) -> None:
    expected = DATASETS[dataset].sha256.get(name, digest)
    if digest != expected:
        raise DataError(file=str(path), expected=f"sha256 {expected} (data set {dataset})", found=f"sha256 {digest}")


def _identity(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _read_marker(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the marker remembers, nothing if there is none or it cannot be understood."""
    try:
        files = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
        return {str(name): dict(entry) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_marker(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    # The marker only saves time: a folder that cannot be written is verified anew each time.
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(prefix=f"{MARKER}-", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump({"files": files}, stream, indent=1)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(folder / MARKER)
        except OSError:
            Path(temporary).unlink()
