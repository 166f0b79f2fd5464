#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: programs that a node needs, from its own package manager, and the way back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_packages
short_description: Install the packages of missing programs, and remember what they brought
version_added: 0.1.0
description:
  - Installs the packages of those programs that the host lacks, in one call of its package manager. A program that is
    there, from wherever, is left alone.
  - Remembers every package that came with it, so that V(absent) takes away those and no others.
  - Unlike M(ansible.builtin.apt) it needs no Python binding on the host, so check mode works on a bare system too.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  name:
    description: Under which name the host remembers what was installed.
    type: str
    required: true
  state:
    description: V(absent) removes what was installed under the name.
    type: str
    default: present
    choices: [present, absent]
  manager:
    description: The host's package manager.
    type: str
    required: true
    choices: [apt, dnf]
  programs:
    description: Program, or absolute path of a file, to the package that holds it.
    type: dict
    default: {}
  packages:
    description:
      - Package to version, for those that no program tells. An empty version is whichever the manager takes, and C(*)
        stands for what follows. One that is there is left alone, whatever its version.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Tells which packages would be installed, without what they depend on.
    support: full
  diff_mode:
    description: Shows the packages before and after.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Install what the kubelet calls
  dtf.cluster.node_packages:
    name: node_prereqs
    manager: apt
    programs:
      conntrack: conntrack
      nft: nftables
"""

RETURN = r"""
packages:
  description: Packages that were installed or removed, with what they brought.
  returned: always
  type: list
  elements: str
  sample: [conntrack, libnetfilter-conntrack3]
"""

import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import ActionFailed
from ..module_utils.host_files import locked, read_state, write_state
from ..module_utils.package_lists import MANAGERS, installed, named, wanted
from ..module_utils.programs import SEARCH_PATH, run

LISTS = Path("/var/lib/apt/lists")
SOURCES = Path("/etc/apt/sources.list.d")
#: Lists of this age in seconds are still good enough to install from.
FRESH = 3600


class Packages:
    """A host's packages, and which of them are ours."""

    def __init__(self, module: AnsibleModule) -> None:
        self.options = module.params
        self.check = module.check_mode
        self.manager = MANAGERS[module.params["manager"]]
        self.state = "packages-" + module.params["name"]

    def present(self) -> list[str]:
        """Install what holds missing programs; return all packages that came."""
        programs = self.options["programs"]
        missing = [name for name in programs if not here(name)]
        packages = wanted(programs, missing)
        if self.options["packages"]:
            by_name = {str(name): str(version or "") for name, version in self.options["packages"].items()}
            packages += named(self.manager, by_name, self.installed())
        if not packages and not self.check:
            self.finish()
        if not packages or self.check:
            return packages
        before = self.installed()
        if self.manager.refresh and stale():
            self.command(self.manager.refresh)
        # Noted first: a play that is killed here still knows what there was before.
        remembered = read_state(self.state)
        earlier = remembered.get("before")
        base = set(earlier) if isinstance(earlier, list) else before
        write_state(self.state, {"before": sorted(base), "packages": remembered.get("packages", [])})
        self.command((*self.manager.install, *packages))
        after = self.installed()
        write_state(self.state, {"before": sorted(base), "packages": sorted(after - base)})
        left = [name for name in missing if not here(name)]
        if left:
            held = ", ".join(f"{name} (from {programs[name]})" for name in left)
            raise ActionFailed("program_missing", "still not there after the packages were installed: " + held)
        return sorted(after - before)

    def finish(self) -> None:
        """Note what an installation brought whose play was killed while it went on."""
        remembered = read_state(self.state)
        before = remembered.get("before")
        if isinstance(before, list) and not remembered.get("packages"):
            write_state(self.state, {"before": before, "packages": sorted(self.installed() - set(before))})

    def absent(self) -> list[str]:
        """Remove the packages that were installed under this name."""
        remembered = read_state(self.state).get("packages")
        ours = set(remembered) if isinstance(remembered, list) else set()
        packages = sorted(ours & self.installed()) if ours else []
        if not self.check:
            if packages:
                self.command((*self.manager.remove, *packages))
            write_state(self.state, {})
        return packages

    def installed(self) -> set[str]:
        """Return every package of the host."""
        return installed(self.command(self.manager.installed))

    def command(self, command: tuple[str, ...]) -> str:
        """Run the package manager; its last lines are the reason when it fails."""
        try:
            ended = run(list(command), environment=dict(self.manager.environment))
        except FileNotFoundError as error:
            raise ActionFailed("program_missing", f"{command[0]} is not on this host") from error
        if ended.returncode:
            said = "\n  ".join((ended.stderr.strip() or ended.stdout.strip()).splitlines()[-8:])
            raise ActionFailed(
                "package_manager_failed",
                "{} ended with {}:\n  {}\nIs the host's package mirror reachable and complete?".format(
                    " ".join(command[:1] + command[-1:]), ended.returncode, said
                ),
            )
        return ended.stdout


def here(name: str) -> bool:
    """Return whether a program, or a file by its path, is there."""
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=SEARCH_PATH) is not None


def stale() -> bool:
    """Return whether the package lists are missing, old, or of other sources than there are now."""
    times = [path.stat().st_mtime for path in LISTS.glob("*Packages*")]
    if not times:
        return True
    made = max([LISTS.stat().st_mtime, *times])
    changed = [path.stat().st_mtime for path in (SOURCES, *SOURCES.glob("*")) if path.exists()]
    return time.time() - made > FRESH or max(changed, default=0.0) > LISTS.stat().st_mtime


def main() -> None:
    """Compare, then install or remove what differs."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "manager": {"type": "str", "required": True, "choices": sorted(MANAGERS)},
            "programs": {"type": "dict", "default": {}},
            "packages": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    packages = Packages(module)
    try:
        with locked("packages"):
            changed = getattr(packages, module.params["state"])()
    except ActionFailed as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    before, after = ([], changed) if module.params["state"] == "present" else (changed, [])
    module.exit_json(
        changed=bool(changed), packages=changed, diff={"before": {"packages": before}, "after": {"packages": after}}
    )


if __name__ == "__main__":
    main()
