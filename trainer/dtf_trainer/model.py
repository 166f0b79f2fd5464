"""The model: 784 → hidden ReLU → 10 softmax, its first parameters, its loss and the loss's gradients.

Images are ``uint8 [n, 784]`` and divided by 255 here. The loss is the cross-entropy summed over the batch,
``-sum(y * log(clip(p, 1e-10, 1)))``. :func:`gradients` writes its derivative down by hand, in a dozen raw operations,
because a training step is made of them; the tests compare it with NumPy and with TensorFlow's own derivation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .tf_api import Api, Tensor

PIXELS: Final = 784
CLASSES: Final = 10
BETA1: Final = 0.9
BETA2: Final = 0.999
EPSILON: Final = 1e-8
SMALLEST_PROBABILITY: Final = 1e-10

HIDDEN_WEIGHTS: Final = "hidden_weights"
HIDDEN_BIASES: Final = "hidden_biases"
SOFTMAX_WEIGHTS: Final = "softmax_weights"
SOFTMAX_BIASES: Final = "softmax_biases"


def parameter_shapes(hidden_units: int) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of each parameter (``float32``) by name, in the order in which they are always listed."""
    return MappingProxyType(
        {
            HIDDEN_WEIGHTS: (PIXELS, hidden_units),
            HIDDEN_BIASES: (hidden_units,),
            SOFTMAX_WEIGHTS: (hidden_units, CLASSES),
            SOFTMAX_BIASES: (CLASSES,),
        }
    )


def initial_parameters(hidden_units: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return the first parameters: weights of truncated normals (stddev 1/28 and 1/sqrt(hidden)), biases zero.

    The same ``seed`` gives the same numbers, whatever the number of tasks.
    """
    random = np.random.RandomState(seed)
    shapes = parameter_shapes(hidden_units)
    return {
        HIDDEN_WEIGHTS: _truncated_normal(random, shapes[HIDDEN_WEIGHTS], 1.0 / 28.0),
        HIDDEN_BIASES: np.zeros(shapes[HIDDEN_BIASES], np.float32),
        SOFTMAX_WEIGHTS: _truncated_normal(random, shapes[SOFTMAX_WEIGHTS], 1.0 / math.sqrt(hidden_units)),
        SOFTMAX_BIASES: np.zeros(shapes[SOFTMAX_BIASES], np.float32),
    }


def _truncated_normal(random: np.random.RandomState, shape: tuple[int, ...], stddev: float) -> NDArray[np.float32]:
    values = random.standard_normal(shape)
    while (beyond := np.abs(values) > 2.0).any():
        values[beyond] = random.standard_normal(int(beyond.sum()))
    return (values * stddev).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """What a batch of ``b`` examples says about the parameters.

    ``hidden_inputs`` (``float32 [b, 784]``) and ``hidden_errors`` (``[b, hidden]``) are the two factors of the
    gradient of the hidden weights, ``hidden_inputsᵀ · hidden_errors``: for small batches they are a fraction of its
    size. ``dense`` has the gradients of the other parameters by name. ``loss`` is the sum over the batch.
    """

    loss: Tensor
    hidden_inputs: Tensor
    hidden_errors: Tensor
    dense: Mapping[str, Tensor]


def pixels_to_inputs(api: Api, images: Tensor) -> Tensor:
    """Return ``images``, ``uint8 [b, 784]``, as ``float32`` between 0 and 1."""
    raw = api.raw
    return raw.Mul(x=raw.Cast(x=images, DstT=api.float32), y=api.constant(1.0 / 255.0, api.float32))


def logits(api: Api, parameters: Mapping[str, Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hidden layer's values, ``[b, hidden]``, and the logits, ``[b, 10]``, of ``inputs``, ``[b, 784]``."""
    raw = api.raw
    hidden = raw.Relu(
        features=raw.BiasAdd(value=raw.MatMul(a=inputs, b=parameters[HIDDEN_WEIGHTS]), bias=parameters[HIDDEN_BIASES])
    )
    return hidden, raw.BiasAdd(
        value=raw.MatMul(a=hidden, b=parameters[SOFTMAX_WEIGHTS]), bias=parameters[SOFTMAX_BIASES]
    )


def gradients(api: Api, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Gradients:
    """Return the gradients of the loss of ``images``, ``uint8 [b, 784]``, whose ``labels`` are ``float32 [b, 10]``."""
    raw = api.raw
    inputs = pixels_to_inputs(api, images)
    hidden, values = logits(api, parameters, inputs)
    entropy = raw.SoftmaxCrossEntropyWithLogits(features=values, labels=labels)
    # Where the label's probability is clipped, the loss is constant: no error comes from that example.
    largest = api.constant(-math.log(SMALLEST_PROBABILITY), api.float32)
    counts = raw.Cast(x=raw.LessEqual(x=entropy.loss, y=largest), DstT=api.float32)
    errors = raw.Mul(x=entropy.backprop, y=raw.ExpandDims(input=counts, axis=1))
    hidden_errors = raw.ReluGrad(
        gradients=raw.MatMul(a=errors, b=parameters[SOFTMAX_WEIGHTS], transpose_b=True), features=hidden
    )
    return Gradients(
        loss=raw.Sum(input=raw.Minimum(x=entropy.loss, y=largest), axis=0),
        hidden_inputs=inputs,
        hidden_errors=hidden_errors,
        dense={
            HIDDEN_BIASES: raw.BiasAddGrad(out_backprop=hidden_errors),
            SOFTMAX_WEIGHTS: raw.MatMul(a=hidden, b=errors, transpose_a=True),
            SOFTMAX_BIASES: raw.BiasAddGrad(out_backprop=errors),
        },
    )
