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
  - Cells are measured repeat by repeat, in a random order of each repeat's own, so that what drifts on the machines
    hits all of them alike. A warm-up, which is kept and not counted, goes before the first run of each runtime.
  - Runs that exist below O(results_dir) and measured the same topology on the same hosts are never repeated. A cell
    whose last two runs have failed is given up.
  - A cell that has no place on the machines (too few of them, no memory, quota, room on the nodes) gets no runs, and
    its reason is told. Only where no cell has a place does the module fail.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Returns the runs without writing the plan, and shows it.
    support: full
  diff_mode:
    description: Shows the plan before and after.
    support: full
  action:
    description: The action plugin checks what the report will need, and shows the plan.
    support: full
extends_documentation_fragment:
  - dtf.cluster.kubernetes
options:
  host:
    description: The URL of the API server, also given with the environment variable E(K8S_AUTH_HOST).
    type: str
  name:
    description: Name of the benchmark.
    type: str
    required: true
  results_dir:
    description: Directory of the benchmark's results, with one folder a run.
    type: path
    required: true
  base:
    description:
      - The topology to measure, as M(dtf.cluster.topology) takes it. The words are laid over it.
      - Beside it C(nodes), the names of a cluster's nodes in the order in which the word C(nodes) takes them. Unless
        given they are those that are ready and take any pod, by name.
    type: dict
    required: true
  words:
    description: Words of the command line, each with one value or several (a list, or C(1,2,4)).
    type: dict
    default: {}
  seed:
    description: Seed of the order.
    type: int
    default: 1
  warm_up:
    description: Whether each runtime begins with a run that is not counted.
    type: bool
    default: true
  retry:
    description: Whether cells that were given up are tried again.
    type: bool
    default: false
  machines:
    description: What the hosts of process runs have, as C({name, available_memory_mb}). Of others nothing is known.
    type: list
    elements: dict
    default: []
  gain_threshold:
    description:
      - The least gain that is worth a step, as a share from V(0) to V(1). It changes nothing of the runs.
      - M(dtf.cluster.benchmark_report) needs it when everything is measured, and finds it in the plan. What is
        wrong with it is told now.
    type: float
    default: 0.1
requirements:
  - numpy and scipy on the controller, for M(dtf.cluster.benchmark_report)
seealso:
  - module: dtf.cluster.benchmark_run
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
  sample: [{number: 1, repeat: 0, cell: {workers: 2, ps: 1}, label: "2 workers, 1 ps"}]
total:
  description: How many successful runs the plan wants, warm-ups among them.
  returned: always
  type: int
  sample: 9
cells:
  description: Every cell, why it has no place, how many of its runs are there, and how long one takes (seconds).
  returned: always
  type: list
  elements: dict
  sample: [{label: "2 workers, 1 ps", unfit: null, done: 1, given_up: null, seconds: 12.5, source: 1 its own run}]
remaining_seconds:
  description: How long the missing runs will take; V(null) where nothing tells.
  returned: always
  type: float
  sample: 92.0
nodes:
  description: Names of a cluster's nodes in the order in which the word C(nodes) takes them.
  returned: always
  type: list
  elements: str
  sample: [w1, w2]
interrupted:
  description: The run that was being made when an earlier playbook was broken off, if it has left no document.
  returned: always
  type: dict
  sample: {name: sweep, repeat: 1, number: 3, seed: 1, repeats: 3, gain_threshold: 0.1}
interrupted_on:
  description: Where that run was being made, on which hosts as processes, or in which namespace as pods.
  returned: always
  type: dict
  sample: {runtime: process, hosts: [w1, w2], namespace: null}
began:
  description: Now, in seconds since the epoch.
  returned: always
  type: float
  sample: 1767323045.5
