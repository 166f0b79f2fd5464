# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A benchmark's document (schema ``dtf.benchmark/2``) as a table for a terminal and as CSV.

This plugin util is private to the collection.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils.stats import PHASES
from .price import price_table
from .text_table import ruled

#: Columns that sum up phases which a reader thinks of as one.
EXPORT = ("export", "exit")
#: Measures of a cell that are summed up.
SUMMARIES = (
    "training_seconds", "steps_per_second", "test_accuracy", "test_loss", "wall_seconds", "startup_seconds",
)  # fmt: skip
RATIOS = ("speed_up", "efficiency", "gain")
#: Of doubts of one kind a terminal shows so many; the document has all.
MOST_DOUBTS = 3

Document = Mapping[str, Any]


def table(document: Document) -> str:
    """Return the benchmark for a terminal: the answer, what all cells share, a row each, then remarks and doubts."""
    records = document["cells"]
    if not records:
        return f"{document['name']}: {document['answer']}"
    varying = [word for word in records[0]["cell"] if word in ("workers", "ps") or word in document["axes"]]
    shared = {word: value for word, value in document["shared"].items() if word not in varying}
    header = [*(word.replace("_", " ") for word in varying), "runs", "train s", "95 %", "steps/s", "speed-up", "95 %",
              "accuracy", "start-up s", "export+exit s", "wall s"]  # fmt: skip
    rows = [[*(_word(record["cell"][word]) for word in varying), *_measures(record)] for record in records]
    if any(_busy(record) for record in records):
        header.append("GPU busy")
        rows = [[*row, _busy(record) or "-"] for row, record in zip(rows, records)]
    lines = [f"{document['name']}: {document['answer']}"]
    lines.append(", ".join(f"{word.replace('_', ' ')} {_word(value)}" for word, value in shared.items()))
    lines += [*ruled(header, rows), *_statements(document), *_remarks(records), *_doubts(document)]
    prices = price_table(document["price"])
    return "\n".join([*lines, "", *prices] if prices else lines)


def _word(value: object) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _measures(record: Document) -> list[str]:
    phases = record["phases"]
    ending = [phases[name] for name in EXPORT]

    def mean(name: str, form: str) -> str:
        return _shown(record[name]["mean"], form)

    ratio = record["speed_up"]
    base = "1.00 x" if ratio is None and record["series"] is not None and record["training_seconds"]["n"] else "-"
    return [
        str(record["training_seconds"]["n"]),
        mean("training_seconds", "{0:.2f}"),
        _interval(record["training_seconds"]["interval"]),
        mean("steps_per_second", "{0:,.0f}"),
        base if ratio is None else "{:.2f} x".format(ratio["value"]),
        _interval(ratio["interval"]) if ratio else "",
        mean("test_accuracy", "{0:.4f}"),
        mean("startup_seconds", "{0:.2f}"),
        _shown(None if None in ending else sum(ending), "{0:.2f}"),
        mean("wall_seconds", "{0:.2f}"),
    ]


def _shown(value: object, form: str) -> str:
    return "-" if value is None else form.format(value)


def _interval(interval: Document | None) -> str:
    return "[{low:.2f}, {high:.2f}]".format(**interval) if interval else ""


def _busy(record: Document) -> str:
    """Return the share of the training in which the GPUs computed, and of how many workers that is; empty without."""
    share = record.get("gpu", {}).get("utilisation", {})
    return "{:.0%}, n = {}".format(share["mean"], share["n"]) if share.get("n") else ""


def _statements(document: Document) -> list[str]:
    """Return what each series says."""
    lines = []
    for series in document["series"]:
        name = f"{series['label']}: " if series["label"] and len(document["series"]) > 1 else ""
        lines += [f"= {name}{statement}" for statement in series["scaling"]["statements"]]
    return lines


