"""Waiting for a run of pods: what ends it, what is kept of it, and what is left behind in the cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import PodRun
from ansible_collections.dtf.cluster.plugins.module_utils.kube_labels import ANNOTATION_OUTCOME
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import ClockOffset, Listing
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import objects
from ansible_collections.dtf.cluster.plugins.plugin_utils import kube_run, pod_logs
from ansible_collections.dtf.cluster.plugins.plugin_utils.kube_run import KubeRun, Moment
from ansible_collections.dtf.cluster.plugins.plugin_utils.run_results import RunResults
from tests.unit.module_utils.pod_samples import BEGIN, ended, pod, topology

BACKENDS = ("indexed_job", "statefulset")
SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "schemas" / "run.schema.json").read_text(encoding="utf-8"))
TASKS = {"demo-ps-0": ("ps", 0), "demo-chief-0": ("worker", 0), "demo-worker-0": ("worker", 1)}


class Quiet:
    """A stream that says what it has to, and then nothing until it is closed."""

    def __init__(self, *said: Any) -> None:
        self._said = said
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        yield from self._said
        self._closed.wait(20)

    def close(self) -> None:
        self._closed.set()


class StillCluster:
    """A cluster in which nothing happens: its objects, its pods' logs, and what was asked to be changed."""

    host = "https://cluster.example.com"

    def __init__(self, *entries: dict[str, Any]) -> None:
        self.entries = list(entries)
        self.log: dict[str, list[str]] = {}
        self.refused: dict[str, ActionFailed] = {}
        self.changes: list[tuple[str, str, Any]] = []

    def list(self, kind: str, _namespace: str, *, labels: str) -> Listing:
        assert labels or kind in ("Event", "Node", "Lease")
        if kind in self.refused:
            raise self.refused[kind]
        return Listing([entry for entry in self.entries if entry["kind"] == kind], "1")

    def watch(self, _kind: str, _namespace: str, **_options: Any) -> Quiet:
        return Quiet()

    def logs(self, name: str, _namespace: str, **_options: Any) -> Quiet:
        stamped = (f"2026-01-02T03:04:05.{number:09d}Z {line}" for number, line in enumerate(self.log.get(name, ())))
        return Quiet(*stamped)

    def version(self) -> tuple[int, int]:
        return (1, 36)

    def clock_offset(self) -> ClockOffset:
        return ClockOffset(0.1, 0.5)

    def patch(self, kind: str, name: str, _namespace: str, document: dict[str, Any]) -> None:
        self.changes.append(("patch " + kind, name, document))

    def delete_collection(self, kind: str, _namespace: str, *, labels: str) -> None:
        self.changes.append(("delete " + kind, labels, None))

    def find(self, kind: str, name: str) -> dict[str, Any]:
        return next(entry for entry in self.entries if (entry["kind"], entry["metadata"]["name"]) == (kind, name))

    @property
    def sets(self) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["kind"] in ("Job", "StatefulSet")]

    def say_done(self, *pods: str, code: int = 0) -> None:
        for name in pods:
            role, index = TASKS[name]
            common = {"run_id": "r", "role": role, "index": index, "attempt": 0, "wall": BEGIN + 9, "monotonic": 9}
            line = {"schema": "dtf.event/1", "event": "finished", "exit_code": code, **common}
            self.log[name] = ["prose", "DTF_EVENT " + json.dumps(line)]

    def end(self, condition: str, *names: str) -> None:
        """Let Jobs end."""
        for entry in self.sets:
            if not names or entry["metadata"]["name"] in names:
                entry["status"] = {"conditions": [{"type": condition, "status": "True", "reason": "R", "message": "m"}]}

    def rest(self) -> None:
        for entry in self.sets:
            entry["spec"].update({"suspend": True} if entry["kind"] == "Job" else {"replicas": 0})
        self.entries = [entry for entry in self.entries if entry["kind"] != "Pod"]


