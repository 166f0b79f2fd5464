# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``preflight_report``: judges on the controller what was measured on all hosts, and shows it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ..module_utils.preflight import ERROR, Site
from ..module_utils.preflight_report import conclusion, document, judge, table
from ..plugin_utils.collection_version import collection_version
from ..plugin_utils.controller_action import ControllerAction

ARGUMENTS = {
    "site": {"type": "dict", "required": True},
    "results": {"type": "dict", "required": True},
    "listening": {"type": "dict", "default": {}},
    "visits": {"type": "dict", "default": {}},
    "accepted": {"type": "list", "elements": "str", "default": []},
    "report_dir": {"type": "str", "required": True},
}
#: Narrower than this the advice would be a column of single words.
NARROWEST = 100
FILE = "preflight.json"


class ActionModule(ControllerAction):
    """Judges, shows the table, writes the report."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, verdict, summary, path, findings}``; an error among the findings fails the task."""
        site = Site.from_params(options["site"])
        results, visits = options["results"], options["visits"]
        findings = judge(results, options["listening"], visits, site, options["accepted"])
        report = document(findings, list(results), visits, site, _times(results), collection_version())
        path = Path(options["report_dir"]).expanduser() / FILE
        _write(path, json.dumps(report, indent=2) + "\n")
        display = Display()
        for line in table(findings, list(results), max(NARROWEST, display.columns)):
            display.display(line)
        said = f"{conclusion(report['summary'], len(results))}; {path} holds everything"
        answer = {
            "changed": False,
            "msg": said,
            "verdict": report["verdict"],
            "summary": report["summary"],
            "path": str(path),
            "findings": report["findings"],
        }
        if report["verdict"] == ERROR:
            # The table has said it; the whole list once more would hide it.
            del answer["findings"]
            answer.update(failed=True, failure={"code": "preflight", "message": said, "details": report["summary"]})
        return answer


def _times(results: Mapping[str, Any]) -> dict[str, Any]:
    now = time.time()
    begun = min((result["controller"]["before"] for result in results.values() if "controller" in result), default=now)
    created = datetime.fromtimestamp(begun, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"created": created, "seconds": round(now - begun, 1)}


def _write(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader sees the former report or this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".preflight-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
