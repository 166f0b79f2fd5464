"""What is noted of the run that is being made, for whoever comes after a playbook that was broken off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.benchmark_directory import NOTE, interrupted_run, note_run
from tests.fixtures.synthetic_runs import topology

RUN = {"name": "b", "repeat": 1, "number": 2, "seed": 1}


@pytest.mark.parametrize(
    ("runtime", "where"),
    [
        ("process", {"runtime": "process", "hosts": ["lab"], "namespace": None}),
        ("kubernetes", {"runtime": "kubernetes", "hosts": [], "namespace": "default"}),
    ],
)
def test_a_note_tells_which_run_it_was_and_where(tmp_path: Path, runtime: str, where: dict[str, object]) -> None:
    assert interrupted_run(tmp_path) is None
    note_run(tmp_path, RUN, ["r1"], topology(1, runtime=runtime).as_dict())
    assert interrupted_run(tmp_path) == {"benchmark": RUN, "where": where}


def test_a_run_that_has_its_document_was_not_interrupted(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        (tmp_path / name).mkdir()
    (tmp_path / "r1" / "run.json").write_text("{}")
    note_run(tmp_path, RUN, ["r1"], topology(1).as_dict())
    assert interrupted_run(tmp_path) is not None
    (tmp_path / "r2" / "run.json").write_text("{}")
    assert interrupted_run(tmp_path) is None


def test_a_note_of_an_earlier_version_does_not_tell_where(tmp_path: Path) -> None:
    (tmp_path / NOTE).write_text(json.dumps({"benchmark": RUN, "known": []}))
    assert interrupted_run(tmp_path) == {"benchmark": RUN, "where": None}
