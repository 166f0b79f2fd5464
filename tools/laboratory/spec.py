"""What a lab is to be: its options, the hosts that follow from them, and what is wrong with them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any

# Of the lab's own network: the first address is the gateway's, some are left for what else a lab may need.
FIRST_ADDRESS = 11
FLAVOURS = ("prepared", "plain")
# The network's name is the lab's; some names stand for something else to Docker.
_TAKEN_NAMES = ("bridge", "host", "none", "default")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_RANGES = ("subnet", "pod_cidr", "service_cidr")
_SIZE = re.compile(r"[1-9][0-9]*[kmg]")


@dataclass(frozen=True)
class Host:
    """One host of a lab.

    Attributes:
        name: its name in the inventory and its hostname.
        address: its IPv4 address.
        group: the inventory's group that says what becomes of it.
    """

    name: str
    address: str
    group: str

    @property
    def mac(self) -> str:
        """Its hardware address, made from the other one so that it survives a restart."""
        return ":".join(("02", "42", *(f"{byte:02x}" for byte in IPv4Address(self.address).packed)))


@dataclass(frozen=True)
class LabSpec:
    """The options of a lab.

    Attributes:
        name: of the lab and its network; the containers' names begin with it.
        hosts: how many: the first is the control plane, the others are workers.
        flavour: what is installed in them.
        subnet: of their network.
        memory: of each host, as Docker writes it.
        cpus: of each host; 0 is no limit.
        pod_cidr: what the cluster's pods will have.
        service_cidr: what its services will have.
        inventory: folder of the inventory.
    """

    name: str = "lab"
    hosts: int = 3
    flavour: str = "prepared"
    subnet: str = "172.30.0.0/24"
    memory: str = "4g"
    cpus: float = 0
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/12"
    inventory: str = "inventories/lab"

    @property
    def gateway(self) -> str:
        """The machine's address in the lab's network."""
        return str(IPv4Network(self.subnet)[1])

    def members(self) -> list[Host]:
        """Return the hosts in the order of their addresses. The spec must be a good one."""
        network = IPv4Network(self.subnet)
        names = ["cp1", *(f"w{number}" for number in range(1, self.hosts))]
        return [
            Host(name=name, address=str(network[FIRST_ADDRESS + place]), group="kube_node" if place else CONTROL_PLANE)
            for place, name in enumerate(names)
        ]

    def member(self, name: str) -> Host | None:
        """Return the host of that name."""
        return next((host for host in self.members() if host.name == name), None)

    def container(self, host: Host) -> str:
        """Return the name of a host's container."""
        return f"{self.name}-{host.name}"


CONTROL_PLANE = "kube_control_plane"
# What may be asked of a lab that is there already: it can grow, all else is as it was made.
FIXED = tuple(field.name for field in fields(LabSpec) if field.name not in {"name", "hosts"})


def merged(asked: dict[str, Any], stored: LabSpec | None) -> LabSpec:
    """Return the spec of a lab: what is asked for, else what it was made with, else the defaults.

    A lab never shrinks: hosts that were added stay until the lab goes.
    """
    chosen = {name: value for name, value in asked.items() if value is not None}
    if stored is None:
        return LabSpec(**chosen)
    known = {field.name: getattr(stored, field.name) for field in fields(LabSpec)}
    return LabSpec(**{**known, **chosen, "hosts": max(stored.hosts, chosen.get("hosts", 0))})


def changed(spec: LabSpec, stored: LabSpec) -> list[str]:
    """Return a line for each option that is not what the lab was made with."""
    return [
        f"{_option(name)}: lab {spec.name} was made with {getattr(stored, name)}, not {getattr(spec, name)}: "
        "take it down first, or choose another --name"
        for name in FIXED
        if getattr(spec, name) != getattr(stored, name)
    ]


