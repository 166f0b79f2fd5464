#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: a short-lived token with which nodes join."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_token
short_description: Make a short-lived token with which nodes join a cluster
version_added: 0.1.0
description:
  - Makes a bootstrap token on a control plane and returns it with the digest of the cluster's CA.
  - Give its task C(no_log).
  - Each call makes one, so call it only when a node is to join.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  ttl:
    description: How long the token is good for, as Kubernetes writes it.
    type: str
    default: 15m
attributes:
  check_mode:
    description: Makes no token; the one returned is empty.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
extends_documentation_fragment:
  - dtf.cluster.host
seealso:
  - module: dtf.cluster.kubeadm_node
"""

EXAMPLES = r"""
- name: Make a token for the nodes that are to join
  dtf.cluster.kubeadm_token:
    ttl: 15m
  register: join
  no_log: true
"""

RETURN = r"""
token:
  description: The token.
  returned: success
  type: str
  sample: ""
ca_hash:
  description: Digest of the cluster's CA, as C(kubeadm join) wants it.
  returned: success
  type: str
  sample: sha256:0f2b...
"""

import re

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.kubeadm_output import redacted
from ..module_utils.programs import run

ENVIRONMENT = {
    "KUBECONFIG": "/etc/kubernetes/admin.conf",
}


def main() -> None:
    """Have kubeadm make the token and the command that would use it, and take both apart."""
    module = AnsibleModule(argument_spec={"ttl": {"type": "str", "default": "15m"}}, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, token="", ca_hash="")
    ended = run(
        ["kubeadm", "token", "create", "--ttl", module.params["ttl"], "--print-join-command"], environment=ENVIRONMENT
    )
    found = re.search(r"--token (\S+) +--discovery-token-ca-cert-hash (\S+)", ended.stdout)
    if not found:
        module.fail_json(
            msg=f"kubeadm token create ended with {ended.returncode}: {redacted(ended.stderr).strip()}",
            failure={"code": "kubeadm_failed", "command": "kubeadm token create", "returncode": ended.returncode},
        )
        return
    module.exit_json(changed=False, token=found[1], ca_hash=found[2])


if __name__ == "__main__":
    main()
