# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``benchmark_plan``: checks what the report will need, runs the module, then shows the plan."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.errors import ActionFailed, InvalidInput
from ..plugin_utils.benchmark_document import check_judgement


class ActionModule(ActionBase):
    """Shows the whole plan in check mode; else its first line, and what cannot be measured."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, object] | None = None) -> dict[str, object]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        try:
            # After hours of measuring would be a bad moment to tell.
            check_judgement(str(self._task.args.get("name")), self._task.args.get("gain_threshold", 0.1))
        except (ActionFailed, InvalidInput) as error:
            raise AnsibleActionFail(str(error), result={"failure": error.as_failure()}) from error
        result: dict[str, object] = self._execute_module(task_vars=task_vars)
        lines = str(result.get("table") or "").splitlines()
        if lines and not self._task.check_mode:
            lines = lines[:1] + [line for line in lines[1:] if "cannot run here: " in line or "given up: " in line]
        if lines:
            self._display.display("\n" + "\n".join(lines) + "\n")
        return result
