"""Two benchmarks side by side: a true difference is found, none is made up, and what could not be seen is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.dtf.cluster.plugins.action.benchmark_compare import ActionModule
from ansible_collections.dtf.cluster.plugins.module_utils.stats import PHASES
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_comparison import Side, comparison, table
from tests.fixtures.synthetic_runs import Document, Law, results_folder, run_document, sweep_documents, topology, usl

from .schema_check import assert_exactly

WORDS = {"workers": "1,2", "repeats": 5}
LAW = usl(100, 0.1)


def slower(factor: float, workers: int | None = None) -> Law:
    """Return the law with all cells, or those of so many workers, slower by a factor."""
    return lambda cell: LAW(cell) * (factor if workers in (None, cell["workers"]) else 1)


def runs(law: Law = LAW, noise: float = 0.02, seed: int = 1) -> list[Document]:
    return sweep_documents(WORDS, law, noise, seed)[1]


def compared(before: list[Document], after: list[Document], **how: Any) -> dict[str, Any]:
    return comparison(Side("results/a", before), Side("results/b", after), **how)


def verdicts(document: dict[str, Any]) -> list[str]:
    return [cell["verdict"] for cell in document["cells"]]


@pytest.mark.parametrize(("factor", "verdict"), [(1.15, "slower"), (0.85, "faster")])
def test_a_true_difference_is_found_where_it_is(factor: float, verdict: str) -> None:
    found = [compared(runs(seed=seed), runs(slower(factor, 2), seed=1000 + seed)) for seed in range(100)]
    cells = [document["cells"][1] for document in found]
    assert sum(cell["verdict"] == verdict for cell in cells) >= 97
    assert all(document["cells"][0]["training_seconds"]["value"] == pytest.approx(1, abs=0.1) for document in found)


@pytest.mark.parametrize("noise", [0.02, 0.15])
def test_the_same_law_twice_shows_no_difference(noise: float) -> None:
    """In 300 comparisons of what is the same, intervals of 95 % are wrong in about 15."""
    found = [compared(runs(noise=noise, seed=seed), runs(noise=noise, seed=1000 + seed)) for seed in range(150)]
    shown = [cell["verdict"] for document in found for cell in document["cells"]]
    assert 0.93 <= shown.count("no_difference") / len(shown) <= 0.98
    assert all(cell["statement"].startswith("shows no difference: ") for document in found for cell in document["cells"]
               if cell["verdict"] == "no_difference")  # fmt: skip


def test_no_difference_tells_how_large_a_one_would_have_been_shown() -> None:
    """A true difference of that size is shown in about half of such comparisons; twice as large, nearly always."""
    visible = [
        cell["visible_difference"]
        for seed in range(100)
        for cell in compared(runs(noise=0.05, seed=seed), runs(noise=0.05, seed=1000 + seed))["cells"]
        if cell["verdict"] == "no_difference"
    ]
    usual = sorted(visible)[len(visible) // 2]
    shown = {}
    for times in (1, 2):
        law = slower(1 + times * usual)
        documents = [compared(runs(noise=0.05, seed=seed), runs(law, 0.05, 1000 + seed)) for seed in range(100)]
        shown[times] = sum(cell["verdict"] == "slower" for document in documents for cell in document["cells"]) / 200
    assert 0.35 <= shown[1] <= 0.65
    assert shown[2] >= 0.93


def test_a_difference_below_the_threshold_does_not_count() -> None:
    document = compared(runs(noise=0.002), runs(slower(1.04), 0.002, seed=2))
    assert verdicts(document) == ["slower", "slower"]
    calm = compared(runs(noise=0.002), runs(slower(1.04), 0.002, seed=2), threshold=0.05)
    assert verdicts(calm) == ["no_difference", "no_difference"]
    assert "shows no difference beyond 5 %" in calm["cells"][0]["statement"]
    assert calm["cells"][0]["visible_difference"] > 0.05
    assert verdicts(compared(runs(noise=0.002), runs(slower(0.9), 0.002, seed=2), threshold=0.05)) == ["faster"] * 2


def test_what_is_not_the_same_around_them_is_listed_first() -> None:
    before, after = runs(), runs(seed=2)
    assert compared(before, after)["environment"] == []
    for run in after:
        place = run["environment"]
        place["hosts"][0].update(name="other", cpu_model="faster cpu", memory_bytes=2**33 + 2**20, kernel="6")
        place["versions"]["tensorflow"] = "2.21"
        place["data_sha256"]["train-images-idx3-ubyte"] = "2" * 64
    after[0]["environment"]["versions"]["tensorflow"] = "2.20"
    document = compared(before, after)
    assert document["environment"] == [
        {"what": "hosts", "before": ["lab"], "after": ["other"]},
        {"what": "CPU model", "before": ["cpu"], "after": ["faster cpu"]},
        {"what": "version of tensorflow", "before": ["2.15"], "after": ["2.20", "2.21"]},
        {"what": "sha256 of train-images-idx3-ubyte", "before": ["1" * 64], "after": ["2" * 64]},
    ]
    lines = table(document).splitlines()
    assert lines[2] == "! hosts: lab before, other after"
    assert next(place for place, line in enumerate(lines) if line.startswith("cell ")) > 5


def test_words_match_cells_and_names_and_addresses_of_hosts_do_not_matter() -> None:
    elsewhere = topology(1, hosts=[{"name": "other", "address": "192.0.2.1"}], name="other")
    before = [run_document(topology(1), 10 + place / 10, number=place) for place in range(3)]
    after = [run_document(elsewhere, 10 + place / 10, number=place) for place in range(3)]
    assert verdicts(compared(before, after)) == ["no_difference"]


def test_cells_of_one_side_only_are_listed() -> None:
    before = [*runs(), run_document(topology(4), 20)]
    after = [*runs(seed=2), run_document(topology(8), 10), run_document(topology(8), 10, "failed", number=2)]
    document = compared(before, after)
    assert [(entry["label"], entry["succeeded"]) for entry in document["only_before"]] == [("4 workers, 1 ps", 1)]
    assert [(entry["label"], entry["succeeded"]) for entry in document["only_after"]] == [("8 workers, 1 ps", 1)]
    assert "* only before: 4 workers, 1 ps (n = 1)" in table(document)


def test_warm_ups_and_failed_runs_are_told_and_not_counted() -> None:
    calm = compared(runs(), runs(seed=2))
    strange = [
        run_document(topology(1), 1000.0, number=50, repeat=0),
        run_document(topology(1), 1000.0, "failed", number=51, repeat=3),
        run_document(topology(2), 1000.0, "stopped", number=52, repeat=3),
    ]
    document = compared(runs(), [*runs(seed=2), *strange])
    for cell, other in zip(document["cells"], calm["cells"], strict=True):
        assert cell["training_seconds"] == other["training_seconds"]
    told = {key: document["after"][key] for key in ("runs", "succeeded", "failed", "stopped", "warm_up")}
    # Of the sweep itself a warm-up too.
    assert told == {"runs": 14, "succeeded": 10, "failed": 1, "stopped": 1, "warm_up": 2}
    assert "10 runs (1 failed, 1 stopped, 2 warm-ups not counted)" in table(document)


def test_a_cell_that_no_longer_succeeds_is_no_better_than_a_slower_one() -> None:
    failed = [run_document(topology(2), 5, "failed", number=place) for place in range(2)]
    other = [run for run in runs(seed=2) if run["spec"]["workers"]["replicas"] == 1]
    document = compared(runs(), [*other, *failed])
    assert verdicts(document) == ["no_difference", "broken"]
    assert document["cells"][1]["statement"] == "has no successful run after (2 failed)"
    assert document["failed"]
    mended = compared([*other, *failed], runs())
    assert (verdicts(mended)[1], mended["failed"]) == ("mended", False)
    assert verdicts(compared([*other, *failed], [*other, *failed]))[1] == "unmeasured"


@pytest.mark.parametrize(
    ("law", "failing"),
    [
        (slower(1.3), {"slower": True, "difference": True, "never": False}),
        (slower(0.7), {"slower": False, "difference": True, "never": False}),
        (LAW, {"slower": False, "difference": False, "never": False}),
    ],
)
def test_what_a_pipeline_fails_on(law: Law, failing: dict[str, bool]) -> None:
    found = {way: compared(runs(), runs(law, seed=2), fail_on=way)["failed"] for way in failing}
    assert found == failing


def test_single_runs_show_no_difference_and_say_why() -> None:
    document = compared([run_document(topology(1), 10)], [run_document(topology(1), 99)])
    (cell,) = document["cells"]
    assert (cell["verdict"], cell["visible_difference"]) == ("no_difference", None)
    assert "repeats=3 or more" in cell["statement"]


def test_what_is_suspicious_of_a_run_is_told_beside_its_cell() -> None:
    after = runs(seed=2)
    after[-1]["training"]["global_step_first"] = 50
    document = compared(runs(), after)
    assert sorted(code for cell in document["cells"] for code in cell["after"]["doubts"]) == ["first_step", "steps"]
    assert "doubts after: first_step, steps" in table(document)


def test_old_run_documents_are_read() -> None:
    old = runs()
    for run in old:
        run["schema"] = "dtf.run/1"
        del run["benchmark"], run["platform"]
        for host in run["environment"]["hosts"]:
            del host["load_before"], host["clock_ahead_seconds"]
    document = compared(old, runs(seed=2))
    assert document["before"]["warm_up"] == 0
    assert verdicts(document) == ["no_difference", "no_difference"]


def test_the_document_is_as_its_schema_says_and_the_same_each_time(repository: Path) -> None:
    schema = json.loads((repository / "schemas/comparison.schema.json").read_text())
    before = [*runs(), run_document(topology(4), 20)]
    after = [*runs(slower(1.3), seed=2), run_document(topology(8), 10, "failed")]
    after[0]["environment"]["versions"]["tensorflow"] = "2.21"
    document = compared(before, after)
    assert_exactly(schema, json.loads(json.dumps(document)))
    assert compared(before[::-1], after[::-1]) == document


def answer(check_mode: bool = False, **arguments: object) -> dict[str, Any]:
    """Return the result of the action."""
    task = Mock(args=arguments, async_val=0, check_mode=check_mode)
    action = ActionModule(task, Mock(), Mock(check_mode=check_mode), Mock(), Mock(), Mock())
    result: dict[str, Any] = action.run(task_vars={})
    return result


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, object]:
    """Two benchmarks of the same law."""
    results_folder(tmp_path / "a", LAW, 0.02, WORDS)
    results_folder(tmp_path / "b", LAW, 0.02, WORDS, seed=2)
    return {"before": str(tmp_path / "a"), "after": str(tmp_path / "b")}


def test_nothing_is_written_unless_a_place_is_given(folders: dict[str, object], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = answer(**folders)
    assert (result["changed"], result["path"]) == (False, None)
    assert sorted(tmp_path.rglob("*")) == before
    out = tmp_path / "deep" / "out"
    assert answer(check_mode=True, output=str(out), **folders)["changed"]
    assert not out.parent.exists()
    assert answer(output=str(out), **folders)["changed"]
    assert json.loads((out / "comparison.json").read_text()) == result["comparison"]
    assert (out / "comparison.txt").read_text() == result["table"]
    assert not answer(output=str(out), **folders)["changed"]


def test_a_slower_cell_fails_the_task_after_it_was_written(folders: dict[str, object], tmp_path: Path) -> None:
    results_folder(tmp_path / "c", slower(1.4, 2), 0.02, WORDS, seed=3)
    result = answer(**{**folders, "after": str(tmp_path / "c")}, output=str(tmp_path / "out"))
    assert result["failed"]
    assert result["failure"]["code"] == "differs"
    assert result["msg"].startswith("1 of 2 cells fail the comparison (fail_on slower): 2 workers, 1 ps takes ")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["failed"]


def problems(**arguments: object) -> dict[str, tuple[object, str]]:
    """Return field to value and accepted form of each problem."""
    with pytest.raises(AnsibleActionFail) as raised:
        answer(**arguments)
    told = raised.value.result["failure"]["problems"]
    return {problem["field"]: (problem["value"], problem["accepted"]) for problem in told}


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    for name, text in (("x", "{"), ("y", '{"schema": "dtf.run/9"}'), ("z", '{"schema": "dtf.run/2"}')):
        (tmp_path / "a" / name).mkdir(parents=True)
        (tmp_path / "a" / name / "run.json").write_text(text)
    (tmp_path / "file").touch()
    found = problems(
        before=str(tmp_path / "a"),
        after=str(tmp_path / "gone"),
        threshold="much",
        fail_on="always",
        output=str(tmp_path / "file"),
    )
    assert set(found) == {
        "before: x/run.json", "before: y/run.json", "before: z/run.json", "after", "threshold", "fail_on", "output"
    }  # fmt: skip
    assert found["before: y/run.json"][1] == "a run document of schema dtf.run/1 or dtf.run/2, not dtf.run/9"
    assert "KeyError: 'spec'" in found["before: z/run.json"][1]
    assert found["threshold"] == ("much", "a number from 0 and at most 0.99")
    assert found["fail_on"] == ("always", "one of slower, difference, never")


def test_a_folder_without_runs_and_the_same_folder_twice(folders: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "has none" in problems(**{**folders, "after": str(tmp_path / "empty")})["after"][1]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    twice = problems(before=folders["before"], after=str(tmp_path / "link"))
    assert twice == {"after": (str(tmp_path / "link"), "another folder than before")}
    assert set(problems(before="", after="")) == {"before", "after"}


def test_folders_that_share_no_cell_are_no_comparison(folders: dict[str, object], tmp_path: Path) -> None:
    results_folder(tmp_path / "c", LAW, 0.02, {**WORDS, "steps": 7})
    with pytest.raises(AnsibleActionFail, match=r"no cell is on both sides: steps is \d+ before and 7 after"):
        answer(**{**folders, "after": str(tmp_path / "c")})


def test_start_up_is_compared_too() -> None:
    after = runs(seed=2)
    for run in after:
        run["phases"]["connect"] += 1
        run["wall_seconds"] += 1
    (cell, _other) = compared(runs(), after)["cells"]
    assert set(PHASES) >= {"connect"}
    assert cell["startup_seconds"]["value"] == pytest.approx((7 * 0.25 + 1) / (7 * 0.25))
    assert cell["training_seconds"]["value"] == pytest.approx(1 / cell["steps_per_second"]["value"], rel=1e-4)
