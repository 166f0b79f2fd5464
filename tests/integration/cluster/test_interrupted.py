"""A playbook may be killed at any moment; run again, it converges, to a cluster that is what was asked for."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.power_cut import power_cut
from tests.integration.cluster.conftest import changed
from tests.integration.kubernetes.lab_hosts import LabHosts

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Laboratory

#: Tasks of the playbook between its first and its last change, as `TASK [` lines of its output.
FIRST, LAST = 8, 38
MOMENTS = 3
#: The playbook with choices that no other test makes, and one that looks at what came of them.
CLUSTER = ("playbooks/cluster.yml", f"--extra-vars=@{Path(__file__).with_name('choices.yml')}")
VERIFY = str(Path(__file__).with_name("verify.yml"))


@pytest.mark.timeout(900)
def test_a_killed_playbook_converges_when_it_is_run_again(laboratory: Laboratory) -> None:
    # Each run is killed further on than the one before and in the middle of a task: there is always work under way.
    seed = int(os.environ.get("DTF_TEST_SEED") or random.randrange(10**6))
    chance = random.Random(seed)
    moments = sorted(chance.sample(range(FIRST, LAST), MOMENTS))
    print(f"DTF_TEST_SEED={seed}: killed in tasks {moments}")

    # The third host has its distribution's containerd, of which nothing may be left in use.
    for host in ("cp1", "w1"):
        LabHosts(laboratory.inventory).run(host, "apt-get purge --yes --quiet containerd runc")

    for moment in moments:
        running = laboratory.start(*CLUSTER)
        assert running.stdout is not None
        seen = 0
        for line in running.stdout:
            seen += line.startswith("TASK [")
            if seen == moment:
                time.sleep(chance.uniform(0, 1.5))
                print(f"killed in {line.strip().strip('*')}")
                break
        power_cut(running)

    laboratory.play(*CLUSTER)
    again = changed(laboratory.play(*CLUSTER))

    assert again == {"cp1": 0, "w1": 0, "w2": 0}
    laboratory.play(VERIFY)
