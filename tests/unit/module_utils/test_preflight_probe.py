"""What preflight reads and measures on a host: files of a made-up root, real sockets on the loopback, a real folder."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import (
    preflight_disk,
    preflight_facts,
    preflight_network,
)
from tests.fixtures.free_port import free_port

WORD = "secret"


def nothing(_command: Sequence[str]) -> tuple[int, str, str]:
    """Run nothing."""
    return 127, "", "not installed"


def write(root: Path, path: str, content: str = "") -> None:
    """Write a file of a made-up root."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"/sys/module/overlay/x": ""}, "loaded"),
        ({"/proc/filesystems": "nodev\tproc\nnodev\toverlay\n"}, "builtin"),
        ({"/lib/modules/6.1/modules.builtin": "kernel/fs/overlayfs/overlay.ko\n"}, "builtin"),
        ({"/lib/modules/6.1/modules.dep": "kernel/fs/overlayfs/overlay.ko.xz: \n"}, "loadable"),
        ({"/lib/modules/6.1/modules.dep": "kernel/fs/other_overlay.ko:\n"}, "missing"),
        ({}, "unknown"),
    ],
)
def test_where_a_kernel_has_a_module(tmp_path: Path, files: dict[str, str], wanted: str) -> None:
    for path, content in files.items():
        write(tmp_path, path, content)
    assert preflight_facts.module_state(tmp_path, "overlay", "6.1") == wanted


def test_control_groups_of_both_kinds(tmp_path: Path) -> None:
    write(tmp_path, "/proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\npids\t3\t1\t0\n")
    assert preflight_facts.cgroup(tmp_path) == {"version": 1, "controllers": ["cpu"]}
    write(tmp_path, "/sys/fs/cgroup/cgroup.controllers", "memory cpu pids\n")
    assert preflight_facts.cgroup(tmp_path) == {"version": 2, "controllers": ["cpu", "memory", "pids"]}


def test_memory_and_swap() -> None:
    assert preflight_facts.meminfo("MemTotal:       16000 kB\nHugePages_Total: 0\n") == {"MemTotal": 16000}
    table = "Filename\tType\tSize\tUsed\tPriority\n/swap.img file\t\t2048\t0\t-2\n"
    assert preflight_facts.swap_sizes(table) == [2048]


def test_what_others_left(tmp_path: Path) -> None:
    assert preflight_facts.leftovers(tmp_path, nothing) == []
    write(tmp_path, "/etc/rancher/k3s/config.yaml")
    write(tmp_path, "/etc/kubernetes/kubelet.conf")
    write(tmp_path, "/etc/cni/net.d/87-podman.conflist")

    def rules(_command: Sequence[str]) -> tuple[int, str, str]:
        return 0, "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n", ""

    found = {entry["what"]: entry["where"] for entry in preflight_facts.leftovers(tmp_path, rules)}
    assert found == {
        "k3s": "/etc/rancher/k3s",
        "kubeadm": "/etc/kubernetes/kubelet.conf",
        "cni": "/etc/cni/net.d/87-podman.conflist",
        "docker": "iptables: policy of FORWARD is DROP",
    }


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "none"),
        ({"/etc/kubernetes/kubelet.conf": ""}, "foreign"),
        ({"/var/lib/dtf-cluster/kubeadm.json": '{"state": "begun"}'}, "partial"),
        ({"/var/lib/dtf-cluster/kubeadm.json": '{"state": "done"}', "/etc/kubernetes/kubelet.conf": ""}, "member"),
    ],
)
def test_whose_node_a_host_is(tmp_path: Path, files: dict[str, str], state: str) -> None:
    for path, content in files.items():
        write(tmp_path, path, content)
    found = preflight_facts.kubernetes(tmp_path)
    assert (found["state"], found["ca"], found["kubelet_runs"]) == (state, "", False)


def test_hyperv(tmp_path: Path) -> None:
    write(tmp_path, "/sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n")
    write(tmp_path, "/sys/module/hv_balloon/parameters/hot_add", "Y\n")
    assert preflight_facts.hyperv(tmp_path) == {"vendor": "Microsoft Corporation", "balloon": True, "hot_add": True}


