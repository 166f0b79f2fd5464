#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: a Kind cluster on this host, made of kind's own configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kind_cluster
short_description: Have a Kind cluster on a host, or none
version_added: 0.1.0
description:
  - Makes a cluster whose nodes are containers of this host, waits until its nodes and system pods are ready, and writes
    its administrator's kubeconfig.
  - What a cluster was made with is kept in its first node. One that was made with something else is only made anew with
    O(recreate), because everything in it is lost.
  - Nodes that do not run, as after a restart of the host, are started.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  name:
    description: The cluster's name, which its nodes begin with.
    type: str
    required: true
  state:
    description: V(absent) removes the cluster with everything in it, its kubeconfig and the image it was given.
    type: str
    default: present
    choices: [present, absent]
  configuration:
    description: Kind's own configuration, complete. Required for O(state=present).
    type: dict
  recreate:
    description: Whether a cluster that was made with another configuration is removed and made anew.
    type: bool
    default: false
  kind:
    description: Path of the program.
    type: path
    required: true
  kubeconfig:
    description: File on this host for the administrator's kubeconfig.
    type: path
    required: true
  image:
    description: Name of the nodes' image, where O(image_archive) has it.
    type: str
    default: ""
  image_archive:
    description: File on this host with the nodes' image, which the container engine is given if it lacks it.
    type: path
  engine:
    description: Program of the container engine. V(auto) takes the first that answers.
    type: str
    default: auto
    choices: [auto, docker, podman, nerdctl]
  environment:
    description: Environment of kind and the container engine, such as C(DOCKER_HOST) or a proxy's variables.
    type: dict
    default: {}
  timeout:
    description: Seconds that kind may take to make the cluster.
    type: float
    default: 600
  wait:
    description: Whether to wait until nodes and system pods are ready.
    type: bool
    default: true
  wait_timeout:
    description: Seconds after which waiting fails.
    type: float
    default: 300
  progress:
    description: How progress is shown. V(auto) refreshes one line on a terminal, else a line comes every few seconds.
    type: str
    default: auto
    choices: [auto, lines, none]
  progress_path:
    description: Used by the action plugin. File on this host in which the module says how far it is.
    type: path
attributes:
  check_mode:
    description: Tells what would be made, and what would have to be made anew.
    support: full
  diff_mode:
    description: Shows the configuration before and after.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Have a cluster of three nodes
  dtf.cluster.kind_cluster:
    name: dtf
    kind: /usr/local/bin/kind
    kubeconfig: /root/.kube/kind-dtf
    configuration: "{{ {'name': 'dtf', 'workers': 2} | dtf.cluster.kind_configuration }}"
"""

RETURN = r"""
action:
  description: What was done, or in check mode would be.
  returned: success
  type: str
  sample: create
reasons:
  description: Why, in words.
  returned: success
  type: list
  elements: str
  sample: [there is no cluster of that name]
nodes:
  description: Names of the cluster's nodes.
  returned: success
  type: list
  elements: str
  sample: [dtf-control-plane, dtf-worker]
engine:
  description: Program of the container engine that the nodes run in.
  returned: success
  type: str
  sample: docker
waited:
  description: Seconds until all was ready after kind was done.
  returned: success
  type: float
  sample: 4.2
stages:
  description: What took how long (seconds), in order; empty where nothing was done.
  returned: success
  type: list
  elements: dict
  sample: [{name: Preparing nodes, seconds: 5.2}, {name: Starting control-plane, seconds: 12.1}]
