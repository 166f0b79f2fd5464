"""A manifest is valid, says what is there, and what is not as it says is named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import bundle as command
import pytest
from bundle_builder import manifest, oci
from bundle_builder.manifest import Artifact, Manifest
from bundle_builder.problems import CannotBuild
from bundle_builder.store import Made, sha256

REFERENCE = "registry.example/pause:3.10.2"


def program(folder: Path, content: bytes = b"kubectl") -> tuple[Artifact, Made]:
    """Return a program's artifact and the file to publish."""
    path = folder / "kept"
    path.write_bytes(content)
    path.chmod(0o755)
    made = Made(path, sha256(path), len(content))
    return Artifact("kubectl", "binary", "1.36.3", "bin/kubectl", made.sha256, made.size, "go:k@v1.36.3"), made


def image(folder: Path) -> tuple[Artifact, Made]:
    """Return an image's artifact and the archive to publish."""
    path = folder / "archive"
    digest = oci.write(path, REFERENCE, [oci.layer({"tmp": oci.Entry()}, folder)], oci.Config("amd64"), folder)
    made = Made(path, sha256(path), path.stat().st_size, digest)
    facts = ("pause", "image", "3.10.2", "images/pause.tar", made.sha256, made.size, "here")
    return Artifact(*facts, reference=REFERENCE, digest=digest, nodes="all"), made


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A bundle with a program and an image."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    held = Manifest("amd64", ())
    for artifact, made in (image(tmp_path), program(tmp_path)):
        held = manifest.publish(bundle, held, artifact, made)
    return bundle


def document(bundle: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return read


def test_what_is_published_is_there_and_valid(filled: Path) -> None:
    written = document(filled)
    assert manifest.check(written, filled) == []
    assert [artifact["path"] for artifact in written["artifacts"]] == ["bin/kubectl", "images/pause.tar"]
    assert "reference" not in written["artifacts"][0]
    assert written["artifacts"][1]["nodes"] == "all"
    assert os.access(filled / "bin/kubectl", os.X_OK)
    assert manifest.verify(filled) == []
    assert {str(path.relative_to(filled)) for path in filled.rglob("*") if path.is_file()} == {
        "bin/kubectl",
        "images/pause.tar",
        "manifest.json",
    }


def test_publishing_again_changes_nothing(filled: Path, tmp_path: Path) -> None:
    before = (filled / "manifest.json").read_bytes()
    artifact, made = program(tmp_path)
    manifest.publish(filled, manifest.read(filled), artifact, made)
    manifest.publish(filled, manifest.read(filled), artifact, made)
    assert (filled / "manifest.json").read_bytes() == before
    assert [path.name for path in (filled / "bin").iterdir()] == ["kubectl"]


def test_a_moved_artifact_leaves_no_file_behind(filled: Path, tmp_path: Path) -> None:
    artifact, made = program(tmp_path)
    moved = Artifact(**{**artifact.as_dict(), "path": "bin/cli/kubectl"})
    renewed = manifest.publish(filled, manifest.read(filled), moved, made)
    assert [entry.path for entry in renewed.artifacts] == ["bin/cli/kubectl", "images/pause.tar"]
    assert manifest.verify(filled) == []


@pytest.mark.parametrize("change", ["content", "size", "gone", "extra", "reference", "digest"])
def test_each_difference_is_named_with_what_was_expected_and_found(filled: Path, tmp_path: Path, change: str) -> None:
    path = filled / "bin/kubectl"
    expected, size = sha256(path), path.stat().st_size
    written = document(filled)
    digest = written["artifacts"][1]["digest"]
    path.unlink()
    match change:
        case "content":
            path.write_bytes(b"KUBECTL")
            problem = f"{path}: sha256 {expected} expected, {sha256(path)} found"
        case "size":
            path.write_bytes(b"kube")
            problem = f"{path}: {size} bytes expected, 4 found"
        case "gone":
            problem = f"{path}: missing"
        case _:
            program(tmp_path)[1].path.replace(path)
            problem = ""
    if change == "extra":
        (filled / "images/other.tar").write_bytes(b"")
        problem = f"{filled}/images/other.tar: not in manifest.json"
    if change == "reference":
        written["artifacts"][1]["reference"] = "registry.example/pause:3.9"
        problem = f"{filled}/images/pause.tar: reference registry.example/pause:3.9 expected, {REFERENCE} found"
    if change == "digest":
        written["artifacts"][1]["digest"] = "sha256:" + "0" * 64
        problem = f"{filled}/images/pause.tar: manifest digest sha256:{'0' * 64} expected, {digest} found"
    (filled / "manifest.json").write_text(json.dumps(written), encoding="utf-8")
    assert manifest.verify(filled) == [problem]


def test_everything_wrong_with_a_manifest_is_told_at_once(filled: Path) -> None:
    written = document(filled)
    written["architecture"] = "sparc"
    written["artifacts"][0]["path"] = "../etc/passwd"
    written["artifacts"][0]["nodes"] = "all"
    del written["artifacts"][1]["reference"]
    problems = manifest.check(written, filled)
    assert len(problems) == 4
    text = "\n".join(problems)
    for part in ("$.architecture: 'sparc'", "$.artifacts[0].path: '../etc/passwd'", "$.artifacts[0]", "$.artifacts[1]"):
        assert part in text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda artifacts: artifacts.reverse(), "not in the order of their paths"),
        (
            lambda artifacts: artifacts.insert(0, dict(artifacts[0], path="bin/a")),
            "two of kind binary are called kubectl",
        ),
    ],
)
def test_order_and_names(filled: Path, change: Any, problem: str) -> None:
    written = document(filled)
    change(written["artifacts"])
    (found,) = manifest.check(written, filled)
    assert problem in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "is no bundle: it has no manifest.json"), ("{", "no JSON document"), ("[]", "is not of type 'object'")],
)
def test_what_is_no_manifest_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, problem: str
) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(CannotBuild, match=problem.replace("[", r"\[")):
        manifest.read(tmp_path)
    assert command.main(["verify", str(tmp_path)]) == 1
    assert problem in capsys.readouterr().err
