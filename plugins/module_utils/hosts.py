# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a topology to its tasks: who runs where, under which address, with which command.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from .spec import Topology


@dataclass(frozen=True)
class Task:
    """One process of a topology; ``address`` is ``host:port`` as its peers reach it."""

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


def tasks(topology: Topology) -> tuple[Task, ...]:
    """Deal the tasks to the hosts in turn: first the ps, then the workers, each role from the first host on."""
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
    training = topology.training
    flags: list[tuple[str, object]] = [
        ("job_name", task.role),
        ("task_index", task.index),
        ("ps_hosts", host_list(topology, "ps")),
        ("worker_hosts", host_list(topology, "worker")),
        ("run_id", run.run_id),
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
    if task.role == "worker" and task.index == 0:
        flags.extend(_chief_flags(topology, run))
    return [topology.python, "-m", "dtf_trainer"] + [f"--{name}={value}" for name, value in flags]


def _chief_flags(topology: Topology, run: Run) -> list[tuple[str, object]]:
    flags: list[tuple[str, object]] = [
        ("checkpoint_dir", run.directory + "/checkpoint"),
        ("checkpoint_interval_seconds", topology.lifecycle.checkpoint_interval_seconds),
        ("export_dir", run.directory + "/export"),
        ("log_dir", run.directory + "/summaries"),
        ("evaluation_interval", topology.training.evaluation_interval),
        ("summary_interval", topology.training.summary_interval),
    ]
    if run.resume_checkpoint and run.resume_run_id:
        flags.append(("resume_checkpoint", run.resume_checkpoint))
        flags.append(("resume_run_id", run.resume_run_id))
    return flags
