# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``benchmark_run``: whether a run is to be made now, and the record of one that could not begin.

It works on the controller's files alone. As a module it took half a second of processor before each run, on what may be
one of the hosts that are measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..module_utils import sweep
from ..module_utils.benchmark_directory import note_run, read_other_runs, read_plan, read_runs, write_text
from ..module_utils.errors import ActionFailed
from ..module_utils.hosts import new_run_id
from ..module_utils.run_document import refused_document
from ..module_utils.spec import Topology
from ..plugin_utils.controller_action import ControllerAction

ARGUMENTS = {
    "results_dir": {"type": "path", "required": True},
    "number": {"type": "int", "required": True},
    "retry_since": {"type": "float"},
    "refused": {"type": "list", "elements": "dict"},
    "versions": {"type": "dict", "default": {}},
}


class ActionModule(ControllerAction):
    """Looks at the plan and the runs, answers, and notes what is being made."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, wanted, reason, benchmark, label}``."""
        directory, number, refused = Path(options["results_dir"]), options["number"], options["refused"] or []
        plan: sweep.Document = read_plan(directory) or {"runs": []}
        slot = next((slot for slot in sweep.slots(plan) if slot.number == number), None)
        if slot is None:
            raise ActionFailed("no_plan", f"there is no run {number} in the plan of {directory}")
        topology = plan["cells"][slot.cell]["topology"]
        runs = read_runs(directory)
        turn = sweep.turn(plan, slot, runs, read_other_runs(directory), options["retry_since"])
        benchmark = sweep.benchmark_of(plan, slot)
        if refused and not self._task.check_mode:
            record_refusal(directory, Topology.from_params(topology), benchmark, refused, options["versions"])
        elif turn.wanted and not self._task.check_mode:
            known = [str(run["run_id"]) for run in runs]
            note_run(directory, benchmark, known, topology)
        return {
            "changed": bool(refused) or turn.wanted,
            "wanted": turn.wanted,
            "reason": turn.reason,
            "benchmark": benchmark,
            "label": turn.label,
        }


def record_refusal(
    directory: Path,
    topology: Topology,
    benchmark: sweep.Document,
    refused: Sequence[Mapping[str, Any]],
    versions: Mapping[str, str],
) -> None:
    """Write the document of a run that was refused."""
    now = time.time()
    run_id = new_run_id(now)
    said = []
    for failure in refused:
        problems = ["{field} {value!r}: {accepted}".format(**problem) for problem in failure.get("problems") or ()]
        said += problems or [str(failure.get("message") or failure.get("code"))]
    cause = {"reason": refused[0].get("code", "refused"), "message": "; ".join(dict.fromkeys(said))}
    document = refused_document(topology, run_id, now, cause, versions, benchmark)
    write_text(directory / run_id / "events.jsonl", "")
    write_text(directory / run_id / "run.json", json.dumps(document, indent=2) + "\n")
