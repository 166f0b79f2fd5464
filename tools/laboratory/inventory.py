"""The inventory of a lab, and what it has to say about the machine below."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from .spec import CONTROL_PLANE, Host, LabSpec

HEADER = "# Written by tools/lab.py for the lab that runs here; it goes when the lab goes.\n"


def machine_variables(cgroup_version: int, lacking: Iterable[str]) -> dict[str, Any]:
    """Return the variables that are so because of this machine. A machine with nothing special has few.

    Args:
        cgroup_version: 1 if the machine has the older cgroups, in whole or in part.
        lacking: capabilities this machine's root does not have.
    """
    kubelet: dict[str, Any] = {}
    found: dict[str, Any] = {"dtf_lab_kubelet_configuration": kubelet}
    if cgroup_version == 1:
        # The kubelet refuses the older cgroups unless it is told, and systemd has no unified tree to make groups in.
        kubelet.update(cgroupDriver="cgroupfs", failCgroupV1=False)
        found["containerd_systemd_cgroup"] = False
    if "SYS_RESOURCE" in lacking:
        # Nobody here may raise a limit or lower an OOM score.
        kubelet["featureGates"] = {"KubeletInUserNamespace": True}
        found["containerd_restrict_oom_score_adj"] = True
    return found


def document(spec: LabSpec, hosts: Iterable[Host], *, checkout: str, folder: str, machine: dict[str, Any]) -> Any:
    """Return the inventory.

    Args:
        spec: the lab.
        hosts: its hosts.
        checkout: path of the repository, whose ``build/bundle`` the lab's nodes are made from.
        folder: path of the lab's own folder, where its key is.
        machine: what ``machine_variables`` returned.
    """
    members = list(hosts)
    groups: dict[str, Any] = {CONTROL_PLANE: {"hosts": {}}, "kube_node": {"hosts": {}}}
    for host in members:
        groups[host.group]["hosts"][host.name] = {}
    # A laboratory is small: its registry is where its control plane is.
    groups["registry"] = {"hosts": {name: {} for name in list(groups[CONTROL_PLANE]["hosts"])[:1]}}
    return {
        "all": {
            # The controller's own: localhost, which fetches and verifies, is in no group.
            "vars": {
                "dtf_lab_checkout": checkout,
                "dtf_lab_folder": folder,
                "dtf_pod_cidr": spec.pod_cidr,
                "dtf_service_cidr": spec.service_cidr,
            },
            "children": {
                "lab": {
                    "hosts": {host.name: {"ansible_host": host.address} for host in members},
                    "vars": {
                        "ansible_user": "root",
                        "ansible_python_interpreter": "/usr/bin/python3",
                        "ansible_ssh_private_key_file": f"{folder}/id_ed25519",
                        "ansible_ssh_args": shlex.join(ssh_options(folder)),
                        "ansible_pipelining": True,
                        **machine,
                    },
                },
                **groups,
            },
        }
    }


def ssh_options(folder: str) -> list[str]:
    """Return the options with which ssh reaches a lab's hosts: by its own keys only, and asking nothing."""
    options = [
        f"IdentityFile={folder}/id_ed25519",
        f"UserKnownHostsFile={folder}/known_hosts",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ControlMaster=auto",
        "ControlPersist=10m",
        f"ControlPath={folder}/%h",
        # A host that was killed does not hang up.
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
    ]
    return ["-F", "/dev/null", *(word for option in options for word in ("-o", option))]
