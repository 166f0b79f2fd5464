#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: TensorBoard over the runs of a benchmark."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tensorboard
short_description: Run TensorBoard over the runs of a benchmark
version_added: 0.1.0
description:
  - Starts a TensorBoard in the background that shows the summaries of all runs of a benchmark, each named by its words,
    as C(workers=2 ps=1/repeat 1); or stops it.
  - Of a run that kept none, as one of pods, it shows the curves that are in the run's document.
  - The server is known by its process's start time as well as its number, so that nothing else is ever stopped.
  - Runs that were made since are added on the next run of this module; the server finds them by itself.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Says what would be started, stopped or linked, and does none of it.
    support: full
  diff_mode:
    description: Shows the names of the runs and the address before and after.
    support: full
options:
  name:
    description: Name of the benchmark.
    type: str
    required: true
  state:
    description: V(present) runs a server, V(absent) stops it and removes what it was started with.
    type: str
    choices: [present, absent]
    default: present
  results_dir:
    description: Directory of the benchmark's results. Required with O(state=present).
    type: path
  python:
    description: Python that has TensorBoard. Required with O(state=present).
    type: path
  writer:
    description:
      - Program for O(python) that writes runs in TensorBoard's files, which it reads as JSON from its standard input.
        Required with O(state=present).
    type: path
  directory:
    description: Directory for the links to the runs, what was written of others, the server's log and who it is.
    type: path
    required: true
  host:
    description: Address that it listens on.
    type: str
    default: 127.0.0.1
  port:
    description: Port that it listens on. V(0) takes a free one.
    type: int
    default: 6006
seealso:
  - module: dtf.cluster.benchmark_report
"""

EXAMPLES = r"""
- name: Show the summaries
  dtf.cluster.tensorboard:
    name: sweep
    results_dir: results/sweep
    python: /opt/tensorboard/bin/python
    writer: /opt/tensorboard/write_summaries.py
    directory: ~/.local/share/dtf-cluster/tensorboard
  delegate_to: localhost

- name: Stop showing them
  dtf.cluster.tensorboard:
    name: sweep
    state: absent
    directory: ~/.local/share/dtf-cluster/tensorboard
  delegate_to: localhost
"""

RETURN = r"""
url:
  description: Where the server listens; C(null) where none runs.
  returned: success
  type: str
  sample: http://127.0.0.1:6006/
