# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The price of Kubernetes: the same training as pods and as processes, side by side, and what the cluster takes itself.

A *pair* is two cells that differ in nothing but the runtime. What pods add to a start is seconds, whatever the start
takes, so starts and phases are compared by difference; training times by ratio, as everywhere.

The *share* is the processor time of the platform over that of platform and trainer together, on all machines of the
cluster. Of a run of processes it is the platform at rest, on the same machines.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils.platform_usage import PARTS, PLATFORM
from ..module_utils.stats import PHASES, STARTUP
from ..module_utils.sweep import blocks_of, label, varying_words
from .samples import CONFIDENCE, Interval, describe, difference, ratio
from .scaling import span
from .scientific import stats
from .text_table import ruled

#: Words that are not compared: the one that makes the pair, and the one that only pods have.
_APART = ("runtime", "backend")

Document = Mapping[str, Any]


def price(cells: Sequence[Document]) -> list[dict[str, Any]]:
    """Return every pair of cells that both have runs, as ``price`` of the benchmark's document.

    Args:
        cells: all cells of the benchmark, each with ``cell``, its words, and ``runs``, the documents of its runs that
            count. A pair is named by two positions in it.
    """
    pairs = _pairs(cells)
    varying = varying_words([cell["cell"] for cell in cells])
    growths = _growths([cells[pods] for _process, pods in pairs])
    return [
        {
            "label": _label(cells[pods]["cell"], cells, varying),
            "process": process,
            "kubernetes": pods,
            **_compared(cells[process]["runs"], cells[pods]["runs"]),
            "growth": growths[_series(cells[pods]["cell"])],
        }
        for process, pods in pairs
    ]


def _pairs(cells: Sequence[Document]) -> list[tuple[int, int]]:
    """Return positions of processes and pods: of the same machines, or of most where pods had all of the cluster's."""
    processes: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if cell["cell"]["runtime"] == "process" and cell["runs"]:
            processes.setdefault(_alike(cell["cell"]), []).append(place)
    pairs = []
    for place, cell in enumerate(cells):
        if cell["cell"]["runtime"] != "kubernetes" or not cell["runs"]:
            continue
        nodes = cell["cell"].get("nodes")
        found = {cells[other]["cell"].get("nodes"): other for other in processes.get(_alike(cell["cell"]), ())}
        if nodes in found:
            pairs.append((found[nodes], place))
        elif found and (nodes is None or None in found):
            most = found[None] if nodes is not None else found[max(found)]
            pairs.append((most, place))
    return pairs


def _alike(words: Mapping[str, Any], *but: str) -> str:
    """Return what two cells of a pair have in common; of the machines, only their number may be unsaid."""
    return json.dumps([[word, value] for word, value in words.items() if word not in (*_APART, "nodes", *but)])


def _series(words: Mapping[str, Any]) -> str:
    """Return what cells have in common that differ in nothing but the workers."""
    return json.dumps([words["runtime"], words.get("backend"), words.get("nodes"), _alike(words, "workers")])


def _label(words: Mapping[str, Any], cells: Sequence[Document], varying: Sequence[str]) -> str:
    backends = {cell["cell"].get("backend") for cell in cells} - {None}
    told = [word for word in varying if word != "runtime" and (word != "backend" or len(backends) > 1)]
    return label(words, told)


def _compared(process: Sequence[Document], pods: Sequence[Document]) -> dict[str, Any]:
    """Return what one pair shows."""
    blocks = blocks_of(process), blocks_of(pods)
    shared = (blocks[1], blocks[0]) if blocks[0] is not None and blocks[1] is not None else None

    def both(values: Any) -> dict[str, Any]:
        return {"process": [values(run) for run in process], "kubernetes": [values(run) for run in pods]}

    def beside(found: Mapping[str, list[float]]) -> dict[str, Any]:
        return difference(found["kubernetes"], found["process"], shared).as_dict()

    training = both(lambda run: run["training"]["seconds"])
    longer = ratio(training["kubernetes"], training["process"], shared).as_dict()
    startup = both(lambda run: math.fsum(run["phases"][name] for name in STARTUP))
    later = beside(startup)
    phases = {}
    for name in PHASES:
        found = both(lambda run, name=name: run["phases"][name])
        means = {runtime: statistics.fmean(values) for runtime, values in found.items()}
        phases[name] = {**means, "difference": beside(found)}
    return {
        "training_seconds": longer,
        "startup_seconds": {
            **{runtime: describe(values).as_dict() for runtime, values in startup.items()},
            "difference": later,
        },
        "phases": phases,
        "platform": _platform(process, pods),
        "notes": _notes(process, pods),
        "statement": _statement(longer, later),
    }


