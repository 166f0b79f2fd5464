# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: a registry's settings laid over ours."""

from __future__ import annotations

DOCUMENTATION = r"""
name: registry_configuration
short_description: Lay settings of the registry over others
version_added: 0.1.0
description:
  - Returns the registry's configuration with a user's laid over it, level by level. A null takes away what is below it,
    such as a storage driver for which there is to be another.
  - Fails with all that is wrong with the settings at once. No password is told.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: wanted
options:
  _input:
    description: The configuration that is there without the user's.
    type: dict
    required: true
  wanted:
    description: The user's configuration, in the registry's own structure.
    type: dict
    required: true
  port:
    description: Port on which it listens.
    type: int
    required: true
  storage:
    description: Folder in which it keeps images.
    type: str
    required: true
  users:
    description: Names and passwords of those it lets in, checked here and not returned.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show a configuration that logs more
  ansible.builtin.debug:
    msg: >-
      {{ {'version': 0.1, 'log': {'level': 'info'}}
         | dtf.cluster.registry_configuration({'log': {'level': 'debug'}}, port=5000, storage='/var/lib/registry') }}
"""

RETURN = r"""
_value:
  description: The configuration.
  type: dict
"""

from collections.abc import Mapping

from ansible.errors import AnsibleFilterError


def registry_configuration(
    base: Mapping[str, object],
    wanted: Mapping[str, object],
    port: object,
    storage: str,
    users: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return the configuration, or fail with every problem."""
    from ..module_utils.errors import InvalidInput
    from ..module_utils.registry_settings import configuration

    try:
        return configuration(base, wanted, port, storage, users or {})
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"registry_configuration": registry_configuration}
