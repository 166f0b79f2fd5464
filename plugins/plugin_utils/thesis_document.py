# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runs of the thesis's experiments to one document (schema ``dtf.thesis/1``): lines, claims, verdicts, reasons.

Everything is a function of plans and run documents; the same ones give the same bytes.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils.errors import InvalidInput, Problem
from .benchmark_document import DIGITS, benchmark_document, environment
from .thesis_claims import AGREES, CLAIMS, DISAGREES, NOT_MEASURED, NOT_SHOWN, VERDICTS, Found, Key, Model, Runs, judge
from .thesis_experiments import AXES, EXPERIMENTS, Experiment
from .thesis_reasons import differences, reasons

SCHEMA = "dtf.thesis/1"
#: What a worker's own clock would have counted beside the training.
BEFORE_TRAINING = ("connect", "barrier")

Document = Mapping[str, Any]


def thesis_document(name: str, measured: Mapping[str, tuple[Document | None, Sequence[Document]]]) -> dict[str, Any]:
    """Return the document.

    Args:
        name: of the whole.
        measured: plan and run documents of each experiment that has any, by its name.

    Raises:
        InvalidInput: runs of one experiment differ in more than its grid.
        ActionFailed: SciPy is not there.
    """
    entries = [_experiment(entry, name, *measured.get(entry.name, (None, ()))) for entry in EXPERIMENTS]
    found = [judge(claim, _model(entries, claim.experiment)) for claim in CLAIMS]
    document = {
        "schema": SCHEMA,
        "name": name,
        "answer": _answer(found),
        "verdicts": {verdict: sum(1 for entry in found if entry.verdict == verdict) for verdict in VERDICTS},
        "claims": [entry.as_dict() for entry in found],
        "experiments": entries,
        "reasons": reasons(entries),
        "environment": environment([run for _plan, runs in measured.values() for run in runs]),
    }
    rounded: dict[str, Any] = json.loads(json.dumps(document), parse_float=lambda text: round(float(text), DIGITS))
    return rounded


def _experiment(experiment: Experiment, name: str, plan: Document | None, runs: Sequence[Document]) -> dict[str, Any]:
    """Return an experiment: what the thesis did, what was done here, and the lines that came of it."""
    benchmark = f"{name}-{experiment.name}"
    record: dict[str, Any] = {
        "name": experiment.name,
        "title": experiment.title,
        "machine": experiment.machine,
        "hardware": experiment.hardware,
        "varied": experiment.varied,
        "benchmark": benchmark,
        "thesis": experiment.as_dict(),
        "here": None,
        "lines": [],
        "differences": [],
        "own_clock": None,
        "largest_task_bytes": None,
    }
    if not runs and plan is None:
        return record
    document = benchmark_document(benchmark, runs, plan)
    # What an earlier grid has left beside the plan is no part of this one.
    cells = document["cells"][: len(plan["cells"])] if plan else document["cells"]
    _check_uniform(benchmark, cells)
    record["lines"] = _lines(cells, experiment.varied)
    if not record["lines"]:
        return record
    own = {run["run_id"] for cell in cells for run in cell["runs"] if run["counted"]}
    counted = [run for run in runs if run["run_id"] in own]
    record["here"] = _here(document, cells, counted)
    record["differences"] = differences(record["thesis"], record["here"])
    record["own_clock"] = _own_clock(cells)
    sizes = [task["max_rss_bytes"] for run in counted for task in run["tasks"] if task.get("max_rss_bytes")]
    record["largest_task_bytes"] = max(sizes, default=None)
    for line in record["lines"]:
        line["minimum"] = _minimum(_model([record], experiment.name), line["nodes"])
    return record


def _check_uniform(benchmark: str, cells: Sequence[Document]) -> None:
    """Refuse cells that differ in more than the grid: their lines would be of several trainings."""
    problems = []
    for word in cells[0]["cell"] if cells else ():
        values = list(dict.fromkeys(json.dumps(cell["cell"][word]) for cell in cells))
        if word not in AXES and len(values) > 1:
            problems.append(Problem(word, ", ".join(values), "one value in all of the experiment's runs"))
    if problems:
        raise InvalidInput(f"benchmark {benchmark!r}", problems)


