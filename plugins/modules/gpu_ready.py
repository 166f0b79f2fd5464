#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: wait until a cluster's nodes offer their GPUs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_ready
short_description: Wait until a cluster's nodes offer the GPUs that are expected of them
version_added: 0.1.0
description:
  - Waits until each node is Ready and its kubelet offers at least as many devices as are expected, and, with NVIDIA's
    operator, until that says it is ready.
  - Says for each node what stands in the way, with the next step. What waiting cannot mend, such as an image that no
    registry has, ends the wait early.
  - It changes nothing.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  namespace:
    description: Namespace of the operator, or of the device plugin.
    type: str
    default: gpu-operator
  policy:
    description: Name of the operator's ClusterPolicy. Empty where there is a device plugin alone.
    type: str
    default: cluster-policy
  expected:
    description:
      - Node to the resources it has to offer, and how many of each at least.
      - A name such as V(nvidia.com/mig-*) stands for all that begin so, and for their sum.
      - A node that nothing is expected of has to be there and Ready.
    type: dict
    required: true
  timeout_seconds:
    description: Seconds after which waiting fails.
    type: float
    default: 900
  grace_seconds:
    description: Seconds for which something that waiting cannot mend must last before the wait ends with it.
    type: float
    default: 60
  poll_seconds:
    description: Seconds between two looks.
    type: float
    default: 5
    aliases: [poll]
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
    description: Looks once, tells what there is, and does not wait. That it is not ready is no failure.
    support: full
  diff_mode:
    description: Nothing changes.
    support: none
extends_documentation_fragment:
  - dtf.cluster.kubernetes
seealso:
  - module: dtf.cluster.helm_release
  - module: dtf.cluster.gpu_smoke
"""

EXAMPLES = r"""
- name: Wait for the operator and the cards of two nodes
  dtf.cluster.gpu_ready:
    kubeconfig: ~/.kube/config
    expected:
      w1: {nvidia.com/gpu: 2}
      w2: {nvidia.com/mig-1g.5gb: 7}

- name: Look at a device plugin without the operator
  dtf.cluster.gpu_ready:
    namespace: kube-system
    policy: ""
    expected:
      w1: {nvidia.com/gpu: 1}
  check_mode: true
  register: gpus
"""

RETURN = r"""
verdict:
  description:
    - Whether all is there (C(ready)); the ClusterPolicy (C(policy)), whose C(state) is C(ready), C(notReady),
      C(ignored), C(absent), or empty where none is asked for; what is about no expected node (C(why)).
    - By node, whether it is C(ok), what is C(expected), the C(capacity) that its plugins have told of, what of it is
      healthy and can be asked for (C(allocatable)), C(why) that is not enough, and C(notes) on what is odd.
    - Each C(why) has a short stable C(reason), the C(object) to look at, a C(message), the C(next_step), and whether
      waiting is of no use (C(hopeless)).
  returned: always
  type: dict
  sample:
    ready: false
    policy: {name: cluster-policy, state: notReady, reason: OperandNotReady, message: 'states not ready: [state-x]'}
    why: []
    nodes:
      w1:
        ok: false
        expected: {nvidia.com/gpu: 2}
        capacity: {nvidia.com/gpu: 2}
        allocatable: {nvidia.com/gpu: 1}
        why:
          - reason: device_unhealthy
            object: Node w1
            message: 1 of 2 nvidia.com/gpu not healthy, 2 expected
            next_step: see nvidia-smi and `journalctl -k | grep Xid` on w1
            hopeless: false
        notes: [1 of 2 nvidia.com/gpu not healthy]
to_try:
  description: Resource to the nodes that offer it, of each node the first one that is expected of it.
  returned: always
  type: dict
  sample: {nvidia.com/gpu: [w1, w2]}
waited:
  description: Seconds until all was there, or until it was given up.
  returned: always
  type: float
  sample: 94.2
