# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A topology as Kubernetes objects, as plain values in the order of applying.

Objects are per set of equal tasks, never per task: their number is the same for two workers and for a thousand. What
goes into the pods of a set is :mod:`pod_template`'s.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from .errors import InvalidInput, Problem
from .hosts import PodRun, TaskSet, host_list, task_sets
from .kube_labels import (
    ANNOTATION_HOSTS_HASH,
    ANNOTATION_RUN,
    ANNOTATION_SPEC,
    ANNOTATION_SPEC_HASH,
    LABEL_MANAGED_BY,
    LABEL_PART_OF,
    LABEL_RUN_ID,
    MANAGER,
    label_value,
    selecting_labels,
)
from .pod_template import pod_template
from .spec import Topology
from .spec_kubernetes import Kubernetes

#: ``(apiVersion, kind, plural)`` of all that a topology may be made of, in the order of applying.
KINDS = (
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("v1", "Service", "services"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("batch/v1", "Job", "jobs"),
    ("apps/v1", "StatefulSet", "statefulsets"),
)

#: One text of a program's environment is at most 32 pages of 4 KiB, its end included (execve(2), MAX_ARG_STRLEN).
_ENVIRONMENT_TEXT = 32 * 4096 - 1
_LARGEST_INT32 = 2**31 - 1


def objects(
    topology: Topology, run: PodRun, *, openshift: bool = False, server_version: tuple[int, int] = (1, 36)
) -> list[dict[str, object]]:
    """Return every object of a topology's run.

    Args:
        topology: what is wanted, with ``kubernetes``.
        run: the run it is wanted for.
        openshift: the cluster gives every namespace its own users and groups, so that none is asked for.
        server_version: ``(major, minor)``; no field is used that this server does not know.

    Raises:
        InvalidInput: a patch does not fit, or a host list is too long; with every problem.
    """
    kubernetes = pods_of(topology)
    problems = _host_list_problems(topology)
    templates = {}
    for entry in task_sets(topology):
        metadata = {
            "labels": labels(topology, entry.component, run.run_id),
            "annotations": hashes(topology),
        }
        templates[entry.component], misfits = pod_template(topology, entry, run, metadata, openshift)
        problems.extend(problem for problem in misfits if problem not in problems)
    if problems:
        raise InvalidInput(f"topology {topology.name!r}", problems)
    found = [_config_map(topology, run), *_claims(topology)]
    found.extend(_service(topology, entry) for entry in task_sets(topology))
    if kubernetes.network_policy:
        found.append(_network_policy(topology, openshift))
    if kubernetes.disruption_budget:
        found.extend(_disruption_budget(topology, entry) for entry in task_sets(topology))
    make = {"indexed_job": _job, "statefulset": _stateful_set}[kubernetes.backend]
    found.extend(
        make(topology, entry, run, templates[entry.component], server_version) for entry in task_sets(topology)
    )
    return found


def pods_of(topology: Topology) -> Kubernetes:
    """Return the part of a topology that only pods have; one of processes has no objects."""
    if topology.kubernetes is None:
        raise InvalidInput("topology", [Problem("runtime", topology.runtime, "kubernetes")])
    return topology.kubernetes


def labels(topology: Topology, component: str = "", run_id: str = "") -> dict[str, str]:
    """Return the labels of an object, with the part it belongs to and the run it is of where it has these."""
    return {
        **selecting_labels(topology.name, component),
        LABEL_MANAGED_BY: MANAGER,
        LABEL_PART_OF: label_value(topology.owner),
        **({LABEL_RUN_ID: run_id} if run_id else {}),
    }


def hosts_hash(topology: Topology) -> str:
    """Return a short stable digest of both host lists: pods in which it differs must never run at once."""
    lists = host_list(topology, "ps") + "\n" + host_list(topology, "worker")
    return hashlib.sha256(lists.encode("utf-8")).hexdigest()[:16]


def hashes(topology: Topology) -> dict[str, str]:
    """Return the annotations that say what a pod was made from."""
    return {ANNOTATION_SPEC_HASH: topology.spec_hash(), ANNOTATION_HOSTS_HASH: hosts_hash(topology)}


def _host_list_problems(topology: Topology) -> list[Problem]:
    found = []
    for role, field in (("ps", "ps.replicas"), ("worker", "workers.replicas")):
        length = len(f"{role.upper()}_HOSTS={host_list(topology, role)}")
        if length > _ENVIRONMENT_TEXT:
            accepted = (
                f"so few that their host list fits into an environment variable ({_ENVIRONMENT_TEXT} bytes, this is "
                f"{length}); shorter names of the topology and of the namespace help"
            )
            replicas = topology.ps.replicas if role == "ps" else topology.workers.replicas
            found.append(Problem(field, replicas, accepted))
    return found


def _object(
    topology: Topology, kind: str, name: str, entry: TaskSet | None = None, run_id: str = ""
) -> dict[str, object]:
    versions = {known: version for version, known, _plural in KINDS}
    return {
        "apiVersion": versions[kind],
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": pods_of(topology).namespace,
            "labels": labels(topology, entry.component if entry else "", run_id),
        },
    }


def _annotated(found: dict[str, object], annotations: Mapping[str, str]) -> dict[str, object]:
    return dict(found, metadata=dict(found["metadata"], annotations=dict(annotations)))  # type: ignore[call-overload]


