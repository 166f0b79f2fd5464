# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pictures of a benchmark show, as plain values: pure, and without a line about drawing.

Each function takes the benchmark's document (schema ``dtf.benchmark/2``) and returns pictures that have something to
show: what was not measured makes no picture, never an empty frame. Where there is more than a picture can carry, it is
thinned, and the picture says so.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..module_utils.platform_usage import PLATFORM
from ..module_utils.stats import PHASES, thinned
from .scaling import LEAST_MISFIT

#: The schema this reads.
SCHEMA = "dtf.benchmark/2"
#: Dots that one picture carries; more would be a blot, and a page that does not open.
MOST_DOTS = 240
#: Series in one picture: as many colours as can be told apart.
MOST_LINES = 6
#: Pictures of one kind, rows of one picture, curves of one picture.
MOST_PICTURES, MOST_ROWS, MOST_CURVES = 4, 24, 24
#: Phases that a reader thinks of as one; the colours of the pictures follow this order.
PHASE_GROUPS: dict[str, tuple[str, ...]] = {
    "schedule": ("created", "scheduled"),
    "image": ("image",),
    "start, import": ("start", "import"),
    "connect": ("connect",),
    "barrier": ("barrier",),
    "train": ("train",),
    "export, exit": ("export", "exit"),
}
#: What a parameter server does between its start and its end; no phase of the clock, hence of its own colour.
SERVES = "serves"

Point = tuple[float, float]


@dataclass(frozen=True)
class Dot:
    """One run.

    Attributes:
        x: where it stands, before it is set apart from its neighbours.
        y: what was measured.
        tip: what is told of it when it is pointed at.
        outlier: whether the spread of the others does not explain it.
    """

    x: float
    y: float
    tip: str
    outlier: bool = False


@dataclass(frozen=True)
class Mean:
    """The mean of several runs, with where the true one lies; ``low`` and ``high`` are ``None`` where nothing says."""

    x: float
    y: float
    low: float | None
    high: float | None
    n: int
    tip: str


@dataclass(frozen=True)
class Line:
    """A series: every run, the means, the law that was fitted to them, and the knee."""

    label: str
    colour: int
    dots: tuple[Dot, ...]
    means: tuple[Mean, ...]
    curve: tuple[Point, ...] = ()
    knee: Point | None = None
    knee_text: str = ""


@dataclass(frozen=True)
class Scale:
    """A measure against the number of workers."""

    name: str
    title: str
    subtitle: str
    caption: str
    sizes: tuple[int, ...]
    lines: tuple[Line, ...]
    ideal: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Row:
    """A cell in a picture that has a row for each."""

    label: str
    dots: tuple[Dot, ...]
    mean: Mean

    @property
    def note(self) -> str:
        """What stands behind the label, however little room there is."""
        return f" (n = {self.mean.n})"


@dataclass(frozen=True)
class Strip:
    """A measure of each cell, one row a cell; ``centre`` is a line to compare with."""

    name: str
    title: str
    subtitle: str
    caption: str
    axis: str
    rows: tuple[Row, ...]
    centre: float | None = None


@dataclass(frozen=True)
class Heat:
    """A measure over two words; a value is ``None`` where nothing was measured, and its text says why."""

    name: str
    title: str
    subtitle: str
    caption: str
    x_word: str
    y_word: str
    xs: tuple[str, ...]
    ys: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    tips: tuple[tuple[str, ...], ...]
    #: What the ends of the colours stand for: the same in all maps of two words.
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Part:
    """A stretch of a bar: where it begins, how long it is, which colour it has."""

    kind: str
    begin: float
    length: float
    tip: str


@dataclass(frozen=True)
class Bar:
    """A row of stretches."""

    label: str
    parts: tuple[Part, ...]
    note: str = ""


@dataclass(frozen=True)
class Bars:
    """Stretches of time, one row after the other; ``kinds`` are those that occur, in the order of the legend."""

    name: str
    title: str
    subtitle: str
    caption: str
    axis: str
    kinds: tuple[str, ...]
    bars: tuple[Bar, ...]
    #: Whether a label is a short word that stands beside its bar, not a sentence above it.
    short: bool = False


