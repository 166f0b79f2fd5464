#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: others' manifests of a distributed training as a topology. All of it is done by its action plugin."""

from __future__ import annotations

DOCUMENTATION = r"""
module: topology_import
short_description: Read a TFJob or the thesis's chart as a topology
version_added: 0.1.0
description:
  - Reads a manifest on the controller and returns the topology that it describes, as the options of
    M(dtf.cluster.topology), and everything of it that has no place there, each with the reason.
  - It reads a C(TFJob) of C(kubeflow.org/v1), C(v1beta2) or C(v1beta1), or what the chart C(distributed-tensorflow)
    renders to (a C(StatefulSet) each of C(ps) and C(worker), with a C(ConfigMap) of host lists).
  - Flags of the training container that are the trainer's, on its command line or in its environment, become
    C(training). Of the pods, what has no option but does no harm becomes C(kubernetes.pod_patch).
  - Nothing is asked of a cluster, and nothing is changed.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  action:
    description: Everything happens on the controller.
    support: full
options:
  path:
    description: File on the controller, one or more YAML or JSON documents.
    type: path
    required: true
seealso:
  - module: dtf.cluster.topology
"""

EXAMPLES = r"""
- name: Read a TFJob
  dtf.cluster.topology_import:
    path: digits.yaml
  register: imported

- name: Train it
  dtf.cluster.topology:
    name: "{{ imported.topology.name }}"
    runtime: kubernetes
    ps: "{{ imported.topology.ps }}"
    workers: "{{ imported.topology.workers }}"
    training: "{{ imported.topology.training | default({}) }}"
    kubernetes: "{{ imported.topology.kubernetes }}"
"""

RETURN = r"""
topology:
  description: Options of M(dtf.cluster.topology). What the manifest says nothing of is missing, and so its default.
  returned: success
  type: dict
  sample:
    name: digits
    runtime: kubernetes
    ps: {replicas: 2, port: 2222}
    workers: {replicas: 4, port: 2222, gpus: 1}
    training: {steps: 20000, batch_size: 50}
    kubernetes: {namespace: vision, backend: indexed_job, image: "registry.example.com/trainer:1"}
not_carried_over:
  description: What has no place in a topology.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Where it stands in the manifest.
      type: str
    value:
      description: What stands there.
      type: raw
    why:
      description: Why it was left behind, or what to do instead.
      type: str
  sample:
    - path: "TFJob/digits: spec.runPolicy.cleanPodPolicy"
      value: Running
      why: finished pods stay for their logs; kubernetes.ttl_seconds_after_finished removes them
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: invalid_input, problems: [{field: manifest, value: [Pod], accepted: one TFJob}]}
"""
