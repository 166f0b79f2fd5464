"""What is to be done to a host's driver, for each recorded host; and that all that is asked for wrongly is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_facts import picture
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_plan import Plan, plan, wanted
from ansible_collections.dtf.cluster.plugins.module_utils.package_lists import APT, DNF, named
from tests.unit.module_utils.gpu_samples import NAMES, seen

ROLE = Path(__file__).resolve().parents[3] / "roles" / "nvidia_driver"
HELD: list[str] = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__nvidia_driver_held"]


def table(system: str) -> dict[str, Any]:
    """Return what a system calls the packages."""
    content: dict[str, Any] = yaml.safe_load((ROLE / "vars" / f"{system}.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = content["__nvidia_driver_table"]
    return found


def asked(system: str = "Debian", **more: Any) -> Mapping[str, Any]:
    """Return the role's options, as its defaults are."""
    given = {"version": "535", "source": "distribution", "build": "dkms", "flavour": "proprietary", "packages": {}}
    return {**given, "table": table(system), "held": HELD, "without_card": False, "secure_boot_ok": False, **more}


def planned(name: str, folder: Path, ours: bool = False, **more: Any) -> Plan:
    """Return what is to be done to a recorded host, whose driver may be this role's."""
    gpu = picture(replace(seen(name, folder), ours=ours)).as_dict()
    return plan(gpu, wanted(asked(**more)))


#: Host → what is done, whether it restarts, whether containers get the cards.
PLANS = {
    "bare_card": ("install", False, True),
    "container": ("refuse", False, False),
    "driver_without_devices": ("leave", False, True),
    "hypervisor": ("nothing", False, False),
    "mig": ("leave", False, True),
    "mismatch": ("leave", True, True),
    "no_card": ("nothing", False, False),
    "no_headers": ("leave", False, True),
    "nouveau": ("install", True, True),
    "nvswitch": ("leave", False, True),
    "one_card": ("leave", False, True),
    "operator": ("leave", False, False),
    "partition": ("nothing", False, False),
    "pass_through": ("install", False, True),
    "secure_boot": ("leave", False, True),
    "several_cards": ("leave", False, True),
    "vgpu_guest": ("leave", False, True),
    "vgpu_without_driver": ("refuse", False, False),
}


