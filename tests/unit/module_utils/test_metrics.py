"""A benchmark for Prometheus: every measure once, well named, read back as it was written; and a dashboard of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.dtf.cluster.plugins.action.benchmark_metrics import ActionModule
from ansible_collections.dtf.cluster.plugins.module_utils.grid import CELL_WORDS
from ansible_collections.dtf.cluster.plugins.module_utils.stats import PHASES
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import benchmark_document
from ansible_collections.dtf.cluster.plugins.plugin_utils.metrics import PREFIX, metrics
from tests.fixtures.synthetic_runs import Document, run_document, sweep_documents, topology, usl, with_gpus

ROOT = Path(__file__).resolve().parents[3]
#: What a name may end with: base units, as Prometheus wants them, and counts of things.
UNITS = re.compile(
    r"_(seconds|ratio|steps_per_second|nats|watts|bytes|workers|runs|outliers|restarts|doubts|of_kind|certain|info"
    r"|timestamp_seconds)$"
)


def with_platform(runs: list[Document]) -> list[Document]:
    """Return the runs with what a cluster took beside each of them, a fifth of all more or less."""

    def parts(place: int) -> list[Document]:
        taken = (("kubelet", 2.0 + place % 3 / 100), ("trainer", 8.0))
        return [{"host": "lab", "part": part, "cpu_seconds": cpu, "memory_bytes": 2**20} for part, cpu in taken]

    return [
        {**run, "platform": {"source": "cgroup", "seconds": 10.0, "parts": parts(place), "notes": []}}
        for place, run in enumerate(runs)
    ]


def _with_a_gpu(cell: Document) -> Document:
    """Return a plan's cell whose workers have a GPU each."""
    workers = {**cell["topology"]["workers"], "gpus": 1}
    return {**cell, "topology": {**cell["topology"], "workers": workers}}


@pytest.fixture(scope="module")
def document() -> Document:
    """A benchmark of processes and pods that has everything a document can have, doubts, failures and GPUs too."""
    words = {"workers": "1,2,4,8", "runtime": "process,kubernetes", "repeats": 4}
    plan, runs = sweep_documents(words, usl(100, 0.2, 0.05), 0.02)
    runs.append(run_document(topology(2), 5, "failed", number=90, repeat=2))
    runs[-2]["training"]["global_step_first"] = 7
    plan["cells"] = [_with_a_gpu(cell) for cell in plan["cells"]]
    runs = [with_gpus(run, *[0.5] * run["spec"]["workers"]["replicas"]) for run in runs]
    made = benchmark_document("sweep", with_platform(runs), plan)
    assert made["price"]
    assert made["series"][0]["scaling"]["knee"]["size"]
    assert made["doubts"]
    return made


