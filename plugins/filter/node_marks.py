# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: the labels and taints that hosts want for their nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: node_marks
short_description: The labels and taints that hosts want for their nodes
version_added: 0.1.0
description:
  - Returns for each node the marks that its host's C(kubeadm_node_labels) and C(kubeadm_node_taints) name, under
    its C(kubeadm_node_name), in the shape of M(dtf.cluster.kube_nodes).
author:
  - The dtf.cluster team (@dtf-cluster)
positional: hostvars
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
"""

EXAMPLES = r"""
- name: Show what the nodes are to be marked with
  ansible.builtin.debug:
    msg: "{{ ansible_play_hosts_all | dtf.cluster.node_marks(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Node to C({labels, taints}).
  type: dict
"""

from collections.abc import Iterable, Mapping


def node_marks(names: Iterable[str], hostvars: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Return node to marks."""
    marks = {}
    for name in names:
        known = hostvars[name]
        marks[str(known.get("kubeadm_node_name") or name)] = {
            "labels": known.get("kubeadm_node_labels") or {},
            "taints": known.get("kubeadm_node_taints"),
        }
    return marks


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"node_marks": node_marks}
