"""One process, no parameter server: how fast the same training step is when nothing is distributed.

Usage: ``python tools/bench_floor.py function|xla|numpy HIDDEN SECONDS``; prints a line of JSON with steps a second.
``function`` is a ``tf.function`` with 100 steps a call, ``xla`` the same compiled by XLA, ``numpy`` plain NumPy.
Batches of 20, random images. All threads of the machine may be used.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 20
STEPS_A_CALL = 100


def measure(call: Callable[[], object], steps: int, seconds: float) -> float:
    """Return the steps a second of ``call``, which makes ``steps``, over some ``seconds`` after a first call."""
    call()
    began, made = time.perf_counter(), 0
    while (now := time.perf_counter()) - began < seconds:
        call()
        made += steps
    return made / (now - began)


def images_and_labels() -> tuple[Any, Any]:
    """Return 60 000 random images, ``uint8``, and one-hot labels."""
    random = np.random.RandomState(0)
    return random.randint(0, 256, (60000, 784)).astype(np.uint8), np.eye(10, dtype=np.float32)[
        random.randint(0, 10, 60000)
    ]


def first_values(hidden: int) -> list[Any]:
    """Return parameters to start from."""
    random = np.random.RandomState(1)
    return [
        (random.randn(784, hidden) / 28).astype(np.float32),
        np.zeros(hidden, np.float32),
        (random.randn(hidden, 10) / np.sqrt(hidden)).astype(np.float32),
        np.zeros(10, np.float32),
    ]


def numpy_call(hidden: int) -> Callable[[], object]:
    """Return a function that makes the steps of a call in NumPy."""
    images, labels = images_and_labels()
    values = first_values(hidden)
    means, variances = [np.zeros_like(v) for v in values], [np.zeros_like(v) for v in values]
    random, step = np.random.RandomState(2), [0]

    def call() -> None:
        for _ in range(STEPS_A_CALL):
            step[0] += 1
            chosen = random.randint(0, 60000, BATCH)
            x = images[chosen].astype(np.float32) * np.float32(1 / 255)
            w1, b1, w2, b2 = values
            hidden_values = np.maximum(x @ w1 + b1, 0)
            z = hidden_values @ w2 + b2
            p = np.exp(z - z.max(axis=1, keepdims=True))
            dz = p / p.sum(axis=1, keepdims=True) - labels[chosen]
            dh = (dz @ w2.T) * (hidden_values > 0)
            rate = np.float32(0.001 * np.sqrt(1 - 0.999 ** step[0]) / (1 - 0.9 ** step[0]))
            found = (x.T @ dh, dh.sum(axis=0), hidden_values.T @ dz, dz.sum(axis=0))
            for number, gradient in enumerate(found):
                means[number] += (gradient - means[number]) * np.float32(0.1)
                variances[number] += (gradient * gradient - variances[number]) * np.float32(0.001)
                values[number] -= rate * means[number] / (np.sqrt(variances[number]) + np.float32(1e-8))

    return call


def function_call(hidden: int, *, xla: bool) -> Callable[[], object]:
    """Return a function that makes the steps of a call in one ``tf.function``."""
    tf: Any = importlib.import_module("tensorflow")
    images, labels = (tf.constant(array) for array in images_and_labels())
    state: list[Any] = [[tf.constant(v) for v in first_values(hidden)]]
    state += [[tf.zeros_like(v) for v in state[0]], [tf.zeros_like(v) for v in state[0]], tf.constant(0.0)]
    chosen = tf.constant(np.random.RandomState(2).randint(0, 60000, (STEPS_A_CALL, BATCH)).astype(np.int32))

    def body(number: Any, values: Any, means: Any, variances: Any, step: Any) -> Any:
        w1, b1, w2, b2 = values
        x = tf.cast(tf.gather(images, chosen[number]), tf.float32) * (1 / 255)
        hidden_values = tf.nn.relu(x @ w1 + b1)
        dz = tf.nn.softmax(hidden_values @ w2 + b2) - tf.gather(labels, chosen[number])
        dh = tf.where(hidden_values > 0, tf.matmul(dz, w2, transpose_b=True), 0.0)
        found = [tf.matmul(x, dh, transpose_a=True), tf.reduce_sum(dh, 0)]
        found += [tf.matmul(hidden_values, dz, transpose_a=True), tf.reduce_sum(dz, 0)]
        step += 1.0
        rate = 0.001 * tf.sqrt(1 - tf.pow(0.999, step)) / (1 - tf.pow(0.9, step))
        means = [m + (g - m) * 0.1 for m, g in zip(means, found, strict=True)]
        variances = [v + (g * g - v) * 0.001 for v, g in zip(variances, found, strict=True)]
        values = [p - rate * m / (tf.sqrt(v) + 1e-8) for p, m, v in zip(values, means, variances, strict=True)]
        return number + 1, values, means, variances, step

    def steps(values: Any, means: Any, variances: Any, step: Any) -> Any:
        return tf.while_loop(lambda number, *_: number < STEPS_A_CALL, body, [0, values, means, variances, step])

    compiled = tf.function(steps, jit_compile=xla)

    def call() -> None:
        state[:] = compiled(*state)[1:]
        state[3].numpy()

    return call


def main() -> None:
    """Measure what the command line asks for."""
    kind, hidden, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    call = numpy_call(hidden) if kind == "numpy" else function_call(hidden, xla=kind == "xla")
    print(json.dumps({"steps_per_second": measure(call, STEPS_A_CALL, seconds)}))


if __name__ == "__main__":
    main()
