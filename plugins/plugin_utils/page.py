# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A benchmark's document and its pictures to one HTML page that needs nothing beside itself.

Template, style sheet and script stand in ``report_page/`` and are put into the page as they are. Whatever comes from a
document is escaped by Jinja, or is JSON that a script cannot end in.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..module_utils.platform_usage import PARTS as PLATFORM_PARTS
from ..module_utils.platform_usage import PLATFORM
from ..module_utils.stats import PHASES
from . import figures
from .drawing import style
from .figures import Picture
from .page_data import believed_law, counted_runs, number, span

PARTS = Path(__file__).parent / "report_page"
#: Rows of a table that stand in the page as such; a script makes the others from the page's data.
FIRST_ROWS = 25
#: Doubts of one kind that are told one by one, series whose laws are told, pairs that are told phase by phase.
MOST_DOUBTS, MOST_SERIES, MOST_PAIRS = 8, 12, 24
DASH = "-"

METHODS = {"t": "Student's t", "bootstrap": "bootstrap percentiles, expanded for small n"}
KNEES = {"usl": "universal scalability law", "cells": "measured sizes, each for itself"}

LAWS = {"amdahl": "Amdahl's law", "usl": "universal scalability law"}
PARAMETERS = {
    "one_worker_seconds": "time of one worker",
    "contention": "contention (share done one after the other)",
    "coherency": "coherency (cost of each pair of workers)",
    "serial_seconds": "serial part",
    "parallel_seconds": "parallel part",
}
DOUBTS = {
    "superlinear": "faster than the number of workers can explain",
    "first_step": "the global step did not begin at 0",
    "target_missed": "the target was not reached",
    "restarts": "tasks were restarted inside the run",
    "steps": "steps do not add up",
    "phases": "phases do not add up to the wall time",
    "load": "the machine was busy before the run",
    "clock_skew": "clocks of hosts differ",
    "gpu_unseen": "GPUs were asked for and not found",
    "gpu_models": "GPUs differ",
    "accuracy": "accuracies differ by more than chance",
}


@dataclass(frozen=True)
class Drawn:
    """A picture as it stands in the page, and as files.

    Attributes:
        name: of its files.
        caption: how to read it.
        variants: SVG for the page by ``narrow`` and ``wide``.
        files: content by extension.
    """

    name: str
    caption: str
    variants: tuple[tuple[str, Markup], ...]
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Column:
    """A column of a table: what it is called, its unit, whether it is a number, and its texts."""

    title: str
    numeric: bool
    value: Callable[[Mapping[str, Any]], str]
    #: Texts that many rows share are kept once.
    shared: bool = False


def draw(pictures: Sequence[Picture], extensions: Sequence[str]) -> tuple[list[Drawn], str]:
    """Return the pictures drawn, and the rules of a style sheet that they have in common.

    Args:
        pictures: what to draw.
        extensions: ``svg`` and ``png``, as far as files are wanted.
    """
    drawn = []
    classes: dict[str, str] = {}
    with style():
        for picture in pictures:
            variants, files = [], {}
            for width in figures.widths(picture):
                sheet = figures.draw(picture, width)
                alone, inside = sheet.svgs(classes)
                # The page holds the markup that Matplotlib and ElementTree wrote, with their escapes.
                variants.append(("narrow" if width == figures.NARROW else "wide", Markup(inside)))  # noqa: S704
                if width == figures.widths(picture)[-1]:
                    files = {name: alone if name == "svg" else sheet.png() for name in extensions}
            drawn.append(Drawn(picture.name, picture.caption, tuple(variants), files))
    return drawn, "".join(f".picture svg .{name} {{ {text} }}\n" for text, name in classes.items())


