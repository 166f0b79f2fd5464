# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's variables → the configuration that kind is given, and everything that is wrong with them.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Problem
from .registry_settings import laid_over

API_VERSION = "kind.x-k8s.io/v1alpha4"
CONTROL_PLANE = "control-plane"
WORKER = "worker"
#: Where containerd of a node looks for registries' mirrors and authorities.
REGISTRIES = "/etc/containerd/certs.d"
MOST_NODES = 64

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_PORT_FIELDS = {"containerPort", "hostPort", "listenAddress", "protocol"}
_MOUNT_FIELDS = {"hostPath", "containerPath", "readOnly", "selinuxRelabel", "propagation"}
_PROTOCOLS = ("TCP", "UDP", "SCTP")
#: Which patches kind takes as text, and people would rather write as what they are.
_DOCUMENTS = "kubeadmConfigPatches"


@dataclass(frozen=True)
class Cluster:
    """What is asked for.

    Attributes:
        name: the cluster's name, which its nodes begin with.
        workers: number of nodes beside the control plane; without any it runs everything.
        image: what nodes are made from, by tag or digest; empty is kind's own choice.
        pod_cidr: range of the pods.
        service_cidr: range of the services.
        api_address: address of the host on which the API server answers.
        api_port: its port there; 0 is any that is free.
        port_mappings: ports of the control plane's node on the host, as kind's ``extraPortMappings``.
        mounts: folders of the host in every node, as kind's ``extraMounts``.
        registries: folder of the host with what containerd knows of registries; empty is none.
        configuration: settings in kind's own structure, over all of this.
    """

    name: str
    workers: int = 2
    image: str = ""
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    api_address: str = "127.0.0.1"
    api_port: int = 0
    port_mappings: Sequence[Mapping[str, Any]] = ()
    mounts: Sequence[Mapping[str, Any]] = ()
    registries: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)


def node_names(document: Mapping[str, Any]) -> dict[str, str]:
    """Return name → role of the nodes that kind makes of a configuration, in its order."""
    found: dict[str, str] = {}
    seen: dict[str, int] = {}
    for node in document["nodes"]:
        role = node.get("role", CONTROL_PLANE)
        seen[role] = seen.get(role, 0) + 1
        number = seen[role] if seen[role] > 1 else ""
        found[f"{document['name']}-{role}{number}"] = role
    return found


def document(cluster: Cluster) -> dict[str, Any]:
    """Return the configuration that kind is given."""
    mounts = [dict(mount) for mount in cluster.mounts]
    if cluster.registries:
        mounts.append({"hostPath": cluster.registries, "containerPath": REGISTRIES, "readOnly": True})
    shared: dict[str, Any] = {}
    if cluster.image:
        shared["image"] = cluster.image
    if mounts:
        shared["extraMounts"] = mounts
    first: dict[str, Any] = {"role": CONTROL_PLANE, **shared}
    if cluster.port_mappings:
        first["extraPortMappings"] = [dict(mapping) for mapping in cluster.port_mappings]
    networking: dict[str, Any] = {
        "podSubnet": cluster.pod_cidr,
        "serviceSubnet": cluster.service_cidr,
        "apiServerAddress": cluster.api_address,
    }
    if cluster.api_port:
        networking["apiServerPort"] = cluster.api_port
    made = {
        "kind": "Cluster",
        "apiVersion": API_VERSION,
        "name": cluster.name,
        "networking": networking,
        "nodes": [first, *({"role": WORKER, **shared} for _number in range(cluster.workers))],
    }
    return _with_texts(laid_over(made, cluster.configuration))


@dataclass(frozen=True)
class HostPort:
    """A port of the host that a cluster publishes.

    Attributes:
        field: where it stands in kind's configuration, with the port.
        address: on which address.
        number: which port.
        protocol: in capitals.
    """

    field: str
    address: str
    number: int
    protocol: str = "TCP"


def host_ports(document: Mapping[str, Any]) -> list[HostPort]:
    """Return the ports of the host that a configuration asks for by number."""
    networking = document.get("networking", {})
    address, api_port = networking.get("apiServerAddress", "127.0.0.1"), networking.get("apiServerPort", 0)
    found = []
    if api_port > 0:
        found.append(HostPort(f"api_port {api_port}", address, api_port))
    for node in document["nodes"]:
        for mapping in node.get("extraPortMappings", ()):
            number = mapping.get("hostPort", 0)
            if number > 0:
                where = mapping.get("listenAddress", "0.0.0.0")  # noqa: S104 - what kind itself takes
                found.append(HostPort(f"hostPort {number}", where, number, mapping.get("protocol", "TCP").upper()))
    return found


