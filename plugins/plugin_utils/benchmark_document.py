# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run documents to a benchmark's document (schema ``dtf.benchmark/2``): cells, series, doubts, the answer.

Everything is a function of the run documents. A plan adds what they cannot tell: the cells that have none, and what is
wanted now. The same documents give the same bytes.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from ..module_utils.errors import InvalidInput
from ..module_utils.grid import cell_of, identity, sortable
from ..module_utils.reader import Reader
from ..module_utils.spec import Topology
from ..module_utils.stats import PHASES, STARTUP
from ..module_utils.sweep import SCHEMA as PLAN_SCHEMA
from ..module_utils.sweep import blocks_of, given_up, label, repeat_of, varying_words, when_made
from . import samples, scaling
from .doubts import Doubt, Limits, RunFacts, accuracy_doubts, gpu_doubts, run_doubts, series_doubts
from .gpu_use import gpu_models, gpu_use
from .price import price
from .scientific import require

SCHEMA = "dtf.benchmark/2"
#: What is summed up of each cell, and where a run document has it.
MEASURES = ("training_seconds", "steps_per_second", "test_accuracy", "test_loss", "wall_seconds", "startup_seconds")
#: Examples of the test set that accuracies are shares of, by data set.
TEST_EXAMPLES = {"mnist": 10_000, "fashion_mnist": 10_000}
#: Digits behind the point that numbers are kept with, microseconds; of smaller ones so many digits that say something.
DIGITS = 6

Document = Mapping[str, Any]


@dataclass
class CellRuns:
    """A cell and its runs.

    Attributes:
        words: the cell's words.
        topology: what ran, or would; ``None`` where there is no such topology.
        unfit: why it could not run, if so.
        runs: its documents, oldest first; all there will be, for what is derived from them is kept.
    """

    words: Mapping[str, object]
    topology: Topology | None
    unfit: str | None = None
    runs: list[Document] = field(default_factory=list)

    @cached_property
    def counted(self) -> list[Document]:
        """The runs that the cell's numbers are of: successful, and no warm-up."""
        return [run for run in self.runs if run["state"] == "succeeded" and repeat_of(run) != 0]

    @cached_property
    def blocks(self) -> list[int] | None:
        """The repeat of each counted run; ``None`` where one has none, or two have the same."""
        return blocks_of(self.counted)

    def values(self, measure: str) -> list[float]:
        """Return a measure of every counted run that has it."""
        return [value for value in (found[measure] for found in self._measured) if value is not None]

    @cached_property
    def _measured(self) -> list[dict[str, float | None]]:
        return [measured(run) for run in self.counted]


def measured(run: Document) -> dict[str, float | None]:
    """Return a run's measures by their names; seconds, steps a second, a share, a mean loss."""
    training = run["training"]
    return {
        "training_seconds": training["seconds"],
        "steps_per_second": training["steps_per_second"],
        "test_accuracy": training["test_accuracy"],
        "test_loss": training["test_loss"],
        "wall_seconds": run["wall_seconds"],
        # One that never trained may have waited long, but has not started.
        "startup_seconds": sum(run["phases"][name] for name in STARTUP) if run["phases"]["train"] else None,
    }


def check_judgement(name: str, gain_threshold: float | None) -> None:
    """Return if a benchmark's runs can be judged; what cannot be is told before there are any.

    Args:
        name: the benchmark's.
        gain_threshold: the least gain that is worth a step, as a share; ``None`` where the plan is to say it.

    Raises:
        InvalidInput: the threshold is none.
        ActionFailed: SciPy is not there.
    """
    require()
    reader = Reader()
    if gain_threshold is not None:
        reader.number("gain_threshold", gain_threshold, 0, 1)
    if reader.problems:
        raise InvalidInput(f"benchmark {name!r}", reader.problems)


