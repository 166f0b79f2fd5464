# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Laws of scaling, fitted to training times: Amdahl's and the universal scalability law, with intervals.

Both are one formula for the time ``t`` with ``w`` workers::

    t(w) = t1 (1 + sigma (w - 1) + kappa w (w - 1)) / w

- ``sigma``, *contention*: the share of the work that is done one after the other;
- ``kappa``, *coherency*: what each worker pays for each other one.

Amdahl's law is the one without kappa: ``t = a + b / w`` with the serial seconds ``a = t1 sigma`` and the parallel
seconds ``b = t1 (1 - sigma)`` (G. Amdahl, "Validity of the single processor approach to achieving large scale computing
capabilities", AFIPS 1967). With kappa the time has a minimum at ``w = sqrt((1 - sigma) / kappa)``, beyond which workers
make it slower (N. Gunther, "Guerrilla Capacity Planning", Springer 2007).

The fit is least squares of logarithms, because noise of a time is a percentage. An effect of each block (each repeat of
a blocked benchmark) is fitted beside the law, so that drift of the machine is not taken for noise where sizes are
compared; where seconds are told, the spread of the blocks counts. Intervals are Student's, from the wider of two
standard errors: the usual one, which believes that noise is the same at all sizes, and HC3, which does not (J.
MacKinnon and H. White, Journal of Econometrics 29 (1985)). Parameters may come out negative (a speed-up beyond the
number of workers): nothing is bent to fit, only intervals end at zero.

This plugin util is private to the collection.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .samples import CONFIDENCE, SEED, Interval
from .scientific import np, optimize, special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Draws from what a fit knows of its parameters.
DRAWS = 4000
#: No time is below this share of the one worker's: keeps logarithms finite while the fit looks around.
LEAST = 1e-9
#: A shape beyond this is none: no law of more workers makes two of them so many times slower than one.
MOST_SHAPE = 100.0
#: A time that may be off by more than this factor (its logarithm) is not known at all; farther out numbers end.
MOST_OFF = math.log(1e12)


class TooLittle(ValueError):
    """There are too few sizes, or too few runs, for what was asked."""


@dataclass(frozen=True)
class Times:
    """Training times of one series: all runs differ in nothing but the number of workers.

    Attributes:
        sizes: workers of each run.
        seconds: training time of each run, in the same order; positive.
        blocks: the repeat each run belongs to, in the same order; ``None`` where the runs were not made in blocks.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    blocks: tuple[Hashable, ...] | None = None


@dataclass(frozen=True)
class Parameter:
    """A fitted number.

    Attributes:
        value: the best fit.
        interval: where the true value lies.
        unit: ``s``, or empty for a share.
    """

    value: float
    interval: Interval
    unit: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return {"value": self.value, "interval": self.interval.as_dict(), "unit": self.unit}


@dataclass(frozen=True)
class Fit:
    """A law that was fitted.

    Attributes:
        law: ``amdahl`` or ``usl``.
        parameters: by name. Both laws: ``one_worker_seconds``, ``contention``. Amdahl's: ``serial_seconds``,
            ``parallel_seconds``. The universal one: ``coherency``.
        noise: standard deviation of a run around the law, as a share of its time.
        freedom: degrees of freedom that the noise was estimated with.
        misfit: how often a true law would look at least as wrong as this one, by the F test for lack of fit; ``None``
            where there are no repeats, or no more sizes than parameters, to tell by.
        most: the largest speed-up the law allows over one worker, ``None`` for one without end.
        best_size: number of workers at which the time is shortest; ``None`` where more is always faster.
        theta: logarithm of the one worker's seconds, contention and, if fitted, coherency.
        covariance: of ``theta``.
    """

    law: str
    parameters: dict[str, Parameter]
    noise: float
    freedom: int
    misfit: float | None
    most: float | None
    best_size: float | None
    theta: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def seconds(self, size: float) -> float:
        """Return the training time that the law says for a number of workers."""
        return math.exp(float(_log_seconds(np.asarray(self.theta), np.asarray([float(size)]))[0]))

    def draws(self, sizes: Sequence[int]) -> Any:
        """Return logarithms of seconds, ``DRAWS`` rows of one a size: what the law may be, as far as is known."""
        thetas = student_draws(np.asarray(self.theta), np.asarray(self.covariance), self.freedom)
        return _log_seconds(thetas.T[:, :, None], np.asarray(sizes, dtype=float))

    def slopes(self, sizes: Sequence[float]) -> Any:
        """Return how the logarithm of seconds changes with each of ``theta``, a row for each size."""
        return _slopes(np.asarray(self.theta), np.asarray(sizes, dtype=float))

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return {
            "law": self.law,
            "parameters": {name: parameter.as_dict() for name, parameter in self.parameters.items()},
            "noise": self.noise,
            "freedom": self.freedom,
            "misfit": self.misfit,
            "most": self.most,
            "best_size": self.best_size,
        }


@dataclass(frozen=True)
class Means:
    """The logarithm of each size's time, with effects of blocks taken out, and how sure they are: no law at all.

    Attributes:
        sizes: in their order.
        logs: one for each size.
        covariance: a row and a column for each size.
        freedom: degrees of freedom, 0 without repeats.
        squares: sum of squared residuals.
    """

    sizes: tuple[int, ...]
    logs: Any
    covariance: Any
    freedom: int
    squares: float


def student_draws(centre: Floats, covariance: Floats, freedom: int) -> Floats:
    """Return ``DRAWS`` seeded draws of Student's multivariate law, one a row."""
    generator = np.random.default_rng(SEED)
    normal = generator.multivariate_normal(np.zeros(len(centre)), covariance, size=DRAWS, method="eigh")
    scale = np.sqrt(freedom / generator.chisquare(freedom, size=DRAWS))
    found: Floats = centre + normal * scale[:, None]
    return found


def means(times: Times) -> Means:
    """Return what was measured of each size, as far as blocks allow to compare them."""
    sizes = tuple(sorted(set(times.sizes)))
    logs = np.log(np.asarray(times.seconds, dtype=float))
    cells = (np.asarray(times.sizes)[:, None] == np.asarray(sizes)[None, :]).astype(float)
    blocks = _Blocks.of(times)
    within = blocks.within(cells)
    # Sizes are known but for their level: one direction is a zero but for rounding, which grows with their number.
    weights = np.linalg.pinv(within.T @ within, rcond=1e-9, hermitian=True) @ within.T
    # Within blocks sizes are known but for a level that all share: the mean of the blocks, each as good as any other.
    weights += blocks.level_weights() - blocks.means(cells).mean(axis=0) @ weights
    found = weights @ logs
    residuals = blocks.within(logs - cells @ found)
    squares, freedom = float(residuals @ residuals), len(logs) - len(sizes) - blocks.count + 1
    variance = squares / freedom if freedom else math.nan
    return Means(sizes, found, weights @ weights.T * variance, freedom, squares)


@dataclass(frozen=True)
class _Blocks:
    """An effect of each block, taken out of everything else beforehand.

    That is what fitting a column for each block would give (R. Frisch and F. Waugh, Econometrica 1 (1933)), without a
    thousand columns for a thousand repeats.

    Attributes:
        places: the block of each run, counted from 0; all 0 where runs were not made in blocks.
        sizes: runs of each block.
    """

    places: Any
    sizes: Any

    @classmethod
    def of(cls, times: Times) -> _Blocks:
        """Return the blocks of a series; one for all where they cannot be told from the sizes."""
        blocks = times.blocks if times.blocks is not None and _connected(times) else (0,) * len(times.sizes)
        number = {block: place for place, block in enumerate(dict.fromkeys(blocks))}
        places = np.asarray([number[block] for block in blocks], dtype=int)
        return cls(places, np.bincount(places))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.sizes)

    def means(self, values: Floats) -> Floats:
        """Return the mean of each block, of a value or a row of them for each run."""
        if values.ndim == 1:
            found: Floats = np.bincount(self.places, values, self.count) / self.sizes
        else:
            found = np.stack([self.means(column) for column in values.T], axis=1)
        return found

    def within(self, values: Floats) -> Floats:
        """Return what is left of the values when the mean of their block is taken away."""
        found: Floats = values - self.means(values)[self.places]
        return found

    def level_weights(self) -> Floats:
        """Return the weight of each run in the mean of the blocks."""
        found: Floats = 1 / (self.count * self.sizes[self.places])
        return found