def _remarks(records: Sequence[Document]) -> list[str]:
    """Return the GPUs, and each remark, once, with the cells it is about unless it is about all."""
    about: dict[str, list[str]] = {}
    for record in records:
        models = record.get("gpu", {}).get("models")
        for note in [*([f"workers computed on {', '.join(models)}"] if models else []), *record["notes"]]:
            about.setdefault(note, []).append(record["label"])
    return [
        f"* {note}" + ("" if len(labels) == len(records) else f" ({'; '.join(labels)})")
        for note, labels in about.items()
    ]


def _doubts(document: Document) -> list[str]:
    """Return what makes numbers suspicious; of many that are alike the first, and how many more there are."""
    by_code: dict[str, list[Document]] = {}
    for doubt in document["doubts"]:
        by_code.setdefault(doubt["code"], []).append(doubt)
    lines = []
    for found in by_code.values():
        for doubt in found[:MOST_DOUBTS]:
            cell = "" if doubt["cell"] is None else document["cells"][doubt["cell"]]["label"]
            place = ", ".join(part for part in (cell, doubt["run_id"] or "") if part)
            lines.append(f"! {doubt['message']}" + (f" ({place})" if place else ""))
        if len(found) > MOST_DOUBTS:
            lines.append(f"! and {len(found) - MOST_DOUBTS} more of these ({found[0]['code']}) in benchmark.json")
    return lines


def runs_csv(document: Document) -> str:
    """Return one row a run: the cell's words, the run's measures, its phases."""
    rows = []
    gpus = _has_gpus(document)
    for record in document["cells"]:
        for run in record["runs"]:
            row = dict(record["cell"])
            row.update((key, value) for key, value in run.items() if key not in ("phases", "doubts", "cause", "gpu"))
            row["doubts"] = " ".join(run["doubts"])
            row["cause"] = run["cause"]["message"] if run["cause"] else None
            row.update(("phase_" + name, run["phases"][name]) for name in PHASES)
            row.update(_gpu_columns(run) if gpus else {})
            rows.append(row)
    return _csv(rows)


def cells_csv(document: Document) -> str:
    """Return one row a cell: its words, the summary of each measure, ratios with their intervals, mean phases."""
    rows = []
    gpus = _has_gpus(document)
    for record in document["cells"]:
        row = dict(record["cell"])
        for state in ("succeeded", "failed", "stopped", "warm_up"):
            row[state] = record[state]
        for measure in SUMMARIES:
            summary = record[measure]
            row.update(
                (f"{measure}_{key}", summary[key]) for key in ("n", "mean", "median", "minimum", "maximum", "stdev")
            )
            row.update((f"{measure}_{end}", (summary["interval"] or {}).get(end)) for end in ("low", "high"))
        for name in RATIOS:
            ratio = record[name] or {"value": None, "interval": None}
            row[name] = ratio["value"]
            row.update((f"{name}_{end}", (ratio["interval"] or {}).get(end)) for end in ("low", "high"))
        row["restarts"] = record["restarts"]
        row["notes"] = "; ".join(record["notes"])
        row.update(("phase_" + name, record["phases"][name]) for name in PHASES)
        row.update(_gpu_columns(record) if gpus else {})
        rows.append(row)
    return _csv(rows)


def _has_gpus(document: Document) -> bool:
    """Tell whether a run of a benchmark asked for GPUs; without one its files have no column of them."""
    return any("gpu" in run for record in document["cells"] for run in record["runs"])


def _gpu_columns(record: Document) -> dict[str, object]:
    """Return what a cell's or a run's record has of GPUs, by column."""
    found = record.get("gpu", {})
    share = found.get("utilisation", {})
    return {
        "gpu_models": "; ".join(found.get("models", ())),
        **{f"gpu_utilisation_{key}": share.get(key) for key in ("n", "mean", "minimum", "maximum")},
        **{f"gpu_{key}": found.get(key) for key in ("memory_used_mib", "power_watts", "unseen")},
    }


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
