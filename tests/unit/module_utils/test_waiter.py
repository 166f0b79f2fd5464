"""Waiting is looking, judging and a clock; here the clock only moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.waiter import Clock, Outcome, wait


class FakeClock:
    """A clock that is moved by sleeping, and by nothing else."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def as_clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


@pytest.mark.parametrize(
    ("true_at_look", "interval", "timeout", "satisfied", "slept"),
    [
        (1, 5, None, True, []),  # true at once: nobody sleeps
        (1, 5, 0, True, []),
        (3, 5, None, True, [5, 5]),
        (3, 5, 60, True, [5, 5]),
        (9, 5, 12, False, [5, 5, 2]),  # the last look is at the timeout, not after it
        (4, 5, 12, True, [5, 5, 2]),  # and it counts
        (9, 5, 0, False, []),  # no time to wait is still one look
        (9, 30, 12, False, [12]),
    ],
)
def test_how_long_is_waited(
    true_at_look: int, interval: float, timeout: float | None, satisfied: bool, slept: list[float]
) -> None:
    clock = FakeClock()
    looks: Iterator[int] = iter(range(1, 100))
    outcome = wait(
        lambda: next(looks),
        lambda look: look >= true_at_look,
        interval=interval,
        timeout=timeout,
        clock=clock.as_clock(),
    )
    assert clock.slept == slept
    assert outcome == Outcome(seen=len(slept) + 1, elapsed=sum(slept), satisfied=satisfied)


def test_a_slow_look_counts_as_waiting() -> None:
    clock = FakeClock()

    def slow_look() -> str:
        clock.now += 7
        return "not yet"

    outcome = wait(slow_look, lambda _seen: False, interval=5, timeout=10, clock=clock.as_clock())
    assert clock.slept == [3]
    assert outcome == Outcome(seen="not yet", elapsed=17, satisfied=False)


def test_what_a_look_raises_is_not_swallowed() -> None:
    def look() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        wait(look, lambda _seen: True, interval=1, clock=FakeClock().as_clock())
