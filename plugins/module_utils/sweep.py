# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order in which a benchmark's runs are made, which of them are still missing, and when a cell is given up.

A *cell* is a topology to measure. Its runs are spread over *blocks*: block r has the r-th repeat of each cell, in a
random order of its own, so that whatever drifts on the machine hits every cell alike, and cells can be compared within
their block. Block 0 has the warm-up of each runtime: kept, not counted.

A plan and the run documents decide everything; there is no other memory. A run that was broken off, the machine
switched off under it, changes nothing but that it is missing. Pure.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .grid import cell_of, identity
from .progress import duration
from .spec import Topology

SCHEMA = "dtf.plan/2"
#: A cell whose last so many runs have failed is given up.
FAILURES_IN_A_ROW = 2
#: Between two runs that follow each other at once there is no more than this; a longer gap is a pause.
LONGEST_GAP_SECONDS = 60.0

#: Runs of the order that a table shows.
MOST_SHOWN = 12

#: A run document, a plan, or a part of one.
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A topology to measure.

    Attributes:
        words: every cell word with its value.
        topology: what runs; ``None`` where there is no such topology.
        unfit: why it cannot run here, or ``None``.
    """

    words: Mapping[str, object]
    topology: Topology | None
    unfit: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the plain value, as a plan has it."""
        return {
            "cell": dict(self.words),
            "topology": self.topology.as_dict() if self.topology else None,
            "unfit": self.unfit,
        }


@dataclass(frozen=True)
class Slot:
    """A place in the order that one successful run fills.

    Attributes:
        number: from 1.
        repeat: the block, 0 is the warm-up.
        cell: position of the cell in the plan.
    """

    number: int
    repeat: int
    cell: int

    def as_dict(self) -> dict[str, int]:
        """Return the plain value."""
        return {"number": self.number, "repeat": self.repeat, "cell": self.cell}


def plan(
    name: str,
    cells: Sequence[Cell],
    repeats: int,
    seed: int,
    warm_up: bool,
    gain_threshold: float | None = None,
) -> dict[str, object]:
    """Return the plan of a benchmark.

    Args:
        name: of the benchmark.
        cells: in the order of the words; those that are unfit are in the plan, but get no runs.
        repeats: successful runs wanted of each.
        seed: of the order.
        warm_up: whether each runtime begins with a run that is not counted.
        gain_threshold: the least gain that is worth a step, for whoever judges the runs; ``None`` leaves it to them.
    """
    fit = [place for place, cell in enumerate(cells) if cell.unfit is None]
    order = [(0, place) for place in _warm_up_cells(cells, fit)] if warm_up else []
    for repeat in range(1, repeats + 1):
        # By digest: one repeat or one cell more changes nothing of the order among the others.
        order += [(repeat, place) for place in sorted(fit, key=lambda place: _lot(seed, repeat, cells[place]))]
    return {
        "schema": SCHEMA,
        "name": name,
        "repeats": repeats,
        "warm_up": warm_up,
        "seed": seed,
        **({} if gain_threshold is None else {"gain_threshold": gain_threshold}),
        "order": "repeat by repeat, the cells of each in a random order of its own",
        "cells": [cell.as_dict() for cell in cells],
        "runs": [Slot(number, repeat, place).as_dict() for number, (repeat, place) in enumerate(order, 1)],
    }


def _lot(seed: int, repeat: int, cell: Cell) -> str:
    """Return what a cell draws for its place in a block."""
    what = identity(cell.topology.as_dict()) if cell.topology else ""
    return hashlib.sha256(f"{seed}/{repeat}/{what}".encode()).hexdigest()


def _warm_up_cells(cells: Sequence[Cell], fit: Sequence[int]) -> list[int]:
    """Return the largest cell of each runtime and backend: it touches most machines."""
    largest: dict[object, int] = {}
    for place in fit:
        manner = (cells[place].words["runtime"], cells[place].words["backend"])
        if manner not in largest or _size(cells[place]) > _size(cells[largest[manner]]):
            largest[manner] = place
    return list(largest.values())


def _size(cell: Cell) -> tuple[int, ...]:
    return tuple(int(str(cell.words[word] or 0)) for word in ("nodes", "workers", "ps"))


def slots(planned: Document) -> list[Slot]:
    """Return the places of a plan, in order."""
    return [Slot(**entry) for entry in planned["runs"]]


