# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amounts as Kubernetes writes them (``250m``, ``1.5``, ``700Mi``, ``1e3``), read exactly and written for people.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from fractions import Fraction

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_FORM = re.compile(
    r"([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}))([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?"
)


def parse(text: object) -> Fraction:
    """Return the number an amount stands for.

    Raises:
        ValueError: it is no amount.
    """
    match = _FORM.fullmatch(str(text))
    if match is None or isinstance(text, bool):
        raise ValueError(f"{text!r} is no amount such as 250m, 1.5 or 2Gi")
    number, suffix = Fraction(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return number * Fraction(int(10 ** max(exponent, 0)), int(10 ** max(-exponent, 0)))


def words(resource: str, number: Fraction) -> str:
    """Return an amount of a resource as a reader wants it: ``1.5`` cores, ``2.25Gi``, ``3`` pods."""
    if "memory" in resource or "storage" in resource:
        for suffix in ("Ti", "Gi", "Mi", "Ki"):
            scaled = number / 2 ** _BINARY[suffix]
            if abs(scaled) >= 1:
                return f"{_short(scaled)}{suffix}"
    return _short(number)


def _short(number: Fraction) -> str:
    return f"{float(number):.3f}".rstrip("0").rstrip(".")
