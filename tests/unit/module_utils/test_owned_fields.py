"""The part of an object that is ours, and what two runs of one spec differ in."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.kube_diff import RUN, comparable, different
from ansible_collections.dtf.cluster.plugins.module_utils.owned_fields import contains, owned

#: As a server 1.36 returns a Service that two managers have applied, shortened.
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "s",
        "uid": "1",
        "labels": {"ours": "a", "theirs": "b", "dtf.cluster/run-id": "r1"},
        "finalizers": ["ours/f", "theirs/f"],
        "managedFields": [
            {
                "manager": "kubectl",
                "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}},
            },
            {
                "manager": "dtf.cluster",
                "operation": "Apply",
                "fieldsV1": {
                    "f:metadata": {
                        "f:labels": {"f:ours": {}, "f:dtf.cluster/run-id": {}},
                        "f:finalizers": {'v:"ours/f"': {}},
                    },
                    "f:spec": {
                        "f:selector": {},
                        "f:ports": {'k:{"port":8000,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
                    },
                },
            },
            {"manager": "dtf.cluster", "operation": "Update", "fieldsV1": {"f:spec": {"f:type": {}}}},
        ],
    },
    "spec": {
        "type": "ClusterIP",
        "selector": {"app": "x"},
        "ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80},
            {"name": "grpc", "port": 8000, "protocol": "TCP", "targetPort": 8000},
        ],
    },
    "status": {"loadBalancer": {}},
}


def test_only_what_was_applied_under_our_name_is_ours() -> None:
    assert owned(SERVICE, "dtf.cluster") == {
        "metadata": {"labels": {"ours": "a", "dtf.cluster/run-id": "r1"}, "finalizers": ["ours/f"]},
        "spec": {"selector": {"app": "x"}, "ports": [{"name": "grpc", "port": 8000}]},
    }
    assert owned(SERVICE, "kubectl") == {"metadata": {"labels": {"theirs": "b"}}}
    assert owned(SERVICE, "nobody") == {}


def test_a_field_that_is_gone_by_now() -> None:
    without = {**SERVICE, "spec": {"ports": []}}
    assert owned(without, "dtf.cluster")["spec"] == {"ports": []}


@pytest.mark.parametrize(
    ("live", "wanted", "held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": (1,)}, True),
        ({"a": None}, {"a": {}}, False),
        ({"a": "1"}, {"a": 1}, False),
    ],
)
def test_whether_what_is_wanted_is_there(live: object, wanted: object, held: bool) -> None:
    assert contains(live, wanted) is held


def job(run_id: str, image: str, *flags: str) -> dict[str, Any]:
    """Return what is sent for a set, which no server has seen yet."""
    container = {"image": image, "args": [f"--log_dir=/l/{run_id}", *flags], "env": [{"name": "R", "value": run_id}]}
    metadata = {"name": "j", "namespace": "n", "labels": {"dtf.cluster/run-id": run_id, "a": "b"}}
    return {"kind": "Job", "metadata": metadata, "spec": {"template": {"spec": {"containers": [container]}}}}


def test_two_runs_of_one_spec_are_equal() -> None:
    old = comparable(job("r1", "x"), "dtf.cluster", "r1")
    new = comparable(job("r2", "x", "--resume_candidates=r1=/c/r1"), "dtf.cluster", "r2")
    assert old == new
    assert new["spec"]["template"]["spec"]["containers"][0]["args"] == [f"--log_dir=/l/{RUN}"]
    assert different({"Job/j": old}, {"Job/j": new}) == ({}, {})


def test_what_differs_is_all_that_is_shown() -> None:
    old = {"Job/j": comparable(job("r1", "x"), "m", "r1"), "Service/a": 1, "Service/b": 1}
    new = {"Job/j": comparable(job("r2", "y"), "m", "r2"), "Service/a": 1, "Service/c": 1}
    before, after = different(old, new)
    assert (sorted(before), sorted(after)) == (["Job/j", "Service/b"], ["Job/j", "Service/c"])