def _connected(times: Times) -> bool:
    """Return whether every two sizes can be compared within blocks, if need be by way of others."""
    groups: list[set[tuple[str, Hashable]]] = []
    for size, block in zip(times.sizes, times.blocks or ()):
        found: set[tuple[str, Hashable]] = {("size", size), ("block", block)}
        apart = []
        for group in groups:
            if group & found:
                found |= group
            else:
                apart.append(group)
        groups = [*apart, found]
    return len(groups) < 2


def _growth(theta: Floats, sizes: Floats) -> Floats:
    contention, coherency = theta[1], theta[2] if len(theta) > 2 else 0.0
    found: Floats = np.maximum(1 + contention * (sizes - 1) + coherency * sizes * (sizes - 1), LEAST)
    return found


def _log_seconds(theta: Floats, sizes: Floats) -> Floats:
    found: Floats = theta[0] + np.log(_growth(theta, sizes)) - np.log(sizes)
    return found


def _slopes(theta: Floats, sizes: Floats) -> Floats:
    growth = _growth(theta, sizes)
    columns = [np.ones_like(sizes), (sizes - 1) / growth, sizes * (sizes - 1) / growth]
    return np.stack(columns[: len(theta)], axis=1)


def amdahl(times: Times) -> Fit:
    """Fit ``t = a + b / w``.

    Raises:
        TooLittle: fewer than two sizes, or no run more than there are parameters.
    """
    return _fit("amdahl", times, 2)


