"""Objects to a cause: what a real cluster said of each fault, and a table of what it may say besides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.events import Event
from ansible_collections.dtf.cluster.plugins.module_utils.kube_causes import (
    AT_ONCE,
    BRIEF,
    LONG,
    RESOLVERS_MEMORY,
    SHORT,
    Cause,
    Patience,
    Suspicion,
    View,
    event_time,
    suspicions,
    told,
)
from ansible_collections.dtf.cluster.plugins.module_utils.pod_template import GPU
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

RECORDED = Path(__file__).parents[2] / "fixtures" / "pod_faults"
#: Seconds since the epoch at 2026-01-02T03:04:00Z, the moment of all objects here that do not say another.
NOW = 1767323040.0
STAMP = "2026-01-02T03:04:00Z"


def topology(workers: int = 1, **more: Any) -> Topology:
    given = {"name": "demo", "runtime": "kubernetes", "workers": {"replicas": workers}, "kubernetes": {"image": "x"}}
    return Topology.from_params({**given, **more})


def replay(name: str) -> tuple[Cause, float] | None:
    """Return what a recorded fault is believed to be, looked at every second, and how long that took."""
    recording = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    known: dict[str, dict[str, Any]] = {}
    patience, now, steps = Patience(), recording["created"], recording["steps"]
    # What stood in the end stays so for a while.
    moments = [*(step["now"] for step in steps[1:]), steps[-1]["now"] + 2 * SHORT]
    for step, until in zip(steps, moments, strict=True):
        now = max(now, step["now"])
        known.update({"{} {}".format(entry["kind"], entry["metadata"]["name"]): entry for entry in step["objects"]})
        known = {key: entry for key, entry in known.items() if key not in step.get("gone", ())}
        kinds = {kind: [entry for entry in known.values() if entry["kind"] in kind] for kind in KINDS}
        view = {"pods": kinds[("Pod",)], "sets": kinds["Job", "StatefulSet"], "events": kinds[("Event",)]}
        while now < until:
            cause = patience.judge(suspicions(topology(), View(**view, now=now)), now)
            if cause is not None:
                return cause, now - recording["created"]
            now += 1
    return None


KINDS = (("Pod",), ("Job", "StatefulSet"), ("Event",))


@pytest.mark.parametrize(
    ("fault", "reason", "about", "words"),
    [
        ("configmap_missing", "configuration", "Pod", 'configmap "nope" not found'),
        ("deadline", "deadline", "Job demo-chief", "active longer than specified deadline"),
        ("exit_1", "exit_1", "Pod", "ended by an error of its own (exit code 1)"),
        ("exit_64", "exit_64", "Pod", "refused its input (exit code 64)"),
        ("exit_66", "exit_66", "Pod", "found its data set missing or damaged (exit code 66)"),
        ("exit_75_limit", "restart_limit", "Job demo-chief", "worker-0 ended with exit code 75"),
        ("hostpath_type", "volume", "Pod", "/nope is not a directory"),
        ("image_denied", "image_pull", "Pod", "localhost:5051/nope:1"),
        ("image_name", "image_pull", "Pod", "InvalidImageName"),
        ("image_never", "image_pull", "Pod", "is not present with pull policy of Never"),
        ("image_no_host", "image_pull", "Pod", "no such host"),
        ("image_not_found", "image_pull", "Pod", "localhost:5050/nope:1: not found"),
        ("image_refused", "image_pull", "Pod", "connection refused"),
        ("no_command", "cannot_start", "Pod", "OCI runtime create failed"),
        ("nonroot", "configuration", "Pod", "runAsNonRoot"),
        ("oom", "out_of_memory", "Pod", "more memory than its limit of 32Mi"),
        ("podsecurity", "admission", "Job demo-chief", 'violates PodSecurity "restricted:latest"'),
        ("policy", "admission", "Job demo-chief", "every pod needs the annotation site/cost-centre"),
        ("pvc_class", "volume", "PersistentVolumeClaim demo-checkpoints", '"missing" not found'),
        ("pvc_missing", "volume", "Pod", 'persistentvolumeclaim "nope" not found'),
        ("pvc_unbound", "volume", "PersistentVolumeClaim demo-checkpoints", "no storage class is set"),
        ("quota", "quota", "Job demo-chief", "exceeded quota: small"),
        ("quota_cpu", "quota", "Job demo-chief", "limited: requests.cpu=500m"),
        ("secret_missing", "configuration", "Pod", 'secret "nope" not found'),
        ("segfault", "exit_1", "Pod", "exit code 1"),
        ("selector", "unschedulable", "Pod", "didn't match Pod's node affinity/selector"),
        ("storage_evicted", "evicted", "Pod", 'Usage of EmptyDir volume "v" exceeds the limit'),
        ("sts_exit_1", "exit_1", "Pod demo-chief-0", "exit code 1"),
        ("sts_image_not_found", "image_pull", "Pod demo-chief-0", "localhost:5050/nope:1: not found"),
        ("sts_podsecurity", "admission", "StatefulSet demo-chief", "violates PodSecurity"),
        ("sts_quota", "quota", "StatefulSet demo-chief", "exceeded quota: small"),
        ("too_big", "unschedulable", "Pod", "2 Insufficient cpu"),
        ("webhook_down", "admission", "Job demo-chief", 'failed calling webhook "down.example.org"'),
    ],
)
def test_what_a_cluster_said_of_a_fault(fault: str, reason: str, about: str, words: str) -> None:
    found = replay(fault)
    assert found is not None
    cause, seconds = found
    assert (cause.reason, cause.object.startswith(about), words in cause.message) == (reason, True, True), cause
    # The kubelet measures volumes once a minute; all else is known sooner than a user would have asked for it.
    assert seconds < (80 if fault == "storage_evicted" else 15)
    assert cause.next_step
    assert cause.task == (None if cause.object.endswith("demo-chief") else "worker-0")


@pytest.mark.parametrize("fault", ["exit_75", "killed", "exit_137", "exit_139", "sts_exit_0"])
def test_what_another_start_may_mend_is_waited_for(fault: str) -> None:
    assert replay(fault) is None


def test_every_recording_is_looked_at() -> None:
    marks = [mark for test in (test_what_a_cluster_said_of_a_fault, test_what_another_start_may_mend_is_waited_for)
             for mark in test.pytestmark]  # fmt: skip
    named = {entry if isinstance(entry, str) else entry[0] for mark in marks for entry in mark.args[1]}
    assert named == {path.stem for path in RECORDED.glob("*.json")}


def pod(component: str = "chief", index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a pod that runs, changed: ``state``, ``last``, ``restarts``, ``status``, ``metadata``, ``spec``."""
    name = f"demo-{component}-{index}"
    labels = {"app.kubernetes.io/component": component}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": STAMP}
    container = {
        "name": "trainer",
        "restartCount": more.get("restarts", 0),
        "state": more.get("state", {"running": {"startedAt": STAMP}}),
        "lastState": more.get("last", {}),
    }
    status = {"phase": "Running", "conditions": [scheduled], "containerStatuses": [container]}
    metadata = {"name": name, "uid": name + "-uid", "creationTimestamp": STAMP, "labels": labels}
    return {
        "kind": "Pod",
        "metadata": {**metadata, **more.get("metadata", {})},
        "spec": {"nodeName": "w1", "containers": [{"name": "trainer"}], **more.get("spec", {})},
        "status": {**status, **more.get("status", {})},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def unscheduled(message: str, **more: Any) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    status = {"phase": "Pending", "conditions": [condition], "containerStatuses": []}
    return pod(status=status, **{**more, "spec": {"nodeName": None, **more.get("spec", {})}})


def event(reason: str, message: str, kind: str = "Pod", name: str = "demo-chief-0", **more: Any) -> dict[str, Any]:
    about = {"kind": kind, "name": name, "uid": more.pop("uid", name + "-uid")}
    metadata = {"name": name + ".1", "creationTimestamp": STAMP}
    return {"metadata": metadata, "involvedObject": about, "reason": reason, "message": message, **more}


def a_set(kind: str = "Job", name: str = "demo-chief", **more: Any) -> dict[str, Any]:
    size = {"parallelism": 1} if kind == "Job" else {"replicas": 1}
    metadata = {"name": name, "uid": name + "-uid"}
    return {"kind": kind, "metadata": metadata, "spec": {**size, **more.pop("spec", {})}, "status": more}


def node(status: str = "True", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "w1"}, "status": {"conditions": [{"type": "Ready", "status": status, **more}]}}