def _config_map(topology: Topology, run: PodRun) -> dict[str, object]:
    memory = {
        "run_id": run.run_id,
        "created": run.created,
        "resumed_from": run.resumed_from,
        "candidates": list(run.candidates),
    }
    annotations = {
        ANNOTATION_SPEC: json.dumps(topology.as_dict(), sort_keys=True),
        ANNOTATION_RUN: json.dumps(memory, sort_keys=True),
        **hashes(topology),
    }
    data = {
        "ps.hostList": host_list(topology, "ps"),
        "worker.hostList": host_list(topology, "worker"),
        "finished": "",
    }
    return _annotated(_object(topology, "ConfigMap", topology.name), annotations) | {"data": data}


def _claims(topology: Topology) -> list[dict[str, object]]:
    volumes = pods_of(topology).volumes
    found = []
    for name, source in (("data", volumes.data), ("checkpoints", volumes.checkpoints), ("logs", volumes.logs)):
        claim = (source or {}).get("claim")
        if not isinstance(claim, Mapping):
            continue
        spec: dict[str, object] = {
            "accessModes": list(claim["access_modes"]),
            "resources": {"requests": {"storage": claim["size"]}},
        }
        if "storage_class" in claim:
            spec["storageClassName"] = claim["storage_class"]
        found.append(_object(topology, "PersistentVolumeClaim", f"{topology.name}-{name}") | {"spec": spec})
    return found


def _service(topology: Topology, entry: TaskSet) -> dict[str, object]:
    """Return the headless Service that gives each pod of a set its name, from before it is ready until it is gone."""
    return _object(topology, "Service", entry.name, entry) | {
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selecting_labels(topology.name, entry.component),
            "ports": [{"name": "grpc", "port": entry.port, "targetPort": entry.port, "protocol": "TCP"}],
        }
    }


def _network_policy(topology: Topology, openshift: bool) -> dict[str, object]:
    """Return the policy under which tasks reach each other on their ports, and DNS, and nothing else either way.

    TensorFlow's servers run whatever graph they are sent, unasked who sends it. So nobody else may send one, and a task
    that was made to do something cannot reach further than its peers: no metadata service, no internet. Kubelets mount
    volumes and pull images themselves. DNS is allowed by port, wherever it is, because a node's own cache has a
    link-local address; a policy sees the port of the pod that answers, which is 5353 on OpenShift. Policies add up:
    whoever gives a pod a companion that talks to others adds one for it.
    """
    ports = sorted({entry.port for entry in task_sets(topology)})
    peers = {"podSelector": {"matchLabels": selecting_labels(topology.name)}}
    tasks = [{"protocol": "TCP", "port": port} for port in ports]
    dns = [
        {"protocol": protocol, "port": port}
        for port in ([53, 5353] if openshift else [53])
        for protocol in ("UDP", "TCP")
    ]
    return _object(topology, "NetworkPolicy", topology.name) | {
        "spec": {
            "podSelector": {"matchLabels": selecting_labels(topology.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [peers], "ports": tasks}],
            "egress": [{"to": [peers], "ports": tasks}, {"ports": dns}],
        }
    }


def _disruption_budget(topology: Topology, entry: TaskSet) -> dict[str, object]:
    """Return how many pods of a set a drain has to leave.

    Without its ps and its chief a run falls back to a checkpoint, so a drain waits for them; of the workers one at a
    time may go and come back. ``maxUnavailable`` needs a controller that can be scaled, which a Job is not. A pod that
    is not ready is in nobody's way.
    """
    return _object(topology, "PodDisruptionBudget", entry.name, entry) | {
        "spec": {
            "minAvailable": entry.size - (entry.component == "worker"),
            "selector": {"matchLabels": selecting_labels(topology.name, entry.component)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }
    }


def _job(
    topology: Topology, entry: TaskSet, run: PodRun, template: Mapping[str, object], server_version: tuple[int, int]
) -> dict[str, object]:
    kubernetes = pods_of(topology)
    limit = topology.lifecycle.restart_limit
    spec: dict[str, object] = {
        "completionMode": "Indexed",
        "completions": entry.size,
        "parallelism": entry.size,
        # The controller gives up when the restarts of all pods together *reach* the limit, and 0 is no restart at all.
        "backoffLimit": min(limit * entry.size + 1, _LARGEST_INT32) if limit else 0,
        "suspend": False,
    }
    if server_version >= (1, 29):
        # Two pods of one index would share a name; before 1.29 a server drops the field, or refuses it.
        spec["podReplacementPolicy"] = "Failed"
    if kubernetes.active_deadline_seconds is not None:
        spec["activeDeadlineSeconds"] = kubernetes.active_deadline_seconds
    if kubernetes.ttl_seconds_after_finished is not None:
        spec["ttlSecondsAfterFinished"] = kubernetes.ttl_seconds_after_finished
    spec["template"] = template
    return _annotated(_object(topology, "Job", entry.name, entry, run.run_id), hashes(topology)) | {"spec": spec}


def _stateful_set(
    topology: Topology, entry: TaskSet, run: PodRun, template: Mapping[str, object], server_version: tuple[int, int]
) -> dict[str, object]:
    del server_version  # every field is older than what is supported
    spec = {
        "replicas": entry.size,
        "serviceName": entry.name,
        "podManagementPolicy": "Parallel",
        # A rolling update would mix old host lists with new ones. Pods change only by a planned re-roll.
        "updateStrategy": {"type": "OnDelete"},
        "selector": {"matchLabels": selecting_labels(topology.name, entry.component)},
        "template": template,
    }
    return _annotated(_object(topology, "StatefulSet", entry.name, entry, run.run_id), hashes(topology)) | {
        "spec": spec
    }
