# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a pod is not up, whosever it is: the pod and its events → one cause, in words, with the next step.

What is known of a training's pods, and of nobody else's, is in ``kube_causes``.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cluster_status import HOPELESS, MANY_RESTARTS, is_hopeless, pod_cause
from .kube_causes import BUSY_REGISTRY, NO_RUNTIME, WAITING_FOR_IMAGE, event_count, event_time

Object = Mapping[str, Any]

#: So many times a node has asked for an image in vain before nobody expects it any more.
PULL_TRIES = 3
_LONGEST = 500
_NO_IMAGE_AT_ALL = ("ErrImageNeverPull", "InvalidImageName")


@dataclass(frozen=True)
class Trouble:
    """Why a pod is not up.

    Attributes:
        reason: a short stable word.
        message: what happened, with the cluster's own words.
        next_step: what the user can do.
        container: the one that it is about; empty where it is about the pod.
        hopeless: whether waiting longer is of no use.
    """

    reason: str
    message: str
    next_step: str
    container: str = ""
    hopeless: bool = False


def trouble(pod: Object, events: Iterable[Object] = ()) -> Trouble | None:
    """Return why a pod is not up; ``None`` where it is ready or has done what it was for.

    Args:
        pod: as the API writes it.
        events: of its namespace; those of other objects are not looked at.
    """
    judged = pod_cause(pod)
    if judged is None:
        return None
    look = _Look(pod, sorted(_about(pod, events), key=event_time))
    for check in (_put_out, _unschedulable, _stuck, _first_steps, _being_made):
        found = check(look)
        if found is not None:
            return found
    return Trouble("not_ready", short(judged[0]), f"see {look.kubectl('describe')}", hopeless=judged[1])


