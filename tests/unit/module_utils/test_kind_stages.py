"""How far a Kind cluster is and why one cannot be made: kind's lines, nodes' last words, and what a person reads."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import programs
from ansible_collections.dtf.cluster.plugins.module_utils.cluster_status import Waiting
from ansible_collections.dtf.cluster.plugins.module_utils.kind_causes import explained
from ansible_collections.dtf.cluster.plugins.module_utils.kind_documents import Cluster, HostPort, document, host_ports
from ansible_collections.dtf.cluster.plugins.module_utils.kind_host import KindHost, taken
from ansible_collections.dtf.cluster.plugins.module_utils.kind_stages import (
    Stages,
    readiness,
    sent,
    stage,
    summary,
    told_in,
)
from ansible_collections.dtf.cluster.plugins.plugin_utils.module_progress import watched
from ansible_collections.dtf.cluster.plugins.plugin_utils.progress_display import ProgressDisplay

#: As kind 0.33 prints it where there is no terminal.
PRINTED = """Creating cluster "dtf" ...
 • Ensuring node image (dtf.cluster/kind-node:v1.36.3) 🖼  ...
 ✓ Ensuring node image (dtf.cluster/kind-node:v1.36.3) 🖼
 • Preparing nodes 📦 📦 📦   ...
 ✓ Preparing nodes 📦 📦 📦
 • Writing configuration 📜  ...
 ✓ Writing configuration 📜
 • Starting control-plane 🕹️  ...
 ✗ Starting control-plane 🕹️
