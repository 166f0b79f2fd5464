# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads of a host what `gpu_facts.py` judges: files of the kernel, and four programs where they are there.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from .gpu_facts import PciDevice, Seen
from .host_files import read, read_state
from .nvidia_smi import Answer
from .package_lists import MANAGERS
from .programs import SEARCH_PATH, TimedOut, run

#: Under what name the host remembers the packages of the driver that the collection installed.
STATE = "packages-nvidia_driver"
#: A card that hangs lets nvidia-smi wait for it for ever.
_PATIENCE = 90.0
_EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
_LIBRARY_FOLDERS = ("usr/lib", "usr/lib64", "usr/lib/*-linux-gnu", "usr/lib/*-linux-gnu/nvidia/*")

#: Runs a program: how it ended, or ``None`` where the host has none of that name.
Asking = Callable[[list[str]], "Answer | None"]


def ask(command: list[str]) -> Answer | None:
    """Return how a program ended and what it printed, standard error included."""
    if shutil.which(command[0], path=SEARCH_PATH) is None:
        return None
    try:
        ended = run(command, timeout=_PATIENCE)
    except TimedOut:
        return Answer(124, f"{command[0]} did not answer within {_PATIENCE:g} seconds")
    return Answer(ended.returncode, ended.stdout if ended.returncode == 0 else ended.stdout + ended.stderr)


def smi(asking: Asking = ask) -> Answer | None:
    """Ask nvidia-smi for all it knows."""
    return asking(["nvidia-smi", "-q", "-x"])


def look(root: Path = Path("/"), asking: Asking = ask) -> Seen:
    """Return what a host shows; nothing is changed. Loading a driver to see what happens would be a change.

    Args:
        root: where its files are.
        asking: runs its programs.
    """

    def text(path: str) -> str:
        return read(root / path) or ""

    def said(*command: str) -> str:
        answer = asking(list(command))
        return answer.printed.strip() if answer and answer.code == 0 else ""

    kernel = text("proc/sys/kernel/osrelease").strip()
    variables = root / "sys/firmware/efi/efivars"
    return Seen(
        pci=tuple(_devices(root / "sys/bus/pci/devices")),
        modules=text("proc/modules"),
        driver=text("proc/driver/nvidia/version"),
        installed=said("modinfo", "--field=version", "nvidia"),
        libraries=tuple(sorted(path.name for path in _matching(root, _LIBRARY_FOLDERS, "libnvidia-ml.so.*"))),
        smi=smi(asking),
        efi=(root / "sys/firmware/efi").is_dir(),
        secure_boot=_bytes(variables / f"SecureBoot-{_EFI_GLOBAL}"),
        shim_off=_bytes(variables / f"MokSBStateRT-{_SHIM}"),
        lockdown=text("sys/kernel/security/lockdown"),
        sig_enforce=text("sys/module/module/parameters/sig_enforce"),
        maker=text("sys/class/dmi/id/sys_vendor"),
        cpuinfo=text("proc/cpuinfo"),
        dxg=(root / "dev/dxg").exists(),
        container=(root / "run/systemd/container").exists() or (root / ".dockerenv").exists(),
        kernel=kernel,
        headers=(root / "lib/modules" / kernel / "build").exists(),
        modprobe="\n".join(
            read(path) or "" for path in _matching(root, ("etc/modprobe.d", "usr/lib/modprobe.d"), "*.conf")
        ),
        command_line=text("proc/cmdline"),
        runfile=(root / "usr/bin/nvidia-uninstall").exists(),
        operator=(root / "run/nvidia/driver/usr/bin/nvidia-smi").exists(),
        ours=bool(read_state(STATE).get("packages")),
        packages=_packages(asking),
        toolkit=said("nvidia-ctk", "--version"),
        cdi=tuple(str(path) for path in _matching(root, ("etc/cdi", "var/run/cdi"), "*nvidia*")),
        fabric_manager=any((root / folder / "nv-fabricmanager").exists() for folder in ("usr/bin", "usr/sbin")),
    )


def _devices(folder: Path) -> Iterable[PciDevice]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():

        def number(name: str, path: Path = path) -> int:
            return int((read(path / name) or "0").strip(), 16)

        driver = path / "driver"
        yield PciDevice(
            address=path.name,
            vendor=number("vendor"),
            device=number("device"),
            subsystem="{:04x}:{:04x}".format(number("subsystem_vendor"), number("subsystem_device")),
            # The last two digits are the programming interface, which says nothing here.
            category=number("class") >> 8,
            driver=driver.resolve().name if driver.is_symlink() else "",
            path=str(path.resolve()),
            config=_bytes(path / "config"),
        )


def _packages(asking: Asking) -> dict[str, str]:
    """Return NVIDIA's packages with their versions, from whichever package manager the host has."""
    found = {}
    for name in MANAGERS:
        answer = asking(list(MANAGERS[name].versions))
        for line in answer.printed.splitlines() if answer and answer.code == 0 else ():
            words = line.split()
            if len(words) == 3 and words[2] == "installed" and ("nvidia" in words[0] or "cuda" in words[0]):
                found[words[0]] = words[1]
    return found


def _matching(root: Path, folders: Iterable[str], pattern: str) -> list[Path]:
    return sorted(path for folder in folders for path in root.glob(f"{folder}/{pattern}"))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
