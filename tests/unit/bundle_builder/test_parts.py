"""The table of parts is complete, its names lead where they say, and its versions stand in go.mod files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bundle_builder import builder, contents, golang, gomod, parts
from bundle_builder.gomod import GoMod
from bundle_builder.problems import CannotBuild


def test_each_folder_of_modules_is_in_the_table_and_has_its_sums() -> None:
    folders = {path.name for path in parts.MODULES.iterdir()}
    assert folders == {module.name for module in parts.MODULE_LIST}
    assert all((parts.MODULES / name / "go.sum").exists() for name in folders)


def test_one_compiler_is_pinned_for_all() -> None:
    assert len({module.gomod.toolchain for module in parts.MODULE_LIST}) == 1


@pytest.mark.parametrize("module", parts.MODULE_LIST, ids=lambda module: module.name)
def test_a_module_has_a_version_and_each_program_is_declared(module: parts.Module) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", module.version)
    text = (module.folder / "go.mod").read_text(encoding="utf-8")
    for program in parts.PROGRAMS:
        if program.module == module.name and program.package != ".":
            assert re.search(rf"^(tool )?\s*{re.escape(program.package)}$", text, re.MULTILINE), program.package


def test_kubernetes_takes_each_of_its_parts_from_its_own_release() -> None:
    kubernetes = parts.module("kubernetes")
    assert len(kubernetes.gomod.replaces) > 25
    assert set(kubernetes.gomod.replaces.values()) == {"v0." + kubernetes.version.removeprefix("1.")}
    builder.check_staging(kubernetes)


def test_a_kubernetes_mixed_of_releases_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kubernetes = parts.module("kubernetes")
    mixed = GoMod(Path("go.mod"), "go1.26.8", kubernetes.gomod.requires, {"k8s.io/api": "v0.35.0"})
    monkeypatch.setattr(parts, "_read", lambda _: mixed)
    with pytest.raises(
        CannotBuild, match=rf"Kubernetes {kubernetes.version} goes with v0\.\S+, found k8s.io/api v0.35.0"
    ):
        builder.check_staging(kubernetes)


def test_linker_flags_stamp_the_version() -> None:
    flags = parts.module("kubernetes").linker_flags()
    version = parts.module("kubernetes").version
    assert f"-X k8s.io/component-base/version.gitVersion=v{version}" in flags
    assert f"-X k8s.io/client-go/pkg/version.gitMinor={version.split('.')[1]}" in flags
    assert "{" not in flags


def test_every_part_has_its_own_place_and_names_what_exists() -> None:
    paths = [program.path for program in parts.PROGRAMS if program.kind]
    assert len(paths) == len(set(paths))
    modules = {module.name for module in parts.MODULE_LIST}
    assert {part.module for part in (*parts.PROGRAMS, *parts.IMAGES)} - {""} <= modules
    assert {image.content for image in parts.IMAGES} <= contents.SEEDS.keys()
    inside = {name for image in parts.IMAGES for name in image.programs.values()}
    # A program is in the bundle, or in an image that is: nothing is compiled for nobody.
    assert {program.name for program in parts.PROGRAMS if not program.kind} <= inside
    assert inside <= {program.name for program in parts.PROGRAMS}


def test_everything_is_in_the_order_of_the_modules_each_with_its_images() -> None:
    order = [part.module for part in parts.chosen([])]
    first = list(dict.fromkeys(order))
    assert order == sorted(order, key=first.index)
    assert first[0] == "kubernetes"


def _position(image: parts.Image) -> int:
    """Return the place of an image's module; one without any comes last."""
    return [*(module.name for module in parts.MODULE_LIST), ""].index(image.module)


def named(wanted: list[str]) -> list[str]:
    """Return ``kind:name`` of what some names mean."""
    return [f"{'image' if isinstance(part, parts.Image) else part.kind}:{part.name}" for part in parts.chosen(wanted)]


@pytest.mark.parametrize(
    ("wanted", "means"),
    [
        (["kubelet"], ["binary:kubelet"]),
        (["kube-apiserver"], ["image:kube-apiserver"]),
        (["etcd"], ["binary:etcdctl", "binary:etcdutl", "image:etcd"]),
        (["etcdctl"], ["binary:etcdctl"]),
        (["flanneld"], ["image:flannel"]),
        (["pause", "crictl"], ["image:pause", "binary:crictl"]),
        (["images"], [f"image:{image.name}" for image in sorted(parts.IMAGES, key=_position)]),
    ],
)
def test_a_name_means_what_a_user_expects(wanted: list[str], means: list[str]) -> None:
    assert named(wanted) == means


