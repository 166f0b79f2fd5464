"""What a benchmark says of GPUs: in its document, its doubts, its tables, its page, its comparison."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.plugin_utils import page
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_comparison import Side, comparison, unreadable
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import benchmark_document
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_tables import cells_csv, runs_csv, table
from ansible_collections.dtf.cluster.plugins.plugin_utils.gpu_use import gpu_models, gpu_use
from tests.fixtures.synthetic_runs import run_document, topology, with_gpus

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = {
    name: json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    for name in ("run", "benchmark")
}


def run(*shares: float | None, number: int = 1, seconds: float = 10.0, **more: Any) -> dict[str, Any]:
    """Return a run of as many workers as there are shares."""
    made = with_gpus(run_document(topology(len(shares)), seconds, number=number, repeat=number), *shares, **more)
    jsonschema.validate(made, SCHEMAS["run"], cls=jsonschema.Draft202012Validator)
    return made


def document(*runs: dict[str, Any]) -> dict[str, Any]:
    """Return their benchmark's, which keeps to its schema."""
    made = benchmark_document("b", runs)
    jsonschema.validate(made, SCHEMAS["benchmark"], cls=jsonschema.Draft202012Validator)
    return made


ONE, TWO = run(0.9), run(0.6, 0.8, number=2, seconds=6)
NO_GPU = run_document(topology(1), 10.0, number=9)


def test_a_worker_counts_once_in_each_run() -> None:
    use = gpu_use([TWO, run(0.7, 0.9, number=3)])
    assert use is not None
    assert (use["models"], use["unseen"]) == (["Tesla T4"], 0)
    assert use["utilisation"] == {"n": 4, "mean": pytest.approx(0.75), "minimum": 0.6, "maximum": 0.9}
    assert (use["memory_used_mib"], use["power_watts"]) == (1024, 60)


def test_runs_without_gpus_tell_nothing_of_them() -> None:
    assert gpu_use([NO_GPU]) is None
    assert gpu_models([NO_GPU]) == []


def test_what_does_not_tell_is_not_0() -> None:
    use = gpu_use([run(None, 0.5)])
    assert use is not None
    assert (use["utilisation"]["n"], use["utilisation"]["mean"]) == (1, 0.5)
    silent = gpu_use([run(None)])
    assert silent is not None
    assert silent["utilisation"] == {"n": 0, "mean": None, "minimum": None, "maximum": None}


def test_only_the_gpu_that_a_worker_computed_on_counts() -> None:
    made = run(0.9)
    (used,) = made["tasks"][1]["gpus"]
    idle = {**used, "uuid": "GPU-9", "used": False, "utilisation": {"mean": 0.0, "p95": 0.0, "max": 0.0}}
    made["tasks"][1]["gpus"] = [used, idle]
    use = gpu_use([made])
    assert use is not None
    assert (use["utilisation"]["n"], use["utilisation"]["mean"]) == (1, 0.9)
    # Which of several it was nobody knows: both models may be, and no share is.
    made["tasks"][1]["gpus"] = [{**used, "used": None}, {**idle, "used": None, "model": "NVIDIA A100"}]
    use = gpu_use([made])
    assert use is not None
    assert (use["models"], use["utilisation"]["n"]) == (["NVIDIA A100", "Tesla T4"], 0)


def test_a_cell_and_each_of_its_runs_have_models_and_shares() -> None:
    made = document(ONE, TWO)
    one, two = made["cells"]
    assert (one["gpu"]["utilisation"]["mean"], two["gpu"]["utilisation"]["mean"]) == (0.9, 0.7)
    assert two["runs"][0]["gpu"] == two["gpu"]
    assert made["environment"]["hosts"][0]["gpu_models"] == ["Tesla T4"]
    assert made["environment"]["versions"]["nvidia_driver"] == "550.54.15"
    assert made["doubts"] == []


