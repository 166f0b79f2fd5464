"""``autoscale.yml`` in a namespace with a quota: what the quota refuses bounds the search, and nothing asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.ansible_command import ansible_playbook
from tests.integration.kubernetes.conftest import Controller, run

#: Room for a parameter server and one worker.
QUOTA: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "few"},
    "spec": {"hard": {"pods": "2"}},
}


def scale(controller: Controller, image: str, results: Path, **words: object) -> str:
    """Play it to its end, which must be a good one; return its output."""
    variables = {
        "dtf_results_dir": str(results),
        "dtf_kubeconfig": str(controller.kubeconfig),
        "dtf_trainer_image": image,
        "autoscale_kubernetes": {"namespace": controller.namespace},
        "autoscale_topology_name": "scaled",
        "autoscale_min_repeats": 2,
        "autoscale_max_repeats": 2,
        "benchmark_warm_up": False,
        "report_page": False,
    }
    given = [f"-e{word}={value}" for word, value in words.items()]
    command = ansible_playbook("autoscale.yml", "-e", json.dumps(variables), "-eruntime=kubernetes", *given)
    return run(*command, timeout=800)


def test_the_quota_bounds_the_search(controller: Controller, image: str, tmp_path: Path) -> None:
    controller.cluster.apply({**QUOTA, "metadata": {**QUOTA["metadata"], "namespace": controller.namespace}})
    output = scale(controller, image, tmp_path / "results", max_workers=8, steps=400, name="bounded")
    document = json.loads((tmp_path / "results" / "bounded" / "autoscale.json").read_text())
    assert document["bound"]["workers"] == 2
    assert "quota.pods 3: at most 2: ResourceQuota 'few'" in document["bound"]["reason"]
    assert [entry["workers"] for entry in document["sizes"]] == [1]
    assert (document["workers"], document["reason"]) == (1, "bound")
    assert "2 cannot be measured: " in output
    runs = [json.loads(path.read_text()) for path in (tmp_path / "results").glob("*/*/run.json")]
    assert {run["state"] for run in runs} == {"succeeded"}
    assert {run["spec"]["workers"]["replicas"] for run in runs} == {1}
    (left,) = [run for run in runs if run["name"] == "scaled"]
    assert left["spec"]["workers"]["replicas"] == document["workers"]
