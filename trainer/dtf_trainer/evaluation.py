"""Accuracy and loss on the whole test set, computed by the chief in its own process, in one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .model import CLASSES, SMALLEST_PROBABILITY, logits, parameter_shapes, pixels_to_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .datasets import Data
    from .tf_api import Api


@dataclass(frozen=True, kw_only=True)
class Score:
    """The share of test images classified rightly, and the cross-entropy of one of them on average."""

    accuracy: float
    loss: float


class Evaluator:
    """Scores parameters on the test set. The session is local: it needs no other task, and is not in their way."""

    def __init__(self, api: Api, data: Data, hidden_units: int) -> None:
        """Build the graph."""
        raw = api.raw
        graph = api.graph()
        with graph.as_default():
            self._parameters = {
                name: raw.Placeholder(dtype=api.float32, shape=shape)
                for name, shape in parameter_shapes(hidden_units).items()
            }
            self._images = raw.Placeholder(dtype=api.uint8, shape=(None, data.test_images.shape[1]))
            self._labels = raw.Placeholder(dtype=api.int64, shape=(None,))
            _, values = logits(api, self._parameters, pixels_to_inputs(api, self._images))
            right = raw.Equal(x=raw.ArgMax(input=values, dimension=1, output_type=api.int64), y=self._labels)
            probabilities = raw.ClipByValue(
                t=raw.Softmax(logits=values),
                clip_value_min=api.constant(SMALLEST_PROBABILITY, api.float32),
                clip_value_max=api.constant(1.0, api.float32),
            )
            truth = raw.OneHot(indices=self._labels, depth=CLASSES, on_value=1.0, off_value=0.0)
            entropy = raw.Neg(x=raw.Sum(input=raw.Mul(x=truth, y=raw.Log(x=probabilities)), axis=1))
            self._score = [
                raw.Mean(input=raw.Cast(x=right, DstT=api.float32), axis=0),
                raw.Mean(input=entropy, axis=0),
            ]
        self._data = data
        self._session = api.Session(graph=graph, config=api.ConfigProto(device_count={"GPU": 0}))

    def score(self, parameters: Mapping[str, Any]) -> Score:
        """Return the score of ``parameters``, values by name (others than parameters are ignored)."""
        feeds = {placeholder: parameters[name] for name, placeholder in self._parameters.items()}
        feeds |= {self._images: self._data.test_images, self._labels: self._data.test_labels.astype(np.int64)}
        accuracy, loss = self._session.run(self._score, feeds)
        return Score(accuracy=float(accuracy), loss=float(loss))
