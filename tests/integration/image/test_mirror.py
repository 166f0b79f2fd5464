"""Images of the bundle in a real registry: only what it lacks, with the digest they have in the bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from .conftest import BUNDLE, Played, play

pytestmark = pytest.mark.timeout(120)

NAMES = ("busybox", "gpu-stand-in")


def artifacts() -> list[dict[str, Any]]:
    entries = json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
    return [entry for entry in entries if entry["name"] in NAMES and entry["kind"] == "image"]


def mirrored(folder: Path, host: str, *options: str, **more: Any) -> Played:
    images = {entry["reference"]: "mirror/{name}:1".format(**entry) for entry in artifacts()}
    given = {"bundle": str(BUNDLE), "images": images, "registry": {"host": host, "plain": True}, **more}
    return play(folder, {"tasks": [{"dtf.cluster.registry_images": given}]}, *options)


def there(host: str, name: str) -> str:
    """Return the digest under which the registry has an image; empty if it has none."""
    accepted = "application/vnd.oci.image.manifest.v1+json"
    try:
        with urlopen(Request(f"http://{host}/v2/mirror/{name}/manifests/1", headers={"Accept": accepted})) as reply:
            return str(reply.headers["Docker-Content-Digest"])
    except OSError:
        return ""


def test_a_registry_gets_what_it_lacks_once_and_nothing_in_check_mode(tmp_path: Path, registry: str) -> None:
    names = [f"{registry}/mirror/{name}:1" for name in NAMES]
    for options, changed in ((("--check",), 1), ((), 1), (("--check",), 0), ((), 0)):
        done = mirrored(tmp_path, registry, *options)
        assert done.code == 0, done.printed
        assert (done.changed, done.answer["pushed"]) == (changed, names if changed else [])
        assert bool(there(registry, "busybox")) is (options == () or changed == 0)
    digests = {entry["reference"]: entry["digest"] for entry in artifacts()}
    for reference, name in done.answer["references"].items():
        digest = name.partition("@")[2]
        assert there(registry, name.rpartition("/")[2].partition(":")[0]) == digest
        assert digests[reference] == digest


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, registry: str) -> None:
    wrong = {"images": {"nvcr.io/nvidia/none:1": "Not A Name"}, "registry": {"host": "a b", "ca": "/nowhere"}}
    done = mirrored(tmp_path, registry, **wrong)
    assert done.code
    fields = [problem["field"] for problem in done.answer["failure"]["problems"]]
    assert fields == ["registry.host", "registry.ca", "images[nvcr.io/nvidia/none:1]", "images"]


def test_a_registry_that_does_not_answer_is_told(tmp_path: Path) -> None:
    done = mirrored(tmp_path, "127.0.0.1:1")
    assert done.answer["failure"]["code"] == "registry_unreachable"
