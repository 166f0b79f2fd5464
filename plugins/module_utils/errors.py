# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong, as values: a problem with an input, and a failure of an action.

This module util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        field: dotted name of the input, as the user wrote it (``workers.replicas``).
        value: what was found.
        accepted: the accepted form, in words.
    """

    field: str
    value: object
    accepted: str

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> Problem:
        """Read a problem that travelled between hosts."""
        return cls(str(document["field"]), document["value"], str(document["accepted"]))

    def __str__(self) -> str:
        return f"{self.field}: {self.value!r} is not valid, accepted: {self.accepted}"


class InvalidInput(Exception):
    """Every problem of one input, reported together before anything is changed."""

    def __init__(self, subject: str, problems: list[Problem]) -> None:
        self.subject = subject
        self.problems = problems
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = ["{}: {} problem{}".format(self.subject, len(self.problems), "s" if len(self.problems) > 1 else "")]
        return "\n".join(lines + ["  - " + str(problem) for problem in self.problems])

    def as_failure(self) -> dict[str, object]:
        """Return the machine-readable part of the error: ``{code, problems}``."""
        return {"code": "invalid_input", "problems": [asdict(problem) for problem in self.problems]}


class ActionFailed(Exception):
    """An action on the world did not succeed.

    Args:
        code: short stable word a playbook can branch on.
        message: what failed, on which object, what was seen, what to do.
        details: anything more that a reader may need.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        self.code = code
        self.message = message
        self.details = details
        super().__init__(message)

    def as_failure(self) -> dict[str, object]:
        """Return the machine-readable part of the error: ``{code, message, details}``."""
        return {"code": self.code, "message": self.message, "details": self.details}
