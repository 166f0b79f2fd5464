"""Phases without gap or overlap, and the numbers of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils import stats
from ansible_collections.dtf.cluster.plugins.module_utils.events import Event, parse

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "events"
GOLDEN_START = 1767258000.0
"""Wall time when each golden run was asked for."""


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


def test_nothing_of_an_attempt_that_was_given_up_counts() -> None:
    """The second attempt broke off while it imported; that the first had come further does not help the run."""
    first_attempt = [event("started", 3), event("imported", 5), event("ready", 9), event("peer_lost", 12)]
    found = phases([*first_attempt, event("started", 13, 1)])
    assert (found["start"], found["import"], found["connect"]) == (11, 13, 0)


def ps_phases(events: list[Event]) -> dict[str, float]:
    return stats.consecutive(0, 1, 2, stats.boundaries(events, stats.PS_ENDS), 26)


def test_a_parameter_server_that_is_lost_later_keeps_its_first_start() -> None:
    lost = [event("started", 12, 1), event("imported", 14, 1), event("serving", 15, 1)]
    whole = [event("started", 3), event("imported", 5), event("serving", 6)]
    assert ps_phases(whole + lost) == ps_phases(whole)
    late = [event("started", 3), *lost]  # it never served before
    assert (ps_phases(late)["start"], ps_phases(late)["import"], ps_phases(late)["connect"]) == (10, 2, 1)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Return a worker's events: attempts that break off anywhere, a barrier that opens once, a log that may be cut."""
    moment, is_open, told = 2, False, []
    for attempt in range(draw(st.integers(1, 4))):
        names = ["started", "imported", "ready", "released", "first_step", "target", "exported"]
        for name in names[: draw(st.integers(0, len(names)))]:
            moment += draw(st.integers(0, 50))
            if name != "released" or not is_open:
                told.append(event(name, moment, attempt))
            is_open = is_open or name == "released"
    return [one for one in told if draw(st.integers(0, 9))]


@given(histories(), st.integers(0, 100))
def test_phases_of_any_history_cover_the_whole_time(events: list[Event], rest: int) -> None:
    end = max([2, *(one.monotonic for one in events)]) + rest
    found = phases(events, end)
    assert tuple(found) == stats.PHASES
    assert sum(found.values()) == end
    assert {name: seconds for name, seconds in found.items() if seconds < 0} == {}


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
        "curves": {
            "batch": {"seconds": [1], "global_step": [50], "loss": [None], "steps_per_second": [None]},
            "test": {"seconds": [10.5], "global_step": [None], "accuracy": [0.9], "loss": [0.4]},
        },
    }


def test_a_curve_begins_with_the_release_and_has_fifty_points_at_most() -> None:
    told = [event("progress", 10 + place / 10, global_step=place, loss=1 / (place + 1)) for place in range(1000)]
    opened = [*WHOLE[:4], *told]
    batch = stats.training(opened, 2000, 20)["curves"]["batch"]  # type: ignore[index]
    assert {len(column) for column in batch.values()} == {50}
    assert (batch["global_step"][0], batch["global_step"][-1]) == (40, 999)
    assert (batch["seconds"][0], batch["seconds"][-1]) == pytest.approx((0, 95.9))
    assert batch["loss"][0] == 1 / 41
    closed = stats.training(told, 2000, 20)["curves"]["batch"]  # type: ignore[index]
    assert set(map(len, closed.values())) == {0}, "what was said before any release is of no training"


@given(st.integers(0, 2000), st.integers(2, 200))
def test_what_is_thinned_keeps_both_ends_and_its_order(count: int, most: int) -> None:
    chosen = stats.thinned(range(count), most)
    assert len(chosen) == min(count, most)
    assert chosen == sorted(set(chosen))
    assert not count or (chosen[0], chosen[-1]) == (0, count - 1)


