# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``benchmark_report``: run documents to a benchmark's summary, on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..module_utils.benchmark_directory import differing, read_plan, read_runs, read_text, write_files
from ..module_utils.errors import ActionFailed
from ..plugin_utils.benchmark_document import benchmark_document, check_judgement
from ..plugin_utils.benchmark_tables import cells_csv, runs_csv, table
from ..plugin_utils.controller_action import ControllerAction

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "results_dir": {"type": "path", "required": True},
    "gain_threshold": {"type": "float"},
}


class ActionModule(ControllerAction):
    """Reads plan and runs, writes what is derived from them where it differs, shows the table."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, benchmark, table, path}``."""
        directory = Path(options["results_dir"]).expanduser().absolute()
        check_judgement(options["name"], options["gain_threshold"])
        plan, runs = read_plan(directory), read_runs(directory)
        if plan is None and not runs:
            if self._task.check_mode:
                return {"changed": False, "benchmark": None, "table": "", "path": None}
            raise ActionFailed("no_runs", f"there is no plan.json and no run in {directory}: run the benchmark first")
        document = benchmark_document(options["name"], runs, plan, options["gain_threshold"])
        return self._write(directory, document)

    def _write(self, directory: Path, document: dict[str, Any]) -> dict[str, object]:
        text = table(document)
        texts = {
            "benchmark.json": json.dumps(document, indent=2) + "\n",
            "runs.csv": runs_csv(document),
            "cells.csv": cells_csv(document),
            "summary.txt": text + "\n",
        }
        before = read_text(directory / "summary.txt")
        stale = differing(directory, {name: content.encode("utf-8") for name, content in texts.items()})
        if not self._task.check_mode:
            write_files(directory, stale)
        path = directory / "benchmark.json"
        self._display.display(f"\n{text}\n\nall of it: {path}\n")
        return {
            "changed": bool(stale),
            "benchmark": document,
            "table": texts["summary.txt"],
            "path": str(path),
            "diff": {"before": before or "", "after": texts["summary.txt"]},
        }
