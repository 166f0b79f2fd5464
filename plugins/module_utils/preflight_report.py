# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that was measured → findings, the document ``dtf.preflight/1`` and the table.

Pure: values in, values out. This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .preflight import ERROR, OK, SCHEMA, Finding, Site, accept, merged, ordered, summary, verdict
from .preflight_hosts import judge_host, judge_together
from .preflight_links import Link, judge_links

HEADINGS = ("VERDICT", "CHECK", "HOST", "FOUND", "LIMIT")
#: Columns are cut for the eye; the document holds everything.
_WIDEST = {"HOST": 24, "FOUND": 44, "LIMIT": 32}
_INDENT = " " * 9


def facts_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return what was found on the hosts that answered."""
    return {host: result["facts"] for host, result in results.items() if "facts" in result}


def judge(
    results: Mapping[str, Mapping[str, Any]],
    listening: Mapping[str, Mapping[str, Any]],
    visits: Mapping[str, Mapping[str, Any]],
    site: Site,
    accepted: Sequence[str],
) -> list[Finding]:
    """Return all findings, the worst first, each cause once.

    Args:
        results: host to what the stage ``host`` returned, or to why it did not.
        listening: host to what the stage ``listen`` returned.
        visits: host to what the stage ``visit`` returned.
        site: what the hosts are to become.
        accepted: what the site knows of and lives with.
    """
    facts = facts_of(results)
    findings = list(_answers(results, listening, visits))
    for host, found in facts.items():
        findings += judge_host(host, found, site)
    findings += judge_together(facts, site)
    links = [Link.from_dict(host, link) for host, result in visits.items() for link in result.get("links", ())]
    controller = {
        host: (result["wall"] - result["controller"]["after"], result["wall"] - result["controller"]["before"])
        for host, result in listening.items()
        if "listener" in result
    }
    findings += judge_links(facts, links, controller, site)
    return ordered(merged(accept(findings, accepted)))


def _answers(*stages: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    told = set()
    for wanted, results in zip(("facts", "listener", "links"), stages):
        for host, result in results.items():
            # A host that was lost once is lost for what comes after, too.
            if wanted in result or result.get("skipped") or host in told:
                continue
            told.add(host)
            lost = bool(result.get("unreachable"))
            yield Finding(
                "answers",
                (host,),
                ERROR,
                ("unreachable: " if lost else "failed: ") + " ".join(str(result.get("msg", "")).split())[:300],
                limit="the host can be measured",
                advice="see that `ansible -m ansible.builtin.ping` reaches it, with Python 3.9 or later",
            )


def document(
    findings: Sequence[Finding],
    hosts: Sequence[str],
    visits: Mapping[str, Mapping[str, Any]],
    site: Site,
    times: Mapping[str, Any],
    version: str,
) -> dict[str, Any]:
    """Return the report as ``dtf.preflight/1`` describes it.

    Args:
        findings: what :func:`judge` returned.
        hosts: every host that was to be measured.
        visits: host to what the stage ``visit`` returned; its numbers are kept.
        site: what the hosts are to become.
        times: ``created`` (RFC 3339) and ``seconds``.
        version: of the collection.
    """
    counts = summary(findings)
    keep = ("target", "rtt_ms", "ahead_seconds", "bandwidth_mbit_s", "mtu_expected", "mtu_measured", "ports")
    return {
        "schema": SCHEMA,
        "created": times["created"],
        "seconds": times["seconds"],
        "collection": version,
        "verdict": verdict(counts),
        "summary": counts,
        "hosts": list(hosts),
        "limits": asdict(site.limits),
        "findings": [finding.as_dict() for finding in findings],
        "links": [
            {"source": host, **{name: link[name] for name in keep}}
            for host, result in visits.items()
            for link in result.get("links", ())
        ],
    }


def table(findings: Sequence[Finding], hosts: Sequence[str], width: int) -> list[str]:
    """Return the lines of the table: a row for each finding, what is good in one row for each check.

    Args:
        findings: what :func:`judge` returned.
        hosts: every host that was to be measured.
        width: of the lines that tell what to do.
    """
    rows: list[tuple[Finding | None, tuple[str, ...]]] = [
        (finding, _row(finding, hosts)) for finding in findings if finding.verdict != OK
    ]
    rows += [(None, row) for row in _good(findings, hosts)]
    columns = list(zip(*[HEADINGS, *(row for _finding, row in rows)]))
    widths = [min(max(map(len, column)), _WIDEST.get(name, 99)) for name, column in zip(HEADINGS, columns)]
    lines = [_line(HEADINGS, widths)]
    for finding, row in rows:
        lines += _wrapped(row, widths)
        if finding is not None:
            for words in (finding.note, "→ " + finding.advice if finding.advice else ""):
                lines += textwrap.wrap(words, width, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return lines


def _good(findings: Iterable[Finding], hosts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield one row for each check with all that is good, accepted faults apart."""
    groups: dict[tuple[str, bool], list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.verdict == OK:
            groups[finding.check, finding.accepted is not None].append(finding)
    for (check, accepted), group in sorted(groups.items()):
        names = [name for finding in group for name in finding.hosts]
        subjects = dict.fromkeys(name for name in hosts if name in names)
        numbers = [finding.measured for finding in group if isinstance(finding.measured, (int, float))]
        words = list(dict.fromkeys(str(finding.measured) for finding in group if not finding.unit))
        if numbers and group[0].unit:
            low, high = min(numbers), max(numbers)
            shown = f"{low:g} {group[0].unit}" if low == high else f"{low:g} to {high:g} {group[0].unit}"
        else:
            shown = words[0] if len(words) == 1 else f"{len(words)} different"
        limits = list(dict.fromkeys(finding.limit for finding in group))
        yield (
            "accepted" if accepted else OK,
            check,
            _hosts(list(subjects), hosts),
            shown,
            limits[0] if len(limits) == 1 else "each its own",
        )


def _row(finding: Finding, hosts: Sequence[str]) -> tuple[str, ...]:
    measured = f"{finding.measured:g}" if isinstance(finding.measured, float) else str(finding.measured)
    # What a check looks at several times on a host stands before what it saw there.
    shown = f"{finding.subject}: " if finding.subject else ""
    found = f"{shown}{measured} {finding.unit}".strip()
    unit = f" {finding.unit}" if finding.unit and finding.limit else ""
    return finding.verdict, finding.check, _hosts(finding.hosts, hosts), found, finding.limit + unit


def _hosts(named: Sequence[str], hosts: Sequence[str]) -> str:
    return f"all {len(hosts)}" if len(hosts) > 1 and set(named) >= set(hosts) else ", ".join(named)


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths)]
    height = max(map(len, cells))
    return [_line([cell[number] if number < len(cell) else "" for cell in cells], widths) for number in range(height)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()


def conclusion(counts: Mapping[str, int], hosts: int) -> str:
    """Return the report in one line."""
    words = [
        f"{counts[name]} {word}{'s' if counts[name] > 1 and word != 'unknown' else ''}"
        for name, word in ((ERROR, "error"), ("warning", "warning"), ("unknown", "unknown"))
        if counts[name]
    ]
    return f"{' and '.join(words) if words else 'nothing wrong'} on {hosts} host{'s' if hosts != 1 else ''}"
