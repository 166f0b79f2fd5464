# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One vocabulary for every module: the arguments that describe a topology, mirrored by the doc fragment ``topology``.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

from .spec import DATASETS, DEFAULT_PS, DEFAULT_WORKERS, PROFILES, RUNTIMES, Lifecycle, TaskGroup, Training


def _group(default: TaskGroup, gpus: bool) -> dict[str, object]:
    options: dict[str, object] = {
        "replicas": {"type": "int", "default": default.replicas},
        "port": {"type": "int", "default": default.port},
        "memory_mb": {"type": "int", "default": default.memory_mb},
    }
    if gpus:
        options["gpus"] = {"type": "int", "default": default.gpus}
    return {"type": "dict", "options": options}


_TRAINING = Training()
_LIFECYCLE = Lifecycle()

#: What names a topology on a host; enough to look at it or to remove it.
IDENTITY_ARGS: dict[str, object] = {
    "name": {"type": "str", "required": True},
    "root": {"type": "str", "default": "~/.local/share/dtf-cluster"},
    "host": {"type": "str"},
}

#: How a run is waited for; read on the controller by the action plugin.
WAIT_ARGS: dict[str, object] = {
    "results_dir": {"type": "str", "default": "results"},
    "wait_timeout": {"type": "float", "default": 0.0},
    "wait_sleep": {"type": "float", "default": 1.0},
    "progress": {"type": "str", "default": "auto", "choices": ["auto", "lines", "none"]},
}

#: What a topology is.
SPEC_ARGS: dict[str, object] = {
    "runtime": {"type": "str", "default": "process", "choices": list(RUNTIMES)},
    "owner": {"type": "str", "default": "site"},
    "run_label": {"type": "str", "default": ""},
    "hosts": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "address": {"type": "str", "required": True}},
    },
    "python": {"type": "str"},
    "data_dir": {"type": "str"},
    "ps": _group(DEFAULT_PS, gpus=False),
    "workers": _group(DEFAULT_WORKERS, gpus=True),
    "training": {
        "type": "dict",
        "options": {
            "dataset": {"type": "str", "default": _TRAINING.dataset, "choices": list(DATASETS)},
            "steps": {"type": "int", "default": _TRAINING.steps},
            "hidden_units": {"type": "int", "default": _TRAINING.hidden_units},
            "batch_size": {"type": "int", "default": _TRAINING.batch_size},
            "learning_rate": {"type": "float", "default": _TRAINING.learning_rate},
            "sync": {"type": "bool", "default": _TRAINING.sync},
            "replicas_to_aggregate": {"type": "int"},
            "communication_interval": {"type": "int", "default": _TRAINING.communication_interval},
            "profile": {"type": "str", "default": _TRAINING.profile, "choices": list(PROFILES)},
            "seed": {"type": "int", "default": _TRAINING.seed},
            "evaluation_interval": {"type": "int", "default": _TRAINING.evaluation_interval},
            "summary_interval": {"type": "int", "default": _TRAINING.summary_interval},
        },
    },
    "lifecycle": {
        "type": "dict",
        "options": {
            "restart_limit": {"type": "int", "default": _LIFECYCLE.restart_limit},
            "restart_backoff_seconds": {"type": "float", "default": _LIFECYCLE.restart_backoff_seconds},
            "checkpoint_interval_seconds": {"type": "float", "default": _LIFECYCLE.checkpoint_interval_seconds},
            "peer_timeout_seconds": {"type": "float", "default": _LIFECYCLE.peer_timeout_seconds},
            "stop_grace_seconds": {"type": "float", "default": _LIFECYCLE.stop_grace_seconds},
            "lease_seconds": {"type": "float", "default": _LIFECYCLE.lease_seconds},
        },
    },
}


def spec_params(params: Mapping[str, object]) -> dict[str, object]:
    """Return the part of a module's arguments that ``Topology.from_params`` reads."""
    names = ("name", "root", *SPEC_ARGS)
    return {name: params[name] for name in names if params.get(name) is not None}
