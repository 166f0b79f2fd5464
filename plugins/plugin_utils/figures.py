# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pictures of a benchmark: one function for each kind that ``page_data.py`` describes, nothing computed.

Each is drawn for a width: ``NARROW`` stands three in a row on a screen and alone on a phone, ``HALF`` beside the
answer, and ``WIDE`` is for those that need a row of their own where there is room.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Union

from . import drawing
from .drawing import GRID, INK, LINES, MARKERS, MUTED, PARTS, PHASES, TEXT, Rectangle, Sheet, nice_ticks, shortened
from .page_data import Bars, Curves, Heat, Line, Mean, Part, Scale, Strip, number, short

Picture = Union[Scale, Strip, Heat, Bars, Curves]
#: Matplotlib's, the types of which are not needed to read this.
Axes = Any

NARROW, HALF, WIDE = 320, 540, 780
#: From this ratio of sizes on, equal distances are equal ratios.
LOGARITHMIC_FROM = 8
#: Rows of squares, colours from quick to slow: Matplotlib's cividis, made for readers with any sight of colours.
_QUICK_TO_SLOW = "cividis_r"
_KINDS = {**PHASES, **PARTS}


def draw(picture: Picture, width: int = NARROW) -> Sheet:
    """Return a picture drawn for a width."""
    if isinstance(picture, Scale):
        return _scale(picture, width)
    if isinstance(picture, Strip):
        return _strip(picture, width)
    if isinstance(picture, Heat):
        return _heat(picture, width)
    if isinstance(picture, Bars):
        return _bars(picture, width)
    return _curves(picture, width)


def widths(picture: Picture) -> tuple[int, ...]:
    """Return the widths a picture is drawn for on a page; the last one is that of its files."""
    if picture.name == "answer":
        return NARROW, HALF
    return (NARROW, WIDE) if isinstance(picture, (Bars, Strip)) else (NARROW,)


# --- against workers -------------------------------------------------------------------------------------------------


