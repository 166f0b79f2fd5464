"""The charts of the tests: packed alike each time, and naming the images that a bundle has."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundle_builder import parts
from jsonschema import Draft202012Validator

from tests.integration.kubernetes.charts import (
    CHARTS,
    DEFINITION,
    DEVICE_PLUGIN,
    OPERATOR,
    ChartImages,
    pack,
    with_field,
)

BUNDLE = ChartImages(parts.image("gpu-stand-in").reference, parts.image("python").reference)


def inside(path: Path) -> dict[str, str]:
    """Return what a packed chart holds."""
    with tarfile.open(path) as archive:
        opened = {entry.name: archive.extractfile(entry) for entry in archive}
        return {name: stream.read().decode() for name, stream in opened.items() if stream}


def values(chart: str) -> Any:
    return yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))


def problems(chart: str, given: object) -> list[str]:
    """Return what a chart's schema says of values."""
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(given)]


@pytest.mark.parametrize("chart", [OPERATOR, DEVICE_PLUGIN])
def test_the_same_chart_is_the_same_bytes(chart: str, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, second = pack(chart, tmp_path), pack(chart, tmp_path / "again")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sha256 == second.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert set(inside(first.path)) == {
        f"{chart}/{path.relative_to(CHARTS / chart)}"
        for path in (CHARTS / chart).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_another_version_is_another_chart(tmp_path: Path) -> None:
    packed = pack(OPERATOR, tmp_path, version="v0.2.0", app_version="v2", files=with_field("flavour"))
    assert packed.path == tmp_path / "gpu-operator-v0.2.0.tgz"
    chart = yaml.safe_load(inside(packed.path)["gpu-operator/Chart.yaml"])
    assert (chart["version"], chart["appVersion"]) == (packed.version, packed.app_version) == ("v0.2.0", "v2")
    definition = yaml.safe_load(inside(packed.path)[f"gpu-operator/{DEFINITION}"])
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["properties"]["flavour"] == {"type": "string"}


def test_the_charts_own_values_name_the_bundle_s_images() -> None:
    own, given = values(OPERATOR), BUNDLE.operator_values()
    for part, image in given.items():
        found = own[part]["image"] if part == "node-feature-discovery" else own[part]
        wanted = image["image"] if part == "node-feature-discovery" else image
        assert {key: found[key] for key in wanted} == wanted, part
    plugin = values(DEVICE_PLUGIN)["image"]
    assert f"{plugin['repository']}:{plugin['tag']}" == BUNDLE.gpu_stand_in


def test_images_are_those_of_a_manifest(tmp_path: Path) -> None:
    entries = [
        {"kind": "image", "name": "python", "reference": "r.example:5000/x/python:3.11"},
        {"kind": "image", "name": "gpu-stand-in", "reference": "r.example:5000/gpu-stand-in:1"},
        {"kind": "binary", "name": "helm", "reference": ""},
    ]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"artifacts": entries}), encoding="utf-8")
    images = ChartImages.of_bundle(manifest)
    assert images.references == ["r.example:5000/gpu-stand-in:1", "r.example:5000/x/python:3.11"]
    assert images.operator_values()["toolkit"] == {
        "repository": "r.example:5000/x",
        "image": "python",
        "version": "3.11",
    }
    assert images.plugin_values() == {"image": {"repository": "r.example:5000/gpu-stand-in", "tag": "1"}}
    assert problems(OPERATOR, images.operator_values()) == []
    assert problems(DEVICE_PLUGIN, images.plugin_values()) == []


@pytest.mark.parametrize("chart", [OPERATOR, DEVICE_PLUGIN])
def test_a_schema_takes_the_chart_s_own_values(chart: str) -> None:
    assert problems(chart, values(chart)) == []


@pytest.mark.parametrize(
    ("chart", "given", "place"),
    [
        (OPERATOR, {"drivers": {}}, "$"),
        (OPERATOR, {"driver": {"tag": "1"}}, "$.driver"),
        (OPERATOR, {"driver": {"enabled": "false"}}, "$.driver.enabled"),
        (OPERATOR, {"driver": {"version": 535}}, "$.driver.version"),
        (OPERATOR, {"toolkit": {"imagePullSecrets": [{"name": "login"}]}}, "$.toolkit.imagePullSecrets[0]"),
        (OPERATOR, {"devicePlugin": {"config": {"data": {"two": {}}}}}, "$.devicePlugin.config.data.two"),
        (OPERATOR, {"mig": {"strategy": "both"}}, "$.mig.strategy"),
        (DEVICE_PLUGIN, {"image": {"version": "1"}}, "$.image"),
        (DEVICE_PLUGIN, {"imagePullSecrets": ["login"]}, "$.imagePullSecrets[0]"),
        (DEVICE_PLUGIN, {"tolerations": [{"operator": "exists"}]}, "$.tolerations[0].operator"),
    ],
)
def test_a_schema_refuses_what_is_mistaken(chart: str, given: dict[str, Any], place: str) -> None:
    assert problems(chart, given) == [place]
