# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image from a registry into one file: the OCI distribution protocol in, an OCI image layout in a tar archive out.

Every part is verified by its digest, and the same image gives the same bytes. This plugin util is private to the
collection.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

from ..module_utils.bundle import Entry, Measured
from .download import Client, DigestDiffers, DownloadFailed

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Token:
    """Answers a registry that wants a token; the one who gives it may be told a login by ``~/.netrc``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._token = ""

    def headers(self) -> Mapping[str, str]:
        """Return the token, if there is one yet."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def answered(self, error: HTTPError) -> bool:
        """Get a token from where the registry says, also in place of one that is too old."""
        scheme, _unused, challenge = (error.headers.get("WWW-Authenticate") or "").partition(" ")
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if scheme.lower() != "bearer" or not asked.get("realm"):
            return False
        query = urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        separator = "&" if "?" in asked["realm"] else "?"
        url = asked["realm"] + (separator + query if query else "")
        try:
            reply = json.loads(self._client.read(url).body)
            self._token = str(reply.get("token") or reply["access_token"])
        except (ValueError, KeyError, AttributeError) as problem:
            raise DownloadFailed(url, "no token in the answer") from problem
        return True


class ImagePuller:
    """Pulls images; what two of them share is downloaded once.

    Args:
        client: asks the registries.
        scratch: folder for what has arrived.
        architecture: which of an index's images is wanted.
        report: told the number of bytes that came.
    """

    def __init__(self, client: Client, scratch: Path, architecture: str, report: Callable[[int], None]) -> None:
        self._client = client
        self._scratch = scratch
        self._architecture = architecture
        self._report = report
        self._guard = threading.Lock()
        self._busy: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def pull(self, entry: Entry, root: str, name: str, target: Path) -> tuple[str, str, Measured]:
        """Write an image's archive.

        Args:
            entry: the image.
            root: where the registry answers, with ``/v2``.
            name: the image's name there.
            target: the archive.

        Returns:
            Digest of what the tag points to (64 hex digits), digest of the image's manifest, size and digest of the
            archive.
        """
        try:
            return self._pull(entry, f"{root}/{name}", target)
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise DownloadFailed(
                f"{root}/{name}", f"the answer is no image that is understood ({problem!r})"
            ) from problem

    def _pull(self, entry: Entry, base: str, target: Path) -> tuple[str, str, Measured]:
        token = Token(self._client)
        reference = f"sha256:{entry.digest}" if entry.digest else entry.version
        body, kind = self._document(f"{base}/manifests/{reference}", token, entry.digest)
        pinned = hashlib.sha256(body).hexdigest()
        if kind in INDEXES:
            chosen = self._choose(json.loads(body), f"{base}/manifests/{reference}")
            body, kind = self._document(f"{base}/manifests/sha256:{chosen}", token, chosen)
        if kind not in MANIFESTS:
            raise DownloadFailed(f"{base}/manifests/{reference}", f"{kind!r} is no image that can be kept in a file")
        document = json.loads(body)
        blobs = {}
        for part in (document["config"], *document["layers"]):
            digest = _hex(part["digest"], base)
            blobs[digest] = self._blob(f"{base}/blobs/sha256:{digest}", digest, token)
        self._check_architecture(blobs[_hex(document["config"]["digest"], base)], base)
        manifest = hashlib.sha256(body).hexdigest()
        described = {
            "mediaType": kind,
            "digest": f"sha256:{manifest}",
            "size": len(body),
            "annotations": {
                "io.containerd.image.name": entry.reference,
                "org.opencontainers.image.ref.name": entry.version,
            },
            "platform": {"architecture": self._architecture, "os": "linux"},
        }
        index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [described]}
        files: dict[str, bytes | Path] = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps(index, sort_keys=True).encode(),
            f"blobs/sha256/{manifest}": body,
            **{f"blobs/sha256/{digest}": path for digest, path in blobs.items()},
        }
        return pinned, f"sha256:{manifest}", write_layout(target, files)

    def _document(self, url: str, token: Token, expected: str) -> tuple[bytes, str]:
        """Return a manifest and its type."""
        reply = self._client.read(url, _ACCEPT, token)
        found = hashlib.sha256(reply.body).hexdigest()
        announced = _DIGEST.fullmatch(reply.headers.get("Docker-Content-Digest") or "")
        wanted = expected or (announced[1] if announced else found)
        if found != wanted:
            raise DigestDiffers(url, wanted, found)
        document = json.loads(reply.body)
        kind = document.get("mediaType") or (reply.headers.get("Content-Type") or "").partition(";")[0].strip()
        return reply.body, str(kind)

    def _choose(self, index: Mapping[str, Any], url: str) -> str:
        """Return the digest of the image for our architecture."""
        offered = [(entry.get("platform") or {}, entry["digest"]) for entry in index["manifests"]]
        for platform, digest in offered:
            if (platform.get("os"), platform.get("architecture")) == ("linux", self._architecture):
                return _hex(digest, url)
        there = ", ".join(
            "{}/{}".format(platform.get("os"), platform.get("architecture")) for platform, _unused in offered
        )
        raise DownloadFailed(url, f"no image for linux/{self._architecture}, only for {there}")

    def _blob(self, url: str, digest: str, token: Token) -> Path:
        """Return a file with a part of an image."""
        path = self._scratch / digest
        with self._guard:
            busy = self._busy[digest]
        with busy:
            if not path.exists():
                self._client.download(url, path, digest, self._report, token)
        return path

    def _check_architecture(self, config: Path, url: str) -> None:
        found = json.loads(config.read_bytes()).get("architecture")
        if found != self._architecture:
            raise DownloadFailed(url, f"no image for linux/{self._architecture}, this one is for {found}")


def _hex(digest: object, url: str) -> str:
    found = _DIGEST.fullmatch(str(digest))
    if found is None:
        raise DownloadFailed(url, f"{digest!r} is no digest; accepted: sha256: and 64 hex digits")
    return found[1]


class _Hashing:
    """A file to write to that remembers digest and size of what went through."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self._size += len(data)
        self._below.write(data)
        return len(data)

    @property
    def measured(self) -> Measured:
        return Measured(self._size, self._digest.hexdigest())


def write_layout(target: Path, files: Mapping[str, bytes | Path]) -> Measured:
    """Write files into a tar archive: sorted, of nobody, from the beginning of time."""
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    with target.open("wb") as opened:
        hashing = _Hashing(opened)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
            for name in sorted({*files, *folders}):
                info = tarfile.TarInfo(name)
                if name in folders:
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(info)
                    continue
                content = files[name]
                info.mode = 0o644
                info.size = len(content) if isinstance(content, bytes) else content.stat().st_size
                with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
                    archive.addfile(info, source)
    return hashing.measured
