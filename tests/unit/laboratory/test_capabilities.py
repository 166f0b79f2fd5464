"""What a root lacks is read from the kernel's mask."""

from __future__ import annotations

from pathlib import Path

import pytest
from laboratory import capabilities

LAST = len(capabilities.NAMES) - 1


def status(mask: int) -> str:
    """Return the part of /proc/PID/status that tells capabilities."""
    return f"Name:\tsh\nCapPrm:\t{0:016x}\nCapEff:\t{mask:016x}\nCapBnd:\t{0:016x}\n"


@pytest.mark.parametrize(
    ("mask", "lacking"),
    [
        (0x000001FFFFFFFFFF, []),
        (0x000001FFFEFFFFFF, ["SYS_RESOURCE"]),
        (0x000001FFFEFFEFFF, ["NET_ADMIN", "SYS_RESOURCE"]),
    ],
)
def test_bits_have_names(mask: int, lacking: list[str]) -> None:
    assert capabilities.missing(status(mask), LAST) == lacking


def test_an_older_kernel_lacks_nothing_it_does_not_know() -> None:
    assert capabilities.missing(status(0x3FFFFFFFFF), last=37) == []


def test_the_kernel_has_the_numbers_that_its_header_gives() -> None:
    named = {"CHOWN": 0, "NET_ADMIN": 12, "SYS_ADMIN": 21, "SYS_RESOURCE": 24, "SYS_TIME": 25, "BPF": 39}
    assert {name: capabilities.NAMES.index(name) for name in named} == named


def test_our_own_mask_can_be_read() -> None:
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    assert set(capabilities.missing(text, LAST)) <= set(capabilities.NAMES)
