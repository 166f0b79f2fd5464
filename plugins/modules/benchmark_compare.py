#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin ``benchmark_compare``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_compare
short_description: Compare two benchmarks cell by cell
version_added: 0.1.0
description:
  - Reads the run documents of two folders, shows what differs around them, and for each cell that both have by how much
    its training takes longer or shorter, with a 95 % interval.
  - A cell is slower or faster only where its whole interval says so. Where none is shown, it says how large a
    difference would have been.
  - Fails where a cell is slower, so that a pipeline can end there; O(fail_on) says otherwise.
  - Warm-up runs, failed and stopped ones are told and not counted.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Compares and shows, and writes nothing.
    support: full
  diff_mode:
    description: Shows the text table before and after, where O(output) is given.
    support: full
  action:
    description: Everything is done on the controller.
    support: full
options:
  before:
    description: Folder of the benchmark to compare with.
    type: raw
    required: true
  after:
    description: Folder of the benchmark that is compared.
    type: raw
    required: true
  threshold:
    description: The least difference that counts, as a share. V(0.05) wants all of an interval beyond 5 %.
    type: raw
    default: 0.0
  fail_on:
    description:
      - V(slower) fails where a cell is slower, or succeeded before and no longer does; V(difference) where any cell
        differs; V(never) not for a verdict.
    type: raw
    default: slower
  output:
    description: Folder for C(comparison.json) and C(comparison.txt). Empty writes nothing.
    type: raw
    default: ""
requirements:
  - numpy and scipy on the controller
seealso:
  - module: dtf.cluster.benchmark_report
"""

EXAMPLES = r"""
- name: Compare with the release
  dtf.cluster.benchmark_compare:
    before: results/release
    after: results/today
    threshold: 0.05
  delegate_to: localhost
"""

RETURN = r"""
comparison:
  description: The comparison's document (schema C(dtf.comparison/1)).
  returned: unless the comparison fails the task
  type: dict
  sample: {schema: dtf.comparison/1, cells: []}
table:
  description: The comparison as a table.
  returned: unless the comparison fails the task
  type: str
  sample: "before: results/release ..."
path:
  description: Where the document was written, or V(null).
  returned: success
  type: str
  sample: results/comparison/comparison.json
failure:
  description: What went wrong, or which verdicts fail the comparison, for programs.
  returned: failure
  type: dict
  sample: {code: differs, message: "1 of 2 cells fail the comparison (fail_on slower): ..."}
"""
