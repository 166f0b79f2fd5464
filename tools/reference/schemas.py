"""Pages of the JSON Schemas: every field as a table row, whatever its depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reference.markdown import GENERATED, page, table, value

Schema = Mapping[str, Any]
HEAD = ("Field", "Type", "Required", "Meaning")


def resolve(schema: Schema, root: Schema) -> dict[str, Any]:
    """Return `schema` with what its local `$ref` points at laid below its own words."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#"):
        return dict(schema)
    target: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        target = target[step] if step else target
    return {**resolve(target, root), **{key: part for key, part in schema.items() if key != "$ref"}}


def kind(schema: Schema, root: Schema) -> str:
    """Return the type of a value in words."""
    if "$ref" in schema and not str(schema["$ref"]).startswith("#"):
        return f"`{schema['$ref']}`"
    schema = resolve(schema, root)
    if "const" in schema:
        return value(schema["const"])
    if "enum" in schema:
        return ", ".join("null" if choice is None else value(choice) for choice in schema["enum"])
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return " or ".join(kind(choice, root) for choice in schema[key])
    types = schema.get("type", "any")
    return _with_items(" or ".join([types] if isinstance(types, str) else types), schema, root)


def _with_items(types: str, schema: Schema, root: Schema) -> str:
    inner = schema.get("items") if "array" in types else schema.get("additionalProperties")
    if isinstance(inner, Mapping) and inner:
        return f"{types} of {kind(inner, root)}"
    return types


def limits(schema: Schema) -> str:
    """Return the bounds of a value in words, empty if it has none."""
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minItems": "{} items or more",
        "maxItems": "{} items or fewer",
        "pattern": "matches {}",
        "format": "as {}",
    }
    said = [text.format(value(schema[key])) for key, text in words.items() if key in schema]
    return f"({', '.join(said)})" if said else ""


def fields(schema: Schema, root: Schema, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield path, type, required and meaning of every field of an object, and of the objects inside it."""
    required = set(schema.get("required", ()))
    for name, entry in (schema.get("properties") or {}).items():
        full = resolve(entry, root)
        meaning = " ".join(part for part in (full.get("description", ""), limits(full)) if part)
        yield f"`{prefix}{name}`", kind(entry, root), "yes" if name in required else "", meaning
        yield from _below(full, root, f"{prefix}{name}")


def _below(schema: Schema, root: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    for branch in (schema, *(resolve(choice, root) for key in ("oneOf", "anyOf") for choice in schema.get(key, ()))):
        yield from fields(branch, root, f"{path}.")
        items, others = branch.get("items"), branch.get("additionalProperties")
        if isinstance(items, Mapping):
            yield from _below(resolve(items, root), root, f"{path}[]")
        if isinstance(others, Mapping):
            yield from _below(resolve(others, root), root, f"{path}.<name>")


def schema_page(schema: Schema, source: str) -> str:
    """Return the page of a document's schema."""
    return page(
        f"# {schema.get('title', schema['$id'])}",
        GENERATED,
        f"`{schema['$id']}`. {schema.get('description', '')}",
        table(HEAD, fields(schema, schema)),
        f"Source: `{source}`",
    )


def event_page(schema: Schema, source: str) -> str:
    """Return the page of the event schema: what all events carry, then each event with its own fields."""
    blocks = [
        "# Events",
        GENERATED,
        f"`{schema['$id']}`. {schema['description']}",
        '```text\nDTF_EVENT {"schema":"dtf.event/1","event":"…","run_id":"…","role":"…","index":0,…}\n```',
        "## Every event",
        table(HEAD, fields(schema, schema)),
    ]
    for rule in schema.get("allOf", ()):
        name = rule["if"]["properties"]["event"].get("const")
        then = resolve(rule["then"], schema)
        rows = list(fields(then, schema))
        blocks += [f"## `{name}`", then.get("description", ""), table(HEAD, rows) if rows else ""]
    return page(*blocks, f"Source: `{source}`")
