# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host is, read for preflight in one pass and without a change: files of ``/proc``, ``/sys`` and ``/etc``.

Judging is :mod:`preflight`'s. Everything is read below a root, so that a test can make a host of a few files.
This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import json
import os
import platform
import re
import shutil
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .host_files import STATE
from .node_view import kubernetes_state, os_names, os_release

#: Arguments → exit code, output, errors; a program that does not exist is exit code 127.
Run = Callable[[Sequence[str]], "tuple[int, str, str]"]

#: A search path that holds administrators' programs too, which a user's session may lack.
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Evidence that a module's work is done by the kernel, where modules cannot be listed.
FEATURES = {
    "overlay": ("/proc/filesystems", "\toverlay\n"),
    "br_netfilter": ("/proc/sys/net/bridge/bridge-nf-call-iptables", ""),
    "nf_conntrack": ("/proc/sys/net/netfilter/nf_conntrack_max", ""),
}
#: What other installations leave behind, by the name people know them under.
FOREIGN = {
    "k3s": ("/etc/rancher/k3s", "/var/lib/rancher/k3s", "/etc/systemd/system/k3s.service"),
    "rke2": ("/etc/rancher/rke2", "/var/lib/rancher/rke2"),
    "microk8s": ("/var/snap/microk8s", "/snap/microk8s"),
    "k0s": ("/etc/k0s", "/var/lib/k0s", "/etc/systemd/system/k0scontroller.service"),
    "kubeadm": (
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/kubelet.conf",
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
    ),
    "etcd": ("/var/lib/etcd/member",),
}
_TCP_LISTEN = "0A"
_UDP_BOUND = "07"
LOOKUP_SECONDS = 3.0
ENDPOINT_SECONDS = 5.0


def text(path: Path) -> str:
    """Return a file's text, nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def look(root: Path, run: Run, modules: Sequence[str], ports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what can be read of this host.

    Args:
        root: folder that the host's files are read below, ``/`` but in a test.
        run: starts a program; only ``ip`` and ``iptables-save`` are, which change nothing.
        modules: kernel modules whose presence is of interest.
        ports: ``{port, protocol}`` that a node needs.
    """
    release = os_release(text(root / "etc/os-release"))
    kernel = platform.release()
    return {
        "uid": os.geteuid(),
        "os": {"name": release.get("PRETTY_NAME", "unknown"), "names": os_names(release)},
        "kernel": kernel,
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_mib": meminfo(text(root / "proc/meminfo")).get("MemTotal", 0) // 1024,
        "swap_mib": sum(swap_sizes(text(root / "proc/swaps"))) // 1024,
        "cgroup": cgroup(root),
        "modules": {name: module_state(root, name, kernel) for name in modules},
        "hostname": socket.gethostname(),
        "machine_id": text(root / "etc/machine-id").strip(),
        "product_uuid": text(root / "sys/class/dmi/id/product_uuid").strip().lower(),
        "hyperv": hyperv(root),
        "network": network(run),
        "ports": busy_ports(root, ports),
        "synchronized": kernel_clock_synchronized(),
        "kubernetes": kubernetes(root),
        "leftovers": leftovers(root, run),
    }


