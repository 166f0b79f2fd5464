"""Who measures to whom, which ports are needed, and who is to blame."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.preflight_pairs import (
    Blame,
    blame,
    clock_offsets,
    from_interval,
    needed_ports,
    plan,
)


def pairs(count: int, control_planes: int = 1) -> list[tuple[str, str]]:
    """Return all pairs that are planned for so many hosts."""
    hosts = [f"h{number}" for number in range(count)]
    visits = plan(hosts, hosts[:control_planes])
    return [(host, visit.target) for host, wanted in visits.items() for visit in wanted]


@pytest.mark.parametrize("count", [*range(3, 30), 50, 199, 200])
@pytest.mark.parametrize("control_planes", [1, 3])
def test_a_plan_is_linear_and_leaves_nobody_out(count: int, control_planes: int) -> None:
    planned = pairs(count, control_planes)
    assert len(planned) == len(set(planned))
    assert all(source != target for source, target in planned)
    assert len(planned) <= 2 * count + 2 * control_planes * count
    hosts = {f"h{number}" for number in range(count)}
    for host in hosts:
        # Two at least, so that one bad measurement can be told from one bad host.
        assert len({target for source, target in planned if source == host}) >= 2
        assert len({source for source, target in planned if target == host}) >= 2
    for centre in (f"h{number}" for number in range(control_planes)):
        assert {(host, centre) for host in hosts - {centre}} <= set(planned)
        assert {(centre, host) for host in hosts - {centre}} <= set(planned)


def test_few_hosts() -> None:
    assert pairs(1) == []
    assert sorted(pairs(2)) == [("h0", "h1"), ("h1", "h0")]
    assert len(pairs(3)) == 6


@pytest.mark.parametrize("count", [2, 3, 17])
def test_bandwidth_is_measured_along_one_ring(count: int) -> None:
    visits = plan([f"h{number}" for number in range(count)], ["h0"])
    ring = [(host, visit.target) for host, wanted in visits.items() for visit in wanted if visit.bandwidth]
    assert len({source for source, _target in ring}) == len({target for _source, target in ring}) == len(ring) == count


def remote(control_plane: bool, control_planes: int = 1, cni: str = "bridge") -> list[str]:
    return [str(port) for port in needed_ports(control_plane, control_planes, cni, []) if port.remote]


def test_ports_that_others_have_to_reach() -> None:
    assert remote(False) == ["10250/tcp"]
    assert remote(True) == ["6443/tcp", "10250/tcp"]
    assert remote(True, 3) == ["2379/tcp", "2380/tcp", "6443/tcp", "10250/tcp"]
    assert remote(False, cni="flannel") == ["8472/udp", "10250/tcp"]


def test_ports_of_the_site_come_once() -> None:
    found = needed_ports(False, 1, "bridge", [{"port": 9100}, {"port": 10250, "protocol": "tcp"}])
    assert [str(port) for port in found] == ["9100/tcp", "10250/tcp", "10256/tcp"]


ALL = [(one, other) for one, other in itertools.permutations("abcd", 2)]


@pytest.mark.parametrize("host", list("abcd"))
def test_a_host_that_nobody_reaches_is_named_and_so_is_one_that_reaches_nobody(host: str) -> None:
    unreached = {pair for pair in ALL if pair[1] == host}
    assert blame(unreached, set(ALL) - unreached, directed=True) == Blame(targets=(host,))
    mute = {pair for pair in ALL if pair[0] == host}
    assert blame(mute, set(ALL) - mute, directed=True) == Blame(sources=(host,))
    slow = {pair for pair in ALL if host in pair}
    assert blame(slow, set(ALL) - slow, directed=False) == Blame(hosts=(host,))


def test_a_single_bad_way_is_a_pair() -> None:
    good = set(ALL) - {("a", "b"), ("b", "a")}
    assert blame({("a", "b")}, good, directed=True) == Blame(pairs=(("a", "b"),))
    assert blame({("a", "b"), ("b", "a")}, good, directed=False) == Blame(pairs=(("a", "b"),))


def test_two_hosts_alone() -> None:
    # A closed port is closed where it is.
    assert blame({("a", "b")}, {("b", "a")}, directed=True) == Blame(targets=("b",))
    # A slow way between two says nothing of either.
    assert blame({("a", "b"), ("b", "a")}, set(), directed=False) == Blame(pairs=(("a", "b"),))


def test_several_causes_are_told_apart() -> None:
    bad = {pair for pair in ALL if pair[1] == "b"} | {pair for pair in ALL if pair[1] == "c"}
    assert set(blame(bad, set(ALL) - bad, directed=True).targets) == {"b", "c"}


@given(st.sets(st.sampled_from(ALL)), st.booleans())
def test_blame_explains_everything_and_contradicts_nothing(bad: set[tuple[str, str]], directed: bool) -> None:
    good = set(ALL) - bad
    found = blame(bad, good, directed=directed)
    assert bool(found) == bool(bad)
    for pair in bad:
        explained = (
            pair[1] in found.targets
            or pair[0] in found.sources
            or set(pair) & set(found.hosts)
            or pair in found.pairs
            or pair[::-1] in found.pairs
        )
        assert explained
    for source, target in good:
        assert target not in found.targets
        assert source not in found.sources
        assert not {source, target} & set(found.hosts)


def test_the_clock_that_differs_from_the_others_is_named() -> None:
    measured = {("a", "b"): 90.0, ("b", "a"): -90.0, ("b", "c"): -90.0, ("a", "c"): 0.0}
    assert clock_offsets(measured, {}) == {"a": 0.0, "b": 90.0, "c": 0.0}


def test_of_two_clocks_the_controllers_is_asked() -> None:
    measured = {("a", "b"): 3600.0}
    assert clock_offsets(measured, {"a": (-0.5, 0.5), "b": (3599.5, 3600.5)}) == {"a": 0.0, "b": 3600.0}
    assert clock_offsets(measured, {"a": (-3600.5, -3599.5), "b": (-0.5, 0.5)}) == {"a": -3600.0, "b": 0.0}


def test_a_single_clock_is_held_against_the_controllers() -> None:
    assert clock_offsets({}, {"a": (-0.5, 0.5)}) == {"a": 0.0}
    assert clock_offsets({}, {"a": (9.5, 10.5)}) == {"a": 9.5}


@given(st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=12))
def test_clocks_are_solved_from_any_ring(clocks: list[int]) -> None:
    hosts = [f"h{number:02}" for number in range(len(clocks))]
    measured = {
        (hosts[number], hosts[(number + 1) % len(hosts)]): float(clocks[(number + 1) % len(hosts)] - clocks[number])
        for number in range(len(hosts) - 1)
    }
    found = clock_offsets(measured, {})
    for one, other in itertools.pairwise(range(len(hosts))):
        assert found[hosts[other]] - found[hosts[one]] == pytest.approx(clocks[other] - clocks[one])


@pytest.mark.parametrize(("interval", "wanted"), [((-1, 1), 0), ((1, 2), 1), ((-2, -1), -1)])
def test_what_an_interval_says_at_least(interval: tuple[float, float], wanted: float) -> None:
    assert from_interval(interval) == wanted
