# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pods print, kept while they print it: a pod that is gone has taken its log along.

Every container is followed by a thread of its own, as long as there are not too many; those beyond are read when they
have ended. The kubelet keeps the log of the container before the present one, and no older: what was missed of a
restart is read from there.

This plugin util is private to the collection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..module_utils.errors import ActionFailed
from ..module_utils.events import Event, parse_line
from ..module_utils.kubernetes_client import Cluster, Lines
from ..module_utils.pod_view import CONTAINER, PodView

#: Logs that are followed at once. A chief's is always among them.
FOLLOWED = 40
#: Seconds before a log that broke off is asked for again.
PAUSE = 0.5


@dataclass
class Chapter:
    """The log of one container: of one start of one pod of a task.

    Attributes:
        task: ``role-index``.
        pod: the pod's name.
        node: where it ran.
        start: how often the pod's container had been restarted before.
        lines: what it has printed so far.
        events: the trainer's events among them.
        complete: whether the container has ended and all of it is here.
    """

    task: str
    pod: str
    node: str
    start: int
    lines: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    complete: bool = False


class PodLogs:
    """The logs of a run's pods.

    Args:
        cluster: who is asked.
        namespace: where the pods are.
        run_id: events of another run are prose.
        changed: called when something was printed that a program may want to know of.
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
        self._lock = threading.Lock()
        self._closed = False

    def attend(self, pods: Sequence[PodView]) -> None:
        """Look after the logs of pods as they are now."""
        self._views = {pod.uid: pod for pod in pods}
        alive = sum(1 for thread in self._followers.values() if thread.is_alive())
        for pod in sorted(pods, key=lambda view: (view.component != "chief", view.task.role != "ps", view.task.index)):
            if not (pod.running or pod.ends):
                continue
            if pod.restarts and (pod.uid, pod.restarts - 1) not in self._chapters:
                self._read(pod, pod.restarts - 1, previous=True)
            # Between two containers the one that ended last is the present one.
            present = (pod.uid, pod.restarts)
            if present in self._followers or (pod.component != "chief" and alive >= FOLLOWED):
                continue
            self._chapter(pod, pod.restarts)
            thread = threading.Thread(target=self._follow, args=(pod, present), name=f"log {pod.name}", daemon=True)
            self._followers[present] = thread
            alive += 1
            thread.start()

    def finish(self, pods: Sequence[PodView], seconds: float) -> None:
        """Read what is still missing, for at most about ``seconds``, and end."""
        deadline = time.monotonic() + seconds
        for pod in pods:
            key = (pod.uid, pod.restarts)
            thread = self._followers.get(key)
            if thread is not None and pod.end is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
            elif thread is None and (pod.running or pod.ends):
                self._read(pod, pod.restarts, previous=False)
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

    def _chapter(self, pod: PodView, start: int) -> Chapter:
        with self._lock:
            chapter = Chapter(pod.task.name, pod.name, pod.node, start)
            return self._chapters.setdefault((pod.uid, start), chapter)

    def _read(self, pod: PodView, start: int, *, previous: bool) -> None:
        """Read a log as it is; what cannot be read any more stays empty."""
        chapter = self._chapter(pod, start)
        try:
            for line in self._cluster.logs(pod.name, self._namespace, container=CONTAINER, previous=previous):
                self._take(chapter, line)
        except ActionFailed:
            return
        chapter.complete = True

    def _follow(self, pod: PodView, key: tuple[str, int]) -> None:
        chapter = self._chapters[key]
        last = ""
        while not self._closed:
            # A stream ends with its container, and with the server that it came from.
            over = self._over(key)
            try:
                stream = self._cluster.logs(
                    pod.name,
                    self._namespace,
                    container=CONTAINER,
                    follow=not over,
                    previous=over and self._replaced(key),
                    since=last,
                    timestamps=True,
                )
                self._streams[key] = stream
                for line in stream:
                    stamp, _space, text = line.partition(" ")
                    # After a break the log begins again with the second of the last line.
                    if stamp > last:
                        self._take(chapter, text)
                        last = stamp
            except ActionFailed as error:
                if error.code == "not_found":
                    return
            if over:
                chapter.complete = True
                return
            self._changed()
            time.sleep(PAUSE)

    def _over(self, key: tuple[str, int]) -> bool:
        """Whether a container has ended, as far as the pod tells."""
        view = self._views.get(key[0])
        return view is None or view.end is not None or self._replaced(key)

    def _replaced(self, key: tuple[str, int]) -> bool:
        view = self._views.get(key[0])
        return view is not None and view.restarts > key[1]

    def _take(self, chapter: Chapter, line: str) -> None:
        chapter.lines.append(line)
        event = parse_line(line)
        if event is not None and event.run_id == self._run_id:
            chapter.events.append(event)
            self._changed()
