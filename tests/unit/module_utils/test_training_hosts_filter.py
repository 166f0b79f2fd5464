"""The hosts of a play as a topology takes them: whose address is what, in which order."""

from __future__ import annotations

import pytest

from ansible_collections.dtf.cluster.plugins.filter.training_hosts import FilterModule, training_hosts
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology

OWN = {"dtf_address": "10.0.0.1", "ansible_host": "192.0.2.1"}
REACHED = {"ansible_host": "192.0.2.2"}
BARE: dict[str, str] = {}
EMPTY = {"dtf_address": "", "ansible_host": ""}


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        (OWN, "10.0.0.1"),
        ({"dtf_address": "10.0.0.1"}, "10.0.0.1"),
        (REACHED, "127.0.0.1"),  # alone it needs no network
        (BARE, "127.0.0.1"),
        (EMPTY, "127.0.0.1"),
    ],
)
def test_a_host_that_is_alone(variables: dict[str, str], address: str) -> None:
    assert training_hosts(["a"], {"a": variables}) == [{"name": "a", "address": address}]


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        (OWN, "10.0.0.1"),
        ({"dtf_address": "10.0.0.1"}, "10.0.0.1"),
        (REACHED, "192.0.2.2"),
        (BARE, "a"),
        (EMPTY, "a"),
        ({"dtf_address": "", "ansible_host": "192.0.2.1"}, "192.0.2.1"),
    ],
)
def test_a_host_among_others_is_reached_by_its_peers(variables: dict[str, str], address: str) -> None:
    hosts = training_hosts(["a", "b"], {"a": variables, "b": {"dtf_address": "10.0.0.9"}})
    assert hosts == [{"name": "a", "address": address}, {"name": "b", "address": "10.0.0.9"}]


@pytest.mark.parametrize("names", [["a", "b", "c"], ["c", "a", "b"], ["b", "c"], []])
def test_the_order_is_that_of_the_names(names: list[str]) -> None:
    hostvars = {"a": OWN, "b": REACHED, "c": BARE, "of another play": BARE}
    assert [host["name"] for host in training_hosts(names, hostvars)] == names


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_a_topology_takes_them_as_they_are(names: list[str]) -> None:
    hosts = training_hosts(names, {"a": OWN, "b": REACHED, "c": BARE})
    topology = Topology.from_params({"name": "t", "hosts": hosts, "python": "/p", "data_dir": "/d", "root": "/r"})
    assert topology.as_dict()["hosts"] == hosts


def test_the_filter_has_its_documented_name() -> None:
    assert FilterModule().filters() == {"training_hosts": training_hosts}
