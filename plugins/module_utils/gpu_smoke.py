# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A first program on a GPU of each node: the pods that run it, and what is to be thought of how they ended.

A pod is pinned to its node by the scheduler's own means and asks for one device, so that scheduler, kubelet and device
plugin do what they will do for a training.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from .kube_causes import BRIEF, LONG, SHORT
from .kube_labels import LABEL_MANAGED_BY, LABEL_NAME, LABEL_RUN_ID, MANAGER
from .pod_trouble import Trouble, short
from .pod_view import seconds
from .quantities import parse

Object = Mapping[str, Any]

APP, CONTAINER = "dtf-gpu-smoke", "smoke"
GPU = "nvidia.com/gpu"
ANNOTATION_NODE = "dtf.cluster/node"
#: What is asked of a card; the order of the fields is that of :class:`Gpu`.
NVIDIA_SMI = (
    "nvidia-smi",
    "--query-gpu=name,uuid,memory.total,driver_version,utilization.gpu",
    "--format=csv,noheader,nounits",
)
#: A pod may live so much longer than somebody waits for it.
SECONDS_AFTER_WAITING = 5
#: A pod that nobody took away is taken away so long after the time it was given.
LEFT_BEHIND_SECONDS = 60.0
#: Devices that are just being given back are free again within that time.
UNSCHEDULABLE_SECONDS = 30.0
_SAID_LONGEST = 2000

#: Seconds for which a trouble must last that waiting may mend. Others are waited for to the end.
_PATIENCE = {"unschedulable": UNSCHEDULABLE_SECONDS, "runtime_class": SHORT, "sandbox": LONG, "cannot_start": SHORT}
_DRIVER = re.compile(r"[0-9]{2,4}(\.[0-9]+){1,2}")
_DEVICES = re.compile(r"\bNVIDIA_VISIBLE_DEVICES=(\S+)")
#: nvidia-smi's exit codes that say what is wrong, from its manual page.
_SMI_CODES = {
    4: "it may not ask the driver",
    9: "the driver is not loaded",
    12: "it does not find the driver's library: the container runtime has not put it there",
    15: "a card has fallen off the bus",
    18: "driver and library are of two versions",
}
_NO_PROGRAM = re.compile(r"exec: .*(no such file or directory|not found)|exec format error")
#: What NVIDIA's runtime says where it finds no driver.
_RUNTIME_FAILED = re.compile(r"nvidia-container|nvidia-ctk|libnvidia|libcuda|\bnvml\b|\bCDI\b", re.IGNORECASE)


@dataclass(frozen=True)
class Smoke:
    """What is run.

    Attributes:
        run: names this one run.
        namespace: where the pods are.
        image: that has the program, or a place to put it.
        command: of the container.
        expect: expression that the log must match; empty is none.
        resource: of which a pod asks for one.
        runtime_class: empty is the node's default.
        pull_secrets: names of secrets for the image.
        tolerations: beside the one of the taint that NVIDIA's nodes have.
        seconds: that a pod may take.
    """

    run: str
    namespace: str
    image: str
    command: tuple[str, ...] = NVIDIA_SMI
    expect: str = ""
    resource: str = GPU
    runtime_class: str = ""
    pull_secrets: tuple[str, ...] = ()
    tolerations: tuple[Object, ...] = ()
    seconds: float = 300.0

    @property
    def selector(self) -> str:
        """Return the selector of this run's pods."""
        return f"{LABEL_NAME}={APP},{LABEL_RUN_ID}={self.run}"

    @property
    def asks_for_cards(self) -> bool:
        """Whether the program is nvidia-smi and prints a line for each card."""
        program = PurePosixPath(self.command[0]).name if self.command else ""
        return program == NVIDIA_SMI[0] and any(word.startswith("--query-gpu") for word in self.command)


@dataclass(frozen=True)
class Gpu:
    """A card as a container sees it; what it does not tell is ``None``."""

    name: str
    uuid: str
    memory_mib: int | None
    driver: str
    utilisation: int | None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "uuid": self.uuid,
            "memory_mib": self.memory_mib,
            "driver": self.driver,
            "utilisation": self.utilisation,
        }


