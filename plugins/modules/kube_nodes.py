#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: wait until nodes and system pods are ready, and mark the nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kube_nodes
short_description: Mark a cluster's nodes and wait until they and the system pods are ready
version_added: 0.1.0
description:
  - Gives all nodes their labels and taints, and removes those it gave before that are wanted no longer. What others set
    stays.
  - Waits until every expected node is Ready and every pod of the namespace C(kube-system) too. What waiting cannot cure
    ends it at once, with its cause.
  - Runs on a control plane, with that one's credentials.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  nodes:
    description: Node to its marks. All of them must be there.
    type: dict
    required: true
  state:
    description: V(absent) takes the nodes out of the cluster, whose hosts have been taken back.
    type: str
    default: present
    choices: [present, absent]
  wait:
    description: Whether to wait until all is ready.
    type: bool
    default: true
  wait_timeout:
    description: Seconds after which waiting fails.
    type: float
    default: 300
  wait_sleep:
    description: Seconds between two looks.
    type: float
    default: 0.5
attributes:
  check_mode:
    description: Tells which marks would change and does not wait.
    support: full
  diff_mode:
    description: Shows the marks that change.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Mark the nodes and wait for them
  dtf.cluster.kube_nodes:
    nodes:
      w1:
        labels: {disk: ssd}
        taints: [{key: dedicated, value: training, effect: NoSchedule}]
      w2: {}
"""

RETURN = r"""
waited:
  description: Seconds until all was ready.
  returned: success
  type: float
  sample: 4.2
waiting:
  description: What was not ready at the end of the time.
  returned: failure
  type: list
  elements: str
  sample: ["node w2: has not registered"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import kubectl
from ..module_utils.cluster_status import Waiting, settled, verdict, waiting
from ..module_utils.errors import ActionFailed
from ..module_utils.node_marks import patches
from ..module_utils.waiter import wait

SYSTEM = "--namespace=kube-system"


def unready(expected: list[str]) -> list[Waiting]:
    """Return what is not ready; an API that does not answer is one such thing."""
    try:
        return waiting(kubectl.items("nodes"), kubectl.items("pods", SYSTEM), expected)
    except ActionFailed as error:
        if error.code == "program_missing":
            raise
        return [Waiting("the API server", str(error))]


def mark(module: AnsibleModule) -> dict[str, dict[str, object]]:
    """Give the nodes their marks; return what changed."""
    if module.check_mode:
        try:
            return patches(module.params["nodes"], kubectl.items("nodes"))
        except ActionFailed:
            return {}  # no cluster yet: its nodes would be made with their marks
    changes = patches(module.params["nodes"], kubectl.items("nodes"))
    for name, change in changes.items():
        kubectl.patch("node", name, change)
    return changes


def taken_out(module: AnsibleModule) -> list[str]:
    """Delete the nodes that the cluster still has; return their names."""
    known = {node["metadata"]["name"] for node in kubectl.items("nodes")}
    gone = sorted(known & set(module.params["nodes"]))
    if not module.check_mode:
        for name in gone:
            kubectl.delete_one("node", name)
    return gone


def main() -> None:
    """Mark, then wait."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "dict", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "float", "default": 300},
            "wait_sleep": {"type": "float", "default": 0.5},
        },
        supports_check_mode=True,
    )
    expected = sorted(module.params["nodes"])
    try:
        if module.params["state"] == "absent":
            gone = taken_out(module)
            module.exit_json(changed=bool(gone), diff={"before": {"nodes": gone}, "after": {"nodes": []}}, waited=0.0)
        changes = mark(module)
        if module.check_mode or not module.params["wait"]:
            module.exit_json(changed=bool(changes), diff={"before": {}, "after": changes}, waited=0.0)
        outcome = wait(
            lambda: unready(expected),
            settled,
            interval=module.params["wait_sleep"],
            timeout=module.params["wait_timeout"],
        )
    except ActionFailed as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    if outcome.seen:
        head, told = verdict(outcome.seen, outcome.elapsed)
        module.fail_json(
            msg=f"the cluster is {head}:\n  " + "\n  ".join(told),
            failure={"code": "not_ready", "waiting": told},
            waiting=told,
            changed=bool(changes),
        )
    module.exit_json(changed=bool(changes), diff={"before": {}, "after": changes}, waited=round(outcome.elapsed, 2))


if __name__ == "__main__":
    main()
