"""Preflight finds what was put into real hosts, names it once, and finds nothing in the others."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from .conftest import LAB, Lab

HOSTS = ("cp1", "w1", "w2")
Fault = Callable[[Lab], AbstractContextManager[None]]

# Far beyond the limit of the tests: each record takes several of so many writes a second.
WRITES_PER_SECOND = 8
# The one interpreter of a host that lives in another time; fio never starts a job with that library.
SKEWED = """#!/bin/sh
export LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME=+90s FAKETIME_DONT_FAKE_MONOTONIC=1
export FAKETIME_SKIP_CMDS=fio
exec /usr/bin/python3 "$@"
"""


@contextmanager
def slow_disk(_lab: Lab) -> Iterator[None]:
    """The control plane's disk does a few writes a second: its control group is throttled from outside.

    What fdatasync writes is submitted by the process that waits for it, so the old control groups throttle it, too.
    """
    inspect = ["docker", "inspect", "--format", "{{.Id}} {{range .Mounts}}{{.Destination}}={{.Source}} {{end}}"]
    container, *mounts = subprocess.run(
        [*inspect, f"{LAB}-cp1"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.split()
    (source,) = [mount.partition("=")[2] for mount in mounts if mount.startswith("/var/lib/etcd=")]
    device = Path(source).stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    whole = block.parent if (block / "partition").exists() else block
    number = (whole / "dev").read_text().strip()
    legacy = Path(f"/sys/fs/cgroup/blkio/docker/{container}/blkio.throttle.write_iops_device")
    unified = Path(f"/sys/fs/cgroup/system.slice/docker-{container}.scope/io.max")
    if legacy.exists():
        file, slow, free = legacy, f"{number} {WRITES_PER_SECOND}", f"{number} 0"
    else:
        file, slow, free = unified, f"{number} wiops={WRITES_PER_SECOND}", f"{number} wiops=max"
    file.write_text(slow)
    try:
        yield
    finally:
        file.write_text(free)


@contextmanager
def blocked_port(lab: Lab) -> Iterator[None]:
    """The kubelet's port of a worker is dropped by its own firewall."""
    rule = ("INPUT", "-p", "tcp", "--dport", "10250", "-j", "DROP")
    lab.run("w2", "iptables", "-A", *rule)
    try:
        yield
    finally:
        lab.run("w2", "iptables", "-D", *rule)


