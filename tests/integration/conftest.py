"""What every test with real processes needs."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def ports() -> tuple[int, int]:
    """Bases of two ranges of free ports, for parameter servers and for workers."""
    ps, workers = _free_ports(2, spread=20)
    return ps, workers


def _free_ports(count: int, spread: int) -> list[int]:
    """Return bases of port ranges below the ephemeral ones, at each of which the next ``spread`` ports are free."""
    bases: list[int] = []
    for base in range(21000, 32000, spread):
        if all(_free(port) for port in range(base, base + spread)):
            bases.append(base)
        if len(bases) == count:
            return bases
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
