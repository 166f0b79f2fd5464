# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A benchmark's directory on the controller: ``plan.json``, one folder a run, and what is derived from them.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from pathlib import Path


def read_plan(directory: Path) -> dict[str, object] | None:
    """Return the plan, or ``None`` before there is one."""
    try:
        plan: dict[str, object] = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return plan


def read_runs(directory: Path) -> list[dict[str, object]]:
    """Return every run document of the benchmark, by run id."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*/run.json"))]


def read_text(path: Path) -> str | None:
    """Return a file's text, or ``None`` where there is no file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name("." + path.name + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