def _platform(process: Sequence[Document], pods: Sequence[Document]) -> dict[str, Any] | None:
    """Return what the platform took beside either; ``None`` where nobody has counted it."""
    found = {"process": _usage(process), "kubernetes": _usage(pods)}
    return found if any(found.values()) else None


def _usage(runs: Sequence[Document]) -> dict[str, Any] | None:
    """Return what the platform took, over all machines, in the runs of a cell that tell."""
    counted = [run["platform"] for run in runs if run.get("platform")]
    if not counted:
        return None
    cpu = [_sums(platform, "cpu_seconds") for platform in counted]
    memory = [_sums(platform, "memory_bytes") for platform in counted]
    told = [name for name in PARTS if any(name in sums for sums in cpu)]
    return {
        "share": describe([share(platform) for platform in counted]).as_dict(),
        "cores": describe([cores(platform) for platform in counted]).as_dict(),
        "cpu_seconds": {name: statistics.fmean(sums.get(name, 0.0) for sums in cpu) for name in told},
        "memory_bytes": {name: round(statistics.fmean(sums.get(name, 0.0) for sums in memory)) for name in told},
        "hosts": sorted({part["host"] for platform in counted for part in platform["parts"]}),
        "sources": sorted({platform["source"] for platform in counted}),
    }


def _sums(platform: Document, measure: str) -> dict[str, float]:
    """Return each part's sum over the machines."""
    sums: dict[str, float] = {}
    for part in platform["parts"]:
        sums[part["part"]] = sums.get(part["part"], 0.0) + (part[measure] or 0.0)
    return sums


def share(platform: Document) -> float:
    """Return which share of the processor time of platform and trainer was the platform's."""
    sums = _sums(platform, "cpu_seconds")
    own = math.fsum(sums.get(name, 0.0) for name in PLATFORM)
    whole = own + sums.get("trainer", 0.0)
    return own / whole if whole else 0.0


def cores(platform: Document) -> float:
    """Return how many processors the platform kept busy, on average."""
    sums = _sums(platform, "cpu_seconds")
    return math.fsum(sums.get(name, 0.0) for name in PLATFORM) / float(platform["seconds"])


def _growths(cells: Sequence[Document]) -> dict[str, dict[str, Any] | None]:
    """Return for each series of pods whether the platform's share grows with its workers."""
    points: dict[str, list[tuple[float, float, float]]] = {}
    for cell in cells:
        own = points.setdefault(_series(cell["cell"]), [])
        told = [run["platform"] for run in cell["runs"] if run.get("platform")]
        own += [(float(cell["cell"]["workers"]), share(platform), cores(platform)) for platform in told]
    return {series: _growth(own) for series, own in points.items()}


def _growth(points: Sequence[tuple[float, float, float]]) -> dict[str, Any] | None:
    """Return the slopes over the workers, of the runs' own values; ``None`` below three runs or two sizes."""
    workers = [point[0] for point in points]
    if len(points) < 3 or len(set(workers)) < 2:
        return None
    slopes = {name: _slope(workers, [point[place] for point in points]) for name, place in (("share", 1), ("cores", 2))}
    sizes = f"from {min(workers):.0f} to {max(workers):.0f} workers"
    return {
        "workers": sorted({int(size) for size in workers}),
        "n": len(points),
        **slopes,
        "statement": f"{_growth_words('share of processor time', slopes['share'], 100, 'points')} {sizes}; "
        + _growth_words("use of processors", slopes["cores"], 1, "of a processor"),
    }


def _slope(workers: Sequence[float], values: Sequence[float]) -> dict[str, Any]:
    """Return by how much a value grows with each worker, and where the true growth lies."""
    if min(values) == max(values):
        # Counters that never moved; a line through them has no spread that could be computed.
        return {"value": 0.0, "interval": Interval(0.0, 0.0, "t").as_dict()}
    line = stats.linregress(workers, values)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 2)) * float(line.stderr)
    slope = float(line.slope)
    return {"value": slope, "interval": Interval(slope - reach, slope + reach, "t").as_dict()}


def _growth_words(what: str, slope: Mapping[str, Any], factor: float, unit: str) -> str:
    low, high = slope["interval"]["low"] * factor, slope["interval"]["high"] * factor
    if low <= 0 <= high:
        return f"the platform's {what} does not measurably grow ({span(low, high, 0)} {unit} a worker)"
    verb = "grows" if low > 0 else "falls"
    ends = (low, high) if low > 0 else (-high, -low)
    return f"the platform's {what} {verb} by {span(*ends, 0)} {unit} a worker"


