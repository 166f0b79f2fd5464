#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: what a host's GPUs are, what drives them and what is in the way."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_facts
short_description: Tell a host's NVIDIA GPUs, what drives them and what is in the way
version_added: 0.1.0
description:
  - Reads PCI ids, the running and the installed driver, Secure Boot, nouveau, the hypervisor, MIG and vGPU, and judges
    them. A host without a card is an answer, and no failure.
  - Needs no program on the host. Where C(nvidia-smi), C(modinfo) and C(nvidia-ctk) are there they are asked too.
  - Reads only. The driver is not loaded to see whether it would be.
author:
  - The dtf.cluster team (@dtf-cluster)
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Look at the host's GPUs
  dtf.cluster.gpu_facts:

- name: Show what is in the way
  ansible.builtin.debug:
    msg: "{{ ansible_facts.gpu.problems }}"
"""

RETURN = r"""
ansible_facts:
  description: The fact C(gpu).
  returned: always
  type: dict
  sample:
    gpu:
      cards:
        - address: "0000:01:00.0"
          device: 10de:20b0
          subsystem: 10de:1450
          bound_to: nouveau
          virtual: "no"
          gpu: null
      kept_for_guests: []
      switches: 0
      driver: {state: none, origin: "", loaded: "", installed: "", libraries: "", flavour: "", cuda: ""}
      toolkit: ""
      cdi: []
      secure_boot: "off"
      signed_only: false
      nouveau: loaded
      hypervisor: ""
      container: false
      kernel: 6.1.0-21-amd64
      headers: true
      packages: {}
      problems:
        - code: nouveau_loaded
          blocks: true
          message: "nouveau drives the cards or is ready to: NVIDIA's driver cannot take them from it"
          next: The role blacklists nouveau; the host must restart once (nvidia_driver_reboot_ok)
verdict:
  description: What C(nvidia-smi) says of the driver and each card, or why it says nothing.
  returned: always
  type: dict
  sample: {ok: false, said: there is no nvidia-smi, gpus: []}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.gpu_facts import picture
from ..module_utils.gpu_view import look
from ..module_utils.nvidia_smi import verdict


def main() -> None:
    """Look and tell."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    seen = look()
    module.exit_json(changed=False, ansible_facts={"gpu": picture(seen).as_dict()}, verdict=verdict(seen.smi))


if __name__ == "__main__":
    main()
