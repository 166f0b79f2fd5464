# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that downloads: again where it was cut off, and never anything but the promised bytes.

This plugin util is private to the collection.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url

BLOCK = 1 << 18
#: Answers after which asking again may help.
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
#: No document that is read whole is larger than this.
DOCUMENT_BYTES = 8 << 20

Result = TypeVar("Result")


class DownloadFailed(Exception):
    """An address that did not give what it was asked for, and why."""

    def __init__(self, url: str, why: str) -> None:
        self.url = url
        self.why = why
        super().__init__(f"{url}: {why}")


class DigestDiffers(DownloadFailed):
    """What came is not what was asked for."""

    def __init__(self, url: str, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found
        super().__init__(url, f"expected sha256 {expected}, found sha256 {found}; refused")


class _CutOff(Exception):
    """A transfer that ended before its end."""


class Login(Protocol):
    """What knows how to answer a server that asks who is there."""

    def headers(self) -> Mapping[str, str]:
        """Return what a request says of who asks."""

    def answered(self, error: HTTPError) -> bool:
        """Take note of a refusal; return whether it is worth asking again."""


@dataclass(frozen=True)
class Reply:
    """A small document and the headers that came with it."""

    body: bytes
    headers: Mapping[str, str]


class Client:
    """Asks servers, through the proxy that the environment names, as the user of ``~/.netrc``.

    Args:
        timeout: seconds of silence after which a connection counts as dead.
        retries: how often a request is made again.
        ca_path: file with the certificate authorities; empty for the system's.
        sleep: waits between two requests.
    """

    def __init__(
        self, *, timeout: float, retries: int, ca_path: str = "", sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._timeout = timeout
        self._retries = retries
        self._ca_path = ca_path
        self._sleep = sleep

    def read(self, url: str, headers: Mapping[str, str] | None = None, login: Login | None = None) -> Reply:
        """Return a small document; raise :class:`DownloadFailed`."""

        def attempt() -> Reply:
            with self._open(url, dict(headers or {}), login) as response:
                body = response.read(DOCUMENT_BYTES + 1)
                if len(body) > DOCUMENT_BYTES:
                    raise DownloadFailed(url, f"a document of more than {DOCUMENT_BYTES} bytes")
                _check_length(response, len(body))
                return Reply(body, response.headers)

        return self._again(url, attempt)

    def published(self, url: str) -> str | None:
        """Return a small text, ``None`` where the server has none."""
        try:
            return self.read(url).body.decode("utf-8", errors="replace")
        except DownloadFailed as error:
            cause = error.__cause__
            if isinstance(cause, HTTPError) and cause.code in (403, 404, 410):
                return None
            raise

    def download(
        self, url: str, target: Path, expected: str, report: Callable[[int], None], login: Login | None = None
    ) -> str:
        """Put what an address has into a file and return its sha256.

        What an earlier try left beside it (``.part``) is continued where the server can. Without an expected digest
        nothing is continued: two halves might be of two files.
        """
        part = target.with_name(target.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        if not expected:
            part.unlink(missing_ok=True)
        left = part.exists()
        found = self._again(url, lambda: self._receive(url, part, report, login, resume=bool(expected)))
        if expected and found != expected:
            part.unlink()
            if left:
                # What was left may have been of another file: once more, from the beginning.
                return self.download(url, target, expected, report, login)
            raise DigestDiffers(url, expected, found)
        part.replace(target)
        return found

    def _receive(
        self, url: str, part: Path, report: Callable[[int], None], login: Login | None, *, resume: bool
    ) -> str:
        """Get what is lacking of a file; return the digest of all of it."""
        digest = hashlib.sha256()
        have = part.stat().st_size if resume and part.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            response = self._open(url, headers, login)
        except HTTPError as error:
            if error.code != 416 or not have:
                raise
            if re.fullmatch(rf"bytes \*/{have}", error.headers.get("Content-Range") or ""):
                return _digest(part)  # it had come whole
            part.unlink()
            raise _CutOff("the server does not have the rest of what was left of an earlier try") from error
        with response:
            begins = response.headers.get("Content-Range") or ""
            if have and response.status == 206 and begins.startswith(f"bytes {have}-"):
                _feed(digest, part)
            elif response.status == 206:
                part.unlink(missing_ok=True)
                raise _CutOff(f"the server sent another part than was asked for ({begins})")
            else:
                have = 0
            received = 0
            with part.open("ab" if have else "wb") as file:
                while block := response.read(BLOCK):
                    file.write(block)
                    digest.update(block)
                    received += len(block)
                    report(len(block))
            _check_length(response, received)
        return digest.hexdigest()

    def _open(self, url: str, headers: dict[str, str], login: Login | None) -> Any:
        """Open an address; where the server asks who is there, say so and open it again."""
        try:
            return self._request(url, headers, login)
        except HTTPError as error:
            if error.code != 401 or login is None or not login.answered(error):
                raise
        return self._request(url, headers, login)

    def _request(self, url: str, headers: dict[str, str], login: Login | None) -> Any:
        identity = login.headers() if login else {}
        return open_url(
            url,
            headers={**headers, **identity},
            timeout=self._timeout,
            ca_path=self._ca_path or None,
            http_agent="dtf.cluster",
            # A token is for who gave it, not for where they send us; and no login of .netrc takes its place.
            unredirected_headers=["Authorization"],
            use_netrc=not identity,
            decompress=False,
        )

    def _again(self, url: str, attempt: Callable[[], Result]) -> Result:
        """Make an attempt, and further ones after failures that may pass."""
        cause: Exception
        for number in range(self._retries + 1):
            try:
                return attempt()
            except HTTPError as error:
                why, may_pass, cause = f"HTTP {error.code} {error.reason}", error.code in TRANSIENT, error
            except URLError as error:
                may_pass = not isinstance(error.reason, ssl.SSLCertVerificationError)
                why, cause = str(error.reason), error
            except (_CutOff, TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
                why, may_pass, cause = str(error) or type(error).__name__, True, error
            if not may_pass or number == self._retries:
                tries = f" (after {number + 1} tries)" if number else ""
                raise DownloadFailed(url, why + tries) from cause
            self._sleep(min(FIRST_PAUSE_SECONDS * 2**number, LONGEST_PAUSE_SECONDS))
        raise AssertionError("unreachable")


def _check_length(response: Any, received: int) -> None:
    announced = response.headers.get("Content-Length")
    if announced is not None and received < int(announced):
        raise _CutOff(f"the connection ended after {received} of {announced} bytes")


def _feed(digest: Any, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    _feed(digest, path)
    return digest.hexdigest()
