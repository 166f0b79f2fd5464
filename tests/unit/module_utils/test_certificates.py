"""When a certificate is right, and that what is made is what was decided on."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import certificate_files as files
from ansible_collections.dtf.cluster.plugins.module_utils.certificates import (
    Certificate,
    Wanted,
    authority_is_right,
    covered,
    reasons_to_renew,
)
from ansible_collections.dtf.cluster.plugins.modules.registry_certificate import Certificates

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = frozenset({"cp1", "192.0.2.7"})
FOUND = Certificate(NAMES, NOW - timedelta(days=300), NOW + timedelta(days=65))
WANTED = Wanted(NAMES, days=365, renew_days=30, authority_ends=NOW + timedelta(days=3000))


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (None, ["there is none"]),
        (FOUND, []),
        (replace(FOUND, ends=NOW + timedelta(days=30)), []),
        (replace(FOUND, ends=NOW + timedelta(days=29)), ["it ends at 2026-03-30"]),
        (replace(FOUND, ends=NOW - timedelta(days=1)), ["it ends at 2026-02-28"]),
        (replace(FOUND, begins=NOW + timedelta(days=1)), ["it is not valid before 2026-03-02"]),
        (replace(FOUND, fits_key=False), ["its key is not the one beside it"]),
        (replace(FOUND, signed=False), ["the authority did not sign it"]),
        (replace(FOUND, names=frozenset({"cp1"})), ["it is not for 192.0.2.7"]),
        (replace(FOUND, names=NAMES | {"old"}), ["it is still for old"]),
        (
            replace(FOUND, names=frozenset({"b", "a"}), signed=False),
            ["the authority did not sign it", "it is not for 192.0.2.7, cp1", "it is still for a, b"],
        ),
    ],
)
def test_every_reason_is_told(found: Certificate | None, reasons: list[str]) -> None:
    assert reasons_to_renew(found, WANTED, NOW) == reasons


def test_nothing_is_gained_close_to_the_end_of_the_authority() -> None:
    ends = NOW + timedelta(days=10)
    wanted = replace(WANTED, authority_ends=ends)
    assert wanted.end(NOW) == ends
    assert reasons_to_renew(replace(FOUND, ends=ends), wanted, NOW) == []
    assert reasons_to_renew(replace(FOUND, ends=ends - timedelta(days=1)), wanted, NOW) == ["it ends at 2026-03-10"]


def test_an_authority_outlives_what_it_signs() -> None:
    authority = Certificate(frozenset(), NOW, NOW + timedelta(days=365))
    assert authority_is_right(authority, 365, NOW)
    assert not authority_is_right(authority, 366, NOW)
    assert not authority_is_right(replace(authority, fits_key=False), 365, NOW)
    assert not authority_is_right(None, 365, NOW)


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ({"cp1", "192.0.2.7"}, "192.0.2.7"),
        ({"*.bank.example"}, "registry.bank.example"),
        ({"*.example"}, ""),
        (set(), ""),
    ],
)
def test_a_star_is_one_label(names: set[str], name: str) -> None:
    assert covered(frozenset(names), ["192.0.2.7", "registry.bank.example"]) == name


def certificates(folder: Path, *, now: datetime = NOW, check: bool = False, **options: object) -> Certificates:
    given = {"host": "cp1", "names": ["192.0.2.7", "cp1"], "site": {}, "days": 365, "renew_days": 30}
    return Certificates({"folder": str(folder), **given, **options}, check=check, now=now)


def test_a_pair_is_made_once_and_again_when_it_has_to_be(tmp_path: Path) -> None:
    first = certificates(tmp_path)
    made = first.present()
    assert first.changed
    assert made["diff"]["after"] == {"names": ["192.0.2.7", "cp1"], "ends": "2027-03-01"}
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "ca.crt": 0o644, "ca.key": 0o600, "cp1.crt": 0o644, "cp1.key": 0o600,
    }  # fmt: skip
    again = certificates(tmp_path, now=NOW + timedelta(days=300))
    assert again.present()["reasons"] == []
    assert not again.changed

    later = certificates(tmp_path, now=NOW + timedelta(days=340), check=True)
    before = (tmp_path / "cp1.crt").read_bytes()
    assert later.present()["reasons"] == ["it ends at 2027-03-01"]
    assert later.changed
    assert (tmp_path / "cp1.crt").read_bytes() == before

    (tmp_path / "cp1.key").write_bytes((tmp_path / "ca.key").read_bytes())
    assert certificates(tmp_path).present()["reasons"] == ["its key is not the one beside it"]
    (tmp_path / "ca.key").unlink()
    assert certificates(tmp_path).present()["reasons"] == ["the authority did not sign it"]


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    looked = certificates(tmp_path / "new", check=True)
    assert looked.present()["reasons"] == ["there is none"]
    assert looked.changed
    assert not (tmp_path / "new").exists()


def test_the_last_host_takes_the_authority_along(tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    for host in ("cp1", "cp2"):
        certificates(folder, host=host).present()
    certificates(folder, host="cp1").absent()
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "ca.key", "cp2.crt", "cp2.key"]
    certificates(folder, host="cp2").absent()
    assert not folder.exists()
    gone = certificates(folder, host="cp2")
    gone.absent()
    assert not gone.changed


def test_python_trusts_what_is_made(tmp_path: Path) -> None:
    """With all that later versions of OpenSSL insist on."""
    made = certificates(tmp_path, now=datetime.now(UTC)).present()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made["certificate"], made["key"])
    client = ssl.create_default_context(cafile=made["ca"])
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname="192.0.2.7")
    for side in (here, there, here, there):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = here.getpeercert()
    assert certificate
    assert ("IP Address", "192.0.2.7") in certificate["subjectAltName"]


def site(folder: Path, *, days: int = 900) -> dict[str, str]:
    """Write an authority of a site's and a certificate that it signed for another host."""
    authority = files.make_authority("a bank", NOW, days)
    files.write_pair(authority, folder / "ca.pem", folder / "ca.key")
    server = files.make_server(["other.bank.example"], authority, NOW, NOW + timedelta(days=50))
    files.write_pair(server, folder / "other.pem", folder / "other.key")
    return {name: str(folder / name) for name in ("ca.pem", "ca.key", "other.pem", "other.key")}