def test_interfaces_addresses_and_routes() -> None:
    answers: dict[str, Any] = {
        "address": [
            {
                "ifname": "eth0",
                "flags": ["BROADCAST", "UP"],
                "mtu": 1500,
                "link_type": "ether",
                "address": "02:00:00:00:00:01",
                "addr_info": [
                    {"family": "inet", "local": "192.0.2.1", "prefixlen": 24, "scope": "global", "dynamic": True},
                    {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"},
                ],
            },
            {},
        ],
        "route": [{"dst": "default", "dev": "eth0"}, {"type": "blackhole", "dst": "10.0.0.0/8"}],
    }

    def ip(command: Sequence[str]) -> tuple[int, str, str]:
        return 0, json.dumps(answers[command[-1]]), ""

    found = preflight_facts.network(ip)
    (interface,) = found["interfaces"]
    assert interface["addresses"] == [{"address": "192.0.2.1", "prefix": 24, "leased": True}]
    assert (interface["mac"], interface["mtu"], interface["up"]) == ("02:00:00:00:00:01", 1500, True)
    assert found["routes"] == [{"destination": "default", "interface": "eth0"}]
    assert "not installed" in preflight_facts.network(nothing)["problem"]


def test_a_port_and_who_holds_it() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        wanted = [{"port": held.getsockname()[1], "protocol": "tcp"}]
        (entry,) = preflight_facts.busy_ports(Path("/"), wanted)
        assert f"(process {os.getpid()})" in entry["holder"]
        assert preflight_facts.busy_ports(Path("/"), [{**wanted[0], "protocol": "udp"}]) == []
    assert preflight_facts.busy_ports(Path("/"), wanted) == []


def test_a_resolver_answers_or_not() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]

        def answer() -> None:
            query, asker = server.recvfrom(512)
            # Its number, and that there is no such name.
            server.sendto(query[:2] + b"\x81\x83" + query[4:], asker)

        thread = threading.Thread(target=answer)
        thread.start()
        assert preflight_facts.resolver_answers("127.0.0.1", "w1", port=port)
        thread.join()
    assert not preflight_facts.resolver_answers("127.0.0.1", "w1", port=port, seconds=0.1)
    assert not preflight_facts.resolver_answers("no address", "w1")


@pytest.fixture
def ports() -> tuple[int, int]:
    """Two ports that nobody has: tests of this file run at the same time."""
    return free_port(), free_port()