failure:
  description: What went wrong, for programs; its C(code) is C(not_ready) after all the time, C(hopeless) before.
  returned: failure
  type: dict
  sample: {code: not_ready, message: 'GPUs are not ready after 900 s', details: {}}
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.gpu_readiness import (
    Policy,
    Seen,
    Verdict,
    Wanted,
    judge,
    lines,
    progress,
    suspicions,
    worth_reading,
)
from ..module_utils.kind_stages import Stages, told_in
from ..module_utils.kube_causes import Patience
from ..module_utils.kubernetes_client import Cluster, Resource
from ..module_utils.waiter import Clock, wait

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9*])?|\*)")
_DAEMON_SETS = Resource("apps/v1", "DaemonSet", "daemonsets", True)
_LOG_LINES = 80
#: Answers of an API server that may be another one soon: NVIDIA's toolkit restarts the runtime under it.
_PASSING = ("unreachable", "throttled", "server_error")


def problems(params: Mapping[str, Any]) -> list[Problem]:
    """Return everything that is wrong with the arguments."""
    found = []
    if not _LABEL.fullmatch(params["namespace"]):
        found.append(Problem("namespace", params["namespace"], "lower-case letters, digits and '-', at most 63"))
    if params["policy"] and not _NAME.fullmatch(params["policy"]):
        found.append(Problem("policy", params["policy"], "name of a ClusterPolicy, or nothing"))
    if not params["expected"] and not params["policy"]:
        found.append(Problem("expected", params["expected"], "at least one node, where there is no policy to wait for"))
    for node, resources in params["expected"].items():
        found += _wrong_of_node(str(node), resources)
    found += [
        Problem(option, params[option], f"a number {words}")
        for option, least, words in (
            ("timeout_seconds", 0.001, "above 0"),
            ("poll_seconds", 0.001, "above 0"),
            ("grace_seconds", 0, "not below 0"),
        )
        if params[option] < least
    ]
    return found


def _wrong_of_node(node: str, resources: object) -> list[Problem]:
    field = f"expected.{node}"
    if not _NAME.fullmatch(node):
        return [Problem(field, resources, "the name of a node")]
    if not isinstance(resources, Mapping):
        return [Problem(field, resources, "resource to number, such as {nvidia.com/gpu: 1}")]
    found = [
        Problem(f"{field}.{name}", count, "name of an extended resource, such as nvidia.com/gpu")
        for name, count in resources.items()
        if not _RESOURCE.fullmatch(str(name))
    ]
    found += [
        Problem(f"{field}.{name}", count, "a whole number, 0 or more")
        for name, count in resources.items()
        # What a template makes is text.
        if isinstance(count, (bool, float)) or not re.fullmatch("[0-9]{1,6}", str(count))
    ]
    return found


def look(cluster: Cluster, wanted: Wanted) -> Seen:
    """Return what a cluster has, in as few requests as there can be."""
    policies: list[dict[str, Any]] | None = []
    if wanted.policy:
        kind = cluster.resource("nvidia.com/v1", "ClusterPolicy")
        policies = None if kind is None else cluster.list_at(kind).items
    return Seen(
        nodes=cluster.list("Node").items,
        pods=cluster.list("Pod", wanted.namespace).items,
        daemon_sets=cluster.list_at(_DAEMON_SETS, wanted.namespace).items,
        events=cluster.list("Event", wanted.namespace).items,
        policies=policies,
        now=cluster.server_date or 0.0,
    )


def last_lines(cluster: Cluster, wanted: Wanted, verdict: Verdict) -> dict[str, list[str]]:
    """Return the last lines of the logs that say more of a verdict; one that cannot be read is left out."""
    found = {}
    for log in worth_reading(verdict):
        try:
            text = cluster.logs(
                log.pod, wanted.namespace, container=log.container, previous=log.previous, tail_lines=_LOG_LINES
            )
            found[log.pod] = list(text)
        except ActionFailed:
            continue
    return found


