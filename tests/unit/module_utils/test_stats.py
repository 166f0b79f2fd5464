"""Phases without gap or overlap, and the numbers of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils import stats
from ansible_collections.dtf.cluster.plugins.module_utils.events import Event, of_task, parse

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "events"


def event(name: str, monotonic: float, attempt: int = 0, **fields: object) -> Event:
    """Return an event of the chief."""
    return Event(name, "r", "worker", 0, attempt, 1000 + monotonic, monotonic, fields)


WHOLE = [
    event("started", 3),
    event("imported", 5),
    event("ready", 9),
    event("released", 14, global_step=0),
    event("progress", 15, global_step=50, worker_steps=[20, 30]),
    event("target", 24, global_step=201, worker_steps=[100, 101]),
    event("evaluated", 24.5, final=True, test_accuracy=0.9, test_loss=0.4),
    event("exported", 25),
]


def phases(events: list[Event], end: float = 26) -> dict[str, float]:
    """Return the phases of a run created at 0, supervised at 1 and spawned at 2."""
    return stats.consecutive(0, 1, 2, stats.boundaries(events, stats.ENDS), end)


def test_a_whole_run() -> None:
    expected = (1, 1, 0, 1, 2, 4, 5, 10, 1, 1)
    assert phases(WHOLE) == dict(zip(stats.PHASES, expected, strict=True))


def test_an_attempt_that_failed_before_the_release_was_only_waiting() -> None:
    failed = [event("started", 2.2), event("imported", 2.4), event("peer_lost", 2.6)]
    later = [event(one.event, one.monotonic, 1, **one.fields) for one in WHOLE]
    assert phases(failed + later) == phases(WHOLE)


def test_what_a_restart_costs_after_the_release_stands_in_the_training() -> None:
    again = [event("started", 17, 1), event("imported", 18, 1), event("ready", 19, 1), event("released", 19.5, 1)]
    assert phases(WHOLE[:5] + again + WHOLE[5:]) == phases(WHOLE)
    assert stats.training(WHOLE[:5] + again + WHOLE[5:], 200, 20) == stats.training(WHOLE, 200, 20)


@pytest.mark.parametrize(
    ("count", "phase", "seconds"),
    [(0, "start", 24), (1, "import", 23), (2, "connect", 21), (3, "barrier", 17), (5, "train", 12), (7, "export", 2)],
)
def test_a_run_that_broke_off_spends_the_rest_in_the_phase_it_could_not_finish(
    count: int, phase: str, seconds: float
) -> None:
    found = phases(WHOLE[:count])
    assert found[phase] == seconds
    later = stats.PHASES[stats.PHASES.index(phase) + 1 :]
    assert all(found[name] == 0 for name in later)


@given(
    st.lists(st.floats(0, 1e5), min_size=10, max_size=10),
    st.sets(st.sampled_from(list(stats.ENDS))),
)
def test_phases_always_cover_the_whole_time(moments: list[float], missing: set[str]) -> None:
    created, supervised, spawned, *ends, end = sorted(moments)
    ended = {phase: moment for phase, moment in zip(stats.ENDS, ends, strict=True) if phase not in missing}
    found = stats.consecutive(created, supervised, spawned, ended, end)
    assert tuple(found) == stats.PHASES
    assert all(seconds >= 0 for seconds in found.values())
    assert sum(found.values()) == pytest.approx(end - created, abs=1e-6)


def test_the_training_is_timed_from_release_to_target() -> None:
    assert stats.training(WHOLE, 200, 20) == {
        "seconds": 10,
        "global_step_first": 0,
        "global_step_last": 201,
        "target_step": 200,
        "steps_per_second": 20.1,
        "examples_per_second": 402,
        "test_accuracy": 0.9,
        "test_loss": 0.4,
        "clock": "chief monotonic",
    }


def test_what_never_happened_is_null() -> None:
    found = stats.training(WHOLE[:5], 200, 20)
    assert (found["seconds"], found["steps_per_second"], found["test_accuracy"]) == (None, None, None)
    assert (found["global_step_first"], found["global_step_last"]) == (0, 50)


@pytest.mark.parametrize(("count", "steps"), [(8, [100, 101]), (5, [20, 30]), (3, [None, None])])
def test_steps_of_workers_are_the_last_that_were_counted(count: int, steps: list[int | None]) -> None:
    assert stats.worker_steps(WHOLE[:count], 2) == steps


@pytest.mark.parametrize("name", ["one_ps_two_workers", "worker_restarted", "sync"])
def test_golden_runs_add_up(name: str) -> None:
    lines = (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    chief = of_task(parse(lines), "worker", 0)
    found = stats.training(chief, 1, 20)
    steps = stats.worker_steps(chief, 2)
    released = next(one for one in chief if one.event == "released")
    target = next(one for one in chief if one.event == "target")
    assert found["seconds"] == pytest.approx(target.monotonic - released.monotonic)
    assert sum(step or 0 for step in steps) == found["global_step_last"]


def test_summaries_and_speed_up() -> None:
    assert stats.summary([]) == {"n": 0, "mean": None, "minimum": None, "maximum": None, "stdev": None}
    assert stats.summary([2.0]) == {"n": 1, "mean": 2, "minimum": 2, "maximum": 2, "stdev": None}
    assert stats.summary([1.0, 3.0])["stdev"] == pytest.approx(2**0.5, abs=1e-6)
    assert (stats.speed_up(10, 4), stats.speed_up(None, 4), stats.speed_up(10, None)) == (2.5, None, None)
