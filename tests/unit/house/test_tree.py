"""The tree holds what belongs in it, where it belongs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import install_check
import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[3]
LINKS = Path("collections/ansible_collections/dtf/cluster")
LINKED = {"galaxy.yml", "meta", "plugins", "roles", "playbooks", "trainer", "schemas", "README.md"}


def tracked() -> dict[Path, str]:
    """Return every file git knows in this checkout, with its mode."""
    # safe.directory: in a container the checkout often belongs to another user than the one who runs the tests.
    command = ["git", "-c", "safe.directory=*", "ls-files", "--stage", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    entries = [entry.split("\t", 1) for entry in listed.split("\0") if entry]
    return {Path(path): details.split()[0] for details, path in entries}


def texts() -> dict[Path, str]:
    """Return the content of every tracked text file."""
    found = {}
    for path, mode in tracked().items():
        if mode == "120000" or not (ROOT / path).is_file():
            continue
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            found[path] = content.decode("utf-8")
    return found


def test_the_links_are_complete_relative_and_committed() -> None:
    below = {path: mode for path, mode in tracked().items() if path.parts[0] == "collections"}
    assert below == {LINKS / name: "120000" for name in LINKED}
    for name in LINKED:
        assert (ROOT / LINKS / name).readlink() == Path("../../../..") / name
        assert (ROOT / name).exists()


def test_what_is_shipped_is_there_and_nothing_else_is_decided_by_chance() -> None:
    """Every entry of the root is shipped or kept at home on purpose."""
    kept = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    shipped = install_check.SHIPPED - {"FILES.json", "MANIFEST.json"}
    entries = {path.parts[0] for path in tracked()} - {"galaxy.yml"}
    assert shipped <= entries
    assert {name for name in entries - shipped if not any(Path(name).match(pattern) for pattern in kept)} == set()
    assert {name for name in shipped if any(Path(name).match(pattern) for pattern in kept)} == set()


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of one machine", r"(?<![\w.$}~-])/(?:root|home/(?!user\b)\w+|work)/\w"),
        ("something left undone", "|".join(map("\\b{}\\b".format, ("TO" + "DO", "FIX" + "ME", "X" + "XX")))),
        ("a number of a tracker", r"(?i)\b(?:issue|ticket)s? #?\d"),
    ],
)
def test_no_file_holds(what: str, pattern: str) -> None:
    expression = re.compile(pattern)
    me = Path(__file__).resolve().relative_to(ROOT)
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts().items()
        if path != me and path.name != "LICENSE"
        for number, line in enumerate(text.splitlines(), start=1)
        if expression.search(line)
    ]
    assert found == [], what


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"common.py", "utils.py", "helpers.py", "misc.py", "util.py"}
    assert [path for path in tracked() if path.name in drawers] == []


def imported(path: Path) -> set[str]:
    """Return the first names of the modules a file imports by absolute name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


#: What module utils need beyond the standard library, and the one place for it.
ALLOWED = {
    "arguments_kubernetes.py": {"ansible"},
    "certificate_files.py": {"ansible", "cryptography"},
    "kubernetes_client.py": {"ansible", "kubernetes", "openshift", "urllib3"},
    "manifest_yaml.py": {"yaml"},
}


def test_module_utils_import_only_the_standard_library() -> None:
    found = {path.name: imported(path) - sys.stdlib_module_names for path in ROOT.glob("plugins/module_utils/*.py")}
    assert {name: rest for name, extra in found.items() if (rest := extra - ALLOWED.get(name, set()))} == {}


def test_only_one_place_imports_the_kubernetes_client() -> None:
    clients = {"kubernetes", "openshift"}
    assert {path.name for path in ROOT.glob("plugins/**/*.py") if imported(path) & clients} == {"kubernetes_client.py"}


def test_only_one_place_starts_processes() -> None:
    starters = {path.name for path in ROOT.glob("plugins/module_utils/*.py") if "subprocess" in imported(path)}
    assert starters <= {"processes.py", "programs.py", "supervisor.py"}


def test_the_trainer_knows_nothing_of_what_starts_it() -> None:
    files = sorted(ROOT.glob("trainer/dtf_trainer/**/*.py"))
    strangers = {"ansible", "ansible_collections", "kubernetes"}
    assert {path.name: found for path in files if (found := imported(path) & strangers)} == {}


def test_only_what_computes_imports_tensorflow() -> None:
    """A wrong flag, or damaged data, is refused before anything slow is imported."""
    early = ("__init__", "__main__", "flags", "events", "exit_codes", "datasets", "fetch", "shards")
    for name in early:
        path = ROOT / "trainer" / "dtf_trainer" / f"{name}.py"
        top = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Import)]
        assert "tensorflow" not in {alias.name.split(".")[0] for node in top for alias in node.names}, name


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/filter/*.py")), ids=lambda path: path.name)
def test_a_filter_imports_nothing_of_the_collection_before_it_is_called(path: Path) -> None:
    """Ansible loads every filter before the one it looks for, once a task and host: docs/adr/0019 has the numbers."""
    top = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    assert [ast.unparse(node) for node in top if node.level or "dtf" in str(node.module)] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("schemas/*.json")), ids=lambda path: path.name)
def test_schemas_are_valid(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert re.fullmatch(r"dtf\.[a-z_]+/\d+", schema["$id"])
    assert schema["title"]
    assert schema["description"]


def links(page: str) -> list[str]:
    """Return the targets of a page's links that are files here; what stands in its blocks of code is no link."""
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    return [target for target in found if "://" not in target]


def test_links_between_pages_lead_somewhere() -> None:
    pages = {path: links(text) for path, text in texts().items() if path.suffix == ".md"}
    broken = {
        path: missing
        for path, targets in pages.items()
        if (missing := [target for target in targets if not (ROOT / path.parent / target).exists()])
    }
    assert broken == {}


def test_versions_agree() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    assert f"\nv{galaxy['version']}\n" in changelog
