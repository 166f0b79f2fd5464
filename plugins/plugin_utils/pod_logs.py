# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pods print, kept while they print it: a pod that is gone has taken its log along.

Every container is followed by a thread of its own, as long as there are not too many; those beyond are read when they
have ended. The kubelet keeps the log of the container before the present one, and no older: what was missed of a
restart is read from there. It gives the log of whichever container is there when it is asked, and the news of a restart
may come later than its first lines: each line is known by its time stamp, and taken once.

This plugin util is private to the collection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..module_utils.errors import ActionFailed
from ..module_utils.events import Event, parse_line
from ..module_utils.kubernetes_client import Cluster, Lines
from ..module_utils.pod_view import CONTAINER, PodView

#: Logs that are followed at once. A chief's is always among them.
FOLLOWED = 40
#: Seconds before a log that broke off is asked for again.
PAUSE = 0.5
#: How often in a row nobody knows the pod before its log is given up: for about a minute, in which a kubelet that was
#: started anew learns from the API server what it runs.
UNKNOWN = 120


@dataclass
class Chapter:
    """The log of one container: of one start of one pod of a task.

    Attributes:
        task: ``role-index``.
        pod: the pod's name.
        uid: what tells it from another pod of that name.
        node: where it ran.
        start: how often the pod's container had been restarted before.
        attempt: how often the task had been started before, in this pod or another.
        lines: what it has printed so far.
        events: the trainer's events among them.
        complete: whether the container has ended and all of it is here.
        last: time stamp of the newest line.
    """

    task: str
    pod: str
    uid: str
    node: str
    start: int
    attempt: int = 0
    lines: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    complete: bool = False
    last: str = ""


