"""Pages of the roles, and the table in each role's README, from `meta/argument_specs.yml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference.markdown import GENERATED, page, paragraphs, table
from reference.plugins import options

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD = ("Variable", "Type", "Required", "Default", "Meaning")
BEGIN = "<!-- variables: made by `make docs` from meta/argument_specs.yml -->"
END = "<!-- end of variables -->"


def leaves(readme: str) -> str:
    """Return what a role leaves behind, as the first line of its README says."""
    return readme.splitlines()[0].removeprefix("Leaves:").strip()


def role_page(name: str, readme: str, specs: Mapping[str, Any]) -> str:
    """Return the page of one role: what it leaves, and every option of every entry point to the last leaf.

    The description of the main entry point says again what the role leaves, so it is left out.
    """
    blocks = [f"# dtf.cluster.{name}", GENERATED, f"Leaves {leaves(readme)}"]
    for entry, spec in specs.items():
        blocks += [
            "" if entry == "main" else f"## Entry point `{entry}`",
            "" if entry == "main" else paragraphs(spec.get("description", "")),
            table(HEAD, options(spec.get("options") or {}, "options")) if spec.get("options") else "No variables.",
        ]
    return page(*blocks, f"Source: `roles/{name}/meta/argument_specs.yml`")


def readme_with_variables(readme: str, specs: Mapping[str, Any]) -> str:
    """Return a README with the table between its markers made anew; without markers, a section is added at its end.

    The table has a role's own variables only: what is inside one of them is on the role's reference page.
    """
    entries = specs.get("main", {}).get("options") or {}
    flat = {name: {key: part for key, part in entry.items() if key != "options"} for name, entry in entries.items()}
    block = f"{BEGIN}\n\n{table(HEAD, options(flat, 'options')) if flat else 'None.'}\n\n{END}"
    if BEGIN in readme and END in readme:
        before, rest = readme.split(BEGIN, 1)
        return before + block + rest.split(END, 1)[1]
    return page(readme, "## Variables", block)
