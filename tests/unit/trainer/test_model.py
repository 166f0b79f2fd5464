"""The model against NumPy and against TensorFlow's own derivation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dtf_trainer import adam, tf_api
from dtf_trainer.model import (
    BETA1,
    BETA2,
    EPSILON,
    HIDDEN_BIASES,
    HIDDEN_WEIGHTS,
    SOFTMAX_BIASES,
    SOFTMAX_WEIGHTS,
    gradients,
    initial_parameters,
    parameter_shapes,
)
from dtf_trainer.thesis import literal_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 6
HIDDEN = 17


@pytest.fixture(scope="module")
def batch() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    random = np.random.RandomState(7)
    images = random.randint(0, 256, (BATCH, 784)).astype(np.uint8)
    return images, np.eye(10, dtype=np.float32)[random.randint(0, 10, BATCH)]


def by_hand(
    parameters: dict[str, NDArray[np.float32]], images: NDArray[np.uint8], labels: NDArray[np.float32]
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """Return loss and gradients in double precision, by the chain rule and nothing else."""
    x = images.astype(np.float64) / 255
    w1, b1, w2, b2 = (parameters[name].astype(np.float64) for name in parameter_shapes(HIDDEN))
    linear = x @ w1 + b1
    hidden = np.maximum(linear, 0)
    z = hidden @ w2 + b2
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -(labels * np.log(np.clip(p, 1e-10, 1))).sum()
    dp = np.where((p >= 1e-10) & (p <= 1), -labels / np.clip(p, 1e-10, 1), 0)
    dz = p * (dp - (dp * p).sum(axis=1, keepdims=True))
    dh = (dz @ w2.T) * (linear > 0)
    found = {
        HIDDEN_WEIGHTS: x.T @ dh,
        HIDDEN_BIASES: dh.sum(axis=0),
        SOFTMAX_WEIGHTS: hidden.T @ dz,
        SOFTMAX_BIASES: dz.sum(axis=0),
    }
    return float(loss), found


def in_graph(
    parameters: dict[str, NDArray[np.float32]], images: NDArray[np.uint8], labels: NDArray[np.float32]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return loss and gradients of the trainer's operations, and those TensorFlow derives from the literal loss."""
    api = tf_api.load(lean=False)
    tf: Any = tf_api.public()
    graph = api.graph()
    with graph.as_default():
        values = {name: api.constant(value) for name, value in parameters.items()}
        made = gradients(api, values, api.constant(images), api.constant(labels))
        weights = tf.matmul(made.hidden_inputs, made.hidden_errors, transpose_a=True)
        ours = {"loss": made.loss, HIDDEN_WEIGHTS: weights, **made.dense}
        inputs = tf.cast(images, tf.float32) / 255.0
        hidden = tf.nn.relu(tf.matmul(inputs, values[HIDDEN_WEIGHTS]) + values[HIDDEN_BIASES])
        probabilities = tf.nn.softmax(tf.matmul(hidden, values[SOFTMAX_WEIGHTS]) + values[SOFTMAX_BIASES])
        loss = literal_loss(tf, probabilities, api.constant(labels))
        derived = tf.compat.v1.gradients(loss, list(values.values()))
        session: Any = api.Session(graph=graph)
        result: tuple[dict[str, Any], dict[str, Any]] = session.run(
            (ours, {"loss": loss, **dict(zip(values, derived, strict=True))})
        )
    return result


@pytest.mark.parametrize("scale", [1.0, 40.0], ids=["ordinary", "clipped"])
def test_loss_and_gradients_are_numpys_and_tensorflows(
    batch: tuple[NDArray[np.uint8], NDArray[np.float32]], scale: float
) -> None:
    parameters = {name: scale * value for name, value in initial_parameters(HIDDEN, 3).items()}
    loss, expected = by_hand(parameters, *batch)
    ours, derived = in_graph(parameters, *batch)
    if scale > 1:
        assert loss > 23 * 2, "some labels must have a probability that is clipped"
    assert ours["loss"] == pytest.approx(loss, rel=1e-4)
    assert derived["loss"] == pytest.approx(loss, rel=1e-4)
    for name, value in expected.items():
        size = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(ours[name], value, atol=2e-5 * size, err_msg=name)
        np.testing.assert_allclose(derived[name], value, atol=2e-5 * size, err_msg=name)


def adam_by_hand(
    value: NDArray[np.float64], gradient: NDArray[np.float64], steps: int, rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return parameter, mean and variance after ``steps`` updates with the same gradient."""
    mean, variance = np.zeros_like(value), np.zeros_like(value)
    for step in range(1, steps + 1):
        mean = BETA1 * mean + (1 - BETA1) * gradient
        variance = BETA2 * variance + (1 - BETA2) * gradient**2
        corrected = rate * np.sqrt(1 - BETA2**step) / (1 - BETA1**step)
        value = value - corrected * mean / (np.sqrt(variance) + EPSILON)
    return value, mean, variance


def test_adam_is_numpys_and_a_frozen_update_changes_nothing() -> None:
    api = tf_api.load(lean=False)
    graph = api.graph()
    value = np.array([1.0, -2.0, 3.0], np.float32)
    gradient = np.array([0.5, -0.1, 20.0], np.float32)
    with graph.as_default():
        handles, first = {}, []
        for name, start in (("p", value), ("p/adam_m", 0 * value), ("p/adam_v", 0 * value), ("step", np.float32(1))):
            shared = f"adam-test/{name}"
            handles[name] = api.raw.VarHandleOp(dtype=api.float32, shape=np.shape(start), shared_name=shared)
            first.append(api.raw.AssignVariableOp(resource=handles[name], value=api.constant(start)))
        rates = adam.rates(api, graph, 0.01, "")
        slots = adam.Slots(device="", handles=handles, step=handles["step"])
        update = adam.apply(api, graph, slots, rates, {"p": api.constant(gradient)})
        reads = {name: api.raw.ReadVariableOp(resource=handle, dtype=api.float32) for name, handle in handles.items()}
    session: Any = api.Session(graph=graph)
    session.run(first)
    for steps in range(1, 4):
        session.run(update, {rates.feed: rates.live})
        session.run(update, {rates.feed: adam.FROZEN})
        found = session.run(reads)
        expected = adam_by_hand(value.astype(np.float64), gradient.astype(np.float64), steps, 0.01)
        for name, number in zip(("p", "p/adam_m", "p/adam_v"), expected, strict=True):
            np.testing.assert_allclose(found[name], number, rtol=1e-4, err_msg=f"{name} after {steps}")
        assert found["step"] == steps + 1


def test_the_first_parameters() -> None:
    made = initial_parameters(100, 0)
    assert {name: value.shape for name, value in made.items()} == dict(parameter_shapes(100))
    for name, stddev in ((HIDDEN_WEIGHTS, 1 / 28), (SOFTMAX_WEIGHTS, 0.1)):
        assert np.abs(made[name]).max() <= 2 * stddev + 1e-7
        # A normal cut at two deviations has 0.88 of its deviation.
        assert made[name].std() == pytest.approx(0.88 * stddev, rel=0.05)
    assert not made[HIDDEN_BIASES].any()
    assert not made[SOFTMAX_BIASES].any()
    again, other = initial_parameters(100, 0), initial_parameters(100, 1)
    np.testing.assert_array_equal(again[HIDDEN_WEIGHTS], made[HIDDEN_WEIGHTS])
    assert not np.array_equal(other[HIDDEN_WEIGHTS], made[HIDDEN_WEIGHTS])
