# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a worker's event ``gpu`` to what the run document has of its GPUs: which they are, and what they did.

A run without GPUs, and one whose trainer told nothing of them, has none of these keys.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .events import Event

#: What is kept of a GPU, in this order; what was not told is null.
GPU_KEYS = (
    "model", "uuid", "memory_mib", "driver", "used", "samples", "seconds", "utilisation", "memory_utilisation",
    "memory_used_mib", "power_watts", "temperature_celsius",
)  # fmt: skip


def gpu_fields(events: Sequence[Event]) -> dict[str, Any]:
    """Return what a task's events tell of its GPUs, as keys of its record; none where it told nothing.

    Of several attempts that one counts which was looked at most often: shares of two processes make no percentile.
    """
    told = [event for event in events if event.event == "gpu"]
    if not told:
        return {}
    event = max(reversed(told), key=_looks)
    found = event.number("tensorflow_gpus")
    return {
        "gpus": [{key: device.get(key) for key in GPU_KEYS} for device in _devices(event)],
        "tensorflow_gpus": None if found is None else int(found),
        "gpus_problem": event.fields.get("problem"),
    }


def with_gpus(environment: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the environment of a run with the models on each host and the driver's version, as far as tasks told."""
    models: dict[str, set[str]] = {}
    drivers: set[str] = set()
    for task in tasks:
        for gpu in task.get("gpus", ()):
            models.setdefault(task["host"], set()).add(gpu["model"])
            drivers.update([gpu["driver"]] if gpu["driver"] else [])
    versions = {"nvidia_driver": ", ".join(sorted(drivers))} if drivers else {}
    return {
        **environment,
        "hosts": [
            {**host, "gpu_models": sorted(models[host["name"]])} if host["name"] in models else host
            for host in environment["hosts"]
        ],
        "versions": {**environment["versions"], **versions},
    }


def _devices(event: Event) -> list[Mapping[str, Any]]:
    devices = event.fields.get("devices")
    return [device for device in devices if device.get("model")] if isinstance(devices, list) else []


def _looks(event: Event) -> int:
    return sum(int(device.get("samples") or 0) for device in _devices(event))
