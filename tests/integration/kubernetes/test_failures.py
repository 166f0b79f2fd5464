"""What a training cannot start from: each told with its reason, what to look at and the next step, and soon.

The plays wait side by side, since their pods mostly do nothing. How long each took from the moment at which the API
server told of the fault is printed, and no test depends on it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import pytest

from tests.integration.kubernetes.conftest import Controller
from tests.integration.kubernetes.plays import Document, Ended, Play, Recorder, container

#: Plays at once: each begins with some seconds of computing.
SIDE_BY_SIDE = 4
#: One ps and the chief, which go at once when they are asked to.
SMALL = {"workers": {"replicas": 1}, "lifecycle": {"stop_grace_seconds": 1}}
ASLEEP = ["python3", "-c", "import time; time.sleep(600)"]

Predicate = Callable[[Document], object]


def patched(pods: str = "all", **changes: object) -> Document:
    """Return a patch of the trainer's container."""
    return {pods: {"spec": {"containers": [{"name": "trainer", **changes}]}}}


def waits_for(*reasons: str) -> Predicate:
    """A pod whose container waits for one of these reasons."""
    return lambda entry: (
        entry["kind"] == "Pod" and (container(entry).get("state") or {}).get("waiting", {}).get("reason") in reasons
    )


def ended_with(code: int) -> Predicate:
    """A pod whose container has ended with this code."""

    def is_it(entry: Document) -> bool:
        states = [container(entry).get(name) or {} for name in ("state", "lastState")]
        return entry["kind"] == "Pod" and any(state.get("terminated", {}).get("exitCode") == code for state in states)

    return is_it


def told(reason: str, words: str = "") -> Predicate:
    """An event."""
    return lambda entry: entry["kind"] == "Event" and entry["reason"] == reason and words in entry["message"]


def unschedulable(entry: Document) -> bool:
    """A pod that no node takes."""
    conditions = entry.get("status", {}).get("conditions") or ()
    return entry["kind"] == "Pod" and any(each.get("reason") == "Unschedulable" for each in conditions)


def deadline_exceeded(entry: Document) -> bool:
    """A Job whose time is over."""
    conditions = entry.get("status", {}).get("conditions") or ()
    return entry["kind"] == "Job" and any(each.get("reason") == "DeadlineExceeded" for each in conditions)


def all_started(entry: Document) -> bool:
    """A chief that runs; nothing else tells in the API that tasks do not reach each other."""
    return (
        entry["kind"] == "Pod"
        and "chief" in entry["metadata"]["name"]
        and "running" in container(entry).get("state", {})
    )


@dataclass(frozen=True)
class Fault:
    """What is wrong, and what is to be said of it.

    Attributes:
        wrong: options of the topology's `kubernetes`, with $name and $namespace.
        reason: the word for it.
        about: what to look at.
        message: what is said.
        next_step: what the user can do.
        visible: what the API server tells of it first.
        more: other options of the topology.
        labels: of a namespace of its own.
    """

    wrong: Mapping[str, Any]
    reason: str
    about: str
    message: str
    next_step: str
    visible: Predicate
    more: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] | None = None


