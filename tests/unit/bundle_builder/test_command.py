"""The builder's command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bundle
import pytest

# A child that nobody holds, because the signal came while it was being started.
INTERRUPTED = """
import os, signal, sys, bundle

bundle.SECONDS_TO_END = 2
if "deaf" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

def build(*_):
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    print(child, flush=True)
    raise KeyboardInterrupt

bundle.build = build
sys.exit(bundle.main(["build"]))
"""


@pytest.mark.parametrize("more", [[], ["deaf"]], ids=["", "in the background of a shell"])
def test_a_child_that_was_just_being_started_ends_too(more: list[str]) -> None:
    folder = Path(bundle.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *more],
        env={"PYTHONPATH": str(folder)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 130, done.stderr
    assert not Path("/proc", done.stdout.strip()).exists()
    assert "stopped" in done.stderr
