# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the trainer's image is made of, what it is called for that, and where its bytes go.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Raised when the same inputs are made into something else.
RECIPE = 1
#: What a layer of the base is called.
BASE = "base"
#: Every file of the image's own layers has this time, so that the same files are the same layer: 1980-01-01.
LONG_AGO = 315532800
#: The layers over the base's, in the Containerfile's order.
LAYERS = ("tensorflow", "packages", "byte code of Python's library", "data", "trainer")
#: glibc versions whose wheels any base from 2.28 on runs, newest first; pip takes one that fits.
_GLIBC = ("2_28", "2_27", "2_25", "2_24", "2_17", "2_12", "2_5")
_OLD_NAMES = ("manylinux2014", "manylinux2010", "manylinux1")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;#]+)")
_NAME = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Pin:
    """One package in one version, as a requirements file has it."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


#: What installs while the image is built. Any version could; one that is chosen makes the same image of the same pins.
INSTALLER = Pin("pip", "26.3")


def canonical(name: str) -> str:
    """Return a package's name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(requirements: str) -> tuple[list[Pin], list[str]]:
    """Return what a requirements file pins, and the lines that pin nothing."""
    found, wrong = [], []
    for line in requirements.splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        match = _PIN.fullmatch(text.partition(";")[0].strip())
        if match:
            found.append(Pin(*match.groups()))
        else:
            wrong.append(text)
    return found, wrong


def wheel_of(pin: Pin, files: Iterable[str]) -> str | None:
    """Return the wheel of a pin among file names."""
    for name in sorted(files):
        package, _unused, rest = name.partition("-")
        if name.endswith(".whl") and canonical(package) == canonical(pin.name):
            version = rest.partition("-")[0]
            if version.replace("_", "+") == pin.version.replace("_", "+"):
                return name
    return None


def platforms(architecture: str) -> list[str]:
    """Return the tags of wheels that a Linux of an architecture runs, as pip wants them."""
    machine = MACHINES[architecture]
    old = [f"{name}_{machine}" for name in (_OLD_NAMES if machine == "x86_64" else _OLD_NAMES[:1])]
    return [*(f"manylinux_{version}_{machine}" for version in _GLIBC), *old]


def download_options(architecture: str, python: str) -> list[str]:
    """Return pip's options for wheels of the image's Python and machine, whatever pip itself runs on."""
    compact = python.replace(".", "")
    options = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    options += [word for abi in (f"cp{compact}", "abi3", "none") for word in ("--abi", abi)]
    return options + [word for name in platforms(architecture) for word in ("--platform", name)]


def content_tag(inputs: Mapping[str, object]) -> str:
    """Return the tag of an image: the digest of everything that decides how it comes out."""
    text = json.dumps({"recipe": RECIPE, **inputs}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def layer_names(count: int) -> list[str]:
    """Return what each of an image's layers holds, the base's first."""
    return [BASE] * (count - len(LAYERS)) + list(LAYERS)


def table(layers: Iterable[Mapping[str, object]]) -> str:
    """Return layers, what is compressed and what is unpacked, as lines for people."""
    rows = [(str(layer["name"]), int(str(layer["size"])), int(str(layer["unpacked"]))) for layer in layers]
    rows.append(("together", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(row[0]) for row in rows)
    head = "{:{}} {:>12} {:>14}".format("layer", width, "compressed", "unpacked")
    return "\n".join([head, *("{:{}} {:>12,} {:>14,}".format(row[0], width, row[1], row[2]) for row in rows)])


def is_repository(name: str) -> bool:
    """Tell whether a name can be an image's, without registry and tag."""
    return _NAME.fullmatch(name) is not None


def is_tag(name: str) -> bool:
    """Tell whether a text can be a tag."""
    return _TAG.fullmatch(name) is not None


def is_registry(name: str) -> bool:
    """Tell whether a text is ``host`` or ``host:port``."""
    return (
        re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?", name)
        is not None
    )
