"""The thesis's experiments, and what runs say of its readings: each claim obeyed, broken, left open, not measured."""

from __future__ import annotations

import html
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.plugin_utils.thesis_claims import (
    AGREES,
    CLAIMS,
    DISAGREES,
    NOT_MEASURED,
    NOT_SHOWN,
    Found,
    Model,
    Runs,
    judge,
)
from ansible_collections.dtf.cluster.plugins.plugin_utils.thesis_document import thesis_document
from ansible_collections.dtf.cluster.plugins.plugin_utils.thesis_experiments import EXPERIMENTS, GRIDS, planned
from ansible_collections.dtf.cluster.plugins.plugin_utils.thesis_figures import SAID
from ansible_collections.dtf.cluster.plugins.plugin_utils.thesis_page import thesis_files
from tests.fixtures.thesis_runs import Law, measured

from .schema_check import assert_exactly

ROOT = Path(__file__).resolve().parents[3]
BY_NAME = {claim.name: claim for claim in CLAIMS}
GRID = {
    "kind-workers": (range(2, 8), range(1, 6)),
    "kind-ps": (range(1, 7), range(1, 6)),
    "google-workers": (range(2, 13), range(2, 7)),
    "google-ps": (range(1, 8), range(2, 7)),
}


def model(
    name: str, law: Law, noise: float = 0.01, repeats: int = 5, seed: int = 1, nodes: Sequence[int] = ()
) -> Model:
    """Return the runs of an experiment that obeys a law, drifting from repeat to repeat."""
    chance = random.Random(seed)
    drift = [math.exp(chance.gauss(0, 0.2)) for _repeat in range(repeats)]
    xs, lines = GRID[name]
    cells = {
        (x, line): Runs(
            tuple(law(x, line) * drift[repeat] * math.exp(noise * chance.gauss(0, 1)) for repeat in range(repeats)),
            tuple(range(1, repeats + 1)),
        )
        for x in xs
        for line in nodes or lines
    }
    return Model(cells, name.rpartition("-")[2])


def verdict(claim: str, law: Law, **more: Any) -> Found:
    """Return what the runs of a law say of a claim."""
    return judge(BY_NAME[claim], model(BY_NAME[claim].experiment, law, **more))


def valley(at: int, steep: float) -> Law:
    """Return a law with a minimum, the same with any number of nodes."""
    return lambda x, _nodes: 10 * (1 + steep * abs(x - at))


def plateau(x: int, _nodes: int) -> float:
    """Fall like 1/n to six workers and stay there."""
    return 60 / min(x, 6)


def again(x: int, nodes: int) -> float:
    """Do the same, but rise again with two nodes."""
    return plateau(x, nodes) * (1 + 0.1 * max(0, x - 6) if nodes == 2 else 1)


def flat(_x: int, _nodes: int) -> float:
    """Take as long whatever there is."""
    return 10.0


OBEYED: dict[str, Law] = {
    "minimum-at-4": valley(4, 0.2),
    "minimum-at-5": valley(5, 0.2),
    "steep-rise": valley(4, 0.2),
    "three-nodes": lambda _x, nodes: 10 * (1 + 0.2 * abs(nodes - 3)),
    "ps-a-little": lambda ps, _nodes: 10 * (1.1 - 0.01 * ps),
    "one-over-n": plateau,
    "plateau": again,
    "two-nodes-rise": again,
    "ps-clearly": lambda ps, _nodes: 10 / ps,
}
BROKEN: dict[str, Law] = {
    "minimum-at-4": valley(6, 0.2),
    "minimum-at-5": valley(2, 0.2),
    "steep-rise": lambda x, _nodes: 10 / x,
    "three-nodes": lambda _x, nodes: 10 / nodes,
    "ps-a-little": lambda ps, _nodes: 10 * ps,
    "one-over-n": flat,
    "plateau": lambda x, _nodes: 60 / x,
    "two-nodes-rise": lambda x, _nodes: 60 / x,
    "ps-clearly": flat,
}
#: Laws of which runs as noisy as these cannot tell.
OPEN: dict[str, Law] = {
    **dict.fromkeys(("minimum-at-4", "minimum-at-5", "three-nodes", "ps-a-little", "two-nodes-rise"), flat),
    "steep-rise": lambda x, _nodes: 10 * (1 + 0.09 * max(0, x - 4)),
    "one-over-n": lambda x, _nodes: 60 / x ** (1 - math.log(1.25) / math.log(3)),
    "plateau": lambda x, _nodes: 60 / min(x, 6) * (1.1 if x > 6 else 1),
    "ps-clearly": lambda ps, _nodes: 12.5 if ps == 1 else 10.0,
}


