# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``request``: checks a command line on the controller, all problems at once."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.utils.vars import load_extra_vars

from ..module_utils.errors import InvalidInput, Problem
from ..module_utils.grid import WORDS, read_words, unknown_words
from ..plugin_utils.controller_action import ControllerAction

ARGUMENTS = {
    "words": {"type": "dict", "default": {}},
    "base": {"type": "dict", "default": {}},
    "sweep": {"type": "bool", "default": False},
    "results_dir": {"type": "str"},
    "playbook_words": {"type": "list", "elements": "str", "default": []},
    "accepted_variables": {"type": "list", "elements": "str", "default": []},
}
COLLECTION = Path(__file__).absolute().parents[2]
#: In C where PyYAML has it: all roles' specifications take a third of a second without.
SAFE_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ActionModule(ControllerAction):
    """Reads the command line; changes nothing."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return ``{changed, cells, repeats}``, or fail with every problem."""
        request, problems = read_words(options["words"], options["base"], sweep=options["sweep"])
        given = load_extra_vars(self._loader)
        extra = {name: value for name, value in given.items() if not name.startswith("ansible_")}
        known = {*WORDS, *role_variables(), *options["playbook_words"], *options["accepted_variables"]}
        problems = unknown_words(extra, known) + problems
        problems.extend(results_problems(options["results_dir"]))
        if problems:
            raise InvalidInput("the command line", problems)
        return {"changed": False, "cells": [dict(cell) for cell in request.cells], "repeats": request.repeats}


def role_variables() -> Iterator[str]:
    """Return every variable that the collection's roles take, and the shared ones their defaults read."""
    for specs in COLLECTION.glob("roles/*/meta/argument_specs.yml"):
        document = yaml.load(specs.read_text(encoding="utf-8"), Loader=SAFE_LOADER)  # noqa: S506 - it is one
        yield from document["argument_specs"]["main"].get("options", {})
    for defaults in COLLECTION.glob("roles/*/defaults/main.yml"):
        yield from re.findall(r"\bdtf_[a-z_]+\b", defaults.read_text(encoding="utf-8"))


def results_problems(results_dir: str | None) -> list[Problem]:
    """Return what keeps results from being written.

    The nearest existing folder is tried with a folder that is gone again at once: access rights alone do not show
    read-only mounts, and for root show nothing at all.
    """
    if not results_dir:
        return []
    existing = Path(results_dir).expanduser().absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    try:
        tempfile.TemporaryDirectory(prefix=".dtf-", dir=existing).cleanup()
    except OSError as error:
        accepted = f"a folder that can be written ({existing}: {error.strerror})"
        return [Problem("results_dir", results_dir, accepted)]
    return []
