"""Where a playbook's time went: every second belongs to one role."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.phase_times import Clocked, Phase, phases, table


def test_a_task_lasts_until_the_next_begins() -> None:
    clocked = [Clocked("a", "one", 10.0), Clocked("a", "two", 11.0), Clocked("b", "three", 14.0)]
    assert phases(clocked, 15.5) == [Phase("a", 4.0, "two", 3.0), Phase("b", 1.5, "three", 1.5)]


def test_a_role_that_is_run_twice_is_one_line() -> None:
    clocked = [Clocked("a", "one", 0.0), Clocked("b", "two", 1.0), Clocked("a", "one", 3.0)]
    assert [(phase.role, phase.seconds) for phase in phases(clocked, 7.0)] == [("a", 5.0), ("b", 2.0)]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1000)), min_size=1),
    st.integers(0, 1000),
)
def test_no_second_is_lost(steps: list[tuple[str, int]], last: int) -> None:
    now, clocked = 0, []
    for role, seconds in steps:
        clocked.append(Clocked(role, "task", float(now)))
        now += seconds
    assert sum(phase.seconds for phase in phases(clocked, float(now + last))) == pytest.approx(now + last)


def test_the_table_ends_with_the_sum() -> None:
    lines = table([Clocked("containerd", "Run containerd", 0.0), Clocked("cni", "Wait", 2.0)], 3.5, 1.0)
    assert lines == [
        "",
        "role        seconds  longest task",
        "containerd      2.0  Run containerd (2.0)",
        "cni             1.5  Wait (1.5)",
        "all             3.5",
    ]


@pytest.mark.parametrize("clocked", [[], [Clocked("a", "one", 0.0)]])
def test_what_took_no_time_is_not_worth_a_table(clocked: list[Clocked]) -> None:
    assert table(clocked, 0.5, 1.0) == []
