"""Small IDX files for tests."""

from __future__ import annotations

import struct


def images(count: int, rows: int = 28, columns: int = 28) -> bytes:
    """Return an IDX file of images whose pixels count up."""
    return struct.pack(">IIII", 2051, count, rows, columns) + bytes(n % 256 for n in range(count * rows * columns))


def labels(values: list[int]) -> bytes:
    """Return an IDX file of labels."""
    return struct.pack(">II", 2049, len(values)) + bytes(values)
