"""Runs from start to end, in the layouts and ways of training that there are."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from .cluster import Cluster, require_sums, trainer_python

if TYPE_CHECKING:
    from pathlib import Path

ORDER = ["started", "imported", "data", "serving", "connected", "ready", "released", "first_step", "target"]

CLASSIFY = """
import json, sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
raw = open(sys.argv[2] + "/t10k-images-idx3-ubyte", "rb").read()[16:]
images = np.frombuffer(raw, np.uint8).reshape(-1, 784).astype(np.float32) / 255
labels = np.frombuffer(open(sys.argv[2] + "/t10k-labels-idx1-ubyte", "rb").read()[8:], np.uint8)
found = model(images=tf.constant(images))
assert np.allclose(found["probabilities"].numpy().sum(axis=1), 1, atol=1e-5)
print(json.dumps(float((found["classes"].numpy() == labels).mean())))
"""


def test_a_run_from_start_to_end_and_its_second_start(flags: list[str], tmp_path: Path, data_dir: Path) -> None:
    places = [f"--log_dir={tmp_path / 'log'}", f"--export_dir={tmp_path / 'export'}", "--evaluation_interval=100"]
    layout = [*flags, "--train_steps=300", *places]
    with Cluster(1, 1, layout) as cluster:
        cluster.run()
        require_sums(cluster)
        names = [event["event"] for event in cluster.chief.events]
        assert [name for name in names if name in ORDER] == ORDER, names
        assert names[-1] == "finished"
        (target,) = cluster.chief.named("target")
        assert target["global_step"] == sum(target["worker_steps"]) >= 300
        scores = cluster.chief.named("evaluated")
        assert len(scores) > 1
        assert scores[-1]["final"]
        assert scores[-1]["test_accuracy"] > 0.95
        (exported,) = cluster.chief.named("exported")
        assert list((tmp_path / "log").glob("events.out.tfevents.*"))
        saved = cluster.chief.named("checkpoint")[-1]
        assert (saved["reason"], saved["global_step"]) == ("end", target["global_step"])
    with np.load(saved["file"]) as members:  # readable by anybody who has NumPy
        header = json.loads(members["header"].tobytes())
        assert header["run_id"] == "tested"
        assert header["global_step"] == sum(header["worker_steps"]) == target["global_step"]
        assert header["adam_step"] == 1 + target["global_step"]
        assert members["hidden_weights"].shape == (784, 32)
    told = subprocess.run(
        [trainer_python(), "-c", CLASSIFY, exported["path"], str(data_dir)], check=True, capture_output=True, text=True
    )
    assert json.loads(told.stdout) == pytest.approx(scores[-1]["test_accuracy"])

    with Cluster(1, 1, layout, environment={"DTF_LEAN_IMPORT": "0"}) as again:
        again.run()
        assert again.chief.named("imported")[0]["lean"] is False
        assert again.chief.named("connected")[0]["global_step"] == target["global_step"]
        assert not again.chief.named("first_step")
        assert again.chief.named("target")[0]["global_step"] == target["global_step"]
        assert again.chief.named("evaluated")[-1]["test_accuracy"] == scores[-1]["test_accuracy"]


def test_workers_before_two_ps_in_rounds_of_ten(flags: list[str]) -> None:
    with Cluster(2, 3, [*flags, "--train_steps=600", "--communication_interval=10"]) as cluster:
        cluster.start(("worker", 2), ("worker", 1), ("worker", 0))
        cluster.wait_for("serving")
        cluster.start(("ps", 1), ("ps", 0))
        cluster.finish()
        cluster.require_done()
        (target,) = cluster.chief.named("target")
        assert 600 <= target["global_step"] == sum(target["worker_steps"]) < 660
        assert all(task.exits == [0] for task in cluster.tasks.values())
        assert cluster.chief.named("evaluated")[-1]["test_accuracy"] > 0.9


@pytest.mark.parametrize("interval", ["1", "10"])
def test_synchronous_rounds_wait_for_a_killed_worker(flags: list[str], interval: str) -> None:
    steps = "4000" if interval == "10" else "600"
    rounds = [f"--train_steps={steps}", "--sync_replicas", f"--communication_interval={interval}"]
    with Cluster(2, 2, [*flags, *rounds]) as cluster:
        cluster.start()
        cluster.wait_for_step(60)
        cluster.tasks["worker", 1].kill()
        cluster.finish()
        cluster.require_done()
        (target,) = cluster.chief.named("target")
        assert target["global_step"] == sum(target["worker_steps"]) >= int(steps)
        # Every round took one contribution of each.
        assert target["worker_steps"][0] == target["worker_steps"][1]
        assert cluster.tasks["worker", 1].exits == [-9, 0]
        assert cluster.chief.exits == [0]
        assert cluster.chief.named("evaluated")[-1]["test_accuracy"] > 0.9


def test_a_round_needs_no_more_than_the_replicas_to_aggregate(flags: list[str]) -> None:
    rounds = ["--train_steps=200", "--sync_replicas", "--replicas_to_aggregate=1"]
    with Cluster(1, 2, [*flags, *rounds]) as cluster:
        cluster.run()
        (target,) = cluster.chief.named("target")
        assert target["global_step"] == sum(target["worker_steps"]) == 200


def test_the_thesis_s_loop_trains_the_same_model(flags: list[str], tmp_path: Path) -> None:
    loop = ["--train_steps=200", "--profile=thesis", f"--log_dir={tmp_path / 'log'}"]
    with Cluster(2, 2, [*flags, *loop]) as cluster:
        cluster.run()
        require_sums(cluster)
        assert cluster.chief.named("evaluated")[-1]["test_accuracy"] > 0.9
        # The whole test set, each tenth local step, by every worker.
        for worker in (0, 1):
            task = cluster.tasks["worker", worker]
            steps = task.named("finished")[-1]["local_steps"]
            assert sum("accuracy at local step" in line for line in task.prose) == -(-steps // 10)
        assert list((tmp_path / "log").glob("events.out.tfevents.*"))


SERVE = """
import json, sys, tensorflow as tf
tf.distribute.Server(json.loads(sys.argv[1]), job_name=sys.argv[2], task_index=0).join()
"""


def test_servers_that_run_already(flags: list[str]) -> None:
    with Cluster(1, 1, [*flags, "--train_steps=200", "--existing_servers"]) as cluster:
        spec = json.dumps({"ps": cluster.ps_hosts, "worker": cluster.worker_hosts})
        servers = [subprocess.Popen([trainer_python(), "-c", SERVE, spec, job]) for job in ("ps", "worker")]
        try:
            for _ in range(2):  # they stay, and so does what an earlier run left on them
                cluster.flags = [flag for flag in cluster.flags if "checkpoint" not in flag]
                cluster.tasks = {("worker", 0): cluster.task("worker", 0, f"--run_id=run-{time.time_ns()}")}
                cluster.run()
                assert cluster.chief.named("connected")[0]["global_step"] == 0
                assert cluster.chief.named("target")[0]["global_step"] >= 200
        finally:
            for server in servers:
                server.kill()
                server.wait()


def test_a_re_roll_to_other_workers_carries_the_steps(flags: list[str], tmp_path: Path) -> None:
    with Cluster(1, 1, [*flags, "--train_steps=0"]) as first:
        first.start()
        first.wait_for_step(100)
        for task in first.tasks.values():  # all at once, as a supervisor stops a run
            assert task.process is not None
            task.process.terminate()
        first.finish()
        assert {task.exits[-1] for task in first.tasks.values()} == {143}
        saved = first.chief.named("checkpoint")[-1]
        assert saved["reason"] == "signal"
    goes_on = [
        f"--resume_candidates=never={tmp_path}/never.npz,tested={saved['file']}",
        "--run_id=next",
        f"--checkpoint_dir={tmp_path / 'next'}",
        f"--train_steps={saved['global_step'] + 300}",
        "--communication_interval=5",
    ]
    with Cluster(2, 2, [*flags, *goes_on]) as second:
        second.run()
        connected = second.chief.named("connected")[0]
        assert (connected["resumed"], connected["carried_steps"]) == (True, saved["global_step"])
        assert connected["resumed_from"] == "tested"
        (target,) = second.chief.named("target")
        assert target["global_step"] == target["carried_steps"] + sum(target["worker_steps"])
        assert target["carried_steps"] == saved["global_step"]
        assert second.chief.named("released")
