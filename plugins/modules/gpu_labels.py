#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: what the nodes of a cluster say of their GPUs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_labels
short_description: Label the nodes of a cluster for the GPU operator or a device plugin
version_added: 0.1.0
description:
  - Gives nodes the labels by which the GPU operator, or a device plugin alone, knows what to do with each of them.
  - Which labels are its own is remembered at each node. One that is wanted no longer is removed; what others set stays.
  - What the operator itself has paused (a value that begins with C(paused-)), as while it changes a driver, is left so.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  nodes:
    description:
      - Node to its labels. With O(state=present) each node must be there.
      - A label without a value is one that is not wanted.
    type: dict
    default: {}
  state:
    description: V(absent) removes what this module ever set, from all nodes.
    type: str
    default: present
    choices: [present, absent]
attributes:
  check_mode:
    description: Tells which labels would change.
    support: full
  diff_mode:
    description: Shows the labels that change, node by node.
    support: full
extends_documentation_fragment:
  - dtf.cluster.kubernetes
"""

EXAMPLES = r"""
- name: Say which nodes have cards, and which a driver
  dtf.cluster.gpu_labels:
    nodes:
      w1: {nvidia.com/gpu.present: "true"}
      w2: {nvidia.com/gpu.present: "true", nvidia.com/gpu.deploy.driver: pre-installed}
    kubeconfig: ~/.kube/config
"""

RETURN = r"""
labels:
  description: Node to the labels that change; a null removes one.
  returned: success
  type: dict
  sample: {w1: {nvidia.com/gpu.present: "true"}}
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: invalid_input, problems: []}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import node_marks
from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.kubernetes_client import Cluster


def problems(wanted: dict[str, Any], there: list[str]) -> list[Problem]:
    """Return everything that is wrong with the arguments."""
    found = []
    for node, labels in wanted.items():
        if not isinstance(labels, dict):
            found.append(Problem(f"nodes.{node}", labels, "label → value"))
        if node not in there:
            found.append(Problem("nodes", node, "a node of the cluster: {}".format(", ".join(there) or "it has none")))
    return found


def unpaused(labels: dict[str, Any], live: dict[str, str]) -> dict[str, Any]:
    """Return labels as they are to be: the operator puts what it has paused back itself."""
    return {
        name: live[name] if str(live.get(name, "")).startswith("paused-") else value
        for name, value in labels.items()
        if value is not None
    }


def differences(
    nodes: list[Any], patches: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the labels that change, as they are and as they will be, node by node."""
    live = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
    changing = {node: patch.get("metadata", {}).get("labels", {}) for node, patch in patches.items()}
    before = {
        node: {name: live[node][name] for name in labels if name in live[node]} for node, labels in changing.items()
    }
    after = {
        node: {name: value for name, value in labels.items() if value is not None} for node, labels in changing.items()
    }
    return changing, before, after


def main() -> None:
    """Compare, then patch the nodes that differ."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "dict", "default": {}},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            **CONNECTION_ARGS,
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        cluster = Cluster(connection(params))
        nodes = list(cluster.list("Node").items)
        there = sorted(node["metadata"]["name"] for node in nodes)
        wanted = params["nodes"] if params["state"] == "present" else {}
        wrong = problems(wanted, there)
        if wrong:
            raise InvalidInput("gpu_labels", wrong)
        # A node that is asked for nothing is asked too: it may have labels of ours from before.
        live = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
        marks = {node: {"labels": unpaused(wanted.get(node, {}), live[node])} for node in there}
        patches = node_marks.patches(marks, nodes, node_marks.GPUS)
        if not module.check_mode:
            for node, patch in patches.items():
                cluster.patch("Node", node, "", patch)
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    changing, before, after = differences(nodes, patches)
    module.exit_json(changed=bool(patches), labels=changing, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
