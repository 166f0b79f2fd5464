"""Labs of the tests' own: their names and subnets are in nobody's way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from laboratory import machine
from laboratory.spec import routes

Command = Callable[..., subprocess.CompletedProcess[str]]


class Lab:
    """A lab that a test makes, by the command a user has.

    Args:
        command: runs a command line where the lab is.
        name: of the lab.
        folder: its inventory is there.
        tool: path of the laboratory's program.
    """

    def __init__(self, command: Command, name: str, folder: Path, tool: Path) -> None:
        self.command = command
        self.name = name
        self.folder = folder
        self.tool = tool

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the laboratory for this lab."""
        done = self.command([sys.executable, str(self.tool), *words, "--name", self.name])
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done

    def hosts(self, *words: str, check: bool = True) -> list[dict[str, Any]]:
        """Run such a command and return the hosts it tells of."""
        found: list[dict[str, Any]] = json.loads(self.run(*words, "--format", "json", check=check).stdout)["hosts"]
        return found

    def inside(self, host: str, script: str) -> str:
        """Return what a script prints in a host, reached by Docker."""
        done = self.command(["docker", "exec", f"{self.name}-{host}", "bash", "-euo", "pipefail", "-c", script])
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()

    def ansible(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ansible on the lab's inventory."""
        program = str(Path(sys.executable).with_name("ansible"))
        return self.command([program, "--inventory", str(self.folder), *words])


def run_here(words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command on this machine."""
    settings = {**machine.environment(), **environment}
    return subprocess.run(
        words, check=False, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="package")
def root() -> None:
    """Skip where nobody may make hosts."""
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    if not machine.has("apt-get") and not machine.has("debootstrap"):
        pytest.skip("a lab's image is made by debootstrap")


@pytest.fixture(scope="package")
def tool() -> Path:
    """The laboratory's program."""
    return Path(__file__).resolve().parents[3] / "tools" / "lab.py"


@pytest.fixture(scope="package")
def subnets(root: None) -> Iterator[str]:  # noqa: ARG001 # first of all, it may be that nothing here is possible
    """Subnets that this machine does not reach."""
    taken = [route.range for route in routes(machine.routes())]
    candidates = IPv4Network("172.31.128.0/17").subnets(new_prefix=24)
    return iter([str(subnet) for subnet in candidates if not any(subnet.overlaps(other) for other in taken)])


@pytest.fixture(scope="package")
def free_subnet(subnets: Iterator[str]) -> str:
    """The first of them."""
    return next(subnets)


@pytest.fixture(scope="package")
def another_subnet(free_subnet: str, subnets: Iterator[str]) -> str:  # noqa: ARG001 # which is the first
    """The second."""
    return next(subnets)
