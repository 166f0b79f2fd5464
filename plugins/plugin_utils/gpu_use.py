# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the GPUs of several runs were, and how much of their time the workers computed on them.

A worker's value is the mean of the one GPU that it computed on; where nothing tells which of several that was, it has
none. What a GPU does not tell is missing, never 0.

This plugin util is private to the collection.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


def gpu_use(runs: Sequence[Document]) -> dict[str, Any] | None:
    """Return the models, and what workers made of them; ``None`` where no task of the runs tells of GPUs.

    Args:
        runs: run documents.
    """
    tasks = [task for run in runs for task in run["tasks"] if "gpus" in task]
    if not tasks:
        return None
    used = [gpu for task in tasks for gpu in task["gpus"] if gpu["used"]]
    shares = [gpu["utilisation"]["mean"] for gpu in used if gpu["utilisation"]]
    return {
        "models": gpu_models(runs),
        "unseen": sum(1 for task in tasks if task["tensorflow_gpus"] == 0),
        "utilisation": {
            "n": len(shares),
            "mean": statistics.fmean(shares) if shares else None,
            "minimum": min(shares, default=None),
            "maximum": max(shares, default=None),
        },
        "memory_used_mib": _mean([gpu["memory_used_mib"]["mean"] for gpu in used if gpu["memory_used_mib"]]),
        "power_watts": _mean([gpu["power_watts"] for gpu in used if gpu["power_watts"] is not None]),
    }


def gpu_models(runs: Sequence[Document]) -> list[str]:
    """Return the models that workers of runs computed on, or may have, each once."""
    return sorted(
        {
            str(gpu["model"])
            for run in runs
            for task in run["tasks"]
            for gpu in task.get("gpus", ())
            if gpu["used"] is not False
        }
    )


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
