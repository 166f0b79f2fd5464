# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: what the chart of the GPU operator or of the device plugin is given for the nodes that were found."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gpu_operator_plan
short_description: What the GPU operator's chart is given for the nodes that were found
version_added: 0.1.0
description:
  - Decides from the fact C(gpu) of M(dtf.cluster.gpu_facts) of each node what the chart of NVIDIA's GPU operator, or of
    its device plugin alone, is given, which labels nodes get, and what each node will offer.
  - Returns all that is in the way at once. It does not fail for it, so that what was found on each node can be told.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: options, defaults
options:
  _input:
    description: Node, as the cluster calls it, to its fact C(gpu).
    type: dict
    required: true
  options:
    description:
      - What is asked for, as the role C(gpu_operator) has it in its variables. Each of C(way), C(driver), C(toolkit),
        C(cdi), C(runtime_class), C(mig), C(sharing), C(dcgm_exporter), C(gfd), C(nfd), C(proxy), C(pull_secrets),
        C(registry), C(tolerations), C(runtime), C(excluded_nodes) and C(values).
    type: dict
    required: true
  defaults:
    description: The chart's own values.
    type: dict
    required: true
  systems:
    description: Node to C({distribution, version}) of its operating system, as Ansible's facts or os-release have it.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what was found, and what follows
  ansible.builtin.debug:
    msg: "{{ (facts | dtf.cluster.gpu_operator_plan(options, defaults)).told }}"
  vars:
    facts: {w1: "{{ hostvars['w1'].ansible_facts.gpu }}"}
"""

RETURN = r"""
_value:
  description:
    - C({chart_values, labels, told, problems, message, expected, driver_hosts}).
    - C(labels) is node to label to value, or to null for a label that has to go. They come before the chart.
    - C(told) has a sentence for each node. C(problems) has C({field, value, accepted}), and C(message) has all of them
      as one text, empty where there is none.
    - C(expected) is node to C({offers, resources}), resource to the least count; a name may end with C(*).
    - C(driver_hosts) is what the filter P(dtf.cluster.gpu_operator_images#filter) takes as its C(hosts).
  type: dict
"""

from collections.abc import Mapping
from typing import Any


def gpu_operator_plan(
    found: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Any],
    defaults: Mapping[str, Any],
    systems: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, object]:
    """Return the plan as plain values."""
    from ..module_utils.gpu_operator_values import plan

    return plan(found, options, defaults, systems).as_dict()


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"gpu_operator_plan": gpu_operator_plan}
