"""What the tests of the trainer's processes share."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from .cluster import trainer_python, write_data

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _tensorflow_is_there() -> None:
    """Fail, rather than skip, where the trainer cannot run at all."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tensorflow') is None)"
    if subprocess.run([trainer_python(), "-c", probe], check=False).returncode:
        pytest.exit(
            f"{trainer_python()} has no TensorFlow; set DTF_TRAINER_PYTHON to an interpreter that has", returncode=1
        )


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small data set."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def flags(data_dir: Path, tmp_path: Path) -> list[str]:
    """Return the flags that every run of these tests has."""
    return [
        "--dataset=custom",
        f"--data_dir={data_dir}",
        f"--checkpoint_dir={tmp_path / 'checkpoint'}",
        "--checkpoint_interval_seconds=0.5",
        "--progress_interval_seconds=0.05",
        "--peer_timeout_seconds=30",
        "--run_id=tested",
        "--hidden_units=32",
    ]
