"""What the action plugin of ``request`` knows besides the words: the roles' variables, and where results can go."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from ansible.errors import AnsibleActionFail

from ansible_collections.dtf.cluster.plugins.action import request as request_module
from ansible_collections.dtf.cluster.plugins.action.request import ActionModule, results_problems, role_variables
from ansible_collections.dtf.cluster.plugins.module_utils.grid import WORDS


@pytest.mark.parametrize("place", ["", "results", "results/deep/er"])
def test_a_folder_that_can_be_made_is_fine_and_is_not_made(tmp_path: Path, place: str) -> None:
    assert results_problems(str(tmp_path / place)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_folder_is_no_problem(nothing: str | None) -> None:
    assert results_problems(nothing) == []


def test_the_home_of_the_user_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert results_problems("~/results") == []
    assert [problem.value for problem in results_problems("~/file/results")] == ["~/file/results"]


@pytest.mark.parametrize("below", ["", "/r", "/r/s"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    given = f"{tmp_path}/file{below}"
    (problem,) = results_problems(given)
    assert (problem.field, problem.value) == ("results_dir", given)
    assert problem.accepted == f"a folder that can be written ({tmp_path}/file: {os.strerror(errno.ENOTDIR)})"


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (problem,) = results_problems(str(tmp_path / "link" / "r"))
    assert str(tmp_path / "link") in problem.accepted


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_where: object, **_how: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    (problem,) = results_problems(str(tmp_path / "r"))
    assert problem.accepted == f"a folder that can be written ({tmp_path}: {os.strerror(code)})"


def test_every_variable_of_every_role_may_be_given(repository: Path) -> None:
    known = set(role_variables())
    for defaults in repository.glob("roles/*/defaults/main.yml"):
        assert set(yaml.safe_load(defaults.read_text(encoding="utf-8")) or {}) <= known, defaults


def test_a_variable_of_a_role_is_no_word_and_a_private_one_is_not_known() -> None:
    known = set(role_variables())
    assert not known & set(WORDS)
    assert not [name for name in known if name.startswith("__")]
    assert {name for name in known if name.startswith("dtf_")}


@pytest.mark.parametrize(
    "name",
    [
        "topology_name",
        "topology_workers",
        "benchmark_hosts",
        "dataset_source",
        "dtf_results_dir",
        "dtf_root",
        "report_name",
    ],
)
def test_some_of_them_by_name(name: str) -> None:
    assert name in set(role_variables())


def answer(monkeypatch: pytest.MonkeyPatch, extra: dict[str, object], **arguments: object) -> dict[str, Any]:
    """Return the result of the action for variables of the command line and a task's arguments, failed or not."""
    monkeypatch.setattr(request_module, "load_extra_vars", lambda _loader: extra)
    task = Mock(args=arguments, async_val=0, check_mode=False)
    action = ActionModule(task, Mock(), Mock(check_mode=False), Mock(), Mock(), Mock())
    try:
        result: dict[str, Any] = action.run(task_vars={})
    except AnsibleActionFail as error:
        result = {"failed": True, "msg": str(error), **error.result}
    return result


def test_nothing_asked_is_one_cell_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(monkeypatch, {}) == {"changed": False, "cells": [{}], "repeats": 1}


def test_a_sweep_is_answered_with_its_cells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = {"workers": "1,2", "repeats": "3", "ps": None}
    asked = answer(monkeypatch, {"workers": "1,2"}, words=words, sweep=True, results_dir=str(tmp_path / "r"))
    assert asked == {"changed": False, "cells": [{"workers": "1"}, {"workers": "2"}], "repeats": 3}


@pytest.mark.parametrize(
    ("extra", "accepted_variables", "told"),
    [
        ({"workers": "2"}, [], []),
        ({"topology_workers": {}, "dtf_root": "/r"}, [], []),
        ({"ansible_python_interpreter": "/p"}, [], []),  # Ansible's own
        ({"mine": 1}, ["mine"], []),
        ({"mine": 1}, [], [("mine", 1)]),
        ({"wrokers": "2", "topology_wrokers": 1}, [], [("wrokers", "2"), ("topology_wrokers", 1)]),
    ],
)
def test_a_variable_that_nobody_reads_is_told(
    monkeypatch: pytest.MonkeyPatch,
    extra: dict[str, object],
    accepted_variables: list[str],
    told: list[tuple[str, object]],
) -> None:
    result = answer(monkeypatch, extra, accepted_variables=accepted_variables)
    problems = result["failure"]["problems"] if told else []
    assert result.get("failed", False) is bool(told)
    assert [(problem["field"], problem["value"]) for problem in problems] == told


def test_a_playbook_has_words_of_its_own_and_they_are_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "failed" not in answer(monkeypatch, {"before": "results/a"}, playbook_words=["before"])
    (problem,) = answer(monkeypatch, {"befor": "results/a"}, playbook_words=["before"])["failure"]["problems"]
    assert problem["accepted"].endswith("did you mean before?")


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = answer(
        monkeypatch,
        {"zzz": 1},
        words={"ps": "0", "repeats": "x"},
        base={"training": {"steps": -1}},  # not looked at while a word is wrong
        results_dir=f"{tmp_path}/file",
    )
    assert (result["failed"], result["failure"]["code"]) == (True, "invalid_input")
    fields = ["zzz", "repeats", "ps", "results_dir"]
    assert [problem["field"] for problem in result["failure"]["problems"]] == fields
    assert result["msg"].startswith("the command line: 4 problems\n  - zzz: 1 is not valid, accepted: ")


def test_what_words_are_laid_over_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    result = answer(monkeypatch, {}, words={"ps": "1"}, base={"training": {"steps": -1}})
    assert [problem["field"] for problem in result["failure"]["problems"]] == ["training.steps"]
