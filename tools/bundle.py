"""Fills a bundle from Go modules and a few Debian packages, and checks one, wherever it came from.

    python tools/bundle.py build [--output build/bundle] [PART …]
    python tools/bundle.py list
    python tools/bundle.py choose MODULE VERSION
    python tools/bundle.py verify [BUNDLE]

See docs/bundle-builder.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from bundle_builder import builder, manifest, parts
from bundle_builder.problems import CannotBuild
from bundle_builder.store import Store, default_folder

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bundle"
# Compiling takes minutes of every core: what else runs here comes first.
NICE = 10
#: How long an interrupted child may take to clear away what it has begun.
SECONDS_TO_END = 20


def say(text: str) -> None:
    """Print a line at once, also into a file."""
    print(text, flush=True)


def build(names: list[str], output: Path) -> None:
    """Fill a bundle with the parts that some names mean."""
    wanted = parts.chosen(names)
    os.nice(NICE)
    started = time.monotonic()
    bundle = builder.build(wanted, output, Store(default_folder()), say)
    total = builder.megabytes(sum(artifact.size for artifact in bundle.artifacts))
    say(f"{output}: {len(bundle.artifacts)} artifacts, {total}, in {time.monotonic() - started:.0f} s")


def show() -> None:
    """Print every part, its version and whether it was made before."""
    maker = builder.Builder(Store(default_folder()), say)
    for part in parts.chosen([]):
        version = part.version if isinstance(part, parts.Image) else parts.module(part.module).version
        kind = "image" if isinstance(part, parts.Image) else part.kind
        try:
            made = maker.find(part)
            state = f"cached, {builder.megabytes(made.size)}" if made else "not built"
        except CannotBuild as problem:
            state = f"cannot be built here: {problem}"
        say(f"{part.module or '-':12} {kind:10} {part.name:24} {version:10} {state}")


def verify(bundle: Path) -> None:
    """Compare a bundle with its manifest."""
    problems = manifest.verify(bundle)
    if problems:
        raise CannotBuild("\n".join(problems))
    artifacts = manifest.read(bundle).artifacts
    total = builder.megabytes(sum(artifact.size for artifact in artifacts))
    say(f"{bundle}: {len(artifacts)} artifacts, {total}, every digest is right")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_children() -> None:
    """End every child and wait for it: what was just being started when a signal came is in nobody's hands.

    They are interrupted, as by Ctrl-C. One that was started in the background of a shell does not hear of that.
    """
    for number in (signal.SIGINT, signal.SIGKILL):
        listings = Path("/proc/self/task").glob("*/children")
        for child in {child for listing in listings for child in listing.read_text(encoding="ascii").split()}:
            with suppress(ProcessLookupError):
                os.kill(int(child), number)
        deadline = time.monotonic() + SECONDS_TO_END
        with suppress(ChildProcessError):
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.05)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="fill a bundle")
    building.add_argument("--output", type=Path, default=OUTPUT, help="the bundle (default: build/bundle)")
    building.add_argument("part", nargs="*", help="what to build (default: everything); `list` names the parts")
    commands.add_parser("list", help="say what can be built, and what is there already")
    choosing = commands.add_parser("choose", help="write another upstream version into a module's go.mod and go.sum")
    choosing.add_argument("module", help="a folder of tools/bundle_builder/modules")
    choosing.add_argument("version", help="such as 1.36.3")
    checking = commands.add_parser("verify", help="recompute every digest of a bundle")
    checking.add_argument("bundle", type=Path, nargs="?", default=OUTPUT)
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "build":
                # The compiler, which works in other processes, is to end with this one.
                signal.signal(signal.SIGTERM, _stop)
                build(chosen.part, chosen.output)
            case "list":
                show()
            case "choose":
                builder.choose(chosen.module, chosen.version, say)
            case _:
                verify(chosen.bundle)
    except CannotBuild as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _end_children()
        print("stopped; what is finished stays", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
