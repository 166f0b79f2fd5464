# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of preflight: limits, findings, and what a list of findings comes to.

Pure: values in, values out. This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .errors import InvalidInput, Problem

SCHEMA = "dtf.preflight/1"

OK, WARNING, ERROR, UNKNOWN = "ok", "warning", "error", "unknown"
#: What matters most first.
VERDICTS = (ERROR, WARNING, UNKNOWN, OK)


@dataclass(frozen=True)
class Limits:
    """What a host must have at least or may have at most.

    Each number is described where a user looks for it: in ``roles/preflight/meta/argument_specs.yml``. A test holds the
    two together.
    """

    kernel_min: str = "4.18"
    cores_min: int = 2
    control_plane_memory_mib_min: int = 1700
    node_memory_mib_min: int = 900
    etcd_free_gib_min: float = 4
    images_free_gib_min: float = 15
    kubelet_free_gib_min: float = 5
    data_free_gib_min: float = 5
    member_free_percent_min: float = 10
    free_inodes_percent_min: float = 5
    fdatasync_p99_ms_max: float = 10
    sequential_write_mib_s_min: float = 50
    mtu_bytes_min: int = 1400
    latency_ms_max: float = 10
    bandwidth_mbit_s_min: float = 500
    clock_skew_warning_ms: float = 100
    clock_skew_error_ms: float = 1000

    @classmethod
    def from_params(cls, given: Mapping[str, object]) -> Limits:
        """Lay a site's limits over the defaults.

        Raises:
            InvalidInput: with every limit that is unknown or no number.
        """
        known = {entry.name: entry.default for entry in fields(cls)}
        problems: list[Problem] = []
        accepted: dict[str, object] = {}
        for name, value in given.items():
            place = f"preflight_limits.{name}"
            if name not in known:
                problems.append(Problem(place, value, "one of " + ", ".join(known)))
            elif isinstance(known[name], str):
                if not _version(str(value)):
                    problems.append(Problem(place, value, "a version such as 5.10"))
                accepted[name] = str(value)
            else:
                number = _number(value)
                if number is None or number < 0:
                    problems.append(Problem(place, value, "a number of 0 or more"))
                accepted[name] = number
        if problems:
            raise InvalidInput("preflight_limits", problems)
        return replace(cls(), **accepted)  # type: ignore[arg-type]


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _version(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, nothing if it begins with none."""
    numbers: list[int] = []
    for part in text.replace("-", ".").split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def at_least(version: str, wanted: str) -> bool:
    """Whether a version such as ``6.1.0-13-amd64`` is not older than another."""
    return _version(version)[: len(_version(wanted))] >= _version(wanted)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: stable name of the check.
        hosts: one host, the two of a pair, or all that share one cause.
        verdict: ``ok``, ``warning``, ``error`` or ``unknown`` (it could not be measured).
        measured: what was found.
        unit: unit of ``measured``, if it is a number.
        limit: what is accepted, in words or with the unit.
        subject: what on the host is meant, such as a path or a port, where a check looks at several.
        note: how it was measured, or why it counts as it does, where that is not plain.
        advice: what to do; nothing where nothing is to be done.
        accepted: verdict that the site has declared to be known and fine.
    """

    check: str
    hosts: tuple[str, ...]
    verdict: str
    measured: float | str | None
    unit: str = ""
    limit: str = ""
    subject: str = ""
    note: str = ""
    advice: str = ""
    accepted: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the finding as it stands in a document."""
        document = asdict(self)
        document["hosts"] = list(self.hosts)
        return document


@dataclass(frozen=True)
class Site:
    """What the hosts are to become, as far as it decides what is needed of them.

    Attributes:
        control_plane: inventory names of the hosts of the control plane.
        pod_cidr: range of the pods.
        service_cidr: range of the services.
        cni: the pod network.
        interface: name of the interface that the node address must be on, any if empty.
        systems: name of an operating system (``Debian-12``) to ``proven`` or ``unproven``.
        more_ports: the site's own ports.
        limits: the thresholds.
    """

    control_plane: tuple[str, ...]
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/12"
    cni: str = "bridge"
    interface: str = ""
    systems: Mapping[str, str] = field(default_factory=dict)
    more_ports: Sequence[Mapping[str, object]] = ()
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def from_params(cls, given: Mapping[str, Any]) -> Site:
        """Read a site from the role's variables.

        Raises:
            InvalidInput: with every problem of all of them.
        """
        problems: list[Problem] = []
        for name in ("pod_cidr", "service_cidr"):
            try:
                ipaddress.ip_network(given[name])
            except ValueError:
                problems.append(Problem(f"preflight_{name}", given[name], "a network such as 10.244.0.0/16"))
        for number, entry in enumerate(given["ports"]):
            if _number(entry.get("port")) not in range(1, 65536):
                problems.append(Problem(f"preflight_ports[{number}].port", entry.get("port"), "1 to 65535"))
            if entry.get("protocol", "tcp") not in ("tcp", "udp"):
                problems.append(Problem(f"preflight_ports[{number}].protocol", entry["protocol"], "tcp or udp"))
        limits = Limits()
        try:
            limits = Limits.from_params(given["limits"])
        except InvalidInput as error:
            problems += error.problems
        if problems:
            raise InvalidInput("preflight", problems)
        return cls(
            control_plane=tuple(given["control_plane"]),
            pod_cidr=given["pod_cidr"],
            service_cidr=given["service_cidr"],
            cni=given["cni"],
            interface=given["interface"],
            systems=given["systems"],
            more_ports=given["ports"],
            limits=limits,
        )


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings that are equal but for their hosts as one: one cause is named once, however many it strikes."""
    hosts: dict[Finding, list[str]] = {}
    for finding in findings:
        of_all = hosts.setdefault(replace(finding, hosts=()), [])
        of_all += [host for host in finding.hosts if host not in of_all]
    return [replace(finding, hosts=tuple(names)) for finding, names in hosts.items()]


def accept(findings: Iterable[Finding], accepted: Sequence[str]) -> list[Finding]:
    """Turn what a site knows and lives with into ``ok``, with what it was beside it.

    Args:
        findings: before they are merged, so that one host's fault can be accepted and the same on another not.
        accepted: names of checks, ``check@host`` for one host only.
    """
    result = []
    for finding in findings:
        known = any(
            finding.check == check and (not host or finding.hosts == (host,))
            for check, _at, host in (entry.partition("@") for entry in accepted)
        )
        if known and finding.verdict != OK:
            result.append(replace(finding, verdict=OK, accepted=finding.verdict))
        else:
            result.append(finding)
    return result


def summary(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each verdict, and how many are accepted."""
    counts = dict.fromkeys([*VERDICTS, "accepted"], 0)
    for finding in findings:
        counts[finding.verdict] += 1
        counts["accepted"] += finding.accepted is not None
    return counts


def verdict(counts: Mapping[str, int]) -> str:
    """Return what all findings together come to: ``ok``, ``warning`` or ``error``.

    What could not be measured is a warning: it may be good, and nobody knows.
    """
    if counts[ERROR]:
        return ERROR
    return WARNING if counts[WARNING] or counts[UNKNOWN] else OK


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with the worst first, and each verdict's in the order they were found."""
    return sorted(findings, key=lambda finding: VERDICTS.index(finding.verdict))
