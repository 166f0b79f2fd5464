"""The engine that a lab brings along: started, found, missed and started again, and ended with the last lab.

It is tried in namespaces of its own, so that nobody else's engine is touched and nothing can be left behind.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from laboratory import machine

from .conftest import Lab, run_here

# The first process of the namespace: it only waits, and lets those who have lost their parents go.
HOLD = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


class Apart:
    """A place with a network, processes and mounts of its own, and nothing running in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen([*words, sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            pytest.skip("this machine does not allow namespaces")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        self.first = children.split()[0]
        (folder / "docker").mkdir()
        for words in (
            ("ip", "link", "set", "lo", "up"),
            ("mount", "-t", "tmpfs", "tmpfs", "/run"),
            ("mount", "--bind", str(folder / "docker"), "/var/lib/docker"),
        ):
            done = self.run(words)
            assert done.returncode == 0, done.stderr

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in there, as a user of that machine would."""
        enter = ("nsenter", "--target", self.first, "--net", "--mount", "--pid", "--")
        return run_here([*enter, *words], XDG_CACHE_HOME=str(self.folder / "cache"), DOCKER_HOST="")

    def engines(self) -> list[str]:
        """Return the process ids of the Docker engines in there, as they are called in there."""
        done = self.run(("sh", "-c", "grep -lx dockerd /proc/[0-9]*/comm || true"))
        return [path.split("/")[2] for path in done.stdout.split()]

    def end(self) -> None:
        """End it with all that runs in it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def apart(root: None, tool: Path) -> Iterator[Apart]:  # noqa: ARG001 # first of all, it may be that nothing here is possible
    machine.install(["docker", "dockerd", "iptables", "ip", "ssh-keygen"], print)
    Path("/var/lib/docker").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dtf-") as name:
        folder = Path(name)
        # There is no way out of that network: the image has to be one that was made before.
        cache = folder / "cache" / "dtf" / "lab"
        cache.mkdir(parents=True)
        done = run_here([sys.executable, str(tool), "image", "--flavour", "plain"])
        assert done.returncode == 0, done.stderr
        (cache / "images").symlink_to(Path(done.stdout.strip()).parent)
        place = Apart(folder)
        try:
            yield place
        finally:
            place.end()


@pytest.fixture
def lab(apart: Apart, tool: Path) -> Lab:
    """A lab that is not there yet."""
    return Lab(apart.run, "own", apart.folder / "inventory", tool)


@pytest.mark.namespaces
def test_an_engine_is_started_found_missed_and_ended(apart: Apart, lab: Lab) -> None:
    assert apart.engines() == []
    words = ("--hosts", "1", "--flavour", "plain", "--inventory", str(lab.folder))
    (host,) = lab.hosts("up", *words)
    assert host["systemd"] == "running"
    (engine,) = apart.engines()
    blackholes = ("ip", "-json", "route", "show", "type", "blackhole")
    assert {route["dst"] for route in json.loads(apart.run(blackholes).stdout)} == {"10.244.0.0/16", "10.96.0.0/12"}

    lab.run("up")
    assert apart.engines() == [engine]

    number = lab.inside("cp1", "echo kept >/var/lib/etcd/file; cat /etc/machine-id")
    apart.run(("kill", "-9", engine))
    (host,) = lab.hosts("status", check=False)
    assert host["state"] == "no engine"
    (host,) = lab.hosts("up")
    assert host["systemd"] == "running"
    assert engine not in apart.engines()
    assert lab.inside("cp1", "cat /var/lib/etcd/file /etc/machine-id") == f"kept\n{number}"
    assert lab.ansible("all", "-m", "ansible.builtin.ping").returncode == 0

    # Also when the engine has died again: what it had is on its disk.
    apart.run(("kill", "-9", *apart.engines()))
    lab.run("down")
    assert apart.engines() == []
    assert json.loads(apart.run(blackholes).stdout or "[]") == []
    assert "br-" not in apart.run(("ip", "-brief", "link")).stdout
    assert not lab.folder.exists()
    kept = {path.name for path in (apart.folder / "cache" / "dtf" / "lab").iterdir()}
    assert kept <= {"images", "labs", "lock", "dockerd.log"}
    assert list((apart.folder / "docker" / "containers").iterdir()) == []
    assert not any("own-" in path.name for path in (apart.folder / "docker" / "volumes").iterdir())


@pytest.mark.namespaces
def test_an_engine_of_the_users_that_does_not_answer_is_named(apart: Apart, lab: Lab) -> None:
    done = lab.command(["env", "DOCKER_HOST=unix:///run/none.sock", sys.executable, str(lab.tool), "up"])
    assert done.returncode == 2
    assert "DOCKER_HOST: no Docker engine answers at unix:///run/none.sock" in done.stderr
    assert apart.engines() == []
