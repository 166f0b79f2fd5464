"""The hosts of a laboratory's cluster, and what can befall them."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
LAB = [sys.executable, str(ROOT / "tools" / "lab.py")]


class LabHosts:
    """The hosts of a laboratory, by their names in its inventory."""

    def __init__(self, inventory: Path) -> None:
        document = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]
        self.folder = Path(document["vars"]["dtf_lab_folder"])
        self.name = self.folder.name
        self.control_plane = next(iter(document["children"]["kube_control_plane"]["hosts"]))
        lab = document["children"]["lab"]
        self._options = shlex.split(lab["vars"]["ansible_ssh_args"])
        self._user = lab["vars"]["ansible_user"]
        self._addresses: dict[str, str] = {name: host["ansible_host"] for name, host in lab["hosts"].items()}

    @property
    def nodes(self) -> list[str]:
        """Return the hosts that are not the control plane."""
        return [name for name in self._addresses if name != self.control_plane]

    def run(self, host: str, script: str) -> str:
        """Return what a script prints on a host."""
        command = ["ssh", *self._options, f"{self._user}@{self._addresses[host]}", script]
        return _output(command)

    def kill(self, host: str, program: str) -> int:
        """Kill a program's only process on a host, and return the number it had."""
        number = int(self.run(host, f"pidof -s {program}"))
        self.run(host, f"kill -KILL {number}")
        return number

    def process(self, host: str, program: str) -> int:
        """Return the number of a program's process; 0 where there is none."""
        return int(self.run(host, f"pidof -s {program} || echo 0"))

    def stop(self, host: str) -> None:
        """Shut a host down."""
        _output([*LAB, "stop", host, f"--name={self.name}"])

    def start(self, host: str) -> None:
        """Start a host again."""
        _output([*LAB, "start", host, f"--name={self.name}"])

    @contextmanager
    def cut(self, host: str) -> Iterator[None]:
        """Pull a host's cable for as long as this lasts: its link has no carrier, and everything else stays."""
        index = _output(["docker", "exec", f"{self.name}-{host}", "cat", "/sys/class/net/eth0/iflink"]).strip()
        line = next(line for line in _output(["ip", "-oneline", "link"]).splitlines() if line.startswith(index + ":"))
        cable = line.split(": ")[1].partition("@")[0]
        _output(["ip", "link", "set", "dev", cable, "down"])
        try:
            yield
        finally:
            _output(["ip", "link", "set", "dev", cable, "up"])

    def containers(self, host: str, pod: str) -> list[str]:
        """Return the ids of a pod's running containers."""
        return self.run(host, f"crictl ps --quiet --label io.kubernetes.pod.name={pod}").split()


def _output(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def sleep_for(seconds: float) -> None:
    """Let time go by, because the length of a fault is what it is."""
    time.sleep(seconds)