"""


def test_kinds_lines_become_stages_with_their_seconds() -> None:
    told: list[str] = []
    seconds = iter(range(0, 1000, 5))
    stages = Stages(told.append, lambda: next(seconds))
    for line in PRINTED.splitlines():
        stages.heard(line)
    assert stages.name == "Starting control-plane"
    stages.detail("x" * 200)
    stages.end()
    assert told[:4] == ["Ensuring node image", "Preparing nodes", "Writing configuration", "Starting control-plane"]
    assert told[4].startswith("Starting control-plane: xxx")
    assert len(told[4]) == 110
    assert [entry["name"] for entry in stages.taken()] == told[:4]
    assert {entry["seconds"] for entry in stages.taken()} == {5}
    assert summary(stages.taken()).startswith("20 s: Ensuring node image 5 s, Preparing nodes 5 s")


@pytest.mark.parametrize("line", ["", "Set kubectl context to", "ERROR: failed to create cluster: ...", " ✓ Done 📦"])
def test_other_lines_begin_nothing(line: str) -> None:
    assert stage(line) == ""


def test_readiness_counts_and_names_what_is_waited_for() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    nodes: list[dict[str, Any]] = [{"metadata": {"name": "a"}, **ready}, {"metadata": {"name": "b"}, "status": {}}]
    pods = [{"status": {"phase": "Running", **ready["status"]}}, {"status": {"phase": "Pending"}}]
    assert readiness(nodes, pods, ["a", "b", "c"], []) == "1 of 3 nodes, 1 of 2 system pods"
    told = readiness(nodes, pods, ["a", "b", "c"], [Waiting("node b", "has not reported yet")])
    assert told.endswith("; node b: has not reported yet")


def test_what_was_sent_is_told_as_a_share_of_all() -> None:
    assert sent(200_000_000, {7: 100_000_000}, 0, 1) == "50% of 200 MB"
    assert sent(200_000_000, {7: 100_000_000, 8: 0}, 1, 3) == "50% of 200 MB to each of 3 nodes"
    assert sent(0, {}, 0, 0).startswith("0%")


def test_lines_are_kept_in_a_file_where_one_can_be_written(tmp_path: Path) -> None:
    told_in(None)("nothing")
    told_in(str(tmp_path / "nowhere" / "file"))("nothing")
    tell = told_in(str(tmp_path / "file"))
    tell("one")
    tell("two\nlines")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "one\ntwo lines\n"


def test_a_program_is_heard_and_looked_after_while_it_runs(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"x" * 1000)
    script = f"import sys, time\nf = open({str(big)!r}, 'rb', buffering=0)\nf.read(600)\nprint('one', flush=True)\n"
    script += "print('two', file=sys.stderr, flush=True)\ntime.sleep(0.6)\nsys.exit(3)"
    lines: list[str] = []
    found: list[dict[int, int]] = []
    ended = programs.run_watched(
        [sys.executable, "-c", script],
        heard=lines.append,
        watch=lambda process: found.append(programs.positions(process, big)),
        interval=0.1,
    )
    assert (ended.returncode, sorted(lines)) == (3, ["one", "two"])
    assert [600] in [list(entry.values()) for entry in found]
    assert programs.positions(0, big) == {}


def test_a_program_is_killed_when_nothing_can_come_of_it_or_it_takes_too_long() -> None:
    begin = time.monotonic()
    sleeps = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"]

    def hopeless(_process: int) -> None:
        raise RuntimeError("no use")

    with pytest.raises(RuntimeError, match="no use"):
        programs.run_watched(sleeps, heard=print, watch=hopeless, interval=0.1)
    with pytest.raises(programs.TimedOut) as raised:
        programs.run_watched(sleeps, heard=print, watch=print, timeout=5, interval=0.1)
    assert raised.value.output == "on\n"
    assert time.monotonic() - begin < 50


def test_the_newest_line_is_shown_until_the_work_is_over() -> None:
    shown: list[str] = []
    enough = threading.Event()
    lines = iter(["Preparing nodes", "Joining worker nodes"])

    def newest() -> str:
        line = next(lines, "")
        if not line:
            enough.set()
            raise OSError("no such file")
        return line

    display = ProgressDisplay("auto", lambda text, **_more: shown.append(text), time.monotonic, True, "Kind: ")
    with watched(newest, display, interval=0.01):
        assert enough.wait(30)
    told = [re.sub(r" · \d+ s$", "", text.partition("Kind: ")[2]) for text in shown]
    assert told == ["Preparing nodes", "Joining worker nodes"]
    assert all(text.endswith(" s") for text in shown)


@pytest.mark.parametrize(
    ("code", "printed", "ended", "journal", "next_step"),
    [
        ("no_space", "write /var/lib/x: no space left on device", {}, "", "podman system df"),
        ("port_taken", "ERROR: Bind for 127.0.0.1:6443 failed: port is already allocated", {}, "", "kind_api_port"),
        ("too_many_watches", "", {}, 'E1124 07:00:00.1 1 x.go:1] "inotify_init: too many open files"', "max_user"),
        ("cgroups", "", {}, "E1124 07:00:00.1 1 run.go:72] kubelet is configured to not run: failCgroupV1", "cgroupfs"),
        (
            "not_privileged",
            "docker: unable to apply caps: operation not permitted",
            {},
            "",
            "allow",
        ),
        ("no_image", "docker: Error: pull access denied for kindest/node", {}, "", "kind_image"),
        ("node_ended", "", {"dtf-worker": "exited (1) 2 seconds ago\nInit did not start"}, "", ""),
        ("kubelet_fails", "", {}, "E1124 07:00:00.1 1 run.go:72] failed to load kubelet config", ""),
        ("kind_failed", "cgroup v1 is deprecated in Kubernetes\nERROR: something new", {}, None, ""),
    ],
)
def test_a_failure_is_told_with_its_cause_and_the_next_step(
    code: str, printed: str, ended: dict[str, str], journal: str | None, next_step: str
) -> None:
    journals = {} if journal is None or ended else {"dtf-control-plane": journal}
    found, message = explained("Kind cluster dtf: kind ended with 1", "podman", printed, ended, journals)
    assert found == code
    assert message.startswith("Kind cluster dtf: kind ended with 1")
    assert ("Next: " in message) == bool(next_step)
    assert next_step in message
    for last in (*ended.values(), printed.removeprefix("ERROR: ")):
        assert last.splitlines()[-1:] == [] or last.splitlines()[-1] in message


def test_of_a_long_log_the_errors_are_told_and_no_token() -> None:
    printed = "\n".join(
        [
            "ERROR: failed to create cluster: failed to init node with kubeadm: exit status 1",
            "Command Output: I1124 07:00:00.1 1 initconfiguration.go:1] --token abcdef.0123456789abcdef",
            *(f"I1124 07:00:00.1 1 x.go:{number}] line" for number in range(500)),
            "error: kubeadm join --token abcdef.0123456789abcdef failed",
        ]
    )
    _code, message = explained("kind", "docker", printed, {}, {})
    assert len(message.splitlines()) == 3
    assert "0123456789abcdef" not in message


def test_ports_of_the_host_are_those_asked_for_by_number() -> None:
    mappings = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]
    made = document(Cluster("dtf", workers=1, api_port=6443, port_mappings=[*mappings, {"containerPort": 90}]))
    assert host_ports(made) == [
        HostPort("api_port 6443", "127.0.0.1", 6443, "TCP"),
        HostPort("hostPort 8080", "0.0.0.0", 8080, "TCP"),
        HostPort("hostPort 5353", "0.0.0.0", 5353, "UDP"),
    ]
    assert host_ports(document(Cluster("dtf"))) == []


def test_a_port_that_somebody_has_is_told_with_who_it_is() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        number = listener.getsockname()[1]
        there, elsewhere = HostPort("api", "127.0.0.1", number), HostPort("other", "127.0.0.2", number)
        # An address of no interface here is for the engine to judge.
        nowhere = HostPort("far", "192.0.2.1", number)
        found = taken([there, elsewhere, nowhere, HostPort("odd", "127.0.0.1", number, "SCTP")])
    assert list(found) == ["api"]
    assert "process" in found["api"]
    assert taken([there]) == {}


def test_two_runs_at_one_cluster_do_not_meet_and_leave_no_trace(tmp_path: Path) -> None:
    def host() -> KindHost:
        return KindHost("dtf", "kind", "docker", {}, tmp_path / "kind" / "kubeconfig")

    order: list[str] = []
    inside, over = threading.Event(), threading.Event()

    def first() -> None:
        with host().locked():
            inside.set()
            over.wait(30)
            order.append("first")

    def second() -> None:
        with host().locked():
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    threads[1].join(0.3)
    over.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second"]
    host().forget()
    assert list((tmp_path / "kind").iterdir()) == []