def meminfo(content: str) -> dict[str, int]:
    """Return the KiB of each line of ``/proc/meminfo``."""
    return {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", content, re.MULTILINE)}


def swap_sizes(content: str) -> list[int]:
    """Return the KiB of each swap area in ``/proc/swaps``."""
    return [int(line.split()[2]) for line in content.splitlines()[1:] if len(line.split()) > 2]


def cgroup(root: Path) -> dict[str, Any]:
    """Return the version of control groups and the controllers there are."""
    unified = root / "sys/fs/cgroup/cgroup.controllers"
    if unified.exists():
        return {"version": 2, "controllers": sorted(text(unified).split())}
    # name, hierarchy, number of groups, enabled
    rows = [line.split() for line in text(root / "proc/cgroups").splitlines() if not line.startswith("#")]
    return {"version": 1, "controllers": sorted(row[0] for row in rows if len(row) == 4 and row[3] == "1")}


def module_state(root: Path, name: str, kernel: str) -> str:
    """Return ``loaded``, ``builtin``, ``loadable``, ``missing``, or ``unknown`` where the kernel does not tell."""
    if (root / "sys/module" / name).exists():
        return "loaded"
    place, wanted = FEATURES.get(name, ("", ""))
    if place and (root / place.lstrip("/")).exists() and wanted in text(root / place.lstrip("/")):
        return "builtin"
    folder = root / "lib/modules" / kernel
    file = re.compile(r"(?:^|/){}\.ko(?:\.\w+)?(?::|$)".format(re.escape(name).replace("_", "[_-]")), re.MULTILINE)
    for listing, state in (("modules.builtin", "builtin"), ("modules.dep", "loadable")):
        if file.search(text(folder / listing)):
            return state
    return "missing" if (folder / "modules.dep").exists() else "unknown"


def hyperv(root: Path) -> dict[str, Any]:
    """Return whether this is a virtual machine of Hyper-V whose memory may grow and shrink."""
    hot_add = text(root / "sys/module/hv_balloon/parameters/hot_add").strip()
    return {
        "vendor": text(root / "sys/class/dmi/id/sys_vendor").strip(),
        "balloon": (root / "sys/module/hv_balloon").exists(),
        "hot_add": hot_add in ("Y", "1"),
    }


def kubernetes(root: Path) -> dict[str, Any]:
    """Return what this host is to a cluster of ours, as the roles of the cluster see it, and whether a kubelet runs."""
    folder = root / "etc/kubernetes"
    marker = text(root / str(STATE).lstrip("/") / "kubeadm.json")
    authority = text(folder / "pki/ca.crt")
    control_plane = (folder / "manifests/kube-apiserver.yaml").exists()
    return {
        "state": kubernetes_state(
            json.loads(marker) if marker else {},
            kubelet_conf=(folder / "kubelet.conf").exists(),
            manifests=control_plane,
        ),
        # Which cluster it belongs to: two with the same CA are the same.
        "ca": hashlib.sha256(authority.encode()).hexdigest() if authority else "",
        "control_plane": control_plane,
        "kubelet_runs": any(text(path).strip() == "kubelet" for path in (root / "proc").glob("[0-9]*/comm")),
    }


def leftovers(root: Path, run: Run) -> list[dict[str, str]]:
    """Return traces of other installations: ``{what, where}``."""
    found = []
    for what, places in FOREIGN.items():
        here = [place for place in places if os.path.lexists(root / place.lstrip("/"))]
        if here:
            found.append({"what": what, "where": ", ".join(here)})
    networks = sorted((root / "etc/cni/net.d").glob("*.conf*"))
    if networks:
        found.append({"what": "cni", "where": ", ".join("/etc/cni/net.d/" + path.name for path in networks)})
    # It lists the tables that exist; unlike `iptables -L` it loads no module for those that do not.
    _code, rules, _errors = run(["iptables-save"])
    if re.search(r"^:FORWARD DROP", rules, re.MULTILINE):
        found.append(
            {"what": "docker" if "DOCKER" in rules else "firewall", "where": "iptables: policy of FORWARD is DROP"}
        )
    return found


def network(run: Run) -> dict[str, Any]:
    """Return the interfaces with their addresses, and the routes."""
    answers = []
    for what in ("address", "route"):
        code, output, errors = run(["ip", "-json", what])
        if code:
            return {"problem": f"ip -json {what}: {errors.strip() or code}", "interfaces": [], "routes": []}
        answers.append(json.loads(output or "[]"))
    return {
        "problem": "",
        "interfaces": [_interface(entry) for entry in answers[0] if entry],
        "routes": _routes(answers[1]),
    }


def _interface(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": entry["ifname"],
        "mac": entry.get("address", "") if entry.get("link_type") == "ether" else "",
        "mtu": entry.get("mtu", 0),
        "up": "UP" in entry.get("flags", []),
        "addresses": [
            {
                "address": address["local"],
                "prefix": address["prefixlen"],
                # An address that somebody has to renew: whoever runs the DHCP client gives it a lifetime.
                "leased": bool(address.get("dynamic")) and address.get("family") == "inet",
            }
            for address in entry.get("addr_info", [])
            if "local" in address and address.get("scope") != "link"
        ],
    }


def _routes(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        {"destination": entry["dst"], "interface": entry.get("dev", "")}
        for entry in entries
        if entry.get("type", "unicast") == "unicast" and "dst" in entry
    ]


def busy_ports(root: Path, wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return which of the wanted ports are taken, and by whom: ``{port, protocol, holder}``."""
    found: dict[tuple[int, str], str] = {}
    for protocol, state in (("tcp", _TCP_LISTEN), ("udp", _UDP_BOUND)):
        numbers = {entry["port"] for entry in wanted if entry["protocol"] == protocol}
        for family in ("", "6"):
            for port, inode in sockets(text(root / f"proc/net/{protocol}{family}"), state):
                if port in numbers:
                    found.setdefault((port, protocol), inode)
    holders = _holders(root, set(found.values())) if found else {}
    return [
        {"port": port, "protocol": protocol, "holder": holders.get(inode, "the kernel")}
        for (port, protocol), inode in sorted(found.items())
    ]


def sockets(content: str, state: str) -> Iterator[tuple[int, str]]:
    """Yield port and inode of each socket in a table of ``/proc/net`` that is in a state."""
    for line in content.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == state:
            yield int(fields[1].rpartition(":")[2], 16), fields[9]


def _holders(root: Path, inodes: set[str]) -> dict[str, str]:
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, str] = {}
    for folder in (root / "proc").glob("[0-9]*/fd"):
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            try:
                inode = wanted.get(os.readlink(entry.path))  # noqa: PTH115 - thousands of them
            except OSError:
                continue
            if inode is not None:
                found[inode] = "{} (process {})".format(text(folder.parent / "comm").strip(), folder.parent.name)
    return found


def kernel_clock_synchronized() -> bool | None:
    """Whether the kernel says that something keeps its clock in step; ``None`` where it cannot be asked."""
    import ctypes  # noqa: PLC0415 - not every Python has it

    try:
        # The structure begins with `modes`, where 0 only reads; it is smaller than this.
        answer = int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != 5  # TIME_ERROR


def names(node_name: str, address: str, resolv_conf: str) -> dict[str, Any]:
    """Return what the host's own name and address resolve to here, and which resolvers answer."""
    forward = _in_time(lambda: sorted({str(info[4][0]) for info in socket.getaddrinfo(node_name, None)}))
    reverse = _in_time(lambda: socket.gethostbyaddr(address)[0]) if address else None
    servers = re.findall(r"^\s*nameserver\s+(\S+)", resolv_conf, re.MULTILINE)[:3]
    return {
        "forward": forward or [],
        "reverse": reverse or "",
        "resolvers": [{"address": server, "answers": resolver_answers(server, node_name)} for server in servers],
    }


def _in_time(question: Callable[[], Any]) -> Any:
    """Return a lookup's answer, ``None`` for none or one that is too late; the system's own limit is far too long."""
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(question())
        except (OSError, UnicodeError):
            answer.append(None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LOOKUP_SECONDS)
    return answer[0] if answer else None


def resolver_answers(server: str, name: str, port: int = 53, seconds: float = 1.0) -> bool:
    """Whether a name server answers a question at all; that it knows no such name is an answer too."""
    labels = [part.encode("ascii", "replace")[:63] for part in name.split(".") if part]
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + struct.pack(">HH", 1, 1)
    query = struct.pack(">HHHHHH", 0x6474, 0x0100, 1, 0, 0, 0) + question
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(server).version == 6 else socket.AF_INET
    except ValueError:
        return False
    with socket.socket(family, socket.SOCK_DGRAM) as channel:
        channel.settimeout(seconds)
        for _attempt in range(2):
            try:
                channel.connect((server, port))
                channel.send(query)
                return channel.recv(512)[:2] == query[:2]
            except OSError:
                continue
    return False


def endpoint(url: str, proxy: Mapping[str, str]) -> dict[str, Any]:
    """Return whether an address answers: ``{url, status, problem}``; any status of HTTP is an answer."""
    # Only the proxy that was given: what this session happens to have in its environment is not what a service has.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(dict(proxy)))
    try:
        with opener.open(urllib.request.Request(url, method="GET"), timeout=ENDPOINT_SECONDS) as answer:  # noqa: S310
            return {"url": url, "status": int(answer.status), "problem": ""}
    except urllib.error.HTTPError as error:
        with error:
            refused = error.code in (407, 502, 503, 504) and bool(proxy)
            return {"url": url, "status": error.code, "problem": f"the proxy says {error.code}" if refused else ""}
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return {"url": url, "status": None, "problem": _plain(reason)}


def _plain(reason: object) -> str:
    if isinstance(reason, OSError) and reason.errno and reason.errno in errno.errorcode:
        return os.strerror(reason.errno)
    return str(reason)


def node_address(given: str) -> str:
    """Return the address that was given, or that the given name has here; nothing if it has none."""
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        found = _in_time(lambda: socket.getaddrinfo(given, None, socket.AF_INET)[0][4][0])
        return str(found) if found else ""


def program(name: str) -> str | None:
    """Return where a program is, ``None`` if nowhere."""
    return shutil.which(name, path=PROGRAMS)


def wall() -> float:
    """Return this host's time."""
    return time.time()
