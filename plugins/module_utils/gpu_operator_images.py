# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that the GPU operator or the device plugin will pull, for a registry that is to have them before.

Most are in no workload of the chart: the operator makes the workloads, by the rules that are here.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .errors import InvalidInput, Problem
from .gpu_operator_values import NFD_IMAGE, in_registry, inside, merged


@dataclass(frozen=True)
class Image:
    """An image that is pulled.

    Attributes:
        source: its name where it comes from.
        destination: its name in the site's registry; the same where values have it come from elsewhere.
        name: the destination without its registry's host.
    """

    source: str
    destination: str
    name: str

    def as_dict(self) -> dict[str, str]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class _Part:
    """A part of the operator's chart with an image.

    Attributes:
        path: of its values.
        needs: values that must be true for it to run, or must be a word (``path=word``).
        on_systems: whether its tag is one for each operating system.
        on_kernels: whether it is one for each kernel where drivers are precompiled.
    """

    path: str
    needs: tuple[str, ...] = ()
    on_systems: bool = False
    on_kernels: bool = False


_SANDBOX = "sandboxWorkloads.enabled"
_KATA, _KUBEVIRT = "sandboxWorkloads.mode=kata", "sandboxWorkloads.mode=kubevirt"
_PARTS = (
    _Part("operator"),
    _Part("operator.initContainer"),
    _Part("validator"),
    _Part("driver", ("driver.enabled",), on_systems=True, on_kernels=True),
    _Part("driver.manager", ("driver.enabled",)),
    _Part("gds", ("driver.enabled", "gds.enabled"), on_systems=True),
    _Part("gdrcopy", ("driver.enabled", "gdrcopy.enabled"), on_systems=True),
    *(
        _Part(name, (f"{name}.enabled",))
        for name in ("toolkit", "devicePlugin", "dcgm", "dcgmExporter", "gfd", "migManager", "nodeStatusExporter")
    ),
    _Part("vgpuManager", (_SANDBOX, "vgpuManager.enabled"), on_systems=True),
    _Part("vgpuManager.driverManager", (_SANDBOX, "vgpuManager.enabled")),
    _Part("vgpuDeviceManager", (_SANDBOX, "vgpuDeviceManager.enabled")),
    _Part("vfioManager", (_SANDBOX, "vfioManager.enabled")),
    _Part("vfioManager.driverManager", (_SANDBOX, "vfioManager.enabled")),
    _Part("sandboxDevicePlugin", (_SANDBOX, _KUBEVIRT, "sandboxDevicePlugin.enabled")),
    _Part("kataSandboxDevicePlugin", (_SANDBOX, _KATA, "kataSandboxDevicePlugin.enabled")),
    _Part("ccManager", (_SANDBOX, _KATA, "ccManager.enabled")),
    _Part("draDriver", ("gpuCluster.deployCR",)),
)


def images(
    defaults: Mapping[str, Any],
    values: Mapping[str, Any],
    app_version: str,
    hosts: Iterable[Mapping[str, str]] = (),
    rendered: Iterable[str] = (),
    registry: str = "",
) -> list[Image]:
    """Return each image once, in order of its source.

    Args:
        defaults: the chart's own values.
        values: those that are laid over them.
        app_version: of the chart.
        hosts: ``{os_tag, kernel}`` of the nodes that get the operator's driver.
        rendered: images of workloads, such as those that the chart itself has, by whichever of the two names.
        registry: the site's, for which ``values`` were made; empty for none.

    Raises:
        InvalidInput: where a driver's image would need an operating system that is not known.
    """
    everything = merged(defaults, values)
    if "image" in defaults:
        found = list(_of_plugin(everything, app_version))
    else:
        found = list(_of_operator(everything, app_version, list(hosts)))
    origins = _origins(defaults, registry)
    pulled = {_image(name, origins) for name in found}
    for name in set(rendered) - set(found):
        image = _image(name, origins)
        if image.source == name and not name.startswith(f"{registry}/"):
            # It is in no value of the chart, so nobody has moved it.
            moved = in_registry(name, registry)
            image = Image(name, moved, inside(moved))
        pulled.add(image)
    return sorted(pulled, key=lambda image: (image.source, image.destination))


def reference(repository: str, image: str, version: str) -> str:
    """Return an image's name as the operator makes it; a repository without an image has it in itself."""
    path = "/".join(part for part in (repository, image) if part)
    return f"{path}{'@' if version.startswith('sha256:') else ':'}{version}"


def _of_plugin(values: Mapping[str, Any], app_version: str) -> Iterator[str]:
    image = values["image"]
    yield reference(str(image["repository"]), "", str(image.get("tag") or f"v{app_version}"))


def _of_operator(values: Mapping[str, Any], app_version: str, hosts: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for part in _PARTS:
        own = _at(values, part.path)
        if not isinstance(own, Mapping) or not all(_holds(values, need) for need in part.needs):
            continue
        repository, image, version = (str(own.get(name) or "") for name in ("repository", "image", "version"))
        if not repository and not version and image:
            # A name that is whole already.
            name = image
        elif repository and image:
            name = reference(repository, image, version or app_version)
        else:
            continue
        if part.on_systems and "@sha256:" not in name:
            yield from _of_systems(name, part, bool(_at(values, "driver.usePrecompiled")), hosts)
        else:
            yield name


def _of_systems(name: str, part: _Part, precompiled: bool, hosts: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Return an image for each system, and each kernel where modules are built before."""
    for host in hosts:
        tag, kernel = host.get("os_tag", ""), host.get("kernel", "")
        by_kernel = precompiled and part.on_kernels
        if not tag or (by_kernel and not kernel):
            accepted = "the operating system and kernel of each node that gets the operator's driver"
            raise InvalidInput("gpu_operator_images", [Problem("hosts", dict(host), accepted)])
        yield f"{name}-{kernel}-{tag}" if by_kernel else f"{name}-{tag}"


def _at(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _holds(values: Mapping[str, Any], need: str) -> bool:
    path, equals, word = need.partition("=")
    value = _at(values, path)
    return str(value) == word if equals else bool(value)


def _origins(defaults: Mapping[str, Any], registry: str) -> dict[str, str]:
    """Return repository in the site's registry to where it is upstream."""
    return {in_registry(name, registry): name for name in {NFD_IMAGE, *_repositories(defaults)}}


def _repositories(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if name == "repository" and isinstance(value, str) and value:
            yield value
        elif isinstance(value, Mapping):
            yield from _repositories(value)


def _image(pulled: str, origins: Mapping[str, str]) -> Image:
    """Return an image by the name that nodes pull it by: the site's, or one that the user has given it."""
    source = pulled
    for moved in sorted(origins, key=len, reverse=True):
        if pulled.startswith((f"{moved}/", f"{moved}:", f"{moved}@")):
            source = origins[moved] + pulled[len(moved) :]
            break
    return Image(source, pulled, inside(pulled))