def usl(times: Times) -> Fit:
    """Fit the universal scalability law.

    Raises:
        TooLittle: fewer than three sizes, or no run more than there are parameters.
    """
    return _fit("usl", times, 3)


def _fit(law: str, times: Times, count: int) -> Fit:
    sizes, logs = np.asarray(times.sizes, dtype=float), np.log(np.asarray(times.seconds, dtype=float))
    blocks = _Blocks.of(times)
    freedom = len(logs) - count - blocks.count + 1
    distinct = len(set(times.sizes))
    if distinct < count or freedom < 1:
        raise TooLittle(f"{law}: {count} parameters need {count} sizes and a run more than that, not {distinct} sizes")

    # The seconds of one worker are a level, which blocks have anyway: only the shape of the law is searched for.
    found = optimize.least_squares(
        lambda shape: blocks.within(_log_seconds(np.asarray([0.0, *shape]), sizes) - logs),
        _beginning(sizes, logs, count)[1:],
        lambda shape: blocks.within(_slopes(np.asarray([0.0, *shape]), sizes)[:, 1:]),
        method="lm",
        x_scale="jac",
    )
    levels = blocks.means(logs - _log_seconds(np.asarray([0.0, *found.x]), sizes))
    theta, squares = np.asarray([levels.mean(), *found.x]), float(found.fun @ found.fun)
    # Times that grow faster than a law can lead to no parameters of it, but ever further.
    if not np.isfinite(theta).all() or np.abs(theta[1:]).max() > MOST_SHAPE:
        raise TooLittle(f"{law}: times grow with the workers faster than it allows")
    usual, robust = _covariances(_slopes(theta, sizes)[:, 1:], found.fun, freedom, blocks)
    level = float(levels.var(ddof=1)) / blocks.count if blocks.count > 1 else 0.0

    def reach(slope: Sequence[float]) -> float:
        """Return how far a function of theta may be off, from its slope there."""
        direction = np.asarray([*slope, 0.0][:count])
        within = max(float(direction @ matrix @ direction) for matrix in (usual, robust))
        between = float(direction[0]) ** 2 * level
        whole = within + between
        share = within**2 / freedom + (between**2 / (blocks.count - 1) if between else 0.0)
        return float(special.stdtrit(whole**2 / share, (1 + CONFIDENCE) / 2)) * math.sqrt(whole) if whole else 0.0

    def parameter(value: float, slope: Sequence[float], unit: str = "") -> Parameter:
        off = reach(slope)
        return Parameter(value, Interval(max(0.0, value - off), max(0.0, value + off), "delta"), unit)

    one, contention = math.exp(theta[0]), float(theta[1])
    off = min(reach([1.0, 0.0]), MOST_OFF)
    parameters = {
        "one_worker_seconds": Parameter(one, Interval(one * math.exp(-off), one * math.exp(off), "delta"), "s"),
        "contention": parameter(contention, [0.0, 1.0]),
    }
    if law == "amdahl":
        parameters["serial_seconds"] = parameter(one * contention, [one * contention, one], "s")
        parameters["parallel_seconds"] = parameter(one * (1 - contention), [one * (1 - contention), -one], "s")
    else:
        parameters["coherency"] = parameter(float(theta[2]), [0.0, 0.0, 1.0])
    most, best = _limits(theta)
    return Fit(
        law=law,
        parameters=parameters,
        noise=math.sqrt(squares / freedom),
        freedom=freedom,
        misfit=_misfit(squares, freedom, means(times)),
        most=most,
        best_size=best,
        theta=tuple(map(float, theta)),
        covariance=tuple(tuple(map(float, row)) for row in usual),
    )


