# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``thesis_report``: runs of the thesis's experiments to verdicts, a page and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..module_utils.benchmark_directory import differing, read_plan, read_runs, read_text, write_files
from ..module_utils.errors import ActionFailed
from ..plugin_utils.controller_action import ControllerAction
from ..plugin_utils.thesis_document import thesis_document
from ..plugin_utils.thesis_experiments import EXPERIMENTS, NAMES
from ..plugin_utils.thesis_page import FIGURES, PAGE, thesis_files

ARGUMENTS = {
    "name": {"type": "str", "default": "thesis"},
    "results_dir": {"type": "path", "required": True},
    "figures": {"type": "list", "elements": "str", "choices": ["svg", "png"], "default": ["svg", "png"]},
}
#: Whatever else lies among the pictures is somebody's own.
OURS = {f"{FIGURES}/{name}.{extension}" for name in NAMES for extension in ("svg", "png")}


class ActionModule(ControllerAction):
    """Reads plans and runs, writes the files that differ, shows the verdicts."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, thesis, table, path}``."""
        results = Path(options["results_dir"]).expanduser().absolute()
        folders = {entry.name: results / f"{options['name']}-{entry.name}" for entry in EXPERIMENTS}
        measured = {name: (read_plan(folder), read_runs(folder)) for name, folder in folders.items()}
        if not any(runs for _plan, runs in measured.values()):
            if self._task.check_mode:
                return {"changed": False, "thesis": None, "table": "", "path": None}
            raise ActionFailed("no_runs", f"there is no run in {folders['kind-workers']} and its like: measure first")
        document = thesis_document(options["name"], {name: found for name, found in measured.items() if any(found)})
        files = thesis_files(document, sorted(set(options["figures"])))
        text = "\n".join([document["answer"], *_rows(document["claims"])]) + "\n"
        files["thesis.json"] = (json.dumps(document, indent=2) + "\n").encode("utf-8")
        files["summary.txt"] = text.encode("utf-8")
        return self._write(results / options["name"], files) | {"thesis": document, "table": text}

    def _write(self, directory: Path, files: dict[str, bytes]) -> dict[str, object]:
        before = read_text(directory / "summary.txt")
        stale = differing(directory, files)
        former = [name for name in sorted(OURS - set(files)) if (directory / name).is_file()]
        if not self._task.check_mode:
            write_files(directory, stale)
            for name in former:
                (directory / name).unlink()
        page = directory / PAGE
        self._display.display(f"\n{files['summary.txt'].decode('utf-8')}\nthe page: {page}\n")
        return {
            "changed": bool(stale or former),
            "path": str(page),
            "diff": {
                "before": before or "",
                "after": files["summary.txt"].decode("utf-8"),
            },
        }


def _rows(claims: list[dict[str, str]]) -> list[str]:
    """Return a line for each reading."""
    wide = max(len(claim["verdict"]) for claim in claims)
    return [
        f"  {claim['verdict'].replace('_', ' '):<{wide}}  {claim['experiment']}: {claim['reading']}" for claim in claims
    ]
