# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A topology's objects as they are now, kept by watches: nothing is asked twice, and nothing that happens is missed.

Each kind is listed once and watched from there by a thread of its own. A watch that ends goes on from the last version
that was seen; one that is told that this version is forgotten (410) lists anew; a server that does not answer is tried
again until it does. Whoever waits is woken by every change.

This plugin util is private to the collection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..module_utils.errors import ActionFailed
from ..module_utils.kube_errors import Gone
from ..module_utils.kubernetes_client import Cluster, Watch
from ..module_utils.pod_view import seconds

Object = Mapping[str, Any]

#: Seconds before a server that did not answer is asked again; it doubles up to the second.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0
#: What an answer says that no waiting changes.
REFUSALS = ("forbidden", "unauthorized", "not_found", "namespace_missing")
#: Where kubelets tell that they live.
LEASES = "kube-node-lease"


@dataclass(frozen=True)
class Subject:
    """What is watched: the objects of a kind in a namespace that selectors match.

    Attributes:
        kind: their kind.
        namespace: where they are; empty for kinds that live nowhere.
        labels: label selector.
        optional: whether it is no matter that they may not be read.
    """

    kind: str
    namespace: str = ""
    labels: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Renewal:
    """One sign of life of a node: how far its clock was ahead of this machine's when the news came (seconds)."""

    node: str
    ahead: float


class ClusterWatch:
    """Objects of several kinds, as of now.

    Args:
        cluster: who is asked.
        subjects: what is watched.
    """

    def __init__(self, cluster: Cluster, subjects: Sequence[Subject]) -> None:
        self._cluster = cluster
        self._stores: dict[str, dict[str, Object]] = {}
        self._gone: dict[str, dict[str, Object]] = {}
        self._refused: dict[str, ActionFailed] = {}
        self._changed = threading.Condition()
        self._version = 0
        self._closing = threading.Event()
        self._watches: dict[str, Watch] = {}
        self._versions: dict[str, str] = {}
        self._heard: set[str] = set()
        self._silent: dict[str, float] = {}
        self.renewals: list[Renewal] = []
        self._expected = [subject.kind for subject in subjects]
        for subject in subjects:
            name = f"watch {subject.kind}"
            threading.Thread(target=self._follow, args=(subject,), name=name, daemon=True).start()

    def close(self) -> None:
        """End all watches."""
        self._closing.set()
        with self._changed:
            for watch in self._watches.values():
                watch.close()
            self._changed.notify_all()

    @property
    def silent_since(self) -> float | None:
        """Return since when the API server has not answered, by the monotonic clock; ``None`` while it does.

        What can be done without is no sign of silence.
        """
        with self._changed:
            return min(self._silent.values(), default=None)

    def ready(self, timeout: float) -> bool:
        """Wait until every kind was listed once.

        Raises:
            ActionFailed: one may not be read, and cannot be done without.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not self._complete():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def _complete(self) -> bool:
        self._raise_refusal()
        return all(kind in self._stores for kind in self._expected)

    def _raise_refusal(self) -> None:
        for error in self._refused.values():
            raise error

    def wait(self, version: int, timeout: float) -> int:
        """Wait until something changed since a version, or for ``timeout`` seconds; return the version of now.

        Raises:
            ActionFailed: a kind may be listed and not watched, and cannot be done without.
        """
        with self._changed:
            if self._version == version and not self._closing.is_set():
                self._changed.wait(timeout)
            self._raise_refusal()
            return self._version

    def poke(self) -> None:
        """Wake whoever waits: something else happened that is worth a look."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def objects(self, kind: str) -> list[Object]:
        """Return the objects of a kind that are there."""
        with self._changed:
            return list(self._stores.get(kind, {}).values())

    def departed(self, kind: str) -> list[Object]:
        """Return the objects of a kind that went while they were watched, as they were last."""
        with self._changed:
            return list(self._gone.get(kind, {}).values())

    def known(self, kind: str) -> bool:
        """Whether objects of a kind may be read."""
        with self._changed:
            return kind in self._stores

    def _follow(self, subject: Subject) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            try:
                if subject.kind not in self._versions:
                    self._list(subject)
                self._watch(subject)
                pause = FIRST_PAUSE
            except Gone:
                self._versions.pop(subject.kind, None)
            except ActionFailed as error:
                # A server that has just started refuses for a moment what it allowed before.
                if error.code in REFUSALS and subject.kind not in self._heard:
                    self._give_up(subject, error)
                    return
                # What was seen until the connection broke is kept; the watch goes on from there.
                self._unanswered(subject)
                pause = min(2 * pause, LONGEST_PAUSE)
            # Whatever a server does, it is not asked without a breath.
            self._closing.wait(pause)

    def _list(self, subject: Subject) -> None:
        listing = self._cluster.list(subject.kind, subject.namespace, labels=subject.labels)
        found: dict[str, Object] = {entry["metadata"]["uid"]: entry for entry in listing.items}
        with self._changed:
            for uid, entry in self._stores.get(subject.kind, {}).items():
                if uid not in found:
                    self._gone.setdefault(subject.kind, {})[uid] = entry
            self._stores[subject.kind] = found
            self._version += 1
            self._changed.notify_all()
        self._versions[subject.kind] = listing.resource_version
        self._answered(subject)

    def _watch(self, subject: Subject) -> None:
        version = self._versions[subject.kind]
        watch = self._cluster.watch(subject.kind, subject.namespace, resource_version=version, labels=subject.labels)
        with self._changed:
            self._watches[subject.kind] = watch
        if self._closing.is_set():
            watch.close()
        self._heard.add(subject.kind)
        self._answered(subject)
        for kind_of_event, entry in watch:
            self._versions[subject.kind] = entry["metadata"]["resourceVersion"]
            if kind_of_event != "BOOKMARK":
                self._take(subject, kind_of_event, entry)

    def _take(self, subject: Subject, kind_of_event: str, entry: Object) -> None:
        uid = entry["metadata"]["uid"]
        if subject.kind == "Lease":
            self._renewed(entry)
        with self._changed:
            store = self._stores.setdefault(subject.kind, {})
            if kind_of_event == "DELETED":
                store.pop(uid, None)
                self._gone.setdefault(subject.kind, {})[uid] = entry
            else:
                store[uid] = entry
            if subject.kind != "Lease":
                self._version += 1
                self._changed.notify_all()

    def _renewed(self, lease: Object) -> None:
        renewed = seconds((lease.get("spec") or {}).get("renewTime"))
        if renewed is not None:
            self.renewals.append(Renewal(str(lease["metadata"]["name"]), renewed - time.time()))

    def _give_up(self, subject: Subject, error: ActionFailed) -> None:
        with self._changed:
            # What is listed and cannot be followed would grow old.
            self._stores.pop(subject.kind, None)
            if subject.optional:
                self._expected.remove(subject.kind)
            else:
                self._refused[subject.kind] = error
            self._version += 1
            self._changed.notify_all()

    def _answered(self, subject: Subject) -> None:
        with self._changed:
            self._silent.pop(subject.kind, None)

    def _unanswered(self, subject: Subject) -> None:
        if not subject.optional:
            with self._changed:
                self._silent.setdefault(subject.kind, time.monotonic())
