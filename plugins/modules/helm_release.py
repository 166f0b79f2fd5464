#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: a Helm release, compared with the cluster itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_release
short_description: Install, change and remove a Helm release, with a check mode that tells the truth
version_added: 0.1.0
description:
  - Renders a chart, asks the API server by a dry run of each object what would become of it, and lets C(helm) carry out
    what differs. What somebody else changed or deleted of the release's objects differs too, and is mended.
  - Applies the custom resource definitions of the chart's folder C(crds), which Helm itself never upgrades.
  - A release that a killed C(helm) left half done is taken up and finished.
  - Waits for a chart's hooks and for nothing else; M(dtf.cluster.gpu_ready) waits for GPUs.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  name:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Namespace of the release.
    type: str
    required: true
  create_namespace:
    description: Make the namespace where it is missing. It is not removed again.
    type: bool
    default: false
  namespace_labels:
    description:
      - Labels of the namespace, with O(create_namespace=true), such as the level of Pod Security that its pods need.
      - Other labels of it stay.
    type: dict
    default: {}
  state:
    description: V(absent) removes the release and waits until its objects are gone.
    type: str
    default: present
    choices: [present, absent]
  chart:
    description:
      - Path of a packed chart or of a chart's folder, on the host that the module runs on.
      - Required with O(state=present), and with O(remove_crds=true) to know which they are.
    type: path
  chart_sha256:
    description: What the packed chart's SHA-256 must be. Checked before anything else is done.
    type: str
  values:
    description:
      - Values over the chart's own. They stand on no command line and in no file.
      - What the chart's schema refuses is told all at once, by its place and without the value.
    type: dict
    default: {}
  crds:
    description: Whether the definitions in the chart's folder C(crds) are applied, also when they have changed.
    type: str
    default: apply
    choices: [apply, skip]
  remove_crds:
    description: With O(state=absent), remove these definitions too, and with them every object of their kinds.
    type: bool
    default: false
  kubeconfig:
    description:
      - Path of a kubeconfig; the client's own choice unless given.
      - Can also be given with the environment variable E(K8S_AUTH_KUBECONFIG).
    type: path
  context:
    description:
      - Name of a context in the kubeconfig; its current one unless given.
      - Can also be given with the environment variable E(K8S_AUTH_CONTEXT).
    type: str
  helm:
    description: The program C(helm), version 4, by name or path.
    type: path
    default: helm
  timeout_seconds:
    description: Seconds that one operation may take, such as a hook or the removal of a definition.
    type: float
    default: 300
  pending_seconds:
    description:
      - Seconds after which a release that somebody changes counts as left behind by one who was killed.
      - Nothing tells the two apart but time, so it should be longer than the chart's hooks take.
    type: float
    default: 60
attributes:
  check_mode:
    description: Tells what the next run does, object by object, from dry runs by the API server, which store nothing.
    support: full
  diff_mode:
    description: Shows each object before and after as the API server has it; of a secret that it changes, and not how.
    support: full
requirements:
  - helm 4 and the Python library C(kubernetes) on the host the module runs on
seealso:
  - module: dtf.cluster.gpu_ready
"""

EXAMPLES = r"""
- name: Install the GPU operator
  dtf.cluster.helm_release:
    name: gpu-operator
    namespace: gpu-operator
    chart: /srv/bundle/charts/gpu-operator-v25.10.1.tgz
    chart_sha256: 9532cc4dd59248e0eb2a0cd4baa6a7e8ed4258b5d7588ae9c13f5c839482efe5
    values: {driver: {enabled: false}}
    kubeconfig: ~/.kube/config

- name: Remove it with its definitions
  dtf.cluster.helm_release:
    name: gpu-operator
    namespace: gpu-operator
    chart: /srv/bundle/charts/gpu-operator-v25.10.1.tgz
    state: absent
    remove_crds: true
"""

RETURN = r"""
revision:
  description: Revision of the release afterwards; in check mode the one it has. 0 where there is none.
  returned: success
  type: int
  sample: 1
chart:
  description: What the chart says of itself. Of a release that is removed, its chart.
  returned: success
  type: dict
  sample: {name: gpu-operator, version: v25.10.1, app_version: v25.10.1}
objects:
  description:
    - Objects that differ, the namespace among them, and what becomes of them, C(created), C(changed), C(removed), or
      C(kept) for what leaves the release and stays in the cluster by its own word.
  returned: success
  type: list
  elements: dict
  sample: [{action: created, api_version: v1, kind: ConfigMap, namespace: gpu-operator, name: settings}]
crds:
  description: Definitions that differ, in the same form.
  returned: success
  type: list
  elements: dict
  sample: []
