#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: several small files of a node in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: Write and remove several small files of a node in one task
version_added: 0.1.0
description:
  - Writes texts to paths and removes others, each whole or not at all. A loop of M(ansible.builtin.copy) would cost a
    connection for each of them.
  - A file that was there before the first change is kept, and V(restore) brings it back.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  files:
    description: Path to text.
    type: dict
    default: {}
  restore:
    description:
      - Paths that are to be as they were before this module first wrote them, gone if there was nothing. One that ends
        in C(/) stands for all that this module wrote below it.
    type: list
    elements: str
    default: []
  absent:
    description: Files and folders to remove with all they hold. A folder that is a mount point is emptied.
    type: list
    elements: str
    default: []
  mode:
    description: Mode of the files.
    type: str
    default: "0644"
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the texts before and after, unless the task says C(diff=false).
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Configure the runtime
  dtf.cluster.node_files:
    files:
      /etc/crictl.yaml: |
        runtime-endpoint: unix:///run/containerd/containerd.sock
"""

RETURN = r"""
paths:
  description: What was written or removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/crictl.yaml]
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_files import emptied, locked, read, read_state, remove, write, write_state

STATE = "files-before"


class Files:
    """Texts on a host, and what stood there before."""

    def __init__(self, module: AnsibleModule) -> None:
        self.options = module.params
        self.check = module.check_mode
        self.mode = int(module.params["mode"], 8)
        self.before = read_state(STATE)
        self.diff: list[dict[str, str]] = []

    def differs(self, path: Path, text: str | None) -> bool:
        """Note a difference between a file and what it should be."""
        found = read(path)
        same_mode = text is None or (found is not None and path.stat().st_mode & 0o7777 == self.mode)
        if found == text and same_mode:
            return False
        self.diff.append(
            {"before_header": str(path), "after_header": str(path), "before": found or "", "after": text or ""}
        )
        return True

    def apply(self) -> None:
        """Write and restore whatever differs."""
        for name, text in self.options["files"].items():
            path = Path(name)
            if self.differs(path, text) and not self.check:
                if name not in self.before:
                    self.before[name] = read(path)
                    write_state(STATE, self.before)
                write(path, text, self.mode)
        for wanted in self.options["restore"]:
            below = [name for name in self.before if name == wanted or (wanted[-1] == "/" and name.startswith(wanted))]
            for name in below:
                self.restore(Path(name), self.before[name])
        for name in self.options["absent"]:
            path = Path(name)
            if os.path.lexists(path) and not (os.path.ismount(path) and not any(path.iterdir())):
                self.diff.append({"before_header": name, "after_header": name, "before": "present\n", "after": ""})
                if not self.check:
                    emptied(path)

    def restore(self, path: Path, text: object) -> None:
        """Bring a file back as it was, and forget that it was ever another."""
        earlier = text if isinstance(text, str) else None
        if self.differs(path, earlier) and not self.check:
            if earlier is None:
                remove(path)
            else:
                write(path, earlier, path.stat().st_mode & 0o7777 if path.exists() else self.mode)
        if not self.check:
            del self.before[str(path)]
            write_state(STATE, self.before)


def main() -> None:
    """Compare, then change what differs."""
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "default": {}},
            "restore": {"type": "list", "elements": "str", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "mode": {"type": "str", "default": "0644"},
        },
        supports_check_mode=True,
    )
    files = Files(module)
    with locked("files"):
        files.apply()
    # What a task has said not to show is not shown: with `--diff` Ansible prints whatever comes back.
    shown = files.diff if module._diff else []  # noqa: SLF001 - Ansible has no other name for it
    module.exit_json(changed=bool(files.diff), paths=[entry["after_header"] for entry in files.diff], diff=shown)


if __name__ == "__main__":
    main()
