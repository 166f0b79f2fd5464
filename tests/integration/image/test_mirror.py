"""Images of the bundle in a real registry: only what it lacks, with the digest they have in the bundle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

from .conftest import BUNDLE, ROOT, Played, play, serving

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


def test_the_gpu_stack_comes_to_the_sites_registry(tmp_path: Path, registry: str) -> None:
    """As a user runs it; the chart is a stand-in, and so is NVIDIA's registry, which is another of ours."""
    scenario = yaml.safe_load((ROOT / "molecule/gpu/group_vars/all/30_scenario.yml").read_text(encoding="utf-8"))
    inventory = tmp_path / "hosts.yml"
    hosts = {"hosts": {"w1": {"ansible_connection": "local"}}}
    inventory.write_text(yaml.safe_dump({"kube_node": hosts, "gpu": {"hosts": {"w1": {}}}}), encoding="utf-8")
    entries = json.loads((BUNDLE / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
    images = [entry for entry in entries if entry["kind"] == "image" and entry["name"] in ("python", "gpu-stand-in")]
    names = {entry["reference"]: entry["reference"].partition("/")[2] for entry in images}
    # The values name Node Feature Discovery's image by its own name, of the version that the stand-in has.
    discovery = {entry["reference"]: "nfd/node-feature-discovery:3.11" for entry in images if entry["name"] == "python"}
    given: dict[str, Any] = {
        "gpu_operator_found": {"w1": scenario["gpu_operator_found"]["w1"]},
        "gpu_operator_chart": str(ROOT / "tests/fixtures/charts/gpu-operator"),
        "gpu_operator_helm": str(BUNDLE / "bin/helm"),
        "gpu_operator_registry": registry,
        "gpu_operator_registry_ca": "",
        "gpu_operator_registry_login": {"plain": True},
        "gpu_operator_smoke": False,
        "dtf_bundle": str(tmp_path / "bundle"),
        "bundle_gpus": "none",
        "gpu_images": str(tmp_path / "gpu-images.lock.yml"),
        "ansible_python_interpreter": sys.executable,
    }

    def run(**more: Any) -> subprocess.CompletedProcess[str]:
        command = [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(inventory),
            "playbooks/gpu_images.yml",
        ]
        return subprocess.run(
            [*command, "-e", json.dumps({**given, **more})], cwd=ROOT, capture_output=True, text=True, check=False
        )

    with serving(tmp_path / "upstream") as host:
        for pushed in (names, discovery):
            done = mirrored(tmp_path, host, images=pushed, registry={"host": host, "plain": True})
            assert done.code == 0, done.printed
        given["bundle_mirrors"] = dict.fromkeys(("dtf.cluster", "registry.k8s.io"), f"http://{host}")
        refused = run()
        assert refused.returncode, refused.stdout
        assert "bundle_pin_unknown" in refused.stdout + refused.stderr
        fetched = run(bundle_pin_unknown=True)
        assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    # Now nobody outside is asked any more, and nothing is done twice.
    again = run()
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}
    lock = yaml.safe_load(Path(given["gpu_images"]).read_text(encoding="utf-8"))
    assert {entry["image"] for entry in lock["artifacts"]} == {
        "dtf.cluster/python",
        "dtf.cluster/gpu-stand-in",
        "registry.k8s.io/nfd/node-feature-discovery",
    }
    accepted = "application/vnd.oci.image.manifest.v1+json"
    for entry in lock["artifacts"]:
        assert entry["digest"].startswith("sha256:")
        name = entry["image"].removeprefix("registry.k8s.io/")
        address = "http://{}/v2/{}/manifests/{}".format(registry, name, entry["version"])
        with urlopen(Request(address, headers={"Accept": accepted})) as reply:
            assert reply.status == 200