"""

from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.cluster_status import Waiting, settled, verdict, waiting
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.host_files import remove
from ..module_utils.kind_documents import host_ports, node_names
from ..module_utils.kind_host import KindHost, archive_digests, find_engine, taken
from ..module_utils.kind_plan import CREATE, DELETE, RECREATE, REFUSE, START, Plan, Seen, planned, stale
from ..module_utils.kind_stages import Stages, readiness, told_in
from ..module_utils.waiter import wait

SECONDS_BETWEEN_LOOKS = 1.0


class Cluster:
    """A cluster as it is asked for, on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        options = module.params
        self.options = options
        self.check: bool = module.check_mode
        self.engine = find_engine(options["engine"], options["environment"])
        kubeconfig = Path(options["kubeconfig"])
        self.stages = Stages(told_in(options["progress_path"]))
        self.host = KindHost(
            options["name"], options["kind"], self.engine, options["environment"], kubeconfig, self.stages
        )
        self.changed = False
        self.waited = 0.0
        self.started: list[str] = []
        self.since = ""

    def present(self) -> Plan:
        """Have the cluster; return what was done."""
        wanted, image = self.options["configuration"], self._image()
        seen = self.host.look()
        plan = planned(seen, wanted, image=image, recreate=self.options["recreate"])
        self._refuse_taken_ports(plan, seen)
        if plan.action == START and not self.check:
            self._act(plan, image)
            # Now it can tell what it was made with.
            after = planned(self.host.look(), wanted, image=image, recreate=self.options["recreate"])
            plan = after if after.action in {RECREATE, REFUSE} else plan
        if plan.action == REFUSE and not self.check:
            name = self.options["name"]
            raise ActionFailed(
                "needs_recreate",
                f"Kind cluster {name} would have to be made anew: {'; '.join(plan.reasons)}. Everything that is in it "
                "would be lost; allow that by kind_recreate: true (recreate), or ask for what it is",
                reasons=list(plan.reasons),
            )
        if plan.action != START or self.check:
            self._act(plan, image)
        if not self.check:
            self.changed = self.host.write_credentials(check=False) or self.changed
            if self.options["wait"]:
                self._wait(sorted(node_names(wanted)))
        return plan

    def _refuse_taken_ports(self, plan: Plan, seen: Seen) -> None:
        """Raise if a cluster that is to be made would ask for ports that something else has."""
        if plan.action not in {CREATE, RECREATE}:
            return
        # Those of the cluster that makes room are free by then.
        own = {port.number for port in host_ports(seen.configuration)} if seen.configuration and seen.nodes else set()
        wanted = [port for port in host_ports(self.options["configuration"]) if port.number not in own]
        accepted = "a port of this host that is free; it is taken by {}"
        found = [Problem("configuration", field, accepted.format(holder)) for field, holder in taken(wanted).items()]
        if found:
            raise InvalidInput("Kind cluster {}".format(self.options["name"]), found)

    def _image(self) -> str:
        """Return the digest of the nodes' image; empty where that is the engine's to know."""
        archive = self.options["image_archive"]
        if not archive or (self.check and not Path(archive).exists()):
            return ""
        return archive_digests(Path(archive))[0]

    def _take_image(self) -> None:
        """Let the engine have the nodes' image, and forget one that had its name."""
        archive, name = self.options["image_archive"], self.options["image"]
        if not archive:
            return
        former = self.host.image_id(name)
        if former in archive_digests(Path(archive)):
            return
        self.host.take_image(Path(archive))
        if former:
            self.host.drop_image(former)

    def _act(self, plan: Plan, image: str) -> None:
        self.changed = self.changed or plan.changes
        if self.check:
            return
        if plan.action == RECREATE:
            self.host.delete()
        if plan.action in {CREATE, RECREATE}:
            self._take_image()
            self.host.create(self.options["configuration"], image, self.options["timeout"])
        elif plan.action == START:
            self.since = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
            self.started = self.host.look().stopped
            self.host.start(self.started)

    def _wait(self, expected: list[str]) -> None:
        if self.changed:
            self.stages.begin("Waiting")
        outcome = wait(
            lambda: self._unready(expected),
            settled,
            interval=SECONDS_BETWEEN_LOOKS,
            timeout=self.options["wait_timeout"],
        )
        if outcome.seen:
            head, told = verdict(outcome.seen, outcome.elapsed)
            raise ActionFailed(
                "not_ready",
                f"Kind cluster {self.options['name']} is {head}:\n  " + "\n  ".join(told),
                waiting=told,
            )
        self.waited = round(outcome.elapsed, 2)
        self.stages.end()

    def _unready(self, expected: list[str]) -> list[Waiting]:
        # A node that has ended does not come back, but the API tells of it for a while as if it were there.
        found = [Waiting(f"node {name}", told, hopeless=True) for name, told in self.host.ended().items()]
        try:
            nodes, pods = self.host.items("nodes"), self.host.items("pods", "--namespace=kube-system")
            found += waiting(nodes, pods, expected) + stale(nodes, pods, self.started, self.since)
            if found:
                self.stages.detail(readiness(nodes, pods, expected, found))
        except ActionFailed as error:
            found.append(Waiting("the API server", str(error)))
            self.stages.detail("for the API server")
        return found

    def absent(self) -> Plan:
        """Have no cluster, and nothing that was there for it alone."""
        plan = planned(self.host.look(), None)
        self.changed = plan.changes
        image = self.options["image"] if self.options["image_archive"] else ""
        kubeconfig = self.host.kubeconfig
        if self.check:
            self.changed = self.changed or kubeconfig.exists() or bool(image and self.host.image_id(image))
            return plan
        if plan.action == DELETE:
            self.host.delete()
        self.changed = remove(kubeconfig) or self.changed
        self.host.forget()
        self.changed = self.host.clear_network() or self.changed
        if image and self.host.image_id(image):
            self.changed = self.host.drop_image(image) or self.changed
        return plan


def main() -> None:
    """Look, plan, act."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "configuration": {"type": "dict"},
            "recreate": {"type": "bool", "default": False},
            "kind": {"type": "path", "required": True},
            "kubeconfig": {"type": "path", "required": True},
            "image": {"type": "str", "default": ""},
            "image_archive": {"type": "path"},
            "engine": {"type": "str", "default": "auto", "choices": ["auto", "docker", "podman", "nerdctl"]},
            "environment": {"type": "dict", "default": {}},
            "timeout": {"type": "float", "default": 600},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "float", "default": 300},
            "progress": {"type": "str", "default": "auto", "choices": ["auto", "lines", "none"]},
            "progress_path": {"type": "path"},
        },
        required_if=[("state", "present", ["configuration"])],
        required_by={"image_archive": ["image"]},
        supports_check_mode=True,
    )
    try:
        cluster = Cluster(module)
        act = cluster.present if module.params["state"] == "present" else cluster.absent
        # A host that has nothing has nobody at it, and stays as it is.
        is_held = not module.check_mode and (module.params["state"] == "present" or cluster.host.is_known)
        with cluster.host.locked() if is_held else nullcontext():
            plan = act()
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    cluster.stages.end()
    if plan.action == REFUSE:
        module.warn("; ".join(plan.reasons) + ": without kind_recreate: true (recreate) this will be refused")
    result: dict[str, Any] = {
        "changed": cluster.changed,
        "action": plan.action,
        "reasons": list(plan.reasons),
        "nodes": sorted(node_names(module.params["configuration"])) if module.params["state"] == "present" else [],
        "engine": cluster.engine,
        "waited": cluster.waited,
        "stages": cluster.stages.taken(),
        "diff": {"before": dict(plan.before), "after": dict(plan.after)},
    }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
