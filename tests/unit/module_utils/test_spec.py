"""What a topology may be: every field's bad forms, everything at once, and what makes two topologies the same run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

GOOD: dict[str, Any] = {
    "name": "t",
    "hosts": [{"name": "a", "address": "10.0.0.1"}],
    "python": "/venv/bin/python",
    "data_dir": "~/data",
    "root": "/root",
}


def changed(path: str, value: object) -> dict[str, Any]:
    """Return good parameters with one field changed."""
    params = copy.deepcopy(GOOD)
    *groups, name = path.split(".")
    place = params
    for group in groups:
        place = place.setdefault(group, {})
    place[name] = value
    return params


def problems(params: dict[str, Any]) -> list[tuple[str, object]]:
    """Return field and value of each problem."""
    with pytest.raises(InvalidInput) as caught:
        Topology.from_params(params)
    assert all(problem.accepted for problem in caught.value.problems)
    return [(problem.field, problem.value) for problem in caught.value.problems]


def test_a_good_one_is_read_with_defaults() -> None:
    topology = Topology.from_params(GOOD)
    assert (topology.ps.replicas, topology.ps.port) == (1, 8000)
    assert (topology.workers.replicas, topology.workers.port) == (2, 9000)
    assert (topology.training.steps, topology.training.profile) == (2000, "fast")
    assert topology.lifecycle.lease_seconds == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", value) for value in ("Upper", "", "-a", "a" * 41, "a b", 7)),
        *(("python", value) for value in ("python", "", 7)),
        *(("data_dir", value) for value in ("data", 7)),
        *(("root", value) for value in ("x", [])),
        *(("runtime", value) for value in ("docker", 1)),
        *(("owner", value) for value in ("", " ", "x" * 81)),
        *(("run_label", value) for value in ("two words", 5)),
        *(("ps.replicas", value) for value in (0, -1, "zero", 1.5, True, 1001, "")),
        *(("ps.port", value) for value in (0, 65536, "http")),
        *(("ps.memory_mb", value) for value in (-1, "1GB")),
        *(("workers.replicas", value) for value in (0, "two")),
        *(("workers.port", value) for value in (0, 70000)),
        *(("workers.gpus", value) for value in (-1, 65, "all")),
        *(("training.dataset", value) for value in ("cifar", 1)),
        *(("training.steps", value) for value in (-1, "many", 0.5)),
        *(("training.hidden_units", value) for value in (0, "x")),
        *(("training.batch_size", value) for value in (0, 60001)),
        *(("training.learning_rate", value) for value in (0, -1, "fast", float("nan"), float("inf"), True)),
        *(("training.sync", value) for value in ("maybe", 2, 1.0)),
        *(("training.communication_interval", value) for value in (0, "often")),
        *(("training.profile", value) for value in ("slow", None.__class__)),
        *(("training.seed", value) for value in (-1, 2**31)),
        *(("training.evaluation_interval", value) for value in (-1, "x")),
        *(("training.summary_interval", value) for value in (-1, "x")),
        *(("lifecycle.restart_limit", value) for value in (-1, "x")),
        *(("lifecycle.restart_backoff_seconds", value) for value in (-1, 31)),
        *(("lifecycle.checkpoint_interval_seconds", value) for value in (0, "x")),
        *(("lifecycle.peer_timeout_seconds", value) for value in (0, -5)),
        *(("lifecycle.stop_grace_seconds", value) for value in (0, 3601)),
        *(("lifecycle.lease_seconds", value) for value in (-1, "x")),
    ],
)
def test_each_bad_form_names_its_field_and_value(field: str, value: object) -> None:
    ((found, shown),) = problems(changed(field, value))
    assert found == field
    assert shown is value or shown == value


@pytest.mark.parametrize("hosts", [None, [], "a", {}, 3])
def test_hosts_must_be_a_list_of_at_least_one(hosts: object) -> None:
    assert problems(changed("hosts", hosts)) == [("hosts", hosts)]


def test_a_host_is_checked_field_by_field() -> None:
    params = changed("hosts", [{"name": "a b", "address": "-x"}, {"name": "b", "address": "10.0.0.1", "port": 1}])
    assert [field for field, _value in problems(params)] == ["hosts[0].name", "hosts[0].address", "hosts[1].port"]


@pytest.mark.parametrize("field", ["wrokers", "training.step", "ps.replica", "lifecycle.lease"])
def test_an_unknown_field_is_told(field: str) -> None:
    assert problems(changed(field, 1)) == [(field, 1)]


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({"hosts": [{"name": "a", "address": "x"}, {"name": "a", "address": "y"}]}, ["hosts"]),
        ({"hosts": [{"name": "a", "address": "x"}, {"name": "b", "address": "x"}]}, ["hosts"]),
        ({"ps": {"port": 65535, "replicas": 2}}, ["ps.port"]),
        ({"ps": {"port": 8999, "replicas": 2}}, ["ps.port, workers.port"]),
        ({"ps": {"gpus": 1}}, ["ps.gpus"]),
        ({"training": {"replicas_to_aggregate": 1}}, ["training.replicas_to_aggregate"]),
        ({"training": {"sync": True, "replicas_to_aggregate": 3}}, ["training.replicas_to_aggregate"]),
        ({"training": {"profile": "thesis", "communication_interval": 2}}, ["training.communication_interval"]),
    ],
)
def test_what_only_two_fields_together_show(params: dict[str, Any], fields: list[str]) -> None:
    assert [field for field, _value in problems({**GOOD, **params})] == fields


def test_all_problems_come_at_once() -> None:
    params = {**GOOD, "name": "UP", "ps": {"replicas": 0}, "training": {"profile": "x", "sync": "maybe"}}
    with pytest.raises(InvalidInput) as caught:
        Topology.from_params(params)
    fields = ["name", "ps.replicas", "training.sync", "training.profile"]
    assert [problem.field for problem in caught.value.problems] == fields
    assert str(caught.value).startswith("topology: 4 problems\n  - name: 'UP' is not valid, accepted: ")


def test_text_that_is_a_number_or_a_word_for_truth_is_read() -> None:
    params = {**GOOD, "workers": {"replicas": " 8 "}, "training": {"learning_rate": "1e-2", "sync": "yes"}}
    topology = Topology.from_params(params)
    assert (topology.workers.replicas, topology.training.learning_rate, topology.training.sync) == (8, 0.01, True)


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("lifecycle.restart_limit", 9, True),
        ("workers.memory_mb", 5, True),
        ("ps.memory_mb", 5, True),
        ("workers.replicas", 3, False),
        ("ps.port", 7000, False),
        ("training.steps", 1, False),
        ("training.seed", 1, False),
        ("python", "/other", False),
        ("run_label", "anew", False),
        ("name", "u", False),
    ],
)
def test_the_hash_is_of_what_makes_the_run(field: str, value: object, same: bool) -> None:
    other = Topology.from_params(changed(field, value))
    assert (other.spec_hash() == Topology.from_params(GOOD).spec_hash()) is same


@given(
    replicas=st.integers(1, 1000),
    steps=st.integers(0, 10**12),
    rate=st.floats(1e-9, 100, exclude_min=True),
    sync=st.booleans(),
    lease=st.floats(0, 1e6),
)
def test_what_is_written_reads_back_equal(replicas: int, steps: int, rate: float, sync: bool, lease: float) -> None:
    params = {
        **GOOD,
        "workers": {"replicas": replicas},
        "training": {"steps": steps, "learning_rate": rate, "sync": sync},
        "lifecycle": {"lease_seconds": lease},
    }
    topology = Topology.from_params(params)
    assert Topology.from_params(topology.as_dict()) == topology


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = ("name", "hosts", "python", "data_dir", "root", "runtime", "ps", "workers", "training", "lifecycle", "owner")


@given(st.dictionaries(st.sampled_from(NAMES), JUNK))
def test_nonsense_is_refused_and_never_crashes(params: dict[str, object]) -> None:
    try:
        topology = Topology.from_params({**GOOD, **params})
    except InvalidInput as error:
        refused = error.problems
    else:
        refused = []
        assert Topology.from_params(topology.as_dict()) == topology
    assert all(problem.field and problem.accepted for problem in refused)
