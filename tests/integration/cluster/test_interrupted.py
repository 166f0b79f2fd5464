"""A playbook may be killed at any moment; run again, it converges."""

from __future__ import annotations

import json
import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.power_cut import power_cut
from tests.integration.cluster.conftest import changed

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Laboratory

#: Tasks of the playbook between its first and its last change, as `TASK [` lines of its output.
FIRST, LAST = 8, 38
MOMENTS = 3


@pytest.mark.timeout(900)
def test_a_killed_playbook_converges_when_it_is_run_again(laboratory: Laboratory) -> None:
    # Each run is killed further on than the one before and in the middle of a task: there is always work under way.
    seed = int(os.environ.get("DTF_TEST_SEED") or random.randrange(10**6))
    chance = random.Random(seed)
    moments = sorted(chance.sample(range(FIRST, LAST), MOMENTS))
    print(f"DTF_TEST_SEED={seed}: killed in tasks {moments}")

    for moment in moments:
        running = laboratory.start("cluster")
        assert running.stdout is not None
        seen = 0
        for line in running.stdout:
            seen += line.startswith("TASK [")
            if seen == moment:
                time.sleep(chance.uniform(0, 1.5))
                print(f"killed in {line.strip().strip('*')}")
                break
        power_cut(running)

    laboratory.play("cluster")
    again = changed(laboratory.play("cluster"))

    assert again == {"cp1": 0, "w1": 0, "w2": 0}
    nodes = json.loads(laboratory.kubectl("get", "nodes", "--output", "json"))["items"]
    ready = {
        node["metadata"]["name"]: condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }
    assert ready == {"cp1": "True", "w1": "True", "w2": "True"}
