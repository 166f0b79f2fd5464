#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: make this host a node of a cluster by kubeadm, change it, or take it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_node
short_description: Make a host a node of a Kubernetes cluster by kubeadm
version_added: 0.1.0
description:
  - Runs C(kubeadm init) or C(kubeadm join) on a host that is not yet a node, and brings a changed configuration to one
    that is.
  - Remembers on the host that it began and that it finished. What was interrupted is taken back and done again; what
    another installation left is refused.
  - A play that was killed leaves kubeadm running; the next one waits for its end.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  state:
    description: V(absent) takes the node back and removes what Kubernetes left on the host.
    type: str
    default: present
    choices: [present, absent]
  role:
    description: V(control_plane) runs C(kubeadm init), V(node) runs C(kubeadm join). Required for O(state=present).
    type: str
    choices: [control_plane, node]
  documents:
    description: The documents of this node that kubeadm reads once, InitConfiguration or JoinConfiguration.
    type: list
    elements: dict
    default: []
  shared_documents:
    description:
      - ClusterConfiguration, KubeletConfiguration and KubeProxyConfiguration. The control plane keeps them in the
        cluster; where they have changed, each node takes the new ones and restarts its kubelet.
    type: list
    elements: dict
    default: []
  version:
    description: Kubernetes' version. Required for O(state=present).
    type: str
  token:
    description: Bootstrap token for C(kubeadm join).
    type: str
  ca_hash:
    description: Digest of the cluster's CA for C(kubeadm join), as C(sha256:...).
    type: str
  ignore_preflight_errors:
    description: kubeadm's own checks that may fail.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that kubeadm may take.
    type: float
    default: 300
attributes:
  check_mode:
    description: Tells what would be done.
    support: full
  diff_mode:
    description: Shows the shared documents before and after.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
seealso:
  - module: dtf.cluster.kubeadm_token
