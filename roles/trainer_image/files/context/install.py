"""Runs while the image is built, on the base's Python: makes what the image's layers hold.

    install.py packages WHEELS TARGET   wheels → TARGET/large, TARGET/small; the library's byte code → TARGET/library
    install.py trainer PACKAGE TARGET   the trainer's package, compiled → TARGET
    install.py data PACKAGE TARGET      verifies every data set of TARGET/data

Every folder it makes is one layer, laid over the image's root. Times are all the same, so that the same content is the
same layer. Byte code is valid whatever the times of its source are: a container's user could not write it anew.
"""

from __future__ import annotations

import argparse
import compileall
import fnmatch
import importlib.util
import os
import py_compile
import re
import runpy
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

PREFIX = Path("opt/dtf")
SITE = PREFIX / "site-packages"
# The package with a layer of its own, and first: nine tenths of the image, and changed by hardly any other pin.
LARGE = "tensorflow"

# What no task opens. Each is a pattern of paths below site-packages; a folder goes with all that is in it.
UNUSED = (
    "bin",
    "*.dist-info/RECORD",
    # To compile operations of one's own against TensorFlow.
    "tensorflow/include",
    "tensorflow/xla_aot_runtime_src",
    "*/include",
    "*.h",
    "*.hpp",
    "*.a",
    "*.pyx",
    "*.pxd",
    "*.pyi",
    # Finds functions' names when a wrapper is generated; TensorFlow asks for it and never imports it.
    "clang",
    "libclang-*",
    # Tests of the packages. (A folder `test` is none: TensorFlow has a part of its interface in one.)
    "*/tests",
)
_LONG_AGO = 315532800  # 1980-01-01: the earliest time that every archive format knows


def main() -> None:
    """Do what the Containerfile asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["packages", "trainer", "data"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    chosen = parser.parse_args()
    {"packages": packages, "trainer": trainer, "data": data}[chosen.what](chosen.source, chosen.target)
    settle(chosen.target)


def packages(source: Path, target: Path) -> None:
    """Install every wheel, without what is unused, and compile it and Python's own library."""
    wheels = sorted(source.glob("*.whl"))
    installer = next(wheel for wheel in wheels if wheel.name.startswith("pip-"))
    large = [wheel for wheel in wheels if is_large(wheel.name)]
    small = [wheel for wheel in wheels if wheel not in {installer, *large}]
    for name, group in (("large", large), ("small", small)):
        folder = target / name / SITE
        folder.mkdir(parents=True)
        if group:
            install(installer, group, folder)
        prune(folder)
        for library in folder.rglob("*.so*"):
            strip(library)
        compiled(folder, f"/{SITE}")
    library_code(target / "library")


def is_large(wheel: str) -> bool:
    """Tell whether a wheel is TensorFlow's, whichever of its builds."""
    return re.match(rf"{LARGE}(_[a-z]+)?-\d", wheel) is not None


def install(installer: Path, wheels: list[Path], folder: Path) -> None:
    """Have pip install wheels into a folder; it runs out of its own wheel."""
    options = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    options += ["--root-user-action", "ignore", "--quiet", "--progress-bar", "off"]
    pid = os.fork()
    if pid == 0:
        sys.path.insert(0, str(installer))
        sys.argv = ["pip", "install", *options, "--target", str(folder), *map(str, wheels)]
        runpy.run_module("pip", run_name="__main__", alter_sys=True)
        os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"pip could not install {', '.join(wheel.name for wheel in wheels)}")


def unused(path: str) -> bool:
    """Tell whether a path below site-packages is one that no task opens."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in UNUSED)


def prune(folder: Path) -> None:
    """Remove what no task opens."""
    for found, folders, files in os.walk(folder):
        below = Path(found).relative_to(folder)
        for name in list(folders):
            if unused(str(below / name)):
                shutil.rmtree(Path(found, name))
                folders.remove(name)
        for name in files:
            if unused(str(below / name)):
                Path(found, name).unlink()


def strip(path: Path) -> None:
    """Cut the names of local functions off a library: they are for debuggers, and lie behind all that is loaded."""
    with path.open("r+b") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return
        start, size, count = struct.unpack_from("<Q14xHH", header, 32)
        file.seek(start)
        entries = [struct.unpack("<IIQQQQQQ", file.read(size)) for _entry in range(count)]
        end = max([64, start + size * count, *(entry[2] + entry[5] for entry in entries)])
        if end >= path.stat().st_size:
            return
        # No table of sections any more: its place, the number of its entries, and which of them holds their names.
        file.seek(40)
        file.write(struct.pack("<Q", 0))
        file.seek(60)
        file.write(struct.pack("<HH", 0, 0))
        file.truncate(end)


def compiled(folder: Path, shown: str) -> None:
    """Compile all modules below a folder; a traceback names them below `shown`."""
    compileall.compile_dir(
        folder,
        stripdir=str(folder),
        prependdir=shown,
        quiet=2,
        maxlevels=99,
        workers=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def library_code(target: Path) -> None:
    """Compile Python's own library, whose byte code no base brings, beside where its source lies in the base."""
    source = Path(sysconfig.get_path("stdlib")).resolve()
    left_out = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "ensurepip", "turtledemo"}
    for found, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in left_out | {"__pycache__"}]
        for name in files:
            path = Path(found, name)
            if path.suffix == ".py":
                cached = Path(importlib.util.cache_from_source(str(path)))
                code = target / cached.relative_to("/")
                mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
                py_compile.compile(str(path), str(code), quiet=2, invalidation_mode=mode)


def trainer(source: Path, target: Path) -> None:
    """Copy the trainer's package and compile it."""
    folder = target / PREFIX
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    compiled(folder, f"/{PREFIX}")


def data(source: Path, target: Path) -> None:
    """Verify every data set, with the trainer's own words for what is wrong.

    What it remembers of that stays beside the files: a task does not read them through again.
    """
    settle(target)  # the times are part of what is remembered
    for folder in sorted((target / "data").iterdir()):
        command = [sys.executable, "-m", "dtf_trainer", "--verify_only", f"--dataset={folder.name}"]
        environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
        if subprocess.run([*command, f"--data_dir={folder}"], env=environment, check=False).returncode:
            sys.exit(f"the data set {folder.name} cannot be used, see above")


def settle(target: Path) -> None:
    """Give all that was made the same time, and let everyone read it."""
    for found, folders, files in os.walk(target, topdown=False):
        for name in (*folders, *files):
            path = Path(found, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            os.utime(path, (_LONG_AGO, _LONG_AGO), follow_symlinks=False)
    os.utime(target, (_LONG_AGO, _LONG_AGO))


if __name__ == "__main__":
    main()
