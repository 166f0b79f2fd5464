# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the thesis read from its charts, each reading as a claim that runs can support or refute.

The thesis gives no numbers beside its charts, only what it saw in them: there is a minimum here, a plateau there. A
claim turns that into *comparisons*: ratios of training times, each with the range that it would have to be in. All
intervals of a claim hold together with 95 % (Bonferroni), and the spread is that of all runs of the experiment, beside
effects of cells and blocks. So:

- ``agrees``: every interval lies inside its range;
- ``disagrees``: one lies outside;
- ``not_shown``: neither; the runs leave both open;
- ``not_measured``: there are no runs to compare.

Words like "steep" and "a little" have no number in the thesis. The ones they get here are constants below, and stand on
the page beside the verdict.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .samples import CONFIDENCE
from .scaling import span
from .scaling_laws import MOST_OFF, Times, means
from .scientific import np, stats

#: From this ratio on a time has risen steeply, or fallen clearly; below it, a little.
CLEARLY = 1.25
#: A plateau: no time on it is further than this from its first.
FLAT = 1.10
#: "Like 1/n": work per worker stays the same but for this factor.
PROPORTIONAL = 1.25

#: Comparisons that a sentence names; the document has all.
MOST_TOLD = 3

AGREES, DISAGREES, NOT_SHOWN, NOT_MEASURED = "agrees", "disagrees", "not_shown", "not_measured"
VERDICTS = (AGREES, DISAGREES, NOT_SHOWN, NOT_MEASURED)

#: A number of workers or parameter servers, and one of nodes.
Key = tuple[int, int]


@dataclass(frozen=True)
class Runs:
    """The counted runs of a cell.

    Attributes:
        seconds: training time of each.
        blocks: the repeat of each; ``None`` where they were not made in blocks.
    """

    seconds: tuple[float, ...]
    blocks: tuple[Hashable, ...] | None = None


@dataclass(frozen=True)
class Comparison:
    """A ratio of training times that a claim is about.

    Attributes:
        label: what is compared.
        nodes: the line it belongs to; ``None`` where it is of several.
        value: the ratio.
        low: lower end of where the true ratio lies; ``None`` where nothing says, as ``high``.
        high: its upper end.
        wanted_low: where the claim wants it.
        wanted_high: the upper end of that; ``None`` is no bound.
    """

    label: str
    nodes: int | None
    value: float
    low: float | None
    high: float | None
    wanted_low: float
    wanted_high: float | None

    @property
    def inside(self) -> bool:
        """Whether all of the interval is where the claim wants it."""
        if self.low is None or self.high is None:
            return False
        return self.low >= self.wanted_low and (self.wanted_high is None or self.high <= self.wanted_high)

    @property
    def outside(self) -> bool:
        """Whether none of it is."""
        if self.low is None or self.high is None:
            return False
        return self.high < self.wanted_low or (self.wanted_high is not None and self.low > self.wanted_high)

    @property
    def room(self) -> float:
        """How far, in logarithms, the ratio is from the nearest bound, whichever side of it."""
        bounds = [self.wanted_low] if self.wanted_high is None else [self.wanted_low, self.wanted_high]
        return min(abs(math.log(self.value / bound)) for bound in bounds)

    def sentence(self) -> str:
        """Return it in words, with its interval."""
        if self.low is None or self.high is None:
            return f"{self.label} is {self.value:.2f}, from too few runs for an interval"
        return f"{self.label} is {span(self.low, self.high)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        interval = None if self.low is None else {"low": self.low, "high": self.high}
        return {
            "label": self.label,
            "nodes": self.nodes,
            "value": self.value,
            "interval": interval,
            "wanted": {"low": self.wanted_low, "high": self.wanted_high},
        }


