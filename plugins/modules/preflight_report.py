#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the action plugin ``preflight_report``, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
short_description: Judge what was measured on hosts, show it and keep it
version_added: 0.1.0
description:
  - Judges what M(dtf.cluster.preflight_probe) measured on and between hosts, shows one table, and writes one document
    of the schema C(dtf.preflight/1). Each cause is one finding, which names the hosts concerned.
  - Fails if a finding is an error, after the table.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: The report is written in check mode as well. It is what the task is for, and changes no host.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  action:
    description: Everything is done on the controller.
    support: full
options:
  site:
    description:
      - "What the hosts are to become: C(control_plane), C(pod_cidr), C(service_cidr), C(cni),
        C(interface), C(systems), C(ports) and C(limits), as the role C(preflight) fills them."
    type: dict
    required: true
  results:
    description: Host to the result of O(dtf.cluster.preflight_probe#module:stage=host).
    type: dict
    required: true
  listening:
    description: Host to the result of O(dtf.cluster.preflight_probe#module:stage=listen).
    type: dict
    default: {}
  visits:
    description: Host to the result of O(dtf.cluster.preflight_probe#module:stage=visit).
    type: dict
    default: {}
  accepted:
    description: Checks whose findings are known and fine, C(check) or C(check@host).
    type: list
    elements: str
    default: []
  report_dir:
    description: Folder on the controller for C(preflight.json).
    type: str
    required: true
seealso:
  - module: dtf.cluster.preflight_probe
"""

EXAMPLES = r"""
- name: Judge and report
  dtf.cluster.preflight_report:
    site: "{{ site }}"
    results: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'found'))) }}"
    report_dir: results/preflight
  run_once: true
"""

RETURN = r"""
verdict:
  description: What all findings come to, V(ok), V(warning) or V(error).
  returned: always
  type: str
  sample: warning
summary:
  description: Findings of each verdict, and accepted ones.
  returned: always
  type: dict
  sample: {error: 0, warning: 1, unknown: 0, ok: 80, accepted: 0}
path:
  description: The report.
  returned: always
  type: str
  sample: results/preflight/preflight.json
findings:
  description: Each finding as in the report.
  returned: success
  type: list
  elements: dict
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: preflight, message: 1 error on 3 hosts, details: {error: 1}}
"""