def read(text: str) -> dict[str, Any]:
    """Return each metric by its name, as Prometheus' own reader has it."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_it_is_read_back_as_it_was_written(document: Document) -> None:
    families = read(metrics(document))
    assert {family.type for family in families.values()} == {"gauge"}
    seconds = families[PREFIX + "training_mean_seconds"].samples
    assert [sample.value for sample in seconds] == [cell["training_seconds"]["mean"] for cell in document["cells"]]
    assert [sample.labels["cell"] for sample in seconds] == [cell["label"] for cell in document["cells"]]
    for sample, cell in zip(seconds, document["cells"], strict=True):
        assert sample.labels["benchmark"] == "sweep"
        for word in CELL_WORDS:
            value = cell["cell"][word]
            expected = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            assert sample.labels[word] == expected
    low = families[PREFIX + "training_mean_low_seconds"].samples
    assert [sample.value for sample in low] == [
        cell["training_seconds"]["interval"]["low"] for cell in document["cells"]
    ]
    phases = {
        (sample.labels["cell"], sample.labels["phase"]) for sample in families[PREFIX + "phase_mean_seconds"].samples
    }
    assert len(phases) == len(document["cells"]) * len(PHASES)
    (failed,) = [
        sample for sample in families[PREFIX + "runs"].samples if sample.labels["state"] == "failed" and sample.value
    ]
    assert (failed.labels["cell"], failed.value) == ("2 workers, 1 ps, 1 node, runtime process", 1)
    knees = {series["label"]: series["scaling"]["knee"]["size"] for series in document["series"]}
    told = {sample.labels["series"]: sample.value for sample in families[PREFIX + "knee_workers"].samples}
    assert told == {label: size for label, size in knees.items() if size is not None}
    assert sum(sample.value for sample in families[PREFIX + "doubts_of_kind"].samples) == len(document["doubts"])
    (ratio, *_others) = families[PREFIX + "price_training_ratio"].samples
    assert ratio.value == document["price"][0]["training_seconds"]["value"]
    assert families[PREFIX + "price_platform_ratio"].samples[0].value == pytest.approx(0.2, abs=0.01)
    busy = families[PREFIX + "gpu_utilisation_mean_ratio"].samples
    assert [sample.value for sample in busy] == [0.5] * len(document["cells"])
    assert {sample.labels["model"] for sample in families[PREFIX + "gpu_info"].samples} == {"Tesla T4"}
    assert families[PREFIX + "gpu_memory_used_mean_bytes"].samples[0].value == 2**30


def test_names_say_what_prometheus_wants_them_to_say(document: Document) -> None:
    text = metrics(document)
    families = read(text)
    for name, family in families.items():
        assert re.fullmatch(PREFIX + r"[a-z]+(_[a-z]+)*", name)
        assert UNITS.search(name), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), "those are counters' and histograms'"
        assert family.documentation.endswith(".")
        assert len({frozenset(sample.labels) for sample in family.samples}) == 1, (
            f"{name}: the same labels in each sample"
        )
        assert all(sample.timestamp is None for sample in family.samples), "a textfile collector refuses them"
    samples = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples))
    assert [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")] == list(families)
    assert text.endswith("\n")


def test_what_was_not_measured_has_no_sample() -> None:
    text = metrics(benchmark_document("b", [run_document(topology(1), state="failed")]))
    families = read(text)
    assert PREFIX + "training_mean_seconds" not in families
    assert PREFIX + "speed_up_ratio" not in families
    assert not [name for name in families if "gpu" in name]
    assert [sample.value for sample in families[PREFIX + "training_runs"].samples] == [0]
    assert "nan" not in text.lower().replace("nanos", "")
    single = read(metrics(benchmark_document("b", [run_document(topology(1))])))
    assert PREFIX + "training_mean_seconds" in single
    assert PREFIX + "training_mean_low_seconds" not in single
    assert metrics(benchmark_document("nothing", [])).startswith("# HELP")


def test_labels_may_hold_anything_and_cells_with_the_same_words_are_told_apart(document: Document) -> None:
    strange = 'a "b" \\ c\nd'
    changed = json.loads(json.dumps(document))
    for cell in changed["cells"]:
        cell["label"] = strange
    samples = read(metrics(changed))[PREFIX + "training_mean_seconds"].samples
    assert [sample.labels["cell"] for sample in samples][:2] == [strange, strange + " (2)"]
    assert len({sample.labels["cell"] for sample in samples}) == len(changed["cells"])


def answer(check_mode: bool = False, **arguments: object) -> dict[str, Any]:
    """Return the result of the action."""
    task = Mock(args=arguments, async_val=0, check_mode=check_mode)
    action = ActionModule(task, Mock(), Mock(check_mode=check_mode), Mock(), Mock(), Mock())
    result: dict[str, Any] = action.run(task_vars={})
    return result


def test_it_is_written_beside_the_benchmark_and_where_a_collector_looks(document: Document, tmp_path: Path) -> None:
    results, collected = tmp_path / "results", tmp_path / "collected"
    results.mkdir()
    collected.mkdir()
    assert answer(True, results_dir=str(results)) == {"changed": False, "paths": []}
    (results / "benchmark.json").write_text(json.dumps(document))
    arguments = {"results_dir": str(results), "textfile": str(collected / "dtf.prom")}
    assert answer(True, **arguments)["changed"]
    assert list(collected.iterdir()) == []
    first = answer(**arguments)
    assert first["paths"] == [str(results / "metrics.prom"), str(collected / "dtf.prom")]
    assert [path.name for path in collected.iterdir()] == ["dtf.prom"], "no draft is left for the collector"
    assert (results / "metrics.prom").read_text() == (collected / "dtf.prom").read_text() == metrics(document)
    again = answer(**arguments)
    assert (again["changed"], again["diff"]) == (False, [])
    (collected / "dtf.prom").write_text("old\n")
    changed = answer(**arguments)["diff"]
    assert [(part["before"], part["before_header"]) for part in changed] == [("old\n", str(collected / "dtf.prom"))]


@pytest.mark.parametrize("given", ["collected/dtf.txt", "gone/dtf.prom", "collected"])
def test_a_place_where_no_collector_would_find_it_is_refused(document: Document, tmp_path: Path, given: str) -> None:
    (tmp_path / "collected").mkdir()
    (tmp_path / "benchmark.json").write_text(json.dumps(document))
    with pytest.raises(
        AnsibleActionFail, match=r"textfile: .* a file whose name ends in \.prom, in a folder that exists"
    ):
        answer(results_dir=str(tmp_path), textfile=str(tmp_path / given))
    assert not (tmp_path / "metrics.prom").exists()


DASHBOARD = json.loads((ROOT / "roles/report/files/grafana-dashboard.json").read_text(encoding="utf-8"))
#: Units that Grafana knows, of what is measured here.
GRAFANA_UNITS = {"s", "none", "percentunit", "dateTimeFromNow"}


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query of the dashboard with what asks it."""
    for panel in DASHBOARD["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def test_every_metric_that_the_dashboard_asks_for_is_there(document: Document) -> None:
    families = read(metrics(document))
    for title, query in queries():
        names = re.findall(rf"{PREFIX}\w+", query)
        assert names, title
        assert [name for name in names if name not in families] == [], title
        for name in names:
            labels = {label for sample in families[name].samples for label in sample.labels}
            wanted = re.findall(rf"{name}{{([^}}]*)}}", query)
            for selector in wanted:
                assert set(re.findall(r"(\w+)=~?\"", selector)) <= labels, title
            by = re.search(r"by \(([^)]*)\)", query)
            assert set(re.split(r",\s*", by[1]) if by else []) <= labels, title


def test_the_dashboard_shows_every_kind_of_measure() -> None:
    """Of each metric its file has, but for bounds that a table of every cell would drown in."""
    asked = {name for _title, query in queries() for name in re.findall(rf"{PREFIX}(\w+)", query)}
    assert {
        "training_mean_seconds", "training_mean_low_seconds", "training_mean_high_seconds", "training_runs",
        "rate_mean_steps_per_second", "test_accuracy_mean_ratio", "startup_mean_seconds", "phase_mean_seconds",
        "speed_up_ratio", "speed_up_low_ratio", "speed_up_high_ratio", "efficiency_ratio", "restarts", "doubts",
        "knee_workers", "price_training_ratio", "price_startup_seconds", "price_platform_ratio",
        "gpu_utilisation_mean_ratio",
    } <= asked  # fmt: skip


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert DASHBOARD["id"] is None
    assert DASHBOARD["uid"]
    assert DASHBOARD["schemaVersion"] >= 39
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": "${datasource}"}
    used = set(re.findall(r"\$(\w+)", " ".join(query for _title, query in queries())))
    assert used == {"benchmark", "cell"}
    assert used <= set(variables)
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == source
        assert {json.dumps(target["datasource"]) for target in panel["targets"]} == {json.dumps(source)}
        assert panel["fieldConfig"]["defaults"]["unit"] in GRAFANA_UNITS
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not seen & cells, f"{panel['title']} lies on another panel"
        seen |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
