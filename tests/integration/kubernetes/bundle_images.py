"""Images that the bundle has beside a cluster's own, on the nodes of a laboratory."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.integration.ansible_command import ansible_playbook, environment

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(__file__).with_suffix(".yml")


def reference(name: str) -> str:
    """Return what an image of the bundle is called, with its tag."""
    manifest = json.loads((ROOT / "build/bundle/manifest.json").read_text(encoding="utf-8"))
    return next(str(entry["reference"]) for entry in manifest["artifacts"] if entry["name"] == name)


def load(inventory: Path, *names: str) -> None:
    """Bring images to each node that takes pods."""
    given = {"bundle_images": [reference(name) for name in names]}
    done = subprocess.run(
        ansible_playbook("-i", str(inventory), str(PLAYBOOK), "-e", json.dumps(given)),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-4000:]
