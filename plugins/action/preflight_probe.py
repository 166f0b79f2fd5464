# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``preflight_probe``: the host's module, between two looks at the controller's clock."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs the module and adds the controller's time."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result and ``controller: {before, after}``."""
        super().run(tmp, task_vars)
        before = time.time()
        result: dict[str, Any] = self._execute_module("dtf.cluster.preflight_probe", task_vars=task_vars)
        return {**result, "controller": {"before": before, "after": time.time()}}
