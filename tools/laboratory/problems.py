"""What ends a command of the laboratory, in words for who gave it."""

from __future__ import annotations

from collections.abc import Iterable


class LabProblem(Exception):
    """One reason or several, all that are known at once, why a command cannot do what was asked.

    Attributes:
        reasons: one line each, naming what was wrong and what would do.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


def refuse(reasons: Iterable[str]) -> None:
    """Raise ``LabProblem`` if there is any reason."""
    found = list(reasons)
    if found:
        raise LabProblem(*found)