"""

EXAMPLES = r"""
- name: Join the cluster
  dtf.cluster.kubeadm_node:
    role: node
    version: 1.36.3
    token: "{{ join.token }}"
    ca_hash: "{{ join.ca_hash }}"
    documents:
      - apiVersion: kubeadm.k8s.io/v1beta4
        kind: JoinConfiguration
        discovery:
          bootstrapToken: {apiServerEndpoint: 10.0.0.11:6443}
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [kubeadm join]
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  sample: {code: kubeadm_failed, command: kubeadm init, returncode: 1}
"""

import json
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import packet_filter
from ..module_utils.errors import ActionFailed
from ..module_utils.host_files import emptied, locked, read_state, remove, write_state
from ..module_utils.kubeadm_output import causes, redacted
from ..module_utils.node_view import KUBERNETES, kubernetes_state
from ..module_utils.programs import SEARCH_PATH, run

SOCKET = "unix:///run/containerd/containerd.sock"
MARKER = "kubeadm"
#: Folders that hold nothing but a cluster's state; one that is a mount point is emptied.
FOLDERS = ("/etc/kubernetes", "/var/lib/kubelet", "/var/lib/etcd", "/var/lib/cni", "/run/flannel", "/var/log/pods",
           "/var/log/containers", "/run/kubernetes")  # fmt: skip
FILES = ("/etc/cni/net.d/10-containerd-net.conflist",)
LINKS = ("cni0", "flannel.1", "kube-ipvs0")


class Node:
    """One host on its way to a node and back."""

    def __init__(self, module: AnsibleModule) -> None:
        self.options = module.params
        self.check = module.check_mode
        self.actions: list[str] = []
        self.before: object = {}
        self.after: object = {}
        self.descriptor = -1

    def state(self) -> str:
        """Return what this host is to a cluster of ours."""
        return kubernetes_state(
            read_state(MARKER),
            kubelet_conf=(KUBERNETES / "kubelet.conf").exists(),
            manifests=(KUBERNETES / "manifests" / "kube-apiserver.yaml").exists(),
        )

    def present(self) -> None:
        """Make a node of this host, or change the one it is."""
        state = self.state()
        if state == "foreign":
            raise ActionFailed(
                "foreign_installation",
                f"{KUBERNETES} holds a cluster's files that this collection did not make. Take that node out of its "
                "cluster (kubeadm reset) if it is no longer wanted, then run this again.",
            )
        if state == "member":
            self.change()
            return
        if state == "partial":
            self.actions.append("take an interrupted installation back")
            if not self.check:
                self.take_back()
        self.make()

    def make(self) -> None:
        """Run kubeadm init or kubeadm join."""
        verb = "init" if self.options["role"] == "control_plane" else "join"
        self.actions.append("kubeadm " + verb)
        self.after = by_kind(self.options["shared_documents"])
        if self.check:
            return
        documents = list(self.options["documents"])
        if verb == "init":
            documents += self.options["shared_documents"]
        else:
            documents = [self.with_token(document) for document in documents]
        marker: dict[str, object] = {
            "state": "begun",
            "role": self.options["role"],
            "version": self.options["version"],
            "shared": self.options["shared_documents"],
        }
        write_state(MARKER, marker)
        arguments = ["kubeadm", verb, "--config", "/dev/stdin"]
        if self.options["ignore_preflight_errors"]:
            arguments.append("--ignore-preflight-errors=" + ",".join(self.options["ignore_preflight_errors"]))
        self.command(arguments, documents)
        write_state(MARKER, {**marker, "state": "done"})

    def with_token(self, document: dict[str, object]) -> dict[str, object]:
        """Return a JoinConfiguration with the token and the CA's digest in their places."""
        discovery = document.get("discovery")
        if not isinstance(discovery, dict) or "bootstrapToken" not in discovery:
            return document  # the user has nodes discover the cluster in another way
        bootstrap = discovery["bootstrapToken"]
        secret = {**bootstrap, "token": self.options["token"], "caCertHashes": [self.options["ca_hash"]]}
        return {**document, "discovery": {**discovery, "bootstrapToken": secret}}

    def change(self) -> None:
        """Bring a changed configuration to a node that is one."""
        marker = read_state(MARKER)
        if str(marker.get("version")).lstrip("v") != str(self.options["version"]).lstrip("v"):
            raise ActionFailed(
                "version_differs",
                f"this node runs Kubernetes {marker.get('version')}, asked for is {self.options['version']}. A node's "
                "version is changed by an upgrade, one node after the other, and not by this module.",
            )
        if marker.get("shared") == self.options["shared_documents"]:
            return
        self.actions.append("bring a changed configuration to the node")
        self.before, self.after = by_kind(marker.get("shared")), by_kind(self.options["shared_documents"])
        if self.check:
            return
        if self.options["role"] == "control_plane":
            for phase in ("upload-config all", "control-plane all", "addon kube-proxy"):
                self.command(
                    ["kubeadm", "init", "phase", *phase.split(), "--config", "/dev/stdin"],
                    [*self.options["documents"], *self.options["shared_documents"]],
                )
            kubectl = ["kubectl", "--kubeconfig", str(KUBERNETES / "admin.conf")]
            self.command([*kubectl, "--namespace", "kube-system", "rollout", "restart", "daemonset/kube-proxy"])
        self.command(["kubeadm", "upgrade", "node", "phase", "kubelet-config"])
        self.command(["systemctl", "restart", "kubelet"])
        write_state(MARKER, {**marker, "shared": self.options["shared_documents"]})

    def absent(self) -> None:
        """Take the node back, and everything that Kubernetes left here."""
        state = self.state()
        if state == "foreign":
            raise ActionFailed(
                "foreign_installation",
                f"{KUBERNETES} holds a cluster's files that this collection did not make; it does not remove them.",
            )
        if state == "none":
            return
        self.actions.append("kubeadm reset")
        if not self.check:
            self.take_back()

    def take_back(self) -> None:
        """Undo kubeadm, and what kubeadm reset leaves to its user: packet filter, interfaces, folders."""
        if shutil.which("kubeadm", path=SEARCH_PATH):
            # Its failure is no reason to stop: what it did not remove is removed below.
            self.run(["kubeadm", "reset", "--force", "--cri-socket", SOCKET])
        self.run(["systemctl", "stop", "kubelet"])
        for family in ("iptables", "ip6tables"):
            self.filter_without_kubernetes(family)
        if shutil.which("nft", path=SEARCH_PATH):
            listing = self.run(["nft", "list", "tables"]).stdout
            for table in packet_filter.nft_tables(listing):
                self.run(["nft", "delete", "table", *table])
        for link in LINKS:
            if Path("/sys/class/net", link).exists():
                self.run(["ip", "link", "delete", link])
        for name in FILES:
            remove(Path(name))
        for name in FOLDERS:
            emptied(Path(name))
        write_state(MARKER, {})

    def filter_without_kubernetes(self, family: str) -> None:
        """Restore a packet filter's rules without ours, in one step."""
        if not shutil.which(family + "-save", path=SEARCH_PATH):
            return
        rules = self.run([family + "-save"]).stdout
        rest = packet_filter.without_kubernetes(rules)
        if rest != rules:
            self.run([family + "-restore"], rest)

    def run(self, command: list[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program that holds this host's lock for as long as it lives."""
        try:
            return run(command, stdin=stdin, timeout=self.options["timeout"], keep=(self.descriptor,))
        except FileNotFoundError as error:
            raise ActionFailed("program_missing", f"{command[0]} is not on this host: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            printed = redacted(error.output.decode(errors="replace") if isinstance(error.output, bytes) else "")
            raise ActionFailed(
                "kubeadm_timeout",
                f"{' '.join(command[:3])} did not end within {self.options['timeout']:g} s. It printed last:\n"
                + "\n".join(printed.splitlines()[-15:]),
            ) from error

    def command(self, command: list[str], documents: list[dict[str, object]] | None = None) -> None:
        """Run a program that must succeed; its error ends with what the kubelet said."""
        # JSON is YAML; a host needs no library for it.
        stdin = "\n---\n".join(json.dumps(document) for document in documents) if documents else None
        ended = self.run(command, stdin)
        if ended.returncode == 0:
            return
        journal = self.run(["journalctl", "--unit", "kubelet", "--lines", "400", "--no-pager", "--output", "cat"])
        raise ActionFailed(
            "kubeadm_failed",
            causes(" ".join(command[:3]), ended.returncode, ended.stdout + "\n" + ended.stderr, journal.stdout),
            command=" ".join(command[:3]),
            returncode=ended.returncode,
        )


def by_kind(documents: object) -> dict[str, object]:
    """Return documents as one mapping, in whose difference each is found by its kind."""
    return {str(document["kind"]): document for document in documents} if isinstance(documents, list) else {}


def main() -> None:
    """Run one state under the host's lock."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "role": {"type": "str", "choices": ["control_plane", "node"]},
            "documents": {"type": "list", "elements": "dict", "default": []},
            "shared_documents": {"type": "list", "elements": "dict", "default": []},
            "version": {"type": "str"},
            "token": {"type": "str", "no_log": True},
            "ca_hash": {"type": "str"},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": 300},
        },
        required_if=[("state", "present", ("role", "version"))],
        supports_check_mode=True,
    )
    node = Node(module)
    try:
        with locked("kubeadm") as node.descriptor:
            getattr(node, module.params["state"])()
    except ActionFailed as error:
        module.fail_json(msg=str(error), failure=error.as_failure(), actions=node.actions)
    module.exit_json(
        changed=bool(node.actions), actions=node.actions, diff={"before": node.before, "after": node.after}
    )


if __name__ == "__main__":
    main()
