# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was measured between hosts → what is wrong, each cause once, with the host's name where it is one host's.

Pure: values in, values out. This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .preflight import ERROR, OK, UNKNOWN, WARNING, Finding, Site
from .preflight_hosts import Facts, duplicates, interface_of
from .preflight_pairs import blame, clock_offsets, from_interval, needed_ports, plan

OPEN = "open"
#: Outcomes of a try to reach a port that say that it cannot be.
CLOSED = ("refused", "silent")


@dataclass(frozen=True)
class Link:
    """What one host measured to another.

    Attributes:
        source: who measured.
        target: to whom.
        answered_by: who answered at the target's address; ``None`` if nobody did.
        ports: ``10250/tcp`` to ``open``, ``refused``, ``silent`` or ``untried``.
        rtt_ms: median time for a word there and back.
        ahead_seconds: how far the target's clock is ahead of the source's.
        bandwidth_mbit_s: megabits a second in one connection.
        mtu_expected: the longest packet that both ends' interfaces take.
        mtu_measured: the longest packet that arrived, 0 if not even a short one did.
    """

    source: str
    target: str
    answered_by: str | None
    ports: Mapping[str, str]
    rtt_ms: float | None
    ahead_seconds: float | None
    bandwidth_mbit_s: float | None
    mtu_expected: int | None
    mtu_measured: int | None

    @property
    def pair(self) -> tuple[str, str]:
        """From, to."""
        return self.source, self.target

    @classmethod
    def from_dict(cls, source: str, document: Mapping[str, Any]) -> Link:
        """Read what :func:`preflight_network.visit` returned on a host."""
        return cls(
            source=source,
            target=document["target"],
            answered_by=document["answered_by"],
            ports=document["ports"],
            rtt_ms=document["rtt_ms"],
            ahead_seconds=document["ahead_seconds"],
            bandwidth_mbit_s=document["bandwidth_mbit_s"],
            mtu_expected=document["mtu_expected"],
            mtu_measured=document["mtu_measured"],
        )


