"""A bundle's lock, its mirrors and what is told of what is there."""

from __future__ import annotations

import copy
import json
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.bundle import (
    FOLDERS,
    Lock,
    Measured,
    Mirrors,
    addresses,
    check_manifest,
    described,
    differences,
    is_there,
    manifest,
    missing,
    pinned,
    progress_line,
    published_digest,
    read_lock,
    refusal,
)
from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "roles" / "bundle" / "files" / "bundle.lock.yml"
ONE, TWO, THREE, FOUR = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)

DOCUMENT: dict[str, Any] = {
    "schema": "dtf.bundle_lock/1",
    "redirects": {"dl.example": ["cdn.example"]},
    "artifacts": [
        {
            "name": "kubelet",
            "kind": "binary",
            "version": "1.2.3",
            "url": "https://dl.example/v{version}/linux/{architecture}/kubelet",
            "sha256": {"amd64": ONE, "arm64": TWO},
            "needed_by": "every node",
        },
        {
            "name": "plugins",
            "kind": "cni_plugin",
            "version": "0.9",
            "url": "https://files.example/plugins-{architecture}.tgz",
            "sha256": {"amd64": THREE},
            "members": {"bridge": "./bridge", "portmap": "plugins-{version}/portmap"},
        },
        {
            "name": "pause",
            "kind": "image",
            "version": "3.1",
            "image": "registry.example/base/pause",
            "digest": f"sha256:{FOUR}",
            "nodes": "all",
        },
        {
            "name": "extra",
            "kind": "image",
            "version": "v1",
            "image": "docker.io/library/extra",
            "nodes": "none",
            "optional": True,
        },
        {"name": "mnist", "kind": "data", "version": "1", "url": "https://files.example/a/mnist.npz"},
    ],
}


def lock(architecture: str = "amd64") -> Lock:
    return read_lock(DOCUMENT, architecture)


def problems(document: object, architecture: str = "amd64") -> dict[str, object]:
    """Return field → value of what is wrong with a lock."""
    with pytest.raises(InvalidInput) as caught:
        read_lock(document, architecture)
    return {problem.field: problem.value for problem in caught.value.problems}


def changed(number: int, **fields: object) -> dict[str, Any]:
    """Return the lock with some fields of one artifact changed; None takes a field away."""
    document = copy.deepcopy(DOCUMENT)
    line = {**document["artifacts"][number], **fields}
    document["artifacts"][number] = {name: content for name, content in line.items() if content is not None}
    return document


def test_a_lock_is_filled_in_for_an_architecture() -> None:
    kubelet, plugins, pause, extra, mnist = lock("amd64").entries
    assert (kubelet.url, kubelet.digest) == ("https://dl.example/v1.2.3/linux/amd64/kubelet", ONE)
    assert dict(plugins.members) == {"bridge": "./bridge", "portmap": "plugins-0.9/portmap"}
    assert (pause.reference, pause.digest) == ("registry.example/base/pause:3.1", FOUR)
    assert (extra.optional, extra.digest) == (True, "")
    assert mnist.digest == ""
    arm = lock("arm64").entries
    assert (arm[0].url, arm[0].digest) == ("https://dl.example/v1.2.3/linux/arm64/kubelet", TWO)
    assert arm[1].digest == "", "a digest of another architecture is none"
    assert arm[2].digest == FOUR, "an index is for all architectures"


def test_files_of_a_bundle_lie_by_their_kind() -> None:
    assert [output.path for entry in lock().entries for output in entry.outputs] == [
        "bin/kubelet",
        "bin/cni/bridge",
        "bin/cni/portmap",
        "images/pause.tar",
        "images/extra.tar",
        "data/mnist.npz",
    ]


def test_what_is_optional_is_taken_by_name_only() -> None:
    assert [entry.name for entry in lock().chosen([])] == ["kubelet", "plugins", "pause", "mnist"]
    assert [entry.name for entry in lock().chosen(["extra"])] == ["kubelet", "plugins", "pause", "extra", "mnist"]
    assert [entry.name for entry in lock().chosen(["extra", "bridge"], only_required=True)] == ["plugins", "extra"]


