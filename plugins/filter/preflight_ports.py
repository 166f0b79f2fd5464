# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: the ports that a host's node will use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DOCUMENTATION = r"""
name: preflight_ports
short_description: Return the ports that a host's node will use
version_added: 0.1.0
description:
  - Returns C({port, protocol}) for each port of the kubelet, the control plane where the host is of it, the pod
    network, and the site's own.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: site
options:
  _input:
    description: Inventory name of the host.
    type: str
    required: true
  site:
    description: What the hosts are to become, as M(dtf.cluster.preflight_report) takes it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the ports of this host
  ansible.builtin.debug:
    msg: "{{ inventory_hostname | dtf.cluster.preflight_ports(site) }}"
"""

RETURN = r"""
_value:
  description: Ports for M(dtf.cluster.preflight_probe).
  type: list
  elements: dict
"""


def preflight_ports(host: str, site: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ports that a host's node will use."""
    from ..module_utils.preflight_pairs import needed_ports
    from ..plugin_utils.preflight_site import read_site

    read = read_site(site)
    ports = needed_ports(host in read.control_plane, len(read.control_plane), read.cni, read.more_ports)
    return [{"port": port.port, "protocol": port.protocol} for port in ports]


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"preflight_ports": preflight_ports}
