# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The four experiments of the thesis that this project began with, as data, and the part of them that a site measures.

S. Krasuski, "Learning performance study based on distributed Kubernetes platform", Warsaw University of Technology,
2020.
What stands here is what it did; what it read from its charts is in ``thesis_claims.py``. Pure.

This plugin util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..module_utils.errors import InvalidInput, Problem
from ..module_utils.grid import CELL_WORDS, values

#: Words that have several values in an experiment; every other one has one.
AXES = ("workers", "ps", "nodes")
#: What each experiment trains with, whatever the machine.
SHARED: dict[str, object] = {"profile": "thesis", "batch_size": 20, "learning_rate": 0.001}


@dataclass(frozen=True)
class Experiment:
    """A series of the thesis on one of its machines.

    Attributes:
        name: short; its benchmark is called ``<name of the whole>-<this>``.
        title: in words.
        machine: where it ran.
        hardware: what that had.
        varied: ``workers`` or ``ps``, what its charts have on their horizontal axis.
        workers: numbers of workers.
        ps: numbers of parameter servers.
        nodes: numbers of nodes, a line of its chart each.
        steps: global steps.
        hidden_units: of the model.
        pods: what its pods were limited to, in words.
        limits: Kubernetes' limits that our pods get for it.
    """

    name: str
    title: str
    machine: str
    hardware: str
    varied: str
    workers: tuple[int, ...]
    ps: tuple[int, ...]
    nodes: tuple[int, ...]
    steps: int
    hidden_units: int
    pods: str
    limits: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return what the thesis measured, as a plain value."""
        return {
            "workers": list(self.workers),
            "ps": list(self.ps),
            "nodes": list(self.nodes),
            "steps": self.steps,
            "hidden_units": self.hidden_units,
            "batch_size": SHARED["batch_size"],
            "learning_rate": SHARED["learning_rate"],
            "pods": self.pods,
        }


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


_KIND: dict[str, Any] = {
    "machine": "Kind, one laptop",
    "hardware": "8 CPU (i7-8550U), 16 GB; its nodes are containers that share them",
    "nodes": _span(1, 5),
    "steps": 2000,
    "hidden_units": 100,
    "pods": "1 CPU, 256 MB",
    # Not the 256 MB: a task of today's TensorFlow does not start with them.
    "limits": {"cpu": "1"},
}
_GOOGLE: dict[str, Any] = {
    "machine": "Google Cloud",
    "hardware": "4 vCPU, 8 GB and an SSD a node",
    "nodes": _span(2, 6),
    "steps": 200_000,
    "hidden_units": 1000,
    "pods": "not limited",
}

EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("kind-workers", "Workers on one laptop", varied="workers", workers=_span(2, 7), ps=(2,), **_KIND),
    Experiment("kind-ps", "Parameter servers on one laptop", varied="ps", workers=(4,), ps=_span(1, 6), **_KIND),
    Experiment("google-workers", "Workers in a cloud", varied="workers", workers=_span(2, 12), ps=(2,), **_GOOGLE),
    Experiment("google-ps", "Parameter servers in a cloud", varied="ps", workers=(4,), ps=_span(1, 7), **_GOOGLE),
)
NAMES = tuple(experiment.name for experiment in EXPERIMENTS)

#: The grids: what each measures of an experiment, in place of what the thesis did. ``quick`` has the fewest values
#: that the claims can be judged by, and so few steps that a laptop with two cores is done in a few minutes.
GRIDS: dict[str, dict[str, dict[str, object]]] = {
    "full": {name: {"repeats": 5} for name in NAMES},
    "quick": {
        "kind-workers": {"workers": [2, 4, 7], "nodes": [1, 2, 3], "steps": 200, "repeats": 3},
        "kind-ps": {"ps": [1, 6], "nodes": [1, 2, 3], "steps": 200, "repeats": 3},
        "google-workers": {"workers": [2, 6, 8], "nodes": [2, 3], "steps": 80, "repeats": 3},
        "google-ps": {"ps": [1, 7], "nodes": [2, 3], "steps": 80, "repeats": 3},
    },
}


@dataclass(frozen=True)
class Planned:
    """What a site measures of an experiment.

    Attributes:
        experiment: which.
        words: those of the benchmark.
        topology: what its pods are limited to, as the role ``benchmark`` takes it.
        left_out: what is not measured, and why.
    """

    experiment: Experiment
    words: Mapping[str, object]
    topology: Mapping[str, object]
    left_out: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value, with a line for a reader."""
        axes = "; ".join(f"{word} {_listed(self.words[word])}" for word in AXES)
        rest = f"{self.words['steps']} steps, {self.words['hidden_units']} hidden units"
        lines = [f"{self.experiment.name}: {axes}; {rest}; {self.words['repeats']} repeats", *self.left_out]
        return {"words": dict(self.words), "topology": dict(self.topology), "lines": lines}


