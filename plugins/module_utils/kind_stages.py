# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a Kind cluster is, in a line for people, and how long each stage took.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .cluster_status import Waiting, node_cause, pod_cause

#: What kind prints where there is no terminal: one line when a stage begins, and one when it is over.
_BEGINS = re.compile(r"^ [^\w\s] (?P<name>\w.*?)\s*\.\.\.$", re.ASCII)
_PARENTHESES = re.compile(r"\s*\([^)]*\)")
#: More than that is no line any more.
_LONGEST = 110


def told_in(path: str | None) -> Callable[[str], None]:
    """Return what writes each line into a file; that nobody may be able to read or write it does no harm."""
    if not path:
        return lambda _text: None
    target = Path(path)

    def tell(text: str) -> None:
        with suppress(OSError), target.open("a", encoding="utf-8") as stream:
            stream.write(text.replace("\n", " ") + "\n")

    return tell


class Stages:
    """The stages of one task, in order.

    Args:
        tell: is given a line for people whenever there is something new.
        monotonic: the clock.
    """

    def __init__(
        self, tell: Callable[[str], None] = lambda _text: None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._monotonic = monotonic
        self._begun = 0.0
        self.name = ""
        self._taken: list[tuple[str, float]] = []

    def begin(self, name: str) -> None:
        """Enter a stage, and leave the one before."""
        self.end()
        self.name, self._begun = name, self._monotonic()
        self._tell(name)

    def detail(self, text: str) -> None:
        """Say more of the stage that it is in."""
        line = f"{self.name}: {text}"
        self._tell(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")

    def heard(self, line: str) -> None:
        """Take a line of kind's: it may begin a stage."""
        name = stage(line)
        if name:
            self.begin(name)

    def end(self) -> None:
        """Leave the stage."""
        if self.name:
            self._taken.append((self.name, self._monotonic() - self._begun))
        self.name = ""

    def taken(self) -> list[dict[str, Any]]:
        """Return each stage that is over, with its seconds."""
        return [{"name": name, "seconds": round(seconds, 1)} for name, seconds in self._taken]


def stage(line: str) -> str:
    """Return the stage that a line of kind's begins; empty if it is another line."""
    # Its pictures say nothing that its words do not.
    plain = line.replace("•", "-").encode("ascii", "ignore").decode("ascii").rstrip()
    match = _BEGINS.match(plain)
    return _PARENTHESES.sub("", match["name"]).strip() if match else ""


def readiness(
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    expected: Sequence[str],
    waiting: Sequence[Waiting],
) -> str:
    """Return how many of the nodes and system pods are ready, and the first of what is waited for."""
    pods = list(pods)
    by_name = {node["metadata"]["name"]: node for node in nodes}
    ready = sum(1 for name in expected if name in by_name and not node_cause(by_name[name]))
    running = sum(1 for pod in pods if pod_cause(pod) is None)
    first = f"; {waiting[0]}" if waiting else ""
    return f"{ready} of {len(expected)} nodes, {running} of {len(pods)} system pods{first}"


def sent(size: int, positions: Mapping[int, int], over: int, nodes: int) -> str:
    """Return how much of an archive nodes were given.

    Args:
        size: its bytes.
        positions: what was read of it by each reader that is at it.
        over: how many readers are done.
        nodes: how many nodes are given it.
    """
    read = sum(min(position, size) for position in positions.values()) + min(over, nodes) * size
    share = min(read / (size * nodes), 1.0) if size and nodes else 0.0
    return f"{share:.0%} of {size / 1e6:,.0f} MB" + (f" to each of {nodes} nodes" if nodes > 1 else "")


def summary(stages: Sequence[Mapping[str, Any]], least: float = 0.5) -> str:
    """Return how long it took, and which stages took longest."""
    whole = sum(float(entry["seconds"]) for entry in stages)
    told = [f"{entry['name']} {entry['seconds']:.0f} s" for entry in stages if entry["seconds"] >= least]
    return f"{whole:.0f} s" + (": " + ", ".join(told) if told else "")