def refused(message: str, **more: Any) -> dict[str, Any]:
    return {"pods": [], "sets": [a_set()], "events": [event("FailedCreate", message, "Job", "demo-chief", **more)]}


def found(view: dict[str, Any], **more: Any) -> list[Suspicion]:
    return suspicions(topology(**more), View(**{"pods": [], "sets": [], "now": NOW, **view}))


BACKED_OFF = 'Back-off pulling image "x"'
LOST = {"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy", "message": "m"}
GIVEN_UP = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}
STUCK = {"deletionTimestamp": "2026-01-02T03:03:30Z"}
PUT_OUT = "The node was low on resource: memory. Container trainer was using 9Mi, which exceeds its request of 0."


@pytest.mark.parametrize(
    ("view", "reason", "patience"),
    [
        # Images.
        ({"pods": [pod(**waiting("ErrImagePull", "x: not found"))]}, "image_pull", AT_ONCE),
        ({"pods": [pod(**waiting("ErrImagePull", "unexpected status: 401 Unauthorized"))]}, "image_pull", AT_ONCE),
        ({"pods": [pod(**waiting("ErrImagePull", "dial tcp: i/o timeout"))]}, "image_pull", LONG),
        ({"pods": [pod(**waiting("ErrImagePull", "429 Too Many Requests"))]}, "image_pull", LONG),
        ({"pods": [pod(**waiting("ErrImagePull", "x509: unknown authority"))]}, "image_pull", SHORT),
        ({"pods": [pod(**waiting("ImagePullBackOff", BACKED_OFF))]}, "image_pull", SHORT),
        (
            {
                "pods": [pod(**waiting("ImagePullBackOff", BACKED_OFF))],
                "events": [event("Failed", "Failed to pull image: 503 busy"), event("Failed", "Error: ErrImagePull")],
            },
            "image_pull",
            LONG,
        ),
        (
            {
                "pods": [pod(**waiting("ImagePullBackOff", BACKED_OFF))],
                "events": [event("Failed", "Failed to pull image: manifest unknown")],
            },
            "image_pull",
            AT_ONCE,
        ),
        # What a container needs.
        ({"pods": [pod(**waiting("CreateContainerConfigError", 'secret "s" not found'))]}, "configuration", BRIEF),
        ({"pods": [pod(**waiting("CreateContainerError", "context deadline exceeded"))]}, "configuration", LONG),
        ({"pods": [pod(**waiting("CreateContainerError", 'name "a" is reserved for "b"'))]}, "configuration", LONG),
        ({"pods": [pod(**waiting("RunContainerError", "no such file"))]}, "cannot_start", BRIEF),
        ({"pods": [pod(state=ended(128, "StartError", "no such file"))]}, "cannot_start", BRIEF),
        ({"pods": [pod(state=ended(128, "StartError", 'exec: "x": not found'))]}, "cannot_start", AT_ONCE),
        ({"pods": [pod(state=ended(128, "StartError", "context deadline exceeded"))]}, "cannot_start", LONG),
        (
            {
                "pods": [pod(**waiting("ContainerCreating"))],
                "events": [event("FailedAttachVolume", "Multi-Attach error for volume v")],
            },
            "volume",
            LONG,
        ),
        (
            {"pods": [pod(**waiting("ContainerCreating"))], "events": [event("FailedMount", "no such device")]},
            "volume",
            SHORT,
        ),
        (
            {"pods": [pod(**waiting("PodInitializing"))], "events": [event("FailedCreatePodSandBox", "cni: no")]},
            "sandbox",
            LONG,
        ),
        # Ends.
        ({"pods": [pod(state=ended(137, "OOMKilled"))]}, "out_of_memory", AT_ONCE),
        ({"pods": [pod(last=ended(137, "OOMKilled"), restarts=1)]}, "out_of_memory", AT_ONCE),
        ({"pods": [pod(**waiting("CrashLoopBackOff"), last=ended(139), restarts=2)]}, "crash_loop", AT_ONCE),
        ({"pods": [pod(**waiting("CrashLoopBackOff"), last=ended(75), restarts=5)]}, "restart_limit", AT_ONCE),
        ({"pods": [pod(state=ended(143), restarts=5)]}, "restart_limit", AT_ONCE),
        # Jobs.
        ({"sets": [a_set(conditions=[GIVEN_UP])]}, "restart_limit", AT_ONCE),
        ({"sets": [a_set(conditions=[LOST])]}, "job_failed", AT_ONCE),
        # Places.
        ({"pods": [unscheduled("0/3 nodes are available")]}, "unschedulable", SHORT),
        (
            {"pods": [unscheduled("0/3")], "events": [event("TriggeredScaleUp", "pod triggered scale-up")]},
            "unschedulable",
            10 * LONG,
        ),
        (
            {"pods": [unscheduled("0/3")], "events": [event("Preempted", "by p", name="demo-chief-0-x7k2p")]},
            "preempted",
            SHORT,
        ),
        (
            {"pods": [unscheduled("0/3")], "events": [event("Preempted", "by p", uid="of the pod before")]},
            "preempted",
            SHORT,
        ),
        ({"pods": [unscheduled("pod has unbound immediate PersistentVolumeClaims")]}, "volume", LONG),
        # Pods that are not made.
        (refused("exceeded quota: q"), "quota", SHORT),
        (refused("failed quota: q: must specify cpu"), "quota", SHORT),
        (refused('serviceaccount "s" not found'), "configuration", SHORT),
        (refused('Pod "x" is invalid: spec'), "admission", AT_ONCE),
        (refused("etcdserver: request timed out"), "cannot_create", SHORT),
        # Nodes.
        ({"pods": [pod()], "nodes": []}, "node_lost", SHORT),
        ({"pods": [pod()], "nodes": [node("Unknown", message="Kubelet stopped")]}, "node_lost", SHORT),
        ({"pods": [pod()], "events": [event("NodeNotReady", "Node is not ready")]}, "node_lost", SHORT),
        ({"pods": [pod(metadata=STUCK)], "nodes": [node()]}, "node_lost", SHORT),
        ({"pods": [pod(status={"reason": "NodeLost"})]}, "node_lost", SHORT),
        ({"pods": [pod(status={"phase": "Failed", "reason": "Evicted", "message": PUT_OUT})]}, "evicted", 2 * SHORT),
    ],
)
def test_a_cause_and_its_patience(view: dict[str, Any], reason: str, patience: float) -> None:
    suspicion, *others = found(view)
    assert (suspicion.cause.reason, suspicion.patience, others) == (reason, patience, [])
    assert suspicion.cause.message
    assert suspicion.cause.next_step


