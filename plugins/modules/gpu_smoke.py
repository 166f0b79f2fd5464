#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: run a first program on a GPU of each node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_smoke
short_description: Run a program on a GPU of each node, and see that it does what it should
version_added: 0.1.0
description:
  - Runs one pod on each node, all at once, that asks for one device as a training would, and reads what it prints.
  - Says for each node that fails why, with the next step. A pod that finds no device, or no image, ends early.
  - The pods are deleted in the end, also after a failure. Those that an earlier run has left behind are deleted too.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  namespace:
    description: Namespace for the pods. It has to exist. Its Pod Security may be C(restricted).
    type: str
    default: default
  nodes:
    description: Names of the nodes.
    type: list
    elements: str
    required: true
  resource:
    description: Resource of which each pod asks for one.
    type: str
    default: nvidia.com/gpu
  image:
    description: Image of the pods. For the default O(command) any with glibc; NVIDIA's runtime brings the program.
    type: str
    required: true
  command:
    description:
      - What is run. Unless given, C(nvidia-smi) with
        C(--query-gpu=name,uuid,memory.total,driver_version,utilization.gpu --format=csv,noheader,nounits).
      - Lines as those are read as cards, whatever prints them.
      - NVIDIA's own sample of CUDA is another one, with V(Test PASSED) as O(expect).
    type: list
    elements: str
    default: []
  expect:
    description:
      - Regular expression that what is printed must match somewhere.
      - Without it C(nvidia-smi) has to name a card, and another program has to end with 0.
    type: str
    default: ""
  runtime_class:
    description: Name of a RuntimeClass. Empty is the node's default.
    type: str
    default: ""
  pull_secrets:
    description: Names of secrets of the namespace, to pull the image with.
    type: list
    elements: str
    default: []
  tolerations:
    description: Tolerations as Kubernetes writes them, beside that of the taint C(nvidia.com/gpu).
    type: list
    elements: dict
    default: []
  timeout_seconds:
    description: Seconds that the pods may take.
    type: float
    default: 300
  when_busy:
    description:
      - What is made of a node whose devices others have, such as a training. V(skip) has it well, with the code C(busy)
        and the names of the pods.
    type: str
    default: fail
    choices: [fail, skip]
  fail:
    description: Whether a node that fails fails the module. Else it is only told.
    type: bool
    default: true
attributes:
  check_mode:
    description:
      - Asks the API server by a dry run of each pod whether it would take it, and stores nothing.
      - What it would refuse is told by a warning and in RV(verdict).
    support: full
  diff_mode:
    description: Nothing is left changed.
    support: none
extends_documentation_fragment:
  - dtf.cluster.kubernetes
seealso:
  - module: dtf.cluster.gpu_ready
"""

EXAMPLES = r"""
- name: Have the cards of two nodes name themselves
  dtf.cluster.gpu_smoke:
    kubeconfig: ~/.kube/config
    nodes: [w1, w2]
    image: registry.example/debian:12
    runtime_class: nvidia
  register: smoke

- name: Compute something
  dtf.cluster.gpu_smoke:
    nodes: [w1]
    image: registry.example/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0
    command: [/cuda-samples/vectorAdd]
    expect: Test PASSED
"""

RETURN = r"""
verdict:
  description:
    - Whether all went well (C(ok)), and by node the same with the cards that were named (C(gpus)), what the program
      printed of its variable C(NVIDIA_VISIBLE_DEVICES) (C(devices)), the C(exit_code), the last of what was C(said),
      and the C(seconds) it took.
    - Of a node that failed, why, as a short stable word (C(code)) and in words (C(reason)).
    - In check mode, whether the pods would be taken.
  returned: always
  type: dict
  sample:
    ok: true
    nodes:
      w1:
        ok: true
        code: ""
        reason: ""
        gpus: [{name: NVIDIA A100-SXM4-40GB, uuid: GPU-5d1f, memory_mib: 40960, driver: 535.183.01, utilisation: 0}]
        devices: []
        exit_code: 0
        said: NVIDIA A100-SXM4-40GB, GPU-5d1f, 40960, 535.183.01, 0
        seconds: 3.1
