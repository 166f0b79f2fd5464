"""Builds the collection's artifact and installs it in a place of its own, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def command(name: str) -> str:
    """Return the path of a command of the Python environment this runs in."""
    return str(Path(sys.executable).with_name(name))


def environment(**extra: str) -> dict[str, str]:
    """Return the environment of a user who has the commands on PATH and no settings of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {**kept, "PATH": path, **extra}


def build(folder: Path) -> Path:
    """Build the artifact of this checkout into `folder` and return its path."""
    arguments = ["collection", "build", "--force", "--output-path", str(folder)]
    subprocess.run(
        [command("ansible-galaxy"), *arguments], cwd=ROOT, env=environment(), check=True, stdout=subprocess.DEVNULL
    )
    (artifact,) = folder.glob("dtf-cluster-*.tar.gz")
    return artifact


def install(artifact: Path, folder: Path) -> Path:
    """Install an artifact below `folder`/ansible_collections and return the collection's root."""
    # --force: the same version in the user's own collections would be reason enough to install nothing here.
    arguments = ["collection", "install", "--force", "--no-deps", "--collections-path", str(folder), str(artifact)]
    paths = environment(ANSIBLE_COLLECTIONS_PATH=str(folder))
    subprocess.run(
        [command("ansible-galaxy"), *arguments], cwd=folder, env=paths, check=True, stdout=subprocess.DEVNULL
    )
    return folder / "ansible_collections" / "dtf" / "cluster"