def test_every_recorded_host_has_its_plan() -> None:
    assert sorted(PLANS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_host_of_a_mixed_inventory_gets_its_own(name: str, tmp_path: Path) -> None:
    found = planned(name, tmp_path)
    assert (found.action, bool(found.restart), found.toolkit) == PLANS[name]
    assert found.message
    # What is installed is never more than was decided: a host that is left alone has no packages and no blacklist.
    assert bool(found.packages) == found.blacklist == (found.action == "install")


def test_a_fresh_host_gets_the_pinned_packages_and_its_own_headers(tmp_path: Path) -> None:
    found = planned("bare_card", tmp_path)
    assert found.packages == {
        "linux-headers-6.1.0-21-amd64": "",
        "nvidia-kernel-dkms": "535.*",
        "nvidia-smi": "535.*",
        "libcuda1": "535.*",
        "libnvidia-ptxjitcompiler1": "535.*",
        "nvidia-modprobe": "",
    }
    assert (found.pin, found.load, found.verify) == ("535", True, True)


def test_an_exact_version_is_that_version(tmp_path: Path) -> None:
    assert planned("bare_card", tmp_path, version="535.183.01").packages["nvidia-smi"] == "535.183.01*"


@pytest.mark.parametrize(
    ("system", "source", "build", "flavour", "some"),
    [
        ("Debian", "distribution", "dkms", "open", "nvidia-open-kernel-dkms"),
        ("Debian", "nvidia", "dkms", "open", "nvidia-kernel-open-dkms"),
        ("Ubuntu", "distribution", "dkms", "proprietary", "nvidia-headless-535-server"),
        ("Ubuntu", "distribution", "precompiled", "open", "linux-modules-nvidia-535-server-open-6.1.0-21-amd64"),
        ("Ubuntu", "nvidia", "dkms", "open", "nvidia-dkms-535-open"),
        ("Rhel", "nvidia", "dkms", "proprietary", "kmod-nvidia-latest-dkms"),
    ],
)
def test_each_system_has_its_own_names(
    system: str, source: str, build: str, flavour: str, some: str, tmp_path: Path
) -> None:
    found = planned("bare_card", tmp_path, system=system, source=source, build=build, flavour=flavour)
    assert some in found.packages
    assert not [name for name in found.packages if "{" in name or "{" in found.packages[name]]


def test_a_version_that_is_installed_is_held_and_not_the_branch(tmp_path: Path) -> None:
    assert planned("one_card", tmp_path / "a", ours=True).pin == "535.183.01"
    assert planned("one_card", tmp_path / "b", ours=True, version="535.183.01").pin == "535.183.01"
    assert planned("one_card", tmp_path / "c", ours=True, version="550").pin == "550"


def test_our_own_driver_is_not_loaded_again(tmp_path: Path) -> None:
    found = planned("one_card", tmp_path, ours=True)
    assert (found.action, found.load, found.restart) == ("install", False, "")


def test_secure_boot_is_refused_unless_the_key_is_known_or_the_modules_are_signed(tmp_path: Path) -> None:
    signed_only = picture(replace(seen("bare_card", tmp_path), lockdown="none [integrity] confidentiality")).as_dict()
    refused = plan(signed_only, wanted(asked()))
    assert refused.action == "refuse"
    assert "mokutil --import" in refused.message
    assert plan(signed_only, wanted(asked(secure_boot_ok=True))).action == "install"
    assert plan(signed_only, wanted(asked("Ubuntu", build="precompiled"))).action == "install"


def test_our_own_module_that_the_kernel_would_not_take_is_refused_and_not_tried(tmp_path: Path) -> None:
    assert planned("secure_boot", tmp_path / "a", ours=True).action == "refuse"
    found = planned("secure_boot", tmp_path / "b", ours=True, secure_boot_ok=True)
    assert (found.action, found.load, found.pin) == ("install", True, "535.183.01")


def test_what_the_operator_drives_is_the_operators_to_see_to(tmp_path: Path) -> None:
    found = planned("operator", tmp_path)
    assert (found.toolkit, found.verify) == (False, False)
    assert "550.54.15 (operator) was there before" in found.message


def test_an_image_of_a_host_gets_the_packages_without_a_card(tmp_path: Path) -> None:
    found = planned("no_card", tmp_path, without_card=True)
    assert (found.action, found.load, found.restart, found.verify) == ("install", False, "", False)


def test_a_host_with_nothing_to_do_says_what_looks_as_if_there_were(tmp_path: Path) -> None:
    assert planned("no_card", tmp_path / "a").message == "no NVIDIA card that is this host's own to use: nothing to do"
    assert "Add-VMAssignableDevice" in planned("partition", tmp_path / "b").message
    assert "0000:01:00.0" in planned("hypervisor", tmp_path / "c").message


def test_all_that_is_asked_for_wrongly_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as error:
        wanted(asked(version="latest", source="cd", build="dkms", flavour="closed"))
    assert [problem.field for problem in error.value.problems] == [
        "nvidia_driver_version",
        "nvidia_driver_source",
        "nvidia_driver_flavour",
    ]


def test_what_a_system_does_not_have_is_told_with_what_it_has() -> None:
    with pytest.raises(InvalidInput, match="distribution, dkms, open; nvidia, dkms, proprietary"):
        wanted(asked("Debian", build="precompiled"))
    wanted(asked("Debian", build="precompiled", packages={"my-driver": ""}))


def test_packages_are_named_as_their_manager_wants() -> None:
    packages = {"b": "1.2*", "a": "", "c": "9"}
    assert named(APT, packages, ["c"]) == ["a", "b=1.2*"]
    assert named(DNF, packages, ["c"]) == ["a", "b-1.2*"]
