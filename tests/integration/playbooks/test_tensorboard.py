"""``tensorboard.yml``: the well-known server over a real training's summaries, and no trace of it afterwards."""

from __future__ import annotations

import json
import re
import shutil
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.stats import STARTUP
from ansible_collections.dtf.cluster.plugins.module_utils.supervisor import process_identity
from ansible_collections.dtf.cluster.plugins.module_utils.sweep import moment
from tests.fixtures.synthetic_runs import run_document, topology, write_folder

from .conftest import Desk


def ask(url: str, path: str) -> Any:
    """Return what the server's API says; nobody's proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url + path, timeout=30) as answer:
        return json.load(answer)


def server(desk: Desk) -> dict[str, Any]:
    """Return who the server is, as the module has noted it."""
    found: dict[str, Any] = json.loads((desk.root / "tensorboard/servers/benchmark/server.json").read_text())
    return found


@pytest.fixture
def board(desk: Desk) -> Iterator[Desk]:
    """A desk whose servers are stopped in the end, whatever a test has done."""
    desk.variables["tensorboard_port"] = 0
    yield desk
    desk.play("tensorboard.yml", tensorboard_state="absent")
    assert desk.processes() == []


@pytest.mark.network
def test_the_server_shows_each_run_by_its_words_and_is_gone_when_it_is_stopped(board: Desk) -> None:
    board.play("benchmark.yml", workers="1,2", steps=300, summary_interval=100, benchmark_warm_up="false").succeeded()
    checked = board.play("tensorboard.yml", "--check").succeeded()
    assert checked.changed > 0
    assert not (board.root / "tensorboard").exists()

    started = board.play("tensorboard.yml").succeeded()
    url = server(board)["url"]
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/", url)
    assert f"runs of benchmark: {url}" in started.output
    shown = ask(url, "data/runs")
    assert {"workers=1 ps=1/repeat 1", "workers=2 ps=1/repeat 1"} <= set(shown)
    # A run that was refused or failed early has nothing to show; of all others the summaries are what is shown.
    kept = [path for path in (board.results / "benchmark").glob("*/summaries") if any(path.iterdir())]
    assert len(shown) == len(kept), [(run["state"], run["cause"]) for run in board.runs("benchmark")]
    tags = ask(url, "data/plugin/scalars/tags")
    assert {"cross_entropy", "test_accuracy"} <= set(tags["workers=2 ps=1/repeat 1"])
    query = "data/plugin/scalars/scalars?tag=test_accuracy&run=workers%3D2%20ps%3D1%2Frepeat%201"
    _wall, step, accuracy = ask(url, query)[-1]
    run = next(
        run for run in board.runs("benchmark")
        if run["state"] == "succeeded"
        and run["spec"]["workers"]["replicas"] == 2  # type: ignore[index]
        and run["benchmark"]["repeat"] == 1  # type: ignore[index]
    )  # fmt: skip
    assert step >= 300
    assert accuracy == pytest.approx(run["training"]["test_accuracy"], abs=1e-6)  # type: ignore[index]

    before = server(board)
    assert board.play("tensorboard.yml").succeeded().changed == 0
    assert server(board) == before, "the same process as before"
    assert board.play("tensorboard.yml", "--check", tensorboard_state="absent").succeeded().changed == 1
    assert ask(url, "data/runs") == shown

    assert board.play("tensorboard.yml", tensorboard_state="absent").succeeded().changed == 1
    assert process_identity(before["pid"]) is None, "it ended; whoever adopted it may not have fetched it yet"
    assert board.processes() == [], "nor what reads its data for it"
    assert not (board.root / "tensorboard/servers/benchmark").exists()
    assert all(any(path.iterdir()) for path in kept), "only links are removed, never what they lead to"
    assert board.play("tensorboard.yml", tensorboard_state="absent").succeeded().changed == 0


@pytest.mark.network
def test_what_keeps_it_from_being_started_is_told(board: Desk) -> None:
    assert "a benchmark's folder" in board.play("tensorboard.yml", name="gone").output
    run = board.results / "benchmark" / "run-01"
    run.mkdir(parents=True)
    assert "run the benchmark first" in board.play("tensorboard.yml").output
    (run / "run.json").write_text(json.dumps(run_document(topology(1), state="failed")))
    played = board.play("tensorboard.yml")
    assert played.code == 2
    assert "none of the 1 runs in" in played.output
    (run / "summaries").mkdir()
    (run / "summaries" / "events").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        board.variables["tensorboard_port"] = port
        played = board.play("tensorboard.yml")
        board.variables["tensorboard_port"] = 0
    assert played.code == 2
    assert f"port: {port} is not valid" in played.output
    assert board.processes() == []


@pytest.mark.network
def test_of_a_run_without_summaries_the_curves_of_its_document_are_shown(board: Desk) -> None:
    pods = run_document(topology(2, runtime="kubernetes"), 8.0, number=2)
    write_folder(board.results / "benchmark", [run_document(topology(1, runtime="kubernetes"), state="failed"), pods])
    board.play("tensorboard.yml").succeeded()
    url = server(board)["url"]
    name = "workers=2 ps=1/run"
    assert {run: sorted(tags) for run, tags in ask(url, "data/plugin/scalars/tags").items()} == {
        name: ["cross_entropy", "global_steps_per_second", "test_accuracy", "test_loss"]
    }
    released = moment(pods["created"]) + sum(pods["phases"][phase] for phase in STARTUP)
    query = urllib.parse.urlencode({"tag": "test_accuracy", "run": name})
    ((wall, step, accuracy),) = ask(url, f"data/plugin/scalars/scalars?{query}")
    assert (wall, step) == (pytest.approx(released + 8), pods["spec"]["training"]["steps"])
    assert accuracy == pytest.approx(0.9)
    assert board.play("tensorboard.yml").succeeded().changed == 0

    written = board.root / "tensorboard/servers/benchmark/written"
    assert [place.name for place in written.iterdir()] == [pods["run_id"]]
    shutil.rmtree(written)
    assert board.play("tensorboard.yml", "--check").succeeded().changed == 1
    assert board.play("tensorboard.yml").succeeded().changed == 1
    assert any((written / pods["run_id"]).iterdir())
    board.play("tensorboard.yml", tensorboard_state="absent").succeeded()
    assert not written.parent.exists()
