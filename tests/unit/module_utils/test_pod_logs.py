"""Logs of pods that restart, vanish and are told of late, against a cluster of literals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import task_sets, tasks
from ansible_collections.dtf.cluster.plugins.module_utils.pod_view import PodView, pod_views
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from ansible_collections.dtf.cluster.plugins.plugin_utils import pod_logs
from ansible_collections.dtf.cluster.plugins.plugin_utils.pod_logs import PodLogs

TOPOLOGY = Topology.from_params({"name": "t", "runtime": "kubernetes", "kubernetes": {"image": "trainer"}})
STARTED = {"startedAt": "2026-01-02T03:04:05Z"}


def view(restarts: int = 0, *, running: bool = True, uid: str = "u1", component: str = "chief") -> PodView:
    """Return a pod of a task; one that does not run has ended well."""
    state = {"running": STARTED} if running else {"terminated": {"exitCode": 0}}
    former = {"lastState": {"terminated": {"exitCode": 75}}} if restarts else {}
    pod = {
        "metadata": {"name": f"t-{component}-0", "uid": uid, "labels": {"app.kubernetes.io/component": component}},
        "spec": {"nodeName": "n1"},
        "status": {"containerStatuses": [{"name": "trainer", "restartCount": restarts, "state": state, **former}]},
    }
    (found,) = pod_views([pod], task_sets(TOPOLOGY), tasks(TOPOLOGY))
    return found


def line(moment: int, text: str) -> str:
    return f"2026-01-02T03:04:{moment:02d}.000000000Z {text}"


def event(name: str, run_id: str = "r") -> str:
    common = {
        "event": name,
        "run_id": run_id,
        "role": "worker",
        "index": 0,
        "attempt": 0,
        "wall": 1.0,
        "monotonic": 1.0,
    }
    return "DTF_EVENT " + json.dumps({"schema": "dtf.event/1", **common})


class Stream:
    """Lines that end when they are closed, or at once."""

    def __init__(self, lines: list[str], ends: bool, before_end: Callable[[], None] | None = None) -> None:
        self._lines = lines
        self._closed = threading.Event()
        self._before_end = before_end
        if ends:
            self._closed.set()

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        if self._before_end is not None:
            self._before_end()
        self._closed.wait(10)

    def close(self) -> None:
        self._closed.set()


class Kubelet:
    """Answers each question for a log with what was prepared for it, in turn; the last answer stays."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def logs(self, pod: str, namespace: str, **options: Any) -> Stream:
        self.asked.append({"pod": pod, "namespace": namespace, **options})
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        found: Stream = answer
        return found


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "PAUSE", 0.0)


def kept(kubelet: Any) -> tuple[PodLogs, list[str]]:
    told: list[str] = []
    return PodLogs(kubelet, "ns", "r", lambda: told.append("changed")), told


def test_a_log_is_kept_without_its_time_stamps_and_its_events_are_told() -> None:
    other = event("started", run_id="another")
    kubelet = Kubelet(Stream([line(1, "prose"), line(2, event("started")), line(3, other)], ends=True))
    logs, told = kept(kubelet)
    logs.attend([view(running=False)])
    logs.finish([view(running=False)], 5)
    assert logs.lines() == {"worker-0": ["prose", event("started"), other]}
    assert [entry.event for entry in logs.events("worker-0")] == ["started"]
    assert told
    assert kubelet.asked[0]["timestamps"] is True


def test_progress_wakes_nobody() -> None:
    logs, told = kept(Kubelet(Stream([line(1, event("progress"))], ends=True)))
    logs.attend([view(running=False)])
    logs.finish([view(running=False)], 5)
    assert [entry.event for entry in logs.events()] == ["progress"]
    assert told == []


def test_a_stream_that_breaks_goes_on_where_it_was_and_no_line_comes_twice() -> None:
    broken = ActionFailed("unreachable", "the connection broke")
    again = Stream([line(2, "second"), line(3, "third")], ends=True)
    kubelet = Kubelet(Stream([line(1, "first"), line(2, "second")], ends=True), broken, again)
    logs, _told = kept(kubelet)
    logs.attend([view()])
    while len(kubelet.asked) < 4:
        threading.Event().wait(0.01)
    logs.attend([view(running=False)])
    logs.finish([view(running=False)], 5)
    assert logs.lines()["worker-0"] == ["first", "second", "third"]
    assert kubelet.asked[2]["since"] == line(2, "").strip()


