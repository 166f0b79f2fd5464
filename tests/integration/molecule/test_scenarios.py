"""Every scenario of molecule, as `molecule test` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_scenario_succeeds(scenario: str, tmp_path: Path) -> None:
    log = tmp_path / "molecule.log"
    with log.open("w", encoding="utf-8") as output:
        ended = subprocess.run(
            [str(Path(sys.executable).parent / "molecule"), "test", "--scenario-name", scenario],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "NO_COLOR": "1", "PY_COLORS": "0"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    printed = log.read_text(encoding="utf-8", errors="replace")
    assert ended.returncode == 0, printed[-12000:]