def running(backend: str = "indexed_job", run_id: str = "r") -> StillCluster:
    """Return a cluster in which a run was applied, and all of its pods run."""
    made = objects(topology(2, backend), PodRun(run_id, BEGIN))
    for entry in made:
        entry["metadata"]["uid"] = "{} {}".format(entry["kind"], entry["metadata"]["name"])
    pods = [pod(component, uid=component, run_id=run_id) for component in ("ps", "chief", "worker")]
    return StillCluster(*made, *pods)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("IDLE", 0.02), ("LOGS_SECONDS", 0.1), ("FIRST_LISTS", 5.0)):
        monkeypatch.setattr(kube_run, name, seconds)
    monkeypatch.setattr(pod_logs, "PAUSE", 0.01)


Begin = Callable[..., KubeRun]


@pytest.fixture
def waiting() -> Iterator[Begin]:
    """Begin to wait in a cluster."""
    begun: list[KubeRun] = []

    def begin(cluster: StillCluster, backend: str = "indexed_job") -> KubeRun:
        begun.append(KubeRun(cluster, topology(2, backend), "r"))  # type: ignore[arg-type]
        return begun[-1]

    yield begin
    for run in begun:
        run.close()
    for follower in [thread for thread in threading.enumerate() if thread.name.startswith("log ")]:
        follower.join(5)
        assert not follower.is_alive(), f"{follower.name} goes on after its run is closed"


def outcome(run: KubeRun, timeout: float | None = 20) -> Moment:
    """Wait until a run is over."""
    seen: list[Moment] = []
    moment, _elapsed, over = run.wait(seen.append, timeout)
    assert over
    assert seen[-1] is moment
    return moment