@dataclass(frozen=True)
class Found:
    """What runs say of a claim.

    Attributes:
        claim: which.
        verdict: one of :data:`VERDICTS`.
        comparisons: what it rests on.
        missing: what could not be compared, and why.
        elsewhere: the same comparisons at numbers of nodes that the claim is not about; they decide nothing.
    """

    claim: Claim
    verdict: str
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]
    elsewhere: tuple[Comparison, ...] = ()

    def sentence(self) -> str:
        """Return in words what was found."""
        if self.verdict == NOT_MEASURED:
            beside = "; ".join(entry.sentence() for entry in self.elsewhere)
            text = "; ".join(self.missing)
            return f"{text}. For what it is worth: {beside}" if beside else text
        if self.verdict == DISAGREES:
            telling = [entry for entry in self.comparisons if entry.outside]
        elif self.verdict == NOT_SHOWN:
            telling = [entry for entry in self.comparisons if not entry.inside]
        else:
            telling = list(self.comparisons)
        # Where all is well the tightest tells most; else what is furthest off.
        telling.sort(key=lambda entry: entry.room, reverse=self.verdict == DISAGREES)
        parts = [entry.sentence() for entry in telling[:MOST_TOLD]]
        if len(telling) > MOST_TOLD:
            parts.append(f"and so for {len(telling) - MOST_TOLD} more")
        if self.verdict == NOT_SHOWN:
            parts.append("the runs leave both open")
        return "; ".join([*parts, *self.missing])

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        text = self.sentence()
        return {
            "id": self.claim.name,
            "experiment": self.claim.experiment,
            "reading": self.claim.reading,
            "criterion": self.claim.criterion,
            "verdict": self.verdict,
            "sentence": text[0].upper() + text[1:] + ".",
            "comparisons": [entry.as_dict() for entry in self.comparisons],
            "missing": list(self.missing),
            "elsewhere": [entry.as_dict() for entry in self.elsewhere],
        }


class Model:
    """The logarithms of all cells of an experiment, and how sure any difference of them is.

    Args:
        cells: the runs of each cell that has any.
        varied: ``workers`` or ``ps``.
    """

    def __init__(self, cells: Mapping[Key, Runs], varied: str) -> None:
        self.keys = sorted(key for key, runs in cells.items() if runs.seconds)
        self.varied = varied
        blocked = all(cells[key].blocks is not None for key in self.keys)
        if self.keys:
            self._means = means(
                Times(
                    sizes=tuple(place for place, key in enumerate(self.keys) for _run in cells[key].seconds),
                    seconds=tuple(seconds for key in self.keys for seconds in cells[key].seconds),
                    blocks=tuple(block for key in self.keys for block in cells[key].blocks or ()) if blocked else None,
                )
            )

    def lines(self) -> list[int]:
        """Return the numbers of nodes there are runs of."""
        return sorted({nodes for _x, nodes in self.keys})

    def xs(self, nodes: int) -> list[int]:
        """Return what was measured of a line."""
        return [x for x, own in self.keys if own == nodes]

    def ratio(self, weights: Mapping[Key, float], factor: float, comparisons: int) -> tuple[float, Any, Any]:
        """Return e to the power of a weighted sum of logarithms, with its interval.

        Args:
            weights: of each cell; they add up to nothing.
            factor: what it is multiplied by.
            comparisons: how many intervals are to hold together.
        """
        vector = np.zeros(len(self.keys))
        for key, weight in weights.items():
            vector[self.keys.index(key)] = weight
        value = float(vector @ self._means.logs)
        if not self._means.freedom:
            return factor * math.exp(value), None, None
        error = math.sqrt(max(0.0, float(vector @ self._means.covariance @ vector)))
        reach = min(float(stats.t.isf((1 - CONFIDENCE) / 2 / comparisons, self._means.freedom)) * error, MOST_OFF)
        return factor * math.exp(value), factor * math.exp(value - reach), factor * math.exp(value + reach)


@dataclass(frozen=True)
class Wish:
    """A comparison before it is made: what is weighed how, and where the claim wants it."""

    label: str
    nodes: int | None
    weights: Mapping[Key, float]
    low: float
    high: float | None = None
    factor: float = 1.0


#: Wishes for some numbers of nodes, and what could not be wished for.
Wishes = tuple[list[Wish], list[str]]


@dataclass(frozen=True)
class Claim:
    """A reading of the thesis.

    Attributes:
        name: short.
        experiment: the one it was read from.
        reading: what was read, in the words of the table.
        criterion: what that means in numbers here.
        nodes: the numbers of nodes it is about.
        wishes: from a model and numbers of nodes to what has to be compared.
    """

    name: str
    experiment: str
    reading: str
    criterion: str
    nodes: tuple[int, ...]
    wishes: Callable[[Model, Sequence[int]], Wishes]


