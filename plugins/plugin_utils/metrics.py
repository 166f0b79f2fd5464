# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A benchmark's document (schema ``dtf.benchmark/2``) as Prometheus' text exposition format 0.0.4.

Every measure is a gauge: a file is the state of a benchmark, not a count of what happened since a start. Names end with
their unit and a bound is a metric of its own, so that no sum or mean over a label mixes a value with its bounds
(https://prometheus.io/docs/practices/naming/). Samples have no time stamps, which node_exporter's textfile collector
refuses. What was not measured has no sample. Pure, and the same document gives the same bytes.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils.sweep import moment

PREFIX = "dtf_benchmark_"

#: Measures of a cell with an interval: key of its document, name and unit of the metric, what it is.
SUMMARIES = (
    ("training_seconds", "training", "seconds", "training time, from the start barrier to the target"),
    ("steps_per_second", "rate", "steps_per_second", "rate of global steps"),
    ("startup_seconds", "startup", "seconds", "time from a run's creation to its start barrier"),
    ("wall_seconds", "wall", "seconds", "time from a run's creation to its end"),
    ("test_accuracy", "test_accuracy", "ratio", "accuracy on the test set"),
    ("test_loss", "test_loss", "nats", "cross entropy on the test set"),
)
RATIOS = (
    ("speed_up", "How many times as fast as the smallest cell of its series"),
    ("efficiency", "Speed-up over what the number of workers promises"),
    ("gain", "How many times as fast as the next smaller cell of its series"),
)
BOUNDS = (("low", "Lower"), ("high", "Upper"))

Document = Mapping[str, Any]
Labels = Mapping[str, object]


class Exposition:
    """Metrics in the order in which they were first told of, each with its samples together."""

    def __init__(self) -> None:
        self._help: dict[str, str] = {}
        self._samples: dict[str, list[tuple[Labels, float]]] = {}

    def add(self, name: str, meaning: str, labels: Labels, value: float | None) -> None:
        """Note a sample; ``None`` is none."""
        if value is not None:
            self._help.setdefault(name, meaning)
            self._samples.setdefault(name, []).append((labels, value))

    def text(self) -> str:
        """Return all of it in the exposition format."""
        lines = []
        for name, samples in self._samples.items():
            lines += [f"# HELP {PREFIX}{name} {_escaped(self._help[name])}", f"# TYPE {PREFIX}{name} gauge"]
            lines += [f"{PREFIX}{name}{_braced(labels)} {_number(value)}" for labels, value in samples]
        return "\n".join(lines) + "\n"


def metrics(document: Document) -> str:
    """Return the metrics of a benchmark."""
    found = Exposition()
    whole = {"benchmark": document["name"]}
    created = [moment(run["created"]) for cell in document["cells"] for run in cell["runs"]]
    found.add(
        "last_run_timestamp_seconds", "When the newest run was created.", whole, max(created) if created else None
    )
    found.add("wanted_runs", "Successful runs wanted of each cell.", whole, document["repeats"])
    found.add("gain_threshold_ratio", "The least gain that is worth a step.", whole, document["threshold"])
    labels = _cell_labels(document)
    for cell, own in zip(document["cells"], labels):
        _add_cell(found, cell, own)
    _add_doubts(found, document, whole, labels)
    for series in document["series"]:
        _add_knee(found, series, {**whole, "series": series["label"], **_worded(series["words"])})
    for pair in document["price"]:
        _add_price(found, pair, labels[pair["kubernetes"]])
    return found.text()


def _cell_labels(document: Document) -> list[Labels]:
    """Return the labels of each cell: its words, and all of them for people; cells with the same words are numbered."""
    seen: Counter[str] = Counter()
    found: list[Labels] = []
    for cell in document["cells"]:
        seen[cell["label"]] += 1
        count = seen[cell["label"]]
        name = cell["label"] + (f" ({count})" if count > 1 else "")
        found.append({"benchmark": document["name"], "cell": name, **_worded(cell["cell"])})
    return found


def _worded(words: Mapping[str, object]) -> dict[str, object]:
    """Return words as labels; one without a value is empty, which to Prometheus is the same as no label."""
    return {
        word: "" if value is None else str(value).lower() if isinstance(value, bool) else value
        for word, value in words.items()
    }


def _add_cell(found: Exposition, cell: Document, labels: Labels) -> None:
    for state in ("succeeded", "failed", "stopped", "warm_up"):
        meaning = "Runs by how they ended; warm-up runs are apart and not counted."
        found.add("runs", meaning, {**labels, "state": state}, cell[state])
    for key, name, unit, meaning in SUMMARIES:
        summary = cell[key]
        found.add(f"{name}_mean_{unit}", f"Mean {meaning}.", labels, summary["mean"])
        _add_bounds(found, f"{name}_mean", unit, f"mean {meaning}", labels, summary["interval"])
    found.add("training_runs", "Runs that the mean training time is of.", labels, cell["training_seconds"]["n"])
    found.add(
        "training_outliers",
        "Runs whose training time the spread of the others does not explain.",
        labels,
        len(cell["training_seconds"]["outliers"]),
    )
    for phase, seconds in cell["phases"].items():
        found.add("phase_mean_seconds", "Mean length of a run's phase.", {**labels, "phase": phase}, seconds)
    for key, meaning in RATIOS:
        _add_ratio(found, key, meaning, labels, cell[key])
    found.add("restarts", "Task restarts inside the runs that count.", labels, cell["restarts"])
    if "gpu" in cell:
        _add_gpu(found, cell["gpu"], labels)


def _add_gpu(found: Exposition, use: Document, labels: Labels) -> None:
    share = use["utilisation"]
    meaning = "share of the training in which a worker's GPU computed."
    for key, name in (("mean", "Mean"), ("minimum", "Smallest"), ("maximum", "Largest")):
        found.add(f"gpu_utilisation_{key}_ratio", f"{name} {meaning}", labels, share[key])
    found.add("gpu_utilisation_workers", "Workers that the utilisation is of, each run's own.", labels, share["n"])
    found.add("gpu_unseen_workers", "Workers whose TensorFlow found no GPU.", labels, use["unseen"])
    found.add("gpu_power_mean_watts", "Mean power of a worker's GPU.", labels, use["power_watts"])
    memory = use["memory_used_mib"]
    in_use = None if memory is None else memory * 2**20
    found.add("gpu_memory_used_mean_bytes", "Mean memory in use on a worker's GPU.", labels, in_use)
    for model in use["models"]:
        found.add("gpu_info", "1 for each model of GPU that workers computed on.", {**labels, "model": model}, 1)


def _add_ratio(found: Exposition, name: str, meaning: str, labels: Labels, ratio: Document | None) -> None:
    if ratio is not None:
        found.add(f"{name}_ratio", f"{meaning}.", labels, ratio["value"])
        _add_bounds(found, name, "ratio", meaning[0].lower() + meaning[1:], labels, ratio["interval"])


def _add_bounds(
    found: Exposition, name: str, unit: str, meaning: str, labels: Labels, interval: Document | None
) -> None:
    for end, word in BOUNDS:
        if interval is not None:
            text = f"{word} end of the 95 % interval of: {meaning}."
            found.add(f"{name}_{end}_{unit}", text, labels, interval[end])


def _add_doubts(found: Exposition, document: Document, whole: Labels, labels: Sequence[Labels]) -> None:
    by_cell = Counter(doubt["cell"] for doubt in document["doubts"])
    for place, own in enumerate(labels):
        found.add("cell_doubts", "Reasons to look again before believing a cell's numbers.", own, by_cell[place])
    found.add("doubts", "Reasons to look again before believing a number.", whole, len(document["doubts"]))
    for code, count in sorted(Counter(doubt["code"] for doubt in document["doubts"]).items()):
        found.add("doubts_of_kind", "Reasons to look again, by their kind.", {**whole, "code": code}, count)


def _add_knee(found: Exposition, series: Document, labels: Labels) -> None:
    knee = series["scaling"]["knee"]
    if knee is not None:
        found.add(
            "knee_workers",
            "The smallest number of workers whose next step gains less than the threshold.",
            labels,
            knee["size"],
        )
        found.add("knee_confidence_ratio", "How sure it is that the knee is there.", labels, knee["confidence"])
        found.add("knee_certain", "1 where the runs leave no other knee with 95 % confidence.", labels, knee["certain"])


def _add_price(found: Exposition, pair: Document, labels: Labels) -> None:
    """Note what pods take beside processes, under the labels of the cell of pods."""
    if pair["training_seconds"] is not None:
        meaning = "Training time of pods over that of processes"
        _add_ratio(found, "price_training", meaning, labels, pair["training_seconds"])
    later = pair["startup_seconds"]["difference"]
    meaning = "start-up time of pods less that of processes"
    found.add("price_startup_seconds", f"{meaning[0].upper()}{meaning[1:]}.", labels, later["value"])
    _add_bounds(found, "price_startup", "seconds", meaning, labels, later["interval"])
    for runtime in ("process", "kubernetes"):
        usage = (pair["platform"] or {}).get(runtime)
        if usage is not None:
            found.add(
                "price_platform_ratio",
                "Processor time of the platform over that of platform and trainer, during runs of a runtime.",
                {**labels, "during": runtime},
                usage["share"]["mean"],
            )


def _braced(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items()) + "}"


def _quoted(value: object) -> str:
    return _escaped(str(value)).replace('"', '\\"')


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))