def _lines(cells: Sequence[Document], varied: str) -> list[dict[str, Any]]:
    """Return a line for each number of nodes, with a point for each cell that has counted runs."""
    lines: dict[int, list[dict[str, Any]]] = {}
    for cell in cells:
        runs = [run for run in cell["runs"] if run["counted"] and run["training_seconds"]]
        if not runs:
            continue
        point = {
            "x": cell["cell"][varied],
            "tasks": cell["cell"]["workers"] + cell["cell"]["ps"],
            "seconds": cell["training_seconds"],
            "runs": [{key: run[key] for key in ("run_id", "repeat", "training_seconds", "outlier")} for run in runs],
        }
        lines.setdefault(cell["cell"]["nodes"] or 0, []).append(point)
    return [
        {"nodes": nodes, "points": sorted(points, key=lambda point: int(point["x"])), "minimum": None}
        for nodes, points in sorted(lines.items())
    ]


def _here(document: Document, cells: Sequence[Document], counted: Sequence[Document]) -> dict[str, Any]:
    """Return what was measured in place of the thesis's experiment."""
    words = {word: value for word, value in cells[0]["cell"].items() if word not in AXES}
    with_runs = [cell["cell"] for cell in cells if cell["succeeded"]]
    limits = [run["spec"]["workers"].get("resources", {}).get("limits") for run in counted]
    cores: dict[str, int] = {}
    for run in counted:
        cores.update({host["name"]: host["cores"] for host in run["environment"]["hosts"] if host.get("cores")})
    own = {run["run_id"] for run in counted}
    return {
        "words": words,
        **{axis: sorted({entry[axis] or 0 for entry in with_runs}) for axis in AXES},
        "repeats": document["repeats"],
        "runs": len(counted),
        "failed": sum(cell["failed"] for cell in cells),
        "doubts": dict(Counter(entry["code"] for entry in document["doubts"] if entry["run_id"] in own)),
        "limits": dict(limits[-1]) if limits and limits[-1] else None,
        "cores": sum(cores.values()) or None,
        "unfit": [{"label": cell["label"], "reason": cell["unfit"]} for cell in cells if cell["unfit"]],
        "given_up": [
            {"label": cell["label"], "reason": cell["given_up"]["message"]} for cell in cells if cell["given_up"]
        ],
    }


def _own_clock(cells: Sequence[Document]) -> dict[str, float] | None:
    """Return how many times as long a clock that begins with connecting would have run, over the cells."""
    found = []
    for cell in cells:
        phases = cell["phases"]
        before = [phases[name] for name in BEFORE_TRAINING]
        if phases["train"] and None not in before:
            found.append((sum(before) + phases["train"]) / phases["train"])
    return {"low": min(found), "high": max(found)} if found else None


def _model(entries: Sequence[Document], name: str) -> Model:
    """Return the model of an experiment, from its lines."""
    entry = next(entry for entry in entries if entry["name"] == name)
    cells: dict[Key, Runs] = {}
    for line in entry["lines"]:
        for point in line["points"]:
            repeats = [run["repeat"] for run in point["runs"]]
            blocks = tuple(repeats) if None not in repeats and len(set(repeats)) == len(repeats) else None
            cells[point["x"], line["nodes"]] = Runs(tuple(run["training_seconds"] for run in point["runs"]), blocks)
    return Model(cells, entry["varied"])


def _minimum(model: Model, nodes: int) -> dict[str, Any] | None:
    """Return where a line is lowest, and whether the runs leave no other place."""
    sizes = model.xs(nodes)
    if len(sizes) < 2:
        return None
    beside = {
        size: [
            model.ratio({(other, nodes): 1.0, (size, nodes): -1.0}, 1.0, len(sizes) - 1)
            for other in sizes
            if other != size
        ]
        for size in sizes
    }
    at = next(size for size in sizes if all(value >= 1 for value, _low, _high in beside[size]))
    return {"at": at, "certain": all(low is not None and low > 1 for _value, low, _high in beside[at])}


def _answer(found: Sequence[Found]) -> str:
    """Return the verdicts in a sentence or two."""
    count = {verdict: [entry for entry in found if entry.verdict == verdict] for verdict in VERDICTS}
    if len(count[NOT_MEASURED]) == len(found):
        return f"None of the thesis's {len(found)} readings could be compared: no run shows what they are about."
    words = {
        AGREES: ("agrees", "agree"),
        DISAGREES: ("does not agree", "do not agree"),
        NOT_SHOWN: ("is neither shown nor refuted", "are neither shown nor refuted"),
        NOT_MEASURED: ("was not measured", "were not measured"),
    }
    parts = [f"{len(entries)} {words[verdict][len(entries) > 1]}" for verdict, entries in count.items() if entries]
    text = f"Of the thesis's {len(found)} readings " + ", ".join(parts) + "."
    for verdict, head in ((AGREES, "Agrees"), (DISAGREES, "Does not agree")):
        if count[verdict] and len(count[verdict]) < len(found):
            text += f" {head}: " + "; ".join(entry.claim.reading for entry in count[verdict]) + "."
    return text
