# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin: what a site measures of the thesis's experiments."""

from __future__ import annotations

DOCUMENTATION = r"""
name: thesis_grid
short_description: What a site measures of the thesis's experiments
version_added: 0.1.0
description:
  - Returns the words of a benchmark for each of the thesis's experiments, scaled to a site.
author:
  - The dtf.cluster team (@dtf-cluster)
positional: words, nodes, series
options:
  _input:
    description: V(full), the thesis's own grid, or V(quick), a part of it that ends in a few minutes.
    type: str
    required: true
  words:
    description:
      - Word to value, laid over the grid. A word that is null changes nothing.
    type: dict
    required: true
  nodes:
    description: How many nodes or hosts the site has; larger numbers are left out. V(0) is unknown.
    type: int
    default: 0
  series:
    description: Names of the experiments, all of them unless given.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show what would be measured
  ansible.builtin.debug:
    msg: "{{ 'quick' | dtf.cluster.thesis_grid({'steps': 100}, 1) }}"
"""

RETURN = r"""
_value:
  description: By an experiment's name its C(words), the C(topology) they are laid over, and C(lines) for a reader.
  type: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError


def thesis_grid(
    grid: str, words: Mapping[str, object], nodes: int = 0, series: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return what a site measures, by the experiment's name."""
    from ..module_utils.errors import InvalidInput
    from ..plugin_utils.thesis_experiments import NAMES, planned

    try:
        found = planned(grid, words, int(nodes), NAMES if series is None else series)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from error
    return {name: entry.as_dict() for name, entry in found.items()}


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"thesis_grid": thesis_grid}
