# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading values that a user wrote: what has one meaning is converted, what has none is noted as a problem.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from .errors import Problem


class Reader:
    """Converts raw values, noting a problem instead of raising."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, name: str, value: object, accepted: str) -> None:
        """Note that a value is not accepted."""
        self.problems.append(Problem(name, value, accepted))

    def text(self, name: str, value: object, pattern: str, accepted: str, default: str) -> str:
        """Return a string that matches a pattern, else the default."""
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        self.problem(name, value, accepted)
        return default

    def choice(self, name: str, value: object, choices: Sequence[str]) -> str:
        """Return one of the choices, the first if it is none of them."""
        if isinstance(value, str) and value in choices:
            return value
        self.problem(name, value, "one of " + ", ".join(choices))
        return choices[0]

    def integer(self, name: str, value: object, minimum: int, maximum: int) -> int:
        """Return a whole number between bounds; text that is one counts."""
        accepted = f"a whole number from {minimum} to {maximum}"
        number = value
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            number = int(value)
        if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
            self.problem(name, value, accepted)
            return minimum
        return number

    def number(self, name: str, value: object, minimum: float, maximum: float, above: bool = False) -> float:
        """Return a finite number between bounds; text that is one counts."""
        accepted = "a number {} {:g} and at most {:g}".format("above" if above else "from", minimum, maximum)
        number: float | None = None
        if not isinstance(value, bool) and isinstance(value, (int, float, str)):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                number = None
        # NaN compares false with everything, so it fails here as it should
        if number is None or not minimum <= number <= maximum or (above and number == minimum):
            self.problem(name, value, accepted)
            return maximum
        return number

    def boolean(self, name: str, value: object) -> bool:
        """Return a truth value; the usual words for one count."""
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() in words and not isinstance(value, float):
            return words[str(value).lower()]
        self.problem(name, value, "true or false")
        return False

    def texts(self, name: str, value: object, pattern: str, accepted: str) -> tuple[str, ...]:
        """Return a list of strings that each match a pattern."""
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.problem(name, value, f"a list of {accepted}")
            return ()
        return tuple(
            self.text(f"{name}[{position}]", entry, pattern, accepted, "invalid")
            for position, entry in enumerate(value)
        )

    def labels(self, name: str, value: object) -> dict[str, str]:
        """Return a mapping of strings to strings."""
        if not isinstance(value, Mapping):
            self.problem(name, value, "a mapping of labels to their values")
            return {}
        for key, entry in value.items():
            if not isinstance(entry, str):
                self.problem(f"{name}.{key}", entry, "a text (in quotes, where YAML reads a number or a truth value)")
        return {str(key): str(entry) for key, entry in value.items()}

    def free(self, name: str, value: object) -> Mapping[str, object]:
        """Return a mapping whose content is Kubernetes' to judge."""
        if isinstance(value, Mapping):
            return value
        self.problem(name, value, "a mapping")
        return {}

    def mapping(self, name: str, value: object, known: Sequence[str]) -> Mapping[str, object]:
        """Return a mapping's entries that are given, noting those that are not known."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.problem(name, value, "a mapping with " + ", ".join(known))
            return {}
        for key in value:
            if key not in known:
                self.problem(f"{name}.{key}" if name else str(key), value[key], "a field among " + ", ".join(known))
        return {str(key): entry for key, entry in value.items() if entry is not None}
