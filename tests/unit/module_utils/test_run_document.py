"""The run document, from golden events and a supervisor's records, against its schema."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.events import Event, parse
from ansible_collections.dtf.cluster.plugins.module_utils.run_document import HostPart, rfc3339, run_document
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from ansible_collections.dtf.cluster.plugins.module_utils.status import HostState
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import facts
from ansible_collections.dtf.cluster.plugins.plugin_utils.doubts import run_doubts
from tests.unit.module_utils.schema_check import assert_exactly

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "schemas" / "run.schema.json").read_text(encoding="utf-8"))
MACHINE = {
    "cores": 2,
    "memory_bytes": 1,
    "cpu_model": "cpu",
    "kernel": "6",
    "load_before": 0.1,
    "clock_ahead_seconds": 0.001,
}
ARTIFACTS = {"logs": {}, "events": "events.jsonl", "export": None, "checkpoint": None}
VERSIONS = {"ansible": "2.19", "collection": "0.1.0"}


def topology(*hosts: str, workers: int = 2) -> Topology:
    """Return a topology over hosts."""
    machines = [{"name": name, "address": name} for name in hosts]
    paths = {"python": "/p", "data_dir": "/d", "root": "/r"}
    return Topology.from_params({"name": "t", "hosts": machines, "workers": {"replicas": workers}, **paths})


def record(role: str, index: int, spawned: float, ended: float, **more: Any) -> dict[str, Any]:
    """Return a supervisor's record of a task."""
    attempt = {"spawned_monotonic": spawned, "ended_monotonic": ended}
    base = {"role": role, "index": index, "state": "done", "restarts": 0, "exit_code": 0, "attempts": [attempt]}
    return {**base, "max_rss_bytes": 5, "cpu_seconds": 0.5, **more}


def part(host: str, records: list[dict[str, Any]], *, offset: float = 0, end: float = 40, **state: Any) -> HostPart:
    """Return a host's part of a run decided at wall 1000; its monotonic clock shows ``offset`` then."""
    seen = HostState(
        host=host, name="t", **{"phase": "succeeded", "run_id": "r", "created": 1000.0, **state}, tasks=records
    )
    return HostPart(
        state=seen,
        supervisor={"wall": 1000.5, "monotonic": offset + 0.5},
        ended={"wall": 1000 + end, "monotonic": offset + end},
        environment=MACHINE,
    )


def worker(index: int, moments: dict[str, float], offset: float = 0, **fields: Any) -> list[Event]:
    """Return a worker's events at seconds after the run's creation."""
    return [
        Event(name, "r", "worker", index, 0, 1000 + moment, offset + moment, fields.get(name, {}))
        for name, moment in moments.items()
    ]


CHIEF = {"started": 2, "imported": 4, "ready": 6, "released": 30, "target": 36, "evaluated": 37, "exported": 38}
FIELDS: dict[str, Any] = {
    "released": {"global_step": 0},
    "target": {"global_step": 2001, "worker_steps": [1000, 1001]},
    "evaluated": {"final": True, "test_accuracy": 0.95, "test_loss": 0.2},
}


def made(**changes: Any) -> dict[str, Any]:
    """Return the document of a run whose second worker was started 20 s late."""
    late = {"started": 24, "imported": 26, "ready": 29, "released": 30.01, "target": 36.01}
    arguments: dict[str, Any] = {
        "topology": topology("a"),
        "parts": [part("a", [record("ps", 0, 1, 39), record("worker", 0, 1, 39), record("worker", 1, 1, 39.5)])],
        "events": worker(0, CHIEF, **FIELDS) + worker(1, late),
        "logs": {},
        "artifacts": ARTIFACTS,
        "versions": VERSIONS,
        **changes,
    }
    document = run_document(**arguments)
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)
    return document


def test_the_document_of_a_good_run() -> None:
    document = made()
    assert (document["state"], document["cause"]) == ("succeeded", None)
    assert (document["created"], document["finished"]) == (rfc3339(1000), rfc3339(1040))
    assert document["wall_seconds"] == 40
    assert sum(document["phases"].values()) == pytest.approx(document["wall_seconds"])
    assert document["training"]["seconds"] == document["phases"]["train"] == 6
    assert [task["local_steps"] for task in document["tasks"]] == [None, 1000, 1001]
    assert Topology.from_params(document["spec"]) == topology("a")
    assert document["environment"]["hosts"] == [{"name": "a", **MACHINE}]
    assert document["benchmark"] is None
    assert_exactly(SCHEMA, document)
    label = {"name": "b", "repeat": 2, "number": 7, "seed": 1, "repeats": 5, "gain_threshold": 0.1}
    document = made(benchmark=label)
    assert document["benchmark"] == label
    assert_exactly(SCHEMA, document)


