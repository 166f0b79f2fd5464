# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of the command line, and the grid of cells a sweep over them makes.

A word is what a user types behind ``-e``: ``workers=8``. This is the one place that says which words exist and which
field of a topology each of them is.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .errors import InvalidInput, Problem
from .reader import Reader
from .spec import NAME_PATTERN, Topology

#: Words that say what is trained and by how many, in the order tables show them.
CELL_WORDS: dict[str, tuple[str, ...]] = {
    "workers": ("workers", "replicas"),
    "ps": ("ps", "replicas"),
    "runtime": ("runtime",),
    "backend": ("kubernetes", "backend"),
    "profile": ("training", "profile"),
    "sync": ("training", "sync"),
    "communication_interval": ("training", "communication_interval"),
    "hidden_units": ("training", "hidden_units"),
    "batch_size": ("training", "batch_size"),
    "learning_rate": ("training", "learning_rate"),
    "steps": ("training", "steps"),
}
#: Words about the whole, which make no cell.
OTHER_WORDS = ("name", "repeats")
WORDS = (*CELL_WORDS, *OTHER_WORDS)

#: What only one runtime has; the other's part of the parameters is left out.
_ONLY: dict[str, tuple[tuple[str, ...], ...]] = {
    "process": (("hosts",), ("python",), ("root",), ("data_dir",), ("lifecycle", "lease_seconds")),
    "kubernetes": (("kubernetes",), ("ps", "resources"), ("workers", "resources")),
}

#: Stands for what the playbooks fill in later, while only words are checked.
_PLACEHOLDER: dict[str, object] = {
    "name": "words",
    "hosts": [{"name": "localhost", "address": "127.0.0.1"}],
    "python": "/",
    "data_dir": "/",
    "root": "/",
    "kubernetes": {"image": "words"},
}


@dataclass(frozen=True)
class Request:
    """What a command line asks for, checked.

    Attributes:
        cells: one mapping of cell words to values for each topology to measure; words that were not given are absent.
        repeats: runs of each cell.
    """

    cells: tuple[Mapping[str, object], ...]
    repeats: int


def read_words(
    words: Mapping[str, object], base: Mapping[str, object], *, sweep: bool
) -> tuple[Request, list[Problem]]:
    """Check the words of a command line.

    Args:
        words: word to value as given; ``None`` is a word that was not given.
        base: the topology the words are laid over, as ``Topology.from_params`` takes it; may be incomplete.
        sweep: whether a word may hold several values (``1,2,4``).

    Returns:
        what is asked for and every problem found; the first is only of use when there is none of the second.
    """
    given = {name: value for name, value in words.items() if value is not None}
    problems = unknown_words(given, WORDS)
    reader = Reader()
    if "name" in given:
        reader.text("name", given["name"], NAME_PATTERN, "1 to 40 lower-case letters, digits and inner hyphens", "x")
    repeats = reader.integer("repeats", given.get("repeats", 1), 1, 1000)
    problems.extend(reader.problems)
    axes: dict[str, list[object]] = {}
    for word in CELL_WORDS:
        if word in given:
            axes[word] = values(given[word]) if sweep else [given[word]]
            problems.extend(_value_problems(word, axes[word]))
    cells = tuple(dict(zip(axes, combination)) for combination in itertools.product(*axes.values()))
    runtimes = axes.get("runtime", [base.get("runtime", "process")])
    if len(runtimes) > 1:
        problems.append(Problem("runtime", given["runtime"], "one at a time: processes and pods are measured in turn"))
    if "backend" in given and runtimes == ["process"]:
        problems.append(Problem("backend", given["backend"], "nothing: runtime process has no backend"))
    if not problems:
        problems.extend(_cell_problems(cells, base))
    return Request(cells, repeats), problems


def values(given: object) -> list[object]:
    """Return a word's values: a list as it is, text cut at its commas, anything else alone."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",")]
    if isinstance(given, Sequence):
        return list(given)
    return [given]


def unknown_words(given: Mapping[str, object], known: Iterable[str]) -> list[Problem]:
    """Return a problem for each name that is not known, with the nearest known one."""
    names = sorted(known)
    problems = []
    for name, value in given.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "the words are " + ", ".join(WORDS)
            problems.append(Problem(name, value, "no word of this name; " + hint))
    return problems


def with_words(params: Mapping[str, object], words: Mapping[str, object]) -> dict[str, object]:
    """Return a topology's parameters with words laid over them; a word that is ``None`` changes nothing.

    The parameters may hold what either runtime needs; what the chosen one has no use for is left out.
    """
    merged: dict[str, object] = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in params.items()
    }
    for word, path in CELL_WORDS.items():
        if words.get(word) is None:
            continue
        place: dict[str, object] = merged
        for key in path[:-1]:
            place = place.setdefault(key, {})  # type: ignore[assignment]
        place[path[-1]] = words[word]
    for path in _ONLY["kubernetes" if merged.get("runtime", "process") == "process" else "process"]:
        place = merged
        for key in path[:-1]:
            place = place.get(key, {})  # type: ignore[assignment]
        if isinstance(place, dict):
            place.pop(path[-1], None)
    return merged


def cell_of(topology: Topology) -> dict[str, object]:
    """Return every cell word's value in a topology: what makes two runs repeats of one another.

    A word that means nothing to the topology's runtime is ``None``.
    """
    document = topology.as_dict()
    cell = {}
    for word, path in CELL_WORDS.items():
        value: object = document
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        cell[word] = value
    return cell


def _value_problems(word: str, candidates: Sequence[object]) -> list[Problem]:
    """Return what is wrong with each value of a word alone."""
    problems: list[Problem] = []
    seen: list[object] = []
    # A word that only one runtime has is read with that one, whichever was asked for.
    around = {"runtime": "kubernetes"} if CELL_WORDS[word][0] == "kubernetes" else {}
    for value in candidates:
        try:
            meant = cell_of(Topology.from_params(with_words(_PLACEHOLDER, {**around, word: value})))[word]
        except InvalidInput as error:
            field = ".".join(CELL_WORDS[word])
            problems.extend(
                Problem(word, value, problem.accepted) for problem in error.problems if problem.field == field
            )
            continue
        if meant in seen:
            problems.append(Problem(word, value, "each value once"))
        seen.append(meant)
    return problems


def _cell_problems(cells: Sequence[Mapping[str, object]], base: Mapping[str, object]) -> list[Problem]:
    """Return what is wrong with a combination of words, and with what they are laid over; each problem once."""
    problems: list[Problem] = []
    for cell in cells:
        try:
            Topology.from_params(with_words({**_PLACEHOLDER, **base}, cell))
        except InvalidInput as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
    return problems
