"""Desired against live, as a truth table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import drift
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from ansible_collections.dtf.cluster.plugins.module_utils.status import HostState

GOOD: dict[str, Any] = {
    "name": "t",
    "hosts": [{"name": "a", "address": "x"}, {"name": "b", "address": "y"}],
    "python": "/p",
    "data_dir": "/d",
    "root": "/r",
}
BASE = Topology.from_params(GOOD)
UP = {"role": "worker", "index": 0, "state": "running"}
DONE = {"role": "worker", "index": 0, "state": "done"}


def seen(host: str, phase: str, checkpoint: str | None = "r1") -> HostState:
    """Return what a host sees of run r1 in a phase, and the run whose checkpoint lies there."""
    if phase == "absent":
        return HostState(host=host, name="t")
    tasks = (UP,) if phase == "running" else (DONE,)
    return HostState(
        host=host, name="t", phase=phase, run_id="r1", spec=BASE.as_dict(), tasks=tasks, checkpoint_run_id=checkpoint
    )


@pytest.mark.parametrize(
    ("phases", "action", "resumes"),
    [
        (("absent", "absent"), "start", None),
        (("running", "running"), "none", None),
        (("succeeded", "succeeded"), "none", None),
        (("succeeded", "running"), "none", None),
        (("stopped", "stopped"), "resume", "r1"),
        (("failed", "stopped"), "resume", "r1"),
        (("lost", "lost"), "resume", "r1"),
        (("running", "lost"), "reroll", "r1"),
        (("running", "absent"), "reroll", "r1"),
        (("failed", "running"), "reroll", "r1"),
    ],
)
def test_an_unchanged_topology(phases: tuple[str, str], action: str, resumes: str | None) -> None:
    plan = drift.plan_present(BASE, [seen("a", phases[0]), seen("b", phases[1])])
    assert (plan.action, plan.resume_run_id) == (action, resumes)
    assert plan.changes is (action != "none")
    assert plan.reason


@pytest.mark.parametrize(
    ("change", "field", "resumes"),
    [
        ({"workers": {"replicas": 3}}, "workers.replicas", True),
        ({"ps": {"replicas": 2}}, "ps.replicas", True),
        ({"training": {"steps": 9}}, "training.steps", True),
        ({"training": {"communication_interval": 5}}, "training.communication_interval", True),
        ({"python": "/q"}, "python", True),
        ({"training": {"hidden_units": 5}}, "training.hidden_units", False),
        ({"training": {"dataset": "custom"}}, "training.dataset", False),
        ({"run_label": "x"}, "run_label", False),
    ],
)
@pytest.mark.parametrize("phase", ["running", "succeeded", "stopped"])
def test_a_change_is_named_and_continues_what_fits(
    change: dict[str, Any], field: str, resumes: bool, phase: str
) -> None:
    desired = Topology.from_params({**GOOD, **change})
    plan = drift.plan_present(desired, [seen("a", phase), seen("b", phase)])
    expected = "reroll" if phase == "running" else ("resume" if resumes else "start")
    assert (plan.action, plan.resume_run_id) == (expected, "r1" if resumes else None)
    assert [difference.field for difference in plan.differences] == [field]
    assert field in plan.reason
    assert ("begins anew" in plan.reason) is not resumes
    assert plan.stop == (("worker-0", "worker-0") if phase == "running" else ())
    assert plan.start[0] == "ps-0"


@pytest.mark.parametrize(
    ("phase", "checkpoint", "action", "resumes"),
    [
        ("failed", "r1", "resume", "r1"),
        ("failed", "r0", "resume", "r0"),  # it never came to a checkpoint of its own
        ("failed", None, "start", None),
        ("lost", None, "start", None),
        ("running", None, "reroll", "r1"),  # it will write one when it is stopped
    ],
)
def test_a_plan_continues_the_checkpoint_there_is(
    phase: str, checkpoint: str | None, action: str, resumes: str | None
) -> None:
    plan = drift.plan_present(replace(BASE, python="/q"), [seen("a", phase, checkpoint), seen("b", phase, None)])
    assert (plan.action, plan.resume_run_id) == (action, resumes)


@pytest.mark.parametrize("phase", ["running", "succeeded"])
@pytest.mark.parametrize("change", [{"lifecycle": {"restart_limit": 1}}, {"workers": {"memory_mb": 1}}])
def test_what_does_not_make_the_run_is_an_update(phase: str, change: dict[str, Any]) -> None:
    plan = drift.plan_present(Topology.from_params({**GOOD, **change}), [seen("a", phase), seen("b", phase)])
    assert (plan.action, plan.starts) == ("update", False)


def test_a_name_of_another_owner_is_refused() -> None:
    with pytest.raises(ActionFailed, match="claimed by 'site'") as caught:
        drift.plan_present(replace(BASE, owner="benchmark"), [seen("a", "stopped"), seen("b", "stopped")])
    assert caught.value.code == "name_claimed"


def test_the_chief_does_not_move_away_from_its_checkpoint() -> None:
    moved = replace(BASE, hosts=BASE.hosts[::-1])
    states = [seen("b", "stopped"), seen("a", "stopped")]
    with pytest.raises(ActionFailed, match="keep a first"):
        drift.plan_present(moved, states)
    assert drift.plan_present(replace(moved, run_label="anew"), states).action == "start"


@pytest.mark.parametrize(
    ("phase", "stopped", "absent"),
    [
        ("absent", "none", "none"),
        ("running", "stop", "remove"),
        ("succeeded", "none", "remove"),
        ("stopped", "none", "remove"),
        ("failed", "none", "remove"),
        ("lost", "none", "remove"),
    ],
)
def test_rest_and_removal(phase: str, stopped: str, absent: str) -> None:
    assert drift.plan_stopped([seen("a", phase)]).action == stopped
    assert drift.plan_absent([seen("a", phase)]).action == absent


def test_differences_are_leaves_in_the_order_of_the_new() -> None:
    before = {"a": 1, "b": {"c": 1, "d": 2}, "gone": 1}
    after = {"b": {"c": 1, "d": 3}, "a": 1, "new": 4}
    found = [(one.field, one.before, one.after) for one in drift.differences(before, after)]
    assert found == [("b.d", 2, 3), ("new", None, 4), ("gone", 1, None)]
