# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine's control groups, read: what its Kubernetes services, its pods and the whole machine have consumed.

The kernel counts processor time in every control group of version 2, whether or not any controller is on, also where
version 1 limits and version 2 only names (``/sys/fs/cgroup/unified``). Where there is only version 1, its ``cpuacct``
counts those groups that it has. What has ended is in the count of its group, as the short-lived helpers of a container
runtime are; /proc would have forgotten them.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import os
import platform as machine
import re
import time
from pathlib import Path

from .platform_usage import UNITS, Counter, Reading, part_of_pod

#: Below a hierarchy's root: where kubelets make the groups of pods, by driver, and below a group of the kubelet's own.
_PODS = (
    "kubepods/pod*",
    "kubepods/*/pod*",
    "kubepods.slice/kubepods-pod*.slice",
    "kubepods.slice/*/kubepods-*-pod*.slice",
    "kubelet/kubepods/pod*",
    "kubelet/kubepods/*/pod*",
    "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod*.slice",
    "kubelet.slice/kubelet-kubepods.slice/*/kubelet-kubepods-*-pod*.slice",
)
_UID = re.compile(r"pod([0-9a-f_-]{32,36})(?:\.slice)?$")


class Groups:
    """The control groups of a machine.

    Args:
        root: where the machine's files are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        base = root / "sys/fs/cgroup"
        hybrid = base / "unified"
        self._memory = base / "memory"
        if (hybrid / "cgroup.controllers").is_file():
            self._cpu = hybrid
        elif (base / "cgroup.controllers").is_file():
            self._cpu = self._memory = base
        else:
            self._cpu = base / "cpuacct"

    def read(self, host: str) -> Reading:
        """Return what the machine's counters say now.

        Args:
            host: the machine's name in the inventory.
        """
        found: dict[str, Counter] = {}
        for unit, part in UNITS.items():
            for folder in self._cpu.glob(f"*.slice/{unit}"):
                self._add(found, "unit " + unit, part, folder)
        names = self._pod_names()
        for pattern in _PODS:
            for folder in self._cpu.glob(pattern):
                match = _UID.search(folder.name)
                uid = match[1].replace("_", "-") if match else ""
                if uid in names:
                    namespace, name = names[uid]
                    self._add(found, f"pod {namespace}/{name} {uid}", part_of_pod(namespace, name), folder)
        return Reading(host, machine.node(), self._total(), found)

    def _add(self, found: dict[str, Counter], key: str, part: str, folder: Path) -> None:
        seconds = self._seconds(folder)
        if seconds is not None:
            found[key] = Counter(part, time.time(), seconds, self._held(folder))

    def _seconds(self, folder: Path) -> float | None:
        """Return the processor time of a group, in seconds."""
        usage = _fields(folder / "cpu.stat").get("usage_usec")
        if usage is not None:
            return usage / 1e6
        text = _text(folder / "cpuacct.usage")
        return int(text) / 1e9 if text else None

    def _held(self, folder: Path) -> int | None:
        """Return the memory of a group without file cache that nobody has used lately, as the kubelet counts it."""
        own = self._memory / folder.relative_to(self._cpu)
        text = _text(own / "memory.current") or _text(own / "memory.usage_in_bytes")
        if not text:
            return None
        said = _fields(own / "memory.stat")
        return max(0, int(text) - said.get("total_inactive_file", said.get("inactive_file", 0)))

    def _total(self) -> Counter:
        """Return the whole machine: of a container that is one, its own group; else all that the kernel counted."""
        now, seconds, held = time.time(), self._seconds(self._cpu), self._held(self._cpu)
        if seconds is None:
            ticks = [int(word) for word in _text(self._root / "proc/stat").split("\n")[0].split()[1:]]
            # user, nice, system, irq, softirq; guests are in user, and what was stolen is nobody's here.
            seconds = sum(ticks[place] for place in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")
        if held is None:
            lines = dict(line.split(":", 1) for line in _text(self._root / "proc/meminfo").splitlines())
            kib = {name: int(value.split()[0]) for name, value in lines.items()}
            held = (kib["MemTotal"] - kib["MemAvailable"]) * 1024
        return Counter("other", now, seconds, held)

    def _pod_names(self) -> dict[str, tuple[str, str]]:
        """Return namespace and name of pods by their uid, which their logs' folders tell."""
        found = {}
        for folder in (self._root / "var/log/pods").glob("*_*_*"):
            namespace, name, uid = folder.name.split("_", 2)
            found[uid] = (namespace, name)
        return found


def _text(path: Path) -> str:
    """Return a file's text; empty where there is none, or no longer."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _fields(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
