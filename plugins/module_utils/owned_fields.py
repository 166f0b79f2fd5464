# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of an object that a field manager has said something about: a difference without the server's noise.

The server keeps for each manager which fields it applied (``metadata.managedFields``, FieldsV1): ``f:NAME`` is a field
of a mapping, ``k:{KEYS}`` an entry of a list that is told apart by keys, ``v:VALUE`` an entry that is a plain value.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def owned(document: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """Return what a manager has applied of an object; empty where it has applied nothing."""
    found: dict[str, Any] = {}
    for entry in document["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            found = _picked(document, entry.get("fieldsV1") or {})
    return found


def contains(live: object, wanted: object) -> bool:
    """Whether everything that is wanted is there; what the server or others added does not matter."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(name in live and contains(live[name], wanted[name]) for name in wanted)
    if isinstance(wanted, (list, tuple)):
        same_length = isinstance(live, (list, tuple)) and len(live) == len(wanted)
        return same_length and all(contains(*pair) for pair in zip(live, wanted))  # type: ignore[call-overload]
    return live == wanted


def _picked(value: Any, fields: Mapping[str, Any]) -> Any:
    inner = {key: below for key, below in fields.items() if key != "."}
    if not inner:
        return value
    if isinstance(value, Mapping):
        return {
            key[2:]: _picked(value[key[2:]], below)
            for key, below in inner.items()
            if key.startswith("f:") and key[2:] in value
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_picked(entry, below) for entry in value for below in _entries_fields(entry, inner)]
    return value


def _entries_fields(entry: Any, fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the fields of the key that stands for an entry of a list; none where it is somebody else's."""
    for key, below in fields.items():
        if key.startswith("k:") and isinstance(entry, Mapping):
            if all(entry.get(name) == wanted for name, wanted in json.loads(key[2:]).items()):
                return [below]
        elif key.startswith("v:") and json.loads(key[2:]) == entry:
            return [{}]
    return []
