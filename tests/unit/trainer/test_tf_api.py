"""Both ways of importing TensorFlow give the same, and the lean one gives way when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dtf_trainer import tf_api

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


REFUSED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.7:9000: connect() timed out"

#: As TensorFlow 2.21 tells of a failure on another task.
HEADINGS = "=====================\nUNAVAILABLE: From /job:worker/replica:0/task:1:"


@pytest.mark.parametrize(
    ("message", "telling"),
    [
        (f"{REFUSED}\nAdditional GRPC error information from remote target /job:ps:\n:UNKNOWN", REFUSED),
        (f"Graph execution error:\n\n{HEADINGS}\n{REFUSED}\n\t [[{{{{node X}}}}]]", REFUSED),
        ("Graph execution error:\n\nFrom /job:ps/replica:0/task:0:\nSocket closed", "Socket closed"),
        ("Graph execution error:", "Graph execution error:"),
        ("", ""),
    ],
)
def test_of_an_error_the_line_is_told_that_says_what_happened(message: str, telling: str) -> None:
    assert tf_api.said(RuntimeError(message)) == telling