def short(text: str) -> str:
    """Return a text as one line of a length that a message can bear."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


@dataclass(frozen=True)
class _Look:
    """A pod, with the events about it, the oldest first."""

    pod: Object
    events: Sequence[Object]

    @property
    def status(self) -> Object:
        return self.pod.get("status") or {}

    @property
    def node(self) -> str:
        return str((self.pod.get("spec") or {}).get("nodeName") or "its node")

    def kubectl(self, words: str, more: str = "") -> str:
        metadata = self.pod["metadata"]
        return f"kubectl -n {metadata.get('namespace', 'default')} {words} pod {metadata['name']}{more}"

    def log(self, container: str, more: str = "") -> str:
        metadata = self.pod["metadata"]
        return f"kubectl -n {metadata.get('namespace', 'default')} logs {metadata['name']} -c {container}{more}"

    def told(self, *reasons: str) -> list[Object]:
        return [event for event in self.events if event.get("reason") in reasons]

    def containers(self, *kinds: str) -> Iterator[Object]:
        for kind in kinds or ("initContainerStatuses", "containerStatuses"):
            yield from self.status.get(kind) or ()

    def condition(self, kind: str) -> Object:
        return next((entry for entry in self.status.get("conditions") or () if entry.get("type") == kind), {})


def _about(pod: Object, events: Iterable[Object]) -> Iterator[Object]:
    name, uid = pod["metadata"]["name"], pod["metadata"].get("uid")
    for event in events:
        about = event.get("involvedObject") or {}
        if about.get("kind") == "Pod" and about.get("name") == name and about.get("uid", uid) == uid:
            yield event


def _put_out(look: _Look) -> Trouble | None:
    """Return why a node refused the pod, or threw it out."""
    word = str(look.status.get("reason") or "")
    if look.status.get("phase") != "Failed" or not word:
        return None
    reason = {"Evicted": "evicted", "DeadlineExceeded": "deadline"}.get(word, "refused_by_node")
    text = short(f"{word}: {look.status.get('message') or ''}").strip(": ")
    return Trouble(reason, text, f"see kubectl describe node {look.node}")


def _unschedulable(look: _Look) -> Trouble | None:
    condition = look.condition("PodScheduled")
    if condition.get("status") != "False":
        return None
    text = short(f"no node takes it: {condition.get('message') or condition.get('reason')}")
    return Trouble("unschedulable", text, f"free what it asks for, or add it; see {look.kubectl('describe')}")


def _stuck(look: _Look) -> Trouble | None:
    """Return why a container cannot be started, or ends."""
    for container in look.containers():
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        word, text, name = str(waiting.get("reason") or ""), str(waiting.get("message") or ""), str(container["name"])
        if word in WAITING_FOR_IMAGE:
            return _no_image(look, container, word, text)
        if word == "CrashLoopBackOff" or ended.get("exitCode"):
            return _ends(look, container, ended or (container.get("lastState") or {}).get("terminated") or {})
        if word in HOPELESS or word == "RunContainerError":
            reason = "cannot_start" if word == "RunContainerError" else "configuration"
            message = short(f"container {name}: {word}: {text}")
            return Trouble(reason, message, f"see {look.kubectl('describe')}", name, is_hopeless(word, text))
    return None


def _no_image(look: _Look, container: Object, word: str, text: str) -> Trouble:
    """Return why a node does not get an image. While it backs off it may not repeat why: then its events tell."""
    pulls = [event for event in look.told("Failed") if str(event.get("message")).startswith("Failed to pull image")]
    if pulls and (not text or (text.startswith("Back-off") and ": " not in text)):
        text = str(pulls[-1].get("message"))
    tries = max(sum(map(event_count, pulls)), sum(map(event_count, look.told("Pulling"))))
    for_good = word in _NO_IMAGE_AT_ALL or (tries >= PULL_TRIES and not BUSY_REGISTRY.search(text))
    counted = f" ({tries} tries)" if tries > 1 else ""
    step = (
        f"see that {look.node} reaches the registry (name, port, certificate, proxy), that it holds this image, "
        "and that the pod has a secret for it where it wants one; or bring the image to the node first"
    )
    message = short(f"cannot pull image {container.get('image')}{counted}: {word}: {text}".rstrip(": "))
    return Trouble("image_pull", message, step, str(container["name"]), for_good)


def _ends(look: _Look, container: Object, end: Object) -> Trouble:
    name, restarts = str(container["name"]), int(container.get("restartCount") or 0)
    again = f", {restarts} restart{'' if restarts == 1 else 's'}" if restarts else ""
    text = f"container {name} ended with exit code {end.get('exitCode', 'unknown')}{again}"
    more = str(end.get("message") or "")
    if end.get("reason") not in (None, "Error", "Completed"):
        text += f" ({end['reason']})"
    step = f"see {look.log(name, ' --previous' if restarts else '')}"
    return Trouble("crash_loop", short(f"{text}: {more}".strip(": ")), step, name, restarts >= MANY_RESTARTS)


def _first_steps(look: _Look) -> Trouble | None:
    """Return what a pod does before its containers start."""
    if look.condition("Initialized").get("status") == "True":
        return None
    asked = (look.pod.get("spec") or {}).get("initContainers") or ()
    sidecars = {str(entry["name"]) for entry in asked if entry.get("restartPolicy") == "Always"}
    for container in look.containers("initContainerStatuses"):
        name = str(container["name"])
        if "running" in (container.get("state") or {}) and name not in sidecars:
            return Trouble("init_waiting", f"its init container {name} still runs", f"see {look.log(name)}", name)
    return None


def _being_made(look: _Look) -> Trouble | None:
    """Return what stands in the way of a pod that its node has begun to make."""
    waiting = [(entry.get("state") or {}).get("waiting") or {} for entry in look.containers()]
    if not any(entry.get("reason") in ("ContainerCreating", "PodInitializing") for entry in waiting):
        return None
    told = look.told("FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume")
    if not told:
        pulling = [event for event in look.told("Pulling", "Pulled")[-1:] if event.get("reason") == "Pulling"]
        doing = "".join(f": {short(str(event.get('message')))}" for event in pulling)
        return Trouble("starting", f"{look.node} is making it{doing}", f"see {look.kubectl('describe')}")
    text = short(str(told[-1].get("message") or told[-1]["reason"]))
    if told[-1].get("reason") != "FailedCreatePodSandBox":
        return Trouble("volume", text, f"create what it names, or look at {look.node}")
    if NO_RUNTIME.search(text):
        step = (
            f"install that runtime on {look.node} (for NVIDIA's the container toolkit) and run the role containerd, or "
            "name another RuntimeClass"
        )
        return Trouble("runtime_class", text, step, hopeless=True)
    return Trouble("sandbox", text, f"look at the runtime and at the pod network of {look.node}")
