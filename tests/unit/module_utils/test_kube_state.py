"""Live objects to what is known of a topology, as a truth table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import task_sets
from ansible_collections.dtf.cluster.plugins.module_utils.kube_labels import (
    ANNOTATION_OUTCOME,
    ANNOTATION_RUN,
    ANNOTATION_SPEC,
    LABEL_COMPONENT,
    LABEL_RUN_ID,
)
from ansible_collections.dtf.cluster.plugins.module_utils.kube_state import Live, memory, observed, working
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

BACKENDS = ("indexed_job", "statefulset")


def topology(backend: str, **kubernetes: Any) -> Topology:
    given = {"image": "x", "backend": backend, **kubernetes}
    return Topology.from_params({"name": "demo", "runtime": "kubernetes", "kubernetes": given})


def config_map(wanted: Topology, outcome: dict[str, Any] | None = None, finished: str = "") -> dict[str, Any]:
    run = {"run_id": "r2", "created": 5.0, "candidates": ["r1"], "resumed_from": "r1"}
    annotations = {ANNOTATION_SPEC: json.dumps(wanted.as_dict()), ANNOTATION_RUN: json.dumps(run)}
    if outcome is not None:
        annotations[ANNOTATION_OUTCOME] = json.dumps(outcome)
    return {
        "kind": "ConfigMap",
        "metadata": {"name": "demo", "annotations": annotations},
        "data": {"finished": finished},
    }


def a_set(component: str, backend: str, run_id: str = "r2", rests: bool = False, ended: str = "") -> dict[str, Any]:
    spec = {"suspend": rests} if backend == "indexed_job" else {"replicas": 0 if rests else 1}
    conditions = [{"type": ended, "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}] if ended else []
    labels = {LABEL_COMPONENT: component, LABEL_RUN_ID: run_id}
    return {
        "kind": "Job" if backend == "indexed_job" else "StatefulSet",
        "metadata": {"name": f"demo-{component}", "labels": labels},
        "spec": spec,
        "status": {"conditions": conditions},
    }


def pod(component: str, phase: str = "Running", restarts: int = 0, **state: Any) -> dict[str, Any]:
    status = {"name": "trainer", "restartCount": restarts, "state": state or {"running": {"startedAt": "x"}}}
    return {
        "kind": "Pod",
        "metadata": {"name": f"demo-{component}-0", "uid": component, "labels": {LABEL_COMPONENT: component}},
        "spec": {"nodeName": "w1"},
        "status": {"phase": phase, "containerStatuses": [status]},
    }


def live(wanted: Topology | None, sets: list[dict[str, Any]], pods: list[dict[str, Any]], **memory: Any) -> Live:
    found = [config_map(wanted, **memory)] if wanted else []
    return Live("demo", "default", {"ConfigMap": found, "Job": sets, "StatefulSet": [], "Pod": pods})


PARTS = ("ps", "chief", "worker")
PODS = [pod(part) for part in PARTS]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({}, "running"),
        ({"pods": []}, "running"),
        ({"resting": PARTS}, "stopping"),
        ({"resting": PARTS, "pods": []}, "stopped"),
        ({"resting": PARTS, "pods": [pod("ps", "Succeeded"), pod("chief", "Failed")]}, "stopped"),
        ({"resting": ("chief",)}, "stopping"),
        ({"parts": ("ps", "worker")}, "lost"),
        ({"parts": ()}, "lost"),
        ({"run_id": "r1"}, "lost"),
        ({"finished": "r2"}, "succeeded"),
        ({"finished": "r1"}, "running"),
        ({"outcome": {"run_id": "r2", "phase": "failed", "cause": {"reason": "x"}}}, "failed"),
        ({"outcome": {"run_id": "r2", "phase": "succeeded"}, "parts": (), "pods": []}, "succeeded"),
        ({"outcome": {"run_id": "r1", "phase": "failed"}}, "running"),
    ],
)
def test_a_phase(backend: str, change: dict[str, Any], phase: str) -> None:
    given = {"resting": (), "parts": PARTS, "pods": PODS, "run_id": "r2", **change}
    sets = [a_set(part, backend, given["run_id"], part in given["resting"]) for part in given["parts"]]
    said = {name: given[name] for name in ("outcome", "finished") if name in given}
    state = observed(live(topology(backend), sets, given["pods"], **said))
    assert state.phase == phase
    assert (state.host, state.run_id, state.created) == ("kubernetes", "r2", 5.0)
    assert state.resumed_from == {"run_id": "r1", "global_step": None}


@pytest.mark.parametrize(
    ("ends", "phase", "reason"),
    [
        (("Complete", "Complete", "Complete"), "succeeded", None),
        (("", "Complete", "Complete"), "running", None),
        (("Complete",), "succeeded", None),
        (("", "Failed", ""), "failed", "restart_limit"),
        (("", "Complete", "Failed"), "failed", "restart_limit"),
    ],
)
def test_jobs_that_end(ends: tuple[str, ...], phase: str, reason: str | None) -> None:
    sets = [a_set(part, "indexed_job", ended=ended) for part, ended in zip(PARTS, ends, strict=False)]
    state = observed(live(topology("indexed_job"), sets, []))
    assert (state.phase, state.cause and state.cause["reason"]) == (phase, reason)


def test_a_pod_that_is_started_again_and_again() -> None:
    """A StatefulSet would go on for ever."""
    ended = {"waiting": {"reason": "CrashLoopBackOff"}}
    sets = [a_set(part, "statefulset") for part in PARTS]
    for restarts, phase in ((5, "running"), (6, "failed")):
        pods = [pod("ps"), pod("chief"), pod("worker", "Running", restarts, **ended)]
        assert observed(live(topology("statefulset"), sets, pods)).phase == phase


def test_nothing_at_all_and_what_an_interrupted_removal_left() -> None:
    assert observed(live(None, [], [])).phase == "absent"
    left = observed(live(None, [a_set("ps", "indexed_job")], []))
    assert (left.phase, left.spec, left.run_id) == ("lost", None, None)


def test_tasks_are_told_as_a_supervisor_tells_them() -> None:
    sets = [a_set(part, "indexed_job") for part in PARTS]
    ended = {"terminated": {"exitCode": 75, "reason": "Error"}}
    pods = [
        pod("ps"),
        pod("chief", "Pending", waiting={"reason": "ImagePullBackOff"}),
        pod("worker", "Running", 2, **ended),
    ]
    state = observed(live(topology("indexed_job"), sets, pods))
    told = [(task["role"], task["index"], task["state"], task["reason"], task["restarts"]) for task in state.tasks]
    assert told == [
        ("ps", 0, "running", None, 0),
        ("worker", 0, "waiting", "ImagePullBackOff", 0),
        ("worker", 1, "backoff", "Error", 2),
    ]
    assert [(task["exit_code"], task["pod"], task["node"]) for task in state.tasks][2] == (75, "demo-worker-0", "w1")


@pytest.mark.parametrize(
    ("source", "keeps"),
    [
        ({"emptyDir": {}}, False),
        ({"ephemeral": {}}, False),
        ({"claim": {"size": "1Gi"}}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, True),
        ({"hostPath": {"path": "/c"}}, True),
        ({"nfs": {"server": "s", "path": "/p"}}, True),
    ],
)
def test_what_keeps_a_checkpoint(source: dict[str, Any], keeps: bool) -> None:
    state = observed(live(topology("indexed_job", volumes={"checkpoints": source}), [], []))
    assert state.checkpoint_run_id == ("r2" if keeps else None)


@pytest.mark.parametrize("damage", ["spec", "run", "annotations"])
def test_a_damaged_memory_is_told(damage: str) -> None:
    document = config_map(topology("indexed_job"))
    annotations = document["metadata"]["annotations"]
    if damage == "annotations":
        del document["metadata"]["annotations"]
    else:
        annotations[{"spec": ANNOTATION_SPEC, "run": ANNOTATION_RUN}[damage]] = "{"
    with pytest.raises(ActionFailed, match="state: absent"):
        memory(document)


def test_sets_that_have_ended_or_rest_do_not_work() -> None:
    sets = [
        a_set("ps", "indexed_job"),
        a_set("chief", "indexed_job", ended="Complete"),
        a_set("worker", "indexed_job", rests=True),
    ]
    assert [entry["metadata"]["name"] for entry in working(live(None, sets, []))] == ["demo-ps"]
    assert len(task_sets(topology("indexed_job"))) == 3
