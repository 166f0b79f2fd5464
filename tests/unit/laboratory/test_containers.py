"""What Docker is asked for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from laboratory import containers
from laboratory.spec import LabSpec

SPEC = LabSpec(name="try", subnet="172.31.0.0/24")
CONTROL_PLANE, WORKER, _ = SPEC.members()


def asked(**options: Any) -> list[str]:
    """Return the arguments for a worker."""
    usual: dict[str, Any] = {"image": "i:t", "lacking": [], "known": {}, "present": [], "api": (1, 41)}
    return containers.run(SPEC, WORKER, **{**usual, **options})


def values(words: list[str], option: str) -> list[str]:
    """Return the values of an option."""
    return [value for word, value in pairwise(words) if word == option]


def test_a_host_is_who_the_inventory_says() -> None:
    words = asked()
    assert values(words, "--name") == ["try-w1"]
    assert values(words, "--hostname") == ["w1"] == values(words, "--network-alias")
    assert values(words, "--ip") == ["172.31.0.12"]
    assert values(words, "--label") == ["dtf.cluster.lab=try", "dtf.cluster.host=w1"]
    assert words[-2:] == ["i:t", containers.FIRST_PROCESS]


def test_what_root_lacks_is_not_asked_for_and_no_host_may_set_the_clock() -> None:
    assert values(asked(), "--cap-drop") == ["SYS_TIME"]
    assert values(asked(lacking=["SYS_RESOURCE", "SYS_TIME"]), "--cap-drop") == ["SYS_RESOURCE", "SYS_TIME"]


def test_the_cgroups_are_the_hosts_own() -> None:
    words = asked(present=["/lib/modules", "/dev/kmsg"])
    assert values(words, "--cgroupns") == ["private"]
    assert values(words, "--volume") == ["/lib/modules:/lib/modules:ro"]
    assert not any("/sys" in word for word in words)


def test_what_the_machine_does_not_have_is_not_shared() -> None:
    assert values(asked(), "--volume") == []
    assert values(asked(), "--device") == []


def test_each_disk_is_a_volume_that_goes_with_the_lab() -> None:
    mounts = values(asked(), "--mount")
    assert "type=volume,src=try-w1-etcd,dst=/var/lib/etcd,volume-label=dtf.cluster.lab=try" in mounts
    names = {containers.volume(SPEC, host, place) for host in SPEC.members() for place in containers.DISKS}
    assert len(names) == len(SPEC.members()) * len(containers.DISKS)
    assert len(mounts) == len(containers.DISKS)


def test_limits() -> None:
    assert values(asked(), "--memory") == ["4g"]
    assert values(asked(), "--cpus") == []
    limited = LabSpec(cpus=1.5, memory="512m")
    words = containers.run(limited, limited.members()[0], image="i", lacking=[], known={}, present=[], api=(1, 41))
    assert values(words, "--cpus") == ["1.5"]
    assert values(words, "--memory") == ["512m"]


def test_only_newer_engines_are_told_the_hardware_address() -> None:
    assert values(asked(api=(1, 43)), "--mac-address") == []
    assert values(asked(api=(1, 44)), "--mac-address") == ["02:42:ac:1f:00:0c"]


def test_names_of_the_machines_own_reach_the_hosts() -> None:
    words = asked(known={"mirror.example": "192.0.2.7", "a.example": "192.0.2.8"})
    assert values(words, "--add-host") == ["a.example:192.0.2.8", "mirror.example:192.0.2.7"]


def test_the_network_is_no_wider_than_the_way_out() -> None:
    words = containers.network(SPEC, 1400)
    assert values(words, "--subnet") == ["172.31.0.0/24"]
    assert values(words, "--gateway") == ["172.31.0.1"]
    assert "com.docker.network.driver.mtu=1400" in values(words, "--opt")
    assert words[-1] == "try"
