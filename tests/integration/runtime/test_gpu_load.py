"""A real training that asks for a GPU, beside a program that stands in for nvidia-smi: from its lines to the report."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.integration.trainer.cluster import trainer_python, write_data

STAND_IN = Path(__file__).resolve().parents[2] / "fixtures" / "nvidia_smi"


def trained(repository: Path, folder: Path, ports: tuple[int, int], says: str, **environment: str) -> dict[str, Any]:
    """Return the document of a training of two workers, whose play has also summed it up."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{repository}/trainer" exec "{trainer_python()}" "$@"\n')
    python.chmod(0o755)
    named = {"name": "busy", "root": str(folder / "root")}
    topology = {
        **named,
        "python": str(python),
        "hosts": [{"name": "localhost", "address": "127.0.0.1"}],
        "data_dir": str(write_data(folder / "data")),
        "ps": {"port": ports[0]},
        "workers": {"port": ports[1], "replicas": 2, "gpus": 2},
        "training": {"dataset": "custom", "steps": 5000, "hidden_units": 32},
    }
    results = folder / "results" / "busy"
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [
            {"dtf.cluster.topology": topology},
            {"dtf.cluster.training": {**named, "results_dir": str(results)}},
            {"dtf.cluster.benchmark_report": {"name": "busy", "results_dir": str(results)}},
        ],
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    # By a name of this test's own, which tells its processes from others'.
    (folder / "bin").mkdir()
    (folder / "bin" / "nvidia-smi").symlink_to(STAND_IN / "nvidia-smi")
    told = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "NVIDIA_SMI_SAYS": says, "GPU_INTERVAL_SECONDS": "0.2"}
    played = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(folder / "play.yml")],
        cwd=repository,
        env={**os.environ, "ANSIBLE_CONFIG": str(repository / "ansible.cfg"), **told, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert played.returncode == 0, played.stdout
    (file,) = results.glob("*/run.json")
    run: dict[str, Any] = json.loads(file.read_text())
    schema = json.loads((repository / "schemas/run.schema.json").read_text())
    jsonschema.validate(run, schema, cls=jsonschema.Draft202012Validator)
    return run


def test_what_the_gpus_did_stands_in_the_run_document_and_in_the_report(
    repository: Path, tmp_path: Path, ports: tuple[int, int]
) -> None:
    run = trained(repository, tmp_path, ports, "several_cards", CUDA_VISIBLE_DEVICES="0,1")
    ps, *workers = run["tasks"]
    assert "gpus" not in ps
    for task, mean in zip(workers, (0.8, 0.7), strict=True):
        assert task["gpus_problem"] is None
        assert [gpu["model"] for gpu in task["gpus"]] == ["NVIDIA A100-SXM4-40GB"] * 2
        seen = {gpu["uuid"][:12]: gpu for gpu in task["gpus"]}
        assert set(seen) == {"GPU-21111111", "GPU-22222222"}
        assert {gpu["utilisation"]["mean"] for gpu in task["gpus"]} == {0.8, 0.7}
        own = seen["GPU-21111111" if task["index"] == 0 else "GPU-22222222"]
        assert own["utilisation"] == {"mean": mean, "p95": mean, "max": mean}
        # No more looks than the training is long, none of its first second, and none of what follows it.
        trains = task["phases"]["train"]
        assert 1 <= own["samples"] <= (trains - 1) / 0.2 + 1
        assert 1 <= own["seconds"] <= trains + 0.1
        # This machine has no card, so that TensorFlow took the processor: the report must not look as if it had not.
        assert (task["tensorflow_gpus"], own["used"]) == (0, False)
    (host,) = run["environment"]["hosts"]
    assert host["gpu_models"] == ["NVIDIA A100-SXM4-40GB"]
    assert run["environment"]["versions"]["nvidia_driver"] == "550.54.15"

    folder = tmp_path / "results" / "busy"
    benchmark = json.loads((folder / "benchmark.json").read_text())
    (cell,) = benchmark["cells"]
    assert (cell["gpu"]["unseen"], cell["gpu"]["models"]) == (2, [])
    assert "gpu_unseen" in {doubt["code"] for doubt in benchmark["doubts"]}
    assert "asked for GPUs and TensorFlow found none" in (folder / "summary.txt").read_text()
    (row,) = csv.DictReader((folder / "cells.csv").read_text().splitlines())
    assert row["gpu_unseen"] == "2"
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left


@pytest.mark.parametrize(("says", "problem"), [("mismatch", "exit code 18"), ("lost", "GPU is lost")])
def test_a_card_that_fails_costs_the_numbers_and_not_the_training(
    repository: Path, tmp_path: Path, ports: tuple[int, int], says: str, problem: str
) -> None:
    run = trained(repository, tmp_path, ports, says)
    assert run["state"] == "succeeded"
    for task in run["tasks"][1:]:
        assert problem in task["gpus_problem"]
        assert len(task["gpus"]) == (1 if says == "lost" else 0)
