"""What a bundle holds: written, read and compared with what is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jsonschema

from . import oci
from .problems import CannotBuild
from .store import Made, sha256

FILE = "manifest.json"
SCHEMA = "dtf.bundle/1"
_SCHEMA_FILE = Path(__file__).resolve().parents[2] / "schemas" / "bundle.schema.json"
_FOLDERS = ("bin", "charts", "data", "images")


@dataclass(frozen=True)
class Artifact:
    """A file of a bundle; the last three only of an image. See `schemas/bundle.schema.json`."""

    name: str
    kind: str
    version: str
    path: str
    sha256: str
    size: int
    source: str
    reference: str = ""
    digest: str = ""
    nodes: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as the manifest has it."""
        return {name: value for name, value in asdict(self).items() if value != ""}


@dataclass(frozen=True)
class Manifest:
    """A bundle's artifacts, in the order of their paths."""

    architecture: str
    artifacts: tuple[Artifact, ...]

    def with_artifact(self, artifact: Artifact) -> Manifest:
        """Return the manifest with one artifact added, or in the place of the one that it takes."""
        kept = [
            other
            for other in self.artifacts
            if other.path != artifact.path and (other.kind, other.name) != (artifact.kind, artifact.name)
        ]
        return Manifest(self.architecture, tuple(sorted([*kept, artifact], key=lambda entry: entry.path)))

    def as_text(self) -> str:
        """Return it as it is written: the same text for the same artifacts."""
        artifacts = [artifact.as_dict() for artifact in self.artifacts]
        document = {"schema": SCHEMA, "architecture": self.architecture, "artifacts": artifacts}
        return json.dumps(document, indent=2) + "\n"


def check(document: Any, where: Path) -> list[str]:
    """Return what is wrong with a manifest, each with its field, what was found and what is accepted."""
    schema = json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))
    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(document), key=lambda error: error.json_path)
    problems = [f"{where}: {error.json_path}: {error.message}" for error in errors]
    if problems:
        return problems
    paths = [artifact["path"] for artifact in document["artifacts"]]
    names = [(artifact["kind"], artifact["name"]) for artifact in document["artifacts"]]
    if paths != sorted(set(paths)):
        problems.append(f"{where}: artifacts are not in the order of their paths, each once")
    problems += [
        f"{where}: two of kind {kind} are called {name}" for kind, name in names if names.count((kind, name)) > 1
    ]
    return sorted(set(problems))


def read(bundle: Path) -> Manifest:
    """Return the manifest of a bundle; everything that is wrong with it is told at once."""
    path = bundle / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotBuild(f"{bundle} is no bundle: it has no {FILE}") from None
    except ValueError as problem:
        raise CannotBuild(f"{path}: no JSON document ({problem})") from None
    problems = check(document, path)
    if problems:
        raise CannotBuild("\n".join(problems))
    artifacts = tuple(Artifact(**artifact) for artifact in document["artifacts"])
    return Manifest(document["architecture"], artifacts)


def publish(bundle: Path, manifest: Manifest, artifact: Artifact, made: Made) -> Manifest:
    """Put a part into a bundle, first its file and then the line that says so; return the new manifest."""
    target = bundle / artifact.path
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(made.path, partial)
    except OSError:
        # Another file system, or one without links.
        shutil.copy2(made.path, partial)
    partial.replace(target)
    # Two links to the same file are left as they are by a replacement.
    partial.unlink(missing_ok=True)
    renewed = manifest.with_artifact(artifact)
    text = bundle / f".{FILE}.{os.getpid()}"
    text.write_text(renewed.as_text(), encoding="utf-8")
    text.replace(bundle / FILE)
    for gone in {other.path for other in manifest.artifacts} - {other.path for other in renewed.artifacts}:
        (bundle / gone).unlink(missing_ok=True)
    return renewed


def verify(bundle: Path) -> list[str]:
    """Recompute every digest of a bundle; return what is not as its manifest says."""
    manifest = read(bundle)
    problems: list[str] = []
    for artifact in manifest.artifacts:
        problems += _differs(bundle / artifact.path, artifact)
    there = {str(path.relative_to(bundle)) for path in _files(bundle)}
    extra = sorted(there - {artifact.path for artifact in manifest.artifacts})
    return problems + [f"{bundle / path}: not in {FILE}" for path in extra]


def _files(bundle: Path) -> Iterable[Path]:
    return (path for folder in _FOLDERS for path in (bundle / folder).rglob("*") if not path.is_dir())


def _differs(path: Path, artifact: Artifact) -> list[str]:
    if not path.is_file():
        return [f"{path}: missing"]
    size = path.stat().st_size
    if size != artifact.size:
        return [f"{path}: {artifact.size} bytes expected, {size} found"]
    found = sha256(path)
    if found != artifact.sha256:
        return [f"{path}: sha256 {artifact.sha256} expected, {found} found"]
    if artifact.kind != "image":
        return []
    try:
        reference, digest = oci.described(path)
    except CannotBuild as problem:
        return [str(problem)]
    pairs = (("reference", artifact.reference, reference), ("manifest digest", artifact.digest, digest))
    return [f"{path}: {what} {wanted} expected, {seen} found" for what, wanted, seen in pairs if wanted != seen]