def repeat_of(run: Document) -> int | None:
    """Return the block a run belongs to; ``None`` for one that was made in none."""
    benchmark = run.get("benchmark")
    return int(benchmark["repeat"]) if benchmark else None


def blocks_of(runs: Sequence[Document]) -> list[int] | None:
    """Return the block of each run; ``None`` where one has none, or two have the same."""
    found = [repeat for repeat in map(repeat_of, runs) if repeat is not None]
    return found if len(found) == len(runs) == len(set(found)) else None


def missing(planned: Document, runs: Sequence[Document], retry_since: float | None = None) -> list[Slot]:
    """Return the places that no successful run fills yet, but for those of cells that are given up.

    Args:
        planned: the plan.
        runs: all run documents of the benchmark; failed and stopped ones are records, but fill no place.
        retry_since: failures before this moment (seconds since the epoch) are forgiven.
    """
    own = _runs_by_cell(planned, runs)
    open_places: list[Slot] = []
    for place in range(len(planned["cells"])):
        if given_up(own[place], retry_since):
            continue
        wanted = [slot for slot in slots(planned) if slot.cell == place and slot.repeat]
        open_places += _unfilled(wanted, own[place])
    manners = {_manner(planned, slot.cell) for slot in open_places}
    warmed = {_manner_of_run(run) for run in runs if repeat_of(run) == 0 and run["state"] == "succeeded"}
    for slot in slots(planned):
        if slot.repeat == 0 and _manner(planned, slot.cell) in manners - warmed:
            open_places += [] if given_up(own[slot.cell], retry_since) else [slot]
    return sorted(open_places, key=lambda slot: slot.number)


def _unfilled(wanted: Sequence[Slot], runs: Sequence[Document]) -> list[Slot]:
    """Return the places of a cell that its runs do not fill: first those of their own block, then any."""
    good = [run for run in runs if run["state"] == "succeeded" and repeat_of(run) != 0]
    blocks = [repeat_of(run) for run in good]
    left = [slot for slot in wanted if slot.repeat not in blocks]
    in_place = len({slot.repeat for slot in wanted} & set(blocks))
    return left[len(good) - in_place :] if len(good) > in_place else left


def when_made(run: Document) -> tuple[str, str]:
    """Return what orders runs, the oldest first."""
    return str(run["created"]), str(run["run_id"])


def _runs_by_cell(planned: Document, runs: Sequence[Document]) -> list[list[Document]]:
    """Return the runs of each cell, oldest first."""
    ordered = sorted(runs, key=when_made)
    found: dict[str, list[Document]] = {}
    for run in ordered:
        found.setdefault(identity(run["spec"]), []).append(run)
    return [found.get(identity(cell["topology"]), []) if cell["topology"] else [] for cell in planned["cells"]]


def _manner(planned: Document, place: int) -> tuple[object, object]:
    words = planned["cells"][place]["cell"]
    return words["runtime"], words["backend"]


def _manner_of_run(run: Document) -> tuple[object, object]:
    return run["runtime"], run["backend"]


def given_up(runs: Sequence[Document], retry_since: float | None = None) -> list[Document]:
    """Return the failed runs for which a cell is given up; none where it is not.

    Args:
        runs: those of one cell, oldest first; one that was stopped says nothing.
        retry_since: failures before this moment (seconds since the epoch) are forgiven.
    """
    ended = [run for run in runs if run["state"] != "stopped"]
    latest = ended[-FAILURES_IN_A_ROW:]
    if len(latest) < FAILURES_IN_A_ROW or any(run["state"] == "succeeded" for run in latest):
        return []
    if retry_since is not None and any(moment(run["created"]) < retry_since for run in latest):
        return []
    return latest


def moment(stamp: object) -> float:
    """Return a time stamp of a run document as seconds since the epoch."""
    return datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp()


@dataclass(frozen=True)
class Estimate:
    """How long a run of a cell will take.

    Attributes:
        seconds: its wall time; ``None`` where nothing tells.
        source: from which runs that is known.
    """

    seconds: float | None
    source: str