def planned(grid: str, words: Mapping[str, object], nodes: int = 0, names: Sequence[str] = NAMES) -> dict[str, Planned]:
    """Return what a site measures, by the experiment's name.

    Args:
        grid: ``quick`` or ``full``.
        words: those of the command line, which replace the grid's values; ``None`` is a word that was not given.
            ``workers`` is for the series over workers, ``ps`` for those over parameter servers.
        nodes: how many nodes, or hosts, the site has; 0 is unknown.
        names: which experiments.

    Raises:
        InvalidInput: with every problem.
    """
    given = {word: value for word, value in words.items() if value is not None and word != "name"}
    problems = [] if grid in GRIDS else [Problem("thesis_grid", grid, " or ".join(sorted(GRIDS)))]
    for word, value in given.items():
        if word in CELL_WORDS and word not in AXES and len(values(value)) > 1:
            problems.append(Problem(word, value, "one value: only workers, ps and nodes have several here"))
    problems += [Problem("thesis_series", name, "of " + ", ".join(NAMES)) for name in names if name not in NAMES]
    if problems:
        raise InvalidInput("the thesis's experiments", problems)
    return {
        entry.name: _planned(entry, GRIDS[grid][entry.name], given, nodes)
        for entry in EXPERIMENTS
        if entry.name in names
    }


def _planned(experiment: Experiment, grid: Mapping[str, object], given: Mapping[str, object], nodes: int) -> Planned:
    other = "ps" if experiment.varied == "workers" else "workers"
    words: dict[str, object] = {
        "workers": list(experiment.workers),
        "ps": list(experiment.ps),
        "nodes": list(experiment.nodes),
        "steps": experiment.steps,
        "hidden_units": experiment.hidden_units,
        **SHARED,
        **grid,
        # What the other series varies is one number in this one, and stays the thesis's.
        **{word: value for word, value in given.items() if word != other},
    }
    left_out = []
    if "nodes" not in given and nodes:
        wanted = [int(str(value)) for value in values(words["nodes"])]
        there = f"there {'is 1' if nodes == 1 else f'are {nodes}'}"
        if beyond := [count for count in experiment.nodes if count > nodes]:
            left_out.append(f"nodes {_listed(beyond)}: {there}")
        words["nodes"] = [count for count in wanted if count <= nodes]
        if not words["nodes"]:
            left_out.append(f"nodes {nodes} is measured in place of them, which the thesis has not")
            words["nodes"] = [nodes]
    for word in AXES:
        here = [int(text) for text in map(str, values(words[word])) if text.isdigit()]
        rest = [value for value in getattr(experiment, word) if value not in here]
        if rest := [value for value in rest if word != "nodes" or not nodes or value <= nodes]:
            left_out.append(f"{word} {_listed(rest)}: not of this grid")
    limits = {"resources": {"limits": dict(experiment.limits)}}
    topology = {"ps": limits, "workers": limits} if experiment.limits else {}
    return Planned(experiment, words, topology, tuple(f"  left out: {text}" for text in left_out))


def _listed(found: object) -> str:
    """Return numbers in words, neighbours together: 1-3, 5."""
    given = [str(entry) for entry in (values(found) if isinstance(found, (str, int)) else list(found))]  # type: ignore[call-overload]
    if not all(text.isdigit() for text in given):
        return ", ".join(given)
    parts: list[list[int]] = []
    for number in map(int, given):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
