"""The order in which a topology of pods is changed, on a cluster in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import kube_topology
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed, InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.events import PREFIX
from ansible_collections.dtf.cluster.plugins.module_utils.kube_labels import ANNOTATION_RUN
from ansible_collections.dtf.cluster.plugins.module_utils.kube_topology import Manner, absent, present, stopped
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from ansible_collections.dtf.cluster.plugins.module_utils.waiter import Clock
from tests.unit.module_utils.fake_cluster import FakeCluster, PlugPulled

BACKENDS = ("indexed_job", "statefulset")


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def manner(**options: Any) -> Manner:
    time = Time()
    return Manner(clock=Clock(monotonic=lambda: time.now, sleep=time.sleep), **options)


def wanted(backend: str = "indexed_job", keeps: bool = True, **changes: Any) -> Topology:
    checkpoints = {"claim": {"size": "1Gi"}} if keeps else {"emptyDir": {}}
    kubernetes = {"image": "x", "backend": backend, "volumes": {"checkpoints": checkpoints}}
    given = {"name": "demo", "runtime": "kubernetes", "kubernetes": {**kubernetes, **changes.pop("kubernetes", {})}}
    return Topology.from_params({**given, **changes})


def run_of(cluster: FakeCluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.objects["ConfigMap", "demo"]["metadata"]["annotations"][ANNOTATION_RUN])
    return found


def pods(cluster: FakeCluster) -> list[str]:
    cluster.list("Pod", "default")
    return sorted(name for kind, name in cluster.objects if kind == "Pod")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_life_of_a_topology(backend: str) -> None:
    cluster = FakeCluster()
    begun = present(cluster, wanted(backend), manner())
    assert (begun.plan.action, begun.after.phase, begun.after.run_id) == ("start", "running", run_of(cluster)["run_id"])
    assert pods(cluster) == ["demo-chief-0", "demo-ps-0", "demo-worker-0"]
    assert cluster.order[0] == "apply ConfigMap demo"
    again = present(cluster, wanted(backend), manner())
    assert (again.plan.changes, again.old, again.new) == (False, {}, {})

    first = run_of(cluster)["run_id"]
    more = present(cluster, wanted(backend, workers={"replicas": 4}), manner())
    assert (more.plan.action, more.after.phase) == ("reroll", "running")
    assert (run_of(cluster)["resumed_from"], run_of(cluster)["candidates"]) == (first, [first])
    assert len(pods(cluster)) == 5

    rest = stopped(cluster, "demo", "default", manner())
    assert (rest.plan.action, rest.after.phase, pods(cluster)) == ("stop", "stopped", [])
    assert not stopped(cluster, "demo", "default", manner()).plan.changes
    assert ("ConfigMap", "demo") in cluster.objects

    second = run_of(cluster)["run_id"]
    assert present(cluster, wanted(backend, workers={"replicas": 4}), manner()).plan.action == "resume"
    assert run_of(cluster)["candidates"] == [second, first]

    gone = absent(cluster, "demo", "default", manner())
    assert (gone.plan.action, gone.after.phase, cluster.objects) == ("remove", "absent", {})
    assert not absent(cluster, "demo", "default", manner()).plan.changes
    assert cluster.mixed == []


def test_the_chief_stops_first_and_the_parameter_servers_last() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    cluster.order.clear()
    present(cluster, wanted(workers={"replicas": 3}), manner())
    deleted = [entry for entry in cluster.order if entry.startswith("delete")]
    assert deleted == [
        "delete Job demo-chief",
        "delete Pod of chief",
        "delete Job demo-worker",
        "delete Pod of worker",
        "delete Job demo-ps",
        "delete Pod of ps",
    ]
    assert cluster.order.index("delete Pod of ps") < cluster.order.index("apply ConfigMap demo")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stops_at", range(1, 25))
def test_a_change_that_was_interrupted_anywhere_is_completed(backend: str, stops_at: int) -> None:
    cluster = FakeCluster()
    present(cluster, wanted(backend), manner())
    first = run_of(cluster)["run_id"]
    other = next(name for name in BACKENDS if name != backend)
    change = wanted(other, ps={"replicas": 2}, workers={"replicas": 3}, kubernetes={"network_policy": False})
    cluster.writes, cluster.pull_at = 0, stops_at
    try:
        present(cluster, change, manner())
    except PlugPulled:
        cluster.pull_at = None
        present(cluster, change, manner())
    else:
        assert cluster.writes < stops_at, "it was never interrupted"
    assert cluster.mixed == []
    assert pods(cluster) == ["demo-chief-0", "demo-ps-0", "demo-ps-1", "demo-worker-0", "demo-worker-1"]
    assert first in run_of(cluster)["candidates"]
    assert ("NetworkPolicy", "demo") not in cluster.objects
    assert not present(cluster, change, manner()).plan.changes


@pytest.mark.parametrize("stops_at", range(1, 12))
def test_a_removal_that_was_interrupted_anywhere_is_completed(stops_at: int) -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    cluster.writes, cluster.pull_at = 0, stops_at
    try:
        absent(cluster, "demo", "default", manner())
    except PlugPulled:
        cluster.pull_at = None
        absent(cluster, "demo", "default", manner())
    assert cluster.objects == {}


def test_a_topology_whose_memory_is_damaged_can_be_removed() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    cluster.objects["ConfigMap", "demo"]["metadata"]["annotations"].clear()
    with pytest.raises(ActionFailed, match="state: absent"):
        present(cluster, wanted(), manner())
    absent(cluster, "demo", "default", manner())
    assert cluster.objects == {}


def test_check_mode_writes_nothing() -> None:
    cluster = FakeCluster()
    tried = present(cluster, wanted(), manner(check_mode=True))
    assert (tried.plan.action, tried.after.phase, cluster.writes, cluster.objects) == ("start", "absent", 0, {})
    present(cluster, wanted(), manner())
    cluster.writes = 0
    assert present(cluster, wanted(workers={"replicas": 9}), manner(check_mode=True)).plan.action == "reroll"
    assert stopped(cluster, "demo", "default", manner(check_mode=True)).plan.action == "stop"
    assert absent(cluster, "demo", "default", manner(check_mode=True)).plan.action == "remove"
    assert cluster.writes == 0


def test_requests_do_not_grow_with_the_workers() -> None:
    counts = []
    for workers in (2, 50):
        cluster = FakeCluster()
        present(cluster, wanted(workers={"replicas": workers}), manner())
        present(cluster, wanted(workers={"replicas": workers}), manner())
        counts.append(cluster.requests)
    assert counts[0] == counts[1]


def test_without_a_volume_training_begins_anew_and_says_so() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(keeps=False), manner())
    change = present(cluster, wanted(keeps=False, workers={"replicas": 3}), manner())
    assert change.plan.reason == "changed: workers.replicas; no volume keeps the checkpoint, training begins anew"
    assert run_of(cluster)["candidates"] == []


def test_another_volume_has_no_checkpoint() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    volumes = {"checkpoints": {"nfs": {"server": "s", "path": "/p"}}}
    present(cluster, wanted(kubernetes={"volumes": volumes}), manner())
    assert run_of(cluster)["resumed_from"] is None
    assert ("PersistentVolumeClaim", "demo-checkpoints") in cluster.objects


def test_a_lifecycle_changes_without_disturbing_anything() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    before, job = pods(cluster), cluster.objects["Job", "demo-worker"]
    change = present(cluster, wanted(lifecycle={"restart_limit": 9, "stop_grace_seconds": 20}), manner())
    assert (change.plan.action, pods(cluster)) == ("update", before)
    assert job["spec"]["backoffLimit"] == 10
    assert not present(cluster, wanted(lifecycle={"restart_limit": 9, "stop_grace_seconds": 20}), manner()).plan.changes


def test_what_somebody_else_changed_is_mended() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    del cluster.objects["Service", "demo-ps"]
    cluster.objects["NetworkPolicy", "demo"]["spec"]["ingress"] = []
    cluster.order.clear()
    change = present(cluster, wanted(), manner())
    assert change.plan.reason == "changed or removed by somebody else: Service demo-ps, NetworkPolicy demo"
    assert cluster.order == ["apply Service demo-ps", "apply NetworkPolicy demo"]
    assert sorted(change.new) == ["NetworkPolicy/demo", "Service/demo-ps"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_marked_as_done_stays_so(backend: str) -> None:
    cluster = FakeCluster()
    present(cluster, wanted(backend), manner())
    run_id = run_of(cluster)["run_id"]
    cluster.objects["ConfigMap", "demo"]["data"]["finished"] = run_id
    again = present(cluster, wanted(backend), manner())
    assert (again.plan.action, again.plan.reason) == ("none", "it is as wanted: succeeded")
    present(cluster, wanted(backend, lifecycle={"restart_limit": 2}), manner())
    assert cluster.objects["ConfigMap", "demo"]["data"]["finished"] == run_id


def test_nothing_that_runs_is_stopped_for_what_would_be_refused() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    cluster.writes = 0
    cluster.refuse = {
        "Job": ActionFailed("admission", "apply Job: denied"),
        "Service": ActionFailed("invalid", "apply Service: no"),
    }
    with pytest.raises(ActionFailed, match="6 objects are refused") as caught:
        present(cluster, wanted(workers={"replicas": 5}), manner())
    assert str(caught.value).count("apply Service: no") == 3
    assert cluster.writes == 0


def test_a_namespace_that_is_not_there_yet() -> None:
    cluster = FakeCluster()
    topology = wanted(kubernetes={"namespace": "training"})
    change = present(cluster, topology, manner(check_mode=True))
    assert list(change.warnings) == ["namespace training does not exist: what is in it could not be tried"]
    assert "Job/demo-chief" in change.new
    with pytest.raises(ActionFailed, match="kubectl create namespace training") as caught:
        present(cluster, topology, manner())
    assert (caught.value.code, cluster.writes) == ("namespace_missing", 0)


def test_a_quota_refuses_before_anything_changes() -> None:
    cluster = FakeCluster()
    cluster.objects["ResourceQuota", "q"] = {
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "2"}},
        "status": {"hard": {"pods": "2"}, "used": {"pods": "0"}},
    }
    with pytest.raises(InvalidInput, match=r"quota\.pods"):
        present(cluster, wanted(), manner())
    assert cluster.writes == 0


def test_pods_that_do_not_go_keep_new_ones_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    present(cluster, wanted(), manner())
    monkeypatch.setattr(cluster, "_controllers", lambda: None)
    with pytest.raises(ActionFailed, match="demo-chief-0") as caught:
        present(cluster, wanted(workers={"replicas": 3}), manner())
    assert caught.value.code == "objects_stay"
    assert [entry for entry in cluster.order if entry.startswith("apply Job")] == [
        "apply Job demo-ps",
        "apply Job demo-chief",
        "apply Job demo-worker",
    ]


def upgrade(cluster: FakeCluster) -> Topology:
    present(cluster, wanted(), manner())
    return wanted(kubernetes={"image": "y", "first_step_timeout_seconds": 20})


def test_an_upgrade_that_makes_no_step_is_taken_back() -> None:
    cluster = FakeCluster()
    change = upgrade(cluster)
    first = run_of(cluster)["run_id"]
    with pytest.raises(ActionFailed, match="was taken back after 20 s without a first step") as caught:
        present(cluster, change, manner())
    assert caught.value.code == "rolled_back"
    assert cluster.objects["Job", "demo-chief"]["spec"]["template"]["spec"]["containers"][0]["image"] == "x"
    assert (run_of(cluster)["resumed_from"], run_of(cluster)["candidates"]) == (first, [first])
    assert run_of(cluster)["run_id"] == caught.value.details["run_id"] != first
    assert cluster.mixed == []


def test_an_upgrade_that_makes_a_step_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    change = upgrade(cluster)

    def logs(_pod: str, _namespace: str) -> list[str]:
        event = {"schema": "dtf.event/1", "event": "first_step", "run_id": run_of(cluster)["run_id"], "role": "worker"}
        return ["prose", PREFIX + json.dumps({**event, "index": 0, "attempt": 0, "wall": 1.0, "monotonic": 1.0})]

    monkeypatch.setattr(cluster, "logs", logs)
    assert present(cluster, change, manner()).after.phase == "running"
    assert cluster.objects["Job", "demo-chief"]["spec"]["template"]["spec"]["containers"][0]["image"] == "y"


def test_a_name_that_belongs_to_somebody_else() -> None:
    cluster = FakeCluster()
    present(cluster, wanted(owner="a"), manner())
    with pytest.raises(ActionFailed, match="is claimed by 'a'"):
        present(cluster, wanted(owner="b"), manner())


def test_our_own_other_half_is_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    apply, forced = cluster.apply, []

    def conflicting(manifest: dict[str, Any], dry_run: bool = False, force: bool = False) -> dict[str, Any]:
        if manifest["kind"] == "ConfigMap" and not force:
            raise ActionFailed("conflict", "conflict", managers={kube_topology.FIELD_MANAGER: [".data.finished"]})
        forced.extend([manifest["kind"]] if force else [])
        return apply(manifest, dry_run=dry_run, force=force)

    monkeypatch.setattr(cluster, "apply", conflicting)
    present(cluster, wanted(), manner())
    assert forced == ["ConfigMap", "ConfigMap"]
    assert replace(manner(), force=True).force
