# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a topology to its tasks: who runs where, under which address, with which command.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from .spec import Topology


def new_run_id(created: float) -> str:
    """Return a name for a run decided at a moment (seconds since the epoch), with something to tell it by."""
    stamp = time.strftime("%Y%m%dt%H%M%S", time.gmtime(created))
    return f"{stamp}-{random.SystemRandom().randrange(1 << 24):06x}"


@dataclass(frozen=True)
class Task:
    """One process or pod of a topology; ``address`` is ``host:port`` as its peers reach it.

    ``host`` is the inventory name of its machine; empty where a scheduler chooses that.
    """

    role: str
    index: int
    host: str
    address: str

    @property
    def name(self) -> str:
        """Return ``role-index``, the name of the task's log and of its row in every table."""
        return f"{self.role}-{self.index}"

    @property
    def port(self) -> int:
        """Return the port the task listens on."""
        return int(self.address.rpartition(":")[2])


@dataclass(frozen=True)
class Run:
    """What one run adds to its topology.

    Attributes:
        run_id: names the run everywhere.
        directory: the run's directory on every host.
        created: wall clock when the run was decided (seconds since the epoch, first host's clock).
        resume_run_id: the run whose checkpoint is continued, or ``None``.
        resume_checkpoint: that checkpoint's path on the chief's host, or ``None``.
    """

    run_id: str
    directory: str
    created: float
    resume_run_id: str | None = None
    resume_checkpoint: str | None = None


@dataclass(frozen=True)
class PodRun:
    """What one run adds to its topology where tasks are pods.

    Attributes:
        run_id: names the run everywhere.
        created: wall clock when the run was decided (seconds since the epoch, the controller's clock).
        candidates: runs, the newest first, whose checkpoint is continued if there is one.
        resumed_from: the run this one is to continue, or ``None``.
    """

    run_id: str
    created: float
    candidates: tuple[str, ...] = ()
    resumed_from: str | None = None


@dataclass(frozen=True)
class TaskSet:
    """Equal tasks that are one workload of Kubernetes: ``ps``, ``chief`` or ``worker``.

    Attributes:
        component: which of the three.
        name: of the workload and of the headless Service that gives its pods their names.
        role: of its tasks, as the trainer calls it.
        size: number of pods.
        first: task index of pod 0: the chief is worker 0, so the set of workers begins at 1.
        port: where its tasks listen.
    """

    component: str
    name: str
    role: str
    size: int
    first: int
    port: int


def task_sets(topology: Topology) -> tuple[TaskSet, ...]:
    """Return the sets of a topology whose tasks are pods; that of the workers is missing where the chief is alone."""
    name, ps, workers = topology.name, topology.ps, topology.workers
    found = [
        TaskSet("ps", name + "-ps", "ps", ps.replicas, 0, ps.port),
        TaskSet("chief", name + "-chief", "worker", 1, 0, workers.port),
        TaskSet("worker", name + "-worker", "worker", workers.replicas - 1, 1, workers.port),
    ]
    return tuple(entry for entry in found if entry.size)


def tasks(topology: Topology) -> tuple[Task, ...]:
    """Return the tasks in order: first the ps, then the workers.

    Processes are dealt to the hosts in turn, each role from the first host on; pods are found by their set's Service.
    """
    if topology.kubernetes is not None:
        domain = topology.kubernetes.namespace + ".svc"
        return tuple(
            Task(entry.role, entry.first + pod, "", f"{entry.name}-{pod}.{entry.name}.{domain}:{entry.port}")
            for entry in task_sets(topology)
            for pod in range(entry.size)
        )
    dealt = []
    for role, group in (("ps", topology.ps), ("worker", topology.workers)):
        for index in range(group.replicas):
            host = topology.hosts[index % len(topology.hosts)]
            dealt.append(Task(role, index, host.name, f"{host.address}:{group.port + index}"))
    return tuple(dealt)


def host_list(topology: Topology, role: str) -> str:
    """Return the addresses of a role's tasks in index order, as ``PS_HOSTS`` and ``WORKER_HOSTS`` take them."""
    return ",".join(task.address for task in tasks(topology) if task.role == role)


def command(topology: Topology, task: Task, run: Run) -> list[str]:
    """Return the argument vector of a task."""
    flags: list[tuple[str, object]] = [
        ("job_name", task.role),
        ("task_index", task.index),
        ("ps_hosts", host_list(topology, "ps")),
        ("worker_hosts", host_list(topology, "worker")),
        ("run_id", run.run_id),
        *training_flags(topology),
    ]
    if task.role == "worker" and task.index == 0:
        flags.extend(_chief_flags(topology, run))
    return [topology.python, "-m", "dtf_trainer"] + [f"--{name}={value}" for name, value in flags]


def training_flags(topology: Topology) -> list[tuple[str, object]]:
    """Return what every task of a topology is told of the training, in either runtime, as flags of the trainer."""
    training = topology.training
    flags: list[tuple[str, object]] = [
        ("dataset", training.dataset),
        ("data_dir", topology.data_dir),
        ("train_steps", training.steps),
        ("hidden_units", training.hidden_units),
        ("batch_size", training.batch_size),
        ("learning_rate", training.learning_rate),
        ("profile", training.profile),
        ("communication_interval", training.communication_interval),
        ("seed", training.seed),
        ("num_gpus", topology.workers.gpus),
        ("peer_timeout_seconds", topology.lifecycle.peer_timeout_seconds),
    ]
    if training.sync:
        flags.append(("sync_replicas", "true"))
        if training.replicas_to_aggregate is not None:
            flags.append(("replicas_to_aggregate", training.replicas_to_aggregate))
    return flags


def keeping_flags(topology: Topology, directory: str, log_dir: str) -> list[tuple[str, object]]:
    """Return what only a chief is told: where a run keeps what it leaves, and how often it does."""
    return [
        ("checkpoint_dir", directory + "/checkpoint"),
        ("checkpoint_interval_seconds", topology.lifecycle.checkpoint_interval_seconds),
        ("export_dir", directory + "/export"),
        ("log_dir", log_dir),
        ("evaluation_interval", topology.training.evaluation_interval),
        ("summary_interval", topology.training.summary_interval),
    ]


def _chief_flags(topology: Topology, run: Run) -> list[tuple[str, object]]:
    flags = keeping_flags(topology, run.directory, run.directory + "/summaries")
    if run.resume_checkpoint and run.resume_run_id:
        flags.append(("resume_checkpoint", run.resume_checkpoint))
        flags.append(("resume_run_id", run.resume_run_id))
    return flags
