"""Where Debian's archive is, read as apt reads it."""

from __future__ import annotations

import pytest
from laboratory.apt_sources import Source, archives, known_hosts, parse, remote_names, render, settings

STANZAS = """\
Types: deb deb-src
# a snapshot: http://example.org/
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main contrib

Types: deb
URIs: http://mirror.example/debian-security http://second.example/debian-security
Suites: trixie-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: trixie
Components: main
"""
LINES = """\
# deb http://off.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://mirror.example/debian/ bookworm main non-free # ours
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/security bookworm-security main
deb https://packages.example/apt tool main
"""
MAIN = Source("http://mirror.example/debian", ("trixie", "trixie-updates"), ("main", "contrib"))


def test_stanzas() -> None:
    found = parse({"/etc/apt/sources.list.d/debian.sources": STANZAS})
    assert found[0] == MAIN
    assert [source.uri for source in found[1:]] == [
        "http://mirror.example/debian-security",
        "http://second.example/debian-security",
    ]


def test_lines() -> None:
    assert parse({"/etc/apt/sources.list": LINES}) == [
        Source("http://mirror.example/debian/", ("bookworm",), ("main", "non-free")),
        Source("http://mirror.example/security", ("bookworm-security",), ("main",)),
        Source("https://packages.example/apt", ("tool",), ("main",)),
    ]


def test_a_machine_of_another_release_has_the_same_archive() -> None:
    main, security = archives(parse({"a.sources": STANZAS}), "bookworm")
    assert main == Source(MAIN.uri, ("bookworm", "bookworm-updates"), MAIN.components)
    assert security.suites == ("bookworm-security",)


def test_other_archives_are_not_for_the_hosts() -> None:
    uris = [source.uri for source in archives(parse({"sources.list": LINES}), "bookworm")]
    assert uris == ["http://mirror.example/debian/", "http://mirror.example/security"]


@pytest.mark.parametrize(
    "text", ["", "deb http://archive.example/ubuntu noble main\n", "deb http://x.example/debian sid contrib\n"]
)
def test_another_distribution_has_none(text: str) -> None:
    assert archives(parse({"sources.list": text}), "bookworm") == []


def test_what_is_written_is_what_is_read() -> None:
    sources = archives(parse({"a.sources": STANZAS}), "bookworm")
    assert parse({"b.sources": render(sources)}) == sources


DUMP = """\
APT::Architecture "amd64";
Acquire "";
Acquire::Check-Valid-Until "false";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::inside.example "DIRECT";
Acquire::https::CaInfo "/etc/ssl/own.pem";
Acquire::GzipIndexes "true";
Dir::Etc "etc/apt";
"""


def test_settings_are_those_by_which_an_archive_is_reached() -> None:
    assert settings(DUMP, {}) == [
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::http::Proxy::inside.example "DIRECT";',
    ]


def test_a_proxy_of_the_environment_counts_where_apt_has_none() -> None:
    found = settings(DUMP, {"http_proxy": "http://other.example:1", "HTTPS_PROXY": "http://tls.example:2"})
    assert 'Acquire::https::Proxy "http://tls.example:2";' in found
    assert not any("other.example" in line for line in found)


def test_names_that_no_resolver_knows_are_handed_on() -> None:
    names = remote_names([MAIN], settings(DUMP, {}))
    assert names == {"mirror.example", "proxy.example"}
    hosts = (
        "127.0.0.1 localhost\n192.0.2.7 a.example mirror.example # ours\n192.0.2.9 mirror.example\n::1 proxy.example\n"
    )
    assert known_hosts(hosts, names) == {"mirror.example": "192.0.2.7"}
