"""Words that make no cluster are told before anything is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.integration.cluster.conftest import changed

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Laboratory


def test_words_that_make_no_cluster_are_refused_before_anything_is_changed(laboratory: Laboratory) -> None:
    wrong = {"kubeadm_version": "1.30", "kubeadm_service_cidr": "10.244.9.0/24", "kubeadm_dns_domain": "x"}
    running = laboratory.start("playbooks/cluster.yml", "--extra-vars", json.dumps(wrong))
    printed, _nothing = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "kubeadm_version: '1.30' is not valid, accepted: MAJOR.MINOR.PATCH, 1.31.0 or later" in printed
    assert "kubeadm_service_cidr: '10.244.9.0/24' is not valid" in printed
    assert set(changed(printed).values()) <= {0}
