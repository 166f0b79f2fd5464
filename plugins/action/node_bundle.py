# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``node_bundle``: sends a node all that it lacks of the bundle in one task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.errors import InvalidInput, Problem

ARGUMENTS = {
    "bundle": {"type": "path"},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "files": {"type": "dict", "default": {}},
    "images": {"type": "list", "elements": "str", "default": []},
    "unpack": {"type": "bool", "default": False},
    "mode": {"type": "str", "default": "0755"},
}


class ActionModule(ActionBase):
    """Looks on the node, sends what is lacking, and looks again."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, object] | None = None) -> dict[str, Any]:
        """Return ``{changed, sent, diff}``, or fail with what the bundle does not have."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENTS)
        if options["state"] == "absent":
            return self._on_the_node({"state": "absent", "files": options["files"]}, task_vars)
        bundle = Path(options["bundle"] or "")
        try:
            content = share(bundle, options["files"], options["images"])
        except InvalidInput as error:
            return {"failed": True, "msg": str(error), "failure": error.as_failure()}
        found = self._on_the_node({**options, "content": content}, task_vars)
        if found.get("failed"):
            return found
        lacking: dict[str, dict[str, str]] = found["lacking"]
        result: dict[str, object] = {
            "changed": bool(lacking),
            "sent": sorted(lacking),
            "diff": {side: {name: lacking[name][side] for name in sorted(lacking)} for side in ("before", "after")},
        }
        if lacking and not self._task.check_mode:
            result.update(self._sent(bundle, options, content, lacking, task_vars))
        return result

    def _on_the_node(self, arguments: Mapping[str, object], task_vars: dict[str, object] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(module_args=dict(arguments), task_vars=task_vars)
        return answer

    def _sent(
        self,
        bundle: Path,
        options: Mapping[str, object],
        content: dict[str, dict[str, dict[str, str]]],
        lacking: Mapping[str, object],
        task_vars: dict[str, object] | None,
    ) -> dict[str, object]:
        """Send what is lacking; return nothing more to say, or why it failed."""
        installed = self._send(bundle, options, content, lacking, task_vars)
        if installed.get("failed"):
            return installed
        left = ", ".join(sorted(installed["lacking"]))
        return {"failed": True, "msg": f"the node does not show what it was sent: {left}"} if left else {}

    def _send(
        self,
        bundle: Path,
        options: Mapping[str, object],
        content: dict[str, dict[str, dict[str, str]]],
        lacking: Mapping[str, object],
        task_vars: dict[str, object] | None,
    ) -> dict[str, Any]:
        """Send files into Ansible's temporary folder on the node and have the module install them from there."""
        folder = self._make_tmp_path()
        try:
            arriving = {
                kind: {
                    source: {**wanted, "incoming": self._transfer(bundle, source, folder, number)}
                    if source in lacking
                    else wanted
                    for number, (source, wanted) in enumerate(entries.items())
                }
                for kind, entries in content.items()
            }
            # Once for all: for each file it would be a connection more.
            self._fixup_perms2((folder, *(entry["incoming"] for entry in arriving_entries(arriving))), execute=False)
            return self._on_the_node({**options, "content": arriving}, task_vars)
        finally:
            self._remove_tmp_path(folder, force=True)

    def _transfer(self, bundle: Path, source: str, folder: str, number: int) -> str:
        remote: str = self._connection._shell.join_path(folder, f"{number}-{Path(source).name}")
        self._transfer_file(str(bundle / source), remote)
        return remote


def arriving_entries(content: Mapping[str, Mapping[str, dict[str, str]]]) -> list[dict[str, str]]:
    """Return what of a node's share has been sent."""
    return [entry for entries in content.values() for entry in entries.values() if "incoming" in entry]


def share(bundle: Path, files: Mapping[str, str], images: list[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Return what a node is to have, as the bundle's manifest knows it; everything it does not know at once."""
    path = bundle / "manifest.json"
    try:
        artifacts = json.loads(path.read_text(encoding="utf-8"))["artifacts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        accepted = f"a folder with a bundle's manifest.json ({error})"
        raise InvalidInput("the bundle", [Problem("bundle", str(bundle), accepted)]) from error
    by_path = {artifact["path"]: artifact for artifact in artifacts}
    by_reference = {artifact["reference"]: artifact for artifact in artifacts if artifact["kind"] == "image"}
    problems = [
        Problem("files", source, f"a file of the bundle {bundle}; it has none of that path")
        for source in files
        if source not in by_path
    ]
    problems += [
        Problem(
            "images", image, f"an image of the bundle {bundle}; it has " + (", ".join(sorted(by_reference)) or "none")
        )
        for image in images
        if image not in by_reference
    ]
    if problems:
        raise InvalidInput("the bundle", problems)
    chosen = [by_reference[image] for image in images]
    return {
        "files": {source: {"path": str(place), "sha256": by_path[source]["sha256"]} for source, place in files.items()},
        "images": {
            image["path"]: {name: image[name] for name in ("reference", "digest", "sha256")} for image in chosen
        },
    }
