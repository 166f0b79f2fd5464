#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: a parameter-server/worker topology is there, at rest, or gone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: topology
short_description: Run a TensorFlow parameter-server/worker topology
version_added: 0.1.0
description:
  - Starts, changes, stops and removes the tasks of one distributed training.
  - With O(runtime=process) run it on every host of O(hosts). Each starts the tasks that are dealt to it, under a small
    supervisor that restarts lost tasks and outlives Ansible.
  - With O(runtime=kubernetes) run it once, where the cluster's API can be reached from. Objects are applied on the
    server's side, in a number of requests that does not grow with the number of tasks.
  - A change of what is trained or where is a planned re-roll (checkpoint, stop, new host lists, resume).
    Tasks with different host lists never run at once.
  - A finished topology that is applied again unchanged stays as it is.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description:
      - Predicts what would change, and why, without changing anything.
      - With O(runtime=kubernetes) the API server tries every object without storing it.
    support: full
  diff_mode:
    description:
      - Shows the specification before and after, and the tasks that start and stop.
      - With O(runtime=kubernetes) also what changes in the part of each object that this collection owns.
    support: full
extends_documentation_fragment:
  - dtf.cluster.topology
  - dtf.cluster.topology.identity
  - dtf.cluster.kubernetes
options:
  host:
    description:
      - With O(runtime=process) the inventory name of the host the module runs on, one of those the topology has.
        May be left out where the topology has one host only.
      - With O(runtime=kubernetes) the URL of the API server, also given with the environment variable E(K8S_AUTH_HOST).
    type: str
  state:
    description:
      - V(present) trains until the target is reached, and continues a run that was stopped or failed.
      - V(stopped) writes a checkpoint and ends all tasks, keeping what they left.
      - V(absent) ends all tasks and deletes what they left on the hosts, or the topology's objects in the cluster with
        the volumes that were made for it by C(claim). A volume that was there before stays.
    type: str
    default: present
    choices: [present, stopped, absent]
  observed:
    description:
      - What M(dtf.cluster.topology_info) returned as C(topology) on each host of O(hosts), in any order.
      - Needed where there are several hosts, so that all come to the same decision.
    type: list
    elements: dict
    default: []
  force_conflicts:
    description:
      - Take over fields of objects that another field manager owns, with O(runtime=kubernetes).
      - Unless given, such a conflict is an error that names the manager and the fields.
    type: bool
    default: false
requirements:
  - Linux and Python 3.9 or later on the host
seealso:
  - module: dtf.cluster.topology_info
  - module: dtf.cluster.training
"""

EXAMPLES = r"""
- name: Train with two workers on this machine
  dtf.cluster.topology:
    name: demo
    hosts: [{name: localhost, address: 127.0.0.1}]
    python: /opt/trainer/venv/bin/python
    data_dir: /var/lib/mnist
    workers: {replicas: 2}

- name: Remove it
  dtf.cluster.topology:
    name: demo
    state: absent

- name: Train with eight workers on a cluster
  dtf.cluster.topology:
    name: demo
    runtime: kubernetes
    kubeconfig: ~/.kube/config
    workers: {replicas: 8}
    kubernetes:
      namespace: training
      image: registry.example.org/dtf-trainer@sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0
      volumes: {checkpoints: {claim: {size: 1Gi}}}

- name: Remove it from there
  dtf.cluster.topology:
    name: demo
    runtime: kubernetes
    state: absent
    kubernetes: {namespace: training}
"""

RETURN = r"""
topology:
  description: The topology as this host sees it, the same shape for every state and in check mode.
  returned: always
  type: dict
  sample:
    host: localhost
    name: demo
    phase: running
    run_id: 20260102t030405-a1b2c3
    tasks: [{role: ps, index: 0, state: running}]
plan:
  description: What was done, or would be, and why.
  returned: always
  type: dict
  sample: {action: start, reason: the topology does not exist yet, start: [ps-0, worker-0, worker-1], stop: []}
duration:
  description: Seconds the module took.
  returned: always
  type: float
  sample: 0.41
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: name_claimed, message: "topology 'demo' is claimed by ...", details: {owner: benchmark}}
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import drift, kube_topology, processes
from ..module_utils.arguments import IDENTITY_ARGS, SPEC_ARGS, spec_params
from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.hosts import Run
from ..module_utils.kube_state import HOST
from ..module_utils.kubernetes_client import Cluster
from ..module_utils.spec import Topology
from ..module_utils.spec_kubernetes import namespace_of
from ..module_utils.status import HostState
from ..module_utils.topology_directory import TopologyDirectory

