"""A run's directory on the controller: what a host sends is taken with care, what the run left is named."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.hosts import Task
from ansible_collections.dtf.cluster.plugins.plugin_utils.run_results import RunResults

CHIEF, PS = Task("worker", 0, "a", "10.0.0.1:9000"), Task("ps", 0, "a", "10.0.0.1:8000")


@pytest.fixture
def results(tmp_path: Path) -> RunResults:
    """The directory of run r1, which exists."""
    found = RunResults(str(tmp_path / "results"), "r1")
    found.path.mkdir(parents=True)
    return found


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Return an archive's entry; a plain file holds its own name."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    member.size = len(name.encode()) if kind == tarfile.REGTYPE else 0
    return member


def archive(tmp_path: Path, *members: tarfile.TarInfo) -> str:
    path = tmp_path / "sent.tar"
    with tarfile.open(path, "w") as packed:
        for member in members:
            packed.addfile(member, io.BytesIO(member.name.encode()))
    return str(path)


def event_line(task: Task, wall: float, run_id: str = "r1") -> str:
    """Return a line as a task prints it."""
    record = {"schema": "dtf.event/1", "event": "progress", "run_id": run_id, "role": task.role, "index": task.index}
    return "DTF_EVENT " + json.dumps({**record, "attempt": 0, "wall": wall, "monotonic": wall - 1000})


def write_log(results: RunResults, task: Task, *lines: str) -> None:
    (results.path / "logs").mkdir(exist_ok=True)
    (results.path / "logs" / f"{task.name}.log").write_text("".join(line + "\n" for line in lines))


def test_plain_files_and_folders_are_unpacked(results: RunResults, tmp_path: Path) -> None:
    sent = archive(
        tmp_path,
        entry("logs", tarfile.DIRTYPE),
        entry("logs/worker-0.log"),
        entry("export/variables/variables.index"),  # its folders were not sent
        entry("checkpoint", tarfile.DIRTYPE),
    )
    results.unpack(sent)
    assert (results.path / "logs" / "worker-0.log").read_text() == "logs/worker-0.log"
    assert (results.path / "export" / "variables" / "variables.index").is_file()
    assert (results.path / "checkpoint").is_dir()


def test_what_was_fetched_before_is_replaced(results: RunResults, tmp_path: Path) -> None:
    write_log(results, CHIEF, "a line of an earlier fetch, longer than the name of the file")
    results.unpack(archive(tmp_path, entry("logs", tarfile.DIRTYPE), entry("logs/worker-0.log")))
    assert results.log_lines(CHIEF) == ["logs/worker-0.log"]


@pytest.mark.parametrize(
    "member",
    [
        entry("/etc/cron.d/job"),
        entry("../run.json"),
        entry("logs/../../r2/run.json"),
        entry("logs/x", tarfile.SYMTYPE, "/etc/passwd"),
        entry("logs/x", tarfile.SYMTYPE, "worker-0.log"),
        entry("logs/x", tarfile.LNKTYPE, "/etc/passwd"),
        entry("logs/x", tarfile.FIFOTYPE),
        entry("logs/x", tarfile.CHRTYPE),
        entry("..", tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member.name}:{member.type.decode()}",
)
def test_nothing_else_is(results: RunResults, tmp_path: Path, member: tarfile.TarInfo) -> None:
    before = sorted(tmp_path.rglob("*"))
    sent = archive(tmp_path, member)
    with pytest.raises(ValueError, match="no plain file of a run") as caught:
        results.unpack(sent)
    assert str(caught.value) == f"{member.name} in what the host sent is no plain file of a run"
    assert sorted(tmp_path.rglob("*")) == sorted([*before, Path(sent)])


def test_a_document_is_written_whole_and_ends_the_hosts_notes(results: RunResults) -> None:
    assert results.document() is None
    results.publish("a", {"over": False})
    results.publish("b", {"over": False})
    results.publish("b", {"over": True})
    assert results.notes() == {"a": {"over": False}, "b": {"over": True}}
    results.write_document({"state": "succeeded"})
    assert results.document() == {"state": "succeeded"}
    assert results.document_path == str(results.path / "run.json")
    assert results.notes() == {}
    assert [path.name for path in results.path.iterdir()] == ["run.json"]


def test_hosts_with_dots_in_their_names_are_told_apart(results: RunResults) -> None:
    for name in ("node1.example.org", "node1.example.com"):
        results.publish(name, {"host": name})
    assert results.notes() == {name: {"host": name} for name in ("node1.example.org", "node1.example.com")}


def test_events_of_this_run_are_written_in_order_of_wall_time(results: RunResults) -> None:
    write_log(results, CHIEF, event_line(CHIEF, 2001), "prose", event_line(CHIEF, 2004), "DTF_EVENT {cut")
    write_log(results, PS, event_line(PS, 2000), event_line(PS, 2002, "of an earlier run"), event_line(PS, 2003))
    events = results.write_events(results.logs([PS, CHIEF]), "r1")
    assert [(event.task, event.wall) for event in events] == [
        ("ps-0", 2000),
        ("ps-0", 2003),
        ("worker-0", 2001),
        ("worker-0", 2004),
    ]
    written = [json.loads(line) for line in (results.path / "events.jsonl").read_text().splitlines()]
    assert [record["wall"] for record in written] == [2000, 2001, 2003, 2004]


def test_a_log_that_is_no_text_is_read_all_the_same(results: RunResults) -> None:
    write_log(results, CHIEF)
    (results.path / "logs" / "worker-0.log").write_bytes(b"\xff\xfe\n" + event_line(CHIEF, 2001).encode() + b"\n")
    assert len(results.log_lines(CHIEF)) == 2
    assert len(results.write_events(results.logs([CHIEF]), "r1")) == 1


def test_only_what_is_there_is_an_artifact(results: RunResults) -> None:
    nothing = {"logs": {}, "events": "events.jsonl", "export": None, "checkpoint": None}
    assert results.artifacts(results.logs([PS, CHIEF])) == nothing
    write_log(results, CHIEF, "a line")
    for place in ("export/saved_model.pb", "checkpoint/checkpoint.npz"):
        (results.path / place).parent.mkdir()
        (results.path / place).touch()
    assert results.artifacts(results.logs([PS, CHIEF])) == {
        "logs": {"worker-0": "logs/worker-0.log"},
        "events": "events.jsonl",
        "export": "export",
        "checkpoint": "checkpoint/checkpoint.npz",
    }