def _scale(picture: Scale, width: int) -> Sheet:
    lines = picture.lines
    several = len(lines) > 1
    legend = [(LINES[line.colour], line.label, MARKERS[line.colour]) for line in lines] if several else []
    sheet = Sheet(picture.name, width, 235 if width == NARROW else 330, picture.title, picture.subtitle, legend)
    speed_up = picture.name.startswith(("speed-up", "answer"))
    logarithmic = max(picture.sizes) / min(picture.sizes) >= LOGARITHMIC_FROM
    tops = [value for line in lines for mean in line.means for value in (mean.y, mean.high or mean.y)]
    tops += [dot.y for line in lines for dot in line.dots] + [y for _x, y in picture.ideal]
    lows = [value for line in lines for mean in line.means for value in (mean.y, mean.low or mean.y)]
    lows += [dot.y for line in lines for dot in line.dots]
    ticks = nice_ticks(0, max(tops) * 1.02)
    both = speed_up and logarithmic
    if both:
        first, last = math.floor(math.log2(min(*lows, 1.0)) - 0.05), math.ceil(math.log2(max(tops)) + 0.05)
        ticks = [2.0**power for power in range(first + 1, last)]
    labels = [f"{tick:g}" if tick < 10000 else number(tick, 0) for tick in ticks]
    axes = sheet.axes(10 + 6.2 * max(map(len, labels)), 14, 38)
    if logarithmic:
        axes.set_xscale("log", base=2)
    if both:
        axes.set_yscale("log", base=2)
    axes.set_ylim(*(min(*lows, 1.0) * 0.9, max(tops) * 1.12) if both else (ticks[0], ticks[-1]))
    axes.set_yticks(ticks, labels)
    axes.minorticks_off()
    _workers_axis(axes, picture.sizes, logarithmic, width)
    axes.set_xlabel(
        "workers (both axes logarithmic)" if both else "workers (logarithmic)" if logarithmic else "workers"
    )
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    if picture.ideal:
        axes.plot(*zip(*picture.ideal), color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
        x, y = picture.ideal[-1]
        flat = picture.name.startswith("efficiency")
        axes.annotate(
            "ideal", (x, y), (0, 4) if flat else (-6, -1), textcoords="offset points", color=MUTED, ha="right"
        )
    for place, line in enumerate(lines):
        turn = (place - (len(lines) - 1) / 2) if several else 0.0
        _line(sheet, axes, line, turn, picture.sizes, logarithmic, rising=speed_up, alone=not several)
    return sheet


def _workers_axis(axes: Axes, sizes: Sequence[int], logarithmic: bool, width: int) -> None:
    """Name each size, but for those whose names would touch."""
    low, high = min(sizes), max(sizes)
    if logarithmic:
        room = (high / low) ** 0.08
        axes.set_xlim(low / room, high * room)
    else:
        axes.set_xlim(low - (high - low) * 0.12, high + (high - low) * 0.1)
    shown: list[int] = []
    for size in sorted(sizes):
        place = math.log(size / low) / math.log(high / low) if logarithmic else (size - low) / (high - low)
        before = shown[-1] if shown else None
        if before is not None:
            behind = math.log(before / low) / math.log(high / low) if logarithmic else (before - low) / (high - low)
            if (place - behind) * (width - 70) * 0.84 < 7 * max(len(str(size)), 2):
                continue
        shown.append(size)
    axes.set_xticks(shown, [str(size) for size in shown])


def _line(
    sheet: Sheet,
    axes: Axes,
    line: Line,
    turn: float,
    sizes: Sequence[int],
    logarithmic: bool,
    *,
    rising: bool,
    alone: bool,
) -> None:
    """Draw a series; ``turn`` sets it apart from the others at the same size."""
    colour, marker = LINES[line.colour], MARKERS[line.colour]
    gap = min((b - a for a, b in zip(sizes, sizes[1:])), default=1)
    reach = max(sizes) - min(sizes) if not logarithmic else math.log2(max(sizes) / min(sizes))
    unit = min(0.11 * gap if not logarithmic else 0.11, 0.035 * reach)

    def moved(x: float, by: float) -> float:
        return float(x * 2 ** (by * unit)) if logarithmic else x + by * unit

    for outlier in (False, True):
        dots = [dot for dot in line.dots if dot.outlier is outlier]
        if dots:
            marks = axes.scatter(
                [moved(dot.x, turn - 0.42) for dot in dots],
                [dot.y for dot in dots],
                s=15,
                marker="o",
                facecolors="none" if outlier else colour,
                edgecolors=colour if outlier else "none",
                linewidths=1.0 if outlier else 0,
                alpha=1.0 if outlier else 0.45,
                zorder=3,
                clip_on=False,
            )
            sheet.tell(marks, [dot.tip for dot in dots])
    points = line.curve or tuple((mean.x, mean.y) for mean in line.means)
    if len(points) > 1:
        axes.plot(*zip(*points), color=colour, linewidth=1.4, alpha=0.9 if line.curve else 0.5, zorder=3)
    _means(sheet, axes, [(moved(mean.x, turn), mean) for mean in line.means], colour, marker)
    if line.knee is not None:
        x, y = moved(line.knee[0], turn), line.knee[1]
        axes.scatter([x], [y], s=130, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=6, clip_on=False)
        axes.annotate(
            line.knee_text if alone else "",
            (x, y),
            # Where the line comes from is no room for words.
            (-6, 6) if rising else (6, 6),
            textcoords="offset points",
            ha="right" if rising else "left",
            va="bottom",
            zorder=7,
        )


def _means(sheet: Sheet, axes: Axes, means: Sequence[tuple[float, Mean]], colour: str, marker: str) -> None:
    known = [(x, mean.low, mean.high) for x, mean in means if mean.low is not None and mean.high is not None]
    if known:
        axes.vlines(*zip(*known), color=colour, linewidth=1.8, zorder=4)
    marks = axes.scatter(
        [x for x, _mean in means],
        [mean.y for _x, mean in means],
        s=34,
        marker=marker,
        facecolors=colour,
        edgecolors=drawing.PAPER,
        linewidths=0.8,
        zorder=5,
        clip_on=False,
    )
    sheet.tell(marks, [mean.tip for _x, mean in means])


# --- a row a cell ----------------------------------------------------------------------------------------------------


def _strip(picture: Strip, width: int) -> Sheet:
    rows, beside = picture.rows, _beside([row.label + row.note for row in picture.rows], width)
    pitch = 24 if beside else 36
    sheet = Sheet(picture.name, width, pitch * len(rows) + 40, picture.title, picture.subtitle)
    axes = sheet.axes(beside or (2 if picture.centre is None else 12), 12, 38)
    values = [dot.x for row in rows for dot in row.dots]
    values += [value for row in rows for value in (row.mean.x, row.mean.low, row.mean.high) if value is not None]
    most = 9 if beside else 6
    if picture.centre is None:
        ticks = nice_ticks(0, max(values), most)
    else:
        ticks = nice_ticks(min(*values, picture.centre), max(*values, picture.centre), most - 1)
    _rows_axes(axes, ticks, len(rows), picture.axis, beside > 0)
    for place, row in enumerate(rows):
        _label(axes, row.label, place, beside, width, row.note)
        # Runs above the mean and its interval, both below the label or beside it.
        y, under = (place - 0.18, 0.36) if beside else (place, 0.26)
        if picture.centre is not None:
            axes.vlines([picture.centre], y - 0.05, y + 0.5, color=MUTED, linewidth=1.2, linestyle=(0, (3, 2)))
        for outlier in (False, True):
            dots = [dot for dot in row.dots if dot.outlier is outlier]
            if dots:
                marks = axes.scatter(
                    [dot.x for dot in dots],
                    [y] * len(dots),
                    s=22,
                    facecolors="none" if outlier else LINES[0],
                    edgecolors=LINES[0] if outlier else "none",
                    linewidths=1.0 if outlier else 0,
                    alpha=1.0 if outlier else 0.45,
                    zorder=3,
                    clip_on=False,
                )
                sheet.tell(marks, [dot.tip for dot in dots])
        if row.mean.low is not None and row.mean.high is not None:
            axes.hlines([y + under], [row.mean.low], [row.mean.high], color=INK, linewidth=1.6, zorder=4)
        mark = axes.scatter(
            [row.mean.x], [y + under], s=26, marker="D", color=INK, linewidths=0, zorder=5, clip_on=False
        )
        sheet.tell(mark, [row.mean.tip])
    return sheet


def _beside(labels: Sequence[str], width: int, *, always: bool = False) -> float:
    """Return the room for labels beside their rows; none where they stand above them, for want of width."""
    if width < WIDE and not always:
        return 0.0
    return min(0.42 * width, 14 + drawing.LETTER * TEXT * max(map(len, labels)))


def _label(axes: Axes, text: str, place: int, beside: float, width: int, note: str = "") -> None:
    text = shortened(text, (beside - 8 if beside else width - 16) - drawing.LETTER * TEXT * len(note)) + note
    at, shift = {"xy": (0, place), "xycoords": ("axes fraction", "data")}, {"textcoords": "offset points"}
    if beside:
        axes.annotate(text, xytext=(-6, 0), ha="right", va="center", **at, **shift)
    else:
        axes.annotate(text, xytext=(1, 5), va="bottom", **at, **shift)


def _rows_axes(axes: Axes, ticks: Sequence[float], rows: int, label: str, beside: bool) -> None:
    axes.set_xlim(ticks[0], ticks[-1])
    axes.set_xticks(ticks, [f"{tick:g}" if tick < 10000 else number(tick, 0) for tick in ticks])
    axes.get_xticklabels()[0].set_ha("left" if ticks[0] == 0 else "center")
    axes.set_ylim(rows - 0.4, -0.6 if beside else -0.7)
    axes.set_yticks([])
    axes.set_xlabel(label)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


# --- two words -------------------------------------------------------------------------------------------------------


def _heat(picture: Heat, width: int) -> Sheet:
    high = min(46, 240 // len(picture.ys) + 10)
    sheet = Sheet(picture.name, width, high * len(picture.ys) + 40, picture.title, picture.subtitle)
    left = 18 + 7 * max(map(len, picture.ys))
    axes = sheet.axes(left, 2, 38)
    low, top = picture.low, picture.high
    colours = drawing.mpl.colormaps[_QUICK_TO_SLOW]
    room = (width - left) / len(picture.xs)
    for y, row in enumerate(picture.values):
        for x, value in enumerate(row):
            text, tip = picture.texts[y][x], picture.tips[y][x]
            if value is None and not text:
                continue
            share = 0.5 if top == low or value is None else (value - low) / (top - low)
            face = drawing.mpl.colors.to_hex(colours(0.05 + 0.9 * share)) if value is not None else "none"
            square = Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=face, edgecolor=GRID, linewidth=0.8)
            axes.add_patch(square)
            sheet.tell(square, [tip])
            # Letters keep their colour beside a colour that does not change with the page's.
            letters = MUTED if value is None else "#ffffff" if share > 0.5 else "#101010"
            fits = shortened(text, room, TEXT)
            axes.text(x + 0.5, y + 0.5, fits, ha="center", va="center", color=letters, gid="still")
    axes.set(xlim=(0, len(picture.xs)), ylim=(0, len(picture.ys)))
    every = max(1, math.ceil(7 * max(map(len, picture.xs)) / room))
    axes.set_xticks([x + 0.5 for x in range(0, len(picture.xs), every)], list(picture.xs)[::every])
    axes.set_yticks([y + 0.5 for y in range(len(picture.ys))], picture.ys)
    axes.set_xlabel(picture.x_word)
    axes.set_ylabel(picture.y_word, labelpad=4)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return sheet


# --- stretches of time -----------------------------------------------------------------------------------------------


def _bars(picture: Bars, width: int) -> Sheet:
    beside = _beside([row.label for row in picture.bars], width, always=picture.short)
    pitch = 22 if beside else 34
    legend = [(_KINDS[kind], kind, None) for kind in picture.kinds]
    sheet = Sheet(picture.name, width, pitch * len(picture.bars) + 40, picture.title, picture.subtitle, legend)
    notes = max((len(row.note) for row in picture.bars), default=0)
    axes = sheet.axes(beside or 2, 12, 38)
    ends = [row.parts[-1].begin + row.parts[-1].length if row.parts else 0.0 for row in picture.bars]
    # Room behind the longest bar for what stands there.
    reach = max(ends) * (1 + 6.2 * notes / (width - beside))
    ticks = nice_ticks(0, reach, 6 if width == NARROW else 10)
    _rows_axes(axes, ticks, len(picture.bars), picture.axis, beside > 0)
    for place, row in enumerate(picture.bars):
        _label(axes, row.label, place, beside, width)
        y, high = (place - 0.32, 0.64) if beside else (place - 0.02, 0.4)
        for part in row.parts:
            sheet.tell(axes.add_patch(_stretch(part, y, high)), [part.tip])
        if row.note:
            axes.annotate(
                row.note, (ends[place], y + high / 2), (5, 0), textcoords="offset points", va="center", color=MUTED
            )
    return sheet


def _stretch(part: Part, y: float, high: float) -> Rectangle:
    return Rectangle(
        (part.begin, y),
        part.length,
        high,
        facecolor=_KINDS[part.kind],
        edgecolor=drawing.PAPER,
        linewidth=0.4,
        zorder=3,
    )


# --- how training went -----------------------------------------------------------------------------------------------


def _curves(picture: Curves, width: int) -> Sheet:
    groups = {curve.group: curve.colour for curve in picture.curves}
    legend = [(LINES[colour], label, MARKERS[colour]) for label, colour in groups.items()]
    sheet = Sheet(picture.name, width, 215, picture.title, picture.subtitle, legend)
    values = [y for curve in picture.curves for _x, y in curve.points]
    low, high = min(values), max(values)
    ticks = nice_ticks(0 if picture.falling else low, high if high > low or picture.falling else low + 0.01)
    if not picture.falling and ticks[-1] > 1:
        ticks = [tick for tick in ticks if tick < 1] + [1.0]
    labels = [f"{tick:g}" if tick < 10000 else number(tick, 0) for tick in ticks]
    axes = sheet.axes(10 + 6.2 * max(map(len, labels)), 14, 38)
    axes.set_ylim(ticks[0], ticks[-1])
    axes.set_yticks(ticks, labels)
    far = max(x for curve in picture.curves for x, _y in curve.points)
    places = nice_ticks(0, far, 5)
    axes.set_xlim(0, far * 1.05 or 1)
    shown = [place for place in places if place <= far * 1.05]
    axes.set_xticks(shown, [number(place, 0) if place >= 10000 else f"{place:g}" for place in shown])
    axes.set_xlabel(picture.axis)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    for curve in picture.curves:
        colour, marker = LINES[curve.colour], MARKERS[curve.colour]
        tips = [f"{curve.label}\n{picture.axis} {short(x)}\n{y:.4g}" for x, y in curve.points]
        if len(curve.points) > 1:
            axes.plot(*zip(*curve.points), color=colour, linewidth=1.3, alpha=0.85, zorder=3)
        # Each point can be pointed at; only few points are marked.
        few = len(curve.points) <= 12
        marks = axes.scatter(
            *zip(*curve.points),
            s=22,
            marker=marker,
            color=colour,
            linewidths=0,
            alpha=0.9 if few else 0.0,
            zorder=4,
            clip_on=False,
        )
        sheet.tell(marks, tips)
    return sheet
