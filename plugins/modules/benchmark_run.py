#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: whether a run of a benchmark is to be made now, and the record of one that could not begin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_run
short_description: Begin a run of a benchmark, or record that it was refused
version_added: 0.1.0
description:
  - Tells whether a run of the plan is still to be made, as things stand now. It is not where a successful run has its
    place, or where its cell was given up because its last two runs failed.
  - Notes which run is being made, so that one that is broken off can be told.
  - With O(refused) it writes the run document of a run that could not be started, which is a result like any other.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Tells the same, and notes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
options:
  results_dir:
    description: Directory of the benchmark's results, with its plan in it.
    type: path
    required: true
  number:
    description: The run's place in the order of the plan.
    type: int
    required: true
  retry_since:
    description: Failures before this moment (seconds since the epoch) do not count.
    type: float
  refused:
    description: Why the run could not be started, as the C(failure) of the modules that refused it.
    type: list
    elements: dict
  versions:
    description: Versions of the software on the controller, C(ansible) and C(collection), for the document.
    type: dict
    default: {}
seealso:
  - module: dtf.cluster.benchmark_plan
"""

EXAMPLES = r"""
- name: See whether the third run is to be made
  dtf.cluster.benchmark_run:
    results_dir: results/sweep
    number: 3
  register: turn
  delegate_to: localhost
"""

RETURN = r"""
wanted:
  description: Whether the run is to be made.
  returned: always
  type: bool
  sample: true
reason:
  description: Why it is not; empty where it is.
  returned: always
  type: str
  sample: ""
benchmark:
  description: What the run document is told of the benchmark.
  returned: always
  type: dict
  sample: {name: sweep, repeat: 1, number: 3, seed: 1, repeats: 3, gain_threshold: 0.1}
label:
  description: The run among the others, in words.
  returned: always
  type: str
  sample: "sweep 3/9 (2 workers, 1 ps, repeat 1; all in about 2 min 05 s)"
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: no_plan, message: there is no plan}
"""
