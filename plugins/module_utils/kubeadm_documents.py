# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kubeadm's own configuration documents: the user's, merged over ours.

There is no dialect between the user and kubeadm. What the collection decides (addresses, names, ranges, the cgroup's
version) is laid first, the user's documents over it, and both are plain mappings of ``kubeadm.k8s.io/v1beta4`` and of
the component configurations.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import Problem

KUBEADM = "kubeadm.k8s.io/v1beta4"
SOCKET = "unix:///run/containerd/containerd.sock"
#: v1beta4, the one form of documents written here, begins with it.
OLDEST = (1, 31)
#: The packet filter's successor is the proxy's stable mode from here on.
NFTABLES_FROM = (1, 33)
AUDIT_POLICY = "/etc/dtf-cluster/audit-policy.yaml"
AUDIT_LOG = "/var/log/kubernetes/audit/audit.log"
ENCRYPTION = "/etc/dtf-cluster/encryption.yaml"

_VERSION = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_ENDPOINT = re.compile(r"^(?P<host>\[[0-9a-fA-F:]+\]|[^:\s]+)(?::(?P<port>\d+))?$")


@dataclass(frozen=True)
class Cluster:
    """What all nodes of a cluster share.

    Attributes:
        version: Kubernetes' version, ``1.36.3``.
        endpoint: ``host:port`` of the API server as the nodes reach it.
        pod_cidr: range of the pods.
        service_cidr: range of the services.
        dns_domain: the cluster's domain.
        cgroup_v1: whether any node has version 1 of the control groups.
        audit_policy: digest of the audit policy; empty where no audit log is written.
        encryption_at_rest: whether secrets are encrypted in etcd.
        documents: the user's, by kind, merged over ours.
    """

    version: str
    endpoint: str
    pod_cidr: str
    service_cidr: str
    dns_domain: str = "cluster.local"
    cgroup_v1: bool = False
    audit_policy: str = ""
    encryption_at_rest: bool = False
    documents: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """What is one node's own.

    Attributes:
        name: its name in the cluster.
        address: the address its kubelet announces.
        taints: its taints, ``{key, value, effect}``; ``None`` leaves kubeadm's (a control plane's) alone.
    """

    name: str
    address: str
    taints: tuple[Mapping[str, str], ...] | None = None


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Return a version's numbers; ``None`` for anything but ``[v]MAJOR.MINOR.PATCH``."""
    match = _VERSION.match(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """Return two documents as one: mappings are merged, a list of ``{name, value}`` by name, anything else replaced."""
    result = dict(base)
    for key, value in over.items():
        mine = result.get(key)
        before, after = _arguments(mine), _arguments(value)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            result[key] = merged(mine, value)
        elif before is not None and after is not None:
            names = {item["name"] for item in after}
            result[key] = [item for item in before if item["name"] not in names] + after
        else:
            result[key] = value
    return result


def _arguments(value: object) -> list[Mapping[str, object]] | None:
    """Return a list of ``{name, value}``, which v1beta4 has for arguments; ``None`` for anything else."""
    if isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value):
        return value
    return None


def endpoint_parts(endpoint: str) -> tuple[str, int] | None:
    """Return host and port of ``host[:port]``; ``None`` for what is no such thing."""
    match = _ENDPOINT.match(endpoint)
    if not match or not 0 < int(match["port"] or 6443) < 65536:
        return None
    return match["host"].strip("[]"), int(match["port"] or 6443)


