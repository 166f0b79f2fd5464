# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hosts are → what is wrong with them: each for itself, and one beside the other.

Pure: values in, values out. This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union

from .preflight import ERROR, OK, UNKNOWN, WARNING, Finding, Site, at_least
from .preflight_pairs import needed_ports

#: What :func:`preflight_facts.look` and the rest of the local pass say of a host.
Facts = Mapping[str, Any]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
#: Who may hold a node's ports on a host that is one already, by the names that processes have (15 letters).
OUR_PROCESSES = (
    "kubelet",
    "kube-apiserver",
    "kube-controller",
    "kube-scheduler",
    "kube-proxy",
    "etcd",
    "flanneld",
    "the kernel",
)
#: Interfaces that a pod network makes; their ranges are the pods' own.
_POD_INTERFACES = re.compile(r"^(cni|flannel|veth|kube-|cali|cilium|lxc)")
#: No node address belongs on these.
_INNER_INTERFACES = re.compile(r"^(lo$|docker|br-|virbr|cni|flannel|kube-)")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
FATAL_LEFTOVERS = {"k3s", "rke2", "microk8s", "k0s", "kubeadm", "etcd"}
GIB = 1 << 30


def ours(facts: Facts) -> bool:
    """Whether a host is a node of a cluster of ours, or was about to become one."""
    return facts["kubernetes"]["state"] in ("member", "partial")


def judge_host(name: str, facts: Facts, site: Site) -> Iterator[Finding]:
    """Yield what is found on one host."""
    for check in (
        _privileges,
        _system,
        _capacity,
        _cgroup,
        _modules,
        _ports,
        _hostname,
        _address,
        _clock,
        _dns,
        _endpoints,
        _disks,
        _hyperv,
        _leftovers,
    ):
        for finding in check(facts, site, name in site.control_plane):
            yield Finding(**{**finding, "hosts": (name,)})


def _found(check: str, good: bool, measured: object, *, bad: str = ERROR, **more: object) -> dict[str, Any]:
    """Return a finding without its host; advice and note belong to what is bad."""
    if good:
        more.pop("advice", None)
    return {"check": check, "verdict": OK if good else bad, "measured": measured, **more}


