"""The state of a topology on a host: written whole, read back, held by one process at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import topology_directory
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.topology_directory import TopologyDirectory, read_json
from tests.fixtures.own_clock import replace_sleep


@pytest.fixture
def directory(tmp_path: Path) -> TopologyDirectory:
    """A topology's directory of which nothing exists yet."""
    return TopologyDirectory(str(tmp_path / "root"), "demo")


def add_run(directory: TopologyDirectory, run_id: str, checkpoint: bool = False) -> None:
    place = directory.run(run_id) / "checkpoint"
    place.mkdir(parents=True)
    if checkpoint:
        (place / "checkpoint.npz").write_bytes(b"x")


def test_what_does_not_exist_is_none_and_stays_so(directory: TopologyDirectory) -> None:
    assert directory.current() is None
    assert directory.checkpoint(None) is None
    assert directory.checkpoint("r1") is None
    directory.prune(set())
    assert not directory.path.exists()


def test_the_home_of_the_user_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert TopologyDirectory("~/state", "demo").path == tmp_path / "state" / "topologies" / "demo"


def test_the_newest_run_is_what_was_written_last(directory: TopologyDirectory) -> None:
    with directory.locked():
        directory.set_current({"run_id": "r1"})
        directory.set_current({"run_id": "r2"})
    assert directory.current() == {"run_id": "r2"}
    assert sorted(path.name for path in directory.path.iterdir()) == ["current.json", "lock"]


@pytest.mark.parametrize(("content", "why"), [('{"run_id": ', "is damaged"), ("[]", "is not a document")])
def test_a_damaged_document_is_named(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "current.json"
    path.write_text(content)
    with pytest.raises(ActionFailed, match=why) as caught:
        read_json(path)
    assert caught.value.code == "damaged_state"
    assert str(caught.value).startswith(f"{path} {why}")
    assert str(caught.value).endswith("; remove the topology")


def test_a_checkpoint_is_a_file_of_its_run(directory: TopologyDirectory) -> None:
    add_run(directory, "r1", checkpoint=True)
    add_run(directory, "r2")
    assert directory.checkpoint("r1") == directory.run("r1") / "checkpoint" / "checkpoint.npz"
    assert directory.checkpoint("r2") is None


@pytest.mark.parametrize(("keep", "left"), [({"r1", "r3"}, ["r1", "r3"]), (set(), []), ({"r1", "gone"}, ["r1"])])
def test_runs_that_are_not_named_go(directory: TopologyDirectory, keep: set[str], left: list[str]) -> None:
    for run_id in ("r1", "r2", "r3"):
        add_run(directory, run_id, checkpoint=True)
    directory.prune(keep)
    assert sorted(path.name for path in (directory.path / "runs").iterdir()) == left


def test_removal_takes_everything_and_nothing_beside_it(directory: TopologyDirectory, tmp_path: Path) -> None:
    other = TopologyDirectory(str(tmp_path / "root"), "demo2")
    for each in (directory, other):
        add_run(each, "r1", checkpoint=True)
    with directory.locked():
        directory.remove()
    assert not directory.path.exists()
    with pytest.raises(FileNotFoundError):  # what cannot be removed is not passed over
        directory.remove()
    assert other.checkpoint("r1") is not None


def test_one_change_at_a_time(directory: TopologyDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    replace_sleep(monkeypatch, topology_directory, naps.append)
    with directory.locked():
        with pytest.raises(ActionFailed, match=f"'demo': process {os.getpid()} is changing it") as caught:
            directory.locked().__enter__()
        assert caught.value.code == "locked"
        assert 1 < sum(naps) <= 10


@pytest.mark.parametrize("before", ["", "4194304999", "no number at all, and longer than any"])
def test_the_lock_names_its_holder_and_nobody_else(directory: TopologyDirectory, before: str) -> None:
    directory.path.mkdir(parents=True)
    (directory.path / "lock").write_text(before)
    with directory.locked():
        assert (directory.path / "lock").read_text() == str(os.getpid())


@pytest.mark.parametrize(
    ("written", "holder"),
    [
        (b"4711", "process 4711 is changing it"),
        (b" 4711\n", "process 4711 is changing it"),
        (b"", "process of unknown number is changing it"),  # it has the lock and has not come to write yet
        (b"\xff", "process \N{REPLACEMENT CHARACTER} is changing it"),
    ],
)
def test_the_holder_is_who_the_lock_says(
    directory: TopologyDirectory, monkeypatch: pytest.MonkeyPatch, written: bytes, holder: str
) -> None:
    replace_sleep(monkeypatch, topology_directory)
    with directory.locked():
        (directory.path / "lock").write_bytes(written)
        with pytest.raises(ActionFailed) as caught:
            directory.locked().__enter__()
    assert str(caught.value) == f"topology 'demo': {holder} at this moment; try again when that has ended"


def test_a_lock_that_is_let_go_meanwhile_is_taken(
    directory: TopologyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = directory.locked()
    first.__enter__()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            first.__exit__(None, None, None)

    replace_sleep(monkeypatch, topology_directory, nap)
    with directory.locked():
        assert len(naps) == 3


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_lock_that_was_removed_while_it_was_waited_for_is_none(
    directory: TopologyDirectory, monkeypatch: pytest.MonkeyPatch, made_anew: bool
) -> None:
    first = directory.locked()
    first.__enter__()

    def nap(_seconds: float) -> None:
        directory.remove()
        if made_anew:
            directory.path.mkdir()
            (directory.path / "lock").touch()
        first.__exit__(None, None, None)

    replace_sleep(monkeypatch, topology_directory, nap)
    with pytest.raises(ActionFailed, match="'demo' was removed at this moment") as caught:
        directory.locked().__enter__()
    assert caught.value.code == "locked"


def test_a_change_that_fails_lets_go(directory: TopologyDirectory) -> None:
    with pytest.raises(RuntimeError), directory.locked():
        raise RuntimeError
    with directory.locked():
        pass
