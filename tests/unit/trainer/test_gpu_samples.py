"""What nvidia-smi prints, from recorded lines: which GPUs are a worker's, and what they did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dtf_trainer.gpu_samples import (
    FIELDS,
    MOST_DEVICES,
    Device,
    Load,
    Sample,
    device_records,
    given_devices,
    read_instances,
    read_line,
)

RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "nvidia_smi"


def lines(name: str) -> list[str]:
    """Return the lines that a recorded answer has."""
    return (RECORDED / f"{name}.txt").read_text(encoding="ascii").splitlines()


def samples(name: str) -> list[Sample]:
    """Return the samples that are among them."""
    return [sample for line in lines(name) if (sample := read_line(line)) is not None]


def test_a_line_is_a_gpu_at_a_moment() -> None:
    assert read_line(lines("one_card")[0]) == Sample(
        uuid="GPU-11111111-5d80-4d4c-a20b-6cf5b25d7d31",
        model="Tesla T4",
        memory_mib=15360,
        driver="550.54.15",
        divided=False,
        utilisation=0.37,
        memory_utilisation=0.12,
        memory_used_mib=1021.0,
        power_watts=45.31,
        temperature_celsius=52.0,
    )


def test_what_a_gpu_does_not_tell_is_none_and_not_0() -> None:
    (share,) = samples("vgpu")
    assert (share.model, share.memory_mib, share.memory_used_mib) == ("GRID T4-4Q", 4096, 640)
    assert (share.utilisation, share.memory_utilisation, share.power_watts, share.temperature_celsius) == (None,) * 4
    (divided,) = samples("mig")
    # Memory and power are of the whole card, and with it of others' instances.
    assert divided.divided
    assert (divided.utilisation, divided.memory_used_mib, divided.power_watts) == (None, None, None)
    idle = samples("several_cards")[2]
    assert (idle.utilisation, idle.memory_utilisation) == (0, 0)


@pytest.mark.parametrize("name", ["mismatch", "no_driver", "no_devices"])
def test_an_error_is_no_sample(name: str) -> None:
    assert samples(name) == []


@pytest.mark.parametrize(
    "line",
    [
        "",
        ", ".join(FIELDS),
        lines("one_card")[0][:-20],
        lines("one_card")[0] + ", 1",
        "[GPU requires reset], " + lines("one_card")[0].partition(", ")[2],
        "0, [Unknown Error]" + ", 1" * (len(FIELDS) - 2),
    ],
)
def test_what_is_no_whole_line_is_no_sample(line: str) -> None:
    assert read_line(line) is None


def test_a_share_that_cannot_be_is_none() -> None:
    sample = read_line(lines("one_card")[0].replace(" 37,", " 4294967295,"))
    assert sample is not None
    assert sample.utilisation is None


UUIDS = [sample.uuid for sample in samples("several_cards")]
SLOW, FAST = (sample.uuid for sample in samples("mixed_cards"))
LARGE, SMALL = (part.uuid for part in read_instances("\n".join(lines("mig.list"))))


def given(name: str, environ: dict[str, str], asked: int = 1, index: int = 0, found: int | None = None) -> list[Any]:
    """Return uuid and use of the devices that a task was given."""
    parts = read_instances("\n".join(lines("mig.list"))) if name == "mig" else []
    devices = given_devices(samples(name), parts, environ, asked=asked, index=index, found=found)
    return [(device.uuid, device.used) for device in devices]


@pytest.mark.parametrize(
    ("environ", "asked", "index", "wanted"),
    [
        # A host of its own workers: they share the first ones, as TensorFlow counts them.
        ({}, 1, 3, [(UUIDS[0], True)]),
        ({}, 2, 3, [(UUIDS[0], False), (UUIDS[1], True)]),
        ({}, 4, 2, [(UUIDS[0], False), (UUIDS[1], False), (UUIDS[2], True), (UUIDS[3], False)]),
        # More than there are: which one it is then only TensorFlow knows.
        ({}, 8, 6, [(uuid, None) for uuid in UUIDS]),
        ({"CUDA_VISIBLE_DEVICES": "2"}, 1, 0, [(UUIDS[2], True)]),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, 2, 1, [(UUIDS[3], False), (UUIDS[1], True)]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-23"}, 1, 0, [(UUIDS[2], True)]),
        # CUDA stops reading at what is none, and at what may be several.
        ({"CUDA_VISIBLE_DEVICES": "1,-1,2"}, 3, 0, [(UUIDS[1], True)]),
        ({"CUDA_VISIBLE_DEVICES": "1,GPU-2"}, 3, 0, [(UUIDS[1], True)]),
        ({"CUDA_VISIBLE_DEVICES": "9"}, 1, 0, []),
        ({"CUDA_VISIBLE_DEVICES": ""}, 1, 0, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 1, 0, []),
        # In a container: named, or all that is to be seen.
        ({"NVIDIA_VISIBLE_DEVICES": f"{UUIDS[1]},{UUIDS[3]}"}, 1, 0, [(UUIDS[1], True)]),
        ({"NVIDIA_VISIBLE_DEVICES": UUIDS[3], "CUDA_VISIBLE_DEVICES": "0"}, 1, 0, [(UUIDS[3], True)]),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, 1, 0, [(UUIDS[0], True)]),
        ({"NVIDIA_VISIBLE_DEVICES": "2"}, 1, 0, [(UUIDS[0], True)]),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, 1, 0, [(UUIDS[0], True)]),
    ],
)
def test_which_of_several_equal_cards_are_a_task_s(
    environ: dict[str, str], asked: int, index: int, wanted: list[Any]
) -> None:
    assert given("several_cards", environ, asked, index) == wanted


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        # CUDA may count the faster one first.
        ({}, [(SLOW, None), (FAST, None)]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [(SLOW, None), (FAST, None)]),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, [(SLOW, True)]),
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}, [(FAST, True)]),
        ({"CUDA_VISIBLE_DEVICES": FAST}, [(FAST, True)]),
        ({"NVIDIA_VISIBLE_DEVICES": FAST}, [(FAST, True)]),
    ],
)
def test_of_different_cards_a_number_tells_nothing_without_their_order(
    environ: dict[str, str], wanted: list[Any]
) -> None:
    assert given("mixed_cards", environ) == wanted


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, [(LARGE, None), (SMALL, None)]),
        ({"CUDA_VISIBLE_DEVICES": SMALL}, [(SMALL, True)]),
        ({"NVIDIA_VISIBLE_DEVICES": LARGE}, [(LARGE, True)]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [(LARGE, None), (SMALL, None)]),
    ],
)
def test_an_instance_of_a_divided_card_is_a_device(environ: dict[str, str], wanted: list[Any]) -> None:
    assert given("mig", environ) == wanted


def test_an_instance_has_its_profile_in_its_name_and_no_memory_of_the_card() -> None:
    parts = read_instances("\n".join(lines("mig.list")))
    (device,) = given_devices(samples("mig"), parts, {"CUDA_VISIBLE_DEVICES": LARGE}, asked=1, index=0)
    card = samples("mig")[0].uuid
    assert device == Device(card, LARGE, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", None, "550.54.15", True)
    # Where nothing lists them it is at least a divided card.
    (device,) = given_devices(samples("mig"), [], {}, asked=1, index=0)
    assert (device.uuid, device.memory_mib) == (card, None)


def test_where_tensorflow_found_nothing_nothing_is_used() -> None:
    assert given("several_cards", {}, asked=2, index=1, found=0) == [(UUIDS[0], False), (UUIDS[1], False)]
    assert given("mixed_cards", {}, found=0) == [(SLOW, False), (FAST, False)]
    assert given("several_cards", {}, asked=2, index=1, found=2) == [(UUIDS[0], False), (UUIDS[1], True)]
    # It found one of the two, and it was to be the other.
    assert given("several_cards", {}, asked=2, index=1, found=1) == [(UUIDS[0], None), (UUIDS[1], None)]
    # What it found is named in a way that nothing here knows.
    assert given("mig", {"CUDA_VISIBLE_DEVICES": "MIG-unknown"}, found=1) == [(LARGE, None), (SMALL, None)]


def test_a_load_is_mean_95th_percentile_and_maximum() -> None:
    load = Load()
    for percent in range(1, 101):
        share = Sample(uuid="u", model="m", utilisation=percent / 100, memory_used_mib=percent, power_watts=percent)
        load.add(share, float(percent))
    found = load.as_dict()
    assert (found["samples"], found["seconds"]) == (100, 100.0)
    assert found["utilisation"] == {"mean": 0.505, "p95": 0.95, "max": 1.0}
    assert found["memory_used_mib"] == {"mean": 50.5, "max": 100}
    assert found["power_watts"] == 50.5
    assert found["memory_utilisation"] is found["temperature_celsius"] is None


def test_a_load_of_what_tells_nothing_has_samples_and_no_values() -> None:
    load = Load()
    for _ in range(3):
        load.add(Sample(uuid="u", model="m"), 2.0)
    assert load.as_dict() == {
        "samples": 3, "seconds": 2.0, "utilisation": None, "memory_utilisation": None, "memory_used_mib": None,
        "power_watts": None, "temperature_celsius": None,
    }  # fmt: skip


def test_an_event_has_room_for_six_and_the_used_one_is_among_them() -> None:
    devices = [Device(f"GPU-{n}", f"GPU-{n}", "m", 1, "d", n == 7) for n in range(8)]
    records, left_out = device_records(devices, {})
    assert (len(records), left_out) == (MOST_DEVICES, 2)
    assert [record["uuid"] for record in records] == ["GPU-7", *(f"GPU-{n}" for n in range(5))]
    assert records[0]["samples"] == 0
