"""Modules run as Ansible runs them, but directly: one process each, arguments in a file, JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = "ansible_collections.dtf.cluster.plugins.modules"


class Host:
    """This machine as a training host with a root of its own."""

    def __init__(self, repository: Path, root: Path, ports: tuple[int, int]) -> None:
        self.repository = repository
        self.root = root
        self.ports = ports
        self.environment: dict[str, str] = {}

    def module(self, module: str, check: bool = False, diff: bool = True, **arguments: object) -> dict[str, object]:
        """Run a module and return its result; a failed one has ``failed`` set."""
        given = {"root": str(self.root), **arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
        file = self.root.parent / "arguments.json"
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", f"{PACKAGE}.{module}", str(file)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **self.environment, "PYTHONPATH": str(self.repository / "collections")},
        )
        assert done.stdout, done.stderr
        result: dict[str, object] = json.loads(done.stdout)
        return result

    def topology(self, name: str = "t", check: bool = False, **changes: object) -> dict[str, object]:
        """Apply a small topology of fake tasks; what it is refused for stands in the result."""
        arguments: dict[str, object] = {
            "name": name,
            "hosts": [{"name": "localhost", "address": "127.0.0.1"}],
            "python": str(self.repository / "tests/fixtures/fake_trainer"),
            "data_dir": str(self.root),
            "ps": {"port": self.ports[0]},
            "workers": {"port": self.ports[1]},
        }
        return self.module("topology", check=check, **{**arguments, **changes})

    def state(self, name: str = "t") -> dict[str, object]:
        """Return what the host knows of a topology."""
        return self.module("topology_info", name=name)["topology"]  # type: ignore[return-value]

    def until(
        self, predicate: Callable[[dict[str, object]], bool], name: str = "t", seconds: float = 40
    ) -> dict[str, object]:
        """Return the topology's state once the predicate holds."""
        deadline = time.monotonic() + seconds
        while True:
            state = self.state(name)
            if predicate(state):
                return state
            assert time.monotonic() < deadline, f"still {state}"
            time.sleep(0.2)

    def until_event(self, event: str) -> dict[str, object]:
        """Return the topology's state once its chief has told an event."""
        quoted = f'"event": "{event}"'
        return self.until(lambda _state: quoted in self.run_file("logs/worker-0.log").read_text())

    def until_phase(self, phase: str, name: str = "t") -> dict[str, object]:
        """Return the topology's state once it is in a phase."""
        return self.until(lambda state: state["phase"] == phase, name)

    def run_file(self, file: str, name: str = "t") -> Path:
        """Return a file of the newest run's directory."""
        topology = self.root / "topologies" / name
        return topology / "runs" / str(json.loads((topology / "current.json").read_text())["run_id"]) / file


def task_of(state: Mapping[str, object], role: str, index: int) -> dict[str, object]:
    """Return one task's record."""
    return next(task for task in state["tasks"] if (task["role"], task["index"]) == (role, index))  # type: ignore[attr-defined]


@pytest.fixture
def host(repository: Path, tmp_path: Path, ports: tuple[int, int]) -> Iterator[Host]:
    """A host with an empty root; what a test leaves running is ended."""
    root = tmp_path / "root"
    root.mkdir()
    own = Host(repository, root, ports)
    yield own
    for directory in (root / "topologies").glob("*"):
        own.module("topology", name=directory.name, state="absent")
