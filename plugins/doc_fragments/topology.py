# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The topology's options, documented once for every module that takes them."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by modules; mirrors C(module_utils/arguments.py)."""

    IDENTITY = r"""
options:
  name:
    description:
      - Name of the topology, 1 to 40 lower-case letters, digits and inner hyphens.
      - Unique below one O(root).
    type: str
    required: true
  root:
    description:
      - Directory on the hosts below which topologies keep their state.
      - A leading C(~) is the home of the user there.
    type: str
    default: ~/.local/share/dtf-cluster
  host:
    description:
      - The inventory name of the host the module runs on, one of those the topology has.
      - May be left out where the topology has one host only.
    type: str
"""

    DOCUMENTATION = r"""
options:
  runtime:
    description: V(process) runs every task as a supervised process on the hosts.
    type: str
    default: process
    choices: [process]
  owner:
    description:
      - Who asks for the topology.
      - One that exists with another owner is never changed, so two that claim one name meet in an error.
    type: str
    default: site
  run_label:
    description: A new label asks for a fresh training that continues no checkpoint.
    type: str
    default: ""
  hosts:
    description:
      - The machines, in the order in which tasks are dealt to them in turn. The first runs the chief (worker 0).
    type: list
    elements: dict
    suboptions:
      name:
        description: Inventory name.
        type: str
        required: true
      address:
        description: Address the tasks of other hosts reach this one by.
        type: str
        required: true
  python:
    description: Interpreter on the hosts that can run C(python -m dtf_trainer).
    type: str
  data_dir:
    description: Directory on the hosts with the data set's files.
    type: str
  ps:
    description: The parameter servers.
    type: dict
    suboptions:
      replicas:
        description: Number of parameter servers.
        type: int
        default: 1
      port:
        description: Task C(i) listens on this port plus C(i).
        type: int
        default: 8000
      memory_mb:
        description: Memory one task is expected to need, in MiB. Checked against the host before anything starts.
        type: int
        default: 700
  workers:
    description: The workers.
    type: dict
    suboptions:
      replicas:
        description: Number of workers, the chief included.
        type: int
        default: 2
      port:
        description: Task C(i) listens on this port plus C(i).
        type: int
        default: 9000
      memory_mb:
        description: Memory one task is expected to need, in MiB. Checked against the host before anything starts.
        type: int
        default: 1000
      gpus:
        description: Devices on each host that workers use in turn. V(0) is CPU only.
        type: int
        default: 0
  training:
    description: What is trained and how.
    type: dict
    suboptions:
      dataset:
        description: Which data set the files in O(data_dir) are. V(custom) takes them as they are.
        type: str
        default: mnist
        choices: [mnist, fashion_mnist, custom]
      steps:
        description: Global step to reach, over all workers together. V(0) trains until stopped.
        type: int
        default: 2000
      hidden_units:
        description: Units of the hidden layer.
        type: int
        default: 100
      batch_size:
        description: Examples in one worker's step.
        type: int
        default: 20
      learning_rate:
        description: Adam's learning rate.
        type: float
        default: 0.001
      sync:
        description: Aggregate the workers' gradients into one step instead of applying each as it comes.
        type: bool
        default: false
      replicas_to_aggregate:
        description: With O(training.sync), gradients that make one step. The number of workers unless given.
        type: int
      communication_interval:
        description:
          - Local steps between two exchanges with the parameter servers.
          - Above V(1) this is another algorithm (Downpour), faster and more stale. It is named in every table.
        type: int
        default: 1
      profile:
        description: V(fast), or V(thesis) for the faithful baseline.
        type: str
        default: fast
        choices: [fast, thesis]
      seed:
        description: Seed of initial values and of the order of examples.
        type: int
        default: 0
      evaluation_interval:
        description: Global steps between evaluations on the test set. V(0) evaluates at the end only.
        type: int
        default: 0
      summary_interval:
        description: Global steps between TensorBoard summaries of the chief.
        type: int
        default: 100
  lifecycle:
    description:
      - How tasks are kept alive and ended. A change does not disturb a running training.
      - Tasks are started with O(lifecycle.checkpoint_interval_seconds) and O(lifecycle.peer_timeout_seconds),
        so a change of these two holds from the next run on.
    type: dict
    suboptions:
      restart_limit:
        description: How often one task is started again before the run fails.
        type: int
        default: 5
      restart_backoff_seconds:
        description: Seconds before the first restart. Doubles with each further one, up to 30.
        type: float
        default: 1.0
      checkpoint_interval_seconds:
        description: Seconds between checkpoints, so how much training a lost chief may cost.
        type: float
        default: 30.0
      peer_timeout_seconds:
        description: Seconds a task waits for a peer before it gives up and is restarted.
        type: float
        default: 60.0
      stop_grace_seconds:
        description: Seconds between SIGTERM and SIGKILL.
        type: float
        default: 10.0
      lease_seconds:
        description:
          - Without M(dtf.cluster.training) waiting for it for so many seconds, the run is checkpointed and stopped.
          - V(0) lets it run on without Ansible.
        type: float
        default: 0.0
"""
