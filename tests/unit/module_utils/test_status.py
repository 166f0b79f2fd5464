"""Live state to phase and cause."""

from __future__ import annotations

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.status import (
    PHASES,
    HostState,
    host_phase,
    overall_cause,
    overall_phase,
    tasks_up,
)


@pytest.mark.parametrize(
    ("status", "alive", "phase"),
    [
        (None, True, "running"),
        (None, False, "lost"),
        ({"finished": False, "state": "running"}, True, "running"),
        ({"finished": False, "state": "stopping"}, True, "stopping"),
        ({"finished": False, "state": "running"}, False, "lost"),
        ({"finished": True, "state": "succeeded"}, False, "succeeded"),
        ({"finished": True, "state": "failed"}, False, "failed"),
        ({"finished": True, "state": "stopped"}, True, "stopped"),
    ],
)
def test_one_host(status: dict[str, object] | None, alive: bool, phase: str) -> None:
    assert host_phase(status, alive) == phase


@pytest.mark.parametrize(
    ("phases", "overall"),
    [
        *((phase, phase) for phase in PHASES),
        ("", "absent"),
        ("absent absent", "absent"),
        ("running running", "running"),
        ("succeeded running", "running"),
        ("succeeded succeeded", "succeeded"),
        ("succeeded absent", "lost"),
        ("absent running", "lost"),
        ("absent stopped", "lost"),
        ("running lost", "lost"),
        ("running stopping", "stopping"),
        ("stopping succeeded", "stopping"),
        ("running stopped", "stopped"),
        ("stopping stopped", "stopped"),
        ("stopped succeeded", "stopped"),
        ("stopped lost", "lost"),
        ("stopping lost", "lost"),
        ("running failed", "failed"),
        ("stopped failed", "failed"),
        ("absent failed", "failed"),
        ("lost failed", "failed"),
    ],
)
def test_all_hosts_are_as_far_as_the_worst(phases: str, overall: str) -> None:
    assert overall_phase([HostState(host="h", name="t", phase=phase) for phase in phases.split()]) == overall


@pytest.mark.parametrize(
    ("phases", "overall"),
    [("running running", "lost"), ("succeeded succeeded", "lost"), ("succeeded stopped", "lost"),
     ("running failed", "failed")],
)  # fmt: skip
def test_hosts_that_are_at_different_runs_are_not_at_one(phases: str, overall: str) -> None:
    states = [
        HostState(host=f"h{number}", name="t", phase=phase, run_id=f"r{number}")
        for number, phase in enumerate(phases.split())
    ]
    assert overall_phase(states) == overall


def test_a_failure_is_told_before_a_stop_that_followed_from_it() -> None:
    stopped = HostState(host="a", name="t", phase="stopped", cause={"reason": "stopped"})
    failed = HostState(host="b", name="t", phase="failed", cause={"reason": "exit_3"})
    lost = HostState(host="c", name="t", phase="lost")
    assert overall_cause([stopped, failed]) == {"reason": "exit_3"}
    assert overall_cause([stopped]) == {"reason": "stopped"}
    gone = {"reason": "supervisor_lost", "task": None, "message": "the supervisor on c is gone"}
    assert overall_cause([lost]) == overall_cause([HostState(host="b", name="t", phase="running"), lost]) == gone
    assert overall_cause([lost, stopped]) == {"reason": "stopped"}
    assert overall_cause([HostState(host="a", name="t")]) is None


def test_a_state_travels_as_plain_values() -> None:
    state = HostState(host="a", name="t", phase="running", tasks=({"state": "running"}, {"state": "backoff"}))
    assert HostState.from_dict({**state.as_dict(), "from a later version": 1}) == state
    nothing = HostState.from_dict({"host": "a", "name": "t"})
    assert (nothing.phase, nothing.candidate_run_id, nothing.candidate_created) == ("absent", "", 0.0)


@pytest.mark.parametrize(
    ("states", "up"), [("", 0), ("running", 1), ("running backoff running", 2), ("waiting done failed stopped", 0)]
)
def test_only_what_runs_is_up(states: str, up: int) -> None:
    assert tasks_up([{"state": state} for state in states.split()]) == up