def test_a_late_worker_stands_in_its_start_and_in_the_barrier_and_not_in_the_training() -> None:
    document = made()
    late = document["tasks"][2]["phases"]
    assert (late["start"], late["barrier"]) == (23, pytest.approx(1.01))
    assert document["phases"]["barrier"] == 24
    assert document["training"]["seconds"] == 6


def test_every_task_tells_its_own_host_phases_and_use() -> None:
    artifacts = {**ARTIFACTS, "logs": {"ps-0": "logs/ps-0.log"}, "export": "export"}
    spread = topology("a", "b")
    parts = [
        part("a", [record("ps", 0, 1, 39), record("worker", 0, 1, 39.25)]),
        part("b", [record("worker", 1, 2, 39.5, max_rss_bytes=7, cpu_seconds=1.5)]),
    ]
    late = {"started": 24, "imported": 26, "ready": 29, "released": 30, "target": 36}
    events = worker(0, CHIEF, **FIELDS) + worker(1, late)
    document = made(topology=spread, parts=parts, events=events, artifacts=artifacts)
    assert document["artifacts"] == artifacts
    assert document["spec_hash"] == spread.spec_hash()
    told = [
        (task["role"], task["index"], task["host"], task["max_rss_bytes"], task["cpu_seconds"])
        for task in document["tasks"]
    ]
    assert told == [("ps", 0, "a", 5, 0.5), ("worker", 0, "a", 5, 0.5), ("worker", 1, "b", 7, 1.5)]
    last_phases = [
        tuple(task["phases"][name] for name in ("scheduled", "train", "export", "exit")) for task in document["tasks"]
    ]
    assert last_phases == [(0.5, None, None, 0), (0.5, 6, 2, 1.25), (1.5, 6, None, 3.5)]


def test_a_worker_that_was_not_counted_has_no_steps() -> None:
    fields = {**FIELDS, "target": {"global_step": 1000, "worker_steps": [1000]}}
    assert [task["local_steps"] for task in made(events=worker(0, CHIEF, **fields))["tasks"]] == [None, 1000, None]


def test_a_restarted_worker_ends_with_its_last_process() -> None:
    attempts = [{"spawned_monotonic": 1, "ended_monotonic": 33}, {"spawned_monotonic": 34, "ended_monotonic": 39}]
    records = [record("ps", 0, 1, 39), record("worker", 0, 0, 0, restarts=1, attempts=attempts)]
    chief = made(parts=[part("a", records)], events=worker(0, CHIEF, **FIELDS))["tasks"][1]["phases"]
    assert (chief["scheduled"], chief["train"], chief["exit"]) == (0.5, 6, 1)


def test_of_several_failures_the_last_is_told() -> None:
    cause = {"reason": "exit_66", "task": "worker-1", "message": "worker 1 ended"}
    told = [
        Event("failed", "r", "worker", 1, attempt, 1010.0 + attempt, 10.0 + attempt, {"reason": word, "message": word})
        for attempt, word in enumerate(("Former", "Latter"))
    ]
    document = made(parts=[part("a", [record("worker", 0, 1, 39)], phase="failed", cause=cause)], events=told)
    assert document["cause"]["reason"] == "Latter"
    assert document["cause"]["message"] == "worker 1 ended: Latter"
    assert [event["attempt"] for event in document["cause"]["events"]] == [0, 1]


def test_a_failed_run_is_a_result_with_its_cause() -> None:
    cause = {"reason": "exit_66", "task": "worker-1", "message": "worker 1 ended with exit code 66"}
    failed = Event("failed", "r", "worker", 1, 0, 1010.0, 10.0, {"reason": "DataError", "message": "x is truncated"})
    document = made(
        parts=[part("a", [record("worker", 0, 1, 39)], phase="failed", cause=cause)],
        events=[*worker(0, {"started": 2, "imported": 4}), failed],
        logs={"worker-1": ["prose", "", 'DTF_EVENT {"schema":"dtf.event/1"}', "last words"]},
    )
    assert document["state"] == "failed"
    assert (document["cause"]["reason"], document["cause"]["task"]) == ("DataError", "worker-1")
    assert document["cause"]["message"] == "worker 1 ended with exit code 66: x is truncated"
    assert document["cause"]["log_tail"] == ["prose", "last words"]
    assert [event["event"] for event in document["cause"]["events"]] == ["failed"]
    assert document["phases"]["connect"] == 36
    assert document["training"]["seconds"] is None
    assert_exactly(SCHEMA, document)


