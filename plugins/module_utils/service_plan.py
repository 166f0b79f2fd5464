# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service as it is and as it should be → what systemd has to be told.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """A service as it was found.

    Attributes:
        exists: whether systemd knows the unit.
        active: whether it runs, or is about to.
        enabled: whether it starts with the host.
        stale_unit: whether its unit file has changed since systemd read it.
        files_now: path to signature of the files it reads at its start.
        files_read: the same as it was when it was last started here; ``None`` where that is not known.
    """

    exists: bool
    active: bool
    enabled: bool
    stale_unit: bool
    files_now: Mapping[str, list[int]]
    files_read: object


def plan(seen: Seen, wanted: str) -> list[str]:
    """Return systemctl's verbs in their order; none where all is as it should be.

    Args:
        seen: the service as it was found.
        wanted: ``started``, ``enabled`` (others start it) or ``absent``.
    """
    if wanted == "absent":
        if seen.files_read is None:
            return []  # never started here: somebody else's
        stop = ["stop"] if seen.active else []
        return stop + (["disable"] if seen.enabled else [])
    actions = ["daemon-reload"] if seen.stale_unit else []
    if not seen.enabled:
        actions.append("enable")
    if seen.active and (seen.stale_unit or seen.files_read != seen.files_now):
        actions.append("restart")
    elif not seen.active and wanted == "started":
        actions.append("start")
    return actions