def fields(found: Certificates) -> list[str]:
    return [problem.field for problem in found.problems()]


def test_the_sites_files_are_looked_at_before_anything_is_made(tmp_path: Path) -> None:
    paths = site(tmp_path)
    ca, ca_key, other, other_key = paths["ca.pem"], paths["ca.key"], paths["other.pem"], paths["other.key"]
    folder = tmp_path / "registry"

    def wrong(**given: str) -> list[str]:
        return fields(certificates(folder, site=given))

    assert wrong(ca=ca, ca_key=ca_key) == []
    assert wrong(ca=ca) == ["site.ca"]
    assert wrong(ca_key=ca_key) == ["site.ca"]
    assert wrong(certificate=other) == ["site.key"]
    assert wrong(ca=ca, ca_key=other_key) == ["site.ca_key"]
    assert wrong(ca=other, ca_key=other_key) == ["site.ca"]
    assert wrong(ca=str(tmp_path / "none"), ca_key=ca) == ["site.ca", "site.ca_key"]
    assert wrong(certificate=other, key=other_key, ca=ca, ca_key=ca_key) == ["site.ca_key"]
    assert wrong(certificate=other, key=other_key, ca=ca) == ["site.certificate"]  # for another host
    known = certificates(folder, names=["other.bank.example"], site={"certificate": other, "key": other_key})
    assert known.problems() == []
    assert known.present()["ca"] == ""
    late = certificates(folder, now=NOW + timedelta(days=1000), site={"ca": ca, "ca_key": ca_key})
    assert fields(late) == ["site.ca"]


def test_what_is_asked_for_is_looked_at_too(tmp_path: Path) -> None:
    assert fields(certificates(tmp_path, host="../ca", names=["a b", "cp1"], renew_days=365)) == [
        "host",
        "names",
        "renew_days",
    ]
    assert fields(certificates(tmp_path, host="ca", names=[])) == ["host", "names"]


def test_the_sites_authority_is_left_for_clients(tmp_path: Path) -> None:
    paths = site(tmp_path)
    folder = tmp_path / "registry"
    folder.mkdir()
    made = certificates(folder, site={"ca": paths["ca.pem"], "ca_key": paths["ca.key"]}).present()
    assert (folder / "ca.crt").read_text() == (tmp_path / "ca.pem").read_text()
    assert not (folder / "ca.key").exists()
    # It ends before a year is over where its authority does.
    assert made["ends"] == "2027-03-01"
    short = tmp_path / "short"
    short.mkdir()
    paths = site(short, days=90)
    made = certificates(folder, site={"ca": paths["ca.pem"], "ca_key": paths["ca.key"]}).present()
    assert made["reasons"] == ["the authority did not sign it"]
    assert made["ends"] == "2026-05-30"
