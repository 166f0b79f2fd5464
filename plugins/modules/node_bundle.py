#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: a node's share of the bundle. Its action plugin brings what the host lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_bundle
short_description: Bring a node its share of the bundle
version_added: 0.1.0
description:
  - Puts files of the bundle in their places on a node and images into its containerd, each verified by its digest.
  - What the node has already is not sent again. All that it lacks goes over the play's own connection in one task.
  - The digest of an installed file is remembered with its size and time, so that a second look is quick.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  bundle:
    description: Folder of the bundle on the controller, with its C(manifest.json). Required for O(state=present).
    type: path
  state:
    description:
      - V(absent) removes every file and image that this module ever brought to the node, or of them those in O(files).
    type: str
    default: present
    choices: [present, absent]
  files:
    description: Path in the bundle to path on the node.
    type: dict
    default: {}
  images:
    description: References of images that the node's containerd must have.
    type: list
    elements: str
    default: []
  unpack:
    description: Whether containerd unpacks images now. Otherwise it does at their first use, which takes longer.
    type: bool
    default: false
  mode:
    description: Mode of the files.
    type: str
    default: "0755"
  content:
    description: What the action plugin found in the bundle; not for playbooks.
    type: dict
attributes:
  check_mode:
    description: Tells what would be sent.
    support: full
  diff_mode:
    description: Shows digests before and after.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
notes:
  - Without O(unpack) containerd unpacks an image at its first use.
"""

EXAMPLES = r"""
- name: Install the node's programs and images
  dtf.cluster.node_bundle:
    bundle: /srv/bundle
    files:
      bin/kubelet: /usr/local/bin/kubelet
    images:
      - registry.k8s.io/pause:3.10.2
"""

RETURN = r"""
sent:
  description: What the node lacked and was sent, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [bin/kubelet]
