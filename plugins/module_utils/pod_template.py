# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs in the pods of a set: one container with the trainer, what it may do, what it gets, where it goes.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

from .errors import Problem
from .hosts import PodRun, TaskSet, keeping_flags, training_flags
from .kube_labels import LABEL_COMPONENT, LABEL_INSTANCE, LABEL_NAME
from .quantities import parse
from .spec import TaskGroup, Topology
from .spec_kubernetes import Kubernetes
from .strategic_merge import merge_template

CONTAINER = "trainer"
CONFIG_DIR = "/etc/dtf"
DATA_DIR = "/data"
CHECKPOINT_DIR = "/var/lib/dtf/checkpoints"
LOG_DIR = "/var/lib/dtf/logs"
SCRATCH_DIR = "/tmp"  # noqa: S108  a volume of the pod's own
GPU = "nvidia.com/gpu"

_USER = 1000
_HOSTNAME = "kubernetes.io/hostname"


def pod_template(
    topology: Topology, entry: TaskSet, run: PodRun, metadata: Mapping[str, Mapping[str, str]], openshift: bool
) -> tuple[dict[str, object], list[Problem]]:
    """Return the pod template of a set with the user's patches laid over it, and what of these does not fit.

    Args:
        topology: the topology, with ``kubernetes``.
        entry: one of its sets.
        run: the run.
        metadata: labels and annotations; a patch may add to them, but what is there stays.
        openshift: leave the choice of user and groups to the cluster.
    """
    kubernetes = topology.kubernetes or Kubernetes(image="")
    template: dict[str, object] = {
        "metadata": {name: dict(entries) for name, entries in metadata.items()},
        "spec": {
            **_pod_options(topology, kubernetes, entry),
            "securityContext": _pod_security(openshift),
            **_placement(kubernetes, entry, metadata["labels"]),
            "volumes": _volumes(topology, kubernetes, entry),
            "containers": [_container(topology, kubernetes, entry, run)],
        },
    }
    problems: list[Problem] = []
    patched = template
    for target in ("all", entry.component):
        if target in kubernetes.pod_patch:
            name = "kubernetes.pod_patch." + target
            patched, misfits = merge_template(patched, kubernetes.pod_patch[target], name)
            problems.extend(misfits)
            problems.extend(_broken_promises(template, patched, name))
    return patched, problems


def _pod_options(topology: Topology, kubernetes: Kubernetes, entry: TaskSet) -> dict[str, object]:
    job = kubernetes.backend == "indexed_job"
    found: dict[str, object] = {
        # The kubelet starts a lost container again at once. Where no restart is wanted a pod must not begin one.
        "restartPolicy": ("OnFailure" if topology.lifecycle.restart_limit else "Never") if job else "Always",
        "terminationGracePeriodSeconds": math.ceil(topology.lifecycle.stop_grace_seconds),
        "subdomain": entry.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }
    # A runtime for GPUs is on the nodes that have some, and a ps uses none: it may go to any.
    spared = entry.role == "ps" and topology.workers.gpus
    optional = {
        "serviceAccountName": kubernetes.service_account,
        "priorityClassName": kubernetes.priority_class,
        "runtimeClassName": "" if spared else kubernetes.runtime_class,
        "imagePullSecrets": [{"name": name} for name in kubernetes.image_pull_secrets],
        "nodeSelector": dict(kubernetes.node_selector),
        "tolerations": _tolerations(topology, kubernetes, entry),
    }
    return {**found, **{name: value for name, value in optional.items() if value}}