class Watch:
    """A cluster that is looked at until its GPUs are there, or will not come.

    Args:
        cluster: who is asked.
        wanted: what is expected.
        grace: seconds for which something hopeless must last.
        stages: is told how far it is.
        clock: time.
    """

    def __init__(self, cluster: Cluster, wanted: Wanted, grace: float, stages: Stages, clock: Clock) -> None:
        self._cluster = cluster
        self._wanted = wanted
        self._grace = grace
        self._stages = stages
        self._clock = clock
        self._patience = Patience()
        self._seen: Seen | None = None
        self.verdict = nothing(wanted.policy)
        self.given_up = False
        #: Why the API server did not answer when it was asked last; empty where it did.
        self.silence = ""

    def over(self) -> bool:
        """Look once, and tell whether there is nothing more to wait for.

        Raises:
            ActionFailed: the API server refuses, or has never answered.
        """
        try:
            self._seen = look(self._cluster, self._wanted)
        except ActionFailed as error:
            if self._seen is None or error.code not in _PASSING:
                raise
            self.silence = str(error)
            self._stages.detail("the API server does not answer")
            return False
        self.silence = ""
        self.verdict = judge(self._wanted, self._seen)
        self._stages.detail(progress(self.verdict))
        cause = self._patience.judge(suspicions(self.verdict, self._grace), self._clock.monotonic())
        self.given_up = cause is not None
        return self.verdict.ready or self.given_up

    def explain(self) -> None:
        """Have the verdict say what logs say."""
        if self._seen is None or self.verdict.ready:
            return
        logs = last_lines(self._cluster, self._wanted, self.verdict)
        self.verdict = judge(self._wanted, replace(self._seen, logs=logs))

    def failure(self, waited: float) -> ActionFailed:
        """Return what the wait came to, when it came to nothing."""
        told = lines(self.verdict, final=self.given_up)
        head = f"GPUs are not ready after {waited:.0f} s (namespace {self._wanted.namespace})"
        if self.given_up:
            head += f", and waiting is of no use: for {self._grace:.0f} s it was so"
        if self.silence:
            told = [self.silence, "before that:", *told]
        return ActionFailed("hopeless" if self.given_up else "not_ready", f"{head}:\n  " + "\n  ".join(told))


def nothing(policy: str) -> Verdict:
    """Return the verdict of who has not looked yet."""
    return Verdict(False, Policy(policy, ""), ())


def wanted_of(params: Mapping[str, Any]) -> Wanted:
    """Return what valid arguments expect."""
    expected = {
        str(node): {str(name): int(count) for name, count in resources.items()}
        for node, resources in params["expected"].items()
    }
    return Wanted(params["namespace"], params["policy"], expected)


def main() -> None:
    """Check the arguments, look, and wait."""
    module = AnsibleModule(
        argument_spec={
            "namespace": {"type": "str", "default": "gpu-operator"},
            "policy": {"type": "str", "default": "cluster-policy"},
            "expected": {"type": "dict", "required": True},
            "timeout_seconds": {"type": "float", "default": 900},
            "grace_seconds": {"type": "float", "default": 60},
            "poll_seconds": {"type": "float", "default": 5, "aliases": ["poll"]},
            **CONNECTION_ARGS,
            "progress": {"type": "str", "default": "auto", "choices": ["auto", "lines", "none"]},
            "progress_path": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    watch: Watch | None = None
    failure: ActionFailed | InvalidInput | None = None
    waited = 0.0
    try:
        wrong = problems(params)
        if wrong:
            raise InvalidInput("gpu_ready", wrong)
        stages, clock = Stages(told_in(params["progress_path"])), Clock()
        stages.begin("Waiting")
        cluster = Cluster(connection(params))
        watch = Watch(cluster, wanted_of(params), params["grace_seconds"], stages, clock)
        timeout = 0.0 if module.check_mode else params["timeout_seconds"]
        outcome = wait(watch.over, bool, interval=params["poll_seconds"], timeout=timeout, clock=clock)
        waited = round(outcome.elapsed, 2)
        watch.explain()
        if not watch.verdict.ready and not module.check_mode:
            failure = watch.failure(outcome.elapsed)
    except (ActionFailed, InvalidInput) as error:
        failure = error
    verdict = watch.verdict if watch else nothing(params["policy"])
    result = {"verdict": verdict.as_dict(), "to_try": verdict.to_try(), "waited": waited}
    if failure is not None:
        module.fail_json(msg=str(failure), failure=failure.as_failure(), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
