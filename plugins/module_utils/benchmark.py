# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run documents to a benchmark: one record a cell, its summary table, its CSV rows (schema ``dtf.benchmark/1``).

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from . import stats
from .grid import cell_of
from .spec import Topology

SCHEMA = "dtf.benchmark/1"
#: Columns of the table that sum up phases which a reader thinks of as one.
TABLE_PHASES = {
    "start-up s": ("created", "scheduled", "image", "start", "import", "connect"),
    "barrier s": ("barrier",),
    "train s": ("train",),
    "export+exit s": ("export", "exit"),
}


def cells_to_run(
    topologies: Sequence[Topology], repeats: int, runs: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """Return ``{cell, repeat}`` for every run that is still missing, repeat by repeat.

    Args:
        topologies: one for each cell.
        repeats: successful runs wanted of each.
        runs: run documents that exist; failed and stopped ones are records, but fill no place.
    """
    missing = []
    done = [
        sum(1 for run in runs if run["state"] == "succeeded" and _matches(run, topology)) for topology in topologies
    ]
    for repeat in range(1, repeats + 1):
        for index, topology in enumerate(topologies):
            if done[index] < repeat:
                missing.append({"cell": cell_of(topology), "repeat": repeat})
    return missing


def _matches(run: Mapping[str, object], topology: Topology) -> bool:
    """Whether a run measured the topology: same tasks, same hosts, same training, whatever its name and label."""
    return _comparable(run["spec"]) == _comparable(topology.as_dict())  # type: ignore[arg-type]


def _comparable(spec: Mapping[str, object]) -> dict[str, object]:
    return {
        "hosts": spec["hosts"],
        "runtime": spec["runtime"],
        "training": spec["training"],
        "ps": spec["ps"]["replicas"],  # type: ignore[index]
        "workers": spec["workers"]["replicas"],  # type: ignore[index]
        "gpus": spec["workers"]["gpus"],  # type: ignore[index]
    }


def benchmark_document(
    name: str, topologies: Sequence[Topology], repeats: int, runs: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """Return the benchmark's document, a function of its plan and its run documents alone.

    Args:
        name: the benchmark's name.
        topologies: one for each cell of the plan, in its order.
        repeats: runs wanted of each cell.
        runs: all run documents of the benchmark.
    """
    ordered = sorted(runs, key=lambda run: (str(run["created"]), str(run["run_id"])))
    records = [_cell_record(topology, [run for run in ordered if _matches(run, topology)]) for topology in topologies]
    for record, topology in zip(records, topologies):
        base = _one_worker_seconds(topology, topologies, records)
        own = record["training_seconds"]["mean"]  # type: ignore[index]
        record["speed_up"] = stats.speed_up(base, own)
        workers = topology.workers.replicas
        record["efficiency"] = stats.rounded(record["speed_up"] / workers) if record["speed_up"] else None  # type: ignore[operator]
        record["notes"] = _notes(topology, record, base)
    return {"schema": SCHEMA, "name": name, "repeats": repeats, "cells": records}


def _cell_record(topology: Topology, runs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    good = [run for run in runs if run["state"] == "succeeded"]
    trainings: list[Mapping[str, float]] = [run["training"] for run in good]  # type: ignore[misc]
    phases: list[Mapping[str, float]] = [run["phases"] for run in good]  # type: ignore[misc]
    return {
        "cell": cell_of(topology),
        "runs": [_run_record(run) for run in runs],
        "failed": sum(1 for run in runs if run["state"] == "failed"),
        "training_seconds": stats.summary([training["seconds"] for training in trainings]),
        "steps_per_second": stats.summary([training["steps_per_second"] for training in trainings]),
        "test_accuracy": stats.summary([training["test_accuracy"] for training in trainings]),
        "wall_seconds": stats.summary([float(str(run["wall_seconds"])) for run in good]),
        "phases": {name: stats.summary([part[name] for part in phases])["mean"] for name in stats.PHASES},
        "restarts": sum(_restarts(run) for run in good),
        "crowded": _crowded(good),
    }


def _run_record(run: Mapping[str, object]) -> dict[str, object]:
    training: Mapping[str, object] = run["training"]  # type: ignore[assignment]
    return {
        "run_id": run["run_id"],
        "state": run["state"],
        "created": run["created"],
        "training_seconds": training["seconds"],
        "steps_per_second": training["steps_per_second"],
        "global_step": training["global_step_last"],
        "test_accuracy": training["test_accuracy"],
        "wall_seconds": run["wall_seconds"],
        "phases": run["phases"],
        "restarts": _restarts(run),
    }


def _restarts(run: Mapping[str, object]) -> int:
    tasks: Sequence[Mapping[str, int]] = run["tasks"]  # type: ignore[assignment]
    return sum(task["restarts"] for task in tasks)


def _crowded(runs: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the hosts that have more tasks than cores, as ``{host, tasks, cores}``."""
    if not runs:
        return []
    tasks: Sequence[Mapping[str, object]] = runs[0]["tasks"]  # type: ignore[assignment]
    crowded = []
    for host in runs[0]["environment"]["hosts"]:  # type: ignore[index]
        count = sum(1 for task in tasks if task["host"] == host["name"])
        if host.get("cores") and count > host["cores"]:
            crowded.append({"host": host["name"], "tasks": count, "cores": host["cores"]})
    return crowded


def _one_worker_seconds(
    topology: Topology, topologies: Sequence[Topology], records: Sequence[Mapping[str, object]]
) -> float | None:
    """Return the mean time of the cell that differs in nothing but having one worker."""
    alone = topology.with_workers(1)
    for other, record in zip(topologies, records):
        if cell_of(other) == cell_of(alone):
            mean: float | None = record["training_seconds"]["mean"]  # type: ignore[index]
            return mean
    return None


def _notes(topology: Topology, record: Mapping[str, object], base: float | None) -> list[str]:
    crowded: Sequence[Mapping[str, object]] = record["crowded"]  # type: ignore[assignment]
    notes = ["{tasks} tasks share the {cores} cores of {host}".format(**host) for host in crowded]
    if record["restarts"]:
        notes.append("task restarts inside these times: {}".format(record["restarts"]))
    if record["failed"]:
        notes.append("failed runs outside the means: {}".format(record["failed"]))
    if not record["training_seconds"]["n"]:  # type: ignore[index]
        notes.append("no successful run")
    elif base is None:
        notes.append("no cell with one worker to compare with")
    if topology.training.communication_interval > 1:
        interval = topology.training.communication_interval
        notes.append(f"workers exchange every {interval} steps only, which is another algorithm than every step")
    return notes


def table(document: Mapping[str, object]) -> str:
    """Return the benchmark as a table for a terminal, with what all cells share above it and remarks below."""
    records: Sequence[Mapping[str, object]] = document["cells"]  # type: ignore[assignment]
    varying, shared = _split_words(records)
    header = [*varying, "runs", "train s", "steps/s", "speed-up", "accuracy", *_other_phases(), "wall s"]
    rows = [[*(str(record["cell"][word]) for word in varying), *_measures(record)] for record in records]  # type: ignore[index]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["{}: {}".format(document["name"], ", ".join("{} {}".format(*pair) for pair in shared.items()))]
    ruled = [header, ["-" * width for width in widths], *rows]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in ruled]
    return "\n".join(lines + _remarks(records, varying))


def _split_words(records: Sequence[Mapping[str, object]]) -> tuple[list[str], dict[str, object]]:
    """Return the words that differ between cells (workers and ps always among them) and the shared ones' values."""
    varying, shared = [], {}
    for word in records[0]["cell"]:  # type: ignore[attr-defined]
        found = [record["cell"][word] for record in records]  # type: ignore[index]
        if word in ("workers", "ps") or any(value != found[0] for value in found):
            varying.append(word)
        elif found[0] is not None:
            shared[word.replace("_", " ")] = found[0]
    return varying, shared


def _other_phases() -> list[str]:
    return [name for name in TABLE_PHASES if name != "train s"]


def _measures(record: Mapping[str, object]) -> list[str]:
    phases: Mapping[str, float | None] = record["phases"]  # type: ignore[assignment]

    def mean(name: str, form: str) -> str:
        return _shown(record[name]["mean"], form)  # type: ignore[index]

    deviation = record["training_seconds"]["stdev"]  # type: ignore[index]
    seconds = mean("training_seconds", "{0:.2f}") + (f" ± {deviation:.2f}" if deviation is not None else "")
    sums = []
    for name in _other_phases():
        parts = [phases[phase] for phase in TABLE_PHASES[name]]
        sums.append(_shown(None if None in parts else sum(part for part in parts if part is not None), "{0:.2f}"))
    return [
        str(record["training_seconds"]["n"]),  # type: ignore[index]
        seconds,
        mean("steps_per_second", "{0:,.0f}"),
        _shown(record["speed_up"], "{0:.2f} x"),
        mean("test_accuracy", "{0:.4f}"),
        *sums,
        mean("wall_seconds", "{0:.2f}"),
    ]


def _shown(value: object, form: str) -> str:
    return "-" if value is None else form.format(value)


def _remarks(records: Sequence[Mapping[str, object]], varying: Sequence[str]) -> list[str]:
    """Return each remark once, with the cells it is about unless it is about all."""
    about: dict[str, list[str]] = {}
    for record in records:
        label = ", ".join("{} {}".format(word, record["cell"][word]) for word in varying)  # type: ignore[index]
        for note in record["notes"]:  # type: ignore[attr-defined]
            about.setdefault(note, []).append(label)
    lines = []
    for note, labels in about.items():
        scope = "" if len(labels) == len(records) else " ({})".format("; ".join(labels))
        lines.append("* " + note + scope)
    return lines


def runs_csv(document: Mapping[str, object]) -> str:
    """Return one row a run: the cell's words, the run's measures, its phases."""
    rows = []
    for record in document["cells"]:  # type: ignore[attr-defined]
        for run in record["runs"]:
            row = dict(record["cell"])
            row.update((key, value) for key, value in run.items() if key != "phases")
            row.update(("phase_" + name, run["phases"][name]) for name in stats.PHASES)
            rows.append(row)
    return _csv(rows)


def cells_csv(document: Mapping[str, object]) -> str:
    """Return one row a cell: its words, the summary of each measure, mean phases."""
    rows = []
    for record in document["cells"]:  # type: ignore[attr-defined]
        row = dict(record["cell"])
        for measure in ("training_seconds", "steps_per_second", "test_accuracy", "wall_seconds"):
            row.update((f"{measure}_{key}", value) for key, value in record[measure].items())
        row.update(speed_up=record["speed_up"], efficiency=record["efficiency"], notes="; ".join(record["notes"]))
        row.update(("phase_" + name, record["phases"][name]) for name in stats.PHASES)
        rows.append(row)
    return _csv(rows)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
