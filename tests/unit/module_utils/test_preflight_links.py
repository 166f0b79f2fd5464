"""What was measured between hosts comes to the fewest causes, and the report holds all of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.preflight import (
    Finding,
    Limits,
    Site,
    accept,
    at_least,
    merged,
    summary,
    verdict,
)
from ansible_collections.dtf.cluster.plugins.module_utils.preflight_links import Link, judge_links, peers
from ansible_collections.dtf.cluster.plugins.module_utils.preflight_report import (
    conclusion,
    document,
    judge,
    table,
)
from tests.unit.module_utils.preflight_samples import SITE, address, hosts
from tests.unit.module_utils.schema_check import assert_exactly

LISTENER = {"pid": 7, "answering": [{"port": 10250, "protocol": "tcp"}, {"port": 10253, "protocol": "udp"}], "busy": []}
PARAMS: dict[str, Any] = {
    "control_plane": ["cp1"],
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "cni": "bridge",
    "interface": "",
    "systems": {"Debian-12": "proven"},
    "ports": [],
    "limits": {},
}


def links(count: int) -> dict[tuple[str, str], Link]:
    """Return healthy links between all of so many hosts."""
    return {
        (one, other): Link(
            source=one,
            target=other,
            answered_by=other,
            ports={"10250/tcp": "open", **({"6443/tcp": "open"} if other == "cp1" else {})},
            rtt_ms=0.3,
            ahead_seconds=0.0001,
            bandwidth_mbit_s=9000.0,
            mtu_expected=1500,
            mtu_measured=1500,
        )
        for one, other in itertools.permutations(hosts(count), 2)
    }


def wrong(
    measured: Mapping[tuple[str, str], Link], count: int = 4, found: Mapping[str, Any] | None = None
) -> list[tuple[str, tuple[str, ...], str]]:
    """Return what is not good between hosts."""
    controller = dict.fromkeys(hosts(count), (-0.5, 0.5))
    judged = judge_links(found or hosts(count), list(measured.values()), controller, SITE)
    return [(one.check, one.hosts, one.verdict) for one in judged if one.verdict != "ok"]


def changed(measured: dict[tuple[str, str], Link], where: Any, **fields_: Any) -> dict[tuple[str, str], Link]:
    """Return links with something else where a condition on the pair holds."""
    return {pair: replace(link, **fields_) if where(*pair) else link for pair, link in measured.items()}


def test_nothing_is_wrong_with_healthy_links() -> None:
    assert wrong(links(4)) == []
    assert wrong(links(2), 2) == []


def test_a_blocked_port_names_its_host_once() -> None:
    blocked = changed(links(4), lambda _s, t: t == "w2", ports={"10250/tcp": "silent"})
    assert wrong(blocked) == [("ports_reachable", ("w2",), "error")]


def test_several_ports_of_one_host_are_one_finding_even_if_some_refuse() -> None:
    blocked = changed(links(4), lambda _s, t: t == "cp1", ports={"10250/tcp": "silent", "6443/tcp": "refused"})
    assert wrong(blocked) == [("ports_reachable", ("cp1",), "error")]
    (found,) = [one for one in judge_links(hosts(4), list(blocked.values()), {}, SITE) if one.verdict == "error"]
    assert found.measured == "6443/tcp, 10250/tcp: refused and silent"


def test_a_host_that_is_cut_off_is_named_once() -> None:
    dead = changed(
        links(4),
        lambda _s, t: t == "w2",
        answered_by=None,
        ports={"10250/tcp": "silent"},
        rtt_ms=None,
        ahead_seconds=None,
        bandwidth_mbit_s=None,
        mtu_expected=None,
        mtu_measured=None,
    )
    assert wrong(dead) == [("ports_reachable", ("w2",), "error")]


def test_a_blocked_way_is_a_pair() -> None:
    blocked = changed(links(4), lambda s, t: (s, t) == ("w1", "w2"), ports={"10250/tcp": "silent"})
    assert wrong(blocked) == [("ports_reachable", ("w1", "w2"), "error")]


@pytest.mark.parametrize(
    ("fields_", "wanted"),
    [
        ({"mtu_measured": 1400}, ("path_mtu", ("w2",), "error")),
        ({"rtt_ms": 30.0}, ("latency", ("w2",), "warning")),
        ({"bandwidth_mbit_s": 90.0}, ("bandwidth", ("w2",), "warning")),
    ],
)
def test_what_all_ways_of_a_host_share_is_the_hosts(fields_: dict[str, Any], wanted: object) -> None:
    assert wrong(changed(links(4), lambda s, t: "w2" in (s, t), **fields_)) == [wanted]


def test_a_short_way_between_two_is_theirs() -> None:
    short = changed(links(4), lambda s, t: {s, t} == {"w1", "w2"}, mtu_measured=1400)
    assert wrong(short) == [("path_mtu", ("w1", "w2"), "error")]


def test_datagrams_that_a_firewall_keeps_are_unknown() -> None:
    mute = changed(links(4), lambda _s, t: t == "w2", mtu_measured=0)
    assert wrong(mute) == [("path_mtu", ("w2",), "unknown")]


def test_a_clock_names_its_host() -> None:
    measured = {
        pair: replace(link, ahead_seconds=90.0 * ((pair[1] == "w2") - (pair[0] == "w2")))
        for pair, link in links(4).items()
    }
    assert wrong(measured) == [("clock", ("w2",), "error")]


def test_the_controllers_own_clock() -> None:
    far = dict.fromkeys(hosts(3), (59.0, 61.0))
    found = [one for one in judge_links(hosts(3), list(links(3).values()), far, SITE) if one.verdict != "ok"]
    assert [(one.check, one.verdict, one.measured) for one in found] == [("controller_clock", "warning", -59000.0)]


def test_a_duplicate_address_hides_what_was_measured_to_it() -> None:
    found = hosts(4)
    found["w2"]["network"]["interfaces"][1]["addresses"].append(address("192.0.2.2", 24))
    strange = changed(links(4), lambda _s, t: t == "w1", answered_by="w2", ports={"10250/tcp": "refused"})
    assert wrong(strange, found=found) == []


def test_somebody_else_who_answers_is_a_finding_where_nothing_else_tells_of_it() -> None:
    strange = changed(links(4), lambda _s, t: t == "w1", answered_by="w2")
    assert wrong(strange) == [("duplicate_address", ("w1", "w2"), "error")]


def test_peers_carry_what_a_visit_needs() -> None:
    found = hosts(3)
    found["w1"]["network"]["interfaces"][1]["mtu"] = 1400
    wanted = peers(found, SITE, "w1", dict.fromkeys(found, LISTENER))
    assert {peer["name"]: (peer["address"], peer["mtu"]) for peer in wanted} == {
        "cp1": ("192.0.2.1", 1400),
        "w2": ("192.0.2.3", 1400),
    }
    assert {peer["name"]: [port["port"] for port in peer["ports"]] for peer in wanted} == {
        "cp1": [6443, 10250],
        "w2": [10250],
    }


def test_workers_do_not_ask_etcd() -> None:
    site = replace(SITE, control_plane=("cp1", "w1"))
    found = hosts(3)
    everyone = dict.fromkeys(found, LISTENER)
    to_cp1 = {
        host: [
            port["port"]
            for peer in peers(found, site, host, everyone)
            if peer["name"] == "cp1"
            for port in peer["ports"]
        ]
        for host in ("w1", "w2")
    }
    assert to_cp1 == {"w1": [2379, 2380, 6443, 10250], "w2": [6443, 10250]}


def test_limits_of_a_site_are_laid_over_ours_and_all_mistakes_come_together() -> None:
    assert Limits.from_params({"cores_min": "8", "latency_ms_max": 0.5}) == replace(
        Limits(), cores_min=8, latency_ms_max=0.5
    )
    bad = {**PARAMS, "pod_cidr": "pods", "ports": [{"port": 0}], "limits": {"coers_min": 1, "cores_min": "many"}}
    with pytest.raises(InvalidInput) as caught:
        Site.from_params(bad)
    assert [problem.field for problem in caught.value.problems] == [
        "preflight_pod_cidr",
        "preflight_ports[0].port",
        "preflight_limits.coers_min",
        "preflight_limits.cores_min",
    ]


def test_the_roles_limits_are_these(repository: Path) -> None:
    specs = yaml.safe_load((repository / "roles/preflight/meta/argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]["preflight_limits"]["options"]
    assert {name: option["default"] for name, option in options.items()} == {
        entry.name: entry.default for entry in fields(Limits)
    }


@pytest.mark.parametrize(
    ("version", "wanted", "good"),
    [("6.1.0-40-amd64", "4.18", True), ("4.18.0-553.el8", "4.18", True), ("4.9", "4.18", False), ("5", "4.18", True)],
)
def test_versions_of_kernels(version: str, wanted: str, good: bool) -> None:
    assert at_least(version, wanted) is good


FAULT = Finding("swap", ("w1",), "warning", 5, unit="MiB", limit="0", advice="off")


def test_one_cause_on_several_hosts_is_one_finding() -> None:
    assert merged([FAULT, replace(FAULT, hosts=("w2",))]) == [replace(FAULT, hosts=("w1", "w2"))]
    assert len(merged([FAULT, replace(FAULT, hosts=("w2",), measured=6)])) == 2


def test_what_is_accepted_stays_and_does_not_count() -> None:
    both = [FAULT, replace(FAULT, hosts=("w2",))]
    assert summary(accept(both, ["swap"])) == {"error": 0, "warning": 0, "unknown": 0, "ok": 2, "accepted": 2}
    assert summary(accept(both, ["swap@w1"]))["warning"] == 1
    assert summary(accept(both, ["cores"]))["warning"] == 2


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [(["ok"], "ok"), (["ok", "unknown"], "warning"), (["warning", "ok"], "warning"), (["error", "warning"], "error")],
)
def test_what_all_comes_to(verdicts: list[str], wanted: str) -> None:
    assert verdict(summary(replace(FAULT, verdict=one) for one in verdicts)) == wanted


def results(count: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what the stages told on so many healthy hosts."""
    clock = {"wall": 100.5, "controller": {"before": 100.0, "after": 101.0}}
    told = {host: {"facts": found, **clock} for host, found in hosts(count).items()}
    listening = {host: {"listener": LISTENER, **clock} for host in told}
    visits = {
        host: {"links": [_as_told(link) for link in links(count).values() if link.source == host], **clock}
        for host in told
    }
    return told, listening, visits


