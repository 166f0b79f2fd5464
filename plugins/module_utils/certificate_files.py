# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that reads, makes and signs certificates; whether one is needed is decided in ``certificates.py``.

It imports ``cryptography``, which comes with Ansible, when it is used: there is none on most hosts. Keys are on
elliptic curves, written without a passphrase and readable by their owner only.

This module util is private to the collection.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .certificates import Certificate
from .errors import ActionFailed
from .host_files import write

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

#: Clocks differ: what is made now is valid for a host that lags behind.
_SLACK = timedelta(hours=1)
_COMMON_NAME_LENGTH = 64


def check_library() -> None:
    """Fail in plain words where ``cryptography`` is missing or older than what is asked of it."""
    from ansible.module_utils.basic import missing_required_lib  # noqa: PLC0415

    try:
        from cryptography.x509 import Certificate as Known  # noqa: PLC0415
    except ImportError as error:
        raise ActionFailed("library_missing", f"{missing_required_lib('cryptography')} ({error})") from error
    if not hasattr(Known, "not_valid_after_utc"):
        raise ActionFailed("library_missing", missing_required_lib("cryptography 42 or later"))


@dataclass(frozen=True)
class Pair:
    """Certificates of a file, the server's or the authority's own first, and the key of that one."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes | None

    @property
    def first(self) -> x509.Certificate:
        """The certificate that the key belongs to."""
        return self.chain[0]

    def text(self) -> str:
        """Return the certificates as PEM."""
        return "".join(pem(certificate) for certificate in self.chain)

    def seen(self, authority: Pair | None = None) -> Certificate:
        """Return what counts of it, for an authority that is to have signed it."""
        return Certificate(
            names=names_of(self.first),
            begins=self.first.not_valid_before_utc,
            ends=self.first.not_valid_after_utc,
            fits_key=self.key is not None and self.key.public_key() == self.first.public_key(),
            signed=authority is None or signed_by(self.first, authority.first),
        )


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate's text."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    return certificate.public_bytes(Encoding.PEM).decode()


def read_chain(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a file; a ``ValueError`` or ``OSError`` says what is wrong with it."""
    from cryptography import x509  # noqa: PLC0415

    return tuple(x509.load_pem_x509_certificates(path.read_bytes()))


def read_key(path: Path) -> PrivateKeyTypes:
    """Return the key of a file; a ``ValueError`` or ``OSError`` says what is wrong with it."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except TypeError as error:
        raise ValueError("the key has a passphrase") from error


def read_pair(certificate: Path, key: Path) -> Pair | None:
    """Return a pair of our own making; ``None`` where it is not there or not whole."""
    try:
        return Pair(read_chain(certificate), read_key(key))
    except (OSError, ValueError):
        return None


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the host names and addresses that a certificate is for."""
    from cryptography import x509  # noqa: PLC0415

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = found.get_values_for_type(x509.IPAddress)
    return frozenset([*found.get_values_for_type(x509.DNSName), *map(str, addresses)])


def may_sign(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is that of an authority."""
    from cryptography import x509  # noqa: PLC0415

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether an authority signed a certificate."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def make_authority(name: str, now: datetime, days: int) -> Pair:
    """Return a new authority that signs servers' certificates and no other authorities."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(name)
    builder = _builder(subject, subject, key, now, now + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(sign=True), critical=True)
    return Pair((builder.sign(key, _hash(key)),), key)


def make_server(names: Iterable[str], authority: Pair, now: datetime, end: datetime) -> Pair:
    """Return a new server's certificate; with it whoever stands between its authority and a root that is trusted."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    ordered = sorted(names)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(ordered[0]), authority.first.subject, key, now, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign=False), critical=True)
    purpose = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    builder = builder.add_extension(purpose, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general_name, ordered))), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.first.public_key())  # type: ignore[arg-type]
    builder = builder.add_extension(issuer, critical=False)
    signing: Any = authority.key
    certificate = builder.sign(signing, _hash(signing))
    between = [link for link in authority.chain if link.issuer != link.subject]
    return Pair((certificate, *between), key)


def write_pair(pair: Pair, certificate: Path, key: Path) -> None:
    """Write a pair, the key first: whoever is interrupted leaves two that do not fit, which is seen."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    own: Any = pair.key
    secret = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write(key, secret.decode(), mode=0o600)
    write(certificate, pair.text(), mode=0o644)


def _subject(name: str) -> x509.Name:
    from cryptography import x509  # noqa: PLC0415

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name[:_COMMON_NAME_LENGTH])])


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, now: datetime, end: datetime) -> x509.CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415

    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - _SLACK).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(*, sign: bool) -> x509.KeyUsage:
    from cryptography import x509  # noqa: PLC0415

    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _hash(key: Any) -> Any:
    """Return the digest to sign with; the Edwards curves bring their own."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ed448, ed25519  # noqa: PLC0415

    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()