def test_the_programs_of_an_image_are_compiled_for_it() -> None:
    assert [program.name for program in parts.compiled(parts.chosen(["flannel"]))] == ["flanneld", "install-conf"]
    assert [program.name for program in parts.compiled(parts.chosen(["etcd"]))] == ["etcd", "etcdctl", "etcdutl"]


def test_unknown_names_are_told_together_with_the_known_ones() -> None:
    with pytest.raises(CannotBuild, match=r"no part is called 'kubelt', 'xyz'; accepted: .*kubelet, kubernetes"):
        parts.chosen(["xyz", "kubelet", "kubelt"])


@pytest.mark.parametrize(
    ("package", "name"),
    [
        (".", "pause"),
        ("go.etcd.io/etcd/server/v3", "server"),
        ("sigs.k8s.io/kind", "kind"),
        ("helm.sh/helm/v4/cmd/helm", "helm"),
        ("example.org/vault", "vault"),
    ],
)
def test_what_go_calls_a_program(package: str, name: str) -> None:
    assert golang.output(parts.Program("any", "pause", package), "pause") == name


GO_MOD = """module some/thing // a comment

go 1.26.0

toolchain go1.26.8

tool example.org/a/cmd/a

require example.org/a v1.35.2

require (
	example.org/b v0.1.0 // indirect
	example.org/c/v2 v2.0.1 // indirect
)

// Why they are replaced.
replace (
	example.org/gone => example.org/gone v0.35.2
	example.org/old v1.0.0 => example.org/old v0.35.2
)
"""


def test_a_go_mod_is_read(tmp_path: Path) -> None:
    path = tmp_path / "go.mod"
    path.write_text(GO_MOD, encoding="utf-8")
    read = GoMod.read(path)
    assert read.toolchain == "go1.26.8"
    assert read.requires == {"example.org/a": "v1.35.2", "example.org/b": "v0.1.0", "example.org/c/v2": "v2.0.1"}
    assert read.replaces == {"example.org/gone": "v0.35.2", "example.org/old": "v0.35.2"}
    assert read.version("example.org/a") == "1.35.2"
    with pytest.raises(CannotBuild, match=r"no version of example\.org/z; accepted: `require example\.org/z v1\.2\.3`"):
        read.version("example.org/z")


def test_a_go_mod_without_a_compiler_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "go.mod"
    path.write_text(GO_MOD.replace("toolchain go1.26.8\n", ""), encoding="utf-8")
    with pytest.raises(CannotBuild, match="no line `toolchain"):
        GoMod.read(path)


def test_another_version_is_written_and_what_follows_from_it_is_left_to_go(tmp_path: Path) -> None:
    path = tmp_path / "go.mod"
    path.write_text(gomod.rewritten(GO_MOD, "v1.36.0", ["example.org/new", "example.org/gone"]), encoding="utf-8")
    read = GoMod.read(path)
    assert read.requires == {"example.org/a": "v1.36.0"}
    assert read.replaces == {"example.org/new": "v0.36.0", "example.org/gone": "v0.36.0"}
    assert "// Why they are replaced." in path.read_text(encoding="utf-8")
    kept = gomod.rewritten(GO_MOD, "v1.36.0", [])
    assert "example.org/gone => example.org/gone v0.35.2" in kept


def test_modules_that_upstream_has_beside_it() -> None:
    text = "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tb => c v1.0.0\n)\nreplace k8s.io/x => ./staging/x\n"
    assert gomod.local(text) == ["k8s.io/api", "k8s.io/x"]


@pytest.mark.parametrize(
    ("module", "version", "problems"),
    [
        ("kubernetes", "1.30.14", ["version: '1.30.14' is not valid, accepted: 1.31.0 or newer"]),
        ("kubelet", "latest", ["module: 'kubelet' is not valid, accepted: cni-plugins,", "version: 'latest' is not"]),
        ("pause", "3.10.2", ["module: 'pause' is not valid"]),
    ],
)
def test_a_version_that_cannot_be_chosen(module: str, version: str, problems: list[str]) -> None:
    with pytest.raises(CannotBuild) as refused:
        builder.choose(module, version, print)
    assert all(problem in str(refused.value) for problem in problems)
