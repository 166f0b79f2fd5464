"""Writes requirements.txt and requirements-dev.txt: every package `pip` would choose today, pinned.

`pip install --dry-run --report` resolves without installing, so the pins are pip's own choice and nothing else has to
be trusted. Run it as `make pins`; it changes only what the `.in` files leave open.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAINER = Path("trainer/requirements.txt")


def resolve(*requirements: Path) -> dict[str, str]:
    """Return name → version of everything the requirement files lead to."""
    arguments = [argument for path in requirements for argument in ("--requirement", str(path))]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    report = subprocess.run([*command, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    chosen = (item["metadata"] for item in json.loads(report)["install"])
    return {item["name"].lower().replace("_", "-"): item["version"] for item in chosen}


def pinned(path: Path) -> set[str]:
    """Return the names that a requirements file pins already."""
    lines = (line.split("#")[0].strip() for line in (ROOT / path).read_text(encoding="utf-8").splitlines())
    return {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}


def write(path: Path, source: Path, includes: tuple[Path, ...], pins: dict[str, str]) -> None:
    """Write one requirements file: where it comes from, what it builds on, its pins in the order of their names."""
    lines = [f"# Every package of {source}, pinned. Made by `make pins`.", *(f"-r {include}" for include in includes)]
    lines += [f"{name}=={version}" for name, version in sorted(pins.items())]
    (ROOT / path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(pins)} packages")


def main() -> None:
    """Resolve the commands' packages first: the tools of development have to live with them."""
    run, development = Path("requirements.txt"), Path("requirements-dev.txt")
    write(run, Path("requirements.in"), (), resolve(Path("requirements.in")))
    below = pinned(run) | pinned(TRAINER)
    everything = resolve(run, TRAINER, Path("requirements-dev.in"))
    rest = {name: version for name, version in everything.items() if name not in below}
    write(development, Path("requirements-dev.in"), (run, TRAINER), rest)


if __name__ == "__main__":
    main()
