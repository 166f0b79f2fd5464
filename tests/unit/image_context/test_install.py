"""What the image's own installer leaves out, cuts off and compiles."""

from __future__ import annotations

import importlib.util
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "trainer_image" / "files" / "context" / "install.py"


@pytest.fixture(scope="module")
def install() -> ModuleType:
    """The installer as a module."""
    spec = importlib.util.spec_from_file_location("image_install", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("path", "unused"),
    [
        ("tensorflow/include", True),
        ("tensorflow/include/tensorflow/core/x.h", True),
        ("numpy/_core/include", True),
        ("numpy/_core/tests", True),
        ("h5py/tests", True),
        ("clang", True),
        ("libclang-18.1.1.dist-info", True),
        ("numpy/__init__.pyi", True),
        ("absl_py-2.5.1.dist-info/RECORD", True),
        # TensorFlow has interfaces of these names, and asks for its tools when it is imported.
        ("tensorflow/_api/v2/test", False),
        ("tensorflow/tools", False),
        ("tensorflow/python/framework/test_util.py", False),
        ("numpy/testing", False),
        ("absl_py-2.5.1.dist-info/METADATA", False),
        ("includes.py", False),
    ],
)
def test_what_no_task_opens(install: ModuleType, path: str, unused: bool) -> None:
    assert install.unused(path) is unused


@pytest.mark.parametrize(
    ("wheel", "large"),
    [
        ("tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl", True),
        ("tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl", True),
        ("tensorflow_io_gcs_filesystem-0.37-cp311-cp311-x.whl", False),
        ("numpy-2.4.6-cp311-cp311-x.whl", False),
    ],
)
def test_which_wheel_has_a_layer_of_its_own(install: ModuleType, wheel: str, large: bool) -> None:
    assert install.is_large(wheel) is large


def test_a_folder_is_pruned_with_all_it_holds(install: ModuleType, tmp_path: Path) -> None:
    for name in ("package/tests/deep/test_x.py", "package/x.h", "package/x.py", "bin/tool", "package/test/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    install.prune(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"package/x.py", "package/test/x.py"}


def test_what_is_cut_off_a_real_library_is_not_needed(install: ModuleType, tmp_path: Path) -> None:
    library = next(Path(sys.prefix).glob("lib/python*/site-packages/numpy/_core/_multiarray_umath*.so"))
    copy = tmp_path / library.name
    shutil.copy(library, copy)
    # As a linker leaves a library that nobody stripped: sections, and names, behind all that is loaded.
    with copy.open("ab") as file:
        file.write(b"names of local functions" * 1000)
    install.strip(copy)
    assert copy.stat().st_size <= library.stat().st_size
    program = (
        "import importlib.machinery, importlib.util, sys, numpy._core._multiarray_umath\n"
        "import ctypes; ctypes.CDLL(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(copy)], check=True)
    before = copy.read_bytes()
    install.strip(copy)
    assert copy.read_bytes() == before


def test_what_is_no_library_stays(install: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "library.so.txt"
    script.write_bytes(b"GROUP ( libx.so.1 )")
    install.strip(script)
    assert script.read_bytes() == b"GROUP ( libx.so.1 )"


def test_byte_code_is_valid_whatever_the_times_of_its_source(install: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "source" / "dtf_trainer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('here')\n", encoding="utf-8")
    target = tmp_path / "made"
    install.trainer(tmp_path / "source", target)
    install.settle(target)
    (code,) = target.rglob("*.pyc")
    assert struct.unpack("<I", code.read_bytes()[4:8])[0] == 1, "hash-based, and never compared"
    assert b"/opt/dtf/dtf_trainer/__init__.py" in code.read_bytes()
    assert {os.stat(path).st_mtime for path in target.rglob("*")} == {315532800.0}  # noqa: PTH116 - of links, too
    source = target / "opt" / "dtf" / "dtf_trainer" / "__init__.py"
    source.write_text("answer = 42\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(source.parents[1])}
    ended = subprocess.run(
        [sys.executable, "-c", "import dtf_trainer"], env=environment, check=False, capture_output=True, text=True
    )
    assert "RuntimeError: here" in ended.stderr
