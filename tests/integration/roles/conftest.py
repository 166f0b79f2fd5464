"""A role as a play runs it, on this machine, in folders of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class Play:
    """One role on one host, with the variables it was given."""

    folder: Path
    role: str
    variables: dict[str, object] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Where the role leaves things."""
        return self.folder / "root"

    def run(self, *arguments: str, **variables: object) -> Played:
        """Run the role and return what came of it."""
        playbook = self.folder / "play.yml"
        plays = [{"hosts": "all", "gather_facts": False, "roles": [f"dtf.cluster.{self.role}"]}]
        playbook.write_text(json.dumps(plays), encoding="utf-8")
        given = {"dtf_root": str(self.root), **self.variables, **variables}
        beside = Path(sys.executable).with_name("ansible-playbook")
        command = str(beside) if beside.exists() else shutil.which("ansible-playbook")
        assert command, "ansible-playbook is neither beside this Python nor on PATH"
        done = subprocess.run(
            [
                command,
                "-i",
                str(REPOSITORY / "inventories" / "local"),
                "-e",
                json.dumps(given),
                *arguments,
                str(playbook),
            ],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_FORCE_COLOR": "0",
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        return Played(done.returncode, done.stdout + done.stderr)


@dataclass
class Played:
    """What a run of a role came to."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Return how many tasks changed something, after checking that none failed."""
        assert self.code == 0, self.output
        (number,) = re.findall(r"changed=(\d+)", self.output)
        return int(number)

    @property
    def failure(self) -> str:
        """Return the message of the task that failed, in one line."""
        assert self.code == 2, self.output
        found = re.search(r"^\s+msg: (.*?)(?=^\S|^    \S+:|\Z)", self.output, re.MULTILINE | re.DOTALL)
        assert found, self.output
        return re.sub(r"\s+", " ", found[1])


def tree(folder: Path) -> set[str]:
    """Return the paths of all files and links below ``folder``."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Return a folder with a small data set of one's own."""
    folder = tmp_path / "origin"
    folder.mkdir()
    for prefix, count in (("train", 4), ("t10k", 3)):
        images = struct.pack(">IIII", 2051, count, 28, 28) + bytes(784 * count)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(range(count)))
    return folder
