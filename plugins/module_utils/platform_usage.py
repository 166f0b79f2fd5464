# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster takes of its own machines during a run: counters read before and after, and the difference by part.

Two sources write the same value, a :class:`Reading` of each machine: the machine's own control groups
(:mod:`platform_counters`), read at the moment itself, or the kubelet's Summary API, which needs nothing but the API
server and tells what the kubelet has seen some seconds ago. Every counter carries the time at which it was read.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: Whose consumption is told apart, in this order. ``other`` is what the whole machine took beyond the rest.
PARTS = ("control_plane", "kubelet", "container_runtime", "network", "registry", "trainer", "other")
#: The parts that are the platform: what would not run were there only the trainer.
PLATFORM = PARTS[:5]
#: What every node has.
ON_EVERY_NODE = ("kubelet", "container_runtime")
#: Units of systemd and what they are.
UNITS = {
    "kubelet.service": "kubelet",
    "containerd.service": "container_runtime",
    "crio.service": "container_runtime",
    "docker.service": "container_runtime",
    "cri-docker.service": "container_runtime",
    "flanneld.service": "network",
    "dtf-registry.service": "registry",
}
#: What the Summary API calls its system containers. Its ``pods`` are told one by one as well.
SYSTEM_CONTAINERS = {"kubelet": "kubelet", "runtime": "container_runtime"}

_SYSTEM_NAMESPACES = re.compile(r"^(kube-system|kube-flannel|calico-system|calico-apiserver|tigera-operator|cilium)$")
_CONTROL_PLANE = re.compile(r"^(etcd|kube-apiserver|kube-scheduler|kube-controller-manager|coredns|kube-dns)-")
_NETWORK = re.compile(r"^(kube-proxy|kube-flannel|flannel|calico|canal|cilium|weave-net|kindnet|kube-router)-")
_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z$")


@dataclass(frozen=True)
class Counter:
    """What something had consumed by a moment.

    Attributes:
        part: one of :data:`PARTS`; of a pod that is no part of the platform, ``other``.
        time: the moment, in seconds on the machine's clock.
        cpu_seconds: of a processor, since the counter began.
        memory_bytes: held at the moment, without cache that could be dropped at once; ``None`` where nothing tells.
    """

    part: str
    time: float
    cpu_seconds: float
    memory_bytes: int | None


@dataclass(frozen=True)
class Reading:
    """A machine's counters.

    Attributes:
        host: its name in the inventory, or the node's.
        node: the name it has in the cluster.
        total: the whole machine.
        counters: what it is made of, by a name that a restart changes where it begins a counter anew.
        sampled: whether the counters are of earlier moments than the question.
        busy_cores: how many cores were at work just before; ``None`` where nobody looked.
    """

    host: str
    node: str
    total: Counter
    counters: Mapping[str, Counter] = field(default_factory=dict)
    sampled: bool = False
    busy_cores: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Reading:
        """Return the reading that a plain value is of."""
        counters = {name: Counter(**counter) for name, counter in value["counters"].items()}
        total = Counter(**value["total"])
        return cls(value["host"], value["node"], total, counters, value["sampled"], value.get("busy_cores"))


def part_of_pod(namespace: str, name: str) -> str:
    """Return which part a pod is."""
    if not _SYSTEM_NAMESPACES.match(namespace):
        return "other"
    if _CONTROL_PLANE.match(name):
        return "control_plane"
    return "network" if _NETWORK.match(name) else "other"


def reading_of_summary(summary: Mapping[str, Any]) -> Reading:
    """Return what a kubelet's Summary API answered (``/stats/summary?only_cpu_and_memory=true``).

    Raises:
        ValueError: the answer has no counter of the whole machine.
    """
    node = summary["node"]
    total = _counter("other", node)
    if total is None:
        raise ValueError("the kubelet has not counted anything yet")
    found = {
        "unit " + each["name"]: _counter(SYSTEM_CONTAINERS[each["name"]], each)
        for each in node.get("systemContainers") or ()
        if each["name"] in SYSTEM_CONTAINERS
    }
    for pod in summary.get("pods") or ():
        reference = pod["podRef"]
        key = "pod {namespace}/{name} {uid}".format(**reference)
        found[key] = _counter(part_of_pod(reference["namespace"], reference["name"]), pod)
    counters = {key: counter for key, counter in found.items() if counter is not None}
    return Reading(node["nodeName"], node["nodeName"], total, counters, sampled=True)


def _counter(part: str, said: Mapping[str, Any]) -> Counter | None:
    cpu, memory = said.get("cpu") or {}, said.get("memory") or {}
    if "usageCoreNanoSeconds" not in cpu or "time" not in cpu:
        return None
    return Counter(part, moment(cpu["time"]), cpu["usageCoreNanoSeconds"] / 1e9, memory.get("workingSetBytes"))


