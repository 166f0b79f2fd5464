# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release between what is wanted of it and what the cluster has: what differs, and how it is brought there.

What a release's objects are to be is asked of the API server, by a dry run of just what Helm would apply. So what
somebody else changed or deleted is seen, and check mode tells what the next run does.

This module util is private to the collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import helm_manifests, manifest_yaml
from .errors import ActionFailed, InvalidInput
from .helm_client import DEPLOYED, Chart, Helm, Release, UnknownKind, failed_event
from .helm_manifests import CHANGED, CREATED, KEPT, REMOVED, Change, Identity
from .kubernetes_client import FIELD_MANAGER, Cluster, Resource

Document = Mapping[str, Any]

#: In whose name Helm applies.
HELM_MANAGER = "helm"
DEFINITION = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
#: What an API server adds to each object, and what is new with each change.
_SERVERS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_POLL_SECONDS = 0.5
_LOG_LINES = 20


@dataclass(frozen=True)
class Wanted:
    """A release as it is to be.

    Attributes:
        chart: path of the chart.
        values: over the chart's own.
        apply_definitions: whether the definitions of the chart's folder ``crds`` are applied.
        create_namespace: whether the namespace is made where it is missing.
        namespace_labels: that it has, where it is ours to make.
    """

    chart: str
    values: Mapping[str, Any] = field(repr=False)
    apply_definitions: bool = True
    create_namespace: bool = False
    namespace_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """What lies between a release and what is wanted of it.

    Attributes:
        namespace: the change of the release's namespace, or nothing.
        definitions: changes of custom resource definitions.
        objects: changes of objects.
        record: what else of the release differs, in words; nothing of it is an object.
        images: that the wanted objects name.
        chart: of the wanted release, or of the one that goes.
        revision: of the release as it is; 0 where there is none.
        warnings: about what is installed.
    """

    namespace: list[Change]
    definitions: list[Change]
    objects: list[Change]
    record: list[str]
    images: list[str]
    chart: Chart | None
    revision: int
    warnings: list[str]

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.record or any(change.action != KEPT for change in self._all))

    @property
    def _all(self) -> list[Change]:
        return [*self.namespace, *self.definitions, *self.objects]

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "objects": [change.as_dict() for change in [*self.namespace, *self.objects]],
            "crds": [change.as_dict() for change in self.definitions],
            "record": self.record,
            "images": self.images,
            "chart": None if self.chart is None else self.chart.as_dict(),
            "revision": self.revision,
        }

    def shown(self) -> list[dict[str, str]]:
        """Return what ``--diff`` shows."""
        return helm_manifests.difference(self._all, manifest_yaml.text)


