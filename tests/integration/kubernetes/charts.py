"""Charts of our own that stand in for NVIDIA's: packed in any version, with the images that a bundle has for them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
CHARTS = ROOT / "tests/fixtures/charts"
OPERATOR, DEVICE_PLUGIN = "gpu-operator", "nvidia-device-plugin"
#: Where the operator's chart has the definition of its kind.
DEFINITION = "crds/nvidia.com_clusterpolicies.yaml"
#: Parts of the operator's chart whose pods only wait; of the driver there is no image.
_WAITING = ("operator", "validator", "toolkit", "dcgm", "dcgmExporter", "gfd", "migManager", "nodeStatusExporter")


@dataclass(frozen=True)
class Packed:
    """A chart as one file.

    Attributes:
        path: where it is.
        sha256: of the file.
        version: of the chart.
        app_version: of what it installs.
    """

    path: Path
    sha256: str
    version: str
    app_version: str


def pack(
    name: str, folder: Path, *, version: str = "", app_version: str = "", files: Mapping[str, str] | None = None
) -> Packed:
    """Pack a chart; the same gives the same bytes.

    Args:
        name: of the chart, a folder of `tests/fixtures/charts`.
        folder: where the packed chart goes.
        version: another than the chart's own.
        app_version: likewise.
        files: path in the chart → text that is there instead, or besides.
    """
    contents = {
        str(path.relative_to(CHARTS / name)): path.read_text(encoding="utf-8")
        for path in (CHARTS / name).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    contents |= files or {}
    for key, value in (("version", version), ("appVersion", app_version)):
        if value:
            contents["Chart.yaml"] = re.sub(rf"(?m)^{key}: .*$", f"{key}: {json.dumps(value)}", contents["Chart.yaml"])
    said = yaml.safe_load(contents["Chart.yaml"])
    packed = _compressed({f"{name}/{path}": text for path, text in contents.items()})
    target = folder / f"{name}-{said['version']}.tgz"
    target.write_bytes(packed)
    return Packed(target, hashlib.sha256(packed).hexdigest(), str(said["version"]), str(said["appVersion"]))


def with_field(name: str) -> dict[str, str]:
    """Return what `pack` is given for an operator's chart whose definition knows one more field of a ClusterPolicy."""
    definition = yaml.safe_load((CHARTS / OPERATOR / DEFINITION).read_text(encoding="utf-8"))
    for version in definition["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][name] = {"type": "string"}
    return {DEFINITION: yaml.safe_dump(definition)}


def _compressed(contents: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    # Neither a name nor a time: another day's file is the same.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        for path, text in sorted(contents.items()):
            data = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


@dataclass(frozen=True)
class ChartImages:
    """What the charts' pods run.

    Attributes:
        gpu_stand_in: reference of the device plugin.
        python: reference of what runs everything else.
    """

    gpu_stand_in: str
    python: str

    @classmethod
    def of_bundle(cls, manifest: Path = ROOT / "build/bundle/manifest.json") -> ChartImages:
        """Return the images that a bundle has."""
        artifacts = json.loads(manifest.read_text(encoding="utf-8"))["artifacts"]
        found = {entry["name"]: str(entry["reference"]) for entry in artifacts if entry["kind"] == "image"}
        return cls(found["gpu-stand-in"], found["python"])

    @property
    def references(self) -> list[str]:
        """What has to be on each node, or in its registry."""
        return [self.gpu_stand_in, self.python]

    def operator_values(self) -> dict[str, Any]:
        """Return values of the operator's chart that name these images; the chart's own name those of a bundle."""
        repository, tag = _apart(self.python)
        values: dict[str, Any] = {part: _in_three(self.python) for part in _WAITING}
        values["devicePlugin"] = _in_three(self.gpu_stand_in)
        values["node-feature-discovery"] = {"image": {"repository": repository, "tag": tag}}
        return values

    def plugin_values(self) -> dict[str, Any]:
        """Return the same for the device plugin's chart."""
        repository, tag = _apart(self.gpu_stand_in)
        return {"image": {"repository": repository, "tag": tag}}


def _apart(reference: str) -> tuple[str, str]:
    repository, _, tag = reference.rpartition(":")
    return repository, tag


def _in_three(reference: str) -> dict[str, str]:
    path, version = _apart(reference)
    repository, _, image = path.rpartition("/")
    return {"repository": repository, "image": image, "version": version}
