"""Lets the tests import the trainer from the checkout, as a task's ``PYTHONPATH`` does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

sys.path[:0] = [str(REPOSITORY / "trainer"), str(Path(__file__).parent)]


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks of these tests."""
    config.addinivalue_line("markers", "network: needs a package registry; left out with -m 'not network'")
