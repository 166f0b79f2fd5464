# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``--diff`` shows of objects: what we said of them, without what differs with every run.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .kube_labels import (
    ANNOTATION_HOSTS_HASH,
    ANNOTATION_OUTCOME,
    ANNOTATION_RUN,
    ANNOTATION_SPEC,
    ANNOTATION_SPEC_HASH,
    LABEL_RUN_ID,
)
from .owned_fields import owned

#: What stands in a difference for the name of the run, which is new each time.
RUN = "<run>"
#: They say in other words what the difference of the specification says, or name the run.
_DERIVED = (
    ANNOTATION_HOSTS_HASH,
    ANNOTATION_OUTCOME,
    ANNOTATION_RUN,
    ANNOTATION_SPEC,
    ANNOTATION_SPEC_HASH,
    LABEL_RUN_ID,
)
_CANDIDATES = "--resume_candidates="


def comparable(document: Mapping[str, Any], manager: str, run_id: str) -> Any:
    """Return what is ours of an object, in a form in which two runs of one spec are equal.

    Args:
        document: as the server returned it; one it has not seen yet is all ours.
        manager: our name.
        run_id: the run it is of.
    """
    ours = owned(document, manager)
    if not document["metadata"].get("managedFields"):
        names = ("apiVersion", "kind", "status")
        ours = {name: part for name, part in document.items() if name not in names}
        ours["metadata"] = {
            name: part for name, part in document["metadata"].items() if name in ("labels", "annotations")
        }
    stripped = _without_derived(ours)
    return json.loads(json.dumps(stripped).replace(run_id, RUN)) if run_id else stripped


def different(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Return the entries of both that are not the same in both."""
    names = {name for name in {**old, **new} if old.get(name) != new.get(name)}
    return (
        {name: value for name, value in old.items() if name in names},
        {name: value for name, value in new.items() if name in names},
    )


def _without_derived(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {name: _without_derived(entry) for name, entry in value.items() if name not in _DERIVED}
        return {name: entry for name, entry in kept.items() if entry != {}} if kept else {}
    if isinstance(value, list):
        return [
            _without_derived(entry) for entry in value if not (isinstance(entry, str) and entry.startswith(_CANDIDATES))
        ]
    return value
