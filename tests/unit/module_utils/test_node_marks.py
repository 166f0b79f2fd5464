"""Labels and taints: ours come and go, those of others stay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.node_marks import GPUS, KUBEADMS, OURS, patches

GPU = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
CONTROL_PLANE = {"key": KUBEADMS.partition(":")[0], "effect": "NoSchedule"}
CORDONED = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}


def node(labels: dict[str, str] | None = None, taints: list[Any] | None = None, ours: Any = None) -> dict[str, Any]:
    annotations = {OURS: json.dumps(ours)} if ours else {}
    return {
        "metadata": {"name": "w1", "labels": labels or {}, "annotations": annotations},
        "spec": {"taints": taints} if taints else {},
    }


def applied(live: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return a node after a merge patch, as the API server would make it."""

    def merge(base: Any, over: Any) -> Any:
        if not isinstance(over, dict) or not isinstance(base, dict):
            return over
        merged = {**base, **{key: merge(base.get(key, {}), value) for key, value in over.items()}}
        return {key: value for key, value in merged.items() if value is not None}

    result: dict[str, Any] = merge(live, patch)
    return result


@pytest.mark.parametrize("wanted", [{}, {"labels": {}}, {"labels": {}, "taints": None}])
def test_nothing_wanted_touches_nothing(wanted: dict[str, Any]) -> None:
    assert patches({"w1": wanted}, [node({"theirs": "1"}, [CORDONED])]) == {}


def test_a_node_nobody_named_is_left_alone() -> None:
    assert patches({"w2": {"labels": {"disk": "ssd"}}}, [node()]) == {}


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"labels": {"disk": "ssd"}}, node({"theirs": "1"})),
        ({"labels": {"disk": "ssd"}, "taints": [GPU]}, node(taints=[CORDONED])),
        ({"taints": []}, node(taints=[CONTROL_PLANE])),
        ({"labels": {"count": 3}}, node({"count": "2"})),
    ],
)
def test_a_second_time_nothing_is_left_to_do(wanted: dict[str, Any], live: dict[str, Any]) -> None:
    (patch,) = patches({"w1": wanted}, [live]).values()
    after = applied(live, patch)
    assert patches({"w1": wanted}, [after]) == {}
    assert {name: after["metadata"]["labels"][name] for name in wanted.get("labels", {})} == {
        name: str(value) for name, value in wanted.get("labels", {}).items()
    }


def test_what_was_ours_and_is_wanted_no_longer_goes_and_theirs_stays() -> None:
    live = node({"disk": "ssd", "theirs": "1"}, [GPU, CORDONED], {"labels": ["disk"], "taints": ["gpu:NoSchedule"]})
    (patch,) = patches({"w1": {"labels": {}, "taints": []}}, [live]).values()
    after = applied(live, patch)
    assert after["metadata"]["labels"] == {"theirs": "1"}
    assert [taint["key"] for taint in after["spec"]["taints"]] == [CORDONED["key"]]


def test_an_empty_list_of_taints_opens_a_control_plane() -> None:
    (patch,) = patches({"w1": {"taints": []}}, [node(taints=[CONTROL_PLANE])]).values()
    assert patch["spec"] == {"taints": None}


def test_taints_left_to_kubeadm_are_left() -> None:
    assert patches({"w1": {"taints": None}}, [node(taints=[CONTROL_PLANE])]) == {}


def test_each_that_marks_nodes_remembers_its_own() -> None:
    live = node({"disk": "ssd"}, ours={"labels": ["disk"]})
    patch = patches({"w1": {"labels": {"cards": "2"}}}, [live], GPUS)["w1"]
    marked = applied(live, patch)
    assert marked["metadata"]["labels"] == {"disk": "ssd", "cards": "2"}
    # Neither takes away what is the other's.
    assert patches({"w1": {"labels": {"disk": "ssd"}}}, [marked]) == {}
    assert applied(marked, patches({"w1": {}}, [marked], GPUS)["w1"]) == live
