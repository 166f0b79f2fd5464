# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: the images that the GPU operator or the device plugin will pull."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gpu_operator_images
short_description: The images that the GPU operator or the device plugin will pull
version_added: 0.1.0
description:
  - Returns each image that is pulled with a chart's values, also of the workloads that the operator itself makes, with
    its name where it comes from and its name in the registry of the site.
  - What is switched off is left out.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: defaults, app_version
options:
  _input:
    description: Values over the chart's own, as the filter P(dtf.cluster.gpu_operator_plan#filter) returns them.
    type: dict
    required: true
  defaults:
    description: The chart's own values.
    type: dict
    required: true
  app_version:
    description: Version of what the chart installs, as the chart says it.
    type: str
    required: true
  hosts:
    description: C({os_tag, kernel}) of the nodes that get the operator's driver, of which there is an image for each.
    type: list
    elements: dict
    default: []
  rendered:
    description:
      - Images that the chart's own workloads name, by their name in the site's registry or by the one that they have
        where they come from.
    type: list
    elements: str
    default: []
  registry:
    description: The registry of the site for which the values were made; empty for none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what a registry has to have
  ansible.builtin.debug:
    msg: "{{ values | dtf.cluster.gpu_operator_images(defaults, 'v26.7.0') | map(attribute='source') }}"
"""

RETURN = r"""
_value:
  description: C({source, destination, name}) of each image; the name is the destination without its registry's host.
  type: list
  elements: dict
  sample:
    - source: nvcr.io/nvidia/k8s-device-plugin:v0.20.0
      destination: registry.example:5000/nvidia/k8s-device-plugin:v0.20.0
      name: nvidia/k8s-device-plugin:v0.20.0
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def gpu_operator_images(
    values: Mapping[str, Any],
    defaults: Mapping[str, Any],
    app_version: str,
    hosts: Iterable[Mapping[str, str]] = (),
    rendered: Iterable[str] = (),
    registry: str = "",
) -> list[dict[str, str]]:
    """Return the images as plain values."""
    from ..module_utils.errors import InvalidInput
    from ..module_utils.gpu_operator_images import images

    try:
        return [image.as_dict() for image in images(defaults, values, app_version, hosts, rendered, registry)]
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"gpu_operator_images": gpu_operator_images}
