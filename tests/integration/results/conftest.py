"""Playbooks that read results: as a user types them, on benchmarks that were never run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class Desk:
    """A checkout, and a folder of results."""

    repository: Path
    results: Path

    def play(self, playbook: str, *arguments: str) -> tuple[int, str]:
        """Run a playbook and return its exit code with what it printed."""
        command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook]
        environment = {"ANSIBLE_CONFIG": str(self.repository / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            [*command, f"-edtf_results_dir={self.results}", *arguments],
            cwd=self.repository,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    def compare(self, before: str, after: str, *arguments: str) -> tuple[int, str]:
        """Compare two benchmarks by their names."""
        folders = [f"-ebefore={self.results / before}", f"-eafter={self.results / after}"]
        return self.play("compare.yml", *folders, *arguments)


@pytest.fixture
def desk(repository: Path, tmp_path: Path) -> Desk:
    """A desk without results."""
    return Desk(repository, tmp_path)
