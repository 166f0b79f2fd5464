"""What of a rendered chart is an object, what differs between two renderings, and what of a secret is shown."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import helm_manifests
from ansible_collections.dtf.cluster.plugins.module_utils.helm_manifests import (
    CHANGED,
    CREATED,
    KEPT,
    REMOVED,
    Identity,
    Rendered,
    compare,
    difference,
    images,
    read,
    stays,
)

#: As read from what Helm writes; a condition left nothing of the second.
RELEASE: list[tuple[str, object]] = [
    (
        "document 1",
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"run.sh": "echo one\necho two\n"},
        },
    ),
    ("document 2", None),
    (
        "document 3",
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "reader", "namespace": "gpu"},
        },
    ),
    (
        "document 4",
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "device", "namespace": "other"},
            "spec": {
                "template": {
                    "spec": {
                        "initContainers": [{"name": "first", "image": "r/init:1"}],
                        "containers": [{"name": "main", "image": "r/main:1"}, {"name": "side", "image": "r/init:1"}],
                        "volumes": [
                            {"name": "model", "image": {"reference": "r/model:1"}},
                            {"name": "empty", "emptyDir": {}},
                        ],
                    }
                }
            },
        },
    ),
    (
        "document 5",
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "clean", "annotations": {"helm.sh/hook": "pre-delete, Post-Upgrade"}},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "r/clean:1"}]}}},
        },
    ),
    (
        "document 6",
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "ask", "annotations": {"helm.sh/hook": "test"}},
            "spec": {"containers": [{"name": "c", "image": "r/ask:1"}]},
        },
    ),
]
SETTINGS = Identity("", "ConfigMap", "gpu", "settings")


def rendered(*documents: dict[str, Any]) -> Rendered:
    return sorted_out([("", document) for document in documents])


def sorted_out(documents: list[tuple[str, object]]) -> Rendered:
    found = read(documents, "gpu")
    assert found.problems == ()
    return found


def config_map(name: str = "settings", annotations: dict[str, str] | None = None, **data: object) -> dict[str, Any]:
    metadata = {"name": name, **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def secret(**more: object) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull"}, **more}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def actions(before: Rendered, after: Rendered) -> list[tuple[str, str]]:
    return [(change.action, str(change.identity)) for change in compare(before.objects, after.objects)]


def test_objects_are_read_with_the_namespace_they_go_to_and_hooks_apart() -> None:
    found = sorted_out(RELEASE)
    assert [str(identity) for identity in found.objects] == [
        "ConfigMap gpu/settings",
        "ClusterRole.rbac.authorization.k8s.io reader",
        "DaemonSet.apps other/device",
    ]
    assert [hook.as_dict() for hook in found.hooks] == [
        {
            "api_version": "batch/v1",
            "kind": "Job",
            "namespace": "gpu",
            "name": "clean",
            "events": ["pre-delete", "post-upgrade"],
        }
    ]


def test_a_hook_that_is_more_than_a_test_is_listed() -> None:
    both = config_map(annotations={"helm.sh/hook": "test,post-install"})
    assert [hook.events for hook in rendered(both).hooks] == [("test", "post-install")]
    assert not rendered(both).objects


def test_images_are_those_of_all_containers_and_image_volumes() -> None:
    found = sorted_out(RELEASE)
    assert images(found.objects.values()) == ["r/init:1", "r/main:1", "r/model:1"]
    assert images(hook.document for hook in found.hooks) == ["r/clean:1"]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Pod", {"spec": "POD"}),
        ("PodTemplate", {"template": {"spec": "POD"}}),
        ("Deployment", {"spec": {"template": {"spec": "POD"}}}),
        ("CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": "POD"}}}}}),
    ],
)
def test_the_pod_of_each_kind_of_workload_is_found(kind: str, spec: dict[str, Any]) -> None:
    pod = {"containers": [{"name": "c", "image": "r/a:1"}, {"name": "none"}]}
    document = json.loads(json.dumps({"kind": kind, **spec}).replace('"POD"', json.dumps(pod)))
    assert images([document]) == ["r/a:1"]


def test_a_kind_is_outside_of_namespaces_where_a_definition_says_so() -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "policies.example.org"},
        "spec": {"group": "example.org", "scope": "Cluster", "names": {"kind": "Policy"}},
    }
    policy = {"apiVersion": "example.org/v1", "kind": "Policy", "metadata": {"name": "p"}}
    assert Identity("example.org", "Policy", "", "p") in rendered(definition, policy).objects
    assert Identity("example.org", "Policy", "gpu", "p") in rendered(policy).objects
    # As from a chart's folder of definitions, which is no part of what is rendered.
    given = read([("", policy)], "gpu", helm_manifests.defined_cluster_kinds([definition]))
    assert Identity("example.org", "Policy", "", "p") in given.objects


def test_the_entries_of_a_list_are_objects_and_may_leave_out_what_it_says() -> None:
    whole = {"apiVersion": "v1", "kind": "List", "items": [config_map("a"), config_map("b")]}
    short = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [{"metadata": {"name": "c"}}]}
    assert [identity.name for identity in rendered(whole, short).objects] == ["a", "b", "c"]


def test_what_is_created_changed_and_removed() -> None:
    before = rendered(config_map("gone"), config_map("same", x="1"), config_map("other", x="1"))
    after = rendered(config_map("new"), config_map("other", x="2"), config_map("same", x="1"))
    assert actions(before, after) == [
        (CREATED, "ConfigMap gpu/new"),
        (CHANGED, "ConfigMap gpu/other"),
        (REMOVED, "ConfigMap gpu/gone"),
    ]
    assert actions(after, after) == []
    assert [change.as_dict() for change in compare({}, rendered(config_map("new")).objects)] == [
        {"api_version": "v1", "kind": "ConfigMap", "namespace": "gpu", "name": "new", "action": CREATED}
    ]


def test_another_version_of_the_api_is_a_change_of_the_same_object() -> None:
    old = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "p"}}
    assert actions(rendered(old), rendered({**old, "apiVersion": "policy/v1"})) == [
        (CHANGED, "PodDisruptionBudget.policy gpu/p")
    ]
    # The same name of a kind in another group is somebody else's.
    assert [action for action, _ in actions(rendered(old), rendered({**old, "apiVersion": "other/v1"}))] == [
        CREATED,
        REMOVED,
    ]


@pytest.mark.parametrize(
    ("policy", "upgrade", "uninstall"),
    [(None, False, False), ("keep", True, True), ("Keep ", False, True), ("delete", False, True)],
)
def test_what_helm_leaves_behind_is_not_called_removed(policy: str | None, upgrade: bool, uninstall: bool) -> None:
    before = rendered(config_map(annotations={"helm.sh/resource-policy": policy} if policy else None))
    document = before.objects[SETTINGS]
    assert stays(document, uninstall=False) is upgrade
    assert stays(document, uninstall=True) is uninstall
    (change,) = compare(before.objects, {}, uninstall=True)
    assert change.action == (KEPT if uninstall else REMOVED)
    assert len(difference([change], json.dumps)) == (0 if uninstall else 1)


def test_a_difference_has_every_object_before_and_after() -> None:
    before = rendered(config_map("gone"), config_map("other", x="1"))
    after = rendered(config_map("new"), config_map("other", x="2"))
    old, new = before.objects, after.objects
    gone, other, added = (Identity("", "ConfigMap", "gpu", name) for name in ("gone", "other", "new"))
    assert difference(compare(old, new), json.dumps) == [
        {"before_header": str(identity), "after_header": str(identity), "before": was, "after": becomes}
        for identity, was, becomes in (
            (added, "", json.dumps(new[added])),
            (other, json.dumps(old[other]), json.dumps(new[other])),
            (gone, json.dumps(old[gone]), ""),
        )
    ]


def test_a_secret_written_in_the_other_way_is_the_same() -> None:
    assert actions(rendered(secret(data={"a": encoded("x")})), rendered(secret(stringData={"a": "x"}))) == []
    # As on the server, a text wins over what is encoded under its name.
    both = rendered(secret(data={"a": encoded("y")}, stringData={"a": "x"}))
    assert actions(rendered(secret(data={"a": encoded("x")})), both) == []


def test_a_secret_shows_that_it_changes_and_not_how() -> None:
    same, gone, old, new, added = "sameVALUE", "goneVALUE", "oldVALUE", "newVALUE", "addedVALUE"
    before = rendered(secret(data={"s": encoded(same), "g": encoded(gone), "c": encoded(old)}))
    after = rendered(secret(stringData={"s": same, "c": new, "a": added}, type="Opaque"))
    (shown,) = difference(compare(before.objects, after.objects), json.dumps)
    assert json.loads(shown["before"])["data"] == {"s": "***", "g": "***", "c": "*** (before)"}
    assert json.loads(shown["after"])["data"] == {"s": "***", "c": "*** (after)", "a": "***"}
    for value in (same, gone, old, new, added):
        assert value not in json.dumps(shown)
        assert encoded(value) not in json.dumps(shown)


@pytest.mark.parametrize(
    "document",
    [
        secret(stringData={"a": "hiddenVALUE"}),
        secret(data={"a": encoded("hiddenVALUE")}),
        secret(data="hiddenVALUE"),
        secret(stringData="hiddenVALUE"),
        secret(stringData=["hiddenVALUE"]),
        {
            **secret(),
            "metadata": {
                "name": "pull",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"stringData": "hiddenVALUE"}'},
            },
        },
    ],
)
def test_no_value_of_a_secret_is_shown_wherever_it_stands(document: dict[str, Any]) -> None:
    objects = rendered(document).objects
    for changes in (compare({}, objects), compare(objects, {}), compare(rendered(secret()).objects, objects)):
        text = json.dumps(difference(changes, json.dumps)) + json.dumps([change.as_dict() for change in changes])
        assert "***" in text
        assert "hiddenVALUE" not in text
        assert encoded("hiddenVALUE") not in text


def test_another_type_is_a_change_and_another_order_of_names_is_none() -> None:
    one = rendered(config_map(a=True, b=["x", "y"]))
    assert actions(one, rendered(config_map(b=["x", "y"], a=True))) == []
    for data in ({"a": 1, "b": ["x", "y"]}, {"a": True, "b": ["y", "x"]}, {"a": True, "b": ["x", "y"], "c": None}):
        assert actions(one, rendered(config_map(**data))) == [(CHANGED, "ConfigMap gpu/settings")]


def test_every_problem_is_told_at_once_with_its_place_and_without_what_it_says() -> None:
    named = {"apiVersion": "v1", "kind": "ConfigMap"}
    wrong: list[object] = [
        ["hiddenVALUE"],
        {"kind": "ConfigMap", "metadata": {"name": "a"}},
        {**named, "metadata": "hiddenVALUE"},
        {**named, "metadata": {"generateName": "hiddenVALUE"}},
        {**named, "metadata": {"name": "a", "annotations": "hiddenVALUE"}},
        {**named, "metadata": {"name": "a", "namespace": ["hiddenVALUE"]}},
        {**named, "kind": "List", "items": [config_map(which="first"), "hiddenVALUE"]},
        {**config_map(which="hiddenVALUE"), "metadata": {"name": "settings", "namespace": "gpu"}},
    ]
    found = read([(f"document {position}", value) for position, value in enumerate(wrong, start=1)], "gpu")
    assert [(problem.field, problem.accepted) for problem in found.problems] == [
        ("document 1", "a mapping"),
        ("document 2: apiVersion", "a text"),
        ("document 3: metadata", "a mapping"),
        ("document 4: metadata.name", "a text"),
        ("document 5: metadata.annotations", "a mapping"),
        ("document 6: metadata.namespace", "a text"),
        ("document 7", "a mapping"),
        ("document 8", "each object once"),
    ]
    assert "hiddenVALUE" not in "".join(str(problem) for problem in found.problems)
    assert list(found.objects) == [SETTINGS]
    assert found.objects[SETTINGS]["data"] == {"which": "hiddenVALUE"}
