"""Adds up the JUnit files of several pytest runs and says the sum in one line, `12 passed, 0 failed, 1 skipped`.

Usage: test_summary.py FOLDER

Before it each run has a line with its own sum and seconds, and each test that failed one with the first words of why.

Exits with 1 when a test failed, when a run ended in an error, or when nothing passed at all: silence is no success.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET


@dataclass(frozen=True)
class Sum:
    """How many tests ended how; an error outside a test (in a fixture, while collecting) counts as a failure."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @property
    def good(self) -> bool:
        """Whether something was proved and nothing refuted."""
        return self.passed > 0 and self.failed == 0


def count(document: ET.Element) -> Sum:
    """Count one JUnit document test by test: its own totals count one that fails and breaks its teardown twice."""
    worst: dict[tuple[str, str], int] = {}
    for case in document.iter("testcase"):
        outcome = 2 if {"failure", "error"} & {child.tag for child in case} else int(case.find("skipped") is not None)
        name = (case.get("classname", ""), case.get("name", ""))
        worst[name] = max(worst.get(name, 0), outcome)
    outcomes = list(worst.values())
    return Sum(passed=outcomes.count(0), failed=outcomes.count(2), skipped=outcomes.count(1))


def failures(document: ET.Element) -> list[str]:
    """Return what failed in one JUnit document, each with the first line of what it said."""
    found = []
    for case in document.iter("testcase"):
        for child in case:
            if child.tag in {"failure", "error"}:
                said = (child.get("message") or "").strip().splitlines() or ["no message"]
                found.append(f"{case.get('classname')}::{case.get('name')}: {said[0][:200]}")
    return found


def seconds(document: ET.Element) -> float:
    """Return how long one JUnit document's run took."""
    return sum(float(suite.get("time", 0)) for suite in document.iter("testsuite"))


def main() -> int:
    """Print each run's sum and the whole one; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    total = Sum()
    failed = []
    for path in sorted(parser.parse_args().folder.glob("*.xml")):
        document = ET.fromstring(path.read_text(encoding="utf-8"))
        run = count(document)
        print(f"{path.stem}: {run} in {seconds(document):.0f} s")
        failed += [f"failed: {path.stem}: {told}" for told in failures(document)]
        total += run
    print(*failed, total, sep="\n")
    return 0 if total.good else 1


if __name__ == "__main__":
    sys.exit(main())