def benchmark_document(
    name: str,
    runs: Sequence[Document],
    plan: Document | None = None,
    threshold: float | None = None,
    limits: Limits | None = None,
) -> dict[str, Any]:
    """Return the document of a benchmark.

    Args:
        name: the benchmark's.
        runs: all its run documents, in any order.
        plan: its plan, if there is one; of an earlier version it tells nothing that the runs do not.
        threshold: the least gain that is worth a step, as a share; unless given the plan's, without one that of the
            newest run, or a tenth.
        limits: from where on something is suspicious.

    Raises:
        InvalidInput: the threshold is none.
        ActionFailed: SciPy is not there.
    """
    plan = plan if plan and plan["schema"] == PLAN_SCHEMA else None
    wanted = plan or _wanted(runs)
    if threshold is None:
        threshold = wanted.get("gain_threshold")
    if threshold is None:
        threshold = scaling.GAIN_THRESHOLD
    check_judgement(name, threshold)
    bounds = limits or Limits()
    cells = gather(runs, plan)
    words = [cell.words for cell in cells]
    varying = varying_words(words)
    labels = [label(cell.words, varying) for cell in cells]
    series = [_series(cells, places, threshold) for places in _series_places(cells)]
    doubts = _doubts(cells, labels, series, bounds)
    records = _cell_records(cells, labels, doubts)
    for number, (entry, found) in enumerate(series):
        _add_scaling(records, entry["cells"], found, number)
    for record, cell in zip(records, cells):
        record["notes"] = _notes(cell, record)
    prices = price([{"cell": cell.words, "runs": cell.counted} for cell in cells])
    for entry, found in series:
        entry["label"] = _series_label(entry["words"], varying)
        entry["scaling"] = found.as_dict()
    document = {
        "schema": SCHEMA,
        "name": name,
        "repeats": wanted.get("repeats") or max((len(cell.counted) for cell in cells), default=0),
        "threshold": threshold,
        "answer": _answer(records, series, prices),
        "axes": {word: _values(words, word) for word in varying},
        "shared": {
            word: value for word, value in (words[0] if words else {}).items()
            if word not in varying and value is not None
        },
        "cells": records,
        "series": [entry for entry, _found in series],
        "price": prices,
        "doubts": doubts,
        "environment": environment([run for cell in cells for run in cell.runs]),
    }  # fmt: skip
    rounded: dict[str, Any] = _rounded(document)
    return rounded


def _wanted(runs: Sequence[Document]) -> Document:
    """Return what the newest run of a benchmark says was wanted, nothing where none was one's."""
    of_benchmark = [run for run in runs if run.get("benchmark")]
    newest = max(of_benchmark, key=when_made, default=None)
    wanted: Document = newest["benchmark"] if newest else {}
    return wanted


def gather(runs: Sequence[Document], plan: Document | None = None) -> list[CellRuns]:
    """Return the cells with their runs: those of the plan in its order, then others that have runs, by their words."""
    ordered = sorted(runs, key=when_made)
    by_identity: dict[str, list[Document]] = {}
    for run in ordered:
        by_identity.setdefault(identity(run["spec"]), []).append(run)
    cells = []
    for entry in plan["cells"] if plan else ():
        topology = Topology.from_params(entry["topology"]) if entry["topology"] else None
        own = by_identity.pop(identity(entry["topology"]), []) if topology else []
        cells.append(CellRuns(entry["cell"], topology, entry["unfit"], own))
    others = []
    for own in by_identity.values():
        topology = Topology.from_params(own[0]["spec"])
        others.append(CellRuns(cell_of(topology), topology, None, own))
    return cells + sorted(others, key=lambda cell: [sortable(value) for value in cell.words.values()])


def _values(words: Sequence[Mapping[str, object]], word: str) -> list[object]:
    """Return the values that a word has, in order."""
    found = {json.dumps(entry[word]): entry[word] for entry in words}
    return sorted(found.values(), key=sortable)


def _series_places(cells: Sequence[CellRuns]) -> list[list[int]]:
    """Return the positions of the cells of each series, which differ in nothing but the number of workers."""
    found: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if cell.topology is not None:
            found.setdefault(identity(cell.topology.with_workers(1).as_dict()), []).append(place)
    return [sorted(places, key=lambda place: int(str(cells[place].words["workers"]))) for places in found.values()]


def _series(
    cells: Sequence[CellRuns], places: Sequence[int], threshold: float
) -> tuple[dict[str, Any], scaling.Scaling]:
    """Return a series and what it says."""
    blocked = all(cells[place].blocks is not None for place in places if cells[place].counted)
    sizes = []
    for place in places:
        cell = cells[place]
        blocks = tuple(cell.blocks or ()) if blocked else None
        sizes.append(scaling.Cell(int(str(cell.words["workers"])), tuple(cell.values("training_seconds")), blocks))
    words = {word: value for word, value in cells[places[0]].words.items() if word != "workers"}
    return {"words": words, "label": "", "cells": list(places)}, scaling.scaling(sizes, threshold)


