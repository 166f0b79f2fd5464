"""Every image that will be pulled is in the list, once, and no other; and each has its place in the site's registry."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.dtf.cluster.plugins.filter.gpu_operator_images import gpu_operator_images
from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_operator_images import images, reference

NVIDIA = "nvcr.io/nvidia"
DIGEST = "sha256:" + "5f" * 32
JAMMY = {"os_tag": "ubuntu22.04", "kernel": "5.15.0-113-generic"}
ROCKY = {"os_tag": "rocky9", "kernel": "5.14.0-427.el9.x86_64"}


def part(image: str, version: str = "", repository: str = NVIDIA, **more: Any) -> dict[str, Any]:
    """Return values of a part of the chart."""
    return {"repository": repository, "image": image, **({"version": version} if version else {}), **more}


DEFAULTS: dict[str, Any] = {
    "operator": part("gpu-operator"),
    "validator": part("gpu-operator"),
    "driver": part("driver", "595.1", enabled=True, manager=part("k8s-driver-manager", "v0.12")),
    "gds": part("nvidia-fs", "2.29", enabled=False),
    "toolkit": part("container-toolkit", "v1.20", f"{NVIDIA}/k8s", enabled=True),
    "devicePlugin": part("k8s-device-plugin", "v0.20", enabled=True),
    "gfd": part("k8s-device-plugin", "v0.20", enabled=True),
    "dcgm": part("dcgm", "4.6", enabled=False),
    "dcgmExporter": part("dcgm-exporter", "4.6", f"{NVIDIA}/k8s", enabled=True),
    "migManager": part("k8s-mig-manager", "v0.15", f"{NVIDIA}/cloud-native", enabled=True),
    "sandboxWorkloads": {"enabled": False, "mode": "kubevirt"},
    "vfioManager": part("k8s-driver-manager", "v0.12", enabled=True),
    "vgpuManager": part("vgpu-manager", "", "", enabled=False),
    "sandboxDevicePlugin": part("kubevirt-gpu-device-plugin", "v1.6", enabled=True),
    "ccManager": part("k8s-cc-manager", "v0.4", enabled=True),
    "gpuCluster": {"deployCR": False},
    "draDriver": part("dra-driver-nvidia-gpu", "v0.5"),
}
OFF: dict[str, Any] = {name: {"enabled": False} for name in DEFAULTS if "enabled" in DEFAULTS[name]}


def sources(values: dict[str, Any], **more: Any) -> list[str]:
    """Return where images come from."""
    return [image.source for image in images(DEFAULTS, values, "v26.7", **more)]


def test_what_is_enabled_is_listed_once_and_in_order() -> None:
    assert sources({"driver": {"enabled": False}}) == [
        f"{NVIDIA}/cloud-native/k8s-mig-manager:v0.15",
        f"{NVIDIA}/gpu-operator:v26.7",
        f"{NVIDIA}/k8s-device-plugin:v0.20",
        f"{NVIDIA}/k8s/container-toolkit:v1.20",
        f"{NVIDIA}/k8s/dcgm-exporter:4.6",
    ]


def test_what_is_switched_off_is_left_out() -> None:
    assert sources(OFF) == [f"{NVIDIA}/gpu-operator:v26.7"]
    assert sources({**OFF, "operator": {"version": "v1"}}) == [
        f"{NVIDIA}/gpu-operator:v1",
        f"{NVIDIA}/gpu-operator:v26.7",
    ]


def test_a_driver_is_an_image_for_each_system() -> None:
    values = {**OFF, "driver": {"enabled": True}, "gds": {"enabled": True}}
    assert sources(values, hosts=[JAMMY, ROCKY, {**JAMMY, "kernel": "6.8.0"}]) == [
        f"{NVIDIA}/driver:595.1-rocky9",
        f"{NVIDIA}/driver:595.1-ubuntu22.04",
        f"{NVIDIA}/gpu-operator:v26.7",
        f"{NVIDIA}/k8s-driver-manager:v0.12",
        f"{NVIDIA}/nvidia-fs:2.29-rocky9",
        f"{NVIDIA}/nvidia-fs:2.29-ubuntu22.04",
    ]


def test_a_precompiled_driver_is_an_image_for_each_kernel() -> None:
    values = {**OFF, "driver": {"enabled": True, "usePrecompiled": True, "version": "595"}, "gds": {"enabled": True}}
    found = sources(values, hosts=[JAMMY])
    assert f"{NVIDIA}/driver:595-5.15.0-113-generic-ubuntu22.04" in found
    assert f"{NVIDIA}/nvidia-fs:2.29-ubuntu22.04" in found


def test_a_driver_by_its_digest_is_the_same_everywhere() -> None:
    values = {**OFF, "driver": {"enabled": True, "version": DIGEST}}
    assert f"{NVIDIA}/driver@{DIGEST}" in sources(values, hosts=[JAMMY])


def test_a_system_that_is_not_known_is_asked_for() -> None:
    with pytest.raises(InvalidInput, match="operating system"):
        sources({"driver": {"enabled": True}}, hosts=[{"os_tag": "", "kernel": "6.8.0"}])
    with pytest.raises(AnsibleFilterError, match="operating system"):
        gpu_operator_images({}, DEFAULTS, "v26.7", hosts=[{"kernel": "6.8.0"}])
    assert gpu_operator_images(OFF, DEFAULTS, "v26.7", hosts=[{"kernel": "6.8.0"}])


def test_guests_have_images_only_where_there_are_guests() -> None:
    values: dict[str, Any] = {name: value for name, value in OFF.items() if name not in ("vfioManager", "ccManager")}
    del values["sandboxDevicePlugin"]
    assert len(sources(values)) == 1
    assert sources({**values, "sandboxWorkloads": {"enabled": True}}) == [
        f"{NVIDIA}/gpu-operator:v26.7",
        f"{NVIDIA}/k8s-driver-manager:v0.12",
        f"{NVIDIA}/kubevirt-gpu-device-plugin:v1.6",
    ]
    found = sources({**values, "sandboxWorkloads": {"enabled": True, "mode": "kata"}})
    assert f"{NVIDIA}/k8s-cc-manager:v0.4" in found
    assert f"{NVIDIA}/kubevirt-gpu-device-plugin:v1.6" not in found


def test_the_other_stack_has_an_image_of_its_own() -> None:
    assert f"{NVIDIA}/dra-driver-nvidia-gpu:v0.5" in sources({**OFF, "gpuCluster": {"deployCR": True}})


def test_a_name_that_is_whole_stays_as_it_is() -> None:
    values = {
        **OFF,
        "toolkit": {"enabled": True, "repository": "", "version": "", "image": f"mine.example/tk@{DIGEST}"},
    }
    assert f"mine.example/tk@{DIGEST}" in sources(values)


@pytest.mark.parametrize(("version", "name"), [("v1", "nvcr.io/nvidia/x:v1"), (DIGEST, f"nvcr.io/nvidia/x@{DIGEST}")])
def test_a_digest_is_joined_by_its_own_sign(version: str, name: str) -> None:
    assert reference(NVIDIA, "x", version) == name


def test_each_image_has_its_place_in_the_sites_registry() -> None:
    registry = "reg.example:5000/mirror"
    values = {
        **OFF,
        "operator": {"repository": f"{registry}/nvidia"},
        "validator": {"repository": f"{registry}/nvidia"},
        "toolkit": {"enabled": True, "repository": f"{registry}/nvidia/k8s"},
        "dcgm": {"enabled": True, "repository": "mine.example/nvidia"},
    }
    rendered = [f"{registry}/nfd/node-feature-discovery:v0.19", f"{registry}/nvidia/gpu-operator:v26.7"]
    found = images(DEFAULTS, values, "v26.7", rendered=rendered, registry=registry)
    assert [(image.source, image.destination, image.name) for image in found] == [
        ("mine.example/nvidia/dcgm:4.6", "mine.example/nvidia/dcgm:4.6", "nvidia/dcgm:4.6"),
        (f"{NVIDIA}/gpu-operator:v26.7", f"{registry}/nvidia/gpu-operator:v26.7", "mirror/nvidia/gpu-operator:v26.7"),
        (
            f"{NVIDIA}/k8s/container-toolkit:v1.20",
            f"{registry}/nvidia/k8s/container-toolkit:v1.20",
            "mirror/nvidia/k8s/container-toolkit:v1.20",
        ),
        (
            "registry.k8s.io/nfd/node-feature-discovery:v0.19",
            f"{registry}/nfd/node-feature-discovery:v0.19",
            "mirror/nfd/node-feature-discovery:v0.19",
        ),
    ]


def test_the_plugins_chart_has_one_image() -> None:
    defaults = {"image": {"repository": f"{NVIDIA}/k8s-device-plugin", "tag": ""}}
    (found,) = images(defaults, {}, "0.20.0")
    assert found.as_dict() == {
        "source": f"{NVIDIA}/k8s-device-plugin:v0.20.0",
        "destination": f"{NVIDIA}/k8s-device-plugin:v0.20.0",
        "name": "nvidia/k8s-device-plugin:v0.20.0",
    }
    moved = {"image": {"repository": "reg.example/nvidia/k8s-device-plugin", "tag": "v1"}}
    (found,) = images(defaults, moved, "0.20.0", registry="reg.example")
    assert (found.source, found.destination) == (
        f"{NVIDIA}/k8s-device-plugin:v1",
        "reg.example/nvidia/k8s-device-plugin:v1",
    )


def test_what_is_in_no_value_of_the_chart_has_its_place_too() -> None:
    sample = f"{NVIDIA}/k8s/cuda-sample:vectoradd"
    found = images(DEFAULTS, OFF, "v26.7", rendered=[sample, f"{NVIDIA}/gpu-operator:v26.7"], registry="reg.example")
    assert [(image.source, image.destination) for image in found] == [
        # Values that were not made for the registry have it come from where it is.
        (f"{NVIDIA}/gpu-operator:v26.7", f"{NVIDIA}/gpu-operator:v26.7"),
        (sample, "reg.example/nvidia/k8s/cuda-sample:vectoradd"),
    ]
    assert [image.destination for image in images(DEFAULTS, OFF, "v26.7", rendered=[sample])][1] == sample
