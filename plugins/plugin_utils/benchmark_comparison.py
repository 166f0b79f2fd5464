# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two folders of run documents to a comparison (schema ``dtf.comparison/1``): what differs around them, then each cell.

Cells are the same when their words are; names and addresses of hosts are none, so that two machines can be compared.
Everything is a function of the run documents. Runs of two folders were made at different times and share no blocks:
every ratio is of independent samples, after over before.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..module_utils.errors import InvalidInput
from ..module_utils.grid import cell_of, sortable
from ..module_utils.spec import Topology
from ..module_utils.sweep import label, repeat_of, varying_words, when_made
from . import samples
from .benchmark_document import DIGITS, facts, measured
from .doubts import run_doubts
from .scientific import require
from .text_table import ruled

SCHEMA = "dtf.comparison/1"
#: Run documents that can be read.
RUN_SCHEMAS = ("dtf.run/1", "dtf.run/2")
#: What is compared; the first decides.
MEASURES = ("training_seconds", "steps_per_second", "startup_seconds", "wall_seconds")
#: A pipeline fails on these verdicts: a cell that no longer succeeds is no better than a slower one.
FAILS_ON: dict[str, tuple[str, ...]] = {
    "slower": ("slower", "broken"),
    "difference": ("slower", "broken", "faster", "mended"),
    "never": (),
}
VERDICTS = {
    "faster": "faster",
    "slower": "slower",
    "no_difference": "no difference shown",
    "broken": "no longer succeeds",
    "mended": "succeeds now",
    "unmeasured": "succeeded on neither side",
}
GIB = 2**30

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two folders.

    Attributes:
        path: where it is, as it was given.
        runs: its run documents.
    """

    path: str
    runs: Sequence[Document]


@dataclass(frozen=True)
class CellRuns:
    """The runs of one cell on one side, warm-ups left out."""

    succeeded: Sequence[Document]
    others: Sequence[Document]

    def values(self, measure: str) -> list[float]:
        """Return a measure of every run that succeeded and has it."""
        found = [measured(run)[measure] for run in self.succeeded]
        return [value for value in found if value is not None]


def unreadable(run: object) -> str | None:
    """Say what was expected of something that is no run document; ``None`` for one that is."""
    if not isinstance(run, Mapping) or run.get("schema") not in RUN_SCHEMAS:
        found = run.get("schema") if isinstance(run, Mapping) else type(run).__name__
        return f"a run document of schema {' or '.join(RUN_SCHEMAS)}, not {found}"
    try:
        _words(run)
        facts(run)
        if run["state"] == "succeeded":
            measured(run)
    except InvalidInput as error:
        return f"a run document with a valid topology ({error.problems[0]})"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"a whole run document ({type(error).__name__}: {error})"
    return None


def comparison(before: Side, after: Side, threshold: float = 0.0, fail_on: str = "slower") -> dict[str, Any]:
    """Return the document of a comparison.

    Args:
        before: what is compared with.
        after: what is compared.
        threshold: the least difference that counts, as a share; all of an interval must lie beyond it.
        fail_on: on which verdicts a pipeline is to fail, a key of :data:`FAILS_ON`.

    Raises:
        ActionFailed: SciPy is not there.
    """
    require()
    sides = _by_cell(before.runs), _by_cell(after.runs)
    words = {key: json.loads(key) for side in sides for key in side}
    order = sorted(words, key=lambda key: [sortable(value) for value in words[key].values()])
    varying = varying_words([words[key] for key in order])
    cells = [
        {"cell": words[key], "label": label(words[key], varying), **_compared(sides[0][key], sides[1][key], threshold)}
        for key in order
        if key in sides[0] and key in sides[1]
    ]
    verdicts = {verdict: sum(1 for cell in cells if cell["verdict"] == verdict) for verdict in VERDICTS}
    document = {
        "schema": SCHEMA,
        "before": _side(before),
        "after": _side(after),
        "threshold": threshold,
        "environment": differing_environments(before.runs, after.runs),
        "shared": {
            word: value for word, value in (words[order[0]] if order else {}).items()
            if word not in varying and value is not None
        },
        "cells": cells,
        "only_before": [_alone(words[key], varying, sides[0][key]) for key in order if key not in sides[1]],
        "only_after": [_alone(words[key], varying, sides[1][key]) for key in order if key not in sides[0]],
        "verdicts": verdicts,
        "fail_on": fail_on,
        "failed": any(verdicts[verdict] for verdict in FAILS_ON[fail_on]),
        "answer": _answer(cells, verdicts),
    }  # fmt: skip
    rounded: dict[str, Any] = _rounded(document)
    return rounded


def nothing_shared(document: Document) -> str | None:
    """Say why not one cell could be compared; ``None`` where one was."""
    if document["cells"]:
        return None
    sides = [[entry["cell"] for entry in document[name]] for name in ("only_before", "only_after")]
    apart = []
    for word in sides[0][0]:
        found = [sorted({json.dumps(cell[word]) for cell in cells}) for cells in sides]
        if not set(found[0]) & set(found[1]):
            apart.append(f"{word} is {', '.join(found[0])} before and {', '.join(found[1])} after")
    return "no cell is on both sides: " + ("; ".join(apart) or "their words never agree all at once")


def _words(run: Document) -> dict[str, object]:
    return cell_of(Topology.from_params(run["spec"]))


def _by_cell(runs: Iterable[Document]) -> dict[str, CellRuns]:
    found: dict[str, tuple[list[Document], list[Document]]] = {}
    for run in sorted(runs, key=when_made):
        succeeded, others = found.setdefault(json.dumps(_words(run)), ([], []))
        if repeat_of(run) != 0:
            (succeeded if run["state"] == "succeeded" else others).append(run)
    return {key: CellRuns(*parts) for key, parts in found.items()}


def _side(side: Side) -> dict[str, Any]:
    counted = [run for run in side.runs if repeat_of(run) != 0]
    return {
        "path": side.path,
        "runs": len(side.runs),
        **{state: sum(1 for run in counted if run["state"] == state) for state in ("succeeded", "failed", "stopped")},
        "warm_up": len(side.runs) - len(counted),
        "first": min((str(run["created"]) for run in side.runs), default=None),
        "last": max((str(run["created"]) for run in side.runs), default=None),
    }


def _alone(words: Mapping[str, object], varying: Sequence[str], runs: CellRuns) -> dict[str, Any]:
    return {"cell": dict(words), "label": label(words, varying), "succeeded": len(runs.succeeded)}


def _compared(before: CellRuns, after: CellRuns, threshold: float) -> dict[str, Any]:
    """Return what two samples of a cell say of one another."""
    ratios = {measure: _ratio(after.values(measure), before.values(measure)) for measure in MEASURES}
    decisive = ratios["training_seconds"]
    verdict = _verdict(decisive, before, after, threshold)
    visible = _visible(decisive, threshold)
    found = {
        "verdict": verdict,
        "visible_difference": visible if verdict == "no_difference" else None,
        **{measure: ratio and ratio.as_dict() for measure, ratio in ratios.items()},
        "before": _sample(before),
        "after": _sample(after),
    }
    return {**found, "statement": _statement(verdict, decisive, visible, threshold, found)}


def _ratio(above: Sequence[float], below: Sequence[float]) -> samples.Ratio | None:
    if not above or not below or min(*above, *below) <= 0:
        return None
    return samples.ratio(above, below)


def _sample(runs: CellRuns) -> dict[str, Any]:
    doubts = sorted({doubt.code for run in runs.succeeded for doubt in run_doubts(facts(run))})
    return {
        **{state: sum(1 for run in (*runs.succeeded, *runs.others) if run["state"] == state)
           for state in ("succeeded", "failed", "stopped")},
        **{measure: samples.describe(runs.values(measure)).as_dict() for measure in MEASURES},
        "doubts": doubts,
    }  # fmt: skip


def _verdict(ratio: samples.Ratio | None, before: CellRuns, after: CellRuns, threshold: float) -> str:
    if ratio is None:
        return "broken" if before.succeeded else "mended" if after.succeeded else "unmeasured"
    if ratio.interval is not None and ratio.interval.low > 1 + threshold:
        return "slower"
    if ratio.interval is not None and ratio.interval.high < 1 - threshold:
        return "faster"
    return "no_difference"


def _visible(ratio: samples.Ratio | None, threshold: float) -> float | None:
    """Return how much slower a cell must be for half of such comparisons to show it, as a share."""
    if ratio is None or ratio.interval is None:
        return None
    return (1 + threshold) * math.sqrt(ratio.interval.high / ratio.interval.low) - 1


def _statement(
    verdict: str, ratio: samples.Ratio | None, visible: float | None, threshold: float, found: Mapping[str, Any]
) -> str:
    """Return the verdict in words, rounded outwards."""
    if ratio is None:
        if verdict == "unmeasured":
            return "has no successful run on either side"
        side = "after" if verdict == "broken" else "before"
        ended = ", ".join(f"{found[side][state]} {state}" for state in ("failed", "stopped") if found[side][state])
        return f"has no successful run {side}" + (f" ({ended})" if ended else "")
    if ratio.interval is None:
        return "has a single successful run on a side, which shows no spread: repeats=3 or more will tell"
    low, high = ratio.interval.low, ratio.interval.high
    if verdict == "slower":
        return f"takes {_percent(low - 1, math.floor)} to {_percent(high - 1, math.ceil)} % more time"
    if verdict == "faster":
        return f"takes {_percent(1 - high, math.floor)} to {_percent(1 - low, math.ceil)} % less time"
    beyond = f" beyond {_percent(threshold, round)} %" if threshold else ""
    span = f"{math.floor(low * 1000) / 1000:g} to {math.ceil(high * 1000) / 1000:g} times the time before"
    unseen = _percent(visible or 0.0, math.ceil)
    return f"shows no difference{beyond}: {span}; one below {unseen} % could not have been seen"


def _percent(share: float, rounding: Any) -> str:
    """Return a share in per cent, rounded to a tenth of one, from ten on to a whole one."""
    parts = 1 if abs(share) >= 0.1 else 10
    return f"{rounding(share * 100 * parts) / parts:g}"


def _answer(cells: Sequence[Document], verdicts: Mapping[str, int]) -> str:
    told = ", ".join(f"{count} {VERDICTS[verdict]}" for verdict, count in verdicts.items() if count)
    return f"Of {len(cells)} cell{'' if len(cells) == 1 else 's'}: {told or 'none compared'}."


def differing_environments(before: Iterable[Document], after: Iterable[Document]) -> list[dict[str, Any]]:
    """Return what is not the same around both, as ``{what, before, after}`` with all values that were seen."""
    found = [_environment(runs) for runs in (before, after)]
    names = list(dict.fromkeys([*found[0], *found[1]]))
    lists = [{name: sorted(part.get(name, ())) for name in names} for part in found]
    return [
        {"what": name, "before": lists[0][name], "after": lists[1][name]}
        for name in names
        if lists[0][name] != lists[1][name]
    ]


def _environment(runs: Iterable[Document]) -> dict[str, set[str]]:
    """Return every property of the places that runs were made in, with its values."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for what, value in _properties(run["environment"]):
            if value is not None:
                found.setdefault(what, set()).add(str(value))
    return found


