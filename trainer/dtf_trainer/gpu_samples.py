"""What nvidia-smi prints of GPUs, read as values: which of them are a worker's, and what they did while it trained.

Pure, standard library only; `gpu_watch.py` runs the program. One line is one GPU at one moment, its fields in the
order of :data:`FIELDS`. What a GPU does not tell (`[N/A]`, as a divided one does) is ``None``, which is not 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FIELDS: Final = (
    "index",
    "uuid",
    "name",
    "memory.total",
    "driver_version",
    "mig.mode.current",
    "utilization.gpu",
    "utilization.memory",
    "memory.used",
    "power.draw",
    "temperature.gpu",
)
"""What is asked for, by nvidia-smi's own names."""

WINDOW_SECONDS: Final = 1.0
"""The driver's utilisation is of up to so long before it is asked: what is said earlier in a training is of before."""

MOST_DEVICES: Final = 6
"""So many fit into the line of an event; a worker computes on one."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One GPU at one moment. Utilisations are shares of a time, 0 to 1.

    ``divided`` says that MIG is on: memory in use and power are then of the whole card, others' shares with it, and
    stand as ``None``.
    """

    uuid: str
    model: str
    memory_mib: int | None = None
    driver: str = ""
    divided: bool = False
    utilisation: float | None = None
    memory_utilisation: float | None = None
    memory_used_mib: float | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None


@dataclass(frozen=True)
class Instance:
    """A part of a divided card, as ``nvidia-smi -L`` lists it."""

    card: str
    uuid: str
    profile: str


@dataclass(frozen=True)
class Device:
    """A GPU, or an instance of one, that a task was given.

    ``card`` is the uuid that nvidia-smi's lines have. ``used`` says whether the worker computes on it; ``None`` where
    nothing tells which of several it is.
    """

    card: str
    uuid: str
    model: str
    memory_mib: int | None
    driver: str
    used: bool | None = None


def read_line(line: str) -> Sample | None:
    """Return the sample that a line holds; ``None`` for a warning, an error, a line that was cut off."""
    texts = [text.strip() for text in line.split(",")]
    if len(texts) != len(FIELDS) or not texts[0].isdecimal() or not texts[1] or texts[1].startswith("["):
        return None
    told = dict(zip(FIELDS, texts, strict=True))
    divided = told["mig.mode.current"].lower() == "enabled"
    memory = _number(told["memory.total"])
    return Sample(
        uuid=told["uuid"],
        model=told["name"],
        memory_mib=None if memory is None else int(memory),
        driver=told["driver_version"],
        divided=divided,
        utilisation=_of_hundred(told["utilization.gpu"]),
        memory_utilisation=_of_hundred(told["utilization.memory"]),
        memory_used_mib=None if divided else _number(told["memory.used"]),
        power_watts=None if divided else _number(told["power.draw"]),
        temperature_celsius=_number(told["temperature.gpu"]),
    )


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else None


def _of_hundred(text: str) -> float | None:
    percent = _number(text)
    return None if percent is None or percent > 100 else percent / 100


def read_instances(listed: str) -> list[Instance]:
    """Return the instances in what ``nvidia-smi -L`` lists; none where no card is divided, or it lists nothing."""
    found = []
    card = ""
    for line in listed.splitlines():
        whole = re.match(r"GPU [0-9]+: .*\(UUID: ([^)]+)\)", line)
        part = re.match(r"\s+MIG (\S+)\s+Device\s+[0-9]+: \(UUID: ([^)]+)\)", line)
        if whole:
            card = whole[1]
        elif part:
            found.append(Instance(card, part[2], part[1]))
    return found


def given_devices(
    cards: Sequence[Sample],
    instances: Iterable[Instance],
    environ: Mapping[str, str],
    *,
    asked: int,
    index: int,
    found: int | None = None,
) -> list[Device]:
    """Return the devices that a task was given, as far as its environment tells.

    Args:
        cards: one sample of each GPU that nvidia-smi shows, in its order.
        instances: of the divided ones among them.
        environ: of the task. In a container nvidia-smi shows what is there; ``NVIDIA_VISIBLE_DEVICES`` narrows it
            where that names devices, ``CUDA_VISIBLE_DEVICES`` where it is set.
        asked: how many GPUs the workers of this machine share.
        index: the worker's, which computes on the one of that number, counted round.
        found: how many TensorFlow has found; without any the worker computes on its processor.
    """
    shown = [unit for card in cards for unit in _units(card, instances)]
    units, in_order = _visible(shown, environ)
    if found and not units:
        # It was named in a way that nothing here understands.
        units, in_order = shown, False
    own = index % asked
    sure = in_order and own < len(units) and (found is None or own < found)
    return [
        replace(unit, used=False if found == 0 else place == own if sure else None)
        for place, unit in enumerate(units[:asked] if in_order else units)
    ]


