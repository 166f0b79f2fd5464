"""A command in the documentation is one that something runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = Path(__file__).with_name("documented_commands.yml")
# `console` shows commands with what they print, after a `$`, or commands alone; `sh` is a script.
_BLOCK = re.compile(r"^```(console|sh|bash|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return every page written by hand."""
    places = ("*.md", "docs/**/*.md", "roles/*/README.md", "trainer/*.md")
    written = [path for place in places for path in ROOT.glob(place)]
    return sorted(path for path in written if not path.is_relative_to(ROOT / "docs" / "reference"))


def commands(text: str) -> list[str]:
    """Return the commands of a page's blocks: continued lines joined, comments and what is printed left out."""
    found = []
    for _, block in _BLOCK.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return found


def registry() -> dict[str, dict[str, str]]:
    """Return command → what runs it."""
    content: Any = yaml.safe_load(REGISTRY.read_text(encoding="utf-8"))
    return {str(command): proof for command, proof in content.items()}


def documented() -> dict[str, str]:
    """Return command → the page that shows it."""
    shown = {}
    for path in pages():
        for command in commands(path.read_text(encoding="utf-8")):
            shown[command] = str(path.relative_to(ROOT))
    return shown


def test_commands_are_read_as_a_reader_would() -> None:
    page = "```console\n$ make a \\\n    b\nprinted\n```\n```sh\n# why\nmake c   d\n```\n```text\nmake e\n```\n"
    assert commands(page) == ["make a b", "make c d"]


def test_every_documented_command_is_run_by_something() -> None:
    known = registry()
    assert {command: page for command, page in documented().items() if command not in known} == {}


def test_nothing_is_registered_that_is_not_documented() -> None:
    assert registry().keys() - documented().keys() == set()


def test_what_runs_a_command_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    missing = []
    for command, proof in registry().items():
        ((kind, name),) = proof.items()
        if kind == "target":
            present = re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE) is not None
        else:
            path, _, function = name.partition("::")
            source = ROOT / path
            present = source.is_file() and f"def {function}(" in source.read_text(encoding="utf-8")
        if not present:
            missing.append(f"{command}: {name}")
    assert missing == []
