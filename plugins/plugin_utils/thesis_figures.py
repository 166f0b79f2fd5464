# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The thesis's figures with our runs in them: training time against workers or parameter servers, a line a node count.

The thesis gives no numbers of its charts but where they have a minimum, a plateau, a rise; so that is what is drawn of
it, as marks beside the runs and never as points among them.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import drawing
from .drawing import LINES, MARKERS, MUTED, Sheet, nice_ticks
from .figures import NARROW
from .page_data import number, span
from .thesis_claims import PLATEAU_AT

Document = Mapping[str, Any]

#: What is said of the thesis in the pictures of which nothing more can be drawn.
SAID = {
    "kind-ps": "thesis: more ps a little better",
    "google-ps": "thesis: more ps clearly better",
}
#: Its minima, by the number of workers they are at.
MINIMA = {4: "thesis: minimum\nwith 2, 3 nodes", 5: "thesis: minimum\nwith 4, 5 nodes"}


def draw(experiment: Document, width: int) -> Sheet:
    """Return the picture of an experiment that has runs.

    Args:
        experiment: as the thesis's document has it.
        width: in points.
    """
    lines, varied = experiment["lines"], experiment["varied"]
    words = experiment["here"]["words"]
    legend = [(_colour(line), _label(line), _marker(line)) for line in lines]
    subtitle = (
        f"{experiment['here']['runs']} runs of {number(words['steps'], 0)} steps; dots: runs, marks: means with 95 %"
    )
    if width == NARROW:
        subtitle = f"{experiment['here']['runs']} runs; marks: means with 95 %"
    title = f"Training time against {'workers' if varied == 'workers' else 'parameter servers'}"
    sheet = Sheet(experiment["name"], width, 250 if width == NARROW else 330, title, subtitle, legend)
    tops = [run["training_seconds"] for line in lines for point in line["points"] for run in point["runs"]]
    tops += [_interval(point)[1] for line in lines for point in line["points"]]
    # Room above the runs for what is said of the thesis, and no interval so wide that the runs are a stripe below it.
    highest = min(max(tops), 2 * max(tops[: sum(len(p["runs"]) for line in lines for p in line["points"])]))
    top = highest * 1.25
    ticks = [tick for tick in nice_ticks(0, top) if tick <= top]
    labels = [f"{tick:g}" for tick in ticks]
    axes = sheet.axes(24 + 6.2 * max(map(len, labels)), 14, 38)
    axes.set_ylim(0, top)
    axes.set_yticks(ticks, labels)
    axes.set_ylabel("seconds", labelpad=4)
    shown = sorted({*experiment["thesis"][varied], *(point["x"] for line in lines for point in line["points"])})
    axes.set_xlim(shown[0] - 0.6, shown[-1] + 0.6)
    axes.set_xticks(shown)
    axes.set_xlabel(
        f"{varied} (the thesis has {experiment['thesis'][varied][0]} to {experiment['thesis'][varied][-1]})"
    )
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    _readings(axes, experiment, top)
    for place, line in enumerate(lines):
        _line(sheet, axes, line, (place - (len(lines) - 1) / 2) * 0.1, varied)
    return sheet


def _colour(line: Document) -> str:
    return LINES[(line["nodes"] - 1) % len(LINES)]


def _marker(line: Document) -> str:
    return MARKERS[(line["nodes"] - 1) % len(MARKERS)]


def _label(line: Document) -> str:
    return "1 node" if line["nodes"] == 1 else f"{line['nodes']} nodes" if line["nodes"] else "any nodes"


def _interval(point: Document) -> tuple[float, float]:
    found, mean = point["seconds"]["interval"], point["seconds"]["mean"]
    return (found["low"], found["high"]) if found else (mean, mean)


def _readings(axes: Any, experiment: Document, top: float) -> None:
    """Mark what the thesis read from its chart."""
    dashes = {"color": MUTED, "linewidth": 1.1, "linestyle": (0, (4, 3)), "zorder": 3.5}
    if experiment["name"] == "kind-workers":
        for at, text in MINIMA.items():
            axes.vlines([at], 0, top, **dashes)
            left = at == min(MINIMA)
            _say(axes, text, (at, top), (-5 if left else 5, -3), "right" if left else "left")
    elif experiment["name"] == "google-workers":
        points = _shape(experiment)
        axes.plot(*zip(*points), **dashes)
        _say(
            axes,
            f"thesis: like 1/n to {PLATEAU_AT}, then flat\n(from our first mean)",
            (0.98, 0.98),
            (0, 0),
            "right",
            True,
        )
    else:
        _say(axes, SAID[experiment["name"]], (0.98, 0.98), (0, 0), "right", True)


def _say(
    axes: Any, text: str, place: tuple[float, float], off: tuple[float, float], side: str, free: bool = False
) -> None:
    """Write beside a place, in the units of the axes or, if free, as shares of the picture."""
    axes.annotate(
        text,
        place,
        off,
        xycoords="axes fraction" if free else "data",
        textcoords="offset points",
        ha=side,
        va="top",
        color=MUTED,
        zorder=6,
    )


def _shape(experiment: Document) -> list[tuple[float, float]]:
    """Return 1/n up to the plateau and the plateau, through the mean of the smallest size measured."""
    first = min(point["x"] for line in experiment["lines"] for point in line["points"])
    means = [
        point["seconds"]["mean"] for line in experiment["lines"] for point in line["points"] if point["x"] == first
    ]
    scale = first * sum(means) / len(means)
    sizes = [size for size in experiment["thesis"]["workers"] if size >= first] or [first]
    return [(size, scale / min(size, max(PLATEAU_AT, first))) for size in sizes]


def _line(sheet: Sheet, axes: Any, line: Document, turn: float, varied: str) -> None:
    colour, marker = _colour(line), _marker(line)
    points: Sequence[Document] = line["points"]
    runs = [(point["x"] + turn - 0.08, run) for point in points for run in point["runs"]]
    for outlier in (False, True):
        some = [(x, run) for x, run in runs if run["outlier"] is outlier]
        if some:
            marks = axes.scatter(
                [x for x, _run in some],
                [run["training_seconds"] for _x, run in some],
                s=15,
                facecolors="none" if outlier else colour,
                edgecolors=colour if outlier else "none",
                linewidths=1.0 if outlier else 0,
                alpha=1.0 if outlier else 0.45,
                zorder=3,
            )
            sheet.tell(marks, [f"run {run['run_id']}\n{number(run['training_seconds'])} s" for _x, run in some])
    xs, means = [point["x"] + turn for point in points], [point["seconds"]["mean"] for point in points]
    if len(points) > 1:
        axes.plot(xs, means, color=colour, linewidth=1.4, alpha=0.6, zorder=3)
    ends = [_interval(point) for point in points]
    axes.vlines(xs, [low for low, _high in ends], [high for _low, high in ends], color=colour, linewidth=1.8, zorder=4)
    marks = axes.scatter(
        xs, means, s=34, marker=marker, facecolors=colour, edgecolors=drawing.PAPER, linewidths=0.8, zorder=5
    )
    sheet.tell(marks, [_tip(line, point, varied) for point in points])


def _tip(line: Document, point: Document, varied: str) -> str:
    seconds = point["seconds"]
    told = f"{point['x']} {varied}, {_label(line)}\nmean {number(seconds['mean'])} s"
    known = f"\n95 %: {span(seconds['interval'])} s" if seconds["interval"] else ""
    return f"{told}{known}\nn = {seconds['n']}"
