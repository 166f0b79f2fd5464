#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: measure a host for preflight, and from there the way to others."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_probe
short_description: Measure a host and its ways to others, and change nothing
version_added: 0.1.0
description:
  - Returns what M(dtf.cluster.preflight_report) judges.
  - Test files have no name, listeners end by themselves, and nothing else is written.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: It measures in check mode as well, because that changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  action:
    description: The controller's part is to note its own time before and after.
    support: full
options:
  stage:
    description:
      - V(host) looks at the host itself, V(listen) starts to listen for the others and returns, V(visit) measures to
        the others, V(stop) ends the listening.
    type: str
    choices: [host, listen, visit, stop]
    required: true
  name:
    description: Inventory name of the host.
    type: str
    required: true
  node_name:
    description: Name that the host's node will have. The default is O(name).
    type: str
  address:
    description: Node address, or a name that resolves to it on the host.
    type: str
  ports:
    description: Ports that a node needs.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: Number of the port.
        type: int
        required: true
      protocol:
        description: Its protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
  modules:
    description: Kernel modules that a node needs.
    type: list
    elements: str
    default: []
  paths:
    description: Purpose (C(etcd), C(images), C(kubelet), C(data)) to the folder that it will use.
    type: dict
    default: {}
  disk_seconds:
    description: Longest time for the latency of one file system.
    type: float
    default: 4
  endpoints:
    description: Addresses that have to answer.
    type: list
    elements: str
    default: []
  proxy:
    description: Scheme (C(http), C(https)) to the proxy for O(endpoints).
    type: dict
    default: {}
  word:
    description: Secret of the run, without which no listener answers.
    type: str
    default: ""
  seconds:
    description: After so long a listener ends by itself.
    type: float
    default: 60
  peers:
    description: Whom to measure to, as the filter P(dtf.cluster.preflight_peers#filter) returns them.
    type: list
    elements: dict
    default: []
  pid:
    description: Process that O(stage=listen) returned.
    type: int
    default: 0
requirements:
  - Linux with iproute2, and Python 3.9 or later on the host
  - root on the host, directly or by C(become); what another user cannot see is said so
  - fio, if the latency of disks is to be measured by it
seealso:
  - module: dtf.cluster.preflight_report
"""

EXAMPLES = r"""
- name: Look at the host
  dtf.cluster.preflight_probe:
    stage: host
    name: "{{ inventory_hostname }}"
    address: "{{ ansible_host }}"
    paths: {images: /var/lib/containerd}
  register: found
"""

RETURN = r"""
facts:
  description: What the host is.
  returned: stage is host
  type: dict
  sample: {kernel: 6.1.0-40-amd64, cores: 4, memory_mib: 16000}
listener:
  description: Who listens, where, and which ports are somebody else's.
  returned: stage is listen
  type: dict
  sample: {pid: 4711, answering: [{port: 10250, protocol: tcp}], busy: []}
links:
  description: What was measured to each of O(peers).
  returned: stage is visit
  type: list
  elements: dict
  sample: [{target: w2, rtt_ms: 0.2, bandwidth_mbit_s: 9400.0, mtu_measured: 1500}]
stopped:
  description: Whether there was a listener to stop.
  returned: stage is stop
  type: bool
  sample: true
wall:
  description: The host's time.
  returned: always
  type: float
  sample: 1790000000.5
controller:
  description: The controller's time before and after.
  returned: always
  type: dict
  sample: {before: 1790000000.1, after: 1790000000.9}
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import preflight_disk, preflight_facts, preflight_hosts, preflight_network

PORTS = {
    "port": {"type": "int", "required": True},
    "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
}
ARGUMENTS: dict[str, Any] = {
    "stage": {"type": "str", "choices": ["host", "listen", "visit", "stop"], "required": True},
    "name": {"type": "str", "required": True},
    "node_name": {"type": "str"},
    "address": {"type": "str"},
    "ports": {"type": "list", "elements": "dict", "default": [], "options": PORTS},
    "modules": {"type": "list", "elements": "str", "default": []},
    "paths": {"type": "dict", "default": {}},
    "disk_seconds": {"type": "float", "default": 4},
    "endpoints": {"type": "list", "elements": "str", "default": []},
    "proxy": {"type": "dict", "default": {}},
    # It keeps strangers away for seconds and opens nothing; hiding it would hide every port beside it.
    "word": {"type": "str", "default": "", "no_log": False},
    "seconds": {"type": "float", "default": 60},
    "peers": {"type": "list", "elements": "dict", "default": []},
    "pid": {"type": "int", "default": 0},
}
Options = dict[str, Any]


def look(options: Options, run: preflight_facts.Run) -> dict[str, Any]:
    """Return what this host is."""
    root = Path("/")
    address = preflight_facts.node_address(options["address"] or options["name"])
    facts = preflight_facts.look(root, run, options["modules"], options["ports"])
    facts["address_given"], facts["address"] = options["address"] or options["name"], address
    facts["node_name"] = options["node_name"] or options["name"]
    facts["names"] = preflight_facts.names(facts["node_name"], address, preflight_facts.text(root / "etc/resolv.conf"))
    facts["endpoints"] = [preflight_facts.endpoint(url, options["proxy"]) for url in options["endpoints"]]
    interface = preflight_hosts.interface_of(facts)
    macs = preflight_network.arp_answers(interface["name"], address) if interface and interface["mac"] else []
    facts["duplicates"] = [{"address": address, "mac": mac} for mac in macs]
    fio = preflight_facts.program("fio")
    # The host's state comes first: what is measured last disturbs nothing but itself.
    facts["disks"] = preflight_disk.survey(options["paths"], options["disk_seconds"], run, fio)
    return {"facts": facts}


def answer(options: Options, run: preflight_facts.Run) -> dict[str, Any]:
    """Do what a stage asks for."""
    stage = options["stage"]
    if stage == "host":
        return look(options, run)
    if stage == "listen":
        listener = preflight_network.listen(
            options["address"], options["ports"], options["word"], options["name"], options["seconds"]
        )
        return {"listener": listener}
    if stage == "visit":
        return {"links": [preflight_network.visit(peer, options["word"]) for peer in options["peers"]]}
    return {"stopped": preflight_network.stop(options["pid"], options["ports"])}


def main() -> None:
    """Read the arguments, measure, answer."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("stage", "listen", ("address",))],
        supports_check_mode=True,
    )

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        path = preflight_facts.program(command[0])
        if path is None:
            return 127, "", f"{command[0]}: not installed"
        code, output, errors = module.run_command([path, *command[1:]], handle_exceptions=True)
        return int(code), str(output), str(errors)

    result = answer(module.params, run)
    module.exit_json(changed=False, wall=preflight_facts.wall(), **result)


if __name__ == "__main__":
    main()
