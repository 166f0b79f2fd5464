# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callback plugin: where a playbook's time went, role by role."""

from __future__ import annotations

DOCUMENTATION = r"""
name: phase_times
type: aggregate
short_description: Where a playbook's time went, role by role
version_added: 0.1.0
description:
  - Prints at the end of a playbook how long each role took, and its longest task. A role's time begins with its first
    task and ends with the next role's, so that the times add up to the whole.
author:
  - The dtf.cluster team (@dtf-cluster)
requirements:
  - The callback is enabled, as C(callbacks_enabled = dtf.cluster.phase_times) in C(ansible.cfg).
options:
  shortest:
    description: A playbook that took fewer seconds than this has no table.
    type: float
    default: 1.0
    ini:
      - {section: callback_phase_times, key: shortest}
    env:
      - name: DTF_PHASE_TIMES_SHORTEST
"""

import time

from ansible.playbook.role_include import IncludeRole
from ansible.plugins.callback import CallbackBase

from ..module_utils.phase_times import Clocked, table


class CallbackModule(CallbackBase):
    """Notes when each task begins; prints the sums at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "dtf.cluster.phase_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.clocked: list[Clocked] = []

    def v2_playbook_on_task_start(self, task: object, is_conditional: bool) -> None:
        """A task begins, and with it the one before ends."""
        del is_conditional
        role = getattr(task, "_role", None)
        name = str(role.get_name(include_role_fqcn=False)) if role else "other tasks"
        # The one kind of task that has no say in how its role is written.
        title = task.get_name() if isinstance(task, IncludeRole) else task.get_name(include_role_fqcn=False)  # type: ignore[attr-defined]
        self.clocked.append(Clocked(name, str(title).strip(), time.monotonic()))

    def v2_playbook_on_stats(self, stats: object) -> None:
        """Print the table."""
        del stats
        for line in table(self.clocked, time.monotonic(), self.get_option("shortest")):
            self._display.display(line)
