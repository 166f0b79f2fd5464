"""Topologies of pods that tests look at, and how their objects are written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.hosts import PodRun
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import objects
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

GOLDEN = Path(__file__).with_name("golden") / "manifests"
NAMESPACE = "dtf-manifests"
RUN = PodRun(run_id="20260102t030405-a1b2c3", created=1767323045.0)
RESUMED = PodRun(
    run_id="20260102t040506-d4e5f6",
    created=1767326706.0,
    candidates=("20260102t030405-a1b2c3", "20260101t000000-000000"),
    resumed_from="20260102t030405-a1b2c3",
)

EVERYTHING: dict[str, Any] = {
    "name": "everything",
    "owner": "Team Ünicorn (vision)",
    "run_label": "second-try",
    "data_dir": "/data/digits",
    "ps": {
        "replicas": 2,
        "port": 2222,
        "memory_mb": 512,
        "resources": {"requests": {"cpu": "500m", "ephemeral-storage": "1Gi"}, "limits": {"cpu": "2"}},
    },
    "workers": {
        "replicas": 4,
        "port": 2223,
        "memory_mb": 2048,
        "gpus": 2,
        "resources": {"limits": {"memory": "6Gi", "example.com/rdma": "1"}},
    },
    "training": {
        "dataset": "custom",
        "steps": 5000,
        "hidden_units": 1000,
        "batch_size": 50,
        "learning_rate": 0.01,
        "sync": True,
        "replicas_to_aggregate": 3,
        "seed": 7,
        "evaluation_interval": 500,
        "summary_interval": 50,
    },
    "lifecycle": {
        "restart_limit": 2,
        "checkpoint_interval_seconds": 5,
        "peer_timeout_seconds": 20,
        "stop_grace_seconds": 12.5,
    },
    "kubernetes": {
        "image": "registry.example.com:5000/dtf/trainer@sha256:" + "0123456789abcdef" * 4,
        "image_pull_policy": "Always",
        "image_pull_secrets": ["registry"],
        "placement": {"strategy": "nodes", "nodes": ["w1", "w2"]},
        "node_selector": {"example.com/pool": "training"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priority_class": "dtf-manifests-training",
        "runtime_class": "dtf-manifests-nvidia",
        "service_account": "trainer",
        "volumes": {
            "data": {"persistentVolumeClaim": {"claimName": "digits", "readOnly": True}},
            "checkpoints": {"claim": {"size": "5Gi", "storage_class": "fast"}},
            "logs": {"claim": {"size": "1Gi", "access_modes": ["ReadWriteMany"]}},
        },
        "pod_patch": {
            "all": {
                "metadata": {"annotations": {"example.com/scrape": "false"}},
                "spec": {
                    "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
                    "containers": [{"name": "trainer", "env": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "1"}]}],
                },
            },
            "chief": {
                "spec": {
                    "containers": [
                        {"name": "trainer", "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}]},
                    ],
                    "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}],
                }
            },
        },
    },
}
#: What only Jobs have.
OF_JOBS = {"ttl_seconds_after_finished": 86400, "active_deadline_seconds": 7200}


def params(name: str = "demo", **changes: Any) -> dict[str, Any]:
    """Return the parameters of a small topology; what is given for ``kubernetes`` is added to what it has."""
    kubernetes = {"image": "dtf.cluster/trainer:1", "namespace": NAMESPACE, **changes.pop("kubernetes", {})}
    return {"name": name, "runtime": "kubernetes", "kubernetes": kubernetes, **changes}


def topology(name: str = "demo", **changes: Any) -> Topology:
    """Return a small topology of pods."""
    return Topology.from_params(params(name, **changes))


def everything(backend: str) -> Topology:
    """Return a topology in which every field differs from its default."""
    jobs_only = OF_JOBS if backend == "indexed_job" else {}
    return topology(**{**EVERYTHING, "kubernetes": {**EVERYTHING["kubernetes"], **jobs_only, "backend": backend}})


def golden_documents() -> dict[str, list[dict[str, Any]]]:
    """Return file name → the objects it holds."""
    found = {}
    for backend in ("indexed_job", "statefulset"):
        for flavour, openshift in (("kubernetes", False), ("openshift", True)):
            minimal = topology("minimal", kubernetes={"backend": backend})
            found[f"{backend}-minimal-{flavour}.yaml"] = objects(minimal, RUN, openshift=openshift)
            found[f"{backend}-everything-{flavour}.yaml"] = objects(everything(backend), RESUMED, openshift=openshift)
    return found


def as_yaml(documents: list[dict[str, Any]]) -> str:
    """Return objects as a file for ``kubectl apply``."""
    head = "# Written by `pytest tests/unit/module_utils/test_manifests.py --renew-golden`; not by hand.\n"
    head += "# yamllint disable rule:line-length\n"
    written = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, explicit_start=True, allow_unicode=True)
    return head + written


class _Dumper(yaml.SafeDumper):
    """Writes what stands in two places twice, and lists below their name."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)
