# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions that work on the controller alone have in common: checked options, and errors as modules give."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.errors import ActionFailed, InvalidInput


class ControllerAction(ActionBase):
    """An action that asks no host, and knows what it would do in check mode."""

    #: The options, as a module's ``argument_spec``.
    arguments: ClassVar[dict[str, Any]]

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what :meth:`answer` does; its errors fail the task, with ``failure`` in the result."""
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(self.arguments)
        try:
            return self.answer(options)
        except (ActionFailed, InvalidInput) as error:
            raise AnsibleActionFail(str(error), result={"failure": error.as_failure()}) from error

    @abc.abstractmethod
    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Do the work and return the task's result.

        Raises:
            InvalidInput: the options are not what they should be; all problems at once.
            ActionFailed: something else is in the way.
        """
