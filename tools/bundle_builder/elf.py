"""Which libraries a program asks for: just enough of the ELF format to pack it with them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS = 1, 5


@dataclass(frozen=True)
class Needs:
    """What has to be there for a file to be loaded: its loader's path, or nothing, and names of libraries."""

    loader: str
    libraries: tuple[str, ...]


def needs(content: bytes) -> Needs | None:
    """Return what a 64-bit little-endian ELF file needs; None for any other file."""
    if content[:6] != b"\x7fELF\x02\x01":
        return None
    start, size, count = struct.unpack_from("<Q14xHH", content, 32)
    headers = [struct.unpack_from("<IIQQQQ", content, start + size * index) for index in range(count)]
    loader = ""
    pairs: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length in headers:
        if kind == _INTERPRETER:
            loader = content[offset : offset + length].rstrip(b"\0").decode()
        elif kind == _DYNAMIC:
            pairs = list(struct.iter_unpack("<QQ", content[offset : offset + length // 16 * 16]))
    tables = [value for tag, value in pairs if tag == _STRINGS]
    if not tables:
        return Needs(loader, ())
    # The table's place is an address in memory; the segment it lies in tells where that is in the file.
    strings = next(
        tables[0] - address + offset
        for kind, _, offset, address, _, length in headers
        if kind == _LOAD and address <= tables[0] < address + length
    )
    names = [content[strings + value : content.index(b"\0", strings + value)] for tag, value in pairs if tag == _NEEDED]
    return Needs(loader, tuple(name.decode() for name in names))
