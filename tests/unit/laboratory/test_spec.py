"""Addresses follow from a lab's options, and everything wrong with these is told at once."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laboratory.spec import LabSpec, Route, changed, merged, overlaps, problems, routes

LISTED: list[dict[str, Any]] = [
    {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
    {"dst": "192.0.2.0/24", "dev": "eth0"},
    {"type": "blackhole", "dst": "10.96.0.0/12"},
    {"type": "local", "dst": "127.0.0.0/8", "dev": "lo", "table": "local"},
    {"type": "broadcast", "dst": "192.0.2.255", "dev": "eth0", "table": "local"},
    {"dst": "203.0.113.7", "dev": "wg0"},
]


def told(**options: Any) -> list[str]:
    """Return the options that are complained about, in order."""
    return [line.split(":")[0] for line in problems(replace(LabSpec(), **options))]


def test_the_first_host_is_the_control_plane() -> None:
    found = [(host.name, host.address, host.group) for host in LabSpec(hosts=3).members()]
    assert found == [
        ("cp1", "172.30.0.11", "kube_control_plane"),
        ("w1", "172.30.0.12", "kube_node"),
        ("w2", "172.30.0.13", "kube_node"),
    ]


def test_a_hosts_hardware_address_is_made_from_its_other_one() -> None:
    assert LabSpec().members()[0].mac == "02:42:ac:1e:00:0b"


@given(st.integers(1, 60), st.integers(0, 2**16 - 1), st.integers(16, 29))
def test_hosts_of_a_good_lab_have_addresses_of_their_own_in_its_subnet(hosts: int, place: int, prefix: int) -> None:
    subnet = IPv4Network(((172 << 24) + (30 << 16) + place, prefix), strict=False)
    spec = LabSpec(hosts=hosts, subnet=str(subnet))
    if problems(spec):
        assert subnet.num_addresses < hosts + 12
        return
    addresses = {IPv4Address(host.address) for host in spec.members()}
    assert len(addresses) == hosts == len({host.mac for host in spec.members()})
    assert all(address in subnet for address in addresses)
    assert not addresses & {IPv4Address(spec.gateway), subnet.network_address, subnet.broadcast_address}


def test_a_default_lab_is_a_good_one() -> None:
    assert problems(LabSpec()) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "Lab"}, ["--name"]),
        ({"name": "host"}, ["--name"]),
        ({"flavour": "big"}, ["--flavour"]),
        ({"memory": "4 GiB"}, ["--memory"]),
        ({"cpus": -1}, ["--cpus"]),
        ({"hosts": 0}, ["--hosts"]),
        ({"subnet": "172.30.0.5/24"}, ["--subnet"]),
        ({"subnet": "fd00::/64"}, ["--subnet"]),
        ({"subnet": "172.30.0.0/28", "hosts": 5}, ["--hosts"]),
        ({"subnet": "172.30.0.0/28", "hosts": 4}, []),
        ({"subnet": "10.244.7.0/24"}, ["--subnet"]),
        ({"pod_cidr": "10.96.0.0/16"}, ["--pod-cidr"]),
        (
            {"name": "", "hosts": -1, "memory": "", "service_cidr": "x"},
            ["--name", "--memory", "--hosts", "--service-cidr"],
        ),
    ],
)
def test_each_problem_is_named(options: dict[str, Any], named: list[str]) -> None:
    assert told(**options) == named


def test_a_problem_says_what_was_given_and_what_would_do() -> None:
    (line,) = problems(LabSpec(subnet="172.30.0.0/28", hosts=9))
    assert line == "--hosts: 9 hosts do not fit in 172.30.0.0/28, which has room for 4"


def test_routes_to_somewhere_are_told_from_the_machines_own() -> None:
    assert [str(route.range) for route in routes(LISTED)] == ["192.0.2.0/24", "10.96.0.0/12", "203.0.113.7/32"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, []),
        ({"subnet": "192.0.0.0/16"}, ["--subnet"]),
        ({"subnet": "10.100.0.0/24"}, ["--subnet"]),
        ({"subnet": "no range", "pod_cidr": "192.0.2.0/24"}, ["--pod-cidr"]),
        ({"pod_cidr": "203.0.113.0/24", "service_cidr": "192.0.2.128/25"}, ["--pod-cidr", "--service-cidr"]),
    ],
)
def test_what_the_machine_reaches_already_is_refused(options: dict[str, Any], named: list[str]) -> None:
    found = overlaps(LabSpec(**options), routes(LISTED), exists=False)
    assert [line.split(":")[0] for line in found] == named


def test_a_lab_is_not_in_its_own_way() -> None:
    own = [Route(IPv4Network("172.30.0.0/24"), "unicast", "br-1")]
    assert overlaps(LabSpec(), own, exists=True) == []
    (line,) = overlaps(LabSpec(), own, exists=False)
    assert line.startswith("--subnet: 172.30.0.0/24 overlaps 172.30.0.0/24, which this machine reaches by br-1")


def test_a_lab_grows_and_stays_as_it_was_made() -> None:
    stored = LabSpec(hosts=4, memory="2g")
    assert merged({"name": "lab", "hosts": 3, "memory": None}, stored) == stored
    assert merged({"hosts": 6}, stored) == replace(stored, hosts=6)
    assert merged({"hosts": 6, "flavour": None}, None) == LabSpec(hosts=6)


def test_what_a_lab_cannot_become_is_named() -> None:
    stored = LabSpec()
    asked = merged({"memory": "1g", "flavour": "plain", "hosts": 5}, stored)
    assert [line.split(":")[0] for line in changed(asked, stored)] == ["--flavour", "--memory"]
