# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings entries of a lock into a bundle's folder, several at once.

This plugin util is private to the collection.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..module_utils.bundle import Entry, Measured, Mirrors, described, progress_line, published_digest
from ..module_utils.errors import ActionFailed
from .bundle_folder import BundleFolder, unpack
from .download import Client, DownloadFailed
from .image_pull import ImagePuller

#: What upstream adds to an address for the file with its digest.
DIGEST_SUFFIXES = (".sha256", ".sha256sum")
LOOK_SECONDS = 0.2


@dataclass
class Fetched:
    """What came of fetching.

    Attributes:
        artifacts: what is in the bundle now, as the manifest has it.
        learnt: (kind, name) → digest that the lock did not know.
        failures: what could not be fetched, each in words.
    """

    artifacts: list[dict[str, Any]] = field(default_factory=list)
    learnt: dict[tuple[str, str], str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Fetcher:
    """Downloads, unpacks, verifies, and puts into place."""

    def __init__(self, client: Client, mirrors: Mirrors, folder: BundleFolder, architecture: str) -> None:
        self._client = client
        self._mirrors = mirrors
        self._folder = folder
        self._received = 0
        self._guard = threading.Lock()
        self._puller = ImagePuller(client, folder.scratch, architecture, self._report)

    def fetch(
        self, entries: list[Entry], parallel: int, show: Callable[[str], None], monotonic: Callable[[], float]
    ) -> Fetched:
        """Fetch entries; one that fails does not keep the others from coming."""
        self._folder.scratch.mkdir(parents=True, exist_ok=True)
        found, begin = Fetched(), monotonic()
        with ThreadPoolExecutor(parallel) as pool:
            running: dict[Future[tuple[Entry, list[dict[str, Any]]]], Entry] = {
                pool.submit(self._fetch, entry): entry for entry in entries
            }
            while running:
                over, _unused = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in over:
                    self._settle(running.pop(future), future, found)
                names = [entry.name for future, entry in running.items() if future.running()]
                done = len(entries) - len(running)
                show(progress_line(done, len(entries), self._received, monotonic() - begin, names))
        found.failures.sort()
        return found

    def _settle(self, entry: Entry, future: Future[tuple[Entry, list[dict[str, Any]]]], found: Fetched) -> None:
        try:
            known, artifacts = future.result()
        except (DownloadFailed, ActionFailed) as error:
            found.failures.append(f"{entry.name} {entry.version}: {error}")
        except OSError as error:
            found.failures.append(f"{entry.name} {entry.version}: cannot be written: {error}")
        else:
            found.artifacts += artifacts
            if not entry.digest:
                found.learnt[entry.kind, entry.name] = known.digest

    def _report(self, size: int) -> None:
        with self._guard:
            self._received += size

    def _fetch(self, entry: Entry) -> tuple[Entry, list[dict[str, Any]]]:
        """Fetch one entry; return it with its digest, and its files as the manifest has them."""
        if entry.image:
            return self._image(entry)
        url = self._mirrors.of(entry.url)
        arrived = self._folder.scratch / hashlib.sha256(f"{entry.url} {entry.digest}".encode()).hexdigest()
        expected = entry.digest or self._published(url)
        digest = self._client.download(url, arrived, expected, self._report)
        entry = _with_digest(entry, digest)
        if not entry.members:
            (output,) = entry.outputs
            there = Measured(arrived.stat().st_size, digest)
            self._folder.place(arrived, output, digest)
            return entry, [described(entry, output, there)]
        taken = unpack(arrived, entry, self._folder.scratch)
        artifacts = []
        for output in entry.outputs:
            path, there = taken[output.name]
            self._folder.place(path, output, there.sha256)
            artifacts.append(described(entry, output, there))
        arrived.unlink()
        return entry, artifacts

    def _image(self, entry: Entry) -> tuple[Entry, list[dict[str, Any]]]:
        root, name = self._mirrors.registry(entry.image)
        arrived: Path = self._folder.scratch / f"{entry.name}.tar"
        pinned, digest, there = self._puller.pull(entry, root, name, arrived)
        entry = _with_digest(entry, pinned)
        (output,) = entry.outputs
        self._folder.place(arrived, output, there.sha256)
        return entry, [described(entry, output, there, digest)]

    def _published(self, url: str) -> str:
        """Return the digest that upstream publishes beside a file, empty if it does not."""
        for suffix in DIGEST_SUFFIXES:
            digest = published_digest(self._client.published(url + suffix) or "")
            if digest:
                return digest
        return ""


def _with_digest(entry: Entry, digest: str) -> Entry:
    return Entry(**{**entry.__dict__, "digest": digest})