def _with_texts(made: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration whose patches are texts, as kind wants them; JSON is YAML too."""

    def texts(holder: Mapping[str, Any]) -> dict[str, Any]:
        given = holder.get(_DOCUMENTS)
        if not given:
            return dict(holder)
        written = [
            patch if isinstance(patch, str) else json.dumps(patch, indent=2, sort_keys=True) + "\n" for patch in given
        ]
        return {**holder, _DOCUMENTS: written}

    return {**texts(made), "nodes": [texts(node) for node in made["nodes"]]}


def problems(cluster: Cluster) -> list[Problem]:
    """Return everything that is wrong with what is asked for."""
    found = []
    if not _NAME.fullmatch(cluster.name):
        found.append(Problem("name", cluster.name, "small letters, digits, '.' and '-', a letter or digit first"))
    if not 0 <= cluster.workers < MOST_NODES:
        found.append(Problem("workers", cluster.workers, f"0 to {MOST_NODES - 1} nodes beside the control plane"))
    try:
        ipaddress.ip_address(cluster.api_address)
    except ValueError:
        found.append(Problem("api_address", cluster.api_address, "an address of the host, not a name"))
    if not 0 <= cluster.api_port <= 65535:
        found.append(Problem("api_port", cluster.api_port, "a port, or 0 for any that is free"))
    found += _range_problems(cluster)
    for number, mapping in enumerate(cluster.port_mappings):
        found += _mapping_problems(f"port_mappings[{number}]", mapping)
    for number, mount in enumerate(cluster.mounts):
        found += _mount_problems(f"mounts[{number}]", mount)
    return found + _configuration_problems(cluster.configuration)


def _range_problems(cluster: Cluster) -> list[Problem]:
    ranges, found = {}, []
    for name in ("pod_cidr", "service_cidr"):
        value = getattr(cluster, name)
        try:
            ranges[name] = ipaddress.ip_network(value)
        except ValueError:
            found.append(Problem(name, value, "a range such as 10.244.0.0/16, with nothing after the prefix"))
    if len(ranges) == 2 and ranges["pod_cidr"].overlaps(ranges["service_cidr"]):
        found.append(Problem("service_cidr", cluster.service_cidr, f"a range apart from the pods', {cluster.pod_cidr}"))
    return found


def _mapping_problems(where: str, mapping: Mapping[str, Any]) -> list[Problem]:
    found = _unknown(where, mapping, _PORT_FIELDS)
    for name in ("containerPort", "hostPort"):
        port = mapping.get(name)
        if name == "hostPort" and port is None:
            continue
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
            found.append(Problem(f"{where}.{name}", port, "a port, 1 to 65535"))
    if mapping.get("protocol", "TCP") not in _PROTOCOLS:
        found.append(Problem(f"{where}.protocol", mapping["protocol"], " or ".join(_PROTOCOLS)))
    return found


def _mount_problems(where: str, mount: Mapping[str, Any]) -> list[Problem]:
    found = _unknown(where, mount, _MOUNT_FIELDS)
    for name in ("hostPath", "containerPath"):
        path = mount.get(name)
        if not isinstance(path, str) or not path.startswith("/"):
            found.append(Problem(f"{where}.{name}", path, "a path from the root"))
    return found


def _configuration_problems(configuration: Mapping[str, Any]) -> list[Problem]:
    found = []
    for name, accepted in (("kind", "Cluster"), ("apiVersion", API_VERSION)):
        if configuration.get(name, accepted) != accepted:
            found.append(Problem(f"configuration.{name}", configuration[name], accepted))
    if "name" in configuration:
        found.append(Problem("configuration.name", configuration["name"], "nothing: the cluster's name has a variable"))
    nodes = configuration.get("nodes")
    if nodes is None:
        return found
    if not isinstance(nodes, list) or not nodes or not all(isinstance(node, Mapping) for node in nodes):
        return [*found, Problem("configuration.nodes", nodes, "a list of kind's nodes, at least one")]
    roles = [node.get("role", CONTROL_PLANE) for node in nodes]
    found += [
        Problem(f"configuration.nodes[{number}].role", role, f"{CONTROL_PLANE} or {WORKER}")
        for number, role in enumerate(roles)
        if role not in {CONTROL_PLANE, WORKER}
    ]
    if CONTROL_PLANE not in roles:
        found.append(Problem("configuration.nodes", roles, f"at least one {CONTROL_PLANE}"))
    return found


def _unknown(where: str, given: Mapping[str, Any], known: set[str]) -> list[Problem]:
    accepted = "one of " + ", ".join(sorted(known))
    return [Problem(f"{where}.{name}", given[name], accepted) for name in given if name not in known]
