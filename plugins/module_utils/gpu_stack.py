# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What NVIDIA's operator and device plugin are made of in a cluster: which pod is whose, and why a node has none.

Names and labels are those of the operator's own source, versions 25.10 and 26.7.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .pod_view import seconds

Object = Mapping[str, Any]

PRESENT, OPERANDS = "nvidia.com/gpu.present", "nvidia.com/gpu.deploy.operands"
DEPLOY_PLUGIN, DEPLOY_DRIVER = "nvidia.com/gpu.deploy.device-plugin", "nvidia.com/gpu.deploy.driver"
MIG_CONFIG, MIG_STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
#: Labels of node-feature-discovery, and those by which the operator knows a card.
DISCOVERED = "feature.node.kubernetes.io/"
CARDS = tuple(f"{DISCOVERED}pci-{part}.present" for part in ("10de", "0302_10de", "0300_10de"))
DISCOVERY = "node-feature-discovery"

#: What comes first explains what comes after: parts of pods' names, in the order in which their work builds up.
_ORDER = (DISCOVERY, "driver", "toolkit", "mig-manager", "device-plugin", "validator")
#: What init containers of the operator's pods are about, and where to look.
_WAITS = {
    "k8s-driver-manager": (
        "removes the driver that was there",
        "pods that use GPUs on {node} may have to go first; see {log}",
    ),
    "driver-validation": ("waits for the driver of {node}", "see nvidia-smi on {node}, and {log}"),
    "mofed-validation": ("waits for the network driver of {node}", "see {log}"),
    "toolkit-validation": (
        "waits for the container toolkit of {node}",
        "see the pod nvidia-container-toolkit-daemonset of that node",
    ),
    "cuda-validation": ("runs a first computation on {node}", "see {log}"),
    "plugin-validation": ("waits for the device plugin of {node}", "see {log}"),
}
#: What a DaemonSet's pods tolerate beside what is written.
_DAEMONS_BEAR = re.compile(
    r"node\.kubernetes\.io/(not-ready|unreachable|disk-pressure|memory-pressure|pid-pressure|unschedulable)"
)


@dataclass(frozen=True)
class Kept:
    """Why a node has no pod of the device plugin.

    Attributes:
        reason: a short stable word.
        message: what is so.
        next_step: what the user can do.
        hopeless: whether waiting longer is of no use.
    """

    reason: str
    message: str
    next_step: str
    hopeless: bool = False


def plugins(daemon_sets: Iterable[Object]) -> list[Object]:
    """Return the DaemonSets that have the kubelet's folder for device plugins; NVIDIA's, where there are others."""
    found = [entry for entry in daemon_sets if _has_plugin_folder(entry["spec"]["template"].get("spec") or {})]
    # Those for virtual machines offer resources of other names.
    found = [entry for entry in found if "sandbox" not in named(entry)] or found
    return [entry for entry in found if "nvidia" in named(entry)] or found


def _has_plugin_folder(spec: Object) -> bool:
    paths = [str((volume.get("hostPath") or {}).get("path") or "") for volume in spec.get("volumes") or ()]
    return any(path.rstrip("/").endswith("/device-plugins") for path in paths)


def plugin_container(pod: Object) -> str:
    """Return which container of a device plugin's pod is the plugin: the one that has the kubelet's folder."""
    spec = pod.get("spec") or {}
    folders = {str(volume["name"]) for volume in spec.get("volumes") or () if _has_plugin_folder({"volumes": [volume]})}
    containers = spec.get("containers") or ()
    for container in containers:
        if folders & {str(mount.get("name")) for mount in container.get("volumeMounts") or ()}:
            return str(container["name"])
    return str(containers[0]["name"]) if containers else ""


def has_run(pod: Object, container: str, now: float) -> float:
    """Return for how many seconds a container has run; none where that is not known."""
    for entry in (pod.get("status") or {}).get("containerStatuses") or ():
        started = seconds(((entry.get("state") or {}).get("running") or {}).get("startedAt"))
        if entry.get("name") == container and started is not None:
            return now - started
    return 0.0


def newest(pods: Iterable[Object]) -> list[Object]:
    """Return the pods that count: of those that take each other's place on a node, the last one."""
    found: dict[tuple[str, str], Object] = {}
    for pod in sorted(pods, key=_freshness):
        name = named(pod)
        # A pod that tests a node belongs to the DaemonSet of the pod that made it; their names tell them apart.
        found[(name.rpartition("-")[0], place(pod)) if owner(pod) else ("", name)] = pod
    return list(found.values())


def _freshness(pod: Object) -> tuple[bool, str]:
    metadata, phase = pod["metadata"], (pod.get("status") or {}).get("phase")
    alive = not metadata.get("deletionTimestamp") and phase != "Failed"
    return alive, str(metadata.get("creationTimestamp") or "")


def is_operator(pod: Object) -> bool:
    """Whether a pod is the operator itself."""
    labels = pod["metadata"].get("labels") or {}
    return "gpu-operator" in (labels.get("app"), labels.get("app.kubernetes.io/component")) and not owner(pod)


def is_of_stack(pod: Object) -> bool:
    """Whether a pod is one that the operator's work rests on; in its namespace there may be others."""
    return bool(owner(pod)) or is_operator(pod) or DISCOVERY in named(pod)


