"""What is wrong with a host by what was read there, and what only several together show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.preflight import Limits, Site
from ansible_collections.dtf.cluster.plugins.module_utils.preflight_hosts import (
    judge_host,
    judge_together,
    ours,
    usual_size,
)
from tests.unit.module_utils.preflight_samples import SITE, address, disk, facts, hosts

PORT = {"port": 10250, "protocol": "tcp", "holder": "nginx (process 12)"}
OWN_PORT = {**PORT, "holder": "kubelet (process 12)"}
FORWARD_DROP = {"what": "docker", "where": "iptables: policy of FORWARD is DROP"}
KUBEADM = {"what": "kubeadm", "where": "/etc/kubernetes/kubelet.conf"}


def wrong(found: Mapping[str, Any], site: Site = SITE) -> list[tuple[str, str]]:
    """Return check and verdict of all that is not good on a host."""
    return [(one.check, one.verdict) for one in judge_host(found["node_name"], found, site) if one.verdict != "ok"]


def test_nothing_is_wrong_with_a_healthy_host() -> None:
    assert wrong(facts(1)) == []
    assert wrong(facts(2)) == []


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"uid": 1000}, ("privileges", "error")),
        ({"os__names": ["Ubuntu-24.04", "Ubuntu", "Debian"]}, ("os", "warning")),
        ({"os__names": ["Gentoo"]}, ("os", "error")),
        ({"kernel": "4.9.0-1"}, ("kernel", "error")),
        ({"cores": 1}, ("cores", "warning")),
        ({"memory_mib": 899}, ("memory", "error")),
        ({"swap_mib": 1}, ("swap", "warning")),
        ({"cgroup__version": 1}, ("cgroup", "warning")),
        ({"cgroup__controllers": ["cpu", "cpuset", "pids"]}, ("cgroup_controllers", "error")),
        ({"modules__overlay": "missing"}, ("kernel_modules", "error")),
        ({"modules__overlay": "unknown"}, ("kernel_modules", "unknown")),
        ({"ports": [PORT]}, ("ports_free", "error")),
        # Before there is a node, even a kubelet is a stranger.
        ({"ports": [OWN_PORT]}, ("ports_free", "error")),
        ({"hostname": "other"}, ("hostname", "warning")),
        ({"hostname": "Not_Valid"}, ("hostname", "error")),
        ({"address": "192.0.2.99"}, ("address", "error")),
        ({"synchronized": False}, ("time_sync", "warning")),
        ({"synchronized": None}, ("time_sync", "unknown")),
        ({"names__forward": ["127.0.1.1"]}, ("dns_forward", "warning")),
        ({"names__reverse": ""}, ("dns_reverse", "warning")),
        ({"names__resolvers": []}, ("dns_resolver", "warning")),
        ({"endpoints": [{"url": "https://a", "status": None, "problem": "timed out"}]}, ("endpoint", "error")),
        ({"disks": [disk(images="/i", free_gib=14)]}, ("free_space", "error")),
        # What lies on one file system adds up: 15 for images and 5 for the kubelet.
        ({"disks": [disk(images="/i", kubelet="/k", free_gib=19)]}, ("free_space", "error")),
        ({"disks": [disk(10.0, images="/i")]}, ("disk_latency", "warning")),
        ({"disks": [{**disk(images="/i"), "write_mib_s": 49.9}]}, ("disk_write", "warning")),
        ({"disks": [{**disk(images="/i"), "free_inodes_percent": 4.9}]}, ("free_inodes", "error")),
        (
            {"hyperv": {"vendor": "Microsoft Corporation", "balloon": True, "hot_add": True}},
            ("dynamic_memory", "warning"),
        ),
        ({"leftovers": [FORWARD_DROP]}, ("leftovers", "warning")),
        ({"leftovers": [KUBEADM]}, ("leftovers", "error")),
    ],
)
def test_each_fault_of_a_host_is_one_finding(changes: dict[str, Any], wanted: tuple[str, str]) -> None:
    # Names keep pointing at the host where its address is the fault.
    found = facts(2, **changes)
    if "address" in changes:
        found["names"]["forward"] = [changes["address"]]
    assert wrong(found) == [wanted]


def test_every_finding_that_is_not_good_says_what_to_do() -> None:
    broken = facts(
        2, uid=1, kernel="2.6", cores=1, memory_mib=1, swap_mib=1, synchronized=False, hostname="x", leftovers=[KUBEADM]
    )
    found = [one for one in judge_host("w1", broken, SITE) if one.verdict != "ok"]
    assert len(found) == 8
    assert all(one.advice and one.limit for one in found)


def test_the_control_plane_needs_more() -> None:
    assert wrong(facts(1, cores=1)) == [("cores", "error")]
    assert wrong(facts(1, memory_mib=1500)) == [("memory", "error")]
    assert wrong(facts(2, memory_mib=1500)) == []
    slow = [disk(12.0, etcd="/var/lib/etcd")]
    assert wrong(facts(1, disks=slow)) == [("disk_latency", "error")]


def test_a_slow_disk_is_named_once_for_all_that_lies_on_it() -> None:
    slow = [{**disk(50.0, etcd="/e"), "write_mib_s": 1.0}, {**disk(80.0, images="/i"), "write_mib_s": 1.0}]
    (found,) = [one for one in judge_host("cp1", facts(1, disks=slow), SITE) if one.verdict != "ok"]
    assert (found.check, found.verdict, found.measured, found.subject) == ("disk_latency", "error", 80.0, "/e, /i")


def test_an_own_loop_says_that_it_is_no_fio() -> None:
    (found,) = [
        one
        for one in judge_host("w1", facts(2, disks=[disk(tool="own loop", images="/i")]), SITE)
        if one.check == "disk_latency"
    ]
    assert found.verdict == "ok"
    assert "no usable fio" in found.note


def test_what_a_full_disk_hides_is_not_told_beside_it() -> None:
    full = {**disk(images="/i", free_gib=0.01), "latency": None, "write_mib_s": None, "problem": "too little room"}
    assert wrong(facts(2, disks=[full])) == [("free_space", "error")]
    locked = {**full, "free_bytes": 100 << 30}
    assert wrong(facts(2, disks=[locked])) == [("disk_latency", "unknown")]


def test_a_resolver_that_is_silent_is_the_one_cause() -> None:
    silent = {"forward": [], "reverse": "", "resolvers": [{"address": "192.0.2.53", "answers": False}]}
    assert wrong(facts(2, names=silent)) == [("dns_resolver", "warning")]


def test_a_lease_and_a_wrong_interface() -> None:
    found = facts(2)
    found["network"]["interfaces"][1]["addresses"] = [address("192.0.2.2", 24, leased=True)]
    assert wrong(found) == [("static_address", "warning")]
    assert wrong(facts(2), replace(SITE, interface="eth1")) == [("address", "error")]
    found = facts(2)
    found["network"]["interfaces"][1]["name"] = "docker0"
    assert wrong(found) == [("address", "error")]


def member(number: int, ca: str = "a") -> dict[str, Any]:
    """Return a host that is a node of ours."""
    state = {"state": "member", "ca": ca, "control_plane": False, "kubelet_runs": True}
    found = facts(number, kubernetes=state, ports=[OWN_PORT], leftovers=[KUBEADM, {"what": "cni", "where": "/etc/cni"}])
    found["network"]["interfaces"].append(
        {"name": "cni0", "mac": "02:00:00:00:01:00", "mtu": 1500, "up": True, "addresses": [address("10.244.1.1", 24)]}
    )
    found["network"]["routes"].append({"destination": "10.244.2.0/24", "interface": "eth0"})
    return found


def test_a_node_of_ours_passes_and_says_so() -> None:
    found = member(2)
    assert ours(found)
    assert wrong(found) == []
    notes = {one.check for one in judge_host("w1", found, SITE) if one.note == "already a node"}
    assert notes == {"ports_free", "leftovers", "free_space"}
    assert [one for one in judge_together({"w1": found}, SITE) if one.verdict != "ok"] == []


def test_on_a_node_strangers_are_still_found() -> None:
    found = member(2)
    found["ports"] = [PORT]
    found["leftovers"] = [{"what": "k3s", "where": "/etc/rancher/k3s"}]
    found["kubernetes"]["kubelet_runs"] = False
    assert wrong(found) == [("ports_free", "error"), ("leftovers", "error"), ("kubelet", "warning")]


def together(found: Mapping[str, Any], site: Site = SITE) -> list[tuple[str, tuple[str, ...], str]]:
    """Return what is not good among several hosts."""
    return [(one.check, one.hosts, one.verdict) for one in judge_together(found, site) if one.verdict != "ok"]


def test_healthy_hosts_differ_where_they_must() -> None:
    assert together(hosts(5)) == []


@pytest.mark.parametrize("what", ["hostname", "machine_id", "product_uuid"])
def test_what_two_hosts_share(what: str) -> None:
    found = hosts(4)
    found["w1"][what] = found["w3"][what] = "copy"
    assert together(found) == [(f"unique_{what}", ("w1", "w3"), "error")]


def test_hosts_without_a_uuid_share_none() -> None:
    found = hosts(3)
    for one in found.values():
        one["product_uuid"] = ""
    assert together(found) == []


def test_a_mac_address_that_two_hosts_share() -> None:
    found = hosts(3)
    found["w2"]["network"]["interfaces"][1]["mac"] = found["w1"]["network"]["interfaces"][1]["mac"]
    assert together(found) == [("unique_mac_address", ("w1", "w2"), "error")]


def test_an_address_on_two_hosts_by_facts_and_by_an_answer_is_one_finding() -> None:
    found = hosts(3)
    found["w2"]["network"]["interfaces"][1]["addresses"].append(address("192.0.2.2", 24))
    wanted = [("duplicate_address", ("w1", "w2"), "error")]
    assert together(found) == wanted
    found["w1"]["duplicates"] = [{"address": "192.0.2.2", "mac": "02:00:00:00:00:03"}]
    assert together(found) == wanted


def test_an_address_that_a_stranger_answers_for() -> None:
    found = hosts(3)
    found["w1"]["duplicates"] = [{"address": "192.0.2.2", "mac": "02:aa:00:00:00:01"}]
    assert together(found) == [("duplicate_address", ("w1",), "error")]
    (one,) = [one for one in judge_together(found, SITE) if one.verdict != "ok"]
    assert "02:aa:00:00:00:01" in one.note


@pytest.mark.parametrize(
    ("pods", "services", "count"),
    [
        ("10.244.0.0/16", "10.96.0.0/12", 0),
        ("10.96.0.0/16", "10.96.0.0/12", 1),
        ("192.0.0.0/8", "10.96.0.0/12", 3),
        ("fd00::/48", "10.96.0.0/12", 0),
    ],
)
def test_ranges_overlap(pods: str, services: str, count: int) -> None:
    found = together(hosts(3), replace(SITE, pod_cidr=pods, service_cidr=services))
    assert [check for check, _hosts, _verdict in found] == ["cidr"] * count


def test_a_range_that_a_bridge_or_a_route_of_one_host_takes() -> None:
    found = hosts(3)
    bridge = {"name": "docker0", "mac": "", "mtu": 1500, "up": True, "addresses": [address("10.244.0.1", 24)]}
    found["w1"]["network"]["interfaces"].append(bridge)
    found["w2"]["network"]["routes"].append({"destination": "10.100.0.0/16", "interface": "tun0"})
    assert together(found) == [("cidr", ("w1",), "error"), ("cidr", ("w2",), "error")]


def test_a_host_with_another_mtu_is_named_and_nobody_else() -> None:
    found = hosts(4)
    found["w2"]["network"]["interfaces"][1]["mtu"] = 1300
    assert together(found) == [("mtu", ("w2",), "error")]
    for one in found.values():
        one["network"]["interfaces"][1]["mtu"] = 1300
    assert {(check, verdict) for check, _hosts, verdict in together(found)} == {("mtu", "warning")}


@pytest.mark.parametrize(("sizes", "wanted"), [([1500], 1500), ([1500, 1400], 1500), ([9000, 1500, 1500], 1500)])
def test_the_usual_size_of_packets(sizes: list[int], wanted: int) -> None:
    assert usual_size(sizes) == wanted


def test_nodes_of_two_clusters() -> None:
    found = {"w1": member(2), "w2": member(3, ca="b")}
    assert ("one_cluster", ("w1", "w2"), "error") in together(found)


def test_limits_are_the_sites_own() -> None:
    site = replace(SITE, limits=replace(Limits(), cores_min=8, fdatasync_p99_ms_max=1))
    assert wrong(facts(2), site) == [("cores", "warning"), ("disk_latency", "warning")]
