#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: wait for a topology's training and keep its run document.

The action plugin of the same name waits and writes on the controller; this module is its hand on the host.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: training
short_description: Wait for a training, measure it and keep its run document
version_added: 0.1.0
description:
  - Waits until the run of a topology has ended, with live progress on the terminal, and writes its run document, logs,
    events, exported model and checkpoint below O(results_dir) on the controller.
  - With O(runtime=process) run it on every host of the topology, in one task. All of them wait at once, so C(forks)
    must not be smaller than their number.
  - With O(runtime=kubernetes) run it once. The controller itself talks to the cluster's API, and watches it. The
    exported model and the checkpoint stay on the volume that the topology has for them.
  - Fails within seconds of a task that cannot recover, with its cause and last log lines. The document is written then
    too. Pods of a run that has failed are taken away, so that they hold nothing.
  - Interrupted with Ctrl-C it stops the topology's processes, with a checkpoint, before it leaves. A training of pods
    goes on, and can be waited for again.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Returns what is known and waits for nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  action:
    description: The waiting is done on the controller.
    support: full
extends_documentation_fragment:
  - dtf.cluster.topology.identity
  - dtf.cluster.kubernetes
options:
  host:
    description:
      - With O(runtime=process) the inventory name of the host the module runs on, one of those the topology has.
        May be left out where the topology has one host only.
      - With O(runtime=kubernetes) the URL of the API server, also given with the environment variable E(K8S_AUTH_HOST).
    type: str
  runtime:
    description: How the topology's tasks run.
    type: str
    default: process
    choices: [process, kubernetes]
  kubernetes:
    description:
      - With O(runtime=kubernetes) where the topology is. Only C(namespace) is read, V(default) unless given, so that it
        can be what M(dtf.cluster.topology) was given.
    type: dict
  results_dir:
    description: Directory on the controller. The run is kept in C(<results_dir>/<run_id>/).
    type: str
    default: results
  wait_timeout:
    description: Seconds after which waiting fails; the training itself goes on. V(0) waits for as long as it takes.
    type: float
    default: 0.0
  wait_sleep:
    description: Seconds between two looks at processes. Pods are watched, and what happens to them is seen at once.
    type: float
    default: 1.0
  progress:
    description: V(auto) shows one refreshed line on a terminal and a line every few seconds elsewhere.
    type: str
    default: auto
    choices: [auto, lines, none]
  label:
    description: What lines of progress begin with. Unless given it is the topology's name.
    type: str
  benchmark:
    description: Which run of a benchmark it is, for the run document.
    type: dict
    suboptions:
      name:
        description: Name of the benchmark.
        type: str
        required: true
      repeat:
        description: The block of runs it belongs to, one of each cell. V(0) is a warm-up.
        type: int
        required: true
      number:
        description: Its place in the order of the plan.
        type: int
        required: true
      seed:
        description: Seed of that order.
        type: int
        required: true
      repeats:
        description: Successful runs that are wanted of each cell.
        type: int
      gain_threshold:
        description: The least gain that is worth a step, as a share.
        type: float
  action:
    description: Used by the action plugin. V(look) reads, V(collect) packs what the run left.
    type: str
    default: look
    choices: [look, collect]
  archive:
    description: Used by the action plugin. Where V(collect) puts its archive on the host.
    type: str
requirements:
  - Linux and Python 3.9 or later on the host
  - the Python package C(kubernetes) on the controller, with O(runtime=kubernetes)
seealso:
  - module: dtf.cluster.topology
  - module: dtf.cluster.topology_info
"""

EXAMPLES = r"""
- name: Wait for the training
  dtf.cluster.training:
    name: demo
    results_dir: results/demo
  register: trained

- name: Wait for a training of pods
  dtf.cluster.training:
    name: demo
    runtime: kubernetes
    kubeconfig: ~/.kube/config
    kubernetes: {namespace: training}

- name: Show how long it took
  ansible.builtin.debug:
    msg: "{{ trained.run.training.seconds }} s"
"""

RETURN = r"""
run:
  description: The run document (schema C(dtf.run/2)); C(null) in check mode where no run has ended yet.
  returned: always
  type: dict
  sample: {schema: dtf.run/2, run_id: 20260102t030405-a1b2c3, state: succeeded}
path:
  description: Where the document was written on the controller.
  returned: always
  type: str
  sample: results/demo/20260102t030405-a1b2c3/run.json
topology:
  description: The topology as this host sees it.
  returned: always
  type: dict
  sample: {host: localhost, name: demo, phase: succeeded}
duration:
  description: Seconds waited.
  returned: always
  type: float
  sample: 31.5
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: data, message: worker 0 ended with exit code 66, details: {task: worker-0}}
"""

import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import processes
from ..module_utils.arguments import IDENTITY_ARGS, PLACE_ARGS, WAIT_ARGS
from ..module_utils.arguments_kubernetes import CONNECTION_ARGS
from ..module_utils.errors import ActionFailed
from ..module_utils.topology_directory import TopologyDirectory, read_json

KEPT = ("logs", "checkpoint", "export", "summaries")


def look(root: str, name: str, host: str) -> dict[str, object]:
    """Return the host's view, where its run lies, and the stamps a run document is made of."""
    state = processes.observe(root, name, host)
    found: dict[str, object] = {"topology": state.as_dict()}
    if state.run_id is None:
        return found
    directory = TopologyDirectory(root, name)
    run = directory.run(state.run_id)
    found["environment"] = dict(
        processes.host_environment(), load_before=(directory.current() or {}).get("load_before")
    )
    supervisor, status = read_json(run / "supervisor.json"), read_json(run / "status.json")
    found["run_dir"] = str(run)
    found["supervisor"] = {key: supervisor[key] for key in ("wall", "monotonic")} if supervisor else None
    found["ended"] = {key: status[key] for key in ("wall", "monotonic")} if status else None
    return found


def collect(run_dir: str, archive: str) -> None:
    """Pack what the run left on this host into an archive the controller can fetch."""
    with tarfile.open(archive, "w") as packed:
        for part in KEPT:
            path = Path(run_dir) / part
            if path.is_dir():
                packed.add(path, arcname=part)
    # The connection's user may be another one than the one the module runs as.
    Path(archive).chmod(0o644)


def main() -> None:
    """Read the arguments, look, pack if asked to."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_ARGS,
            **IDENTITY_ARGS,
            **PLACE_ARGS,
            **WAIT_ARGS,
            "action": {"type": "str", "default": "look", "choices": ["look", "collect"]},
            "archive": {"type": "str"},
        },
        required_if=[("action", "collect", ("archive",))],
        supports_check_mode=True,
    )
    try:
        found = look(module.params["root"], module.params["name"], module.params["host"] or "localhost")
        if module.params["action"] == "collect" and "run_dir" in found:
            collect(str(found["run_dir"]), module.params["archive"])
    except (ActionFailed, OSError) as error:
        failure = error.as_failure() if isinstance(error, ActionFailed) else {"code": "collect", "message": str(error)}
        module.fail_json(msg=str(error), failure=failure)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