failure:
  description:
    - What went wrong, for programs; its C(code) is C(smoke) where it is a node that failed, C(interrupted) where it was
      told to end.
  returned: failure
  type: dict
  sample: {code: smoke, message: "the GPU's smoke test failed on 1 of 2 nodes", details: {}}
"""

import re
import signal
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.arguments_kubernetes import CONNECTION_ARGS, connection
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.gpu_smoke import (
    APP,
    CONTAINER,
    GPU,
    NVIDIA_SMI,
    Outcome,
    Smoke,
    busy,
    ended,
    failed,
    has_ended,
    in_use,
    left_behind,
    manifest,
    out_of_time,
    patience,
    pod_name,
    stuck,
    verdict,
)
from ..module_utils.kube_causes import Cause, Patience, Suspicion
from ..module_utils.kube_labels import LABEL_NAME
from ..module_utils.kubernetes_client import Cluster
from ..module_utils.pod_trouble import trouble
from ..module_utils.waiter import Clock, wait

SECONDS_BETWEEN_LOOKS = 1.0
#: What pods that were asked to go may take for it.
SECONDS_TO_GO = 60.0
_LOG_LINES = 200
#: What an API server says of a pod, and not of itself.
_REFUSALS = ("quota", "admission", "invalid", "forbidden", "namespace_missing", "namespace_terminating")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_RESOURCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?")


def problems(params: Mapping[str, Any]) -> list[Problem]:
    """Return everything that is wrong with the arguments."""
    nodes, command, tolerations = params["nodes"], params["command"], params["tolerations"]
    checks: list[tuple[str, bool, str]] = [
        ("namespace", _fits(_LABEL, params["namespace"]), "lower-case letters, digits and '-', at most 63"),
        ("nodes", bool(nodes) and len(set(nodes)) == len(nodes), "at least one node, and none twice"),
        ("nodes", all(_fits(_NAME, node) for node in nodes), "names of nodes"),
        ("resource", _fits(_RESOURCE, params["resource"]), "name of an extended resource, such as nvidia.com/gpu"),
        ("image", bool(re.fullmatch(r"\S+", params["image"])), "name of an image"),
        ("command", not command or bool(command[0]), "a program and its arguments"),
        ("expect", _is_expression(params["expect"]), "a regular expression"),
        ("runtime_class", _fits(_NAME, params["runtime_class"] or "x"), "name of a RuntimeClass, or nothing"),
        ("pull_secrets", all(_fits(_NAME, name) for name in params["pull_secrets"]), "names of secrets"),
        ("tolerations", all("operator" in entry or "key" in entry for entry in tolerations), "Kubernetes' tolerations"),
        ("timeout_seconds", params["timeout_seconds"] > 0, "a number above 0"),
    ]
    return [Problem(option, params[option], accepted) for option, is_right, accepted in checks if not is_right]


def _fits(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.fullmatch(text) is not None


def _is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


class Run:
    """One pod a node, from its making to its end.

    Args:
        cluster: who is asked.
        smoke: what is run.
        nodes: where; each gets an outcome.
        warn: is told what has to be mended by hand.
        skip_busy: whether a node whose devices others have is left alone.
        clock: time.
    """

    def __init__(
        self,
        cluster: Cluster,
        smoke: Smoke,
        nodes: Sequence[str],
        warn: Callable[[str], None],
        *,
        skip_busy: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._cluster = cluster
        self._smoke = smoke
        self._warn = warn
        self._skip_busy = skip_busy
        self._clock = clock or Clock()
        self._numbers = {node: number for number, node in enumerate(nodes, start=1)}
        self._patience = {node: Patience() for node in nodes}
        self._made: dict[str, float] = {}
        self._pods: dict[str, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self.outcomes: dict[str, Outcome] = {}

    def tried(self) -> None:
        """Ask for each node whether its pod would be taken; nothing is stored.

        Raises:
            ActionFailed: the API server cannot be asked.
        """
        self._missing()
        for node in self._left():
            if self._make(node, dry_run=True):
                self.outcomes[node] = Outcome(True)

    def done(self) -> None:
        """Run the pods to their ends; none is there afterwards.

        Raises:
            ActionFailed: the API server cannot be asked.
        """
        self._clear()
        self._missing()
        try:
            for node in self._left():
                self._make(node)
            wait(
                self._look,
                bool,
                interval=SECONDS_BETWEEN_LOOKS,
                timeout=self._smoke.seconds,
                clock=self._clock,
            )
            for node in self._left():
                pod = self._pods.get(node)
                found = trouble(pod, self._events) if pod else None
                log = self._log(pod) if pod and found is None else ""
                self.outcomes[node] = out_of_time(self._smoke, found, log, self._elapsed(node))
        finally:
            self._sweep()

    def _left(self) -> list[str]:
        return [node for node in self._numbers if node not in self.outcomes]

    def _elapsed(self, node: str) -> float:
        return self._clock.monotonic() - self._made[node]

    def _missing(self) -> None:
        known = {node["metadata"]["name"]: node for node in self._cluster.list("Node").items}
        pods = self._cluster.list("Pod").items if self._skip_busy else []
        for node in self._numbers:
            if node not in known:
                text = f"the cluster has no node {node}: see kubectl get nodes"
                self.outcomes[node] = Outcome(False, "node_missing", text)
                continue
            users = busy(known[node], pods, self._smoke.resource) if self._skip_busy else []
            if users:
                self.outcomes[node] = in_use(self._smoke.resource, users)

    def _make(self, node: str, *, dry_run: bool = False) -> bool:
        """Make a node's pod; return whether it was taken."""
        try:
            self._cluster.apply(manifest(self._smoke, node, self._numbers[node]), dry_run=dry_run)
        except ActionFailed as error:
            if error.code not in _REFUSALS:
                raise
            self.outcomes[node] = Outcome(False, error.code, str(error))
            return False
        self._made[node] = self._clock.monotonic()
        return True

    def _look(self) -> bool:
        """Look at all pods once; return whether each has an outcome."""
        namespace = self._smoke.namespace
        by_name = {
            pod["metadata"]["name"]: pod
            for pod in self._cluster.list("Pod", namespace, labels=self._smoke.selector).items
        }
        if not all(has_ended(pod) for pod in by_name.values()):
            self._events = self._cluster.list("Event", namespace, fields="involvedObject.kind=Pod").items
        for node in self._left():
            found = by_name.get(pod_name(self._smoke, self._numbers[node]))
            outcome = self._outcome(node, found)
            if found is not None:
                self._pods[node] = found
            if outcome is not None:
                self.outcomes[node] = outcome
        return not self._left()

    def _outcome(self, node: str, pod: dict[str, Any] | None) -> Outcome | None:
        """Return how it went on a node, if that can be said already."""
        if pod is None:
            text = "somebody deleted the pod while it was needed: run it again"
            return Outcome(False, "lost", text, seconds=self._elapsed(node))
        if has_ended(pod):
            return ended(self._smoke, pod, self._log(pod), self._elapsed(node))
        found = trouble(pod, self._events)
        bearable = patience(found) if found else None
        suspected = []
        if found is not None and bearable is not None:
            cause = Cause(found.reason, node, pod["metadata"]["name"], found.message, found.next_step)
            suspected = [Suspicion(cause, bearable)]
        if found is None or self._patience[node].judge(suspected, self._clock.monotonic()) is None:
            return None
        return stuck(found, self._elapsed(node))

    def _log(self, pod: Mapping[str, Any]) -> list[str] | str:
        try:
            name = pod["metadata"]["name"]
            return list(self._cluster.logs(name, self._smoke.namespace, container=CONTAINER, tail_lines=_LOG_LINES))
        except ActionFailed as error:
            return str(error)

    def _clear(self) -> None:
        """Take away what earlier runs have left behind."""
        namespace = self._smoke.namespace
        pods = self._cluster.list("Pod", namespace, labels=f"{LABEL_NAME}={APP}").items
        for name in left_behind(pods, self._cluster.server_date or 0.0):
            self._cluster.delete("Pod", name, namespace)

    def _sweep(self) -> None:
        """Have none of the pods left."""
        if not self._made:
            return
        namespace, labels = self._smoke.namespace, self._smoke.selector
        by_hand = f"see kubectl -n {namespace} delete pod -l {labels}"
        try:
            self._cluster.delete_collection("Pod", namespace, labels=labels)
            gone = wait(
                lambda: self._cluster.list("Pod", namespace, labels=labels).items,
                lambda pods: not pods,
                interval=SECONDS_BETWEEN_LOOKS / 2,
                timeout=SECONDS_TO_GO,
                clock=self._clock,
            )
        except ActionFailed as error:
            self._warn(f"pods of the smoke test may be left: {error}: {by_hand}")
            return
        if not gone.satisfied:
            left = ", ".join(pod["metadata"]["name"] for pod in gone.seen)
            self._warn(f"pods of the smoke test are still going after {gone.elapsed:.0f} s ({left}): {by_hand}")


