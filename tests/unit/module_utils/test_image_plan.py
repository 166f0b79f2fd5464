"""What the trainer's image is made of, what it is called for that, and how its bytes are told."""

from __future__ import annotations

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.image_plan import (
    LAYERS,
    Pin,
    content_tag,
    download_options,
    is_registry,
    is_repository,
    layer_names,
    pins,
    table,
    wheel_of,
)

FILES = [
    "tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl",
    "tensorflow_cpu-2.20.0-cp311-cp311-manylinux_2_27_x86_64.whl",
    "opt_einsum-3.4.0-py3-none-any.whl",
    "pygments-2.21.0-py3-none-any.whl",
    "numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl.partial",
]


def test_pins_and_lines_that_pin_nothing() -> None:
    text = "# why\nabsl-py==2.5.1  # logs\n\nnumpy>=2\nml_dtypes==0.6.0 ; python_version > '3.9'\n-r other.txt\n"
    found, wrong = pins(text)
    assert found == [Pin("absl-py", "2.5.1"), Pin("ml_dtypes", "0.6.0")]
    assert wrong == ["numpy>=2", "-r other.txt"]


@pytest.mark.parametrize(
    ("pin", "wheel"),
    [
        (Pin("tensorflow-cpu", "2.21.0"), FILES[0]),
        (Pin("Opt.Einsum", "3.4.0"), FILES[2]),
        (Pin("Pygments", "2.21.0"), FILES[3]),
        (Pin("pygments", "2.2"), None),
        (Pin("tensorflow", "2.21.0"), None),
        (Pin("numpy", "2.4.6"), None),
    ],
)
def test_the_wheel_of_a_pin(pin: Pin, wheel: str | None) -> None:
    assert wheel_of(pin, FILES) == wheel


def test_wheels_are_for_the_image_not_for_the_controller() -> None:
    options = download_options("arm64", "3.12")
    assert "--only-binary=:all:" in options
    assert options[options.index("--python-version") + 1] == "3.12"
    asked = {options[place + 1] for place, word in enumerate(options) if word in ("--abi", "--platform")}
    assert {"cp312", "none", "manylinux_2_28_aarch64", "manylinux2014_aarch64"} <= asked
    assert not [name for name in asked if "x86_64" in name or name == "manylinux1_aarch64"]


def test_any_input_is_another_tag() -> None:
    inputs = {"base": "b" * 64, "architecture": "amd64", "files": {"Containerfile": "c" * 64, "data/mnist/x": "d" * 64}}
    tag = content_tag(inputs)
    assert content_tag(dict(reversed(inputs.items()))) == tag
    others = [
        {**inputs, "base": "a" * 64},
        {**inputs, "architecture": "arm64"},
        {**inputs, "files": {"Containerfile": "c" * 64}},
        {**inputs, "files": {"Containerfile": "d" * 64, "data/mnist/x": "c" * 64}},
    ]
    assert len({tag, *map(content_tag, others)}) == len(others) + 1
    assert len(tag) == 16


def test_layers_above_the_base_have_the_names_of_the_containerfile() -> None:
    assert layer_names(len(LAYERS) + 2) == ["base", "base", *LAYERS]


def test_a_table_of_layers_adds_up() -> None:
    layers = [{"name": "base", "size": 1200, "unpacked": 34000}, {"name": "trainer", "size": 34, "unpacked": 567}]
    assert table(layers).splitlines() == [
        "layer      compressed       unpacked",
        "base            1,200         34,000",
        "trainer            34            567",
        "together        1,234         34,567",
    ]


@pytest.mark.parametrize("name", ["registry", "registry.example:5000", "172.30.31.1:5000", "[::1]:5000", "localhost"])
def test_a_registry(name: str) -> None:
    assert is_registry(name)


@pytest.mark.parametrize("name", ["https://registry", "registry/path", "registry:", "-x", "", "reg istry", ":5000"])
def test_no_registry(name: str) -> None:
    assert not is_registry(name)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("dtf.cluster/trainer", True),
        ("a__b/c-d", True),
        ("Trainer", False),
        ("a//b", False),
        ("a:1", False),
        ("", False),
    ],
)
def test_repositories(name: str, right: bool) -> None:
    assert is_repository(name) is right
