"""A release between what is wanted and what there is: what of it differs, and in which order it is brought there."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import helm_state
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed, InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.helm_client import Chart, Release, UnknownKind
from ansible_collections.dtf.cluster.plugins.module_utils.helm_state import Difference, Releases, Wanted
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Resource
from tests.fixtures.own_clock import replace_sleep

Document = dict[str, Any]
CHART = Chart("small", "1.0.0", "1")
NAMES = {"Policy": "policies"}


def config(name: str, **data: str) -> Document:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def hook(name: str) -> Document:
    metadata = {"name": name, "annotations": {"helm.sh/hook": "pre-install"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}


POLICY = {"apiVersion": "example.com/v1", "kind": "Policy", "metadata": {"name": "p"}, "spec": {"word": "one"}}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "policies.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Cluster",
        "names": {"kind": "Policy", "plural": "policies"},
        "versions": [{"name": "v1"}],
    },
}


class Api:
    """Objects in memory. A dry run gives what an apply would leave; each request that writes is remembered."""

    def __init__(self, *documents: Document, namespaces: tuple[str, ...] = ("n",)) -> None:
        self.objects = {self._key(document): copy.deepcopy(document) for document in documents}
        self.namespaces = namespaces
        self.written: list[str] = []
        self.kinds = {"ConfigMap", "CustomResourceDefinition", "Job", "Namespace"}
        self.established = True
        self.pods: list[Document] = []
        self.stays: set[str] = set()

    def _key(self, document: Document) -> tuple[str, str]:
        return document["kind"], document["metadata"]["name"]

    def git_version(self) -> str:
        return "v1.36.3"

    def api_versions(self) -> list[str]:
        return ["v1", "batch/v1"]

    def resource(self, api_version: str, kind: str) -> Resource | None:
        if kind not in self.kinds:
            return None
        cluster = kind in ("CustomResourceDefinition", "Policy")
        return Resource(api_version, kind, NAMES.get(kind, kind.lower() + "s"), not cluster)

    def get(self, kind: str, name: str) -> Document | None:
        assert kind == "Namespace"
        return {"metadata": {"name": name}} if name in self.namespaces else None

    def get_at(self, resource: Resource, name: str, namespace: str = "") -> Document | None:
        del namespace
        return copy.deepcopy(self.objects.get((resource.kind, name)))

    def apply_at(
        self, resource: Resource, manifest: Mapping[str, Any], namespace: str, *, manager: str, dry_run: bool = False
    ) -> Document:
        del namespace, manager
        key = (resource.kind, manifest["metadata"]["name"])
        merged = {**self.objects.get(key, {}), **copy.deepcopy(dict(manifest))}
        if dry_run:
            return merged
        self.written.append(f"apply {key[0]} {key[1]}")
        if resource.kind == "CustomResourceDefinition":
            self.kinds.add(manifest["spec"]["names"]["kind"])
            status = "True" if self.established else "False"
            names = {"type": "NamesAccepted", "message": "the name is taken"}
            merged["status"] = {"conditions": [{"type": "Established", "status": status}, names]}
        self.objects[key] = merged
        return merged

    def delete_at(self, resource: Resource, name: str) -> bool:
        self.written.append(f"delete {resource.kind} {name}")
        if name not in self.stays:
            return self.objects.pop((resource.kind, name), None) is not None
        terminating = {"type": "Terminating", "message": "2 objects have finalizers"}
        self.objects[resource.kind, name]["status"] = {"conditions": [terminating]}
        return True

    def delete(self, kind: str, name: str, namespace: str) -> None:
        self.written.append(f"delete {kind} {namespace}/{name}")

    def list(self, kind: str, namespace: str) -> SimpleNamespace:
        assert (kind, namespace) == ("Pod", "n")
        return SimpleNamespace(items=self.pods)

    def logs(self, pod: str, namespace: str, tail_lines: int) -> list[str]:
        del namespace, tail_lines
        if pod == "gone":
            raise ActionFailed("not_found", "no pod")
        return [f"{pod} lacks a disk"]


class Program:
    """Helm, as a release is asked of it."""

    release_name, namespace, timeout = "small", "n", 0.0

    def __init__(self, api: Api, rendered: list[Document], *releases: Release | None) -> None:
        self.api = api
        self.rendered = rendered
        self.releases = list(releases) or [None]
        self.given: list[Document] = []
        self.fails: ActionFailed | None = None
        self.render_for: list[str] = []

    def chart(self, chart: str) -> Chart:
        assert chart == "/chart"
        return CHART

    def definitions(self, chart: str) -> str:
        assert chart == "/chart"
        return text(self.given)

    def release(self) -> Release | None:
        return self.releases.pop(0) if len(self.releases) > 1 else self.releases[0]

    def render(self, _chart: str, _values: object, *, upgrade: bool, kubernetes: str = "", **more: Any) -> str:
        del upgrade
        self.render_for.append(kubernetes)
        if not kubernetes and any(document["kind"] not in self.api.kinds for document in self.rendered):
            raise UnknownKind("unknown_kind", "the cluster knows no Policy")
        assert not kubernetes or "example.com/v1" in more["api_versions"]
        return text(self.rendered)

    def put(self, _chart: str, _values: object) -> int:
        self.api.written.append("put")
        if self.fails:
            raise self.fails
        return 2

    def remove(self) -> None:
        self.api.written.append("remove")

    def record(self, revision: int) -> str:
        return f"record.v{revision}"


def text(documents: list[Document]) -> str:
    return "\n".join("---\n" + json.dumps(document) for document in documents)


def installed(*documents: Document, status: str = "deployed", chart: Chart = CHART, **values: Any) -> Release:
    return Release(1, status, chart, text(list(documents)), values)


def owned(document: Document, release: str = "small") -> Document:
    metadata = {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "n"},
        **document["metadata"],
    }
    return {**document, "metadata": metadata}


def releases(program: Program, pending_seconds: float = 0.0) -> Releases:
    return Releases(program, program.api, pending_seconds)  # type: ignore[arg-type]


def actions(difference: Difference) -> list[tuple[str, str]]:
    return [(change.action, change.identity.name) for change in [*difference.definitions, *difference.objects]]


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_sleep(monkeypatch, helm_state)


def test_what_is_as_it_should_be_is_no_difference_and_not_written() -> None:
    program = Program(Api(owned(config("a", x="1"))), [config("a", x="1")], installed(config("a", x="1")))
    difference = releases(program).towards(Wanted("/chart", {}))
    assert not difference.changed
    assert releases(program).bring(Wanted("/chart", {}), difference) == 1
    assert program.api.written == []


def test_a_new_release_creates_everything_and_reads_of_nothing_installed() -> None:
    program = Program(Api(), [config("a"), config("b")])
    difference = releases(program).towards(Wanted("/chart", {}))
    assert actions(difference) == [("created", "a"), ("created", "b")]
    assert difference.record == ["there is no release yet"]
    assert difference.revision == 0


def test_what_left_the_chart_goes_and_what_somebody_changed_is_mended() -> None:
    before = installed(config("a", x="1"), config("b"), config("c"))
    api = Api(owned(config("a", x="theirs")), owned(config("b")), owned(config("c")))
    difference = releases(Program(api, [config("a", x="1"), config("c")], before)).towards(Wanted("/chart", {}))
    assert actions(difference) == [("changed", "a"), ("removed", "b")]
    assert difference.changed


@pytest.mark.parametrize(
    ("release", "values", "words"),
    [
        (installed(config("a"), status="failed"), {}, ["the release is failed"]),
        (installed(config("a"), chart=Chart("small", "0.9.0", "1")), {}, ["chart small 0.9.0 becomes small 1.0.0"]),
        (installed(config("a"), word="one"), {"word": "two"}, ["other values"]),
        (installed(config("a", x="0")), {}, ["the chart gives other objects than it did"]),
        (installed(config("a")), {}, []),
    ],
)
def test_what_else_of_a_release_differs_is_told_in_words(release: Release, values: Document, words: list[str]) -> None:
    program = Program(Api(owned(config("a"))), [config("a")], release)
    difference = releases(program).towards(Wanted("/chart", values))
    assert difference.record == words
    assert difference.changed is bool(words)


def test_values_are_in_no_word_of_a_difference() -> None:
    program = Program(Api(owned(config("a"))), [config("a")], installed(config("a"), password="old"))
    difference = releases(program).towards(Wanted("/chart", {"password": "plain-to-see"}))
    assert "plain-to-see" not in json.dumps(difference.as_dict()) + repr(Wanted("/chart", {"password": "plain-to-see"}))


def test_all_that_belongs_to_somebody_else_is_refused_at_once() -> None:
    api = Api(config("a"), owned(config("b"), "another"), owned(config("c")))
    with pytest.raises(ActionFailed, match=r"ConfigMap n/a, ConfigMap n/b: remove them") as raised:
        releases(Program(api, [config("a"), config("b"), config("c")])).towards(Wanted("/chart", {}))
    assert raised.value.code == "not_ours"


def test_a_missing_namespace_is_refused_unless_it_is_to_be_made() -> None:
    program = Program(Api(namespaces=()), [config("a")])
    with pytest.raises(ActionFailed, match="create_namespace: true") as raised:
        releases(program).towards(Wanted("/chart", {}))
    assert raised.value.code == "namespace_missing"
    wanted = Wanted("/chart", {}, create_namespace=True, namespace_labels={"level": "privileged"})
    difference = releases(program).towards(wanted)
    assert difference.as_dict()["objects"][0] == {  # type: ignore[index]
        "action": "created",
        "api_version": "v1",
        "kind": "Namespace",
        "namespace": "",
        "name": "n",
    }
    assert releases(program).bring(wanted, difference) == 2
    assert program.api.written == ["apply Namespace n", "put"]


def test_a_namespace_gets_its_labels_and_helm_has_nothing_to_do_for_it() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"theirs": "1"}}}
    program = Program(Api(namespace, owned(config("a"))), [config("a")], installed(config("a")))
    wanted = Wanted("/chart", {}, create_namespace=True, namespace_labels={"level": "privileged"})
    difference = releases(program).towards(wanted)
    assert difference.changed
    assert releases(program).bring(wanted, difference) == 1
    assert program.api.written == ["apply Namespace n"]


def test_definitions_come_first_and_their_kinds_are_rendered_before_the_cluster_has_them() -> None:
    program = Program(Api(), [POLICY])
    program.given = [DEFINITION]
    wanted = Wanted("/chart", {})
    difference = releases(program).towards(wanted)
    assert actions(difference) == [("created", "policies.example.com"), ("created", "p")]
    assert program.render_for == ["", "v1.36.3"]
    # It has no namespace, by the definition's word.
    assert difference.objects[0].identity.namespace == ""
    releases(program).bring(wanted, difference)
    assert program.api.written == ["apply CustomResourceDefinition policies.example.com", "put"]


def test_definitions_that_are_not_to_be_applied_are_not_and_their_kinds_are_unknown() -> None:
    program = Program(Api(), [POLICY])
    program.given = [DEFINITION]
    with pytest.raises(UnknownKind):
        releases(program).towards(Wanted("/chart", {}, apply_definitions=False))


def test_a_definition_that_is_not_served_ends_the_wait_with_the_servers_words() -> None:
    program = Program(Api(), [POLICY])
    program.given, program.api.established = [DEFINITION], False
    wanted = Wanted("/chart", {})
    difference = releases(program).towards(wanted)
    with pytest.raises(ActionFailed, match=r"is served: not within 0 s \(the name is taken\)") as raised:
        releases(program).bring(wanted, difference)
    assert raised.value.code == "timeout"
    assert "put" not in program.api.written


def test_what_is_no_object_is_told_before_anything_is_done() -> None:
    program = Program(Api(), [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}])
    with pytest.raises(InvalidInput, match=r"metadata\.name"):
        releases(program).towards(Wanted("/chart", {}))


@pytest.mark.parametrize(
    ("status", "written"),
    [
        ("pending-install", ["delete Secret n/record.v1", "put"]),
        ("pending-upgrade", ["delete Secret n/record.v1", "put"]),
        ("uninstalling", ["remove", "put"]),
        ("failed", ["put"]),
    ],
)
def test_a_release_that_was_left_half_done_is_taken_up(status: str, written: list[str]) -> None:
    program = Program(Api(owned(config("a"))), [config("a")], installed(config("a"), status=status))
    wanted = Wanted("/chart", {})
    difference = releases(program).towards(wanted)
    assert difference.record == [f"the release is {status}"]
    releases(program).bring(wanted, difference)
    assert program.api.written == written


def test_one_who_is_at_work_is_waited_for() -> None:
    busy, done = installed(config("a"), status="pending-upgrade"), installed(config("a"))
    program = Program(Api(owned(config("a"))), [config("a")], busy, busy, busy, done)
    wanted = Wanted("/chart", {})
    difference = releases(program, 60).towards(wanted)
    releases(program, 60).bring(wanted, difference)
    assert program.api.written == ["put"]


def test_a_removal_tells_what_goes_and_what_stays_by_its_own_word() -> None:
    kept = config("k")
    kept["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    program = Program(Api(copy.deepcopy(DEFINITION)), [], installed(config("a"), kept))
    program.given = [DEFINITION]
    difference = releases(program).away("/chart", remove_definitions=True)
    assert actions(difference) == [("removed", "policies.example.com"), ("removed", "a"), ("kept", "k")]
    releases(program).take_away(difference)
    assert program.api.written == ["remove", "delete CustomResourceDefinition policies.example.com"]


def test_definitions_stay_unless_they_are_to_go_and_nothing_is_removed_twice() -> None:
    program = Program(Api(copy.deepcopy(DEFINITION)), [])
    program.given = [DEFINITION]
    assert not releases(program).away("", remove_definitions=False).changed
    assert releases(program).away("/chart", remove_definitions=True).changed
    program.api.objects.clear()
    assert not releases(program).away("/chart", remove_definitions=True).changed


def test_a_definition_that_does_not_go_is_told_with_what_is_left_of_it() -> None:
    program = Program(Api(copy.deepcopy(DEFINITION)), [])
    program.given, program.api.stays = [DEFINITION], {"policies.example.com"}
    with pytest.raises(ActionFailed, match=r"is gone: not within 0 s \(2 objects have finalizers\)"):
        releases(program).take_away(releases(program).away("/chart", remove_definitions=True))


def test_a_failed_hook_is_told_with_its_last_words() -> None:
    program = Program(Api(), [config("a"), hook("prepare"), hook("other")])
    program.fails = ActionFailed("hook", "helm upgrade small: failed pre-install: job failed")
    label = {"batch.kubernetes.io/job-name": "prepare"}
    pods = ({"name": "prepare-1", "labels": label}, {"name": "gone", "labels": label}, {"name": "stranger"})
    program.api.pods = [{"metadata": metadata} for metadata in pods]
    wanted = Wanted("/chart", {})
    difference = releases(program).towards(wanted)
    with pytest.raises(ActionFailed) as raised:
        releases(program).bring(wanted, difference)
    assert raised.value.code == "hook"
    assert raised.value.message.splitlines()[1:] == ["prepare-1: prepare-1 lacks a disk"]
