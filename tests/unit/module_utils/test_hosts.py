"""Tasks dealt to hosts, and commands that the trainer's own parser reads back to what the topology said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import Run, Task, command, host_list, tasks
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from dtf_trainer import flags

RUN = Run(run_id="r1", directory="/d/r1", created=1.0)
RESUMED = Run(run_id="r1", directory="/d/r1", created=1.0, resume_run_id="r0", resume_checkpoint="/d/r0/c.npz")


def topology(count: int = 1, **changes: Any) -> Topology:
    """Return a topology over some hosts."""
    machines = [{"name": f"h{number}", "address": f"10.0.0.{number}"} for number in range(1, count + 1)]
    return Topology.from_params(
        {"name": "t", "hosts": machines, "python": "/p", "data_dir": "/data", "root": "/r", **changes}
    )


@pytest.mark.parametrize(
    ("hosts", "dealt"),
    [
        (1, ["ps-0 h1", "ps-1 h1", "worker-0 h1", "worker-1 h1", "worker-2 h1"]),
        (2, ["ps-0 h1", "ps-1 h2", "worker-0 h1", "worker-1 h2", "worker-2 h1"]),
        (4, ["ps-0 h1", "ps-1 h2", "worker-0 h1", "worker-1 h2", "worker-2 h3"]),
    ],
)
def test_tasks_are_dealt_in_turn_and_the_first_host_has_the_chief(hosts: int, dealt: list[str]) -> None:
    found = tasks(topology(hosts, ps={"replicas": 2}, workers={"replicas": 3}))
    assert [f"{task.name} {task.host}" for task in found] == dealt


def test_host_lists_are_in_the_order_of_the_index() -> None:
    spread = topology(2, ps={"replicas": 1}, workers={"replicas": 3})
    assert host_list(spread, "ps") == "10.0.0.1:8000"
    assert [task.port for task in tasks(spread)] == [8000, 9000, 9001, 9002]
    assert host_list(spread, "worker") == "10.0.0.1:9000,10.0.0.2:9001,10.0.0.1:9002"


@pytest.mark.parametrize("run", [RUN, RESUMED])
@pytest.mark.parametrize(
    "training",
    [
        {},
        {"sync": True, "replicas_to_aggregate": 2, "learning_rate": 0.5, "seed": 3},
        {"communication_interval": 10, "hidden_units": 7, "batch_size": 3, "steps": 0, "dataset": "fashion_mnist"},
        {"sync": True},
        {"profile": "thesis", "evaluation_interval": 50, "summary_interval": 5},
    ],
)
def test_the_trainer_reads_every_command_as_it_was_meant(training: dict[str, Any], run: Run) -> None:
    wanted = topology(2, ps={"replicas": 2}, workers={"replicas": 3, "gpus": 1}, training=training)
    for task in tasks(wanted):
        argv = command(wanted, task, run)
        assert argv[:3] == ["/p", "-m", "dtf_trainer"]
        read = flags.parse(argv[3:], {})
        assert (read.job_name, read.task_index, read.run_id) == (task.role, task.index, run.run_id)
        assert read.ps_hosts == tuple(host_list(wanted, "ps").split(","))
        assert read.worker_hosts == tuple(host_list(wanted, "worker").split(","))
        same = ("dataset", "hidden_units", "batch_size", "learning_rate", "profile", "communication_interval", "seed")
        assert [getattr(read, name) for name in same] == [getattr(wanted.training, name) for name in same]
        assert (read.train_steps, read.sync_replicas) == (wanted.training.steps, wanted.training.sync)
        assert read.replicas_to_aggregate == wanted.training.replicas_to_aggregate
        assert read.num_gpus == 1
        assert read.data_dir == "/data"
        assert read.peer_timeout_seconds == wanted.lifecycle.peer_timeout_seconds
        chief = task == Task("worker", 0, "h1", "10.0.0.1:9000")
        assert (read.checkpoint_dir is not None) is chief
        assert (read.export_dir is not None) is chief
        assert read.resume_run_id == (run.resume_run_id if chief else None)
        if chief:
            assert read.evaluation_interval == wanted.training.evaluation_interval
            assert read.summary_interval == wanted.training.summary_interval
            assert read.checkpoint_interval_seconds == wanted.lifecycle.checkpoint_interval_seconds


LABEL = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,70}", fullmatch=True)


@given(LABEL | st.ip_addresses(v=4).map(str))
def test_the_trainer_takes_every_address_that_a_topology_takes(address: str) -> None:
    try:
        wanted = topology(hosts=[{"name": "h1", "address": address}])
    except InvalidInput:
        return
    assert flags.is_address(host_list(wanted, "ps"))


BOUNDS = {
    "steps": (0, 10**12),
    "hidden_units": (1, 10**6),
    "batch_size": (1, 60000),
    "learning_rate": (1e-12, 100),
    "communication_interval": (1, 10**6),
    "seed": (0, 2**31 - 1),
    "evaluation_interval": (0, 10**12),
    "summary_interval": (1, 10**12),
}


@pytest.mark.parametrize("end", [0, 1], ids=["least", "most"])
@pytest.mark.parametrize("name", BOUNDS)
def test_the_trainer_takes_what_is_just_accepted(name: str, end: int) -> None:
    value = BOUNDS[name][end]
    wanted = topology(training={name: value})
    chief = next(task for task in tasks(wanted) if task.role == "worker")
    read = flags.parse(command(wanted, chief, RUN)[3:], {})
    assert getattr(read, {"steps": "train_steps"}.get(name, name)) == value


def test_directories_of_a_run_are_the_chief_s_alone() -> None:
    wanted = topology()
    chief = flags.parse(command(wanted, tasks(wanted)[1], RESUMED)[3:], {})
    assert chief.is_chief
    assert (chief.checkpoint_dir, chief.export_dir) == ("/d/r1/checkpoint", "/d/r1/export")
    assert (chief.log_dir, chief.resume_checkpoint) == ("/d/r1/summaries", "/d/r0/c.npz")
    for task in (tasks(wanted)[0], tasks(wanted)[2]):
        other = flags.parse(command(wanted, task, RESUMED)[3:], {})
        assert (other.checkpoint_dir, other.export_dir, other.log_dir, other.resume_checkpoint) == (None,) * 4


def test_a_resumed_run_needs_both_the_checkpoint_and_its_run() -> None:
    wanted = topology()
    for half in ({"resume_run_id": "r0"}, {"resume_checkpoint": "/d/r0/c.npz"}):
        argv = command(wanted, tasks(wanted)[1], Run("r1", "/d/r1", 1.0, **half))
        assert not [word for word in argv if word.startswith("--resume")]
