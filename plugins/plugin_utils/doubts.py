# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a result suspicious: of one run, of a series, of the accuracies of several cells.

A doubt never removes a number; it stands beside it, with what was seen and what was expected. All bounds are in
:class:`Limits`.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .scaling import Cell, Scaling
from .scientific import np, stats

#: How often accuracies of equal cells may look different.
ACCURACY_ALPHA = 0.01


@dataclass(frozen=True)
class Limits:
    """From where on something is suspicious.

    Attributes:
        phases_share: by what share of the wall time the phases may miss it.
        load_per_core: share of the cores at work just before the run: something else was running.
        clock_skew_seconds: how far the clock of a host may be from the controller's, and from another host's.
        superlinear_run: how many times faster than its workers promise a single run may be; noise needs some room.
        steps_in_flight: steps that each worker may have made that did not enter the global step, or were counted late.
    """

    phases_share: float = 0.02
    load_per_core: float = 0.3
    clock_skew_seconds: float = 0.1
    superlinear_run: float = 2.0
    steps_in_flight: int = 1


@dataclass(frozen=True)
class RunFacts:
    """What is looked at of a run; ``None`` is what was not measured, and is not doubted.

    Attributes:
        run_id: its name.
        workers: how many.
        training_seconds: from the start barrier to the target.
        global_step_first: global step at the start barrier.
        global_step_last: global step at the end.
        target_step: the global step to reach; 0 is none.
        resumed: whether it was to continue a checkpoint, and so to begin later than at 0.
        local_steps: of each worker, those that entered the global step.
        contributions: local steps that make one global step: 1 asynchronously, the aggregated replicas synchronously.
        restarts: of all tasks together.
        phases_seconds: length of each phase, by its name.
        wall_seconds: from the run's creation to its end.
        load_per_core: share of the cores at work just before the run, by host.
        clock_skew_seconds: how far the clock of each host was at least ahead of the controller's, by host; negative is
            behind.
        without_gpu: workers that asked for GPUs and whose TensorFlow found none.
    """

    run_id: str
    workers: int
    training_seconds: float | None = None
    global_step_first: int | None = None
    global_step_last: int | None = None
    target_step: int | None = None
    resumed: bool = False
    local_steps: tuple[int | None, ...] = ()
    contributions: int = 1
    restarts: int = 0
    phases_seconds: Mapping[str, float | None] = field(default_factory=dict)
    wall_seconds: float | None = None
    load_per_core: Mapping[str, float | None] = field(default_factory=dict)
    clock_skew_seconds: Mapping[str, float | None] = field(default_factory=dict)
    without_gpu: int = 0


@dataclass(frozen=True)
class Doubt:
    """A reason to look again before believing a number.

    Attributes:
        code: short stable word: ``superlinear``, ``first_step``, ``target_missed``, ``restarts``, ``steps``,
            ``phases``, ``load``, ``clock_skew``, ``gpu_unseen``, ``gpu_models``, ``accuracy``.
        about: the run, the size or the series.
        seen: the number that is suspicious.
        expected: the bound it broke.
        message: both in a sentence.
    """

    code: str
    about: str
    seen: float
    expected: float
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return asdict(self)


def run_doubts(run: RunFacts, limits: Limits | None = None) -> list[Doubt]:
    """Return what is suspicious of one run, for itself."""
    bounds = limits or Limits()
    return [*_step_doubts(run, bounds), *_time_doubts(run, bounds), *_machine_doubts(run, bounds)]


