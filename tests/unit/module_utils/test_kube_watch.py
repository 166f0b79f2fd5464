"""Watches that end, break, are told that they know too little, or may not be; against a server of literals."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.kube_errors import Gone
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Listing
from ansible_collections.dtf.cluster.plugins.plugin_utils import kube_watch
from ansible_collections.dtf.cluster.plugins.plugin_utils.kube_watch import ClusterWatch, Subject

UNREACHABLE = ActionFailed("unreachable", "no answer")
PODS = Subject("Pod", "ns", "app=t")


def pod(name: str, version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}, **more}


class Stream:
    """What a server sends over one watch; ``None`` ends it, an exception breaks it."""

    def __init__(self) -> None:
        self.news: queue.Queue[Any] = queue.Queue()

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        while (news := self.news.get(timeout=10)) is not None:
            if isinstance(news, Exception):
                raise news
            yield news

    def close(self) -> None:
        self.news.put(None)


class Server:
    """Lists what it was given in turn, and opens a stream for every watch."""

    def __init__(self, *lists: Any) -> None:
        self._lists = list(lists)
        self.opened: queue.Queue[tuple[str, Stream]] = queue.Queue()
        self.listed = 0
        self.refuses: Exception | None = None

    def list(self, _kind: str, _namespace: str, *, labels: str) -> Listing:
        assert labels in ("app=t", "")
        self.listed += 1
        answer = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        if isinstance(answer, Exception):
            raise answer
        version, *items = answer
        return Listing(items, str(version))

    def watch(self, _kind: str, _namespace: str, *, resource_version: str, labels: str) -> Stream:
        assert labels in ("app=t", "")
        if self.refuses is not None:
            raise self.refuses
        stream = Stream()
        self.opened.put((resource_version, stream))
        return stream

    def next_watch(self) -> tuple[str, Stream]:
        """Wait for the next watch; return the version it begins with, and its stream."""
        return self.opened.get(timeout=10)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(kube_watch, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def watching() -> Iterator[Callable[..., ClusterWatch]]:
    begun: list[ClusterWatch] = []

    def begin(server: Any, *subjects: Subject) -> ClusterWatch:
        begun.append(ClusterWatch(server, subjects or (PODS,)))
        return begun[-1]

    yield begin
    for watch in begun:
        watch.close()


def names(watch: ClusterWatch) -> list[str]:
    return sorted(entry["metadata"]["name"] for entry in watch.objects("Pod"))


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    while not holds():
        threading.Event().wait(0.005)


def test_what_is_there_is_listed_once_and_then_only_heard_of(watching: Callable[..., ClusterWatch]) -> None:
    server = Server((5, pod("a", 3)))
    watch = watching(server)
    assert watch.ready(10)
    version, stream = server.next_watch()
    assert version == "5"
    stream.news.put(("ADDED", pod("b", 6)))
    stream.news.put(("MODIFIED", pod("a", 7, status={"phase": "Running"})))
    stream.news.put(("DELETED", pod("b", 8, status={"phase": "Failed"})))
    until(lambda: bool(watch.departed("Pod")))
    assert [entry.get("status") for entry in watch.objects("Pod")] == [{"phase": "Running"}]
    assert [entry["status"] for entry in watch.departed("Pod")] == [{"phase": "Failed"}]
    assert server.listed == 1


def test_a_watch_that_ends_goes_on_from_the_last_version_and_a_bookmark_is_one(
    watching: Callable[..., ClusterWatch],
) -> None:
    server = Server((5,))
    watching(server)
    _version, stream = server.next_watch()
    stream.news.put(("ADDED", pod("a", 6)))
    stream.news.put(("BOOKMARK", {"metadata": {"resourceVersion": "41"}}))
    stream.news.put(None)
    assert server.next_watch()[0] == "41"
    assert server.listed == 1


def test_nothing_is_missed_while_the_server_is_away(watching: Callable[..., ClusterWatch]) -> None:
    server = Server((5, pod("a", 3)))
    watch = watching(server)
    _version, stream = server.next_watch()
    stream.news.put(("ADDED", pod("b", 6)))
    server.refuses = UNREACHABLE
    stream.news.put(UNREACHABLE)
    until(lambda: watch.silent_since is not None)
    assert names(watch) == ["a", "b"]
    server.refuses = None
    version, stream = server.next_watch()
    assert version == "6"
    until(lambda: watch.silent_since is None)
    stream.news.put(("DELETED", pod("a", 9)))
    until(lambda: names(watch) == ["b"])
    assert server.listed == 1


def test_a_version_that_is_forgotten_is_listed_anew_and_what_went_meanwhile_has_gone(
    watching: Callable[..., ClusterWatch],
) -> None:
    server = Server((5, pod("a", 3), pod("b", 4)), (90, pod("b", 4), pod("c", 80)))
    watch = watching(server)
    _version, stream = server.next_watch()
    stream.news.put(Gone("gone", "too old"))
    assert server.next_watch()[0] == "90"
    assert names(watch) == ["b", "c"]
    assert [entry["metadata"]["name"] for entry in watch.departed("Pod")] == ["a"]
    assert server.listed == 2


def test_a_server_that_is_away_at_first_is_asked_until_it_answers(watching: Callable[..., ClusterWatch]) -> None:
    server = Server(UNREACHABLE, UNREACHABLE, (5, pod("a", 3)))
    watch = watching(server)
    assert watch.ready(10)
    assert names(watch) == ["a"]


def test_what_may_not_be_read_is_an_error_unless_it_can_be_done_without(
    watching: Callable[..., ClusterWatch],
) -> None:
    refused = ActionFailed("forbidden", "list Pod: no")
    with pytest.raises(ActionFailed, match="list Pod: no"):
        watching(Server(refused)).ready(10)
    watch = watching(Server(refused), Subject("Node", optional=True))
    assert watch.ready(10)
    assert (watch.objects("Node"), watch.known("Node")) == ([], False)


def test_a_refusal_after_the_first_list_is_waited_out(watching: Callable[..., ClusterWatch]) -> None:
    """A server that comes up again does not know its users for a moment."""
    server = Server((5, pod("a", 3)))
    watch = watching(server)
    _version, stream = server.next_watch()
    server.refuses = ActionFailed("forbidden", "not yet")
    stream.news.put(UNREACHABLE)
    until(lambda: watch.silent_since is not None)
    server.refuses = None
    assert server.next_watch()[0] == "5"


def test_what_may_be_listed_and_not_watched_is_refused_too(watching: Callable[..., ClusterWatch]) -> None:
    server = Server((5, pod("a", 3)))
    server.refuses = ActionFailed("forbidden", "watch Pod: no")
    watch = watching(server)

    def look_on() -> None:
        while True:
            watch.wait(-1, 10)

    with pytest.raises(ActionFailed, match="watch Pod: no"):
        look_on()
    watch = watching(server, Subject("Node", optional=True))
    until(lambda: not watch.known("Node") and watch.ready(0))
    assert watch.objects("Node") == []


def test_what_can_be_done_without_is_no_sign_of_silence(watching: Callable[..., ClusterWatch]) -> None:
    """One kind that no longer answers must not keep the others from being believed."""
    server = Server((5,))
    watch = watching(server, Subject("Lease", optional=True))
    _version, stream = server.next_watch()
    server.refuses = UNREACHABLE
    stream.news.put(UNREACHABLE)
    server.refuses = None
    assert server.next_watch()[0] == "5"
    assert watch.silent_since is None


def test_silence_lasts_until_every_kind_is_heard_of_again(watching: Callable[..., ClusterWatch]) -> None:
    server = Server((5,))
    watch = watching(server, PODS, Subject("Job"))
    streams = [server.next_watch()[1] for _kind in range(2)]
    server.refuses = UNREACHABLE
    for stream in streams:
        stream.news.put(UNREACHABLE)
    until(lambda: watch.silent_since is not None)
    server.refuses = None
    for _kind in range(2):
        server.next_watch()
    until(lambda: watch.silent_since is None)


def test_a_change_wakes_who_waits(watching: Callable[..., ClusterWatch]) -> None:
    server = Server((5,))
    watch = watching(server)
    assert watch.ready(10)
    _version, stream = server.next_watch()
    version = watch.wait(-1, 0)
    stream.news.put(("ADDED", pod("a", 6)))
    assert watch.wait(version, 10) > version
    assert names(watch) == ["a"]


def test_kubelets_tell_the_time(watching: Callable[..., ClusterWatch]) -> None:
    server = Server((5,))
    watch = watching(server, Subject("Lease", "kube-node-lease"))
    _version, stream = server.next_watch()
    ahead = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 3600)) + ".000000Z"
    stream.news.put(("MODIFIED", pod("n1", 6, spec={"renewTime": ahead})))
    until(lambda: bool(watch.renewals))
    (renewal,) = watch.renewals
    assert renewal.node == "n1"
    assert renewal.ahead == pytest.approx(3600, abs=5)
