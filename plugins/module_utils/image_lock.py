# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of images → a lock by which the bundle fetches them, with the digests that an earlier one had learnt.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .bundle import LOCK_SCHEMA
from .errors import InvalidInput, Problem


def lock(images: Iterable[str], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return a lock of images, in the order of their names.

    Args:
        images: full names with a tag.
        before: an earlier lock, or nothing.

    Raises:
        InvalidInput: names without a registry or a tag, all of them; a digest alone is no name in a bundle.
    """
    learnt = {
        "{image}:{version}".format(**entry): entry["digest"]
        for entry in before.get("artifacts") or []
        if entry.get("digest")
    }
    wrong, artifacts = [], []
    for name in sorted(set(images)):
        repository, _colon, tag = name.rpartition(":")
        if "@" in name or "/" in tag or "." not in repository.partition("/")[0]:
            wrong.append(Problem("images", name, "registry.host/name:tag; a bundle has no image by its digest alone"))
            continue
        artifacts.append(
            {
                "name": "{}-{}".format(repository.partition("/")[2].replace("/", "-"), tag),
                "kind": "image",
                "version": tag,
                "image": repository,
                **({"digest": learnt[name]} if name in learnt else {}),
                "nodes": "none",
                "needed_by": "role gpu_operator",
            }
        )
    if wrong:
        raise InvalidInput("images", wrong)
    return {"schema": LOCK_SCHEMA, "artifacts": artifacts}