def _properties(place: Document) -> Iterable[tuple[str, object]]:
    for host in place["hosts"]:
        memory = host.get("memory_bytes")
        yield "hosts", host["name"]
        yield "CPU model", host.get("cpu_model")
        yield "cores", host.get("cores")
        # A kernel's own share varies by some megabytes from one start to the next.
        yield "memory", f"{memory / GIB:.1f} GiB" if memory else None
        yield "kernel", host.get("kernel")
        yield from (("GPU model", model) for model in host.get("gpu_models", ()))
    for name, version in place["versions"].items():
        yield f"version of {name.replace('_', ' ')}", version
    yield "image digest", place["image_digest"]
    yield from ((f"sha256 of {name}", digest) for name, digest in (place["data_sha256"] or {}).items())


def table(document: Document) -> str:
    """Return a comparison for a terminal: what differs around both, each cell, what only one side has, the answer."""
    lines = [f"{name} {_told(document[name.strip()])}" for name in ("before", "after ")]
    for entry in document["environment"]:
        seen = [" | ".join(entry[side]) or "-" for side in ("before", "after")]
        lines.append(f"! {entry['what']}: {seen[0]} before, {seen[1]} after")
    if not document["environment"]:
        lines.append("both in the same environment")
    if document["shared"]:
        lines.append(
            ", ".join(f"{word.replace('_', ' ')} {_word(value)}" for word, value in document["shared"].items())
        )
    lines += ["", *_rows(document["cells"]), ""]
    lines += [f"= {cell['label']}: {cell['statement']}" for cell in document["cells"]]
    for cell in document["cells"]:
        lines += [
            f"! {cell['label']}: doubts {when}: {', '.join(cell[when]['doubts'])}"
            for when in ("before", "after")
            if cell[when]["doubts"]
        ]
    for when in ("before", "after"):
        lines += [f"* only {when}: {cell['label']} (n = {cell['succeeded']})" for cell in document[f"only_{when}"]]
    return "\n".join([*lines, document["answer"]])