@pytest.mark.parametrize(
    "view",
    [
        {"pods": [pod()], "nodes": [node()]},
        {"pods": [pod(**waiting("ContainerCreating"))], "events": [event("Pulling", "Pulling image")]},
        {"pods": [pod(state=ended(0, "Completed"), restarts=9)]},
        {"pods": [pod(state=ended(75), restarts=4)]},
        {"pods": [pod(state=ended(143), restarts=5, metadata={"deletionTimestamp": STAMP})]},
        # A container that has run for a while has left behind what ended the one before.
        {"pods": [pod(last=ended(1), state={"running": {"startedAt": "2026-01-02T03:03:30Z"}})]},
        {"pods": [pod(status={"phase": "Succeeded"})], "nodes": []},
        {"pods": [pod(metadata={"deletionTimestamp": "2026-01-02T03:03:55Z"})], "nodes": [node()]},
        {"sets": [a_set(conditions=[{**GIVEN_UP, "status": "False"}])]},
        # Another pod's, another run's, another set's troubles.
        {"pods": [pod(**waiting("ContainerCreating"))], "events": [event("FailedMount", "m", uid="another")]},
        {"pods": [], "sets": [a_set()], "events": [event("FailedCreate", "forbidden", "Job", "demo-ps")]},
        # A set that has all its pods, wants none, or has made one since it could not.
        {**refused("exceeded quota"), "pods": [pod()]},
        {**refused("exceeded quota"), "sets": [a_set(spec={"suspend": True})]},
        {**refused("exceeded quota"), "sets": [a_set("StatefulSet", spec={"replicas": 0})]},
        {
            **refused("exceeded quota"),
            "events": [
                event("FailedCreate", "exceeded quota", "Job", "demo-chief"),
                event("SuccessfulCreate", "ok", "Job", "demo-chief", lastTimestamp="2026-01-02T03:04:01Z"),
            ],
        },
    ],
)
def test_nothing_is_wrong(view: dict[str, Any]) -> None:
    assert found(view) == []


