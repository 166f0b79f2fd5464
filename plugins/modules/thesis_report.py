#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: runs of the thesis's experiments to verdicts on what it read from its charts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: thesis_report
short_description: Compare runs with what the thesis read from its charts
version_added: 0.1.0
description:
  - Reads the run documents of the benchmarks C(<name>-kind-workers), C(<name>-kind-ps), C(<name>-google-workers) and
    C(<name>-google-ps), and writes C(thesis.json), C(summary.txt), C(thesis.html) and C(figures/) to C(<name>).
  - Each reading of the thesis is judged by intervals. It C(agrees), C(disagrees), is C(not_shown) where the runs leave
    both open, or C(not_measured).
  - Everything written is a function of the plans and run documents, so that deleted files come back the same.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Returns the verdicts without writing anything.
    support: full
  diff_mode:
    description: Shows the verdicts before and after.
    support: full
  action:
    description: Everything is done on the controller.
    support: full
options:
  name:
    description: Name of the whole, with which the names of the benchmarks begin.
    type: str
    default: thesis
  results_dir:
    description: Folder with the benchmarks' folders in it.
    type: path
    required: true
  figures:
    description: Which files the pictures are written as.
    type: list
    elements: str
    choices: [svg, png]
    default: [svg, png]
requirements:
  - numpy, scipy and matplotlib on the controller
seealso:
  - module: dtf.cluster.benchmark_report
"""

EXAMPLES = r"""
- name: Compare with the thesis
  dtf.cluster.thesis_report:
    results_dir: results
  delegate_to: localhost
"""

RETURN = r"""
thesis:
  description: The document (schema C(dtf.thesis/1)); C(null) in check mode before there is a run.
  returned: always
  type: dict
  sample: {schema: dtf.thesis/1, name: thesis, verdicts: {agrees: 2, disagrees: 1, not_shown: 3, not_measured: 3}}
table:
  description: The verdicts, a line each.
  returned: always
  type: str
  sample: "Of the thesis's 9 readings 2 agree ..."
path:
  description: Where the page is.
  returned: always
  type: str
  sample: results/thesis/thesis.html
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: no_runs, message: there is no run in results/thesis-kind-workers and its like}
"""
