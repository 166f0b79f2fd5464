# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: lay words of the command line over a topology's parameters."""

from __future__ import annotations

DOCUMENTATION = r"""
name: with_words
short_description: Lay words of the command line over a topology's parameters
version_added: 0.1.0
description:
  - Returns the parameters of M(dtf.cluster.topology) with the words that were given in their places.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: words
options:
  _input:
    description: The parameters.
    type: dict
    required: true
  words:
    description:
      - Word to value. A word that is null changes nothing.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show that the word wins
  ansible.builtin.debug:
    msg: "{{ {'workers': {'replicas': 2}} | dtf.cluster.with_words({'workers': 8, 'ps': none}) }}"
"""

RETURN = r"""
_value:
  description: The parameters with the words in their places.
  type: dict
"""

from collections.abc import Mapping


def with_words(params: Mapping[str, object], words: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters with words laid over them."""
    from ..module_utils import grid

    return grid.with_words(params, words)


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"with_words": with_words}
