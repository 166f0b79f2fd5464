# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading somebody else's manifest so that nothing is lost unsaid: what was taken is carried over, the rest is listed.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from .errors import Problem


@dataclass(frozen=True)
class NotCarriedOver:
    """Something of a manifest that has no place in a topology.

    Attributes:
        path: where it stands, as ``KIND/NAME: dotted.path``.
        value: what stands there.
        why: why it was left behind, or what to do instead.
    """

    path: str
    value: object
    why: str

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


class ManifestReader:
    """One mapping of a manifest.

    What is asked for is taken out, and converted or noted as a problem. :meth:`rest` is what nobody asked for.
    """

    def __init__(self, value: object, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self._children: list[ManifestReader] = []
        self._rest: dict[str, object] = {}
        if isinstance(value, Mapping):
            self._rest = {str(name): entry for name, entry in value.items() if entry is not None}
        elif value is not None:
            self.problem("", value, "a mapping")

    def problem(self, name: str, value: object, accepted: str) -> None:
        """Note what keeps the manifest from being read at all."""
        self.problems.append(Problem(self.where(name), value, accepted))

    def where(self, name: str) -> str:
        """Return the path of an entry."""
        if not name:
            return self.path
        return self.path + (" " if self.path.endswith(":") else ".") + name

    def has(self, name: str) -> bool:
        """Say whether an entry is there and was not taken."""
        return name in self._rest

    def take(self, name: str) -> object:
        """Return an entry as it is, or ``None``."""
        return self._rest.pop(name, None)

    def text(self, name: str) -> str:
        """Return an entry that is a text; empty if it is not there."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            self.problem(name, value, "a text")
        return value if isinstance(value, str) else ""

    def integer(self, name: str) -> int | None:
        """Return an entry that is a whole number."""
        value = self.take(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.problem(name, value, "a whole number")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def texts(self, name: str) -> list[str]:
        """Return an entry that is a list of texts; numbers and truth values in it count as their text."""
        return [str(entry) for entry in self._sequence(name)]

    def mapping(self, name: str) -> dict[str, object]:
        """Return an entry that is a mapping, all of it."""
        value = self.take(name)
        if value is not None and not isinstance(value, Mapping):
            self.problem(name, value, "a mapping")
        return {str(key): entry for key, entry in value.items()} if isinstance(value, Mapping) else {}

    def child(self, name: str) -> ManifestReader:
        """Return a reader of an entry that is a mapping; of an empty one if it is not there."""
        reader = ManifestReader(self.take(name), self.where(name), self.problems)
        self._children.append(reader)
        return reader

    def children(self, name: str, key: str) -> list[ManifestReader]:
        """Return readers of an entry that is a list of mappings, each known by ``key``."""
        found = []
        for position, entry in enumerate(self._sequence(name)):
            known = entry.get(key) if isinstance(entry, Mapping) else None
            path = f"{self.where(name)}[{position if known is None else known}]"
            found.append(ManifestReader(entry, path, self.problems))
        self._children.extend(found)
        return found

    def opened(self) -> Sequence[ManifestReader]:
        """Return the readers that were made of entries so far."""
        return self._children

    def names(self) -> list[str]:
        """Return the names of the entries that were not taken."""
        return list(self._rest)

    def whole(self) -> dict[str, object]:
        """Return everything that was not taken, and take it."""
        found, self._rest = self._rest, {}
        return found

    def rest(self, reasons: Sequence[tuple[str, str]]) -> Iterator[NotCarriedOver]:
        """Yield what was not taken, here and below, each with the first reason whose pattern is found in its path."""
        for name, value in self._rest.items():
            if value in ("", {}, []):
                continue
            path = self.where(name)
            why = next((reason for pattern, reason in reasons if re.search(pattern, path)), reasons[-1][1])
            yield NotCarriedOver(path, value, why)
        for child in self._children:
            yield from child.rest(reasons)

    def _sequence(self, name: str) -> Sequence[object]:
        value = self.take(name)
        if value is not None and not isinstance(value, (list, tuple)):
            self.problem(name, value, "a list")
        return value if isinstance(value, (list, tuple)) else ()
