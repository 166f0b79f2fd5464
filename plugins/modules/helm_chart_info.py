#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: what a Helm chart says of itself, and its own values."""

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_chart_info
short_description: Tell what a Helm chart is, and its own values
version_added: 0.1.0
description:
  - Reads a chart of the bundle or of a folder. Asks no cluster and no repository.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  chart:
    description: Path of a packed chart or of a chart's folder, on the host that the module runs on.
    type: path
    required: true
  values:
    description: Values over the chart's own, for RV(images). What the chart's schema refuses is told.
    type: dict
    default: {}
  namespace:
    description: Namespace to sketch it for; some charts refuse C(default).
    type: str
    default: charts
  helm:
    description: The program C(helm), version 4, by name or path.
    type: path
    default: helm
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
requirements:
  - helm 4 on the host the module runs on
seealso:
  - module: dtf.cluster.helm_release
"""

EXAMPLES = r"""
- name: Read the operator's chart
  dtf.cluster.helm_chart_info:
    chart: /srv/bundle/charts/gpu-operator-v26.7.0.tgz
    helm: /srv/bundle/bin/helm
  register: chart
"""

RETURN = r"""
chart:
  description: What the chart says of itself.
  returned: success
  type: dict
  sample: {name: gpu-operator, version: v26.7.0, app_version: v26.7.0}
values:
  description: Its own values.
  returned: success
  type: dict
  sample: {driver: {enabled: true}}
images:
  description:
    - Images that the pods of the chart name with these values. One that a custom resource names is not among them, nor
      one that only a cluster's answer would bring.
  returned: success
  type: list
  elements: str
  sample: ["registry.k8s.io/nfd/node-feature-discovery:v0.19.0"]
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: chart, message: it is no chart, details: {}}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import helm_manifests, manifest_yaml
from ..module_utils.errors import ActionFailed, InvalidInput
from ..module_utils.helm_client import Helm


def main() -> None:
    """Read and tell."""
    module = AnsibleModule(
        argument_spec={
            "chart": {"type": "path", "required": True},
            "values": {"type": "dict", "default": {}},
            "namespace": {"type": "str", "default": "charts"},
            "helm": {"type": "path", "default": "helm"},
        },
        supports_check_mode=True,
    )
    chart = module.params["chart"]
    try:
        manifest_yaml.check()
        helm = Helm(program=module.params["helm"], release_name="sketch", namespace=module.params["namespace"])
        found, values = helm.chart(chart), helm.defaults(chart)
        documents, wrong = manifest_yaml.documents(helm.sketch(chart, module.params["values"]))
        read = helm_manifests.read(documents, module.params["namespace"])
        if wrong or read.problems:
            raise InvalidInput("what the chart gives", [*wrong, *read.problems])
        images = helm_manifests.images([*read.objects.values(), *(hook.document for hook in read.hooks)])
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    module.exit_json(changed=False, chart=found.as_dict(), values=values, images=images)


if __name__ == "__main__":
    main()