def problems(cluster: Cluster, nodes: list[Node], bundle_versions: Mapping[str, str]) -> list[Problem]:
    """Return everything that would keep kubeadm from making this cluster.

    Args:
        cluster: what all nodes share.
        nodes: every node.
        bundle_versions: name to version of the bundle's binaries; empty where that is not known yet.
    """
    found = []
    version = parse_version(cluster.version)
    if version is None or version[:2] < OLDEST:
        found.append(Problem("kubeadm_version", cluster.version, "MAJOR.MINOR.PATCH, 1.31.0 or later"))
    for name in ("kubeadm", "kubelet", "kubectl"):
        has = bundle_versions.get(name, cluster.version)
        if has.lstrip("v") != cluster.version.lstrip("v"):
            found.append(Problem("kubeadm_version", cluster.version, f"{has}, the bundle's {name}"))
    if endpoint_parts(cluster.endpoint) is None:
        found.append(Problem("kubeadm_control_plane_endpoint", cluster.endpoint, "HOST:PORT"))
    found += _network_problems(cluster, nodes)
    names = [node.name for node in nodes]
    for node in nodes:
        if not _NAME.match(node.name):
            accepted = "lower-case letters, digits, '-' and '.', as the API accepts for a node"
            found.append(Problem("kubeadm_node_name", node.name, accepted))
        elif names.count(node.name) > 1 and names.index(node.name) == nodes.index(node):
            found.append(Problem("kubeadm_node_name", node.name, "a name that no other node has"))
    for kind, document in cluster.documents.items():
        api = document.get("apiVersion")
        if api is not None and kind in _OURS and api != _OURS[kind]:
            found.append(Problem(f"kubeadm {kind}.apiVersion", api, _OURS[kind]))
    return found


_OURS = {
    "InitConfiguration": KUBEADM,
    "ClusterConfiguration": KUBEADM,
    "JoinConfiguration": KUBEADM,
    "KubeletConfiguration": "kubelet.config.k8s.io/v1beta1",
    "KubeProxyConfiguration": "kubeproxy.config.k8s.io/v1alpha1",
}


def _network_problems(cluster: Cluster, nodes: list[Node]) -> list[Problem]:
    found = []
    networks = {}
    for name, text in (("kubeadm_pod_cidr", cluster.pod_cidr), ("kubeadm_service_cidr", cluster.service_cidr)):
        try:
            networks[name] = ipaddress.ip_network(text)
        except ValueError:
            found.append(Problem(name, text, "a network, such as 10.244.0.0/16"))
    ranges = list(networks.values())
    if len(ranges) == 2 and ranges[0].overlaps(ranges[1]):
        accepted = f"a range that does not overlap kubeadm_pod_cidr ({cluster.pod_cidr})"
        found.append(Problem("kubeadm_service_cidr", cluster.service_cidr, accepted))
    pods = networks.get("kubeadm_pod_cidr")
    if pods is not None and pods.version == 4 and (pods.prefixlen > 24 or 2 ** (24 - pods.prefixlen) < len(nodes)):
        accepted = f"a range with a /24 for each of the {len(nodes)} nodes"
        found.append(Problem("kubeadm_pod_cidr", cluster.pod_cidr, accepted))
    for node in nodes:
        try:
            address = ipaddress.ip_address(node.address)
        except ValueError:
            accepted = "the node's own IP address (set dtf_node_ip where ansible_host is a name)"
            found.append(Problem(f"kubeadm_node_ip of {node.name}", node.address, accepted))
            continue
        found += [
            Problem(f"kubeadm_node_ip of {node.name}", node.address, f"an address outside {network}")
            for network in ranges
            if address in network
        ]
    for address_text in sorted({node.address for node in nodes}):
        sharing = [node.name for node in nodes if node.address == address_text]
        if len(sharing) > 1:
            accepted = "an address of its own for each of {}".format(", ".join(sharing))
            found.append(Problem("kubeadm_node_ip", address_text, accepted))
    return found


def init_documents(cluster: Cluster, node: Node) -> list[dict[str, object]]:
    """Return what ``kubeadm init`` is given on the first control plane.

    The bootstrap token that kubeadm would make for a day lives a minute: joins are given one of their own.
    """
    init: dict[str, object] = {
        "bootstrapTokens": [{"ttl": "1m0s", "usages": ["signing", "authentication"]}],
        "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": _port(cluster)},
        "nodeRegistration": _registration(node),
    }
    return [
        _document(cluster, "InitConfiguration", init),
        cluster_configuration(cluster),
        kubelet_configuration(cluster),
        kube_proxy_configuration(cluster),
    ]


