# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What kubeadm and the kubelet print, reduced to why something failed, and without any secret.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
_KEY = re.compile(r"(?<!sha256:)\b[0-9a-f]{64}\b")
_CHECK = re.compile(r"^\s*\[ERROR (?P<check>[^\]]+)\]:? ?(?P<text>.*)$", re.MULTILINE)
_HEAD = re.compile(r"^[EFWI]\d{4} [\d:.]+ +\d+ (\S+:\d+\] )?")
_KNOWN = re.compile(r"node \S+ not found|node is not registered yet|connection refused")
_ERROR = re.compile(r"^(?:error|E\d{4}|error execution phase)\b.*$", re.MULTILINE | re.IGNORECASE)


def redacted(text: str) -> str:
    """Return a text without bootstrap tokens and certificate keys."""
    return _KEY.sub("<key>", _TOKEN.sub("<token>", text))


def causes(command: str, returncode: int, output: str, journal: str) -> str:
    """Return why kubeadm failed, in as few lines as tell it.

    Args:
        command: what was run.
        returncode: how it ended.
        output: what it printed.
        journal: the kubelet's last lines; kubeadm only knows that it did not answer.
    """
    output = redacted(output)
    checks = ["  - {}: {}".format(match["check"], match["text"].strip()) for match in _CHECK.finditer(output)]
    if checks:
        return "\n".join([f"{command}: {len(checks)} of kubeadm's own checks failed on this host:", *checks])
    errors = [match[0].strip() for match in _ERROR.finditer(output)] or output.strip().splitlines()[-5:]
    lines = [f"{command} ended with {returncode}:", *("  " + line for line in errors[-6:])]
    told = kubelet_errors(redacted(journal))
    if told:
        lines += ["the kubelet's last errors:", *("  " + line[:600] for line in told[-4:])]
    return "\n".join(lines)


def kubelet_errors(journal: str) -> list[str]:
    """Return a kubelet's different errors, each once and without its time, the latest last.

    That its node is not known is true of every kubelet that could not start its own control plane, and says nothing.
    """
    found: dict[str, None] = {}
    for line in journal.splitlines():
        words = _HEAD.sub("", line.strip())
        if (line.startswith(("E", "F")) or "rror" in line) and not _KNOWN.search(words):
            found.pop(words, None)
            found[words] = None
    return list(found)