@pytest.mark.parametrize(("state", "patience"), [({"running": {"startedAt": STAMP}}, SHORT), (ended(134), AT_ONCE)])
def test_a_device_that_is_lost_is_told_before_what_comes_of_it(state: dict[str, Any], patience: float) -> None:
    devices = [{"resourceID": "gpu-0", "health": "Unhealthy"}, {"resourceID": "gpu-1", "health": "Healthy"}]
    status = {"name": "trainer", "state": state, "allocatedResourcesStatus": [{"name": GPU, "resources": devices}]}
    running = pod(spec={"nodeName": "w1"}, status={"phase": "Running", "containerStatuses": [status]})
    first = found({"pods": [running]})[0]
    assert (first.cause.reason, first.patience) == ("device_lost", patience)
    assert "its device on node w1 is unhealthy: nvidia.com/gpu gpu-0" in first.cause.message
    devices[0]["health"] = "Healthy"
    assert "device_lost" not in [entry.cause.reason for entry in found({"pods": [running]})]


@pytest.mark.parametrize(
    "said",
    [
        'failed to get sandbox runtime: no runtime for "nvidia" is configured',
        "failed to find runtime handler nvidia from runtime list map[crun runc]",
    ],
    ids=["containerd", "CRI-O"],
)
def test_a_node_without_the_runtime_of_a_runtime_class_is_named(said: str) -> None:
    message = f"Failed to create pod sandbox: rpc error: code = Unknown desc = {said}"
    status = {"phase": "Pending", "containerStatuses": [{"name": "trainer", **waiting("ContainerCreating")}]}
    view = {
        "pods": [pod(spec={"nodeName": "w2"}, status=status)],
        "events": [event("FailedCreatePodSandBox", message)],
    }
    (only,) = found(view)
    assert (only.cause.reason, only.patience) == ("runtime_class", BRIEF)
    assert "node w2 lacks" in only.cause.next_step