def _notes(process: Sequence[Document], pods: Sequence[Document]) -> list[str]:
    """Return what else differs between the two sides."""
    places = [_placement(process[-1]), _placement(pods[-1])]
    if sorted(places[0].values()) == sorted(places[1].values()):
        return []
    told = [", ".join(f"{count} on {host}" for host, count in sorted(place.items())) for place in places]
    return [f"tasks were placed differently: processes {told[0]}; pods {told[1]}"]


def _placement(run: Document) -> Counter[str]:
    return Counter(str(task["host"]) for task in run["tasks"])


def _statement(longer: Document, later: Document) -> str:
    """Return in a sentence what pods cost, as far as intervals show it."""
    if longer["interval"] is None or later["interval"] is None:
        return (
            f"Pods trained {longer['value']:.2f} times as long as processes and started {_shift(later['value'])}; "
            "with one run of either that says little"
        )
    low, high = longer["interval"]["low"], longer["interval"]["high"]
    if low <= 1 <= high:
        training = f"Pods train not measurably longer or shorter than processes ({span(low, high)} times as long)"
    else:
        training = f"Pods train {span(low, high)} times as long as processes"
    low, high = later["interval"]["low"], later["interval"]["high"]
    if low <= 0 <= high:
        return f"{training} and start not measurably later or sooner ({span(low, high, 0)} s)"
    ends, verb = ((low, high), "later") if low > 0 else ((-high, -low), "sooner")
    return f"{training} and start {span(*ends, 0)} s {verb}"


def _shift(seconds: float) -> str:
    return f"{abs(seconds):.1f} s {'later' if seconds >= 0 else 'sooner'}"


def price_table(entries: Sequence[Document]) -> list[str]:
    """Return the price as lines for a terminal: tables of pairs, of phases, of the platform, and sentences."""
    if not entries:
        return []
    lines = ["The price of Kubernetes: pods beside processes", ""]
    head = ["", "n", "training", "start process", "start pods", "difference s"]
    lines += ruled(
        head,
        [
            [
                entry["label"],
                str(entry["training_seconds"]["n"]),
                _with_interval(entry["training_seconds"], "{:.3f}", " x"),
                f"{entry['startup_seconds']['process']['mean']:.2f} s",
                f"{entry['startup_seconds']['kubernetes']['mean']:.2f} s",
                _with_interval(entry["startup_seconds"]["difference"], "{:+.2f}"),
            ]
            for entry in entries
        ],
    )
    lines += ["", "seconds that pods take longer, by phase (mean)"]
    rows = [
        [entry["label"], *(f"{entry['phases'][name]['difference']['value']:+.2f}" for name in PHASES)]
        for entry in entries
    ]
    lines += ruled(["", *PHASES], rows)
    lines += _platform_table(entries)
    said = [f"{entry['label']}: {entry['statement']}." for entry in entries]
    said += [f"{entry['label']}: {note}." for entry in entries for note in entry["notes"]]
    grown = dict.fromkeys(entry["growth"]["statement"] for entry in entries if entry["growth"])
    return [*lines, "", *("* " + text for text in [*said, *(text[0].upper() + text[1:] + "." for text in grown)])]


def _platform_table(entries: Sequence[Document]) -> list[str]:
    rows = []
    told: set[str] = set()
    for entry in entries:
        for runtime in ("process", "kubernetes"):
            usage = (entry["platform"] or {}).get(runtime)
            if usage:
                told |= set(usage["cpu_seconds"])
                rows.append((f"{entry['label']}, {runtime}", usage))
    if not rows:
        return []
    parts = [name for name in PARTS if name in told]
    table = [
        [
            name,
            f"{usage['share']['mean']:.1%}",
            f"{usage['cores']['mean']:.3f}",
            *(f"{usage['cpu_seconds'].get(part, 0.0):.2f}" for part in parts),
            f"{sum(usage['memory_bytes'].get(part, 0) for part in PLATFORM) / 2**20:.0f} MiB",
        ]
        for name, usage in rows
    ]
    title = "what the platform takes of the cluster's machines, and CPU seconds of a run by part (mean)"
    head = ["", "share", "processors", *(part.replace("_", " ") for part in parts), "memory"]
    return ["", title, *ruled(head, table)]


def _with_interval(found: Document, form: str, unit: str = "") -> str:
    text = form.format(found["value"]) + unit
    interval = found["interval"]
    return text if interval is None else f"{text} ({form.format(interval['low'])} to {form.format(interval['high'])})"
