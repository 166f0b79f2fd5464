"""Both ways of importing TensorFlow give the same, and the lean one gives way when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAINER = Path(__file__).resolve().parents[3] / "trainer"

PROBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from dtf_trainer import tf_api
{before}
api = tf_api.load()
graph = api.graph()
with graph.as_default():
    product = api.raw.MatMul(a=api.constant([[1.0, 2.0]]), b=api.constant([[3.0], [4.0]]))
value = float(api.Session(graph=graph).run(product)[0, 0])
whole = tf_api.public().__version__
print(json.dumps([api.lean, value, api.version == whole, bool(api.saving.signature)]))
"""

BROKEN = """
import importlib
real = importlib.import_module
def broken(name, *more):
    if name.endswith("framework.constant_op"):
        raise ImportError("moved in this release")
    return real(name, *more)
tf_api.importlib.import_module = broken
"""


@pytest.mark.parametrize(
    ("switch", "before", "lean"), [("1", "", True), ("0", "", False), ("1", BROKEN, False)], ids=["on", "off", "broken"]
)
def test_import(switch: str, before: str, lean: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(before=before), str(TRAINER)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "DTF_LEAN_IMPORT": switch},
    )
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    assert found == [lean, 11.0, True, True]
    assert ("lean import of TensorFlow failed" in done.stderr) == bool(before)
