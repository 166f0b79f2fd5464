"""Pages of the modules and filters, from their DOCUMENTATION, EXAMPLES and RETURN as `ansible-doc` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reference.markdown import GENERATED, page, paragraphs, prose, table, value

Options = Mapping[str, Mapping[str, Any]]


def options(entries: Options, inner: str, prefix: str = "") -> Iterator[tuple[str, str, str, str, str]]:
    """Yield name, type, required, default, meaning of every option and of those below it (under its key `inner`)."""
    for name, entry in entries.items():
        path = f"{prefix}{name}"
        kind = f"{entry['type']} of {entry['elements']}" if entry.get("elements") else str(entry.get("type", ""))
        text = prose(entry.get("description", ""))
        if entry.get("choices"):
            text = f"{text} One of {', '.join(value(choice) for choice in entry['choices'])}."
        shown = value(entry.get("default"))
        yield f"`{path}`", kind, "yes" if entry.get("required") else "", shown, text
        below = entry.get(inner)
        if isinstance(below, Mapping):
            yield from options(below, inner, f"{path}[]." if entry.get("type") == "list" else f"{path}.")


def returned(entries: Options, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, when and description of every returned value and of those below it."""
    for name, entry in entries.items():
        kind = f"{entry['type']} of {entry['elements']}" if entry.get("elements") else str(entry.get("type", ""))
        yield f"`{prefix}{name}`", kind, prose(entry.get("returned", "")), prose(entry.get("description", ""))
        below = entry.get("contains")
        if isinstance(below, Mapping):
            yield from returned(below, f"{prefix}{name}[]." if entry.get("type") == "list" else f"{prefix}{name}.")


def plugin_page(name: str, document: Mapping[str, Any], source: str) -> str:
    """Return the page of one module or filter; `document` is its entry in the JSON of `ansible-doc`."""
    doc = document["doc"]
    attributes = doc.get("attributes") or {}
    examples = (document.get("examples") or "").strip("\n")
    rows = [
        (f"`{key}`", str(entry.get("support", "")), prose(entry.get("description", "")))
        for key, entry in attributes.items()
    ]
    return page(
        f"# {name}",
        GENERATED,
        f"{prose(doc['short_description'])}. Source: `{source}`",
        paragraphs(doc["description"]),
        "## Options\n\n" if doc.get("options") else "",
        table(("Name", "Type", "Required", "Default", "Meaning"), options(doc.get("options") or {}, "suboptions")),
        "## What it supports" if rows else "",
        table(("Attribute", "Support", "Meaning"), rows) if rows else "",
        "## Notes\n\n" + "\n".join(f"- {prose(note)}" for note in doc["notes"]) if doc.get("notes") else "",
        f"## Examples\n\n```yaml\n{examples}\n```" if examples else "",
        "## Returned values" if document.get("return") else "",
        table(("Name", "Type", "Returned", "Meaning"), returned(document.get("return") or {})),
    )
