"""``autoscale.yml``: sizes are measured once each, whatever breaks it off; the topology is left at the right one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import jsonschema
import pytest

from .conftest import Desk

#: As few runs as can be told from noise; what they come to is noise.
FEW = {"autoscale_min_repeats": 2, "autoscale_max_repeats": 2, "benchmark_warm_up": "false"}


@pytest.fixture
def scaled(desk: Desk) -> Desk:
    """A desk whose searches use ports of their own, as its benchmarks do."""
    groups = desk.variables["benchmark_topology"]
    assert isinstance(groups, dict)
    desk.variables.update(autoscale_ps=groups["ps"], autoscale_workers=groups["workers"])
    return desk


def counted(desk: Desk) -> Counter[int]:
    """Return how many runs of each size count."""
    return Counter(
        run["spec"]["workers"]["replicas"]  # type: ignore[index]
        for run in desk.runs("autoscale")
        if run["state"] == "succeeded" and run["benchmark"]["repeat"] != 0  # type: ignore[index]
    )


@pytest.mark.timeout(900)
def test_an_interrupted_search_goes_on_and_leaves_the_topology_at_the_size_it_found(
    scaled: Desk, repository: Path
) -> None:
    words = {"max_workers": 2, "steps": 600, **FEW}
    begun = scaled.begin("autoscale.yml", **words)
    begun.until(lambda: [run["state"] for run in scaled.runs("autoscale")].count("succeeded") == 2)
    begun.until(lambda: (status := scaled.status("autoscale")) is not None and status["state"] == "running")
    begun.interrupt()
    first = [run for run in scaled.runs("autoscale") if run["state"] == "succeeded"]
    assert [run["spec"]["workers"]["replicas"] for run in first] == [1, 1]  # type: ignore[index]
    assert not (scaled.results / "demo").exists()

    played = scaled.play("autoscale.yml", **words).succeeded()
    assert "autoscale: 2 runs with 1 worker" not in played.output
    again = [run for run in scaled.runs("autoscale") if run["state"] == "succeeded"]
    assert again[:2] == first
    assert all(count == 2 for count in counted(scaled).values())
    assert set(counted(scaled)) == {1, 2}

    document = json.loads((scaled.results / "autoscale" / "autoscale.json").read_text())
    schema = json.loads((repository / "schemas/autoscale.schema.json").read_text())
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    assert document["finished"]
    assert document["answer"] in played.output
    (trained,) = scaled.runs("demo")
    assert trained["state"] == "succeeded"
    assert trained["spec"]["workers"]["replicas"] == document["workers"]  # type: ignore[index]
    assert trained["spec"]["training"]["steps"] == 600  # type: ignore[index]

    quiet = scaled.play("autoscale.yml", **words).succeeded()
    assert quiet.changed == 0
    assert document["answer"] in quiet.output
    assert len(scaled.runs("demo")) == 1
    assert len([run for run in scaled.runs("autoscale") if run["state"] == "succeeded"]) == len(again)


def test_check_mode_says_what_would_be_measured_first_and_measures_nothing(scaled: Desk) -> None:
    scaled.prepared = False
    played = scaled.play("autoscale.yml", "--check", max_workers=4).succeeded()
    assert "autoscale: 3 runs with 1 worker: everything is compared with it" in played.output
    assert not scaled.results.exists()


def test_what_cannot_be_asked_for_is_told_at_once_and_before_anything(scaled: Desk) -> None:
    refused = scaled.play("autoscale.yml", workers=3, repeats=2, max_workers="many", threshold=-1)
    assert refused.code != 0
    for said in ("workers: '3' is not valid", "repeats: '2'", "max_workers: 'many'", "threshold: '-1'"):
        assert said in refused.output
    misspelt = scaled.play("autoscale.yml", max_worker=4)
    assert "did you mean max_workers?" in misspelt.output
    # A number that is given as one, and that a template takes for none.
    nothing = scaled.play("autoscale.yml", "-e", '{"max_workers": 0}')
    assert "max_workers: 0 is not valid" in nothing.output
    for played in (refused, misspelt, nothing):
        assert "PLAY [Prepare the hosts]" not in played.output
    assert not scaled.results.exists()


def test_a_size_that_has_no_place_bounds_the_search(scaled: Desk) -> None:
    workers = scaled.variables["autoscale_workers"]
    assert isinstance(workers, dict)
    scaled.variables["autoscale_workers"] = {**workers, "memory_mb": 400000}
    refused = scaled.play("autoscale.yml", max_workers=4, steps=300, **FEW)
    assert refused.code != 0
    assert "one worker cannot be measured: localhost has" in refused.output
    assert scaled.runs("autoscale") == []
