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
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .errors import InvalidInput, Problem
from .reader import Reader
from .spec import NAME_PATTERN, Topology

#: Words that say what is trained and by how many, in the order tables show them.
CELL_WORDS: dict[str, tuple[str, ...]] = {
    "workers": ("workers", "replicas"),
    "ps": ("ps", "replicas"),
    # How many machines: the first ones of the hosts, or of a cluster's nodes.
    "nodes": (),
    "runtime": ("runtime",),
    "backend": ("kubernetes", "backend"),
    "profile": ("training", "profile"),
    "sync": ("training", "sync"),
    "replicas_to_aggregate": ("training", "replicas_to_aggregate"),
    "communication_interval": ("training", "communication_interval"),
    "hidden_units": ("training", "hidden_units"),
    "batch_size": ("training", "batch_size"),
    "learning_rate": ("training", "learning_rate"),
    "steps": ("training", "steps"),
    "seed": ("training", "seed"),
    "evaluation_interval": ("training", "evaluation_interval"),
    "summary_interval": ("training", "summary_interval"),
}
#: Words about the whole, which make no cell.
OTHER_WORDS = ("name", "repeats")
WORDS = (*CELL_WORDS, *OTHER_WORDS)

#: Words that are a number of machines or tasks, and mean nothing without others that a value cannot be checked with.
_COUNTS = ("nodes", "replicas_to_aggregate")

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
    "nodes": ["words"],
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
    problems.extend(Problem(word, given[word], "at least one value") for word, found in axes.items() if not found)
    runtimes = axes.get("runtime") or [base.get("runtime", "process")]
    if "backend" in given and runtimes == ["process"]:
        problems.append(Problem("backend", given["backend"], "nothing: runtime process has no backend"))
    cells = _combinations(axes, str(runtimes[0]))
    if not problems:
        problems.extend(_cell_problems(cells, base))
    return Request(cells, repeats), problems


def _combinations(axes: Mapping[str, Sequence[object]], runtime: str) -> tuple[dict[str, object], ...]:
    """Return every combination of the words' values, once: what has no meaning for a cell's runtime is left out."""
    cells: list[dict[str, object]] = []
    for combination in itertools.product(*axes.values()):
        cell = dict(zip(axes, combination))
        if cell.get("runtime", runtime) == "process":
            cell.pop("backend", None)
        if cell not in cells:
            cells.append(cell)
    return tuple(cells)


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

    The parameters may hold what either runtime needs; what the chosen one has no use for is left out. Beside a
    topology's own they may have ``nodes``, the names of a cluster's nodes in the order in which the word of the same
    name takes them.
    """
    merged: dict[str, object] = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in params.items()
    }
    names = merged.pop("nodes", ())
    for word, path in CELL_WORDS.items():
        if words.get(word) is None or not path:
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
    if words.get("nodes") is not None:
        _limit_machines(merged, int(str(words["nodes"])), names if isinstance(names, Sequence) else ())
    return merged


def _limit_machines(merged: dict[str, object], count: int, names: Sequence[object]) -> None:
    """Leave the first machines only, of hosts or of a cluster's nodes."""
    if merged.get("runtime", "process") == "process":
        hosts = merged.get("hosts")
        merged["hosts"] = list(hosts)[:count] if isinstance(hosts, Sequence) else hosts
        return
    kubernetes = merged.setdefault("kubernetes", {})
    if isinstance(kubernetes, dict) and names:
        kubernetes["placement"] = {"strategy": "nodes", "nodes": list(names[:count])}


def machines(params: Mapping[str, object], words: Mapping[str, object]) -> int:
    """Return how many machines the word ``nodes`` can have at most for a cell."""
    runtime = words.get("runtime") or params.get("runtime", "process")
    found = params.get("hosts" if runtime == "process" else "nodes")
    return len(found) if isinstance(found, Sequence) else 0


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
        cell[word] = value if path else _machines_of(topology)
    return cell


def _machines_of(topology: Topology) -> int | None:
    """Return how many machines a topology is bound to; ``None`` where the scheduler may take any node."""
    if topology.kubernetes is None:
        return len(topology.hosts)
    return len(topology.kubernetes.placement.nodes) or None


def sortable(value: object) -> tuple[int, float, str]:
    """Return what a word's values can be put in order by: nothing, then numbers by their size, then texts."""
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if isinstance(value, (int, float)) else (2, 0.0, str(value))


def identity(spec: Mapping[str, object]) -> str:
    """Return what two runs share that measured the same: tasks, machines, training; whatever their names and labels.

    Args:
        spec: a topology as its ``as_dict`` gives it, in a plan or in a run document.
    """

    def part(name: str, *keys: str) -> dict[str, object]:
        group = spec.get(name)
        return {key: group.get(key) for key in keys} if isinstance(group, Mapping) else {}

    same = {
        "hosts": spec.get("hosts"),
        "runtime": spec.get("runtime"),
        "training": spec.get("training"),
        "ps": part("ps", "replicas", "resources"),
        "workers": part("workers", "replicas", "gpus", "resources"),
        "kubernetes": part("kubernetes", "backend", "placement", "node_selector", "runtime_class", "pod_patch"),
    }
    return json.dumps(same, sort_keys=True)


def _value_problems(word: str, candidates: Sequence[object]) -> list[Problem]:
    """Return what is wrong with each value of a word alone."""
    problems: list[Problem] = []
    seen: list[object] = []
    if word in _COUNTS:
        reader = Reader()
        counts = [reader.integer(word, value, 1, 1000) for value in candidates]
        twice = [value for place, value in enumerate(candidates) if counts[place] in counts[:place]]
        return reader.problems or [Problem(word, value, "each value once") for value in twice]
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
