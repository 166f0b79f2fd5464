"""A playbook as the command that a user of this checkout types: every suite that runs one starts it so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ansible_playbook(*words: str) -> list[str]:
    """Return a command line of this environment's ansible-playbook."""
    return [str(Path(sys.executable).parent / "ansible-playbook"), *words]


def environment() -> dict[str, str]:
    """Return the environment of a playbook in this checkout."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "0",
        "LC_ALL": "C.UTF-8",
        # What it prints is read while it runs, and Ansible leaves it to the system when that is written.
        "PYTHONUNBUFFERED": "1",
    }