def _privileges(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    yield _found(
        "privileges",
        facts["uid"] == 0,
        "root" if facts["uid"] == 0 else "user {}".format(facts["uid"]),
        limit="root",
        advice="connect as root or set `ansible_become: true`; what other users hold cannot be seen without",
    )


def _system(facts: Facts, site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    known = [site.systems[name] for name in facts["os"]["names"] if name in site.systems]
    state = known[0] if known else None
    yield _found(
        "os",
        state == "proven",
        facts["os"]["name"],
        bad=WARNING if state else ERROR,
        limit=", ".join(name.replace("-", " ") for name, how in site.systems.items() if how == "proven"),
        advice="written for by this system's documentation, never tried: try one host first"
        if state
        else "install one of: " + ", ".join(name.replace("-", " ") for name in site.systems),
    )
    wanted = site.limits.kernel_min
    yield _found(
        "kernel",
        at_least(facts["kernel"], wanted),
        facts["kernel"],
        limit=f">= {wanted}",
        advice="install a newer kernel and restart",
    )


def _capacity(facts: Facts, site: Site, control_plane: bool) -> Iterator[dict[str, Any]]:
    limits = site.limits
    yield _found(
        "cores",
        facts["cores"] >= limits.cores_min,
        facts["cores"],
        bad=ERROR if control_plane else WARNING,
        limit=f">= {limits.cores_min}",
        advice="give the host more processors",
    )
    wanted = limits.control_plane_memory_mib_min if control_plane else limits.node_memory_mib_min
    yield _found(
        "memory",
        facts["memory_mib"] >= wanted,
        facts["memory_mib"],
        unit="MiB",
        limit=f">= {wanted}",
        advice="give the host more memory",
    )
    yield _found(
        "swap",
        facts["swap_mib"] == 0,
        facts["swap_mib"],
        bad=WARNING,
        unit="MiB",
        limit="0",
        advice="the kubelet does not start with swap: `swapoff -a` and take it out of /etc/fstab, "
        "or tell the kubelet so (failSwapOn)",
    )


def _cgroup(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    version = facts["cgroup"]["version"]
    yield _found(
        "cgroup",
        version == 2,
        f"v{version}",
        bad=WARNING,
        limit="v2",
        advice="start the kernel with systemd.unified_cgroup_hierarchy=1, or set failCgroupV1: false for the kubelet",
    )
    missing = [name for name in CONTROLLERS if name not in facts["cgroup"]["controllers"]]
    yield _found(
        "cgroup_controllers",
        not missing,
        "without " + ", ".join(missing) if missing else "all",
        limit=", ".join(CONTROLLERS),
        advice="enable them on the kernel's command line (cgroup_enable=…)",
    )


def _modules(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    by_state: dict[str, list[str]] = defaultdict(list)
    for module, state in facts["modules"].items():
        by_state[state].append(module)
    if by_state["missing"] or not by_state["unknown"]:
        yield _found(
            "kernel_modules",
            not by_state["missing"],
            "without " + ", ".join(by_state["missing"]) if by_state["missing"] else "all",
            limit=", ".join(facts["modules"]),
            advice="install the package with this kernel's further modules",
        )
        return
    yield _found(
        "kernel_modules",
        False,
        "cannot tell of " + ", ".join(by_state["unknown"]),
        bad=UNKNOWN,
        limit=", ".join(facts["modules"]),
        advice="this kernel has no list of modules: see that they are built in",
    )


def _ports(facts: Facts, site: Site, control_plane: bool) -> Iterator[dict[str, Any]]:
    wanted = needed_ports(control_plane, len(site.control_plane), site.cni, site.more_ports)
    member = ours(facts)
    foreign = [entry for entry in facts["ports"] if not (member and entry["holder"].startswith(OUR_PROCESSES))]
    yield _found(
        "ports_free",
        not foreign,
        ", ".join("{port}/{protocol} held by {holder}".format(**entry) for entry in foreign) or "free",
        limit=", ".join(map(str, wanted)),
        note="already a node" if member else "",
        advice="stop what holds them, or give it another port",
    )


def _hostname(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    hostname, node = facts["hostname"], facts["node_name"]
    valid = len(hostname) <= 253 and all(_LABEL.fullmatch(label) for label in hostname.split("."))
    yield _found(
        "hostname",
        valid and hostname == node,
        hostname,
        bad=WARNING if valid else ERROR,
        limit=node,
        advice=f"`hostnamectl set-hostname {node}`, or name the node {hostname} (preflight_node_name)"
        if valid
        else "only lower-case letters, digits, `-` and `.`, at most 63 in a row: `hostnamectl set-hostname …`",
    )


def interface_of(facts: Facts) -> dict[str, Any] | None:
    """Return the interface with the node address, ``None`` if there is none."""
    for interface in facts["network"]["interfaces"]:
        if any(entry["address"] == facts["address"] for entry in interface["addresses"]):
            return dict(interface)
    return None


def _address(facts: Facts, site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    if facts["network"]["problem"]:
        yield _found("address", False, facts["network"]["problem"], bad=UNKNOWN, advice="install iproute2 on the host")
        return
    interface = interface_of(facts)
    shown = facts["address"] or facts["address_given"]
    if interface is None:
        present = sorted(
            "{} on {}".format(entry["address"], one["name"])
            for one in facts["network"]["interfaces"]
            for entry in one["addresses"]
            if not _INNER_INTERFACES.match(one["name"])
        )
        yield _found(
            "address",
            False,
            f"{shown} is on no interface",
            limit="the node address is on an interface",
            advice="configure it, or set dtf_node_ip to one that is there: " + (", ".join(present) or "none"),
        )
        return
    name = interface["name"]
    wanted = site.interface
    good = interface["up"] and (name == wanted if wanted else not _INNER_INTERFACES.match(name))
    yield _found(
        "address",
        good,
        f"{shown} on {name}" + ("" if interface["up"] else ", which is down"),
        limit=f"on {wanted}" if wanted else "on an interface that leads out",
        advice="put it on the interface that leads to the other hosts (dtf_node_ip, preflight_interface)",
    )
    (entry,) = [entry for entry in interface["addresses"] if entry["address"] == facts["address"]][:1]
    yield _found(
        "static_address",
        not entry["leased"],
        "leased by DHCP" if entry["leased"] else "static",
        bad=WARNING,
        limit="static",
        advice=f"configure {shown} statically, or reserve it for this host on the DHCP server: "
        "a node that changes its address is lost",
    )


def _clock(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    state = facts["synchronized"]
    yield _found(
        "time_sync",
        state is True,
        {True: "synchronised", False: "not synchronised", None: "the kernel does not tell"}[state],
        bad=UNKNOWN if state is None else WARNING,
        limit="synchronised",
        advice="run chrony or systemd-timesyncd against a server that is reached from here",
    )


def _dns(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    names, node = facts["names"], facts["node_name"]
    resolvers = names["resolvers"]
    silent = [entry["address"] for entry in resolvers if not entry["answers"]]
    reachable = bool(resolvers) and not silent
    yield _found(
        "dns_resolver",
        reachable,
        ", ".join(silent) + (" is" if len(silent) == 1 else " are") + " silent"
        if silent
        else f"{len(resolvers)} answer{'s' if len(resolvers) == 1 else ''}",
        bad=WARNING,
        limit="every nameserver of /etc/resolv.conf",
        advice="every name waits for it in vain: mend it or take it out of /etc/resolv.conf"
        if silent
        else "CoreDNS asks the host's resolver for outside names: name one in /etc/resolv.conf",
    )
    # Whoever has no resolver is not told that names are unknown, too; /etc/hosts may still know them.
    mute = resolvers and len(silent) == len(resolvers)
    forward, reverse = facts["address"] in names["forward"], names["reverse"].split(".")[0] == node.split(".")[0]
    if forward or not mute:
        yield _found(
            "dns_forward",
            forward,
            ", ".join(names["forward"]) or "nothing",
            bad=WARNING,
            limit=facts["address"],
            subject=node,
            advice=f"make {node} resolve to {facts['address']}, in DNS or /etc/hosts",
        )
    if reverse or not mute:
        yield _found(
            "dns_reverse",
            reverse,
            names["reverse"] or "nothing",
            bad=WARNING,
            limit=node,
            subject=facts["address"],
            advice=f"make {facts['address']} resolve to {node}, in DNS or /etc/hosts",
        )


def _endpoints(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    for entry in facts["endpoints"]:
        yield _found(
            "endpoint",
            not entry["problem"],
            entry["problem"] or "HTTP {}".format(entry["status"]),
            limit="answers",
            subject=entry["url"],
            advice="look at the firewall, the proxy (preflight_proxy), its no_proxy list and the site's CA",
        )


def _disks(facts: Facts, site: Site, control_plane: bool) -> Iterator[dict[str, Any]]:
    for disk in facts["disks"]:
        purposes = disk["purposes"]
        subject = ", ".join(purposes.values())
        enough = _room(disk, facts, site)
        yield {**enough, "subject": subject}
        percent = disk["free_inodes_percent"]
        if percent is not None:
            yield _found(
                "free_inodes",
                percent >= site.limits.free_inodes_percent_min,
                percent,
                unit="%",
                limit=f">= {site.limits.free_inodes_percent_min:g}",
                subject=subject,
                advice="remove small files, or make the file system anew with more inodes",
            )
        if disk["problem"]:
            # Neither on a full disk nor without root can anything be measured, and both are told already.
            if enough["verdict"] == OK and facts["uid"] == 0:
                yield _found(
                    "disk_latency",
                    False,
                    disk["problem"],
                    bad=UNKNOWN,
                    limit=f"< {site.limits.fdatasync_p99_ms_max:g} ms",
                    subject=subject,
                    advice="see that root can write there",
                )
            continue
    yield from _speed([disk for disk in facts["disks"] if not disk["problem"]], site, control_plane)


def _room(disk: Mapping[str, Any], facts: Facts, site: Site) -> dict[str, Any]:
    free = disk["free_bytes"]
    if ours(facts):
        percent = round(100 * free / max(1, disk["total_bytes"]), 1)
        wanted = site.limits.member_free_percent_min
        return _found(
            "free_space",
            percent >= wanted,
            percent,
            unit="%",
            limit=f">= {wanted:g}",
            note="already a node",
            advice="make room: below this the kubelet throws pods out",
        )
    needs = {
        "etcd": site.limits.etcd_free_gib_min,
        "images": site.limits.images_free_gib_min,
        "kubelet": site.limits.kubelet_free_gib_min,
        "data": site.limits.data_free_gib_min,
    }
    needed = sum(needs.get(purpose, 0) for purpose in disk["purposes"])
    return _found(
        "free_space",
        free >= needed * GIB,
        round(free / GIB, 2),
        unit="GiB",
        limit=f">= {needed:g} ({', '.join(disk['purposes'])})",
        advice="make room or mount a larger disk there",
    )


def _speed(disks: Sequence[Mapping[str, Any]], site: Site, control_plane: bool) -> Iterator[dict[str, Any]]:
    """Slow file systems of a host are one finding: as a rule there is one disk below them."""
    limit = site.limits.fdatasync_p99_ms_max
    slow = [disk for disk in disks if disk["latency"]["p99_ms"] >= limit]
    for group in [slow] * bool(slow) + [[disk] for disk in disks if disk not in slow]:
        etcd = control_plane and any("etcd" in disk["purposes"] for disk in group)
        worst = max((disk["latency"] for disk in group), key=lambda latency: float(latency["p99_ms"]))
        own = worst["tool"] != "fio"
        yield _found(
            "disk_latency",
            group is not slow,
            worst["p99_ms"],
            bad=ERROR if etcd else WARNING,
            unit="ms",
            limit=f"< {limit:g}",
            subject=", ".join(path for disk in group for path in disk["purposes"].values()),
            note="99th percentile of fdatasync over {samples} writes".format(**worst)
            + "; measured by an own loop of the same shape: the host has no usable fio" * own,
            advice="etcd loses its leader on such a disk: give it an SSD of its own, not shared with images"
            if etcd
            else "move it to a faster disk",
        )
    for disk in disks:
        enough = disk["write_mib_s"] >= site.limits.sequential_write_mib_s_min
        # A disk that takes long for each write is slow in a row as well, and needs no second word.
        if enough or disk not in slow:
            yield _found(
                "disk_write",
                enough,
                disk["write_mib_s"],
                bad=WARNING,
                unit="MiB/s",
                limit=f">= {site.limits.sequential_write_mib_s_min:g}",
                subject=", ".join(disk["purposes"].values()),
                advice="images and data sets will take long: move it to a faster disk",
            )


def _hyperv(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    seen = facts["hyperv"]
    dynamic = seen["vendor"].startswith("Microsoft") and seen["balloon"] and seen["hot_add"]
    yield _found(
        "dynamic_memory",
        not dynamic,
        "Hyper-V may grow and shrink this machine's memory" if dynamic else "none",
        bad=WARNING,
        limit="none",
        advice="the kubelet reads the size of the memory once: turn Dynamic Memory off "
        "(`Set-VMMemory -DynamicMemoryEnabled $false`), then accept this check",
    )


def _leftovers(facts: Facts, _site: Site, _control_plane: bool) -> Iterator[dict[str, Any]]:
    member = ours(facts)
    own = {"kubeadm", "etcd", "cni"} if member else set()
    left = [entry for entry in facts["leftovers"] if entry["what"] not in own]
    fatal = any(entry["what"] in FATAL_LEFTOVERS for entry in left)
    yield _found(
        "leftovers",
        not left,
        "; ".join("{what}: {where}".format(**entry) for entry in left) or "none",
        bad=ERROR if fatal else WARNING,
        limit="none",
        note="already a node" if member else "",
        advice="remove the other installation with its own uninstaller (for kubeadm: `kubeadm reset`)"
        if fatal
        else "see that it does not stand in the way: of several files in /etc/cni/net.d the first one wins, "
        "and a policy of DROP drops packets between pods",
    )
    if facts["kubernetes"]["state"] == "member":
        yield _found(
            "kubelet",
            facts["kubernetes"]["kubelet_runs"],
            "runs" if facts["kubernetes"]["kubelet_runs"] else "does not run",
            bad=WARNING,
            limit="runs on a node",
            advice="`journalctl -u kubelet` says why",
        )


def judge_together(hosts: Mapping[str, Facts], site: Site) -> Iterator[Finding]:
    """Yield what is found only by looking at several hosts: what must differ and does not, ranges, sizes of packets."""
    yield from _unique(hosts)
    yield from _duplicate_addresses(hosts)
    yield from _ranges(hosts, site)
    yield from _packets(hosts, site)
    yield from _clusters(hosts)


def _unique(hosts: Mapping[str, Facts]) -> Iterator[Finding]:
    advice = {
        "hostname": "give each host a name of its own: `hostnamectl set-hostname …`",
        "machine_id": "these hosts are copies: `rm /etc/machine-id && systemd-machine-id-setup` on all but one",
        "product_uuid": "these machines are copies: give each a UUID of its own in the hypervisor",
        "mac_address": "give each machine a MAC address of its own in the hypervisor",
    }
    for what, remedy in advice.items():
        owners: dict[str, list[str]] = defaultdict(list)
        for host, facts in hosts.items():
            mac = (interface_of(facts) or {}).get("mac", "")
            owners[str(mac if what == "mac_address" else facts[what])].append(host)
        for value, names in owners.items():
            if len(names) > 1 and value:
                yield Finding(f"unique_{what}", tuple(names), ERROR, value, limit="one host only", advice=remedy)
                continue
            for name in names:
                yield Finding(f"unique_{what}", (name,), OK, value or "none", limit="one host only")


def duplicates(hosts: Mapping[str, Facts]) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return each node address that somebody else has too → the hosts concerned, and how it was seen."""
    owner_of_mac = {
        interface["mac"]: host
        for host, facts in hosts.items()
        for interface in facts["network"]["interfaces"]
        if interface["mac"]
    }
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for host, facts in hosts.items():
        address = facts["address"]
        if not address or ipaddress.ip_address(address).is_loopback:
            continue
        others = [
            other
            for other, theirs in hosts.items()
            if other != host
            and any(
                entry["address"] == address for one in theirs["network"]["interfaces"] for entry in one["addresses"]
            )
        ]
        macs = [entry["mac"] for entry in facts["duplicates"] if entry["address"] == address]
        others += [name for name in (owner_of_mac.get(mac) for mac in macs) if name and name != host]
        if others or macs:
            names = tuple(sorted({host, *others, *(found[address][0] if address in found else ())}))
            found[address] = (names, "answered by " + ", ".join(sorted(set(macs))) if macs else "")
    return found


def _duplicate_addresses(hosts: Mapping[str, Facts]) -> Iterator[Finding]:
    found = duplicates(hosts)
    for address, (names, seen) in found.items():
        yield Finding(
            "duplicate_address",
            names,
            ERROR,
            address,
            limit="one host only",
            note=seen,
            advice="take it off the other one" if len(names) > 1 else "find the machine with this MAC address",
        )
    for host, facts in hosts.items():
        if facts["address"] and facts["address"] not in found:
            yield Finding("duplicate_address", (host,), OK, facts["address"], limit="one host only")


def _ranges(hosts: Mapping[str, Facts], site: Site) -> Iterator[Finding]:
    """Overlaps of the pods' and services' ranges with each other and with what the hosts reach."""
    inner = {"the pods' range": site.pod_cidr, "the services' range": site.service_cidr}
    ranges: dict[str, Network] = {name: ipaddress.ip_network(text, strict=False) for name, text in inner.items()}
    pods, services = ranges.values()
    everyone = tuple(hosts)
    if _overlap(pods, services):
        yield Finding(
            "cidr",
            everyone,
            ERROR,
            f"{pods} and {services}",
            limit="no overlap",
            subject="pods and services",
            advice="choose other ranges (dtf_pod_cidr, dtf_service_cidr)",
        )
    for host, facts in hosts.items():
        clashes = 0
        for place, network in _networks(facts):
            for name, taken in ranges.items():
                if _overlap(network, taken):
                    clashes += 1
                    yield Finding(
                        "cidr",
                        (host,),
                        ERROR,
                        f"{network} ({place}) and {taken}",
                        limit="no overlap",
                        subject=name,
                        advice="choose another range (dtf_pod_cidr, dtf_service_cidr), or another network there",
                    )
        if not clashes:
            yield Finding("cidr", (host,), OK, "no overlap", limit="no overlap")


def _networks(facts: Facts) -> Iterator[tuple[str, Network]]:
    """Yield what a host reaches: where, and the network; on a node without what its pod network made."""
    member = ours(facts)
    seen = set()
    for interface in facts["network"]["interfaces"]:
        if member and _POD_INTERFACES.match(interface["name"]):
            continue
        for entry in interface["addresses"]:
            network = ipaddress.ip_network("{address}/{prefix}".format(**entry), strict=False)
            if network not in seen:
                seen.add(network)
                yield interface["name"], network
    for route in facts["network"]["routes"]:
        # The routes of a node are its pod network's business.
        if member or route["destination"] == "default":
            continue
        network = ipaddress.ip_network(route["destination"], strict=False)
        if network not in seen:
            seen.add(network)
            yield "route over " + route["interface"], network


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _packets(hosts: Mapping[str, Facts], site: Site) -> Iterator[Finding]:
    """Hosts of one network must agree on the longest packet: a longer one vanishes without a word."""
    networks: dict[str, dict[str, int]] = defaultdict(dict)
    for host, facts in hosts.items():
        interface = interface_of(facts)
        if interface is not None:
            (prefix,) = [entry["prefix"] for entry in interface["addresses"] if entry["address"] == facts["address"]][
                :1
            ]
            network = str(ipaddress.ip_network("{}/{}".format(facts["address"], prefix), strict=False))
            networks[network][host] = interface["mtu"]
    least = site.limits.mtu_bytes_min
    for network, sizes in networks.items():
        usual = usual_size(list(sizes.values()))
        for host, size in sizes.items():
            name = (interface_of(hosts[host]) or {}).get("name", "")
            wanted = usual if size != usual else least
            good = size == usual and size >= least
            yield Finding(
                "mtu",
                (host,),
                OK if good else ERROR if size != usual else WARNING,
                size,
                unit="bytes",
                limit=f">= {least}" if size == usual else f"{usual}, as the others in {network}",
                subject=name,
                advice="" if good else f"`ip link set {name} mtu {wanted}`, and so in the network's configuration",
            )


def usual_size(sizes: Sequence[int]) -> int:
    """Return the most frequent size, of equally frequent ones the largest."""
    counts = Counter(sizes)
    return max(counts, key=lambda size: (counts[size], size))


def _clusters(hosts: Mapping[str, Facts]) -> Iterator[Finding]:
    authorities: dict[str, list[str]] = defaultdict(list)
    for host, facts in hosts.items():
        if facts["kubernetes"]["state"] == "member" and facts["kubernetes"]["ca"]:
            authorities[facts["kubernetes"]["ca"]].append(host)
    if len(authorities) > 1:
        groups = " | ".join(", ".join(names) for names in authorities.values())
        yield Finding(
            "one_cluster",
            tuple(name for names in authorities.values() for name in names),
            ERROR,
            groups,
            limit="nodes of one cluster",
            advice="these are nodes of different clusters: take those out of the inventory that do not belong here",
        )
