"""Every role keeps its word: what it says it takes is what it takes, under its own name."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())

# Options with their values: `report_words.name | default(report_name, true)` is a variable, an attribute, a fallback.
_DEFAULT = re.compile(r"(?P<variable>[a-z_][\w.]*)\s*\|\s*(?:default|d)\(\s*(?P<fallback>[^,)]*)")
_LITERAL = re.compile(r"""(?:['"\[{0-9-]|true\b|false\b|none\b|omit\b|$)""", re.IGNORECASE)


@cache
def read(path: Path) -> Any:
    """Return a YAML file's content, an empty mapping for an empty or missing one; nobody changes it."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {}


def options(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of all entry points of a role."""
    specs = read(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()}


def variables(role: Path) -> Iterator[tuple[str, str]]:
    """Yield each variable name a role sets and where: defaults, vars, registered, facts, loops, vars of tasks."""
    for folder in ("defaults", "vars"):
        for path in sorted((role / folder).rglob("*.yml")):
            yield from ((name, f"{folder}/{path.name}") for name in read(path))
    for folder in ("tasks", "handlers"):
        for path in sorted((role / folder).rglob("*.yml")):
            for task in walk(read(path)):
                place = f"{folder}/{path.name}: {task.get('name')}"
                facts = task.get("ansible.builtin.set_fact") or {}
                loop_variable = (task.get("loop_control") or {}).get("loop_var")
                names = [*(task.get("vars") or {}), *facts, task.get("register"), loop_variable]
                yield from ((name, place) for name in names if name and name != "cacheable")


def walk(tasks: Any) -> Iterator[dict[str, Any]]:
    """Yield every task of a file, those inside blocks too."""
    for task in tasks or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from walk(task.get(part))


@pytest.fixture(params=ROLES, ids=lambda path: path.name)
def role(request: pytest.FixtureRequest) -> Path:
    """One role after the other."""
    path: Path = request.param
    return path


def test_defaults_are_the_specification(role: Path) -> None:
    wanted = {name: option.get("default") for name, option in options(role).items() if not option.get("required")}
    assert read(role / "defaults" / "main.yml") == wanted


def test_a_required_option_has_no_default(role: Path) -> None:
    assert [name for name, option in options(role).items() if option.get("required") and "default" in option] == []


def test_every_option_is_described(role: Path) -> None:
    def undescribed(entries: dict[str, dict[str, Any]], prefix: str = "") -> Iterator[str]:
        for name, option in entries.items():
            if not option.get("description") or not option.get("type"):
                yield f"{prefix}{name}"
            yield from undescribed(option.get("options") or {}, f"{prefix}{name}.")

    assert list(undescribed(options(role))) == []


def test_variables_begin_with_the_role_name(role: Path) -> None:
    # `__role_` marks what is nobody else's business.
    accepted = (f"{role.name}_", f"__{role.name}_")
    # In `vars:` of a task that includes another role, that role's own options are set.
    others = {name for other in ROLES if other != role for name in options(other)}
    assert [place for place in variables(role) if not place[0].startswith(accepted) and place[0] not in others] == []


def test_the_readme_begins_with_what_the_role_leaves(role: Path) -> None:
    first = (role / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"Leaves: \S.*\.", first)


#: A playbook cannot call a role as often as it takes, nor with what was found only then.
CALLS = {"autoscale": {"dtf.cluster.benchmark", "dtf.cluster.topology"}}


def test_a_role_calls_no_other_role(role: Path) -> None:
    calls = ("ansible.builtin.include_role", "ansible.builtin.import_role")
    tasks = [task for path in sorted(role.glob("tasks/**/*.yml")) for task in walk(read(path))]
    assert {task[call]["name"] for task in tasks for call in calls if call in task} == CALLS.get(role.name, set())
    assert not read(role / "meta" / "main.yml").get("dependencies")


def test_a_role_knows_no_group(role: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in role.rglob("*.yml")}
    assert [path.name for path, text in texts.items() if re.search(r"\bgroups\b\s*[\[.]|\bgroup_names\b", text)] == []


def test_a_default_is_written_once(role: Path) -> None:
    """Outside `defaults`, a variable that has a default there falls back on no literal of another place."""
    public = {name for other in ROLES for name in options(other)}
    found = []
    for path in sorted(role.rglob("*")):
        if not path.is_file() or path.suffix not in {".yml", ".j2"} or path.parent.name in {"defaults", "meta"}:
            continue
        for match in _DEFAULT.finditer(path.read_text(encoding="utf-8")):
            known = match["variable"].split(".")[0] in public or match["variable"].startswith("dtf_")
            if known and _LITERAL.match(match["fallback"]):
                found.append(f"{path.relative_to(role)}: {match[0]}")
    assert found == []


def test_no_role_overwrites_a_default_with_a_fact(role: Path) -> None:
    tasks = [task for path in sorted(role.glob("tasks/**/*.yml")) for task in walk(read(path))]
    facts = {name for task in tasks for name in task.get("ansible.builtin.set_fact") or {}}
    assert facts & {name for other in ROLES for name in options(other)} == set()


def test_a_shared_value_falls_back_on_the_same_default_everywhere() -> None:
    fallbacks: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "roles").glob("*/defaults/main.yml")):
        for value in read(path).values():
            for match in re.finditer(r"\b(dtf_\w+)\s*\|\s*default\(((?:[^()]|\([^()]*\))*)\)", str(value)):
                fallbacks[match[1]].add(match[2])
    assert {name: found for name, found in fallbacks.items() if len(found) > 1} == {}


def test_shared_values_stand_only_in_defaults() -> None:
    """`dtf_*` belongs to the site: inventories set it, role defaults read it, nothing else knows it."""
    files = [path for pattern in ("roles/**/*", "playbooks/*.yml") for path in ROOT.glob(pattern) if path.is_file()]
    outside = [
        path for path in files if path.suffix in {".yml", ".j2"} and path.parent.name not in {"defaults", "meta"}
    ]
    found = {path: set(re.findall(r"\bdtf_(?!trainer\b)\w+", path.read_text("utf-8"))) for path in outside}
    assert {str(path.relative_to(ROOT)): words for path, words in found.items() if words} == {}
