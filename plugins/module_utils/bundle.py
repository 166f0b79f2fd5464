# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock → what a bundle is to hold, from which addresses, and whether what is there is right.

Nothing here opens a file or a connection. This module util is private to the collection and imports the standard
library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .errors import InvalidInput, Problem

SCHEMA = "dtf.bundle/1"
LOCK_SCHEMA = "dtf.bundle_lock/1"
ARCHITECTURES = ("amd64", "arm64")
NODES = ("control_plane", "all", "none")
#: Kind of artifact → folder of a bundle.
FOLDERS = {
    "binary": "bin",
    "cni_plugin": "bin/cni",
    "runtime": "bin/runtime",
    "image": "images",
    "chart": "charts",
    "data": "data",
}
#: Kinds that are programs, which have to be executable.
PROGRAMS = ("binary", "cni_plugin", "runtime")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATH = re.compile(r"(bin|images|charts|data)(/[A-Za-z0-9][A-Za-z0-9._-]*)+")
_HEX = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*:[A-Za-z0-9_][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?")
_PLACEHOLDERS = re.compile(r"\{(version|architecture)\}")
#: Where the registry of a short name answers.
_API_HOSTS = {"docker.io": "registry-1.docker.io"}

_ENTRY_FIELDS = {"name", "kind", "version", "optional", "needed_by"}
_FILE_FIELDS = {"url", "sha256", "members"}
_IMAGE_FIELDS = {"image", "digest", "nodes"}


@dataclass(frozen=True)
class Output:
    """A file that a bundle gets."""

    name: str
    kind: str
    version: str
    path: str


@dataclass(frozen=True)
class Entry:
    """One line of the lock, for one architecture.

    Attributes:
        name: what it is called; of an archive, the name of all that is taken from it.
        kind: what it is for.
        version: its version; of an image the tag.
        url: its official address; empty for an image.
        digest: sha256 of what is downloaded, of an image that of what its tag points to; empty if not known.
        members: of an archive, name of a file of the bundle → its path in the archive.
        image: full name of an image without its tag.
        nodes: the nodes that need the image before the cluster is up.
        optional: fetched only if it is asked for by its name.
        needed_by: what does not work without it, in words.
    """

    name: str
    kind: str
    version: str
    url: str = ""
    digest: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    nodes: str = ""
    optional: bool = False
    needed_by: str = ""

    @property
    def reference(self) -> str:
        """Full name of the image, with its tag."""
        return f"{self.image}:{self.version}"

    @property
    def origin(self) -> str:
        """Official address or name, for people."""
        return self.reference if self.image else self.url

    @property
    def source(self) -> str:
        """Where it comes from as the manifest has it, with the digest that was asked for: no mirror changes it."""
        if self.image:
            return f"oci:{self.reference}@sha256:{self.digest}"
        return f"{self.url}#sha256:{self.digest}" if self.members else self.url

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The files that a bundle gets from it."""
        if self.members:
            return tuple(
                Output(name, self.kind, self.version, f"{FOLDERS[self.kind]}/{name}") for name in sorted(self.members)
            )
        file_name = self.name
        if self.image:
            file_name += ".tar"
        elif self.kind not in PROGRAMS:
            file_name = self.url.rpartition("/")[2]
        return (Output(self.name, self.kind, self.version, f"{FOLDERS[self.kind]}/{file_name}"),)

    @property
    def names(self) -> set[str]:
        """What it can be asked for by: its own name and those of the files that come from it."""
        return {self.name, *(output.name for output in self.outputs)}


@dataclass(frozen=True)
class Lock:
    """Every artifact there is, for one architecture.

    Attributes:
        architecture: the architecture.
        entries: the artifacts.
        redirects: host → hosts that it is known to send its clients to.
    """

    architecture: str
    entries: tuple[Entry, ...]
    redirects: Mapping[str, Sequence[str]]

    def chosen(self, require: Iterable[str], *, only_required: bool = False) -> tuple[Entry, ...]:
        """Return what is to be fetched: everything but the optional, of which only what is asked for, or that alone."""
        asked = set(require)
        return tuple(entry for entry in self.entries if entry.names & asked or not (entry.optional or only_required))

    def needed_by(self, name: str) -> str:
        """Return in words what needs an artifact."""
        for entry in self.entries:
            if name in entry.names and entry.needed_by:
                return entry.needed_by
        return "asked for by name"


def read_lock(document: object, architecture: str, subject: str = "the lock") -> Lock:
    """Return a lock from its parsed text; raise :class:`InvalidInput` with all that is wrong with it."""
    problems: list[Problem] = []
    if architecture not in ARCHITECTURES:
        problems.append(Problem("architecture", architecture, " or ".join(ARCHITECTURES)))
    if not isinstance(document, Mapping):
        raise InvalidInput(subject, [*problems, Problem("document", document, "a mapping with schema and artifacts")])
    if document.get("schema") != LOCK_SCHEMA:
        problems.append(Problem("schema", document.get("schema"), LOCK_SCHEMA))
    problems += [
        Problem(str(name), document[name], "nothing of this name; schema, redirects and artifacts are known")
        for name in sorted(document.keys() - {"schema", "redirects", "artifacts"}, key=str)
    ]
    redirects = document.get("redirects", {})
    if not isinstance(redirects, Mapping) or not all(_is_texts(hosts) for hosts in redirects.values()):
        problems.append(Problem("redirects", redirects, "host → list of hosts"))
        redirects = {}
    lines = document.get("artifacts")
    if not isinstance(lines, list) or not lines:
        raise InvalidInput(subject, [*problems, Problem("artifacts", lines, "a list with at least one artifact")])
    entries: list[Entry] = []
    for number, line in enumerate(lines):
        found, wrong = _entry(line, f"artifacts[{number}]", architecture)
        problems += wrong
        entries += [found] if found else []
    problems += _twice(entries)
    if problems:
        raise InvalidInput(subject, problems)
    return Lock(architecture, tuple(entries), redirects)


def _entry(line: object, place: str, architecture: str) -> tuple[Entry | None, list[Problem]]:
    """Read one line; return what it means, or nothing, with all that is wrong."""
    if not isinstance(line, Mapping):
        return None, [Problem(place, line, "a mapping with name, kind and version")]
    place = "{}({})".format(place, line["name"]) if isinstance(line.get("name"), str) else place
    is_image = line.get("kind") == "image"
    fields = _ENTRY_FIELDS | (_IMAGE_FIELDS if is_image else _FILE_FIELDS)
    wrong = [
        Problem(f"{place}.{name}", line[name], "nothing of this name; known: " + ", ".join(sorted(fields)))
        for name in sorted(line.keys() - fields, key=str)
    ]

    def check(name: str, accepted: str, valid: Callable[[Any], bool], *, required: bool = True) -> None:
        content = line.get(name)
        if (content is not None or required) and not valid(content):
            wrong.append(Problem(f"{place}.{name}", content, accepted))

    check("name", "letters, digits, dot, dash and underscore", lambda name: _matches(_NAME, name))
    check("kind", ", ".join(FOLDERS), lambda kind: isinstance(kind, str) and kind in FOLDERS)
    check("optional", "true or false", lambda choice: isinstance(choice, bool), required=False)
    check("needed_by", "a text", lambda text: isinstance(text, str), required=False)
    if is_image:
        check("version", "a tag, in quotes if it looks like a number", lambda tag: _matches(_TAG, tag))
        check("image", "a full name without a tag, such as registry.k8s.io/pause", lambda name: _matches(_IMAGE, name))
        check("nodes", ", ".join(NODES), lambda nodes: nodes in NODES)
        check("digest", "sha256: and 64 hex digits", lambda digest: _matches(_DIGEST, digest), required=False)
    else:
        check("version", "a version without v, in quotes if it looks like a number", _is_version)
        check("url", "http(s)://HOST/PATH, in it {version} and {architecture} and no other braces", _is_template)
        check("sha256", "architecture → 64 hex digits", _is_digests, required=False)
        check("members", "name → path in the archive", _is_members, required=False)
    return (None, wrong) if wrong else (_read(line, architecture), [])


def _read(line: Mapping[str, Any], architecture: str) -> Entry:
    """Return the meaning of a line in which nothing is wrong."""
    values = {"version": line["version"], "architecture": architecture}

    def filled(template: str) -> str:
        return _PLACEHOLDERS.sub(lambda match: str(values[match[1]]), template)

    return Entry(
        name=line["name"],
        kind=line["kind"],
        version=line["version"],
        url=filled(line.get("url", "")),
        digest=(line.get("digest") or "").removeprefix("sha256:")
        if "image" in line
        else (line.get("sha256") or {}).get(architecture, ""),
        members={name: filled(path) for name, path in (line.get("members") or {}).items()},
        image=line.get("image", ""),
        nodes=line.get("nodes", ""),
        optional=line.get("optional", False),
        needed_by=line.get("needed_by", ""),
    )


def _twice(entries: Sequence[Entry]) -> list[Problem]:
    """Return the names and paths that stand in the lock more than once."""
    outputs = [output for entry in entries for output in entry.outputs]
    names = [(output.kind, output.name) for output in outputs]
    paths = [output.path for output in outputs]
    return [
        *(
            Problem("artifacts", name, f"a name that no other {kind} has")
            for kind, name in sorted({pair for pair in names if names.count(pair) > 1})
        ),
        *(
            Problem("artifacts", path, "a path that no other artifact has")
            for path in sorted({path for path in paths if paths.count(path) > 1})
        ),
    ]


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _is_texts(content: object) -> bool:
    return isinstance(content, list) and all(isinstance(text, str) for text in content)


def _is_version(text: object) -> bool:
    return isinstance(text, str) and bool(text) and not re.match(r"v\d", text) and text == text.strip()


def _is_template(text: object) -> bool:
    if not isinstance(text, str):
        return False
    plain = _PLACEHOLDERS.sub("x", text)
    return re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[^\s{}?#]+)+", plain) is not None


def _is_digests(content: object) -> bool:
    return isinstance(content, Mapping) and all(
        name in ARCHITECTURES and _matches(_HEX, digest) for name, digest in content.items()
    )


def _is_members(content: object) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(_matches(_NAME, name) and isinstance(path, str) and path for name, path in content.items())
    )


@dataclass(frozen=True)
class Mirrors:
    """Replacements of official addresses: the longest one that fits is taken.

    Attributes:
        replacements: host, or beginning of an address → what stands in its place.
    """

    replacements: Mapping[str, str]

    @classmethod
    def from_params(cls, replacements: Mapping[str, object]) -> Mirrors:
        """Read them as a user wrote them; raise :class:`InvalidInput` with all that is wrong."""
        problems = []
        for official, replacement in replacements.items():
            if not _HOST.fullmatch(official) and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", official):
                problems.append(Problem("mirrors", official, "a host, or the beginning of an address with http(s)://"))
            if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", str(replacement)):
                accepted = "http(s)://HOST[:PORT][/PATH], without credentials: those belong into ~/.netrc"
                problems.append(Problem(f"mirrors[{official}]", replacement, accepted))
        if problems:
            raise InvalidInput("the mirrors", problems)
        return cls({official.rstrip("/"): str(address).rstrip("/") for official, address in replacements.items()})

    def of(self, url: str) -> str:
        """Return the address that is asked in the place of an official one."""
        scheme = urlsplit(url).scheme
        beginnings = {
            official if "://" in official else f"{scheme}://{official}": replacement
            for official, replacement in self.replacements.items()
        }
        fitting = [beginning for beginning in beginnings if url == beginning or url.startswith(beginning + "/")]
        if not fitting:
            return url
        longest = max(fitting, key=len)
        return beginnings[longest] + url[len(longest) :]

    def registry(self, image: str) -> tuple[str, str]:
        """Return where the registry of an image answers (``https://HOST/v2``) and the image's name there.

        A mirror's path is part of the name (``https://mirror.example/k8s`` has ``k8s/pause``), as registries that
        stand for several others want it; what stands up to a ``v2`` in it is the root of the interface.
        """
        host, _unused, repository = image.partition("/")
        address = self.of(f"https://{host}/{repository}")
        if address == f"https://{host}/{repository}":
            return f"https://{_API_HOSTS.get(host, host)}/v2", repository
        parts = urlsplit(address)
        steps = parts.path.strip("/").split("/")
        root = steps[: steps.index("v2") + 1] if "v2" in steps else ["v2"]
        name = steps[len(root) :] if "v2" in steps else steps
        return f"{parts.scheme}://{parts.netloc}/{'/'.join(root)}", "/".join(name)


def addresses(entries: Iterable[Entry], lock: Lock, mirrors: Mirrors) -> list[dict[str, object]]:
    """Return what a firewall has to let through: kind, address, hosts it redirects to, and for which artifacts."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        url = mirrors.registry(entry.image)[0] if entry.image else mirrors.of(entry.url)
        parts = urlsplit(url)
        found.setdefault((entry.kind, f"{parts.scheme}://{parts.netloc}"), []).append(entry.name)
    return [
        {
            "kind": kind,
            "address": address,
            "redirects": list(lock.redirects.get(urlsplit(address).netloc, ())),
            "artifacts": sorted(names),
        }
        for (kind, address), names in sorted(found.items())
    ]


def check_manifest(document: object) -> list[Problem]:
    """Return what is wrong with a bundle's manifest by the rules of its schema, all at once."""
    if not isinstance(document, Mapping):
        return [Problem("manifest.json", document, f"an object of schema {SCHEMA}")]
    problems = [
        Problem(str(name), document[name], "nothing of this name")
        for name in sorted(document.keys() - {"schema", "architecture", "artifacts"})
    ]
    if document.get("schema") != SCHEMA:
        problems.append(Problem("schema", document.get("schema"), SCHEMA))
    if document.get("architecture") not in ARCHITECTURES:
        problems.append(Problem("architecture", document.get("architecture"), " or ".join(ARCHITECTURES)))
    artifacts = document.get("artifacts")
    if not isinstance(artifacts, list):
        return [*problems, Problem("artifacts", artifacts, "a list")]
    for number, artifact in enumerate(artifacts):
        problems += _check_artifact(artifact, f"artifacts[{number}]")
    if problems:
        return problems
    paths = [artifact["path"] for artifact in artifacts]
    if paths != sorted(set(paths)):
        problems.append(Problem("artifacts", paths, "each path once, in their order"))
    names = [(artifact["kind"], artifact["name"]) for artifact in artifacts]
    problems += [
        Problem("artifacts", name, f"a name that no other {kind} has")
        for kind, name in sorted({pair for pair in names if names.count(pair) > 1})
    ]
    return problems


def _check_artifact(artifact: object, place: str) -> list[Problem]:
    if not isinstance(artifact, Mapping):
        return [Problem(place, artifact, "an object")]
    place = "{}({})".format(place, artifact["path"]) if isinstance(artifact.get("path"), str) else place
    rules: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "name": ("letters, digits, dot, dash and underscore", lambda name: _matches(_NAME, name)),
        "kind": (", ".join(FOLDERS), lambda kind: isinstance(kind, str) and kind in FOLDERS),
        "version": ("a text", lambda text: isinstance(text, str) and bool(text)),
        "path": ("a path below bin, images, charts or data", lambda path: _matches(_PATH, path)),
        "sha256": ("64 hex digits", lambda digest: _matches(_HEX, digest)),
        "size": ("bytes, a whole number", lambda size: isinstance(size, int) and size >= 0 and size is not True),
        "source": ("a text", lambda text: isinstance(text, str) and bool(text)),
    }
    if artifact.get("kind") == "image":
        rules["reference"] = ("a full name with a tag", lambda name: _matches(_REFERENCE, name))
        rules["digest"] = ("sha256: and 64 hex digits", lambda digest: _matches(_DIGEST, digest))
        rules["nodes"] = (", ".join(NODES), lambda nodes: nodes in NODES)
    wrong = [
        Problem(f"{place}.{name}", artifact.get(name), accepted)
        for name, (accepted, valid) in rules.items()
        if not valid(artifact.get(name))
    ]
    unknown = sorted(artifact.keys() - rules.keys())
    return wrong + [Problem(f"{place}.{name}", artifact[name], "nothing of this name") for name in unknown]


@dataclass(frozen=True)
class Measured:
    """A file that is there."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Difference:
    """A file that is not what it should be."""

    path: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


def differences(artifacts: Iterable[Mapping[str, Any]], measured: Mapping[str, Measured | None]) -> list[Difference]:
    """Return every file of a manifest that is missing or has another size or digest."""
    found = []
    for artifact in artifacts:
        path, there = artifact["path"], measured[artifact["path"]]
        if there is None:
            found.append(Difference(path, "sha256 {}".format(artifact["sha256"]), "no such file"))
        elif there.sha256 != artifact["sha256"]:
            found.append(Difference(path, "sha256 {}".format(artifact["sha256"]), f"sha256 {there.sha256}"))
        elif there.size != artifact["size"]:
            found.append(Difference(path, "{} bytes".format(artifact["size"]), f"{there.size} bytes"))
    return found


def missing(require: Iterable[str], artifacts: Iterable[Mapping[str, Any]], lock: Lock) -> list[Difference]:
    """Return what is asked for and not there, each with what needs it."""
    names = {artifact["name"] for artifact in artifacts}
    for entry in lock.entries:
        if {output.name for output in entry.outputs} <= names:
            names.add(entry.name)
    return [
        Difference(name, f"an artifact of this name ({lock.needed_by(name)})", "none")
        for name in dict.fromkeys(require)
        if name not in names
    ]


def is_there(entry: Entry, artifacts: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Measured | None]) -> bool:
    """Whether a bundle already holds all that an entry of the lock stands for.

    Args:
        entry: the entry.
        artifacts: the manifest's artifacts by their paths.
        measured: what of it really is there.
    """
    return bool(entry.digest) and all(_holds(entry, output, artifacts, measured) for output in entry.outputs)


def _holds(
    entry: Entry,
    output: Output,
    artifacts: Mapping[str, Mapping[str, Any]],
    measured: Mapping[str, Measured | None],
) -> bool:
    artifact, there = artifacts.get(output.path), measured.get(output.path)
    if artifact is None or there is None or there.sha256 != artifact["sha256"]:
        return False
    if (artifact["name"], artifact["kind"], artifact["version"]) != (output.name, output.kind, output.version):
        return False
    if entry.image:
        same = (artifact.get("reference"), artifact.get("nodes")) == (entry.reference, entry.nodes)
        return bool(same and artifact["source"] == entry.source)
    return bool(artifact["source"] == entry.source if entry.members else artifact["sha256"] == entry.digest)


def manifest(
    architecture: str, kept: Iterable[Mapping[str, Any]], brought: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the manifest of a bundle: what was there and what came, in the order of the paths."""
    artifacts: dict[tuple[str, str], Mapping[str, Any]] = {}
    for artifact in (*kept, *brought):
        artifacts = {
            key: other
            for key, other in artifacts.items()
            if other["path"] != artifact["path"] and key != (artifact["kind"], artifact["name"])
        }
        artifacts[artifact["kind"], artifact["name"]] = artifact
    ordered = sorted(artifacts.values(), key=lambda artifact: str(artifact["path"]))
    return {"schema": SCHEMA, "architecture": architecture, "artifacts": [dict(artifact) for artifact in ordered]}


def described(entry: Entry, output: Output, there: Measured, image_digest: str = "") -> dict[str, Any]:
    """Return a file as the manifest has it."""
    artifact: dict[str, Any] = {
        "name": output.name,
        "kind": output.kind,
        "version": output.version,
        "path": output.path,
        "sha256": there.sha256,
        "size": there.size,
        "source": entry.source,
    }
    if entry.image:
        artifact.update(reference=entry.reference, digest=image_digest, nodes=entry.nodes)
    return artifact


def refusal(unpinned: Sequence[Entry], lock_path: str) -> str:
    """Return why artifacts without a digest are not fetched, and what to do."""
    where = lock_path or "$PWD/bundle.lock.yml"
    lines = [f"  - {entry.name} {entry.version}: {entry.origin}" for entry in unpinned]
    return "\n".join(
        [
            "the lock has no digest of {} artifact{}, and nothing is fetched unseen:".format(
                len(unpinned), "" if len(unpinned) == 1 else "s"
            ),
            *lines,
            "Write the digests that you know into a copy of the lock, or trust what comes the first time and keep it:",
            f"  ansible-playbook playbooks/bundle.yml -e bundle_lock={where} -e bundle_pin_unknown=true",
        ]
    )


def pinned(document: Mapping[str, Any], learnt: Mapping[tuple[str, str], str], architecture: str) -> dict[str, Any]:
    """Return a lock's document with the digests that were learnt: (kind, name) → 64 hex digits."""

    def line(entry: Mapping[str, Any]) -> dict[str, Any]:
        digest = learnt.get((entry["kind"], entry["name"]))
        if digest is None:
            return dict(entry)
        if entry["kind"] == "image":
            return {**entry, "digest": f"sha256:{digest}"}
        return {**entry, "sha256": {**(entry.get("sha256") or {}), architecture: digest}}

    return {**document, "artifacts": [line(entry) for entry in document["artifacts"]]}


def published_digest(text: str) -> str | None:
    """Return the digest in a file such as upstream puts beside its own, ``None`` if there is none in it."""
    words = text.split()
    return words[0].lower() if words and _matches(_HEX, words[0].lower()) else None


def progress_line(done: int, count: int, received: int, seconds: float, names: Sequence[str]) -> str:
    """Return how far a download is, in one line."""
    text = f"{done} of {count} artifacts · {received / 1e6:,.0f} MB"
    if seconds >= 1:
        text += f" · {received / 1e6 / seconds:,.1f} MB/s"
    shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    return f"{text} · {shown}" if shown else text