def _as_told(link: Link) -> dict[str, Any]:
    return {entry.name: getattr(link, entry.name) for entry in fields(link) if entry.name != "source"}


def test_a_report_holds_what_its_schema_says(repository: Path) -> None:
    told, listening, visits = results(3)
    told["w2"]["facts"]["swap_mib"] = 5
    findings = judge(told, listening, visits, SITE, ["swap"])
    report = document(findings, list(told), visits, SITE, {"created": "2026-01-02T03:04:05Z", "seconds": 9.5}, "0.1.0")
    schema = json.loads((repository / "schemas" / "preflight.schema.json").read_text())
    assert_exactly(schema, json.loads(json.dumps(report)))
    assert report["verdict"] == "ok"
    assert report["summary"]["accepted"] == 1


def test_a_host_that_was_lost_is_told_once_and_the_others_are_judged() -> None:
    told, listening, visits = results(3)
    told["w2"] = {"unreachable": True, "msg": "no route"}
    listening["w2"] = visits["w2"] = {"skipped": True}
    lost = [one for one in judge(told, listening, visits, SITE, []) if one.verdict != "ok"]
    assert [(one.check, one.hosts, one.measured) for one in lost] == [("answers", ("w2",), "unreachable: no route")]


def test_a_host_that_fails_between_the_stages() -> None:
    told, listening, visits = results(3)
    listening["w2"], visits["w2"] = {"msg": "died"}, {"skipped": True}
    lost = [one for one in judge(told, listening, visits, SITE, []) if one.verdict != "ok"]
    assert [(one.check, one.hosts, one.measured) for one in lost] == [("answers", ("w2",), "failed: died")]


