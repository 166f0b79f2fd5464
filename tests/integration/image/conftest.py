"""Plays on this machine, a registry of the bundle's, and a builder that works."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from laboratory import machine
from laboratory.containers import LABEL
from laboratory.store import Store, default_folder

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "build" / "bundle"
REQUIREMENTS = ROOT / "trainer" / "requirements.txt"
#: Kept between runs: fetching takes a network, and the large layers take time.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtf"


@dataclass(frozen=True)
class Played:
    """How a play ended: what its last task answered, and how many tasks changed something."""

    code: int
    answer: dict[str, Any]
    changed: int
    printed: str


def play(folder: Path, content: dict[str, Any], *options: str, **variables: Any) -> Played:
    """Run a play on this machine."""
    playbook = folder / "play.yml"
    host = {"hosts": "localhost", "connection": "local", "gather_facts": False}
    python = {"vars": {"ansible_python_interpreter": sys.executable}}
    playbook.write_text(json.dumps([{**host, **python, **content}]), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-e", json.dumps(variables)]
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_VERBOSITY": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        [*command, *options, str(playbook)],
        cwd=ROOT,
        env={**os.environ, **settings},
        check=False,
        capture_output=True,
        text=True,
    )
    marks = ("ok: [", "changed: [", "fatal: [")
    ends = [line for line in done.stdout.splitlines() if line.startswith(marks) and "=> {" in line]
    assert ends, done.stdout + done.stderr
    start = done.stdout.rindex(ends[-1]) + ends[-1].index("=> {") + 3
    answer, _end = json.JSONDecoder().raw_decode(done.stdout, start)
    changed = int(done.stdout.rpartition("changed=")[2].split()[0])
    return Played(done.returncode, answer, changed, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def docker() -> Iterator[str]:
    """Docker, with an engine that answers: one of the laboratory's if none runs, which stays until these tests end."""
    machine.install(["docker", "dockerd", "iptables"], print)
    kept, claim = Store(default_folder()), "dtf-image-tests"
    with kept.locked():
        if not machine.engine_answers():
            machine.start_engine(kept.engine_pid, kept.engine_log)
        # A build is no container: without one, the last laboratory that goes would take the engine with it.
        nothing = b"\0" * 10240
        subprocess.run(["docker", "import", "-", f"{claim}:1"], input=nothing, check=True, capture_output=True)
        subprocess.run(["docker", "rm", claim], check=False, capture_output=True)
        labelled = ["--name", claim, "--label", f"{LABEL}=image-tests"]
        subprocess.run(["docker", "create", *labelled, f"{claim}:1", "nothing"], check=True, capture_output=True)
    yield "docker"
    subprocess.run(["docker", "rm", claim], check=True, capture_output=True)
    subprocess.run(["docker", "image", "rm", f"{claim}:1"], check=True, capture_output=True)


@pytest.fixture(params=["docker", "buildah"])
def builder(request: pytest.FixtureRequest, docker: str) -> str:
    """Each builder that is here."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param) if request.param != docker else docker


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry of the bundle's on this machine, without TLS."""
    with serving(tmp_path / "registry") as host:
        yield host


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run a registry that keeps what it has in a folder; give its name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder)}}}
    path, said = folder.with_suffix(".yml"), folder.with_suffix(".log")
    path.write_text(json.dumps({**settings, "http": {"addr": host}}), encoding="utf-8")
    command = [str(BUNDLE / "bin" / "registry"), "serve", str(path)]
    with said.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(host, process, said)
            yield host
        finally:
            process.terminate()


def wait_for(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a registry answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(f"http://{host}/v2/", timeout=5).close()
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        else:
            return