def test_what_never_happened_is_null() -> None:
    found = stats.training(WHOLE[:5], 200, 20)
    assert (found["seconds"], found["steps_per_second"], found["test_accuracy"]) == (None, None, None)
    assert (found["global_step_first"], found["global_step_last"]) == (0, 50)


def test_the_last_progress_and_the_final_evaluation_count() -> None:
    told = [
        *WHOLE[:5],
        event("progress", 16, global_step=90),
        event("evaluated", 17, final=True, test_accuracy=0.7, test_loss=0.8),
        event("evaluated", 18, final=False, test_accuracy=0.1, test_loss=2.0),
    ]
    found = stats.training(told, 200, 20)
    assert (found["global_step_last"], found["test_accuracy"], found["test_loss"]) == (90, 0.7, 0.8)


@pytest.mark.parametrize(("count", "steps"), [(8, [100, 101]), (5, [20, 30]), (3, [None, None])])
def test_steps_of_workers_are_the_last_that_were_counted(count: int, steps: list[int | None]) -> None:
    assert stats.worker_steps(WHOLE[:count], 2) == steps


def golden(name: str, task: str = "worker-0") -> list[Event]:
    """Return the events of one task of a golden run."""
    events = parse((GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
    return [one for one in events if one.task == task]


@pytest.mark.parametrize(
    ("name", "seconds", "steps", "rate", "accuracy", "worker_steps"),
    [
        ("one_ps_two_workers", 9.931, (0, 2001), 201.490283, 0.9478, [1002, 999]),
        ("worker_restarted", 13.689, (0, 2000), 146.102710, 0.9461, [1321, 679]),
        ("ps_restarted", 13.319, (0, 1000), 75.080712, 0.9204, [1000]),
        ("sync", 4.676, (0, 500), 106.928999, 0.8722, [250, 250]),
        ("failed_data", None, (None, None), None, None, [None, None]),
    ],
)
def test_the_training_of_golden_runs(
    name: str,
    seconds: float | None,
    steps: tuple[int | None, int | None],
    rate: float | None,
    accuracy: float | None,
    worker_steps: list[int | None],
) -> None:
    found = stats.training(golden(name), 2000, 20)
    assert found["seconds"] == seconds
    assert (found["global_step_first"], found["global_step_last"]) == steps
    assert found["steps_per_second"] == rate
    assert found["examples_per_second"] == (None if rate is None else pytest.approx(20 * rate))
    assert found["test_accuracy"] == accuracy
    assert stats.worker_steps(golden(name), len(worker_steps)) == worker_steps


@pytest.mark.parametrize(
    ("name", "task", "start", "imported", "connect", "barrier", "train"),
    [
        ("one_ps_two_workers", "worker-0", 0.055, 5.148, 0.727, 0.081, 9.931),
        ("one_ps_two_workers", "worker-1", 0.061, 5.057, 0.886, 0.010, 9.930),
        ("worker_restarted", "worker-0", 0.052, 4.968, 0.690, 0.071, 13.689),
        # killed and restarted while it trained: that stands in its training and nowhere else
        ("worker_restarted", "worker-1", 0.057, 5.014, 0.699, 0.014, 13.689),
        ("ps_restarted", "worker-0", 0.045, 4.285, 0.660, 0.005, 13.319),
        ("sync", "worker-1", 0.118, 5.092, 0.690, 0.015, 4.675),
    ],
)
def test_the_phases_of_golden_workers(
    name: str, task: str, start: float, imported: float, connect: float, barrier: float, train: float
) -> None:
    events = golden(name, task)
    # started is so many seconds after the run was asked for; that moment is all that is known of the host's clock
    asked = events[0].monotonic - (events[0].wall - GOLDEN_START)
    found = stats.consecutive(asked, asked, asked, stats.boundaries(events, stats.ENDS), events[-1].monotonic)
    expected = {"start": start, "import": imported, "connect": connect, "barrier": barrier, "train": train}
    assert {phase: found[phase] for phase in expected} == pytest.approx(expected, abs=1e-6)
