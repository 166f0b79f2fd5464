# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `nvidia-smi -q -x` answers, read as values; its answer is a document, or a sentence that says why there is none.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

#: How nvidia-smi ends where the kernel's part of the driver is of another version than its own.
_MISMATCH = 18
_MODES = {"vgpu": "vgpu", "pass-through": "pass_through", "host vgpu": "host", "host vsga": "host"}


@dataclass(frozen=True)
class Answer:
    """How nvidia-smi ended, and what it printed."""

    code: int
    printed: str


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver sees it.

    Attributes:
        address: as ``/sys/bus/pci`` writes it.
        name: product.
        uuid: of the card.
        memory_mib: on the card; for a share, of the share.
        utilisation: percent of time in which it computed; ``None`` where it does not tell.
        virtualization: ``none``, ``pass_through``, ``vgpu`` or ``host``.
        licensed: of a vGPU; ``None`` where no licence is asked for.
        mig_mode: ``enabled``, ``disabled``, or empty where the card knows no MIG.
        mig_pending: what the mode will be after a reset.
        mig_devices: memory in MiB of each instance.
    """

    address: str
    name: str
    uuid: str
    memory_mib: int
    utilisation: int | None
    virtualization: str
    licensed: bool | None
    mig_mode: str
    mig_pending: str
    mig_devices: tuple[int, ...] = ()


def gpus(answer: Answer | None) -> list[Gpu]:
    """Return the GPUs of an answer; none for one that is no document."""
    root = _document(answer)
    return [] if root is None else [_gpu(entry) for entry in root.findall("gpu")]


def driver_version(answer: Answer | None) -> str:
    """Return the version of the driver; empty where the answer is no document."""
    return _text(_document(answer), "driver_version")


def cuda_version(answer: Answer | None) -> str:
    """Return the newest CUDA that the driver serves; empty where the answer is no document."""
    return _text(_document(answer), "cuda_version")


def library_version(answer: Answer | None) -> str:
    """Return the version of the libraries, from a document or from the sentence that complains about it."""
    told = re.search(r"NVML library version: ([0-9.]+)", answer.printed) if answer else None
    return told[1].rstrip(".") if told else driver_version(answer)


def is_mismatch(answer: Answer | None) -> bool:
    """Tell whether kernel and libraries are of two versions."""
    return answer is not None and (answer.code == _MISMATCH or "version mismatch" in answer.printed)


def said(answer: Answer | None) -> str:
    """Return an answer that is no document, as one line."""
    return " ".join(answer.printed.split())[:300] if answer else ""


def verdict(answer: Answer | None) -> dict[str, object]:
    """Return an answer as JSON has it: whether all is well, the driver, each card; or what nvidia-smi said instead."""
    found = gpus(answer)
    if answer is None or answer.code or not found:
        return {"ok": False, "said": said(answer) or "there is no nvidia-smi", "gpus": []}
    return {
        "ok": True,
        "driver": driver_version(answer),
        "cuda": cuda_version(answer),
        "gpus": [_as_json(gpu) for gpu in found],
    }


def _as_json(gpu: Gpu) -> Mapping[str, object]:
    return {
        "address": gpu.address,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "memory_mib": gpu.memory_mib,
        "mig": list(gpu.mig_devices) if gpu.mig_mode == "enabled" else None,
    }


def _document(answer: Answer | None) -> ET.Element | None:
    if answer is None or "<nvidia_smi_log" not in answer.printed:
        return None
    # It is the host's own program that speaks. What comes before is a warning, and the line with the document's type,
    # which names a file that is on no host.
    text = answer.printed[answer.printed.index("<nvidia_smi_log") :]
    try:
        return ET.fromstring(text)  # noqa: S314
    except ET.ParseError:
        return None


def _gpu(entry: ET.Element) -> Gpu:
    mode = _text(entry, "gpu_virtualization_mode/virtualization_mode").lower()
    licence = _text(entry, "vgpu_software_licensed_product/license_status").lower()
    return Gpu(
        address=address(entry.get("id", "")),
        name=_text(entry, "product_name"),
        uuid=_text(entry, "uuid"),
        memory_mib=_number(entry, "fb_memory_usage/total") or 0,
        utilisation=_number(entry, "utilization/gpu_util"),
        virtualization=_MODES.get(mode, "none"),
        licensed=licence.startswith("licensed") if licence and licence != "n/a" else None,
        mig_mode=_mode(entry, "mig_mode/current_mig"),
        mig_pending=_mode(entry, "mig_mode/pending_mig"),
        mig_devices=tuple(
            _number(device, "fb_memory_usage/total") or 0 for device in entry.findall("mig_devices/mig_device")
        ),
    )


def address(name: str) -> str:
    """Return a PCI address as the kernel writes it: nvidia-smi gives the domain eight digits, and capitals."""
    domain, colon, rest = name.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}" if colon and re.fullmatch("[0-9a-f]+", domain) else name.lower()


def _mode(entry: ET.Element, path: str) -> str:
    text = _text(entry, path).lower()
    return text if text in ("enabled", "disabled") else ""


def _number(entry: ET.Element, path: str) -> int | None:
    found = re.match(r"[0-9]+", _text(entry, path))
    return int(found[0]) if found else None


def _text(entry: ET.Element | None, path: str) -> str:
    return "" if entry is None else (entry.findtext(path) or "").strip()
