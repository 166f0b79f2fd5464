# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: a role's variables as kubeadm's configuration documents."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kubeadm_documents
short_description: A cluster's variables as kubeadm's configuration documents
version_added: 0.1.0
description:
  - Returns what C(kubeadm init) and C(kubeadm join) are given on a node, or fails with everything that is wrong.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: node
options:
  _input:
    description:
      - What all nodes share, C(version), C(endpoint), C(pod_cidr), C(service_cidr), C(dns_domain), C(cgroup_v1),
        C(audit_policy), C(encryption_at_rest), C(documents) by kind, C(addresses) by node, C(bundle_versions) by binary
        and C(ignored_checks).
    type: dict
    required: true
  node:
    description: The node's C(name) and C(taints).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what kubeadm would be given
  ansible.builtin.debug:
    msg: >-
      {{ {'version': '1.36.3', 'endpoint': '10.0.0.11:6443', 'pod_cidr': '10.244.0.0/16',
          'service_cidr': '10.96.0.0/16', 'addresses': {'cp1': '10.0.0.11'}}
         | dtf.cluster.kubeadm_documents({'name': 'cp1'}) }}
"""

RETURN = r"""
_value:
  description:
    - C(init) and C(join), the node's own documents; C(shared), those of the whole cluster; C(ignored_checks).
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def kubeadm_documents(shared: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's documents."""
    from ..module_utils import kubeadm_documents as documents
    from ..module_utils.errors import InvalidInput

    fields = documents.Cluster.__dataclass_fields__
    cluster = documents.Cluster(**{name: value for name, value in shared.items() if name in fields})
    nodes = {name: documents.Node(name, address) for name, address in shared["addresses"].items()}
    problems = documents.problems(cluster, list(nodes.values()), shared.get("bundle_versions", {}))
    if problems:
        raise AnsibleFilterError(str(InvalidInput("the cluster's variables", problems)))
    taints = node.get("taints")
    mine = documents.Node(
        node["name"], shared["addresses"][node["name"]], tuple(taints) if taints is not None else None
    )
    init, *common = documents.init_documents(cluster, mine)
    return {
        "init": init,
        "join": documents.join_document(cluster, mine),
        "shared": common,
        "ignored_checks": documents.ignored_checks(cluster, list(shared.get("ignored_checks", []))),
    }


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"kubeadm_documents": kubeadm_documents}