@dataclass(frozen=True)
class Outcome:
    """How it went on a node.

    Attributes:
        ok: whether the program did what it should.
        code: why not, a short stable word; empty where it did.
        reason: the same in words, with the next step.
        gpus: the cards that the program named.
        devices: what the device plugin has given the container, where the program printed it.
        exit_code: of the program; ``None`` where it never ended.
        said: the last of what it printed.
        seconds: from the pod's making to its end.
    """

    ok: bool
    code: str = ""
    reason: str = ""
    gpus: tuple[Gpu, ...] = ()
    devices: tuple[str, ...] = ()
    exit_code: int | None = None
    said: str = field(default="", repr=False)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "ok": self.ok,
            "code": self.code,
            "reason": self.reason,
            "gpus": [gpu.as_dict() for gpu in self.gpus],
            "devices": list(self.devices),
            "exit_code": self.exit_code,
            "said": self.said,
            "seconds": round(self.seconds, 1),
        }


def verdict(outcomes: Mapping[str, Outcome]) -> dict[str, object]:
    """Return how it went on all nodes, as plain JSON values."""
    return {
        "ok": bool(outcomes) and all(outcome.ok for outcome in outcomes.values()),
        "nodes": {node: outcomes[node].as_dict() for node in sorted(outcomes)},
    }


def failed(outcomes: Mapping[str, Outcome]) -> str:
    """Return what went wrong, a line for each node; empty where nothing did."""
    bad = {node: outcome for node, outcome in sorted(outcomes.items()) if not outcome.ok}
    if not bad:
        return ""
    head = f"the GPU's smoke test failed on {len(bad)} of {len(outcomes)} node{'' if len(outcomes) == 1 else 's'}"
    return "\n  ".join([f"{head}:", *(f"{node}: {outcome.reason}" for node, outcome in bad.items())])


def manifest(smoke: Smoke, node: str, number: int) -> dict[str, Any]:
    """Return the pod for a node.

    It is what the strictest standard of Kubernetes wants, but that the root of its file system can be written: NVIDIA's
    runtime puts files there before the program starts.
    """
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        # For who asks nobody any more: as long as somebody waits, that is the clock that counts, and it tells why.
        "activeDeadlineSeconds": math.ceil(smoke.seconds) + SECONDS_AFTER_WAITING,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"nodeAffinity": _only(node)},
        "tolerations": [{"key": GPU, "operator": "Exists"}, *smoke.tolerations],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(smoke)],
    }
    if smoke.runtime_class:
        spec["runtimeClassName"] = smoke.runtime_class
    if smoke.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in smoke.pull_secrets]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(smoke, number),
            "namespace": smoke.namespace,
            "labels": {LABEL_NAME: APP, LABEL_MANAGED_BY: MANAGER, LABEL_RUN_ID: smoke.run},
            "annotations": {ANNOTATION_NODE: node},
        },
        "spec": spec,
    }


def pod_name(smoke: Smoke, number: int) -> str:
    """Return what the pod of the node with that number is called; a node's own name may be too long."""
    return f"gpu-smoke-{smoke.run}-{number}"


def _only(node: str) -> dict[str, Any]:
    # By its name and not by its label, which may be another.
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}


