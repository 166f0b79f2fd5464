"""Compiles programs from Go modules; the only file that starts `go`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path

from . import gomod
from .parts import Module, Program
from .problems import CannotBuild

SECONDS_BETWEEN_WORDS = 20.0
# Where modules come from, and where they are kept, is the caller's to say, in the environment or by `go env -w`.
_CALLERS = (
    *("GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOAUTH", "GOVCS"),
    *("GOCACHE", "GOMODCACHE", "GOPATH"),
)
# What decides how a program comes out is not. An empty value would let a file of `go env -w` speak, hence GOENV.
_FIXED = {
    "CC": "gcc",
    "CGO_CFLAGS": "",
    "CGO_CPPFLAGS": "",
    "CGO_LDFLAGS": "",
    "GO111MODULE": "on",
    "GOAMD64": "v1",
    "GOARM64": "v8.0",
    "GODEBUG": "",
    "GOENV": "off",
    "GOEXPERIMENT": "",
    "GOFIPS140": "off",
    "GOFLAGS": "",
    "GOOS": "linux",
    "GOWORK": "off",
    "LC_ALL": "C.UTF-8",
}


def settings(module: Module) -> dict[str, str]:
    """Return the environment variables that decide what is compiled."""
    return {**_FIXED, "CGO_ENABLED": str(int(module.static_c)), "GOTOOLCHAIN": module.gomod.toolchain}


@cache
def compiler(toolchain: str) -> str:
    """Return the path of a `go` that is, or can become, this release; say what is missing otherwise."""
    go = shutil.which("go")
    how = f"install {toolchain} (go.dev/dl), or any Go from 1.21 on, which fetches {toolchain} through the module proxy"
    if go is None:
        raise CannotBuild(f"no `go` on PATH; {how}")
    environment = {**os.environ, **_callers(go), **_FIXED, "GOTOOLCHAIN": toolchain}
    command = [go, "env", "GOVERSION"]
    result = subprocess.run(command, env=environment, cwd="/", check=False, capture_output=True, text=True)
    found = result.stdout.strip()
    if found != toolchain:
        said = f" ({result.stderr.strip()})" if result.stderr.strip() else ""
        raise CannotBuild(f"{go} is {found or 'of no use'}{said}, the modules pin {toolchain}; {how}")
    return go


@cache
def _callers(go: str) -> dict[str, str]:
    """Return the caller's settings of where modules come from."""
    command = [go, "env", "-json", *_CALLERS]
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    result = subprocess.run(command, env=environment, cwd="/", check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, str] = json.loads(result.stdout)
    return {name: value for name, value in found.items() if value}


def _environment(go: str, module: Module) -> dict[str, str]:
    return {**os.environ, **_callers(go), **settings(module)}


def arguments(module: Module, programs: list[Program], target: Path) -> list[str]:
    """Return the arguments of `go` that compile some programs of one module into a folder."""
    flags = ["-v", "-mod=readonly", "-trimpath", "-buildvcs=false", *_tags(module), "-ldflags", module.linker_flags()]
    return ["build", *flags, "-o", f"{target}/", *(program.package for program in programs)]


def _tags(module: Module) -> list[str]:
    return ["-tags", ",".join(module.tags)] if module.tags else []


def output(program: Program, folder: str) -> str:
    """Return the name `go build` gives a program: the last part of its package that is no version."""
    path = [folder] if program.package == "." else program.package.split("/")
    return path[-2] if len(path) > 1 and path[-1].startswith("v") and path[-1][1:].isdigit() else path[-1]


def build(module: Module, programs: list[Program], target: Path, say: Callable[[str], None]) -> dict[str, Path]:
    """Compile programs of one module into `target`; return name → file."""
    go = compiler(module.gomod.toolchain)
    environment = _environment(go, module)
    started = spoke = time.monotonic()
    packages = 0
    last: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        [go, *arguments(module, programs, target)],
        cwd=module.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if " " in line.strip():
                    last.append(line.rstrip())
                else:
                    packages += 1
                now = time.monotonic()
                if now - spoke >= SECONDS_BETWEEN_WORDS:
                    spoke = now
                    say(f"{module.name}: {packages} packages compiled, {now - started:.0f} s")
        except BaseException:
            # On this signal, and no other, it waits for the compilers it started and clears its own folder away.
            process.send_signal(signal.SIGINT)
            # Popen itself waits a quarter of a second for an interrupted child, and the folder it writes to goes then.
            process.stderr.read()
            process.wait()
            raise
    if process.returncode:
        said = "\n".join(line for line in last if not line.startswith("go: downloading")) or "nothing"
        raise CannotBuild(f"go could not compile {module.name} ({module.folder / 'go.mod'}). It said:\n{said}")
    # A module of our own is called by the last part of its module path, which is its folder's name.
    return {program.name: target / output(program, module.name) for program in programs}


def staged(module: Module, name: str, version: str) -> list[str]:
    """Return the modules that an upstream module takes from folders of its repository."""
    go = compiler(module.gomod.toolchain)
    command = [go, "mod", "download", "-json", f"{name}@{version}"]
    result = subprocess.run(command, cwd="/", env=_environment(go, module), check=False, capture_output=True, text=True)
    if result.returncode:
        raise CannotBuild(f"the module proxy has no {name} {version}: {(result.stdout + result.stderr).strip()}")
    return gomod.local(Path(json.loads(result.stdout)["GoMod"]).read_text(encoding="utf-8"))


def resolve(module: Module, packages: list[str]) -> None:
    """Let `go` complete a module's go.mod and go.sum for some packages, as they are compiled."""
    go = compiler(module.gomod.toolchain)
    command = [go, "list", "-mod=mod", *_tags(module), "-deps", *packages]
    result = subprocess.run(
        command, cwd=module.folder, env=_environment(go, module), check=False, capture_output=True, text=True
    )
    if result.returncode:
        raise CannotBuild(f"go could not resolve {module.name}:\n{result.stderr.strip()}")
