#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin ``benchmark_metrics``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_metrics
short_description: Write a benchmark's measures as Prometheus metrics
version_added: 0.1.0
description:
  - Reads the C(benchmark.json) that M(dtf.cluster.benchmark_report) has written, and writes C(metrics.prom) beside it,
    in Prometheus' text exposition format. Cell words are labels.
  - With O(textfile) the same is written where the textfile collector of node_exporter picks it up, in one step, so that
    a half-written file is never read.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Says what would be written, and writes nothing.
    support: full
  diff_mode:
    description: Shows each file before and after.
    support: full
  action:
    description: Everything is done on the controller.
    support: full
options:
  results_dir:
    description: Directory of the benchmark's results.
    type: path
    required: true
  textfile:
    description:
      - One more file to write, whose name ends in C(.prom), in a folder that exists. Each benchmark needs one of its
        own.
    type: path
    default: ""
seealso:
  - module: dtf.cluster.benchmark_report
"""

EXAMPLES = r"""
- name: Tell the monitoring
  dtf.cluster.benchmark_metrics:
    results_dir: results/sweep
    textfile: /var/lib/prometheus/node-exporter/dtf-sweep.prom
  delegate_to: localhost
"""

RETURN = r"""
paths:
  description: The files; none in check mode before there is a summary.
  returned: success
  type: list
  elements: str
  sample: [results/sweep/metrics.prom]
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: no_document, message: there is no results/sweep/benchmark.json}
"""