def main() -> None:
    """Check the arguments, run the pods, tell."""
    module = AnsibleModule(
        argument_spec={
            "namespace": {"type": "str", "default": "default"},
            "nodes": {"type": "list", "elements": "str", "required": True},
            "resource": {"type": "str", "default": GPU},
            "image": {"type": "str", "required": True},
            "command": {"type": "list", "elements": "str", "default": []},
            "expect": {"type": "str", "default": ""},
            "runtime_class": {"type": "str", "default": ""},
            "pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "tolerations": {"type": "list", "elements": "dict", "default": []},
            "timeout_seconds": {"type": "float", "default": 300},
            "when_busy": {"type": "str", "default": "fail", "choices": ["fail", "skip"]},
            "fail": {"type": "bool", "default": True},
            **CONNECTION_ARGS,
        },
        supports_check_mode=True,
    )
    params = module.params
    outcomes: dict[str, Outcome] = {}
    # Whoever is told to end takes his pods along.
    with suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        wrong = problems(params)
        if wrong:
            raise InvalidInput("gpu_smoke", wrong)
        smoke = Smoke(
            run=uuid.uuid4().hex[:8],
            namespace=params["namespace"],
            image=params["image"],
            command=tuple(params["command"] or NVIDIA_SMI),
            expect=params["expect"],
            resource=params["resource"],
            runtime_class=params["runtime_class"],
            pull_secrets=tuple(params["pull_secrets"]),
            tolerations=tuple(params["tolerations"]),
            seconds=params["timeout_seconds"],
        )
        cluster = Cluster(connection(params))
        run = Run(cluster, smoke, params["nodes"], module.warn, skip_busy=params["when_busy"] == "skip")
        outcomes = run.outcomes
        if module.check_mode:
            run.tried()
        else:
            run.done()
        told = failed(outcomes)
        if told and params["fail"] and not module.check_mode:
            raise ActionFailed("smoke", told)
    except KeyboardInterrupt:
        ended_early = ActionFailed("interrupted", "told to end before the pods did; they are gone: run it again")
        module.fail_json(msg=str(ended_early), failure=ended_early.as_failure(), verdict=verdict(outcomes))
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure(), verdict=verdict(outcomes))
    if told:
        module.warn(told)
    module.exit_json(changed=False, verdict=verdict(outcomes))


if __name__ == "__main__":
    main()
