# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image of the bundle, an OCI image layout in a tar archive, as a registry takes it.

Source of the format: the OCI image layout specification. This module util is private to the collection and imports the
standard library only.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import ActionFailed
from .image_push import Blob, Parts


@contextmanager
def opened(archive: Path) -> Iterator[Parts]:
    """Give the one image of an archive; its parts can be read until the end of the block.

    Raises:
        ActionFailed: ``archive``, it holds no such image, or its manifest is not what its digest says.
    """
    try:
        with tarfile.open(archive) as tar:
            yield _parts(tar)
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, IndexError) as error:
        step = "fetch it again, or build it again"
        raise ActionFailed("archive", f"{archive} is no archive with an image ({error}): {step}") from error


def _parts(tar: tarfile.TarFile) -> Parts:
    described = json.loads(_member(tar, "index.json").read())["manifests"][0]
    digest = str(described["digest"])
    manifest = _member(tar, _path(digest)).read()
    found = "sha256:" + hashlib.sha256(manifest).hexdigest()
    if found != digest:
        raise ValueError(f"its manifest has the digest {found}, and {digest} by its name")
    document = json.loads(manifest)
    blobs = [_blob(tar, part) for part in (*document["layers"], document["config"])]
    kind = document.get("mediaType") or described["mediaType"]
    return Parts(manifest, digest, blobs, str(kind))


def _blob(tar: tarfile.TarFile, part: Mapping[str, Any]) -> Blob:
    path = _path(str(part["digest"]))
    # A layer that the archive lacks is told before the first one is sent.
    tar.getmember(path)
    return Blob(str(part["digest"]), int(part["size"]), _reader(tar, path))


def _reader(tar: tarfile.TarFile, path: str) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    return lambda: _member(tar, path)


def _member(tar: tarfile.TarFile, path: str) -> IO[bytes]:
    found = tar.extractfile(path)
    if found is None:
        raise ValueError(f"{path} is no file")
    return found


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