def estimates(planned: Document, runs: Sequence[Document], others: Sequence[Document] = ()) -> list[Estimate]:
    """Return how long a run of each cell will take.

    Args:
        planned: the plan.
        runs: run documents of the benchmark.
        others: run documents of other benchmarks.
    """
    good = [run for run in (*others, *runs) if run["state"] == "succeeded"]
    by_likeness: dict[tuple[object, ...], list[Document]] = {}
    for run in good:
        by_likeness.setdefault(_likeness(cell_of(Topology.from_params(run["spec"]))), []).append(run)
    found = []
    for cell, own in zip(planned["cells"], _runs_by_cell(planned, good)):
        alike = by_likeness.get(_likeness(cell["cell"]), [])
        if own:
            found.append(Estimate(_median_wall(own), _counted(own, "its own")))
        elif alike:
            found.append(Estimate(_median_wall(alike), _counted(alike, "similar")))
        else:
            found.append(Estimate(None, "no run to tell from"))
    return found


def _likeness(words: Mapping[str, object]) -> tuple[object, ...]:
    """Return what runs share that train as much in the same way, with any number of tasks and machines."""
    return tuple(words[word] for word in ("runtime", "backend", "profile", "steps", "hidden_units", "batch_size"))


def _median_wall(runs: Sequence[Document]) -> float:
    return statistics.median(float(run["wall_seconds"]) for run in runs)


def _counted(runs: Sequence[Document], which: str) -> str:
    return f"{len(runs)} {which} run{'' if len(runs) == 1 else 's'}"


def remaining_seconds(
    planned: Document, left: Sequence[Slot], runs: Sequence[Document], others: Sequence[Document] = ()
) -> float | None:
    """Return how long the runs that are missing will take, with what lies between two; ``None`` where nothing tells.

    Args:
        planned: the plan.
        left: what is missing.
        runs: run documents of the benchmark.
        others: run documents of other benchmarks.
    """
    known = estimates(planned, runs, others)
    lengths = [known[slot.cell].seconds for slot in left]
    told = [seconds for seconds in lengths if seconds is not None]
    if not told:
        return 0.0 if not left else None
    # What is not known is taken for as long as the others are.
    usual = statistics.mean(told)
    return sum(usual if seconds is None else seconds for seconds in lengths) + len(left) * _gap(runs)


def _gap(runs: Sequence[Document]) -> float:
    """Return the seconds between the end of a run and the beginning of the next."""
    ordered = sorted((moment(run["created"]), moment(run["finished"])) for run in runs)
    gaps = [after[0] - before[1] for before, after in zip(ordered, ordered[1:])]
    short = [gap for gap in gaps if 0 <= gap <= LONGEST_GAP_SECONDS]
    return statistics.median(short) if short else 0.0


def label(words: Mapping[str, object], varying: Sequence[str] = ()) -> str:
    """Return a cell in words, as ``2 workers, 1 ps, runtime process``.

    Args:
        words: the cell's.
        varying: words to name beside the numbers of tasks.
    """
    workers = words["workers"]
    parts = [f"{workers} worker{'' if workers == 1 else 's'}", f"{words['ps']} ps"]
    for word in varying:
        if word in ("workers", "ps") or words.get(word) is None:
            continue
        value = words[word]
        parts.append(
            f"{value} node{'' if value == 1 else 's'}" if word == "nodes" else f"{word.replace('_', ' ')} {value}"
        )
    return ", ".join(parts)


