"""A cluster in memory: objects, the controllers that make pods of sets, and a plug that can be pulled at any request.

After every request it looks at all pods and remembers whether two host lists were ever alive at once.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.kube_errors import Request, refusal
from ansible_collections.dtf.cluster.plugins.module_utils.kube_labels import (
    ANNOTATION_HOSTS_HASH,
    LABEL_COMPONENT,
    LABEL_RUN_ID,
)
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Listing


class PlugPulled(Exception):
    """The controller was killed in the midst of a change."""


class FakeCluster:
    """What :mod:`kube_topology` asks of a cluster; a pod that is asked to go does so after two looks."""

    def __init__(self, namespaces: tuple[str, ...] = ("default",)) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.namespaces = namespaces
        self.requests: Counter[str] = Counter()
        self.writes = 0
        self.pull_at: int | None = None
        self.mixed: list[set[str]] = []
        self.refuse: dict[str, ActionFailed] = {}
        self.order: list[str] = []
        self.log: dict[str, list[str]] = {}

    def version(self) -> tuple[int, int]:
        return (1, 36)

    def is_openshift(self) -> bool:
        return False

    def list(self, kind: str, namespace: str, labels: str = "") -> Listing:
        self.requests[f"list {kind}"] += 1
        self._controllers()
        if namespace not in self.namespaces:
            return Listing([], "1")
        wanted = dict(pair.split("=") for pair in labels.split(",") if pair)
        found = [
            copy.deepcopy(entry)
            for (of_kind, _name), entry in sorted(self.objects.items())
            if of_kind == kind and wanted.items() <= entry["metadata"].get("labels", {}).items()
        ]
        return Listing(found, "1")

    def apply(self, manifest: dict[str, Any], dry_run: bool = False, force: bool = False) -> dict[str, Any]:
        del force
        self.requests["try" if dry_run else "apply"] += 1
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind in self.refuse:
            raise self.refuse[kind]
        if manifest["metadata"]["namespace"] not in self.namespaces:
            body = b'{"kind": "Status", "message": "namespaces \\"training\\" not found"}'
            raise refusal(Request("apply", kind, name, "training"), 404, body)
        if dry_run:
            return copy.deepcopy(manifest)
        self._write(f"apply {kind} {name}")
        before = self.objects.get((kind, name))
        if before is not None and kind in ("Job", "StatefulSet"):
            assert before["spec"]["template"] == manifest["spec"]["template"], "a template is immutable"
        self.objects[kind, name] = copy.deepcopy(manifest)
        self._controllers()
        return copy.deepcopy(manifest)

    def patch(self, kind: str, name: str, _namespace: str, document: dict[str, Any], dry_run: bool = False) -> None:
        self.requests["patch"] += 1
        if dry_run:
            return
        self._write(f"patch {kind} {name}")
        self.objects[kind, name]["spec"].update(document["spec"])

    def delete(self, kind: str, name: str, _namespace: str) -> bool:
        self.requests["delete"] += 1
        self._write(f"delete {kind} {name}")
        return self.objects.pop((kind, name), None) is not None

    def delete_collection(self, kind: str, namespace: str, labels: str, dry_run: bool = False) -> None:
        self.requests["delete"] += 1
        if dry_run:
            return
        self._write(f"delete {kind} of {labels.rpartition('=')[2]}")
        for entry in self.list(kind, namespace, labels).items:
            if kind == "Pod":
                self.objects[kind, entry["metadata"]["name"]]["metadata"].setdefault("deletionTimestamp", 2)
            else:
                del self.objects[kind, entry["metadata"]["name"]]

    def logs(self, pod: str, _namespace: str) -> list[str]:
        return self.log.get(self.objects["Pod", pod]["metadata"]["labels"][LABEL_RUN_ID], [])

    def end(self, component: str, condition: str, phase: str) -> None:
        """Let the Job of a part end, and its pods with it."""
        for (kind, _name), entry in self.objects.items():
            if entry["metadata"].get("labels", {}).get(LABEL_COMPONENT) != component:
                continue
            if kind == "Job":
                entry["status"] = {"conditions": [{"type": condition, "status": "True", "reason": "X", "message": "Y"}]}
            elif kind == "Pod":
                entry["status"]["phase"] = phase

    def _write(self, what: str) -> None:
        self.writes += 1
        if self.pull_at == self.writes:
            raise PlugPulled(what)
        self.order.append(what)

    def _controllers(self) -> None:
        """Make the pods that sets want, let those go that nobody wants, see what is alive at once."""
        sets = {name: entry for (kind, name), entry in self.objects.items() if kind in ("Job", "StatefulSet")}
        for name, pod in [(name, entry) for (kind, name), entry in self.objects.items() if kind == "Pod"]:
            owner = sets.get(pod["owner"])
            if owner is None or name.rpartition("-")[2] not in map(str, range(_size(owner))):
                # Its controller asks it to go; one that has ended has nothing left to do.
                pod["metadata"].setdefault("deletionTimestamp", 2 if pod["status"]["phase"] == "Running" else 0)
            left = pod["metadata"].get("deletionTimestamp")
            if left == 0:
                del self.objects["Pod", name]
            elif left is not None:
                pod["metadata"]["deletionTimestamp"] = left - 1
        for name, entry in sets.items():
            ended = (entry.get("status") or {}).get("conditions")
            for index in range(0 if ended else _size(entry)):
                self.objects.setdefault(("Pod", f"{name}-{index}"), _pod(entry, index))
        alive = {
            entry["metadata"]["annotations"][ANNOTATION_HOSTS_HASH]
            for (kind, _name), entry in self.objects.items()
            if kind == "Pod" and entry["status"]["phase"] == "Running"
        }
        if len(alive) > 1:
            self.mixed.append(alive)


def _size(entry: dict[str, Any]) -> int:
    spec = entry["spec"]
    return 0 if spec.get("suspend") else int(spec.get("parallelism", spec.get("replicas", 0)))


def _pod(owner: dict[str, Any], index: int) -> dict[str, Any]:
    template = copy.deepcopy(owner["spec"]["template"])
    name = "{}-{}".format(owner["metadata"]["name"], index)
    return {
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": name, "uid": name, "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "trainer", "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}}}],
        },
        "owner": owner["metadata"]["name"],
    }
