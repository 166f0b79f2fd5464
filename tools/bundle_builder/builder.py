"""Fills a bundle: what was made before is taken from the store, the rest is made, part after part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from . import contents, debian, golang, gomod, kind_node, manifest, oci
from .manifest import Artifact, Manifest
from .parts import MODULE_LIST, PROGRAMS, Image, Module, Part, Program, compiled, image, module, program
from .problems import CannotBuild
from .store import Made, Store, key

# Raised when this package makes something else of the same inputs.
RECIPE = 1
OLDEST_KUBERNETES = (1, 31)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def architecture() -> str:
    """Return this machine's architecture as Go names it; C is compiled, and packages are fetched, for it alone."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise CannotBuild(f"machine {machine!r} is not known; accepted: {', '.join(sorted(_MACHINES))}")
    return _MACHINES[machine]


def megabytes(size: int) -> str:
    """Return a size for people."""
    return f"{size / 1e6:.1f} MB"


@dataclass
class Builder:
    """Makes parts and remembers what it found out on the way."""

    store: Store
    say: Callable[[str], None]
    architecture: str = field(default_factory=architecture)
    _packages: dict[str, list[debian.Package]] = field(default_factory=dict)

    def program_key(self, part: Program) -> str:
        """Return the digest of what decides how a program comes out."""
        source = module(part.module)
        inputs: dict[str, Any] = {
            "recipe": RECIPE,
            "architecture": self.architecture,
            "files": source.inputs(),
            "settings": golang.settings(source),
            "arguments": golang.arguments(source, [part], Path("out")),
            "packages": debian.installed(source.packages),
        }
        return key(inputs)

    def image_key(self, part: Image) -> str:
        """Return the digest of what decides how an image comes out."""
        inputs: dict[str, Any] = {
            "recipe": RECIPE,
            "architecture": self.architecture,
            "reference": part.reference,
            "programs": {path: self.program_key(program(name)) for path, name in part.programs.items()},
            "entrypoint": part.entrypoint,
            "user": part.user,
            "content": part.content,
            "packages": [(entry.name, entry.version, entry.sha256) for entry in self.packages(part)],
            "compression": _compressor(part.compression),
        }
        if part.content == "node":
            inputs["base"] = kind_node.recipe().tag
            inputs["texts"] = kind_node.texts()
            inputs["carries"] = {name: self.image_key(image(name)) for name in part.carries}
            inputs["stop_signal"] = part.stop_signal
        return key(inputs)

    def packages(self, part: Image) -> list[debian.Package]:
        """Return the packages whose files go into an image."""
        seeds = contents.SEEDS[part.content]
        if part.content not in self._packages:
            self._packages[part.content] = debian.resolve(seeds) if seeds else []
        return self._packages[part.content]

    def prepare(self, parts: list[Part]) -> None:
        """See to what the machine needs for some parts, before anything is made."""
        programs = compiled(parts)
        sources = {entry.module: module(entry.module) for entry in programs}
        if any(isinstance(part, Image) and part.content == "node" for part in parts):
            kind_node.needs()
        for source in sources.values():
            golang.compiler(source.gomod.toolchain)
        check_staging(sources.get("kubernetes"))
        for name in debian.provide(package for source in sources.values() for package in source.packages):
            self.say(f"installed {name}")

    def find(self, part: Part) -> Made | None:
        """Return a part that was made before."""
        if isinstance(part, Image):
            return self.store.find(f"image-{part.name}", self.image_key(part))
        return self.store.find(part.name, self.program_key(part))

    def cached(self, part: Part) -> Made | None:
        """Return a part that was made before and is not damaged."""
        made = self.find(part)
        if made is not None and not self.store.intact(made):
            self.say(f"{part.name}: damaged in {made.path.parent}, made anew")
            return None
        return made

    def compile(self, source: Module, programs: list[Program]) -> dict[str, Made]:
        """Compile programs of one module together and keep each."""
        with self.store.scratch() as folder:
            files = golang.build(source, programs, folder, self.say)
            return {
                entry.name: self.store.keep(entry.name, self.program_key(entry), files[entry.name])
                for entry in programs
            }

    def pack(self, part: Image, programs: dict[str, Made]) -> Made:
        """Make an image from programs that are there."""
        try:
            return self._pack(part, programs)
        except debian.ListsAreOld:
            debian.update()
            self._packages.clear()
            return self._pack(part, programs)

    def _pack(self, part: Image, programs: dict[str, Made]) -> Made:
        archives = debian.fetch(self.packages(part), self.store.folder / "packages")
        base = contents.of(part.content, debian.unpack(archives))
        own = {path: oci.Entry(0o755, programs[name].path) for path, name in part.programs.items()}
        environment = {"PATH": _PATH, **({"container": "docker"} if part.content == "node" else {})}
        config = oci.Config(self.architecture, part.entrypoint, part.user, environment, part.stop_signal)
        with self.store.scratch() as folder:
            # The layer of packages comes first and alone: images that share it are stored once.
            layers = self._node_layers(part, programs, folder) if part.content == "node" else []
            layers += [oci.layer(entries, folder, part.compression) for entries in (base, own) if entries]
            archive = folder / "archive"
            digest = oci.write(archive, part.reference, layers, config, folder)
            return self.store.keep(f"image-{part.name}", self.image_key(part), archive, digest)

    def _node_layers(self, part: Image, programs: dict[str, Made], folder: Path) -> list[oci.Blob]:
        """Make the layers of a node below its programs: a host's files, those of ours, the images it carries."""
        images = [image(name) for name in part.carries]
        made = [self.cached(carried) or self.pack(carried, programs) for carried in images]
        pause = next(carried.reference for carried in images if carried.name == "pause")
        kubernetes = module("kubernetes").version
        containerd, ctr = (programs[name].path for name in ("containerd", "ctr"))
        stored = kind_node.stored([carried.path for carried in made], containerd, ctr, folder)
        return [
            oci.layer_of(kind_node.base(self.say), folder, part.compression),
            oci.layer(kind_node.files(kubernetes, pause), folder, part.compression),
            oci.layer(stored, folder, part.compression),
        ]

    def artifact(self, part: Part, made: Made) -> Artifact:
        """Return the line of the manifest for a part."""
        if isinstance(part, Program):
            source = module(part.module)
            facts = (part.name, part.kind, source.version, part.path, made.sha256, made.size, source.source)
            return Artifact(*facts)
        path = f"images/{part.name}.tar"
        return Artifact(
            part.name,
            "image",
            part.version,
            path,
            made.sha256,
            made.size,
            self._source(part),
            reference=part.reference,
            digest=made.digest,
            nodes=part.nodes,
        )

    def _source(self, part: Image) -> str:
        if part.module:
            return module(part.module).source
        seeds = contents.SEEDS[part.content]
        return "debian:" + ",".join(
            f"{entry.name}={entry.version}" for entry in self.packages(part) if entry.name in seeds
        )


