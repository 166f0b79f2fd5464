#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: run documents to a benchmark's summary."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_report
short_description: Summarise the runs of a benchmark
version_added: 0.1.0
description:
  - Reads the run documents of a benchmark and writes C(benchmark.json), C(runs.csv), C(cells.csv) and C(summary.txt)
    beside them, with intervals, speed-up, efficiency, fitted laws of scaling, the knee, and what makes a number
    doubtful.
  - Everything written is a function of the run documents, so that deleted files come back the same. The plan, if there
    is one, adds how many runs were wanted, and cells that have none.
  - The table is shown on the terminal.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Returns the summary without writing it.
    support: full
  diff_mode:
    description: Shows the table before and after.
    support: full
  action:
    description: Everything is done on the controller.
    support: full
options:
  name:
    description: Name of the benchmark.
    type: str
    required: true
  results_dir:
    description: Directory of the benchmark's results.
    type: path
    required: true
  gain_threshold:
    description:
      - The least gain of a larger number of workers that is worth it, as a share from V(0) to V(1). V(0.1) is a tenth
        faster.
      - Unless given it is the one that the benchmark was planned with, and V(0.1) where there is no plan or the plan
        has none, so that the same files are made whoever asks for them.
    type: float
requirements:
  - numpy and scipy on the controller
seealso:
  - module: dtf.cluster.benchmark_plan
"""

EXAMPLES = r"""
- name: Summarise
  dtf.cluster.benchmark_report:
    name: sweep
    results_dir: results/sweep
  delegate_to: localhost
"""

RETURN = r"""
benchmark:
  description: The benchmark's document (schema C(dtf.benchmark/2)); C(null) in check mode before there is a run.
  returned: always
  type: dict
  sample: {schema: dtf.benchmark/2, name: sweep, cells: []}
table:
  description: The summary as a table.
  returned: always
  type: str
  sample: "sweep: profile fast ..."
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: no_runs, message: there is no plan.json and no run in results/sweep}
path:
  description: Where the document is.
  returned: always
  type: str
  sample: results/sweep/benchmark.json
"""
