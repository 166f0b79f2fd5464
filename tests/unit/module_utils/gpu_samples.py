"""Hosts with and without GPUs, as `tests/fixtures/gpu` has them: files, PCI devices and programs' answers.

Nobody has recorded them of real cards: they are written from NVIDIA's and the kernel's documented formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.gpu_facts import Picture, Seen, picture
from ansible_collections.dtf.cluster.plugins.module_utils.gpu_view import look
from ansible_collections.dtf.cluster.plugins.module_utils.nvidia_smi import Answer

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "gpu"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))
_DEVICES = "sys/bus/pci/devices"


def recorded(name: str) -> dict[str, Any]:
    """Return a host as its file has it."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    return content


def seen(name: str, folder: Path) -> Seen:
    """Lay a host out in a folder and return what is read of it there."""
    host = recorded(name)
    for path, text in host["files"].items():
        _write(folder / path, f"{text}\n".encode())
    for path, digits in host.get("bytes", {}).items():
        _write(folder / path, bytes.fromhex(digits))
    (folder / _DEVICES).mkdir(parents=True)
    for address, device in host["pci"].items():
        _device(folder, address, device)
    answers = {program: Answer(**answer) for program, answer in host.get("answers", {}).items()}
    return look(folder, lambda command: answers.get(command[0]))


def host(name: str, folder: Path) -> Picture:
    """Return the picture of a host."""
    return picture(seen(name, folder))


def _device(root: Path, address: str, device: dict[str, str]) -> None:
    real = root / device.get("under", "sys/devices/pci0000:00") / address
    for name, number in zip(("subsystem_vendor", "subsystem_device"), device["subsystem"].split(":"), strict=True):
        _write(real / name, f"0x{number}\n".encode())
    for name in ("vendor", "device", "class"):
        _write(real / name, f"{device[name]}\n".encode())
    if "config" in device:
        _write(real / "config", bytes.fromhex(device["config"]))
    if device["driver"]:
        driver = root / "sys/bus/pci/drivers" / device["driver"]
        driver.mkdir(parents=True, exist_ok=True)
        (real / "driver").symlink_to(driver)
    (root / _DEVICES / address).symlink_to(real)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