def judge(claim: Claim, model: Model) -> Found:
    """Return what runs say of a claim."""
    if not model.keys:
        return Found(claim, NOT_MEASURED, (), ("no run of this series",))
    wishes, missing = claim.wishes(model, claim.nodes)
    comparisons = _compared(model, wishes)
    if not comparisons:
        others, _more = claim.wishes(model, [nodes for nodes in model.lines() if nodes not in claim.nodes])
        return Found(claim, NOT_MEASURED, (), tuple(missing), _compared(model, others))
    if any(entry.outside for entry in comparisons):
        verdict = DISAGREES
    else:
        verdict = AGREES if all(entry.inside for entry in comparisons) else NOT_SHOWN
    return Found(claim, verdict, comparisons, tuple(missing))


def _compared(model: Model, wishes: Sequence[Wish]) -> tuple[Comparison, ...]:
    found = []
    for wish in wishes:
        value, low, high = model.ratio(wish.weights, wish.factor, len(wishes))
        found.append(Comparison(wish.label, wish.nodes, value, low, high, wish.low, wish.high))
    return tuple(found)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _beside(model: Model, nodes: int, above: int, below: int, low: float, high: float | None = None) -> Wish:
    """Return the wish for the time of one size over that of another on the same line."""
    label = f"with {_nodes(nodes)} the time of {above} {model.varied} over that of {below}"
    return Wish(label, nodes, {(above, nodes): 1.0, (below, nodes): -1.0}, low, high)


def _unmeasured(nodes: Sequence[int], what: str) -> list[str]:
    """Return what is missing of lines that are alike, told once."""
    return [f"with {', '.join(map(str, nodes))} node{'s' if list(nodes) != [1] else ''} {what}"] if nodes else []


def _minimum(at: int) -> Callable[[Model, Sequence[int]], Wishes]:
    """Every other size takes longer than this one."""

    def wishes(model: Model, nodes: Sequence[int]) -> Wishes:
        found: list[Wish] = []
        lacking = []
        for line in nodes:
            sizes = model.xs(line)
            if at not in sizes or min(sizes) == at or max(sizes) == at:
                lacking.append(line)
                continue
            found += [_beside(model, line, size, at, 1.0) for size in sizes if size != at]
        return found, _unmeasured(lacking, f"{at} {model.varied} were not measured beside fewer and more")

    return wishes


def _rise(model: Model, nodes: Sequence[int]) -> Wishes:
    """The largest size takes clearly longer than that of the minimum."""
    found, lacking = [], []
    for line in nodes:
        sizes, at = model.xs(line), 5 if line in (4, 5) else 4
        if at not in sizes or max(sizes) == at:
            lacking.append(line)
            continue
        found.append(_beside(model, line, max(sizes), at, CLEARLY))
    return found, _unmeasured(lacking, "nothing was measured at the minimum and beyond")


def _three_nodes(model: Model, _nodes_of_claim: Sequence[int]) -> Wishes:
    """Three nodes are faster than any other number, on the average of the sizes that both have."""
    found = []
    for line in model.lines():
        both = [size for size in model.xs(line) if (size, 3) in model.keys]
        if line == 3 or not both:
            continue
        share = 1 / len(both)
        weights = {**{(size, line): share for size in both}, **{(size, 3): -share for size in both}}
        found.append(Wish(f"the time of {_nodes(line)} over that of 3", None, weights, 1.0))
    return found, [] if found else ["3 nodes were not measured beside any other number"]


def _more_ps(low: float, high: float | None) -> Callable[[Model, Sequence[int]], Wishes]:
    """Few parameter servers take longer than many, on the average of all lines."""

    def wishes(model: Model, nodes: Sequence[int]) -> Wishes:
        lines = [line for line in nodes if line in model.lines() and len(model.xs(line)) > 1]
        # Lines whose ends are the same are averaged.
        ends = {line: (min(model.xs(line)), max(model.xs(line))) for line in lines}
        if not lines:
            return [], _unmeasured(list(nodes), "no two numbers of ps were measured")
        widest = max(ends.values(), key=lambda pair: pair[1] - pair[0])
        alike = [line for line in lines if ends[line] == widest]
        weights: dict[Key, float] = {}
        for line in alike:
            weights[widest[0], line], weights[widest[1], line] = 1 / len(alike), -1 / len(alike)
        where = f"with {', '.join(map(str, alike))} node{'s' if alike != [1] else ''}"
        label = f"{where} the time of {widest[0]} ps over that of {widest[1]}"
        return [Wish(label, alike[0] if len(alike) == 1 else None, weights, low, high)], []

    return wishes


