# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run's directory on the controller: what was fetched, the run document, and how hosts that wait at once meet.

::

    <results_dir>/<run_id>/
        run.json  events.jsonl  logs/  checkpoint/  export/  summaries/
        objects.json            of pods: what Kubernetes said of them in the end
        .hosts/<host>.json      what one host's waiting action tells the others; gone when run.json is there

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..module_utils.events import Event, parse
from ..module_utils.hosts import Task
from ..module_utils.supervisor import write_json
from ..module_utils.topology_directory import CHECKPOINT

OBJECTS = "objects.json"


class RunResults:
    """The directory of one run below the user's results."""

    def __init__(self, results_dir: str, run_id: str) -> None:
        self.path = Path(results_dir).expanduser().absolute() / run_id
        self._document = self.path / "run.json"
        self._hosts = self.path / ".hosts"

    @property
    def document_path(self) -> str:
        """Where the run document is, or will be."""
        return str(self._document)

    def document(self) -> dict[str, object] | None:
        """Return the run document, or ``None`` before it was written."""
        return _read(self._document)

    def write_document(self, document: Mapping[str, object]) -> None:
        """Write the run document; the hosts' notes have then served."""
        draft = self._document.with_name(".run.json.new")
        draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        draft.replace(self._document)
        shutil.rmtree(self._hosts, ignore_errors=True)

    def publish(self, host: str, note: Mapping[str, object]) -> None:
        """Tell the actions that wait on the other hosts how it stands on this one."""
        self._hosts.mkdir(parents=True, exist_ok=True)
        write_json(self._hosts / (host + ".json"), note)

    def notes(self) -> dict[str, dict[str, object]]:
        """Return what every host has told so far, by host."""
        notes = {path.stem: _read(path) for path in self._hosts.glob("*.json")}
        return {host: note for host, note in notes.items() if note is not None}

    def unpack(self, archive: str) -> None:
        """Unpack what a host left; only plain files and folders below the run's directory are accepted."""
        with tarfile.open(archive) as packed:
            for member in packed.getmembers():
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                    raise ValueError(f"{member.name} in what the host sent is no plain file of a run")
                target = self.path / name
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                source = packed.extractfile(member)
                if source is not None:
                    with source, target.open("wb") as copy:
                        shutil.copyfileobj(source, copy)

    def log_lines(self, task: Task) -> list[str]:
        """Return the lines of a task's log, none if it has not been fetched."""
        path = self.path / "logs" / (task.name + ".log")
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []

    def write_logs(self, logs: Mapping[str, Sequence[str]]) -> None:
        """Write the log of each task, by the task's name."""
        folder = self.path / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in logs.items():
            (folder / f"{name}.log").write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def write_objects(self, objects: Mapping[str, object]) -> None:
        """Write the objects of a run of pods as they were in the end."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / OBJECTS).write_text(json.dumps(objects, indent=2) + "\n", encoding="utf-8")

    def logs(self, tasks: Sequence[Task]) -> dict[str, list[str]]:
        """Return the lines of each task's log, by the task's name."""
        return {task.name: self.log_lines(task) for task in tasks}

    def write_events(self, logs: Mapping[str, Sequence[str]], run_id: str) -> list[Event]:
        """Read the events in the lines of each task's log, write them by wall time to ``events.jsonl``, return them."""
        found = [(event, line) for log in logs.values() for line in log for event in parse([line], run_id)]
        by_wall = sorted(found, key=lambda pair: pair[0].wall)
        text = "".join(line.partition(" ")[2] + "\n" for _event, line in by_wall)
        (self.path / "events.jsonl").write_text(text, encoding="utf-8")
        return [event for event, _line in found]

    def artifacts(self, logs: Mapping[str, Sequence[str]]) -> dict[str, object]:
        """Return the relative paths of what was kept; ``None`` for what the run did not leave."""
        return {
            "logs": {name: f"logs/{name}.log" for name, lines in logs.items() if lines},
            "events": "events.jsonl",
            "export": "export" if (self.path / "export" / "saved_model.pb").is_file() else None,
            "checkpoint": CHECKPOINT if (self.path / CHECKPOINT).is_file() else None,
        }

    def artifacts_of_pods(self, logs: Mapping[str, Sequence[str]]) -> dict[str, object]:
        """Return the relative paths of what was kept of pods, whose model and checkpoint stay on their volume."""
        return {**self.artifacts(logs), "objects": OBJECTS}


def _read(path: Path) -> dict[str, object] | None:
    try:
        document: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return document
