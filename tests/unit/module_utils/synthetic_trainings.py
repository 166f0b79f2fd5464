"""Trainings that never ran: times of a known law with known noise, to compare what is recovered with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling import Cell
from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling_laws import Times

#: Noise that results are judged with, as shares of a time.
NOISES = (0.02, 0.05, 0.15)
SEEDS = range(100)
SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Law:
    """The universal law: seconds of one worker, contention, coherency. Without coherency it is Amdahl's."""

    one: float = 100.0
    contention: float = 0.0
    coherency: float = 0.0

    def seconds(self, size: int) -> float:
        """Return the time without noise."""
        return self.one * (1 + self.contention * (size - 1) + self.coherency * size * (size - 1)) / size

    def truth(self) -> dict[str, float]:
        """Return every parameter that a fit may name."""
        return {
            "one_worker_seconds": self.one,
            "contention": self.contention,
            "coherency": self.coherency,
            "serial_seconds": self.one * self.contention,
            "parallel_seconds": self.one * (1 - self.contention),
        }

    def cells(
        self, seed: int, noise: float, drift: float = 0.0, repeats: int = 5, sizes: tuple[int, ...] = SIZES
    ) -> list[Cell]:
        """Return a series: multiplicative noise of each run, and a drift that all runs of a repeat share."""
        generator = np.random.default_rng(seed)
        shared = np.exp(drift * generator.standard_normal(repeats))
        alone = 1 + noise * generator.standard_normal((len(sizes), repeats))
        return [
            Cell(size, tuple(map(float, self.seconds(size) * row * shared)), tuple(range(repeats)) if drift else None)
            for size, row in zip(sizes, alone, strict=True)
        ]

    def times(self, seed: int, noise: float, drift: float = 0.0, repeats: int = 5) -> Times:
        """Return the same series run by run."""
        return times(self.cells(seed, noise, drift, repeats))


def times(cells: list[Cell]) -> Times:
    """Return a series run by run."""
    blocks = [block for cell in cells for block in cell.blocks or ()]
    return Times(
        tuple(cell.size for cell in cells for _value in cell.seconds),
        tuple(value for cell in cells for value in cell.seconds),
        tuple(blocks) or None,
    )