def test_hosts_with_other_monotonic_clocks_meet_by_their_wall_clocks() -> None:
    spread = topology("a", "b")
    parts = [
        part("a", [record("ps", 0, 101, 139), record("worker", 0, 101, 139)], offset=100),
        part("b", [record("worker", 1, 9001, 9043)], offset=9000, end=43),
    ]
    events = worker(0, CHIEF, offset=100, **FIELDS) + worker(1, CHIEF, offset=9000)
    document = made(topology=spread, parts=parts, events=events)
    assert document["wall_seconds"] == 43
    assert document["phases"]["exit"] == 5
    assert sum(document["phases"].values()) == pytest.approx(43)
    assert [task["phases"]["start"] for task in document["tasks"] if task["role"] == "worker"] == [1, 1]


def test_only_a_wall_clock_that_was_set_makes_the_phases_miss_the_wall_time() -> None:
    parts = [part("a", [record("ps", 0, 1, 39), record("worker", 0, 1, 39), record("worker", 1, 1, 39.5)])]
    assert run_doubts(facts(made(parts=parts))) == []
    for step in (2, -2):
        ahead = replace(parts[0], ended={"wall": 1040.0 + step, "monotonic": 40.0})
        (doubt,) = run_doubts(facts(made(parts=[ahead])))
        assert (doubt.code, doubt.seen, doubt.expected) == ("phases", 40, 40 + step)


def test_a_wall_clock_that_is_behind_makes_no_phase_negative() -> None:
    behind = HostPart(
        state=part("b", [record("worker", 1, 1, 39)]).state,
        supervisor={"wall": 999.0, "monotonic": 0.5},
        ended={"wall": 1037.5, "monotonic": 39.0},
        environment=MACHINE,
    )
    document = made(topology=topology("a", "b"), parts=[part("a", [record("worker", 0, 1, 39)]), behind])
    late = document["tasks"][2]["phases"]
    assert (late["created"], late["scheduled"], late["start"]) == (0, 0.5, 23)
    assert document["wall_seconds"] == 40


@pytest.mark.parametrize(
    ("state", "cause", "told", "reason", "task"),
    [
        ("succeeded", None, "succeeded", None, None),
        ("stopped", {"reason": "stopped", "message": "asked"}, "stopped", "stopped", None),
        ("stopped", {"reason": "lease_expired", "message": "nobody waits"}, "stopped", "lease_expired", None),
        ("failed", {"reason": "exit_64", "task": "ps-0", "message": "m"}, "failed", "exit_64", "ps-0"),
        ("lost", None, "failed", "supervisor_lost", None),
        ("stopping", None, "failed", "unknown", None),
    ],
)
def test_how_it_ended_and_why(
    state: str, cause: dict[str, Any] | None, told: str, reason: str | None, task: str | None
) -> None:
    document = made(parts=[part("a", [record("worker", 0, 1, 39)], phase=state, cause=cause)])
    assert document["state"] == told
    assert (document["cause"] or {}).get("reason") == reason
    assert (document["cause"] or {}).get("task") == task


def test_only_the_end_of_a_long_log_is_told() -> None:
    cause = {"reason": "exit_1", "task": "worker-0", "message": "m"}
    records = [record("worker", 0, 1, 39)]
    events = worker(0, CHIEF, **FIELDS)
    logs = {"worker-0": [f"line {number}" for number in range(100)], "worker-1": ["of another task"]}
    told = made(parts=[part("a", records, phase="failed", cause=cause)], events=events, logs=logs)["cause"]
    assert told["log_tail"] == [f"line {number}" for number in range(85, 100)]
    assert [entry["event"] for entry in told["events"]] == ["ready", "released", "target", "evaluated", "exported"]


def test_versions_and_data_are_those_of_the_last_attempt_of_the_chief() -> None:
    fields = {"imported": {"python": "3.11.7", "tensorflow": "2.21.0"}, "data": {"sha256": {"f": "0" * 64}}}
    environment = made(events=worker(0, {"started": 2, "imported": 4, "data": 5}, **fields))["environment"]
    assert environment["versions"] == {
        "python": "3.11.7",
        "tensorflow": "2.21.0",
        "ansible": "2.19",
        "collection": "0.1.0",
        "kubernetes": None,
        "container_runtime": None,
    }
    assert environment["data_sha256"] == {"f": "0" * 64}
    assert made(events=[])["environment"]["versions"]["tensorflow"] is None