@dataclass(frozen=True)
class Curve:
    """One run's values; curves of one group have one colour and one entry in the legend."""

    label: str
    group: str
    colour: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curves:
    """A measure against the step or the seconds, one line a cell."""

    name: str
    title: str
    subtitle: str
    caption: str
    axis: str
    curves: tuple[Curve, ...]
    falling: bool


def clean(value: Any) -> Any:
    """Return a document whose texts are single lines, without what neither XML nor a browser takes.

    Control characters and halves of characters come from damaged files and from names that somebody has tried out.
    """
    if isinstance(value, str):
        line = " ".join(value.split()) if not value.isprintable() or "  " in value else value
        return line if line.isprintable() else "".join(map(_printable, line))
    if isinstance(value, Mapping):
        return {clean(key): clean(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(entry) for entry in value]
    return value


def _printable(character: str) -> str:
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with thin thousands and a fixed count of decimals; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def short(value: float | None) -> str:
    """Return a number with three digits that count, and no power of ten before a million."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    return number(value, 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or not size else 3)


def span(interval: Mapping[str, Any] | None, digits: int = 2) -> str:
    """Return an interval in words, a dash where there is none."""
    return f"{number(interval['low'], digits)} to {number(interval['high'], digits)}" if interval else "-"


def counts(numbers: Iterable[int]) -> str:
    """Return how many runs stand behind each of several numbers: ``n = 5``, ``n = 3 to 5``."""
    found = sorted(set(numbers))
    if not found:
        return "n = 0"
    return f"n = {found[0]}" if len(found) == 1 else f"n = {found[0]} to {found[-1]}"


def thin(dots: Sequence[Dot], most: int) -> tuple[Dot, ...]:
    """Return at most so many dots, in the order of their values: the ends, all outliers that fit, and an even choice.

    What is left has the same range and nearly the same distribution, and no dot is moved.
    """
    ordered = sorted(dots, key=lambda dot: (dot.y, dot.tip))
    if len(ordered) <= most:
        return tuple(ordered)
    if most < 2:
        return tuple(ordered[:most])
    kept = {0, len(ordered) - 1}
    for place, dot in enumerate(ordered):
        if dot.outlier and len(kept) < most:
            kept.add(place)
    room = most - len(kept)
    kept |= {round(place * (len(ordered) - 1) / (room + 1)) for place in range(1, room + 1)}
    return tuple(ordered[place] for place in sorted(kept))


def counted_runs(cell: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the runs of a cell that its numbers are from."""
    return [
        run
        for run in cell["runs"]
        if run["counted"] and run["state"] == "succeeded" and run["training_seconds"] is not None
    ]


def run_tip(run: Mapping[str, Any], label: str) -> str:
    """Return what is told of a run that is pointed at."""
    lines = [label, f"{number(run['training_seconds'])} s training"]
    if run["steps_per_second"] is not None:
        lines.append(f"{number(run['steps_per_second'], 0)} steps/s")
    if run.get("repeat") is not None:
        lines.append(f"repeat {run['repeat']}")
    lines += [run["run_id"]]
    if run.get("outlier"):
        lines.append("outlier, counted")
    if run.get("doubts"):
        lines.append("doubts: " + ", ".join(run["doubts"]))
    return "\n".join(lines)


def size_of(cell: Mapping[str, Any]) -> int:
    """Return the workers of a cell."""
    return int(cell["cell"]["workers"])


# --- what more workers bring -----------------------------------------------------------------------------------------


def scales(document: Mapping[str, Any]) -> list[Scale]:
    """Return time, speed-up and efficiency against workers, of all series that have two sizes; six series a picture."""
    series = [entry for entry in document["series"] if len(_measured(entry, document)) > 1]
    pictures: list[Scale] = []
    groups = [series[place : place + MOST_LINES] for place in range(0, len(series), MOST_LINES)][:MOST_PICTURES]
    for place, group in enumerate(groups):
        suffix = f"-{place + 1}" if place else ""
        part = f"series {place * MOST_LINES + 1} to {place * MOST_LINES + len(group)} of {len(series)}"
        pictures += _group_scales(document, group, suffix, part if len(series) > len(group) else "")
    return pictures


def _measured(series: Mapping[str, Any], document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cells of a series that have a run, by their workers."""
    return [cell for cell in (document["cells"][index] for index in series["cells"]) if counted_runs(cell)]


def answer_picture(document: Mapping[str, Any]) -> Scale | Strip | None:
    """Return what stands beside the answer: speed-ups by means and intervals or, without any, each cell's time."""
    # With several series the answer is about one, and names it.
    told = [series for series in document["series"] if series["label"] and f"({series['label']})" in document["answer"]]
    for picture in scales({**document, "series": told or document["series"]}):
        if picture.name == "speed-up":
            lines = tuple(replace(line, dots=()) for line in picture.lines)
            of = f" with {told[0]['label']}" if told else ""
            caption = "The dashed line is what the number of workers promises"
            law = any(line.curve for line in lines)
            caption += "; the solid one is the fitted law." if law else "; the solid one joins the means."
            return replace(picture, name="answer", title=f"Speed-up{of}", caption=caption, lines=lines)
    found = strip(document)
    return found and replace(found, name="answer")


def _group_scales(
    document: Mapping[str, Any], group: Sequence[Mapping[str, Any]], suffix: str, part: str
) -> list[Scale]:
    cells = [_measured(series, document) for series in group]
    sizes = tuple(sorted({size_of(cell) for members in cells for cell in members}))
    most = max(2, MOST_DOTS // sum(map(len, cells)))
    left_out = any(len(counted_runs(cell)) > most for members in cells for cell in members)
    tail = ["a part of the runs as dots, with the ends and outliers" if left_out else "every run a dot"]
    tail += ["a ring around a mean is the knee"] if len(group) > 1 and any(map(_has_knee, group)) else []
    tail += [part] if part else []
    n = counts(len(counted_runs(cell)) for members in cells for cell in members)
    lines = [_time_line(series, members, place, most) for place, (series, members) in enumerate(zip(group, cells))]
    found = [
        Scale(
            f"time{suffix}",
            "Training time",
            f"seconds, mean and 95 % interval, {n}",
            "Lower is better. " + _sentence(tail),
            sizes,
            tuple(lines),
        )
    ]
    relative = [
        (series, members, place)
        for place, (series, members) in enumerate(zip(group, cells))
        if any(_step(series, size_of(cell), "speed_up") for cell in members)
    ]
    if not relative:
        return found
    base = {size_of(members[0]) for _series, members, _place in relative}
    ideal = [(float(size), size / min(base)) for size in sizes if size >= min(base)] if len(base) == 1 else []
    beside = _workers(min(base)) if len(base) == 1 else "the smallest of its series"
    found.append(
        Scale(
            f"speed-up{suffix}",
            "Speed-up",
            f"times as fast as {beside}, 95 % interval, {n}",
            "Higher is better; the dashed line is what the number of workers promises. " + _sentence(tail),
            sizes,
            tuple(_ratio_line(*entry, "speed_up", most) for entry in relative),
            tuple(ideal),
        )
    )
    found.append(
        Scale(
            f"efficiency{suffix}",
            "Efficiency",
            f"speed-up over what is promised, 95 % interval, {n}",
            "1 is a worker that brings all it could. " + _sentence(tail),
            sizes,
            tuple(_ratio_line(*entry, "efficiency", most) for entry in relative),
            tuple((x, 1.0) for x, _y in ideal),
        )
    )
    return found


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."


def _workers(size: int) -> str:
    return "1 worker" if size == 1 else f"{size} workers"


def _step(series: Mapping[str, Any], size: int, measure: str) -> Mapping[str, Any] | None:
    """Return what a series says of a measure at a size."""
    for step in series["scaling"]["steps"]:
        if step["size"] == size:
            found: Mapping[str, Any] | None = step[measure]
            return found
    return None


def law_seconds(fit: Mapping[str, Any], size: float) -> float:
    """Return the training time that a fitted law says for a number of workers."""
    value = {name: parameter["value"] for name, parameter in fit["parameters"].items()}
    coherency = value.get("coherency", 0.0)
    growth = 1 + value["contention"] * (size - 1) + coherency * size * (size - 1)
    return float(value["one_worker_seconds"] * growth / size)


def believed_law(series: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the law to draw: the universal one, else Amdahl's, else none; one that the runs refute is not drawn."""
    for name in ("usl", "amdahl"):
        law: Mapping[str, Any] | None = series["scaling"][name]
        if law is not None and (law["misfit"] is None or law["misfit"] >= LEAST_MISFIT):
            return law
    return None


def _law_points(series: Mapping[str, Any], sizes: Sequence[int]) -> list[Point]:
    """Return the law between the smallest and the largest size measured, never beyond; a law below zero is none."""
    law = believed_law(series)
    if law is None:
        return []
    low, high = math.log(min(sizes)), math.log(max(sizes))
    points = [math.exp(low + (high - low) * place / 40) for place in range(41)]
    found = [(size, law_seconds(law, size)) for size in points]
    return found if all(seconds > 0 for _size, seconds in found) else []


def _has_knee(series: Mapping[str, Any]) -> bool:
    knee = series["scaling"]["knee"]
    return bool(knee and knee["size"] is not None)


def _knee(series: Mapping[str, Any], points: Sequence[Mean]) -> tuple[Point | None, str]:
    knee = series["scaling"]["knee"]
    if not knee or knee["size"] is None:
        return None, ""
    place = next(((mean.x, mean.y) for mean in points if mean.x == knee["size"]), None)
    return place, "knee" if knee["certain"] else f"knee? {knee['confidence']:.0%}"


def _time_line(series: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], place: int, most: int) -> Line:
    dots: list[Dot] = []
    means = []
    for cell in cells:
        size, summary = size_of(cell), cell["training_seconds"]
        label = cell["label"]
        dots += thin(
            [Dot(size, run["training_seconds"], run_tip(run, label), run["outlier"]) for run in counted_runs(cell)],
            most,
        )
        means.append(mean_of(summary, size, f"{label}\nmean {number(summary['mean'])} s"))
    knee, text = _knee(series, means)
    return Line(
        series["label"],
        place,
        tuple(dots),
        tuple(means),
        tuple(_law_points(series, [size_of(cell) for cell in cells])),
        knee,
        text,
    )


def mean_of(summary: Mapping[str, Any], x: float, told: str, unit: str = "s") -> Mean:
    """Return the mean of a summary; ``told`` is what its tip begins with."""
    interval = summary["interval"]
    unit = f" {unit}" if unit else ""
    tip = f"{told}\n95 %: {span(interval)}{unit}\nn = {summary['n']}" if interval else f"{told}\nn = {summary['n']}"
    low, high = (interval["low"], interval["high"]) if interval else (None, None)
    return Mean(x, summary["mean"], low, high, summary["n"], tip)


def _ratio_line(
    series: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], place: int, measure: str, most: int
) -> Line:
    """Return speed-up or efficiency; a run's is the base's geometric mean over its own time."""
    base = cells[0]
    smallest = size_of(base)
    one = statistics.geometric_mean([run["training_seconds"] for run in counted_runs(base)])
    dots: list[Dot] = []
    means = [Mean(smallest, 1.0, None, None, len(counted_runs(base)), f"{base['label']}\n1 by definition")]

    def over(size: float) -> float:
        """Return what a ratio of times is divided by."""
        return size / smallest if measure == "efficiency" else 1.0

    for cell in cells:
        size, label = size_of(cell), cell["label"]
        dots += thin(
            [
                Dot(
                    size,
                    one / run["training_seconds"] / over(size),
                    run_tip(run, f"{label}: {number(one / run['training_seconds'] / over(size))}"),
                    run["outlier"],
                )
                for run in counted_runs(cell)
            ],
            most,
        )
        found = _step(series, size, measure)
        if found:
            interval = found["interval"]
            told = f"{label}\n{measure.replace('_', '-')} {number(found['value'])}"
            tip = f"{told}\n95 %: {span(interval)}\nn = {found['n']} ({found['design']})" if interval else told
            low, high = (interval["low"], interval["high"]) if interval else (None, None)
            means.append(Mean(size, found["value"], low, high, found["n"], tip))
    curve = _law_points(series, [size_of(cell) for cell in cells])
    law = [(size, curve[0][1] / seconds / over(size)) for size, seconds in curve]
    knee, text = _knee(series, means)
    return Line(series["label"], place, tuple(dots), tuple(means), tuple(law), knee, text)


# --- cells beside each other -----------------------------------------------------------------------------------------


def strip(document: Mapping[str, Any]) -> Strip | None:
    """Return the training time of each cell, a row a cell."""
    cells = [cell for cell in document["cells"] if counted_runs(cell)]
    if not cells:
        return None
    shown = cells[:MOST_ROWS]
    most = max(2, MOST_DOTS // len(shown))
    rows = []
    for cell in shown:
        label, summary = cell["label"], cell["training_seconds"]
        dots = [
            Dot(run["training_seconds"], run["training_seconds"], run_tip(run, label), run["outlier"])
            for run in counted_runs(cell)
        ]
        mean = mean_of(summary, summary["mean"], f"{label}\nmean {number(summary['mean'])} s")
        rows.append(Row(label, thin(dots, most), mean))
    return Strip(
        "cells",
        "Training time of each cell",
        f"seconds, mean and 95 % interval, {counts(row.mean.n for row in rows)}",
        "Every cell a row, every run a dot; a ring is an outlier, and counted."
        + _rest(len(shown), len(cells), "cells"),
        "seconds of training",
        tuple(rows),
    )


def _rest(shown: int, there: int, what: str) -> str:
    return f" The first {shown} of {there} {what}; all of them are in the table." if there > shown else ""


def heats(document: Mapping[str, Any]) -> list[Heat]:
    """Return the mean training time over workers and another count, where both have two values or more."""
    found: list[Heat] = []
    for word in ("ps", "nodes"):
        if any(len(document["axes"].get(axis, ())) < 2 for axis in ("workers", word)):
            continue
        planes: dict[tuple[tuple[str, str], ...], list[Mapping[str, Any]]] = {}
        for cell in document["cells"]:
            others = {key: str(cell["cell"].get(key)) for key in document["axes"] if key not in ("workers", word)}
            planes.setdefault(tuple(others.items()), []).append(cell)
        pictures = [
            heat
            for others, cells in planes.items()
            if (heat := _heat(word, others, cells, document["axes"])) is not None
        ]
        values = [value for picture in pictures for row in picture.values for value in row if value is not None]
        for place, picture in enumerate(pictures[:MOST_PICTURES]):
            suffix = f"-{place + 1}" if place else ""
            rest = _rest(MOST_PICTURES, len(pictures), "such maps")
            found.append(
                replace(
                    picture,
                    name=f"map-{word}{suffix}",
                    caption=picture.caption + rest,
                    low=min(values),
                    high=max(values),
                )
            )
    return found


def _heat(
    word: str, others: Sequence[tuple[str, str]], cells: Sequence[Mapping[str, Any]], axes: Mapping[str, Sequence[Any]]
) -> Heat | None:
    by_place = {(cell["cell"].get("workers"), cell["cell"].get(word)): cell for cell in cells}
    xs = [value for value in axes["workers"] if any(key[0] == value for key in by_place)]
    ys = [value for value in axes[word] if value is not None and any(key[1] == value for key in by_place)]
    measured = [cell for cell in by_place.values() if counted_runs(cell)]
    if len(xs) < 2 or len(ys) < 2 or len(measured) < 2:
        return None
    where = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in others if value != "None")
    grid = [[_square(by_place.get((x, y))) for x in xs] for y in ys]
    n = counts(cell["training_seconds"]["n"] for cell in measured)
    return Heat(
        "",
        f"Workers and {word}",
        f"mean training seconds, {n}{', ' + where if where else ''}",
        "Darker is slower, on one scale in all of these maps.",
        "workers",
        word,
        tuple(map(str, xs)),
        tuple(map(str, ys)),
        tuple(tuple(square[0] for square in row) for row in grid),
        tuple(tuple(square[1] for square in row) for row in grid),
        tuple(tuple(square[2] for square in row) for row in grid),
    )


def _square(cell: Mapping[str, Any] | None) -> tuple[float | None, str, str]:
    if cell is None:
        return None, "", ""
    label, summary = cell["label"], cell["training_seconds"]
    if summary["mean"] is None:
        why = cell.get("unfit") or (cell.get("given_up") or {}).get("message") or "no successful run"
        return None, "unfit" if cell.get("unfit") else "no run", f"{label}\n{why}"
    mean = mean_of(summary, 0, f"{label}\nmean {number(summary['mean'])} s")
    return summary["mean"], short(summary["mean"]), mean.tip


# --- where the time goes ---------------------------------------------------------------------------------------------


def phase_parts(phases: Mapping[str, float | None], label: str = "", n: int | None = None) -> tuple[Part, ...]:
    """Return the groups of phases, one after the other from 0; a phase that did not happen takes no time."""
    parts, begin = [], 0.0
    for kind, names in PHASE_GROUPS.items():
        found = {name: seconds for name in names if (seconds := phases.get(name)) is not None}
        length = math.fsum(found.values())
        if length > 0:
            each = "\n".join(f"{name} {number(seconds)} s" for name, seconds in found.items())
            tail = f"\nmean of n = {n}" if n else ""
            parts.append(Part(kind, begin, length, f"{label}\n{each}{tail}".strip()))
            begin += length
    return tuple(parts)


def phase_bars(document: Mapping[str, Any]) -> Bars | None:
    """Return where the time of each cell goes, from a run's creation to its end."""
    cells = [cell for cell in document["cells"] if any(cell["phases"].get(name) for name in PHASES)]
    if not cells:
        return None
    shown = cells[:MOST_ROWS]
    bars = []
    for cell in shown:
        label, n = cell["label"], cell["wall_seconds"]["n"]
        bars.append(Bar(label, phase_parts(cell["phases"], label, n), f"{short(cell['wall_seconds']['mean'])} s"))
    return Bars(
        "phases",
        "Phases of each cell",
        f"mean seconds from created to exit, {counts(cell['wall_seconds']['n'] for cell in shown)}",
        "Only the train phase is training time; the others stand beside it." + _rest(len(shown), len(cells), "cells"),
        "seconds since the run was created",
        kinds_of(bars),
        tuple(bars),
    )


def kinds_of(bars: Sequence[Bar]) -> tuple[str, ...]:
    """Return the kinds that occur, in the order of the groups."""
    found = {part.kind for row in bars for part in row.parts}
    return tuple(kind for kind in (*PHASE_GROUPS, SERVES) if kind in found)


# --- the price of Kubernetes -----------------------------------------------------------------------------------------


def price_pictures(document: Mapping[str, Any]) -> list[Strip | Bars]:
    """Return training in pods beside processes as ratios, and the phases of both beside each other."""
    found: list[Strip | Bars] = []
    entries = document["price"][:MOST_ROWS]
    rest = _rest(len(entries), len(document["price"]), "pairs")
    rows = [
        Row(entry["label"], (), _ratio_mean(ratio, entry["label"]))
        for entry in entries
        if (ratio := entry["training_seconds"])
    ]
    if rows:
        found.append(
            Strip(
                "price-training",
                "Training time in pods",
                f"times as long as processes, 95 % interval, {counts(row.mean.n for row in rows)}",
                "Right of 1 is slower than processes on the same hosts; an interval that holds 1 shows no difference."
                + rest,
                "pods over processes",
                tuple(rows),
                1.0,
            )
        )
    bars = []
    for entry in entries:
        for kind in ("process", "kubernetes"):
            phases = {name: both[kind] for name, both in entry["phases"].items() if name != "train"}
            label = f"{entry['label']}, {kind}"
            parts = phase_parts(phases, label, entry["startup_seconds"][kind]["n"])
            if parts:
                bars.append(Bar(label, parts, f"{short(math.fsum(part.length for part in parts))} s"))
    if bars:
        n = counts(entry["startup_seconds"][kind]["n"] for entry in entries for kind in ("process", "kubernetes"))
        found.append(
            Bars(
                "price-phases",
                "All but training, pods and processes",
                f"mean seconds of a run outside its training, {n}",
                "The same cell in both runtimes, on the same hosts." + rest,
                "seconds",
                kinds_of(bars),
                tuple(bars),
            )
        )
    platform = platform_bars(document)
    return [*found, *([platform] if platform else [])]


def platform_bars(document: Mapping[str, Any]) -> Bars | None:
    """Return what the cluster took of its machines beside the trainer, in runs of pods and of processes."""
    bars: list[Bar] = []
    told = 0
    ns = []
    for entry in document["price"]:
        for kind in ("process", "kubernetes"):
            usage = (entry["platform"] or {}).get(kind)
            if not usage:
                continue
            told += 1
            if len(bars) == MOST_ROWS:
                continue
            label, n = f"{entry['label']}, {kind}", usage["share"]["n"]
            ns.append(n)
            parts, begin = [], 0.0
            for part in PLATFORM:
                seconds = usage["cpu_seconds"].get(part, 0.0)
                if seconds > 0:
                    memory = usage["memory_bytes"].get(part, 0) / 2**20
                    tip = f"{label}\n{part.replace('_', ' ')} {number(seconds)} CPU s\n{number(memory, 0)} MiB\nn = {n}"
                    parts.append(Part(part.replace("_", " "), begin, seconds, tip))
                    begin += seconds
            share = usage["share"]["mean"]
            bars.append(Bar(label, tuple(parts), f"{short(begin)} s, {share:.1%} of all"))
    if not any(row.parts for row in bars):
        return None
    kinds = {part.kind for row in bars for part in row.parts}
    return Bars(
        "price-platform",
        "What the platform takes itself",
        f"mean CPU seconds of a run on all machines, {counts(ns)}",
        "The share is of the processor time of platform and trainer together; beside processes the platform is at rest."
        + _rest(len(bars), told, "rows"),
        "CPU seconds",
        tuple(kind for kind in (part.replace("_", " ") for part in PLATFORM) if kind in kinds),
        tuple(bars),
    )


def _ratio_mean(ratio: Mapping[str, Any], label: str) -> Mean:
    interval = ratio["interval"]
    low, high = (interval["low"], interval["high"]) if interval else (None, None)
    tip = f"{label}\n{number(ratio['value'])} times\n95 %: {span(interval)}\nn = {ratio['n']} ({ratio['design']})"
    return Mean(ratio["value"], ratio["value"], low, high, ratio["n"], tip)


# --- single runs -----------------------------------------------------------------------------------------------------


def typical_run(cell: Mapping[str, Any]) -> str | None:
    """Return the run of a cell that is nearest to its median."""
    runs = counted_runs(cell)
    if not runs:
        return None
    middle = statistics.median(run["training_seconds"] for run in runs)
    nearest = min(runs, key=lambda run: (abs(run["training_seconds"] - middle), str(run["run_id"])))
    return str(nearest["run_id"])


def runs_to_read(document: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the cells whose curves are drawn, each with its typical run: evenly chosen where there are too many."""
    found = [(index, run) for index, cell in enumerate(document["cells"]) if (run := typical_run(cell))]
    return thinned(found, MOST_CURVES)


def timeline_run(document: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return cell and run of the timeline: the typical run of the measured cell with the most tasks, pods first."""

    def tasks(index: int) -> tuple[bool, int]:
        words = document["cells"][index]["cell"]
        return words.get("runtime") == "kubernetes", int(words["workers"]) + int(words.get("ps") or 0)

    found = [(index, run) for index, cell in enumerate(document["cells"]) if (run := typical_run(cell))]
    return max(found, key=lambda pair: (tasks(pair[0]), -pair[0])) if found else None


def timeline(run: Mapping[str, Any], label: str) -> Bars | None:
    """Return tasks by phases of one run.

    Args:
        run: its document.
        label: of its cell.
    """
    tasks = list(run["tasks"])
    bars = []
    for task in sorted(tasks, key=lambda task: (task["role"] != "ps", task["index"]))[:MOST_ROWS]:
        name = f"{task['role']} {task['index']}"
        where = f"{name} on {task['host']}"
        phases = dict(task["phases"])
        served = phases.pop("exit") if task["role"] == "ps" else None
        parts = list(phase_parts(phases, where))
        if served and parts:
            reached = parts[-1].begin + parts[-1].length
            parts.append(Part(SERVES, reached, served, f"{where}\nserves {number(served)} s"))
        note = f"{task['restarts']} restarts" if task.get("restarts") else ""
        bars.append(Bar(name, tuple(parts), note))
    if not any(row.parts for row in bars):
        return None
    return Bars(
        "timeline",
        "One run, task by task",
        f"seconds since created; {label}, n = 1",
        f"Run {run['run_id']}, the one nearest to its cell's median." + _rest(len(bars), len(tasks), "tasks"),
        "seconds since the run was created",
        kinds_of(bars),
        tuple(bars),
        short=True,
    )


#: What is drawn of a training's curves: name, title, curve, column, whether it falls.
_CURVES = (
    ("accuracy", "Test accuracy", "test", "accuracy", False),
    ("test-loss", "Test loss", "test", "loss", True),
    ("loss", "Loss of the newest batch", "batch", "loss", True),
)


def curves(traces: Sequence[tuple[str, int, Mapping[str, Any]]], cells: int) -> list[Curves]:
    """Return how accuracy and loss went, against the global step and against seconds.

    Args:
        traces: label, workers and ``training.curves`` of one run of each cell.
        cells: how many cells there are, of which these are a choice.
    """
    groups = _curve_groups([(label, size) for label, size, _curves in traces])
    found = []
    for name, title, curve, column, falling in _CURVES:
        lines = [(label, size, curve_points(kept.get(curve, {}), column)) for label, size, kept in traces]
        lines = [line for line in lines if line[2]]
        if not lines or (name == "test-loss" and max(len(points) for _label, _size, points in lines) < 2):
            continue
        rest = _rest(len(traces), cells, "cells")
        for axis, place in (("global step", 0), ("seconds since the start barrier", 1)):
            drawn = tuple(
                Curve(label, *groups[label, size], tuple((point[place], point[2]) for point in points))
                for label, size, points in lines
            )
            found.append(
                Curves(
                    f"{name}-{'seconds' if place else 'step'}",
                    f"{title} by {'seconds' if place else 'step'}",
                    f"{'share of the test set that is right, ' if name == 'accuracy' else ''}n = 1 run a cell",
                    "The run nearest to the median of each cell." + rest,
                    axis,
                    drawn,
                    falling,
                )
            )
    return found


def _curve_groups(traces: Sequence[tuple[str, int]]) -> dict[tuple[str, int], tuple[str, int]]:
    """Return group and colour of each curve: its own where colours suffice, else that of all with as many workers."""
    if len(traces) <= MOST_LINES:
        return {trace: (trace[0], place) for place, trace in enumerate(traces)}
    sizes = sorted({size for _label, size in traces})
    share = -(-len(sizes) // MOST_LINES)
    found = {}
    for label, size in traces:
        place = sizes.index(size) // share
        few, many = sizes[place * share], sizes[min((place + 1) * share, len(sizes)) - 1]
        found[label, size] = (_workers(few) if few == many else f"{few} to {many} workers", place)
    return found


def curve_points(curve: Mapping[str, Any], column: str) -> list[tuple[float, float, float]]:
    """Return global step, seconds since the start barrier and value of each point of a curve that has one."""
    columns = (curve.get(name) or () for name in ("global_step", "seconds", column))
    return [(step, seconds, value) for step, seconds, value in zip(*columns) if None not in (step, seconds, value)]