def _beginning(sizes: Floats, logs: Floats, count: int) -> Floats:
    """Return where to begin: the law is linear in t1, t1 sigma and t1 kappa, and relative errors can be weighed in."""
    columns = np.stack([1 / sizes, (sizes - 1) / sizes, sizes - 1], axis=1)[:, :count] / np.exp(logs)[:, None]
    solution = np.linalg.lstsq(columns, np.ones_like(logs), rcond=None)[0]
    one = max(float(solution[0]), float(np.exp(logs.min())) * LEAST)
    return np.concatenate([[math.log(one)], solution[1:] / one])


def _covariances(slopes: Floats, residuals: Floats, freedom: int, blocks: _Blocks) -> tuple[Floats, Floats]:
    """Return the covariance of the parameters for equal noise, and for noise of its own in each run (HC3).

    Args:
        slopes: of the parameters of the shape, a row for each run.
        residuals: of each run.
        freedom: degrees of freedom.
        blocks: the effects beside the law.
    """
    within = blocks.within(slopes)
    # What each run adds to each parameter, the level first.
    shape = np.linalg.pinv(within.T @ within) @ within.T
    weights = np.vstack([blocks.level_weights() - blocks.means(slopes).mean(axis=0) @ shape, shape])
    leverage = np.clip(1 / blocks.sizes[blocks.places] + np.einsum("ij,ji->i", within, shape), 0, 1 - 1e-6)
    robust = (weights * (residuals / (1 - leverage)) ** 2) @ weights.T
    return weights @ weights.T * float(residuals @ residuals) / freedom, robust


def _misfit(squares: float, freedom: int, measured: Means) -> float | None:
    """Return the F test's probability that deviations from the law are no more than the spread of repeats."""
    more = freedom - measured.freedom
    if more < 1 or measured.freedom < 1 or measured.squares <= 0:
        return None
    lack = max(0.0, squares - measured.squares) / more
    return float(special.fdtrc(more, measured.freedom, lack / (measured.squares / measured.freedom)))


def _limits(theta: Floats) -> tuple[float | None, float | None]:
    """Return the largest speed-up over one worker and the size it is at; of Amdahl's law the one of endless workers."""
    contention, coherency = float(theta[1]), float(theta[2]) if len(theta) > 2 else 0.0
    if coherency > 0 and contention < 1:
        best = max(1.0, math.sqrt((1 - contention) / coherency))
        growth = 1 + contention * (best - 1) + coherency * best * (best - 1)
        return (best / growth, best) if growth > 0 else (None, best)
    return (1 / contention if contention > 0 and not coherency else None), None
