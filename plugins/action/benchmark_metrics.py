# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``benchmark_metrics``: a benchmark's document to a file that Prometheus reads, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils.benchmark_directory import read_text, write_text
from ..module_utils.errors import InvalidInput, Problem
from ..plugin_utils.controller_action import ControllerAction
from ..plugin_utils.metrics import metrics
from ..plugin_utils.report_files import read_document

ARGUMENTS = {
    "results_dir": {"type": "path", "required": True},
    "textfile": {"type": "path", "default": ""},
}
FILE = "metrics.prom"


class ActionModule(ControllerAction):
    """Writes the metrics beside the benchmark, and where a collector picks them up."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, paths}``."""
        directory = Path(options["results_dir"]).expanduser().absolute()
        if self._task.check_mode and not (directory / "benchmark.json").is_file():
            # The tasks before this one would have made it.
            return {"changed": False, "paths": []}
        paths = [directory / FILE, *_textfile(options["textfile"])]
        text = metrics(read_document(directory))
        before = {path: read_text(path) for path in paths}
        stale = [path for path in paths if before[path] != text]
        if not self._task.check_mode:
            for path in stale:
                write_text(path, text)
        return {
            "changed": bool(stale),
            "paths": [str(path) for path in paths],
            "diff": [
                {"before_header": str(path), "after_header": str(path), "before": before[path] or "", "after": text}
                for path in stale
            ],
        }


def _textfile(given: str) -> list[Path]:
    """Return the place that a collector watches, if one was given.

    Raises:
        InvalidInput: nothing would pick it up there.
    """
    if not given:
        return []
    path = Path(given).expanduser().absolute()
    # The collector reads nothing else; the draft that replaces the file has another ending, so it never sees a half.
    if path.suffix != ".prom" or not path.parent.is_dir():
        accepted = "a file whose name ends in .prom, in a folder that exists"
        raise InvalidInput("the metrics", [Problem("textfile", given, accepted)])
    return [path]
