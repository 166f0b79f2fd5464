# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each node's cards are to Kubernetes: who drives them, what the node will offer, and what is in the way.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .errors import Problem
from .gpu_operator_options import GPU, MPS, Options, Sharing

#: Stands for instances of MIG whose names the host's facts do not have.
INSTANCES = "nvidia.com/mig-*"
#: Stands for whatever a MIG configuration of the site's own makes.
ANYTHING = "nvidia.com/*"
_ALL_OF_ONE = re.compile(r"all-(?P<profile>[0-9]+g\.[0-9]+gb(?:[.+][a-z0-9.+]+)?)")
_HOST_DRIVER = "a driver on the host, such as role nvidia_driver installs"
_OUT = "or leave the node out by gpu_operator_excluded_nodes"


@dataclass(frozen=True)
class Expected:
    """What a node will offer.

    Attributes:
        offers: whether it must offer a card or a part of one.
        resources: resource to the least count of it; a name may end with ``*`` for all that begin so.
    """

    offers: bool
    resources: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A node, as far as GPUs go.

    Attributes:
        name: in the cluster.
        gpu: the fact that was found.
        driver: who drives its cards: ``host``, ``operator``, or empty where none is used.
        found: that, and why, in words.
        problems: what is in the way.
    """

    name: str
    gpu: Mapping[str, Any]
    driver: str
    found: str
    problems: tuple[Problem, ...] = ()

    @property
    def on_bus(self) -> bool:
        """Whether it has a card at all, be it another's."""
        return bool(self.gpu.get("cards") or self.gpu.get("kept_for_guests"))

    @property
    def toolkit(self) -> bool:
        """Whether the host has the container toolkit."""
        return bool(self.gpu.get("toolkit"))


def judge(name: str, gpu: Mapping[str, Any], asked: Options) -> Node:
    """Return who drives a node's cards, and all that is in the way of it.

    Args:
        name: of the node.
        gpu: the fact that :class:`gpu_facts.Picture` becomes.
        asked: what is asked for.
    """
    if "cards" not in gpu:
        return _unused(name, {}, "its GPUs are not known", "the fact gpu, which dtf.cluster.gpu_facts returns")
    cards = counted(len(gpu["cards"]), "card")
    if not gpu["cards"]:
        return _unused(name, gpu, _without_card(gpu))
    if name in asked.excluded:
        return _unused(name, gpu, f"{cards}, left out by gpu_operator_excluded_nodes")
    driver, what, step = _driver(gpu, asked)
    if not driver:
        return _unused(name, gpu, f"{cards}, {what}", f"{step}; {_OUT}")
    problems = [*_of_mig(name, gpu, asked)]
    if asked.toolkit == "host" and not gpu["toolkit"]:
        problems.append(
            Problem(
                f"node {name}",
                f"{cards}, and no container toolkit on the host",
                f"one, such as role nvidia_driver installs; or gpu_operator_toolkit: auto; {_OUT}",
            )
        )
    return Node(name, gpu, driver, f"{cards}, {what}", tuple(problems))


def expected(node: Node, asked: Options) -> Expected:
    """Return what a node will offer once everything runs."""
    if not node.driver:
        return Expected(False)
    sharing = asked.sharing if asked.sharing and asked.sharing.on(node.name) else None
    resources = {name: count for name, count in _resources(node, asked).items() if count}
    return Expected(bool(resources), _shared(resources, sharing))


def lacking(resources: Mapping[str, int], allocatable: Mapping[str, Any]) -> dict[str, int]:
    """Return which of the expected resources a node has too few of, with what it has.

    Args:
        resources: of :class:`Expected`.
        allocatable: the node's, as the API returns it.
    """
    found = {}
    for name, least in resources.items():
        there = sum(int(count) for offered, count in allocatable.items() if fnmatchcase(offered, name))
        if there < least:
            found[name] = there
    return found


def told(node: Node, asked: Options, offer: Expected) -> str:
    """Return what was found on a node and what follows from it, as one sentence."""
    parts = [node.found]
    if offer.offers:
        offered = ", ".join(f"{name} {count}" for name, count in sorted(offer.resources.items()))
        shared = f" ({_sharing_words(asked.sharing)})" if asked.sharing and asked.sharing.on(node.name) else ""
        parts.append(f"will offer {offered}{shared}")
    elif node.on_bus:
        parts.append("will offer nothing")
    if node.driver:
        parts += [f"{finding['code']}: {finding['message']}" for finding in node.gpu["problems"]]
        if asked.mig_strategy == "none" and _divided(node.gpu):
            parts.append("MIG is on, and with gpu_operator_mig.strategy: none the cards are offered as if it were not")
    return f"{node.name}: {'; '.join(parts)}"