def test_a_laptop_with_kind_fetches_three_things() -> None:
    inventory = yaml.safe_load((ROOT / "inventories" / "kind" / "hosts.yml").read_text(encoding="utf-8"))
    asked = inventory["kind_host"]["vars"]
    shipped = read_lock(yaml.safe_load(SHIPPED.read_text(encoding="utf-8")), "amd64")
    chosen = shipped.chosen(asked["bundle_require"], only_required=asked["bundle_only_required"])
    assert {entry.name for entry in chosen} == {"kind", "kubectl", "kind-node"}


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (None, {"document": None}),
        ([], {"document": []}),
        ({"schema": "dtf.bundle_lock/2", "artifacts": []}, {"schema": "dtf.bundle_lock/2", "artifacts": []}),
        ({**DOCUMENT, "more": 1}, {"more": 1}),
        ({**DOCUMENT, "redirects": {"a": "b"}}, {"redirects": {"a": "b"}}),
        ({**DOCUMENT, "artifacts": ["x"]}, {"artifacts[0]": "x"}),
        (changed(0, kind="program"), {"artifacts[0](kubelet).kind": "program"}),
        (changed(0, kind=["binary"]), {"artifacts[0](kubelet).kind": ["binary"]}),
        (changed(0, name="a/b"), {"artifacts[0](a/b).name": "a/b"}),
        (changed(0, name=None), {"artifacts[0].name": None}),
        (changed(0, version=1.36), {"artifacts[0](kubelet).version": 1.36}),
        (changed(0, version="v1.36.3"), {"artifacts[0](kubelet).version": "v1.36.3"}),
        (changed(0, url="ftp://a/b"), {"artifacts[0](kubelet).url": "ftp://a/b"}),
        (changed(0, url="https://a/{os}/b"), {"artifacts[0](kubelet).url": "https://a/{os}/b"}),
        (changed(0, url="https://u:p@a/b"), {"artifacts[0](kubelet).url": "https://u:p@a/b"}),
        (changed(0, url="https://host"), {"artifacts[0](kubelet).url": "https://host"}),
        (changed(0, sha256={"amd64": "abc"}), {"artifacts[0](kubelet).sha256": {"amd64": "abc"}}),
        (changed(0, sha256={"mips": ONE}), {"artifacts[0](kubelet).sha256": {"mips": ONE}}),
        (changed(0, digest=f"sha256:{ONE}"), {"artifacts[0](kubelet).digest": f"sha256:{ONE}"}),
        (changed(0, optional="yes"), {"artifacts[0](kubelet).optional": "yes"}),
        (changed(0, needed_by=3), {"artifacts[0](kubelet).needed_by": 3}),
        (changed(1, members={}), {"artifacts[1](plugins).members": {}}),
        (changed(1, members={"../x": "x"}), {"artifacts[1](plugins).members": {"../x": "x"}}),
        (changed(2, digest=FOUR), {"artifacts[2](pause).digest": FOUR}),
        (changed(2, nodes="some"), {"artifacts[2](pause).nodes": "some"}),
        (changed(2, nodes=None), {"artifacts[2](pause).nodes": None}),
        (changed(2, image="pause"), {"artifacts[2](pause).image": "pause"}),
        (changed(2, image="registry.example/pause:3.1"), {"artifacts[2](pause).image": "registry.example/pause:3.1"}),
        (changed(2, version="a/b"), {"artifacts[2](pause).version": "a/b"}),
        (changed(2, url="https://a/b"), {"artifacts[2](pause).url": "https://a/b"}),
    ],
)
def test_what_is_wrong_with_a_lock_is_told_by_field_and_value(document: object, wanted: dict[str, object]) -> None:
    assert problems(document) == wanted


def test_all_problems_of_a_lock_come_at_once() -> None:
    document = changed(0, url="x", version=1)
    document["artifacts"][2]["nodes"] = "nowhere"
    document["schema"] = "other"
    assert set(problems(document, "mips")) == {
        "architecture",
        "schema",
        "artifacts[0](kubelet).version",
        "artifacts[0](kubelet).url",
        "artifacts[2](pause).nodes",
    }


def test_two_artifacts_of_one_name_or_path_are_refused() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["artifacts"] += [
        {"name": "bridge", "kind": "cni_plugin", "version": "1", "url": "https://a/bridge"},
        {"name": "digits", "kind": "data", "version": "1", "url": "https://b/mnist.npz"},
    ]
    with pytest.raises(InvalidInput) as caught:
        read_lock(document, "amd64")
    assert [problem.value for problem in caught.value.problems] == ["bridge", "bin/cni/bridge", "data/mnist.npz"]


