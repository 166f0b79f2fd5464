"""What the charts are given for each recorded host, how nodes are labelled, and that all that is wrong is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.gpu_operator_nodes import lacking
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_operator_values import (
    LABELS,
    Plan,
    in_registry,
    os_tag,
    plan,
)
from tests.unit.module_utils.gpu_samples import NAMES, host

PCI = "feature.node.kubernetes.io/pci-10de.present"
DEPLOY = "nvidia.com/gpu.deploy."

#: Keys of the first two levels that the charts have, as far as a plan may set them; ``None`` where anything may follow.
OPERATOR_KEYS: dict[str, set[str] | None] = {
    "cdi": {"enabled", "nriPluginEnabled"},
    "daemonsets": {"labels", "annotations", "priorityClassName", "tolerations", "updateStrategy", "rollingUpdate"},
    "dcgm": {"enabled", "repository", "imagePullSecrets"},
    "dcgmExporter": {"enabled", "serviceMonitor", "repository", "imagePullSecrets"},
    "devicePlugin": {"enabled", "config", "repository", "imagePullSecrets", "mps"},
    "driver": {"enabled", "env", "manager", "repository", "imagePullSecrets", "nvidiaDriverCRD", "usePrecompiled"},
    "gfd": {"enabled", "repository", "imagePullSecrets"},
    "mig": {"strategy"},
    "migManager": {"enabled", "config", "repository", "imagePullSecrets"},
    "nfd": {"enabled", "nodefeaturerules"},
    "node-feature-discovery": {"image", "imagePullSecrets", "worker", "master", "gc"},
    "operator": {
        "runtimeClass",
        "upgradeCRD",
        "cleanupCRD",
        "tolerations",
        "repository",
        "imagePullSecrets",
    },
    "toolkit": {"enabled", "env", "repository", "imagePullSecrets"},
    "validator": {"repository", "imagePullSecrets"},
}
PLUGIN_KEYS: dict[str, set[str] | None] = {
    "affinity": None,
    "config": {"name", "map", "default", "fallbackStrategies"},
    "gfd": {"enabled"},
    "image": {"repository", "tag"},
    "imagePullSecrets": set(),
    "migStrategy": set(),
    "nfd": {"enabled", "image", "imagePullSecrets", "worker", "master"},
    "runtimeClassName": set(),
    "tolerations": set(),
}

_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def part(repository: str, **more: Any) -> dict[str, Any]:
    """Return values of a part of the operator's chart."""
    return {"repository": repository, "image": "x", "version": "v1", "imagePullSecrets": [], **more}


#: The shape of the charts' own values: what has an image, and what nodes are tolerated.
OPERATOR: dict[str, Any] = {
    **{name: {} for name in OPERATOR_KEYS},
    "daemonsets": {"tolerations": [_TAINT]},
    "dcgmExporter": part("nvcr.io/nvidia/k8s"),
    "driver": part("nvcr.io/nvidia", manager={"repository": "nvcr.io/nvidia/cloud-native"}),
    "operator": part("nvcr.io/nvidia", tolerations=[{"key": "node-role.kubernetes.io/control-plane"}]),
    "toolkit": part("nvcr.io/nvidia/k8s"),
    "vgpuManager": part(""),
    "node-feature-discovery": {"worker": {"tolerations": [_TAINT]}},
}
PLUGIN: dict[str, Any] = {
    **{name: {} for name in PLUGIN_KEYS},
    "image": {"repository": "nvcr.io/nvidia/k8s-device-plugin", "tag": ""},
    "imagePullSecrets": [],
    "tolerations": [_TAINT],
    "nfd": {"worker": {"tolerations": [_TAINT]}},
}


def asked(**more: Any) -> dict[str, Any]:
    """Return the role's options, as its defaults are."""
    given: dict[str, Any] = {
        "way": "operator",
        "driver": "auto",
        "toolkit": "auto",
        "cdi": True,
        "runtime_class": "nvidia",
        "mig": {},
        "sharing": {},
        "dcgm_exporter": {},
        "gfd": False,
        "nfd": True,
        "proxy": {},
        "pull_secrets": [],
        "registry": "",
        "tolerations": [],
        "runtime": {},
        "excluded_nodes": [],
        "values": {},
    }
    return {**given, **more}


