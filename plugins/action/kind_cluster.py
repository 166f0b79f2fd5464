# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``kind_cluster``: runs the module, shows how far it is, and in the end what took how long."""

from __future__ import annotations

import shlex
import time
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.kind_stages import summary
from ..plugin_utils.module_progress import watched
from ..plugin_utils.progress_display import ProgressDisplay, controller_has_terminal


class ActionModule(ActionBase):
    """Looks at the file in which the module on the host says what it is at."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        arguments, mode = dict(self._task.args), str(self._task.args.get("progress", "auto"))
        if mode == "none" or self._task.check_mode:
            found: dict[str, Any] = self._execute_module(task_vars=task_vars)
            return found
        display = ProgressDisplay(
            mode, self._display.display, time.monotonic, controller_has_terminal(), self._prefix(task_vars or {})
        )
        # The folder is the connection's user's, as whoever looks is.
        path = self._connection._shell.join_path(self._make_tmp_path(), "progress")
        with watched(lambda: self._newest(path), display):
            found = self._execute_module(module_args={**arguments, "progress_path": path}, task_vars=task_vars)
        stages = found.get("stages") or []
        display.close(f"took {summary(stages)}" if stages else None)
        return found

    def _prefix(self, task_vars: dict[str, Any]) -> str:
        host = str(task_vars.get("inventory_hostname", "localhost"))
        return "Kind cluster {}{}: ".format(self._task.args.get("name"), "" if host == "localhost" else f" on {host}")

    def _newest(self, path: str) -> str:
        """Ask by the connection itself: the action's own commands share what becoming another user needs."""
        command = f"tail -n 1 {shlex.quote(path)}"
        code, output, _error = self._connection.exec_command(command, in_data=None, sudoable=False)
        return str(output.decode("utf-8", errors="replace")).strip() if code == 0 else ""
