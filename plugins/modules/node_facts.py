#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: look at a host that is to be a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_facts
short_description: Gather what the cluster's roles must know of a host
version_added: 0.1.0
description:
  - Reads in one pass what the roles of the cluster must know of a host, a hundredth of what M(ansible.builtin.setup)
    gathers.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Reads only.
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
- name: Look at the host
  dtf.cluster.node_facts:
"""

RETURN = r"""
ansible_facts:
  description: The fact C(cluster_node).
  returned: always
  type: dict
  sample:
    cluster_node:
      os: {name: Debian GNU/Linux 12 (bookworm), names: [Debian-12, Debian], distribution: debian, version: "12"}
      cgroup: 2
      kubernetes: {state: none, version: "", ca: "", control_plane: false}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.node_view import look


def main() -> None:
    """Look and tell."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, ansible_facts={"cluster_node": look()})


if __name__ == "__main__":
    main()
