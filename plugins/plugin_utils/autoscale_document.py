# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A search for the number of workers that is worth having, as a document (schema ``dtf.autoscale/1``) and as text.

A function of the runs and of what was asked for: the same ones give the same bytes.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .autoscaling import Decision, Limits, Measure, Stop, search
from .samples import Interval, describe, ratio
from .text_table import ruled

SCHEMA = "dtf.autoscale/1"
#: Digits that numbers are kept with.
DIGITS = 6

#: A size as the module ``autoscale_decision`` found it, or a document.
Document = Mapping[str, Any]


def limits_of(sizes: Sequence[Document], asked: Limits) -> Limits:
    """Return the limits with what bounds the search: the smallest size that has no place, or is given up."""
    for size in sizes:
        reason = size["unfit"] or (size["given_up"] and f"given up after two failures: {size['given_up']}")
        if reason:
            bounds = {size["workers"]: reason}
            return Limits(asked.max_workers, asked.threshold, asked.min_repeats, asked.max_repeats, bounds)
    return asked


def autoscale_document(name: str, words: Document, sizes: Sequence[Document], asked: Limits) -> dict[str, Any]:
    """Return the document of a search, at its end or on the way there.

    Args:
        name: the benchmark's.
        words: those of the command line that were given.
        sizes: what each size has, from the smallest to the largest.
        asked: what the search may do.

    Raises:
        ActionFailed: not even one worker can be measured, or SciPy is not there.
    """
    limits = limits_of(sizes, asked)
    runs = {size["workers"]: size["runs"] for size in sizes if size["runs"]}
    course = search({size: [run["seconds"] for run in entries] for size, entries in runs.items()}, limits)
    last, used = course[-1]
    found = last if isinstance(last, Stop) else None
    return {
        "schema": SCHEMA,
        "name": name,
        "words": {word: value for word, value in words.items() if value is not None},
        "max_workers": limits.max_workers,
        "threshold": limits.threshold,
        "min_repeats": limits.min_repeats,
        "max_repeats": limits.max_repeats,
        "bound": next(({"workers": size, "reason": reason} for size, reason in limits.bounds.items()), None),
        "finished": found is not None,
        "workers": found and found.size,
        "reason": found and found.reason,
        "certain": found and found.certain,
        "answer": _answer(found, limits) if found else None,
        "statements": list(found.statements) if found else [],
        "source": found and found.source,
        "parameters": [
            {"name": key, "unit": one.unit, **_estimate(one.value, one.interval)}
            for key, one in (found.fit.parameters.items() if found and found.fit else ())
        ],
        "shares": [{"workers": size, "share": share} for size, share in found.shares.items()] if found else [],
        "sizes": [_size(size, entries[: used[size]], runs[1]) for size, entries in runs.items() if size in used],
        "decisions": [_decision(number, *step) for number, step in enumerate(course, 1)],
    }


def _answer(found: Stop, limits: Limits) -> str:
    workers = "1 worker is" if found.size == 1 else f"{found.size} workers are"
    surely = "" if found.certain else "probably "
    return f"{workers} {surely}worth having, if a doubling has to make the training {limits.threshold:.0%} faster"


def _size(size: int, runs: Sequence[Document], smallest: Sequence[Document]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    summary = describe(seconds)
    faster = ratio([run["seconds"] for run in smallest], seconds)
    return {
        "workers": size,
        "runs": [run["run_id"] for run in runs],
        "seconds": _estimate(summary.mean or 0.0, summary.interval),
        "speed_up": _estimate(faster.value, faster.interval) if size > 1 else None,
    }


def _estimate(value: float, interval: Interval | None) -> dict[str, float | None]:
    ends = (interval.low, interval.high) if interval else (None, None)
    return {"value": _kept(value), "low": _kept(ends[0]), "high": _kept(ends[1])}


def _kept(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _decision(number: int, decision: Decision, known: Mapping[int, int]) -> dict[str, Any]:
    measure = isinstance(decision, Measure)
    return {
        "number": number,
        "known": [{"workers": size, "runs": count} for size, count in known.items()],
        "decision": "measure" if measure else "stop",
        "workers": decision.size,
        "repeats": decision.repeats if isinstance(decision, Measure) else None,
        "why": decision.why if isinstance(decision, Measure) else decision.reason,
    }


def line(document: Document) -> str:
    """Return the last decision in a line."""
    last = document["decisions"][-1]
    if last["decision"] == "stop":
        return f"{document['name']}: {document['answer']}"
    there = next((entry["runs"] for entry in last["known"] if entry["workers"] == last["workers"]), 0)
    more = "one more run" if last["repeats"] - there == 1 else f"{last['repeats'] - there} runs"
    return f"{document['name']}: {more} with {_workers(last['workers'])}: {last['why']}"


def _workers(size: int) -> str:
    return "1 worker" if size == 1 else f"{size} workers"


def table(document: Document) -> str:
    """Return a search that is at its end for a terminal: the answer, a row for each size, what speaks for it."""
    head = ("workers", "n", "train s", "95 %", "speed-up", "95 %")
    lines = ruled(head, [_row(size, document["workers"]) for size in document["sizes"]])
    said = [f"= {statement}" for statement in document["statements"]]
    return "\n".join([document["answer"], "", *lines, "", *said])


def _row(size: Document, chosen: int) -> tuple[str, ...]:
    mark = "> " if size["workers"] == chosen else ""
    cells = [f"{mark}{size['workers']}", str(len(size["runs"]))]
    for estimate, form in ((size["seconds"], "{:.2f}"), (size["speed_up"], "{:.2f}")):
        cells.append(form.format(estimate["value"]) if estimate else "-")
        sure = estimate is not None and estimate["low"] is not None
        cells.append(f"[{form}, {form}]".format(estimate["low"], estimate["high"]) if sure else "")
    return tuple(cells)