class PodLogs:
    """The logs of a run's pods.

    Args:
        cluster: who is asked.
        namespace: where the pods are.
        run_id: events of another run are prose.
        changed: called when something was printed that is worth a look; progress can wait for the next one.
    """

    def __init__(self, cluster: Cluster, namespace: str, run_id: str, changed: Callable[[], None]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._run_id = run_id
        self._changed = changed
        self._chapters: dict[tuple[str, int], Chapter] = {}
        self._followers: dict[tuple[str, int], threading.Thread] = {}
        self._streams: dict[tuple[str, int], Lines] = {}
        self._views: dict[str, PodView] = {}
        self._seen: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def attend(self, pods: Sequence[PodView]) -> None:
        """Look after the logs of pods as they are now."""
        self._views = {pod.uid: pod for pod in pods}
        alive = sum(1 for thread in self._followers.values() if thread.is_alive())
        for pod in sorted(pods, key=lambda view: (view.component != "chief", view.task.role != "ps", view.task.index)):
            if not (pod.running or pod.ends):
                continue
            # Between two containers the one that ended last is the present one.
            for start in (pod.restarts - 1, pod.restarts):
                missed = start < pod.restarts
                known = (pod.uid, start) in (self._chapters if missed else self._followers)
                if start < 0 or known or (pod.component != "chief" and not missed and alive >= FOLLOWED):
                    continue
                self._begin(pod, start, self._keep_previous if missed else self._follow)
                alive += 1

    def finish(self, pods: Sequence[PodView], seconds: float) -> None:
        """Read what is still missing, for at most about ``seconds``, and end."""
        deadline = time.monotonic() + seconds
        for pod in pods:
            # What killed a task is often said by the container before the present one.
            for start in range(max(0, pod.restarts - 1), pod.restarts + 1):
                self._complete(pod, start, deadline)
        self.close()

    def close(self) -> None:
        """Follow no log any more."""
        self._closed = True
        for stream in list(self._streams.values()):
            stream.close()

    def chapters(self, task: str | None = None) -> list[Chapter]:
        """Return the logs of a task, or of all, in the order in which their containers were first seen."""
        with self._lock:
            return [entry for entry in self._chapters.values() if task in (None, entry.task)]

    def events(self, task: str | None = None) -> list[Event]:
        """Return the trainer's events of a task, or of all, as far as they are known."""
        return [event for chapter in self.chapters(task) for event in list(chapter.events)]

    def lines(self) -> Mapping[str, list[str]]:
        """Return each task's whole log."""
        found: dict[str, list[str]] = {}
        for chapter in self.chapters():
            found.setdefault(chapter.task, []).extend(chapter.lines)
        return found

    def _complete(self, pod: PodView, start: int, deadline: float) -> None:
        """Wait for the follower of a container that has ended, or read what nobody follows."""
        thread, previous = self._followers.get((pod.uid, start)), start < pod.restarts
        if thread is not None and (previous or pod.end is not None):
            thread.join(max(0.0, deadline - time.monotonic()))
            return
        # Between two containers a follower of the last one waits for the next, and may not have begun to read.
        unread = pod.running or pod.ends if thread is None else pod.ends and not pod.running
        if unread and time.monotonic() < deadline:
            self._read(self._chapter(pod, start), pod, previous=previous)

    def _begin(self, pod: PodView, start: int, work: Callable[[PodView, Chapter], None]) -> None:
        chapter = self._chapter(pod, start)
        thread = threading.Thread(target=work, args=(pod, chapter), name=f"log {pod.name}", daemon=True)
        self._followers[pod.uid, start] = thread
        thread.start()

    def _chapter(self, pod: PodView, start: int) -> Chapter:
        with self._lock:
            before = sum(1 for entry in self._chapters.values() if entry.task == pod.task.name)
            chapter = Chapter(pod.task.name, pod.name, pod.uid, pod.node, start, max(start, before))
            return self._chapters.setdefault((pod.uid, start), chapter)

    def _keep_previous(self, pod: PodView, chapter: Chapter) -> None:
        self._read(chapter, pod, previous=True)

    def _read(self, chapter: Chapter, pod: PodView, *, previous: bool) -> None:
        """Read a log as it is; what cannot be read any more stays empty."""
        try:
            lines = self._cluster.logs(
                pod.name, self._namespace, container=CONTAINER, previous=previous, timestamps=True
            )
            for line in lines:
                self._take(chapter, line)
        except ActionFailed:
            return
        chapter.complete = True

    def _follow(self, pod: PodView, chapter: Chapter) -> None:
        unknown = 0
        while not self._closed:
            # A stream ends with its container, and with the server that it came from.
            over, previous = self._over(chapter), self._replaced(chapter)
            try:
                stream = self._cluster.logs(
                    pod.name,
                    self._namespace,
                    container=CONTAINER,
                    follow=not over,
                    previous=previous,
                    since=chapter.last,
                    timestamps=True,
                )
                self._streams[chapter.uid, chapter.start] = stream
                unknown = 0
                for line in stream:
                    if self._replaced(chapter) and not previous:
                        # From here on the next chapter's own follower reads.
                        break
                    self._take(chapter, line)
            except ActionFailed as error:
                unknown = unknown + 1 if error.code == "not_found" else 0
                view = self._views.get(chapter.uid)
                leaves = unknown > 0 and (view is None or view.terminating)
                if leaves or unknown >= UNKNOWN or (over and error.code != "unreachable"):
                    return
                over = False
            if over:
                chapter.complete = True
                return
            self._changed()
            time.sleep(PAUSE)

    def _over(self, chapter: Chapter) -> bool:
        """Whether a container has ended, as far as the pod tells."""
        view = self._views.get(chapter.uid)
        return view is None or view.end is not None or self._replaced(chapter)

    def _replaced(self, chapter: Chapter) -> bool:
        view = self._views.get(chapter.uid)
        return view is not None and view.restarts > chapter.start

    def _take(self, chapter: Chapter, stamped: str) -> None:
        stamp, _space, line = stamped.partition(" ")
        with self._lock:
            seen = self._seen.setdefault(chapter.uid, set())
            if stamped in seen:
                return
            seen.add(stamped)
            chapter.last = max(chapter.last, stamp)
            chapter.lines.append(line)
        event = parse_line(line)
        if event is not None and event.run_id == self._run_id:
            chapter.events.append(replace(event, attempt=chapter.attempt))
            if event.event != "progress":
                self._changed()
