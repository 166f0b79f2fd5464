"""The words of the command line: which there are, what each may be, and the cells that a sweep makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.filter.with_words import FilterModule
from ansible_collections.dtf.cluster.plugins.module_utils.grid import (
    CELL_WORDS,
    WORDS,
    cell_of,
    machines,
    read_words,
    unknown_words,
    values,
    with_words,
)
from ansible_collections.dtf.cluster.plugins.module_utils.spec import RUNTIMES, Topology

BASE: dict[str, Any] = {
    "name": "t",
    "hosts": [{"name": "a", "address": "10.0.0.1"}],
    "python": "/p",
    "data_dir": "/d",
    "root": "/r",
}


def told(words: dict[str, object], base: dict[str, object] | None = None, sweep: bool = True) -> list[tuple[str, Any]]:
    """Return word and value of each problem."""
    _request, problems = read_words(words, base or {}, sweep=sweep)
    assert all(problem.accepted for problem in problems)
    return [(problem.field, problem.value) for problem in problems]


def test_the_words_are_those_that_were_promised() -> None:
    promised = (
        "workers ps nodes steps hidden_units batch_size learning_rate sync communication_interval profile repeats"
    )
    tuning = "replicas_to_aggregate seed evaluation_interval summary_interval"
    assert sorted(WORDS) == sorted(f"{promised} {tuning} runtime backend name".split())


@pytest.mark.parametrize(
    ("given", "several"),
    [
        ("8", ["8"]),
        ("1,2,4", ["1", "2", "4"]),
        (" 1 , 2 ", ["1", "2"]),
        ("1,,2", ["1", "", "2"]),
        ("", [""]),
        (8, [8]),
        (True, [True]),
        ([1, "2"], [1, "2"]),
        ((1, 2), [1, 2]),
    ],
)
def test_a_word_s_values(given: object, several: list[object]) -> None:
    assert values(given) == several


@pytest.mark.parametrize(
    ("words", "cells"),
    [
        ({}, [{}]),
        ({"workers": "8"}, [{"workers": "8"}]),
        ({"workers": "1,2"}, [{"workers": "1"}, {"workers": "2"}]),
        ({"workers": [1, 2], "ps": None}, [{"workers": 1}, {"workers": 2}]),
        (
            {"sync": "true,false", "workers": "1,2"},  # the last word of the table's order runs fastest
            [
                {"workers": "1", "sync": "true"},
                {"workers": "1", "sync": "false"},
                {"workers": "2", "sync": "true"},
                {"workers": "2", "sync": "false"},
            ],
        ),
    ],
)
def test_a_sweep_is_every_combination(words: dict[str, object], cells: list[dict[str, object]]) -> None:
    request, problems = read_words(words, {}, sweep=True)
    assert problems == []
    assert [dict(cell) for cell in request.cells] == cells
    assert request.repeats == 1


def test_without_a_sweep_a_list_is_a_bad_value() -> None:
    assert told({"workers": "1,2"}, sweep=False) == [("workers", "1,2")]
    assert told({"workers": "2"}, sweep=False) == []


@pytest.mark.parametrize(("repeats", "read"), [(None, 1), ("3", 3), (5, 5)])
def test_repeats(repeats: object, read: int) -> None:
    request, problems = read_words({"repeats": repeats}, {}, sweep=True)
    assert (request.repeats, problems) == (read, [])


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        ({"workers": "zero"}, [("workers", "zero")]),
        ({"workers": "1,zero,0"}, [("workers", "zero"), ("workers", "0")]),
        ({"ps": 0}, [("ps", 0)]),
        ({"workers": ""}, [("workers", "")]),
        ({"workers": "1,"}, [("workers", "")]),
        ({"steps": "-1"}, [("steps", "-1")]),
        ({"hidden_units": "0"}, [("hidden_units", "0")]),
        ({"batch_size": "60001"}, [("batch_size", "60001")]),
        ({"learning_rate": "0"}, [("learning_rate", "0")]),
        ({"sync": "maybe"}, [("sync", "maybe")]),
        ({"communication_interval": 0}, [("communication_interval", 0)]),
        ({"profile": "slow"}, [("profile", "slow")]),
        ({"runtime": "docker"}, [("runtime", "docker")]),
        ({"backend": "statefulset"}, [("backend", "statefulset")]),
        ({"name": "Not A Name"}, [("name", "Not A Name")]),
        ({"repeats": "often"}, [("repeats", "often")]),
        ({"repeats": 0}, [("repeats", 0)]),
        ({"repeats": 1001}, [("repeats", 1001)]),
        ({"wrokers": "8"}, [("wrokers", "8")]),
        ({"runtime": [], "workers": []}, [("workers", []), ("runtime", [])]),
        ({"nodes": "0,two"}, [("nodes", "0"), ("nodes", "two")]),
        ({"nodes": "1,01"}, [("nodes", "01")]),
        ({"replicas_to_aggregate": "x", "sync": "true"}, [("replicas_to_aggregate", "x")]),
        # a value may not be said twice, however it is spelt
        ({"workers": "1,2,1"}, [("workers", "1")]),
        ({"workers": "8,08"}, [("workers", "08")]),
        ({"learning_rate": "0.001,1e-3"}, [("learning_rate", "1e-3")]),
        ({"sync": "true,yes"}, [("sync", "yes")]),
        # everything at once
        (
            {"wrokers": 8, "ps": "0", "sync": "maybe", "repeats": "x"},
            [("wrokers", 8), ("repeats", "x"), ("ps", "0"), ("sync", "maybe")],
        ),
    ],
)
def test_what_a_word_may_not_be(words: dict[str, object], problems: list[tuple[str, object]]) -> None:
    assert told(words) == problems


@pytest.mark.parametrize(
    ("words", "base", "fields"),
    [
        ({"profile": "thesis", "communication_interval": "10"}, {}, ["training.communication_interval"]),
        # only one of the cells is wrong, and that once
        ({"profile": "fast,thesis", "communication_interval": "1,10"}, {}, ["training.communication_interval"]),
        ({"profile": "thesis"}, {"training": {"communication_interval": 5}}, ["training.communication_interval"]),
        ({"workers": "1,2"}, {"training": {"sync": True, "replicas_to_aggregate": 2}},
         ["training.replicas_to_aggregate"]),
        ({"ps": "3"}, {"ps": {"port": 9000}, "workers": {"port": 9002}}, ["ps.port, workers.port"]),
        ({"workers": "2"}, {"training": {"stepz": 5}}, ["training.stepz"]),
        ({}, {"name": "t", "training": {"steps": -5}}, ["training.steps"]),
    ],
)  # fmt: skip
def test_what_words_may_not_be_together_and_over_what_they_are_laid(
    words: dict[str, object], base: dict[str, object], fields: list[str]
) -> None:
    assert [field for field, _value in told(words, base)] == fields


def test_a_combination_is_not_judged_while_a_word_alone_is_wrong() -> None:
    assert told({"profile": "thesis", "communication_interval": "10", "ps": "x"}) == [("ps", "x")]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("wrokers", "did you mean workers?"),
        ("batchsize", "did you mean batch_size?"),
        ("repeat", "did you mean repeats?"),
        ("works", "did you mean workers?"),
        ("Steps", "did you mean steps?"),
        (
            "zzz",
            (
                "the words are workers, ps, nodes, runtime, backend, profile, sync, replicas_to_aggregate, "
                "communication_interval, hidden_units, batch_size, learning_rate, steps, seed, evaluation_interval, "
                "summary_interval, name, repeats"
            ),
        ),
    ],
)
def test_the_nearest_word_is_suggested(name: str, hint: str) -> None:
    (problem,) = unknown_words({name: 1, "workers": 2}, WORDS)
    assert (problem.field, problem.value) == (name, 1)
    assert problem.accepted == f"no word of this name; {hint}"


@pytest.mark.parametrize(
    ("word", "value", "accepted"),
    [
        ("backend", "statefulset", "nothing: runtime process has no backend"),
        ("name", "Not A Name", "1 to 40 lower-case letters, digits and inner hyphens"),
        ("repeats", 0, "a whole number from 1 to 1000"),
        ("workers", "0", "a whole number from 1 to 1000"),
        ("learning_rate", "0", "a number above 0 and at most 100"),
        ("sync", "maybe", "true or false"),
        ("profile", "slow", "one of fast, thesis"),
        ("runtime", "docker", "one of process, kubernetes"),
        ("steps", "5,5", "each value once"),
    ],
)
def test_what_a_word_accepts_is_told(word: str, value: object, accepted: str) -> None:
    _request, (problem,) = read_words({word: value}, {}, sweep=True)
    assert (problem.field, problem.accepted) == (word, accepted)


@pytest.mark.parametrize("word", [word for word in CELL_WORDS if word not in ("runtime", "backend")])
def test_every_cell_word_is_a_field_of_a_topology(word: str) -> None:
    other = {
        "workers": 7, "ps": 7, "profile": "thesis", "sync": True, "communication_interval": 7,
        "hidden_units": 7, "batch_size": 7, "learning_rate": 0.5, "steps": 7, "nodes": 1, "replicas_to_aggregate": 2,
        "seed": 7, "evaluation_interval": 7, "summary_interval": 7,
    }[word]  # fmt: skip
    base = {**BASE, "hosts": [*BASE["hosts"], {"name": "b", "address": "10.0.0.2"}]}
    if word == "replicas_to_aggregate":
        base["training"] = {"sync": True}
    before, after = (cell_of(Topology.from_params(params)) for params in (base, with_words(base, {word: other})))
    assert after == {**before, word: other}
    assert tuple(before) == tuple(CELL_WORDS)


def test_a_runtime_takes_its_own_part_of_the_parameters() -> None:
    both = {**BASE, "kubernetes": {"image": "trainer:1", "namespace": "lab"}}
    process, pods = (with_words(both, {"runtime": name, "backend": "statefulset"}) for name in RUNTIMES)
    assert "kubernetes" not in process
    assert cell_of(Topology.from_params(process))["backend"] is None
    assert "hosts" not in pods
    assert cell_of(Topology.from_params(pods))["backend"] == "statefulset"


def test_nodes_are_the_first_hosts_or_the_first_nodes_of_a_cluster() -> None:
    hosts = [{"name": name, "address": f"10.0.0.{place}"} for place, name in enumerate("abc", 1)]
    base = {**BASE, "hosts": hosts, "kubernetes": {"image": "trainer:1"}, "nodes": ["n1", "n2", "n3"]}
    process, pods = (Topology.from_params(with_words(base, {"runtime": runtime, "nodes": "2"})) for runtime in RUNTIMES)
    assert [host.name for host in process.hosts] == ["a", "b"]
    assert pods.kubernetes is not None
    assert (pods.kubernetes.placement.strategy, pods.kubernetes.placement.nodes) == ("nodes", ("n1", "n2"))
    assert [cell_of(topology)["nodes"] for topology in (process, pods)] == [2, 2]
    anywhere = Topology.from_params(with_words(base, {"runtime": "kubernetes"}))
    assert cell_of(anywhere)["nodes"] is None
    assert [machines(base, {"runtime": runtime}) for runtime in RUNTIMES] == [3, 3]


def test_processes_and_pods_may_be_measured_in_one_sweep() -> None:
    words = {"workers": "1,2", "runtime": "process,kubernetes", "backend": "indexed_job,statefulset"}
    request, problems = read_words(words, {}, sweep=True)
    assert problems == []
    assert [(cell["workers"], cell["runtime"], cell.get("backend")) for cell in request.cells] == [
        ("1", "process", None),
        ("1", "kubernetes", "indexed_job"),
        ("1", "kubernetes", "statefulset"),
        ("2", "process", None),
        ("2", "kubernetes", "indexed_job"),
        ("2", "kubernetes", "statefulset"),
    ]


def test_a_backend_is_one_of_those_there_are_and_asked_of_kubernetes_only() -> None:
    for runtime in ({}, {"runtime": "process"}):
        _request, (problem,) = read_words({"backend": "statefulset", **runtime}, {}, sweep=True)
        assert problem.accepted == "nothing: runtime process has no backend"
    words = {"backend": "indexed_job,daemonset", "runtime": "kubernetes"}
    _request, (problem,) = read_words(words, {}, sweep=True)
    assert (problem.field, problem.value) == ("backend", "daemonset")
    assert problem.accepted == "one of indexed_job, statefulset"
    request, problems = read_words({"backend": "statefulset"}, {"runtime": "kubernetes"}, sweep=True)
    assert (request.cells, problems) == (({"backend": "statefulset"},), [])


def test_words_are_laid_over_a_copy() -> None:
    base = {**BASE, "workers": {"replicas": 2, "port": 7000}}
    merged = with_words(base, {"workers": 8, "ps": 3, "steps": None})
    assert merged == {**base, "workers": {"replicas": 8, "port": 7000}, "ps": {"replicas": 3}}
    assert base == {**BASE, "workers": {"replicas": 2, "port": 7000}}
    (offered,) = FilterModule().filters().items()
    assert offered[0] == "with_words"
    assert offered[1](base, {"workers": 8, "ps": 3, "steps": None}) == merged


WORD_VALUES = st.none() | st.integers() | st.floats() | st.booleans() | st.text(max_size=6)


@given(st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=6), WORD_VALUES | st.lists(WORD_VALUES, max_size=3)))
def test_whatever_is_typed_is_a_request_or_a_problem(words: dict[str, object]) -> None:
    request, problems = read_words(words, BASE, sweep=True)
    if not problems:
        assert request.repeats >= 1
        for cell in request.cells:
            Topology.from_params(with_words(BASE, cell))