@pytest.mark.parametrize(
    ("mirrors", "url", "wanted"),
    [
        ({}, "https://dl.k8s.io/a/b", "https://dl.k8s.io/a/b"),
        ({"dl.k8s.io": "https://m.example/k8s"}, "https://dl.k8s.io/a/b", "https://m.example/k8s/a/b"),
        ({"dl.k8s.io": "https://m.example/k8s/"}, "https://dl.k8s.io/a", "https://m.example/k8s/a"),
        ({"k8s.io": "https://m.example"}, "https://dl.k8s.io/a", "https://dl.k8s.io/a"),
        ({"dl.k8s.io": "https://m.example"}, "https://dl.k8s.io:8443/a", "https://dl.k8s.io:8443/a"),
        ({"dl.k8s.io:8443": "http://m.example:80"}, "https://dl.k8s.io:8443/a", "http://m.example:80/a"),
        ({"https://github.com/a": "https://m/x"}, "https://github.com/a/b", "https://m/x/b"),
        ({"https://github.com/a": "https://m/x"}, "https://github.com/ab/b", "https://github.com/ab/b"),
        (
            {"https://github.com/a/": "https://m/x", "github.com": "https://n"},
            "https://github.com/a/b",
            "https://m/x/b",
        ),
        ({"https://github.com/a": "https://m/x", "github.com": "https://n"}, "https://github.com/c", "https://n/c"),
    ],
)
def test_the_longest_mirror_that_fits_is_taken(mirrors: dict[str, object], url: str, wanted: str) -> None:
    assert Mirrors.from_params(mirrors).of(url) == wanted


@pytest.mark.parametrize(
    ("mirrors", "image", "wanted"),
    [
        ({}, "registry.k8s.io/pause", ("https://registry.k8s.io/v2", "pause")),
        ({}, "docker.io/library/busybox", ("https://registry-1.docker.io/v2", "library/busybox")),
        ({"registry.k8s.io": "http://127.0.0.1:5000"}, "registry.k8s.io/a/b", ("http://127.0.0.1:5000/v2", "a/b")),
        ({"registry.k8s.io": "https://m/k8s/p"}, "registry.k8s.io/a", ("https://m/v2", "k8s/p/a")),
        ({"registry.k8s.io": "https://m/v2/k8s"}, "registry.k8s.io/a", ("https://m/v2", "k8s/a")),
        ({"registry.k8s.io": "https://m/api/k8s/v2"}, "registry.k8s.io/a", ("https://m/api/k8s/v2", "a")),
        ({"https://registry.k8s.io/a": "https://m/x"}, "registry.k8s.io/a/b", ("https://m/v2", "x/b")),
        ({"docker.io": "https://m"}, "docker.io/library/busybox", ("https://m/v2", "library/busybox")),
    ],
)
def test_a_registry_s_mirror_has_the_path_in_the_name(
    mirrors: dict[str, object], image: str, wanted: tuple[str, str]
) -> None:
    assert Mirrors.from_params(mirrors).registry(image) == wanted


def test_wrong_mirrors_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        Mirrors.from_params({"a b": "https://m", "dl.k8s.io": "m.example", "ghcr.io": "https://u:p@m"})
    assert [problem.field for problem in caught.value.problems] == ["mirrors", "mirrors[dl.k8s.io]", "mirrors[ghcr.io]"]


def test_addresses_for_a_firewall() -> None:
    mirrors = Mirrors.from_params({"registry.example": "https://r.site/k8s"})
    assert addresses(lock().chosen([]), lock(), mirrors) == [
        {"kind": "binary", "address": "https://dl.example", "redirects": ["cdn.example"], "artifacts": ["kubelet"]},
        {"kind": "cni_plugin", "address": "https://files.example", "redirects": [], "artifacts": ["plugins"]},
        {"kind": "data", "address": "https://files.example", "redirects": [], "artifacts": ["mnist"]},
        {"kind": "image", "address": "https://r.site", "redirects": [], "artifacts": ["pause"]},
    ]


def whole() -> dict[str, Any]:
    """Return the manifest of a bundle that has all that the lock pins."""
    there = {"bin/kubelet": ONE}
    brought = [
        described(entry, output, Measured(7, there.get(output.path, TWO)), f"sha256:{THREE}" if entry.image else "")
        for entry in lock().entries[:3]
        for output in entry.outputs
    ]
    return manifest("amd64", [], brought)


def measured(document: dict[str, Any]) -> dict[str, Measured | None]:
    return {artifact["path"]: Measured(artifact["size"], artifact["sha256"]) for artifact in document["artifacts"]}