def page(document: Mapping[str, Any], drawn: Sequence[Drawn], rules: str) -> str:
    """Return the page.

    Args:
        document: the benchmark's (``dtf.benchmark/2``).
        drawn: its pictures.
        rules: what their classes mean.
    """
    environment = Environment(
        loader=FileSystemLoader(str(PARTS)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, span=span)
    tables = {"cells": _table(_cell_columns(), document["cells"]), "runs": _table(_run_columns(), _runs(document))}
    return environment.get_template(
        "page.html.j2"
    ).render(
        document=document,
        css=Markup((PARTS / "page.css").read_text(encoding="utf-8") + rules),  # noqa: S704
        js=Markup((PARTS / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        facts=_facts(document),
        pictures={one.name: one for one in drawn},
        families=_families(drawn),
        laws=_laws(document)[:MOST_SERIES],
        more_laws=max(0, len(_laws(document)) - MOST_SERIES),
        price=_price(document),
        doubts=_doubts(document),
        tables=tables,
        first_rows=FIRST_ROWS,
        words={name.replace("_", " "): value for name, value in document["shared"].items()},
        hosts=_hosts(document),
        has_gpus=any(host.get("gpu_models") for host in document["environment"]["hosts"]),
        versions={name.replace("_", " "): value for name, value in document["environment"]["versions"].items()},
        methods=_methods(document),
    )


def _families(drawn: Sequence[Drawn]) -> dict[str, list[Drawn]]:
    """Return the pictures of each section, by its name."""
    sections = {
        "scaling": ("time", "speed-up", "efficiency"),
        "cells": ("cells",),
        "maps": ("map-ps", "map-nodes"),
        "phases": ("phases",),
        "price": ("price-training", "price-phases", "price-platform"),
        "timeline": ("timeline",),
        "training": (
            "accuracy-step",
            "accuracy-seconds",
            "test-loss-step",
            "test-loss-seconds",
            "loss-step",
            "loss-seconds",
        ),
    }
    return {
        # One of several of a kind has a number behind its name.
        section: [one for one in drawn if one.name.rstrip("0123456789").rstrip("-") in names]
        for section, names in sections.items()
    }


def _runs(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**run, "label": cell["label"]} for cell in document["cells"] for run in cell["runs"]]


def _facts(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the few numbers that stand beside the answer."""
    cells, runs = document["cells"], _runs(document)
    succeeded = sum(len(counted_runs(cell)) for cell in cells)
    apart = [
        f"{count} {what}"
        for what, count in (
            ("failed", sum(run["state"] == "failed" for run in runs)),
            ("stopped", sum(run["state"] == "stopped" for run in runs)),
            ("warm-up", sum(cell["warm_up"] for cell in cells)),
        )
        if count
    ]
    facts = [
        {"value": number(succeeded, 0), "what": "runs counted", "more": ", ".join(apart) or "none left out"},
        {"value": number(len(cells), 0), "what": "cells", "more": _axes(document)},
    ]
    best = [cell for cell in cells if cell["training_seconds"]["mean"] is not None]
    if best:
        fastest = min(best, key=lambda cell: cell["training_seconds"]["mean"])
        facts.append(
            {
                "value": number(fastest["training_seconds"]["mean"]) + " s",
                "what": "shortest mean training time",
                "more": fastest["label"],
            }
        )
    about = sorted({entry["code"].replace("_", " ") for entry in document["doubts"]})
    facts.append(
        {
            "value": number(len(document["doubts"]), 0),
            "what": "doubts" if len(document["doubts"]) != 1 else "doubt",
            "more": ", ".join(about) or "nothing looked suspicious",
        }
    )
    return facts


def _axes(document: Mapping[str, Any]) -> str:
    told = [
        f"{word.replace('_', ' ')} " + ", ".join(str(value) for value in values if value is not None)
        for word, values in document["axes"].items()
    ]
    return "; ".join(told) or "nothing differs"


def _laws(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each series says: sentences, laws with their parameters, what could not be said."""
    found = []
    for series in document["series"]:
        scaling = series["scaling"]
        if len(scaling["steps"]) < 2:
            continue
        fits = [
            {
                "law": LAWS[name],
                "drawn": fit is believed_law(series),
                "noise": f"{fit['noise']:.1%}",
                "misfit": DASH if fit["misfit"] is None else f"{fit['misfit']:.2g}",
                "parameters": [
                    {
                        "name": PARAMETERS.get(key, key),
                        "value": _value(parameter["value"], parameter["unit"]),
                        "interval": _interval(parameter),
                    }
                    for key, parameter in fit["parameters"].items()
                ],
            }
            for name in ("usl", "amdahl")
            if (fit := scaling[name])
        ]
        found.append(
            {
                "label": series["label"] or "all cells",
                "statements": [_capital(text) for text in scaling["statements"]],
                "missing": [_capital(text) for text in scaling["missing"]],
                "fits": fits,
            }
        )
    return found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _value(value: float, unit: str) -> str:
    return f"{number(value)} s" if unit == "s" else f"{value:.4f}"


def _interval(parameter: Mapping[str, Any]) -> str:
    interval, unit = parameter["interval"], parameter["unit"]
    if not interval:
        return DASH
    return f"{span(interval)} s" if unit == "s" else span(interval, 4)


def _doubts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the doubts by their kind, the most frequent first."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for entry in document["doubts"]:
        kinds.setdefault(entry["code"], []).append(entry)
    return [
        {
            "what": DOUBTS.get(code, code.replace("_", " ")),
            "count": len(entries),
            "told": entries[:MOST_DOUBTS],
            "more": max(0, len(entries) - MOST_DOUBTS),
        }
        for code, entries in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _price(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of pairs of pods and processes beside the table of them."""
    pairs = document["price"][:MOST_PAIRS]
    usages = [
        (f"{pair['label']}, {runtime}", usage)
        for pair in pairs
        for runtime in ("process", "kubernetes")
        if (usage := (pair["platform"] or {}).get(runtime))
    ]
    parts = [part for part in PLATFORM_PARTS if any(part in usage["cpu_seconds"] for _label, usage in usages)]
    return {
        "pairs": pairs,
        "more": len(document["price"]) - len(pairs),
        "phases": PHASES,
        "parts": parts,
        "platform": [{"label": label, "texts": _usage(usage, parts)} for label, usage in usages],
    }


def _usage(usage: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    """Return what the platform and the trainer took in the runs of a cell, a text a column."""
    share, cpu, memory = usage["share"], usage["cpu_seconds"], usage["memory_bytes"]
    known = share["interval"]
    sure = f" ({known['low']:.1%} to {known['high']:.1%})" if known else ""
    return [
        str(share["n"]),
        f"{share['mean']:.1%}{sure}",
        number(usage["cores"]["mean"], 3),
        *(number(cpu.get(part)) for part in parts),
        number(sum(memory.get(part, 0) for part in PLATFORM) / 2**20, 0),
        number(memory.get("trainer", 0) / 2**20, 0),
    ]


def _hosts(document: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "name": host["name"],
            "cores": DASH if host.get("cores") is None else str(host["cores"]),
            "memory": DASH if host.get("memory_bytes") is None else f"{host['memory_bytes'] / 2**30:.1f} GiB",
            "cpu": host.get("cpu_model") or DASH,
            "kernel": host.get("kernel") or DASH,
            "gpus": ", ".join(host.get("gpu_models", ())) or DASH,
        }
        for host in document["environment"]["hosts"]
    ]


def _methods(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return how intervals and ratios were made here, not how they may be made."""
    summaries = [cell["training_seconds"]["interval"] for cell in document["cells"]]
    ratios = [cell["speed_up"] for cell in document["cells"] if cell["speed_up"]]
    return {
        "means": sorted({METHODS.get(found["method"], found["method"]) for found in summaries if found}),
        "designs": sorted({ratio["design"] for ratio in ratios}),
        "threshold": f"{document['threshold']:.0%}",
        "knees": sorted(
            {
                KNEES.get(knee["source"], knee["source"])
                for series in document["series"]
                if (knee := series["scaling"]["knee"])
            }
        ),
        "outliers": sum(run["outlier"] for run in _runs(document)),
    }


# --- tables ----------------------------------------------------------------------------------------------------------


def _table(columns: Sequence[Column], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a table's columns and rows as texts; a column nobody fills is left out."""
    texts = [[column.value(record) for record in records] for column in columns]
    kept = [place for place, column in enumerate(columns) if not column.title or set(texts[place]) - {DASH, ""}]
    shared = {
        str(place): list(dict.fromkeys(texts[original]))
        for place, original in enumerate(kept)
        if columns[original].shared
    }
    known = {place: {text: number for number, text in enumerate(found)} for place, found in shared.items()}
    rows = [
        [
            known[str(place)][texts[original][row]] if str(place) in known else texts[original][row]
            for place, original in enumerate(kept)
        ]
        for row in range(len(records))
    ]
    return {
        "columns": [{"title": columns[place].title, "numeric": columns[place].numeric} for place in kept],
        "first": [[texts[original][row] for original in kept] for row in range(min(FIRST_ROWS, len(records)))],
        "count": len(records),
        "data": {"shared": shared, "rows": rows, "numeric": [columns[place].numeric for place in kept]},
    }


def _mean(measure: str, digits: int) -> Callable[[Mapping[str, Any]], str]:
    return lambda cell: number(cell[measure]["mean"], digits)


def _ratio(measure: str) -> Callable[[Mapping[str, Any]], str]:
    def text(cell: Mapping[str, Any]) -> str:
        found = cell[measure]
        if not found:
            return DASH
        return f"{number(found['value'])} ({span(found['interval'])})" if found["interval"] else number(found["value"])

    return text


def _cell_columns() -> list[Column]:
    return [
        Column("cell", False, lambda cell: cell["label"]),
        Column("runs", True, lambda cell: str(cell["training_seconds"]["n"])),
        Column("failed", True, lambda cell: str(cell["failed"]) if cell["failed"] else DASH),
        Column("training s", True, _mean("training_seconds", 2)),
        Column("95 % interval s", True, lambda cell: span(cell["training_seconds"]["interval"])),
        Column("median s", True, lambda cell: number(cell["training_seconds"]["median"])),
        Column("deviation s", True, lambda cell: number(cell["training_seconds"]["stdev"])),
        Column("steps/s", True, _mean("steps_per_second", 0)),
        Column("speed-up", True, _ratio("speed_up")),
        Column("efficiency", True, _ratio("efficiency")),
        Column("gain of the step", True, _ratio("gain")),
        Column("test accuracy", True, _mean("test_accuracy", 4)),
        Column("test loss", True, _mean("test_loss", 4)),
        Column("start-up s", True, _mean("startup_seconds", 2)),
        Column("wall s", True, _mean("wall_seconds", 2)),
        *_gpu_columns(),
        Column("notes", False, lambda cell: "; ".join(cell["notes"]) or DASH),
    ]


def _gpu_columns() -> list[Column]:
    """Return what a cell, or a run, tells of GPUs; without any these columns are left out."""
    return [
        Column("GPU", False, lambda record: ", ".join(record.get("gpu", {}).get("models", ())) or DASH, shared=True),
        Column("GPU busy %", True, _busy),
    ]


def _busy(record: Mapping[str, Any]) -> str:
    share = record.get("gpu", {}).get("utilisation", {})
    return f"{share['mean'] * 100:.0f} (n = {share['n']})" if share.get("n") else DASH


def _run_columns() -> list[Column]:
    return [
        Column("run", False, lambda run: run["run_id"]),
        Column("cell", False, lambda run: run["label"], shared=True),
        Column("repeat", True, lambda run: DASH if run["repeat"] is None else str(run["repeat"]), shared=True),
        Column("state", False, _state, shared=True),
        Column("training s", True, lambda run: number(run["training_seconds"])),
        Column("steps/s", True, lambda run: number(run["steps_per_second"], 0)),
        Column("test accuracy", True, lambda run: number(run["test_accuracy"], 4)),
        Column("start-up s", True, lambda run: number(run["startup_seconds"])),
        Column("wall s", True, lambda run: number(run["wall_seconds"])),
        *_gpu_columns(),
        Column("restarts", True, lambda run: str(run["restarts"]) if run["restarts"] else DASH, shared=True),
        Column("remarks", False, _remarks, shared=True),
    ]


def _state(run: Mapping[str, Any]) -> str:
    return "warm-up" if run["state"] == "succeeded" and not run["counted"] else run["state"]


def _remarks(run: Mapping[str, Any]) -> str:
    parts = ["outlier, counted"] if run["outlier"] else []
    parts += [f"doubt: {code.replace('_', ' ')}" for code in run["doubts"]]
    parts += [f"{run['cause']['reason']}: {run['cause']['message']}"] if run["cause"] else []
    text = "; ".join(parts)
    return (text if len(text) <= 160 else text[:159] + "\N{HORIZONTAL ELLIPSIS}") or DASH
