# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node's kernel has and should have: texts of ``/proc`` and ``/etc`` in, texts and differences out.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: Written before a line of fstab that was put aside, and taken away again on the way back.
ASIDE = "#dtf.cluster: "
#: What shows that something is in the kernel whose build names no modules at all.
SIGNS = {
    "br_netfilter": "/proc/sys/net/bridge",
    "nf_conntrack": "/proc/sys/net/netfilter/nf_conntrack_max",
    "overlay": "/sys/module/overlay",
    "vxlan": "/sys/module/vxlan",
}
_HEADER = "# Written by dtf.cluster.\n"


def missing_modules(wanted: Iterable[str], proc_modules: str, builtin: str, shown: Iterable[str]) -> list[str]:
    """Return the modules that the kernel neither has loaded nor has built in.

    Args:
        wanted: names, with ``-`` or ``_``.
        proc_modules: text of ``/proc/modules``.
        builtin: text of ``modules.builtin``, paths that end in ``.ko``.
        shown: names of the folders in ``/sys/module``, and of modules whose sign is there (:data:`SIGNS`).
    """
    loaded = {line.split()[0] for line in proc_modules.splitlines() if line.strip()}
    inside = {line.strip().rpartition("/")[2].partition(".ko")[0].replace("-", "_") for line in builtin.splitlines()}
    present = loaded | inside | set(shown)
    return [name for name in wanted if name.replace("-", "_") not in present]


def modules_file(wanted: Iterable[str]) -> str:
    """Return what systemd is to load at every start; nothing wanted is no file."""
    lines = "".join(name + "\n" for name in wanted)
    return lines and _HEADER + lines


def sysctl_file(wanted: Mapping[str, str]) -> str:
    """Return what systemd is to set at every start; nothing wanted is no file."""
    lines = "".join(f"{name} = {wanted[name]}\n" for name in sorted(wanted))
    return lines and _HEADER + lines


def sysctl_path(name: str) -> str:
    """Return where a setting lies: ``net.ipv4.ip_forward`` is ``/proc/sys/net/ipv4/ip_forward``.

    As sysctl(8) has it, a name written with slashes keeps its dots: an interface's name may hold some.
    """
    return "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))


def differing(wanted: Mapping[str, str], live: Mapping[str, str | None]) -> dict[str, str]:
    """Return the settings whose live value is another; several numbers may be parted by any white space."""
    return {name: value for name, value in wanted.items() if (live.get(name) or "").split() != value.split()}


def active_swaps(proc_swaps: str) -> list[str]:
    """Return the devices and files that are swapped to, from the text of ``/proc/swaps``."""
    return [line.split()[0] for line in proc_swaps.splitlines()[1:] if line.strip()]


def without_swap(fstab: str) -> str:
    """Return an fstab with its swap lines put aside."""
    return "".join(ASIDE + line if _is_swap(line) else line for line in fstab.splitlines(keepends=True))


def with_swap(fstab: str) -> str:
    """Return an fstab with the lines back that were put aside."""
    return "".join(line.removeprefix(ASIDE) for line in fstab.splitlines(keepends=True))


def _is_swap(line: str) -> bool:
    fields = line.split()
    return len(fields) > 2 and not fields[0].startswith("#") and fields[2] == "swap"
