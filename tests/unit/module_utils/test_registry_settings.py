"""What the registry is told, what may not be asked for, and whose hash stays."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.dtf.cluster.plugins.filter.htpasswd import htpasswd
from ansible_collections.dtf.cluster.plugins.filter.registry_configuration import registry_configuration
from ansible_collections.dtf.cluster.plugins.module_utils.registry_settings import known_hashes, laid_over, problems

STORAGE = "/var/lib/dtf-registry"


@pytest.mark.parametrize(
    ("wanted", "merged"),
    [
        ({}, {"log": {"level": "info", "fields": {"a": 1}}, "version": 0.1}),
        ({"log": {"level": "debug"}}, {"log": {"level": "debug", "fields": {"a": 1}}, "version": 0.1}),
        ({"log": {"fields": None}}, {"log": {"level": "info"}, "version": 0.1}),
        ({"log": None, "none": None}, {"version": 0.1}),
        ({"log": "off"}, {"log": "off", "version": 0.1}),
        ({"log": None, "http": {"addr": ":1", "h2": None}}, {"version": 0.1, "http": {"addr": ":1"}}),
    ],
)
def test_one_is_laid_over_the_other(wanted: dict[str, object], merged: dict[str, object]) -> None:
    base = {"log": {"level": "info", "fields": {"a": 1}}, "version": 0.1}
    assert laid_over(base, wanted) == merged
    assert base == {"log": {"level": "info", "fields": {"a": 1}}, "version": 0.1}


@pytest.mark.parametrize("storage", ["/srv/images", "/var/lib/dtf-registry", "/mnt/disk/registry/"])
def test_a_folder_of_the_hosts_will_do(storage: str) -> None:
    assert problems(5000, storage, {"trainer": "x" * 72}) == []


@pytest.mark.parametrize(
    "storage", ["images", "/", "/srv", "/home/user/images", "/tmp/images", "/srv/../etc", "/srv/two words", "/run/a"]
)
def test_a_folder_that_systemd_hides_will_not(storage: str) -> None:
    assert [problem.field for problem in problems(5000, storage, {})] == ["storage"]


@pytest.mark.parametrize(
    ("name", "password"),
    [("trainer", "x" * 73), ("trainer", "ü" * 37), ("trainer", ""), ("trainer", 12345), ("trainer", "a\0b"),
     ("trainer", None), ("a:b", "secret"), ("a b", "secret"), ("#a", "secret"), ("", "secret")],
)  # fmt: skip
def test_a_user_that_no_registry_knows_is_refused_untold(name: str, password: object) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        registry_configuration({}, {}, 0, "images", {name: password})
    told = str(refused.value)
    assert "3 problems" in told
    assert "port: 0" in told
    if isinstance(password, str) and password:
        assert password not in told
    with pytest.raises(AnsibleFilterError):
        htpasswd({name: password})


def test_a_hash_stays_while_the_password_fits() -> None:
    first = htpasswd({"trainer": "one", "other": "two"})
    assert [line.split(":")[0] for line in first.splitlines()] == ["other", "trainer"]
    assert htpasswd({"other": "two", "trainer": "one"}, first) == first
    second = htpasswd({"other": "two", "trainer": "new"}, first)
    assert known_hashes(second)["other"] == known_hashes(first)["other"]
    assert known_hashes(second)["trainer"] != known_hashes(first)["trainer"]
    assert htpasswd({"trainer": "new"}, second) == f"trainer:{known_hashes(second)['trainer']}\n"


def test_what_is_no_hash_is_replaced() -> None:
    made = htpasswd({"trainer": "one"}, "# a note\ntrainer:{SHA}abc\nnonsense\n")
    assert known_hashes(made)["trainer"].startswith("$2b$10$")


def test_a_configuration_that_is_right_passes() -> None:
    assert registry_configuration({"version": 0.1}, {"log": {"level": "debug"}}, 5000, STORAGE) == {
        "version": 0.1,
        "log": {"level": "debug"},
    }
