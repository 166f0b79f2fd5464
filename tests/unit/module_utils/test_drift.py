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
    tasks = (UP,) if phase in ("running", "stopping") else (DONE,)
    return HostState(
        host=host, name="t", phase=phase, run_id="r1", spec=BASE.as_dict(), tasks=tasks, checkpoint_run_id=checkpoint
    )


@pytest.mark.parametrize(
    ("phases", "action", "resumes", "reason"),
    [
        (("absent", "absent"), "start", None, "the topology does not exist yet"),
        (("running", "running"), "none", None, "it is as wanted: running"),
        (("succeeded", "succeeded"), "none", None, "it is as wanted: succeeded"),
        (("succeeded", "running"), "none", None, "it is as wanted: running"),
        (("stopped", "stopped"), "resume", "r1", "the last run stopped"),
        (("stopping", "stopping"), "reroll", "r1", "the last run stopping"),
        (("failed", "stopped"), "resume", "r1", "the last run failed"),
        (("lost", "lost"), "resume", "r1", "the last run lost: the supervisor on a is gone"),
        (("running", "lost"), "reroll", "r1", "the last run lost: the supervisor on b is gone"),
        (("running", "absent"), "reroll", "r1", "the last run lost"),
        (("absent", "running"), "reroll", "r1", "the last run lost"),
        (("failed", "running"), "reroll", "r1", "the last run failed"),
    ],
)
def test_an_unchanged_topology(phases: tuple[str, str], action: str, resumes: str | None, reason: str) -> None:
    plan = drift.plan_present(BASE, [seen("a", phases[0]), seen("b", phases[1])])
    assert (plan.action, plan.resume_run_id, plan.reason) == (action, resumes, reason)
    assert plan.changes is (action != "none")
    assert plan.starts is (action in ("start", "resume", "reroll"))
    assert plan.start == (("ps-0", "worker-0", "worker-1") if plan.starts else ())
    assert plan.differences == ()
    assert plan.as_dict()["action"] == action


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
    anew = "" if resumes else "; the checkpoint does not fit, training begins anew"
    assert plan.reason == f"changed: {field}{anew}"
    assert plan.stop == (("worker-0", "worker-0") if phase == "running" else ())
    assert plan.start[0] == "ps-0"


@pytest.mark.parametrize(("phase", "action"), [("running", "reroll"), ("succeeded", "resume")])
def test_a_host_that_missed_the_last_change_is_brought_along(phase: str, action: str) -> None:
    missed = replace(seen("b", phase), run_id="r0")
    plan = drift.plan_present(BASE, [seen("a", phase), missed])
    assert (plan.action, plan.resume_run_id, plan.reason) == (action, "r1", "the last run lost")


def test_every_change_is_named() -> None:
    desired = Topology.from_params({**GOOD, "python": "/q", "workers": {"replicas": 3, "port": 9100}})
    plan = drift.plan_present(desired, [seen("a", "stopped"), seen("b", "stopped")])
    assert plan.reason == "changed: python, workers.replicas, workers.port"
    changes = [(change.field, change.before, change.after) for change in plan.differences]
    assert changes == [("python", "/p", "/q"), ("workers.replicas", 2, 3), ("workers.port", 9000, 9100)]


@pytest.mark.parametrize(
    ("phase", "states", "stop"),
    [
        ("running", "running backoff waiting done failed stopped", ("worker-0", "worker-1", "worker-2")),
        ("stopping", "running stopped", ("worker-0",)),
        # what a supervisor that is gone wrote last is no longer so
        ("lost", "running backoff", ()),
        ("failed", "running", ()),
    ],
)
def test_what_runs_is_what_a_living_supervisor_keeps(phase: str, states: str, stop: tuple[str, ...]) -> None:
    tasks = tuple({"role": "worker", "index": index, "state": state} for index, state in enumerate(states.split()))
    live = [replace(seen("a", phase), tasks=tasks)]
    assert drift.plan_absent(live).stop == stop
    assert drift.plan_stopped(live).stop == stop
    assert drift.plan_present(replace(BASE, python="/q"), live).stop == stop


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
    assert (plan.action, plan.starts, plan.reason) == ("update", False, "only the lifecycle changes")
    ((group, inner),) = change.items()
    assert [difference.field for difference in plan.differences] == [f"{group}.{name}" for name in inner]