table:
  description: The plan as a table.
  returned: always
  type: str
  sample: "sweep: 9 runs of 3 cells ..."
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: invalid_input, problems: []}
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import sweep
from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.benchmark_directory import (
    interrupted_run,
    read_other_runs,
    read_plan,
    read_runs,
    write_text,
)
from ..module_utils.benchmark_fit import ClusterView, cells, nodes_of, view
from ..module_utils.errors import ActionFailed, InvalidInput
from ..module_utils.grid import read_words
from ..module_utils.kubernetes_client import Cluster

#: How a cluster looks that earlier tasks of a playbook in check mode would have made.
UNMADE = ("kubeconfig", "unreachable")


def look(module: AnsibleModule, runtimes: set[object]) -> ClusterView | None:
    """Return what the cluster has for pods, if pods are asked for; in check mode there need be no cluster yet."""
    if "kubernetes" not in runtimes:
        return None
    try:
        base = module.params["base"]
        return view(Cluster(connection(module.params)), base.get("kubernetes"), str(module.params["name"]))
    except ActionFailed as error:
        if not module.check_mode or error.code not in UNMADE:
            raise
        module.warn(f"not there yet, as is to be expected in check mode: {error}")
        return None


def planned(module: AnsibleModule) -> tuple[dict[str, object], list[str]]:
    """Return the plan that the words and the machines make, and the nodes that the word for them takes."""
    params = module.params
    request, problems = read_words(params["words"], params["base"], sweep=True)
    if problems:
        raise InvalidInput("benchmark {!r}".format(params["name"]), problems)
    base = dict(params["base"], name=params["name"])
    runtimes = {cell.get("runtime", base.get("runtime", "process")) for cell in request.cells}
    cluster = look(module, runtimes)
    base["nodes"] = nodes_of(base, cluster)
    found = cells(request.cells, base, params["machines"], cluster)
    if all(cell.unfit for cell in found):
        reasons = [f"{sweep.label(cell.words)}: {cell.unfit}" for cell in found]
        raise ActionFailed(
            "nothing_fits", "benchmark {!r}: no cell has a place\n  {}".format(params["name"], "\n  ".join(reasons))
        )
    how = {name: params[name] for name in ("seed", "warm_up", "gain_threshold")}
    return sweep.plan(params["name"], found, request.repeats, **how), base["nodes"]


def main() -> None:
    """Read the words, compare with the machines and with the runs that exist, write the plan."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_ARGS,
            "name": {"type": "str", "required": True},
            "results_dir": {"type": "path", "required": True},
            "base": {"type": "dict", "required": True},
            "words": {"type": "dict", "default": {}},
            "seed": {"type": "int", "default": 1},
            "warm_up": {"type": "bool", "default": True},
            "retry": {"type": "bool", "default": False},
            "machines": {"type": "list", "elements": "dict", "default": []},
            # Checked by the action plugin: a module cannot import what judges.
            "gain_threshold": {"type": "float", "default": 0.1},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["results_dir"])
    began = time.time()
    try:
        plan, nodes = planned(module)
        runs = read_runs(directory)
    except (InvalidInput, ActionFailed) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    before = read_plan(directory)
    changed = before != plan
    if changed and not module.check_mode:
        write_text(directory / "plan.json", json.dumps(plan, indent=2) + "\n")
    standing = sweep.standing(
        plan, runs, read_other_runs(directory), retry_since=began if module.params["retry"] else None
    )
    interrupted = interrupted_run(directory) or {"benchmark": None, "where": None}
    module.exit_json(
        changed=changed,
        began=began,
        nodes=nodes,
        interrupted=interrupted["benchmark"],
        interrupted_on=interrupted["where"],
        diff={"before": short(before), "after": short(plan)},
        **standing,
    )


def short(plan: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return what a reader of a difference wants of a plan: the words of its cells, not their whole topologies."""
    if plan is None:
        return {}
    cells_of_plan = plan.get("cells", [])
    words = [cell["cell"] for cell in cells_of_plan] if isinstance(cells_of_plan, list) else []
    return {**plan, "cells": words}


if __name__ == "__main__":
    main()
