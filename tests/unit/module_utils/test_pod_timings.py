"""Time stamps of three clocks on one axis: phases that add up, and what the clocks disagree about."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils import stats
from ansible_collections.dtf.cluster.plugins.module_utils.pod_timings import (
    Skew,
    Stretch,
    image_seconds,
    on_wall_clock,
    restarts,
    skew,
    timeline,
    training,
)
from tests.unit.module_utils.pod_samples import BEGIN, ended, pod, pulled, said, topology, view, views

CHIEF = {"started": 6, "imported": 9, "ready": 12, "released": 14, "target": 24, "exported": 25, "finished": 26}
#: At which events the measures of a training are taken.
STEPS: dict[str, Any] = {"released": {"global_step": 0}, "target": {"global_step": 100}}


def stretch(moments: dict[str, float], node: str = "w1", boot: float = 1000, **fields: Any) -> Stretch:
    return Stretch("worker-0", "demo-chief-0", node, said("worker", 0, moments, boot, **{**STEPS, **fields}))


def phases(moments: dict[str, float], image: float | None = 3, **more: Any) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the phases of the chief of a run that was decided at 0.5 and over at 30, and its notes."""
    shown = view("chief", **more.pop("pod", {}))
    arguments = {"created": BEGIN + 0.5, "end": BEGIN + 30, "ends": stats.ENDS, **more}
    found = timeline(pod=shown, image=image, events=on_wall_clock([stretch(moments)]), **arguments)
    return {name: round(length, 6) for name, length in found.phases.items() if length}, found.notes


def test_phases_of_a_run_that_went_well() -> None:
    lengths, notes = phases(CHIEF)
    assert lengths == {
        "created": 0.5, "scheduled": 1, "image": 3, "start": 1, "import": 3, "connect": 3, "barrier": 2,
        "train": 10, "export": 1, "exit": 5,
    }  # fmt: skip
    assert notes == ()
    assert sum(lengths.values()) == 29.5


@pytest.mark.parametrize(
    ("reached", "rest"),
    [
        ({}, {"start": 25}),
        ({"started": 6}, {"start": 1, "import": 24}),
        ({"started": 6, "imported": 9, "ready": 12}, {"start": 1, "import": 3, "connect": 3, "barrier": 18}),
        # What no event tells of stands in the phase after it.
        ({"imported": 9, "released": 14}, {"import": 7, "barrier": 5, "train": 16}),
    ],
)
def test_a_run_that_broke_off_spends_its_rest_in_the_phase_it_could_not_finish(
    reached: dict[str, float], rest: dict[str, float]
) -> None:
    lengths, _notes = phases(reached)
    image = 0 if "imported" in reached and "started" not in reached else 3
    expected = {"created": 0.5, "scheduled": 1, "image": image, **rest}
    assert lengths == {name: length for name, length in expected.items() if length}


@pytest.mark.parametrize(
    ("image", "state", "expected"),
    [
        (None, {"running": {}}, {"start": 28}),
        (0.0, {"running": {}}, {"start": 28}),
        (5.5, {"running": {}}, {"image": 5.5, "start": 22.5}),
        # More than there was: the kubelet and the trainer read different clocks.
        (99.0, {"running": {}}, {"image": 28}),
        (None, {"waiting": {"reason": "ImagePullBackOff"}}, {"image": 28}),
        (None, {"waiting": {"reason": "ContainerCreating"}}, {"start": 28}),
    ],
)
def test_an_image_s_time_stands_between_binding_and_start(
    image: float | None, state: dict[str, Any], expected: dict[str, float]
) -> None:
    lengths, _notes = phases({}, image=image, pod={"state": state})
    assert lengths == {"created": 0.5, "scheduled": 1, **expected}


@pytest.mark.parametrize(
    ("words", "took"),
    [
        ('Container image "x" already present on machine and can be accessed by the pod', 0),
        ('Successfully pulled image "x" in 350ms (350ms including waiting). Image size: 5 bytes.', 0.35),
        ('Successfully pulled image "x" in 1m2.5s (1m2.5s including waiting)', 62.5),
        ('Successfully pulled image "x" in 1h1m1s', 3661),
        ("Pulling image", None),
    ],
)
def test_how_long_an_image_took(words: str, took: float | None) -> None:
    shown = view("chief")
    assert image_seconds(shown, [pulled(shown.uid, words)]) == (None if took is None else pytest.approx(took))
    assert image_seconds(shown, [pulled("another pod", words)]) is None


def test_the_first_container_s_image_counts() -> None:
    shown = view("chief")
    events = [
        pulled(shown.uid, "Container image x already present", second=60),
        pulled(shown.uid, "Successfully pulled image x in 4s", second=5),
    ]
    assert image_seconds(shown, events) == 4


def test_a_pod_that_never_was() -> None:
    found = timeline(BEGIN, None, None, [], BEGIN + 20, stats.ENDS)
    assert {name: length for name, length in found.phases.items() if length} == {"created": 20}
    pending, _notes = phases({}, image=None, pod={"bound": None})
    assert pending == {"created": 0.5, "scheduled": 29}


@pytest.mark.parametrize(
    ("more", "notes"),
    [
        ({"created": BEGIN + 1.9}, ()),
        (
            {"created": BEGIN + 5},
            (
                "created ended 4.000 s before it began: the clocks differ",
                "scheduled ended 3.000 s before it began: the clocks differ",
            ),
        ),
        ({"end": BEGIN + 25.5}, ()),
        (
            {"end": BEGIN + 22},
            (
                "train ended 2.000 s after the run: the clocks differ",
                "export ended 3.000 s after the run: the clocks differ",
            ),
        ),
    ],
)
def test_a_clock_that_runs_against_another_is_noted(more: dict[str, float], notes: tuple[str, ...]) -> None:
    lengths, told = phases(CHIEF, **more)
    assert told == notes
    assert sum(lengths.values()) == pytest.approx(more.get("end", BEGIN + 30) - more.get("created", BEGIN + 0.5))