def test_a_pod_that_was_pushed_out_long_ago_is_another_story() -> None:
    old = event("Preempted", "by p", name="demo-chief-0-old", lastTimestamp="2026-01-02T02:04:00Z")
    other = event("Preempted", "by p", name="demo-chief-01-x")
    (suspicion,) = found({"pods": [unscheduled("0/3")], "events": [old, other]})
    assert suspicion.cause.reason == "unschedulable"


def test_what_tells_most_of_the_origin_comes_first() -> None:
    """A node that is lost explains pods that end, and those explain a Job that has failed."""
    view = {
        "pods": [pod(state=ended(1)), pod("ps", **waiting("ErrImagePull", "not found"))],
        "sets": [a_set(conditions=[GIVEN_UP])],
        "nodes": [],
    }
    causes = [suspicion.cause for suspicion in found(view)]
    assert [(cause.reason, cause.task) for cause in causes] == [
        ("node_lost", "worker-0"),
        ("node_lost", "ps-0"),
        ("exit_1", "worker-0"),
        ("restart_limit", None),
        ("image_pull", "ps-0"),
    ]
    # But what is certain is told before what may pass.
    judged = Patience().judge(found(view), 0)
    assert judged is not None
    assert judged.reason == "exit_1"


def trainer(name: str, role: str, index: int, **fields: Any) -> Event:
    return Event(name, "r", role, index, 0, NOW, 5.0, fields)


