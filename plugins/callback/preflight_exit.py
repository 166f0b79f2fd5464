# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callback plugin: preflight that only warns ends with exit code 1."""

from __future__ import annotations

DOCUMENTATION = r"""
name: preflight_exit
type: aggregate
short_description: Let preflight that only warns end with exit code 1
version_added: 0.1.0
description:
  - Ansible itself ends with 0 where nothing failed, and with 2 where a task did. With this callback the playbook
    C(preflight.yml) ends with 1 where it found warnings, or something that could not be measured, and no error.
  - Every other playbook, one that imports preflight among others, and several in one command end as they always did.
author:
  - The dtf.cluster team (@dtf-cluster)
requirements:
  - enabled by C(callbacks_enabled = dtf.cluster.preflight_exit) in the section C([defaults]) of C(ansible.cfg), as the
    last one, because callbacks that come after it do not see the end of the playbook
"""

from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

PLAYBOOK = "preflight.yml"
REPORT = "dtf.cluster.preflight_report"


class CallbackModule(CallbackBase):
    """Remembers the report's verdict and says it with the exit code."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "dtf.cluster.preflight_exit"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._alone = False
        self._warned = False

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Note whether it is preflight, and nothing more, that runs."""
        asked = context.CLIARGS.get("args") or ()
        self._alone = len(asked) == 1 and Path(str(playbook._file_name)).name == PLAYBOOK

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note the report's verdict."""
        if result._task.resolved_action == REPORT and result._result.get("verdict") == "warning":
            self._warned = True

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End with 1 if there were warnings and nothing that Ansible itself ends with a code for."""
        if self._alone and self._warned and not stats.failures and not stats.dark:
            # The display's output is flushed by Ansible on every line; raising leaves its own cleaning up to it.
            raise SystemExit(1)