#: What the roles before this module put on a host.
PREPARED_FIELDS = ("python", "data_dir")
#: How it looks from here where there is no cluster yet.
UNMADE = ("kubeconfig", "unreachable")


def on_hosts(module: AnsibleModule) -> dict[str, object]:
    """Do what ``state`` says to this host's processes."""
    root, name = module.params["root"], module.params["name"]
    if module.params["state"] == "present":
        return present(module, Topology.from_params(spec_params(module.params)))
    return (stopped if module.params["state"] == "stopped" else absent)(module, root, name)


def in_cluster(module: AnsibleModule) -> dict[str, object]:
    """Do what ``state`` says to a cluster's pods."""
    params = module.params
    manner = kube_topology.Manner(check_mode=module.check_mode, force=params["force_conflicts"])
    if params["state"] == "present":
        topology = Topology.from_params(spec_params(params))
        change = in_reach(module, lambda cluster: kube_topology.present(cluster, topology, manner), topology)
    else:
        namespace = namespace_of(params["kubernetes"])
        end = kube_topology.stopped if params["state"] == "stopped" else kube_topology.absent
        change = in_reach(module, lambda cluster: end(cluster, params["name"], namespace, manner))
    for text in change.warnings:
        module.warn(text)
    outcome = result(change.plan, change.before, change.after, change.wanted)
    if change.old or change.new:
        for side, parts in (("before", change.old), ("after", change.new)):
            outcome["diff"][side]["objects"] = parts  # type: ignore[index]
    return outcome


def in_reach(
    module: AnsibleModule, act: Callable[[Cluster], kube_topology.Change], wanted: Topology | None = None
) -> kube_topology.Change:
    """Act on the cluster; in check mode one that earlier tasks would have made counts as empty."""
    try:
        return act(Cluster(connection(module.params)))
    except ActionFailed as error:
        if not module.check_mode or error.code not in UNMADE:
            raise
        nothing = HostState(host=HOST, name=module.params["name"])
        plan = drift.plan_absent([nothing]) if wanted is None else drift.plan_present(wanted, [nothing])
        warning = f"not there yet, as is to be expected in check mode: {error}"
        return kube_topology.Change(plan, nothing, nothing, wanted.as_dict() if wanted else None, warnings=[warning])


def present(module: AnsibleModule, topology: Topology) -> dict[str, object]:
    """Bring this host's tasks to what the topology asks for."""
    host = own_host(module, topology)
    # Before the moment that a run is decided at; of several hosts topology_info has looked.
    busy = processes.busy_cores() if len(topology.hosts) == 1 and not module.check_mode else None
    before = replace(processes.observe(topology.root, topology.name, host), busy_cores=busy)
    states = agreed_states(module, topology, before)
    plan = drift.plan_present(topology, states)
    if plan.starts:
        refuse_obstacles(module, topology, states)
    if plan.changes and not module.check_mode:
        with TopologyDirectory(topology.root, topology.name).locked():
            apply(topology, plan, states, before, host)
    after = before if module.check_mode else processes.observe(topology.root, topology.name, host)
    return result(plan, before, after, topology.as_dict())


def stopped(module: AnsibleModule, root: str, name: str) -> dict[str, object]:
    """End this host's tasks and keep what they left."""
    before = processes.observe(root, name, module.params["host"] or "localhost")
    plan = drift.plan_stopped([before])
    if plan.changes and not module.check_mode:
        with TopologyDirectory(root, name).locked():
            processes.stop(before, root)
    after = before if module.check_mode else processes.observe(root, name, before.host)
    return result(plan, before, after, before.spec)


def absent(module: AnsibleModule, root: str, name: str) -> dict[str, object]:
    """End this host's tasks and delete what they left."""
    before = processes.observe(root, name, module.params["host"] or "localhost")
    plan = drift.plan_absent([before])
    if plan.changes and not module.check_mode:
        directory = TopologyDirectory(root, name)
        with directory.locked():
            processes.stop(before, root)
            directory.remove()
    after = before if module.check_mode else processes.observe(root, name, before.host)
    return result(plan, before, after, None)


def own_host(module: AnsibleModule, topology: Topology) -> str:
    """Return the name of the host the module runs on."""
    names = [host.name for host in topology.hosts]
    name = module.params["host"] or (names[0] if len(names) == 1 else None)
    if name not in names:
        raise InvalidInput("topology", [Problem("host", name, "one of hosts: " + ", ".join(names))])
    return str(name)


