"""What the action plugin of ``request`` knows besides the words: the roles' variables, and where results can go."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.action.request import results_problems, role_variables
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
