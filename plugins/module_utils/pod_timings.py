# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When what happened to a pod's task: the API's time stamps joined with the trainer's events, on one axis.

The axis is wall clock, seconds since the epoch. Three clocks meet on it: the controller's (the run's creation), the API
server's (a pod's creation and binding; whole seconds) and the nodes' (images, containers and the trainer's events).
Within one process the trainer's monotonic clock rules: each of its events stands where its ``started`` event stands,
plus the monotonic seconds since. What the clocks disagree about is told (:func:`skew`) and never corrected silently.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import stats
from .events import Event, first
from .kube_causes import WAITING_FOR_IMAGE, event_time
from .pod_view import PodView

#: The API's time stamps have whole seconds.
RESOLUTION = 1.0
#: The kubelet's words, with a duration as Go writes it: 1m2.5s, 350ms.
_PULLED = re.compile(r"Successfully pulled image .*? in (?P<took>[0-9.hmsµun]+)|Container image .* already present")
_AMOUNT = re.compile(r"([0-9.]+)(h|ms|m|s|µs|us|ns)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Stretch:
    """The events of one process: of one start of one pod.

    Attributes:
        task: ``role-index``.
        pod: the pod's name.
        node: where it ran.
        events: in order.
    """

    task: str
    pod: str
    node: str
    events: Sequence[Event]


@dataclass(frozen=True)
class Timeline:
    """A task's phases, and what has to be said about them.

    Attributes:
        phases: length of each in seconds; together they are the time from the run's creation to its end.
        notes: where a clock ran against another.
    """

    phases: Mapping[str, float]
    notes: tuple[str, ...] = ()


def on_wall_clock(stretches: Iterable[Stretch]) -> list[Event]:
    """Return the events of processes with their ``monotonic`` on the axis of this module, in order."""
    found: list[Event] = []
    for stretch in stretches:
        if not stretch.events:
            continue
        anchor = stretch.events[0]
        shift = anchor.wall - anchor.monotonic
        found.extend(replace(event, monotonic=event.monotonic + shift) for event in stretch.events)
    return sorted(found, key=lambda event: event.monotonic)


def one_clock(stretches: Sequence[Stretch]) -> bool:
    """Whether a task's start and end of training were timed by one monotonic clock, that of one node since its boot."""
    timed = [stretch for stretch in stretches if any(event.event in ("released", "target") for event in stretch.events)]
    if len({stretch.node for stretch in timed}) > 1:
        return False
    booted = [stretch.events[0].wall - stretch.events[0].monotonic for stretch in timed]
    # A node that was booted anew was so after the last word that came from it before.
    return all(moment < before.events[-1].wall for before, moment in zip(timed, booted[1:]))


def image_seconds(pod: PodView, events: Iterable[Mapping[str, Any]]) -> float | None:
    """Return how long a node took to get a pod's image, as the kubelet says; 0 if it was there.

    ``None`` where no event tells: it has not come yet, or events are kept no longer.
    """
    about = [event for event in events if event["involvedObject"].get("uid") == pod.uid]
    for event in sorted(about, key=event_time):
        found = _PULLED.match(str(event.get("message"))) if event.get("reason") == "Pulled" else None
        if found is not None:
            return sum(float(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(found["took"] or ""))
    return None


def timeline(
    created: float,
    pod: PodView | None,
    image: float | None,
    events: Sequence[Event],
    end: float,
    ends: Mapping[str, str],
) -> Timeline:
    """Return how long a task spent in each phase.

    Args:
        created: when the run was decided.
        pod: the task's first pod, if it had one.
        image: how long its image took, from :func:`image_seconds`.
        events: the task's events on the axis of this module.
        end: when the run was over; not before ``created``.
        ends: the event that ends each of the later phases, as :data:`stats.ENDS`.
    """
    reached: dict[str, float | None] = {
        "created": pod.created if pod else None,
        "scheduled": pod.scheduled if pod else None,
        **stats.boundaries(events, ends),
    }
    lengths = dict.fromkeys(stats.PHASES, 0.0)
    notes = []
    existing = ["created", "scheduled", *ends]
    now, unfinished = created, existing[0]
    for number, phase in enumerate(existing):
        moment = reached.get(phase)
        if moment is None:
            # It was not reached, or the event that tells of it is not there: then its time stands in the next one.
            continue
        unfinished = existing[number + 1] if number + 1 < len(existing) else "exit"
        if now - moment > RESOLUTION:
            notes.append(f"{phase} ended {now - moment:.3f} s before it began: the clocks differ")
        if moment - end > RESOLUTION:
            notes.append(f"{phase} ended {moment - end:.3f} s after the run: the clocks differ")
        moment = min(max(now, moment), end)
        lengths[phase] = moment - now
        now = moment
    # A run that broke off spends its remaining time in the phase it could not finish.
    lengths[unfinished] += end - now
    # Between a pod's binding and its first word only the kubelet knows what it fetched.
    waits = pod is not None and image is None and not pod.ends and pod.waiting[0] in WAITING_FOR_IMAGE
    lengths["image"] = lengths["start"] if waits else min(image or 0.0, lengths["start"])
    lengths["start"] -= lengths["image"]
    return Timeline(lengths, tuple(notes))


def training(stretches: Sequence[Stretch], target_step: int, batch_size: int) -> dict[str, object]:
    """Return the training's measures, as :func:`stats.training`, from the chief's processes.

    They are differences of one monotonic clock. Where the chief was moved to another node in the midst, there is no
    such clock: then they are of wall clocks, and ``clock`` says so.
    """
    if one_clock(stretches):
        return stats.training([event for stretch in stretches for event in stretch.events], target_step, batch_size)
    measured = stats.training(on_wall_clock(stretches), target_step, batch_size)
    return {**measured, "clock": "wall clocks of the nodes that the chief ran on"}


@dataclass(frozen=True)
class Skew:
    """How far a clock is ahead of the controller's.

    Attributes:
        name: whose clock it is.
        ahead_seconds: the estimate; ``None`` where nothing tells.
        uncertainty_seconds: how wrong that may be.
        samples: what it was estimated from.
        reason: why there is no estimate.
    """

    name: str
    ahead_seconds: float | None
    uncertainty_seconds: float | None
    samples: int
    reason: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "ahead_seconds": stats.rounded(self.ahead_seconds),
            "uncertainty_seconds": stats.rounded(self.uncertainty_seconds),
            "samples": self.samples,
            "reason": self.reason,
        }


def skew(nodes: Iterable[str], renewals: Mapping[str, Sequence[float]], readable: bool) -> list[Skew]:
    """Return each node's clock beside the controller's, from its kubelet's signs of life.

    A kubelet writes the time of its clock into a Lease every ten seconds; what is read here came a little later, so the
    node is ahead by *at least* the largest difference seen, and by no more than that plus the quickest way of the news.

    Args:
        nodes: names.
        renewals: node to the differences seen (time written minus time of arrival).
        readable: whether Leases may be read.
    """
    found = []
    for node in sorted(nodes):
        seen = renewals.get(node, ())
        if not seen:
            reason = "no sign of life came during the run" if readable else "leases may not be read"
            found.append(Skew(node, None, None, 0, reason))
            continue
        best = max(seen)
        # How quick the quickest news was nobody knows; how much the others were slower tells the order of it.
        found.append(Skew(node, best, max(0.05, best - statistics.median(seen)), len(seen)))
    return found


def pods_of(views: Iterable[PodView], task: str) -> list[PodView]:
    """Return the pods that were a task, one after the other."""
    return [view for view in views if view.task.name == task]


def restarts(views: Sequence[PodView]) -> int:
    """Return how often a task was begun again: containers that were restarted, and pods that were replaced."""
    return sum(view.restarts for view in views) + max(0, len(views) - 1)


def released_step(chief: Sequence[Event]) -> float | None:
    """Return the global step at which the training began."""
    released = first(chief, "released")
    return released.number("global_step") if released else None