@pytest.mark.parametrize("phase", ["running", "succeeded", "stopped", "failed", "lost"])
def test_a_name_of_another_owner_is_refused(phase: str) -> None:
    with pytest.raises(ActionFailed) as caught:
        drift.plan_present(replace(BASE, owner="benchmark"), [seen("a", phase), seen("b", phase)])
    assert (caught.value.code, caught.value.details) == ("name_claimed", {"owner": "site"})
    assert str(caught.value) == (
        f"topology 't' is claimed by 'site' (run r1 on a, {phase}) and cannot be changed by 'benchmark': "
        "choose another name, or remove that one first"
    )


@pytest.mark.parametrize("phase", ["running", "stopped"])
def test_the_chief_does_not_move_away_from_its_checkpoint(phase: str) -> None:
    moved = replace(BASE, hosts=BASE.hosts[::-1])
    states = [seen("b", phase), seen("a", phase)]
    with pytest.raises(ActionFailed) as caught:
        drift.plan_present(moved, states)
    assert caught.value.code == "chief_moves"
    assert str(caught.value) == (
        "topology 't': the chief and its checkpoint are on a, the wanted first host is b: keep a first in hosts, "
        "or give a new run_label to begin anew"
    )
    anew = drift.plan_present(replace(moved, run_label="anew"), states)
    assert (anew.action, anew.resume_run_id) == ("reroll" if phase == "running" else "start", None)


def test_other_hosts_than_the_chief_s_may_go_and_come() -> None:
    alone = replace(BASE, hosts=BASE.hosts[:1])
    plan = drift.plan_present(alone, [seen("a", "stopped")])
    assert (plan.action, plan.resume_run_id, plan.reason) == ("resume", "r1", "changed: hosts")


REST, GONE = "it is to rest", "it is to be gone"
RESTS = ("none", "nothing of it runs")


@pytest.mark.parametrize(
    ("phases", "stopped", "absent"),
    [
        ("absent", RESTS, ("none", "the topology does not exist")),
        ("running", ("stop", REST), ("remove", GONE)),
        ("stopping", ("stop", REST), ("remove", GONE)),
        ("succeeded", RESTS, ("remove", GONE)),
        ("stopped", RESTS, ("remove", GONE)),
        ("failed", RESTS, ("remove", GONE)),
        ("lost", RESTS, ("remove", GONE)),
        ("failed running", ("stop", REST), ("remove", GONE)),  # what runs on one host is not overlooked
        ("absent stopped", RESTS, ("remove", GONE)),
    ],
)
def test_rest_and_removal(phases: str, stopped: tuple[str, str], absent: tuple[str, str]) -> None:
    states = [seen("a", phase) for phase in phases.split()]
    for plan, (action, reason) in ((drift.plan_stopped(states), stopped), (drift.plan_absent(states), absent)):
        assert (plan.action, plan.reason, plan.start) == (action, reason, ())


@pytest.mark.parametrize("phase", ["running", "stopping"])
def test_a_run_that_has_told_nothing_of_its_tasks_yet_is_stopped(phase: str) -> None:
    assert drift.plan_stopped([replace(seen("a", phase), tasks=())]).action == "stop"


def test_differences_are_leaves_in_the_order_of_the_new() -> None:
    before = {"a": 1, "b": {"c": 1, "d": 2}, "gone": 1}
    after = {"b": {"c": 1, "d": 3}, "a": 1, "new": 4}
    found = [(one.field, one.before, one.after) for one in drift.differences(before, after)]
    assert found == [("b.d", 2, 3), ("new", None, 4), ("gone", 1, None)]
    (grown,) = drift.differences({"a": 1}, {"a": {"b": 2}})
    assert (grown.field, grown.before, grown.after) == ("a", 1, {"b": 2})
