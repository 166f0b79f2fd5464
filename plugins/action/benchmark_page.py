# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``benchmark_page``: a benchmark's document to a page and pictures, on the controller."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..module_utils.benchmark_directory import differing, read_bytes, write_files
from ..plugin_utils.controller_action import ControllerAction
from ..plugin_utils.report_files import PAGE, former_files, read_document, report_files

ARGUMENTS = {
    "results_dir": {"type": "path", "required": True},
    "figures": {"type": "list", "elements": "str", "choices": ["svg", "png"], "default": ["svg", "png"]},
}


class ActionModule(ControllerAction):
    """Writes the files that differ, and removes pictures that are not made any more."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, path, figures}``."""
        directory = Path(options["results_dir"]).expanduser().absolute()
        if self._task.check_mode and not (directory / "benchmark.json").is_file():
            # The tasks before this one would have made it.
            return {"changed": False, "path": None, "figures": []}
        files = report_files(directory, read_document(directory), sorted(set(options["figures"])))
        stale = differing(directory, files)
        former = former_files(directory, files)
        before = _digests(directory, [*stale, *former])
        if not self._task.check_mode:
            write_files(directory, stale)
            for name in former:
                (directory / name).unlink()
            self._display.display(f"the page: {directory / PAGE}")
        after = {name: _digest(content) for name, content in stale.items()}
        return {
            "changed": bool(stale or former),
            "path": str(directory / PAGE),
            "figures": [str(directory / name) for name in files if name != PAGE],
            "diff": {"before": _listed(before), "after": _listed(after)},
        }


def _digests(directory: Path, names: Sequence[str]) -> dict[str, str]:
    found = {name: read_bytes(directory / name) for name in names}
    return {name: _digest(content) for name, content in found.items() if content is not None}


def _digest(content: bytes) -> str:
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()[:12]}"


def _listed(digests: dict[str, str]) -> str:
    return "".join(f"{name}: {digest}\n" for name, digest in sorted(digests.items()))
