"""Markdown from plain values: tables, paragraphs, and Ansible's own markup in them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GENERATED = "<!-- Made by `make docs`; change the source it names instead. -->"

_CODE = re.compile(r"\b(?:C|O|V|RV|E|P|M|FQCN)\(((?:\\.|[^()\\]|\([^()]*\))*)\)")
_LINK = re.compile(r"\bL\(([^,()]+),\s*([^()]+)\)")
_BOLD = re.compile(r"\bB\(([^()]*)\)")
_ITALIC = re.compile(r"\bI\(([^()]*)\)")
# A backslash keeps the next character from ending the markup.
_ESCAPE = re.compile(r"\\(?=.)")


def prose(markup: str | Iterable[str]) -> str:
    """Return one paragraph of Ansible markup as Markdown; what was several sentences or items becomes one line."""
    line = markup if isinstance(markup, str) else " ".join(markup)
    line = " ".join(line.split())
    line = _CODE.sub(lambda match: f"`{_ESCAPE.sub('', match[1])}`", line)
    line = _LINK.sub(r"[\1](\2)", line)
    line = _BOLD.sub(r"**\1**", line)
    return _ITALIC.sub(r"*\1*", line)


def text(plain: str) -> str:
    """Return plain text so that none of it is taken for HTML."""
    return plain.replace("&", "&amp;").replace("<", "&lt;")


def paragraphs(markup: str | Iterable[str]) -> str:
    """Return a description, one text or a list of them, with a blank line between the items."""
    return "\n\n".join(prose(item) for item in ([markup] if isinstance(markup, str) else markup))


def value(content: object) -> str:
    """Return a default or a constant as code, in JSON so that a text and a number differ; nothing for None."""
    if content is None:
        return ""
    return f"`{content}`" if isinstance(content, str) and content else f"`{json.dumps(content, ensure_ascii=False)}`"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; columns that are empty in every row are left out, pipes inside cells are escaped."""
    body = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    used = [column for column in range(len(head)) if any(row[column] for row in body)]
    lines = [
        [head[column] for column in used],
        ["---"] * len(used),
        *([row[column] for column in used] for row in body),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(*blocks: str) -> str:
    """Return a page from its blocks: a blank line between, one newline at the end, empty blocks left out."""
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"
