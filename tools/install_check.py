"""Builds the artifact, installs it in an empty place and uses it from there, far from this checkout.

What is asked of it is what a user asks first: is every playbook found by its name and does its syntax hold, does
`ansible-doc` know the modules and roles, is everything there that was to be shipped and nothing else?
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import artifact

SHIPPED = {
    "CHANGELOG.rst",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
    "schemas",
    "trainer",
}


def shipped(archive: Path) -> set[str]:
    """Return the first level of names in the artifact."""
    with tarfile.open(archive) as opened:
        return {name.split("/")[0] for name in opened.getnames()}


def documented(folder: Path, kind: str) -> set[str]:
    """Return the full names `ansible-doc` finds of one kind (module, role, filter) in the installed collection."""
    environment = artifact.environment(ANSIBLE_COLLECTIONS_PATH=str(folder), HOME=str(folder))
    listing = [artifact.command("ansible-doc"), "--type", kind, "--list", "--json", "dtf.cluster"]
    found = subprocess.run(listing, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return set(json.loads(found))


def check(folder: Path) -> list[str]:
    """Build, install and use the collection below `folder`; return what was wrong, in words."""
    archive = artifact.build(folder)
    problems = [f"shipped, but not meant to be: {name}" for name in sorted(shipped(archive) - SHIPPED)]
    problems += [f"meant to be shipped, but missing: {name}" for name in sorted(SHIPPED - shipped(archive))]
    collection = artifact.install(archive, folder)

    environment = artifact.environment(ANSIBLE_COLLECTIONS_PATH=str(folder), HOME=str(folder))
    for playbook in sorted(path.stem for path in (collection / "playbooks").glob("*.yml")):
        syntax = [artifact.command("ansible-playbook"), "--inventory", "localhost,", "--syntax-check"]
        call = [*syntax, f"dtf.cluster.{playbook}"]
        result = subprocess.run(call, cwd=folder, env=environment, check=False, capture_output=True, text=True)
        print(f"dtf.cluster.{playbook}: {'found, syntax holds' if result.returncode == 0 else 'fails'}")
        if result.returncode:
            problems.append(f"dtf.cluster.{playbook}: {result.stdout}{result.stderr}")

    for kind, sources in (
        ("module", (collection / "plugins" / "modules").glob("[!_]*.py")),
        ("filter", (collection / "plugins" / "filter").glob("[!_]*.py")),
        ("role", (path.parent for path in (collection / "roles").glob("*/meta"))),
    ):
        wanted = {f"dtf.cluster.{path.stem}" for path in sources}
        print(f"ansible-doc, {kind}: {len(wanted)}")
        problems += [
            f"ansible-doc does not know the {kind} {name}" for name in sorted(wanted - documented(folder, kind))
        ]
    return problems


def main() -> int:
    """Print what was found and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="dtf-install-") as name:
        problems = check(Path(name))
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