def _visible(units: list[Device], environ: Mapping[str, str]) -> tuple[list[Device], bool]:
    """Return the units that CUDA shows to a task, and whether they stand in CUDA's order."""
    units = _named(units, environ.get("NVIDIA_VISIBLE_DEVICES", "")) or units
    # CUDA may count the fastest first, where nvidia-smi counts as the bus does: of equal cards that is the same.
    divided = any(unit.uuid != unit.card for unit in units)
    by_bus = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    counted_alike = len(units) == 1 or (not divided and (by_bus or len({unit.model for unit in units}) == 1))
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        if not counted_alike and any(name.strip().isdecimal() for name in chosen.split(",")):
            return units, False
        return _as_cuda_reads(units, chosen), True
    return units, counted_alike


def _units(card: Sample, instances: Iterable[Instance]) -> list[Device]:
    parts = [part for part in instances if part.card == card.uuid] if card.divided else []
    if not parts:
        return [Device(card.uuid, card.uuid, card.model, None if card.divided else card.memory_mib, card.driver)]
    return [Device(card.uuid, part.uuid, f"{card.model} MIG {part.profile}", None, card.driver) for part in parts]


def _named(units: Iterable[Device], names: str) -> list[Device]:
    """Return the units whose uuid begins with one of the names."""
    beginnings = tuple(name for name in map(str.strip, names.split(",")) if name)
    return [unit for unit in units if beginnings and unit.uuid.startswith(beginnings)]


def _as_cuda_reads(units: Sequence[Device], names: str) -> list[Device]:
    """Return the units in the order of a list of numbers and beginnings of uuids, up to the first that means none."""
    found: list[Device] = []
    for name in map(str.strip, names.split(",")):
        meant = [units[int(name)]] if name.isdecimal() and int(name) < len(units) else _named(units, name)
        if len(meant) != 1:
            break
        found += meant
    return found


class Load:
    """What one GPU did while a worker trained, in room that does not grow with the length of the training."""

    def __init__(self) -> None:
        """Begin with no sample."""
        self._samples = 0
        self._seconds = 0.0
        self._percents: dict[str, Counter[int]] = {}
        self._sums: dict[str, tuple[int, float, float]] = {}

    def add(self, sample: Sample, seconds: float) -> None:
        """Take note of a sample, ``seconds`` after the training began."""
        self._samples += 1
        self._seconds = seconds
        for name in ("utilisation", "memory_utilisation"):
            share = getattr(sample, name)
            if share is not None:
                self._percents.setdefault(name, Counter())[round(share * 100)] += 1
        for name in ("memory_used_mib", "power_watts", "temperature_celsius"):
            value = getattr(sample, name)
            if value is not None:
                count, total, largest = self._sums.get(name, (0, 0.0, -math.inf))
                self._sums[name] = count + 1, total + value, max(largest, value)

    def as_dict(self) -> dict[str, Any]:
        """Return the plain value; what was never told is ``None``."""
        power = self._mean("power_watts")
        return {
            "samples": self._samples,
            "seconds": round(self._seconds, 3),
            "utilisation": self._shares("utilisation"),
            "memory_utilisation": self._shares("memory_utilisation"),
            "memory_used_mib": self._mean("memory_used_mib"),
            "power_watts": power["mean"] if power else None,
            "temperature_celsius": self._mean("temperature_celsius"),
        }

    def _shares(self, name: str) -> dict[str, float] | None:
        """Return mean, 95th percentile (the value of nearest rank) and maximum."""
        counts = self._percents.get(name)
        if not counts:
            return None
        n = counts.total()
        rank, reached, ninety_fifth = math.ceil(0.95 * n), 0, 0
        for percent in sorted(counts):
            reached += counts[percent]
            if reached >= rank:
                ninety_fifth = percent
                break
        mean = sum(percent * count for percent, count in counts.items()) / n
        return {"mean": round(mean / 100, 4), "p95": ninety_fifth / 100, "max": max(counts) / 100}

    def _mean(self, name: str) -> dict[str, float] | None:
        if name not in self._sums:
            return None
        count, total, largest = self._sums[name]
        return {"mean": round(total / count, 3), "max": round(largest, 3)}


def device_records(devices: Sequence[Device], loads: Mapping[str, Load]) -> tuple[list[dict[str, Any]], int]:
    """Return the records of devices as an event has them, and how many it has no room for: the used ones come first."""
    ordered = sorted(devices, key=lambda device: device.used is not True)[:MOST_DEVICES]
    records = [
        {
            "model": device.model,
            "uuid": device.uuid,
            "memory_mib": device.memory_mib,
            "driver": device.driver or None,
            "used": device.used,
            **loads.get(device.card, Load()).as_dict(),
        }
        for device in ordered
    ]
    return records, len(devices) - len(ordered)
