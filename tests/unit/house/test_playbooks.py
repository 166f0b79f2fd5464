"""Playbooks say in which order what happens, and nothing of how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.playbook.block import Block
from ansible.playbook.task import Task

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
WRAPPERS = sorted(path for path in ROOT.glob("*.yml") if path.name != "galaxy.yml")
KEYWORDS = {*Task.fattributes, *Block.fattributes, "block", "rescue", "always", "local_action"}


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_is_a_list_of_roles(path: Path) -> None:
    for play in yaml.safe_load(path.read_text(encoding="utf-8")):
        if "ansible.builtin.import_playbook" in play:
            continue
        assert play["name"]
        assert not play.keys() & {"tasks", "pre_tasks", "post_tasks", "handlers"}
        for role in play["roles"]:
            assert role["role"].startswith("dtf.cluster.")
            assert role["role"].removeprefix("dtf.cluster.") in role["tags"]
            assert (ROOT / "roles" / role["role"].removeprefix("dtf.cluster.")).is_dir()


@pytest.mark.parametrize("path", WRAPPERS, ids=lambda path: path.name)
def test_a_playbook_at_the_root_only_imports_one_of_the_collection(path: Path) -> None:
    (play,) = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert play["ansible.builtin.import_playbook"] == f"dtf.cluster.{path.stem}"


def modules(tasks: Any) -> set[str]:
    """Return the module names in a list of tasks: every key that is no keyword of a task."""
    inside = {
        name for task in tasks for part in ("block", "rescue", "always") for name in modules(task.get(part) or ())
    }
    return inside | {key for task in tasks for key in task if key not in KEYWORDS and not key.startswith("with_")}


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("roles/*/tasks/**/*.yml")), ids=lambda path: str(path.relative_to(ROOT / "roles"))
)
def test_modules_are_named_in_full(path: Path) -> None:
    names = modules(yaml.safe_load(path.read_text(encoding="utf-8")) or ())
    assert {name for name in names if name.count(".") < 2} == set()
