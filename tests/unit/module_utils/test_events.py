"""The reader of events, against the same files that the writer's tests reproduce."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.events import first, last, of_task, parse, parse_line

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "events"
LINE = (
    'DTF_EVENT {"schema":"dtf.event/1","event":"target","run_id":"r","role":"worker","index":1,"attempt":2,'
    '"wall":5.5,"monotonic":7.25,"global_step":3,"worker_steps":[1,2]}'
)


def test_a_line_is_read_field_by_field() -> None:
    event = parse_line(LINE)
    assert event is not None
    assert (event.event, event.run_id, event.task, event.attempt) == ("target", "r", "worker-1", 2)
    assert (event.wall, event.monotonic) == (5.5, 7.25)
    assert event.fields == {"global_step": 3, "worker_steps": [1, 2]}
    assert (event.number("global_step"), event.number("worker_steps"), event.number("no")) == (3, None, None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "prose",
        " " + LINE,
        LINE[:-1],
        LINE[: len(LINE) // 2],
        "DTF_EVENT ",
        "DTF_EVENT []",
        "DTF_EVENT {}",
        LINE.replace("dtf.event/1", "dtf.event/2"),
        LINE.replace('"attempt":2,', ""),
    ],
)
def test_what_is_no_whole_event_of_this_schema_is_passed_over(line: str) -> None:
    assert parse_line(line) is None


def test_events_of_other_runs_are_left_out() -> None:
    other = LINE.replace('"run_id":"r"', '"run_id":"s"')
    assert len(parse([LINE, "prose", other])) == 2
    assert [event.run_id for event in parse([LINE, other], "s")] == ["s"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_golden_line_is_read(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    events = parse(lines)
    assert len(events) == sum(line.startswith("DTF_EVENT ") for line in lines) > 0
    assert len({event.run_id for event in events}) == 1
    for task in {(event.role, event.index) for event in events}:
        own = of_task(events, *task)
        assert [event.monotonic for event in own] == sorted(event.monotonic for event in own)


def test_first_and_last() -> None:
    events = parse((GOLDEN / "worker_restarted.jsonl").read_text(encoding="utf-8").splitlines())
    restarted = max(events, key=lambda event: event.attempt)
    own = of_task(events, restarted.role, restarted.index)
    begun, again = first(own, "started"), last(own, "started")
    assert begun is not None
    assert again is not None
    assert (begun.attempt, again.attempt) == (0, restarted.attempt)
    assert first(own, "no such") is last(own, "no such") is None
