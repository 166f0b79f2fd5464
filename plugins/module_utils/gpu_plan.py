# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done to a host's NVIDIA driver, decided from the picture of its GPUs and nothing else.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .errors import InvalidInput, Problem

BUILDS = ("dkms", "precompiled")
FLAVOURS = ("proprietary", "open")
SOURCES = ("distribution", "nvidia")
_VERSION = re.compile(r"[0-9]{3}(\.[0-9]+){0,2}")


@dataclass(frozen=True)
class Wanted:
    """What the user asks for.

    Attributes:
        version: a branch (``535``) or a version of it (``535.183.01``).
        source: whose package repository.
        build: ``dkms`` compiles the module on the host, ``precompiled`` is one that was signed.
        flavour: ``proprietary``, or ``open`` for cards from Turing on.
        packages: packages in place of the table's, name to version.
        table: what the host's system calls them: source → build → flavour → name to version, with ``{version}``,
            ``{branch}`` and ``{kernel}``; a version is empty for whatever there is.
        held: patterns of the packages that are all of one version.
        without_card: install even where there is no card, as for an image of a host.
        secure_boot_ok: the key that dkms signs with is enrolled.
    """

    version: str
    source: str
    build: str
    flavour: str
    packages: Mapping[str, str]
    table: Mapping[str, Any]
    held: Sequence[str]
    without_card: bool = False
    secure_boot_ok: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        action: ``nothing`` (no card), ``leave`` (somebody else's driver), ``install``, or ``refuse``.
        message: that in a sentence.
        packages: name to version, with ``*`` for whatever follows.
        pin: the version that packages are held at.
        blacklist: whether nouveau is kept from loading.
        load: whether the module can be loaded without a restart.
        restart: why the host has to restart; empty if it has not.
        toolkit: whether containers can be given its cards.
        verify: whether the driver has to work in the end.
    """

    action: str
    message: str
    packages: Mapping[str, str] = field(default_factory=dict)
    pin: str = ""
    blacklist: bool = False
    load: bool = False
    restart: str = ""
    toolkit: bool = False
    verify: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


def wanted(options: Mapping[str, Any]) -> Wanted:
    """Return what the user asks for.

    Raises:
        InvalidInput: with every problem.
    """
    problems = []
    version = str(options["version"])
    if not _VERSION.fullmatch(version):
        problems.append(
            Problem("nvidia_driver_version", version, "a branch such as 535, or a version such as 535.183.01")
        )
    for name, accepted in (("source", SOURCES), ("build", BUILDS), ("flavour", FLAVOURS)):
        if options[name] not in accepted:
            problems.append(Problem(f"nvidia_driver_{name}", options[name], " or ".join(accepted)))
    asked = Wanted(**{**options, "version": version})
    if not problems and not asked.packages and not _of_table(asked):
        known = [
            f"{source}, {build}, {flavour}"
            for source, builds in asked.table.items()
            for build, flavours in builds.items()
            for flavour in flavours
        ]
        given = f"{asked.source}, {asked.build}, {asked.flavour}"
        problems.append(
            Problem("nvidia_driver_source, _build, _flavour", given, "; ".join(known) + "; or nvidia_driver_packages")
        )
    if problems:
        raise InvalidInput("nvidia_driver", problems)
    return asked


def plan(gpu: Mapping[str, Any], asked: Wanted) -> Plan:
    """Return what is to be done to a host.

    Args:
        gpu: the fact that :class:`gpu_facts.Picture` becomes.
        asked: what the user asks for.
    """
    cards, driver = gpu["cards"], gpu["driver"]
    if not cards and not asked.without_card:
        return Plan("nothing", _no_card(gpu))
    if cards and driver["state"] != "none" and driver["origin"] != "collection":
        return _left_alone(gpu)
    refusal = _refusal(gpu, asked)
    if refusal:
        return Plan("refuse", refusal)
    restart = _restart(gpu)
    pin = _pin(gpu, asked)
    fresh = driver["state"] in ("none", "installed") and bool(cards) and not gpu["container"]
    return Plan(
        action="install",
        message=f"driver {pin} for {_counted(len(cards))}" if cards else f"driver {pin}, though no card is here",
        packages=_packages(gpu, asked),
        pin=pin,
        blacklist=True,
        load=fresh and not restart,
        restart=restart,
        toolkit=True,
        verify=bool(cards),
    )


def _no_card(gpu: Mapping[str, Any]) -> str:
    """Return that there is nothing to do, with what looks as if there were."""
    reasons = [f"{problem['message']}. {problem['next']}" for problem in gpu["problems"]]
    return "; ".join(["no NVIDIA card that is this host's own to use: nothing to do", *reasons])


def _left_alone(gpu: Mapping[str, Any]) -> Plan:
    """Return a plan for a driver that somebody else has installed, and will look after."""
    driver = gpu["driver"]
    version = driver["loaded"] or driver["installed"] or driver["libraries"] or "of unknown version"
    message = f"driver {version} ({driver['origin']}) was there before and is left alone"
    # The operator brings the toolkit, and nvidia-smi is in its container.
    operated = driver["origin"] == "operator"
    return Plan("leave", message, restart=_restart(gpu), toolkit=not operated, verify=not operated)


def _refusal(gpu: Mapping[str, Any], asked: Wanted) -> str:
    """Return why nothing can be installed; empty if something can."""
    if gpu["cards"] and gpu["container"]:
        return _told(gpu, "container")
    if any(card["virtual"] == "vgpu" for card in gpu["cards"]):
        return _told(gpu, "vgpu_needs_its_driver")
    if (
        asked.build == "dkms"
        and gpu["signed_only"]
        and gpu["driver"]["state"] in ("none", "installed")
        and not asked.secure_boot_ok
    ):
        return (
            "this kernel takes signed modules only (Secure Boot), and dkms signs with a key of the host's own. Choose "
            "nvidia_driver_build: precompiled where the distribution has it; or enrol that key (mokutil --import "
            "/var/lib/dkms/mok.pub, restart, confirm at the console) and say so by nvidia_driver_secure_boot_ok: true"
        )
    return ""


def _told(gpu: Mapping[str, Any], code: str) -> str:
    found = next((problem for problem in gpu["problems"] if problem["code"] == code), None)
    return f"{found['message']}. {found['next']}" if found else f"{code} stands in the way"


def _restart(gpu: Mapping[str, Any]) -> str:
    """Return why the host has to restart before its cards are of use; empty if it has not."""
    driver = gpu["driver"]
    if not gpu["cards"]:
        return ""
    if gpu["nouveau"] == "loaded" and driver["state"] != "working":
        return "nouveau is loaded and has the cards"
    if driver["state"] == "mismatched":
        return (
            f"the kernel has driver {driver['loaded']} loaded, on disk is {driver['installed'] or driver['libraries']}"
        )
    return ""


def _pin(gpu: Mapping[str, Any], asked: Wanted) -> str:
    """Return the version that packages are held at: the installed one if it is what is asked for, else that."""
    for name, version in sorted(gpu["packages"].items()):
        upstream = re.sub(r"^[0-9]+:", "", version).partition("-")[0]
        if any(fnmatchcase(name, pattern) for pattern in asked.held) and _fits(upstream, asked.version):
            return upstream
    return asked.version


def _fits(version: str, asked: str) -> bool:
    return version == asked or version.startswith(asked + ".")


def _of_table(asked: Wanted) -> Mapping[str, str]:
    builds = asked.table.get(asked.source) or {}
    found: Mapping[str, str] = (builds.get(asked.build) or {}).get(asked.flavour) or {}
    return found


def _packages(gpu: Mapping[str, Any], asked: Wanted) -> dict[str, str]:
    values = {
        "version": asked.version + "*" if asked.version.count(".") > 1 else asked.version + ".*",
        "branch": asked.version.partition(".")[0],
        "kernel": gpu["kernel"],
    }
    chosen = asked.packages or _of_table(asked)
    return {str(name).format(**values): str(version).format(**values) for name, version in chosen.items()}


def _counted(cards: int) -> str:
    return "1 card" if cards == 1 else f"{cards} cards"
