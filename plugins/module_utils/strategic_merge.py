# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A strategic merge patch laid over a pod template, by the rules of the API server and of ``kubectl patch``.

Mappings merge field by field; ``null`` takes a field away. A list replaces the one before, but for those of
:data:`MERGE_KEYS`: there an entry with a known key merges with its namesake and another is added, in front of what the
patch does not name. ``$patch: delete`` and ``$patch: replace`` say otherwise, for a mapping or for an entry of a list.
Only where a mapping is to be replaced that is not there does a server drop the patch's; here it is set.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .errors import Problem

_CONTAINER_KEYS = {"env": "name", "ports": "containerPort", "volumeDevices": "devicePath", "volumeMounts": "mountPath"}

#: The lists below a PodTemplateSpec that merge, and the field their entries are known by: "patch merge key" in the API
#: reference (https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/#podspec-v1-core), and
#: ``x-kubernetes-patch-merge-key`` in what a server serves at ``/openapi/v2``.
MERGE_KEYS: Mapping[str, str] = {
    "metadata.ownerReferences": "uid",
    **{
        f"spec.{containers}{below}": key
        for containers in ("containers", "initContainers", "ephemeralContainers")
        for below, key in {"": "name", **{f".{name}": key for name, key in _CONTAINER_KEYS.items()}}.items()
    },
    "spec.hostAliases": "ip",
    "spec.imagePullSecrets": "name",
    "spec.resourceClaims": "name",
    "spec.schedulingGates": "name",
    "spec.topologySpreadConstraints": "topologyKey",
    "spec.volumes": "name",
}
#: Lists of plain values that merge.
MERGED_SCALARS = frozenset({"metadata.finalizers"})

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_SCALARS = "$deleteFromPrimitiveList/"


def merge_template(
    template: Mapping[str, object], patch: Mapping[str, object], name: str
) -> tuple[dict[str, object], list[Problem]]:
    """Return a pod template with a patch laid over it, and what of the patch does not fit.

    Args:
        template: a PodTemplateSpec, ``{metadata, spec}``; it stays as it is.
        patch: the patch.
        name: the patch's name in problems.
    """
    merger = _Merger(name)
    return merger.mapping(template, patch, ""), merger.problems


class _Merger:
    """Carries out one patch; a place is a path without positions, as :data:`MERGE_KEYS` has it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []

    def problem(self, place: str, value: object, accepted: str) -> None:
        self.problems.append(Problem(f"{self.name}.{place}" if place else self.name, value, accepted))

    def mapping(self, before: Mapping[str, object], patch: Mapping[str, object], place: str) -> dict[str, object]:
        """Return a mapping with a patch laid over it."""
        directive = patch.get(_DIRECTIVE)
        if directive == "delete":
            return {}
        if directive is not None and directive != "replace":
            self.problem(_below(place, _DIRECTIVE), directive, "delete or replace")
        after = {} if directive == "replace" else self._retained(before, patch, place)
        for key, value in patch.items():
            below = _below(place, key)
            if key in (_DIRECTIVE, _RETAIN):
                continue
            if key.startswith(_DELETE_SCALARS):
                self._without(after, key[len(_DELETE_SCALARS) :], value, below)
            elif key.startswith("$"):
                self.problem(below, value, f"a field, or one of {_DIRECTIVE}, {_RETAIN}, {_DELETE_SCALARS}FIELD")
            elif value is None or (isinstance(value, Mapping) and value.get(_DIRECTIVE) == "delete"):
                # A mapping that is deleted stays behind empty where there was one, as a server leaves it.
                if value is not None and isinstance(after.get(key), Mapping):
                    after[key] = {}
                else:
                    after.pop(key, None)
            else:
                after[key] = self._value(after.get(key), value, below)
        return after

    def _value(self, before: object, patch: object, place: str) -> object:
        kinds = (_kind(before), _kind(patch))
        if before is not None and kinds[0] != kinds[1]:
            self.problem(place, patch, f"{kinds[0]}, as it is without the patch")
            return before
        if isinstance(patch, Mapping):
            return self.mapping(before if isinstance(before, Mapping) else {}, patch, place)
        if isinstance(patch, (list, tuple)):
            return self._list(before if isinstance(before, (list, tuple)) else (), patch, place)
        return patch

    def _list(self, before: Sequence[object], patch: Sequence[object], place: str) -> list[object]:
        if place in MERGED_SCALARS:
            named = list(dict.fromkeys(str(entry) for entry in patch))
            return named + [entry for entry in before if entry not in named]
        key = MERGE_KEYS.get(place)
        if key is None:
            return [self._value(None, entry, place) for entry in patch]
        entries: list[Mapping[str, object]] = []
        kept = [entry for entry in before if isinstance(entry, Mapping)]
        for entry in patch:
            directive = entry.get(_DIRECTIVE) if isinstance(entry, Mapping) else None
            if isinstance(entry, Mapping) and directive == "replace":
                kept = []
            elif not isinstance(entry, Mapping) or not isinstance(entry.get(key), (str, int)):
                self.problem(place, entry, f"entries that are mappings with {key}, by which this list is merged")
            elif directive == "delete":
                kept = [other for other in kept if other.get(key) != entry[key]]
            elif directive is not None:
                self.problem(_below(place, _DIRECTIVE), directive, "delete or replace")
            else:
                entries.append(entry)
        return _in_order(self._merged(kept, entries, key, place), entries, kept, key)

    def _merged(
        self, before: Sequence[Mapping[str, object]], patch: Sequence[Mapping[str, object]], key: str, place: str
    ) -> dict[object, Mapping[str, object]]:
        merged = {entry.get(key): entry for entry in before}
        for entry in patch:
            merged[entry[key]] = self.mapping(merged.get(entry[key], {}), entry, place)
        return merged

    def _retained(self, before: Mapping[str, object], patch: Mapping[str, object], place: str) -> dict[str, object]:
        if _RETAIN not in patch:
            return dict(before)
        names = patch[_RETAIN]
        if not isinstance(names, (list, tuple)) or any(
            not str(key).startswith("$") and value is not None and key not in names for key, value in patch.items()
        ):
            self.problem(_below(place, _RETAIN), names, "a list of the fields that stay, those of the patch among them")
            return dict(before)
        return {key: value for key, value in before.items() if key in names}

    def _without(self, after: dict[str, object], key: str, values: object, place: str) -> None:
        before = after.get(key)
        if not isinstance(values, (list, tuple)) or (before is not None and not isinstance(before, (list, tuple))):
            self.problem(place, values, "a list of values, to take out of a list of values")
        elif isinstance(before, (list, tuple)):
            after[key] = [entry for entry in before if entry not in values]


def _in_order(
    merged: Mapping[object, Mapping[str, object]],
    patch: Sequence[Mapping[str, object]],
    before: Sequence[Mapping[str, object]],
    key: str,
) -> list[object]:
    """Return merged entries as a server orders them.

    Those of the patch keep its order and the others theirs; of two that both were there, the one that was first is.
    """
    order = {entry.get(key): position for position, entry in enumerate(before)}
    named = list(dict.fromkeys(entry[key] for entry in patch))
    others = [name for name in order if name not in named]
    result: list[object] = []
    while named or others:
        first = others and (not named or (named[0] in order and order[others[0]] < order[named[0]]))
        result.append(merged[(others if first else named).pop(0)])
    return result


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else "a single value"
