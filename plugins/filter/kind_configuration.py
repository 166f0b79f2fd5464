# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: a role's variables as the configuration of a Kind cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kind_configuration
short_description: A cluster's variables as kind's configuration
version_added: 0.1.0
description:
  - Returns the document that C(kind create cluster) is given, or fails with everything that is wrong.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: configuration
options:
  _input:
    description:
      - C(name), C(workers), C(image), C(pod_cidr), C(service_cidr), C(api_address), C(api_port), C(port_mappings),
        C(mounts) and C(registries).
    type: dict
    required: true
  configuration:
    description:
      - Settings in kind's own structure, laid over what is made of these. A null takes away what is below it.
      - Patches for kubeadm may be documents instead of texts.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what kind would be given
  ansible.builtin.debug:
    msg: "{{ {'name': 'dtf', 'workers': 2} | dtf.cluster.kind_configuration({'featureGates': {'SomeGate': true}}) }}"
"""

RETURN = r"""
_value:
  description: The configuration.
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def kind_configuration(asked: Mapping[str, Any], configuration: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the configuration of a cluster."""
    from ..module_utils.errors import InvalidInput, Problem
    from ..module_utils.kind_documents import Cluster, document, problems

    fields = [name for name in Cluster.__dataclass_fields__ if name != "configuration"]
    unknown = [Problem(name, asked[name], "one of " + ", ".join(fields)) for name in asked if name not in fields]
    cluster = Cluster(
        **{name: value for name, value in asked.items() if name in fields}, configuration=configuration or {}
    )
    found = unknown + problems(cluster)
    if found:
        raise AnsibleFilterError(str(InvalidInput("the cluster's variables", found)))
    return document(cluster)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"kind_configuration": kind_configuration}