def counted(count: int, what: str) -> str:
    """Return a count in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _unused(name: str, gpu: Mapping[str, Any], found: str, step: str = "") -> Node:
    problems = (Problem(f"node {name}", found, step),) if step else ()
    return Node(name, gpu, "", found, problems)


def _without_card(gpu: Mapping[str, Any]) -> str:
    kept = len(gpu["kept_for_guests"])
    if kept:
        return f"{counted(kept, 'card')}, kept for guests of this host"
    partition = _finding(gpu, "gpu_partition")
    return f"no NVIDIA card: {partition['message']}" if partition else "no NVIDIA card"


def _driver(gpu: Mapping[str, Any], asked: Options) -> tuple[str, str, str]:
    """Return who drives the cards, that in words, and where it is nobody what would help."""
    driver = gpu["driver"]
    version = driver["loaded"] or driver["installed"] or driver["libraries"] or "of unknown version"
    if driver["origin"] == "operator":
        if asked.by_operator and asked.driver != "host":
            return "operator", f"driver {version} of the operator", ""
        return "", f"driver {version} of the GPU operator", f"{_HOST_DRIVER}, in its place"
    if driver["state"] == "working":
        if asked.by_operator and asked.driver == "operator":
            step = "a host without a driver where gpu_operator_driver is operator; or auto, which leaves it alone"
            return "", f"driver {version} of the host", step
        return "host", f"driver {version} of the host", ""
    if driver["state"] != "none":
        finding = next((entry for entry in gpu["problems"] if entry["blocks"]), None)
        why = f": {finding['message']}" if finding else ""
        step = finding["next"] if finding else "a driver that works; see journalctl -k"
        return "", f"driver {version} of the host, which does not work{why}", step
    return _without_driver(gpu, asked)


def _without_driver(gpu: Mapping[str, Any], asked: Options) -> tuple[str, str, str]:
    for code in ("vgpu_needs_its_driver", "container"):
        finding = _finding(gpu, code)
        if finding:
            return "", f"no driver: {finding['message']}", finding["next"]
    if not asked.by_operator:
        return "", "no driver", f"{_HOST_DRIVER}; or gpu_operator_way: operator, which can bring one"
    if asked.driver == "host":
        return "", "no driver", f"{_HOST_DRIVER}; or gpu_operator_driver: auto"
    driver = asked.values.get("driver")
    precompiled = isinstance(driver, Mapping) and driver.get("usePrecompiled")
    if gpu["signed_only"] and not precompiled:
        step = (
            f"{_HOST_DRIVER}; or gpu_operator_values: {{driver: {{usePrecompiled: true}}}} where NVIDIA has signed "
            "modules for its kernel"
        )
        return "", "no driver, and a kernel that takes signed modules only, which the operator's are not", step
    return "operator", "no driver on the host: the operator brings it", ""


def _finding(gpu: Mapping[str, Any], code: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = next((entry for entry in gpu["problems"] if entry["code"] == code), None)
    return found


def _seen(gpu: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the host's driver says of each card; nothing where it has none."""
    return [card["gpu"] for card in gpu["cards"] if card["gpu"]]


def _divided(gpu: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [card for card in _seen(gpu) if card["mig_mode"] == "enabled"]


def _of_mig(name: str, gpu: Mapping[str, Any], asked: Options) -> list[Problem]:
    """Return what keeps the plugin from offering cards that are divided, or are to be."""
    where = f"node {name}"
    seen, divided = _seen(gpu), _divided(gpu)
    profile = asked.mig_config.get(name)
    found = []
    if profile:
        if seen and not any(card["mig_mode"] for card in seen):
            found.append(
                Problem(where, f"MIG configuration {profile}", "cards that know MIG; none of this node's does")
            )
    else:
        empty = _finding(gpu, "mig_without_instances")
        if empty:
            step = f"{empty['next']}; or a configuration for this node in gpu_operator_mig.config; {_OUT}"
            found.append(Problem(where, empty["message"], step))
        if asked.mig_strategy == "single" and divided and len(divided) < len(seen):
            accepted = "MIG on all cards of a node or on none with gpu_operator_mig.strategy: single; or mixed"
            found.append(Problem(where, f"MIG on {len(divided)} of {counted(len(seen), 'card')}", accepted))
        sizes = sorted({size for card in divided for size in card["mig_devices"]})
        if asked.mig_strategy == "single" and len(sizes) > 1:
            accepted = "instances of one size on a node with gpu_operator_mig.strategy: single; or mixed"
            found.append(Problem(where, "instances of " + ", ".join(f"{size} MiB" for size in sizes), accepted))
    by_mps = asked.sharing is not None and asked.sharing.kind == MPS and asked.sharing.on(name)
    if by_mps and (divided or profile not in (None, "all-disabled")):
        accepted = f"time_slicing, or gpu_operator_sharing.nodes without this node: MPS does not share parts; {_OUT}"
        found.append(Problem(where, "MIG, and cards shared by MPS", accepted))
    return found


def _resources(node: Node, asked: Options) -> dict[str, int]:
    """Return what a node offers before anything is shared."""
    seen, divided = _seen(node.gpu), _divided(node.gpu)
    cards = len(seen) if node.driver == "host" else len(node.gpu["cards"])
    profile = asked.mig_config.get(node.name)
    if asked.mig_strategy == "none" or profile == "all-disabled":
        return {GPU: cards}
    if profile:
        return _configured(profile, sum(bool(card["mig_mode"]) for card in seen) or cards, asked.mig_strategy)
    instances = sum(len(card["mig_devices"]) for card in divided)
    if asked.mig_strategy == "single":
        return {GPU: instances if divided else cards}
    return {GPU: cards - len(divided), INSTANCES: instances}


def _configured(profile: str, cards: int, strategy: str) -> dict[str, int]:
    """Return the least that a MIG configuration leaves: each card that it divides has an instance at least."""
    one = _ALL_OF_ONE.fullmatch(profile)
    if strategy == "single":
        return {GPU: cards if one else 1}
    if one:
        return {"nvidia.com/mig-" + one["profile"].replace("+", "."): cards}
    return {INSTANCES: cards} if profile == "all-balanced" else {ANYTHING: 1}


def _shared(resources: Mapping[str, int], sharing: Sharing | None) -> dict[str, int]:
    if sharing is None:
        return dict(resources)
    found = {}
    for name, count in resources.items():
        shares = name in sharing.resources
        found[f"{name}.shared" if shares and sharing.rename else name] = count * (sharing.replicas if shares else 1)
    return found


def _sharing_words(sharing: Sharing) -> str:
    return f"{'MPS' if sharing.kind == MPS else 'time slicing'}, {sharing.replicas} to a card"