@pytest.fixture
def listener(ports: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """A listener on this machine, in a process of its own: both ports by TCP, the first by UDP, too."""
    both, stream = ports
    wanted = [(both, "tcp"), (stream, "tcp"), (both, "udp")]
    wanted_ports = [{"port": port, "protocol": protocol} for port, protocol in wanted]
    found = preflight_network.listen("127.0.0.1", wanted_ports, WORD, "w1", seconds=60)
    assert found["busy"] == []
    yield found
    preflight_network.stop(found["pid"], found["answering"])


def peer(listener: dict[str, Any], own: tuple[int, int], **changes: Any) -> dict[str, Any]:
    """Return the listener's host as one to visit."""
    both, stream = own
    return {
        "name": "w1",
        "address": "127.0.0.1",
        "ports": [{"port": stream, "protocol": "tcp"}, {"port": both, "protocol": "udp"}],
        "answering": listener["answering"],
        "mtu": 1500,
        "bandwidth": True,
        **changes,
    }


def test_a_visit_measures_everything(listener: dict[str, Any], ports: tuple[int, int]) -> None:
    found = preflight_network.visit(peer(listener, ports), WORD)
    assert found["answered_by"] == "w1"
    assert found["ports"] == {f"{ports[1]}/tcp": "open", f"{ports[0]}/udp": "open"}
    assert found["rtt_ms"] > 0
    assert abs(found["ahead_seconds"]) < found["rtt_ms"]  # one clock, so no more than the way there and back
    assert found["bandwidth_mbit_s"] > 0
    assert (found["mtu_expected"], found["mtu_measured"]) == (1500, 1500)


def test_who_does_not_know_the_word_learns_nothing(listener: dict[str, Any], ports: tuple[int, int]) -> None:
    found = preflight_network.visit(peer(listener, ports), "another")
    assert (found["answered_by"], found["rtt_ms"], found["mtu_measured"]) == (None, None, None)
    assert found["ports"] == {f"{ports[1]}/tcp": "open", f"{ports[0]}/udp": "silent"}


def test_a_port_that_is_closed_and_one_that_somebody_else_holds(
    listener: dict[str, Any], ports: tuple[int, int]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        held = other.getsockname()[1]
        wanted = [{"port": 1, "protocol": "tcp"}, {"port": held, "protocol": "tcp"}, {"port": 8472, "protocol": "udp"}]
        found = preflight_network.visit(peer(listener, ports, ports=wanted), WORD)
    assert found["ports"] == {"1/tcp": "refused", f"{held}/tcp": "open", "8472/udp": "untried"}


def test_a_taken_port_stays_its_owners_and_a_listener_is_stopped(
    listener: dict[str, Any], ports: tuple[int, int]
) -> None:
    taken = [{"port": ports[0], "protocol": "tcp"}]
    second = preflight_network.listen("127.0.0.1", taken, WORD, "w2", seconds=60)
    assert second["busy"] == taken
    assert second["answering"] == []
    os.kill(second["pid"], 15)
    # Another process under the number is left alone.
    assert not preflight_network.stop(os.getpid(), listener["answering"])
    assert preflight_network.stop(listener["pid"], listener["answering"])
    assert not preflight_network.stop(listener["pid"], listener["answering"])
    assert preflight_network.connect("127.0.0.1", [ports[0]])[0] == {ports[0]: "refused"}


def test_a_listener_ends_by_itself(ports: tuple[int, int]) -> None:
    found = preflight_network.listen("127.0.0.1", [{"port": ports[0], "protocol": "tcp"}], WORD, "w1", seconds=0.2)
    assert found["pid"] > 1
    end = time.monotonic() + 60
    while Path(f"/proc/{found['pid']}/fd").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert preflight_network.connect("127.0.0.1", [ports[0]])[0] == {ports[0]: "refused"}


@pytest.mark.parametrize("passes", [576, 577, 1000, 1399, 1499, 1500])
def test_the_longest_packet_is_found(monkeypatch: pytest.MonkeyPatch, passes: int) -> None:
    def arrives(_address: str, _port: int, _word: str, size: int) -> bool:
        return size + preflight_network.HEADERS[socket.AF_INET] <= passes

    monkeypatch.setattr(preflight_network, "datagram_arrives", arrives)
    assert preflight_network.path_mtu("192.0.2.1", 1, WORD, 1500) == passes


def test_where_no_datagram_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_network, "datagram_arrives", lambda *_arguments: False)
    assert preflight_network.path_mtu("192.0.2.1", 1, WORD, 1500) == 0


def test_a_disk_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    paths = {"images": str(tmp_path / "not" / "yet"), "data": str(tmp_path)}
    (found,) = preflight_disk.survey(paths, 0.2, nothing, None)
    assert found["purposes"] == {"data": str(tmp_path), "images": str(tmp_path / "not" / "yet")}
    assert found["place"] == str(tmp_path)
    assert found["latency"]["tool"] == "own loop"
    assert 1 <= found["latency"]["samples"] <= preflight_disk.RECORDS
    assert found["latency"]["p99_ms"] >= 0
    assert found["write_mib_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_fio_that_fails_is_no_measurement(tmp_path: Path) -> None:
    (found,) = preflight_disk.survey({"data": str(tmp_path)}, 0.1, nothing, "/usr/bin/fio")
    assert found["latency"]["tool"] == "own loop"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_filled_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_disk, "RESERVE_BYTES", 1 << 60)
    (found,) = preflight_disk.survey({"data": str(tmp_path)}, 0.1, nothing, None)
    assert (found["latency"], found["write_mib_s"], found["problem"]) == (
        None,
        None,
        "too little room for a measurement",
    )


def fio(**latency: Any) -> str:
    """Return what fio prints."""
    return "fio: a note\n" + json.dumps({"jobs": [{"sync": {"total_ios": 0, "lat_ns": latency}}]})


def test_fio_is_read() -> None:
    told = fio(N=2999, mean=144620.1, percentile={"99.000000": 218000})
    assert preflight_disk.read_fio(told) == {"p99_ms": 0.218, "mean_ms": 0.145, "samples": 2999, "tool": "fio"}


@pytest.mark.parametrize("output", ["", "nothing", "{}", fio(), fio(N=0, mean=0, percentile={"99.000000": 0})])
def test_a_fio_without_a_number_is_none(output: str) -> None:
    assert preflight_disk.read_fio(output) is None


@pytest.mark.parametrize(
    ("samples", "percent", "wanted"), [([5.0], 99, 5.0), (list(range(1, 101)), 99, 99), ([3.0, 1.0, 2.0], 50, 2.0)]
)
def test_percentiles(samples: list[float], percent: float, wanted: float) -> None:
    assert preflight_disk.percentile(samples, percent) == wanted