@pytest.mark.parametrize("claim", BY_NAME)
def test_a_law_that_does_what_the_thesis_saw_agrees(claim: str) -> None:
    found = verdict(claim, OBEYED[claim])
    assert found.verdict == AGREES, found.sentence()
    assert all(entry.inside and not entry.outside for entry in found.comparisons)
    assert found.missing == ()


@pytest.mark.parametrize("claim", BY_NAME)
def test_a_law_that_does_otherwise_disagrees_and_says_where(claim: str) -> None:
    found = verdict(claim, BROKEN[claim])
    assert found.verdict == DISAGREES, found.sentence()
    for entry in found.comparisons:
        assert entry.outside or entry.label not in found.sentence()
    assert any(entry.label in found.sentence() for entry in found.comparisons)


@pytest.mark.parametrize("claim", BY_NAME)
def test_noise_leaves_a_law_at_the_bound_open(claim: str) -> None:
    verdicts = [verdict(claim, OPEN[claim], noise=0.1, seed=seed).verdict for seed in range(40)]
    # Five in a hundred wrong at most, by what the intervals promise; here two in forty are expected.
    assert verdicts.count(NOT_SHOWN) >= 35, verdicts


@pytest.mark.parametrize("claim", BY_NAME)
def test_what_was_not_measured_is_no_verdict(claim: str) -> None:
    found = judge(BY_NAME[claim], Model({}, "workers"))
    assert (found.verdict, found.comparisons) == (NOT_MEASURED, ())
    assert found.sentence() == "no run of this series"


@pytest.mark.parametrize("claim", BY_NAME)
def test_one_run_a_cell_shows_nothing(claim: str) -> None:
    assert verdict(claim, OBEYED[claim], repeats=1).verdict == NOT_SHOWN


def test_right_laws_are_rarely_called_wrong() -> None:
    wrong = {
        claim: sum(verdict(claim, law, noise=0.1, seed=seed).verdict == DISAGREES for seed in range(50))
        for claim, law in OBEYED.items()
    }
    assert max(wrong.values()) <= 3, wrong


def test_wrong_laws_are_rarely_called_right() -> None:
    wrong = {
        claim: sum(verdict(claim, law, noise=0.1, seed=seed).verdict == AGREES for seed in range(50))
        for claim, law in BROKEN.items()
    }
    assert max(wrong.values()) <= 3, wrong


def test_other_numbers_of_nodes_decide_nothing_and_are_told() -> None:
    found = verdict("one-over-n", plateau, nodes=[1])
    assert found.verdict == NOT_MEASURED
    assert found.comparisons == ()
    assert [entry.nodes for entry in found.elsewhere] == [1]
    assert "with 1 node the work of 6 workers" in found.sentence()


def test_a_part_of_the_nodes_is_judged_and_the_rest_named() -> None:
    found = verdict("minimum-at-4", valley(4, 0.2), nodes=[1, 2])
    assert found.verdict == AGREES
    assert {entry.nodes for entry in found.comparisons} == {2}
    assert found.missing == ("with 3 nodes 4 workers were not measured beside fewer and more",)


# --- what is measured ------------------------------------------------------------------------------------------------


def test_the_full_grid_is_the_thesis() -> None:
    for name, entry in planned("full", {}).items():
        thesis = next(experiment for experiment in EXPERIMENTS if experiment.name == name)
        assert [tuple(entry.words[word]) for word in ("workers", "ps", "nodes")] == [  # type: ignore[arg-type]
            thesis.workers,
            thesis.ps,
            thesis.nodes,
        ]
        assert (entry.words["steps"], entry.words["hidden_units"]) == (thesis.steps, thesis.hidden_units)
        assert entry.words["profile"] == "thesis"
        assert entry.left_out == ()
    kind, google = planned("full", {})["kind-ps"], planned("full", {})["google-ps"]
    assert kind.topology["ps"] == {"resources": {"limits": {"cpu": "1"}}}
    assert google.topology == {}


