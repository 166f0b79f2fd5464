"""The exit codes of a task: what its supervisor may conclude, and nothing more."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
"""The task did its part: a worker saw the target reached, a ps served until the last worker left."""

BAD_INPUT: Final = 64
"""A flag or an environment variable is wrong. Starting again with the same input cannot help."""

DATA: Final = 66
"""The data set, or a checkpoint, is missing, damaged or another's. Starting again cannot help."""

PEER_LOST: Final = 75
"""Another task went away, or never came. Start this one again: it resumes."""

STOPPED: Final = 143
"""Stopped by SIGTERM, after the chief wrote its checkpoint."""
