# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between hosts: which ports have to be open, who measures to whom, and whose fault it is when a measurement is bad.

Pure: values in, values out. This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Port:
    """A port that a node uses.

    Attributes:
        port: its number.
        protocol: ``tcp`` or ``udp``.
        remote: whether other hosts have to reach it.
    """

    port: int
    protocol: str = "tcp"
    remote: bool = True

    def __str__(self) -> str:
        return f"{self.port}/{self.protocol}"


def needed_ports(
    control_plane: bool, control_planes: int, cni: str, more: Sequence[Mapping[str, object]]
) -> list[Port]:
    """Return the ports that a node of this kind uses.

    Args:
        control_plane: whether the host is of the control plane.
        control_planes: how many of these there are; etcd is asked from outside only by other members.
        cni: the pod network; ``flannel`` sends packets in UDP.
        more: the site's own, ``{port, protocol}``, reached from everywhere.
    """
    ports = [Port(10250), Port(10256, remote=False)]
    if control_plane:
        several = control_planes > 1
        ports += [Port(6443), Port(2379, remote=several), Port(2380, remote=several)]
        ports += [Port(10257, remote=False), Port(10259, remote=False)]
    if cni == "flannel":
        ports.append(Port(8472, "udp"))
    known = {(port.port, port.protocol) for port in ports}
    for entry in more:
        port = Port(int(str(entry["port"])), str(entry.get("protocol") or "tcp"))
        if (port.port, port.protocol) not in known:
            ports.append(port)
    return sorted(ports, key=lambda port: (port.port, port.protocol))


@dataclass(frozen=True)
class Visit:
    """A host that another one measures to; bandwidth only where no two measurements meet at one host."""

    target: str
    bandwidth: bool


def plan(hosts: Sequence[str], control_plane: Sequence[str]) -> dict[str, list[Visit]]:
    """Return whom each host measures to.

    A ring to the next host and one to a host far away give each host two that visit it and two that it visits, so that
    a bad measurement can be told to be one host's fault; and each host and each of the control plane visit one
    another. That is linear in the number of hosts.
    """
    count = len(hosts)
    visits: dict[str, list[Visit]] = {host: [] for host in hosts}
    for offset in offsets(count):
        for number, host in enumerate(hosts):
            visits[host].append(Visit(hosts[(number + offset) % count], bandwidth=offset == 1))
    seen = {(host, visit.target) for host, wanted in visits.items() for visit in wanted}
    for centre in control_plane:
        for host in hosts:
            for source, target in ((host, centre), (centre, host)):
                if source != target and (source, target) not in seen and source in visits and target in visits:
                    seen.add((source, target))
                    visits[source].append(Visit(target, bandwidth=False))
    return visits


def offsets(count: int) -> list[int]:
    """Return the distances of the rings over so many hosts."""
    if count < 2:
        return []
    return [1] if count == 2 else [1, max(2, count // 2)]


@dataclass(frozen=True)
class Blame:
    """Who explains bad measurements, each of them once.

    Attributes:
        targets: hosts that nobody got through to.
        sources: hosts that got through to nobody.
        hosts: hosts without any good measurement, either way.
        pairs: what no single host explains.
    """

    targets: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.targets or self.sources or self.hosts or self.pairs)


def blame(bad: Iterable[tuple[str, str]], good: Iterable[tuple[str, str]], *, directed: bool) -> Blame:
    """Return the fewest causes that explain every bad measurement and contradict no good one.

    Args:
        bad: pairs whose measurement failed a limit.
        good: pairs whose measurement passed.
        directed: whether a fault may lie in one direction only, such as a closed port; a slow link is slow both ways.
    """
    left, passed = set(bad), set(good)
    roles = ("target", "source") if directed else ("host",)
    found: dict[str, list[str]] = defaultdict(list)
    while left:
        # The order of what is equal: a target before a source, then by name.
        candidates = [
            (len(explained), -roles.index(role), host, role, explained)
            for role in roles
            for host in sorted({name for pair in left for name in pair}, reverse=True)
            if not any(_plays(role, host, pair) for pair in passed)
            for explained in [{pair for pair in left if _plays(role, host, pair)}]
            if explained
        ]
        if not candidates:
            break
        most = max(candidate[:2] for candidate in candidates)
        *_rank, host, role, explained = min(
            (entry for entry in candidates if entry[:2] == most), key=lambda one: one[2]
        )
        # Where all that is bad lies between two hosts, nothing tells which of them is to blame.
        if role == "host" and len({frozenset(pair) for pair in explained}) == 1:
            break
        found[role].append(host)
        left -= explained
    pairs = left if directed else {(min(pair), max(pair)) for pair in left}
    return Blame(tuple(found["target"]), tuple(found["source"]), tuple(found["host"]), tuple(sorted(pairs)))


def _plays(role: str, host: str, pair: tuple[str, str]) -> bool:
    return {"target": pair[1] == host, "source": pair[0] == host, "host": host in pair}[role]


def clock_offsets(
    measured: Mapping[tuple[str, str], float], controller: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Return each host's seconds ahead of the hosts' common time.

    Common is what most agree on: the median. Where two hosts differ, the controller's clock decides which is right.

    Args:
        measured: (from, to) to the seconds that the second clock is ahead of the first.
        controller: host to the least and the most that its clock can be ahead of the controller's.
    """
    neighbours: dict[str, dict[str, float]] = defaultdict(dict)
    for (source, target), ahead in measured.items():
        # Measured both ways, the mean of both is the better one.
        other = measured.get((target, source))
        neighbours[source][target] = ahead if other is None else (ahead - other) / 2
        neighbours[target][source] = -neighbours[source][target]
    result: dict[str, float] = {}
    for start in sorted({*neighbours, *controller}):
        if start in result:
            continue
        group = {start: 0.0}
        waiting = [start]
        while waiting:
            host = waiting.pop()
            for neighbour, ahead in neighbours[host].items():
                if neighbour not in group:
                    group[neighbour] = group[host] + ahead
                    waiting.append(neighbour)
        common = _common(group, controller)
        result.update({host: ahead - common for host, ahead in group.items()})
    return result


def _common(group: Mapping[str, float], controller: Mapping[str, tuple[float, float]]) -> float:
    """Return the common time of hosts whose clocks are known against each other."""
    if len(group) > 2:
        return median(group.values())
    # How far off each would be by the controller's clock; a host it knows nothing of is the last to be believed.
    off = {host: abs(from_interval(controller[host])) if host in controller else float("inf") for host in group}
    best = min(sorted(group), key=lambda host: off[host])
    if len(group) == 1:
        return group[best] - (from_interval(controller[best]) if best in controller else 0.0)
    return group[best]


def from_interval(interval: tuple[float, float]) -> float:
    """Return the number of an interval that is nearest to 0."""
    low, high = interval
    return low if low > 0 else min(high, 0.0)
