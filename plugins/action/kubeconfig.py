# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin of ``kubeconfig``: brings a cluster's credentials to the controller in one task."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

from ansible.plugins.action import ActionBase

ARGUMENTS = {"path": {"type": "str", "required": True}, "src": {"type": "str", "default": "/etc/kubernetes/admin.conf"}}
MODE = 0o600


class ActionModule(ActionBase):
    """Reads on the host, compares and writes on the controller; the content is never part of the result."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, object] | None = None) -> dict[str, object]:
        """Return ``{changed, path}``."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENTS)
        path = Path(options["path"]).expanduser()
        read = self._execute_module(
            module_name="ansible.builtin.slurp", module_args={"src": options["src"]}, task_vars=task_vars
        )
        if read.get("failed"):
            # In check mode the cluster may be one that is yet to be made.
            if self._task.check_mode:
                return {"changed": not path.exists(), "path": str(path)}
            return {"failed": True, "msg": "{}: {}".format(options["src"], read.get("msg", "cannot be read"))}
        content = base64.b64decode(read["content"])
        try:
            same = path.read_bytes() == content and path.stat().st_mode & 0o7777 == MODE
        except OSError:
            same = False
        if not same and not self._task.check_mode:
            try:
                write(path, content)
            except OSError as error:
                return {"failed": True, "msg": f"{path} cannot be written on the controller: {error.strerror}"}
        return {"changed": not same, "path": str(path)}


def write(path: Path, content: bytes) -> None:
    """Write a file that is never readable for others, in one step."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".kubeconfig-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(MODE)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