def _like_one_over_n(model: Model, nodes: Sequence[int]) -> Wishes:
    """Up to 6 workers the time falls as the number grows."""
    found, lacking = [], []
    for line in nodes:
        sizes = [size for size in model.xs(line) if size <= PLATEAU_AT]
        if len(sizes) < 2:
            lacking.append(line)
            continue
        few, many = min(sizes), max(sizes)
        label = f"with {_nodes(line)} the work of {many} workers (its time times their number) over that of {few}"
        weights = {(many, line): 1.0, (few, line): -1.0}
        found.append(Wish(label, line, weights, 1 / PROPORTIONAL, PROPORTIONAL, many / few))
    return found, _unmeasured(lacking, f"no two numbers up to {PLATEAU_AT} workers were measured")


def _plateau(model: Model, nodes: Sequence[int]) -> Wishes:
    """From 6 workers on the time stays."""
    found: list[Wish] = []
    lacking = []
    for line in nodes:
        sizes = model.xs(line)
        if PLATEAU_AT not in sizes or max(sizes) == PLATEAU_AT:
            lacking.append(line)
            continue
        found += [_beside(model, line, size, PLATEAU_AT, 1 / FLAT, FLAT) for size in sizes if size > PLATEAU_AT]
    return found, _unmeasured(lacking, f"{PLATEAU_AT} workers were not measured beside more")


def _rise_again(model: Model, nodes: Sequence[int]) -> Wishes:
    """Behind the plateau's first size the time grows."""
    found, lacking = [], []
    for line in nodes:
        sizes = model.xs(line)
        if PLATEAU_AT not in sizes or max(sizes) == PLATEAU_AT:
            lacking.append(line)
            continue
        found.append(_beside(model, line, max(sizes), PLATEAU_AT, 1.0))
    return found, _unmeasured(lacking, f"{PLATEAU_AT} workers were not measured beside more")


#: Where the thesis's plateau begins.
PLATEAU_AT = 6

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "minimum-at-4",
        "kind-workers",
        "minimum at 4 workers with 2 and 3 nodes",
        "every other number of workers takes longer than 4",
        (2, 3),
        _minimum(4),
    ),
    Claim(
        "minimum-at-5",
        "kind-workers",
        "minimum at 5 workers with 4 and 5 nodes",
        "every other number of workers takes longer than 5",
        (4, 5),
        _minimum(5),
    ),
    Claim(
        "steep-rise",
        "kind-workers",
        "beyond the minimum a steep rise",
        f"the largest number of workers takes at least {CLEARLY} times as long as the minimum",
        (2, 3, 4, 5),
        _rise,
    ),
    Claim(
        "three-nodes",
        "kind-workers",
        "3 nodes are the best number",
        "every other number of nodes takes longer, on the average over the numbers of workers",
        (1, 2, 3, 4, 5),
        _three_nodes,
    ),
    Claim(
        "ps-a-little",
        "kind-ps",
        "more parameter servers are a little better",
        f"few take longer than many, by at most {CLEARLY} times",
        (1, 2, 3, 4, 5),
        _more_ps(1.0, CLEARLY),
    ),
    Claim(
        "one-over-n",
        "google-workers",
        f"the time falls like 1/n up to {PLATEAU_AT} workers",
        f"time times workers stays the same within a factor of {PROPORTIONAL}",
        (2, 3, 4, 5, 6),
        _like_one_over_n,
    ),
    Claim(
        "plateau",
        "google-workers",
        f"a plateau from {PLATEAU_AT} workers on",
        f"no larger number is further than a factor of {FLAT} from {PLATEAU_AT} workers",
        (3, 4, 5, 6),
        _plateau,
    ),
    Claim(
        "two-nodes-rise",
        "google-workers",
        "with 2 nodes the time rises again",
        f"the largest number of workers takes longer than {PLATEAU_AT}",
        (2,),
        _rise_again,
    ),
    Claim(
        "ps-clearly",
        "google-ps",
        "more parameter servers are clearly better",
        f"few take at least {CLEARLY} times as long as many",
        (2, 3, 4, 5, 6),
        _more_ps(CLEARLY, None),
    ),
)
