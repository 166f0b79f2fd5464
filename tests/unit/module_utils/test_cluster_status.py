"""What is not ready, and what never will be, from the API's own objects."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.cluster_status import (
    MANY_RESTARTS,
    Waiting,
    settled,
    verdict,
    waiting,
)

NOT_YET_READ = "services have not yet been read at least once, cannot construct envvars"


def node(name: str, status: str | None = "True", message: str = "") -> dict[str, Any]:
    conditions = (
        [{"type": "Ready", "status": status, "reason": "KubeletNotReady", "message": message}] if status else []
    )
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def pod(name: str = "coredns", phase: str = "Running", *, ready: str = "True", **container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "w1"},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": ready, "reason": "ContainersNotReady", "message": "wait"}],
            "containerStatuses": [{"name": "c", "restartCount": 0, "state": {"running": {}}, **container}],
        },
    }


def told(nodes: list[Any], pods: list[Any], expected: list[str]) -> list[str]:
    return [str(item) for item in waiting(nodes, pods, expected)]


def test_a_ready_cluster_waits_for_nothing() -> None:
    assert waiting([node("cp1"), node("w1")], [pod()], ["cp1", "w1"]) == []


def test_a_finished_pod_is_not_waited_for() -> None:
    assert waiting([node("w1")], [pod(phase="Succeeded", ready="False")], ["w1"]) == []


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], ["node w1: has not registered"]),
        ([node("w1", None)], ["node w1: has not reported yet"]),
        ([node("w1", "False", "cni plugin not initialized")], ["node w1: KubeletNotReady: cni plugin not initialized"]),
        ([node("w1", "Unknown")], ["node w1: KubeletNotReady"]),
    ],
)
def test_a_node_says_why_it_is_not_ready(nodes: list[Any], expected: list[str]) -> None:
    assert told(nodes, [pod()], ["w1"]) == expected


def test_a_node_that_was_not_asked_for_is_not_waited_for() -> None:
    assert waiting([node("w1"), node("theirs", "False")], [pod()], ["w1"]) == []


def test_no_pods_at_all_is_not_ready() -> None:
    assert told([node("w1")], [], ["w1"]) == ["system pods: none has been made"]


@pytest.mark.parametrize(
    ("container", "hopeless", "words"),
    [
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, False, "c: ContainerCreating"),
        (
            {"state": {"waiting": {"reason": "ErrImageNeverPull", "message": "x is not here"}}},
            True, "c: ErrImageNeverPull: x is not here",
        ),
        (
            {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}}},
            True, 'c: CreateContainerConfigError: secret "s" not found',
        ),
        # A kubelet that has just been started says so of each pod that it finds.
        (
            {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": NOT_YET_READ}}},
            False, f"c: CreateContainerConfigError: {NOT_YET_READ}",
        ),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, "restartCount": 2,
             "lastState": {"terminated": {"exitCode": 1}}},
            False, "c: CrashLoopBackOff: back-off (ended with 1, 2 restarts)",
        ),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": MANY_RESTARTS},
            True, "c: CrashLoopBackOff",
        ),
    ],
)  # fmt: skip
def test_a_container_that_waits_says_why_and_whether_for_good(
    container: dict[str, Any], hopeless: bool, words: str
) -> None:
    (found,) = waiting([node("w1")], [pod(ready="False", **container)], ["w1"])
    assert (found.subject, found.cause, found.hopeless) == ("pod coredns on w1", words, hopeless)


def test_a_pod_nobody_places_says_what_the_scheduler_said() -> None:
    pending = {
        "metadata": {"name": "coredns"},
        "spec": {},
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes available"}
            ],
        },
    }
    assert told([node("w1")], [pending], ["w1"]) == ["pod coredns: Unschedulable: 0/1 nodes available"]


SLOW = Waiting("node w1", "has not reported yet")
LOST = Waiting("pod coredns on w1", "ErrImageNeverPull", hopeless=True)


@pytest.mark.parametrize(("found", "over"), [([], True), ([SLOW], False), ([SLOW, LOST], True)])
def test_waiting_is_over_where_nothing_is_left_or_something_is_for_good(found: list[Waiting], over: bool) -> None:
    assert settled(found) is over


def test_what_is_for_good_is_told_alone() -> None:
    assert verdict([SLOW], 60.4) == ("not ready after 60 s", ["node w1: has not reported yet"])
    assert verdict([SLOW, LOST], 8) == (
        "not ready, and waiting is of no use",
        ["pod coredns on w1: ErrImageNeverPull"],
    )
