# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles must know of a node, read in one pass: ten files instead of Ansible's whole gathering of facts.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from .host_files import read, read_state, sha256

#: Where kubeadm and the kubelet keep what belongs to a cluster.
KUBERNETES = Path("/etc/kubernetes")


def os_release(text: str) -> dict[str, str]:
    """Return the fields of an os-release file."""
    fields = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            fields[name] = " ".join(shlex.split(value))
    return fields


def os_names(release: Mapping[str, str]) -> list[str]:
    """Return the names a system's variables may stand under, the most exact first: ``Debian-12``, ``Debian``.

    What a system is like (``ID_LIKE``) comes last: Rocky Linux is found as ``Rocky`` or else as ``Rhel``.
    """
    names = []
    for name in [release.get("ID", ""), *release.get("ID_LIKE", "").split()]:
        if name:
            version = release.get("VERSION_ID", "") if name == release.get("ID") else ""
            names += [f"{name.capitalize()}-{version}"] * bool(version) + [name.capitalize()]
    return names


def kubernetes_state(marker: Mapping[str, object], *, kubelet_conf: bool, manifests: bool) -> str:
    """Judge what a host is to a cluster of ours.

    Args:
        marker: what the collection remembers of its own installation here (``state``: ``begun`` or ``done``).
        kubelet_conf: whether the kubelet has credentials for some cluster.
        manifests: whether static pods of a control plane lie there.

    Returns:
        ``none``, ``partial`` (ours, interrupted), ``member`` (ours, complete) or ``foreign``.
    """
    if marker.get("state") == "done" and kubelet_conf:
        return "member"
    if marker:
        return "partial"
    return "foreign" if kubelet_conf or manifests else "none"


def look() -> dict[str, object]:
    """Return what this host is; nothing is changed."""
    release = os_release(read(Path("/etc/os-release")) or "")
    marker = read_state("kubeadm")
    manifests = KUBERNETES / "manifests"
    authority = KUBERNETES / "pki" / "ca.crt"
    return {
        "os": {
            "name": release.get("PRETTY_NAME", "unknown"),
            "names": os_names(release),
            "distribution": release.get("ID", ""),
            "version": release.get("VERSION_ID", ""),
        },
        "cgroup": 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        "kubernetes": {
            "state": kubernetes_state(
                marker,
                kubelet_conf=(KUBERNETES / "kubelet.conf").exists(),
                manifests=(manifests / "kube-apiserver.yaml").exists(),
            ),
            "version": marker.get("version", ""),
            # Which cluster it belongs to: two with the same CA are the same.
            "ca": sha256(authority) if authority.exists() else "",
            "control_plane": (manifests / "kube-apiserver.yaml").exists(),
        },
    }