def peers(
    hosts: Mapping[str, Facts], site: Site, source: str, listening: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return whom a host visits and what it needs to know of them.

    Args:
        hosts: what was found on every host that takes part.
        site: what they are to become.
        source: the visiting host.
        listening: host to what :func:`preflight_network.listen` returned there.
    """
    visits = plan(sorted(hosts), [name for name in site.control_plane if name in hosts])
    own_mtu = (interface_of(hosts[source]) or {}).get("mtu", 0)
    found = []
    for visit in visits[source]:
        target = visit.target
        if target not in listening or not hosts[target]["address"]:
            continue
        wanted = needed_ports(target in site.control_plane, len(site.control_plane), site.cni, site.more_ports)
        both_control_planes = source in site.control_plane
        found.append(
            {
                "name": target,
                "address": hosts[target]["address"],
                # etcd's ports are asked by members of the control plane only.
                "ports": [
                    {"port": port.port, "protocol": port.protocol}
                    for port in wanted
                    if port.remote and (both_control_planes or port.port not in (2379, 2380))
                ],
                "answering": listening[target]["answering"],
                "mtu": min(own_mtu, (interface_of(hosts[target]) or {}).get("mtu", 0)),
                "bandwidth": visit.bandwidth,
            }
        )
    return found


def judge_links(
    hosts: Mapping[str, Facts],
    links: Sequence[Link],
    controller: Mapping[str, tuple[float, float]],
    site: Site,
) -> Iterator[Finding]:
    """Yield what is found between hosts.

    Args:
        hosts: what was found on each.
        links: what was measured between them.
        controller: host to the least and the most seconds that its clock is ahead of the controller's.
        site: what they are to become.
    """
    twice = duplicates(hosts)
    yield from _impostors(links, twice)
    # Where two hosts share an address, what was measured to it, or answered to it, may have met the other one.
    confused = {host for host, facts in hosts.items() if facts["address"] in twice}
    trusted = [link for link in links if not confused & set(link.pair) and link.answered_by in (link.target, None)]
    yield from _reachable(trusted)
    yield from _path_mtu(trusted)
    yield from _limit_of_links(trusted, "latency", site)
    yield from _limit_of_links(trusted, "bandwidth", site)
    yield from _clocks(trusted, controller, site)


def _impostors(links: Iterable[Link], twice: Mapping[str, object]) -> Iterator[Finding]:
    pairs = sorted({tuple(sorted((link.target, link.answered_by))) for link in links if link.answered_by})
    for names in pairs:
        if names[0] != names[1] and not twice:
            yield Finding(
                "duplicate_address",
                names,
                ERROR,
                "one answers at the other's address",
                limit="one host only",
                advice="look at the addresses of both, and at what translates addresses between them",
            )


def _reachable(links: Sequence[Link]) -> Iterator[Finding]:
    """Closed ports: by port whose fault it is, then every port of one host's fault together."""
    limit = "reached from every other host"
    opened: dict[str, set[tuple[str, str]]] = defaultdict(set)
    closed: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for link in links:
        for port, outcome in link.ports.items():
            if outcome in CLOSED:
                closed[port].add(link.pair)
            elif outcome == OPEN:
                opened[port].add(link.pair)
    accused: set[str] = set()
    for (names, words), ports in _causes(closed, opened).items():
        accused.update(names)
        # Silence is a firewall that drops; a refusal one that rejects, or a router.
        outcomes = {link.ports.get(port) for link in links for port in ports if set(names) <= set(link.pair)}
        yield Finding(
            "ports_reachable",
            names,
            ERROR,
            words.format(", ".join(ports)) + ": " + " and ".join(how for how in CLOSED if how in outcomes),
            limit=limit,
            advice="open them in the firewalls of the host and between the hosts: `nft list ruleset`, `iptables -S`",
        )
    for host in sorted({link.target for link in links} - accused):
        reached = {port for port, pairs in opened.items() if any(pair[1] == host for pair in pairs)}
        if reached:
            shown = ", ".join(sorted(reached, key=_number_first))
            yield Finding("ports_reachable", (host,), OK, shown, limit=limit)


def _causes(
    closed: Mapping[str, set[tuple[str, str]]], opened: Mapping[str, set[tuple[str, str]]]
) -> dict[tuple[tuple[str, ...], str], list[str]]:
    """Return who is named, and in which words → the ports concerned."""
    causes: dict[tuple[tuple[str, ...], str], list[str]] = defaultdict(list)
    for port in sorted(closed, key=_number_first):
        found = blame(closed[port], opened.get(port, ()), directed=True)
        for host in found.targets:
            causes[(host,), "{}"].append(port)
        for host in found.sources:
            causes[(host,), "reaches nobody on {}"].append(port)
        for pair in found.pairs:
            causes[pair, "{} does not reach {} on ".format(*pair) + "{}"].append(port)
    return causes


def _number_first(port: str) -> tuple[int, str]:
    number, _slash, protocol = port.partition("/")
    return int(number), protocol


def _path_mtu(links: Sequence[Link]) -> Iterator[Finding]:
    advice = (
        "something on the way drops long packets: give every switch, tunnel and bridge in between the same MTU, "
        "or lower it on the hosts"
    )
    measured = {link.pair: link for link in links if link.mtu_expected and link.mtu_measured}
    short = {pair: link for pair, link in measured.items() if (link.mtu_measured or 0) < (link.mtu_expected or 0)}
    found = blame(short, measured.keys() - short.keys(), directed=False)
    for names in [(host,) for host in found.hosts] + list(found.pairs):
        concerned = [link for pair, link in short.items() if set(names) <= set(pair)]
        yield Finding(
            "path_mtu",
            names,
            ERROR,
            min(link.mtu_measured or 0 for link in concerned),
            unit="bytes",
            limit=f">= {max(link.mtu_expected or 0 for link in concerned)}",
            advice=advice,
        )
    # TCP came through and UDP did not: a firewall, not a cause by itself.
    mute = {link.pair for link in links if link.mtu_expected and link.mtu_measured == 0 and link.rtt_ms is not None}
    blocked = {
        link.target for link in links if any("udp" in port and how in CLOSED for port, how in link.ports.items())
    }
    unknown = blame({pair for pair in mute if pair[1] not in blocked}, measured, directed=True)
    for names in [(host,) for host in (*unknown.targets, *unknown.sources)] + list(unknown.pairs):
        yield Finding(
            "path_mtu",
            names,
            UNKNOWN,
            "no datagram arrives",
            limit="an answer over UDP",
            advice="open the port preflight_probe_port/udp between the hosts while preflight runs",
        )
    for host in _untouched(measured, short, found.hosts):
        sizes = [link.mtu_measured or 0 for pair, link in measured.items() if host in pair]
        yield Finding("path_mtu", (host,), OK, min(sizes), unit="bytes", limit="both ends' MTU")


def _untouched(measured: Iterable[tuple[str, str]], bad: Iterable[tuple[str, str]], blamed: Sequence[str]) -> list[str]:
    """Return the hosts with a measurement that are to blame for none, or only as one of a pair."""
    accused = {host for pair in bad for host in pair} if not blamed else set(blamed)
    return sorted({host for pair in measured for host in pair} - accused)


def _limit_of_links(links: Sequence[Link], check: str, site: Site) -> Iterator[Finding]:
    latency = check == "latency"
    limit = site.limits.latency_ms_max if latency else site.limits.bandwidth_mbit_s_min
    values = {link.pair: link.rtt_ms if latency else link.bandwidth_mbit_s for link in links}
    measured = {pair: value for pair, value in values.items() if value is not None}
    bad = {pair: value for pair, value in measured.items() if (value > limit if latency else value < limit)}
    found = blame(bad, measured.keys() - bad.keys(), directed=False)
    shown = f"<= {limit:g}" if latency else f">= {limit:g}"
    unit = "ms" if latency else "Mbit/s"
    worst = max if latency else min
    for names in [(host,) for host in found.hosts] + list(found.pairs):
        yield Finding(
            check,
            names,
            WARNING,
            worst(value for pair, value in bad.items() if set(names) <= set(pair)),
            unit=unit,
            limit=shown,
            advice="look at the link, its driver and what else uses it"
            if latency
            else "workers and parameter servers send the whole model each step: look at the link's speed "
            "(`ethtool`) and at what else uses it",
        )
    for host in _untouched(measured, bad, found.hosts):
        yield Finding(
            check,
            (host,),
            OK,
            worst(value for pair, value in measured.items() if host in pair),
            unit=unit,
            limit=shown,
        )


def _clocks(links: Sequence[Link], controller: Mapping[str, tuple[float, float]], site: Site) -> Iterator[Finding]:
    limits = site.limits
    measured = {link.pair: link.ahead_seconds for link in links if link.ahead_seconds is not None}
    wrong = set()
    for host, ahead in sorted(clock_offsets(measured, controller).items()):
        off = abs(ahead) * 1000
        verdict = ERROR if off > limits.clock_skew_error_ms else WARNING if off > limits.clock_skew_warning_ms else OK
        if verdict != OK:
            wrong.add(host)
        yield Finding(
            "clock",
            (host,),
            verdict,
            round(ahead * 1000, 1),
            unit="ms",
            limit=f"<= {limits.clock_skew_warning_ms:g}",
            note="" if verdict == OK else _in_words(ahead),
            advice="" if verdict == OK else "set the clock and keep it: chrony or systemd-timesyncd",
        )
    intervals = [interval for host, interval in controller.items() if host not in wrong]
    if not intervals or (wrong and len(controller) <= 2):
        return
    # The narrowest statement about the controller that all good hosts allow.
    ahead = from_interval((max(low for low, _high in intervals), min(high for _low, high in intervals)))
    off = abs(ahead) * 1000 > limits.clock_skew_error_ms
    yield Finding(
        "controller_clock",
        tuple(sorted(host for host in controller if host not in wrong)),
        WARNING if off else OK,
        round(-ahead * 1000, 1),
        unit="ms",
        limit=f"<= {limits.clock_skew_error_ms:g}",
        note="of the machine that runs ansible, against all hosts",
        advice="set the clock of the machine that runs ansible: certificates and run documents carry its time"
        if off
        else "",
    )


def _in_words(ahead: float) -> str:
    return "{} {}".format(timedelta(seconds=round(abs(ahead), 1)), "ahead" if ahead > 0 else "behind")
