"""The loop of the thesis's program, kept as it was: the baseline that the fast profile is measured against.

Everything it does at every step belongs to it: batches go through ``feed_dict``, all summaries (scalars, histograms,
images) are made, the loss is the literal formula with TensorFlow's own derivative, and every tenth local step each
worker evaluates the whole test set through the training graph. It trains the same model on the same variables and
differs from the fast profile in nothing that a comparison should not see.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import adam, tf_api
from .distributed import ADAM_STEP, SharedState, ps_device, worker_device
from .model import CLASSES, HIDDEN_BIASES, HIDDEN_WEIGHTS, PIXELS, SOFTMAX_BIASES, SOFTMAX_WEIGHTS
from .shards import batches
from .steps import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .datasets import Data
    from .flags import TaskConfig
    from .tf_api import Api, Graph, Session, Tensor, Untyped

EVALUATE_EVERY: Final = 10
"""Local steps between two evaluations on the whole test set."""


class ThesisStep:
    """One step a run, asynchronous, with all that surrounds it."""

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, data: Data) -> None:
        """Build the graph."""
        self._config = config
        self._data = data
        self._tf: Any = tf_api.public()
        self._step = 0
        self._test = _as_inputs(data.test_images, data.test_labels)
        self._batches: Iterator[NDArray[np.int32]] = iter(())
        v1 = self._tf.compat.v1
        with graph.device(worker_device(config)):
            self._images = v1.placeholder(api.float32, [None, PIXELS], name="images")
            self._labels = v1.placeholder(api.float32, [None, CLASSES], name="labels")
        parameters = {name: state.read(name) for name in state.shapes}
        with graph.device(worker_device(config)):
            self._loss, self._accuracy, activations = self._model(parameters)
            self._summaries = self._summarize(parameters, activations)
            # Placed where the parameters are read, as replica_device_setter and an optimizer would.
            derived = dict(zip(parameters, v1.gradients(self._loss, list(parameters.values())), strict=True))
        self.bytes_per_step = 2.0 * 4.0 * sum(float(np.prod(shape)) for shape in state.shapes.values())
        self._rates, done = [], []
        for server in range(state.servers):
            device = ps_device(server)
            self._rates.append(adam.rates(api, graph, config.learning_rate, device))
            slots = adam.Slots(device=device, handles=state.handles, step=state.handles[f"{ADAM_STEP}/{server}"])
            mine = {name: derived[name] for name in state.names_on(server)}
            done.append(adam.apply(api, graph, slots, self._rates[-1], mine))
        with graph.device(ps_device(0)):
            one = api.raw.Cast(x=self._rates[0].count, DstT=api.int64)
        counted = state.add_steps(config.task_index, one, done[0])
        self._train = [state.status([counted]), self._loss, self._summaries, *(op for ops in done for op in ops)]
        self._writer = v1.summary.FileWriter(config.log_dir, graph) if config.log_dir else None

    def _model(self, parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the accuracy and the hidden activations, written as the thesis's program has them."""
        tf = self._tf
        linear = tf.matmul(self._images, parameters[HIDDEN_WEIGHTS]) + parameters[HIDDEN_BIASES]
        hidden = tf.nn.relu(linear)
        values = tf.matmul(hidden, parameters[SOFTMAX_WEIGHTS]) + parameters[SOFTMAX_BIASES]
        probabilities = tf.nn.softmax(values)
        loss = literal_loss(tf, probabilities, self._labels)
        right = tf.equal(tf.argmax(probabilities, 1), tf.argmax(self._labels, 1))
        return loss, tf.reduce_mean(tf.cast(right, tf.float32)), hidden

    def _summarize(self, parameters: dict[str, Tensor], hidden: Tensor) -> Tensor:
        tf, summary = self._tf, self._tf.compat.v1.summary
        summary.scalar("cross_entropy", self._loss)
        summary.scalar("accuracy", self._accuracy)
        summary.image("input", tf.reshape(self._images, [-1, 28, 28, 1]), CLASSES)
        summary.histogram("hidden/activations", hidden)
        for name, value in parameters.items():
            mean = tf.reduce_mean(value)
            summary.scalar(f"{name}/mean", mean)
            summary.scalar(f"{name}/stddev", tf.sqrt(tf.reduce_mean(tf.square(value - mean))))
            summary.scalar(f"{name}/max", tf.reduce_max(value))
            summary.scalar(f"{name}/min", tf.reduce_min(value))
            summary.histogram(f"{name}/histogram", value)
        return summary.merge_all()

    def warm_up(self, session: Session, start: int) -> None:
        """Run a training step with frozen rates, and an evaluation."""
        config, examples = self._config, len(self._data.train_labels)
        self._batches = batches(
            config.seed, examples, config.task_index, len(config.worker_hosts), config.batch_size, start
        )
        self._session = session
        frozen = {by.feed: adam.FROZEN for by in self._rates}
        none = np.zeros(config.batch_size, np.int32)
        session.run(self._train, {**self._feed(none), **frozen})
        self._evaluate()

    def _feed(self, indices: NDArray[np.int32]) -> dict[Tensor, Any]:
        images, labels = _as_inputs(self._data.train_images[indices], self._data.train_labels[indices])
        return {self._images: images, self._labels: labels}

    def _evaluate(self) -> tuple[float, bytes]:
        images, labels = self._test
        accuracy, summary = self._session.run(
            [self._accuracy, self._summaries], {self._images: images, self._labels: labels}
        )
        return float(accuracy), summary

    def advance(self, left: int) -> Outcome:  # noqa: ARG002  a step is a step, however many are left
        """Make one step; before every tenth, evaluate."""
        if self._step % EVALUATE_EVERY == 0:
            accuracy, summary = self._evaluate()
            print(f"accuracy at local step {self._step}: {accuracy:.4f}", file=sys.stderr)
            if self._writer is not None:
                self._writer.add_summary(summary, self._step)
        status, loss, summary, *_ = self._session.run(self._train, self._feed(next(self._batches)))
        self._step += 1
        found = Status.of(status)
        if self._writer is not None:
            self._writer.add_summary(summary, found.global_step)
        return Outcome(steps=1, loss=float(loss), status=found)

    def publish(self) -> None:
        """Do nothing: the slots are on the ps."""


def literal_loss(tf: Untyped, probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the thesis's loss, word for word: the clipped cross-entropy summed over the batch."""
    return -tf.reduce_sum(labels * tf.math.log(tf.clip_by_value(probabilities, 1e-10, 1.0)))


def _as_inputs(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return images.astype(np.float32) / np.float32(255.0), np.eye(CLASSES, dtype=np.float32)[labels]