# A Job's pods have a suffix of the controller's.
POD = r"Pod \S+-(ps|chief)-0-\w+"
CHIEF = r"Pod \S+-chief-0-\w+"
JOB = r"Job \S+-(ps|chief)"
FAULTS = {
    "registry-unreachable": Fault(
        {"image": "image.invalid/none:1", "image_pull_policy": "IfNotPresent"},
        "image_pull",
        POD,
        "image.invalid",
        "reaches the registry",
        waits_for("ErrImagePull", "ImagePullBackOff"),
    ),
    "image-never-pulled": Fault(
        {"image": "dtf.cluster/trainer:none", "image_pull_policy": "Never"},
        "image_pull",
        POD,
        "ErrImageNeverPull",
        "trainer_image",
        waits_for("ErrImageNeverPull"),
    ),
    "dies-of-a-signal": Fault(
        {"pod_patch": patched(command=["python3", "-c", "import ctypes; ctypes.string_at(0)"], args=[])},
        "crash_loop",
        POD,
        "signal 11 again and again",
        "look at the log",
        waits_for("CrashLoopBackOff"),
    ),
    "dies-of-an-error": Fault(
        {"pod_patch": patched(command=["python3", "-c", "print('no way'); raise SystemExit(3)"], args=[])},
        "exit_3",
        POD,
        "exit code 3",
        "mend what its log says",
        ended_with(3),
    ),
    "no-such-program": Fault(
        {"pod_patch": patched(command=["/bin/none"])},
        "cannot_start",
        POD,
        "/bin/none",
        "trainer_image",
        lambda entry: ended_with(128)(entry) or waits_for("RunContainerError")(entry),
    ),
    "too-little-memory": Fault(
        {"pod_patch": patched(resources={"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}})},
        "out_of_memory",
        POD,
        "its limit of 64Mi",
        "higher memory_mb",
        ended_with(137),
    ),
    "no-such-node": Fault(
        {"node_selector": {"example.com/none": "none"}},
        "unschedulable",
        POD,
        "node affinity/selector",
        "node_selector",
        unschedulable,
    ),
    "too-large-for-any-node": Fault(
        {"pod_patch": patched(resources={"requests": {"cpu": "640"}})},
        "unschedulable",
        POD,
        "Insufficient cpu",
        "ask for less",
        unschedulable,
    ),
    "no-such-claim": Fault(
        {
            "volumes": {"checkpoints": {"persistentVolumeClaim": {"claimName": "none"}}},
            "pod_patch": patched(command=ASLEEP),
        },
        "volume",
        CHIEF,
        '"none" not found',
        "create the PersistentVolumeClaim none",
        unschedulable,
    ),
    "no-such-secret": Fault(
        {"pod_patch": patched(envFrom=[{"secretRef": {"name": "none"}}])},
        "configuration",
        POD,
        'secret "none" not found',
        "create it in namespace",
        waits_for("CreateContainerConfigError"),
    ),
    "no-such-secret-to-mount": Fault(
        {
            "pod_patch": {
                "all": {
                    "spec": {
                        "volumes": [{"name": "more", "secret": {"secretName": "none"}}],
                        "containers": [{"name": "trainer", "volumeMounts": [{"name": "more", "mountPath": "/more"}]}],
                    }
                }
            }
        },
        "configuration",
        POD,
        'secret "none" not found',
        "create it in namespace",
        told("FailedMount"),
    ),
    "no-such-priority": Fault(
        {"priority_class": "none"},
        "admission",
        JOB,
        "no PriorityClass with name none",
        "ask for an exception",
        told("FailedCreate"),
    ),
    "not-admitted": Fault(
        {"volumes": {"checkpoints": {"hostPath": {"path": "/var/tmp/none"}}}, "pod_patch": patched(command=ASLEEP)},
        "admission",
        r"Job \S+-chief",
        "violates PodSecurity",
        "kubernetes.volumes",
        told("FailedCreate", "PodSecurity"),
        labels={"pod-security.kubernetes.io/enforce": "restricted"},
    ),
    "wrong-port": Fault(
        {
            "pod_patch": patched(
                "chief",
                env=[{"name": "PS_HOSTS", "value": "$name-ps-0.$name-ps.$namespace.svc:8001", "valueFrom": None}],
            )
        },
        "no_connection",
        CHIEF,
        r"8001",
        "port",
        all_started,
    ),
    "wrong-name": Fault(
        {"pod_patch": patched("chief", env=[{"name": "PS_HOSTS", "value": "nobody.$name-ps:8000", "valueFrom": None}])},
        "no_connection",
        CHIEF,
        r"nobody",
        "name resolves",
        all_started,
    ),
    "worker-not-found": Fault(
        {
            "pod_patch": patched(
                "ps",
                env=[
                    {
                        "name": "WORKER_HOSTS",
                        "value": "$name-chief-0.$name-chief.$namespace.svc:9001",
                        "valueFrom": None,
                    }
                ],
            )
        },
        "no_connection",
        CHIEF,
        "not reached by the parameter servers in 10 s: failed to connect",
        "NetworkPolicy",
        all_started,
        {"lifecycle": {"stop_grace_seconds": 1, "peer_timeout_seconds": 10}},
    ),
    "takes-too-long": Fault(
        {"active_deadline_seconds": 3, "pod_patch": patched(command=ASLEEP)},
        "deadline",
        JOB,
        "longer than specified deadline",
        "larger kubernetes.active_deadline_seconds",
        deadline_exceeded,
    ),
    "wrong-input": Fault(
        {"pod_patch": patched(command=["python3", "-m", "dtf_trainer", "--no_such_flag=1"])},
        "exit_64",
        POD,
        "no_such_flag",
        "correct the field",
        ended_with(64),
    ),
    "no-data": Fault(
        {"volumes": {"data": {"emptyDir": {}}}},
        "exit_66",
        CHIEF,
        "/data/mnist",
        "kubernetes.volumes.data",
        ended_with(66),
    ),
}


@dataclass(frozen=True)
class Failed:
    """How a play with a fault ended, and what was recorded meanwhile."""

    ended: Ended
    name: str
    recorder: Recorder


class Site:
    """Namespaces for the plays of this file, and what the API server told of each."""

    def __init__(self, controller: Controller, image: str, folder: Path) -> None:
        self.controller = controller
        self.image = image
        self._folder = folder
        self._recorders: dict[str, Recorder] = {}
        self._plays: list[Play] = []

    def namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """Return the namespace that plays share, or a new one where it is to have labels."""
        if labels is None and self._recorders:
            return next(iter(self._recorders))
        name = f"dtf-failures-{uuid.uuid4().hex[:6]}"
        metadata = {"name": name, "labels": dict(labels or {})}
        self.controller.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._recorders[name] = Recorder(self.controller.cluster, name)
        return name

    def recorder(self, namespace: str) -> Recorder:
        """Return what was told of a namespace."""
        return self._recorders[namespace]

    def play(self, name: str, namespace: str, kubernetes: Mapping[str, Any], **more: Any) -> Play:
        """Begin to apply a topology and to wait for it."""
        given = {"image": self.image, "image_pull_policy": "Never", **kubernetes, "namespace": namespace}
        play = Play(
            self.controller.kubeconfig, self._folder / name, {"name": name, "kubernetes": given, **SMALL, **more}
        )
        self._plays.append(play)
        return play

    def close(self) -> None:
        """End what goes on and remove the namespaces."""
        for play in self._plays:
            play.kill()
        for name, recorder in self._recorders.items():
            recorder.close()
            self.controller.cluster.delete("Namespace", name)


@pytest.fixture(scope="module")
def site(kubeconfig: Path, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Where the plays of this file run."""
    folder = tmp_path_factory.mktemp("failures")
    found = Site(Controller(kubeconfig, "default", folder), image, folder)
    found.namespace()
    yield found
    found.close()


@pytest.fixture(scope="module")
def failures(site: Site) -> Iterator[Mapping[str, Future[Failed]]]:
    """Every fault's play, under way or waiting for its turn."""

    def play(name: str, fault: Fault) -> Failed:
        namespace = site.namespace(fault.labels)
        wrong = filled(fault.wrong, name=name, namespace=namespace)
        ended = site.play(name, namespace, wrong, **fault.more).end()
        return Failed(ended, name, site.recorder(namespace))

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {name: pool.submit(play, name, fault) for name, fault in FAULTS.items()}
        pool.shutdown(cancel_futures=True)


def filled(value: Any, **words: str) -> Any:
    """Return a document with each $word in its texts replaced."""
    if isinstance(value, Mapping):
        return {key: filled(entry, **words) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, **words) for entry in value]
    return Template(value).safe_substitute(words) if isinstance(value, str) else value


def seconds_to_notice(failed: Failed, visible: Predicate) -> float:
    """Return the time from the API server's first word of a fault to the end of the play, and print it."""
    prefix = failed.name + "-"

    def about(entry: Document) -> object:
        named = entry["involvedObject"]["name"] if entry["kind"] == "Event" else entry["metadata"]["name"]
        return named.startswith(prefix) and visible(entry)

    took = failed.ended.at - failed.recorder.first(about)
    print(f"noticed: {failed.name}: {took:.1f} s after the API server told of it")
    return took


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_said(name: str, failures: Mapping[str, Future[Failed]]) -> None:
    fault, failed = FAULTS[name], failures[name].result()
    cause = failed.ended.cause
    assert cause["reason"] == fault.reason, cause
    assert re.fullmatch(fault.about, cause["object"]), cause
    assert fault.message in cause["message"], cause
    assert fault.next_step in cause["next_step"], cause
    assert failed.ended.run["state"] == "failed"
    # The user reads the same on the terminal.
    said = failed.ended.printed.replace('\\"', '"')
    assert fault.message in said
    assert cause["next_step"].replace('"', '\\"') in failed.ended.printed
    seconds_to_notice(failed, fault.visible)


def test_the_log_of_what_died_is_kept(failures: Mapping[str, Future[Failed]]) -> None:
    ended = failures["dies-of-an-error"].result().ended
    assert "no way" in ended.cause["log_tail"]
    assert "no way" in (ended.folder / "logs" / f"{ended.cause['task']}.log").read_text(encoding="utf-8")


def test_the_events_about_it_are_kept(failures: Mapping[str, Future[Failed]]) -> None:
    cause = failures["no-such-node"].result().ended.cause
    assert any(event["event"] == "FailedScheduling" for event in cause["events"])
