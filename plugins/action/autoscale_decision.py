# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``autoscale_decision``: checks what is asked for, has the module look, decides, explains, writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.benchmark_directory import read_text, write_text
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.grid import read_words
from ..module_utils.reader import Reader
from ..plugin_utils.autoscale_document import autoscale_document, line, table
from ..plugin_utils.autoscaling import MAX_REPEATS, MIN_REPEATS, THRESHOLD, Limits
from ..plugin_utils.scientific import require

DOCUMENT = "autoscale.json"
#: Words that are what a search looks for.
FOUND = {
    "workers": "nothing: it is what is looked for, up to max_workers",
    "repeats": "nothing: there are as many as are needed, up to autoscale_max_repeats",
}


class ActionModule(ActionBase):
    """Shows each decision in a line, and at the end what speaks for it."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, object] | None = None) -> dict[str, object]:
        """Return ``{changed, finished, workers, repeats, autoscale, path}``."""
        super().run(tmp, task_vars)
        options = self._task.args
        try:
            limits = read_limits(options)
            require()
            if options.get("state", "present") == "checked":
                return answer(None, None)
            words = given(options.get("words"))
            arguments = {**options, "words": words, "max_workers": limits.max_workers}
            found = self._execute_module(module_args=arguments, task_vars=task_vars)
            if found.get("failed"):
                return dict(found)
            document = autoscale_document(str(options["name"]), words, found["sizes"], limits)
        except (ActionFailed, InvalidInput) as error:
            raise AnsibleActionFail(str(error), result={"failure": error.as_failure()}) from error
        return self._written(Path(str(options["results_dir"])).expanduser().absolute() / DOCUMENT, document)

    def _written(self, path: Path, document: dict[str, object]) -> dict[str, object]:
        text, before = json.dumps(document, indent=2) + "\n", read_text(path)
        if text != before and not self._task.check_mode:
            write_text(path, text)
        self._display.display("\n" + (table(document) if document["finished"] else line(document)) + "\n")
        return {
            **answer(document, str(path)),
            "changed": text != before,
            "diff": {"before": before or "", "after": text},
        }


def answer(document: Mapping[str, object] | None, path: str | None) -> dict[str, object]:
    """Return what a playbook goes by."""
    last = document["decisions"][-1] if document else None  # type: ignore[index]
    return {
        "changed": False,
        "finished": bool(document and document["finished"]),
        "workers": last and last["workers"],
        "repeats": last and last["repeats"],
        "autoscale": document,
        "path": path,
    }


def given(words: object) -> dict[str, object]:
    """Return the words that were given."""
    return {word: value for word, value in words.items() if value is not None} if isinstance(words, Mapping) else {}


def read_limits(options: Mapping[str, object]) -> Limits:
    """Return what the search may do.

    Raises:
        InvalidInput: with every problem of limits and words.
    """
    reader = Reader()
    least = reader.integer("min_repeats", options.get("min_repeats", MIN_REPEATS), 2, 1000)
    most = reader.integer("max_repeats", options.get("max_repeats", MAX_REPEATS), 2, 1000)
    if most < least:
        reader.problem("max_repeats", most, f"min_repeats ({least}) or more")
    limits = Limits(
        max_workers=reader.integer("max_workers", options.get("max_workers"), 1, 1000),
        threshold=reader.number("threshold", options.get("threshold", THRESHOLD), 0, 1),
        min_repeats=least,
        max_repeats=most,
    )
    words = given(options.get("words"))
    problems = [Problem(word, words.pop(word), accepted) for word, accepted in FOUND.items() if word in words]
    base = options.get("base")
    problems += read_words(words, base if isinstance(base, Mapping) else {}, sweep=False)[1]
    if reader.problems or problems:
        raise InvalidInput("the search", [*reader.problems, *problems])
    return limits
