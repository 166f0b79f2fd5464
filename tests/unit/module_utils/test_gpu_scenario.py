"""What molecule's scenario says of its hosts is what `gpu_facts` would say of hosts that are written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.unit.module_utils.gpu_samples import host

ROOT = Path(__file__).resolve().parents[3]
SCENARIO = ROOT / "molecule/gpu/group_vars/all/30_scenario.yml"


@pytest.mark.parametrize(("node", "name"), [("w1", "one_card"), ("w2", "no_card")])
def test_the_scenarios_hosts_are_hosts_of_the_fixtures(node: str, name: str, tmp_path: Path) -> None:
    said = yaml.safe_load(SCENARIO.read_text(encoding="utf-8"))["gpu_operator_found"][node]
    found = json.loads(json.dumps(host(name, tmp_path).as_dict()))
    found["cdi"] = [path.removeprefix(str(tmp_path)) for path in found["cdi"]]
    assert said == found
