"""One site.yml and one benchmark.yml for all inventories: groups choose, and nothing asks which of them it is on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from laboratory import inventory
from laboratory.spec import LabSpec

ROOT = Path(__file__).resolve().parents[3]
INVENTORIES = sorted(path.name for path in (ROOT / "inventories").iterdir() if path.is_dir())
#: What only tells where one is, and not what a host is for.
ASKS_WHERE = re.compile(
    r"\bprovider\b|\binventory_(?:dir|file)\b|inventories/|"
    r"['\"](?:local|lab|kind|gpu)['\"]\s*(?:==|!=)|(?:==|!=)\s*['\"](?:local|lab|kind|gpu)['\"]"
)
#: Who is connected to locally needs nothing brought by a connection; that is no provider.
ALLOWED = re.compile(r"ansible_connection[^\n]*== 'local'")


def play(*words: str) -> str:
    """Run ansible-playbook in this checkout and return what it printed."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *words]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **settings, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def folder_of(name: str, tmp_path: Path) -> Path:
    """Return an inventory's folder; the laboratory's hosts are only known when it runs, so it gets some."""
    folder = ROOT / "inventories" / name
    if name != "lab":
        return folder
    spec = LabSpec()
    document = inventory.document(spec, spec.members(), checkout=str(ROOT), folder="/nowhere", machine={})
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (tmp_path / "group_vars").symlink_to(folder / "group_vars")
    return tmp_path


def roles_by_play(listed: str) -> dict[str, list[str]]:
    """Return each playbook's plays with their roles, as `--list-tasks` shows them."""
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        if match := re.match(r"\s+play #\d+ \(.*?\): (.*?)\s+TAGS:", line):
            roles = found.setdefault(match[1], [])
        elif match := re.match(r"\s+([a-z_.]+) : ", line):
            roles.append(match[1].removeprefix("dtf.cluster."))
    return {name: list(dict.fromkeys(roles)) for name, roles in found.items()}


def test_these_are_all() -> None:
    assert INVENTORIES == ["gpu", "kind", "lab", "local"]


@pytest.fixture(scope="module")
def usual() -> dict[str, list[str]]:
    """What is run where there is no inventory of one's own."""
    return roles_by_play(play("-i", "inventories/local", "site.yml", "benchmark.yml", "--list-tasks"))


@pytest.mark.parametrize("name", INVENTORIES)
def test_an_inventory_runs_the_same_plays_with_the_same_roles(
    name: str, tmp_path: Path, usual: dict[str, list[str]]
) -> None:
    folder = folder_of(name, tmp_path)
    listed = play("-i", str(folder), "site.yml", "benchmark.yml", "--list-tasks")
    assert roles_by_play(listed) == usual
    every = {role for roles in usual.values() for role in roles}
    assert every >= {"kind", "kubeadm", "bundle", "topology", "benchmark"}


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("roles/*/*/**/*.yml"), *ROOT.glob("roles/*/templates/**/*.j2"), *ROOT.glob("playbooks/*.yml")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_asks_where_it_is(path: Path) -> None:
    code = [line.partition(" #")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in code if not line.lstrip().startswith("#") and not ALLOWED.search(line)]
    assert [line.strip() for line in lines if ASKS_WHERE.search(line)] == []


MIXED: dict[str, Any] = {
    "all": {"vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}},
    "kube_control_plane": {"hosts": {"cp": {}}},
    "kube_node": {"hosts": {"w1": {}, "card": {}}},
    "gpu": {"hosts": {"card": {}}},
    "registry": {"hosts": {"store": {}}},
    "kind_host": {"hosts": {"desk": {}}},
}
NODE = {"kubeadm", "cni", "containerd", "node_prereqs"}


def who_gets_what(name: str, inventory_path: Path, folder: Path) -> dict[str, set[str]]:
    """Return host → roles that a playbook gives it: the playbook's own hosts and conditions, with nothing done."""
    plays = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))
    for number, entry in enumerate(plays):
        entry.pop("vars_prompt", None)
        entry.pop("vars", None)
        tasks = []
        for role in entry.pop("roles"):
            task: dict[str, Any] = {
                "name": f"{number} {role['role']}",
                "ansible.builtin.debug": {"msg": f"{{{{ inventory_hostname }}}} gets {role['role']}"},
                "tags": role["tags"],
            }
            if "when" in role:
                task["when"] = role["when"]
            tasks.append(task)
        entry["tasks"] = tasks
    (folder / "twin.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    printed = play("-i", str(inventory_path), str(folder / "twin.yml"))
    found: dict[str, set[str]] = {}
    for host, role in re.findall(r"msg: (\w+) gets dtf[.]cluster[.](\w+)", printed):
        found.setdefault(host, set()).add(role)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cluster", {"cp": NODE, "w1": NODE, "card": NODE, "desk": {"kind"}}),
        ("registry", {"store": {"registry"}}),
        (
            "reset",
            {
                **dict.fromkeys(("cp", "w1", "card"), NODE | {"trainer_environment"}),
                "store": {"registry"},
                "desk": {"kind"},
            },
        ),
    ],
)
def test_in_a_mixed_inventory_each_host_gets_what_its_groups_say(
    name: str, expected: dict[str, set[str]], tmp_path: Path
) -> None:
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(MIXED), encoding="utf-8")
    assert who_gets_what(name, tmp_path / "hosts.yml", tmp_path) == expected