def owner(pod: Object) -> str:
    """Return the DaemonSet that a pod is of, or whose pod made it; empty where there is none."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(entry.get("name")) for entry in owners if entry.get("kind") == "DaemonSet"), "")


def place(pod: Object) -> str:
    """Return the node that a pod is on, or that a DaemonSet made it for; empty where any will do."""
    spec = pod.get("spec") or {}
    return str(spec.get("nodeName") or next(_named_nodes(_required(spec)), ""))


def _required(spec: Object) -> Object:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}


def _named_nodes(affinity: Object) -> Iterator[str]:
    for term in affinity.get("nodeSelectorTerms") or ():
        for entry in term.get("matchFields") or ():
            if entry.get("key") == "metadata.name" and entry.get("values"):
                yield str(entry["values"][0])


def rank(pod: Object) -> tuple[int, str]:
    """Return a pod's place among those that build on each other."""
    name = named(pod)
    return next((number for number, part in enumerate(_ORDER) if part in name), len(_ORDER)), name


def named(entry: Object) -> str:
    """Return an object's name."""
    return str(entry["metadata"]["name"])


def waits_for(container: str, node: str, log: str) -> tuple[str, str]:
    """Return what an init container of the operator's is about, and where to look; empty words for another's."""
    doing, step = _WAITS.get(container, ("", ""))
    return doing.format(node=node), step.format(node=node, log=log)


def unknown(node: Object, namespace: str) -> Kept | None:
    """Return why the operator does not reckon a node among those with GPUs; ``None`` where it does."""
    name, labels = named(node), node["metadata"].get("labels") or {}
    if not any(label.startswith(DISCOVERED) for label in labels):
        step = (
            f"see the pod of its worker on {name} (kubectl -n {namespace} get pods -o wide); where there is none on "
            f"purpose, give the node the label {CARDS[0]}=true"
        )
        return Kept("not_discovered", f"node-feature-discovery has not looked at {name}", step)
    if not any(labels.get(label) == "true" for label in CARDS):
        text = f"node-feature-discovery finds no NVIDIA card in {name} (it lacks the label {CARDS[0]})"
        return Kept("no_card", text, f"see lspci -d 10de: on {name}, and of a virtual machine whether it has the card")
    if labels.get(OPERANDS) == "false":
        text = f"the label {OPERANDS}=false keeps the operator off {name}"
        return Kept("kept_away", text, f"kubectl label node {name} {OPERANDS}-", hopeless=True)
    if labels.get(PRESENT) != "true":
        step = f"see the operator's log (kubectl -n {namespace} logs deployment/gpu-operator)"
        return Kept("not_labelled", f"the operator has not given {name} the label {PRESENT}=true", step)
    value = labels.get(DEPLOY_PLUGIN)
    if value == "true":
        return None
    text = f"{name} lacks the label {DEPLOY_PLUGIN}=true" + (f", it is {value}" if value else "")
    step = "see the operator's log, and the label nvidia.com/gpu.workload.config of the node"
    if str(value).startswith("paused"):
        step = "it comes back when the driver or MIG has been changed; see the pods of those on the node"
    return Kept("not_labelled", text, step)


def kept_away(daemon_set: Object, node: Object) -> Kept | None:
    """Return why a DaemonSet has no pod for a node; ``None`` where it should have one."""
    spec = daemon_set["spec"]["template"].get("spec") or {}
    labels = node["metadata"].get("labels") or {}
    head = f"no pod of {named(daemon_set)} is placed on {named(node)}: "
    lacks = [f"{key}={value}" for key, value in (spec.get("nodeSelector") or {}).items() if labels.get(key) != value]
    if lacks:
        step = f"kubectl label node {named(node)} {' '.join(lacks)}"
        return Kept("not_placed", f"{head}it lacks the label {', '.join(lacks)}", step)
    terms = [list(term.get("matchExpressions") or ()) for term in _required(spec).get("nodeSelectorTerms") or ()]
    if terms and not any(all(_meets(labels, entry) for entry in term) for term in terms):
        ways = "; ".join(" and ".join(map(_asked, term)) for term in terms)
        return Kept("not_placed", f"{head}it has none of the labels {ways}", "give it one of them (kubectl label node)")
    taints = [
        taint
        for taint in (node.get("spec") or {}).get("taints") or ()
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not _borne(taint, spec.get("tolerations") or ())
    ]
    if taints:
        told = ", ".join("{}:{}".format(taint["key"], taint["effect"]) for taint in taints)
        step = "have it tolerated (the chart's values), or remove the taint"
        return Kept("not_placed", f"{head}its taint {told} is not tolerated", step)
    return None


def _meets(labels: Mapping[str, str], entry: Object) -> bool:
    value, values, operator = labels.get(entry["key"]), entry.get("values") or (), entry.get("operator")
    if operator in ("In", "NotIn"):
        return (value in values) is (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) is (operator == "Exists")
    return True


def _asked(entry: Object) -> str:
    values = entry.get("values") or ()
    return "{}={}".format(entry["key"], "|".join(values)) if values else str(entry["key"])


def _borne(taint: Object, tolerations: Iterable[Object]) -> bool:
    """Whether a DaemonSet's pods tolerate a taint."""
    if _DAEMONS_BEAR.fullmatch(str(taint["key"])):
        return True
    return any(
        entry.get("effect") in (None, "", taint["effect"])
        and entry.get("key") in (None, "", taint["key"])
        and (entry.get("operator") == "Exists" or (entry.get("value") or "") == (taint.get("value") or ""))
        for entry in tolerations
        if entry.get("key") or entry.get("operator") == "Exists"
    )
