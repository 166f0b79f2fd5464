# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A table for a terminal.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


def ruled(header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> list[str]:
    """Return a table's lines: the heads, a rule, the rows.

    Args:
        header: a head for each column.
        rows: a text for each column.
        left: positions of the columns that stand on the left of their place; the others stand on the right.
    """
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return [
        "  ".join(
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in [header, ["-" * width for width in widths], *rows]
    ]