def _told(side: Document) -> str:
    left_out = [f"{side[state]} {state}" for state in ("failed", "stopped") if side[state]]
    left_out += [f"{side['warm_up']} warm-up{'s' if side['warm_up'] > 1 else ''}"] if side["warm_up"] else []
    counted = f"{side['succeeded']} runs" + (f" ({', '.join(left_out)} not counted)" if left_out else "")
    return f"{side['path']}: {counted}, {side['first']} to {side['last']}"


def _rows(cells: Sequence[Document]) -> list[str]:
    header = ["cell", "n", "train s", "after", "ratio", "95 %", "steps/s", "start-up", "wall", "verdict"]
    rows = [
        [
            cell["label"],
            "{}, {}".format(*(cell[side]["training_seconds"]["n"] for side in ("before", "after"))),
            *(_number(cell[side]["training_seconds"]["mean"]) for side in ("before", "after")),
            *_ratio_columns(cell["training_seconds"]),
            *(_ratio_columns(cell[measure])[0] for measure in MEASURES[1:]),
            VERDICTS[cell["verdict"]],
        ]
        for cell in cells
    ]
    return ruled(header, rows, left=(0, len(header) - 1))


def _ratio_columns(ratio: Document | None) -> tuple[str, str]:
    if ratio is None:
        return "-", ""
    interval = ratio["interval"]
    return "{:.3f}".format(ratio["value"]), "{low:.3f}-{high:.3f}".format(**interval) if interval else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rounded(value: Any) -> Any:
    """Return a value with its numbers rounded to what is stored."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value
