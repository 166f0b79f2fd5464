"""Holds what is written against its schema, both ways."""

from __future__ import annotations

from typing import Any

import jsonschema


def assert_exactly(schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Fail unless the document is valid, and no longer is without any required key or with a stranger beside one."""
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(document)
    for place, key in _required_keys(schema, document, schema):
        value = place.pop(key)
        assert not validator.is_valid(document), f"valid without {key}"
        place[key] = value
        place["not in the schema"] = 1
        assert not validator.is_valid(document), f"valid with a stranger beside {key}"
        del place["not in the schema"]
    validator.validate(document)


def _required_keys(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return every object of a value, at any depth, with each key that the schema asks for there."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        return [pair for item in value for pair in _required_keys(schema.get("items", {}), item, root)]
    if not isinstance(value, dict):
        return []
    found = [(value, key) for key in schema.get("required", ())]
    for key, inner in value.items():
        found += _required_keys(schema.get("properties", {}).get(key, {}), inner, root)
    return found
