# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: whom a host measures to before it becomes a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DOCUMENTATION = r"""
name: preflight_peers
short_description: Return whom a host measures to before it becomes a node
version_added: 0.1.0
description:
  - Every host measures to two others and to the control plane, and is measured to by as many, so that the number of
    measurements grows with the number of hosts and not with its square.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: site, results, listening
options:
  _input:
    description: Inventory name of the host.
    type: str
    required: true
  site:
    description: What the hosts are to become, as M(dtf.cluster.preflight_report) takes it.
    type: dict
    required: true
  results:
    description: Host to what M(dtf.cluster.preflight_probe) found on it.
    type: dict
    required: true
  listening:
    description: Host to what M(dtf.cluster.preflight_probe) said of its listener.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show whom this host measures to
  ansible.builtin.debug:
    msg: "{{ inventory_hostname | dtf.cluster.preflight_peers(site, results, listening) }}"
"""

RETURN = r"""
_value:
  description: Peers for M(dtf.cluster.preflight_probe).
  type: list
  elements: dict
"""


def preflight_peers(
    host: str, site: Mapping[str, Any], results: Mapping[str, Any], listening: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return whom a host measures to, and what it needs to know of each."""
    from ..module_utils.preflight_links import peers
    from ..module_utils.preflight_report import facts_of
    from ..plugin_utils.preflight_site import read_site

    listeners = {name: result["listener"] for name, result in listening.items() if "listener" in result}
    facts = {name: found for name, found in facts_of(results).items() if name in listeners}
    return peers(facts, read_site(site), host, listeners) if host in facts else []


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"preflight_peers": preflight_peers}