def reason(moment: Moment) -> tuple[str, str | None]:
    return moment.phase, moment.cause and moment.cause["reason"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_is_over_when_its_tasks_have_said_so(backend: str, waiting: Begin) -> None:
    cluster = running(backend)
    cluster.say_done(*TASKS)
    assert reason(outcome(waiting(cluster, backend))) == ("succeeded", None)


def test_a_run_whose_logs_are_gone_is_over_when_its_jobs_are(waiting: Begin) -> None:
    cluster = running()
    cluster.end("Complete")
    assert reason(outcome(waiting(cluster))) == ("succeeded", None)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_task_that_says_that_it_failed_is_not_done(backend: str, waiting: Begin) -> None:
    cluster = running(backend)
    cluster.say_done("demo-ps-0", "demo-worker-0")
    cluster.say_done("demo-chief-0", code=75)
    _moment, elapsed, over = waiting(cluster, backend).wait(lambda _moment: None, 0.2)
    assert not over
    assert elapsed >= 0.2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pod_that_cannot_go_on_ends_the_run(backend: str, waiting: Begin) -> None:
    cluster = running(backend)
    cluster.find("Pod", "demo-worker-0")["status"]["containerStatuses"][0]["state"] = ended(64)
    moment = outcome(waiting(cluster, backend))
    assert reason(moment) == ("failed", "exit_64")
    assert moment.cause is not None
    assert moment.cause["task"] == "worker-1"


def test_a_job_that_was_given_up_ends_the_run(waiting: Begin) -> None:
    cluster = running()
    cluster.end("Failed", "demo-ps")
    assert reason(outcome(waiting(cluster))) == ("failed", "job_failed")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_was_told_to_rest_is_stopped(backend: str, waiting: Begin) -> None:
    cluster = running(backend)
    cluster.rest()
    assert reason(outcome(waiting(cluster, backend))) == ("stopped", "stopped")


def test_a_run_that_another_one_has_replaced_is_over(waiting: Begin) -> None:
    moment = outcome(waiting(running(run_id="r2")))
    assert reason(moment) == ("stopped", "replaced")
    # Its pods are another run's.
    assert moment.pods == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_sets_that_somebody_deleted(backend: str, waiting: Begin) -> None:
    cluster = running(backend)
    cluster.entries.remove(next(entry for entry in cluster.sets if entry["metadata"]["name"] == "demo-ps"))
    moment = outcome(waiting(cluster, backend))
    assert reason(moment) == ("failed", "removed")
    assert moment.cause is not None
    assert moment.cause["object"] == ("Job" if backend == "indexed_job" else "StatefulSet") + " demo-ps"


def test_a_topology_that_somebody_removed(waiting: Begin) -> None:
    seen: list[Moment] = []
    moment, _elapsed, _over = waiting(StillCluster()).wait(seen.append, 20)
    assert reason(moment) == ("failed", "removed")
    # For a moment that may be how a change looks.
    assert seen[0].phase == "running"


@pytest.mark.parametrize("phase", ["succeeded", "failed", "stopped"])
def test_an_end_that_was_written_down_counts_before_what_is_seen(phase: str, waiting: Begin) -> None:
    cluster = running()
    cluster.find("Pod", "demo-worker-0")["status"]["containerStatuses"][0]["state"] = ended(64)
    written = {"run_id": "r", "phase": phase, "cause": None if phase == "succeeded" else {"reason": "quota"}}
    cluster.find("ConfigMap", "demo")["metadata"]["annotations"][ANNOTATION_OUTCOME] = json.dumps(written)
    assert reason(outcome(waiting(cluster))) == (phase, None if phase == "succeeded" else "quota")


def test_a_cluster_that_may_not_be_asked_or_does_not_answer(waiting: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = running()
    cluster.refused = {"Pod": ActionFailed("forbidden", "list Pod: no")}
    with pytest.raises(ActionFailed, match="list Pod: no"):
        outcome(waiting(cluster))
    monkeypatch.setattr(kube_run, "FIRST_LISTS", 0.05)
    cluster.refused = {"Pod": ActionFailed("unreachable", "no route")}
    with pytest.raises(ActionFailed, match=r"cluster\.example\.com has not answered for 0\.05 s"):
        outcome(waiting(cluster))


def test_what_may_not_be_seen_besides_is_done_without(waiting: Begin) -> None:
    cluster = running()
    cluster.refused = {kind: ActionFailed("forbidden", "no") for kind in ("Event", "Node", "Lease")}
    cluster.say_done(*TASKS)
    assert outcome(waiting(cluster)).phase == "succeeded"


@pytest.mark.parametrize("backend", BACKENDS)
def test_when_the_chief_is_done_nobody_else_can_fail_the_run(
    backend: str, waiting: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_run, "FAREWELL_SECONDS", 0.1)
    cluster = running(backend)
    cluster.say_done("demo-ps-0", "demo-chief-0")
    run = waiting(cluster, backend)
    worker = cluster.find("Pod", "demo-worker-0")["status"]["containerStatuses"][0]

    def show(_moment: Moment) -> None:
        if run.logs.events("worker-0"):
            worker["state"] = ended(1)
            cluster.end("Failed", "demo-worker")

    moment, _elapsed, _over = run.wait(show, 20)
    assert moment.phase == "succeeded"
    run.conclude(moment)
    rested = [name for what, name, _document in cluster.changes if what in ("patch Job", "patch StatefulSet")]
    # Jobs that do not come to an end would go on for ever; StatefulSets have to.
    assert sorted(rested) == (["demo-chief", "demo-ps"] if backend == "indexed_job" else [])


def test_an_end_is_written_down_and_nothing_is_protected_any_more(waiting: Begin) -> None:
    cluster = running()
    cluster.say_done(*TASKS)
    run = waiting(cluster)
    run.conclude(outcome(run))
    (noted, name, document), (deleted, labels, _nothing) = cluster.changes
    assert (noted, name, document["data"]) == ("patch ConfigMap", "demo", {"finished": "r"})
    written = json.loads(document["metadata"]["annotations"][ANNOTATION_OUTCOME])
    assert written == {"run_id": "r", "phase": "succeeded", "cause": None}
    assert (deleted, "app.kubernetes.io/instance=demo" in labels) == ("delete PodDisruptionBudget", True)


@pytest.mark.parametrize(("backend", "spec"), [("indexed_job", {"suspend": True}), ("statefulset", {"replicas": 0})])
def test_a_run_that_failed_rests_and_its_chief_first(backend: str, spec: dict[str, Any], waiting: Begin) -> None:
    cluster = running(backend)
    cluster.find("Pod", "demo-worker-0")["status"]["containerStatuses"][0]["state"] = ended(64)
    run = waiting(cluster, backend)
    run.conclude(outcome(run))
    noted, *rested, protected = cluster.changes
    written = json.loads(noted[2]["metadata"]["annotations"][ANNOTATION_OUTCOME])
    assert (written["phase"], written["cause"]["reason"], "data" in noted[2]) == ("failed", "exit_64", False)
    # What is kept in the cluster is what it was, without evidence.
    assert set(written["cause"]) == {"reason", "task", "message"}
    assert rested[0][1] == "demo-chief"
    assert {name for _what, name, _document in rested} == {"demo-chief", "demo-ps", "demo-worker"}
    assert all(document == {"spec": spec} for _what, _name, document in rested)
    assert protected[0] == "delete PodDisruptionBudget"


def test_who_comes_later_ends_what_was_begun(waiting: Begin) -> None:
    """Whoever waited before wrote down that the run failed, and was killed then."""
    cluster = running()
    written = {"run_id": "r", "phase": "failed", "cause": {"reason": "quota"}}
    cluster.find("ConfigMap", "demo")["metadata"]["annotations"][ANNOTATION_OUTCOME] = json.dumps(written)
    run = waiting(cluster)
    run.conclude(outcome(run))
    assert [what for what, _name, _document in cluster.changes] == ["patch Job"] * 3 + ["delete PodDisruptionBudget"]


@pytest.mark.parametrize("cluster", [StillCluster(), running(run_id="r2")], ids=["removed", "replaced"])
def test_what_is_no_longer_this_run_is_left_alone(cluster: StillCluster, waiting: Begin) -> None:
    run = waiting(cluster)
    run.conclude(outcome(run))
    assert cluster.changes == []


def test_what_is_kept_of_a_run(waiting: Begin, tmp_path: Path) -> None:
    cluster = running()
    cluster.say_done(*TASKS)
    about = {"kind": "Pod", "name": "demo-chief-0", "uid": "chief"}
    told = {
        "kind": "Event",
        "reason": "Pulled",
        "message": "Container image x already present",
        "involvedObject": about,
    }
    cluster.entries.append({**told, "metadata": {"name": "e", "uid": "e"}})
    cluster.entries.append({**told, "metadata": {"name": "f", "uid": "f"}, "involvedObject": {"name": "another"}})
    run = waiting(cluster)
    document = run.gather(outcome(run), RunResults(str(tmp_path), "r"), {"ansible": "2.19", "collection": "0.1.0"})
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    folder = tmp_path / "r"
    assert json.loads((folder / "run.json").read_text(encoding="utf-8")) == document
    assert (folder / "logs" / "worker-1.log").read_text(encoding="utf-8").startswith("prose\nDTF_EVENT ")
    assert len((folder / "events.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    kept = json.loads((folder / "objects.json").read_text(encoding="utf-8"))
    assert (len(kept["pods"]), len(kept["sets"]), [event["object"] for event in kept["events"]]) == (
        3, 3, ["Pod demo-chief-0"],
    )  # fmt: skip
    assert document["environment"]["versions"]["kubernetes"] == "1.36"
    assert [clock["name"] for clock in document["clocks"]["beside_controller"]] == ["w1", "the API server"]