def _series_label(words: Mapping[str, object], varying: Sequence[str]) -> str:
    """Return what tells a series from the others: the words that vary, but for the workers."""
    parts = []
    for word in varying:
        value = words.get(word)
        if word == "workers" or value is None:
            continue
        named = {"ps": f"{value} ps", "nodes": f"{value} node{'' if value == 1 else 's'}"}
        parts.append(named.get(word, f"{word.replace('_', ' ')} {value}"))
    return ", ".join(parts)


def _cell_records(cells: Sequence[CellRuns], labels: Sequence[str], doubts: Sequence[Document]) -> list[dict[str, Any]]:
    """Return what is said of each cell but for its place in a series."""
    codes: dict[str, list[str]] = {}
    for entry in doubts:
        if entry["run_id"] is not None:
            codes.setdefault(entry["run_id"], []).append(entry["code"])
    # All at once, as in a series; each cell then takes its own, the next so many.
    summaries = iter(samples.describe_all([cell.values(measure) for cell in cells for measure in MEASURES]))
    return [_cell_record(cell, name, dict(zip(MEASURES, summaries)), codes) for cell, name in zip(cells, labels)]


def _cell_record(
    cell: CellRuns, name: str, summaries: Mapping[str, samples.Summary], codes: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    outliers = {cell.counted[position]["run_id"] for position in summaries["training_seconds"].outliers}
    failed = given_up(cell.runs)
    return {
        "cell": dict(cell.words),
        "label": name,
        "series": None,
        "runs": [_run_record(run, outliers, codes) for run in cell.runs],
        **{state: sum(1 for run in cell.runs if run["state"] == state and repeat_of(run) != 0)
           for state in ("succeeded", "failed", "stopped")},
        "warm_up": sum(1 for run in cell.runs if repeat_of(run) == 0),
        **{measure: summary.as_dict() for measure, summary in summaries.items()},
        "phases": {phase: _mean([run["phases"][phase] for run in cell.counted]) for phase in PHASES},
        "restarts": sum(_restarts(run) for run in cell.counted),
        "crowded": _crowded(cell.counted),
        "speed_up": None,
        "efficiency": None,
        "gain": None,
        "notes": [],
        "given_up": {
            "reason": failed[-1]["cause"]["reason"],
            "message": failed[-1]["cause"]["message"],
            "runs": [run["run_id"] for run in failed],
        } if failed else None,
        "unfit": cell.unfit,
        **_gpu(cell.counted),
    }  # fmt: skip


def _gpu(runs: Sequence[Document]) -> dict[str, Any]:
    """Return what runs tell of GPUs, as a key of a record; none where they tell nothing."""
    found = gpu_use(runs)
    return {} if found is None else {"gpu": found}


def _run_record(run: Document, outliers: Iterable[str], codes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    repeat, cause = repeat_of(run), run["cause"]
    return {
        "run_id": run["run_id"],
        "state": run["state"],
        "created": run["created"],
        "repeat": repeat,
        "counted": run["state"] == "succeeded" and repeat != 0,
        **measured(run),
        "global_step": run["training"]["global_step_last"],
        "phases": dict(run["phases"]),
        "restarts": _restarts(run),
        "outlier": run["run_id"] in outliers,
        "doubts": sorted(set(codes.get(run["run_id"], ()))),
        "cause": {"reason": cause["reason"], "message": cause["message"]} if cause else None,
        **_gpu([run]),
    }


def _restarts(run: Document) -> int:
    return sum(int(task["restarts"]) for task in run["tasks"])


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _crowded(runs: Sequence[Document]) -> list[dict[str, Any]]:
    """Return the hosts that have more tasks than cores, as ``{host, tasks, cores}``."""
    if not runs:
        return []
    crowded = []
    for host in runs[0]["environment"]["hosts"]:
        count = sum(1 for task in runs[0]["tasks"] if task["host"] == host["name"])
        if host.get("cores") and count > host["cores"]:
            crowded.append({"host": host["name"], "tasks": count, "cores": host["cores"]})
    return crowded


def _add_scaling(records: Sequence[dict[str, Any]], places: Sequence[int], found: scaling.Scaling, number: int) -> None:
    """Note in each cell of a series what it is beside the others."""
    steps = {step.size: step.as_dict() for step in found.steps}
    for place in places:
        records[place]["series"] = number
        step = steps.get(records[place]["cell"]["workers"])
        if step is not None:
            records[place].update({name: step[name] for name in ("speed_up", "efficiency", "gain")})


def _doubts(
    cells: Sequence[CellRuns],
    labels: Sequence[str],
    series: Sequence[tuple[Document, scaling.Scaling]],
    limits: Limits,
) -> list[dict[str, Any]]:
    """Return every doubt, with the run and the cell it is about."""
    found: list[dict[str, Any]] = []

    def note(doubts: Iterable[Doubt], run_id: str | None, place: int | None) -> None:
        found.extend({**doubt.as_dict(), "run_id": run_id, "cell": place} for doubt in doubts)

    for place, cell in enumerate(cells):
        for run in cell.counted:
            note(run_doubts(facts(run), limits), run["run_id"], place)
    for entry, said in series:
        places = {int(str(cells[place].words["workers"])): place for place in entry["cells"]}
        sizes = [scaling.Cell(size, tuple(cells[place].values("training_seconds"))) for size, place in places.items()]
        for doubt in series_doubts([size for size in sizes if size.seconds], said, limits):
            # size 4, run 2: the second of those that have a training time.
            size_of, _comma, number = doubt.about.removeprefix("size ").partition(", run ")
            place = places[int(size_of)]
            own = cells[place].counted[int(number) - 1]["run_id"] if number else None
            note([doubt], own, place)
        for doubt in gpu_doubts({labels[place]: gpu_models(cells[place].counted) for place in entry["cells"]}):
            note([doubt], None, next((place for place in entry["cells"] if labels[place] == doubt.about), None))
    for places_alike in _trained_alike(cells):
        accuracies = {labels[place]: cells[place].values("test_accuracy") for place in places_alike}
        dataset = str(cells[places_alike[0]].topology.training.dataset)  # type: ignore[union-attr]
        note(accuracy_doubts(accuracies, TEST_EXAMPLES.get(dataset)), None, None)
    return found


def _trained_alike(cells: Sequence[CellRuns]) -> list[list[int]]:
    """Return the positions of cells that trained the same, whatever the number of tasks and where."""
    found: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if cell.topology is not None and cell.counted:
            found.setdefault(json.dumps(asdict(cell.topology.training), sort_keys=True), []).append(place)
    return list(found.values())


def facts(run: Document) -> RunFacts:
    """Return what is looked at of a run."""
    training, hosts = run["training"], run["environment"]["hosts"]
    workers = [task for task in run["tasks"] if task["role"] == "worker"]
    loads = {host["name"]: (host.get("load_before"), host.get("cores")) for host in hosts}
    skews = {host["name"]: host.get("clock_ahead_seconds") for host in hosts}
    for clock in (run.get("clocks") or {}).get("beside_controller", ()):
        ahead, unsure = clock["ahead_seconds"], clock["uncertainty_seconds"] or 0.0
        # What may be an error of the estimate is no skew.
        skews[clock["name"]] = None if ahead is None else max(0.0, abs(ahead) - unsure) * (1 if ahead > 0 else -1)
    return RunFacts(
        run_id=run["run_id"],
        workers=len(workers),
        training_seconds=training["seconds"],
        global_step_first=training["global_step_first"],
        global_step_last=training["global_step_last"],
        target_step=training["target_step"],
        resumed=run["resumed_from"] is not None,
        local_steps=tuple(task["local_steps"] for task in workers),
        restarts=_restarts(run),
        phases_seconds=run["phases"],
        wall_seconds=run["wall_seconds"],
        load_per_core={name: load / cores for name, (load, cores) in loads.items() if load is not None and cores},
        clock_skew_seconds=skews,
        without_gpu=sum(1 for task in workers if task.get("tensorflow_gpus") == 0),
    )


def _notes(cell: CellRuns, record: Document) -> list[str]:
    notes = ["{tasks} tasks share the {cores} cores of {host}".format(**host) for host in record["crowded"]]
    if cell.unfit:
        notes.append(f"cannot run here: {cell.unfit}")
    if record["given_up"]:
        notes.append("given up after two failures: {}".format(record["given_up"]["message"]))
    if record["restarts"]:
        notes.append("task restarts inside these times: {}".format(record["restarts"]))
    notes += [f"{state} runs outside the means: {record[state]}" for state in ("failed", "stopped") if record[state]]
    outliers = sum(1 for run in record["runs"] if run["outlier"])
    if outliers:
        notes.append(f"outliers inside the means: {outliers}")
    if not record["succeeded"] and not cell.unfit and not record["given_up"]:
        notes.append("no successful run")
    interval = cell.topology.training.communication_interval if cell.topology else 1
    if interval > 1:
        notes.append(f"workers exchange every {interval} steps only, which is another algorithm than every step")
    return notes


def _answer(
    records: Sequence[Document], series: Sequence[tuple[Document, scaling.Scaling]], prices: Sequence[Document]
) -> str:
    """Return what the benchmark says, in a sentence or two, as far as intervals support one."""
    told = [(entry, found) for entry, found in series if found.statements]
    if told:
        entry, found = max(told, key=lambda pair: (len(pair[1].steps), sum(s.seconds.n for s in pair[1].steps)))
        best = min(found.steps, key=lambda step: step.seconds.mean or float("inf"))
        parts = []
        if best is not found.steps[0] and best.speed_up is not None:
            parts.append(scaling.comparison(best.size, found.steps[0].size, best.speed_up))
        elif found.steps[-1].speed_up is not None:
            parts.append(scaling.comparison(found.steps[-1].size, found.steps[0].size, found.steps[-1].speed_up))
        if found.knee is not None:
            parts.append(found.statements[-1])
        sentence = "; ".join(part for part in parts if part)
        of = f" ({entry['label']})" if len(series) > 1 and entry["label"] else ""
        if sentence:
            return sentence[0].upper() + sentence[1:] + of + "."
    if prices:
        return str(prices[0]["statement"]) + "."
    done = [record for record in records if record["training_seconds"]["n"]]
    if not done:
        return "No run has succeeded yet."
    if len(done) == 1:
        seconds = done[0]["training_seconds"]
        interval = seconds["interval"]
        span = f" ({interval['low']:.2f} to {interval['high']:.2f} s)" if interval else ""
        return (
            f"{done[0]['label'][0].upper()}{done[0]['label'][1:]}: {seconds['mean']:.2f} s{span}, n = {seconds['n']}."
        )
    least = min(record["training_seconds"]["n"] for record in done)
    wanted = "repeats=3 or more" if least < 2 else "more repeats"
    return (
        f"{len(done)} cells were measured; what differs between them is not shown with confidence: {wanted} will tell."
    )


def environment(runs: Sequence[Document]) -> dict[str, Any]:
    """Return where all runs were made: what is the same in all of them, and what is not.

    Args:
        runs: run documents.
    """
    hosts: dict[str, list[dict[str, Any]]] = {}
    cards: dict[str, list[list[str]]] = {}
    versions: dict[str, list[object]] = {}
    others: dict[str, list[object]] = {"image_digest": [], "data_sha256": []}
    for run in runs:
        place = run["environment"]
        for host in place["hosts"]:
            # How busy it was, and what its clock showed, belongs to a run.
            lasting = {key: host.get(key) for key in ("name", "cores", "memory_bytes", "cpu_model", "kernel")}
            if any(value is not None for key, value in lasting.items() if key != "name"):
                _once(hosts.setdefault(host["name"], []), lasting)
            if host.get("gpu_models"):
                _once(cards.setdefault(host["name"], []), host["gpu_models"])
        for name, version in place["versions"].items():
            if version is not None:
                _once(versions.setdefault(name, []), version)
        for name, values in others.items():
            if place[name] is not None:
                _once(values, place[name])
    differing = [
        *({"what": f"version of {name}", "values": found} for name, found in versions.items() if len(found) > 1),
        *({"what": f"host {name}", "values": found} for name, found in hosts.items() if len(found) > 1),
        *({"what": f"GPUs of {name}", "values": [", ".join(models) for models in found]}
          for name, found in cards.items() if len(found) > 1),
        *({"what": name.replace("_", " "), "values": found} for name, found in others.items() if len(found) > 1),
    ]  # fmt: skip
    return {
        "hosts": [
            {**found[-1], "gpu_models": sorted({model for models in cards[name] for model in models})}
            if name in cards
            else found[-1]
            for name, found in sorted(hosts.items())
        ],
        "versions": {name: found[-1] for name, found in sorted(versions.items())},
        **{name: found[-1] if found else None for name, found in others.items()},
        "differing": differing,
    }


def _once(values: list[Any], value: Any) -> None:
    if value not in values:
        values.append(value)


def _rounded(value: Any) -> Any:
    """Return a value with its numbers rounded to what is stored."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) < 1 else round(value, DIGITS)
    # Most of what there is, and dearer to tell by the rest.
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value
