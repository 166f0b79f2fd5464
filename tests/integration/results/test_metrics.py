"""``report.yml``: a benchmark's measures for Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.synthetic_runs import results_folder, usl

from .conftest import Desk


def test_a_report_leaves_metrics_where_a_collector_finds_them(desk: Desk) -> None:
    results_folder(desk.results / "benchmark", usl(100, 0.2, 0.05), 0.02)
    collected = desk.results / "collected"
    collected.mkdir()
    words = ["-ename=benchmark", f"-ereport_metrics_path={collected / 'dtf.prom'}", "-ereport_page=false"]
    code, output = desk.play("report.yml", "--check", *words)
    assert code == 0, output
    assert list(collected.iterdir()) == []
    code, output = desk.play("report.yml", *words)
    assert code == 0, output
    text = (desk.results / "benchmark" / "metrics.prom").read_text()
    assert (collected / "dtf.prom").read_text() == text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    workers = [sample.labels["workers"] for sample in families["dtf_benchmark_training_mean_seconds"].samples]
    assert workers == ["1", "2", "4", "8"]
    code, output = desk.play("report.yml", *words)
    assert code == 0, output
    assert "changed=0" in output
