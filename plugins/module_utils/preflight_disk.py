# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast and how full the file systems are that etcd, images, pods and data will live on.

A test file has no name: it is unlinked before the first byte, so that nothing stays behind even if this is killed.
This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Size of etcd's usual record, as its documentation measures disks.
RECORD_BYTES = 2300
#: So many records are enough for a 99th percentile that 30 samples make.
RECORDS = 3000
#: fio's start and end, and what a killed one needs.
GRACE_SECONDS = 5
SEQUENTIAL_BYTES = 64 << 20
SEQUENTIAL_SECONDS = 3.0
_BLOCK = 1 << 20
#: Room that must be left after the measurement; a disk that is nearly full is not filled up to see how fast it is.
RESERVE_BYTES = 64 << 20

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]


def survey(paths: Mapping[str, str], seconds: float, run: Run, fio: str | None) -> list[dict[str, Any]]:
    """Return one entry for each file system that the paths are on, measured once however many paths it holds.

    Args:
        paths: purpose (``etcd``, ``images``…) to the folder it will use; what does not exist yet is on the file
            system of its nearest existing parent.
        seconds: the longest time for the latency of one file system.
        run: starts ``fio``.
        fio: where fio is, ``None`` if the host has none.
    """
    groups: dict[int, dict[str, Any]] = {}
    for purpose, path in sorted(paths.items()):
        place = existing(Path(path))
        entry = groups.setdefault(place.stat().st_dev, {"place": str(place), "purposes": {}})
        entry["purposes"][purpose] = path
    return [{**entry, **measure(Path(entry["place"]), seconds, run, fio)} for entry in groups.values()]


def existing(path: Path) -> Path:
    """Return a folder, or its nearest parent that exists."""
    path = path if path.is_absolute() else Path("/") / path
    while not path.is_dir():
        path = path.parent
    return path


def measure(place: Path, seconds: float, run: Run, fio: str | None) -> dict[str, Any]:
    """Return free space and speed of a folder's file system; speeds are ``None`` where there is no room."""
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    result: dict[str, Any] = {
        "free_bytes": free,
        "total_bytes": room.f_blocks * room.f_frsize,
        # Some file systems make inodes as they need them and count none.
        "free_inodes_percent": round(100 * room.f_favail / room.f_files, 1) if room.f_files else None,
        "latency": None,
        "write_mib_s": None,
        "problem": "",
    }
    if free < RESERVE_BYTES + SEQUENTIAL_BYTES:
        result["problem"] = "too little room for a measurement"
        return result
    try:
        result["latency"] = fio_latency(place, seconds, run, fio) if fio else None
        result["latency"] = result["latency"] or own_latency(place, seconds)
        result["write_mib_s"] = sequential(place)
    except OSError as error:
        result["problem"] = f"{place}: {error.strerror}"
    return result


@contextlib.contextmanager
def nameless(place: Path) -> Iterator[int]:
    """Give a new file in a folder that has no name any more."""
    handle, name = tempfile.mkstemp(prefix=".dtf-preflight-", dir=place)
    try:
        os.unlink(name)  # noqa: PTH108 - a name from mkstemp
        yield handle
    finally:
        os.close(handle)


def fio_command(fio: str, file: str, seconds: float) -> list[str]:
    """Return the measurement that etcd's documentation recommends, bounded in size and time."""
    longest = max(1, round(seconds))
    return [
        # Its own limit begins with the job, which it may wait for in vain.
        "timeout",
        f"--kill-after={GRACE_SECONDS}",
        str(longest + GRACE_SECONDS),
        fio,
        "--name=fdatasync",
        f"--filename={file}",
        "--rw=write",
        "--ioengine=sync",
        "--fdatasync=1",
        f"--bs={RECORD_BYTES}",
        f"--size={RECORDS * RECORD_BYTES}",
        f"--runtime={longest}",
        "--thread",
        "--output-format=json",
    ]


def fio_latency(place: Path, seconds: float, run: Run, fio: str) -> dict[str, Any] | None:
    """Return the latency as fio measures it, ``None`` if this fio cannot."""
    with nameless(place) as handle:
        # fio lays a file out under its name unless it has its size already, in the same way as this.
        os.posix_fallocate(handle, 0, RECORDS * RECORD_BYTES)
        code, output, _errors = run(fio_command(fio, f"/proc/{os.getpid()}/fd/{handle}", seconds))
    return None if code else read_fio(output)


def read_fio(output: str) -> dict[str, Any] | None:
    """Return the latency of fdatasync from fio's JSON, ``None`` if it tells none; fio may say a word before it."""
    try:
        (job,) = json.loads(output[output.index("{") :])["jobs"]
        latency = job["sync"]["lat_ns"]
        count = latency.get("N") or job["sync"]["total_ios"]
        p99 = latency["percentile"]["99.000000"]
    except (ValueError, KeyError, TypeError):
        return None
    if not count:
        return None
    return {
        "p99_ms": round(p99 / 1e6, 3),
        "mean_ms": round(latency["mean"] / 1e6, 3),
        "samples": int(count),
        "tool": "fio",
    }


def own_latency(place: Path, seconds: float, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """Return the latency of a loop of the same shape as fio's: write a record, wait until it is on the disk."""
    record = os.urandom(RECORD_BYTES)
    samples = []
    with nameless(place) as handle:
        end = clock() + seconds
        for number in range(RECORDS):
            os.pwrite(handle, record, number * RECORD_BYTES)
            begin = clock()
            os.fdatasync(handle)
            now = clock()
            samples.append(now - begin)
            if now > end:
                break
    return {
        "p99_ms": round(percentile(samples, 99) * 1e3, 3),
        "mean_ms": round(sum(samples) / len(samples) * 1e3, 3),
        "samples": len(samples),
        "tool": "own loop",
    }


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent of the samples do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def sequential(place: Path, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the MiB a second that reach the disk in a row."""
    block = os.urandom(_BLOCK)
    written = 0
    with nameless(place) as handle:
        begin = now = clock()
        while written < SEQUENTIAL_BYTES and now - begin < SEQUENTIAL_SECONDS:
            written += os.pwrite(handle, block, written)
            if written % (8 * _BLOCK) == 0:
                os.fdatasync(handle)
                now = clock()
        os.fdatasync(handle)
        return round(written / (1 << 20) / max(clock() - begin, 1e-9), 1)
