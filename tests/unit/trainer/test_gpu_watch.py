"""A program that stands in for nvidia-smi is run, read, waited for, given up and ended; the training never notices."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from dtf_trainer import gpu_watch
from dtf_trainer.events import MAX_LINE_BYTES, render
from dtf_trainer.flags import parse
from dtf_trainer.gpu_watch import GpuWatch

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
STAND_IN = ROOT / "tests" / "fixtures" / "nvidia_smi"
SCHEMA = json.loads((ROOT / "schemas" / "event.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _no_first_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count from the release on, so that a test need not train for a second."""
    monkeypatch.setattr(gpu_watch, "WINDOW_SECONDS", 0.0)


def watch(says: str, interval: float = 0.02, path: Path = STAND_IN, **more: Any) -> GpuWatch:
    """Return a watch over a single GPU that has begun."""
    flags = ["--job_name=worker", "--ps_hosts=a:1", "--worker_hosts=b:1", "--num_gpus=1"]
    environ = {"PATH": f"{path}:{os.environ['PATH']}", "NVIDIA_SMI_SAYS": says}
    made = GpuWatch(parse([*flags, f"--gpu_interval_seconds={interval}"], {}), environ, **more)
    made.start()
    return made


def until(condition: Callable[[], object]) -> None:
    """Wait for something that comes."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(made: GpuWatch) -> dict[str, Any]:
    """Return what a watch reports, which must be an event and be said at once."""
    began = time.monotonic()
    fields = made.report()
    assert time.monotonic() - began < 5
    common = {"schema": "dtf.event/1", "event": "gpu", "run_id": "r", "role": "worker", "index": 0, "attempt": 0}
    record = {**common, "wall": 1.0, "monotonic": 1.0}
    line = render(record, fields)
    assert len(line) <= MAX_LINE_BYTES
    jsonschema.validate(json.loads(line.partition(" ")[2]), SCHEMA, cls=jsonschema.Draft202012Validator)
    assert "omitted" not in line
    return fields


def test_what_a_gpu_does_between_release_and_target_counts_and_nothing_else() -> None:
    made = watch("one_card")
    until(lambda: made._cards)
    made.tensorflow_gpus = 1
    assert not made._loads
    made.begin()
    until(lambda: made._loads and next(iter(made._loads.values())).as_dict()["samples"] >= 6)
    made.end()
    time.sleep(0.1)
    fields = ended(made)
    (device,) = fields["devices"]
    assert (fields["asked"], fields["tensorflow_gpus"], fields["problem"]) == (1, 1, None)
    assert (device["model"], device["memory_mib"], device["driver"]) == ("Tesla T4", 15360, "550.54.15")
    assert device["used"]
    assert 0.37 <= device["utilisation"]["mean"] <= device["utilisation"]["p95"] <= 0.91
    assert device["utilisation"]["max"] == 0.91
    counted = device["samples"]
    assert ended(made)["devices"][0]["samples"] == counted
    assert made._process is not None
    assert made._process.wait(5) != 0


def test_the_first_second_is_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_watch, "WINDOW_SECONDS", 3600.0)
    made = watch("one_card")
    until(lambda: made._cards)
    made.begin()
    time.sleep(0.2)
    (device,) = ended(made)["devices"]
    assert (device["samples"], device["utilisation"]) == (0, None)


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (
            "mismatch",
            "ended with exit code 18: Failed to initialize NVML: Driver/library version mismatch NVML library",
        ),
        ("no_driver", "ended with exit code 9: NVIDIA-SMI has failed because it couldn't communicate with"),
        ("no_devices", "ended with exit code 6: No devices were found"),
        ("silent", "said nothing for 0.4 s"),
    ],
)
def test_why_nothing_is_known_is_told(says: str, problem: str) -> None:
    made = watch(says, first_answer=0.4 if says == "silent" else 20.0)
    until(lambda: made._problem)
    made.begin()
    made.end()
    fields = ended(made)
    assert fields["problem"].startswith(f"nvidia-smi {problem}")
    assert fields["devices"] == []


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        ("lost", "ended with exit code 15: Unable to determine the device handle for GPU 0000:00:1E.0: GPU is lost."),
        ("hang", "said nothing for 0.3 s"),
    ],
)
def test_what_was_seen_before_it_went_wrong_is_kept(says: str, problem: str) -> None:
    made = watch(says, interval=0.1, silence=0.2)
    made.begin()
    until(lambda: made._problem)
    fields = ended(made)
    assert fields["problem"].startswith(f"nvidia-smi {problem}")
    assert fields["devices"][0]["utilisation"] == {"mean": 0.5, "p95": 0.5, "max": 0.5}


def test_a_program_that_is_not_there_or_cannot_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made = watch("one_card", path=tmp_path)
    until(lambda: made._problem)
    assert ended(made)["problem"] == "there is no nvidia-smi in PATH"
    broken = tmp_path / "nvidia-smi"
    broken.write_text("no program\n")
    broken.chmod(0o755)
    made = watch("one_card", path=tmp_path)
    until(lambda: made._problem)
    assert ended(made)["problem"].startswith("nvidia-smi cannot be run: ")


def test_one_that_has_not_answered_is_waited_for_no_longer() -> None:
    fields = ended(watch("silent"))
    assert (fields["problem"], fields["devices"]) == ("nvidia-smi had not answered yet", [])


def test_without_an_interval_it_looks_once() -> None:
    made = watch("one_card", interval=0)
    until(lambda: made._cards)
    until(lambda: made._process is not None and made._process.poll() is not None)
    fields = ended(made)
    assert fields["problem"] is None
    assert [(device["model"], device["samples"]) for device in fields["devices"]] == [("Tesla T4", 0)]


def test_an_instance_of_a_divided_card_is_listed_and_tells_no_load() -> None:
    made = watch("mig")
    made.begin()
    until(lambda: made._loads)
    devices = ended(made)["devices"]
    assert [device["model"].partition(" MIG ")[2] for device in devices] == ["3g.20gb", "2g.10gb"]
    assert {(device["used"], device["utilisation"], device["memory_used_mib"]) for device in devices} == {(None,) * 3}


def test_a_program_that_goes_on_and_on_without_a_line_is_ended(tmp_path: Path) -> None:
    babbler = tmp_path / "nvidia-smi"
    babbler.write_text("#!/bin/sh\nexec cat /dev/zero\n")
    babbler.chmod(0o755)
    made = watch("one_card", path=tmp_path)
    until(lambda: made._problem)
    assert ended(made)["problem"] == "nvidia-smi prints no lines"
    assert made._process is not None
    assert made._process.wait(5) != 0
