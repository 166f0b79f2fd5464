# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A benchmark's directory on the controller: ``plan.json``, one folder a run, and what is derived from them.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ActionFailed

#: Which run is being made now, or was when a playbook was broken off.
NOTE = ".current.json"


def read_plan(directory: Path) -> dict[str, object] | None:
    """Return the plan, or ``None`` before there is one."""
    try:
        plan: dict[str, object] = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return plan


def read_runs(directory: Path) -> list[dict[str, object]]:
    """Return every run document of the benchmark, by run id.

    Raises:
        ActionFailed: one cannot be read; all that cannot be are named.
    """
    runs, damaged = [], []
    for path in sorted(directory.glob("*/run.json")):
        try:
            runs.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            damaged.append(f"{path}: {error}")
    if damaged:
        raise ActionFailed("damaged", "no run document, delete the file or bring it back: " + "; ".join(damaged))
    return runs


def read_other_runs(directory: Path) -> list[dict[str, object]]:
    """Return the run documents of the benchmarks and trainings beside this one; what cannot be read is left out."""
    found = []
    for path in sorted(directory.parent.glob("*/*/run.json")):
        if path.parent.parent == directory:
            continue
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue
    return found


def note_run(
    directory: Path, benchmark: Mapping[str, object], known: Sequence[str], topology: Mapping[str, Any]
) -> None:
    """Note which run is being made, beside which documents, and where."""
    where = {
        "runtime": topology["runtime"],
        "hosts": [host["name"] for host in topology["hosts"]],
        "namespace": topology["kubernetes"]["namespace"] if topology["runtime"] == "kubernetes" else None,
    }
    note = {"benchmark": dict(benchmark), "known": list(known), "where": where}
    write_text(directory / NOTE, json.dumps(note) + "\n")


def interrupted_run(directory: Path) -> dict[str, Any] | None:
    """Return which run was being made when a playbook was broken off; ``None`` if the last one has its document.

    Returns:
        ``benchmark``, what its document is to say of the benchmark, and ``where``: runtime, the names of the hosts of
        processes, the namespace of pods; ``None`` in a note of an earlier version.
    """
    text = read_text(directory / NOTE)
    if text is None:
        return None
    note = json.loads(text)
    if {path.parent.name for path in directory.glob("*/run.json")} - set(note["known"]):
        return None
    return {"benchmark": note["benchmark"], "where": note.get("where")}


def read_bytes(path: Path) -> bytes | None:
    """Return what is in a file, or ``None`` where there is no file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def read_text(path: Path) -> str | None:
    """Return a file's text, or ``None`` where there is no file."""
    content = read_bytes(path)
    return None if content is None else content.decode("utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file at once, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name("." + path.name + ".new")
    draft.write_bytes(content)
    draft.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, making its folder if need be."""
    write_bytes(path, text.encode("utf-8"))


def differing(directory: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the derived files, by their paths below the directory, that are not there or not the same."""
    return {name: content for name, content in files.items() if read_bytes(directory / name) != content}


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Replace files, each at once."""
    for name, content in files.items():
        write_bytes(directory / name, content)
