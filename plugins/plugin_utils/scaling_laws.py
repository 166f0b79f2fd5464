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
from .scientific import np, optimize, stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Draws from what a fit knows of its parameters.
DRAWS = 4000
#: No time is below this share of the one worker's: keeps logarithms finite while the fit looks around.
LEAST = 1e-9


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
    design = np.hstack([cells, _block_effects(times)])
    solution, _squares, rank, _singular = np.linalg.lstsq(design, logs, rcond=None)
    residuals = logs - design @ solution
    squares, freedom = float(residuals @ residuals), len(logs) - int(rank)
    variance = squares / freedom if freedom else math.nan
    covariance = np.linalg.pinv(design.T @ design)[: len(sizes), : len(sizes)] * variance
    return Means(sizes, solution[: len(sizes)], covariance, freedom, squares)


def _block_effects(times: Times) -> Floats:
    """Return a row for each run and a column for each block but one: effects that add up to zero."""
    if times.blocks is None:
        return np.zeros((len(times.sizes), 0))
    places = {block: place for place, block in enumerate(dict.fromkeys(times.blocks))}
    columns = np.zeros((len(times.sizes), len(places)))
    columns[np.arange(len(times.sizes)), [places[block] for block in times.blocks]] = 1.0
    found: Floats = columns[:, :-1] - columns[:, -1:]
    return found


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
    effects = _block_effects(times)
    freedom = len(logs) - count - effects.shape[1]
    distinct = len(set(times.sizes))
    if distinct < count or freedom < 1:
        raise TooLittle(f"{law}: {count} parameters need {count} sizes and a run more than that, not {distinct} sizes")

    found = optimize.least_squares(
        lambda all_: _log_seconds(all_[:count], sizes) + effects @ all_[count:] - logs,
        np.concatenate([_beginning(sizes, logs, count), np.zeros(effects.shape[1])]),
        lambda all_: np.hstack([_slopes(all_[:count], sizes), effects]),
        method="lm",
        x_scale="jac",
    )
    theta, squares = found.x[:count], float(found.fun @ found.fun)
    usual, robust = (matrix[:count, :count] for matrix in _covariances(found.jac, found.fun, freedom))
    level, blocks = _level(effects, found.x[count:])

    def reach(slope: Sequence[float]) -> float:
        """Return how far a function of theta may be off, from its slope there."""
        direction = np.asarray([*slope, 0.0][:count])
        within = max(float(direction @ matrix @ direction) for matrix in (usual, robust))
        between = float(direction[0]) ** 2 * level
        whole = within + between
        share = within**2 / freedom + (between**2 / (blocks - 1) if between else 0.0)
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, whole**2 / share)) * math.sqrt(whole) if whole else 0.0

    def parameter(value: float, slope: Sequence[float], unit: str = "") -> Parameter:
        off = reach(slope)
        return Parameter(value, Interval(max(0.0, value - off), max(0.0, value + off), "delta"), unit)

    one, contention = math.exp(theta[0]), float(theta[1])
    off = reach([1.0, 0.0])
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


def _level(effects: Floats, values: Floats) -> tuple[float, int]:
    """Return the variance of the blocks' common level, and the number of blocks; none without blocks."""
    blocks = effects.shape[1] + 1
    if blocks == 1:
        return 0.0, 1
    every = np.append(values, -values.sum())
    return float(every.var(ddof=1)) / blocks, blocks


def _beginning(sizes: Floats, logs: Floats, count: int) -> Floats:
    """Return where to begin: the law is linear in t1, t1 sigma and t1 kappa, and relative errors can be weighed in."""
    columns = np.stack([1 / sizes, (sizes - 1) / sizes, sizes - 1], axis=1)[:, :count] / np.exp(logs)[:, None]
    solution = np.linalg.lstsq(columns, np.ones_like(logs), rcond=None)[0]
    one = max(float(solution[0]), float(np.exp(logs.min())) * LEAST)
    return np.concatenate([[math.log(one)], solution[1:] / one])


def _covariances(slopes: Floats, residuals: Floats, freedom: int) -> tuple[Floats, Floats]:
    """Return the covariance of the parameters for equal noise, and for noise of its own in each run (HC3)."""
    inverse = np.linalg.pinv(slopes.T @ slopes)
    leverage = np.clip(np.einsum("ij,jk,ik->i", slopes, inverse, slopes), 0, 1 - 1e-6)
    weighed = slopes.T * (residuals / (1 - leverage)) ** 2
    return inverse * float(residuals @ residuals) / freedom, inverse @ weighed @ slopes @ inverse


def _misfit(squares: float, freedom: int, measured: Means) -> float | None:
    """Return the F test's probability that deviations from the law are no more than the spread of repeats."""
    more = freedom - measured.freedom
    if more < 1 or measured.freedom < 1 or measured.squares <= 0:
        return None
    lack = max(0.0, squares - measured.squares) / more
    return float(stats.f.sf(lack / (measured.squares / measured.freedom), more, measured.freedom))


def _limits(theta: Floats) -> tuple[float | None, float | None]:
    """Return the largest speed-up over one worker and the size it is at; of Amdahl's law the one of endless workers."""
    contention, coherency = float(theta[1]), float(theta[2]) if len(theta) > 2 else 0.0
    if coherency > 0 and contention < 1:
        best = max(1.0, math.sqrt((1 - contention) / coherency))
        growth = 1 + contention * (best - 1) + coherency * best * (best - 1)
        return (best / growth, best) if growth > 0 else (None, best)
    return (1 / contention if contention > 0 and not coherency else None), None
