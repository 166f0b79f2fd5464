"""What a host's image is made of. Two images with the same recipe are the same image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

SUITE = "bookworm"

_PLAIN = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "iproute2", "iputils-ping"),
    *("kmod", "procps", "netbase", "ca-certificates", "curl"),
)
# What the roles install on a host, and what its tests look with: there already, a run is not about a mirror's speed.
_PREPARED = (
    *("containerd", "runc", "containernetworking-plugins", "conntrack", "iptables", "nftables", "ethtool", "socat"),
    *("ebtables", "fio"),
)
PACKAGES = {"plain": _PLAIN, "prepared": _PLAIN + _PREPARED}
# A node that is given its programs and is no host: nobody logs in, and nothing is installed any more.
NODE = "kind-node"
_NODE = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "kmod", "procps", "netbase", "ca-certificates"),
    *("conntrack", "ebtables", "ethtool", "iptables", "nftables", "socat"),
)

# There is no console, no crash store and no disk of the host's own to look after; and what apt does by itself at some
# hour would hold its lock just when a role wants it. A console's login also silences systemd on the container's output.
DISABLED = ("e2scrub_reap.service", "systemd-pstore.service", "getty@.service", "remote-fs.target")
MASKED = (
    *("getty.target", "console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("e2scrub_all.timer", "fstrim.timer"),
)
ENABLED = ("ssh.service", "lab-resolver.path")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how an image comes out.

    Attributes:
        flavour: its name.
        suite: Debian's release.
        architecture: Debian's name of it.
        mirror: where the packages come from; empty is debootstrap's own choice.
        packages: those that are asked for beside the base.
        files: path in the image to its content.
        executable: which of the files are programs.
        disabled: units that are not started.
        masked: units that nothing starts.
        enabled: units that are started.
    """

    flavour: str
    suite: str
    architecture: str
    mirror: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    executable: tuple[str, ...]
    disabled: tuple[str, ...] = DISABLED
    masked: tuple[str, ...] = MASKED
    enabled: tuple[str, ...] = ENABLED

    @property
    def tag(self) -> str:
        """The image's tag: the flavour, and the digest of all the rest."""
        content = json.dumps(asdict(self), sort_keys=True).encode()
        return f"{self.flavour}-{hashlib.sha256(content).hexdigest()[:16]}"

    @property
    def reference(self) -> str:
        """The image's name in Docker."""
        return f"dtf.cluster/lab-host:{self.tag}"


def recipe(
    flavour: str,
    *,
    architecture: str,
    mirror: str,
    sources: str,
    settings: str,
    authorities: Mapping[str, str],
    files: Mapping[str, str],
) -> Recipe:
    """Return the recipe of a flavour on this machine.

    Args:
        flavour: one of ``PACKAGES``.
        architecture: Debian's name of the machine's.
        mirror: Debian's main archive as this machine's apt knows it.
        sources: text of the hosts' apt sources; empty leaves debootstrap's.
        settings: text of the hosts' apt settings.
        authorities: certificates this machine's owner trusts, by file name.
        files: the laboratory's own files, by path in the image.
    """
    content = {**files, "/etc/apt/apt.conf.d/90lab": settings}
    if sources:
        content["/etc/apt/sources.list.d/debian.sources"] = sources
    for name, certificate in authorities.items():
        content[f"/usr/local/share/ca-certificates/{name}"] = certificate
    return Recipe(
        flavour=flavour,
        suite=SUITE,
        architecture=architecture,
        mirror=mirror,
        packages=PACKAGES[flavour],
        files=dict(sorted(content.items())),
        executable=tuple(sorted(path for path in files if path.startswith("/usr/local/sbin/"))),
    )


def node(*, architecture: str, mirror: str) -> Recipe:
    """Return the recipe of what a node in a container is built on, in which nothing is known of this machine.

    Args:
        architecture: Debian's name of the machine's.
        mirror: Debian's main archive as this machine's apt knows it.
    """
    return Recipe(
        flavour=NODE,
        suite=SUITE,
        architecture=architecture,
        mirror=mirror,
        packages=_NODE,
        files={"/etc/apt/sources.list": ""},
        executable=(),
        enabled=(),
    )
