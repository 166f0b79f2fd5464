"""What every test with real processes needs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

#: Ports of one range; the first is the claim.
SPREAD = 20


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Bases of two ranges of ports, for parameter servers and for workers, that no other suite takes meanwhile."""
    with ExitStack() as claims:
        ps, workers = _claimed(claims), _claimed(claims)
        yield ps, workers


def _claimed(claims: ExitStack) -> int:
    """Return the base of a free range below the ephemeral ports, which is claimed by its first port until the end."""
    for claim in range(21000, 32000, SPREAD):
        if all(_free(port) for port in range(claim + 1, claim + SPREAD)):
            guard = claims.enter_context(socket.socket())
            try:
                guard.bind(("127.0.0.1", claim))
            except OSError:
                continue
            return claim + 1
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