record:
  description: What else of the release differs, in words.
  returned: success
  type: list
  elements: str
  sample: [there is no release yet]
images:
  description: Images that the pods of the chart name. One that a custom resource names is not among them.
  returned: success
  type: list
  elements: str
  sample: [registry.example/gpu-operator:v25.10.1]
warnings:
  description: What is odd about the release as it is installed.
  returned: success
  type: list
  elements: str
  sample: []
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: hook, message: 'failed pre-install', details: {}}
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils import manifest_yaml
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.helm_client import Helm
from ..module_utils.helm_state import Releases, Wanted
from ..module_utils.kubernetes_client import Cluster

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def problems(params: dict[str, Any]) -> list[Problem]:
    """Return everything that is wrong with the arguments."""
    found = [
        Problem(option, params[option], accepted)
        for option, longest, accepted in (
            ("name", 53, "lower-case letters, digits, '-' and '.', at most 53"),
            ("namespace", 63, "lower-case letters, digits and '-', at most 63"),
        )
        if not _NAME.fullmatch(params[option]) or len(params[option]) > longest
    ]
    if params["namespace_labels"] and not params["create_namespace"]:
        accepted = "nothing where the namespace is somebody else's: say create_namespace: true"
        found.append(Problem("namespace_labels", params["namespace_labels"], accepted))
    found += [
        Problem(option, params[option], "a number above 0")
        for option in ("timeout_seconds", "pending_seconds")
        if params[option] <= 0
    ]
    if params["chart"]:
        found += chart_problems(Path(params["chart"]), params["chart_sha256"])
    elif params["state"] == "present" or params["remove_crds"]:
        found.append(Problem("chart", params["chart"], "path of a packed chart or of a chart's folder"))
    return found


def chart_problems(chart: Path, sha256: str | None) -> list[Problem]:
    """Return what is wrong with a chart before anybody reads it."""
    if not chart.exists():
        return [Problem("chart", str(chart), "path of a packed chart or of a chart's folder, which is there")]
    if not sha256:
        return []
    if not _SHA256.fullmatch(sha256):
        return [Problem("chart_sha256", sha256, "64 hexadecimal digits")]
    if chart.is_dir():
        return [Problem("chart_sha256", sha256, "nothing where chart is a folder, which has no digest")]
    seen = hashlib.sha256(chart.read_bytes()).hexdigest()
    return [Problem("chart", str(chart), f"a file with the SHA-256 {sha256}; it has {seen}")] if seen != sha256 else []


def main() -> None:
    """Read the arguments, compare, then change what differs."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "create_namespace": {"type": "bool", "default": False},
            "namespace_labels": {"type": "dict", "default": {}},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "chart": {"type": "path"},
            "chart_sha256": {"type": "str"},
            "values": {"type": "dict", "default": {}},
            "crds": {"type": "str", "default": "apply", "choices": ["apply", "skip"]},
            "remove_crds": {"type": "bool", "default": False},
            "kubeconfig": {"type": "path", "fallback": (env_fallback, ["K8S_AUTH_KUBECONFIG"])},
            "context": {"type": "str", "fallback": (env_fallback, ["K8S_AUTH_CONTEXT"])},
            "helm": {"type": "path", "default": "helm"},
            "timeout_seconds": {"type": "float", "default": 300},
            "pending_seconds": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        wrong = problems(params)
        if wrong:
            raise InvalidInput("helm_release", wrong)
        manifest_yaml.check()
        releases = Releases(
            Helm(
                program=params["helm"],
                release_name=params["name"],
                namespace=params["namespace"],
                kubeconfig=params["kubeconfig"] or "",
                context=params["context"] or "",
                timeout=params["timeout_seconds"],
            ),
            Cluster({"kubeconfig": params["kubeconfig"], "context": params["context"]}),
            params["pending_seconds"],
        )
        if params["state"] == "present":
            wanted = Wanted(
                chart=params["chart"],
                values=params["values"],
                apply_definitions=params["crds"] == "apply",
                create_namespace=params["create_namespace"],
                namespace_labels={name: str(value) for name, value in params["namespace_labels"].items()},
            )
            difference = releases.towards(wanted)
        else:
            difference = releases.away(params["chart"] or "", remove_definitions=params["remove_crds"])
        result = difference.as_dict()
        if difference.changed and not module.check_mode and params["state"] == "present":
            result["revision"] = releases.bring(wanted, difference)
        elif difference.changed and not module.check_mode:
            releases.take_away(difference)
            result["revision"] = 0
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    for words in difference.warnings:
        module.warn(words)
    module.exit_json(changed=difference.changed, diff=difference.shown(), **result)


if __name__ == "__main__":
    main()