def _step_doubts(run: RunFacts, limits: Limits) -> list[Doubt]:
    found = []
    first, last = run.global_step_first, run.global_step_last
    if first and not run.resumed:
        message = f"the global step began at {first}: steps of another run are counted"
        found.append(Doubt("first_step", run.run_id, first, 0, message))
    if last is not None and run.target_step and last < run.target_step:
        message = f"the global step ended at {last}, before its target {run.target_step}"
        found.append(Doubt("target_missed", run.run_id, last, run.target_step, message))
    counted = [steps for steps in run.local_steps if steps is not None]
    if first is not None and last is not None and counted and len(counted) == len(run.local_steps):
        made, needed = sum(counted), (last - first) * run.contributions
        if abs(made - needed) > limits.steps_in_flight * len(counted):
            message = f"the workers made {made} steps, the global step says {needed}"
            found.append(Doubt("steps", run.run_id, made, needed, message))
    if run.restarts:
        message = f"tasks were restarted {run.restarts} times inside the run"
        found.append(Doubt("restarts", run.run_id, run.restarts, 0, message))
    return found


def _time_doubts(run: RunFacts, limits: Limits) -> list[Doubt]:
    parts = [seconds for seconds in run.phases_seconds.values() if seconds is not None]
    if not run.wall_seconds or not parts:
        return []
    whole = math.fsum(parts)
    if abs(whole - run.wall_seconds) <= limits.phases_share * run.wall_seconds:
        return []
    message = f"the phases add up to {whole:.2f} s of {run.wall_seconds:.2f} s: more than {limits.phases_share:.0%} off"
    return [Doubt("phases", run.run_id, whole, run.wall_seconds, message)]


def _machine_doubts(run: RunFacts, limits: Limits) -> list[Doubt]:
    found = []
    for host, load in run.load_per_core.items():
        if load is not None and load > limits.load_per_core:
            busy = f"{load:.0%} of its cores were at work, not below {limits.load_per_core:.0%}"
            message = f"{host} was busy before the run: {busy}"
            found.append(Doubt("load", run.run_id, load, limits.load_per_core, message))
    found += _clock_doubts(run, limits.clock_skew_seconds)
    if run.without_gpu:
        those = f"{run.without_gpu} of {run.workers} workers" if run.workers > 1 else "the worker"
        message = f"{those} asked for GPUs and TensorFlow found none, so the processor computed"
        found.append(Doubt("gpu_unseen", run.run_id, run.without_gpu, 0, message))
    return found


def _clock_doubts(run: RunFacts, limit: float) -> list[Doubt]:
    """Return a doubt of each clock that is far from the controller's; where none is, of the two farthest apart."""
    skews = {host: skew for host, skew in run.clock_skew_seconds.items() if skew is not None}
    found = []
    for host, skew in skews.items():
        if abs(skew) > limit:
            message = f"the clock of {host} is {skew:+.3f} s off: times of different hosts cannot be compared"
            found.append(Doubt("clock_skew", run.run_id, skew, limit, message))
    if found or not skews:
        return found
    late, early = min(skews, key=skews.__getitem__), max(skews, key=skews.__getitem__)
    apart = skews[early] - skews[late]
    if apart > limit:
        both = f"the clocks of {early} and {late} are {apart:.3f} s apart"
        message = f"{both}: times of different hosts cannot be compared"
        found.append(Doubt("clock_skew", run.run_id, apart, limit, message))
    return found


def series_doubts(cells: Sequence[Cell], found: Scaling, limits: Limits | None = None) -> list[Doubt]:
    """Return the speed-ups that more workers cannot explain: of whole sizes, and of single runs.

    A size is doubted where all of its interval is above what the number of workers promises (one without an interval,
    where its value is); a run where it is :attr:`Limits.superlinear_run` times faster than that. A count of steps that
    began where another run ended once made a training look thirty times faster than it was.

    Args:
        cells: the series.
        found: what :func:`scaling.scaling` said of it.
        limits: the bounds.
    """
    if not found.steps:
        return []
    bounds = limits or Limits()
    base = found.steps[0]
    doubts = []
    for step in found.steps[1:]:
        ideal = step.size / base.size
        if step.speed_up is None:
            continue
        least = step.speed_up.interval.low if step.speed_up.interval else step.speed_up.value
        if least > ideal:
            message = (
                f"{step.size} workers are {step.speed_up.value:.3g} times as fast as {base.size}: above {ideal:.3g}"
            )
            doubts.append(Doubt("superlinear", f"size {step.size}", step.speed_up.value, ideal, message))
    middle = statistics.median(next(cell for cell in cells if cell.size == base.size).seconds)
    for cell in sorted(cells, key=lambda cell: cell.size):
        bound = cell.size / base.size * bounds.superlinear_run
        for place, seconds in enumerate(cell.seconds):
            times = middle / seconds
            if times > bound:
                message = f"a run of {seconds:.3g} s is {times:.3g} times as fast as {base.size}: above {bound:.3g}"
                doubts.append(Doubt("superlinear", f"size {cell.size}, run {place + 1}", times, bound, message))
    return doubts