class Releases:
    """One release, looked at and brought to what is wanted.

    Args:
        helm: the program, asked about the release.
        cluster: where it is.
        pending_seconds: after which a release that somebody changes counts as left behind.
    """

    def __init__(self, helm: Helm, cluster: Cluster, pending_seconds: float) -> None:
        self._helm = helm
        self._cluster = cluster
        self._pending_seconds = pending_seconds

    def towards(self, wanted: Wanted) -> Difference:
        """Return what has to change for a release to be as wanted; changes nothing.

        Raises:
            InvalidInput: values or the chart's objects are refused.
            ActionFailed: the chart is none, the cluster does not answer, the namespace is missing.
        """
        chart = self._helm.chart(wanted.chart)
        release = self._helm.release()
        given = _read(self._helm.definitions(wanted.chart), self._helm.namespace)
        namespace = self._namespace(wanted)
        definitions = list(self._live(given, FIELD_MANAGER)) if wanted.apply_definitions else []
        # A template may ask whether it is being installed. What was installed once is first looked at as it was then:
        # if nothing differs so, nothing has to be done.
        ways = [False, True] if release and release.revision == 1 else [release is not None]
        for upgrade in ways:
            objects, record, images, warnings = self._rest(wanted, release, chart, given, upgrade=upgrade)
            found = Difference(
                namespace=namespace,
                definitions=definitions,
                objects=objects,
                record=record,
                images=images,
                chart=chart,
                revision=release.revision if release else 0,
                warnings=warnings,
            )
            if not record and not any(change.action != KEPT for change in objects):
                break
        return found

    def _rest(
        self,
        wanted: Wanted,
        release: Release | None,
        chart: Chart,
        given: Mapping[Identity, Document],
        *,
        upgrade: bool,
    ) -> tuple[list[Change], list[str], list[str], list[str]]:
        """Return changes of objects, what else differs, images, and what is odd about the release as it is."""
        kinds = helm_manifests.defined_cluster_kinds(given.values())
        rendered = _rendered(self._render(wanted, given, upgrade=upgrade), self._helm.namespace, kinds)
        stored, warnings = self._stored(release, kinds)
        gone = [c for c in helm_manifests.compare(stored, rendered.objects) if c.action in (REMOVED, KEPT)]
        there = list(self._live({i: self._owned(d) for i, d in rendered.objects.items()}, HELM_MANAGER))
        self._check_owner([change for change in there if change.identity not in stored])
        record = _record(release, chart, wanted, stored, rendered.objects)
        documents = [*rendered.objects.values(), *(hook.document for hook in rendered.hooks)]
        return [*there, *gone], record, helm_manifests.images(documents), warnings

    def away(self, chart: str, *, remove_definitions: bool) -> Difference:
        """Return what has to change for a release to be gone.

        Args:
            chart: path, needed to know its definitions; may be empty.
            remove_definitions: whether these go too, with every object of their kinds.
        """
        release = self._helm.release()
        given = _read(self._helm.definitions(chart), self._helm.namespace) if chart and remove_definitions else {}
        stored, warnings = self._stored(release, helm_manifests.defined_cluster_kinds(given.values()))
        there = {identity: self._get(document) for identity, document in given.items()}
        return Difference(
            namespace=[],
            definitions=[Change(REMOVED, identity, _plain(live), None) for identity, live in there.items() if live],
            objects=helm_manifests.compare(stored, {}, uninstall=True),
            record=[] if release is None else [f"release {self._helm.release_name} goes"],
            images=[],
            chart=release.chart if release else None,
            revision=release.revision if release else 0,
            warnings=warnings,
        )

    def bring(self, wanted: Wanted, difference: Difference) -> int:
        """Carry out what :meth:`towards` told; return the revision."""
        if difference.namespace:
            for document in self._own_namespace(wanted).values():
                self._apply(document)
        for change in difference.definitions:
            if change.after is not None:
                self._apply_definition(change.identity, wanted)
        if not difference.record and not difference.objects:
            return difference.revision
        left = self._left_behind()
        if left is not None and left.status != "uninstalling":
            # Its objects carry the release's name, so that the next attempt finds them its own.
            self._cluster.delete("Secret", self._helm.record(left.revision), self._helm.namespace)
        elif left is not None:
            self._helm.remove()
        try:
            return self._helm.put(wanted.chart, wanted.values)
        except ActionFailed as error:
            raise self._explained(error, wanted) from error

    def take_away(self, difference: Difference) -> None:
        """Carry out what :meth:`away` told, and return when it is gone."""
        if difference.record:
            self._left_behind()
            self._helm.remove()
        for change in difference.definitions:
            self._remove_definition(change.identity)

    def _namespace(self, wanted: Wanted) -> list[Change]:
        """Return how the release's namespace differs; refuse one that is missing and not to be made."""
        if not wanted.create_namespace:
            if self._cluster.get("Namespace", self._helm.namespace) is None:
                step = "create it, or say create_namespace: true"
                raise ActionFailed("namespace_missing", f"there is no namespace {self._helm.namespace}: {step}")
            return []
        return list(self._live(self._own_namespace(wanted), FIELD_MANAGER))

    def _own_namespace(self, wanted: Wanted) -> dict[Identity, Document]:
        metadata = {"name": self._helm.namespace, "labels": dict(wanted.namespace_labels)}
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        return {Identity("", "Namespace", "", self._helm.namespace): document}

    def _render(self, wanted: Wanted, given: Mapping[Identity, Document], *, upgrade: bool) -> str:
        """Render as the cluster would; before the chart's definitions are there, as it will."""
        try:
            return self._helm.render(wanted.chart, wanted.values, upgrade=upgrade)
        except UnknownKind as error:
            kinds = {(d["spec"]["group"], d["spec"]["names"]["kind"]) for d in given.values()}
            if not wanted.apply_definitions or not kinds:
                raise error from None
            versions = [f"{d['spec']['group']}/{v['name']}" for d in given.values() for v in d["spec"]["versions"]]
            return self._helm.render(
                wanted.chart,
                wanted.values,
                upgrade=upgrade,
                kubernetes=self._cluster.git_version(),
                api_versions=[*self._cluster.api_versions(), *dict.fromkeys(versions)],
            )

    def _stored(
        self, release: Release | None, kinds: set[tuple[str, str]]
    ) -> tuple[Mapping[Identity, Document], list[str]]:
        """Return the objects that the release has on record, and what is odd about them."""
        if release is None:
            return {}, []
        documents, problems = manifest_yaml.documents(release.manifest)
        read = helm_manifests.read(documents, self._helm.namespace, kinds)
        return read.objects, [f"the installed release: {problem}" for problem in [*problems, *read.problems]]

    def _owned(self, document: Document) -> Document:
        """Return an object with what Helm writes on each of its own."""
        metadata = dict(document["metadata"])
        metadata["labels"] = {**(metadata.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}
        metadata["annotations"] = {
            **(metadata.get("annotations") or {}),
            "meta.helm.sh/release-name": self._helm.release_name,
            "meta.helm.sh/release-namespace": self._helm.namespace,
        }
        return {**document, "metadata": metadata}

    def _check_owner(self, changes: list[Change]) -> None:
        """Refuse to take what somebody else made, as Helm does, and say all of it.

        Args:
            changes: of objects that the release has not on record.
        """
        foreign = [c.identity for c in changes if c.before is not None and not self._is_ours(c.before)]
        if foreign:
            names = ", ".join(map(str, foreign))
            step = "remove them, or install under the name they belong to"
            raise ActionFailed("not_ours", f"not made by release {self._helm.release_name}: {names}: {step}")

    def _is_ours(self, document: Document) -> bool:
        metadata, ours = document["metadata"], self._owned({"metadata": {}})["metadata"]
        return all((ours[part]).items() <= (metadata.get(part) or {}).items() for part in ("labels", "annotations"))

    def _live(self, wanted: Mapping[Identity, Document], manager: str) -> Iterator[Change]:
        """Yield how objects differ from what the cluster would have of them."""
        for identity, document in wanted.items():
            resource = self._cluster.resource(document["apiVersion"], document["kind"])
            live = resource and self._cluster.get_at(resource, identity.name, identity.namespace)
            if not resource or not live:
                yield Change(CREATED, identity, None, document)
                continue
            applied = self._cluster.apply_at(resource, document, identity.namespace, manager=manager, dry_run=True)
            before, after = _plain(live), _plain(applied)
            if before != after:
                yield Change(CHANGED, identity, before, after)

    def _get(self, document: Document) -> Document | None:
        resource = self._cluster.resource(document["apiVersion"], document["kind"])
        return None if resource is None else self._cluster.get_at(resource, document["metadata"]["name"])

    def _apply(self, document: Document) -> Resource:
        """Apply an object that belongs to no release; return where the API has its kind."""
        resource = self._cluster.resource(document["apiVersion"], document["kind"])
        if resource is None:
            raise ActionFailed("unknown_kind", "the cluster knows no {}".format(document["kind"]))
        self._cluster.apply_at(resource, document, "", manager=FIELD_MANAGER)
        return resource

    def _apply_definition(self, identity: Identity, wanted: Wanted) -> None:
        """Apply a definition, and return when the cluster serves its kind."""
        resource = self._apply(_read(self._helm.definitions(wanted.chart), self._helm.namespace)[identity])

        def served() -> str:
            found = self._cluster.get_at(resource, identity.name) or {}
            conditions = {c["type"]: c for c in (found.get("status") or {}).get("conditions") or []}
            if conditions.get("Established", {}).get("status") == "True":
                return ""
            return str(conditions.get("NamesAccepted", {}).get("message") or "it is not established yet")

        self._until(f"{identity} is served", served)

    def _remove_definition(self, identity: Identity) -> None:
        """Delete a definition with the objects of its kind, and return when it is gone."""
        resource = self._cluster.resource(*DEFINITION)
        if resource is None or not self._cluster.delete_at(resource, identity.name):
            return

        def left() -> str:
            found = self._cluster.get_at(resource, identity.name)
            if found is None:
                return ""
            conditions = (found.get("status") or {}).get("conditions") or []
            return next((str(c.get("message")) for c in conditions if c["type"] == "Terminating"), "it is still there")

        self._until(f"{identity} is gone", left)

    def _until(self, what: str, missing: Callable[[], str]) -> None:
        """Wait until nothing is missing."""
        deadline = time.monotonic() + self._helm.timeout
        while True:
            words = missing()
            if not words:
                return
            if time.monotonic() > deadline:
                step = "look at the finalizers of what is left, or raise timeout_seconds"
                raise ActionFailed("timeout", f"{what}: not within {self._helm.timeout:g} s ({words}): {step}")
            time.sleep(_POLL_SECONDS)

    def _left_behind(self) -> Release | None:
        """Wait for somebody else who changes the release; return it where that one never ends, as one who was killed.

        A release's record says that it is being changed, and nothing says whether it is.
        """
        deadline = time.monotonic() + self._pending_seconds
        while True:
            release = self._helm.release()
            if release is None or not release.pending:
                return None
            if time.monotonic() > deadline:
                return release
            time.sleep(_POLL_SECONDS)

    def _explained(self, error: ActionFailed, wanted: Wanted) -> ActionFailed:
        """Return a failure with the last words of the hook that it was."""
        event = failed_event(error)
        if not event:
            return error
        manifest = self._helm.render(wanted.chart, wanted.values, upgrade=event.endswith("upgrade"))
        hooks = _rendered(manifest, self._helm.namespace, set()).hooks
        names = [hook.identity.name for hook in hooks if event in hook.events]
        words = [line for name in names for line in self._last_words(name)]
        if not words:
            return error
        message = "{}\n{}".format(error.message, "\n".join(words))
        return ActionFailed(error.code, message, **error.details)

    def _last_words(self, name: str) -> list[str]:
        """Return the end of the log of a hook's pods, which may be gone."""
        pods = self._cluster.list("Pod", self._helm.namespace).items
        own = [p["metadata"]["name"] for p in pods if name in (p["metadata"]["name"], _job(p))]
        found = []
        for pod in own:
            try:
                lines = list(self._cluster.logs(pod, self._helm.namespace, tail_lines=_LOG_LINES))
            except ActionFailed:
                continue
            found += [f"{pod}: {line}" for line in lines]
        return found


def _job(pod: Document) -> str:
    return str((pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name", ""))


def _read(text: str, namespace: str) -> Mapping[Identity, Document]:
    """Return the definitions of a chart."""
    documents, problems = manifest_yaml.documents(text)
    read = helm_manifests.read(documents, namespace)
    if problems or read.problems:
        raise InvalidInput("the chart's definitions", [*problems, *read.problems])
    return read.objects


def _rendered(text: str, namespace: str, kinds: set[tuple[str, str]]) -> helm_manifests.Rendered:
    documents, problems = manifest_yaml.documents(text)
    read = helm_manifests.read(documents, namespace, kinds)
    if problems or read.problems:
        raise InvalidInput("what the chart gives", [*problems, *read.problems])
    return read


def _record(
    release: Release | None,
    chart: Chart,
    wanted: Wanted,
    stored: Mapping[Identity, Document],
    objects: Mapping[Identity, Document],
) -> list[str]:
    """Return what of a release differs beside its objects."""
    if release is None:
        return ["there is no release yet"]
    found = []
    if release.status != DEPLOYED:
        found.append(f"the release is {release.status}")
    if release.chart != chart:
        old, new = (f"{each.name} {each.version}" for each in (release.chart, chart))
        found.append(f"chart {old} becomes {new}")
    if dict(release.values) != dict(wanted.values):
        found.append("other values")
    elif helm_manifests.compare(stored, objects):
        found.append("the chart gives other objects than it did")
    return found


def _plain(document: Document | None) -> dict[str, Any]:
    """Return what is said of an object, without what the server keeps of it."""
    if document is None:
        return {}
    metadata = {name: value for name, value in document["metadata"].items() if name not in _SERVERS}
    rest = {name: value for name, value in document.items() if name not in ("status", "metadata")}
    return {**rest, "metadata": metadata}