def test_tasks_that_run_and_do_not_reach_each_other() -> None:
    address = "demo-ps-0.demo-ps.default.svc:8000"
    chief = trainer("waiting", "worker", 0, address=address, message="timed out")
    serving = trainer("serving", "ps", 0)
    pods = [pod("ps"), pod()]
    (suspicion,) = found({"pods": pods, "trainer": [serving, chief]})
    cause = suspicion.cause
    assert (cause.reason, cause.task, suspicion.patience) == ("no_connection", "worker-0", SHORT)
    assert f"cannot reach ps-0 at {address}" in cause.message
    assert "kubectl -n default get service,endpointslice,networkpolicy" in cause.next_step
    # A ps that does not serve yet, a pod that is not there yet, a wait that is over: all that is normal.
    assert found({"pods": pods, "trainer": [chief]}) == []
    assert found({"pods": pods[1:], "trainer": [serving, chief]}) == []
    assert found({"pods": pods, "trainer": [serving, chief, trainer("connected", "worker", 0)]}) == []
    # One that was there before: its node was booted, and the network's programs come after the pods.
    (again,) = found({"pods": pods, "trainer": [serving, trainer("connected", "worker", 0), chief]})
    assert (again.cause.reason, again.patience) == ("no_connection", LONG)


def test_a_task_that_its_parameter_servers_do_not_reach() -> None:
    address = "demo-chief-0.demo-chief.default.svc:9000"
    waiting = trainer("waiting", "worker", 0, address=address, message="connect() timed out")
    events = [trainer("serving", "ps", 0), trainer("serving", "worker", 0), waiting]
    pods = [pod("ps"), pod()]
    (suspicion,) = found({"pods": pods, "trainer": events})
    assert (suspicion.cause.reason, suspicion.cause.task, suspicion.patience) == ("no_connection", "worker-0", LONG)
    assert f"its parameter servers cannot reach it at {address}: connect() timed out" in suspicion.cause.message
    assert "networkpolicy" in suspicion.cause.next_step
    assert found({"pods": pods, "trainer": [*events, trainer("reached", "worker", 0, address=address)]}) == []


@pytest.mark.parametrize(
    ("address", "tried", "said", "patience"),
    [
        # Another port than the peer's: its host still tells whom it means.
        ("demo-ps-0.demo-ps.default.svc:1", "refused", "cannot reach ps-0", BRIEF),
        ("nobody.demo-ps:8000", "[Errno -2] Name or service not known", "which is the address of no task", BRIEF),
        # A name server may remember that the name was unknown before the pod was there.
        ("demo-ps-0.demo-ps.default.svc:8000", "[Errno -2] Name or service not known", "ps-0", RESOLVERS_MEMORY),
        ("demo-ps-0.demo-ps.default.svc:8000", "[Errno -5] No address associated", "ps-0", RESOLVERS_MEMORY),
        ("demo-ps-0.demo-ps.default.svc:8000", "[Errno -3] Temporary failure in name resolution", "ps-0", SHORT),
    ],
)
def test_what_a_task_waits_for_tells_how_long_it_may(address: str, tried: str, said: str, patience: float) -> None:
    chief = trainer("waiting", "worker", 0, address=address, message=tried)
    pods = [pod("ps"), pod()]
    (suspicion,) = found({"pods": pods, "trainer": [trainer("serving", "ps", 0), chief]})
    assert said in suspicion.cause.message
    assert tried in suspicion.cause.message
    assert suspicion.patience == patience
    assert found({"pods": pods, "trainer": [chief]}) == []
    reached = trainer("reached", "worker", 0, address=address)
    assert found({"pods": pods, "trainer": [trainer("serving", "ps", 0), chief, reached]}) == []