def test_a_manifest_is_what_its_schema_wants() -> None:
    schema = json.loads((ROOT / "schemas" / "bundle.schema.json").read_text(encoding="utf-8"))
    document = whole()
    jsonschema.Draft202012Validator(schema).validate(document)
    assert check_manifest(document) == []
    assert [artifact["source"] for artifact in document["artifacts"]] == [
        f"https://files.example/plugins-amd64.tgz#sha256:{THREE}",
        f"https://files.example/plugins-amd64.tgz#sha256:{THREE}",
        "https://dl.example/v1.2.3/linux/amd64/kubelet",
        f"oci:registry.example/base/pause:3.1@sha256:{FOUR}",
    ]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (("schema",), "dtf.bundle/2"),
        (("architecture",), "x86_64"),
        (("artifacts",), {}),
        (("more",), 1),
        (("artifacts", 0), "bin/x"),
        (("artifacts", 0, "path"), "../etc/passwd"),
        (("artifacts", 0, "path"), "bin/../../x"),
        (("artifacts", 0, "path"), "/bin/x"),
        (("artifacts", 0, "sha256"), "ABC"),
        (("artifacts", 0, "size"), -1),
        (("artifacts", 0, "size"), "7"),
        (("artifacts", 0, "kind"), "program"),
        (("artifacts", 0, "name"), ".x"),
        (("artifacts", 0, "version"), ""),
        (("artifacts", 0, "source"), None),
        (("artifacts", 0, "nodes"), "all"),
        (("artifacts", 0, "colour"), "red"),
        (("artifacts", 3, "digest"), FOUR),
        (("artifacts", 3, "reference"), "pause"),
        (("artifacts", 3, "nodes"), "some"),
    ],
)
def test_a_manifest_is_judged_as_by_its_schema(path: tuple[str | int, ...], content: object) -> None:
    schema = json.loads((ROOT / "schemas" / "bundle.schema.json").read_text(encoding="utf-8"))
    document = whole()
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = content
    assert not jsonschema.Draft202012Validator(schema).is_valid(document)
    (problem,) = check_manifest(document)
    assert problem.value == content


def test_names_and_order_of_a_manifest() -> None:
    document = whole()
    document["artifacts"].reverse()
    assert [problem.accepted for problem in check_manifest(document)] == ["each path once, in their order"]
    document = whole()
    document["artifacts"][1]["name"] = "bridge"
    assert [problem.value for problem in check_manifest(document)] == ["bridge"]


def test_every_difference_is_told() -> None:
    document = whole()
    there = measured(document)
    assert differences(document["artifacts"], there) == []
    there["bin/kubelet"] = Measured(7, FOUR)
    there["bin/cni/bridge"] = None
    there["images/pause.tar"] = Measured(8, TWO)
    assert [str(difference) for difference in differences(document["artifacts"], there)] == [
        f"bin/cni/bridge: expected sha256 {TWO}, found no such file",
        f"bin/kubelet: expected sha256 {ONE}, found sha256 {FOUR}",
        "images/pause.tar: expected 7 bytes, found 8 bytes",
    ]


def test_what_is_missing_is_told_with_what_needs_it() -> None:
    artifacts = [artifact for artifact in whole()["artifacts"] if artifact["name"] not in ("kubelet", "portmap")]
    found = missing(["kubelet", "bridge", "portmap", "plugins", "mine", "pause"], artifacts, lock())
    assert [str(difference) for difference in found] == [
        "kubelet: expected an artifact of this name (every node), found none",
        "portmap: expected an artifact of this name (asked for by name), found none",
        "plugins: expected an artifact of this name (asked for by name), found none",
        "mine: expected an artifact of this name (asked for by name), found none",
    ]


def test_what_is_there_is_not_fetched_again() -> None:
    document = whole()
    by_path = {artifact["path"]: artifact for artifact in document["artifacts"]}
    there = measured(document)
    assert [is_there(entry, by_path, there) for entry in lock().entries[:3]] == [True, True, True]


@pytest.mark.parametrize(
    ("number", "path", "change"),
    [
        (0, "bin/kubelet", {"sha256": TWO}),
        (0, "bin/kubelet", {"version": "1.2.2"}),
        (1, "bin/cni/bridge", {"source": f"https://files.example/plugins-amd64.tgz#sha256:{ONE}"}),
        (1, "bin/cni/bridge", {"kind": "binary"}),
        (2, "images/pause.tar", {"source": f"oci:registry.example/base/pause:3.1@sha256:{ONE}"}),
        (2, "images/pause.tar", {"reference": "registry.example/pause:3.1"}),
        (2, "images/pause.tar", {"nodes": "none"}),
    ],
)
def test_what_is_of_another_lock_is_fetched(number: int, path: str, change: dict[str, str]) -> None:
    by_path = {artifact["path"]: artifact for artifact in whole()["artifacts"]}
    by_path[path] = {**by_path[path], **change}
    there = {name: Measured(artifact["size"], artifact["sha256"]) for name, artifact in by_path.items()}
    assert not is_there(lock().entries[number], by_path, there)