def _compressor(name: str) -> list[Any]:
    """Return what decides how a layer is compressed."""
    if name == "zstd":
        return [zstandard.__version__, zstandard.ZSTD_VERSION, oci.LEVEL]
    return [name, zlib.ZLIB_RUNTIME_VERSION, oci.LEVEL]


def check_staging(kubernetes: Module | None) -> None:
    """Refuse a Kubernetes whose parts are of another release than itself: it might even compile."""
    if kubernetes is None:
        return
    expected = "v0." + kubernetes.version.removeprefix("1.")
    replaces = kubernetes.gomod.replaces
    wrong = sorted(f"{name} {version}" for name, version in replaces.items() if version != expected)
    if wrong:
        path = kubernetes.folder / "go.mod"
        raise CannotBuild(f"{path}: Kubernetes {kubernetes.version} goes with {expected}, found {', '.join(wrong)}")


def choose(name: str, version: str, say: Callable[[str], None]) -> None:
    """Write another upstream version into a module's go.mod and go.sum; on failure they stay as they are."""
    chosen = [entry for entry in MODULE_LIST if entry.upstream]
    source = next((entry for entry in chosen if entry.name == name), None)
    number = version.removeprefix("v")
    problems = []
    if source is None:
        problems.append(f"module: {name!r} is not valid, accepted: {', '.join(sorted(entry.name for entry in chosen))}")
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", number):
        problems.append(f"version: {version!r} is not valid, accepted: 1.2.3")
    elif name == "kubernetes" and tuple(map(int, number.split("-")[0].split(".")[:2])) < OLDEST_KUBERNETES:
        problems.append(f"version: {version!r} is not valid, accepted: 1.31.0 or newer")
    if source is None or problems:
        raise CannotBuild("\n".join(problems))
    files = [source.folder / "go.mod", source.folder / "go.sum"]
    before = [path.read_bytes() for path in files]
    staged = golang.staged(source, source.upstream, f"v{number}") if source.name == "kubernetes" else []
    packages = [entry.package for entry in PROGRAMS if entry.module == name]
    try:
        files[0].write_text(gomod.rewritten(before[0].decode(), f"v{number}", staged), encoding="utf-8")
        files[1].write_bytes(b"")
        golang.resolve(source, packages)
    except BaseException:
        for path, content in zip(files, before, strict=True):
            path.write_bytes(content)
        raise
    say(f"{files[0]}: {source.upstream} v{number}")


