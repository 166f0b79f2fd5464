"""What a topology may be: every field's bad forms, everything at once, and what makes two topologies the same run."""

from __future__ import annotations

import copy
import json
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


def leaves(document: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted name of every field of a topology but its hosts."""
    found = []
    for name, value in document.items():
        if isinstance(value, dict):
            found += leaves(value, f"{prefix}{name}.")
        elif name != "hosts":
            found.append(prefix + name)
    return found


FIELDS = leaves(Topology.from_params(GOOD).as_dict())
PATH = "an absolute path, or one that starts with ~"
ACCEPTED = {
    "name": "1 to 40 lower-case letters, digits and inner hyphens",
    "python": PATH,
    "data_dir": PATH,
    "root": PATH,
    "runtime": "one of process, kubernetes",
    "owner": "1 to 80 characters",
    "run_label": "up to 80 characters, no space",
    "ps.replicas": "a whole number from 1 to 1000",
    "ps.port": "a whole number from 1 to 65535",
    "ps.memory_mb": "a whole number from 0 to 16777216",
    "ps.gpus": "a whole number from 0 to 64",
    "workers.replicas": "a whole number from 1 to 1000",
    "workers.port": "a whole number from 1 to 65535",
    "workers.memory_mb": "a whole number from 0 to 16777216",
    "workers.gpus": "a whole number from 0 to 64",
    "training.dataset": "one of mnist, fashion_mnist, custom",
    "training.steps": "a whole number from 0 to 1000000000000",
    "training.hidden_units": "a whole number from 1 to 1000000",
    "training.batch_size": "a whole number from 1 to 60000",
    "training.learning_rate": "a number above 0 and at most 100",
    "training.sync": "true or false",
    "training.replicas_to_aggregate": "a whole number from 1 to 1000",
    "training.communication_interval": "a whole number from 1 to 1000000",
    "training.profile": "one of fast, thesis",
    "training.seed": "a whole number from 0 to 2147483647",
    "training.evaluation_interval": "a whole number from 0 to 1000000000000",
    "training.summary_interval": "a whole number from 1 to 1000000000000",
    "lifecycle.restart_limit": "a whole number from 0 to 1000000",
    "lifecycle.restart_backoff_seconds": "a number from 0 and at most 30",
    "lifecycle.checkpoint_interval_seconds": "a number above 0 and at most 1e+06",
    "lifecycle.peer_timeout_seconds": "a number above 0 and at most 1e+06",
    "lifecycle.stop_grace_seconds": "a number above 0 and at most 3600",
    "lifecycle.lease_seconds": "a number from 0 and at most 1e+06",
}


DEFAULTS: dict[str, Any] = {
    "runtime": "process",
    "owner": "site",
    "run_label": "",
    "ps": {"replicas": 1, "port": 8000, "memory_mb": 700, "gpus": 0},
    "workers": {"replicas": 2, "port": 9000, "memory_mb": 1000, "gpus": 0},
    "training": {
        "dataset": "mnist",
        "steps": 2000,
        "hidden_units": 100,
        "batch_size": 20,
        "learning_rate": 0.001,
        "sync": False,
        "replicas_to_aggregate": None,
        "communication_interval": 1,
        "profile": "fast",
        "seed": 0,
        "evaluation_interval": 0,
        "summary_interval": 100,
    },
    "lifecycle": {
        "restart_limit": 5,
        "restart_backoff_seconds": 1.0,
        "checkpoint_interval_seconds": 30.0,
        "peer_timeout_seconds": 60.0,
        "stop_grace_seconds": 10.0,
        "lease_seconds": 0.0,
    },
}


def test_a_good_one_is_read_with_defaults() -> None:
    assert Topology.from_params(GOOD).as_dict() == {**GOOD, **DEFAULTS}


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in ("name", "python", "data_dir", "root")])
def test_none_is_the_default(field: str) -> None:
    assert Topology.from_params(changed(field, None)) == Topology.from_params(GOOD)


@pytest.mark.parametrize("field", ["name", "python", "data_dir", "root"])
def test_what_has_no_default_must_be_given(field: str) -> None:
    assert problems(changed(field, None)) == [(field, None)]
    assert problems({name: value for name, value in GOOD.items() if name != field}) == [(field, None)]


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
        *(("ps.gpus", value) for value in (-1, "one")),
        *(("workers.memory_mb", value) for value in (-1, 2**24 + 1)),
        *(("workers.replicas", value) for value in (0, "two")),
        *(("workers.port", value) for value in (0, 70000)),
        *(("workers.gpus", value) for value in (-1, 65, "all")),
        *(("training.dataset", value) for value in ("cifar", 1)),
        *(("training.steps", value) for value in (-1, "many", 0.5)),
        *(("training.hidden_units", value) for value in (0, "x")),
        *(("training.batch_size", value) for value in (0, 60001)),
        *(("training.learning_rate", value) for value in (0, -1, "fast", 10**400, float("nan"), float("inf"), True)),
        *(("training.sync", value) for value in ("maybe", 2, 1.0)),
        *(("training.replicas_to_aggregate", value) for value in (0, "all", [1])),
        *(("training.communication_interval", value) for value in (0, "often")),
        *(("training.profile", value) for value in ("slow", None.__class__)),
        *(("training.seed", value) for value in (-1, 2**31, "9" * 5000)),
        *(("training.evaluation_interval", value) for value in (-1, "x")),
        *(("training.summary_interval", value) for value in (0, "x")),
        *(("lifecycle.restart_limit", value) for value in (-1, "x")),
        *(("lifecycle.restart_backoff_seconds", value) for value in (-1, 31)),
        *(("lifecycle.checkpoint_interval_seconds", value) for value in (0, "x")),
        *(("lifecycle.peer_timeout_seconds", value) for value in (0, -5)),
        *(("lifecycle.stop_grace_seconds", value) for value in (0, 3601)),
        *(("lifecycle.lease_seconds", value) for value in (-1, "x")),
    ],
)
def test_each_bad_form_names_its_field_and_value(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        Topology.from_params(changed(field, value))
    (problem,) = caught.value.problems
    assert (problem.field, problem.accepted) == (field, ACCEPTED[field])
    assert problem.value is value or problem.value == value


def test_no_field_is_forgotten() -> None:
    assert set(ACCEPTED) == set(FIELDS)
    (table,) = test_each_bad_form_names_its_field_and_value.pytestmark  # type: ignore[attr-defined]
    assert {field for field, _value in table.args[1]} == set(FIELDS)


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
    ("params", "field", "value", "accepted"),
    [
        (
            {"hosts": [{"name": "a", "address": "x"}, {"name": "a", "address": "y"}]},
            *("hosts", ["a", "a"], "each host once"),
        ),
        (
            {"hosts": [{"name": "a", "address": "x"}, {"name": "b", "address": "x"}]},
            *("hosts", ["x", "x"], "an address of its own for each host"),
        ),
        ({"ps": {"port": 65535, "replicas": 2}}, "ps.port", 65535, "port + replicas - 1 at most 65535"),
        ({"workers": {"port": 65535, "replicas": 2}}, "workers.port", 65535, "port + replicas - 1 at most 65535"),
        (
            {"ps": {"port": 8999, "replicas": 2}},
            "ps.port, workers.port",
            (8999, 9000),
            "ranges that do not overlap (2 ps and 2 workers, one port a task)",
        ),
        (
            {"ps": {"port": 9001}},
            "ps.port, workers.port",
            (9001, 9000),
            "ranges that do not overlap (1 ps and 2 workers, one port a task)",
        ),
        ({"ps": {"gpus": 1}}, "ps.gpus", 1, "0: a parameter server uses no GPU"),
        (
            {"training": {"replicas_to_aggregate": 1}},
            *("training.replicas_to_aggregate", 1, "only with training.sync"),
        ),
        (
            {"training": {"sync": True, "replicas_to_aggregate": 3}},
            *("training.replicas_to_aggregate", 3, "at most workers.replicas (2)"),
        ),
        (
            {"training": {"profile": "thesis", "communication_interval": 2}},
            "training.communication_interval",
            2,
            "1 with profile thesis, which exchanges gradients on every step",
        ),
    ],
)
def test_what_only_two_fields_together_show(params: dict[str, Any], field: str, value: object, accepted: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Topology.from_params({**GOOD, **params})
    found = [(problem.field, problem.value, problem.accepted) for problem in caught.value.problems]
    assert found == [(field, value, accepted)]


@pytest.mark.parametrize(
    "params",
    [
        {"ps": {"port": 65535}},
        {"workers": {"port": 65534, "replicas": 2}},
        {"ps": {"port": 8998, "replicas": 2}},
        {"ps": {"port": 9002}},
        {"workers": {"gpus": 1}},
        {"training": {"sync": True, "replicas_to_aggregate": 2}},
        {"training": {"profile": "thesis", "communication_interval": 1}},
        {"training": {"profile": "fast", "communication_interval": 2}},
    ],
)
def test_what_just_goes_together(params: dict[str, Any]) -> None:
    read = Topology.from_params({**GOOD, **params}).as_dict()
    for name, group in params.items():
        assert {key: read[name][key] for key in group} == group  # type: ignore[index]


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        # each of these stands at some value that nobody gave; that it does not go with another is no news
        ({"workers": {"replicas": "x"}, "training": {"sync": True, "replicas_to_aggregate": 2}}, ["workers.replicas"]),
        ({"workers": {"port": "x"}, "ps": {"port": 1}}, ["workers.port"]),
        ({"ps": 7, "workers": {"port": 8000}}, ["ps"]),
        ({"hosts": [{"name": "", "address": "x"}, {"name": "", "address": "y"}]}, ["hosts[0].name", "hosts[1].name"]),
        ({"training": {"sync": "maybe", "replicas_to_aggregate": 1}}, ["training.sync"]),
        ({"training": {"profile": "fast", "communication_interval": "x"}}, ["training.communication_interval"]),
        # but what is wrong whatever that value was meant to be is told beside it
        ({"hosts": [], "ps": {"port": 9000}}, ["hosts", "ps.port, workers.port"]),
    ],
)
def test_nothing_is_concluded_from_a_bad_value(params: dict[str, Any], fields: list[str]) -> None:
    assert [field for field, _value in problems({**GOOD, **params})] == fields


def test_all_problems_come_at_once() -> None:
    params = {**GOOD, "name": "UP", "ps": {"replicas": 0}, "training": {"profile": "x", "sync": "maybe"}}
    with pytest.raises(InvalidInput) as caught:
        Topology.from_params(params)
    fields = ["name", "ps.replicas", "training.sync", "training.profile"]
    assert [problem.field for problem in caught.value.problems] == fields
    assert str(caught.value).startswith("topology: 4 problems\n  - name: 'UP' is not valid, accepted: ")


@pytest.mark.parametrize(
    ("field", "given_value", "read"),
    [
        *(("workers.replicas", text, 8) for text in ("8", " 8 ", "+8", "08", 8)),
        *(("training.learning_rate", text, 0.01) for text in ("0.01", "1e-2", " 1e-2 ", 0.01)),
        ("training.learning_rate", 1, 1.0),
        ("lifecycle.lease_seconds", "0", 0.0),
        *(("training.sync", word, True) for word in (True, "true", "True", "TRUE", "yes", "1", 1)),
        *(("training.sync", word, False) for word in (False, "false", "False", "no", "0", 0)),
    ],
)
def test_what_has_one_meaning_is_read(field: str, given_value: object, read: object) -> None:
    group, name = field.split(".")
    value = getattr(getattr(Topology.from_params(changed(field, given_value)), group), name)
    assert (value, type(value)) == (read, type(read))


NO_PART_OF_A_RUN = {field for field in FIELDS if field.startswith("lifecycle.") or field.endswith(".memory_mb")}
OTHER: dict[str, object] = {
    **dict.fromkeys(FIELDS, 3),
    **dict.fromkeys(("name", "owner", "run_label"), "other"),
    **dict.fromkeys(("python", "data_dir", "root"), "/other"),
    "training.dataset": "custom",
    "training.profile": "thesis",
    "training.sync": True,
}


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in ("runtime", "ps.gpus")])
def test_the_hash_is_of_what_makes_the_run(field: str) -> None:
    many = changed("training.sync", True) if field == "training.replicas_to_aggregate" else GOOD
    before = Topology.from_params({**copy.deepcopy(many), "workers": {"replicas": 4}})
    document: Any = before.as_dict()
    *groups, name = field.split(".")
    place = document[groups[0]] if groups else document
    assert place[name] != OTHER[field]
    place[name] = OTHER[field]
    after = Topology.from_params(document)
    assert (after.spec_hash() == before.spec_hash()) is (field in NO_PART_OF_A_RUN)


def test_the_hash_is_of_the_hosts_and_their_order() -> None:
    hosts = [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}]
    moved = [hosts[0], {"name": "b", "address": "10.0.0.3"}]
    variants = [hosts[:1], hosts, hosts[::-1], moved]
    assert len({Topology.from_params({**GOOD, "hosts": variant}).spec_hash() for variant in variants}) == 4


def test_the_hash_does_not_change_with_the_version_of_this_code() -> None:
    """Runs are compared by it over years; a change is a new schema."""
    assert Topology.from_params(GOOD).spec_hash() == "076eade9207154c3"


def group(low: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return what a role's tasks may be when their ports begin somewhere above a number."""
    return st.fixed_dictionaries(
        {},
        optional={
            "replicas": st.integers(1, 1000),
            "port": st.integers(low, low + 1000),
            "memory_mb": st.integers(0, 2**24),
        },
    )


SECONDS = st.floats(0.001, 30)
VALID = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
        "hosts": st.lists(st.integers(0, 255), min_size=1, max_size=5, unique=True).map(
            lambda numbers: [{"name": f"h{number}", "address": f"10.0.0.{number}"} for number in numbers]
        ),
        **dict.fromkeys(("python", "data_dir", "root"), st.from_regex(r"[/~][^\n\r]{0,9}", fullmatch=True)),
        "ps": group(10000),
        "workers": group(20000),
    },
    optional={
        "owner": st.from_regex(r"\w(.{0,9}\w)?", fullmatch=True),
        "run_label": st.from_regex(r"\w{0,9}", fullmatch=True),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "dataset": st.sampled_from(["mnist", "fashion_mnist", "custom"]),
                "steps": st.integers(0, 10**12),
                "hidden_units": st.integers(1, 10**6),
                "batch_size": st.integers(1, 60000),
                "learning_rate": st.floats(0, 100, exclude_min=True),
                "sync": st.booleans(),
                "communication_interval": st.integers(1, 10**6),
                "seed": st.integers(0, 2**31 - 1),
                "evaluation_interval": st.integers(0, 10**12),
                "summary_interval": st.integers(1, 10**12),
            },
        ),
        "lifecycle": st.fixed_dictionaries(
            {},
            optional={
                "restart_limit": st.integers(0, 10**6),
                **{field.partition(".")[2]: SECONDS for field in FIELDS if field.endswith("_seconds")},
            },
        ),
    },
)


@given(VALID)
def test_what_is_written_reads_back_equal(params: dict[str, Any]) -> None:
    topology = Topology.from_params(params)
    document: Any = json.loads(json.dumps(topology.as_dict()))
    read_back = Topology.from_params(document)
    assert read_back == topology
    assert read_back.spec_hash() == topology.spec_hash()
    for name, value in params.items():
        assert document[name] == ({**document[name], **value} if isinstance(value, dict) else value)


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
        assert Topology.from_params(topology.as_dict()) == topology
        return
    assert refused
    assert all(problem.field and problem.accepted for problem in refused)


@given(JUNK)
def test_nonsense_all_the_way_up_is_refused(params: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Topology.from_params(params)
    assert caught.value.problems
    assert caught.value.as_failure()["code"] == "invalid_input"
