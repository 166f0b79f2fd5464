"""``compare.yml`` as a pipeline calls it: what it shows, and what it ends with."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.synthetic_runs import results_folder, usl

from .conftest import Desk

WORDS = {"workers": "1,2", "repeats": 5}
LAW = usl(100, 0.1)


@pytest.fixture
def pipeline(desk: Desk) -> Desk:
    """Two benchmarks of one law, one of a slower law, one of a slightly slower one on another version."""
    results_folder(desk.results / "a", LAW, 0.01, WORDS)
    results_folder(desk.results / "again", LAW, 0.01, WORDS, seed=2)
    results_folder(desk.results / "slow", lambda cell: 1.5 * LAW(cell), 0.01, WORDS, seed=3)
    results_folder(desk.results / "slightly", lambda cell: 1.03 * LAW(cell), 0.001, WORDS, seed=4)
    for path in (desk.results / "slightly").glob("*/run.json"):
        document = json.loads(path.read_text())
        document["environment"]["versions"]["tensorflow"] = "2.99"
        path.write_text(json.dumps(document))
    return desk


def test_a_pipeline_ends_where_a_cell_is_slower_and_goes_on_where_none_is(pipeline: Desk) -> None:
    code, output = pipeline.compare("a", "again")
    assert code == 0, output
    assert "both in the same environment" in output
    assert "Of 2 cells: 2 no difference shown." in output
    assert "could not have been seen" in output

    before = sorted(pipeline.results.rglob("*"))
    code, output = pipeline.compare("a", "slow")
    assert code == 2, output
    assert "2 of 2 cells fail the comparison (fail_on slower)" in output
    assert output.index("verdict") < output.index("2 of 2 cells fail"), "the table comes first"
    assert sorted(pipeline.results.rglob("*")) == before, "nothing is written unless it is asked for"

    assert pipeline.compare("a", "slow", "-ecompare_fail_on=never")[0] == 0
    assert pipeline.compare("slow", "a")[0] == 0, "faster is no failure"
    assert pipeline.compare("slow", "a", "-ecompare_fail_on=difference")[0] == 2


def test_a_threshold_forgives_what_is_small_and_another_version_is_told_first(pipeline: Desk) -> None:
    code, output = pipeline.compare("a", "slightly")
    assert code == 2, output
    assert output.index("! version of tensorflow: 2.15 before, 2.99 after") < output.index("1 worker, 1 ps")
    out = pipeline.results / "out"
    code, output = pipeline.compare("a", "slightly", "-ethreshold=0.05", f"-ecompare_output={out}")
    assert code == 0, output
    assert "changed=1" in output
    assert json.loads((out / "comparison.json").read_text())["threshold"] == 0.05
    assert (out / "comparison.txt").read_text().strip() in output.replace("\r", "")
    assert "changed=0" in pipeline.compare("a", "slightly", "-ethreshold=0.05", f"-ecompare_output={out}")[1]


def test_everything_that_is_wrong_comes_in_one_message(pipeline: Desk) -> None:
    (pipeline.results / "a" / "broken").mkdir()
    (pipeline.results / "a" / "broken" / "run.json").write_text("{")
    code, output = pipeline.compare("a", "gone", "-ethreshold=much")
    assert code == 2
    assert "the comparison: 3 problems" in output
    assert "broken/run.json" in output
    code, output = pipeline.compare("again", "slow", "-etreshold=0.05")
    assert code == 2
    assert "did you mean threshold?" in output
