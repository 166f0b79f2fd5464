"""What systemd is told: a service that runs has read its files as they are now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.service_plan import Seen, plan

NOW = {"/etc/x": [1, 2, 3]}
FINE = Seen(exists=True, active=True, enabled=True, stale_unit=False, files_now=NOW, files_read=dict(NOW))


@pytest.mark.parametrize(
    ("seen", "wanted", "actions"),
    [
        (FINE, "started", []),
        (FINE, "enabled", []),
        (replace(FINE, files_read={"/etc/x": [1, 9, 3]}), "started", ["restart"]),
        (replace(FINE, files_read={"/etc/x": [1, 9, 3]}), "enabled", ["restart"]),
        # Killed between the file and the restart, or started by its package: nobody knows what it has read.
        (replace(FINE, files_read=None), "started", ["restart"]),
        (replace(FINE, active=False), "started", ["start"]),
        (replace(FINE, active=False, files_read=None), "started", ["start"]),
        (replace(FINE, active=False, files_read=None), "enabled", []),
        (replace(FINE, enabled=False), "started", ["enable"]),
        (replace(FINE, stale_unit=True, files_read={}), "started", ["daemon-reload", "restart"]),
        # What runs was started by the unit that systemd had read then.
        (replace(FINE, stale_unit=True), "started", ["daemon-reload", "restart"]),
        (replace(FINE, exists=False, active=False, enabled=False), "started", ["enable", "start"]),
        (FINE, "absent", ["stop", "disable"]),
        (replace(FINE, files_read={}), "absent", ["stop", "disable"]),
        # One that others run is none of ours to stop.
        (replace(FINE, files_read=None), "absent", []),
        (replace(FINE, exists=False, active=False, enabled=False), "absent", []),
    ],
)
def test_what_systemd_is_told(seen: Seen, wanted: str, actions: list[str]) -> None:
    assert plan(seen, wanted) == actions
