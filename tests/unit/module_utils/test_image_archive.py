"""An image of the bundle as a registry takes it, and an archive that is none."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import image_archive
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def archive(folder: Path, *, leave_out: str = "", damage: bool = False, media_type: str = DOCKER) -> Path:
    """Write an archive with a layer and a configuration."""
    layer, config = b"layer", b'{"architecture":"amd64"}'
    described = [{"digest": digest(part), "size": len(part)} for part in (layer, config)]
    manifest = json.dumps({"mediaType": media_type, "layers": described[:1], "config": described[1]}).encode()
    index = {"manifests": [{"digest": digest(manifest), "mediaType": media_type}]}
    files = {"index.json": json.dumps(index).encode()}
    for part in (layer, config, manifest):
        files["blobs/" + digest(part).replace(":", "/")] = part
    if damage:
        files["blobs/" + digest(manifest).replace(":", "/")] = manifest + b" "
    files.pop("blobs/" + digest(leave_out.encode()).replace(":", "/"), None)
    path = folder / "image.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_an_image_has_its_manifest_byte_for_byte_and_its_parts_in_the_order_they_are_sent(tmp_path: Path) -> None:
    with image_archive.opened(archive(tmp_path)) as image:
        assert digest(image.manifest) == image.digest
        assert image.media_type == DOCKER
        parts = []
        for blob in image.blobs:
            with blob.open() as content:
                parts.append(content.read())
                # It is sent again after a registry has asked who we are.
                content.seek(0)
                assert content.read() == parts[-1]
        assert parts == [b"layer", b'{"architecture":"amd64"}']
        assert [blob.size for blob in image.blobs] == [len(part) for part in parts]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"leave_out": "layer"}, "not found"), ({"damage": True}, "its manifest has the digest sha256:")],
)
def test_an_archive_that_lacks_something_is_told_before_anything_is_sent(
    tmp_path: Path, wrong: dict[str, object], words: str
) -> None:
    path = archive(tmp_path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ActionFailed, match=words) as raised, image_archive.opened(path):
        pass
    assert raised.value.code == "archive"


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_archive_is_told_with_the_next_step(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(ActionFailed, match="fetch it again, or build it again"), image_archive.opened(path):
        pass
