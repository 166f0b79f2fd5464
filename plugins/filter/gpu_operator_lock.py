# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: a list of images as a lock, by which the bundle fetches them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gpu_operator_lock
short_description: A list of images as a lock of the bundle
version_added: 0.1.0
description:
  - Returns the text of a lock that has just these images, for M(dtf.cluster.bundle). Digests that an earlier lock had
    learnt are kept.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: before
options:
  _input:
    description: Images as the filter P(dtf.cluster.gpu_operator_images#filter) returns them.
    type: list
    elements: dict
    required: true
  before:
    description: Text of the earlier lock. Empty for none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write the list
  ansible.builtin.copy:
    content: "{{ images | dtf.cluster.gpu_operator_lock }}"
    dest: images.lock.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The lock, as YAML.
  type: str
"""

from collections.abc import Iterable, Mapping

import yaml
from ansible.errors import AnsibleFilterError

_HEAD = "# Images of the GPU stack, as the values of its chart name them. Written by the role gpu_operator.\n"


def gpu_operator_lock(images: Iterable[Mapping[str, str]], before: str = "") -> str:
    """Return the lock's text."""
    from ..module_utils.errors import InvalidInput
    from ..module_utils.image_lock import lock

    try:
        known = yaml.safe_load(before) or {}
        wanted = lock([str(image["source"]) for image in images], known)
        # One that says the same stays as it is written, by whomever.
        return before if known == wanted else _HEAD + yaml.safe_dump(wanted, sort_keys=False)
    except (InvalidInput, yaml.YAMLError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"gpu_operator_lock": gpu_operator_lock}
