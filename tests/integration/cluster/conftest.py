"""A laboratory of the tests' own, and the collection's playbooks on it as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.integration.ansible_command import ansible_playbook, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "build" / "bundle"
NAME = "tests"
SUBNET = "172.30.4.0/24"


@dataclass(frozen=True)
class Laboratory:
    """Hosts that are there, and what can be done to them."""

    inventory: Path

    def start(self, playbook: str, *options: str) -> subprocess.Popen[str]:
        """Start a playbook in a session of its own, so that all of its processes can be killed at once."""
        return subprocess.Popen(
            ansible_playbook("-i", str(self.inventory), f"playbooks/{playbook}.yml", *options),
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

    def kubectl(self, *arguments: str) -> str:
        """Ask the cluster with the credentials that the playbook left."""
        hosts = yaml.safe_load((self.inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["lab"]
        kubeconfig = Path(hosts["vars"]["ansible_ssh_private_key_file"]).with_name("kubeconfig")
        command = [str(BUNDLE / "bin" / "kubectl"), "--kubeconfig", str(kubeconfig), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


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
