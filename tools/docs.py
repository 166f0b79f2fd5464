"""Writes docs/reference and the variables' table in every role's README from their sources.

Usage: docs.py [--check]

With --check nothing is written: it names each page that differs from its source, and exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import artifact
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "trainer"), str(ROOT / "collections")]

from reference import bundle, flags, markdown, plugins, roles, schemas  # noqa: E402  (needs those on the path)

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path("docs/reference")
EVENTS = "event.schema.json"
BUNDLE_LOCK = "roles/bundle/files/bundle.lock.yml"


def documentation(kind: str) -> dict[str, Any]:
    """Return what `ansible-doc` knows of this checkout's plugins of one kind, by full name."""
    names = sorted(
        path.stem for path in (ROOT / "plugins" / ("modules" if kind == "module" else kind)).glob("[!_]*.py")
    )
    if not names:
        return {}
    call = [artifact.command("ansible-doc"), "--type", kind, "--json", *(f"dtf.cluster.{name}" for name in names)]
    environment = artifact.environment(ANSIBLE_COLLECTIONS_PATH=str(ROOT / "collections"))
    result = subprocess.run(call, cwd=ROOT, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(result.returncode)  # ansible-doc has said why
    found: dict[str, Any] = json.loads(result.stdout)
    return dict(sorted(found.items()))


def plugin_pages() -> Iterator[tuple[Path, str]]:
    """Yield path and text of the pages of modules and filters."""
    for kind, folder in (("module", "modules"), ("filter", "filter")):
        for name, document in documentation(kind).items():
            short = name.rpartition(".")[2]
            source = f"plugins/{folder}/{short}.py"
            yield REFERENCE / f"{kind}s" / f"{short}.md", plugins.plugin_page(name, document, source)


def role_pages() -> Iterator[tuple[Path, str]]:
    """Yield path and text of each role's page and README."""
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        name = path.parents[1].name
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        readme = Path("roles") / name / "README.md"
        text = (ROOT / readme).read_text(encoding="utf-8")
        yield readme, roles.readme_with_variables(text, specs)
        yield REFERENCE / "roles" / f"{name}.md", roles.role_page(name, text, specs)


def schema_pages() -> Iterator[tuple[Path, str]]:
    """Yield path and text of the page of each schema; the one of the events reads differently."""
    for path in sorted((ROOT / "schemas").glob("*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        source = f"schemas/{path.name}"
        if path.name == EVENTS:
            yield REFERENCE / "events.md", schemas.event_page(schema, source)
        else:
            name = path.name.removesuffix(".schema.json")
            yield REFERENCE / "schemas" / f"{name}.md", schemas.schema_page(schema, source)


def bundle_page() -> tuple[Path, str]:
    """Return path and text of the page of the bundle's addresses."""
    lock = yaml.safe_load((ROOT / BUNDLE_LOCK).read_text(encoding="utf-8"))
    return REFERENCE / "bundle-addresses.md", bundle.addresses_page(lock, BUNDLE_LOCK)


def index(pages: dict[Path, str]) -> str:
    """Return the list of all pages, by the folder they are in, each with its title."""
    blocks = ["# Reference", markdown.GENERATED]
    folders = sorted({path.parent for path in pages})
    for folder in folders:
        title = "" if folder == REFERENCE else f"## {folder.name.capitalize()}"
        inside = sorted(path for path in pages if path.parent == folder)
        links = [f"- [{pages[path].splitlines()[0].lstrip('# ')}]({path.relative_to(REFERENCE)})" for path in inside]
        blocks += [title, "\n".join(links)]
    return markdown.page(*blocks)


def everything() -> dict[Path, str]:
    """Return every generated file's text by its path below the root."""
    single = [bundle_page(), (REFERENCE / "flags.md", flags.flags_page())]
    pages = dict([*plugin_pages(), *role_pages(), *schema_pages(), *single])
    listed = {path: text for path, text in pages.items() if path.is_relative_to(REFERENCE)}
    return {**pages, REFERENCE / "index.md": index(listed)}


def stale(pages: dict[Path, str]) -> list[Path]:
    """Return the files that differ from `pages`, are missing, or are left over from a source that is gone."""
    left_over = {path.relative_to(ROOT) for path in (ROOT / REFERENCE).rglob("*.md")} - pages.keys()
    differ = [path for path, text in pages.items() if not _same(ROOT / path, text)]
    return sorted([*left_over, *differ])


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main() -> int:
    """Write or compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs from its source")
    check = parser.parse_args().check
    pages = everything()
    for path in stale(pages):
        print(f"{path}: {'differs from its source; run `make docs`' if check else 'written'}")
        if check:
            continue
        if path not in pages:
            (ROOT / path).unlink()
            continue
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(pages[path], encoding="utf-8")
    return 1 if check and stale(pages) else 0


if __name__ == "__main__":
    sys.exit(main())
