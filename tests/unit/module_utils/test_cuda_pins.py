"""The image for GPUs is the other one with another build of TensorFlow, and its wheels are ones that pip fetches."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jinja2 import Environment

from ansible_collections.dtf.cluster.plugins.module_utils.image_plan import Pin, canonical, pins, platforms, wheel_of

ROOT = Path(__file__).resolve().parents[3]
DEFAULTS = ROOT / "roles" / "trainer_image" / "defaults" / "main.yml"
#: As the index names those that are not in the other flavour.
WHEELS = (
    "nvidia_cublas_cu12-12.9.3.13-py3-none-manylinux_2_27_x86_64.whl",
    "nvidia_cuda_cupti_cu12-12.9.79-py3-none-manylinux_2_25_x86_64.whl",
    "nvidia_cuda_nvcc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
    "nvidia_cuda_nvrtc_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
    "nvidia_cuda_runtime_cu12-12.9.79-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "nvidia_cudnn_cu12-9.28.0.42-py3-none-manylinux_2_27_x86_64.whl",
    "nvidia_cufft_cu12-11.4.1.4-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "nvidia_curand_cu12-10.3.10.19-py3-none-manylinux_2_27_x86_64.whl",
    "nvidia_cusolver_cu12-11.7.5.82-py3-none-manylinux_2_27_x86_64.whl",
    "nvidia_cusparse_cu12-12.5.10.65-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "nvidia_nccl_cu12-2.32.3-py3-none-manylinux_2_27_x86_64.whl",
    "nvidia_nvjitlink_cu12-12.9.86-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
    "tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl",
)


def pinned(flavour: str) -> dict[str, Pin]:
    """Return name → pin of a flavour, as the role's default chooses its file."""
    path = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["trainer_image_requirements"]
    values = {"role_path": str(ROOT / "roles" / "trainer_image"), "trainer_image_flavour": flavour}
    environment = Environment(autoescape=False)
    environment.filters["dirname"] = lambda text: str(Path(text).parent)
    found, wrong = pins(Path(environment.from_string(path).render(values)).read_text(encoding="utf-8"))
    assert wrong == []
    return {canonical(pin.name): pin for pin in found}


def test_both_flavours_have_the_same_packages_beside_tensorflow() -> None:
    cpu, cuda = pinned("cpu"), pinned("cuda")
    assert cpu.pop("tensorflow-cpu").version == cuda.pop("tensorflow").version
    libraries = {name for name in cuda if name.startswith("nvidia-")}
    assert {name: pin for name, pin in cuda.items() if name not in libraries} == cpu
    assert len(libraries) == len(WHEELS) - 1


@pytest.mark.parametrize("wheel", WHEELS)
def test_each_wheel_is_one_that_pip_is_asked_for(wheel: str) -> None:
    tags = wheel.removesuffix(".whl").rpartition("-")[2].split(".")
    assert set(tags) & set(platforms("amd64"))
    assert [pin for pin in pinned("cuda").values() if wheel_of(pin, [wheel])]