def build(parts: list[Part], output: Path, store: Store, say: Callable[[str], None]) -> Manifest:
    """Fill a bundle with some parts; each is in it, and in its manifest, as soon as it is made."""
    builder = Builder(store, say)
    output.mkdir(parents=True, exist_ok=True)
    bundle = Manifest(builder.architecture, ())
    if (output / manifest.FILE).exists():
        bundle = manifest.read(output)
        if bundle.architecture != builder.architecture:
            raise CannotBuild(f"{output} is for {bundle.architecture}, this machine makes {builder.architecture}")
    with store.alone(f"another build holds {store.folder}; waiting for its end", say):
        builder.prepare(parts)
        programs: dict[str, Made] = {}
        done = 0
        for group in _groups(parts):
            started = time.monotonic()
            needed = compiled(group)
            found = {entry.name: made for entry in needed if (made := builder.cached(entry)) is not None}
            missing = [entry for entry in needed if entry.name not in found]
            # An image may be made of several modules' programs.
            for together in _groups(missing):
                names, source = ", ".join(entry.name for entry in together), together[0].module
                say(f"{source}: compiling {names}")
                found |= builder.compile(module(source), list(compiled(together)))
                say(f"{source}: compiled in {time.monotonic() - started:.1f} s")
            programs |= found
            for part in group:
                done += 1
                started = time.monotonic()
                fresh = part in missing
                if isinstance(part, Program):
                    made, how = programs[part.name], "compiled" if fresh else "cached"
                else:
                    before = builder.cached(part)
                    made = before or builder.pack(part, programs)
                    how = "cached" if before else f"packed in {time.monotonic() - started:.1f} s"
                line = builder.artifact(part, made)
                bundle = manifest.publish(output, bundle, line, made)
                label = f"{line.kind} {line.name} {line.version}"
                say(f"[{done:2}/{len(parts)}] {label}: {how}, {megabytes(made.size)}")
    _fits_together(output, bundle)
    return bundle


def _groups(parts: Iterable[Part]) -> list[list[Part]]:
    """Return parts that are made of one module together, in their order."""
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.module, []).append(part)
    return list(groups.values())


def _fits_together(output: Path, bundle: Manifest) -> None:
    """Ask kubeadm which images it will want, and compare: their versions are chosen apart from its own."""
    kubeadm = next((entry for entry in bundle.artifacts if (entry.kind, entry.name) == ("binary", "kubeadm")), None)
    if kubeadm is None:
        return
    command = [str((output / kubeadm.path).absolute()), "config", "images", "list"]
    command += ["--kubernetes-version", f"v{kubeadm.version}"]
    environment = {**os.environ, "KUBECONFIG": ""}
    listed = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if listed.returncode:
        raise CannotBuild(f"{' '.join(command)} failed:\n{listed.stderr.strip()}")
    wanted = {_name(reference): reference for reference in listed.stdout.split()}
    images = {_name(entry.reference): entry.reference for entry in bundle.artifacts if entry.kind == "image"}
    wrong = [
        f"kubeadm {kubeadm.version} asks for {reference}, the bundle has {images[name]}"
        for name, reference in sorted(wanted.items())
        if name in images and images[name] != reference
    ]
    if wrong:
        advice = "change the version in the part's go.mod (pause: PAUSE in parts.py), see docs/bundle-builder.md"
        raise CannotBuild("\n".join([*wrong, advice]))


def _name(reference: str) -> str:
    return reference.rpartition(":")[0].rpartition("/")[2]
