# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests as YAML: read as Helm reads them, written as a person reads them.

The one place for PyYAML, which is wherever Ansible or a Kubernetes client is. What goes beyond JSON is refused.

This module util is private to the collection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .errors import ActionFailed, Problem

try:
    import yaml
except ImportError:
    HAS_YAML = False
else:
    HAS_YAML = True

#: Within a document nothing but its end can stand at the start of a line with three hyphens.
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: (.+)$", re.MULTILINE)
#: What PyYAML makes of a plain text and Helm does not.
_NOT_RESOLVED = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})
_WITHOUT_COLONS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0b[0-1_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"),
    "tag:yaml.org,2002:float": re.compile(
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"
    ),
}


def check() -> None:
    """Raise :class:`ActionFailed` where there is no PyYAML."""
    if not HAS_YAML:
        raise ActionFailed("yaml_missing", "manifests are read with PyYAML, which this Python has not: install it")


def documents(text: str) -> tuple[list[tuple[str, object]], list[Problem]]:
    """Return each document of a manifest with its place in words, and the problems of what is none.

    A problem quotes nothing of the document, which may be a secret.
    """
    found: list[tuple[str, object]] = []
    problems = []
    parts = [part for part in _SEPARATOR.split(text) if part.strip()]
    for position, part in enumerate(parts, start=1):
        source = _SOURCE.search(part)
        place = f"document {position}" + (f" ({source[1].strip()})" if source else "")
        try:
            found.append((place, _plain(yaml.load(part, Loader=_loader()))))  # noqa: S506 - it is a SafeLoader
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            problems.append(Problem(place, f"unreadable at line {mark.line + 1}" if mark else "unreadable", "YAML"))
    return found, problems


def text(document: Mapping[str, Any]) -> str:
    """Return an object as YAML, with its names in order and texts of several lines as such."""
    return str(yaml.dump(document, Dumper=_dumper(), default_flow_style=False, allow_unicode=True, width=120))


def _plain(value: Any) -> Any:
    """Return a value as it is in JSON: a number without a fraction is whole."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise ValueError("no value of JSON")
    return value


def _key(name: object) -> str:
    if isinstance(name, str):
        return name
    if name is None or isinstance(name, (bool, int, float)):
        return json.dumps(name)
    raise ValueError("no key of JSON")


@lru_cache(maxsize=1)
def _loader() -> Any:
    """Return PyYAML's safe loader without what Helm's does not know: times, numbers to the base 60, and ``=``."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            # As texts from the start: for Python 1 and true are one key.
            self.flatten_mapping(node)
            return {
                _key(self.construct_object(name, deep=True)): self.construct_object(value, deep=deep)
                for name, value in node.value
            }

    Loader.yaml_implicit_resolvers = {
        first: [(tag, _WITHOUT_COLONS.get(tag, pattern)) for tag, pattern in resolvers if tag not in _NOT_RESOLVED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


@lru_cache(maxsize=1)
def _dumper() -> Any:
    """Return PyYAML's safe dumper that writes texts of several lines as such, and nothing as a reference."""

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the contract of its base
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return Dumper
