# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``gpu_ready``: shows how far the module is, as that of ``kind_cluster`` does."""

from __future__ import annotations

from typing import Any

from .kind_cluster import ActionModule as KindCluster


class ActionModule(KindCluster):
    """Looks at the file in which the module on the host says what it is at."""

    def _prefix(self, task_vars: dict[str, Any]) -> str:
        host = str(task_vars.get("inventory_hostname", "localhost"))
        return "GPUs{}: ".format("" if host == "localhost" else f" of {host}")
