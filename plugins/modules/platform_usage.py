#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: what a cluster's own programs have consumed of its machines so far."""

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_usage
short_description: Read what a cluster takes of its machines
version_added: 0.1.0
description:
  - Reads counters of processor time and memory of the control plane, the kubelet, the container runtime, the agents of
    the network, a registry, and the whole machine. Two readings, one before a run and one after it, are what
    M(dtf.cluster.platform_record) makes a difference of.
  - It never fails. What could not be read is told in RV(notes).
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
  - dtf.cluster.kubernetes
options:
  source:
    description:
      - V(cgroup) reads the control groups of the machine that the module runs on, as they are at this moment.
      - V(kubelet) asks the kubelets of all nodes through the API server, which needs the right to C(get) C(nodes/proxy)
        and C(list) C(nodes). A kubelet counts every ten to twenty seconds and tells what it counted last.
    type: str
    choices: [cgroup, kubelet]
    default: cgroup
  machine:
    description: With O(source=cgroup) the inventory name of the machine.
    type: str
    default: localhost
  load:
    description:
      - With O(source=cgroup) whether to look how many cores are at work, for a fifth of a second before the counters
        are read.
    type: bool
    default: false
  host:
    description: URL of the API server, also given with the environment variable E(K8S_AUTH_HOST).
    type: str
  until:
    description:
      - With O(source=kubelet) the moment that counters have to be of, as a run document writes it. They are waited for,
        half a minute at most.
    type: str
    default: "1970-01-01T00:00:00Z"
requirements:
  - Linux and Python 3.9 or later on the host
seealso:
  - module: dtf.cluster.platform_record
"""

EXAMPLES = r"""
- name: Read the counters of this machine
  dtf.cluster.platform_usage:
    machine: "{{ inventory_hostname }}"
  register: before
"""

RETURN = r"""
readings:
  description: One reading of each machine.
  returned: always
  type: list
  elements: dict
  sample:
    - host: w1
      node: w1
      sampled: false
      busy_cores: 0.11
      total: {part: other, time: 1795481537.11, cpu_seconds: 131.868, memory_bytes: 626331648}
      counters:
        unit kubelet.service: {part: kubelet, time: 1795481537.11, cpu_seconds: 18.888, memory_bytes: 40579072}
notes:
  description: What could not be read, and why.
  returned: always
  type: list
  elements: str
  sample: []
"""

import time
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.errors import ActionFailed
from ..module_utils.kubernetes_client import Cluster
from ..module_utils.platform_counters import Groups
from ..module_utils.platform_usage import Reading, moment, oldest, reading_of_summary
from ..module_utils.processes import busy_cores

#: Seconds that counters may lie behind.
PATIENCE = 30.0
#: Seconds between two questions for newer ones.
PAUSE = 1.0


def of_machine(name: str, load: bool) -> tuple[list[Reading], list[str]]:
    """Return this machine's reading, with its load if that is wanted, and what went wrong."""
    try:
        busy = busy_cores() if load else None
        return [replace(Groups().read(name), busy_cores=busy)], []
    except (OSError, ValueError, KeyError, IndexError) as error:
        return [], [f"{name}: its control groups cannot be read ({error!r})"]


def of_kubelets(cluster: Cluster, until: float) -> tuple[list[Reading], list[str]]:
    """Return a reading of each node that tells, and why the others do not."""
    readings, notes = [], []
    deadline = time.monotonic() + PATIENCE
    for node in cluster.list("Node").items:
        name = node["metadata"]["name"]
        try:
            reading = reading_of_summary(cluster.kubelet_summary(name))
            while oldest(reading) < until and time.monotonic() < deadline:
                time.sleep(PAUSE)
                reading = reading_of_summary(cluster.kubelet_summary(name))
        except (ActionFailed, ValueError, KeyError) as error:
            notes.append(f"{name}: its kubelet does not tell: {error}")
            continue
        readings.append(reading)
    return readings, notes


def main() -> None:
    """Read, answer."""
    module = AnsibleModule(
        argument_spec={
            **CONNECTION_ARGS,
            "source": {"type": "str", "choices": ["cgroup", "kubelet"], "default": "cgroup"},
            "machine": {"type": "str", "default": "localhost"},
            "load": {"type": "bool", "default": False},
            "until": {"type": "str", "default": "1970-01-01T00:00:00Z"},
        },
        supports_check_mode=True,
    )
    if module.params["source"] == "cgroup":
        readings, notes = of_machine(module.params["machine"], module.params["load"])
    else:
        try:
            readings, notes = of_kubelets(Cluster(connection(module.params)), moment(module.params["until"]))
        except (ActionFailed, ValueError) as error:
            readings, notes = [], [str(error)]
    module.exit_json(changed=False, readings=[reading.as_dict() for reading in readings], notes=notes)


if __name__ == "__main__":
    main()
