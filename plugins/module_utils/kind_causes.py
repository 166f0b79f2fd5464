# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why kind could not make a cluster, out of what it printed and what its nodes have left, and what to do next.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .kubeadm_output import kubelet_errors, redacted

#: So often a kubelet that is new to its node may end before something is wrong with it.
MOST_KUBELET_RESTARTS = 6
_SHOWN = 6
_ERROR = re.compile(r"^\s*(?:ERROR|error|docker|podman|Error)\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Known:
    """What is known of a failure.

    Attributes:
        code: stable word for programs.
        pattern: what shows it, in whatever was printed.
        advice: what to do next; ``{engine}`` is the engine's program.
    """

    code: str
    pattern: re.Pattern[str]
    advice: str


_KNOWN = (
    Known(
        "no_space",
        re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE),
        "make room where the engine keeps its data: `{engine} info` says where that is, `{engine} system df` what "
        "takes it",
    ),
    Known(
        "port_taken",
        re.compile(r"port is already allocated|address already in use|failed to (?:bind|expose) (?:host )?port"),
        "ask for a port that is free by kind_api_port (0 is any) or kind_port_mappings, or end what listens there",
    ),
    Known(
        "too_many_watches",
        re.compile(
            r"too many open files|inotify (?:instances|watches)|Failed to (?:create|allocate).*inotify", re.IGNORECASE
        ),
        "raise the host's limits: sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288",
    ),
    Known(
        "no_image",
        re.compile(r"pull access denied|manifest unknown|failed to pull image|no such image|repository .* not found"),
        "have the engine pull kind_image by itself, or leave it empty for the bundle's",
    ),
    Known(
        "cgroups",
        re.compile(
            r"failCgroupV1|not run on a host using cgroup v1|cgroup.{0,40}(?:missing|not mounted|read-only)"
            r"|missing paths|misconfiguration: kubelet cgroup driver",
            re.IGNORECASE,
        ),
        "see which cgroups the host has (`stat -fc %T /sys/fs/cgroup`; cgroup2fs is version 2); version 1 "
        "needs failCgroupV1: false and cgroupDriver: cgroupfs in a KubeletConfiguration of "
        "kind_configuration.kubeadmConfigPatches",
    ),
    Known(
        "not_privileged",
        re.compile(r"unable to apply caps|operation not permitted", re.IGNORECASE),
        "Kind's nodes are privileged containers: the engine must be allowed each capability and limit that it asks for",
    ),
)


def explained(
    what: str, engine: str, printed: str, ended: Mapping[str, str], journals: Mapping[str, str]
) -> tuple[str, str]:
    """Return a word for the cause, and a message that tells it with the next step.

    Args:
        what: what has failed, in words.
        engine: the container engine's program.
        printed: what kind printed.
        ended: node → how its container ended, with its last lines; only of those that do not run.
        journals: node → its kubelet's last lines.
    """
    lines = [what, *("  " + line for line in _errors(printed))]
    for node, last in ended.items():
        lines += [f"{node} has ended:", *("  " + line for line in last.strip().splitlines()[-_SHOWN:])]
    for node, journal in journals.items():
        told = kubelet_errors(redacted(journal))
        if told:
            lines += [f"the kubelet of {node}:", *("  " + line[:400] for line in told[-2:])]
    text = "\n".join([printed, *ended.values(), *journals.values()])
    known = next((entry for entry in _KNOWN if entry.pattern.search(text)), None)
    if known:
        lines.append("Next: " + known.advice.format(engine=engine))
    code = known.code if known else "node_ended" if ended else "kubelet_fails" if journals else "kind_failed"
    return code, "\n".join(lines)


def _errors(printed: str) -> Sequence[str]:
    """Return the lines of kind's that tell the error: it may print a whole log after them."""
    redone = redacted(printed)
    errors = [match[0].strip()[:400] for match in _ERROR.finditer(redone)]
    return errors[:_SHOWN] or redone.strip().splitlines()[-_SHOWN:]
