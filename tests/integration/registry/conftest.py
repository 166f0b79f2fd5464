"""A laboratory of two hosts, the registry's playbook on it as a user runs it, and what its clients see."""

from __future__ import annotations

import base64
import json
import re
import shlex
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.ansible_command import ansible_playbook, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
NAME = "registry-test"
SUBNET = "172.30.32.0/24"
PASSWORD = "of many Words"
USERS = {"trainer": PASSWORD}


@dataclass(frozen=True)
class Played:
    """How a playbook ended: what it printed, and for each host how many tasks changed something."""

    code: int
    printed: str
    changed: dict[str, int]


class Site:
    """Two hosts, of which the first is the registry's."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        lab = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["lab"]
        self.addresses = {name: host["ansible_host"] for name, host in lab["hosts"].items()}
        self.registry = f"{self.addresses['cp1']}:5000"
        self.secrets = Path(lab["vars"]["ansible_ssh_private_key_file"]).with_name("registry")
        self.ca = self.secrets / "ca.crt"
        self._ssh = ["ssh", *shlex.split(lab["vars"]["ansible_ssh_args"])]

    def play(self, *options: str, playbook: str = "playbooks/registry.yml", **variables: Any) -> Played:
        """Run a playbook to its end, whatever that is."""
        given = json.dumps({"registry_users": USERS, **variables})
        done = subprocess.run(
            ansible_playbook("-i", str(self.inventory), playbook, "-e", given, *options),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip
        recap = re.finditer(r"^(\S+)\s+: ok=.* changed=(\d+)", done.stdout, re.MULTILINE)
        return Played(done.returncode, done.stdout + done.stderr, {match[1]: int(match[2]) for match in recap})

    def run(self, *options: str, **variables: Any) -> Played:
        """Run the registry's playbook, which has to succeed."""
        played = self.play(*options, **variables)
        assert played.code == 0, played.printed[-6000:]
        return played

    def on(self, host: str, command: str) -> str:
        """Run a shell's command on a host; return what it printed."""
        done = subprocess.run(
            [*self._ssh, f"root@{self.addresses[host]}", command],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *, ca: Path | None = None, password: str = "", name: str = "trainer") -> int:
        """Ask for the root of the registry's API as a client with an authority and a password; return the status."""
        request = urllib.request.Request(f"https://{self.registry}/v2/")
        if password:
            login = base64.b64encode(f"{name}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code

    def snapshot(self, host: str) -> str:
        """Return a host as text, without what changes by being looked at."""
        program = (ROOT / "molecule" / "default" / "files" / "snapshot.sh").read_text(encoding="utf-8")
        return self.on(host, f"sh -c {shlex.quote(program)}")


def lab(command: str, *options: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "lab.py"), command, f"--name={NAME}", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two hosts, fresh for the first test; the tests go on where the one before ended."""
    inventory = tmp_path_factory.mktemp("lab") / "inventory"
    try:
        lab("up", f"--subnet={SUBNET}", "--hosts=2", f"--inventory={inventory}")
        yield Site(inventory)
    finally:
        lab("down", f"--inventory={inventory}")


@pytest.fixture(scope="package")
def untouched(site: Site) -> str:
    """The registry's host as it was before anything happened to it."""
    return site.snapshot("cp1")
