"""The page as the playbook makes it: once, again, in check mode, and what is told where it cannot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def play(repository: Path, results: Path, *arguments: str, **variables: object) -> tuple[str, str]:
    """Report on the benchmark ``sweep``; return what became of the task that draws, and the output."""
    given = {"dtf_results_dir": str(results), "name": "sweep", **variables}
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "report.yml",
        "-e",
        json.dumps(given),
        *arguments,
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(repository / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        command,
        cwd=repository,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    task = done.stdout.partition("Draw the page]")[2].partition("\nTASK ")[0].partition("\nPLAY RECAP")[0]
    found = re.search(r"^(ok|changed|skipping|fatal): ", task, re.MULTILINE)
    state = found.group(1) if found else "not reached"
    assert done.returncode == (0 if state in ("ok", "changed", "skipping") else 2), done.stdout
    return state, done.stdout


@pytest.fixture
def results(repository: Path, tmp_path: Path) -> Path:
    """The results folder with the runs of a benchmark that was never run."""
    command = [sys.executable, "tools/synthetic_benchmark.py", str(tmp_path / "sweep"), "-e", "workers=1,2,4"]
    subprocess.run([*command, "-e", "repeats=3"], cwd=repository, check=True)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Return the report's own files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in [*folder.glob("report.html"), *folder.glob("figures/*")]
    }


def test_a_page_is_made_once_and_comes_back_the_same(repository: Path, results: Path) -> None:
    folder = results / "sweep"
    state, output = play(repository, results, "--check", "--diff")
    assert state == "ok", output  # there is nothing to draw before the summary
    assert contents(folder) == {}

    state, output = play(repository, results)
    assert state == "changed", output
    assert f"the page: {folder / 'report.html'}" in output
    made = contents(folder)
    assert {"report.html", "figures/time.svg", "figures/time.png", "figures/timeline.svg"} <= set(made)

    state, output = play(repository, results)
    assert state == "ok", output

    (folder / "report.html").unlink()
    (folder / "figures" / "time.svg").write_text("not a picture")
    (folder / "figures" / "map-ps.png").write_text("of an earlier report")
    (folder / "figures" / "mine.png").write_text("my own")
    state, output = play(repository, results, "--check", "--diff")
    assert state == "changed", output
    assert re.search(r"-figures/map-ps\.png: 20 bytes, sha256 \w{12}\n", output)
    assert re.search(r"\+report\.html: \d+ bytes, sha256 \w{12}\n", output)
    assert "figures/speed-up" not in output
    assert not (folder / "report.html").exists()

    state, output = play(repository, results)
    assert state == "changed", output
    assert contents(folder) == {**made, "figures/mine.png": b"my own"}


def test_only_the_formats_that_are_asked_for(repository: Path, results: Path) -> None:
    state, output = play(repository, results, report_figures=["svg"])
    assert state == "changed", output
    assert {Path(name).suffix for name in contents(results / "sweep")} == {".html", ".svg"}
    state, output = play(repository, results, report_figures=[])
    assert state == "changed", output
    assert set(contents(results / "sweep")) == {"report.html"}
    state, output = play(repository, results, report_page=False)
    assert state == "skipping", output
    state, output = play(repository, results, report_figures=["gif"])
    assert state == "not reached"
    assert "value of report_figures must be one or more of: svg, png" in output


def test_a_misspelt_word_is_told_and_another_threshold_is_heeded(repository: Path, results: Path) -> None:
    state, output = play(repository, results, "-e", "nam=sweep")
    assert state == "not reached"
    assert "did you mean name?" in output
    assert not (results / "sweep" / "benchmark.json").exists()
    plan = json.loads((results / "sweep" / "plan.json").read_text())
    (results / "sweep" / "plan.json").write_text(json.dumps({**plan, "gain_threshold": 0.3}))
    for given, threshold in (({}, 0.3), ({"report_gain_threshold": 0.2}, 0.2), ({"report_gain_threshold": 0}, 0)):
        play(repository, results, report_page=False, **given)
        assert json.loads((results / "sweep" / "benchmark.json").read_text())["threshold"] == threshold


def test_without_matplotlib_the_summary_is_there_and_the_error_says_what_to_do(
    repository: Path, results: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "matplotlib.py").write_text("raise ImportError('No module named matplotlib')\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(hidden)
    try:
        state, output = play(repository, results)
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    assert state == "fatal", output
    assert "pictures need matplotlib on the controller" in output
    assert "python -m pip install matplotlib" in output
    assert (results / "sweep" / "summary.txt").is_file()
    assert not (results / "sweep" / "report.html").exists()