def agreed_states(module: AnsibleModule, topology: Topology, own: HostState) -> list[HostState]:
    """Return what every host sees, in the order of ``hosts``, so that all hosts decide alike."""
    if len(topology.hosts) == 1 and not module.params["observed"]:
        return [HostState.from_dict(dict(own.as_dict(), problems=processes.obstacles(topology, own)))]
    observed = {state.host: state for state in map(HostState.from_dict, module.params["observed"])}
    missing = [host.name for host in topology.hosts if host.name not in observed]
    if missing:
        accepted = "what topology_info returned on every host; missing: " + ", ".join(missing)
        raise InvalidInput("topology", [Problem("observed", sorted(observed), accepted)])
    return [observed[host.name] for host in topology.hosts]


def refuse_obstacles(module: AnsibleModule, topology: Topology, states: list[HostState]) -> None:
    """Fail with everything that stands in the way on any host, before anything starts on one.

    In check mode what earlier tasks would have put in place is only worth a warning.
    """
    problems = [Problem.from_dict(problem) for state in states for problem in state.problems]
    if module.check_mode:
        for problem in problems:
            if problem.field in PREPARED_FIELDS:
                module.warn(f"not there yet, as is to be expected in check mode: {problem.field} {problem.value}")
        problems = [problem for problem in problems if problem.field not in PREPARED_FIELDS]
    if problems:
        raise InvalidInput(f"topology {topology.name!r} cannot start", problems)


def apply(topology: Topology, plan: drift.Plan, states: list[HostState], own: HostState, host: str) -> None:
    """Carry the plan out on this host."""
    if plan.action == "update":
        processes.update_lifecycle(topology, str(own.run_id))
        return
    processes.stop(own, topology.root)
    chief_host = states[0]
    directory = TopologyDirectory(topology.root, topology.name)
    run_id = chief_host.candidate_run_id
    resume = None
    if plan.resume_run_id is not None:
        # The stopped chief may just have written its checkpoint; else the one that run itself came from still serves.
        own_checkpoint = own.run_id if directory.checkpoint(own.run_id) else own.checkpoint_run_id
        resume = own_checkpoint if directory.checkpoint(own_checkpoint) else None
    checkpoint = directory.checkpoint(resume)
    run = Run(
        run_id=run_id,
        directory=str(directory.run(run_id)),
        created=chief_host.candidate_created,
        resume_run_id=resume,
        resume_checkpoint=str(checkpoint) if checkpoint else None,
    )
    directory.prune({name for name in (own.run_id, resume) if name})
    current = {
        "run_id": run_id,
        "spec": topology.as_dict(),
        "created": run.created,
        "resumed_from": {"run_id": resume, "global_step": None} if resume else None,
        "checkpoint_run_id": resume,
        "load_before": next(state.busy_cores for state in states if state.host == host),
    }
    processes.start(topology, host, run, current)


def result(
    plan: drift.Plan, before: HostState, after: HostState, wanted: Mapping[str, object] | None
) -> dict[str, object]:
    """Return the module's result, whose shape does not depend on what happened."""
    old = {"specification": before.spec or {}, "running": list(plan.stop)}
    new = {"specification": wanted or {}, "running": list(plan.start) if plan.starts else []}
    if plan.action in ("none", "update"):
        new["running"] = old["running"]
    return {
        "changed": plan.changes,
        "topology": after.as_dict(),
        "plan": plan.as_dict(),
        "diff": {
            "before_header": f"{before.name} ({before.phase})",
            "after_header": f"{before.name} ({plan.action}: {plan.reason})",
            "before": old,
            "after": new,
        },
    }


def main() -> None:
    """Read the arguments, then do what ``state`` says in the runtime that is wanted."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_ARGS,
            # Names a host too, hence without the environment's variable for a server.
            **IDENTITY_ARGS,
            "state": {"type": "str", "default": "present", "choices": ["present", "stopped", "absent"]},
            "observed": {"type": "list", "elements": "dict", "default": []},
            "force_conflicts": {"type": "bool", "default": False},
            **SPEC_ARGS,
        },
        supports_check_mode=True,
    )
    begin = time.monotonic()
    act = {"process": on_hosts, "kubernetes": in_cluster}[module.params["runtime"]]
    try:
        outcome = act(module)
    except (InvalidInput, ActionFailed) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    module.exit_json(duration=round(time.monotonic() - begin, 3), **outcome)


if __name__ == "__main__":
    main()
