"""The playbooks as a user types them, on this machine, with the real trainer and the real data set."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Played:
    """What a playbook run came to."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Changed tasks over all hosts, as the recap counts them."""
        return sum(int(number) for number in re.findall(r"changed=(\d+)", self.output.rpartition("PLAY RECAP")[2]))

    def succeeded(self) -> Played:
        """Return the run, which must have succeeded."""
        assert self.code == 0, self.output
        return self


@dataclass
class Desk:
    """Where a user sits: a checkout, an inventory, folders of their own."""

    repository: Path
    home: Path
    root: Path
    variables: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    inventory: Path | None = None
    #: Whether plays leave out the roles that prepare hosts: that they find nothing to do takes seconds, at every play.
    prepared: bool = True

    @property
    def results(self) -> Path:
        """Where results are written."""
        return self.home / "results"

    def command(self, playbook: str, *arguments: str, **words: object) -> list[str]:
        """Return the command line that a user would type, with this desk's folders."""
        given = {"dtf_root": str(self.root), "dtf_results_dir": str(self.results), **self.variables}
        extra = [f"-e{name}={value}" for name, value in words.items()]
        ansible_playbook = str(Path(sys.executable).with_name("ansible-playbook"))
        inventory = ["-i", str(self.inventory)] if self.inventory else []
        left_out = ["--skip-tags=dataset,trainer_environment"] if self.prepared else []
        return [ansible_playbook, *inventory, playbook, "-e", json.dumps(given), *extra, *left_out, *arguments]

    def _environment(self) -> dict[str, str]:
        own = {
            "ANSIBLE_CONFIG": str(self.repository / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
        }
        return {**os.environ, **own, **self.environment}

    def play(self, playbook: str, *arguments: str, **words: object) -> Played:
        """Run a playbook to its end."""
        done = subprocess.run(
            self.command(playbook, *arguments, **words),
            cwd=self.repository,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=880,
            check=False,
        )
        return Played(done.returncode, done.stdout)

    def begin(self, playbook: str, *arguments: str, **words: object) -> Begun:
        """Start a playbook in a session of its own, as a terminal does."""
        output = (self.home / "begun.txt").open("w", encoding="utf-8")
        process = subprocess.Popen(
            self.command(playbook, *arguments, **words),
            cwd=self.repository,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return Begun(self, process, self.home / "begun.txt")

    def runs(self, name: str) -> list[dict[str, object]]:
        """Return the run documents of a name, oldest first."""
        documents = [json.loads(path.read_text()) for path in (self.results / name).glob("*/run.json")]
        return sorted(documents, key=lambda document: str(document["created"]))

    def status(self, name: str) -> dict[str, object] | None:
        """Return the newest supervisor's status of a topology, straight from its file."""
        try:
            current = json.loads((self.root / "topologies" / name / "current.json").read_text())
            file = self.root / "topologies" / name / "runs" / current["run_id"] / "status.json"
            status: dict[str, object] = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        return status

    def processes(self) -> list[str]:
        """Return the command lines of all processes that work below this desk's root."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.root) in line and "ansible-playbook" not in line:
                found.append(line)
        return found


@dataclass
class Begun:
    """A playbook that is running."""

    desk: Desk
    process: subprocess.Popen[bytes]
    output: Path

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Return once a condition holds; the playbook must not end before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)

    def until_trained(self, name: str, step: int = 1) -> None:
        """Return once the chief of a topology has told of a global step."""

        def reached() -> bool:
            logs = (self.desk.root / "topologies" / name / "runs").glob("*/logs/worker-0.log")
            steps = [
                int(found) for log in logs for found in re.findall(r'"progress".*?"global_step":(\d+)', log.read_text())
            ]
            return any(found >= step for found in steps)

        self.until(reached)

    def interrupt(self) -> Played:
        """Press Ctrl-C and return what the playbook came to."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> Played:
        """Wait for the end."""
        return Played(self.process.wait(timeout=180), self.output.read_text())


@pytest.fixture(scope="session")
def prepared_root(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the data set and the trainer's environment, brought there by the roles once for all tests."""
    home = tmp_path_factory.mktemp("prepared")
    desk = Desk(repository, home, home / "root", prepared=False)
    desk.play("site.yml", "--tags", "dataset,trainer_environment").succeeded()
    return desk.root


@pytest.fixture
def desk(repository: Path, prepared_root: Path, tmp_path: Path, ports: tuple[int, int]) -> Desk:
    """A desk whose hosts are prepared and have no topology yet."""
    root = tmp_path / "root"
    root.mkdir()
    for part in ("data", "trainer"):
        (root / part).symlink_to(prepared_root / part)
    groups = {"ps": {"port": ports[0]}, "workers": {"port": ports[1]}}
    topology = {"topology_ps": groups["ps"], "topology_workers": groups["workers"], "benchmark_topology": groups}
    # Only who looks at the page has it drawn: it takes seconds, at every play.
    return Desk(repository, tmp_path, root, variables={**topology, "report_page": False})