runs:
  description: Names of the runs that it shows.
  returned: success
  type: list
  elements: str
  sample: [workers=1 ps=1/repeat 1, workers=2 ps=1/repeat 1]
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: no_summaries, message: none of the 6 runs in results/sweep has anything to show}
"""

import json
import os
import shutil
import time
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import processes, tensorboard
from ..module_utils.benchmark_directory import read_runs
from ..module_utils.errors import ActionFailed, InvalidInput
from ..module_utils.programs import run as run_program
from ..module_utils.reader import Reader
from ..module_utils.spec import NAME_PATTERN
from ..module_utils.supervisor import write_json
from ..module_utils.topology_directory import read_json

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "results_dir": {"type": "path"},
    "python": {"type": "path"},
    "writer": {"type": "path"},
    "directory": {"type": "path", "required": True},
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 6006},
}
START_SECONDS = 90.0
LINES_TOLD = 15

Points = list[dict[str, Any]]


class Board:
    """The folder of one server: links to runs, what was written of those without summaries, log, who it is."""

    def __init__(self, directory: str, name: str) -> None:
        self.path = Path(directory).absolute() / name
        self.runs = self.path / "runs"
        self.written = self.path / "written"
        self.log = self.path / "tensorboard.log"

    def server(self) -> dict[str, Any] | None:
        """Return ``{pid, start_ticks, boot_id, argv, url}`` of the server that was started last, if it lives."""
        found = read_json(self.path / "server.json")
        return found if processes.alive(found) else None

    def links(self) -> dict[str, str]:
        """Return each run's name with where it leads."""
        return {
            str(path.relative_to(self.runs)): str(path.readlink())
            for path in sorted(self.runs.glob("*/*"))
            if path.is_symlink()
        }

    def link(self, wanted: Mapping[str, str]) -> None:
        """Bring the links into their state."""
        present = self.links()
        for name in present:
            if wanted.get(name) != present[name]:
                (self.runs / name).unlink()
        for name, target in wanted.items():
            if present.get(name) != target:
                (self.runs / name).parent.mkdir(parents=True, exist_ok=True)
                (self.runs / name).symlink_to(target)
        for folder in self.runs.glob("*"):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def unwritten(self, wanted: Mapping[str, Points]) -> dict[str, Points]:
        """Return which runs have yet to be written."""
        return {run_id: points for run_id, points in wanted.items() if not (self.written / run_id).is_dir()}

    def forget(self, shown: Container[str]) -> None:
        """Remove what is written of runs that are not shown, or not by that, any more."""
        for place in self.written.glob("*"):
            if place.name not in shown:
                shutil.rmtree(place)

    def write(self, missing: Mapping[str, Points], python: str, writer: str) -> None:
        """Write runs, each whole.

        Raises:
            ActionFailed: the writer did not end well.
        """
        drafts = self.path / "drafts"
        shutil.rmtree(drafts, ignore_errors=True)
        asked = [{"folder": str(drafts / run_id), "points": points} for run_id, points in missing.items()]
        ended = run_program([python, writer], stdin=json.dumps(asked))
        if ended.returncode:
            words = "\n".join((ended.stdout + ended.stderr).splitlines()[-LINES_TOLD:]).strip()
            raise ActionFailed("not_written", f"{writer} ended with {ended.returncode}; its last words: {words}")
        self.written.mkdir(exist_ok=True)
        for run_id in missing:
            (drafts / run_id).replace(self.written / run_id)
        drafts.rmdir()

    def start(self, argv: list[str]) -> str:
        """Start a server and return where it listens.

        Raises:
            ActionFailed: it ended, or did not listen in time.
        """
        identity = processes.begin(argv, self.log)
        # Before anything is waited for: whoever comes after a play that was broken off must find it.
        write_json(self.path / "server.json", dict(identity or {"pid": 0, "start_ticks": 0, "boot_id": ""}, argv=argv))
        deadline = time.monotonic() + START_SECONDS
        while processes.alive(identity) and time.monotonic() < deadline:
            url = tensorboard.address(self._written())
            if url is not None:
                write_json(self.path / "server.json", dict(identity or {}, argv=argv, url=url))
                return url
            time.sleep(0.1)
        if identity is not None:
            processes.end(identity)
        words = "\n".join(self._written().splitlines()[-LINES_TOLD:]).strip()
        raise ActionFailed("not_started", f"TensorBoard did not start; its last words: {words or 'none'}")

    def _written(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def remove(self) -> None:
        """Remove what a server was started with; what is not ours is left, and keeps its folder."""
        self.link({})
        for folder in (self.written, self.path / "drafts"):
            shutil.rmtree(folder, ignore_errors=True)
        for path in (self.log, self.path / "server.json"):
            path.unlink(missing_ok=True)
        for folder in (self.runs, self.path):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def wanted_runs(params: Mapping[str, Any], board: Board) -> tuple[dict[str, str], dict[str, Points]]:
    """Return the name of each run that has something to show, with its folder, and what of those is to be written.

    Raises:
        ActionFailed: there is no run, or none has anything to show.
    """
    folder = Path(params["results_dir"]).absolute()
    runs = {str(run["run_id"]): run for run in read_runs(folder)}
    if not runs:
        raise ActionFailed("no_runs", f"there is no run in {folder}: run the benchmark first")
    links, told = {}, {}
    for name, run_id in tensorboard.run_names(list(runs.values())).items():
        kept = folder / run_id / "summaries"
        if kept.is_dir() and any(kept.iterdir()):
            links[name] = str(kept)
        elif points := tensorboard.points(runs[run_id]):
            links[name], told[run_id] = str(board.written / run_id), points
    if not links:
        raise ActionFailed(
            "no_summaries",
            f"none of the {len(runs)} runs in {folder} has anything to show: none got so far in its training as to "
            "keep summaries or to tell of it; see each run.json for its cause",
        )
    return links, told


def check(params: Mapping[str, Any], server: Mapping[str, Any] | None, check_mode: bool) -> None:
    """Return if a server can be run as it is asked for.

    Raises:
        InvalidInput: with every problem.
    """
    reader = Reader()
    reader.text("name", params["name"], NAME_PATTERN, "1 to 40 lower-case letters, digits and inner hyphens", "x")
    if params["state"] == "present":
        port = reader.integer("port", params["port"], 0, 65535)
        if not Path(params["results_dir"]).is_dir():
            reader.problem("results_dir", params["results_dir"], "a benchmark's folder")
        if not check_mode and not os.access(params["python"], os.X_OK):
            reader.problem("python", params["python"], "a Python that has TensorBoard")
        if not Path(params["writer"]).is_file():
            reader.problem("writer", params["writer"], "a program that writes TensorBoard's files")
        own = server is not None and f":{port}/" in str(server.get("url"))
        owner = None if own or not port else processes.listener("{}:{}".format(params["host"], port))
        if owner is not None:
            reader.problem("port", port, f"a port of {params['host']} that is free, or 0; {owner} has it")
    if reader.problems:
        raise InvalidInput("tensorboard", reader.problems)


def present(board: Board, params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Run a server over all runs that there are."""
    server = board.server()
    check(params, server, check_mode)
    (wanted, told), before = wanted_runs(params, board), board.links()
    missing = board.unwritten(told)
    argv = tensorboard.command(params["python"], str(board.runs), params["host"], params["port"])
    url = server.get("url") if server else None
    right = server is not None and server["argv"] == argv and url is not None
    after = url if right else "a new server"
    if not check_mode:
        board.runs.mkdir(parents=True, exist_ok=True)
        board.forget(told)
        if missing:
            board.write(missing, params["python"], params["writer"])
        board.link(wanted)
        if not right:
            if server is not None:
                processes.end(server)
            url = after = board.start(argv)
    return {
        "changed": not right or wanted != before or bool(missing),
        "url": url if right or not check_mode else None,
        "runs": list(wanted),
        "diff": {"before": _described(url if right else server and server.get("url"), before),
                 "after": _described(after, wanted)},
    }  # fmt: skip


def absent(board: Board, params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Stop the server, and nothing else."""
    check(params, None, check_mode)
    server, links = board.server(), board.links()
    there = board.path.exists()
    if not check_mode:
        if server is not None:
            processes.end(server)
        board.remove()
    before = _described(server.get("url") if server else None, links)
    return {"changed": there, "url": None, "runs": [], "diff": {"before": before, "after": ""}}


def _described(url: object, links: Mapping[str, str]) -> str:
    """Return a server and its runs, a line each."""
    return "".join(f"{line}\n" for line in ([str(url)] if url else []) + sorted(links))


def main() -> None:
    """Read the arguments, act, answer."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ("results_dir", "python", "writer"))],
        supports_check_mode=True,
    )
    act = {"present": present, "absent": absent}[module.params["state"]]
    try:
        result = act(Board(module.params["directory"], module.params["name"]), module.params, module.check_mode)
    except (InvalidInput, ActionFailed) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