class Hosts:
    """Recorded hosts as facts, each looked at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._facts: dict[str, str] = {}

    def facts(self, *names: str) -> dict[str, Any]:
        """Return node to fact, as a fact travels."""
        for name in names:
            if name not in self._facts:
                self._facts[name] = json.dumps(host(name, self._folder / name).as_dict())
        return {name: json.loads(self._facts[name]) for name in names}

    def plan(self, *names: str, **more: Any) -> Plan:
        """Return the plan for hosts, with options that differ from the defaults."""
        return of(self.facts(*names), **more)


def of(facts: Mapping[str, Any], **more: Any) -> Plan:
    """Return the plan for facts."""
    systems = {name: {"distribution": "Ubuntu", "version": "22.04"} for name in facts}
    return plan(facts, asked(**more), PLUGIN if more.get("way") == "device_plugin" else OPERATOR, systems)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    """Return the recorded hosts."""
    return Hosts(tmp_path_factory.mktemp("hosts"))


def fields(found: Plan) -> list[str]:
    """Return what problems are of."""
    return [problem.field for problem in found.problems]


#: Host → who drives its cards beside the operator, how many cards it offers; beside the plugin alone, how many.
JUDGED: dict[str, tuple[str, int, int]] = {
    "bare_card": ("operator", 1, 0),
    "container": ("", 0, 0),
    "driver_without_devices": ("", 0, 0),
    "hypervisor": ("", 0, 0),
    "mig": ("host", 2, 2),
    "mismatch": ("", 0, 0),
    "no_card": ("", 0, 0),
    "no_headers": ("", 0, 0),
    "nouveau": ("operator", 1, 0),
    "nvswitch": ("host", 1, 1),
    "one_card": ("host", 1, 1),
    "operator": ("operator", 1, 0),
    "partition": ("", 0, 0),
    "pass_through": ("operator", 1, 0),
    "secure_boot": ("", 0, 0),
    "several_cards": ("host", 3, 3),
    "vgpu_guest": ("host", 1, 1),
    "vgpu_without_driver": ("", 0, 0),
}
#: Hosts whose cards nobody drives, and no wonder.
QUIET = {"hypervisor", "no_card", "partition"}


def test_every_recorded_host_is_judged() -> None:
    assert sorted(JUDGED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_host_beside_the_operator(name: str, hosts: Hosts) -> None:
    driver, cards, _alone = JUDGED[name]
    found = hosts.plan(name)
    labels = found.labels[name]
    assert found.values["driver"]["enabled"] is (driver == "operator")
    assert found.expected[name].offers is bool(cards)
    assert found.expected[name].resources == ({"nvidia.com/gpu": cards} if cards else {})
    if driver:
        assert labels[f"{DEPLOY}operands"] is None
        assert labels[PCI] == "true"
        assert labels[f"{DEPLOY}driver"] == ("true" if driver == "operator" else "false")
    else:
        # Feature discovery labels whatever is on the bus, so the operator would start there too.
        on_bus = name not in ("no_card", "partition")
        assert labels == {f"{DEPLOY}operands": "false" if on_bus else None}
    assert fields(found) == ([] if driver or name in QUIET else [f"node {name}"])
    assert set(labels) <= set(LABELS)
    assert len(found.told) == 1
    assert found.told[0].startswith(f"{name}: ")


@pytest.mark.parametrize("name", NAMES)
def test_each_host_beside_the_plugin_alone(name: str, hosts: Hosts) -> None:
    _driver, _cards, alone = JUDGED[name]
    found = hosts.plan(name, way="device_plugin")
    assert found.labels[name]["nvidia.com/gpu.present"] == ("true" if alone else None)
    assert found.expected[name].offers is bool(alone)
    assert bool(found.problems) is (not alone and name not in QUIET)


def test_a_mixed_cluster_has_one_chart_and_labels_for_the_rest(hosts: Hosts) -> None:
    found = hosts.plan("bare_card", "hypervisor", "no_card", "one_card", "operator")
    assert not found.problems
    assert found.values["driver"]["enabled"] is True
    assert {name: labels.get(f"{DEPLOY}driver") for name, labels in found.labels.items()} == {
        "bare_card": "true",
        "hypervisor": None,
        "no_card": None,
        "one_card": "false",
        "operator": "true",
    }
    assert found.labels["hypervisor"] == {f"{DEPLOY}operands": "false"}
    assert found.driver_hosts == (
        {"os_tag": "ubuntu22.04", "kernel": "5.15.0-113-generic"},
        {"os_tag": "ubuntu22.04", "kernel": "6.1.0-21-amd64"},
    )
    assert found.told[0] == (
        "bare_card: 1 card, no driver on the host: the operator brings it; will offer nvidia.com/gpu 1"
    )


def test_a_driver_that_is_demanded_of_the_host_and_is_not_there_is_told_with_the_node_and_the_next_step(
    hosts: Hosts,
) -> None:
    found = hosts.plan("bare_card", "one_card", driver="host")
    assert found.values["driver"] == {"enabled": False}
    assert fields(found) == ["node bare_card"]
    assert "role nvidia_driver" in found.problems[0].accepted
    assert f"{DEPLOY}driver" not in found.labels["one_card"]


def test_a_broken_driver_is_told_with_what_would_mend_it(hosts: Hosts) -> None:
    (problem,) = hosts.plan("mismatch").problems
    assert "does not work" in str(problem.value)
    assert problem.accepted.startswith("Restart the host; or, ")
    assert "gpu_operator_excluded_nodes" in problem.accepted


def test_a_node_that_is_left_out_gets_nothing_and_is_no_problem(hosts: Hosts) -> None:
    found = hosts.plan("mismatch", "one_card", excluded_nodes=["mismatch"])
    assert not found.problems
    assert found.labels["mismatch"] == {f"{DEPLOY}operands": "false"}
    assert not found.expected["mismatch"].offers
    assert "left out by gpu_operator_excluded_nodes" in found.told[0]


def test_the_operators_driver_stays_enabled_while_it_drives_cards(hosts: Hosts) -> None:
    assert hosts.plan("operator").values["driver"]["enabled"] is True
    (problem,) = hosts.plan("operator", driver="host").problems
    assert "of the GPU operator" in str(problem.value)


def test_a_host_with_a_driver_is_refused_where_the_operator_is_to_bring_all(hosts: Hosts) -> None:
    found = hosts.plan("one_card", driver="operator")
    assert fields(found) == ["node one_card"]
    assert found.values["driver"]["enabled"] is True


def test_secure_boot_takes_no_module_of_the_operators_unless_it_was_signed_before(hosts: Hosts) -> None:
    facts = hosts.facts("bare_card")
    facts["bare_card"]["signed_only"] = True
    (problem,) = of(facts).problems
    assert "usePrecompiled" in problem.accepted
    assert not of(facts, values={"driver": {"usePrecompiled": True}}).problems


def test_the_operators_driver_is_for_one_system() -> None:
    facts = {name: json.loads(json.dumps(BARE)) for name in ("a", "b", "c")}
    systems = {
        "a": {"distribution": "Ubuntu", "version": "22.04"},
        "b": {"distribution": "Rocky", "version": "9.4"},
        "c": {"distribution": "ubuntu", "version": "22.04"},
    }
    (problem,) = plan(facts, asked(), OPERATOR, systems).problems
    assert problem.value == "rocky9 on b; ubuntu22.04 on a, c"
    several = asked(values={"driver": {"nvidiaDriverCRD": {"enabled": True}}})
    assert not plan(facts, several, OPERATOR, systems).problems


@pytest.mark.parametrize(
    ("distribution", "version", "tag"),
    [
        ("Ubuntu", "22.04", "ubuntu22.04"),
        ("RedHat", "9.4", "rhel9"),
        ("rhel", "8.10", "rhel8"),
        ("Rocky", "9.5", "rocky9"),
        ("OracleLinux", "8.9", "ol8"),
        ("Debian", "12.7", "debian12"),
        ("sles", "15.6", "sles15.6"),
        ("", "12", ""),
        ("arch", "", ""),
    ],
)
def test_the_tag_of_a_driver_for_a_system(distribution: str, version: str, tag: str) -> None:
    assert os_tag(distribution, version) == tag


#: A node with one card and nothing else.
BARE: dict[str, Any] = {
    "cards": [{"address": "0000:01:00.0", "virtual": "no", "gpu": None}],
    "kept_for_guests": [],
    "driver": {"state": "none", "origin": "", "loaded": "", "installed": "", "libraries": ""},
    "toolkit": "",
    "signed_only": False,
    "container": False,
    "kernel": "5.15.0-113-generic",
    "problems": [],
}


def test_a_toolkit_is_brought_where_one_is_missing(hosts: Hosts) -> None:
    assert hosts.plan("one_card").values["toolkit"]["enabled"] is False
    assert f"{DEPLOY}container-toolkit" not in hosts.plan("one_card").labels["one_card"]
    assert hosts.plan("one_card", toolkit="operator").values["toolkit"]["enabled"] is True
    found = hosts.plan("one_card", "bare_card", toolkit="host")
    assert found.values["toolkit"]["enabled"] is False
    assert fields(found) == ["node bare_card"]


def test_with_cdi_one_toolkit_serves_all_and_without_it_a_host_keeps_its_own(hosts: Hosts) -> None:
    label = f"{DEPLOY}container-toolkit"
    found = hosts.plan("one_card", "bare_card")
    assert [found.labels[name][label] for name in ("one_card", "bare_card")] == ["true", "true"]
    assert found.told[1].endswith("its container toolkit gives way to the operator's")
    found = hosts.plan("one_card", "bare_card", cdi=False)
    assert [found.labels[name][label] for name in ("one_card", "bare_card")] == ["false", "true"]
    assert found.values["cdi"] == {"enabled": False}


def test_a_runtime_that_is_elsewhere_is_told_to_the_toolkit(hosts: Hosts) -> None:
    runtime = {"config": "/srv/containerd.toml", "drop_in": "/etc/containerd/conf.d/99-nvidia.toml", "socket": "/run/c"}
    found = hosts.plan("bare_card", runtime=runtime).values["toolkit"]
    assert found["env"] == [
        {"name": "CONTAINERD_CONFIG", "value": "/srv/containerd.toml"},
        {"name": "CONTAINERD_SOCKET", "value": "/run/c"},
    ]
    found = hosts.plan("bare_card", runtime={"name": "crio", "drop_in": "/srv/crio.conf"}).values["toolkit"]
    assert found["env"] == [{"name": "RUNTIME_DROP_IN_CONFIG", "value": "/srv/crio.conf"}]
    assert "env" not in hosts.plan("one_card", runtime=runtime).values["toolkit"]
    wrong = hosts.plan("bare_card", runtime={"name": "crio", "config": "etc", "socket": "/run/crio"})
    assert fields(wrong) == ["gpu_operator_runtime.config", "gpu_operator_runtime.socket"]


def test_sharing_is_what_the_plugin_reads(hosts: Hosts) -> None:
    sharing = {"time_slicing": {"replicas": 4, "rename_by_default": True, "fail_requests_greater_than_one": True}}
    found = hosts.plan("several_cards", "no_card", sharing=sharing)
    config = found.values["devicePlugin"]["config"]
    assert (config["create"], config["default"], sorted(config["data"])) == (True, "shared", ["shared", "whole"])
    assert json.loads(config["data"]["shared"]) == {
        "version": "v1",
        "sharing": {
            "timeSlicing": {
                "renameByDefault": True,
                "failRequestsGreaterThanOne": True,
                "resources": [{"name": "nvidia.com/gpu", "replicas": 4}],
            }
        },
    }
    assert json.loads(config["data"]["whole"]) == {"version": "v1"}
    assert found.expected["several_cards"].resources == {"nvidia.com/gpu.shared": 12}
    assert found.labels["several_cards"]["nvidia.com/device-plugin.config"] == "shared"
    assert "nvidia.com/device-plugin.config" not in found.labels["no_card"]
    assert "time slicing, 4 to a card" in found.told[1]


def test_a_change_of_sharing_restarts_the_plugin(hosts: Hosts) -> None:
    names = {
        hosts.plan("one_card", sharing={"time_slicing": {"replicas": replicas}}).values["devicePlugin"]["config"][
            "name"
        ]
        for replicas in (2, 3, 3)
    }
    assert len(names) == 2


def test_some_nodes_share_and_others_say_that_they_do_not(hosts: Hosts) -> None:
    found = hosts.plan("one_card", "bare_card", sharing={"mps": {"replicas": "2"}, "nodes": ["bare_card"]})
    assert found.values["devicePlugin"]["config"]["default"] == "whole"
    label = "nvidia.com/device-plugin.config"
    assert [found.labels[name][label] for name in ("one_card", "bare_card")] == ["whole", "shared"]
    assert found.expected["one_card"].resources == {"nvidia.com/gpu": 1}
    assert found.expected["bare_card"].resources == {"nvidia.com/gpu": 2}


def test_mps_beside_the_plugin_alone_has_its_daemon_on_the_nodes_that_share(hosts: Hosts) -> None:
    more: dict[str, Any] = {"way": "device_plugin", "sharing": {"mps": {"replicas": 2}, "nodes": ["one_card"]}}
    found = hosts.plan("one_card", "several_cards", **more)
    assert found.values["config"]["default"] == "whole"
    assert json.loads(found.values["config"]["map"]["shared"])["sharing"]["mps"]["resources"][0]["replicas"] == 2
    label = "nvidia.com/mps.capable"
    assert [found.labels[name][label] for name in ("one_card", "several_cards")] == ["true", None]
    # With feature discovery the label is that program's.
    assert label not in hosts.plan("one_card", "several_cards", gfd=True, **more).labels["one_card"]


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"sharing": {"time_slicing": {"replicas": 2}, "mps": {"replicas": 2}}}, ["sharing.time_slicing, mps"]),
        ({"sharing": {"time_slicing": {"replicas": 1}}}, ["sharing.time_slicing.replicas"]),
        ({"sharing": {"time_slicing": {"rename_by_default": True}}}, ["sharing.time_slicing.replicas"]),
        ({"sharing": {"time_slicing": {"replicas": True}}}, ["sharing.time_slicing.replicas"]),
        ({"sharing": {"mps": {"replicas": 49}}}, ["sharing.mps.replicas"]),
        ({"sharing": {"mps": {"replicas": 2, "resources": ["nvidia.com/mig-1g.5gb"]}}}, ["sharing.mps.resources"]),
        ({"sharing": {"time_slicing": {"replicas": 2, "resources": ["gpu"]}}}, ["sharing.time_slicing.resources"]),
        ({"sharing": {"mps": {"replicas": 2}}, "mig": {"strategy": "mixed"}}, ["mig.strategy"]),
        (
            {"sharing": {"time_slicing": {"replica": 2}}},
            ["sharing.time_slicing.replica", "sharing.time_slicing.replicas"],
        ),
        ({"mig": {"strategy": "both"}}, ["mig.strategy"]),
        ({"mig": {"strategy": "none", "config": {"one_card": "all-1g.5gb"}}}, ["mig.strategy"]),
        ({"mig": {"strategy": "single", "config": {"one_card": "all-balanced"}}}, ["mig.strategy"]),
        ({"mig": {"strategy": "single", "config": {"one_card": "a b"}}}, ["mig.config.one_card"]),
        ({"mig": {"strategy": "mixed", "config": {"w9": "all-1g.5gb"}}}, ["mig.config"]),
        ({"sharing": {"time_slicing": {"replicas": 2}, "nodes": ["w9"]}}, ["sharing.nodes"]),
        ({"excluded_nodes": ["w9"]}, ["excluded_nodes"]),
        ({"driver": "Host"}, ["driver"]),
        ({"cdi": "yes"}, ["cdi"]),
        ({"registry": "https://reg.example"}, ["registry"]),
        ({"registry": "reg.example/Mirror"}, ["registry"]),
        ({"tolerations": [{"name": "x"}]}, ["tolerations"]),
        ({"pull_secrets": "site"}, ["pull_secrets"]),
        ({"proxy": {"https": 3128}}, ["proxy.https"]),
        ({"values": {"toolkits": {}}}, ["values"]),
        ({"values": []}, ["values"]),
        ({"dcgm": True}, ["dcgm"]),
        ({"way": "device_plugin", "driver": "operator"}, ["driver"]),
        ({"way": "device_plugin", "toolkit": "operator"}, ["toolkit"]),
        ({"way": "device_plugin", "dcgm_exporter": {"service_monitor": True}}, ["dcgm_exporter.service_monitor"]),
        (
            {"way": "device_plugin", "mig": {"strategy": "mixed", "config": {"one_card": "all-1g.5gb"}}},
            ["mig.config"],
        ),
    ],
)
def test_what_is_asked_for_wrongly_is_told(more: Mapping[str, Any], wrong: list[str], hosts: Hosts) -> None:
    assert fields(hosts.plan("one_card", **more)) == [f"gpu_operator_{name}" for name in wrong]


def test_all_is_told_at_once_and_no_password(hosts: Hosts) -> None:
    options = asked(way="helm", cdi=1, proxy={"https": ["http://me:secret@proxy"]}, excluded_nodes=["w9"])
    del options["nfd"]
    found = plan(hosts.facts("mismatch"), options, OPERATOR)
    assert fields(found) == [
        "gpu_operator_nfd",
        "gpu_operator_way",
        "gpu_operator_cdi",
        "gpu_operator_proxy.https",
        "node mismatch",
        "gpu_operator_excluded_nodes",
    ]
    message = str(found.as_dict()["message"])
    assert message.startswith("gpu_operator: 6 problems\n")
    assert "secret" not in message


def test_facts_that_are_missing_are_asked_for() -> None:
    (problem,) = of({"w1": {}}).problems
    assert "dtf.cluster.gpu_facts" in problem.accepted


def test_instances_that_were_made_by_hand_are_left_alone(hosts: Hosts) -> None:
    found = hosts.plan("mig", mig={"strategy": "mixed"})
    assert not found.problems
    assert found.values["migManager"] == {"enabled": False, "config": {"default": ""}}
    assert "nvidia.com/mig.config" not in found.labels["mig"]
    assert found.expected["mig"].resources == {"nvidia.com/gpu": 1, "nvidia.com/mig-*": 3}
    assert "mig_pending" in found.told[0]


def test_a_single_strategy_wants_cards_that_are_all_alike(hosts: Hosts) -> None:
    found = hosts.plan("mig", mig={"strategy": "single"})
    assert [problem.value for problem in found.problems] == ["MIG on 1 of 2 cards", "instances of 9856 MiB, 19968 MiB"]
    facts = hosts.facts("mig")
    facts["mig"]["cards"] = facts["mig"]["cards"][:1]
    facts["mig"]["cards"][0]["gpu"]["mig_devices"] = [9856, 9856]
    found = of(facts, mig={"strategy": "single"})
    assert not found.problems
    assert found.expected["mig"].resources == {"nvidia.com/gpu": 2}


@pytest.mark.parametrize("strategy", ["none", "single", "mixed"])
def test_a_card_that_was_switched_to_mig_and_not_divided_offers_nothing(strategy: str, hosts: Hosts) -> None:
    facts = hosts.facts("mig")
    facts["mig"]["cards"] = facts["mig"]["cards"][:1]
    facts["mig"]["cards"][0]["gpu"]["mig_devices"] = []
    step = "nvidia-smi mig --create-gpu-instance"
    facts["mig"]["problems"] = [
        {"code": "mig_without_instances", "blocks": True, "message": "no instance was made", "next": step}
    ]
    (problem,) = of(facts, mig={"strategy": strategy}).problems
    assert problem.field == "node mig"
    assert problem.accepted.startswith(step)
    divided = {"strategy": "mixed", "config": {"mig": "all-3g.20gb"}}
    assert not of(facts, mig=divided).problems


@pytest.mark.parametrize(
    ("strategy", "profile", "resources"),
    [
        ("mixed", "all-1g.5gb", {"nvidia.com/mig-1g.5gb": 1}),
        ("mixed", "all-1g.5gb.me", {"nvidia.com/mig-1g.5gb.me": 1}),
        ("mixed", "all-balanced", {"nvidia.com/mig-*": 1}),
        ("mixed", "ours", {"nvidia.com/*": 1}),
        ("mixed", "all-disabled", {"nvidia.com/gpu": 1}),
        ("single", "all-1g.5gb", {"nvidia.com/gpu": 1}),
        ("none", "all-disabled", {"nvidia.com/gpu": 1}),
    ],
)
def test_a_mig_configuration_is_a_label_and_its_manager_runs(
    strategy: str, profile: str, resources: Mapping[str, int], hosts: Hosts
) -> None:
    found = hosts.plan("one_card", "bare_card", mig={"strategy": strategy, "config": {"bare_card": profile}})
    assert not found.problems
    assert found.values["migManager"]["enabled"] is True
    assert found.labels["bare_card"]["nvidia.com/mig.config"] == profile
    assert "nvidia.com/mig.config" not in found.labels["one_card"]
    assert found.expected["bare_card"].resources == resources


def test_what_mig_and_mps_ask_of_cards(hosts: Hosts) -> None:
    mig = {"strategy": "single", "config": {"vgpu_guest": "all-1g.5gb"}}
    (problem,) = hosts.plan("vgpu_guest", mig=mig).problems
    assert "cards that know MIG" in problem.accepted
    mig = {"strategy": "single", "config": {"one_card": "all-1g.5gb"}}
    (problem,) = hosts.plan("one_card", mig=mig, sharing={"mps": {"replicas": 2}}).problems
    assert problem.field == "node one_card"
    assert "MPS does not share parts" in problem.accepted


def test_a_proxy_is_for_the_operators_driver(hosts: Hosts) -> None:
    proxy = {"https": "http://proxy.example:3128", "no": "10.0.0.0/8"}
    driver = hosts.plan("bare_card", proxy=proxy).values["driver"]
    assert [entry["name"] for entry in driver["env"]] == ["HTTPS_PROXY", "NO_PROXY", "https_proxy", "no_proxy"]
    assert driver["manager"]["env"] == driver["env"]
    assert hosts.plan("one_card", proxy=proxy).values["driver"] == {"enabled": False}


def test_every_part_with_an_image_has_the_secrets_and_the_sites_registry(hosts: Hosts) -> None:
    more: dict[str, Any] = {"pull_secrets": ["site"], "registry": "reg.example:5000"}
    values = hosts.plan("bare_card", **more).values
    for name in ("driver", "toolkit", "operator", "dcgmExporter", "vgpuManager"):
        assert values[name]["imagePullSecrets"] == ["site"]
    assert values["driver"]["repository"] == "reg.example:5000/nvidia"
    assert values["driver"]["manager"] == {"repository": "reg.example:5000/nvidia/cloud-native"}
    assert values["toolkit"]["repository"] == "reg.example:5000/nvidia/k8s"
    assert "repository" not in values["vgpuManager"]
    assert values["node-feature-discovery"] == {
        "image": {"repository": "reg.example:5000/nfd/node-feature-discovery"},
        "imagePullSecrets": [{"name": "site"}],
    }
    values = hosts.plan("one_card", way="device_plugin", gfd=True, **more).values
    assert values["imagePullSecrets"] == values["nfd"]["imagePullSecrets"] == [{"name": "site"}]
    assert values["image"] == {"repository": "reg.example:5000/nvidia/k8s-device-plugin"}


@pytest.mark.parametrize(
    ("repository", "moved"),
    [
        ("nvcr.io/nvidia/k8s", "reg.example/below/nvidia/k8s"),
        ("localhost/x", "reg.example/below/x"),
        ("busybox", "reg.example/below/busybox"),
        ("library/busybox", "reg.example/below/library/busybox"),
    ],
)
def test_a_repository_keeps_its_path_in_another_registry(repository: str, moved: str) -> None:
    assert in_registry(repository, "reg.example/below") == moved
    assert in_registry(repository, "") == repository


def test_tolerations_stand_beside_the_charts_own(hosts: Hosts) -> None:
    more = {"key": "dedicated", "operator": "Exists"}
    values = hosts.plan("bare_card", tolerations=[more, _TAINT]).values
    assert values["daemonsets"]["tolerations"] == [_TAINT, more]
    assert values["operator"]["tolerations"][-2:] == [more, _TAINT]
    assert values["node-feature-discovery"]["worker"]["tolerations"] == [_TAINT, more]
    values = hosts.plan("one_card", way="device_plugin", tolerations=[more]).values
    assert values["tolerations"] == [_TAINT, more]


def test_feature_discovery_is_brought_where_it_is_wanted(hosts: Hosts) -> None:
    assert hosts.plan("one_card").values["nfd"] == {"enabled": True}
    values = hosts.plan("one_card", nfd=False, registry="reg.example").values
    assert values["nfd"] == {"enabled": False}
    assert "node-feature-discovery" not in values
    # The plugin's chart has no use for it but with GPU feature discovery.
    assert hosts.plan("one_card", way="device_plugin").values["nfd"] == {"enabled": False}
    assert hosts.plan("one_card", way="device_plugin", gfd=True).values["nfd"] == {"enabled": True}


def test_the_exporter_is_on_and_prometheus_is_told_only_where_it_is_asked_for(hosts: Hosts) -> None:
    assert hosts.plan("one_card").values["dcgmExporter"] == {"enabled": True, "serviceMonitor": {"enabled": False}}
    exporter = {"enabled": True, "service_monitor": True}
    assert hosts.plan("one_card", dcgm_exporter=exporter).values["dcgmExporter"]["serviceMonitor"] == {"enabled": True}


def test_definitions_are_not_the_charts_to_apply(hosts: Hosts) -> None:
    operator = hosts.plan("one_card").values["operator"]
    assert (operator["upgradeCRD"], operator["cleanupCRD"]) == (False, False)


def test_the_users_values_come_last_and_lists_are_replaced(hosts: Hosts) -> None:
    mine = {"dcgmExporter": {"serviceMonitor": {"interval": "30s"}}, "toolkit": {"env": [], "enabled": True}}
    values = hosts.plan("one_card", values=mine, runtime={"config": "/srv/c.toml"}).values
    assert values["dcgmExporter"] == {"enabled": True, "serviceMonitor": {"enabled": False, "interval": "30s"}}
    assert values["toolkit"] == {"env": [], "enabled": True}


def keys(values: Mapping[str, Any], known: Mapping[str, set[str] | None]) -> Iterable[str]:
    """Yield keys that are not known."""
    for name, value in values.items():
        if name not in known:
            yield name
        elif isinstance(value, Mapping):
            below = known[name]
            yield from (f"{name}.{key}" for key in value if below is not None and key not in below)


@pytest.mark.parametrize(("way", "known"), [("operator", OPERATOR_KEYS), ("device_plugin", PLUGIN_KEYS)])
def test_every_key_is_one_of_the_charts(way: str, known: Mapping[str, set[str] | None], hosts: Hosts) -> None:
    more: dict[str, Any] = {
        "way": way,
        "gfd": True,
        "sharing": {"time_slicing": {"replicas": 2}},
        "proxy": {"http": "http://proxy.example:3128"},
        "pull_secrets": ["site"],
        "registry": "reg.example",
        "tolerations": [{"operator": "Exists"}],
        "runtime": {"config": "/srv/c.toml"},
    }
    values = dict(hosts.plan("bare_card", "one_card", **more).values)
    # It is the chart's own tree that is moved, so what is in it there is in it here.
    values.pop("vgpuManager", None)
    assert not list(keys(values, known))
    assert set(values) <= set(known)


def test_a_plan_is_plain_values_that_share_nothing(hosts: Hosts) -> None:
    proxy = {"http": "http://proxy.example:3128"}
    found = hosts.plan("bare_card", "mismatch", proxy=proxy, values={"driver": {"x": [{"y": 1}]}}).as_dict()
    assert json.loads(json.dumps(found)) == found
    assert list(found) == ["chart_values", "labels", "told", "problems", "message", "expected", "driver_hosts"]
    driver: Any = found["chart_values"]
    assert driver["driver"]["env"] is not driver["driver"]["manager"]["env"]


def test_what_a_node_lacks_of_what_is_expected() -> None:
    allocatable = {"cpu": "8", "nvidia.com/gpu": "1", "nvidia.com/mig-1g.5gb": "2", "nvidia.com/mig-3g.20gb": "1"}
    assert not lacking({"nvidia.com/gpu": 1, "nvidia.com/mig-*": 3}, allocatable)
    assert lacking({"nvidia.com/gpu": 2, "nvidia.com/mig-*": 4}, allocatable) == {
        "nvidia.com/gpu": 1,
        "nvidia.com/mig-*": 3,
    }
    assert lacking({"nvidia.com/gpu.shared": 4}, allocatable) == {"nvidia.com/gpu.shared": 0}
