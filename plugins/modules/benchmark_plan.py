#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: what a benchmark still has to measure."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_plan
short_description: Plan the runs of a benchmark
version_added: 0.1.0
description:
  - Writes the plan of a benchmark and returns the runs that are still missing. Run it on the controller.
  - Runs that exist below O(results_dir) and measured the same topology on the same hosts are never repeated.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Returns the runs without writing the plan.
    support: full
  diff_mode:
    description: Shows the plan before and after.
    support: full
options:
  name:
    description: Name of the benchmark.
    type: str
    required: true
  results_dir:
    description: Directory of the benchmark's results, with one folder a run.
    type: path
    required: true
  base:
    description: The topology to measure, as M(dtf.cluster.topology) takes it. The words are laid over it.
    type: dict
    required: true
  words:
    description: Words of the command line, each with one value or several (a list, or C(1,2,4)).
    type: dict
    default: {}
seealso:
  - module: dtf.cluster.benchmark_report
"""

EXAMPLES = r"""
- name: Plan a sweep over workers
  dtf.cluster.benchmark_plan:
    name: sweep
    results_dir: results/sweep
    base: "{{ benchmark_topology }}"
    words: {workers: [1, 2, 4], repeats: 3}
  delegate_to: localhost
"""

RETURN = r"""
runs:
  description: The runs that are still missing, in the order they should be made.
  returned: always
  type: list
  elements: dict
  sample: [{cell: {workers: 1, ps: 1}, repeat: 1}]
total:
  description: How many successful runs the plan wants.
  returned: always
  type: int
  sample: 9
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: invalid_input, problems: []}
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.benchmark import cells_to_run
from ..module_utils.benchmark_directory import read_plan, read_runs, write_text
from ..module_utils.errors import InvalidInput
from ..module_utils.grid import read_words, with_words
from ..module_utils.spec import Topology


def main() -> None:
    """Read the words, compare with the runs that exist, write the plan."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "results_dir": {"type": "path", "required": True},
            "base": {"type": "dict", "required": True},
            "words": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    directory = Path(params["results_dir"])
    try:
        request, problems = read_words(params["words"], params["base"], sweep=True)
        if problems:
            raise InvalidInput("benchmark {!r}".format(params["name"]), problems)
        base = dict(params["base"], name=params["name"])
        topologies = [Topology.from_params(with_words(base, cell)) for cell in request.cells]
        missing = cells_to_run(topologies, request.repeats, read_runs(directory))
    except InvalidInput as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    plan = {
        "schema": "dtf.plan/1",
        "name": params["name"],
        "repeats": request.repeats,
        "order": "repeat by repeat, cells in the order of the words",
        "seed": None,
        "topologies": [topology.as_dict() for topology in topologies],
    }
    before = read_plan(directory)
    changed = before != plan
    if changed and not module.check_mode:
        write_text(directory / "plan.json", json.dumps(plan, indent=2) + "\n")
    module.exit_json(
        changed=changed,
        runs=missing,
        total=len(topologies) * request.repeats,
        diff={"before": before or {}, "after": plan},
    )


if __name__ == "__main__":
    main()
