"""A first program on a GPU of each node: its pods, what its output means, and that nothing is left of it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_smoke import (
    LEFT_BEHIND_SECONDS,
    NVIDIA_SMI,
    UNSCHEDULABLE_SECONDS,
    Outcome,
    Smoke,
    busy,
    devices,
    ended,
    failed,
    gpus,
    left_behind,
    manifest,
    out_of_time,
    verdict,
)
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Listing
from ansible_collections.dtf.cluster.plugins.module_utils.pod_trouble import Trouble
from ansible_collections.dtf.cluster.plugins.module_utils.waiter import Clock
from ansible_collections.dtf.cluster.plugins.modules.gpu_smoke import Run, problems
from tests.unit.module_utils.pod_samples import BEGIN, stamp

Document = dict[str, Any]

GPU = "nvidia.com/gpu"
CARD = "NVIDIA A100-SXM4-40GB, GPU-5d1f9f2e, 40960, 535.183.01, 3"
SMI = Smoke(run="abc", namespace="training", image="registry.example/debian:12", seconds=120.4)
ADDING = Smoke(run="abc", namespace="training", image="x", command=("/vectorAdd",), expect="Test PASSED")
OTHER = Smoke(run="abc", namespace="training", image="x", command=("sh", "-c", "true"))


def test_a_pod_asks_as_a_training_would_and_is_kept_to_its_node_by_the_scheduler() -> None:
    pod = manifest(SMI, "w1.example", 3)
    (container,) = pod["spec"]["containers"]
    assert pod["metadata"]["name"] == "gpu-smoke-abc-3"
    assert "nodeName" not in pod["spec"]
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"] == [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["w1.example"]}]}
    ]
    assert container["resources"]["requests"][GPU] == container["resources"]["limits"][GPU] == "1"
    assert container["command"] == list(NVIDIA_SMI)
    assert {"key": GPU, "operator": "Exists"} in pod["spec"]["tolerations"]
    assert (pod["spec"]["restartPolicy"], pod["spec"]["activeDeadlineSeconds"]) == ("Never", 126)
    assert "runtimeClassName" not in pod["spec"]
    assert "imagePullSecrets" not in pod["spec"]


def test_a_pod_is_what_the_strictest_standard_wants() -> None:
    spec = manifest(SMI, "w1", 1)["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"volumes", "hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert spec["automountServiceAccountToken"] is False


def test_what_is_given_is_in_the_pod() -> None:
    smoke = Smoke(
        run="r",
        namespace="n",
        image="i",
        resource="nvidia.com/mig-1g.5gb",
        runtime_class="nvidia",
        pull_secrets=("a", "b"),
        tolerations=({"key": "team", "operator": "Exists"},),
        seconds=0.2,
    )
    spec = manifest(smoke, "w1", 1)["spec"]
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert spec["tolerations"][-1] == {"key": "team", "operator": "Exists"}
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/mig-1g.5gb"] == "1"
    assert spec["activeDeadlineSeconds"] == 6, "who waits for it is the first to give up"


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (CARD, [("NVIDIA A100-SXM4-40GB", "GPU-5d1f9f2e", 40960, "535.183.01", 3)]),
        (f"hello\n{CARD}\n\nGRID T4-1Q, MIG-1, 5, 470.57, [N/A]\n",
         [("NVIDIA A100-SXM4-40GB", "GPU-5d1f9f2e", 40960, "535.183.01", 3),
          ("GRID T4-1Q", "MIG-1", 5, "470.57", None)]),
        ("Orin (nvgpu), GPU-1, [Not Supported], 540.4.0, [Not Supported]",
         [("Orin (nvgpu)", "GPU-1", None, "540.4.0", None)]),
        ("Card, of two parts, GPU-1, 16, 535.1, 0", [("Card, of two parts", "GPU-1", 16, "535.1", 0)]),
        ("a, b, c, d, e", []),
        ("a, b, 1, 535.1", []),
        (", GPU-1, 1, 535.1, 0", []),
        ("No devices were found", []),
        ("", []),
    ],
)  # fmt: skip
def test_cards_that_are_named(printed: str, expected: list[tuple[object, ...]]) -> None:
    found = gpus(printed)
    assert [(gpu.name, gpu.uuid, gpu.memory_mib, gpu.driver, gpu.utilisation) for gpu in found] == expected
    json.dumps([gpu.as_dict() for gpu in found])


NAMES = st.text(st.characters(categories=["L", "N"], include_characters=" -()"), min_size=1).map(str.strip).filter(bool)


@given(
    name=NAMES,
    uuid=st.uuids(),
    memory=st.integers(0, 10**6),
    driver=st.tuples(st.integers(100, 999), st.integers(0, 999)),
    busy=st.none() | st.integers(0, 100),
)
def test_any_card_is_read_as_it_was_written(
    name: str, uuid: object, memory: int, driver: tuple[int, int], busy: int | None
) -> None:
    words = "[N/A]" if busy is None else str(busy)
    (gpu,) = gpus(f"{name}, GPU-{uuid}, {memory}, {driver[0]}.{driver[1]}, {words}")
    assert gpu.as_dict() == {
        "name": name,
        "uuid": f"GPU-{uuid}",
        "memory_mib": memory,
        "driver": f"{driver[0]}.{driver[1]}",
        "utilisation": busy,
    }


@given(st.text())
def test_any_output_is_borne(printed: str) -> None:
    outcome = ended(SMI, pod(0), printed.split("\n"), 1.0)
    assert outcome.ok is bool(outcome.gpus)
    assert len(outcome.said) <= 2000
    json.dumps(outcome.as_dict())


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("PATH=/bin\nNVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2\n", ["GPU-1", "GPU-2"]),
        ("export NVIDIA_VISIBLE_DEVICES='gpu-0'", ["gpu-0"]),
        ("NVIDIA_VISIBLE_DEVICES=\n", []),
        (CARD, []),
    ],
)
def test_devices_that_are_printed(printed: str, expected: list[str]) -> None:
    assert devices(printed) == expected


def pod(code: int | None = None, word: str = "", message: str = "", **more: Any) -> Document:
    """Return a pod of the test; one with an exit code has ended."""
    name = more.get("name", "gpu-smoke-abc-1")
    container: Document = {"name": "smoke", "image": "registry.example/debian:12", "restartCount": 0}
    if code is not None:
        container["state"] = {"terminated": {"exitCode": code, "reason": word or "Completed", "message": message}}
    elif "waiting" in more:
        container["state"] = {"waiting": {"reason": more["waiting"], "message": message}}
    else:
        container["state"] = {"running": {"startedAt": stamp(1)}}
    phase = more.get("phase", ("Failed" if code else "Succeeded") if code is not None else "Running")
    ready = "True" if phase == "Running" and "waiting" not in more else "False"
    status: Document = {
        "phase": phase,
        "containerStatuses": [container] if more.get("container", True) else [],
        "conditions": [{"type": "Ready", "status": ready, "reason": "ContainersNotReady", "message": "wait"}],
    }
    if "status" in more:
        status.update(more["status"])
    return {
        "metadata": {"name": name, "namespace": "training", "uid": name, "creationTimestamp": stamp(0)},
        "spec": {"nodeName": "w1", "activeDeadlineSeconds": 120},
        "status": status,
    }


def refused(word: str, message: str = "") -> Document:
    return pod(phase="Failed", container=False, status={"reason": word, "message": message})


NOT_INJECTED = 'failed to create containerd task: exec: "nvidia-smi": executable file not found in $PATH: unknown'
NO_DRIVER = "nvidia-container-cli: initialization error: nvml error: driver not loaded"


@pytest.mark.parametrize(
    ("smoke", "seen", "log", "code", "words"),
    [
        (SMI, pod(0), [CARD], "", ""),
        (SMI, pod(0), ["No devices were found"], "no_gpu", "nvidia-smi ended well and names no card: No devices were"),
        (SMI, pod(0), [], "no_gpu", "it printed nothing"),
        (SMI, pod(0), "kubelet: connection refused", "no_log", "could not be read: kubelet: connection refused"),
        (SMI, pod(9), ["NVIDIA-SMI has failed"], "exit_code", "exit code 9 (the driver is not loaded): NVIDIA-SMI has"),
        (SMI, pod(1), "gone", "exit_code", "ended with exit code 1: it printed nothing"),
        (SMI, pod(128, "StartError", NOT_INJECTED), [], "cannot_start", "has not put nvidia-smi into the container"),
        (SMI, pod(128, "StartError", NO_DRIVER), [], "cannot_start", "NVIDIA's runtime finds no driver"),
        (OTHER, pod(128, "StartError", NOT_INJECTED), [], "cannot_start", "give an image that has the program"),
        (OTHER, pod(128, "ContainerCannotRun"), [], "cannot_start", "ContainerCannotRun: see kubectl describe pod"),
        (ADDING, pod(0), ["[Vector addition]", "Test PASSED"], "", ""),
        (ADDING, pod(0), ["Test FAILED"], "unexpected_output", "its output lacks 'Test PASSED': Test FAILED"),
        (ADDING, pod(0), "gone", "no_log", "it ended well, and its log could not be read: gone"),
        (ADDING, pod(137, "OOMKilled"), [], "exit_code", "it took more than 1Gi of memory"),
        (ADDING, pod(9), ["a", "b", ""], "exit_code", "ended with exit code 9: b: see what it said"),
        (OTHER, pod(0), [], "", ""),
        (OTHER, pod(0), "gone", "", ""),
        (OTHER, pod(3), ["broken"], "exit_code", "exit code 3: broken"),
        (OTHER, refused("Evicted", "low on memory"), "gone", "evicted", "Evicted: low on memory"),
        (
            OTHER, refused("UnexpectedAdmissionError", "Allocate failed due to device gpu-0 is not healthy"), "gone",
            "refused_by_node", "see the device plugin's log",
        ),
        (OTHER, pod(137, status={"reason": "DeadlineExceeded"}), ["a"], "timeout", "did not end within 300 s"),
        (OTHER, pod(phase="Failed", container=False), "gone", "lost", "says nothing of its container"),
    ],
)  # fmt: skip
def test_how_a_pod_ended(smoke: Smoke, seen: Document, log: list[str] | str, code: str, words: str) -> None:
    outcome = ended(smoke, seen, log, 2.04)
    assert (outcome.ok, outcome.code) == (not code, code), outcome.reason
    assert words in outcome.reason
    assert bool(outcome.reason) is bool(code)
    assert outcome.as_dict()["seconds"] == 2.0


def test_a_verdict_has_the_same_keys_whatever_happened() -> None:
    outcomes = {
        "w2": out_of_time(OTHER, None, ["still here"], 300.0),
        "w3": out_of_time(OTHER, Trouble("starting", "w3 is making it", "see it"), "", 300.0),
        "w1": ended(SMI, pod(0), [CARD], 3.0),
    }
    told = verdict(outcomes)
    nodes = told["nodes"]
    assert isinstance(nodes, dict)
    assert (told["ok"], list(nodes)) == (False, ["w1", "w2", "w3"])
    keys = {"ok", "code", "reason", "gpus", "devices", "exit_code", "said", "seconds"}
    assert {frozenset(node) for node in nodes.values()} == {frozenset(keys)}
    assert (nodes["w1"]["exit_code"], nodes["w1"]["said"], nodes["w2"]["said"]) == (0, CARD, "still here")
    assert failed(outcomes) == (
        "the GPU's smoke test failed on 2 of 3 nodes:\n"
        "  w2: the program did not end within 300 s: give it more time (timeout_seconds), or see nvidia-smi on the "
        "node: a driver may hang\n"
        "  w3: not ended after 300 s: w3 is making it: see it"
    )
    assert failed({"w1": Outcome(True)}) == ""
    assert verdict({}) == {"ok": False, "nodes": {}}


def test_pods_whose_time_is_long_over_were_left_behind() -> None:
    over = BEGIN + 120 + LEFT_BEHIND_SECONDS
    assert left_behind([pod()], over) == []
    assert left_behind([pod()], over + 1) == ["gpu-smoke-abc-1"]
    assert left_behind([pod()], 0.0) == []


class FakeCluster:
    """What :class:`Run` asks of a cluster; a pod's story is told by a function of the looks at it, per node."""

    def __init__(self, stories: dict[str, Callable[[int], Document | None]]) -> None:
        self.stories = stories
        self.nodes = ("w1", "w2")
        self.pods: dict[str, Document] = {}
        self.looks = 0
        self.tried = 0
        self.stay = 0
        self.refuse: dict[str, ActionFailed] = {}
        self.break_at: dict[int, BaseException] = {}
        self.deleted: list[str] = []
        self.server_date = BEGIN + 10**6
        self.said = [CARD]
        self.old: list[Document] = []
        self.events: list[Document] = []

    def list(self, kind: str, _namespace: str = "", *, labels: str = "", fields: str = "") -> Listing:
        del fields
        if kind == "Node":
            return Listing([{"metadata": {"name": name}} for name in self.nodes], "1")
        if kind == "Event":
            return Listing(self.events, "1")
        if "run-id" not in labels:
            return Listing(self.old, "1")
        if self.deleted:
            self.stay -= 1
            if self.stay < 0:
                self.pods = {}
            return Listing(list(self.pods.values()), "1")
        self.looks += 1
        if self.looks in self.break_at:
            raise self.break_at[self.looks]
        found = []
        for name, made in self.pods.items():
            told = self.stories[made["metadata"]["annotations"]["dtf.cluster/node"]](self.looks)
            if told is not None:
                told["metadata"].update(name=name, uid=name)
                found.append(told)
        return Listing(found, "1")

    def apply(self, document: Document, *, dry_run: bool = False) -> Document:
        node = document["metadata"]["annotations"]["dtf.cluster/node"]
        if node in self.refuse:
            raise self.refuse[node]
        self.tried += dry_run
        if not dry_run:
            self.pods[document["metadata"]["name"]] = copy.deepcopy(document)
        return document

    def logs(self, _pod: str, _namespace: str, **_more: object) -> list[str]:
        return self.said

    def delete(self, _kind: str, name: str, _namespace: str) -> bool:
        self.old = [entry for entry in self.old if entry["metadata"]["name"] != name]
        return True

    def delete_collection(self, _kind: str, _namespace: str, *, labels: str) -> None:
        self.deleted.append(labels)


