"""The same recipe is the same image, and whatever decides how it comes out is in its name."""

from __future__ import annotations

from typing import Any

import pytest
from laboratory.flavours import PACKAGES, Recipe, recipe

USUAL: dict[str, Any] = {
    "flavour": "plain",
    "architecture": "amd64",
    "mirror": "http://mirror.example/debian",
    "sources": "Types: deb\n",
    "settings": "",
    "authorities": {},
    "files": {"/usr/local/sbin/lab-init": "#!/bin/sh\n", "/etc/lab.conf": "a\n"},
}


def made(**changes: Any) -> Recipe:
    """Return a recipe that differs from the usual one."""
    return recipe(**{**USUAL, **changes})


def test_the_same_inputs_are_the_same_image() -> None:
    turned = dict(reversed(list(USUAL["files"].items())))
    assert made().reference == made(files=turned).reference


@pytest.mark.parametrize(
    "change",
    [
        {"flavour": "prepared"},
        {"architecture": "arm64"},
        {"mirror": "http://other.example/debian"},
        {"sources": ""},
        {"settings": 'Acquire::Retries "3";\n'},
        {"authorities": {"own.crt": "-----BEGIN"}},
        {"files": {"/usr/local/sbin/lab-init": "#!/bin/sh\n:\n"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_other_input_is_another_image(change: dict[str, Any]) -> None:
    assert made(**change).tag != made().tag


def test_programs_can_be_run() -> None:
    assert made().executable == ("/usr/local/sbin/lab-init",)


def test_prepared_has_all_that_plain_has() -> None:
    assert set(PACKAGES["plain"]) < set(PACKAGES["prepared"])
