"""Hosts as preflight sees them, for the tests of its judgement."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.dtf.cluster.plugins.module_utils.preflight import Site

SITE = Site(control_plane=("cp1",), systems={"Debian-12": "proven", "Ubuntu-24.04": "unproven"})


def facts(number: int, **changes: Any) -> dict[str, Any]:
    """Return what is found on a healthy host; a change is `part=…` or `part__inner=…`."""
    name = "cp1" if number == 1 else f"w{number - 1}"
    found: dict[str, Any] = {
        "uid": 0,
        "os": {"name": "Debian GNU/Linux 12 (bookworm)", "names": ["Debian-12", "Debian"]},
        "kernel": "6.1.0-40-amd64",
        "architecture": "x86_64",
        "cores": 4,
        "memory_mib": 8000,
        "swap_mib": 0,
        "cgroup": {"version": 2, "controllers": ["cpu", "cpuset", "io", "memory", "pids"]},
        "modules": {"overlay": "loaded", "br_netfilter": "loadable", "nf_conntrack": "builtin"},
        "hostname": name,
        "node_name": name,
        "machine_id": f"id-{number}",
        "product_uuid": f"uuid-{number}",
        "hyperv": {"vendor": "QEMU", "balloon": False, "hot_add": False},
        "network": {
            "problem": "",
            "interfaces": [
                {"name": "lo", "mac": "", "mtu": 65536, "up": True, "addresses": [address("127.0.0.1", 8)]},
                {
                    "name": "eth0",
                    "mac": f"02:00:00:00:00:{number:02x}",
                    "mtu": 1500,
                    "up": True,
                    "addresses": [address(f"192.0.2.{number}", 24)],
                },
            ],
            "routes": [{"destination": "default", "interface": "eth0"}],
        },
        "address": f"192.0.2.{number}",
        "address_given": f"192.0.2.{number}",
        "ports": [],
        "synchronized": True,
        "kubernetes": {"state": "none", "ca": "", "control_plane": False, "kubelet_runs": False},
        "leftovers": [],
        "names": {
            "forward": [f"192.0.2.{number}"],
            "reverse": f"{name}.example.org",
            "resolvers": [{"address": "192.0.2.53", "answers": True}],
        },
        "endpoints": [],
        "duplicates": [],
        "disks": [disk(images="/var/lib/containerd", kubelet="/var/lib/kubelet")],
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = found
        for parent in parents:
            place = place[parent]
        place[last] = value
    return found


def address(text: str, prefix: int, *, leased: bool = False) -> dict[str, Any]:
    """Return an address of an interface."""
    return {"address": text, "prefix": prefix, "leased": leased}


def disk(p99: float = 2.0, *, tool: str = "fio", free_gib: float = 100, **purposes: str) -> dict[str, Any]:
    """Return a file system that is good unless it is said otherwise."""
    return {
        "place": "/var/lib",
        "purposes": purposes,
        "free_bytes": int(free_gib * (1 << 30)),
        "total_bytes": 200 << 30,
        "free_inodes_percent": 90.0,
        "latency": {"p99_ms": p99, "mean_ms": p99 / 2, "samples": 3000, "tool": tool},
        "write_mib_s": 400.0,
        "problem": "",
    }


def hosts(count: int) -> dict[str, dict[str, Any]]:
    """Return so many healthy hosts, the first of them the control plane."""
    found = [copy.deepcopy(facts(number)) for number in range(1, count + 1)]
    return {one["node_name"]: one for one in found}
