# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One vocabulary for every module: the arguments that describe a topology, mirrored by the doc fragment ``topology``.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

from .spec import DATASETS, DEFAULT_PS, DEFAULT_WORKERS, PROFILES, RUNTIMES, Lifecycle, TaskGroup, Training
from .spec_kubernetes import BACKENDS, PULL_POLICIES, STRATEGIES, Kubernetes, Placement


def _group(default: TaskGroup, gpus: bool) -> dict[str, object]:
    options: dict[str, object] = {
        "replicas": {"type": "int", "default": default.replicas},
        "port": {"type": "int", "default": default.port},
        "memory_mb": {"type": "int", "default": default.memory_mb},
        "resources": {"type": "dict"},
    }
    if gpus:
        options["gpus"] = {"type": "int", "default": default.gpus}
    return {"type": "dict", "options": options}


_TRAINING = Training()
_LIFECYCLE = Lifecycle()
_KUBERNETES = Kubernetes(image="")

#: What names a topology on a host; enough to look at it or to remove it.
IDENTITY_ARGS: dict[str, object] = {
    "name": {"type": "str", "required": True},
    "root": {"type": "str", "default": "~/.local/share/dtf-cluster"},
    "host": {"type": "str"},
}

#: Where a topology's tasks are, for who only looks at them.
PLACE_ARGS: dict[str, object] = {
    "runtime": {"type": "str", "default": "process", "choices": list(RUNTIMES)},
    "kubernetes": {"type": "dict"},
}

#: How a run is waited for; read on the controller by the action plugin.
WAIT_ARGS: dict[str, object] = {
    "results_dir": {"type": "str", "default": "results"},
    "wait_timeout": {"type": "float", "default": 0.0},
    "wait_sleep": {"type": "float", "default": 1.0},
    "progress": {"type": "str", "default": "auto", "choices": ["auto", "lines", "none"]},
    "label": {"type": "str"},
    "benchmark": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "repeat": {"type": "int", "required": True},
            "number": {"type": "int", "required": True},
            "seed": {"type": "int", "required": True},
            "repeats": {"type": "int"},
            "gain_threshold": {"type": "float"},
        },
    },
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
    "kubernetes": {
        "type": "dict",
        "options": {
            "image": {"type": "str"},
            "namespace": {"type": "str", "default": _KUBERNETES.namespace},
            "backend": {"type": "str", "default": _KUBERNETES.backend, "choices": list(BACKENDS)},
            "image_pull_policy": {
                "type": "str",
                "default": _KUBERNETES.image_pull_policy,
                "choices": list(PULL_POLICIES),
            },
            "image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "placement": {
                "type": "dict",
                "options": {
                    "strategy": {"type": "str", "default": Placement.strategy, "choices": list(STRATEGIES)},
                    "nodes": {"type": "list", "elements": "str", "default": []},
                },
            },
            "node_selector": {"type": "dict", "default": {}},
            "tolerations": {"type": "list", "elements": "dict", "default": []},
            "priority_class": {"type": "str", "default": ""},
            "runtime_class": {"type": "str", "default": ""},
            "service_account": {"type": "str", "default": ""},
            "volumes": {
                "type": "dict",
                "options": {"data": {"type": "dict"}, "checkpoints": {"type": "dict"}, "logs": {"type": "dict"}},
            },
            "ttl_seconds_after_finished": {"type": "int"},
            "active_deadline_seconds": {"type": "int"},
            "first_step_timeout_seconds": {"type": "float", "default": _KUBERNETES.first_step_timeout_seconds},
            "network_policy": {"type": "bool", "default": _KUBERNETES.network_policy},
            "disruption_budget": {"type": "bool", "default": _KUBERNETES.disruption_budget},
            "pod_patch": {"type": "dict", "default": {}},
        },
    },
}


def spec_params(params: Mapping[str, object]) -> dict[str, object]:
    """Return the part of a module's arguments that ``Topology.from_params`` reads."""
    names = ("name", "root", *SPEC_ARGS)
    given = {name: params[name] for name in names if params.get(name) is not None}
    if given.get("runtime") == "kubernetes":
        # It has a default, which means nothing here.
        given.pop("root", None)
    return given
