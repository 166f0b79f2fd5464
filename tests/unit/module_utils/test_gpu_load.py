"""From the trainer's own words of its GPUs to the run document, in either runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.events import Event, of_task, parse
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_load import GPU_KEYS, gpu_fields, with_gpus
from tests.unit.module_utils import test_pod_run_document as pods
from tests.unit.module_utils import test_run_document as processes

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "events"
EVENTS = parse((GOLDEN / "gpu.jsonl").read_text(encoding="utf-8").splitlines())
T4: dict[str, Any] = {
    "model": "Tesla T4",
    "uuid": "GPU-1",
    "memory_mib": 15360,
    "driver": "550.54.15",
    "used": True,
    "samples": 9,
    "seconds": 18.5,
    "utilisation": {"mean": 0.7, "p95": 0.9, "max": 0.95},
}
TOLD = {"asked": 1, "tensorflow_gpus": 1, "interval_seconds": 2.0, "problem": None}


def said(index: int = 0, attempt: int = 0, **fields: Any) -> Event:
    """Return a worker's word of its GPUs."""
    return Event("gpu", "r", "worker", index, attempt, 1037.0, 37.0, {**TOLD, "devices": [T4], **fields})


def test_what_a_worker_said_is_kept_as_it_said_it() -> None:
    fields = gpu_fields(of_task(EVENTS, "worker", 0))
    told = of_task(EVENTS, "worker", 0)[-2].fields["devices"]
    assert fields == {"gpus": told, "tensorflow_gpus": 1, "gpus_problem": None}
    assert [gpu["used"] for gpu in fields["gpus"]] == [True, False]
    other = gpu_fields(of_task(EVENTS, "worker", 1))
    assert other["gpus_problem"].startswith("nvidia-smi said: WARNING")
    assert (other["gpus"][0]["utilisation"], other["gpus"][0]["memory_used_mib"]["mean"]) == (None, 640)


def test_who_said_nothing_has_no_key_of_it() -> None:
    assert gpu_fields(of_task(EVENTS, "ps", 0)) == {}
    assert gpu_fields(()) == {}


def test_what_was_not_told_is_null_and_what_is_not_known_is_left() -> None:
    (gpu,) = gpu_fields([said(devices=[{**T4, "brightness": 3}])])["gpus"]
    assert tuple(gpu) == GPU_KEYS
    assert gpu["power_watts"] is None


@pytest.mark.parametrize("devices", [None, "none", [], [{"uuid": "GPU-1"}]])
def test_a_worker_that_saw_none_has_an_empty_list(devices: object) -> None:
    fields = gpu_fields([said(devices=devices, tensorflow_gpus=0, problem="there is no nvidia-smi in PATH")])
    assert fields == {"gpus": [], "tensorflow_gpus": 0, "gpus_problem": "there is no nvidia-smi in PATH"}


def test_of_several_attempts_the_one_counts_that_was_looked_at_most() -> None:
    few, many = [{**T4, "samples": 2}], [{**T4, "samples": 30}]
    (gpu,) = gpu_fields([said(devices=many), said(attempt=1, devices=few)])["gpus"]
    assert gpu["samples"] == 30
    # None was: the last one knows best.
    assert gpu_fields([said(devices=[], problem="a"), said(attempt=1, devices=[], problem="b")])["gpus_problem"] == "b"


def test_models_stand_at_their_hosts_and_the_driver_among_the_versions() -> None:
    place = {"hosts": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "versions": {"python": "3"}, "image_digest": None}
    tasks = [
        {"host": "a", **gpu_fields([said()])},
        {"host": "a", **gpu_fields([said(devices=[{**T4, "model": "NVIDIA A100"}, T4])])},
        {"host": "b", **gpu_fields([said(devices=[{**T4, "driver": None}])])},
        {"host": "c"},
    ]
    found = with_gpus(place, tasks)
    assert [host.get("gpu_models") for host in found["hosts"]] == [["NVIDIA A100", "Tesla T4"], ["Tesla T4"], None]
    assert found["versions"] == {"python": "3", "nvidia_driver": "550.54.15"}
    assert found["image_digest"] is None
    assert with_gpus(place, [{"host": "a"}]) == place


def test_the_document_of_a_run_of_processes_has_them() -> None:
    chief = [*processes.worker(0, processes.CHIEF, **processes.FIELDS), said(0), said(1, tensorflow_gpus=0)]
    document = processes.made(events=chief)
    ps, first, second = document["tasks"]
    assert "gpus" not in ps
    assert first["gpus"] == [{**dict.fromkeys(GPU_KEYS), **T4}]
    assert (first["tensorflow_gpus"], second["tensorflow_gpus"]) == (1, 0)
    assert document["environment"]["hosts"][0]["gpu_models"] == ["Tesla T4"]
    assert document["environment"]["versions"]["nvidia_driver"] == "550.54.15"
    without = processes.made()
    assert not any("gpu" in key for task in without["tasks"] for key in task)
    assert "gpu_models" not in without["environment"]["hosts"][0]


def test_the_document_of_a_run_of_pods_has_them() -> None:
    fields = {**TOLD, "devices": [T4]}
    moments = {**pods.WORKER, "gpu": 24.5}
    other = pods.stretch("worker", 1, moments, "w2", gpu=fields)
    document = pods.made(stretches=[*pods.STRETCHES[:2], other])
    assert ["gpus" in task for task in document["tasks"]] == [False, False, True]
    hosts = {host["name"]: host.get("gpu_models") for host in document["environment"]["hosts"]}
    assert hosts == {"w1": None, "w2": ["Tesla T4"]}
    assert document["environment"]["versions"]["nvidia_driver"] == "550.54.15"