def test_the_quick_grid_has_what_the_claims_need() -> None:
    assert set(GRIDS) == {"full", "quick"}
    judged = {}
    for claim in CLAIMS:
        words = planned("quick", {})[claim.experiment].words
        varied = next(entry.varied for entry in EXPERIMENTS if entry.name == claim.experiment)
        cells = {
            (x, nodes): Runs((1.0, 1.1))
            for x in words[varied]  # type: ignore[attr-defined]
            for nodes in words["nodes"]  # type: ignore[attr-defined]
        }
        judged[claim.name] = judge(claim, Model(cells, varied)).verdict
    # Four and five nodes are the full grid's.
    assert [name for name, verdict in judged.items() if verdict == NOT_MEASURED] == ["minimum-at-5"]


def test_a_site_measures_the_nodes_it_has() -> None:
    alone = planned("full", {}, 1)
    assert [entry.words["nodes"] for entry in alone.values()] == [[1], [1], [1], [1]]
    assert any("in place of them" in line for line in alone["google-ps"].left_out)
    assert [entry.words["nodes"] for entry in planned("full", {}, 3).values()] == [[1, 2, 3]] * 2 + [[2, 3]] * 2
    assert any("nodes 4-5: there are 3" in line for line in planned("full", {}, 3)["kind-ps"].left_out)
    assert planned("quick", {"nodes": "1,2"}, 1)["kind-ps"].words["nodes"] == "1,2"


def test_words_replace_the_grid_but_not_what_the_other_series_varies() -> None:
    found = planned("quick", {"workers": "2,3", "ps": "1", "steps": "40", "name": "mine", "repeats": None})
    assert [found["kind-workers"].words[word] for word in ("workers", "ps", "steps")] == ["2,3", [2], "40"]
    assert [found["google-ps"].words[word] for word in ("workers", "ps", "steps")] == [[4], "1", "40"]
    assert found["kind-ps"].words["repeats"] == 3
    assert all("name" not in entry.words for entry in found.values())


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        planned("half", {"profile": "fast,thesis", "workers": "1,2"}, 1, ["kind", "kind-ps"])
    assert [problem.field for problem in caught.value.problems] == ["thesis_grid", "profile", "thesis_series"]


# --- the document ----------------------------------------------------------------------------------------------------


def everything() -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return runs of all experiments on a site of six nodes, as the thesis saw them."""

    def laptop(x: int, nodes: int) -> float:
        return valley(5 if nodes > 3 else 4, 0.2)(x, nodes) * (1 + 0.2 * abs(nodes - 3))

    laws: Mapping[str, Law] = {
        "kind-workers": laptop,
        "kind-ps": OBEYED["ps-a-little"],
        "google-workers": again,
        "google-ps": OBEYED["ps-clearly"],
    }
    return {name: measured(name, law, 6) for name, law in laws.items()}


def schema() -> dict[str, Any]:
    """Return the document's schema."""
    found: dict[str, Any] = json.loads((ROOT / "schemas/thesis.schema.json").read_text(encoding="utf-8"))
    return found


def test_the_document_of_runs_as_the_thesis_saw_them() -> None:
    document = thesis_document("thesis", everything())
    assert {claim["id"]: claim["verdict"] for claim in document["claims"]} == dict.fromkeys(BY_NAME, AGREES)
    assert document["verdicts"] == {"agrees": 9, "disagrees": 0, "not_shown": 0, "not_measured": 0}
    laptop = document["experiments"][0]
    assert [line["nodes"] for line in laptop["lines"]] == [1, 2, 3, 4, 5]
    assert laptop["lines"][1]["minimum"] == {"at": 4, "certain": True}
    assert laptop["lines"][4]["minimum"] == {"at": 5, "certain": True}
    # The warm-up is in no point.
    assert {len(point["runs"]) for line in laptop["lines"] for point in line["points"]} == {3}
    assert laptop["differences"][0] == "100 steps instead of 2 000"
    assert laptop["own_clock"]["low"] > 1
    assert document["experiments"][2]["here"]["words"]["hidden_units"] == 1000
    jsonschema.validate(document, schema(), cls=jsonschema.Draft202012Validator)


