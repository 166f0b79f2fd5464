"""Debian packages: those that compiling needs, and those whose files go into images. The only file that starts apt."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .problems import CannotBuild

_ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
_NO_MORE = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]


class ListsAreOld(CannotBuild):
    """The package lists name a file that the mirror no longer has."""


@dataclass(frozen=True)
class Package:
    """A package as the lists describe it."""

    name: str
    version: str
    sha256: str


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=_ENVIRONMENT, check=False, capture_output=True, text=True)


def _root() -> bool:
    return os.geteuid() == 0


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return name → version of those packages that are installed."""
    asked = list(names)
    # Without a name dpkg-query tells of every package there is.
    if not asked or shutil.which("dpkg-query") is None:
        return {}
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}\t${Package}\t${Version}\n", *asked]
    lines = [line.split("\t") for line in _run(command).stdout.splitlines()]
    return {name: version for status, name, version in lines if status.startswith("ii")}


def provide(names: Iterable[str]) -> list[str]:
    """Install those of some packages that are missing, as root; otherwise say which. Return what was installed."""
    wanted = sorted(set(names))
    missing = [name for name in wanted if name not in installed(wanted)]
    if not missing:
        return []
    if not _root() or shutil.which("apt-get") is None:
        how = f"apt-get install --no-install-recommends {' '.join(missing)}"
        raise CannotBuild(f"missing packages: {', '.join(missing)}; as root: {how}")
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    result = _run([*command, *missing])
    if result.returncode:
        update()
        result = _run([*command, *missing])
    if result.returncode:
        raise CannotBuild(f"apt-get could not install {', '.join(missing)}:\n{result.stderr.strip()}")
    return missing


def update(attempts: int = 10, pause: float = 3.0) -> None:
    """Fetch the package lists; another apt that holds them is waited for."""
    for attempt in range(attempts):
        result = _run(["apt-get", "update", "--quiet"])
        if result.returncode == 0:
            return
        if "Could not get lock" not in result.stderr or attempt + 1 == attempts:
            break
        time.sleep(pause)
    raise CannotBuild(f"apt-get could not fetch the package lists:\n{result.stderr.strip()}")


def resolve(seeds: Iterable[str]) -> list[Package]:
    """Return some packages and every library below them, as the package lists have them now."""
    first = sorted(seeds)
    if shutil.which("apt-cache") is None:
        raise CannotBuild(f"no apt here: files of {', '.join(first)} are taken from Debian or Ubuntu packages")
    for last in (False, True):
        listed = _run(["apt-cache", "depends", "--recurse", *_NO_MORE, *first])
        names = {line for line in listed.stdout.splitlines() if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", line)}
        kept = sorted(name for name in names if name in first or name.startswith(("lib", "zlib")))
        found = {package.name: package for package in _described(kept)} if kept else {}
        if set(first) <= found.keys():
            return [found[name] for name in sorted(found)]
        if last or not _root():
            break
        update()
    raise CannotBuild(f"apt knows no {', '.join(sorted(set(first) - found.keys()))}; as root: apt-get update")


def _described(names: list[str]) -> Iterable[Package]:
    text = _run(["apt-cache", "show", "--no-all-versions", *names]).stdout
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|SHA256): (\S+)$", paragraph, re.MULTILINE))
        if len(fields) == 3:
            yield Package(fields["Package"], fields["Version"], fields["SHA256"])


def fetch(packages: Iterable[Package], folder: Path) -> list[Path]:
    """Return the packages' files, downloading into `folder` what is not there yet."""
    wanted = list(packages)
    folder.mkdir(parents=True, exist_ok=True)
    files = {package: folder / f"{package.sha256}.deb" for package in wanted}
    missing = [package for package, path in files.items() if not path.exists()]
    if missing:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as name:
            scratch = Path(name)
            sandbox = ["-o", "APT::Sandbox::User=root"] if _root() else []
            exact = [f"{package.name}={package.version}" for package in missing]
            result = _run(["apt-get", "download", "--quiet", *sandbox, *exact], folder=scratch)
            if result.returncode:
                raise ListsAreOld(f"apt-get could not download packages:\n{result.stderr.strip()}")
            found = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in scratch.glob("*.deb")}
            for package in missing:
                if package.sha256 not in found:
                    raise CannotBuild(f"{package.name} {package.version}: what came is not what the lists describe")
                found[package.sha256].replace(files[package])
    return [files[package] for package in wanted]


@dataclass(frozen=True)
class Unpacked:
    """A file of a package: its permissions, and its content or where it points."""

    mode: int
    content: bytes
    link: str = ""


def unpack(archives: Iterable[Path]) -> dict[str, Unpacked]:
    """Return path → file of packages, below `usr` where Debian has moved them."""
    files: dict[str, Unpacked] = {}
    for archive in archives:
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        content = subprocess.run(command, env=_ENVIRONMENT, check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as opened:
            for member in opened:
                name = merged(member.name)
                if member.issym():
                    files[name] = Unpacked(0o777, b"", member.linkname)
                elif member.isreg():
                    found = opened.extractfile(member)
                    files[name] = Unpacked(member.mode & 0o755, found.read() if found else b"")
                elif member.islnk():
                    files[name] = files[merged(member.linkname)]
    return files


def merged(name: str) -> str:
    """Return a path of a package as it is on a system whose `/bin`, `/sbin` and `/lib` are links into `/usr`."""
    path = name.removeprefix("./").strip("/")
    return f"usr/{path}" if path.split("/")[0] in {"bin", "sbin", "lib", "lib64"} else path
