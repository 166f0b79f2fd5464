"""What befalls a training that is under way: pods, programs, hosts and cables go, and it ends as it should."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.kubernetes.conftest import Controller
from tests.integration.kubernetes.lab_hosts import LabHosts, sleep_for
from tests.integration.kubernetes.plays import Document, Ended, Play, until

BACKENDS = ("indexed_job", "statefulset")
NAME = "digits"
#: The kubelet of a host that was cut off or booted needs some time until its node is Ready.
READY_SECONDS = 120


class Training:
    """A topology with its checkpoints on a node's disk, and the plays that apply it.

    The chief and the ps are on one node, the other worker on another, so that a lost host takes one of them.
    """

    def __init__(self, controller: Controller, hosts: LabHosts, image: str, folder: Path) -> None:
        self.controller = controller
        self.hosts = hosts
        self.near, self.far = hosts.nodes[:2]
        self.kept = f"/srv/dtf-{uuid.uuid4().hex[:8]}"
        self._image = image
        self._folder = folder
        self._plays: list[Play] = []

    def document(self, backend: str, steps: int, name: str = NAME, *, sync: bool = False) -> Document:
        """Return the options of the topology.

        Where a worker is away for long, a synchronous one waits for it, and needs no steps to fill that time.
        """
        on = {"ps": self.near, "chief": self.near, "worker": self.far}
        return {
            "name": name,
            "workers": {"replicas": 2},
            "training": {"steps": steps, "sync": sync},
            "lifecycle": {"checkpoint_interval_seconds": 2, "stop_grace_seconds": 10},
            "kubernetes": {
                "namespace": self.controller.namespace,
                "image": self._image,
                "image_pull_policy": "Never",
                "backend": backend,
                "volumes": {"checkpoints": {"hostPath": {"path": self.kept}}},
                "pod_patch": {
                    pods: {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}} for pods, node in on.items()
                },
            },
        }

    def play(self, backend: str, steps: int, name: str = NAME, *, sync: bool = False) -> Play:
        """Begin to apply the topology and to wait for its run."""
        folder = self._folder / f"play-{len(self._plays)}"
        play = Play(self.controller.kubeconfig, folder, self.document(backend, steps, name, sync=sync))
        self._plays.append(play)
        return play

    def again(self, backend: str, steps: int, name: str = NAME) -> Ended:
        """Apply the topology and wait for its run, to the end."""
        return self.play(backend, steps, name).end()

    def pod(self, component: str) -> str:
        """Return the name of the first living pod of a set."""
        labels = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}"
        found = self.controller.cluster.list("Pod", self.controller.namespace, labels=labels).items
        return next(
            str(pod["metadata"]["name"])
            for pod in found
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
        )

    def ready(self, node: str) -> None:
        """Wait until a node is Ready and says so itself."""
        self.controller.kubectl("wait", "--for=condition=Ready", f"--timeout={READY_SECONDS}s", f"node/{node}")

    def close(self) -> None:
        """End what goes on."""
        for play in self._plays:
            play.kill()


@pytest.fixture
def training(controller: Controller, hosts: LabHosts, image: str, tmp_path: Path) -> Iterator[Training]:
    """A training with a folder for its checkpoints on every node."""
    found = Training(controller, hosts, image, tmp_path)
    for node in hosts.nodes:
        hosts.run(node, f"install -d -o 1000 -g 1000 {found.kept}")
    yield found
    found.close()
    for node in hosts.nodes:
        found.ready(node)
        hosts.run(node, f"umount {found.kept} 2>/dev/null; rm -rf {found.kept}")


def step(play: Play) -> int:
    """Return the last global step that a play told of."""
    told = re.findall(r"step ([\d,]+) of", play.printed)
    return int(told[-1].replace(",", "")) if told else 0


def trained(play: Play, steps: int) -> int:
    """Wait until a play has told of more steps, and return how far it is."""
    begun = step(play)
    return int(until(f"{steps} steps more than {begun}", lambda: max(0, step(play) - begun - steps), 120, play) + begun)


def back(hosts: LabHosts, node: str, program: str, killed: int) -> None:
    """Wait until a program that was killed is there again, as another process."""
    until(f"another {program}", lambda: hosts.process(node, program) not in {0, killed}, 60)


def restarts(ended: Ended) -> dict[str, int]:
    """Return how often each task was started again."""
    return {f"{task['role']}-{task['index']}": task["restarts"] for task in ended.run["tasks"]}


def succeeded(ended: Ended, steps: int) -> None:
    """A run that reached its target, whatever befell it."""
    assert ended.code == 0, ((ended.document or {}).get("cause"), ended.printed[-4000:])
    assert ended.run["state"] == "succeeded"
    assert ended.run["training"]["global_step_last"] >= steps
    assert ended.run["training"]["test_accuracy"] > 0.8


@pytest.mark.parametrize(("backend", "sync", "steps"), [("indexed_job", False, 18_000), ("statefulset", True, 6_000)])
def test_every_task_that_is_lost_comes_back(training: Training, backend: str, sync: bool, steps: int) -> None:
    play = training.play(backend, steps, sync=sync)
    some = 50 if sync else 1_500
    trained(play, some)
    training.controller.kubectl("delete", "pod", "--wait=false", training.pod("worker"))
    trained(play, some)
    training.hosts.run(training.near, "pkill -KILL -f 'job_name=[p]s'")
    trained(play, some)
    training.controller.kubectl("delete", "pod", "--grace-period=0", "--force", "--wait=false", training.pod("chief"))
    ended = play.end()
    succeeded(ended, steps)
    assert all(count >= 1 for count in restarts(ended).values()), restarts(ended)


def test_a_control_plane_and_a_kubelet_that_die_cost_no_step(training: Training) -> None:
    steps = 8_000
    play = training.play("indexed_job", steps)
    trained(play, 500)
    old = training.hosts.kill(training.near, "kubelet")
    server = training.hosts.process(training.hosts.control_plane, "kube-apiserver")
    training.hosts.kill(training.hosts.control_plane, "kube-apiserver")
    ended = play.end()
    succeeded(ended, steps)
    assert set(restarts(ended).values()) == {0}
    back(training.hosts, training.near, "kubelet", old)
    back(training.hosts, training.hosts.control_plane, "kube-apiserver", server)


@pytest.mark.parametrize(("backend", "kind"), [("indexed_job", "Job"), ("statefulset", "StatefulSet")])
def test_a_set_that_somebody_deletes_ends_the_waiting(training: Training, backend: str, kind: str) -> None:
    play = training.play(backend, 10_000_000)
    trained(play, 500)
    training.controller.kubectl("delete", kind, f"{NAME}-worker", "--wait=false")
    ended = play.end()
    assert ended.cause["reason"] == "removed", ended.cause
    assert ended.cause["object"] == f"{kind} {NAME}-worker"
    assert ended.cause["next_step"]
    assert ended.run["state"] == "failed"


def test_a_cable_that_is_out_for_half_a_minute(training: Training) -> None:
    steps = 2_000
    play = training.play("indexed_job", steps, sync=True)
    trained(play, 300)
    with training.hosts.cut(training.far):
        sleep_for(30)
    succeeded(play.end(), steps)


def test_a_cable_that_stays_out(training: Training) -> None:
    play = training.play("indexed_job", 10_000_000, sync=True)
    trained(play, 300)
    with training.hosts.cut(training.far):
        ended = play.end()
    assert ended.cause["reason"] == "node_lost", ended.cause
    assert training.far in ended.cause["message"]
    assert ended.cause["next_step"]


def test_a_host_that_is_booted_anew(training: Training) -> None:
    steps = 2_000
    play = training.play("indexed_job", steps, sync=True)
    trained(play, 300)
    training.hosts.stop(training.far)
    training.hosts.start(training.far)
    ended = play.end()
    succeeded(ended, steps)
    assert restarts(ended)["worker-1"] >= 1


def test_a_finished_run_stays_finished(training: Training) -> None:
    """Applied again and after its host was booted, in both backends: nothing trains, nothing restarts by itself."""
    steps = 1_000
    first: dict[str, Ended] = {}
    for backend in BACKENDS:
        first[backend] = training.again(backend, steps, backend.replace("_", "-"))
        succeeded(first[backend], steps)

    def unchanged() -> None:
        for backend in BACKENDS:
            given = training.document(backend, steps, backend.replace("_", "-"))
            applied = training.controller.module("topology", **given)
            assert not applied["changed"], applied
            assert applied["topology"]["run_id"] == first[backend].run["run_id"]

    def starts() -> dict[str, tuple[int, bool]]:
        """Return how often each pod that stays was started on the node, and whether it is ready."""
        return {
            pod["metadata"]["name"]: (status["restartCount"], status["ready"])
            for pod in training.controller.cluster.list("Pod", training.controller.namespace).items
            if "statefulset" in pod["metadata"]["name"] and pod["spec"]["nodeName"] == training.near
            for status in pod["status"].get("containerStatuses") or []
        }

    unchanged()
    before = starts()
    assert before
    training.hosts.stop(training.near)
    training.hosts.start(training.near)

    def all_idle() -> bool:
        # What the API server knew before the boot is no news.
        now = starts()
        return all(name in now and now[name][1] and now[name][0] > before[name][0] for name in before)

    until("pods that idle", all_idle, 120)
    unchanged()
    for name in before:
        log = training.controller.kubectl("logs", name)
        assert "is done; waiting to be removed" in log
        assert '"event":"connected"' not in log, log


def test_a_pause(training: Training) -> None:
    steps = 6_000
    play = training.play("indexed_job", steps)
    at = trained(play, 500)
    where: dict[str, Any] = {"kubernetes": {"namespace": training.controller.namespace}}
    stopped = training.controller.module("topology", name=NAME, state="stopped", **where)
    assert stopped["changed"], stopped
    ended = play.end()
    assert ended.run["state"] == "stopped"
    resumed = training.again("indexed_job", steps)
    succeeded(resumed, steps)
    assert resumed.run["resumed_from"]["run_id"] == ended.run["run_id"]
    # The chief's last act is a checkpoint: what was told before is in it.
    assert at <= resumed.run["resumed_from"]["global_step"] < steps


def test_a_full_disk(training: Training) -> None:
    training.hosts.run(training.near, f"mount -t tmpfs -o size=64k,uid=1000,gid=1000 none {training.kept}")
    ended = training.again("indexed_job", 3_000)
    assert ended.run["state"] == "failed"
    assert "No space left" in str(ended.cause), ended.cause
    assert ended.cause["next_step"]