def test_gpus_that_differ_are_doubted_and_told_in_the_environment() -> None:
    made = document(ONE, run(0.5, 0.5, number=2, seconds=6, model="NVIDIA A100"))
    (doubt,) = made["doubts"]
    assert (doubt["code"], doubt["run_id"], doubt["cell"]) == ("gpu_models", None, None)
    assert "Tesla T4 at 1 worker, 1 ps and NVIDIA A100 at 2 workers, 1 ps" in doubt["message"]
    differing = {entry["what"]: entry["values"] for entry in made["environment"]["differing"]}
    assert differing == {"GPUs of lab": ["Tesla T4", "NVIDIA A100"]}
    assert made["environment"]["hosts"][0]["gpu_models"] == ["NVIDIA A100", "Tesla T4"]
    within = document(ONE, run(0.5, number=2, model="NVIDIA A100"))
    (doubt,) = within["doubts"]
    assert (doubt["code"], doubt["cell"], doubt["seen"]) == ("gpu_models", 0, 2)


def test_a_gpu_that_tensorflow_did_not_find_is_doubted() -> None:
    made = document(run(0.0, 0.0, found=0))
    (doubt,) = made["doubts"]
    assert (doubt["code"], doubt["run_id"], doubt["seen"]) == ("gpu_unseen", "run-01", 2)
    assert "2 of 2 workers asked for GPUs and TensorFlow found none" in doubt["message"]
    (cell,) = made["cells"]
    assert (cell["gpu"]["unseen"], cell["gpu"]["models"], cell["gpu"]["utilisation"]["n"]) == (2, [], 0)


def rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def test_tables_have_columns_of_gpus_where_there_were_any() -> None:
    made = document(ONE, TWO)
    assert [(row["gpu_models"], row["gpu_utilisation_mean"]) for row in rows(cells_csv(made))] == [
        ("Tesla T4", "0.9"), ("Tesla T4", "0.7"),
    ]  # fmt: skip
    assert [row["gpu_utilisation_n"] for row in rows(runs_csv(made))] == ["1", "2"]
    assert "GPU busy" in table(made)
    assert "70%, n = 2" in table(made)
    assert "* workers computed on Tesla T4\n" in table(made) + "\n"
    without = document(NO_GPU)
    assert "gpu" not in cells_csv(without) + runs_csv(without)
    assert "GPU" not in table(without)


def test_a_cell_without_gpus_beside_one_with_them_has_empty_fields() -> None:
    made = document(NO_GPU, TWO)
    first, second = rows(cells_csv(made))
    assert (first["gpu_models"], first["gpu_utilisation_n"], second["gpu_utilisation_n"]) == ("", "", "2")
    assert "* workers computed on Tesla T4 (2 workers, 1 ps)" in table(made)


def test_the_page_shows_gpus_where_there_were_any() -> None:
    shown = page.page(document(ONE, TWO), [], "")
    assert "<td>Tesla T4</td>" in shown
    assert "70 (n = 2)" in shown
    assert "GPU busy %" in shown
    assert "nvidia driver" in shown
    assert "GPU" not in page.page(document(NO_GPU), [], "")


def test_a_comparison_lists_gpus_that_are_not_the_same() -> None:
    old = with_gpus(run_document(topology(1), 10.0), 0.9)
    new = with_gpus(run_document(topology(1), 5.0), 0.9, model="NVIDIA A100")
    new["environment"]["versions"]["nvidia_driver"] = "570.86.15"
    found = comparison(Side("a", [old]), Side("b", [new]))
    assert {entry["what"]: (entry["before"], entry["after"]) for entry in found["environment"]} == {
        "GPU model": (["Tesla T4"], ["NVIDIA A100"]),
        "version of nvidia driver": (["550.54.15"], ["570.86.15"]),
    }
    none = comparison(Side("a", [NO_GPU]), Side("b", [NO_GPU]))
    assert none["environment"] == []
    assert unreadable(old) is None
