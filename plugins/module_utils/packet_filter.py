# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kubernetes and its network plugins leave in a host's packet filter, and the same rules without it.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re

_CHAIN = re.compile(r"^:((?:KUBE|CNI|FLANNEL)-\S+) ")
_RULE = re.compile(r"^-A (\S+)")
_JUMP = re.compile(r"(?:^| )(?:-j|-g|--jump|--goto) (\S+)")
_TABLE = re.compile(r"^table (\S+) (kube-proxy|dtf-cluster)$", re.MULTILINE)


def without_kubernetes(rules: str) -> str:
    """Return the text of ``iptables-save`` without the chains of Kubernetes and its network plugins.

    A rule in another chain goes when it jumps into one of those; every other line stays as it is.
    """
    chains = {match[1] for line in rules.splitlines() if (match := _CHAIN.match(line))}
    kept = []
    for line in rules.splitlines(keepends=True):
        declared, rule, jump = _CHAIN.match(line), _RULE.match(line), _JUMP.search(line)
        if declared or (rule and (rule[1] in chains or (jump and jump[1] in chains))):
            continue
        kept.append(line)
    return "".join(kept)


def nft_tables(listing: str) -> list[tuple[str, str]]:
    """Return family and name of our tables in the text of ``nft list tables``."""
    return [(match[1], match[2]) for match in _TABLE.finditer(listing)]