def cluster_configuration(cluster: Cluster) -> dict[str, object]:
    """Return the ClusterConfiguration: versions, ranges, and what hardens the control plane."""
    arguments = [{"name": "profiling", "value": "false"}]
    volumes = []
    if cluster.audit_policy:
        arguments += [
            {"name": "audit-policy-file", "value": AUDIT_POLICY},
            {"name": "audit-log-path", "value": AUDIT_LOG},
            {"name": "audit-log-maxage", "value": "30"},
            {"name": "audit-log-maxbackup", "value": "10"},
            {"name": "audit-log-maxsize", "value": "100"},
        ]
        volumes += [
            _volume("audit-policy", AUDIT_POLICY, "File", read_only=True),
            _volume("audit-log", AUDIT_LOG.rpartition("/")[0], "DirectoryOrCreate", read_only=False),
        ]
    if cluster.encryption_at_rest:
        arguments.append({"name": "encryption-provider-config", "value": ENCRYPTION})
        volumes.append(_volume("encryption", ENCRYPTION, "File", read_only=True))
    api_server: dict[str, object] = {"extraArgs": arguments}
    if cluster.audit_policy:
        # The server reads the policy at its start only; a new digest here is a new pod.
        api_server["extraEnvs"] = [{"name": "DTF_CLUSTER_AUDIT_POLICY", "value": cluster.audit_policy}]
    if volumes:
        api_server["extraVolumes"] = volumes
    quiet = {"extraArgs": [{"name": "profiling", "value": "false"}]}
    return _document(
        cluster,
        "ClusterConfiguration",
        {
            "kubernetesVersion": "v" + cluster.version.lstrip("v"),
            "controlPlaneEndpoint": cluster.endpoint,
            "networking": {
                "podSubnet": cluster.pod_cidr,
                "serviceSubnet": cluster.service_cidr,
                "dnsDomain": cluster.dns_domain,
            },
            "apiServer": api_server,
            "controllerManager": quiet,
            "scheduler": quiet,
        },
    )


def kubelet_configuration(cluster: Cluster) -> dict[str, object]:
    """Return the KubeletConfiguration: callers are authenticated and authorised, pods confined by default."""
    document: dict[str, object] = {
        "cgroupDriver": "systemd",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "readOnlyPort": 0,
        "rotateCertificates": True,
        "seccompDefault": True,
        "tlsMinVersion": "VersionTLS12",
    }
    if cluster.cgroup_v1:
        # From 1.35 on the kubelet refuses to start on version 1 unless told that it is known.
        document["failCgroupV1"] = False
    return _document(cluster, "KubeletConfiguration", document)


def kube_proxy_configuration(cluster: Cluster) -> dict[str, object]:
    """Return the KubeProxyConfiguration."""
    version = parse_version(cluster.version) or (0, 0, 0)
    mode = "nftables" if version[:2] >= NFTABLES_FROM else "iptables"
    return _document(cluster, "KubeProxyConfiguration", {"mode": mode, "clusterCIDR": cluster.pod_cidr})


def join_document(cluster: Cluster, node: Node) -> dict[str, object]:
    """Return what ``kubeadm join`` is given, but for the token and the digest of the cluster's CA."""
    discovery = {"bootstrapToken": {"apiServerEndpoint": cluster.endpoint}}
    return _document(cluster, "JoinConfiguration", {"discovery": discovery, "nodeRegistration": _registration(node)})


def ignored_checks(cluster: Cluster, given: list[str]) -> list[str]:
    """Return kubeadm's own preflight checks to pass over: the user's, and the one that version 1 always fails."""
    return sorted({*given, *(["SystemVerification"] if cluster.cgroup_v1 else [])})


def _document(cluster: Cluster, kind: str, ours: Mapping[str, object]) -> dict[str, object]:
    head = {"apiVersion": _OURS[kind], "kind": kind}
    return merged({**head, **ours}, cluster.documents.get(kind, {}))


def _registration(node: Node) -> dict[str, object]:
    registration: dict[str, object] = {
        "name": node.name,
        "criSocket": SOCKET,
        # The images come from the bundle; a missing one is to be told, not fetched.
        "imagePullPolicy": "Never",
        "kubeletExtraArgs": [{"name": "node-ip", "value": node.address}],
    }
    if node.taints is not None:
        registration["taints"] = [dict(taint) for taint in node.taints]
    return registration


def _port(cluster: Cluster) -> int:
    parts = endpoint_parts(cluster.endpoint)
    return parts[1] if parts else 6443


def _volume(name: str, path: str, kind: str, *, read_only: bool) -> dict[str, object]:
    return {"name": name, "hostPath": path, "mountPath": path, "readOnly": read_only, "pathType": kind}
