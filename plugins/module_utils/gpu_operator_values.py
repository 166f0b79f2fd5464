# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values for the chart of NVIDIA's GPU operator or of its device plugin, and labels for nodes, from what is on each.

A chart's value holds for the cluster; where nodes differ, the operator honours a label of the node. Such a label is set
on every node with a card, also where it says what would be so without it: what an earlier plan left there never counts.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .errors import InvalidInput, Problem
from .gpu_operator_nodes import Expected, Node, expected, judge, told
from .gpu_operator_options import MPS, Options, Sharing, read
from .gpu_stack import CARDS, MIG_CONFIG, OPERANDS, PRESENT
from .gpu_stack import DEPLOY_DRIVER as DRIVER

#: Feature discovery as the two charts call it, and where it has its image from.
NFD = {"operator": "node-feature-discovery", "device_plugin": "nfd"}
NFD_IMAGE = "registry.k8s.io/nfd/node-feature-discovery"

ON_BUS = CARDS[0]
TOOLKIT = "nvidia.com/gpu.deploy.container-toolkit"
PLUGIN_CONFIG = "nvidia.com/device-plugin.config"
MPS_CAPABLE = "nvidia.com/mps.capable"
#: All that a plan sets, for who takes it back.
LABELS = (PRESENT, ON_BUS, OPERANDS, DRIVER, TOOLKIT, MIG_CONFIG, PLUGIN_CONFIG, MPS_CAPABLE)

#: Names of the plugin's configurations with and without sharing.
_SHARED, _WHOLE = "shared", "whole"
#: What Helm itself or a parent chart may set, beside a chart's own values.
_OF_EVERY_CHART = {"global", "nameOverride", "fullnameOverride"}
#: What os-release calls systems that Ansible calls otherwise.
_SYSTEMS = {"redhat": "rhel", "oraclelinux": "ol", "amazon": "amzn"}
#: Systems whose minor version the tags of driver images leave out; Debian's os-release has none.
_WITHOUT_MINOR = ("rhel", "rocky", "ol", "debian")


