"""The line a person watches, at every stage of a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.events import Event, of_task, parse
from ansible_collections.dtf.cluster.plugins.module_utils.progress import duration, progress_line

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "events"
UP = [{"state": "running", "restarts": 0}] * 3


def chief(name: str, until: str = "") -> list[Event]:
    """Return the chief's events of a golden run up to and with the first one of a name, or all."""
    events = of_task(parse((GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()), "worker", 0)
    names = [event.event for event in events]
    return events[: names.index(until) + 1] if until else events


def progress(monotonic: float, step: object, **fields: object) -> Event:
    return Event("progress", "r", "worker", 0, 0, 0.0, monotonic, {"global_step": step, **fields})


STEADY = [progress(11 + second, 100 * (second + 1)) for second in range(9)]
UNEVEN = [progress(20 + second, step) for second, step in enumerate((100, 250, 500, 510, 800, 820, 1000))]
SLOWER = [progress(11, 1000), *(progress(12 + second, 1000 + 50 * second) for second in range(6))]
RELEASED = Event("released", "r", "worker", 0, 0, 0.0, 10.0, {"global_step": 0})


@pytest.mark.parametrize(
    ("until", "line"),
    [
        ("started", "importing TensorFlow · 3/3 tasks up"),
        ("imported", "connecting · 3/3 tasks up"),
        ("serving", "connecting · 3/3 tasks up"),
        ("connected", "compiling the step · 3/3 tasks up"),
        ("ready", "waiting at the barrier · 3/3 tasks up"),
        ("released", "training · 3/3 tasks up"),
        ("first_step", "training · 3/3 tasks up"),
        ("progress", "step 398 of 2,000 · 199 steps/s · 8 s left · loss 9.21 · 3/3 tasks up"),
        ("target", "target reached, evaluating and exporting · 3/3 tasks up"),
        ("evaluated", "target reached, evaluating and exporting · 3/3 tasks up"),
        ("exported", "exported, ending · 3/3 tasks up"),
        ("finished", "exported, ending · 3/3 tasks up"),
    ],
)
def test_each_stage_of_a_golden_run(until: str, line: str) -> None:
    assert progress_line(chief("one_ps_two_workers", until), UP, 3, 2000) == line


def said(name: str, monotonic: float, **fields: object) -> Event:
    return Event(name, "r", "worker", 0, 0, 0.0, monotonic, fields)


LOST_A_PEER = [RELEASED, progress(12, 6_000), said("finished", 15.0, exit_code=75)]
STARTED_AGAIN = [*LOST_A_PEER, said("started", 17.0)]
# No barrier any more: the others train already.
CONTINUED = [*STARTED_AGAIN, said("imported", 19.0), said("connected", 20.0), said("first_step", 21.0)]


@pytest.mark.parametrize(
    ("events", "line"),
    [
        (LOST_A_PEER, "the chief ended with exit code 75"),
        (STARTED_AGAIN, "importing TensorFlow"),
        (CONTINUED[:-1], "compiling the step"),
        (CONTINUED, "training"),
        ([*CONTINUED, progress(22, 5_000), progress(23, 6_000)], "step 6,000 of 10,000 · 1,000 steps/s · 4 s left"),
        ([*CONTINUED, said("target", 30.0), said("started", 40.0)], "target reached, evaluating and exporting"),
    ],
)
def test_a_chief_that_was_started_again(events: list[Event], line: str) -> None:
    assert progress_line(events, UP, 3, 10_000) == f"{line} · 3/3 tasks up"


def test_before_anything_was_said() -> None:
    assert progress_line([], [], 3, 2000) == "starting · 0/3 tasks up"


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([], "0/3 tasks up"),
        ([("running", 0), ("waiting", 0), ("done", 0)], "1/3 tasks up"),
        ([("running", 0), ("backoff", 1), ("running", 0)], "2/3 tasks up, 1 restart"),
        ([("running", 2), ("running", 1), ("running", 0)], "3/3 tasks up, 3 restarts"),
    ],
)
def test_tasks_and_restarts(tasks: list[tuple[str, int]], told: str) -> None:
    records = [{"state": state, "restarts": restarts} for state, restarts in tasks]
    assert progress_line([], records, 3, 10) == f"starting · {told}"


@pytest.mark.parametrize(
    ("events", "target", "line"),
    [
        # over the last few reports: recent, but not nervous
        (UNEVEN, 2000, "step 1,000 of 2,000 · 150 steps/s · 7 s left"),
        (STEADY, 1800, "step 900 of 1,800 · 100 steps/s · 9 s left"),
        (SLOWER, 0, "step 1,250 · 50 steps/s"),
        ([progress(12, 24_000)], 1_000_000, "step 24,000 of 1,000,000 · 12,000 steps/s · 1 min 21 s left"),
        # no rate out of a clock that stands still, or steps that went back with a checkpoint
        ([progress(10, 5)], 10, "step 5 of 10"),
        ([progress(11, 500), progress(12, 0)], 1000, "step 0 of 1,000"),
        ([progress(11, 1000)], 1000, "step 1,000 of 1,000 · 1,000 steps/s"),
        ([progress(11, None)], 1000, "training"),
        ([progress(11, 50, loss=0.12345)], 50, "step 50 of 50 · 50 steps/s · loss 0.123"),
        ([progress(11, 50, loss=None)], 50, "step 50 of 50 · 50 steps/s"),
    ],
)  # fmt: skip
def test_rate_and_time_left(events: list[Event], target: int, line: str) -> None:
    assert progress_line([RELEASED, *events], UP, 3, target) == f"{line} · 3/3 tasks up"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7620, "2 h 07 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_a_time_as_people_read_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