MOMENT = st.floats(-100, 100, allow_nan=False)


@given(
    st.dictionaries(st.sampled_from([*stats.ENDS.values(), "failed"]), MOMENT),
    st.tuples(st.integers(-20, 20), st.none() | st.integers(-20, 20)),
    st.none() | st.floats(0, 100),
    st.floats(0, 60),
    st.sampled_from([stats.ENDS, stats.PS_ENDS]),
)
def test_phases_add_up_whatever_the_clocks_say(
    moments: dict[str, float],
    stamps: tuple[int, int | None],
    image: float | None,
    length: float,
    ends: dict[str, str],
) -> None:
    events = on_wall_clock([stretch(dict(sorted(moments.items(), key=lambda pair: pair[1])))])
    shown = view("chief", created=stamps[0], bound=stamps[1])
    found = timeline(BEGIN, shown, image, events, BEGIN + length, ends)
    assert set(found.phases) == set(stats.PHASES)
    assert min(found.phases.values()) >= 0
    assert math.isclose(sum(found.phases.values()), length, abs_tol=1e-5)


def test_a_parameter_server_serves_until_the_end() -> None:
    events = on_wall_clock([Stretch("ps-0", "p", "w1", said("ps", 0, {"started": 6, "imported": 9, "serving": 10}))])
    found = timeline(BEGIN, view("ps"), 0, events, BEGIN + 30, stats.PS_ENDS)
    lengths = {name: length for name, length in found.phases.items() if length}
    assert lengths == {"created": 1, "scheduled": 1, "start": 4, "import": 3, "connect": 1, "exit": 20}


def test_the_axis_is_wall_clock_with_the_steps_of_the_monotonic_one() -> None:
    """A wall clock that is set in the midst of a process changes nothing of what is measured."""
    first, second = said("worker", 0, {"started": 6, "imported": 9})
    jumped = second.__class__(**{**second.__dict__, "wall": second.wall + 3600})
    axis = on_wall_clock([Stretch("worker-0", "p", "w1", [first, jumped]), Stretch("worker-0", "p", "w1", [])])
    assert [event.monotonic - BEGIN for event in axis] == [6, 9]


@pytest.mark.parametrize(
    ("stretches", "seconds", "clock"),
    [
        ([stretch(CHIEF)], 10, "chief monotonic"),
        # Restarted on the same node, the loss of time included.
        ([stretch({"released": 14}), stretch({"released": 20, "target": 24})], 10, "chief monotonic"),
        # A try on another node that never trained is of no account.
        ([stretch({"started": 1}, "w2", 50), stretch(CHIEF)], 10, "chief monotonic"),
        (
            [stretch({"released": 14}, "w1", 1000), stretch({"target": 24}, "w2", 50)],
            10,
            "wall clocks of the nodes that the chief ran on",
        ),
        # The same node, booted anew.
        (
            [stretch({"released": 14}, "w1", 1000), stretch({"target": 24}, "w1", -16)],
            10,
            "wall clocks of the nodes that the chief ran on",
        ),
        ([], None, "chief monotonic"),
    ],
)
def test_training_is_timed_by_one_clock_or_says_by_which(
    stretches: list[Stretch], seconds: float | None, clock: str
) -> None:
    measured = training(stretches, 100, 50)
    assert (measured["seconds"], measured["clock"]) == (seconds, clock)
    assert measured["steps_per_second"] == (seconds and 10)


@pytest.mark.parametrize(
    ("pods", "count"),
    [
        ([], 0),
        ([pod("chief")], 0),
        ([pod("chief", restarts=2)], 2),
        ([pod("chief", uid="a", restarts=1), pod("chief", created=9, uid="b", state=ended(0))], 2),
    ],
)
def test_a_task_is_begun_again_by_its_kubelet_or_in_another_pod(pods: list[dict[str, Any]], count: int) -> None:
    assert restarts(views(topology(), *pods)) == count


def test_clocks_beside_the_controller_s() -> None:
    renewals = {"w1": [2.0, 2.25, 2.2, 1.0], "w2": [-0.5]}
    assert skew(["w2", "w1", "w3"], renewals, readable=True) == [
        Skew("w1", 2.25, pytest.approx(0.15), 4),
        Skew("w2", -0.5, 0.05, 1),
        Skew("w3", None, None, 0, "no sign of life came during the run"),
    ]
    (hidden,) = skew(["w1"], {}, readable=False)
    assert hidden.as_dict() == {
        "name": "w1", "ahead_seconds": None, "uncertainty_seconds": None, "samples": 0,
        "reason": "leases may not be read",
    }  # fmt: skip


@given(st.floats(-5, 5), st.lists(st.floats(0, 3), min_size=1, max_size=50))
def test_a_node_is_never_said_to_be_further_ahead_than_it_is(ahead: float, delays: list[float]) -> None:
    """News come late, never early: the quickest is the best, and the truth is not below it."""
    (found,) = skew(["w1"], {"w1": [ahead - delay for delay in delays]}, readable=True)
    assert found.ahead_seconds is not None
    assert found.ahead_seconds <= ahead
    assert found.ahead_seconds == ahead - min(delays)
