#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin ``kubeconfig``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Bring a cluster's credentials from a control plane to the controller
version_added: 0.1.0
description:
  - Reads the administrator's kubeconfig on a control plane and writes it on the controller with mode 0600.
  - The content is never part of the task's result.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  path:
    description: File on the controller.
    type: str
    required: true
  src:
    description: File on the control plane.
    type: str
    default: /etc/kubernetes/admin.conf
attributes:
  check_mode:
    description: Tells whether the file would change. Where there is no cluster yet it would be written.
    support: full
  diff_mode:
    description: The content is a secret.
    support: none
  action:
    description: Reads on the host, writes on the controller.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Write the administrator's credentials
  dtf.cluster.kubeconfig:
    path: ~/.kube/dtf-cluster
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /root/.kube/dtf-cluster
"""
