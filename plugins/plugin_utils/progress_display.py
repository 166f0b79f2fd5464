# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress on the user's terminal from inside a worker process of Ansible.

This plugin util is private to the collection.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

#: Between two lines where no terminal refreshes one.
LINE_INTERVAL_SECONDS = 5.0
ERASE_LINE = "\r\x1b[2K"


def controller_has_terminal() -> bool:
    """Whether Ansible's standard output is a terminal.

    A worker process has none of its own: its standard streams are the null device, so the parent's are looked at.
    """
    try:
        target = str(Path(f"/proc/{os.getppid()}/fd/1").readlink())
    except OSError:
        return False
    return target.startswith(("/dev/pts/", "/dev/tty", "/dev/console"))


class ProgressDisplay:
    """Shows one line that is refreshed, or a new line every few seconds.

    Args:
        mode: ``auto``, ``lines`` or ``none``.
        show: ``Display.display`` of Ansible.
        monotonic: the clock.
        terminal: whether a line can be refreshed.
        prefix: what each line begins with.
    """

    def __init__(
        self, mode: str, show: Callable[..., None], monotonic: Callable[[], float], terminal: bool, prefix: str
    ) -> None:
        self._mode = mode
        self._show = show
        self._monotonic = monotonic
        self._refresh = mode == "auto" and terminal
        self._prefix = prefix
        self._shown: float | None = None

    def update(self, text: str) -> None:
        """Show the newest state, if it is time to."""
        now = self._monotonic()
        if self._mode == "none":
            return
        if self._refresh:
            self._show(ERASE_LINE + self._prefix + text, newline=False, screen_only=True)
        elif self._shown is None or now - self._shown >= LINE_INTERVAL_SECONDS:
            self._show(self._prefix + text)
        else:
            return
        self._shown = now

    def close(self, text: str | None = None) -> None:
        """End the refreshed line, with a last word if there is one."""
        if self._mode == "none":
            return
        if self._refresh and self._shown is not None:
            self._show(ERASE_LINE, newline=False, screen_only=True)
        if text is not None:
            self._show(self._prefix + text)