@pytest.mark.parametrize(
    ("up_for", "before", "message", "reasons"),
    [
        (60, [], "ps a:1 not reached in 60 s: timed out", ["no_connection"]),
        # The parameter server was late, or is not there yet: the next attempt finds it.
        (2, [], "ps a:1 not reached in 60 s: timed out", []),
        (None, [], "ps a:1 not reached in 60 s: timed out", []),
        (60, ["connected"], "ps a:1 not reached in 60 s: timed out", []),
        (60, [], "waited too long for worker-1", []),
    ],
)
def test_a_peer_that_was_never_reached(
    up_for: float | None, before: list[str], message: str, reasons: list[str]
) -> None:
    serving = [] if up_for is None else [replace(trainer("serving", "ps", 0), wall=NOW - up_for)]
    said = [trainer(name, "worker", 0) for name in before] + [trainer("peer_lost", "worker", 0, message=message)]
    seen = found({"pods": [pod("ps"), pod()], "trainer": serving + said})
    assert [entry.cause.reason for entry in seen] == reasons


def suspicion(reason: str, patience: float, task: str | None = "ps-0", message: str = "") -> Suspicion:
    return Suspicion(Cause(reason, task, "Pod p", message, ""), patience)


def test_a_suspicion_must_last() -> None:
    patience = Patience()
    for now, believed in ((10.0, False), (16.9, False), (17.0, True)):
        # The words may change meanwhile.
        assert (patience.judge([suspicion("volume", SHORT, message=str(now))], now) is not None) == believed


def test_what_passes_begins_anew() -> None:
    patience = Patience()
    assert patience.judge([suspicion("volume", SHORT)], 0) is None
    assert patience.judge([], 6) is None
    assert patience.judge([suspicion("volume", SHORT)], 7) is None
    assert patience.judge([suspicion("volume", SHORT, "worker-0")], 14) is None
    assert patience.judge([suspicion("volume", SHORT, "worker-0")], 21) is not None


def test_the_first_that_has_lasted_is_believed() -> None:
    judged = Patience().judge([suspicion("node_lost", SHORT), suspicion("a", AT_ONCE), suspicion("b", AT_ONCE)], 0)
    assert judged is not None
    assert judged.reason == "a"


@pytest.mark.parametrize(
    ("stamps", "second"),
    [
        ({"series": {"lastObservedTime": "2026-01-02T03:04:09.500000Z"}, "lastTimestamp": STAMP}, 9.5),
        ({"lastTimestamp": "2026-01-02T03:04:05Z", "eventTime": "2026-01-02T03:04:01Z"}, 5),
        ({"lastTimestamp": None, "eventTime": "2026-01-02T03:04:01.250000Z"}, 1.25),
        ({"firstTimestamp": "2026-01-02T03:04:02Z"}, 2),
        ({}, 0),
    ],
)
def test_when_an_event_was(stamps: dict[str, Any], second: float) -> None:
    assert event_time(event("Pulled", "m", **stamps)) == NOW + second


def test_a_cause_carries_the_newest_events_of_its_object() -> None:
    events = [event("Failed", f"{n}", lastTimestamp=f"2026-01-02T03:04:0{n}Z", count=n) for n in (7, 3, 1, 5, 9, 8)]
    (suspicion,) = found({"pods": [pod(state=ended(1))], "events": events})
    document = suspicion.cause.as_dict()
    assert [entry["message"] for entry in document["events"]] == ["3", "5", "7", "8", "9"]
    assert document["events"][-1] == {
        "event": "Failed", "object": "Pod demo-chief-0", "type": None, "count": 9, "wall": NOW + 9, "message": "9",
    }  # fmt: skip
    assert told(event("Pulled", "m"))["count"] == 1
    json.dumps(document)
