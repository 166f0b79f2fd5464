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
  - Reads the plan and the run documents of a benchmark and writes C(benchmark.json), C(runs.csv), C(cells.csv) and
    C(summary.txt) beside them.
  - Everything written is a function of the plan and the run documents, so that deleted files come back the same.
  - Run it on the controller. The table is shown on the terminal.
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
    description: The action plugin shows the table.
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
  description: The benchmark's document (schema C(dtf.benchmark/1)); C(null) in check mode before there is a plan.
  returned: always
  type: dict
  sample: {schema: dtf.benchmark/1, name: sweep, cells: []}
table:
  description: The summary as a table.
  returned: always
  type: str
  sample: "sweep: profile fast ..."
path:
  description: Where the document is.
  returned: always
  type: str
  sample: results/sweep/benchmark.json
"""

import json
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark import benchmark_document, cells_csv, runs_csv, table
from ..module_utils.benchmark_directory import read_plan, read_runs, read_text, write_text
from ..module_utils.spec import Topology


def planned_topologies(plan: Mapping[str, object]) -> list[Topology]:
    """Return the cells of a plan, in its order."""
    entries: list[dict[str, object]] = plan["topologies"]  # type: ignore[assignment]
    return [Topology.from_params(entry) for entry in entries]


def main() -> None:
    """Read plan and runs, write what is derived from them where it differs."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "results_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["results_dir"])
    plan = read_plan(directory) or {}
    if not plan and module.check_mode:
        module.exit_json(changed=False, benchmark=None, table="", path=None)
    if not plan:
        module.fail_json(msg=f"there is no plan.json in {directory}: run the benchmark first")
    topologies = planned_topologies(plan)
    repeats = int(str(plan["repeats"]))
    document = benchmark_document(module.params["name"], topologies, repeats, read_runs(directory))
    texts = {
        "benchmark.json": json.dumps(document, indent=2) + "\n",
        "runs.csv": runs_csv(document),
        "cells.csv": cells_csv(document),
        "summary.txt": table(document) + "\n",
    }
    before = read_text(directory / "summary.txt")
    stale = {name: text for name, text in texts.items() if read_text(directory / name) != text}
    if not module.check_mode:
        for name, text in stale.items():
            write_text(directory / name, text)
    module.exit_json(
        changed=bool(stale),
        benchmark=document,
        table=texts["summary.txt"],
        path=str(directory / "benchmark.json"),
        diff={"before": before or "", "after": texts["summary.txt"]},
    )


if __name__ == "__main__":
    main()