def name_problems(name: str) -> list[str]:
    """Return what is wrong with a lab's name, which is a network's and a folder's as well."""
    if _NAME.fullmatch(name) and name not in _TAKEN_NAMES:
        return []
    taken = ", ".join(_TAKEN_NAMES)
    accepted = f"a letter, then up to 30 letters, digits and -, all small, and none of {taken}"
    return [f"--name: {name!r} is no name for a lab: {accepted}"]


def problems(spec: LabSpec) -> list[str]:
    """Return what is wrong with a spec by itself."""
    found = name_problems(spec.name)
    if spec.flavour not in FLAVOURS:
        found.append(f"--flavour: {spec.flavour!r} is none of {', '.join(FLAVOURS)}")
    if not _SIZE.fullmatch(spec.memory):
        found.append(f"--memory: {spec.memory!r} is no size: a number and k, m or g, such as 4g")
    if spec.cpus < 0:
        found.append(f"--cpus: {spec.cpus:g} is less than 0, which is no limit")
    if spec.hosts < 1:
        found.append(f"--hosts: {spec.hosts} is less than 1: the control plane is the first host")
    return found + _range_problems(spec)


def _range_problems(spec: LabSpec) -> list[str]:
    """Return what is wrong with a spec's ranges."""
    ranges = _ranges(spec)
    found = [
        f"{_option(name)}: {getattr(spec, name)!r} is no IPv4 range such as {getattr(LabSpec(), name)}: "
        "an address with nothing after the prefix, and the prefix"
        for name in _RANGES
        if name not in ranges
    ]
    if "subnet" in ranges:
        # The last address is the broadcast's.
        room = max(0, ranges["subnet"].num_addresses - 1 - FIRST_ADDRESS)
        if spec.hosts > room:
            found.append(f"--hosts: {spec.hosts} hosts do not fit in {spec.subnet}, which has room for {room}")
    for first, second in combinations(ranges, 2):
        if ranges[first].overlaps(ranges[second]):
            found.append(f"{_option(first)}: {ranges[first]} overlaps {_option(second)}, which is {ranges[second]}")
    return found


def _ranges(spec: LabSpec) -> dict[str, IPv4Network]:
    """Return those of a spec's ranges that are some, by field."""
    found = {}
    for name in _RANGES:
        with contextlib.suppress(ValueError):
            found[name] = IPv4Network(getattr(spec, name))
    return found


@dataclass(frozen=True)
class Route:
    """A route of this machine.

    Attributes:
        range: where to.
        kind: ``unicast``, ``blackhole`` …
        device: through which interface, empty if through none.
    """

    range: IPv4Network
    kind: str
    device: str


def routes(listed: list[dict[str, Any]]) -> list[Route]:
    """Return the routes that stand for a network of somebody's, from what ``ip -json -4 route show table all`` says."""
    return [
        Route(IPv4Network(entry["dst"]), entry.get("type", "unicast"), entry.get("dev", ""))
        for entry in listed
        if entry["dst"] != "default" and entry.get("type", "unicast") not in {"local", "broadcast", "multicast"}
    ]


def overlaps(spec: LabSpec, present: Iterable[Route], *, exists: bool) -> list[str]:
    """Return where a spec's ranges are in use on this machine already, other than by the lab itself.

    What is no range is another problem, and not told here.

    Args:
        spec: the lab.
        present: the machine's routes.
        exists: whether the lab is there already, and with it the route to its network.
    """
    found = []
    ranges = _ranges(spec)
    for name, wanted in ranges.items():
        for route in present:
            own = exists and route.range == ranges.get("subnet")
            # To keep packets in is what ours are for, and so is anybody's.
            kept_in = name != "subnet" and route.kind == "blackhole"
            if own or kept_in:
                continue
            if route.range.overlaps(wanted):
                way = f" by {route.device}" if route.device else ""
                found.append(
                    f"{_option(name)}: {wanted} overlaps {route.range}, which this machine reaches{way}: choose another"
                )
    return found


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