def test_the_document_is_what_the_schema_says_and_no_more() -> None:
    document = thesis_document("thesis", {"kind-ps": measured("kind-ps", flat, 1, ps="1,2", repeats=2)})
    assert_exactly(schema(), document)


def test_the_same_runs_give_the_same_document_in_any_order() -> None:
    runs = {"kind-workers": measured("kind-workers", valley(4, 0.2), 2)}
    turned = {name: (plan, list(reversed(documents))) for name, (plan, documents) in runs.items()}
    assert json.dumps(thesis_document("thesis", runs)) == json.dumps(thesis_document("thesis", turned))


def test_what_an_earlier_grid_has_left_is_no_part_of_this_one() -> None:
    plan, runs = measured("kind-workers", valley(4, 0.2), 1)
    _other, before = measured("kind-workers", flat, 1, steps=50)
    for run in before:
        run["run_id"] = "old-" + run["run_id"]
    document = thesis_document("thesis", {"kind-workers": (plan, [*runs, *before])})
    (line,) = document["experiments"][0]["lines"]
    assert {run["run_id"][:3] for point in line["points"] for run in point["runs"]} == {"run"}
    with pytest.raises(InvalidInput, match="steps"):
        thesis_document("thesis", {"kind-workers": (None, [*runs, *before])})


def test_nothing_measured_is_a_document_too() -> None:
    document = thesis_document("thesis", {})
    assert document["verdicts"]["not_measured"] == len(CLAIMS)
    assert document["answer"].startswith("None of the thesis's 9 readings could be compared")
    assert_exactly(schema(), document)


def test_a_run_that_did_not_begin_at_step_0_is_told_where_the_clock_is_explained() -> None:
    plan, runs = measured("kind-ps", flat, 1)
    runs[-1]["training"]["global_step_first"] = 40
    (clock, *_rest) = thesis_document("thesis", {"kind-ps": (plan, runs)})["reasons"]
    assert "1 did not begin at global step 0" in clock["text"]


def test_busy_machines_are_a_reason_of_their_own() -> None:
    plan, runs = measured("kind-ps", flat, 1)
    quiet = thesis_document("thesis", {"kind-ps": (plan, runs)})["reasons"]
    for run in runs:
        run["environment"]["hosts"][0]["load_before"] = 4.0
    busy = thesis_document("thesis", {"kind-ps": (plan, runs)})["reasons"]
    assert "What else the machine did" not in [reason["title"] for reason in quiet]
    assert "Of the 18 runs counted here 18 found a host busy" in busy[-1]["text"]


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_beside_itself_and_is_the_same_again() -> None:
    runs = {"kind-workers": measured("kind-workers", valley(4, 0.2), 3, workers="2,4,7")}
    document = thesis_document("thesis", runs)
    files = thesis_files(document, ["svg", "png"])
    assert sorted(files) == ["figures/kind-workers.png", "figures/kind-workers.svg", "thesis.html"]
    assert files == thesis_files(document, ["svg", "png"])
    text = files["thesis.html"].decode("utf-8")
    assert set(re.findall(r"https?://[^\"' )<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    for claim in document["claims"]:
        assert html.escape(claim["sentence"], quote=False).replace("'", "&#39;") in text
    assert text.count("Nothing of it was measured here") == 3
    # Every run and every mean can be pointed at; nothing of the thesis can, which has no points.
    tips = len(re.findall("data-tip=", text))
    assert tips == 2 * (27 + 9)


def test_what_a_document_says_is_no_markup() -> None:
    plan, runs = measured("kind-ps", flat, 1, ps="1,2")
    plan["cells"][0]["unfit"] = "<script>alert(1)</script>"
    text = thesis_files(thesis_document("<b>mine</b>", {"kind-ps": (plan, runs)}), [])["thesis.html"].decode("utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "<b>mine" not in text


@pytest.mark.parametrize("name", GRID)
def test_each_figure_says_what_the_thesis_read(name: str) -> None:
    said = {"kind-workers": "thesis: minimum", "google-workers": "thesis: like 1/n", **SAID}[name]
    document = thesis_document("thesis", {name: measured(name, lambda x, _nodes: 10 / x, 2, repeats=2)})
    assert said in thesis_files(document, ["svg"])[f"figures/{name}.svg"].decode("utf-8")
