# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Helm rendered, as objects: which of them a release would create, change, remove or leave behind.

Two manifests are compared by what they mean: order, comments and notation do not matter. Hooks are no part of a
release's manifest, so they are listed and not compared. No function here returns a secret's values but in the objects
themselves; what is to be shown is :func:`difference`.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Problem

HOOK = "helm.sh/hook"
RESOURCE_POLICY = "helm.sh/resource-policy"

CREATED, CHANGED, REMOVED, KEPT = "created", "changed", "removed", "kept"

#: ``(group, kind)`` of what Kubernetes itself has outside of namespaces.
CLUSTER_KINDS = frozenset(
    (group, kind)
    for group, kinds in {
        "": "Namespace Node PersistentVolume",
        "admissionregistration.k8s.io": (
            "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration "
            "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration"
        ),
        "apiextensions.k8s.io": "CustomResourceDefinition",
        "apiregistration.k8s.io": "APIService",
        "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle",
        "flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
        "networking.k8s.io": "IngressClass IPAddress ServiceCIDR",
        "node.k8s.io": "RuntimeClass",
        "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding",
        "resource.k8s.io": "DeviceClass DeviceTaintRule ResourceSlice",
        "scheduling.k8s.io": "PriorityClass",
        "storage.k8s.io": "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
    }.items()
    for kind in kinds.split()
)

_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
#: kubectl keeps a whole object in it, a secret's values too.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Identity:
    """What makes two documents one object. The version of its API does not: a server keeps one object for them all.

    Attributes:
        group: of the API; empty for the core.
        kind: of the object.
        namespace: empty for what has none.
        name: of the object.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {self.namespace}/{self.name}" if self.namespace else f"{kind} {self.name}"


@dataclass(frozen=True)
class Hook:
    """Something a chart has run at a moment of a release's life.

    Attributes:
        identity: of the object that is made for it.
        events: when, such as ``pre-install``. With one that Helm does not know it is never run.
        document: the object.
    """

    identity: Identity
    events: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def tests_only(self) -> bool:
        """Whether nothing but ``helm test`` runs it."""
        return set(self.events) <= {"test", "test-success"}

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {**_named(self.identity, self.document), "events": list(self.events)}


@dataclass(frozen=True)
class Rendered:
    """A manifest, read.

    Attributes:
        objects: of the release, in the manifest's order; of two with one identity the last.
        hooks: what is only run, in the manifest's order; those of ``helm test`` alone are left out.
        problems: what is no object, or is one twice. They quote no value of the manifest.
    """

    objects: Mapping[Identity, Mapping[str, Any]]
    hooks: tuple[Hook, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Change:
    """One object in which two manifests differ.

    Attributes:
        action: ``created``, ``changed``, ``removed``; ``kept`` for what leaves the release and stays in the cluster.
        identity: of the object.
        before: the object, or ``None``.
        after: the object, or ``None``.
    """

    action: str
    identity: Identity
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, without the object itself."""
        document = self.after if self.after is not None else self.before
        return {**_named(self.identity, document or {}), "action": self.action}


def read(
    documents: Iterable[tuple[str, object]], namespace: str, cluster_kinds: Collection[tuple[str, str]] = ()
) -> Rendered:
    """Sort the documents of a manifest.

    Args:
        documents: each with its place in words; their keys are texts, and their values such as JSON has.
        namespace: the release's; where an object goes that names none.
        cluster_kinds: ``(group, kind)`` of what has no namespace, beside :data:`CLUSTER_KINDS` and what the manifest's
            own definitions say of their kinds. Those of a chart's ``crds/`` folder have to be given.
    """
    found: list[tuple[str, Mapping[str, Any]]] = []
    problems: list[Problem] = []
    for place, value in documents:
        for entry in _entries(value):
            problem = _misfit(place, entry)
            if problem is None:
                found.append((place, entry))
            else:
                problems.append(problem)
    without = {*CLUSTER_KINDS, *cluster_kinds, *defined_cluster_kinds(document for _place, document in found)}
    objects: dict[Identity, Mapping[str, Any]] = {}
    hooks: list[Hook] = []
    for place, document in found:
        identity = identify(document, namespace, without)
        events = _events(document)
        if events is not None:
            hooks.append(Hook(identity, events, document))
            continue
        if identity in objects:
            problems.append(Problem(place, str(identity), "each object once"))
        objects[identity] = document
    return Rendered(objects, tuple(hook for hook in hooks if not hook.tests_only), tuple(problems))