def test_what_is_damaged_missing_or_unpinned_is_fetched() -> None:
    document = whole()
    by_path = {artifact["path"]: artifact for artifact in document["artifacts"]}
    kubelet = lock().entries[0]
    assert not is_there(kubelet, by_path, {**measured(document), "bin/kubelet": Measured(7, TWO)})
    assert not is_there(kubelet, by_path, {**measured(document), "bin/kubelet": None})
    assert not is_there(kubelet, {}, {})
    assert not is_there(lock().entries[4], by_path, measured(document))


def test_what_comes_takes_the_place_of_its_name_and_its_path() -> None:
    before = whole()["artifacts"]
    new = {**before[2], "version": "1.3"}
    moved = {**before[3], "path": "images/base.tar"}
    document = manifest("amd64", before, [new, moved])
    assert [artifact["path"] for artifact in document["artifacts"]] == [
        "bin/cni/bridge",
        "bin/cni/portmap",
        "bin/kubelet",
        "images/base.tar",
    ]
    assert document["artifacts"][2]["version"] == "1.3"


def test_a_learnt_digest_gets_into_the_lock() -> None:
    document = pinned(
        DOCUMENT, {("image", "extra"): ONE, ("data", "mnist"): TWO, ("cni_plugin", "plugins"): FOUR}, "arm64"
    )
    amd, arm = read_lock(document, "amd64"), read_lock(document, "arm64")
    assert [entry.digest for entry in amd.entries] == [ONE, THREE, FOUR, ONE, ""]
    assert [entry.digest for entry in arm.entries] == [TWO, FOUR, FOUR, ONE, TWO]
    assert "digest" not in DOCUMENT["artifacts"][3]


def test_a_refusal_names_what_and_how_to_go_on() -> None:
    text = refusal([lock().entries[3], lock().entries[4]], "/srv/my.lock.yml")
    assert "no digest of 2 artifacts" in text
    assert "extra v1: docker.io/library/extra:v1" in text
    assert "mnist 1: https://files.example/a/mnist.npz" in text
    assert "-e bundle_lock=/srv/my.lock.yml -e bundle_pin_unknown=true" in text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (ONE, ONE),
        (f"{'A' * 64}\n", "a" * 64),
        (f"{ONE}  kind-linux-amd64\n", ONE),
        ("", None),
        ("<html>Not found</html>", None),
        (ONE[:-1], None),
    ],
)
def test_a_published_digest(text: str, wanted: str | None) -> None:
    assert published_digest(text) == wanted


def test_progress_in_a_line() -> None:
    assert progress_line(0, 9, 0, 0.2, []) == "0 of 9 artifacts · 0 MB"
    assert progress_line(2, 9, 50_000_000, 10, ["a", "b", "c", "d", "e"]) == (
        "2 of 9 artifacts · 50 MB · 5.0 MB/s · a, b, c, d …"
    )


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_lock_that_is_shipped(architecture: str) -> None:
    document = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    shipped = read_lock(document, architecture)
    assert {entry.name for entry in shipped.entries if not entry.digest} == {"kube-proxy", "flannel"}
    assert {entry.kind for entry in shipped.entries} <= FOLDERS.keys()
    assert all(entry.needed_by for entry in shipped.entries)
    assert not {host for entry in shipped.entries if entry.url for host in [entry.url] if not host.startswith("https:")}


def test_what_a_cluster_requires_is_in_the_lock() -> None:
    defaults = yaml.safe_load((ROOT / "roles" / "bundle" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    networks = yaml.safe_load((ROOT / "roles" / "bundle" / "vars" / "main.yml").read_text(encoding="utf-8"))
    entries = read_lock(yaml.safe_load(SHIPPED.read_text(encoding="utf-8")), "amd64").entries
    names = {name for entry in entries for name in entry.names}
    asked = {*defaults["bundle_require"], *chain(*networks["__bundle_network_artifacts"].values())}
    assert asked - names == set()
