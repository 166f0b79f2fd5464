"""The role trainer_environment: built beside the one in use, tried, then put to use; and nothing the second time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Play, tree

MODULES = {path.name for path in (REPOSITORY / "trainer" / "dtf_trainer").glob("*.py")}


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return a play that makes an environment of one small package."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("six==1.17.0\n", encoding="utf-8")
    variables: dict[str, object] = {
        "trainer_environment_requirements": str(requirements),
        "trainer_environment_probe": "six",
    }
    return Play(tmp_path, "trainer_environment", variables)


def said(python: Path, *arguments: str) -> str:
    """Return what a Python says, started as a task is: from anywhere, with nothing in its environment."""
    command = [str(python), *arguments]
    return subprocess.run(
        command, cwd="/", env={}, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


@pytest.mark.network
def test_check_apply_again_and_change(play: Play) -> None:
    trainer = play.root / "trainer"
    python = trainer / "venv" / "bin" / "python"

    assert play.run("--check").changed > 0
    assert not play.root.exists(), "check mode leaves nothing behind"

    assert play.run().changed > 0
    assert said(python, "-m", "dtf_trainer", "--version") == "dtf_trainer 0.1.0"
    assert said(python, "-c", "import six; print(six.__version__)") == "1.17.0"
    package = Path(said(python, "-c", "import dtf_trainer; print(dtf_trainer.__path__[0])"))
    assert {path.name for path in package.glob("*.py")} == MODULES
    assert {path.name.partition(".")[0] for path in package.glob("__pycache__/*.pyc")} == {
        name.partition(".")[0] for name in MODULES
    }

    before = tree(play.root)
    assert play.run().changed == 0
    assert play.run("--check").changed == 0
    assert tree(play.root) == before

    first = (trainer / "venv").resolve()
    failing = play.run(trainer_environment_pip_extra_args=["--no-index", "--find-links", "/no/wheels"])
    assert failing.code == 2
    assert "No matching distribution found for six==1.17.0" in failing.output
    assert (trainer / "venv").resolve() == first, "what was in use still is"

    assert play.run(trainer_environment_pip_extra_args=["--no-deps"]).changed > 0
    second = (trainer / "venv").resolve()
    assert second != first
    assert {path.name for path in (trainer / "environments").iterdir()} == {first.name, second.name}, (
        "the predecessor stays for tasks that run in it; what failed is gone"
    )

    # An environment without its list of requirements was not finished.
    (second / "requirements.txt").unlink()
    assert play.run("--check", trainer_environment_pip_extra_args=["--no-deps"]).changed > 0
    assert play.run(trainer_environment_pip_extra_args=["--no-deps"]).changed > 0
    assert said(python, "-m", "dtf_trainer", "--version") == "dtf_trainer 0.1.0"

    before = tree(play.root)
    assert play.run("--check", trainer_environment_state="absent").changed > 0
    assert tree(play.root) == before
    assert play.run(trainer_environment_state="absent").changed > 0
    assert not trainer.exists()
    assert play.run("--check", trainer_environment_state="absent").changed == 0
    assert play.run(trainer_environment_state="absent").changed == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"trainer_environment_base_python": "python-of-nowhere"},
            "python-of-nowhere does not run on localhost",
        ),
        (
            {"trainer_environment_python_versions": {"min": "3.98", "max": "3.99"}},
            f"is Python 3.{sys.version_info.minor}; expected 3.98 to 3.99",
        ),
        (
            {"trainer_environment_platforms": ["Plan9-mips"]},
            "expected Plan9-mips (trainer_environment_platforms, what trainer_environment_requirements has wheels for)",
        ),
        ({"trainer_environment_python_versions": {"min": "3.11", "most": "3.13"}}, "most"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(play: Play, variables: dict[str, object], message: str) -> None:
    assert message in play.run(**variables).failure
    assert not play.root.exists()


def test_a_python_without_venv(play: Play, tmp_path: Path) -> None:
    """As Debian ships it, without its package python3-venv."""
    lame = tmp_path / "python"
    hide = (
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name: name != 'ensurepip' and find(name)"
    )
    lame.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{hide}\n$2" "$3"\n', encoding="utf-8")
    lame.chmod(0o755)
    assert "lacks the modules venv or ensurepip" in play.run(trainer_environment_base_python=str(lame)).failure
