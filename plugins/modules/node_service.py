#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: a service that runs, and has read what its files say now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_service
short_description: Run a service that has read its files as they are now
version_added: 0.1.0
description:
  - Starts and enables a service, and restarts it where a file that it reads at its start is another than at that start.
  - A task that restarts a service because an earlier task has changed a file forgets it when the play is killed between
    the two. This module asks the host instead, which remembers for each service what its files were.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  name:
    description: The systemd unit.
    type: str
    required: true
  state:
    description:
      - V(started) runs it. V(enabled) leaves it to others to start it, and restarts it only where it runs already.
        V(absent) stops and disables it, if it was this module that ran it.
    type: str
    default: started
    choices: [started, enabled, absent]
  reads:
    description: Files that it reads at its start, its program too. The unit's own file belongs to them.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells what would be done. A unit that is yet to be written would be started.
    support: full
  diff_mode:
    description: Shows the unit's states before and after.
    support: full
extends_documentation_fragment:
  - dtf.cluster.host
"""

EXAMPLES = r"""
- name: Run containerd
  dtf.cluster.node_service:
    name: containerd.service
    reads: [/etc/containerd/config.toml]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [enable, restart]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import ActionFailed
from ..module_utils.host_files import locked, read_state, write_state
from ..module_utils.programs import run
from ..module_utils.service_plan import Seen, plan

RECORD = "services"
PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "FragmentPath")


def systemctl(*arguments: str) -> str:
    """Call systemctl; its own words are the reason when it fails."""
    ended = run(["systemctl", *arguments])
    if ended.returncode:
        journal = run(["journalctl", "--unit", arguments[-1], "--lines", "8", "--no-pager", "--output", "cat"])
        raise ActionFailed(
            "systemctl_failed",
            "systemctl {} ended with {}: {}\nThe unit's last lines:\n{}".format(
                " ".join(arguments), ended.returncode, ended.stderr.strip(), journal.stdout.strip()
            ),
        )
    return ended.stdout


def signature(paths: list[str]) -> dict[str, list[int]]:
    """Return what tells a file from a later one of the same path; nothing for one that is not there."""
    found = {}
    for name in paths:
        path = Path(name)
        if path.exists():
            status = path.stat()
            found[name] = [status.st_size, status.st_mtime_ns, status.st_ino]
    return found


def shadowed(name: str, known: str) -> bool:
    """Return whether systemd would now read another file than the one that it knows.

    It says itself whether that one has changed, and not whether there is a new one in a folder that comes first.
    """
    places = systemctl("show", "--property=UnitPath").strip().partition("=")[2].split()
    first = next((path for path in (Path(place) / name for place in places) if path.exists()), None)
    return bool(first and known and Path(known).exists() and not first.samefile(known))


def look(name: str, reads: list[str]) -> Seen:
    """Return the unit as systemd knows it, and what its files were when it was started here."""
    told = systemctl("show", "--property=" + ",".join(PROPERTIES), name)
    properties = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    return Seen(
        exists=properties["LoadState"] != "not-found",
        active=properties["ActiveState"] in {"active", "activating", "reloading"},
        enabled=properties["UnitFileState"] == "enabled",
        stale_unit=properties["NeedDaemonReload"] == "yes" or shadowed(name, properties["FragmentPath"]),
        files_now=signature(reads),
        files_read=read_state(RECORD).get(name),
    )


def remember(name: str, files: dict[str, list[int]] | None) -> None:
    """Note what a service has read; ``None`` forgets it."""
    record = dict(read_state(RECORD))
    record.pop(name, None)
    write_state(RECORD, {**record, **({name: files} if files is not None else {})})


def main() -> None:
    """Look, plan, do."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "default": "started", "choices": ["started", "enabled", "absent"]},
            "reads": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    name, wanted = module.params["name"], module.params["state"]
    try:
        with locked("services"):
            seen = look(name, module.params["reads"])
            # A unit that was written a moment ago is known only once systemd has looked again.
            if not seen.exists and wanted != "absent" and not module.check_mode:
                systemctl("daemon-reload")
                seen = look(name, module.params["reads"])
            actions = plan(seen, wanted)
            if not module.check_mode:
                for action in actions:
                    systemctl(*([action] if action == "daemon-reload" else [action, name]))
                if wanted == "absent" or seen.files_read != seen.files_now:
                    remember(name, None if wanted == "absent" else dict(seen.files_now))
    except ActionFailed as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    before = {"active": seen.active, "enabled": seen.enabled}
    running = wanted != "absent"
    after = {"active": (wanted == "started" or seen.active) and running, "enabled": running}
    module.exit_json(changed=bool(actions), actions=actions, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
