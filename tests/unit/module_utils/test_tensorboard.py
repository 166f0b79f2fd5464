"""What runs are called in TensorBoard, and what is read of what it writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import processes
from ansible_collections.dtf.cluster.plugins.module_utils.stats import STARTUP
from ansible_collections.dtf.cluster.plugins.module_utils.supervisor import process_identity
from ansible_collections.dtf.cluster.plugins.module_utils.sweep import moment
from ansible_collections.dtf.cluster.plugins.module_utils.tensorboard import address, command, points, run_names
from tests.fixtures.synthetic_runs import run_document, topology


def test_a_run_is_named_by_its_words_and_its_repeat() -> None:
    runs = [
        run_document(topology(2), repeat=0, number=1),
        run_document(topology(1), repeat=1, number=2),
        run_document(topology(2), repeat=1, number=3, state="failed"),
        run_document(topology(2), repeat=1, number=4),
        run_document(topology(2), number=5),
        run_document(topology(2), number=6),
    ]
    assert run_names(runs[::-1]) == {
        "workers=2 ps=1/warm-up": "run-01",
        "workers=1 ps=1/repeat 1": "run-02",
        "workers=2 ps=1/repeat 1 failed": "run-03",
        "workers=2 ps=1/repeat 1": "run-04",
        "workers=2 ps=1/run": "run-05",
        "workers=2 ps=1/run (2)": "run-06",
    }


def test_words_that_differ_are_in_the_name() -> None:
    runs = [
        run_document(topology(1), number=1),
        run_document(topology(1, training={"sync": True, "learning_rate": 0.5}), number=2),
        run_document(topology(1, runtime="kubernetes"), number=3),
    ]
    assert list(run_names(runs)) == [
        "workers=1 ps=1 nodes=1 runtime=process sync=false learning_rate=0.001/run",
        "workers=1 ps=1 nodes=1 runtime=process sync=true learning_rate=0.5/run",
        "workers=1 ps=1 runtime=kubernetes backend=indexed_job sync=false learning_rate=0.001/run",
    ]
    assert run_names([]) == {}


def test_every_name_is_a_folder_and_a_link_in_it() -> None:
    names = list(run_names([run_document(topology(1, training={"learning_rate": 1e-05}))]))
    assert [name.count("/") for name in names] == [1]


def test_a_run_that_kept_nothing_shows_the_curves_of_its_document() -> None:
    run = run_document(topology(2, runtime="kubernetes"), 8.0)
    released = moment(run["created"]) + sum(run["phases"][name] for name in STARTUP)
    steps = run["spec"]["training"]["steps"]
    assert points(run) == [
        {
            "wall": released + 4,
            "step": steps // 2,
            "values": {"cross_entropy": 9.5, "global_steps_per_second": steps / 8},
        },
        {"wall": released + 8, "step": steps, "values": {"test_accuracy": 0.9, "test_loss": 0.3}},
    ]
    run["training"]["curves"]["batch"]["loss"] = [None]
    assert points(run)[0]["values"] == {"global_steps_per_second": steps / 8}
    run["training"]["curves"]["batch"]["steps_per_second"] = [None]
    assert len(points(run)) == 1, "a point without a value is none"
    assert points(run_document(topology(1), state="failed")) == []
    del run["training"]["curves"]
    assert points(run) == [], "a document of an earlier version has none"


@pytest.mark.parametrize(
    ("log", "url"),
    [
        ("", None),
        ("TensorFlow installation not found - running with reduced feature set.\n", None),
        ("note\n\nTensorBoard 2.21.0 at http://127.0.0.1:40433/ (Press CTRL+C to quit)\n", "http://127.0.0.1:40433/"),
        ("TensorBoard 2.21.0 at http://[::1]:6006/ (Press", "http://[::1]:6006/"),
    ],
)
def test_where_it_listens_is_read_from_what_it_writes(log: str, url: str | None) -> None:
    assert address(log) == url


def test_it_listens_where_it_is_told_to() -> None:
    line = command("/p", "/runs", "127.0.0.1", 0)
    assert line == ["/p", "-m", "tensorboard.main", "--logdir", "/runs", "--host", "127.0.0.1", "--port", "0"]


def test_exactly_the_process_that_was_started_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    script = "import os, time; print(sorted(n for n in os.environ if 'PROXY' in n.upper()), flush=True); time.sleep(60)"
    identity = processes.begin([sys.executable, "-c", script], tmp_path / "log")
    assert identity is not None
    while not (tmp_path / "log").read_text().endswith("\n"):
        assert processes.alive(identity)
    assert (tmp_path / "log").read_text() == "[]\n", "no proxy is handed on"
    other = {**identity, "start_ticks": int(str(identity["start_ticks"])) - 1}
    assert not processes.alive(other)
    processes.end(other)
    assert processes.alive(identity), "another process with the same number is left alone"
    processes.end(identity)
    assert not processes.alive(identity)
    os.waitpid(int(str(identity["pid"])), 0)
    assert not processes.alive(None)


def test_what_does_not_heed_the_signal_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    while not ready.exists():
        assert process.poll() is None
    identity = process_identity(process.pid)
    assert identity is not None
    processes.end(identity, seconds=0.2)
    assert process.wait(10) == -signal.SIGKILL
