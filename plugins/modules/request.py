#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin ``request``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: request
short_description: Check what the command line asks for, before anything happens
version_added: 0.1.0
description:
  - Checks the words of the command line (C(-e workers=8)), their values and combinations, unknown and misspelt extra
    variables, and whether results can be written, and reports every problem in one message.
  - Runs on the controller and changes nothing.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  action:
    description: Everything is done on the controller.
    support: full
options:
  words:
    description: Word to value as given on the command line. A word that is null was not given.
    type: dict
    default: {}
  base:
    description: The topology that words are laid over, as M(dtf.cluster.topology) takes it. May be incomplete.
    type: dict
    default: {}
  sweep:
    description: Whether a word may hold several values, as in C(-e workers=1,2,4).
    type: bool
    default: false
  results_dir:
    description: Directory on the controller that results will be written to. It need not exist yet.
    type: str
  playbook_words:
    description: Words that the playbook knows beside those of a training.
    type: list
    elements: str
    default: []
  accepted_variables:
    description: Extra variables of your own, which must not be taken for misspelt words.
    type: list
    elements: str
    default: []
seealso:
  - module: dtf.cluster.benchmark_plan
"""

EXAMPLES = r"""
- name: Check the words
  dtf.cluster.request:
    words: {workers: "1,2,4", repeats: 3}
    sweep: true
    results_dir: results
"""

RETURN = r"""
cells:
  description: The words of each topology that is asked for.
  returned: success
  type: list
  elements: dict
  sample: [{workers: "1"}, {workers: "2"}]
repeats:
  description: Runs of each cell.
  returned: success
  type: int
  sample: 3
failure:
  description: What is wrong, for programs.
  returned: failure
  type: dict
  sample: {code: invalid_input, problems: [{field: workers, value: zero, accepted: a whole number from 1 to 1000}]}
"""
