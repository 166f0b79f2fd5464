"""The whole way: hosts are looked at, the bundle verified, the cluster made; a second time nothing is left to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.cluster.conftest import changed

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Laboratory


@pytest.mark.timeout(600)
def test_from_hosts_to_a_cluster_and_nothing_the_second_time(laboratory: Laboratory, tmp_path: Path) -> None:
    results = ("--extra-vars", f"dtf_results_dir={tmp_path}")

    laboratory.play("site", *results)
    printed = laboratory.play("site", *results)

    # The hosts are nodes by now, and preflight says so instead of finding their own ports and files in the way.
    assert set(changed(printed).values()) == {0}
    assert set(changed(printed)) == {"localhost", "cp1", "w1", "w2"}
    nodes = json.loads(laboratory.kubectl("get", "nodes", "--output", "json"))["items"]
    assert {node["metadata"]["name"] for node in nodes} == {"cp1", "w1", "w2"}
    assert list(tmp_path.glob("preflight/*.json"))


def test_words_that_make_no_cluster_are_refused_before_anything_is_changed(laboratory: Laboratory) -> None:
    wrong = {"kubeadm_version": "1.30", "kubeadm_service_cidr": "10.244.9.0/24", "kubeadm_dns_domain": "x"}
    running = laboratory.start("cluster", "--extra-vars", json.dumps(wrong))
    printed, _nothing = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "kubeadm_version: '1.30' is not valid, accepted: MAJOR.MINOR.PATCH, 1.31.0 or later" in printed
    assert "kubeadm_service_cidr: '10.244.9.0/24' is not valid" in printed
    assert set(changed(printed).values()) <= {0}