def test_what_a_new_container_printed_before_its_restart_was_known_is_taken_once() -> None:
    first = Stream([line(1, event("started")), line(2, event("peer_lost"))], ends=True)
    early = Stream([line(5, event("started"))], ends=False)
    rest = Stream([line(5, event("started")), line(6, event("finished"))], ends=True)
    kubelet = Kubelet(first, early, rest)
    logs, _told = kept(kubelet)
    logs.attend([view()])
    while len(kubelet.asked) < 2 or len(logs.events()) < 3:
        threading.Event().wait(0.01)
    # Only now the pod says that its container was restarted.
    logs.attend([view(1)])
    early.close()
    logs.attend([view(1, running=False)])
    logs.finish([view(1, running=False)], 5)
    assert [entry.event for entry in logs.events()] == ["started", "peer_lost", "started", "finished"]


def test_the_container_before_the_first_look_is_read_from_where_the_kubelet_keeps_it() -> None:
    class Both:
        def logs(self, *_pod: str, previous: bool, **_options: Any) -> Stream:
            return Stream([line(1, "before") if previous else line(5, "now")], ends=True)

    kubelet = Both()
    logs, _told = kept(kubelet)
    logs.attend([view(1, running=False)])
    logs.finish([view(1, running=False)], 5)
    for thread in [entry for entry in threading.enumerate() if entry.name == "log t-chief-0"]:
        thread.join(5)
    assert logs.lines()["worker-0"] == ["before", "now"]
    assert [(chapter.start, chapter.attempt) for chapter in logs.chapters()] == [(0, 0), (1, 1)]


def test_a_pod_that_was_replaced_continues_its_tasks_log_as_a_further_attempt() -> None:
    kubelet = Kubelet(Stream([line(1, event("started"))], ends=True), Stream([line(9, event("started"))], ends=True))
    logs, _told = kept(kubelet)
    old, new = view(running=False), view(running=False, uid="u2")
    logs.attend([old])
    while not logs.events():
        threading.Event().wait(0.01)
    logs.attend([old, new])
    logs.finish([old, new], 5)
    assert [entry.attempt for entry in logs.events("worker-0")] == [0, 1]


def test_a_pod_that_is_gone_ends_its_log() -> None:
    logs, _told = kept(Kubelet(Stream([line(1, "last words")], ends=True), ActionFailed("not_found", "gone")))
    before = set(threading.enumerate())
    logs.attend([view()])
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
    assert logs.lines() == {"worker-0": ["last words"]}
    assert not logs.chapters()[0].complete


def test_a_kubelet_that_was_started_anew_does_not_know_its_pods_yet() -> None:
    nobody = [ActionFailed("not_found", "pod t-chief-0 not found")] * 3
    before, after = Stream([line(1, "before")], ends=True), Stream([line(2, "after")], ends=False)
    kubelet = Kubelet(before, *nobody, after)
    logs, _told = kept(kubelet)
    logs.attend([view()])
    while "after" not in logs.lines().get("worker-0", []):
        threading.Event().wait(0.01)
    logs.finish([view()], 5)
    assert logs.lines() == {"worker-0": ["before", "after"]}
    assert len(kubelet.asked) == 5


def test_beyond_a_number_of_logs_only_the_chiefs_is_followed_and_the_others_are_read_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pod_logs, "FOLLOWED", 0)
    kubelet = Kubelet(Stream([line(1, "text")], ends=True))
    logs, _told = kept(kubelet)
    pods = [view(running=False, uid="u2", component="ps"), view(running=False)]
    # Others' followers may still wait for what never comes.
    before = set(threading.enumerate())
    logs.attend(pods)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert {asked["pod"] for asked in kubelet.asked} == {"t-chief-0"}
    logs.finish(pods, 5)
    assert sorted(logs.lines()) == ["ps-0", "worker-0"]


class Late(Stream):
    """Lines that the kubelet gives only after a while."""

    def __iter__(self) -> Iterator[str]:
        threading.Event().wait(0.3)
        yield from super().__iter__()


def test_the_end_waits_for_the_log_of_the_container_that_died_before_the_present_one() -> None:
    kubelet = Kubelet(Late([line(1, "no way")], ends=True), Stream([], ends=True))
    logs, _told = kept(kubelet)
    # The first thing that is seen of the pod: it has died, and runs again.
    logs.attend([view(1)])
    logs.finish([view(1)], 5)
    assert logs.lines()["worker-0"] == ["no way"]


def test_a_container_that_waits_to_be_started_again_is_read_at_the_end() -> None:
    answered = threading.Event()

    class Busy(Kubelet):
        def logs(self, pod: str, namespace: str, **options: Any) -> Stream:
            if not answered.is_set() and options.get("follow"):
                answered.wait(5)
            return super().logs(pod, namespace, **options)

    died = view()
    container = died.pod["status"]["containerStatuses"][0]
    container.update(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 3}})
    logs, _told = kept(Busy(Stream([line(1, "no way")], ends=True)))
    logs.attend([died])
    logs.finish([died], 1)
    answered.set()
    assert logs.lines()["worker-0"] == ["no way"]
