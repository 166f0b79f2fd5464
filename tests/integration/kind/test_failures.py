"""A cluster of Kind that cannot be made says so early, with the cause; one that was broken off is made anew.

What a cluster is good for is in the scenario of molecule, `molecule/kind`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tarfile
import time

import yaml
from laboratory import machine

from tests.integration.ansible_command import ansible_playbook, environment

from .conftest import KUBECONFIG, ROOT, Laptop

#: Without workers there is less to wait for.
CLUSTER = ("playbooks/cluster.yml", "-e", "kind_workers=0")
HOLDER = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 6443)); s.listen(); print(1, flush=True); {}"


def test_a_port_that_is_taken_is_refused_before_anything_is_made(laptop: Laptop) -> None:
    script = HOLDER.format("time.sleep(600)")
    words = [*laptop.engine.enter(), "python3", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            for more in ((), ("--check",)):
                refused = laptop.play(*CLUSTER, "-e", "kind_api_port=6443", *more, fails=True)
                assert "api_port 6443" in refused
                assert "it is taken by python3 (process " in refused
        finally:
            os.killpg(holder.pid, signal.SIGKILL)
    assert laptop.containers() == {}
    assert laptop.engine.docker("image", "ls", "--quiet") == ""


def test_a_node_that_ends_is_told_with_its_last_words(laptop: Laptop) -> None:
    # A program that needs nothing but itself, and does not know what it is asked for.
    archive = laptop.folder / "node.tar"
    with tarfile.open(archive, "w") as opened:
        opened.add(ROOT / "build" / "bundle" / "bin" / "kind", "start")
    laptop.engine.docker("import", "--change", 'ENTRYPOINT ["/start", "nonsense"]', str(archive), "no-node:1")
    failed = laptop.play(*CLUSTER, "-e", "kind_image=no-node:1", fails=True)
    # Whoever sees it first, kind or who looks after its nodes: what the node said itself is told.
    assert "dtf-control-plane has ended" in failed
    assert 'unknown command "nonsense"' in failed
    assert "code: node_ended" in failed
    assert laptop.containers() == {}
    laptop.engine.docker("image", "rm", "no-node:1")


def test_a_kubelet_that_does_not_like_the_machine_is_told_long_before_kubeadm_gives_up(laptop: Laptop) -> None:
    if machine.cgroup_version() == 1:
        # As it is for a user who has not read what this machine's kubelet needs.
        configuration, code, said = "{}", "cgroups", "failCgroupV1: false"
    else:
        patch = {"kind": "KubeletConfiguration", "cgroupDriver": "none-of-them"}
        configuration = yaml.safe_dump({"kubeadmConfigPatches": [yaml.safe_dump(patch)]}, default_flow_style=True)
        code, said = "kubelet_fails", "none-of-them"
    begin = time.monotonic()
    failed = laptop.play(*CLUSTER, "-e", f"{{kind_configuration: {configuration}}}", fails=True)
    assert f"code: {code}" in failed
    assert re.search(r"the kubelet of\s+dtf-control-plane", failed)
    assert said in " ".join(failed.split())
    # kubeadm's own patience is four minutes.
    assert time.monotonic() - begin < 120
    assert laptop.containers() == {}


def test_a_creation_that_was_broken_off_is_made_anew(laptop: Laptop) -> None:
    words = ansible_playbook("-i", str(laptop.folder / "inventory"), *CLUSTER)
    broken_off = subprocess.Popen(
        [*laptop.engine.enter(), *words],
        # Ansible leaves its own files where it is broken off.
        env={
            **machine.environment(),
            **environment(),
            "DOCKER_HOST": laptop.engine.host,
            "ANSIBLE_REMOTE_TMP": str(laptop.folder / "tmp"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with broken_off:
        assert broken_off.stdout is not None
        for line in broken_off.stdout:
            if re.match("Kind cluster dtf: (Preparing|Writing|Starting)", line):
                while not laptop.containers() and broken_off.poll() is None:
                    time.sleep(0.1)
                # As Ctrl-C does: to all that run in the foreground.
                os.killpg(broken_off.pid, signal.SIGINT)
                break
        broken_off.stdout.read()
    assert broken_off.returncode != 0
    left = laptop.containers()
    assert left.keys() == {"dtf-control-plane"}
    printed = laptop.play(*CLUSTER)
    assert re.search(r"Kind cluster dtf: took \d+ s: .*Starting control-plane", printed), printed[-6000:]
    made = laptop.containers()
    assert made.keys() == left.keys()
    assert made != left
    assert [node["metadata"]["name"] for node in laptop.kubectl("get", "nodes")] == ["dtf-control-plane"]
    # An address of the machine alone, and any port that was free.
    credentials = yaml.safe_load((laptop.folder / KUBECONFIG).read_text(encoding="utf-8"))
    assert credentials["clusters"][0]["cluster"]["server"].startswith("https://127.0.0.1:")
    again = laptop.play(*CLUSTER)
    assert "changed=0" in again
    assert "Kind cluster dtf: took" not in again
