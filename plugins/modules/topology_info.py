#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: look at a topology on one host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: topology_info
short_description: Look at a TensorFlow parameter-server/worker topology
version_added: 0.1.0
description:
  - Returns what the host it runs on, or a cluster, knows of a topology, in the shape of M(dtf.cluster.topology).
  - With the options that describe a wanted topology it also returns what would keep that one from starting on this
    host, such as a busy port or too little memory. That is for O(runtime=process) only.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
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
requirements:
  - Linux and Python 3.9 or later on the host
seealso:
  - module: dtf.cluster.topology
"""

EXAMPLES = r"""
- name: Look at the topology
  dtf.cluster.topology_info:
    name: demo
  register: found

- name: Look at one of pods
  dtf.cluster.topology_info:
    name: demo
    runtime: kubernetes
    kubernetes: {namespace: training}
  register: found
"""

RETURN = r"""
topology:
  description: The topology as this host sees it. Its C(phase) is V(absent) where nothing is known of it.
  returned: always
  type: dict
  sample:
    host: localhost
    name: demo
    phase: succeeded
    run_id: 20260102t030405-a1b2c3
    tasks: [{role: ps, index: 0, state: done}]
    problems: []
machine:
  description:
    - The host that the module runs on, what it has and what of its memory can still be had (MiB).
    - With O(runtime=kubernetes) it is V(null).
  returned: success
  type: dict
  sample: {name: w1, cores: 2, memory_bytes: 25276510208, cpu_model: EPYC, kernel: 6.1.0, available_memory_mb: 22000}
nodes:
  description: Names of the cluster's nodes that take any pod, in order. With O(runtime=process) there are none.
  returned: success
  type: list
  elements: str
  sample: [w1, w2]
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: invalid_input, problems: [{field: name, value: UP, accepted: lower-case letters}]}
"""

from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import kube_state, kube_topology, processes
from ..module_utils.arguments import IDENTITY_ARGS, SPEC_ARGS, spec_params
from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.benchmark_fit import view
from ..module_utils.errors import ActionFailed, InvalidInput
from ..module_utils.kubernetes_client import Cluster
from ..module_utils.node_room import worker_nodes
from ..module_utils.spec import Topology
from ..module_utils.spec_kubernetes import namespace_of
from ..module_utils.status import HostState


def on_hosts(module: AnsibleModule) -> HostState:
    """Return what this host knows, and what would keep a wanted topology from starting on it."""
    params = module.params
    topology = Topology.from_params(spec_params(params)) if params["hosts"] else None
    host = params["host"] or (topology.hosts[0].name if topology else "localhost")
    # Before the moment that a run is decided at, so that looking takes none of its time.
    busy = processes.busy_cores() if topology else None
    state = processes.observe(params["root"], params["name"], host)
    if topology is None:
        return state
    return replace(state, problems=processes.obstacles(topology, state), busy_cores=busy)


def in_cluster(module: AnsibleModule) -> HostState:
    """Return what a cluster knows."""
    params = module.params
    cluster = Cluster(connection(params))
    return kube_state.observed(kube_topology.observe(cluster, params["name"], namespace_of(params["kubernetes"])))


def main() -> None:
    """Read the arguments, look, answer."""
    module = AnsibleModule(
        argument_spec={**CONNECTION_ARGS, **IDENTITY_ARGS, **SPEC_ARGS},
        required_by={"hosts": ("python", "data_dir")},
        supports_check_mode=True,
    )
    look = {"process": on_hosts, "kubernetes": in_cluster}[module.params["runtime"]]
    try:
        state = look(module)
    except (InvalidInput, ActionFailed) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    machine, nodes = None, []
    if module.params["runtime"] == "process":
        machine = dict(
            processes.host_environment(), name=state.host, available_memory_mb=processes.available_memory_mb()
        )
    else:
        params = module.params
        nodes = worker_nodes(view(Cluster(connection(params)), params["kubernetes"], params["name"]).nodes)
    module.exit_json(changed=False, topology=state.as_dict(), machine=machine, nodes=nodes)


if __name__ == "__main__":
    main()