@contextmanager
def skewed_clock(lab: Lab) -> Iterator[None]:
    """Whatever Ansible runs on a worker is 90 s ahead."""
    if "libfaketime.so.1" not in lab.run("w2", "sh", "-c", "ls /usr/lib/*/faketime", check=False):
        lab.run("w2", "apt-get", "update", "--quiet")
        lab.run("w2", "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "faketime")
    lab.run("w2", "sh", "-c", 'printf "%s" "$1" > /usr/local/bin/skewed; chmod +x /usr/local/bin/skewed', "sh", SKEWED)
    variables = lab.inventory / "host_vars"
    variables.mkdir(exist_ok=True)
    (variables / "w2.yml").write_text("ansible_python_interpreter: /usr/local/bin/skewed\n")
    try:
        yield
    finally:
        (variables / "w2.yml").unlink()


@contextmanager
def small_mtu(lab: Lab) -> Iterator[None]:
    """A worker's interface takes shorter packets than the others'."""
    before = lab.run("w2", "cat", "/sys/class/net/eth0/mtu").strip()
    lab.run("w2", "ip", "link", "set", "eth0", "mtu", str(int(before) - 100))
    try:
        yield
    finally:
        lab.run("w2", "ip", "link", "set", "eth0", "mtu", before)


@contextmanager
def duplicate_address(lab: Lab) -> Iterator[None]:
    """One worker has the other one's address, too."""
    address = f"{lab.address('w1')}/24"
    lab.run("w2", "ip", "address", "add", address, "dev", "eth0")
    try:
        yield
    finally:
        lab.run("w2", "ip", "address", "del", address, "dev", "eth0")


@contextmanager
def full_disk(lab: Lab) -> Iterator[None]:
    """There is hardly room for an image."""
    lab.run("w1", "mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", "/var/lib/containerd")
    try:
        yield
    finally:
        lab.run("w1", "umount", "/var/lib/containerd")


FAULTS: dict[str, tuple[Fault, tuple[str, tuple[str, ...], str]]] = {
    "slow disk": (slow_disk, ("disk_latency", ("cp1",), "error")),
    "blocked port": (blocked_port, ("ports_reachable", ("w2",), "error")),
    "skewed clock": (skewed_clock, ("clock", ("w2",), "error")),
    "small MTU": (small_mtu, ("mtu", ("w2",), "error")),
    "duplicate address": (duplicate_address, ("duplicate_address", ("w1", "w2"), "error")),
    "full disk": (full_disk, ("free_space", ("w1",), "error")),
}


def state(lab: Lab) -> dict[str, str]:
    """Return what preflight could leave on each host: files where it writes, who listens, its processes."""
    look = (
        "find /etc /var/lib/etcd /var/lib/kubelet /srv /tmp /root -xdev -newer /proc/1/cmdline -type f | sort; "
        "find /var/lib /srv /tmp -xdev -name '.dtf-preflight*'; cat /proc/net/tcp /proc/net/udp | awk '{print $2, $4}' "
        "| grep -v ' 0[16]' | sort; ls /sys/module | sort; ps -eo comm,args | grep -c '[p]reflight_probe'"
    )
    return {host: lab.run(host, "sh", "-c", look, check=False) for host in HOSTS}


def test_healthy_hosts_pass_and_stay_as_they_are(lab: Lab, tmp_path: Path, repository: Path) -> None:
    before = state(lab)
    played = lab.preflight(tmp_path)
    assert played.findings == [], played.output
    assert played.code == 0, played.output
    assert played.output.count("VERDICT") == 1
    assert "changed=0" in played.output
    assert "changed=1" not in played.output
    assert state(lab) == before
    schema = json.loads((repository / "schemas" / "preflight.schema.json").read_text())
    Draft202012Validator(schema).validate(played.report)
    # Each of the three measured to both others, and each check says something of each host.
    assert {(link["source"], link["target"]) for link in played.report["links"]} == {
        (one, other) for one in HOSTS for other in HOSTS if one != other
    }
    checks: dict[str, set[str]] = {}
    for finding in played.report["findings"]:
        checks.setdefault(finding["check"], set()).update(finding["hosts"])
    assert {check: hosts for check, hosts in checks.items() if hosts != set(HOSTS)} == {}
    fio = [found["note"] for found in played.report["findings"] if found["check"] == "disk_latency"]
    assert fio
    assert not any("own loop" in note for note in fio)


def test_check_mode_measures_just_as_well_and_without_fio_it_is_said_so(lab: Lab, tmp_path: Path) -> None:
    program = lab.run("w1", "sh", "-c", "command -v fio").strip()
    lab.run("w1", "mv", program, program + ".away")
    try:
        played = lab.preflight(tmp_path, "--check")
    finally:
        lab.run("w1", "mv", program + ".away", program)
    assert played.findings == [], played.output
    assert played.code == 0
    assert len(played.report["links"]) == 6
    notes = {
        host: found["note"]
        for found in played.report["findings"]
        if found["check"] == "disk_latency"
        for host in found["hosts"]
    }
    assert {host for host, note in notes.items() if "own loop" in note} == {"w1"}


def test_warnings_alone_end_with_1(lab: Lab, tmp_path: Path) -> None:
    played = lab.preflight(
        tmp_path, accepted=[], preflight_limits={"cores_min": 4096, "latency_ms_max": 1e6}, preflight_control_plane=[]
    )
    assert {verdict for _check, _hosts, verdict in played.findings} == {"warning"}, played.output
    assert ("cores", HOSTS, "warning") in played.findings
    assert played.code == 1, played.output


def test_another_playbook_ends_as_ansible_ends(lab: Lab, tmp_path: Path) -> None:
    """The exit code 1 is preflight's own; whoever imports it among others goes on after warnings."""
    whole = tmp_path / "whole.yml"
    whole.write_text(
        "- ansible.builtin.import_playbook: dtf.cluster.preflight\n"
        "- hosts: localhost\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: went on}}]\n"
    )
    played = lab.preflight(tmp_path, accepted=[], playbook=str(whole))
    assert played.report["verdict"] == "warning", played.output
    assert "went on" in played.output
    assert played.code == 0


# Two that have nothing to do with each other, in the time of one.
@pytest.mark.parametrize(
    "names",
    [("slow disk", "blocked port"), ("skewed clock", "full disk"), ("small MTU", "duplicate address")],
    ids=" and ".join,
)
def test_a_fault_is_found_and_named_once(lab: Lab, tmp_path: Path, names: tuple[str, str]) -> None:
    wanted = sorted(FAULTS[name][1] for name in names)
    with ExitStack() as faults:
        for name in names:
            faults.enter_context(FAULTS[name][0](lab))
        played = lab.preflight(tmp_path)
    assert played.findings == wanted, played.output
    assert played.code == 2, played.output
    # The table first, then the failure, and every finding says what to do.
    assert played.output.index("VERDICT") < played.output.index("fatal:")
    assert all(played.finding(check)["advice"] for check, _hosts, _verdict in wanted)


def test_all_faults_at_once(lab: Lab, tmp_path: Path) -> None:
    with ExitStack() as faults:
        for fault, _wanted in FAULTS.values():
            faults.enter_context(fault(lab))
        played = lab.preflight(tmp_path)
    assert played.findings == sorted(wanted for _fault, wanted in FAULTS.values()), played.output
    assert played.code == 2
    assert played.output.count("VERDICT") == 1


def test_an_address_that_a_stranger_has_is_found_by_asking_the_segment(lab: Lab, tmp_path: Path) -> None:
    """The stranger is no host of the play: only its answer tells of it."""
    with duplicate_address(lab):
        played = lab.preflight(tmp_path, "--limit", "cp1:w1")
    assert played.findings == [("duplicate_address", ("w1",), "error")], played.output
    mac = lab.run("w2", "cat", "/sys/class/net/eth0/address").strip()
    assert mac in played.finding("duplicate_address")["note"]


def test_a_host_that_does_not_answer_is_a_finding_among_the_others(lab: Lab, tmp_path: Path) -> None:
    (lab.inventory / "gone.yml").write_text(
        "kube_node:\n  hosts:\n    w9:\n      ansible_host: 172.31.78.99\n      ansible_user: root\n"
        "      ansible_ssh_args: -o ConnectTimeout=2\n"
    )
    try:
        played = lab.preflight(tmp_path)
    finally:
        (lab.inventory / "gone.yml").unlink()
    assert played.findings == [("answers", ("w9",), "error")], played.output
    assert played.code == 2


def test_without_root_that_is_what_is_wrong(lab: Lab, tmp_path: Path) -> None:
    # Somebody who may log in nowhere still gets a shell from root.
    become = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_flags": "-s /bin/sh"}
    played = lab.preflight(tmp_path, ansible_become_user="nobody", **become)
    assert played.findings == [("privileges", HOSTS, "error")], played.output
    assert "ansible_become" in played.finding("privileges")["advice"]


@contextmanager
def node(lab: Lab, host: str, marker: str) -> Iterator[None]:
    """A host that looks like a node: credentials, a kubelet that has its port, a CNI configuration."""
    make = (
        "set -e; mkdir -p /etc/kubernetes /etc/cni/net.d /var/lib/dtf-cluster; touch /etc/kubernetes/kubelet.conf "
        "/etc/cni/net.d/10-pods.conflist; cp /usr/bin/python3 /usr/local/bin/kubelet; "
        f"[ -z '{marker}' ] || echo '{marker}' > /var/lib/dtf-cluster/kubeadm.json; "
        "setsid /usr/local/bin/kubelet -c 'import socket, time; s = socket.socket(); s.setsockopt(1, 2, 1); "
        's.bind(("", 10250)); s.listen(); open("/run/kubelet.pid", "w").write(str(__import__("os").getpid())); '
        "time.sleep(600)' </dev/null >/dev/null 2>&1 & while [ ! -s /run/kubelet.pid ]; do sleep 0.1; done"
    )
    unmake = (
        "kill $(cat /run/kubelet.pid); rm -rf /run/kubelet.pid /etc/kubernetes /etc/cni/net.d /var/lib/dtf-cluster "
        "/usr/local/bin/kubelet"
    )
    lab.run(host, "sh", "-c", make)
    try:
        yield
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            lab.run(host, "sh", "-c", unmake)


def test_a_node_of_ours_passes(lab: Lab, tmp_path: Path) -> None:
    with node(lab, "w1", '{"state": "done"}'):
        played = lab.preflight(tmp_path)
    assert played.findings == [], played.output
    assert played.code == 0
    notes = {found["check"] for found in played.report["findings"] if found["note"] == "already a node"}
    assert notes == {"ports_free", "leftovers", "free_space"}
    reached = [link["ports"]["10250/tcp"] for link in played.report["links"] if link["target"] == "w1"]
    assert reached == ["open", "open"]


def test_a_node_of_others_does_not(lab: Lab, tmp_path: Path) -> None:
    with node(lab, "w1", ""):
        played = lab.preflight(tmp_path)
    assert played.findings == [("leftovers", ("w1",), "error"), ("ports_free", ("w1",), "error")], played.output
    assert "kubelet (process" in str(played.finding("ports_free")["measured"])
    assert "/etc/kubernetes/kubelet.conf" in str(played.finding("leftovers")["measured"])
    assert played.code == 2


def test_bad_variables_are_told_together_before_any_host_is_looked_at(lab: Lab, tmp_path: Path) -> None:
    played = lab.preflight(tmp_path, preflight_pod_cidr="10.244.0.0/99", preflight_service_cidr="services")
    assert played.code == 2
    for words in ("preflight_pod_cidr", "10.244.0.0/99", "preflight_service_cidr", "services"):
        assert words in played.output
    assert played.report == {}
