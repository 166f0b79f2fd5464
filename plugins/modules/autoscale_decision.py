#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: which number of workers to measure next, or how many are worth having."""

from __future__ import annotations

DOCUMENTATION = r"""
module: autoscale_decision
short_description: Decide which number of workers to measure next
version_added: 0.1.0
description:
  - Reads the runs of a benchmark that differ in the number of workers only, and says which number to measure next and
    how often, or how many workers are worth having.
  - Growing is worth it where a doubling makes the training faster by O(threshold) at least; a part of a doubling has to
    bring its part of that.
  - A number of workers that has no place on the machines (no memory, quota, room on the nodes), or whose last two runs
    have failed, bounds the search.
  - Everything is decided from the runs, so that a search that was broken off goes on where it was, and a number of
    workers that has enough runs is never measured again.
  - Writes C(autoscale.json) beside the runs. Run it on the controller.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Decides the same and writes nothing.
    support: full
  diff_mode:
    description: Shows C(autoscale.json) before and after.
    support: full
  action:
    description: The action plugin decides, and shows each decision in a line. The module looks at runs and machines.
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
  state:
    description: With V(checked) only what is asked for is checked; nothing is looked at.
    type: str
    choices: [present, checked]
    default: present
  base:
    description: The topology to measure, as O(dtf.cluster.benchmark_plan#module:base).
    type: dict
    required: true
  words:
    description:
      - Words of the command line, each with one value. C(workers) and C(repeats) must not be among them, since they are
        what is looked for.
    type: dict
    default: {}
  machines:
    description: What the hosts of process runs have, as C({name, available_memory_mb}). Of others nothing is known.
    type: list
    elements: dict
    default: []
  max_workers:
    description: The largest number of workers.
    type: raw
    required: true
  threshold:
    description: By what share a doubling has to make the training faster to be worth it.
    type: raw
    default: 0.1
  min_repeats:
    description: Runs that each number of workers gets that is measured at all.
    type: raw
    default: 3
  max_repeats:
    description: Runs that a number of workers gets at most.
    type: raw
    default: 10
requirements:
  - numpy and scipy on the controller
seealso:
  - module: dtf.cluster.benchmark_plan
  - module: dtf.cluster.benchmark_report
"""

EXAMPLES = r"""
- name: Decide what to measure next
  dtf.cluster.autoscale_decision:
    name: autoscale
    results_dir: results/autoscale
    base:
      hosts: [{name: localhost, address: 127.0.0.1}]
    words: {steps: 5000}
    max_workers: 16
  register: decision
  delegate_to: localhost
"""

RETURN = r"""
finished:
  description: Whether the search is at its end.
  returned: success
  type: bool
  sample: false
workers:
  description: The number of workers to measure, or the one that is worth having; V(null) with O(state=checked).
  returned: success
  type: int
  sample: 8
repeats:
  description: How many runs it is to have then; V(null) where nothing is to be measured.
  returned: success
  type: int
  sample: 3
autoscale:
  description: The whole search (schema C(dtf.autoscale/1)), or V(null) with O(state=checked).
  returned: success
  type: dict
  sample: {schema: dtf.autoscale/1, decisions: []}
path:
  description: Where the search is written, or V(null) with O(state=checked).
  returned: success
  type: str
  sample: results/autoscale/autoscale.json
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: invalid_input, problems: []}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import sweep
from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.benchmark_directory import read_runs
from ..module_utils.benchmark_fit import ClusterView, cells, nodes_of, view
from ..module_utils.errors import ActionFailed, InvalidInput
from ..module_utils.grid import identity
from ..module_utils.kubernetes_client import Cluster


def look(module: AnsibleModule, runtime: object) -> ClusterView | None:
    """Return what the cluster has for pods, if pods are asked for; in check mode there need be no cluster yet."""
    if runtime != "kubernetes":
        return None
    try:
        base = module.params["base"]
        return view(Cluster(connection(module.params)), base.get("kubernetes"), str(module.params["name"]))
    except ActionFailed as error:
        if not module.check_mode or error.code not in ("kubeconfig", "unreachable"):
            raise
        module.warn(f"not there yet, as is to be expected in check mode: {error}")
        return None


def sizes(module: AnsibleModule) -> list[dict[str, object]]:
    """Return every size that is allowed: why it has no place, why it is given up, its successful runs."""
    params = module.params
    words = {word: value for word, value in params["words"].items() if value is not None}
    base = dict(params["base"], name=params["name"])
    cluster = look(module, words.get("runtime", base.get("runtime", "process")))
    base["nodes"] = nodes_of(base, cluster)
    asked = [dict(words, workers=size) for size in range(1, params["max_workers"] + 1)]
    by_identity: dict[str, list[sweep.Document]] = {}
    runs: list[sweep.Document] = list(read_runs(Path(params["results_dir"])))
    for run in sorted(runs, key=sweep.when_made):
        by_identity.setdefault(identity(run["spec"]), []).append(run)
    found: list[dict[str, object]] = []
    for size, cell in enumerate(cells(asked, base, params["machines"], cluster), 1):
        own = by_identity.get(identity(cell.topology.as_dict()), []) if cell.topology else []
        failed = sweep.given_up(own)
        found.append(
            {
                "workers": size,
                "label": sweep.label(cell.words),
                "unfit": cell.unfit,
                "given_up": failed[-1]["cause"]["message"] if failed else None,
                "runs": [
                    {"run_id": run["run_id"], "seconds": run["training"]["seconds"]}
                    for run in own
                    if run["state"] == "succeeded" and sweep.repeat_of(run) != 0
                ],
            }
        )
    return found


def main() -> None:
    """Look at the machines and the runs; the action plugin has checked the input, and decides."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_ARGS,
            "name": {"type": "str", "required": True},
            "results_dir": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "checked"], "default": "present"},
            "base": {"type": "dict", "required": True},
            "words": {"type": "dict", "default": {}},
            "machines": {"type": "list", "elements": "dict", "default": []},
            "max_workers": {"type": "raw", "required": True},
            "threshold": {"type": "raw", "default": 0.1},
            "min_repeats": {"type": "raw", "default": 3},
            "max_repeats": {"type": "raw", "default": 10},
        },
        supports_check_mode=True,
    )
    module.params["max_workers"] = int(module.params["max_workers"])
    try:
        module.exit_json(changed=False, sizes=sizes(module))
    except (InvalidInput, ActionFailed) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())


if __name__ == "__main__":
    main()
