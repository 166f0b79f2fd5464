"""A lab beside others on this machine's engine: hosts as real as promised, mended, and gone without a trace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from laboratory import machine

from .conftest import Lab, run_here


@pytest.fixture(scope="module")
def lab(free_subnet: str, tool: Path) -> Iterator[Lab]:
    """A lab of one host with nothing in it but Debian."""
    with tempfile.TemporaryDirectory(prefix="dtf-lab-") as folder:
        made = Lab(run_here, f"test{os.getpid()}", Path(folder) / "inventory", tool)
        words = ("--hosts", "1", "--flavour", "plain", "--subnet", free_subnet, "--inventory", str(made.folder))
        try:
            made.run("up", *words)
            yield made
        finally:
            made.run("down")


def left(lab: Lab) -> list[str]:
    """Return what Docker has of a lab."""
    label = f"label=dtf.cluster.lab={lab.name}"
    listings = (("container", "ls", "--all"), ("volume", "ls"), ("network", "ls"))
    return [name for listing in listings for name in machine.docker(*listing, "--quiet", "--filter", label).split()]


def test_a_host_has_booted_with_nothing_amiss(lab: Lab) -> None:
    (host,) = lab.hosts("status")
    assert (host["host"], host["state"], host["systemd"]) == ("cp1", "running", "running")
    assert lab.inside("cp1", "systemctl list-units --failed --no-legend") == ""
    assert lab.inside("cp1", "cat /proc/1/comm; systemctl is-active ssh") == "systemd\nactive"


def test_ansible_reaches_it_without_a_question(lab: Lab) -> None:
    done = lab.ansible("all", "-m", "ansible.builtin.ping")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cp1 | SUCCESS" in done.stdout
    assert "WARNING" not in done.stderr


def test_its_cgroups_are_its_own(lab: Lab) -> None:
    """What is made at the root of the host's tree lies below the container's group in the machine's."""
    (found,) = machine.inspect(f"{lab.name}-cp1")
    mounts = [line.split() for line in lab.inside("cp1", "cat /proc/mounts").splitlines()]
    trees = [mount[1] for mount in mounts if mount[2] in {"cgroup", "cgroup2"}]
    place = "/sys/fs/cgroup/memory" if "/sys/fs/cgroup/memory" in trees else "/sys/fs/cgroup"
    lab.inside("cp1", f"mkdir {place}/made-by-test")
    try:
        # Groups of other hosts come and go meanwhile; what has gone is passed over.
        made = [folder for folder, inner, _files in os.walk("/sys/fs/cgroup") if "made-by-test" in inner]
        assert made
        assert all(found["Id"] in folder for folder in made)
    finally:
        lab.inside("cp1", f"rmdir {place}/made-by-test")
    assert lab.inside("cp1", "cat /proc/1/cgroup | cut -d : -f 3 | sort -u | head -n 1") in {"/", "/init.scope"}


def test_it_is_nobody_elses_twin(lab: Lab) -> None:
    number = lab.inside("cp1", "cat /etc/machine-id")
    assert len(number) == 32
    assert number != Path("/etc/machine-id").read_text(encoding="ascii").strip()
    assert lab.inside("cp1", "hostname") == "cp1"
    mounts = lab.inside("cp1", "findmnt --noheadings --output TARGET --list")
    assert {"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd"} <= set(mounts.split())


@pytest.mark.network
def test_packages_are_installed_from_where_the_machine_gets_its_own(lab: Lab) -> None:
    """And with iptables there, Docker's resolver answers pods: at the gateway's address."""
    lab.inside("cp1", "apt-get update && apt-get install --yes --no-install-recommends iptables")
    script = """
import socket, struct, time
server = open("/etc/kubelet-resolv.conf").read().split()[1]
question = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + b"\\3cp1\\0" + struct.pack(">2H", 1, 1)
for _ in range(50):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1)
        try:
            asking.sendto(question, (server, 53))
            print(socket.inet_ntoa(asking.recv(512)[-4:]))
            break
        except OSError:
            time.sleep(0.1)
"""
    (host,) = lab.hosts("status")
    assert lab.inside("cp1", f"python3 - <<'END'\n{script}\nEND") == host["address"]
    assert lab.inside("cp1", "systemctl is-system-running") == "running"


def test_up_again_changes_nothing_and_makes_whole_what_is_not(lab: Lab) -> None:
    before = machine.inspect(f"{lab.name}-cp1")[0]
    lab.run("up")
    assert machine.inspect(f"{lab.name}-cp1")[0]["State"]["StartedAt"] == before["State"]["StartedAt"]

    lab.run("add")
    number = lab.inside("w1", "cat /etc/machine-id")
    assert lab.hosts("stop", "w1")[1]["state"] == "exited"
    assert lab.hosts("status", check=False)[1]["state"] == "exited"
    assert lab.hosts("start", "w1")[1]["systemd"] == "running"
    assert lab.inside("w1", "cat /etc/machine-id") == number

    lab.inside("w1", "touch /var/lib/etcd/here")
    machine.docker("container", "rm", "--force", f"{lab.name}-w1")
    machine.docker("pause", f"{lab.name}-cp1")
    assert [host["systemd"] for host in lab.hosts("up")] == ["running", "running"]
    assert lab.inside("w1", "ls /var/lib/etcd") == ""
    assert lab.inside("w1", "cat /etc/machine-id") != number
    assert lab.ansible("all", "-m", "ansible.builtin.ping").returncode == 0


def test_all_that_is_wrong_is_told_at_once(lab: Lab, free_subnet: str) -> None:
    machine_range = next(route["dst"] for route in machine.routes() if "/" in route["dst"] and "dev" in route)
    words = ("--memory", "1m", "--pod-cidr", machine_range, "--inventory", "elsewhere")
    done = lab.run("up", *words, check=False)
    assert done.returncode == 2
    named = {line.split(":")[1].strip() for line in done.stderr.splitlines()}
    assert named >= {"--memory", "--pod-cidr", "--inventory"}

    other = Lab(run_here, f"{lab.name}b", lab.folder, lab.tool)
    done = other.run("up", "--subnet", free_subnet, "--inventory", str(lab.folder), check=False)
    assert done.returncode == 2
    assert f"--subnet: {free_subnet} overlaps {free_subnet}" in done.stderr
    assert f"is lab {lab.name}'s" in done.stderr
    assert left(other) == []


def test_down_leaves_nothing_and_other_labs_alone(lab: Lab, another_subnet: str) -> None:
    with tempfile.TemporaryDirectory(prefix="dtf-lab-") as folder:
        other = Lab(run_here, f"{lab.name}b", Path(folder), lab.tool)
        try:
            words = ("--hosts", "1", "--flavour", "plain", "--subnet", another_subnet)
            other.run("up", *words, "--inventory", str(other.folder))
            assert left(lab)
            lab.run("down")
            assert left(lab) == []
            assert not lab.folder.exists()
            assert lab.run("status", check=False).returncode == 2
            assert [host["systemd"] for host in other.hosts("status")] == ["running"]
        finally:
            other.run("down")
