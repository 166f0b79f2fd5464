# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of the GPU operator or of the device plugin alone, and all that is wrong with it.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Problem
from .image_plan import is_registry, is_repository

WAYS = ("operator", "device_plugin")
WHO = ("auto", "host", "operator")
STRATEGIES = ("none", "single", "mixed")
RUNTIMES = ("containerd", "crio")
#: What a whole card is called as a resource.
GPU = "nvidia.com/gpu"
#: Ways of sharing, as the plugin calls them.
TIME_SLICING, MPS = "timeSlicing", "mps"
#: Clients that one MPS server has room for; cards before Turing have less.
MPS_CLIENTS = 48

#: Every option; each is given.
NAMES = (
    "way",
    "driver",
    "toolkit",
    "cdi",
    "runtime_class",
    "mig",
    "sharing",
    "dcgm_exporter",
    "gfd",
    "nfd",
    "proxy",
    "pull_secrets",
    "registry",
    "tolerations",
    "runtime",
    "excluded_nodes",
    "values",
)
#: What a part of a group is that is left out.
_GROUPS: dict[str, dict[str, Any]] = {
    "mig": {"strategy": "none", "config": {}},
    "sharing": {"time_slicing": {}, "mps": {}, "nodes": []},
    "dcgm_exporter": {"enabled": True, "service_monitor": False},
    "proxy": {"http": "", "https": "", "no": ""},
    "runtime": {"name": "containerd", "config": "", "drop_in": "", "socket": ""},
}
_SHARE = {"replicas": None, "resources": [GPU], "rename_by_default": False, "fail_requests_greater_than_one": None}
_PREFIX = "gpu_operator_"
_TOLERATION = {"key", "operator", "value", "effect", "tolerationSeconds"}
_RESOURCE = re.compile(r"nvidia\.com/[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
#: What the toolkit's container is told of a runtime that is not where NVIDIA looks for it.
_RUNTIME_VARIABLES = {
    "containerd": {"config": "CONTAINERD_CONFIG", "drop_in": "RUNTIME_DROP_IN_CONFIG", "socket": "CONTAINERD_SOCKET"},
    "crio": {"config": "CRIO_CONFIG", "drop_in": "RUNTIME_DROP_IN_CONFIG"},
}
_RUNTIME_PATHS = {
    "containerd": {
        "config": "/etc/containerd/config.toml",
        "drop_in": "/etc/containerd/conf.d/99-nvidia.toml",
        "socket": "/run/containerd/containerd.sock",
    },
    "crio": {"config": "/etc/crio/config.toml", "drop_in": "/etc/crio/crio.conf.d/99-nvidia.conf"},
}


@dataclass(frozen=True)
class Sharing:
    """How several containers have one card.

    Attributes:
        kind: ``timeSlicing`` or ``mps``.
        replicas: how many have one.
        resources: names of what is shared.
        rename: whether a shared resource is called ``….shared``.
        one_only: whether a container may have no more than one; ``None`` for what the plugin thinks right.
        nodes: nodes that share; none of them is all.
    """

    kind: str
    replicas: int
    resources: tuple[str, ...]
    rename: bool
    one_only: bool | None
    nodes: tuple[str, ...]

    def on(self, node: str) -> bool:
        """Tell whether a node shares its cards."""
        return not self.nodes or node in self.nodes


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Attributes:
        way: ``operator``, or ``device_plugin`` for that chart alone.
        driver: who brings the driver: ``host``, ``operator``, or ``auto`` for the operator where the host has none.
        toolkit: who brings the container toolkit, likewise.
        cdi: whether the operator's containers get cards by CDI.
        runtime_class: RuntimeClass of what needs the cards.
        mig_strategy: ``none``, ``single`` or ``mixed``.
        mig_config: node to name of a MIG configuration, such as ``all-1g.5gb``.
        sharing: how cards are shared; ``None`` for not at all.
        exporter: whether the operator runs DCGM's exporter.
        service_monitor: whether Prometheus' operator is told of it.
        gfd: whether the plugin's chart labels nodes with what their cards are; the operator always does.
        nfd: whether the chart brings Node Feature Discovery where it is needed.
        proxy: variables of the proxy.
        pull_secrets: names of secrets in the release's namespace.
        registry: ``host[:port][/path]`` that has the images; empty for NVIDIA's.
        tolerations: of everything on nodes, besides the chart's own.
        runtime: variables that tell the toolkit of another place of the container runtime.
        excluded: nodes that are left alone.
        values: the chart's values that are laid over all others.
    """

    way: str
    driver: str
    toolkit: str
    cdi: bool
    runtime_class: str
    mig_strategy: str
    mig_config: Mapping[str, str]
    sharing: Sharing | None
    exporter: bool
    service_monitor: bool
    gfd: bool
    nfd: bool
    proxy: Mapping[str, str]
    pull_secrets: tuple[str, ...]
    registry: str
    tolerations: tuple[Mapping[str, Any], ...]
    runtime: Mapping[str, str]
    excluded: tuple[str, ...]
    values: Mapping[str, Any]

    @property
    def by_operator(self) -> bool:
        """Whether it is the operator that is installed."""
        return self.way == "operator"


def read(options: Mapping[str, Any]) -> tuple[Options, list[Problem]]:
    """Return what is asked for, and all that is wrong with it.

    What is wrong is read as if it were not there, so that the rest can be judged too.
    """
    top = _Reader(options, dict.fromkeys(NAMES), _PREFIX)
    for name in NAMES:
        if name not in options:
            top.wrong(name, None, "to be given")
    parts = {name: top.group(name, defaults) for name, defaults in _GROUPS.items()}
    mig, exporter = parts["mig"], parts["dcgm_exporter"]
    asked = Options(
        way=top.choice("way", WAYS),
        driver=top.choice("driver", WHO),
        toolkit=top.choice("toolkit", WHO),
        cdi=top.flag("cdi"),
        runtime_class=top.text("runtime_class"),
        mig_strategy=mig.choice("strategy", STRATEGIES),
        mig_config=_mig_config(mig),
        sharing=_sharing(parts["sharing"]),
        exporter=exporter.flag("enabled"),
        service_monitor=exporter.flag("service_monitor"),
        gfd=top.flag("gfd"),
        nfd=top.flag("nfd"),
        proxy=_proxy(parts["proxy"]),
        pull_secrets=top.texts("pull_secrets"),
        registry=_registry(top),
        tolerations=_tolerations(top),
        runtime=_runtime(parts["runtime"]),
        excluded=top.texts("excluded_nodes"),
        values=top.table("values"),
    )
    return asked, [*top.problems, *_at_odds(asked)]


class _Reader:
    """A group of options: each is read once, and what is wrong is kept."""

    def __init__(
        self, given: Mapping[str, Any], defaults: Mapping[str, Any], path: str, problems: list[Problem] | None = None
    ) -> None:
        self.given = {name: value for name, value in given.items() if value is not None}
        self.defaults = defaults
        self.path = path
        self.problems: list[Problem] = [] if problems is None else problems
        for name in sorted(set(given) - set(defaults), key=str):
            self.wrong(str(name), given[name], "one of " + ", ".join(defaults))

    def wrong(self, name: str, value: object, accepted: str) -> None:
        self.problems.append(Problem(self.path + name, value, accepted))

    def value(self, name: str) -> Any:
        return self.given.get(name, self.defaults.get(name))

    def group(self, name: str, defaults: Mapping[str, Any]) -> _Reader:
        return _Reader(self.table(name), defaults, f"{self.path}{name}.", self.problems)

    def choice(self, name: str, accepted: Sequence[str]) -> str:
        value = self.value(name)
        if value in accepted:
            return str(value)
        if value is not None:
            self.wrong(name, value, " or ".join(accepted))
        return accepted[0]

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, value, "true or false")
        return value is True

    def text(self, name: str) -> str:
        value = self.value(name)
        if value is None or isinstance(value, str):
            return str(value or "")
        self.wrong(name, value, "a text")
        return ""

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.value(name)
        if value is None or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)):
            return tuple(str(item) for item in value or ())
        self.wrong(name, value, "a list of texts")
        return ()

    def table(self, name: str) -> Mapping[str, Any]:
        value = self.value(name)
        if value is None or isinstance(value, Mapping):
            return value or {}
        self.wrong(name, value, "a mapping")
        return {}


def _mig_config(mig: _Reader) -> dict[str, str]:
    found = {}
    for node, name in mig.table("config").items():
        if isinstance(name, str) and _LABEL.fullmatch(name):
            found[str(node)] = name
        else:
            mig.wrong(f"config.{node}", name, "the name of a MIG configuration, such as all-1g.5gb or all-disabled")
    return found


def _sharing(sharing: _Reader) -> Sharing | None:
    given = [name for name in ("time_slicing", "mps") if sharing.table(name)]
    if len(given) > 1:
        sharing.wrong("time_slicing, mps", "both", "one of them: the plugin shares cards in one way only")
    nodes = sharing.texts("nodes")
    shares = [_share(sharing.group(name, _SHARE), MPS if name == "mps" else TIME_SLICING, nodes) for name in given]
    return shares[0] if shares else None


def _share(share: _Reader, kind: str, nodes: tuple[str, ...]) -> Sharing:
    replicas = share.value("replicas")
    count = int(replicas) if re.fullmatch("[0-9]{1,6}", str(replicas)) and not isinstance(replicas, bool) else 0
    if count < 2 or (kind == MPS and count > MPS_CLIENTS):
        most = f" to {MPS_CLIENTS}, which is what MPS has room for" if kind == MPS else ""
        share.wrong("replicas", replicas, f"a whole number from 2{most}")
    resources = share.texts("resources")
    wrong = [name for name in resources if name != GPU and (kind == MPS or not _RESOURCE.fullmatch(name))]
    if wrong or not resources:
        accepted = f"{GPU} alone, for MPS shares whole cards only" if kind == MPS else f"{GPU}, nvidia.com/mig-1g.5gb …"
        share.wrong("resources", ", ".join(wrong), accepted)
    one_only = share.value("fail_requests_greater_than_one") is not None
    return Sharing(
        kind=kind,
        replicas=max(count, 2),
        resources=resources or (GPU,),
        rename=share.flag("rename_by_default"),
        one_only=share.flag("fail_requests_greater_than_one") if one_only else None,
        nodes=nodes,
    )


def _proxy(proxy: _Reader) -> dict[str, str]:
    """Return variables in both spellings: package managers know the small one, Go programs either."""
    found = {}
    for name, variable in (("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY"), ("no", "NO_PROXY")):
        value = proxy.value(name)
        if not isinstance(value, str):
            # It may have a password in it.
            proxy.wrong(name, "(hidden)", "a text")
        elif value:
            found[variable] = found[variable.lower()] = value
    return found


def _registry(top: _Reader) -> str:
    registry = top.text("registry")
    host, slash, path = registry.partition("/")
    if registry and not (is_registry(host) and (not slash or is_repository(path))):
        top.wrong("registry", registry, "host[:port][/path], without https://")
        return ""
    return registry


def _tolerations(top: _Reader) -> tuple[Mapping[str, Any], ...]:
    value = top.value("tolerations") or []
    if isinstance(value, (list, tuple)) and all(
        isinstance(item, Mapping) and set(item) <= _TOLERATION for item in value
    ):
        return tuple(dict(item) for item in value)
    top.wrong("tolerations", value, "a list of mappings with " + ", ".join(sorted(_TOLERATION)))
    return ()


def _runtime(runtime: _Reader) -> dict[str, str]:
    name = runtime.choice("name", RUNTIMES)
    found = {}
    for part in ("config", "drop_in", "socket"):
        path = runtime.text(part)
        variable = _RUNTIME_VARIABLES[name].get(part)
        if path and (variable is None or not path.startswith("/")):
            accepted = "an absolute path" if variable else "to be left out: NVIDIA's toolkit uses no socket of CRI-O"
            runtime.wrong(part, path, accepted)
        elif path and variable and path != _RUNTIME_PATHS[name][part]:
            found[variable] = path
    return found


def _at_odds(asked: Options) -> list[Problem]:
    """Return what does not go together."""
    found = []
    strategy = f"{_PREFIX}mig.strategy"
    if asked.sharing and asked.sharing.kind == MPS and asked.mig_strategy == "mixed":
        accepted = "none or single where cards are shared by MPS: the plugin refuses both together"
        found.append(Problem(strategy, "mixed", accepted))
    divided = {name for name in asked.mig_config.values() if name != "all-disabled"}
    if divided and asked.mig_strategy == "none":
        found.append(Problem(strategy, "none", "single or mixed where gpu_operator_mig.config divides cards"))
    if "all-balanced" in divided and asked.mig_strategy == "single":
        found.append(Problem(strategy, "single", "mixed with all-balanced, which makes instances of several sizes"))
    if asked.way != "device_plugin":
        return found
    only = "to be left out with gpu_operator_way: device_plugin, whose chart has no such part; or that way: operator"
    if asked.driver == "operator":
        found.append(Problem(f"{_PREFIX}driver", "operator", only))
    if asked.toolkit == "operator":
        found.append(Problem(f"{_PREFIX}toolkit", "operator", only))
    if asked.mig_config:
        found.append(Problem(f"{_PREFIX}mig.config", dict(asked.mig_config), only))
    if asked.service_monitor:
        found.append(Problem(f"{_PREFIX}dcgm_exporter.service_monitor", True, only))
    return found