"""

import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import ActionFailed
from ..module_utils.host_files import locked, read_state, remove, sha256, write_state
from ..module_utils.programs import run

RECORD = "bundle-share"
#: Beside the paths of files in the record.
IMAGES = "images"
CTR = ["ctr", "--namespace", "k8s.io"]


class Share:
    """What this node has, and should have, of the bundle."""

    def __init__(self, module: AnsibleModule) -> None:
        content = module.params["content"] or {"files": {}, "images": {}}
        self.module = module
        #: path in the bundle → {path, sha256, incoming?}
        self.files: dict[str, dict[str, str]] = content["files"]
        #: path in the bundle → {reference, digest, sha256, incoming?}
        self.images: dict[str, dict[str, str]] = content["images"]
        self.record: dict[str, Any] = dict(read_state(RECORD))

    def lacking(self) -> dict[str, dict[str, str]]:
        """Return what is not as it should be: path in the bundle → before, after."""
        lacking = {}
        for source, wanted in self.files.items():
            found = self.digest(Path(wanted["path"]))
            if found != wanted["sha256"]:
                lacking[source] = {"before": found, "after": wanted["sha256"]}
        imported = self.imported() if self.images else {}
        for source, wanted in self.images.items():
            found = imported.get(wanted["reference"], "")
            if found != wanted["digest"]:
                lacking[source] = {"before": found, "after": wanted["digest"]}
        return lacking

    def digest(self, path: Path) -> str:
        """Return a file's digest, from memory where the file is the one that was measured."""
        try:
            status = path.stat()
        except OSError:
            return ""
        seen = [status.st_size, status.st_mtime_ns, status.st_ino]
        remembered = self.record.get(str(path))
        if isinstance(remembered, dict) and remembered.get("seen") == seen:
            return str(remembered["sha256"])
        found = sha256(path)
        self.record[str(path)] = {"seen": seen, "sha256": found}
        return found

    def imported(self) -> dict[str, str]:
        """Return reference to digest of the images that containerd has whole."""
        try:
            ended = run([*CTR, "images", "check"], timeout=120)
        except FileNotFoundError:
            ended = None
        if ended is None or ended.returncode:
            if self.module.check_mode:
                return {}  # containerd would be there by now
            raise ActionFailed(
                "containerd_silent",
                "containerd does not tell its images: {}".format(ended.stderr.strip() if ended else "no ctr here"),
            )
        lines = [line.split() for line in ended.stdout.splitlines()[1:]]
        return {line[0]: line[2] for line in lines if len(line) > 3 and line[3] == "complete"}

    def install(self) -> None:
        """Put what has arrived in its place; anything but the promised bytes is refused."""
        arrived = [
            (source, wanted) for source, wanted in [*self.files.items(), *self.images.items()] if "incoming" in wanted
        ]
        wrong = []
        for source, wanted in arrived:
            found = sha256(Path(wanted["incoming"]))
            if found != wanted["sha256"]:
                wrong.append("{}: expected sha256 {}, found {}".format(source, wanted["sha256"], found))
        if wrong:
            raise ActionFailed("digest_differs", "what arrived is not what was sent:\n  " + "\n  ".join(wrong))
        for source, wanted in arrived:
            if source in self.images:
                self.take_image(source, wanted)
            else:
                self.place(Path(wanted["incoming"]), Path(wanted["path"]), wanted["sha256"])

    def place(self, incoming: Path, path: Path, digest: str) -> None:
        """Put a file in its place in one step; a program that runs keeps running from the old one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.dtf-new")
        shutil.move(incoming, beside)
        beside.chmod(int(self.module.params["mode"], 8))
        os.chown(beside, 0, 0)
        beside.replace(path)
        status = path.stat()
        self.record[str(path)] = {"seen": [status.st_size, status.st_mtime_ns, status.st_ino], "sha256": digest}

    def take_image(self, source: str, wanted: dict[str, str]) -> None:
        """Have containerd take an image's archive."""
        options = [] if self.module.params["unpack"] else ["--no-unpack"]
        ended = run([*CTR, "images", "import", *options, wanted["incoming"]], timeout=600)
        if ended.returncode:
            raise ActionFailed(
                "import_failed",
                "containerd did not take {} ({}): {}".format(source, wanted["reference"], ended.stderr.strip()),
            )

    def take_back(self) -> list[str]:
        """Remove what was brought; return the names of it."""
        chosen = set(self.module.params["files"].values())
        brought = [] if chosen else self.record.get(IMAGES, [])
        references = [name for name in brought if name in self.imported()]
        known = [name for name in self.record if name != IMAGES and (not chosen or name in chosen)]
        paths = [name for name in known if Path(name).exists()]
        if not self.module.check_mode:
            if references:
                run([*CTR, "images", "remove", "--sync", *references], timeout=120)
            for name in paths:
                remove(Path(name))
            write_state(RECORD, {name: self.record[name] for name in self.record if chosen and name not in known})
        return sorted([*references, *paths])

    def remember(self) -> None:
        """Keep what was measured and imported; files that are gone are forgotten."""
        images = {*self.record.pop(IMAGES, []), *(image["reference"] for image in self.images.values())}
        files = {path: seen for path, seen in self.record.items() if Path(path).exists()}
        write_state(RECORD, {**files, **({IMAGES: sorted(images)} if images else {})})


def main() -> None:
    """Tell what is lacking; with something incoming, install that."""
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "path"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "files": {"type": "dict", "default": {}},
            "images": {"type": "list", "elements": "str", "default": []},
            "unpack": {"type": "bool", "default": False},
            "mode": {"type": "str", "default": "0755"},
            "content": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    try:
        with locked("bundle"):
            share = Share(module)
            if module.params["state"] == "absent":
                gone = share.take_back()
                module.exit_json(
                    changed=bool(gone), sent=[], diff={"before": {"brought": gone}, "after": {"brought": []}}
                )
            share.install()
            lacking = share.lacking()
            if not module.check_mode:
                share.remember()
    except ActionFailed as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    module.exit_json(changed=False, lacking=lacking)


if __name__ == "__main__":
    main()
