# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image into a registry, over the OCI distribution protocol: only what it lacks.

No builder pushes here: credentials stand on no command line and in no builder's file, an authority of one's own needs
no place below /etc, and what is pushed is what an archive of the same image holds.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from .errors import ActionFailed
from .image_layout import MANIFEST_TYPE, Store

_SHOWN_BYTES = 400


@dataclass(frozen=True)
class Blob:
    """A part of an image.

    Attributes:
        digest: ``sha256:`` and 64 hex digits.
        size: bytes.
        open: gives its content.
    """

    digest: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Parts:
    """An image as a registry takes it.

    Attributes:
        manifest: its manifest, byte for byte.
        digest: of the manifest.
        blobs: layers, and the configuration last.
        media_type: of the manifest.
    """

    manifest: bytes
    digest: str
    blobs: Sequence[Blob]
    media_type: str = MANIFEST_TYPE


@dataclass
class Registry:
    """A registry as the build host reaches it.

    Attributes:
        host: ``host`` or ``host:port``.
        ca: file with the authorities it is trusted by; empty is the system's.
        plain: whether it speaks HTTP.
    """

    host: str
    ca: str = ""
    plain: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    timeout: float = 60.0
    _authorization: str = field(default="", repr=False)

    def has(self, repository: str, digest: str, tag: str, media_type: str = MANIFEST_TYPE) -> bool:
        """Tell whether an image is there under a tag, with that digest."""
        status, headers, _body = self._ask("HEAD", f"/v2/{repository}/manifests/{tag}", {"Accept": media_type})
        if status not in (200, 404):
            raise self._refused("could not be asked for an image", status, b"")
        return status == 200 and headers.get("Docker-Content-Digest") == digest

    def push(self, store: Store, record: Mapping[str, Any], repository: str, tag: str) -> list[str]:
        """Bring an image of a store there; return the digests of the layers that were sent."""
        blobs = [
            Blob(part["digest"], part["size"], _reader(store.blob(part["digest"])))
            for part in (*record["layers"], record["config"])
        ]
        digest = record["manifest"]["digest"]
        sent = self.bring(Parts(store.blob(digest).read_bytes(), digest, blobs), repository, tag)
        return [found for found in sent if found != record["config"]["digest"]]

    def bring(self, image: Parts, repository: str, tag: str) -> list[str]:
        """Bring an image there, its parts first; return the digests of those that were sent."""
        sent = [blob.digest for blob in image.blobs if self._send(repository, blob)]
        target = f"/v2/{repository}/manifests/{tag}"
        status, headers, body = self._ask("PUT", target, {"Content-Type": image.media_type}, image.manifest)
        if status != 201:
            raise self._refused(f"refused the manifest of {repository}:{tag}", status, body)
        found = headers.get("Docker-Content-Digest", image.digest)
        if found != image.digest:
            raise ActionFailed("digest_differs", f"{self.host} calls the image {found}, not what was sent")
        return sent

    def _send(self, repository: str, blob: Blob) -> bool:
        """Bring a blob there unless it is; return whether it was sent."""
        status, headers, body = self._ask("HEAD", f"/v2/{repository}/blobs/{blob.digest}", {})
        if status == 200:
            return False
        status, headers, body = self._ask("POST", f"/v2/{repository}/blobs/uploads/", {}, b"")
        if status != 202 or "Location" not in headers:
            raise self._refused(f"takes no blobs of {repository}", status, body)
        place = urllib.parse.urljoin(self._root, headers["Location"])
        separator = "&" if "?" in place else "?"
        target = f"{place}{separator}{urllib.parse.urlencode({'digest': blob.digest})}"
        kind = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        with blob.open() as content:
            status, headers, body = self._ask("PUT", target, kind, content)
        if status != 201:
            raise self._refused(f"refused the blob {blob.digest} of {repository}", status, body)
        return True

    @property
    def _root(self) -> str:
        return "{}://{}".format("http" if self.plain else "https", self.host)

    def _ask(
        self, method: str, target: str, headers: Mapping[str, str], data: bytes | IO[bytes] | None = None
    ) -> tuple[int, Message, bytes]:
        """Ask once, and once more when the registry says whom it wants to hear from."""
        url = urllib.parse.urljoin(self._root, target)
        for attempt in (1, 2):
            if data is not None and not isinstance(data, bytes):
                data.seek(0)
            answer = self._request(method, url, headers, data)
            if answer[0] != 401 or attempt == 2 or not self._authorize(answer[1]):
                break
        if answer[0] in (401, 403):
            known = f"as {self.username}" if self.username else "without a name"
            raise self._refused(f"does not let us in {known}", answer[0], answer[2])
        return answer

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | IO[bytes] | None
    ) -> tuple[int, Message, bytes]:
        known = {"Authorization": self._authorization} if self._authorization else {}
        request = urllib.request.Request(url, data=data, method=method, headers={**headers, **known})  # noqa: S310
        try:
            with self._opener().open(request, timeout=self.timeout) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()
        except (urllib.error.URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            advice = ""
            if isinstance(reason, ssl.SSLCertVerificationError):
                advice = "; give the file of its certificate authority as registry.ca"
            raise ActionFailed("registry_unreachable", f"registry {self.host}: {reason}{advice}") from error

    def _opener(self) -> urllib.request.OpenerDirector:
        context = ssl.create_default_context(cafile=self.ca or None)
        return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def _authorize(self, headers: Message) -> bool:
        """Take what the registry asks for; return whether it is worth asking again."""
        scheme, _space, challenge = (headers.get("WWW-Authenticate") or "").partition(" ")
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        if scheme.lower() == "basic":
            self._authorization = f"Basic {login}"
            return bool(self.username)
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if scheme.lower() != "bearer" or not asked.get("realm"):
            return False
        query = urllib.parse.urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        self._authorization = f"Basic {login}" if self.username else ""
        status, _headers, body = self._request("GET", "{}?{}".format(asked["realm"], query), {}, None)
        document = json.loads(body) if status == 200 else {}
        token = document.get("token") or document.get("access_token") or ""
        self._authorization = f"Bearer {token}"
        return bool(token)

    def _refused(self, what: str, status: int, body: bytes) -> ActionFailed:
        said = body[:_SHOWN_BYTES].decode(errors="replace").strip()
        return ActionFailed("registry_refused", f"registry {self.host} {what}: {status} {said}".strip(), status=status)


def _reader(path: Path) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: path.open("rb")
