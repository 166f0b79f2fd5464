"""A laboratory of the tests' own, and the collection's playbooks on it as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.ansible_command import ansible_playbook, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
NAME = "tests"
SUBNET = "172.30.4.0/24"


@dataclass(frozen=True)
class Laboratory:
    """Hosts that are there, and what can be done to them."""

    inventory: Path

    def start(self, playbook: str, *options: str) -> subprocess.Popen[str]:
        """Start a playbook in a session of its own, so that all of its processes can be killed at once."""
        return subprocess.Popen(
            ansible_playbook("-i", str(self.inventory), playbook, *options),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self, playbook: str, *options: str) -> str:
        """Run a playbook to its end; return what it printed."""
        running = self.start(playbook, *options)
        printed, _nothing = running.communicate(timeout=500)
        assert running.returncode == 0, printed[-6000:]
        return printed


def changed(printed: str) -> dict[str, int]:
    """Return host to number of changed tasks, from a playbook's recap."""
    return {match[1]: int(match[2]) for match in re.finditer(r"^(\S+)\s+: ok=.* changed=(\d+)", printed, re.MULTILINE)}


def lab(command: str, *options: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "lab.py"), command, f"--name={NAME}", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="package")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Three hosts, fresh for the first test; whatever a test leaves there, the others bring to what they need."""
    inventory = tmp_path_factory.mktemp("lab") / "inventory"
    lab("up", f"--subnet={SUBNET}", "--hosts=3", f"--inventory={inventory}")
    yield Laboratory(inventory)
    lab("down", f"--inventory={inventory}")
