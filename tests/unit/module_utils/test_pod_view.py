"""A pod as the API shows it, as a table of what it says and what that means."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.pod_view import End, newest, seconds
from tests.unit.module_utils.pod_samples import BEGIN, DIGEST, ended, pod, stamp, topology, view, views


def test_which_task_a_pod_is() -> None:
    """A Job says the index, a StatefulSet ends the name with it; worker pods begin after the chief."""
    labelled, annotated, other = pod("worker"), pod("worker"), pod("ps")
    labelled["metadata"].update(name="demo-worker-1-x2k9p", uid="1")
    labelled["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = "1"
    annotated["metadata"].update(name="demo-worker-2-0", uid="2")
    annotated["metadata"]["annotations"] = {"batch.kubernetes.io/job-completion-index": "2"}
    other["metadata"]["labels"]["app.kubernetes.io/component"] = "another"
    strange = pod("chief")
    strange["metadata"]["name"] = "demo-chief-debug"
    found = views(topology(4), labelled, annotated, other, strange, pod("worker", index=9), pod("chief"))
    assert [(entry.name, entry.task.name) for entry in found] == [
        ("demo-chief-0", "worker-0"),
        ("demo-worker-1-x2k9p", "worker-2"),
        ("demo-worker-2-0", "worker-3"),
    ]


def test_the_last_one_made_stands_for_its_task() -> None:
    found = views(topology(), pod("chief", created=30, uid="b"), pod("chief", created=2, uid="a"), pod("ps"))
    assert [entry.uid for entry in found] == ["demo-ps-0", "a", "b"]
    assert {name: entry.uid for name, entry in newest(found).items()} == {"ps-0": "demo-ps-0", "worker-0": "b"}


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        ({}, {"running": True, "waiting": ("", ""), "end": None, "ends": [], "started": BEGIN + 3, "restarts": 0}),
        ({"state": {"waiting": {"reason": "R", "message": "m"}}}, {"running": False, "waiting": ("R", "m")}),
        ({"state": {"running": {}}}, {"running": True, "started": None}),
        ({"bound": None}, {"scheduled": None, "node": ""}),
        ({"created": 5, "bound": 7}, {"created": BEGIN + 5, "scheduled": BEGIN + 7, "node": "w1"}),
        ({"phase": "Failed"}, {"phase": "Failed", "reason": "", "message": "", "terminating": False, "ready": False}),
        ({}, {"image_digest": DIGEST}),
    ],
)
def test_what_it_says(more: dict[str, Any], facts: dict[str, Any]) -> None:
    shown = view("chief", **more)
    assert {name: getattr(shown, name) for name in facts} == facts


def test_how_containers_ended() -> None:
    shown = view("chief", state=ended(0, 8, 9, "Completed"), last=ended(75, 3, 6), restarts=1)
    before, now = End(75, "Error", "", BEGIN + 3, BEGIN + 6), End(0, "Completed", "", BEGIN + 8, BEGIN + 9)
    assert (shown.previous_end, shown.end, shown.ends, shown.running) == (before, now, [before, now], False)
    waits = view("chief", state={"waiting": {"reason": "CrashLoopBackOff"}}, last=ended(139), restarts=2)
    assert (waits.end, [end.exit_code for end in waits.ends]) == (None, [139])


def test_a_pod_that_was_only_just_made_says_next_to_nothing() -> None:
    bare = pod("ps")
    del bare["status"]
    del bare["spec"]
    (shown,) = views(topology(), bare)
    facts = (shown.phase, shown.node, shown.scheduled, shown.restarts, shown.running, shown.ends, shown.image_digest)
    assert facts == ("Pending", "", None, 0, False, [], None)


@pytest.mark.parametrize(
    ("text", "second"),
    [
        (stamp(5), BEGIN + 5),
        ("2026-01-02T03:04:00.250000Z", BEGIN + 0.25),
        ("2026-01-02T03:04:00.5Z", BEGIN + 0.5),
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-01-02T03:04:00+01:00", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_stamp(text: object, second: float | None) -> None:
    assert seconds(text) == second
