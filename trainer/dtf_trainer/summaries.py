"""What the chief of the fast profile writes for TensorBoard: curves at an interval, histograms with each evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tf_api import Api

BINS: Final = 30


class Summaries:
    """Event files in one folder."""

    def __init__(self, api: Api, folder: str) -> None:
        """Open the file."""
        self._saving = api.saving
        self._writer = api.saving.writer(folder)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each curve."""
        summary = self._saving.summary()
        for name, value in values.items():
            summary.value.add(tag=name, simple_value=float(value))
        self._writer.add_summary(summary, step)

    def histograms(self, step: int, values: Mapping[str, Any]) -> None:
        """Write how the numbers of each array are distributed."""
        summary = self._saving.summary()
        for name, array in values.items():
            histogram = summary.value.add(tag=name).histo
            counts, edges = np.histogram(array, bins=BINS)
            histogram.min, histogram.max = float(array.min()), float(array.max())
            histogram.num = float(array.size)
            histogram.sum = float(array.sum(dtype=np.float64))
            histogram.sum_squares = float(np.square(array, dtype=np.float64).sum())
            histogram.bucket_limit.extend(edges[1:].tolist())
            histogram.bucket.extend(counts.tolist())
        self._writer.add_summary(summary, step)

    def flush(self) -> None:
        """Bring everything to the disk."""
        self._writer.flush()
