# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``benchmark_report``: runs the module, then shows its table as it is meant to be read."""

from __future__ import annotations

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Shows the table on the terminal."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, object] | None = None) -> dict[str, object]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        result: dict[str, object] = self._execute_module(task_vars=task_vars)
        if result.get("table"):
            self._display.display("\n" + str(result["table"]))
            self._display.display("\nall of it: {}\n".format(result["path"]))
        return result
