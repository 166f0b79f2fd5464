# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: the hosts of a play as a topology takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DOCUMENTATION = r"""
name: training_hosts
short_description: Return inventory hosts as the hosts of a topology
version_added: 0.1.0
description:
  - Returns C({name, address}) for each host. The address is C(dtf_address), else C(ansible_host), else the name.
  - A host that is alone needs no other address than V(127.0.0.1).
author:
  - The dtf.cluster team (@dtf-cluster)
positional: hostvars
options:
  _input:
    description: Inventory names.
    type: list
    elements: str
    required: true
  hostvars:
    description: C(hostvars) of the play.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show where tasks would run
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | dtf.cluster.training_hosts(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Hosts for M(dtf.cluster.topology).
  type: list
  elements: dict
  sample: [{name: localhost, address: 127.0.0.1}]
"""


def training_hosts(names: Sequence[str], hostvars: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the hosts in the order of ``names``."""
    if len(names) == 1:
        return [{"name": names[0], "address": hostvars[names[0]].get("dtf_address") or "127.0.0.1"}]
    return [{"name": name, "address": _address(name, hostvars[name])} for name in names]


def _address(name: str, own: Mapping[str, str]) -> str:
    return own.get("dtf_address") or own.get("ansible_host") or name


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"training_hosts": training_hosts}
