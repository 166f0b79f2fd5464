# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words of two package managers: which commands do what, and what their answers mean.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Manager:
    """A package manager's commands.

    Attributes:
        refresh: brings the lists up to date; empty where installing does that itself.
        install: installs the packages that follow.
        versioned: a package in a version, as ``install`` takes it.
        remove: removes the packages that follow, with their configuration where the manager knows of it.
        installed: prints one ``name status`` a line.
        versions: prints one ``name version status`` a line.
        environment: variables that keep it from asking.
    """

    refresh: tuple[str, ...]
    install: tuple[str, ...]
    versioned: str
    remove: tuple[str, ...]
    installed: tuple[str, ...]
    versions: tuple[str, ...]
    environment: Mapping[str, str]


_APT = ("apt-get", "--yes", "--quiet", "--option", "DPkg::Lock::Timeout=300")
APT = Manager(
    refresh=(*_APT, "update"),
    install=(*_APT, "--no-install-recommends", "--option", "Dpkg::Options::=--force-confold", "install"),
    versioned="{name}={version}",
    remove=(*_APT, "purge"),
    installed=("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n"),
    versions=("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${db:Status-Status}\n"),
    environment={"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"},
)
DNF = Manager(
    refresh=(),
    install=("dnf", "--assumeyes", "--quiet", "--setopt=install_weak_deps=False", "install"),
    versioned="{name}-{version}",
    remove=("dnf", "--assumeyes", "--quiet", "remove"),
    installed=("rpm", "--query", "--all", "--queryformat", "%{NAME} installed\n"),
    versions=("rpm", "--query", "--all", "--queryformat", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} installed\n"),
    environment={},
)
MANAGERS = {"apt": APT, "dnf": DNF}


def installed(listing: str) -> set[str]:
    """Return the names of a manager's list that are installed; removed ones leave a line with another status."""
    lines = [line.split() for line in listing.splitlines()]
    return {line[0] for line in lines if len(line) == 2 and line[1] == "installed"}


def named(manager: Manager, packages: Mapping[str, str], there: Iterable[str]) -> list[str]:
    """Return the packages that are not there, named as the manager wants, with a version where one is asked for."""
    missing = sorted(set(packages) - set(there))
    return [manager.versioned.format(name=name, version=packages[name]) if packages[name] else name for name in missing]


def wanted(programs: Mapping[str, str], missing: Iterable[str]) -> list[str]:
    """Return the packages that hold programs which are missing, each once."""
    return sorted({programs[name] for name in missing})
