"""The page of the trainer's flags, from the table that the trainer itself reads its command line with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtf_trainer import exit_codes, flags
from reference.markdown import GENERATED, page, table, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field


def default(field: Field[Any]) -> str:
    """Return a flag's default with the home folder of whoever runs this replaced; nothing for "not given"."""
    content = field.default
    if content in (None, "", ()):
        return ""
    return value(content.replace(str(Path.home()), "~") if isinstance(content, str) else content)


def flags_page(entries: Mapping[str, Field[Any]] = flags.FLAGS) -> str:
    """Return the page: one row a flag in the order of the source, then what the program ends with."""
    rows = [
        (
            f"`--{name}`",
            f"`{flags.env_name(name)}`",
            field.metadata["kind"].accepted,
            default(field),
            field.metadata["help"],
        )
        for name, field in entries.items()
    ]
    codes = {name: code for name, code in vars(exit_codes).items() if name.isupper() and isinstance(code, int)}
    return page(
        "# Flags of the trainer",
        GENERATED,
        "`python -m dtf_trainer --job_name ps|worker [--flag value …]` runs one task. Hyphens may stand for "
        "underscores. Every flag can come from the environment; a flag on the command line goes first.",
        table(("Flag", "Environment", "Accepts", "Default", "Meaning"), rows),
        "## Exit codes",
        table(("Code", "Name"), [(str(code), name) for name, code in sorted(codes.items(), key=lambda item: item[1])]),
        "Source: `trainer/dtf_trainer/flags.py`, `trainer/dtf_trainer/exit_codes.py`",
    )
