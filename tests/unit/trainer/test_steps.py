"""Every way of training, with one worker, walks the path that NumPy walks with Adam; and counts what it did."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dtf_trainer import adam, shards, tf_api
from dtf_trainer.checkpoint import array_shapes
from dtf_trainer.datasets import Data
from dtf_trainer.distributed import SharedState, session_config, start_server
from dtf_trainer.flags import TaskConfig, parse
from dtf_trainer.model import BETA1, BETA2, EPSILON, initial_parameters, parameter_shapes
from dtf_trainer.steps import Status
from dtf_trainer.worker import make_stepper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HIDDEN = 12
BATCH = 10
EXAMPLES = 250


@pytest.fixture(scope="module")
def data() -> Data:
    random = np.random.RandomState(5)
    labels = random.randint(0, 10, EXAMPLES).astype(np.uint8)
    images = random.randint(0, 80, (EXAMPLES, 784)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[int(label) * 70 : int(label) * 70 + 60] += np.uint8(120)
    return Data(train_images=images, train_labels=labels, test_images=images, test_labels=labels, sha256={})


def numpy_walk(data: Data, steps: int, batch: int) -> dict[str, NDArray[np.float64]]:
    """Return the parameters after ``steps`` Adam steps on worker 0's stream."""
    values = {name: value.astype(np.float64) for name, value in initial_parameters(HIDDEN, 0).items()}
    mean = {name: np.zeros_like(value) for name, value in values.items()}
    variance = {name: np.zeros_like(value) for name, value in values.items()}
    stream = shards.batches(0, EXAMPLES, 0, 1, batch)
    for step in range(1, steps + 1):
        chosen = next(stream)
        x, labels = data.train_images[chosen] / 255.0, np.eye(10)[data.train_labels[chosen]]
        w1, b1, w2, b2 = values.values()
        hidden = np.maximum(x @ w1 + b1, 0)
        z = hidden @ w2 + b2
        p = np.exp(z - z.max(axis=1, keepdims=True))
        dz = p / p.sum(axis=1, keepdims=True) - labels
        dh = (dz @ w2.T) * (hidden > 0)
        found = dict(zip(values, (x.T @ dh, dh.sum(axis=0), hidden.T @ dz, dz.sum(axis=0)), strict=True))
        rate = 0.001 * np.sqrt(1 - BETA2**step) / (1 - BETA1**step)
        for name, gradient in found.items():
            mean[name] = BETA1 * mean[name] + (1 - BETA1) * gradient
            variance[name] = BETA2 * variance[name] + (1 - BETA2) * gradient**2
            values[name] = values[name] - rate * mean[name] / (np.sqrt(variance[name]) + EPSILON)
    return values


class OneWorker:
    """A worker and its ps, all servers in this process."""

    def __init__(self, data: Data, ps: int, flags: list[str]) -> None:
        """Start them, and initialise the run."""
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(ps + 1)]
        *ps_hosts, worker = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
        for probe in probes:
            probe.close()
        common = ["--ps_hosts", ",".join(ps_hosts), "--worker_hosts", worker]
        common += [f"--hidden_units={HIDDEN}", f"--batch_size={BATCH}", *flags]
        self.config: TaskConfig = parse(["--job_name=worker", *common], {})
        tasks = [parse(["--job_name=ps", f"--task_index={index}", *common], {}) for index in range(ps)]
        api = tf_api.load(lean=False)
        self.servers: list[Any] = [start_server(api, task) for task in [*tasks, self.config]]
        graph = api.graph()
        with graph.as_default():
            self.state = SharedState(api, graph, self.config)
            self.stepper = make_stepper(api, graph, self.config, self.state, data)
            self._status = self.state.status([])
        target = self.servers[-1].target
        self.session: Any = api.Session(target, graph=graph, config=session_config(api, self.config))
        first: dict[str, Any] = {name: np.zeros(shape, np.float32) for name, shape in array_shapes(HIDDEN).items()}
        first |= initial_parameters(HIDDEN, 0)
        first |= {"adam_step/0": 1.0, "worker_steps": [0], "carried_steps": 0}
        self.state.initialize(self.session, first, run_id="local", released=False)
        self.stepper.warm_up(self.session, 0)

    def status(self) -> Status:
        return Status.of(self.session.run(self._status))

    def walk(self, steps: int) -> int:
        """Advance until the global step is ``steps``; return what the worker says it did."""
        # Far from the target first: what a run makes there is the longest there is.
        local = self.stepper.advance(1 << 40).steps
        while (left := steps - self.status().global_step) > 0:
            local += self.stepper.advance(left).steps
        return local


WAYS = {
    "each step": (1, []),
    "each step, two ps": (2, []),
    "each step, gradients whole": (1, ["--batch_size=50"]),
    "rounds of ten, two ps": (2, ["--communication_interval=10"]),
    "rounds longer than a graph": (1, ["--communication_interval=60"]),
    "synchronous": (2, ["--sync_replicas"]),
    "synchronous rounds of five": (1, ["--sync_replicas", "--communication_interval=5"]),
    "thesis": (2, ["--profile=thesis"]),
    "thesis, synchronous": (1, ["--profile=thesis", "--sync_replicas"]),
}


@pytest.fixture(params=list(WAYS))
def trained(request: pytest.FixtureRequest, data: Data) -> Iterator[tuple[OneWorker, int]]:
    ps, flags = WAYS[request.param]
    worker = OneWorker(data, ps, flags)
    before = worker.state.fetch(worker.session, parameter_shapes(HIDDEN))
    for name, value in initial_parameters(HIDDEN, 0).items():
        np.testing.assert_array_equal(before[name], value, err_msg=f"compiling changed {name}")
    assert worker.status().worker_steps == (0,)
    yield worker, worker.walk(125)
    worker.session.close()


def test_one_worker_walks_numpys_path_and_counts_it(trained: tuple[OneWorker, int], data: Data) -> None:
    worker, local = trained
    status = worker.status()
    assert local == status.global_step == sum(status.worker_steps) == 125
    worker.stepper.publish()
    values = worker.state.fetch(worker.session, worker.state.trained_names())
    assert values["adam_step/0"] == 126
    for name, expected in numpy_walk(data, 125, worker.config.batch_size).items():
        # Single against double precision, over five epochs.
        np.testing.assert_allclose(values[name], expected, atol=2e-4, err_msg=name)
        assert np.abs(values[f"{name}/adam_v"]).max() > 0, "the slots a checkpoint needs are on the ps"
    assert worker.stepper.bytes_per_step > 0


def test_factors_of_a_gradient_are_fewer_bytes_than_it(data: Data) -> None:
    few = OneWorker(data, 1, ["--batch_size=2", "--hidden_units=12"])
    parameters = 4 * sum(int(np.prod(shape)) for shape in parameter_shapes(HIDDEN).values())
    assert parameters < few.stepper.bytes_per_step < 1.2 * parameters


def test_frozen_rates_are_no_rates() -> None:
    learning_rate, beta1, beta2, count = adam.FROZEN
    assert (learning_rate, beta1, beta2, count) == (0.0, 1.0, 1.0, 0.0)
