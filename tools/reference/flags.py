"""The page of the trainer's flags, from the table that the trainer itself reads its command line with."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtf_trainer import exit_codes, flags
from reference.markdown import GENERATED, page, table, text, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field


def default(field: Field[Any]) -> str:
    """Return a flag's default with the home folder of whoever runs this replaced; nothing for "not given"."""
    content = field.default
    if content in (None, "", ()):
        return ""
    return value(content.replace(str(Path.home()), "~") if isinstance(content, str) else content)


def exit_code_rows() -> list[tuple[str, str, str]]:
    """Return code, name and meaning of every exit code; the meaning is the text that follows it in the source."""
    body = ast.parse(inspect.getsource(exit_codes)).body
    documented = [
        (statement.target.id, after.value.value)
        for statement, after in pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    ]
    return [(str(getattr(exit_codes, name)), f"`{name}`", str(meaning)) for name, meaning in documented]


def flags_page(entries: Mapping[str, Field[Any]] = flags.FLAGS) -> str:
    """Return the page: one row a flag in the order of the source, then what the program ends with."""
    rows = [
        (
            f"`--{name}`",
            f"`{flags.env_name(name)}`",
            text(field.metadata["kind"].accepted),
            default(field),
            text(field.metadata["help"]),
        )
        for name, field in entries.items()
    ]
    return page(
        "# Flags of the trainer",
        GENERATED,
        "`python -m dtf_trainer --job_name ps|worker [--flag value …]` runs one task. Hyphens may stand for "
        "underscores. Every flag can come from the environment; a flag on the command line goes first.",
        table(("Flag", "Environment", "Accepts", "Default", "Meaning"), rows),
        "## Exit codes",
        table(("Code", "Name", "Meaning"), exit_code_rows()),
        "Source: `trainer/dtf_trainer/flags.py`, `trainer/dtf_trainer/exit_codes.py`",
    )