def identify(document: Mapping[str, Any], namespace: str, cluster_kinds: Collection[tuple[str, str]]) -> Identity:
    """Return what an object is known by.

    Args:
        document: the object.
        namespace: where it goes if it names none.
        cluster_kinds: ``(group, kind)`` of all that has no namespace, whatever it says.
    """
    group = document["apiVersion"].rpartition("/")[0]
    kind, metadata = document["kind"], document["metadata"]
    inside = "" if (group, kind) in cluster_kinds else metadata.get("namespace") or namespace
    return Identity(group, kind, inside, metadata["name"])


def defined_cluster_kinds(documents: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Return ``(group, kind)`` of what definitions of custom resources put outside of namespaces."""
    found = set()
    for document in documents:
        spec = document.get("spec")
        if document.get("kind") == "CustomResourceDefinition" and isinstance(spec, Mapping):
            names = spec.get("names")
            if spec.get("scope") == "Cluster" and isinstance(names, Mapping):
                found.add((str(spec.get("group")), str(names.get("kind"))))
    return found


def compare(
    before: Mapping[Identity, Mapping[str, Any]],
    after: Mapping[Identity, Mapping[str, Any]],
    *,
    uninstall: bool = False,
) -> list[Change]:
    """Return the objects in which two manifests differ, in the order of the new one, what goes at the end.

    Args:
        before: the objects of the installed release; none where there is no release.
        after: the objects of the wanted one; none where it is to go.
        uninstall: ``after`` is empty because the release goes, for which Helm reads its policy otherwise.
    """
    found = []
    for identity, document in after.items():
        old = before.get(identity)
        if old is None:
            found.append(Change(CREATED, identity, None, document))
        elif _comparable(old) != _comparable(document):
            found.append(Change(CHANGED, identity, old, document))
    for identity, document in before.items():
        if identity not in after:
            kept = stays(document, uninstall=uninstall)
            found.append(Change(KEPT if kept else REMOVED, identity, document, document if kept else None))
    return found


def stays(document: Mapping[str, Any], *, uninstall: bool) -> bool:
    """Whether Helm leaves an object in the cluster that leaves its release.

    An upgrade leaves what says exactly ``keep``. ``helm uninstall`` leaves what has the annotation at all: it sorts
    neither to what is kept nor to what is deleted where the word is another.
    """
    policy = _annotations(document).get(RESOURCE_POLICY)
    return policy is not None if uninstall else policy == "keep"


def difference(changes: Iterable[Change], text: Callable[[Mapping[str, Any]], str]) -> list[dict[str, str]]:
    """Return what ``--diff`` shows: each object before and after. A secret shows that it changes, not how.

    Args:
        changes: what :func:`compare` found. What is kept stays as it is, so that it has no difference.
        text: how an object is written.
    """
    shown = []
    for change in changes:
        if change.action == KEPT:
            continue
        before, after = _masked(change.before, change.after)
        shown.append(
            {
                "before_header": str(change.identity),
                "after_header": str(change.identity),
                "before": "" if before is None else text(before),
                "after": "" if after is None else text(after),
            }
        )
    return shown


def images(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the images that the pods of workloads name, each once, sorted.

    Images that an object of another kind names for a controller to use are not among them.
    """
    return sorted({image for document in documents for pod in _pods(document) for image in _pod_images(pod)})


def _entries(value: object) -> list[Any]:
    """Return the objects of a document: those of a list, which may leave out what the list says of them all."""
    if value is None:
        return []
    if not isinstance(value, Mapping) or not isinstance(value.get("items"), list):
        return [value]
    said = {"apiVersion": value.get("apiVersion"), "kind": str(value.get("kind"))[: -len("List")]}
    return [{**said, **entry} if isinstance(entry, Mapping) else entry for entry in value["items"]]


def _misfit(place: str, document: object) -> Problem | None:
    """Return what keeps a document from being an object."""
    if not isinstance(document, Mapping):
        return Problem(place, type(document).__name__, "a mapping")
    for name in ("apiVersion", "kind"):
        if not isinstance(document.get(name), str) or not document[name]:
            return Problem(f"{place}: {name}", type(document.get(name)).__name__, "a text")
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return Problem(f"{place}: metadata", type(metadata).__name__, "a mapping")
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        return Problem(f"{place}: metadata.name", type(metadata.get("name")).__name__, "a text")
    for name, accepted, kind in (("namespace", "a text", str), ("annotations", "a mapping", Mapping)):
        if metadata.get(name) is not None and not isinstance(metadata[name], kind):
            return Problem(f"{place}: metadata.{name}", type(metadata[name]).__name__, accepted)
    return None


def _events(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return when a hook is run; ``None`` where the document is none."""
    written = _annotations(document).get(HOOK)
    if written is None:
        return None
    return tuple(event.strip().lower() for event in str(written).split(","))


def _annotations(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return document["metadata"].get("annotations") or {}


def _named(identity: Identity, document: Mapping[str, Any]) -> dict[str, object]:
    return {
        "api_version": document.get("apiVersion", identity.group),
        "kind": identity.kind,
        "namespace": identity.namespace,
        "name": identity.name,
    }


def _comparable(document: Mapping[str, Any]) -> str:
    """Return a form in which equal objects are equal. In Python ``True == 1``; for a server they are two values."""
    return json.dumps(_one_notation(document), sort_keys=True)


def _one_notation(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a secret with all of its values in ``data``, as a server keeps them; anything else as it is."""
    texts = document.get("stringData")
    if not _is_secret(document) or not isinstance(texts, Mapping):
        return document
    encoded = {
        name: base64.b64encode(str(value).encode("utf-8")).decode("ascii")
        for name, value in texts.items()
        if value is not None
    }
    data = document.get("data")
    rest = {name: value for name, value in document.items() if name != "stringData"}
    return {**rest, "data": {**(data if isinstance(data, Mapping) else {}), **encoded}}


def _is_secret(document: Mapping[str, Any]) -> bool:
    return document.get("apiVersion") == "v1" and document.get("kind") == "Secret"


def _masked(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return both with stars for a secret's values; where they differ they say of which side they are."""
    if not _is_secret(before or after or {}):
        return before, after
    old, new = (None if side is None else _one_notation(side) for side in (before, after))
    old_values, new_values = _secret_values(old), _secret_values(new)
    return _with_stars(old, new_values, "before"), _with_stars(new, old_values, "after")


def _secret_values(document: Mapping[str, Any] | None) -> dict[tuple[str, str], object]:
    """Return what is secret of a secret, by the mapping and the name it stands under."""
    if document is None:
        return {}
    data = document.get("data")
    found = {("data", name): value for name, value in data.items()} if isinstance(data, Mapping) else {}
    annotations = _annotations(document)
    if _LAST_APPLIED in annotations:
        found["annotations", _LAST_APPLIED] = annotations[_LAST_APPLIED]
    return found


def _with_stars(
    document: Mapping[str, Any] | None, others: Mapping[tuple[str, str], object], side: str
) -> Mapping[str, Any] | None:
    if document is None:
        return None
    stars = {
        key: f"*** ({side})" if key in others and others[key] != value else "***"
        for key, value in _secret_values(document).items()
    }
    shown = dict(document)
    if isinstance(document.get("data"), Mapping):
        shown["data"] = {name: stars["data", name] for name in document["data"]}
    # What is no mapping is nothing a server takes, and may be the secret all the same.
    shown.update({name: "***" for name in ("data", "stringData") if not isinstance(shown.get(name, {}), Mapping)})
    key = ("annotations", _LAST_APPLIED)
    if key in stars:
        annotations = {**_annotations(document), _LAST_APPLIED: stars[key]}
        shown["metadata"] = {**document["metadata"], "annotations": annotations}
    return shown


def _pods(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the specifications of the pods an object is, or makes."""
    kind, spec = document.get("kind"), document.get("spec")
    if kind == "Pod":
        places = [spec]
    elif kind == "PodTemplate":
        places = [_below(document, "template", "spec")]
    elif kind == "CronJob":
        places = [_below(spec, "jobTemplate", "spec", "template", "spec")]
    else:
        places = [_below(spec, "template", "spec")]
    yield from (place for place in places if isinstance(place, Mapping))


def _pod_images(pod: Mapping[str, Any]) -> Iterator[str]:
    for name in _CONTAINERS:
        for container in _mappings(pod.get(name)):
            if isinstance(container.get("image"), str) and container["image"]:
                yield container["image"]
    for volume in _mappings(pod.get("volumes")):
        reference = _below(volume, "image", "reference")
        if isinstance(reference, str) and reference:
            yield reference


def _below(value: object, *names: str) -> object:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _mappings(value: object) -> Sequence[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