def gpu_doubts(models: Mapping[str, Sequence[str]]) -> list[Doubt]:
    """Return a doubt of each cell whose workers computed on different GPUs, and one where cells differ in theirs.

    Args:
        models: of the GPUs that workers computed on, by cell; a cell that tells of none is compared with no other.
    """
    known = {name: tuple(sorted(set(found))) for name, found in models.items() if found}
    doubts = [
        Doubt("gpu_models", name, len(found), 1, f"GPUs differ within the cell: {', '.join(found)}")
        for name, found in known.items()
        if len(found) > 1
    ]
    first = next(iter(known), "")
    other = next((name for name, found in known.items() if found != known[first]), None)
    if other is not None:
        differ = f"{', '.join(known[first])} at {first} and {', '.join(known[other])} at {other}"
        seen = len({model for found in known.values() for model in found})
        message = f"GPUs differ between cells that are compared: {differ}"
        doubts.append(Doubt("gpu_models", f"{first}, {other}", seen, 1, message))
    return doubts


def accuracy_doubts(accuracies: Mapping[str, Sequence[float]], test_examples: int | None = None) -> list[Doubt]:
    """Return a doubt where accuracies differ between cells by more than chance: they did not train the same.

    Where every cell has a spread, it is compared with the differences (A. Alexander and D. Govern, "A New and Simpler
    Approximation for ANOVA Under Variance Heterogeneity", Journal of Educational Statistics 19 (1994): spreads of cells
    need not be equal). Where one has none (single runs, equal runs), chance is that of the test set: right and wrong
    answers of the mean accuracies, by the chi-squared test.

    Args:
        accuracies: of each run, 0 to 1, by cell.
        test_examples: size of the test set; without it cells that have no spread are not compared.
    """
    cells = {name: list(values) for name, values in accuracies.items() if values}
    if len(cells) < 2:
        return []
    middle = {name: statistics.fmean(values) for name, values in cells.items()}
    probability = _equal_by_spread(list(cells.values()))
    if probability is None and test_examples:
        probability = _equal_by_examples(list(middle.values()), test_examples)
    if probability is None or probability >= ACCURACY_ALPHA:
        return []
    low, high = min(middle, key=middle.__getitem__), max(middle, key=middle.__getitem__)
    differ = f"accuracy is {middle[low]:.4f} at {low} and {middle[high]:.4f} at {high}"
    message = f"{differ}: more than chance (p = {probability:.2g})"
    return [Doubt("accuracy", f"{low}, {high}", probability, ACCURACY_ALPHA, message)]


def _equal_by_spread(samples: Sequence[Sequence[float]]) -> float | None:
    if any(len(sample) < 2 or np.ptp(sample) == 0 for sample in samples):
        return None
    with warnings.catch_warnings():
        # Where a mean is that of all cells SciPy warns of lost digits; that they are equal is all there is to know.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.alexandergovern(*samples).pvalue)


def _equal_by_examples(means: Sequence[float], examples: int) -> float:
    right = [round(mean * examples) for mean in means]
    table = [right, [examples - count for count in right]]
    if not all(map(any, table)):
        return 1.0
    return float(stats.chi2_contingency(table).pvalue)
