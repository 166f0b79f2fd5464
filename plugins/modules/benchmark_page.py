#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin ``benchmark_page``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_page
short_description: Draw a benchmark as a page and pictures
version_added: 0.1.0
description:
  - Makes one HTML page C(report.html) of a benchmark that M(dtf.cluster.benchmark_report) has summarised, and its
    pictures as files in C(figures/). The page needs no other file and no address, in light and dark, on a phone and
    on paper.
  - What was not measured is not drawn. The same documents and events give the same bytes.
  - Pictures that an earlier report has left and this one does not make are removed; files of other names stay.
requirements:
  - matplotlib, on the controller
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Draws without writing. Before there is a summary, says nothing.
    support: full
  diff_mode:
    description: Names the files that change, with size and digest before and after.
    support: full
  action:
    description: Everything is done on the controller.
    support: full
options:
  results_dir:
    description: Directory of the benchmark's results, with C(benchmark.json) and a folder for each run.
    type: path
    required: true
  figures:
    description: Formats of the pictures' own files; the page has its pictures in any case.
    type: list
    elements: str
    choices: [svg, png]
    default: [svg, png]
seealso:
  - module: dtf.cluster.benchmark_report
"""

EXAMPLES = r"""
- name: Draw
  dtf.cluster.benchmark_page:
    results_dir: results/sweep
  delegate_to: localhost

- name: Draw the page alone
  dtf.cluster.benchmark_page:
    results_dir: results/sweep
    figures: []
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The page; V(null) in check mode before there is a summary.
  returned: success
  type: str
  sample: results/sweep/report.html
figures:
  description: The pictures' files.
  returned: success
  type: list
  elements: str
  sample: [results/sweep/figures/speed-up.svg]
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: missing_library, message: pictures need matplotlib on the controller, details: {}}
"""
