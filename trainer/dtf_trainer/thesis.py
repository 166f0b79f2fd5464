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

from . import tf_api
from .distributed import SharedState, worker_device
from .model import CLASSES, HIDDEN_BIASES, HIDDEN_WEIGHTS, PIXELS, SOFTMAX_BIASES, SOFTMAX_WEIGHTS
from .shards import batches
from .steps import Exchange, Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .datasets import Data
    from .flags import TaskConfig
    from .tf_api import Api, Graph, Session, Tensor, Untyped

EVALUATE_EVERY: Final = 10
"""Local steps between two evaluations on the whole test set."""


class ThesisLearner:
    """What the thesis's program computes at a step, and all that surrounds it."""

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, data: Data) -> None:
        """Build the graph: loss, gradients, accuracy and all summaries."""
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
            self.loss, self._accuracy, activations = self._model(parameters)
            self._summaries = self._summarize(parameters, activations)
            derived = dict(zip(parameters, v1.gradients(self.loss, list(parameters.values())), strict=True))
        self.there = [{name: derived[name] for name in state.names_on(server)} for server in range(state.servers)]
        self.extra = [self._summaries]
        self.bytes_per_step = 2.0 * 4.0 * sum(float(np.prod(shape)) for shape in state.shapes.values())
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
        summary.scalar("cross_entropy", self.loss)
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
        """Begin the stream of batches at its ``start``-th, and evaluate once."""
        config, examples = self._config, len(self._data.train_labels)
        workers = len(config.worker_hosts)
        self._batches = batches(config.seed, examples, config.task_index, workers, config.batch_size, start)
        self._session = session
        self._evaluate()

    def nothing(self) -> dict[Tensor, Any]:
        """Return what to feed when nothing is learnt."""
        return self._feed(np.zeros(self._config.batch_size, np.int32))

    def following(self) -> dict[Tensor, Any]:
        """Return what to feed for the next step; before every tenth, evaluate."""
        if self._step % EVALUATE_EVERY == 0:
            accuracy, summary = self._evaluate()
            print(f"accuracy at local step {self._step}: {accuracy:.4f}", file=sys.stderr)
            if self._writer is not None:
                self._writer.add_summary(summary, self._step)
        self._step += 1
        return self._feed(next(self._batches))

    def record(self, extra: list[Any], global_step: int) -> None:
        """Write the summaries of a step."""
        if self._writer is not None:
            self._writer.add_summary(extra[0], global_step)

    def _feed(self, indices: NDArray[np.int32]) -> dict[Tensor, Any]:
        images, labels = _as_inputs(self._data.train_images[indices], self._data.train_labels[indices])
        return {self._images: images, self._labels: labels}

    def _evaluate(self) -> tuple[float, bytes]:
        images, labels = self._test
        accuracy, summary = self._session.run(
            [self._accuracy, self._summaries], {self._images: images, self._labels: labels}
        )
        return float(accuracy), summary


class ThesisStep:
    """One step a run, asynchronous."""

    def __init__(self, api: Api, graph: Graph, config: TaskConfig, state: SharedState, learner: ThesisLearner) -> None:
        """Build the run: what ``learner`` computes, and its gradients' way into the parameters."""
        self._learner = learner
        self._exchange = Exchange(api, graph, config, state)
        self.bytes_per_step = learner.bytes_per_step
        done = self._exchange.apply(learner.there)
        done[0] = [self._exchange.count(1, done[0])]
        operations = [op for ops in done for op in ops]
        self._train = [state.status(done[0]), learner.loss, *learner.extra, *operations]

    def warm_up(self, session: Session, start: int) -> None:
        """Evaluate, and run a training step with frozen rates."""
        self._session = session
        self._learner.warm_up(session, start)
        session.run(self._train, {**self._learner.nothing(), **self._exchange.feeds(live=False)})

    def advance(self, left: int) -> Outcome:  # noqa: ARG002  a step is a step, however many are left
        """Make one step."""
        feeds = {**self._learner.following(), **self._exchange.feeds(live=True)}
        status, loss, summaries, *_ = self._session.run(self._train, feeds)
        found = Status.of(status)
        self._learner.record([summaries], found.global_step)
        return Outcome(steps=1, loss=float(loss), status=found)

    def publish(self) -> None:
        """Do nothing: the slots are on the ps."""


def literal_loss(tf: Untyped, probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the thesis's loss, word for word: the clipped cross-entropy summed over the batch."""
    return -tf.reduce_sum(labels * tf.math.log(tf.clip_by_value(probabilities, 1e-10, 1.0)))


def _as_inputs(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return images.astype(np.float32) / np.float32(255.0), np.eye(CLASSES, dtype=np.float32)[labels]
