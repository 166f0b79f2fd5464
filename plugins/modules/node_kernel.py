#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: what a node's kernel must have, now and after every start."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_kernel
short_description: Load modules, set sysctls and turn swap off, now and for every start
version_added: 0.1.0
description:
  - Loads kernel modules and sets sysctls, at once and by a file each for systemd, so that a restart keeps them.
  - Turns swap off and puts the swap lines of C(/etc/fstab) aside.
  - Remembers what was there before, which V(absent) brings back.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  name:
    description: Name of the files in C(/etc/modules-load.d) and C(/etc/sysctl.d).
    type: str
    default: 90-dtf-cluster
  state:
    description: V(absent) removes the files and brings back the sysctls and the swap that were there before.
    type: str
    default: present
    choices: [present, absent]
  modules:
    description: Kernel modules. One that is built in counts as loaded.
    type: list
    elements: str
    default: []
  sysctls:
    description: Setting to value.
    type: dict
    default: {}
  swap:
    description: V(false) turns swap off, V(true) leaves it as it is.
    type: bool
    default: false
attributes:
  check_mode:
    description: Tells what would change.
    support: full
  diff_mode:
    description: Shows the settings before and after.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Let bridged packets pass the packet filter
  dtf.cluster.node_kernel:
    modules: [br_netfilter]
    sysctls:
      net.bridge.bridge-nf-call-iptables: "1"
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [load br_netfilter]
"""

import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import kernel_settings as settings
from ..module_utils.host_files import read, read_state, remove, write, write_state
from ..module_utils.programs import run

FSTAB = Path("/etc/fstab")


def live(names: list[str]) -> dict[str, str | None]:
    """Return the settings' values of this moment; ``None`` where the kernel has none."""
    found = {}
    for name in names:
        text = read(Path(settings.sysctl_path(name)))
        found[name] = None if text is None else " ".join(text.split())
    return found


class Kernel:
    """One host's kernel: looks, and does only what differs."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.check = module.check_mode
        self.wanted = {str(name): str(value) for name, value in module.params["sysctls"].items()}
        self.files = {
            Path("/etc/modules-load.d") / (module.params["name"] + ".conf"): "",
            Path("/etc/sysctl.d") / (module.params["name"] + ".conf"): "",
        }
        self.remembered = read_state("kernel")
        self.actions: list[str] = []
        self.before: dict[str, object] = {}
        self.after: dict[str, object] = {}

    def present(self) -> None:
        """Bring everything about."""
        modules_path, sysctl_path = self.files
        self.files[modules_path] = settings.modules_file(self.module.params["modules"])
        self.files[sysctl_path] = settings.sysctl_file(self.wanted)
        self.write_files()
        self.load()
        self.set(self.wanted, remember=True)
        if not self.module.params["swap"]:
            self.swap_off()

    def absent(self) -> None:
        """Bring back what was there before."""
        self.write_files()
        before = self.remembered.get("sysctls")
        self.set(dict(before) if isinstance(before, dict) else {}, remember=False)
        text = read(FSTAB) or ""
        if settings.with_swap(text) != text:
            self.did(f"bring the swap lines of {FSTAB} back")
            if not self.check:
                write(FSTAB, settings.with_swap(text))
                self.command(["swapon", "--all"])
        if self.remembered:
            self.did("forget what was there before")
            if not self.check:
                write_state("kernel", {})

    def did(self, action: str) -> None:
        """Note an action."""
        self.actions.append(action)

    def command(self, command: list[str]) -> None:
        """Run a program that must succeed."""
        ended = run(command)
        if ended.returncode:
            self.module.fail_json(
                msg="{} failed with {}: {}".format(" ".join(command), ended.returncode, ended.stderr.strip()),
                failure={"code": "command_failed", "command": command, "stderr": ended.stderr},
            )

    def write_files(self) -> None:
        """Write the files for the next start, remove those that hold nothing."""
        for path, text in self.files.items():
            found = read(path) or ""
            if found == text:
                continue
            self.did(("write {}" if text else "remove {}").format(path))
            self.before[str(path)], self.after[str(path)] = found, text
            if self.check:
                continue
            if text:
                write(path, text)
            else:
                remove(path)

    def load(self) -> None:
        """Load what is not loaded."""
        missing = settings.missing_modules(
            self.module.params["modules"],
            read(Path("/proc/modules")) or "",
            read(Path("/lib/modules") / os.uname().release / "modules.builtin") or "",
            [path.name for path in Path("/sys/module").iterdir()]
            + [name for name, sign in settings.SIGNS.items() if Path(sign).exists()],
        )
        if missing:
            self.did("load " + " ".join(missing))
            if not self.check:
                self.command(["modprobe", "--all", *missing])

    def set(self, values: dict[str, str], *, remember: bool) -> None:
        """Set what has another value; a setting of a module that is yet to be loaded counts as another."""
        found = live(list(values))
        different = settings.differing(values, found)
        if not different:
            return
        if remember and not self.check:
            kept = self.remembered.get("sysctls")
            known = dict(kept) if isinstance(kept, dict) else {}
            self.remembered["sysctls"] = {**{name: found[name] for name in different if found[name]}, **known}
            write_state("kernel", self.remembered)
        for name, value in different.items():
            self.did(f"set {name} = {value}")
            self.before[name], self.after[name] = found[name], value
            if self.check:
                continue
            try:
                Path(settings.sysctl_path(name)).write_text(value + "\n", encoding="ascii")
            except OSError as error:
                self.module.fail_json(
                    msg=f"sysctl {name} cannot be set to {value!r}: {error.strerror}. "
                    f"Is it a setting of this kernel ({os.uname().release})?",
                    failure={"code": "sysctl_refused", "name": name, "value": value},
                )

    def swap_off(self) -> None:
        """Turn swap off, now and for the next start."""
        active = settings.active_swaps(read(Path("/proc/swaps")) or "")
        if active:
            self.did("turn swap off: " + " ".join(active))
            self.before["swap"], self.after["swap"] = active, []
            if not self.check:
                self.command(["swapoff", "--all"])
        text = read(FSTAB) or ""
        if settings.without_swap(text) != text:
            self.did(f"put the swap lines of {FSTAB} aside")
            if not self.check:
                write(FSTAB, settings.without_swap(text))


def main() -> None:
    """Compare, then change what differs."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "90-dtf-cluster"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "modules": {"type": "list", "elements": "str", "default": []},
            "sysctls": {"type": "dict", "default": {}},
            "swap": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    kernel = Kernel(module)
    getattr(kernel, module.params["state"])()
    module.exit_json(
        changed=bool(kernel.actions),
        actions=kernel.actions,
        diff={"before": kernel.before, "after": kernel.after},
    )


if __name__ == "__main__":
    main()