@dataclass(frozen=True)
class Plan:
    """What is to be installed, and what comes of it.

    Attributes:
        values: of the chart; the user's own are laid over all others, and nothing else here follows from them.
        labels: node to label to value, or to ``None`` for a label that has to go. They come before the chart: the
            operator starts at once on nodes that have none.
        told: a sentence for each node: what was found, and what follows.
        problems: all that is in the way; with any, the rest is of no use.
        expected: node to what it will offer.
        driver_hosts: ``{os_tag, kernel}`` of the nodes for which the operator needs an image with a driver.
    """

    values: Mapping[str, Any]
    labels: Mapping[str, Mapping[str, str | None]]
    told: tuple[str, ...]
    problems: tuple[Problem, ...]
    expected: Mapping[str, Expected]
    driver_hosts: tuple[Mapping[str, str], ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain values, with the problems as one text too.

        The chart's values have another name there: by a dot, Jinja takes ``values`` for what every mapping can do.
        """
        problems = [{**vars(problem), "value": _plain(problem.value)} for problem in self.problems]
        return {
            "chart_values": _plain(self.values),
            "labels": _plain(self.labels),
            "told": list(self.told),
            "problems": problems,
            "message": str(InvalidInput("gpu_operator", list(self.problems))) if self.problems else "",
            "expected": {name: asdict(offer) for name, offer in self.expected.items()},
            "driver_hosts": _plain(self.driver_hosts),
        }


def plan(
    found: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    systems: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """Return what is to be installed.

    Args:
        found: node, as Kubernetes calls it, to the fact that :class:`gpu_facts.Picture` becomes.
        options: each of :data:`gpu_operator_options.NAMES`.
        defaults: the chart's own values.
        systems: node to ``{distribution, version}``, as os-release or Ansible has them.
    """
    asked, problems = read(options)
    nodes = [judge(name, gpu, asked) for name, gpu in sorted(found.items())]
    for node in nodes:
        problems += node.problems
    tags = {
        name: os_tag(str(system.get("distribution", "")), str(system.get("version", "")))
        for name, system in (systems or {}).items()
    }
    problems += (
        _unknown_nodes(asked, set(found)) + _unknown_values(asked, defaults) + _several_systems(asked, nodes, tags)
    )
    toolkit = asked.by_operator and _brings_toolkit(asked, nodes)
    values = _operator(asked, nodes, toolkit, defaults) if asked.by_operator else _device_plugin(asked, defaults)
    offers = {node.name: expected(node, asked) for node in nodes}
    hosts = {(tags.get(node.name, ""), str(node.gpu["kernel"])) for node in nodes if node.driver == "operator"}
    return Plan(
        values=merged(values, asked.values),
        labels={node.name: _labels(asked, node, toolkit) for node in nodes},
        told=tuple(_told(asked, node, toolkit, offers[node.name]) for node in nodes),
        problems=tuple(problems),
        expected=offers,
        driver_hosts=tuple({"os_tag": tag, "kernel": kernel} for tag, kernel in sorted(hosts)),
    )


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return values laid over others, level by level, as Helm does it; lists are replaced, and a null stays."""
    result = dict(base)
    for name, value in over.items():
        below = result.get(name)
        if isinstance(value, Mapping):
            result[name] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def in_registry(repository: str, registry: str) -> str:
    """Return where a repository is in a site's registry; without one, where it is."""
    return f"{registry}/{inside(repository)}" if registry else repository


def inside(name: str) -> str:
    """Return an image's name, or a repository's, without the registry."""
    host, slash, rest = name.partition("/")
    return rest if slash and ("." in host or ":" in host or host == "localhost") else name


def os_tag(distribution: str, version: str) -> str:
    """Return what the operator appends to a driver's tag, such as ``ubuntu22.04`` or ``rhel9``; empty for none."""
    if not (distribution and version):
        return ""
    name = distribution.lower()
    system = _SYSTEMS.get(name, name)
    return system + (version.partition(".")[0] if system in _WITHOUT_MINOR else version)


def _unknown_nodes(asked: Options, known: set[str]) -> list[Problem]:
    lists: dict[str, Iterable[str]] = {
        "gpu_operator_mig.config": asked.mig_config,
        "gpu_operator_sharing.nodes": asked.sharing.nodes if asked.sharing else (),
        "gpu_operator_excluded_nodes": asked.excluded,
    }
    accepted = "nodes that were looked at: " + (", ".join(sorted(known)) or "none was")
    return [
        Problem(name, ", ".join(strange), accepted)
        for name, nodes in lists.items()
        if (strange := sorted(set(nodes) - known))
    ]


def _unknown_values(asked: Options, defaults: Mapping[str, Any]) -> list[Problem]:
    """Return a user's values that the chart has not: Helm takes them silently."""
    known = {*defaults, *_OF_EVERY_CHART, NFD[asked.way]}
    return [
        Problem("gpu_operator_values", name, "values of the chart: " + ", ".join(sorted(known)))
        for name in sorted(set(asked.values) - known, key=str)
        if defaults
    ]


def _several_systems(asked: Options, nodes: Sequence[Node], tags: Mapping[str, str]) -> list[Problem]:
    """Return that the operator would take one system's image of the driver for all nodes."""
    where: dict[str, list[str]] = {}
    for node in nodes:
        if node.driver == "operator" and tags.get(node.name):
            where.setdefault(tags[node.name], []).append(node.name)
    driver = asked.values.get("driver")
    by_resource = isinstance(driver, Mapping) and (driver.get("nvidiaDriverCRD") or {}).get("enabled")
    if len(where) < 2 or by_resource:
        return []
    value = "; ".join(f"{tag} on {', '.join(names)}" for tag, names in sorted(where.items()))
    accepted = (
        "one operating system on the nodes that get the operator's driver; a driver on the hosts; or "
        "gpu_operator_values: {driver: {nvidiaDriverCRD: {enabled: true}}}, which has a driver for each system"
    )
    return [Problem("gpu_operator_driver", value, accepted)]


def _used(nodes: Iterable[Node]) -> list[Node]:
    return [node for node in nodes if node.driver]


def _brings_toolkit(asked: Options, nodes: Iterable[Node]) -> bool:
    if asked.toolkit != "auto":
        return asked.toolkit == "operator"
    return any(not node.toolkit for node in _used(nodes))


def _own_toolkit(asked: Options, node: Node) -> bool:
    """Tell whether a node keeps its toolkit where the operator brings one to others.

    With CDI it does not: every node's devices name a program of the toolkit by one path, and that is the operator's.
    """
    return node.toolkit and asked.toolkit == "auto" and not asked.cdi


def _told(asked: Options, node: Node, toolkit: bool, offer: Expected) -> str:
    sentence = told(node, asked, offer)
    if not node.driver:
        return sentence
    if toolkit and node.toolkit and not _own_toolkit(asked, node):
        return f"{sentence}; its container toolkit gives way to the operator's"
    if not toolkit and not node.toolkit:
        return f"{sentence}; no container toolkit was found on it"
    return sentence


def _labels(asked: Options, node: Node, toolkit: bool) -> dict[str, str | None]:
    used = bool(node.driver)
    found: dict[str, str | None] = {}
    if asked.by_operator:
        found[OPERANDS] = "false" if node.on_bus and not used else None
        if used:
            # From a node that feature discovery has not been on yet the operator takes all labels that follow.
            found[ON_BUS] = "true"
        if used and _brings_driver(asked):
            found[DRIVER] = _flag(node.driver == "operator")
        if used and toolkit:
            found[TOOLKIT] = _flag(not _own_toolkit(asked, node))
        if used and node.name in asked.mig_config:
            found[MIG_CONFIG] = asked.mig_config[node.name]
    else:
        found[PRESENT] = "true" if used else None
    if asked.sharing and used:
        found[PLUGIN_CONFIG] = _SHARED if asked.sharing.on(node.name) else _WHOLE
    if not asked.by_operator and not asked.gfd:
        by_mps = used and asked.sharing is not None and asked.sharing.kind == MPS and asked.sharing.on(node.name)
        found[MPS_CAPABLE] = "true" if by_mps else None
    return found


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _brings_driver(asked: Options) -> bool:
    return asked.driver != "host"


def _operator(asked: Options, nodes: Iterable[Node], toolkit: bool, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the operator's chart."""
    brings = asked.driver == "operator" or any(node.driver == "operator" for node in nodes)
    exporter: dict[str, Any] = {"enabled": asked.exporter, "serviceMonitor": {"enabled": asked.service_monitor}}
    values: dict[str, Any] = {
        "driver": {"enabled": brings, **(_proxied(asked) if brings else {})},
        "toolkit": {"enabled": toolkit, **({"env": _env(asked.runtime)} if toolkit and asked.runtime else {})},
        "cdi": {"enabled": asked.cdi},
        # The definitions are applied and removed with the release, so no job of the chart's has to do it.
        "operator": {"runtimeClass": asked.runtime_class, "upgradeCRD": False, "cleanupCRD": False},
        "mig": {"strategy": asked.mig_strategy},
        # By the chart's default a node without the label is set back to whole cards, whoever has divided them.
        "migManager": {"enabled": bool(asked.mig_config), "config": {"default": ""}},
        "dcgmExporter": exporter,
        "nfd": {"enabled": asked.nfd},
    }
    if asked.sharing:
        values["devicePlugin"] = {"config": _plugin_config(asked.sharing)}
    tolerated: list[tuple[str, ...]] = [("daemonsets", "tolerations"), ("operator", "tolerations")]
    tolerated += [(NFD["operator"], "worker", "tolerations")] if asked.nfd else []
    return _everywhere(asked, values, defaults, tolerated)


def _device_plugin(asked: Options, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the device plugin's chart."""
    labelled = {"key": PRESENT, "operator": "In", "values": ["true"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [labelled]}]}
    nfd = asked.nfd and asked.gfd
    values: dict[str, Any] = {
        "migStrategy": asked.mig_strategy,
        "runtimeClassName": asked.runtime_class or None,
        # The nodes that the plan labels, and no other: a card that is kept for guests is on the bus too.
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "gfd": {"enabled": asked.gfd},
        "nfd": {"enabled": nfd},
    }
    if asked.sharing:
        config = _plugin_config(asked.sharing)
        values["config"] = {"map": config["data"], "default": config["default"]}
    tolerated = [("tolerations",), *([("nfd", "worker", "tolerations")] if nfd else [])]
    return _everywhere(asked, values, defaults, tolerated)


def _proxied(asked: Options) -> dict[str, Any]:
    env = _env(asked.proxy)
    return {"env": env, "manager": {"env": env}} if env else {}


def _env(variables: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": variables[name]} for name in sorted(variables)]


def _plugin_config(sharing: Sharing) -> dict[str, Any]:
    """Return configurations of the plugin.

    A plugin that runs does not learn of a change in them. By another name they are another volume, and it is restarted.
    """
    how: dict[str, Any] = {"renameByDefault": sharing.rename}
    if sharing.one_only is not None:
        how["failRequestsGreaterThanOne"] = sharing.one_only
    how["resources"] = [{"name": name, "replicas": sharing.replicas} for name in sharing.resources]
    contents = {_WHOLE: {"version": "v1"}, _SHARED: {"version": "v1", "sharing": {sharing.kind: how}}}
    # The plugin reads YAML, of which JSON is a part.
    data = {name: json.dumps(content, indent=2) for name, content in contents.items()}
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]
    default = _WHOLE if sharing.nodes else _SHARED
    return {"create": True, "name": f"gpu-sharing-{digest}", "default": default, "data": data}


def _everywhere(
    asked: Options, values: Mapping[str, Any], defaults: Mapping[str, Any], tolerated: Iterable[Sequence[str]]
) -> dict[str, Any]:
    """Return values with what every part of a chart is given: tolerations, pull secrets, another registry."""
    result = dict(values)
    nfd = NFD[asked.way]
    if asked.tolerations:
        for path in tolerated:
            own = _at(defaults, path) or []
            more = [entry for entry in asked.tolerations if entry not in own]
            result = merged(result, _below(path, [*own, *map(dict, more)]))
    if asked.pull_secrets:
        result = merged(result, _pull_secrets(defaults, asked))
        result = merged(result, {nfd: {"imagePullSecrets": _as_references(asked.pull_secrets)}} if asked.nfd else {})
    if asked.registry:
        result = merged(result, _moved(defaults, asked.registry))
        image = {"image": {"repository": in_registry(NFD_IMAGE, asked.registry)}}
        result = merged(result, {nfd: image} if asked.nfd else {})
    return result


def _as_references(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


def _plain(value: Any) -> Any:
    """Return a value that shares nothing with another, so that it is written out wherever it stands."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _at(values: Mapping[str, Any], path: Sequence[str]) -> Any:
    found: Any = values
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _below(path: Sequence[str], value: object) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return dict(value) if isinstance(value, Mapping) else {}


def _pull_secrets(defaults: Mapping[str, Any], asked: Options) -> dict[str, Any]:
    """Return the secrets for every part of a chart that has a place for them."""
    # The operator's chart takes names, the plugin's what stands in a pod.
    given: list[Any] = list(asked.pull_secrets) if asked.by_operator else _as_references(asked.pull_secrets)
    found: dict[str, Any] = {}
    for name, value in defaults.items():
        if name == "imagePullSecrets":
            found[name] = given
        elif isinstance(value, Mapping):
            below = _pull_secrets(value, asked)
            if below:
                found[name] = below
    return found


def _moved(defaults: Mapping[str, Any], registry: str) -> dict[str, Any]:
    """Return every repository of a chart's values, as it is in a registry."""
    found: dict[str, Any] = {}
    for name, value in defaults.items():
        if name == "repository" and isinstance(value, str) and value:
            found[name] = in_registry(value, registry)
        elif isinstance(value, Mapping):
            below = _moved(value, registry)
            if below:
                found[name] = below
    return found
