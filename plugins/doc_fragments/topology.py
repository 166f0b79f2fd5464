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
    description:
      - V(process) runs every task as a supervised process on the hosts.
      - V(kubernetes) runs every task as a pod. The module then runs on the controller, or wherever the cluster's API
        can be reached from.
    type: str
    default: process
    choices: [process, kubernetes]
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
      - Needed with O(runtime=process); has no meaning with O(runtime=kubernetes).
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
    description:
      - Interpreter on the hosts that can run C(python -m dtf_trainer).
      - Needed with O(runtime=process); has no meaning with O(runtime=kubernetes).
    type: str
  data_dir:
    description:
      - Directory on the hosts with the data set's files.
      - With O(runtime=kubernetes) the directory in the containers, C(/data/) and the data set's name unless given.
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
      resources:
        description:
          - With O(runtime=kubernetes), a container's C({requests, limits}) as Kubernetes writes them.
          - They are laid over the defaults, which are requests of 250m of a core and of O(ps.memory_mb), and twice
            that as the limit of memory.
        type: dict
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
      resources:
        description:
          - With O(runtime=kubernetes), a container's C({requests, limits}) as Kubernetes writes them.
          - They are laid over the defaults, which are requests of 250m of a core and of O(workers.memory_mb), and twice
            that as the limit of memory.
        type: dict
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
        description:
          - Seconds a task waits for a peer before it gives up and is restarted.
          - A connection on which nothing is acknowledged for a third of it is broken off, so that a peer whose host was
            booted is spoken to again.
          - The pod of a worker that comes back at another address is found by its parameter servers after up to 30 s;
            with less than that it is restarted meanwhile.
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
  kubernetes:
    description: What only pods have. Needed with O(runtime=kubernetes).
    type: dict
    suboptions:
      image:
        description:
          - The trainer's image, best by digest. See the role C(trainer_image).
          - Needed for a topology that is to be present; the name and the namespace are enough to end one.
        type: str
      namespace:
        description: Where all objects are. It has to exist.
        type: str
        default: default
      backend:
        description:
          - What a set of equal tasks is. V(indexed_job) ends when the training does.
          - V(statefulset) is what the thesis used. A finished task idles, so that nothing restarts and trains again.
        type: str
        default: indexed_job
        choices: [indexed_job, statefulset]
      image_pull_policy:
        description: When nodes pull the image.
        type: str
        default: IfNotPresent
        choices: [IfNotPresent, Always, Never]
      image_pull_secrets:
        description: Names of secrets with a registry's credentials.
        type: list
        elements: str
        default: []
      placement:
        description: Which nodes the pods go to.
        type: dict
        suboptions:
          strategy:
            description:
              - V(spread) over the nodes, V(pack) onto as few as hold them, V(nodes) only onto those that are named,
                V(none) as the scheduler likes.
            type: str
            default: spread
            choices: [spread, pack, nodes, none]
          nodes:
            description: Names of nodes, with O(kubernetes.placement.strategy=nodes).
            type: list
            elements: str
            default: []
      node_selector:
        description: Labels a node must have.
        type: dict
        default: {}
      tolerations:
        description:
          - Tolerations, as Kubernetes writes them. Workers with O(workers.gpus) also tolerate the taint
            C(nvidia.com/gpu), by which nodes with GPUs are kept for those who use them.
        type: list
        elements: dict
        default: []
      priority_class:
        description: Name of a PriorityClass. Empty is the cluster's default.
        type: str
        default: ""
      runtime_class:
        description:
          - Name of a RuntimeClass. Empty is the node's default. With O(workers.gpus) it is that of the workers only.
        type: str
        default: ""
      service_account:
        description: Name of a ServiceAccount. Its token is not mounted.
        type: str
        default: ""
      volumes:
        description:
          - Where pods keep what outlives a process. Each is a mapping with one volume source as Kubernetes writes it
            (C(emptyDir), C(persistentVolumeClaim), C(hostPath), C(nfs), C(csi), C(ephemeral)), or C(claim) with
            C(size), C(storage_class) and C(access_modes), a claim that is made for the topology.
        type: dict
        suboptions:
          data:
            description: The data set, mounted at C(/data). The one in the image unless given.
            type: dict
          checkpoints:
            description:
              - The chief's checkpoint and the exported model. An C(emptyDir) unless given, which is lost with the
                chief's pod.
            type: dict
          logs:
            description: TensorBoard summaries. An C(emptyDir) unless given.
            type: dict
      ttl_seconds_after_finished:
        description: Seconds after which Kubernetes deletes finished Jobs. They are kept unless given.
        type: int
      active_deadline_seconds:
        description: A run that takes longer fails. No limit unless given.
        type: int
      first_step_timeout_seconds:
        description:
          - A change of a topology whose run has not made a step after so many seconds is taken back. V(0) is never.
        type: float
        default: 0.0
      network_policy:
        description: Whether only the tasks' ports are reachable, and only for the topology's own tasks.
        type: bool
        default: true
      disruption_budget:
        description: Whether a node's drain has to leave the tasks alone.
        type: bool
        default: true
      pod_patch:
        description:
          - Strategic merge patches of the pod templates, for whatever has no option, by C(all), C(ps), C(chief) and
            C(worker).
        type: dict
        default: {}
"""