def moment(text: str) -> float:
    """Return a time of the API, or of a run document, in seconds since the epoch.

    Raises:
        ValueError: it is no such time.
    """
    match = _MOMENT.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no time of the API")
    return calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) + float(match[2] or 0)


def oldest(reading: Reading) -> float:
    """Return the time of the oldest counter that counts for the platform, or for the whole machine."""
    own = [counter.time for counter in reading.counters.values() if counter.part in PLATFORM]
    return min([reading.total.time, *own])


def platform(
    before: Sequence[Reading], after: Sequence[Reading], document: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the part ``platform`` of a run document, and what is to be said of it.

    Counters that were read at the moment itself are differences, of the seconds between the two readings; the run lies
    between them. Of counters that are samples, each rate is over its own samples and taken for the time of the run.

    Args:
        before: readings from before the run.
        after: readings of the same machines from after it.
        document: the run document.
    """
    notes = []
    first = {reading.host: reading for reading in before}
    pairs = [(first[reading.host], reading) for reading in after if reading.host in first]
    lost = sorted({reading.host for reading in (*before, *after)} - {reading.host for _first, reading in pairs})
    notes += [f"{host}: read only once, before the run or after it" for host in lost]
    whole = [(a, b) for a, b in pairs if b.total.time > a.total.time and b.total.cpu_seconds >= a.total.cpu_seconds]
    notes += [f"{b.host}: was booted anew, or its clock set" for a, b in pairs if (a, b) not in whole]
    if not whole:
        return None, notes or ["nothing was read"]
    sampled = any(reading.sampled for pair in whole for reading in pair)
    spans = [b.total.time - a.total.time for a, b in whole]
    seconds = float(document["wall_seconds"]) if sampled else sum(spans) / len(spans)
    parts: list[dict[str, Any]] = []
    for a, b in whole:
        own = [task for task in document["tasks"] if task["host"] in (b.host, b.node)]
        silent = [f"{task['role']}-{task['index']}" for task in own if task["cpu_seconds"] is None]
        if silent:
            notes.append(f"{b.host}: what {', '.join(silent)} took is in other, where nobody counted it")
        unseen = [part for part in ON_EVERY_NODE if part not in {counter.part for counter in b.counters.values()}]
        if unseen:
            notes.append(f"{b.host}: no counter tells of {' and '.join(unseen)}; what they took is in other")
        parts += _parts(a, b, own, seconds)
    return {"source": "kubelet" if sampled else "cgroup", "seconds": round(seconds, 3), "parts": parts}, notes


def with_loads(hosts: Sequence[Mapping[str, Any]], before: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return the hosts of a run document's environment, with the load of those that nobody else has looked at.

    Pods are on nodes, of which the API tells no load; their machines do.

    Args:
        hosts: as the document has them.
        before: readings from before the run.
    """
    busy = {name: reading.busy_cores for reading in before for name in (reading.host, reading.node)}
    return [
        {**host, "load_before": busy.get(host["name"]) if host["load_before"] is None else host["load_before"]}
        for host in hosts
    ]


def _parts(a: Reading, b: Reading, own: Sequence[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Return one machine's parts; those that nothing tells of are left out, and their consumption is in ``other``."""
    cpu: dict[str, float] = {}
    memory: dict[str, int | None] = {}
    for key, counter in b.counters.items():
        if counter.part not in PLATFORM:
            continue
        cpu[counter.part] = cpu.get(counter.part, 0.0) + _consumed(a.counters.get(key), counter, seconds)
        known = memory.get(counter.part, 0)
        told = known is not None and counter.memory_bytes is not None
        memory[counter.part] = (known or 0) + (counter.memory_bytes or 0) if told else None
    # What has gone since, as a pod that was moved, has told nothing of its end.
    cpu["trainer"] = sum(task["cpu_seconds"] or 0.0 for task in own)
    memory["trainer"] = sum(task["max_rss_bytes"] or 0 for task in own)
    held = sum(each or 0 for part, each in memory.items() if part != "trainer")
    cpu["other"] = max(0.0, _consumed(a.total, b.total, seconds) - sum(cpu.values()))
    # Read when the trainer has gone, so its memory is not in the whole.
    memory["other"] = None if b.total.memory_bytes is None else max(0, b.total.memory_bytes - held)
    return [
        {"host": b.host, "part": part, "cpu_seconds": round(cpu[part], 3), "memory_bytes": memory[part]}
        for part in PARTS
        if part in cpu
    ]


def _consumed(a: Counter | None, b: Counter, seconds: float) -> float:
    """Return what was consumed in so many seconds; a counter that began anew meanwhile has counted all of it."""
    if a is None or b.cpu_seconds < a.cpu_seconds:
        return b.cpu_seconds
    span = b.time - a.time
    return (b.cpu_seconds - a.cpu_seconds) / span * seconds if span > 0 else 0.0
