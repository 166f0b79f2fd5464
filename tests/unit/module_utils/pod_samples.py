"""Pods and events as the API writes them; every stamp is seconds after :data:`BEGIN`."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.dtf.cluster.plugins.module_utils.events import Event
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import task_sets, tasks
from ansible_collections.dtf.cluster.plugins.module_utils.pod_view import PodView, pod_views
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

#: 2026-01-02T03:04:00Z.
BEGIN = 1767323040.0
DIGEST = "sha256:" + "0f" * 32


def topology(workers: int = 2, backend: str = "indexed_job") -> Topology:
    kubernetes = {"image": "x", "backend": backend}
    given = {"name": "demo", "runtime": "kubernetes", "workers": {"replicas": workers}, "kubernetes": kubernetes}
    return Topology.from_params(given)


def stamp(second: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BEGIN + second))


def ended(code: int, begin: float = 0, end: float = 0, reason: str = "Error") -> dict[str, Any]:
    stamps = {"startedAt": stamp(begin), "finishedAt": stamp(end)}
    return {"terminated": {"exitCode": code, "reason": reason, **stamps}}


def pod(component: str, created: float = 1, bound: float | None = 2, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a pod; ``more``: ``state``, ``last``, ``restarts``, ``node``, ``uid``, ``run_id``, ``phase``."""
    name = f"demo-{component}-{index}"
    uid = more.get("uid", name)
    labels = {"app.kubernetes.io/component": component, "dtf.cluster/run-id": more.get("run_id", "r")}
    binding = {"type": "PodScheduled", "status": "False" if bound is None else "True"}
    container = {
        "name": "trainer",
        "imageID": "registry.example.com/trainer@" + DIGEST,
        "restartCount": more.get("restarts", 0),
        "state": more.get("state", {"running": {"startedAt": stamp(3)}}),
        "lastState": more.get("last", {}),
    }
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": uid, "creationTimestamp": stamp(created), "labels": labels},
        "spec": {"nodeName": more.get("node", "w1") if bound is not None else None},
        "status": {
            "phase": more.get("phase", "Running"),
            "conditions": [{**binding, "lastTransitionTime": stamp(bound or 0)}],
            "containerStatuses": [container],
        },
    }


def views(wanted: Topology, *pods: dict[str, Any]) -> list[PodView]:
    return pod_views(pods, task_sets(wanted), tasks(wanted))


def view(component: str, **more: Any) -> PodView:
    return views(topology(), pod(component, **more))[0]


def pulled(uid: str, words: str, second: float = 2) -> dict[str, Any]:
    """Return the kubelet's event about an image."""
    return {
        "metadata": {"name": uid, "creationTimestamp": stamp(second)},
        "involvedObject": {"kind": "Pod", "name": uid, "uid": uid},
        "type": "Normal",
        "reason": "Pulled",
        "message": words,
    }


def said(role: str, index: int, moments: dict[str, float], boot: float = 1000, **fields: Any) -> list[Event]:
    """Return a process's events; its node was booted ``boot`` seconds before :data:`BEGIN`."""
    return [
        Event(name, "r", role, index, 0, BEGIN + moment, boot + moment, fields.get(name, {}))
        for name, moment in moments.items()
    ]