def _container(smoke: Smoke) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": smoke.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(smoke.command),
        # An image that is not NVIDIA's does not say what it wants of the driver, nvidia-smi among it.
        "env": [{"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi", smoke.resource: "1"},
            "limits": {"cpu": "1", "memory": "1Gi", smoke.resource: "1"},
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def left_behind(pods: Iterable[Object], now: float) -> list[str]:
    """Return the names of pods of earlier runs whose time is long over: whoever made them was killed.

    Args:
        pods: with the label of this program.
        now: the server's clock, seconds since the epoch.
    """
    found = []
    for pod in pods:
        made, given = seconds(pod["metadata"].get("creationTimestamp")), pod["spec"].get("activeDeadlineSeconds")
        if made is not None and given is not None and now - made > float(given) + LEFT_BEHIND_SECONDS:
            found.append(str(pod["metadata"]["name"]))
    return found


def busy(node: Object, pods: Iterable[Object], resource: str) -> list[str]:
    """Return the pods that have all of a node's devices between them; none of them while one is left.

    Args:
        node: the node, as the API has it.
        pods: of all namespaces.
        resource: of which the devices are.
    """
    name, there = node["metadata"]["name"], int(parse(node["status"]["allocatable"].get(resource, 0)))
    users, taken = [], 0
    for pod in pods:
        if pod["spec"].get("nodeName") != name or has_ended(pod):
            continue
        asked = sum(
            int(parse((container.get("resources") or {}).get("limits", {}).get(resource, 0)))
            for container in pod["spec"]["containers"]
        )
        if asked:
            users.append("{namespace}/{name}".format(**pod["metadata"]))
            taken += asked
    return users if users and taken >= there else []


def in_use(resource: str, users: Sequence[str]) -> Outcome:
    """Return how it is on a node whose devices others have: nothing was run, and nothing is wrong."""
    return Outcome(True, "busy", f"not tried: every {resource} is in use by {', '.join(users)}")


def has_ended(pod: Object) -> bool:
    """Whether a pod has come to its end, whichever."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def patience(trouble: Trouble) -> float | None:
    """Return for how many seconds a trouble must last to be the outcome; ``None`` is to the end of the time."""
    return BRIEF if trouble.hopeless else _PATIENCE.get(trouble.reason)


def stuck(trouble: Trouble, elapsed: float) -> Outcome:
    """Return the outcome on a node whose pod does not come to run."""
    return Outcome(False, trouble.reason, f"{trouble.message}: {trouble.next_step}", seconds=elapsed)


def out_of_time(smoke: Smoke, trouble: Trouble | None, log: Sequence[str] | str, elapsed: float) -> Outcome:
    """Return the outcome on a node whose pod has not ended in time; ``trouble`` is why it does not run, if so."""
    if trouble is not None:
        text = f"not ended after {elapsed:.0f} s: {trouble.message}: {trouble.next_step}"
        return Outcome(False, trouble.reason, text, seconds=elapsed)
    return Outcome(False, "timeout", _too_slow(smoke), said=_tail(_printed(log)), seconds=elapsed)


def ended(smoke: Smoke, pod: Object, log: Sequence[str] | str, elapsed: float) -> Outcome:
    """Return the outcome on a node whose pod has ended.

    Args:
        smoke: what was run.
        pod: as the API writes it.
        log: the lines it printed, or in words why they could not be read.
        elapsed: seconds since it was made.
    """
    printed, end = _printed(log), _end(pod)
    exit_code = int(end["exitCode"]) if "exitCode" in end else None
    code, reason = _fault(smoke, pod, end, printed)
    if isinstance(log, str) and code in ("unexpected_output", "no_gpu"):
        code, reason = "no_log", f"it ended well, and its log could not be read: {log}"
    return Outcome(
        ok=not code,
        code=code,
        reason=reason,
        gpus=tuple(gpus(printed)),
        devices=tuple(devices(printed)),
        exit_code=exit_code,
        said=_tail(printed),
        seconds=elapsed,
    )


def _end(pod: Object) -> Object:
    """Return how the container ended; empty where it never ran."""
    for entry in (pod.get("status") or {}).get("containerStatuses") or ():
        terminated: Object = (entry.get("state") or {}).get("terminated") or {}
        return terminated
    return {}


def _fault(smoke: Smoke, pod: Object, end: Object, printed: str) -> tuple[str, str]:
    """Return what is wrong with how a pod ended, as a word and in words; both empty where nothing is."""
    found = _of_pod(smoke, pod.get("status") or {}) or _of_end(smoke, end, printed) or _of_output(smoke, printed)
    return found or ("", "")


def _of_pod(smoke: Smoke, status: Object) -> tuple[str, str] | None:
    word, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if not word or status.get("phase") != "Failed":
        return None
    if word == "DeadlineExceeded":
        return "timeout", _too_slow(smoke)
    step = "see the device plugin's log" if "device" in message.lower() else "see kubectl describe node"
    return "evicted" if word == "Evicted" else "refused_by_node", f"{short(f'{word}: {message}')}: {step}"


def _of_end(smoke: Smoke, end: Object, printed: str) -> tuple[str, str] | None:
    if not end:
        return "lost", "the pod ended and says nothing of its container: see kubectl describe node"
    if end.get("reason") in ("StartError", "ContainerCannotRun"):
        return "cannot_start", _not_started(smoke, str(end.get("message") or end["reason"]))
    return ("exit_code", _ended_badly(smoke, end, printed)) if end.get("exitCode") else None


def _of_output(smoke: Smoke, printed: str) -> tuple[str, str] | None:
    if smoke.expect and not re.search(smoke.expect, printed, re.MULTILINE):
        return "unexpected_output", f"it ended well, and its output lacks {smoke.expect!r}: {_last_line(printed)}"
    if not smoke.expect and smoke.asks_for_cards and not gpus(printed):
        return "no_gpu", f"nvidia-smi ended well and names no card: {_last_line(printed)}"
    return None


def _not_started(smoke: Smoke, message: str) -> str:
    step = "see kubectl describe pod"
    if _NO_PROGRAM.search(message):
        step = "give an image that has the program, for the node's processor"
        if smoke.asks_for_cards:
            step = (
                "NVIDIA's runtime has not put nvidia-smi into the container: give runtime_class: nvidia, or make that "
                "runtime containerd's default (role containerd); an image without glibc cannot run it"
            )
    elif _RUNTIME_FAILED.search(message):
        step = "NVIDIA's runtime finds no driver: see nvidia-smi on the node (role nvidia_driver)"
    return f"{short(message)}: {step}"


def _ended_badly(smoke: Smoke, end: Object, printed: str) -> str:
    code = int(end["exitCode"])
    text = f"the program ended with exit code {code}"
    if end.get("reason") == "OOMKilled":
        text += " (it took more than 1Gi of memory)"
    meaning = _SMI_CODES.get(code) if smoke.asks_for_cards else None
    text += f" ({meaning})" if meaning else ""
    step = (
        "see nvidia-smi on the node itself" if smoke.asks_for_cards else "see what it said, and nvidia-smi on the node"
    )
    return f"{text}: {_last_line(printed)}: {step}"


def _too_slow(smoke: Smoke) -> str:
    step = "give it more time (timeout_seconds), or see nvidia-smi on the node: a driver may hang"
    return f"the program did not end within {smoke.seconds:.0f} s: {step}"


def _printed(log: Sequence[str] | str) -> str:
    return "" if isinstance(log, str) else "\n".join(log)


def _tail(printed: str) -> str:
    return printed[-_SAID_LONGEST:].strip()


def _last_line(printed: str) -> str:
    said = [line for line in printed.splitlines() if line.strip()]
    return short(said[-1]) if said else "it printed nothing"


def gpus(printed: str) -> list[Gpu]:
    """Return the cards that an output names, in nvidia-smi's words; other lines are left out."""
    return [gpu for gpu in map(_gpu, printed.splitlines()) if gpu is not None]


def _gpu(line: str) -> Gpu | None:
    fields = [part.strip() for part in line.rsplit(",", 4)]
    if len(fields) != 5:
        return None
    name, uuid, memory, driver, utilisation = fields
    numbers = [_number(memory), _number(utilisation)]
    if not name or not re.fullmatch(r"\S+", uuid) or not _DRIVER.fullmatch(driver) or "" in numbers:
        return None
    memory_mib, busy = (int(number) if number else None for number in numbers)
    return Gpu(name, uuid, memory_mib, driver, busy)


def _number(text: str) -> str | None:
    """Return a number's digits; ``None`` where a card does not tell, empty where it is neither."""
    if re.fullmatch(r"\[?(N/A|Not Supported|Unknown Error|GPU requires reset)\]?", text, re.IGNORECASE):
        return None
    return text if re.fullmatch("[0-9]{1,9}", text) else ""


def devices(printed: str) -> list[str]:
    """Return what a program printed of its variable ``NVIDIA_VISIBLE_DEVICES``."""
    found = _DEVICES.findall(printed)
    return [device for device in found[-1].strip("'\"").split(",") if device] if found else []
