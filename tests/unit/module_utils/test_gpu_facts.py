"""What is read of a host becomes the picture of its GPUs, and every problem has a next step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils import nvidia_smi
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_facts import is_vgpu, picture
from ansible_collections.dtf.cluster.plugins.module_utils.nvidia_smi import Answer, verdict
from tests.unit.module_utils.gpu_samples import FOLDER, NAMES, host, recorded, seen

#: Host → codes of what is in the way, what blocks first.
PROBLEMS = {
    "bare_card": [],
    "container": ["container"],
    "driver_without_devices": ["driver_sees_nothing"],
    "hypervisor": ["kept_for_guests"],
    "mig": ["mig_pending"],
    "mismatch": ["version_mismatch"],
    "no_card": [],
    "no_headers": ["headers_missing"],
    "nouveau": ["nouveau_loaded"],
    "nvswitch": ["fabric_manager"],
    "one_card": [],
    "operator": [],
    "partition": ["gpu_partition"],
    "pass_through": [],
    "secure_boot": ["module_not_signed"],
    "several_cards": ["card_lost"],
    "vgpu_guest": ["vgpu_not_licensed"],
    "vgpu_without_driver": ["vgpu_needs_its_driver"],
}
#: Host → addresses of its cards, state and origin of the driver, nouveau, Secure Boot, hypervisor.
HOSTS = {
    "bare_card": (["0000:01:00.0"], "none", "", "possible", "off", ""),
    "container": (["0000:01:00.0"], "none", "", "possible", "none", ""),
    "driver_without_devices": (["0000:01:00.0"], "loaded", "package", "blacklisted", "none", ""),
    "hypervisor": ([], "none", "", "possible", "none", ""),
    "mig": (["0000:07:00.0", "0000:0f:00.0"], "working", "package", "blacklisted", "none", ""),
    "mismatch": (["0000:01:00.0"], "mismatched", "package", "blacklisted", "none", ""),
    "no_card": ([], "none", "", "possible", "off", ""),
    "no_headers": (["0000:01:00.0"], "installed", "package", "blacklisted", "none", ""),
    "nouveau": (["0000:01:00.0"], "none", "", "loaded", "off", ""),
    "nvswitch": (["0000:07:00.0"], "working", "package", "blacklisted", "none", ""),
    "one_card": (["0000:41:00.0"], "working", "package", "blacklisted", "off", ""),
    "operator": (["0000:01:00.0"], "loaded", "operator", "blacklisted", "none", ""),
    "partition": ([], "none", "", "possible", "none", "hyper-v"),
    "pass_through": (["4e4d:00:00.0"], "none", "", "possible", "off", "hyper-v"),
    "secure_boot": (["0000:01:00.0"], "installed", "package", "blacklisted", "on", ""),
    # The firmware checks; shim, which the kernel asks, was told not to.
    "several_cards": (
        ["0000:01:00.0", "0000:41:00.0", "0000:81:00.0", "0000:e1:00.0"],
        *("working", "package", "blacklisted", "off", ""),
    ),
    "vgpu_guest": (["0000:06:00.0"], "working", "runfile", "blacklisted", "none", "kvm"),
    "vgpu_without_driver": (["0000:06:00.0", "0000:07:00.0"], "none", "", "possible", "none", "kvm"),
}


def test_every_recorded_host_has_its_judgement() -> None:
    assert sorted(PROBLEMS) == sorted(HOSTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_host_is_what_was_read_of_it(name: str, tmp_path: Path) -> None:
    found = host(name, tmp_path)
    told = (found.driver.state, found.driver.origin, found.nouveau, found.secure_boot, found.hypervisor)
    assert ([card.address for card in found.cards], *told) == HOSTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_in_the_way_is_named_with_a_next_step(name: str, tmp_path: Path) -> None:
    problems = host(name, tmp_path).problems
    assert [problem.code for problem in problems] == PROBLEMS[name]
    assert all(problem.message and problem.next for problem in problems)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_travels_as_json(name: str, tmp_path: Path) -> None:
    found = host(name, tmp_path).as_dict()
    assert set(json.loads(json.dumps(found))) == set(found)


def test_cards_are_known_by_name_memory_and_load(tmp_path: Path) -> None:
    cards = host("several_cards", tmp_path).cards
    told = [(card.gpu.name, card.gpu.memory_mib, card.gpu.utilisation) for card in cards if card.gpu]
    assert told == [
        ("NVIDIA H100 80GB HBM3", 81559, 0),
        ("NVIDIA H100 80GB HBM3", 81559, None),
        ("NVIDIA L40S", 46068, 0),
    ]
    assert [card.device for card in cards] == ["10de:2330", "10de:2330", "10de:26b9", "10de:26b9"]


def test_versions_of_all_parts_of_a_driver(tmp_path: Path) -> None:
    driver = host("mismatch", tmp_path / "a").driver
    assert (driver.loaded, driver.installed, driver.libraries) == ("535.161.08", "535.183.01", "535.183")
    driver = host("one_card", tmp_path / "b").driver
    assert (driver.loaded, driver.libraries, driver.flavour, driver.cuda) == (
        "535.183.01",
        "535.183.01",
        "proprietary",
        "12.2",
    )
    assert host("mig", tmp_path / "c").driver.flavour == "open"


def test_of_several_libraries_the_one_that_goes_with_the_kernel_counts(tmp_path: Path) -> None:
    several = ("libnvidia-ml.so.470.256.02", "libnvidia-ml.so.535.161.08", "libnvidia-ml.so.550.54.15")
    driver = picture(replace(seen("mismatch", tmp_path), smi=None, libraries=several)).driver
    assert (driver.state, driver.libraries) == ("loaded", "535.161.08")


def test_nouveau_beside_a_driver_that_works_is_no_matter(tmp_path: Path) -> None:
    found = picture(replace(seen("one_card", tmp_path), modules="nouveau 1 0 - Live 0x0\n"))
    assert (found.nouveau, found.problems) == ("loaded", ())


def test_a_card_below_hyper_vs_bus_is_passed_through_whatever_the_maker_is_called(tmp_path: Path) -> None:
    found = picture(replace(seen("pass_through", tmp_path), maker="Contoso", cpuinfo=""))
    assert (found.hypervisor, [card.virtual for card in found.cards]) == ("hyper-v", ["pass_through"])


def test_the_toolkit_and_its_devices(tmp_path: Path) -> None:
    found = host("one_card", tmp_path)
    assert (found.toolkit, [Path(path).name for path in found.cdi]) == ("1.17.4", ["nvidia.yaml"])


def test_only_installed_packages_of_nvidia_count(tmp_path: Path) -> None:
    assert host("one_card", tmp_path).packages == {
        "nvidia-smi": "535.183.01-1~deb12u1",
        "nvidia-kernel-dkms": "535.183.01-1~deb12u1",
        "libcuda1": "535.183.01-1~deb12u1",
        "libnvidia-ml1": "535.183.01-1~deb12u1",
    }


def test_a_card_is_whole_passed_through_or_shared(tmp_path: Path) -> None:
    shown = {
        name: [card.virtual for card in host(name, tmp_path / name).cards]
        for name in ("one_card", "pass_through", "vgpu_without_driver", "vgpu_guest")
    }
    assert shown == {
        "one_card": ["no"],
        "pass_through": ["pass_through"],
        "vgpu_without_driver": ["vgpu", "pass_through"],
        "vgpu_guest": ["vgpu"],
    }


def test_instances_of_a_divided_card(tmp_path: Path) -> None:
    divided, pending = host("mig", tmp_path).cards
    assert divided.gpu
    assert pending.gpu
    assert (divided.gpu.mig_mode, divided.gpu.mig_devices) == ("enabled", (19968, 9856, 9856))
    assert (pending.gpu.mig_mode, pending.gpu.mig_pending, pending.gpu.mig_devices) == ("disabled", "enabled", ())


def test_secure_boot_takes_signed_modules_only_and_so_does_a_locked_kernel(tmp_path: Path) -> None:
    assert host("secure_boot", tmp_path / "a").signed_only
    assert not host("several_cards", tmp_path / "b").signed_only
    locked = seen("bare_card", tmp_path / "c").__class__(lockdown="none integrity [confidentiality]")
    assert picture(locked).signed_only


def test_the_verdict_is_json_and_says_why_there_is_none() -> None:
    def told(name: str) -> dict[str, Any]:
        return verdict(Answer(**recorded(name)["answers"]["nvidia-smi"]))

    good = told("mig")
    assert (good["ok"], good["driver"], good["cuda"]) == (True, "550.54.15", "12.4")
    assert [(gpu["name"], gpu["mig"]) for gpu in good["gpus"]] == [
        ("NVIDIA A100-SXM4-40GB", [19968, 9856, 9856]),
        ("NVIDIA A100-SXM4-40GB", None),
    ]
    assert told("mismatch") == {
        "ok": False,
        "said": "Failed to initialize NVML: Driver/library version mismatch NVML library version: 535.183",
        "gpus": [],
    }
    assert verdict(None) == {"ok": False, "said": "there is no nvidia-smi", "gpus": []}


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("00000000:0F:00.0", "0000:0f:00.0"),
        ("00004E4D:00:00.0", "4e4d:00:00.0"),
        ("0000:01:00.0", "0000:01:00.0"),
        ("", ""),
    ],
)
def test_addresses_are_the_kernels(told: str, wanted: str) -> None:
    assert nvidia_smi.address(told) == wanted


@given(st.text(max_size=300), st.integers(0, 255))
def test_whatever_nvidia_smi_says_is_an_answer(printed: str, code: int) -> None:
    for text in (printed, f"<nvidia_smi_log>{printed}"):
        answer = Answer(code, text)
        assert verdict(answer)["ok"] is False
        assert nvidia_smi.gpus(answer) == []


@given(st.binary(max_size=256))
def test_a_configuration_space_is_read_to_its_end_whatever_it_holds(config: bytes) -> None:
    assert is_vgpu(config) in (True, False)
    assert not is_vgpu(config[:64])


def test_the_folder_has_no_other_file() -> None:
    assert [path.name for path in FOLDER.iterdir() if path.suffix != ".yml"] == []