def _tolerations(topology: Topology, kubernetes: Kubernetes, entry: TaskSet) -> list[dict[str, object]]:
    """Return what was given; and for workers with GPUs the taint by which such nodes are kept for them."""
    given = [copy.deepcopy(dict(toleration)) for toleration in kubernetes.tolerations]
    if entry.role == "ps" or not topology.workers.gpus or any(each.get("key") in (None, "", GPU) for each in given):
        return given
    return [*given, {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]


def _pod_security(openshift: bool) -> dict[str, object]:
    """Return what Pod Security's level *restricted* asks of a pod."""
    found: dict[str, object] = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    # OpenShift's restricted-v2 takes them from the namespace's range and refuses others.
    return found if openshift else {**found, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER}


def _container(topology: Topology, kubernetes: Kubernetes, entry: TaskSet, run: PodRun) -> dict[str, object]:
    flags = [("job_name", entry.role), *training_flags(topology)]
    if entry.component == "chief":
        flags += _chief_flags(topology, run)
    if kubernetes.backend == "statefulset":
        flags += [
            ("idle_when_done", "true"),
            ("done_file", SCRATCH_DIR + "/done"),
            ("finished_file", CONFIG_DIR + "/finished"),
        ]
    return {
        "name": CONTAINER,
        "image": kubernetes.image,
        "imagePullPolicy": kubernetes.image_pull_policy,
        "command": ["python3", "-m", "dtf_trainer"],
        # A kubelet would replace $(NAME) by a variable.
        "args": [f"--{name}={value}".replace("$(", "$$(") for name, value in flags],
        "env": _environment(topology, entry, run),
        "ports": [{"name": "grpc", "containerPort": entry.port, "protocol": "TCP"}],
        "resources": resources(topology.ps if entry.role == "ps" else topology.workers),
        "readinessProbe": _readiness(entry),
        # The last lines of a task that failed are then part of the pod's status, whatever becomes of its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": _mounts(kubernetes, entry),
    }


def _chief_flags(topology: Topology, run: PodRun) -> list[tuple[str, object]]:
    def directory(run_id: str) -> str:
        return f"{CHECKPOINT_DIR}/{topology.name}/{run_id}"

    flags = keeping_flags(topology, directory(run.run_id), f"{LOG_DIR}/{topology.name}/{run.run_id}")
    if run.candidates:
        paths = (f"{run_id}={directory(run_id)}/checkpoint/checkpoint.npz" for run_id in run.candidates)
        flags.append(("resume_candidates", ",".join(paths)))
    return flags


def _environment(topology: Topology, entry: TaskSet, run: PodRun) -> list[dict[str, object]]:
    def from_config(name: str, key: str) -> dict[str, object]:
        return {"name": name, "valueFrom": {"configMapKeyRef": {"name": topology.name, "key": key}}}

    return [
        from_config("PS_HOSTS", "ps.hostList"),
        from_config("WORKER_HOSTS", "worker.hostList"),
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "DTF_RUN_ID", "value": run.run_id},
        {"name": "DTF_TASK_INDEX_OFFSET", "value": str(entry.first)},
        {"name": "HOME", "value": SCRATCH_DIR},
        # A task that is killed has said what it had to say.
        {"name": "PYTHONUNBUFFERED", "value": "1"},
    ]


def resources(group: TaskGroup) -> dict[str, dict[str, object]]:
    """Return requests and limits of one task.

    Memory is asked for as the topology expects it and ends at twice that: a task beyond is a fault, and better killed
    with a reason than with its neighbours. The processor has no limit, because training takes what is there and a
    throttled ps slows everybody. What the group gives goes first.
    """
    given = group.resources.get("limits", {})
    requests = {"cpu": "250m", "memory": f"{group.memory_mb}Mi"}
    # A default never contradicts what was given: nothing asks for more than its limit.
    requests = {name: min(amount, given.get(name, amount), key=parse) for name, amount in requests.items()}
    requests.update(group.resources.get("requests", {}))
    limits: dict[str, object] = {}
    if "memory" not in given and parse(requests["memory"]):
        limits["memory"] = max(f"{2 * group.memory_mb}Mi", requests["memory"], key=parse)
    if group.gpus:
        limits[GPU] = group.gpus
    limits.update({name: _device_count(name, amount) for name, amount in given.items()})
    return {
        "requests": {name: _device_count(name, amount) for name, amount in requests.items()},
        "limits": limits,
    }


def _device_count(resource: str, amount: str) -> object:
    """Return the amount of a device, whose name has a domain, as the whole number it is; another stays as written."""
    if "/" in resource and parse(amount).denominator == 1:
        return int(parse(amount))
    return amount


def _readiness(entry: TaskSet) -> dict[str, object]:
    """Return when a task counts as ready: its server has TensorFlow imported and takes connections, in every role.

    Nothing waits for it but people, budgets and the run's time table: peers find each other before. There is no
    liveness probe: a task that waits for a peer, or has to share its processor, is alive, and one that is stuck ends
    itself when a peer was silent for too long. So a slow start needs no start-up probe either, which would only kill.
    """
    return {
        "tcpSocket": {"port": entry.port},
        "initialDelaySeconds": 3,
        "periodSeconds": 2,
        "timeoutSeconds": 2,
        "failureThreshold": 3,
    }


def _volumes(topology: Topology, kubernetes: Kubernetes, entry: TaskSet) -> list[dict[str, object]]:
    found: list[dict[str, object]] = [
        {"name": "config", "configMap": {"name": topology.name}},
        {"name": "scratch", "emptyDir": {}},
    ]
    for name, _path, source in _storage(kubernetes, entry):
        ours = {"persistentVolumeClaim": {"claimName": f"{topology.name}-{name}"}}
        found.append({"name": name, **copy.deepcopy(dict(ours if "claim" in source else source))})
    return found


