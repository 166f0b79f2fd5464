# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: what is to be done to a host's NVIDIA driver."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nvidia_driver_plan
short_description: What is to be done to a host's NVIDIA driver
version_added: 0.1.0
description:
  - Decides from the fact C(gpu) of M(dtf.cluster.gpu_facts) what is installed, held, loaded, left alone or refused, and
    whether the host has to restart.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: options
options:
  _input:
    description: The fact C(gpu).
    type: dict
    required: true
  options:
    description: What is asked for, as the role C(nvidia_driver) has it in its variables.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what would be done
  ansible.builtin.debug:
    msg: "{{ (ansible_facts.gpu | dtf.cluster.nvidia_driver_plan(options)).message }}"
"""

RETURN = r"""
_value:
  description: C({action, message, packages, pin, blacklist, load, restart, toolkit, verify}).
  type: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def nvidia_driver_plan(gpu: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, object]:
    """Return the plan as plain values."""
    from ..module_utils.errors import InvalidInput
    from ..module_utils.gpu_plan import plan, wanted

    try:
        return plan(gpu, wanted(options)).as_dict()
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"nvidia_driver_plan": nvidia_driver_plan}
