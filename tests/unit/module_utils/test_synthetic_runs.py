"""The run documents that tests make up are documents: they keep to the schema, add up, and leave nothing to doubt."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.benchmark_directory import read_plan, read_runs
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import benchmark_document
from tests.fixtures.synthetic_runs import results_folder, run_document, topology, usl


@pytest.mark.parametrize("state", ["succeeded", "failed", "stopped"])
@pytest.mark.parametrize("runtime", ["process", "kubernetes"])
def test_a_document_keeps_to_the_schema(repository: Path, runtime: str, state: str) -> None:
    schema = json.loads((repository / "schemas/run.schema.json").read_text(encoding="utf-8"))
    made = run_document(topology(3, runtime=runtime, ps={"replicas": 2}), 12.5, state, repeat=1)
    jsonschema.validate(made, schema, cls=jsonschema.Draft202012Validator)


def test_a_folder_is_read_as_a_benchmark_and_its_law_is_found(tmp_path: Path) -> None:
    law = usl(60.0, contention=0.08)
    written = results_folder(tmp_path, law, 0.02, {"workers": "1,2,4", "ps": "1,2", "repeats": 4}, drift=0.05)
    runs, plan = read_runs(tmp_path), read_plan(tmp_path)
    assert sorted(map(str, runs)) == sorted(map(str, written))
    made = benchmark_document("b", runs, plan)
    assert made["doubts"] == []
    assert [cell["training_seconds"]["n"] for cell in made["cells"]] == [4] * 6
    for cell in made["cells"]:
        if cell["speed_up"] is not None:
            truth = law({"workers": 1}) / law(cell["cell"])
            assert (cell["speed_up"]["design"], cell["speed_up"]["n"]) == ("paired", 4)
            assert cell["speed_up"]["value"] == pytest.approx(truth, rel=0.05)
