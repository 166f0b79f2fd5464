"""What is kept on the machine is found again, or said to be damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from laboratory.problems import LabProblem
from laboratory.spec import LabSpec
from laboratory.store import Store


def test_a_lab_is_found_as_it_was_made(tmp_path: Path) -> None:
    kept, spec = Store(tmp_path), LabSpec(name="try", hosts=5, cpus=1.5)
    assert kept.spec("try") is None
    kept.keep(spec)
    assert kept.spec("try") == spec
    assert kept.labs() == ["try"]
    kept.forget("try")
    assert kept.labs() == []


def test_the_folder_of_a_key_is_for_nobody_else(tmp_path: Path) -> None:
    Store(tmp_path).keep(LabSpec())
    assert Store(tmp_path).key("lab").parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["{", '{"colour": "red"}', "[]"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    kept = Store(tmp_path)
    kept.keep(LabSpec())
    path = kept.lab("lab") / "lab.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabProblem, match=str(path)):
        kept.spec("lab")


@pytest.mark.parametrize("name", ["..", "a/b", "", "/etc"])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "kept").mkdir()
    with pytest.raises(LabProblem, match="--name"):
        Store(tmp_path / "kept").forget(name)
    assert tmp_path.exists()


def test_routes_that_we_added_are_remembered_until_they_are_gone(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    assert kept.blackholes() == []
    kept.keep_blackholes(["10.96.0.0/12"])
    assert Store(tmp_path).blackholes() == ["10.96.0.0/12"]
    kept.keep_blackholes([])
    assert list(tmp_path.iterdir()) == []


def test_settings_that_we_changed_are_remembered_beside_routes(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    assert kept.settings() == {}
    kept.keep_blackholes(["10.96.0.0/12"])
    kept.keep_settings({"fs.inotify.max_user_instances": "128"})
    again = Store(tmp_path)
    assert (again.blackholes(), again.settings()) == (["10.96.0.0/12"], {"fs.inotify.max_user_instances": "128"})
    kept.keep_blackholes([])
    assert Store(tmp_path).settings() == {"fs.inotify.max_user_instances": "128"}
    kept.keep_settings({})
    assert list(tmp_path.iterdir()) == []