def test_a_restarted_task_is_counted_and_its_first_start_is_kept() -> None:
    attempts = [{"spawned_monotonic": 1, "ended_monotonic": 15}, {"spawned_monotonic": 16, "ended_monotonic": 39}]
    records = [
        record("ps", 0, 0, 0, restarts=1, attempts=attempts),
        record("worker", 0, 1, 39),
        record("worker", 1, 1, 39, restarts=2, exit_code=137),
    ]
    first_life = {"started": 2, "imported": 4, "serving": 5}
    second_life = {"started": 17, "imported": 19, "serving": 20}
    ps_events = [
        Event(name, "r", "ps", 0, attempt, 1000 + moment, moment, {})
        for attempt, life in enumerate((first_life, second_life))
        for name, moment in life.items()
    ]
    ps, chief, other = made(parts=[part("a", records)], events=worker(0, CHIEF, **FIELDS) + ps_events)["tasks"]
    assert [task["restarts"] for task in (ps, chief, other)] == [1, 0, 2]
    assert [task["exit_code"] for task in (ps, chief, other)] == [0, 0, 137]
    assert {name: ps["phases"][name] for name in ("start", "import", "connect")} == {
        "start": 1, "import": 2, "connect": 1,
    }  # fmt: skip
    assert [ps["phases"][name] for name in ("barrier", "train", "export")] == [None] * 3
    assert ps["phases"]["exit"] == 34, "it served, and came back to serve on"
    assert sum(length for length in ps["phases"].values() if length) == 39
    assert other["phases"]["export"] is None


@pytest.mark.parametrize(
    ("wall", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1767258000.0, "2026-01-01T09:00:00.000Z"),
        (1767258000.0004, "2026-01-01T09:00:00.000Z"),
        (1767257999.9996, "2026-01-01T09:00:00.000Z"),
        (1767258000.25, "2026-01-01T09:00:00.250Z"),
    ],
)
def test_a_moment_is_told_in_utc(wall: float, text: str) -> None:
    assert rfc3339(wall) == text


def test_a_host_that_was_lost_fails_the_run() -> None:
    lost = HostPart(
        state=HostState(
            host="b", name="t", phase="lost", cause={"reason": "host_lost", "task": None, "message": "gone"}
        ),
        supervisor={"wall": 1000.5, "monotonic": 0.5},
        ended={"wall": 1040.0, "monotonic": 40.0},
        environment={},
    )
    parts = [
        part("a", [record("worker", 0, 1, 39)], phase="stopped", cause={"reason": "stopped", "message": "m"}),
        lost,
    ]
    document = made(topology=topology("a", "b"), parts=parts)
    assert document["state"] == "failed"


def test_a_resumed_run_names_what_it_continued() -> None:
    resumed = {"run_id": "before", "global_step": None}
    fields = {**FIELDS, "released": {"global_step": 700}}
    records = [record("worker", 0, 1, 39)]
    document = made(parts=[part("a", records, resumed_from=resumed)], events=worker(0, CHIEF, **fields))
    assert document["resumed_from"] == {"run_id": "before", "global_step": 700}
    assert_exactly(SCHEMA, document)
    assert document["training"]["global_step_first"] == 700


@pytest.mark.parametrize(
    "name", ["one_ps_two_workers", "worker_restarted", "ps_restarted", "sync", "gpu", "failed_data"]
)
def test_golden_events_make_a_valid_document(name: str) -> None:
    text = (ROOT / "tests" / "fixtures" / "events" / f"{name}.jsonl").read_text(encoding="utf-8")
    events = parse(text.splitlines())
    begin, end = events[0], max(event.monotonic for event in events)
    offset = begin.wall - begin.monotonic
    workers = 1 + max(event.index for event in events if event.role == "worker")
    records = [record("worker", index, begin.monotonic, end) for index in range(workers)]
    state = HostState(host="a", name="t", phase="succeeded", run_id=begin.run_id, created=begin.wall - 1, tasks=records)
    supervisor = {"wall": begin.wall - 0.5, "monotonic": begin.monotonic - 0.5}
    ended = {"wall": end + offset, "monotonic": end}
    parts = [HostPart(state=state, supervisor=supervisor, ended=ended, environment=MACHINE)]
    document = made(topology=topology("a", workers=workers), parts=parts, events=events)
    assert sum(document["phases"].values()) == pytest.approx(document["wall_seconds"], rel=0.02)
    steps = [task["local_steps"] for task in document["tasks"] if task["role"] == "worker"]
    models = [[gpu["model"] for gpu in task.get("gpus", ())] for task in document["tasks"]]
    assert any(models) is (name == "gpu")
    if name == "failed_data":
        assert (set(steps), document["training"]["seconds"]) == ({None}, None)
    else:
        assert sum(steps) == document["training"]["global_step_last"]
