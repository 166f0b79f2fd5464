#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: apply a manifest on a control plane."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_manifest
short_description: Apply or delete a manifest on a control plane
version_added: 0.1.0
description:
  - Compares a manifest with the cluster and applies it on the server's side where they differ.
  - Runs on a control plane, with that one's credentials, for what a cluster needs before anything else can reach it,
    such as its network.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  manifest:
    description: The manifest's text, any number of documents.
    type: str
    required: true
  state:
    description: V(absent) deletes the objects and waits until they are gone.
    type: str
    default: present
    choices: [present, absent]
attributes:
  check_mode:
    description: Asks the server what would change. Where there is no cluster yet, everything would.
    support: full
  diff_mode:
    description: Shows the difference as the server sees it.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Install the site's network plugin
  dtf.cluster.kube_manifest:
    manifest: "{{ lookup('ansible.builtin.file', 'network.yml') }}"
"""

RETURN = r"""
difference:
  description: What changed, as a unified diff.
  returned: success
  type: str
  sample: ""
"""

import re

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import kubectl
from ..module_utils.errors import ActionFailed

_MISSING_NAMESPACE = re.compile(r'namespaces "[^"]+" not found')


def present(manifest: str, *, check: bool) -> str:
    """Apply what differs; return the difference."""
    try:
        difference = kubectl.diff(manifest)
    except ActionFailed as error:
        # The server compares nothing in a namespace that the manifest itself is to make; and where there is no cluster
        # yet, nothing at all.
        if not check and not _MISSING_NAMESPACE.search(str(error)):
            raise
        difference = "+ " + manifest.replace("\n", "\n+ ")
    if difference and not check:
        kubectl.apply(manifest)
    return difference


def absent(manifest: str, *, check: bool) -> str:
    """Delete what exists; return what that was."""
    existing = kubectl.names(manifest)
    if existing and not check:
        kubectl.delete(manifest)
    return "".join(f"- {name}\n" for name in existing)


def main() -> None:
    """Compare, then change what differs."""
    module = AnsibleModule(
        argument_spec={
            "manifest": {"type": "str", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        },
        supports_check_mode=True,
    )
    act = {"present": present, "absent": absent}[module.params["state"]]
    try:
        difference = act(module.params["manifest"], check=module.check_mode)
    except ActionFailed as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    module.exit_json(changed=bool(difference), difference=difference, diff={"prepared": difference})


if __name__ == "__main__":
    main()