def _mounts(kubernetes: Kubernetes, entry: TaskSet) -> list[dict[str, object]]:
    return [
        {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIR},
        *(
            {"name": name, "mountPath": path, **({"readOnly": True} if name == "data" else {})}
            for name, path, _source in _storage(kubernetes, entry)
        ),
    ]


def _storage(kubernetes: Kubernetes, entry: TaskSet) -> list[tuple[str, str, Mapping[str, object]]]:
    """Return ``(name, path, source)`` of what a set keeps or reads: only the chief writes, only workers read data."""
    found = []
    volumes = kubernetes.volumes
    if volumes.data is not None and entry.role == "worker":
        found.append(("data", DATA_DIR, volumes.data))
    if entry.component == "chief":
        found += [("checkpoints", CHECKPOINT_DIR, volumes.checkpoints), ("logs", LOG_DIR, volumes.logs)]
    return found


def _placement(kubernetes: Kubernetes, entry: TaskSet, labels: Mapping[str, str]) -> dict[str, object]:
    """Return what the scheduler is told.

    ``spread`` deals each role evenly, the chief counted among the workers, as processes are dealt to hosts. It is a
    wish, since a full node, or one without the device that is asked for, must not keep a run from starting. ``nodes``
    is a command: only these nodes, and evenly over them, which is what a measurement needs. ``pack`` wishes for the
    node that has the others already; its constraint that selects nothing turns off the scheduler's own wish to spread
    what a Service selects.
    """
    strategy = kubernetes.placement.strategy
    instance = {name: labels[name] for name in (LABEL_NAME, LABEL_INSTANCE)}
    role = ["ps"] if entry.role == "ps" else ["chief", "worker"]
    among_role = {
        "matchLabels": instance,
        "matchExpressions": [{"key": LABEL_COMPONENT, "operator": "In", "values": role}],
    }
    if strategy == "spread":
        return _spread("ScheduleAnyway", among_role)
    if strategy == "pack":
        term = {"labelSelector": {"matchLabels": instance}, "topologyKey": _HOSTNAME}
        wish = [{"weight": 100, "podAffinityTerm": term}]
        together = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wish}}
        nobody = {"matchLabels": instance, "matchExpressions": [{"key": LABEL_COMPONENT, "operator": "DoesNotExist"}]}
        return {"affinity": together, **_spread("ScheduleAnyway", nobody)}
    if strategy == "nodes":
        named = [{"key": _HOSTNAME, "operator": "In", "values": list(kubernetes.placement.nodes)}]
        terms = {"nodeSelectorTerms": [{"matchExpressions": named}]}
        there = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        return {"affinity": there, **_spread("DoNotSchedule", among_role)}
    return {}


def _spread(when_unsatisfiable: str, selector: Mapping[str, object]) -> dict[str, object]:
    constraint = {
        "maxSkew": 1,
        "topologyKey": _HOSTNAME,
        "whenUnsatisfiable": when_unsatisfiable,
        # A control plane that takes no pods is no node that has too few of them.
        "nodeTaintsPolicy": "Honor",
        "labelSelector": selector,
    }
    return {"topologySpreadConstraints": [constraint]}


def _broken_promises(before: Mapping[str, object], after: Mapping[str, object], name: str) -> list[Problem]:
    """Return what a patch took away that everything else relies on."""
    problems = []
    spec = _part(after, "spec")
    for part in ("labels", "annotations"):
        found = _part(_part(after, "metadata"), part)
        for key, value in _part(_part(before, "metadata"), part).items():
            if found.get(key) != value:
                accepted = f"{value!r}, by which the pods of a run are known"
                problems.append(Problem(f"{name}.metadata.{part}.{key}", found.get(key), accepted))
    for key in ("subdomain", "restartPolicy"):
        value = _part(before, "spec")[key]
        if spec.get(key) != value:
            problems.append(Problem(f"{name}.spec.{key}", spec.get(key), f"{value!r}, which the set's backend needs"))
    containers = spec.get("containers")
    named = [
        entry.get("name")
        for entry in (containers if isinstance(containers, Sequence) else ())
        if isinstance(entry, Mapping)
    ]
    if CONTAINER not in named:
        problems.append(Problem(f"{name}.spec.containers", named, f"a list with {CONTAINER!r}, which trains"))
    volumes = spec.get("volumes")
    for volume in volumes if isinstance(volumes, Sequence) else ():
        sources = sorted(key for key in volume if key != "name")
        if len(sources) != 1:
            accepted = "one source; with $retainKeys: [name, SOURCE] in the patch the one before goes"
            problems.append(Problem(f"{name}.spec.volumes.{volume.get('name')}", sources, accepted))
    return problems


def _part(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}
