"""The tools that check the others are checked as well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pins
import pytest
import sanity
import test_summary
from ansible_test._internal import python_requirements

ROOT = Path(__file__).resolve().parents[3]
FILES = ("requirements.txt", "trainer/requirements.txt", "requirements-dev.txt")

JUNIT = """<?xml version="1.0"?><testsuites><testsuite tests="9" failures="9" time="12.4">
<testcase classname="a" name="passes"/>
<testcase classname="a" name="fails"><failure message="no"/></testcase>
<testcase classname="a" name="breaks"><failure message="AssertionError: no&#10;and why"/></testcase>
<testcase classname="a" name="breaks"><error message="teardown"/></testcase>
<testcase classname="a" name="skipped"><skipped message="later"/></testcase>
<testcase classname="" name="tests/test_broken.py"><error message="collection"/></testcase>
</testsuite></testsuites>"""


def summarise(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the summary on a folder as the Makefile does."""
    command = [sys.executable, str(ROOT / "tools" / "test_summary.py"), str(folder)]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)


def test_the_sum_counts_each_test_once_and_an_error_as_a_failure() -> None:
    assert str(test_summary.count(ET.fromstring(JUNIT))) == "1 passed, 3 failed, 1 skipped"


def test_each_run_has_its_seconds_and_each_failure_its_reason(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text(JUNIT)
    assert summarise(tmp_path).stdout.splitlines() == [
        "unit: 1 passed, 3 failed, 1 skipped in 12 s",
        "failed: unit: a::fails: no",
        "failed: unit: a::breaks: AssertionError: no",
        "failed: unit: a::breaks: teardown",
        "failed: unit: ::tests/test_broken.py: collection",
        "1 passed, 3 failed, 1 skipped",
    ]


def test_the_last_line_is_the_sum_of_all_runs(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text('<testsuite><testcase name="a"/><testcase name="b"/></testsuite>')
    (tmp_path / "more.xml").write_text('<testsuite><testcase name="a"/></testsuite>')
    result = summarise(tmp_path)
    assert result.stdout.splitlines()[-1] == "3 passed, 0 failed, 0 skipped"
    assert result.returncode == 0


def test_a_failure_is_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "unit.xml").write_text(JUNIT)
    assert summarise(tmp_path).returncode == 1


@pytest.mark.parametrize("files", [{}, {"empty.xml": "<testsuite/>"}], ids=["no run", "an empty run"])
def test_silence_is_no_success(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    result = summarise(tmp_path)
    assert result.stdout.splitlines()[-1] == "0 passed, 0 failed, 0 skipped"
    assert result.returncode == 1


def pinned(path: str) -> dict[str, str]:
    """Return name → version of a requirements file; every line that is no comment or include has to be a pin."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if line and not line.startswith(("#", "-r "))]
    assert [line for line in found if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.]*", line)] == []
    return {line.split("==")[0].lower().replace("_", "-"): line.split("==")[1] for line in found}


def test_every_requirement_is_pinned_to_one_version_everywhere() -> None:
    versions: dict[str, set[str]] = {}
    for path in FILES:
        for name, version in pinned(path).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("source", ["requirements.in", "requirements-dev.in"])
def test_what_is_asked_for_is_pinned(source: str) -> None:
    names = pins.pinned(Path("requirements.txt")) | pins.pinned(Path("requirements-dev.txt"))
    asked = [line.split("==")[0].lower() for line in (ROOT / source).read_text(encoding="utf-8").splitlines()]
    assert {name for name in asked if name and not name.startswith("#")} <= names | pins.pinned(pins.TRAINER)


def test_ansible_test_asks_for_the_pip_that_is_prepared() -> None:
    text = Path(python_requirements.__file__).read_text(encoding="utf-8")
    assert f"pip='{sanity.PIP_VERSION}'" in text


def test_settings_of_pip_reach_ansible_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("PIP_PROXY", raising=False)
    settings = sanity.pip_settings()
    assert settings["index-url"] == "https://mirror.example/simple"
    assert settings["proxy"] == "http://proxy.example:3128"
    assert "require-virtualenv" not in settings


def makefile() -> dict[str, list[str]]:
    """Return target → prerequisites of the Makefile's named targets."""
    rules = re.findall(r"^([a-z][a-z-]*):([^=#\n]*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return {target: prerequisites.split() for target, prerequisites in rules}


def test_make_help_lists_what_the_readme_promises() -> None:
    environment = {**os.environ, "MAKEFLAGS": "", "MAKELEVEL": "0"}
    command = ["make", "help"]
    listed = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    targets: set[Any] = {line.split()[1] for line in listed.splitlines()}
    promised = {
        "demo",
        "test",
        "lint",
        "unit",
        "sanity",
        "integration",
        "bench",
        "lab",
        "lab-down",
        "docs",
        "build",
        "install-check",
        "clean",
    }
    assert promised <= targets
    assert targets <= makefile().keys()


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")
