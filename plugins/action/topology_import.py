# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin ``topology_import``: reads a manifest on the controller, where the file and a YAML reader are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..module_utils.errors import InvalidInput, Problem
from ..module_utils.topology_import import Imported, import_manifests
from ..plugin_utils.controller_action import ControllerAction

ARGUMENTS = {"path": {"type": "path", "required": True}}


class ActionModule(ControllerAction):
    """Reads the file and answers; no host is asked."""

    arguments = ARGUMENTS

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the topology and what was left behind."""
        # A relative path is looked for where a playbook's files are.
        found = read(Path(self._loader.path_dwim(options["path"])))
        return {
            "changed": False,
            "topology": found.params,
            "not_carried_over": [entry.as_dict() for entry in found.not_carried_over],
        }


def read(path: Path) -> Imported:
    """Return what a file's documents describe; a list of kind ``List`` counts as its items."""
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput("manifest", [Problem("path", str(path), f"a file of YAML documents ({error})")]) from error
    items: list[object] = []
    for document in documents:
        listed = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
        items.extend(listed if isinstance(listed, list) else [document])
    return import_manifests(items)