def test_the_table_has_a_row_for_each_fault_and_one_for_each_good_check() -> None:
    told, listening, visits = results(3)
    told["w2"]["facts"]["swap_mib"] = 5
    findings = judge(told, listening, visits, SITE, [])
    lines = table(findings, list(told), 100)
    assert lines[0].split() == ["VERDICT", "CHECK", "HOST", "FOUND", "LIMIT"]
    assert lines[1].split()[:5] == ["warning", "swap", "w2", "5", "MiB"]
    assert lines[2].startswith("         → the kubelet does not start with swap")
    good = [line.split()[1] for line in lines if line.startswith("ok ")]
    assert good == sorted(set(good))
    assert next(line for line in lines if line.startswith("ok ") and " memory " in line).split()[2:6] == [
        "all",
        "3",
        "8000",
        "MiB",
    ]
    assert max(map(len, lines)) <= 130


@pytest.mark.parametrize(
    ("counts", "hosts_", "wanted"),
    [
        ({}, 3, "nothing wrong on 3 hosts"),
        ({"error": 1}, 1, "1 error on 1 host"),
        ({"error": 2, "warning": 1, "unknown": 2}, 3, "2 errors and 1 warning and 2 unknown on 3 hosts"),
    ],
)
def test_the_conclusion_is_one_line(counts: dict[str, int], hosts_: int, wanted: str) -> None:
    assert conclusion({"error": 0, "warning": 0, "unknown": 0, **counts}, hosts_) == wanted
