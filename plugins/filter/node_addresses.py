# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: the addresses by which nodes know each other."""

from __future__ import annotations

DOCUMENTATION = r"""
name: node_addresses
short_description: The addresses by which nodes know each other
version_added: 0.1.0
description:
  - Returns for each host the address its kubelet announces. That is the host's variable named by O(variable), or else
    the address by which Ansible reaches it.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: hostvars, variable
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
  variable:
    description: Name of the variable that a host may have for it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the nodes' addresses
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | dtf.cluster.node_addresses(hostvars, 'dtf_node_ip') }}"
"""

RETURN = r"""
_value:
  description: Host to address.
  type: dict
"""

from collections.abc import Iterable, Mapping


def node_addresses(names: Iterable[str], hostvars: Mapping[str, Mapping[str, object]], variable: str) -> dict[str, str]:
    """Return host to address."""
    addresses = {}
    for name in names:
        known = hostvars[name]
        addresses[str(name)] = str(known.get(variable) or known.get("ansible_host") or name)
    return addresses


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"node_addresses": node_addresses}
