# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``benchmark_compare``: two folders of run documents to a verdict on each cell, on the controller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..module_utils.benchmark_directory import differing, read_text, write_files
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.reader import Reader
from ..plugin_utils.benchmark_comparison import FAILS_ON, Side, comparison, nothing_shared, table, unreadable
from ..plugin_utils.controller_action import ControllerAction

# What is wrong with any of them is told together with the rest, so nothing is refused here.
ARGUMENTS = {
    "before": {"type": "raw", "required": True},
    "after": {"type": "raw", "required": True},
    "threshold": {"type": "raw", "default": 0.0},
    "fail_on": {"type": "raw", "default": "slower"},
    "output": {"type": "raw", "default": ""},
}
#: Cells that the message of a failed comparison names; the table has all.
MOST_NAMED = 3
DOCUMENT, TEXT = "comparison.json", "comparison.txt"


class ActionModule(ControllerAction):
    """Reads both folders, shows the table, writes where it is told to, fails as it is told to."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, comparison, table, path}``."""
        before, after, threshold, fail_on, output = read_input(options)
        document = comparison(before, after, threshold, fail_on)
        nothing = nothing_shared(document)
        if nothing:
            raise ActionFailed("nothing_to_compare", nothing)
        text = table(document)
        self._display.display(f"\n{text}\n")
        result = {"comparison": document, "table": text + "\n", **self._written(document, text, output)}
        if document["failed"]:
            message = _failing(document)
            # The table has said it; the whole document once more would hide it.
            del result["comparison"], result["table"], result["diff"]
            failure = {"code": "differs", "message": message, "details": {"verdicts": document["verdicts"]}}
            result.update(failed=True, msg=message, failure=failure)
        return result

    def _written(self, document: Mapping[str, Any], text: str, output: Path | None) -> dict[str, object]:
        if output is None:
            return {"changed": False, "path": None, "diff": {"before": "", "after": ""}}
        texts = {DOCUMENT: json.dumps(document, indent=2) + "\n", TEXT: text + "\n"}
        before = read_text(output / TEXT)
        stale = differing(output, {name: content.encode("utf-8") for name, content in texts.items()})
        if not self._task.check_mode:
            write_files(output, stale)
        diff = {"before": before or "", "after": texts[TEXT]}
        return {"changed": bool(stale), "path": str(output / DOCUMENT), "diff": diff}


def _failing(document: Mapping[str, Any]) -> str:
    """Return what a pipeline fails for, in a line."""
    bad = [cell for cell in document["cells"] if cell["verdict"] in FAILS_ON[document["fail_on"]]]
    named = "; ".join(f"{cell['label']} {cell['statement']}" for cell in bad[:MOST_NAMED])
    named += f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    return f"{len(bad)} of {len(document['cells'])} cells fail the comparison (fail_on {document['fail_on']}): {named}"


def read_input(options: Mapping[str, object]) -> tuple[Side, Side, float, str, Path | None]:
    """Return both folders with their runs, the threshold, what to fail on, and where to write.

    Raises:
        InvalidInput: with every problem of all of them.
    """
    reader = Reader()
    folders = {name: str(options[name] or "") for name in ("before", "after")}
    sides = {name: _read_side(name, folder, reader.problems) for name, folder in folders.items()}
    if all(folders.values()) and len({Path(folder).expanduser().resolve() for folder in folders.values()}) == 1:
        reader.problem("after", folders["after"], "another folder than before")
    threshold = reader.number("threshold", options["threshold"], 0, 0.99)
    fail_on = reader.choice("fail_on", options["fail_on"], tuple(FAILS_ON))
    output = Path(str(options["output"])).expanduser().absolute() if options["output"] else None
    if output is not None and _file_in_the_way(output):
        reader.problem("output", options["output"], "a folder, or the path of one that can be made")
    if reader.problems:
        raise InvalidInput("the comparison", reader.problems)
    return sides["before"], sides["after"], threshold, fail_on, output


def _file_in_the_way(folder: Path) -> bool:
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return not existing.is_dir()


def _read_side(name: str, given: str, problems: list[Problem]) -> Side:
    """Return a folder's runs; what cannot be read is a problem of its own."""
    accepted = "a benchmark's folder, as results/benchmark, with a run.json in each run's folder"
    folder = Path(given).expanduser().absolute()
    if not given or not folder.is_dir():
        problems.append(Problem(name, given, accepted + (f" ({folder} is none)" if given else "")))
        return Side(given, ())
    paths = sorted(folder.glob("*/run.json"))
    if not paths:
        problems.append(Problem(name, given, f"{accepted} ({folder} has none)"))
    runs = []
    for path in paths:
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            reason = unreadable(run)
        except (OSError, ValueError) as error:
            reason = f"a run document that can be read ({error})"
        if reason:
            problems.append(Problem(f"{name}: {path.parent.name}/run.json", given, reason))
        else:
            runs.append(run)
    return Side(given, runs)
