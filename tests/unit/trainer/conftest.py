"""Lets the tests import the trainer from the checkout, as a task's ``PYTHONPATH`` does."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

sys.path[:0] = [str(REPOSITORY / "trainer"), str(Path(__file__).parent)]
