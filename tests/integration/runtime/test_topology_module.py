"""The module ``topology``: create, modify, stop, delete; each twice, each first in check mode, with an honest diff."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from .conftest import Host, task_of


def contents(root: Path) -> dict[str, bytes]:
    """Return every file below a folder, to show that nothing was touched; a draft is somebody's who writes just now."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".new"}


def test_twelve_steps(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "60"

    # create
    before = contents(host.root)
    checked = host.topology(check=True)
    assert (checked["changed"], checked["plan"]["action"]) == (True, "start")
    assert contents(host.root) == before
    created = host.topology()
    assert created["plan"] == checked["plan"]
    assert created["diff"] == checked["diff"]
    assert created["topology"]["phase"] == "running"
    first_run = created["topology"]["run_id"]
    for check in (True, False):
        again = host.topology(check=check)
        assert (again["changed"], again["plan"]["action"]) == (False, "none")
        assert again["topology"]["run_id"] == first_run
        assert again["diff"]["before"] == again["diff"]["after"]

    # modify: one more worker is a re-roll that says so and continues the checkpoint
    host.until(lambda state: all(task["state"] == "running" for task in state["tasks"]))
    more = {"workers": {"port": host.ports[1], "replicas": 3}}
    checked = host.topology(check=True, **more)
    assert (checked["changed"], checked["plan"]["action"]) == (True, "reroll")
    assert checked["plan"]["reason"] == "changed: workers.replicas"
    assert checked["plan"]["stop"] == ["ps-0", "worker-0", "worker-1"]
    assert checked["plan"]["start"] == ["ps-0", "worker-0", "worker-1", "worker-2"]
    assert checked["diff"]["before"]["specification"]["workers"]["replicas"] == 2
    assert checked["diff"]["after"]["specification"]["workers"]["replicas"] == 3
    assert host.state()["run_id"] == first_run
    old_pids = {task["pid"] for task in host.state()["tasks"]}
    modified = host.topology(**more)
    assert modified["plan"] == checked["plan"]
    assert modified["topology"]["run_id"] != first_run
    assert modified["topology"]["resumed_from"]["run_id"] == first_run
    assert not any(Path(f"/proc/{pid}").exists() for pid in old_pids)
    for check in (True, False):
        again = host.topology(check=check, **more)
        assert (again["changed"], again["plan"]["action"]) == (False, "none")

    # delete
    before = contents(host.root / "topologies")
    checked = host.module("topology", check=True, name="t", state="absent")
    assert (checked["changed"], checked["plan"]["action"]) == (True, "remove")
    assert host.state()["phase"] == "running"
    assert set(before) <= set(contents(host.root / "topologies"))
    running = [task["pid"] for task in host.state()["tasks"]]
    deleted = host.module("topology", name="t", state="absent")
    assert deleted["plan"]["action"] == "remove"
    assert deleted["topology"]["phase"] == "absent"
    assert not any(Path(f"/proc/{pid}").exists() for pid in running)
    assert not (host.root / "topologies" / "t").exists()
    for check in (True, False):
        again = host.module("topology", check=check, name="t", state="absent")
        assert (again["changed"], again["plan"]["action"]) == (False, "none")


def test_result_has_one_shape(host: Host) -> None:
    shapes = set()
    host.environment["FAKE_SECONDS"] = "30"
    for arguments in ({"check": True}, {}, {}, {"training": {"steps": 10}}):
        result = host.topology(**arguments)
        shapes.add((tuple(sorted(set(result) - {"invocation"})), tuple(sorted(result["topology"]))))
    for state in ("stopped", "stopped", "absent", "absent"):
        result = host.module("topology", name="t", state=state)
        shapes.add((tuple(sorted(set(result) - {"invocation"})), tuple(sorted(result["topology"]))))
    assert len(shapes) == 1
    assert tuple(sorted(host.state())) == shapes.pop()[1]


def test_stopped_rests_with_a_checkpoint_and_present_goes_on(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "60"
    run = host.topology()["topology"]["run_id"]
    host.until_event("released")
    assert host.module("topology", check=True, name="t", state="stopped")["changed"] is True
    assert host.state()["phase"] == "running"
    stopped = host.module("topology", name="t", state="stopped")
    assert (stopped["changed"], stopped["topology"]["phase"]) == (True, "stopped")
    assert stopped["topology"]["checkpoint_run_id"] == run
    assert host.module("topology", name="t", state="stopped")["changed"] is False
    host.environment["FAKE_SECONDS"] = "0.2"
    resumed = host.topology()
    assert resumed["plan"]["action"] == "resume"
    assert resumed["topology"]["resumed_from"]["run_id"] == run
    host.until_phase("succeeded")
    assert '"event": "connected"' in host.run_file("logs/worker-0.log").read_text()
    assert '"resumed": true' in host.run_file("logs/worker-0.log").read_text()


def test_finished_and_unchanged_stays_as_it_is(host: Host) -> None:
    run = host.topology()["topology"]["run_id"]
    host.until_phase("succeeded")
    again = host.topology()
    assert (again["changed"], again["topology"]["run_id"]) == (False, run)


def test_lifecycle_changes_under_a_running_training(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "60"
    started = host.topology()
    pids = [task["pid"] for task in host.state()["tasks"]]
    updated = host.topology(lifecycle={"restart_limit": 9})
    assert (updated["plan"]["action"], updated["topology"]["run_id"]) == ("update", started["topology"]["run_id"])
    assert [task["pid"] for task in host.state()["tasks"]] == pids
    assert json.loads(host.run_file("lifecycle.json").read_text())["restart_limit"] == 9
    assert host.topology(lifecycle={"restart_limit": 9})["changed"] is False


@pytest.mark.parametrize(
    ("changes", "resumes"),
    [
        ({"training": {"steps": 4000}}, True),
        ({"training": {"learning_rate": 0.01}}, True),
        ({"ps": {"replicas": 2}}, True),
        ({"training": {"hidden_units": 50}}, False),
        ({"run_label": "anew"}, False),
    ],
)
def test_a_change_continues_the_checkpoint_where_it_fits(host: Host, changes: dict[str, object], resumes: bool) -> None:
    first = host.topology()["topology"]["run_id"]
    host.until_phase("succeeded")
    if "ps" in changes:
        changes = {"ps": {"port": host.ports[0], "replicas": 2}}
    changed = host.topology(**changes)
    resumed_from = changed["topology"]["resumed_from"]
    assert (resumed_from["run_id"] if resumed_from else None) == (first if resumes else None)


def test_two_topologies_run_side_by_side(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "30"
    assert host.topology("one")["changed"] is True
    other = {"ps": {"port": host.ports[0] + 5}, "workers": {"port": host.ports[1] + 5}}
    assert host.topology("two", **other)["changed"] is True
    assert {host.state(name)["phase"] for name in ("one", "two")} == {"running"}
    host.module("topology", name="one", state="absent")
    assert host.state("two")["phase"] == "running"


def test_everything_in_the_way_is_told_at_once_and_nothing_starts(host: Host) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", host.ports[0]))
        busy.listen()
        refused = host.topology(
            python="/nowhere/python", data_dir="/nowhere/data", workers={"port": host.ports[1], "memory_mb": 10**7}
        )
    assert refused["failed"] is True
    fields = [problem["field"] for problem in refused["failure"]["problems"]]
    assert fields == ["python", "data_dir", "ps.port", "ps.memory_mb, workers.memory_mb"]
    port = refused["failure"]["problems"][2]
    assert f"process {os.getpid()}" in port["accepted"]
    assert host.state()["phase"] == "absent"
    assert not (host.root / "topologies").exists()


def test_a_port_of_another_topology_is_named_by_its_task(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "30"
    # The fake task does not listen, so the port is held in its name by this test.
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", host.ports[1]))
        busy.listen()
        refused = host.topology("two")
    assert "workers.port" in refused["msg"]


def test_a_name_has_one_owner(host: Host) -> None:
    host.environment["FAKE_SECONDS"] = "30"
    run = host.topology(owner="site")["topology"]["run_id"]
    refused = host.topology(owner="benchmark")
    assert (refused["failed"], refused["failure"]["code"]) == (True, "name_claimed")
    assert "'site'" in refused["msg"]
    assert host.state()["run_id"] == run


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ({"name": "Upper"}, ["name"]),
        (
            {"ps": {"replicas": 0}, "workers": {"replicas": -1}, "training": {"batch_size": 0, "learning_rate": 0}},
            ["ps.replicas", "workers.replicas", "training.batch_size", "training.learning_rate"],
        ),
        ({"host": "elsewhere"}, ["host"]),
        ({"hosts": [{"name": n, "address": f"10.0.0.{n}"} for n in "12"], "host": "1"}, ["observed"]),
    ],
)
def test_bad_arguments_name_every_field(host: Host, arguments: dict[str, object], fields: list[str]) -> None:
    refused = host.topology(**arguments)
    assert refused["failure"]["code"] == "invalid_input"
    assert [problem["field"] for problem in refused["failure"]["problems"]] == fields
    assert not (host.root / "topologies").exists()


def test_damaged_state_is_told_and_not_guessed(host: Host) -> None:
    host.topology()
    host.until_phase("succeeded")
    (host.root / "topologies" / "t" / "current.json").write_text("{", encoding="utf-8")
    refused = host.topology()
    assert refused["failure"]["code"] == "damaged_state"


def test_info_tells_what_each_task_is(host: Host) -> None:
    host.topology()
    state = host.until_phase("succeeded")
    chief = task_of(state, "worker", 0)
    assert (chief["state"], chief["exit_code"], chief["restarts"]) == ("done", 0, 0)
    assert chief["max_rss_bytes"] > 0
    assert chief["cpu_seconds"] > 0