def varying_words(cells: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the words that are not the same in all cells."""
    return [word for word in (cells[0] if cells else ()) if any(cell[word] != cells[0][word] for cell in cells)]


def benchmark_of(planned: Document, slot: Slot) -> dict[str, object]:
    """Return what the document of a run says of its benchmark."""
    return {
        "name": planned["name"],
        "repeat": slot.repeat,
        "number": slot.number,
        "seed": planned["seed"],
        "repeats": planned["repeats"],
        "gain_threshold": planned.get("gain_threshold"),
    }


@dataclass(frozen=True)
class Turn:
    """What is said of a run when it is its turn.

    Attributes:
        wanted: whether it is to be made.
        reason: why it is not.
        label: the run among the others, in words.
    """

    wanted: bool
    reason: str
    label: str


def turn(
    planned: Document,
    slot: Slot,
    runs: Sequence[Document],
    others: Sequence[Document] = (),
    retry_since: float | None = None,
) -> Turn:
    """Return whether a run is to be made, as things stand now.

    Args:
        planned: the plan.
        slot: the run's place in it.
        runs: run documents of the benchmark.
        others: run documents of other benchmarks, for the time it will take.
        retry_since: failures before this moment (seconds since the epoch) are forgiven.
    """
    left = missing(planned, runs, retry_since)
    words = [cell["cell"] for cell in planned["cells"]]
    name = label(words[slot.cell], varying_words(words))
    repeat = f"repeat {slot.repeat}" if slot.repeat else "warm-up"
    rest = remaining_seconds(planned, [entry for entry in left if entry.number >= slot.number], runs, others)
    soon = f"; all in about {duration(rest)}" if rest else ""
    text = f"{planned['name']} {slot.number}/{len(planned['runs'])} ({name}, {repeat}{soon})"
    if slot in left:
        return Turn(True, "", text)
    failed = given_up(_runs_by_cell(planned, runs)[slot.cell], retry_since)
    reason = f"given up: {failed[-1]['cause']['message']}" if failed else "it has been measured"
    return Turn(False, reason, text)


def standing(
    planned: Document,
    runs: Sequence[Document],
    others: Sequence[Document] = (),
    retry_since: float | None = None,
) -> dict[str, Any]:
    """Return how a benchmark stands: the runs that are missing, each cell, the time to go, all of it as a table.

    Args:
        planned: the plan.
        runs: run documents of the benchmark.
        others: run documents of other benchmarks, for the time it will take.
        retry_since: failures before this moment (seconds since the epoch) are forgiven.
    """
    left = missing(planned, runs, retry_since)
    words = [cell["cell"] for cell in planned["cells"]]
    varying = varying_words(words)
    labels = [label(entry, varying) for entry in words]
    entries = []
    for place, (own, known) in enumerate(zip(_runs_by_cell(planned, runs), estimates(planned, runs, others))):
        failed = given_up(own, retry_since)
        entries.append(
            {
                "label": labels[place],
                "unfit": planned["cells"][place]["unfit"],
                "done": sum(1 for run in own if run["state"] == "succeeded" and repeat_of(run) != 0),
                "given_up": failed[-1]["cause"]["message"] if failed else None,
                "seconds": known.seconds,
                "source": known.source,
            }
        )
    rest = remaining_seconds(planned, left, runs, others)
    return {
        "runs": [
            {"number": slot.number, "repeat": slot.repeat, "cell": words[slot.cell], "label": labels[slot.cell]}
            for slot in left
        ],
        "total": len(planned["runs"]),
        "cells": entries,
        "remaining_seconds": rest,
        "table": _table(planned, entries, left, rest),
    }


def _table(planned: Document, entries: Sequence[Document], left: Sequence[Slot], rest: float | None) -> str:
    """Return the plan for a terminal: what there is to do, then each cell, then the order."""
    about = "" if rest is None else f", about {duration(rest)}"
    count = len(planned["cells"])
    plural = ["" if number == 1 else "s" for number in (count, planned["repeats"])]
    lines = [
        "{}: {} of {} runs to make{}; {} cell{}, {} repeat{}, order by seed {}".format(
            planned["name"],
            len(left),
            len(planned["runs"]),
            about,
            count,
            plural[0],
            planned["repeats"],
            plural[1],
            planned["seed"],
        )
    ]
    width = max(len(str(entry["label"])) for entry in entries)
    for place, entry in enumerate(entries):
        missing_here = [slot for slot in left if slot.cell == place and slot.repeat]
        if entry["unfit"]:
            state = f"cannot run here: {entry['unfit']}"
        elif entry["given_up"]:
            state = f"given up: {entry['given_up']} (benchmark_retry=true tries again)"
        else:
            each = "" if entry["seconds"] is None else f", {duration(float(entry['seconds']))} each"
            state = f"{entry['done']} there, {len(missing_here)} to make{each} (from {entry['source']})"
            if entry["seconds"] is None:
                state = f"{entry['done']} there, {len(missing_here)} to make ({entry['source']})"
        lines.append(f"  {entry['label']:<{width}}  {state}")
    order = [f"{slot.number}: {entries[slot.cell]['label']}" + ("" if slot.repeat else " (warm-up)") for slot in left]
    if order:
        shown = order if len(order) <= MOST_SHOWN else [*order[:MOST_SHOWN], f"... {len(order) - MOST_SHOWN} more"]
        lines.append("  in this order: " + " · ".join(shown))
    return "\n".join(lines)
