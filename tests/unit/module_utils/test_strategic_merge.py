"""Strategic merge patches of pod templates: each rule, and what is said of a patch that does not fit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.strategic_merge import MERGE_KEYS, merge_template

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"a": "1", "b": "2"}},
    "spec": {
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": [{"key": "a"}, {"key": "b"}],
        "volumes": [{"name": "x", "emptyDir": {}}, {"name": "y", "emptyDir": {}}],
        "containers": [
            {
                "name": "trainer",
                "args": ["--one", "--two"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
                "ports": [{"containerPort": 8000, "protocol": "TCP"}],
                "volumeMounts": [{"name": "x", "mountPath": "/x"}, {"name": "y", "mountPath": "/y"}],
            }
        ],
    },
}


def spec(**patch: Any) -> dict[str, Any]:
    return {"spec": patch}


def trainer(**patch: Any) -> dict[str, Any]:
    return spec(containers=[{"name": "trainer", **patch}])


def merged(patch: dict[str, Any]) -> dict[str, Any]:
    """Return the merged template of a patch that fits."""
    before = copy.deepcopy(TEMPLATE)
    result, problems = merge_template(TEMPLATE, patch, "p")
    assert problems == []
    assert before == TEMPLATE
    return result


def refused(patch: dict[str, Any]) -> list[tuple[str, object]]:
    """Return field and value of every problem of a patch."""
    _, problems = merge_template(TEMPLATE, patch, "p")
    assert all(problem.accepted for problem in problems)
    return [(problem.field, problem.value) for problem in problems]


WISH, NEED = (word + "DuringSchedulingIgnoredDuringExecution" for word in ("preferred", "required"))

#: path of what is looked at, patch, what is there afterwards
RULES: dict[str, tuple[tuple[str | int, ...], dict[str, Any], Any]] = {
    "a mapping merges": (
        ("metadata", "labels"),
        {"metadata": {"labels": {"b": "3", "c": "4"}}},
        {"a": "1", "b": "3", "c": "4"},
    ),
    "null takes away": (("metadata", "labels"), {"metadata": {"labels": {"b": None}}}, {"a": "1"}),
    "null of nothing is nothing": (("metadata",), {"metadata": {"name": None}}, TEMPLATE["metadata"]),
    "a mapping is replaced": (
        ("spec", "securityContext"),
        spec(securityContext={"$patch": "replace", "runAsUser": 5}),
        {"runAsUser": 5},
    ),
    "a mapping is emptied": (("spec", "securityContext"), spec(securityContext={"$patch": "delete"}), {}),
    "a single value": (("spec", "restartPolicy"), spec(restartPolicy="Always"), "Always"),
    "a list is replaced": (("spec", "tolerations"), spec(tolerations=[{"key": "c"}]), [{"key": "c"}]),
    "a list of words is replaced": (("spec", "containers", 0, "args"), trainer(args=["--three"]), ["--three"]),
    "an entry merges with its namesake and a new one comes first": (
        ("spec", "containers", 0, "env"),
        trainer(env=[{"name": "D", "value": "4"}, {"name": "B", "value": "5"}]),
        [
            {"name": "D", "value": "4"},
            {"name": "A", "value": "1"},
            {"name": "B", "value": "5"},
            {"name": "C", "value": "3"},
        ],
    ),
    "an entry is deleted": (
        ("spec", "volumes"),
        spec(volumes=[{"name": "x", "$patch": "delete"}]),
        [{"name": "y", "emptyDir": {}}],
    ),
    "an entry is replaced with all others": (
        ("spec", "volumes"),
        spec(volumes=[{"$patch": "replace"}, {"name": "z", "emptyDir": {}}]),
        [{"name": "z", "emptyDir": {}}],
    ),
    "mounts are known by their path": (
        ("spec", "containers", 0, "volumeMounts"),
        trainer(volumeMounts=[{"mountPath": "/x", "name": "z"}]),
        [{"name": "z", "mountPath": "/x"}, {"name": "y", "mountPath": "/y"}],
    ),
    "ports are known by their number": (
        ("spec", "containers", 0, "ports"),
        trainer(ports=[{"containerPort": 8000, "name": "grpc"}]),
        [{"containerPort": 8000, "protocol": "TCP", "name": "grpc"}],
    ),
    "another source of a volume": (
        ("spec", "volumes", 0),
        spec(volumes=[{"name": "x", "$retainKeys": ["name", "nfs"], "nfs": {"server": "s", "path": "/"}}]),
        {"name": "x", "nfs": {"server": "s", "path": "/"}},
    ),
    "a container is added": (
        ("spec", "containers"),
        spec(containers=[{"name": "sidecar", "image": "i", "env": [{"name": "A", "value": None}]}]),
        [{"name": "sidecar", "image": "i", "env": [{"name": "A"}]}, *TEMPLATE["spec"]["containers"]],
    ),
    "what was not there is taken without its directives": (
        ("spec", "affinity"),
        spec(
            affinity={
                "nodeAffinity": {"$patch": "delete"},
                "podAffinity": {WISH: [{"weight": 1, "podAffinityTerm": {"topologyKey": "k"}}], NEED: None},
            }
        ),
        {"podAffinity": {WISH: [{"weight": 1, "podAffinityTerm": {"topologyKey": "k"}}]}},
    ),
    "a list that merges was not there": (
        ("spec", "hostAliases"),
        spec(hostAliases=[{"ip": "1.1.1.1"}]),
        [{"ip": "1.1.1.1"}],
    ),
    "plain values merge": (("metadata", "finalizers"), {"metadata": {"finalizers": ["f"]}}, ["f"]),
    "values are taken out": (
        ("spec", "containers", 0, "args"),
        trainer(**{"$deleteFromPrimitiveList/args": ["--one"]}),
        ["--two"],
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    path, patch, expected = RULES[rule]
    found: Any = merged(patch)
    for step in path:
        found = found[step]
    assert found == expected


def test_replacing_what_is_not_there_sets_it() -> None:
    """The one thing in which an API server differs: it would drop the whole mapping, without a word."""
    patch = spec(dnsConfig={"$patch": "replace", "nameservers": ["192.0.2.1"]})
    assert merged(patch)["spec"]["dnsConfig"] == {"nameservers": ["192.0.2.1"]}


@pytest.mark.parametrize(
    ("patch", "problems"),
    [
        (spec(containers={"name": "trainer"}), [("p.spec.containers", {"name": "trainer"})]),
        (spec(securityContext=[]), [("p.spec.securityContext", [])]),
        (spec(restartPolicy={"x": 1}), [("p.spec.restartPolicy", {"x": 1})]),
        (spec(containers=[{"image": "i"}]), [("p.spec.containers", {"image": "i"})]),
        (spec(containers=["trainer"]), [("p.spec.containers", "trainer")]),
        (spec(volumes=[{"name": ["x"]}]), [("p.spec.volumes", {"name": ["x"]})]),
        (spec(volumes=[{"name": "x", "$patch": "merge"}]), [("p.spec.volumes.$patch", "merge")]),
        (spec(securityContext={"$patch": "remove"}), [("p.spec.securityContext.$patch", "remove")]),
        (spec(**{"$setElementOrder/volumes": []}), [("p.spec.$setElementOrder/volumes", [])]),
        (
            spec(**{"$deleteFromPrimitiveList/restartPolicy": ["N"]}),
            [("p.spec.$deleteFromPrimitiveList/restartPolicy", ["N"])],
        ),
        (
            spec(volumes=[{"name": "x", "$retainKeys": ["nfs"], "nfs": {}}]),
            [("p.spec.volumes.$retainKeys", ["nfs"])],
        ),
        ({"metadata": 1, "spec": "x"}, [("p.metadata", 1), ("p.spec", "x")]),
    ],
)
def test_a_patch_that_does_not_fit_is_told_with_every_problem(patch: dict[str, Any], problems: list[Any]) -> None:
    assert refused(patch) == problems


@pytest.mark.parametrize("place", MERGE_KEYS)
def test_every_list_of_the_table_merges_by_its_key(place: str) -> None:
    def nested(entry: dict[str, Any]) -> dict[str, Any]:
        value: Any = [entry]
        for name in reversed(place.split(".")):
            value = {name: value}
            if name in ("env", "ports", "volumeDevices", "volumeMounts"):
                value = [{"name": "c", **value}]
        return dict(value)

    key = MERGE_KEYS[place]
    result, problems = merge_template(nested({key: "k", "one": 1}), nested({key: "k", "two": 2}), "p")
    assert problems == []
    assert result == nested({key: "k", "one": 1, "two": 2})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["trainer", "x", "delete", "replace"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "spec", "metadata", "containers", "volumes", "env", "$patch", "$retainKeys", "labels"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "$patch", "x"]), VALUES))
def test_whatever_is_given_is_merged_or_refused_and_never_kept_in_parts(patch: dict[str, Any]) -> None:
    before = copy.deepcopy(patch)
    result, problems = merge_template(TEMPLATE, patch, "p")
    assert patch == before
    assert all(problem.field.startswith("p") and problem.accepted for problem in problems)
    if not problems:
        assert not [key for key in _keys(result) if str(key).startswith("$")]


def _keys(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *(key for entry in value.values() for key in _keys(entry))]
    return [key for entry in value for key in _keys(entry)] if isinstance(value, list) else []


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]) | st.none()))
def test_the_same_patch_twice_changes_nothing_more(labels: dict[str, Any]) -> None:
    patch = {"metadata": {"labels": labels}, **trainer(env=[{"name": "B", "value": "5"}])}
    once = merged(patch)
    assert merge_template(once, patch, "p") == (once, [])