def run(cluster: FakeCluster, smoke: Smoke = SMI, nodes: tuple[str, ...] = ("w1", "w2")) -> tuple[Run, list[str]]:
    """Return a run and what it warns of; its clock goes on when somebody sleeps."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    told: list[str] = []
    clock = Clock(lambda: now[0], sleep)
    return Run(cluster, smoke, nodes, told.append, clock=clock), told  # type: ignore[arg-type]


def ends(look: int, code: int = 0) -> Callable[[int], Document]:
    return lambda now: pod(code) if now >= look else pod()


def stays(**more: Any) -> Callable[[int], Document]:
    return lambda _now: pod(**more)


def codes(made: Run) -> dict[str, str]:
    return {node: outcome.code for node, outcome in made.outcomes.items()}


def test_all_nodes_run_at_once_and_nothing_is_left() -> None:
    cluster = FakeCluster({"w1": ends(2), "w2": ends(5, 9)})
    cluster.old = [pod(name="gpu-smoke-old-1")]
    made, told = run(cluster)
    made.done()
    assert codes(made) == {"w1": "", "w2": "exit_code"}
    assert [made.outcomes[node].seconds for node in ("w1", "w2")] == [1.0, 4.0]
    assert cluster.deleted == ["app.kubernetes.io/name=dtf-gpu-smoke,dtf.cluster/run-id=abc"]
    assert (cluster.pods, cluster.old, told) == ({}, [], [])


def unschedulable() -> Document:
    text = (
        "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) didn't match Pod's node affinity/selector."
    )
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    return pod(phase="Pending", container=False, status={"conditions": [condition]})


def test_a_node_without_a_free_device_is_told_before_all_the_time_is_over() -> None:
    cluster = FakeCluster({"w1": ends(1), "w2": lambda _now: unschedulable()})
    made, _told = run(cluster)
    made.done()
    assert codes(made) == {"w1": "", "w2": "unschedulable"}
    assert "Insufficient nvidia.com/gpu" in made.outcomes["w2"].reason
    assert made.outcomes["w2"].seconds == UNSCHEDULABLE_SECONDS


def test_a_device_that_comes_free_in_time_is_taken() -> None:
    cluster = FakeCluster({"w1": lambda now: pod(0) if now > 20 else unschedulable()})
    made, _told = run(cluster, nodes=("w1",))
    made.done()
    assert codes(made) == {"w1": ""}


def test_an_image_that_nobody_has_ends_the_run_after_some_tries() -> None:
    waiting = stays(waiting="ImagePullBackOff", message="404 Not Found", phase="Pending")
    cluster = FakeCluster({"w1": waiting})
    about = {"kind": "Pod", "name": "gpu-smoke-abc-1", "uid": "gpu-smoke-abc-1"}
    event = {"metadata": {}, "involvedObject": about, "reason": "Pulling", "message": "Pulling", "count": 3}
    cluster.events = [event]
    made, _told = run(cluster, nodes=("w1",))
    made.done()
    assert codes(made) == {"w1": "image_pull"}
    assert "cannot pull image registry.example/debian:12 (3 tries)" in made.outcomes["w1"].reason
    assert made.outcomes["w1"].seconds == 3.0
    cluster = FakeCluster({"w1": waiting})
    made, _told = run(cluster, nodes=("w1",))
    made.done()
    assert made.outcomes["w1"].seconds == pytest.approx(120.4)


def test_a_program_that_does_not_end_is_told_with_what_it_said() -> None:
    cluster = FakeCluster({"w1": stays()})
    cluster.said = ["still here"]
    made, _told = run(cluster, nodes=("w1",))
    made.done()
    outcome = made.outcomes["w1"]
    assert (outcome.code, outcome.said) == ("timeout", "still here")
    assert cluster.deleted


def test_a_pod_that_somebody_takes_away_is_lost() -> None:
    cluster = FakeCluster({"w1": lambda now: pod() if now < 3 else None})
    made, _told = run(cluster, nodes=("w1",))
    made.done()
    assert codes(made) == {"w1": "lost"}


def test_what_the_api_server_refuses_is_that_nodes_outcome() -> None:
    cluster = FakeCluster({"w1": ends(1)})
    cluster.refuse = {"w2": ActionFailed("quota", "apply Pod: exceeded quota")}
    made, _told = run(cluster, nodes=("w1", "w2", "w9"))
    made.done()
    assert codes(made) == {"w9": "node_missing", "w2": "quota", "w1": ""}
    assert made.outcomes["w2"].reason == "apply Pod: exceeded quota"


@pytest.mark.parametrize(
    "error", [ActionFailed("unreachable", "gone"), KeyboardInterrupt(), SystemExit(143)], ids=["api", "key", "signal"]
)
def test_the_pods_go_also_where_the_run_is_broken_off(error: BaseException) -> None:
    cluster = FakeCluster({"w1": stays(), "w2": stays()})
    cluster.break_at = {3: error}
    made, _told = run(cluster)
    with pytest.raises(type(error)):
        made.done()
    assert cluster.pods == {}


def test_pods_go_also_where_only_some_could_be_made() -> None:
    cluster = FakeCluster({"w1": stays()})
    cluster.refuse = {"w2": ActionFailed("unreachable", "gone")}
    made, _told = run(cluster)
    with pytest.raises(ActionFailed, match="gone"):
        made.done()
    assert (cluster.deleted != [], cluster.pods) == (True, {})


def test_pods_that_do_not_go_are_told() -> None:
    cluster = FakeCluster({"w1": ends(1)})
    cluster.stay = 10**6
    made, told = run(cluster, nodes=("w1",))
    made.done()
    assert made.outcomes["w1"].ok
    (warning,) = told
    assert re.search(r"still going after 60 s \(gpu-smoke-abc-1\): see kubectl -n training delete pod -l", warning)


def test_check_mode_asks_and_stores_nothing() -> None:
    cluster = FakeCluster({})
    cluster.refuse = {"w2": ActionFailed("admission", "violates PodSecurity")}
    made, _told = run(cluster, nodes=("w1", "w2", "w9"))
    made.tried()
    assert codes(made) == {"w9": "node_missing", "w1": "", "w2": "admission"}
    assert (cluster.tried, cluster.pods, cluster.looks) == (1, {}, 0)
    cluster.refuse = {"w1": ActionFailed("unauthorized", "who are you")}
    with pytest.raises(ActionFailed, match="who are you"):
        run(cluster)[0].tried()


def arguments(**given: Any) -> Document:
    return {
        "namespace": "default",
        "nodes": ["w1"],
        "resource": GPU,
        "image": "registry.example/debian:12",
        "command": [],
        "expect": "",
        "runtime_class": "",
        "pull_secrets": [],
        "tolerations": [],
        "timeout_seconds": 300.0,
        **given,
    }


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, []),
        ({"command": ["sh"], "runtime_class": "nvidia", "tolerations": [{"operator": "Exists"}]}, []),
        ({"nodes": []}, ["nodes"]),
        ({"nodes": ["w1", "w1"]}, ["nodes"]),
        (
            {
                "namespace": "A", "nodes": ["W 1"], "resource": "gpu", "image": "", "command": [""], "expect": "(",
                "runtime_class": "-", "pull_secrets": ["a b"], "tolerations": [{}], "timeout_seconds": 0,
            },
            ["namespace", "nodes", "resource", "image", "command", "expect", "runtime_class", "pull_secrets",
             "tolerations", "timeout_seconds"],
        ),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_told_at_once(given: Document, fields: list[str]) -> None:
    assert [problem.field for problem in problems(arguments(**given))] == fields


def user(name: str, node: str, gpus: int, phase: str = "Running") -> Document:
    """Return a pod of somebody else with GPUs."""
    limits = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}} if gpus else {}
    status = {"phase": phase}
    return {
        "metadata": {"namespace": "training", "name": name},
        "spec": {"nodeName": node, "containers": [{"name": "a", **limits}, {"name": "b"}]},
        "status": status,
    }


@pytest.mark.parametrize(
    ("pods", "users"),
    [
        ([], []),
        ([user("one", "w1", 1)], []),
        ([user("one", "w1", 1), user("two", "w1", 1), user("ps", "w1", 0)], ["training/one", "training/two"]),
        ([user("both", "w1", 2)], ["training/both"]),
        ([user("both", "w2", 2)], []),
        ([user("one", "w1", 1), user("done", "w1", 1, "Succeeded")], []),
    ],
)
def test_a_node_is_busy_when_others_have_all_of_its_devices(pods: list[Document], users: list[str]) -> None:
    node = {"metadata": {"name": "w1"}, "status": {"allocatable": {"nvidia.com/gpu": "2"}}}
    assert busy(node, pods, "nvidia.com/gpu") == users
    # A node that offers nothing is not in use: it has something wrong with it.
    assert busy({**node, "status": {"allocatable": {}}}, [user("x", "w1", 0)], "nvidia.com/gpu") == []
