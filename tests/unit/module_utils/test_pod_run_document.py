"""The document of a run of pods, from objects and events, against its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.pod_run_document import Ended, kept_events, pod_run_document
from ansible_collections.dtf.cluster.plugins.module_utils.pod_timings import Skew, Stretch
from tests.unit.module_utils.pod_samples import BEGIN, DIGEST, ended, pod, pulled, said, topology, views
from tests.unit.module_utils.schema_check import assert_exactly

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "schemas" / "run.schema.json").read_text(encoding="utf-8"))
ARTIFACTS = {"logs": {}, "events": "events.jsonl", "export": None, "checkpoint": None, "objects": "objects.json"}
VERSIONS = {"ansible": "2.19", "collection": "0.1.0", "kubernetes": "1.36"}
NODE = {
    "metadata": {"name": "w1"},
    "status": {
        "capacity": {"cpu": "2", "memory": "2048Ki"},
        "nodeInfo": {"containerRuntimeVersion": "containerd://2.1.0", "kernelVersion": "6"},
    },
}
CHIEF = {"started": 6, "imported": 9, "connected": 11, "ready": 12, "released": 14, "target": 24, "finished": 26}
WORKER = {"started": 7, "imported": 10, "ready": 13, "released": 14.5, "target": 24, "finished": 25}
PS = {"started": 5, "imported": 8, "serving": 9, "finished": 27}
DONE = {"exit_code": 0, "cpu_seconds": 1.5, "max_rss_bytes": 7}
FIELDS: dict[str, Any] = {
    "imported": {"python": "3.12", "tensorflow": "2.19"},
    "connected": {"resumed_from": None},
    "released": {"global_step": 0},
    "target": {"global_step": 100, "worker_steps": [60, 40]},
    "finished": DONE,
}


def stretch(role: str, index: int, moments: dict[str, float], node: str = "w1", **fields: Any) -> Stretch:
    return Stretch(f"{role}-{index}", "p", node, said(role, index, moments, **{**FIELDS, **fields}))


STRETCHES = [stretch("ps", 0, PS), stretch("worker", 0, CHIEF), stretch("worker", 1, WORKER, "w2")]


def made(**changes: Any) -> dict[str, Any]:
    """Return the document of a run that was decided at 0.5, seen to be over at 40."""
    wanted = changes.pop("topology", topology())
    pods = changes.pop("pods", [pod("ps"), pod("chief"), pod("worker", node="w2")])
    arguments: dict[str, Any] = {
        "run_id": "r",
        "created": BEGIN + 0.5,
        "ended": BEGIN + 40,
        "phase": "succeeded",
        "cause": None,
        "resumed_from": None,
        "pods": views(wanted, *pods),
        "events": [pulled("demo-chief-0", "Successfully pulled image x in 3s")],
        "nodes": [NODE],
        "stretches": STRETCHES,
        "logs": {},
        "skews": [Skew("w1", 0.01, 0.05, 3), Skew("w2", None, None, 0, "leases may not be read")],
        **changes,
    }
    document: dict[str, Any] = json.loads(json.dumps(pod_run_document(wanted, Ended(**arguments), ARTIFACTS, VERSIONS)))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def test_a_run_that_succeeded_is_written_as_its_schema_says() -> None:
    document = made()
    assert_exactly(SCHEMA, document)
    assert (document["state"], document["cause"], document["runtime"]) == ("succeeded", None, "kubernetes")
    assert (document["backend"], document["resumed_from"]) == ("indexed_job", None)
    # It was over when the last of its tasks said so, not when somebody looked.
    assert (document["created"], document["finished"]) == ("2026-01-02T03:04:00.500Z", "2026-01-02T03:04:27.000Z")
    assert document["wall_seconds"] == 26.5
    assert document["training"]["seconds"] == 10
    assert (document["training"]["steps_per_second"], document["training"]["clock"]) == (10, "chief monotonic")


def test_every_task_s_phases_add_up() -> None:
    document = made()
    assert sum(document["phases"].values()) == pytest.approx(document["wall_seconds"])
    ends = {"ps-0": 27, "worker-0": 27, "worker-1": 25}
    for task in document["tasks"]:
        lengths = [length for length in task["phases"].values() if length is not None]
        assert sum(lengths) == pytest.approx(ends["{role}-{index}".format(**task)] - 0.5)
    assert document["phases"]["image"] == 3
    assert document["tasks"][1]["phases"] == document["phases"]


def test_phases_that_a_task_does_not_have() -> None:
    missing = [{name for name, length in task["phases"].items() if length is None} for task in made()["tasks"]]
    assert missing == [{"barrier", "train", "export"}, set(), {"export"}]


def test_what_tasks_did() -> None:
    tasks = made()["tasks"]
    assert [(task["role"], task["index"], task["host"]) for task in tasks] == [
        ("ps", 0, "w1"),
        ("worker", 0, "w1"),
        ("worker", 1, "w2"),
    ]
    assert [task["local_steps"] for task in tasks] == [None, 60, 40]
    assert {(task["exit_code"], task["cpu_seconds"], task["max_rss_bytes"]) for task in tasks} == {(0, 1.5, 7)}
    assert {task["restarts"] for task in tasks} == {0}


def test_a_restarted_task() -> None:
    again = [
        stretch("worker", 1, {"started": 7, "released": 14.5, "finished": 15}, finished={"exit_code": 75}),
        stretch("worker", 1, {"started": 18, "target": 24, "finished": 25}),
    ]
    task = made(stretches=[*STRETCHES[:2], *again])["tasks"][2]
    # The pods are not listed with their restarts yet, the logs tell already.
    assert (task["restarts"], task["exit_code"], task["cpu_seconds"]) == (1, 0, 1.5)


@pytest.mark.parametrize(
    ("chief", "finished", "code"),
    [
        ({"state": ended(143)}, DONE, 143),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "last": ended(139), "restarts": 1}, DONE, 139),
        # A task that idles in its container has said how it ended.
        ({}, DONE, 0),
        ({"last": ended(75), "restarts": 1}, {"exit_code": 0}, 0),
        ({}, {}, None),
    ],
)
def test_an_exit_code(chief: dict[str, Any], finished: dict[str, Any], code: int | None) -> None:
    stretches = [stretch("worker", 0, CHIEF, finished=finished)]
    assert made(pods=[pod("chief", **chief)], stretches=stretches)["tasks"][1]["exit_code"] == code


CAUSE = {
    "reason": "exit_66",
    "task": "worker-1",
    "object": "Pod demo-worker-0",
    "message": "worker-1 (pod demo-worker-0): found its data set missing or damaged (exit code 66)",
    "next_step": "look at data_dir",
    "events": [{"event": "BackOff", "message": "m"}],
}


def test_a_run_that_failed_says_why_in_the_task_s_own_words() -> None:
    events = stretch("worker", 1, {"started": 7, "failed": 8, "finished": 9}, failed={"message": "no such file: x.npz"})
    log = ["DTF_EVENT {}", "Traceback", "", *(f"line {number}" for number in range(40))]
    document = made(
        phase="failed", cause=CAUSE, stretches=[*STRETCHES[:1], events], logs={"worker-1": log, "ps-0": ["other"]}
    )
    assert_exactly(SCHEMA, document)
    cause = document["cause"]
    assert cause["message"] == CAUSE["message"] + ": no such file: x.npz"
    assert (cause["reason"], cause["task"], cause["object"]) == ("exit_66", "worker-1", "Pod demo-worker-0")
    assert cause["next_step"] == "look at data_dir"
    assert [event["event"] for event in cause["events"]] == ["BackOff", "started", "failed", "finished"]
    assert cause["log_tail"][-1] == "line 39"
    assert not any(line.startswith("DTF_EVENT") or not line for line in cause["log_tail"])
    # Nobody finished, so it was over when that was seen.
    assert document["wall_seconds"] == 39.5
    assert document["training"]["seconds"] is None


def test_a_run_that_was_stopped() -> None:
    cause = {"reason": "stopped", "task": None, "object": None, "message": "m", "next_step": None, "events": []}
    document = made(phase="stopped", cause=cause, stretches=[], pods=[])
    assert_exactly(SCHEMA, document)
    assert (document["state"], document["cause"]["log_tail"], document["environment"]["hosts"]) == ("stopped", [], [])
    assert [(task["host"], task["exit_code"], task["local_steps"]) for task in document["tasks"]] == [
        ("", None, None)
    ] * 3
    assert document["phases"]["created"] == document["wall_seconds"] == 39.5


def test_a_cause_that_came_from_the_cluster_s_memory_is_short() -> None:
    """Whoever waited before has written down what it was, without evidence."""
    document = made(phase="failed", cause={"reason": "quota", "task": None, "message": "m"}, stretches=[])
    assert {name: document["cause"][name] for name in ("object", "next_step", "events")} == {
        "object": None, "next_step": None, "events": [],
    }  # fmt: skip
    assert made(phase="failed", cause=None)["cause"]["reason"] == "unknown"


@pytest.mark.parametrize(
    ("intended", "connected", "resumed"),
    [
        (None, None, None),
        ("r0", "r0", {"run_id": "r0", "global_step": 50}),
        # Its checkpoint was not there: it began anew.
        ("r0", None, None),
        # A chief that was restarted continues its own run.
        ("r0", "r", None),
    ],
)
def test_what_was_continued(intended: str | None, connected: str | None, resumed: dict[str, Any] | None) -> None:
    fields = {"connected": {"resumed_from": connected}, "released": {"global_step": 50}}
    document = made(resumed_from=intended, stretches=[stretch("worker", 0, CHIEF, **fields)])
    assert document["resumed_from"] == resumed
    never_there = made(phase="failed", cause=CAUSE, resumed_from=intended, stretches=[])["resumed_from"]
    assert never_there == (intended and {"run_id": intended, "global_step": None})


def test_where_it_ran() -> None:
    environment = made()["environment"]
    unseen = {"load_before": None, "clock_ahead_seconds": None}
    nothing = {"cores": None, "memory_bytes": None, "cpu_model": None, "kernel": None}
    assert environment["hosts"] == [
        {"name": "w1", "cores": 2, "memory_bytes": 2 * 2**20, "cpu_model": None, "kernel": "6", **unseen},
        {"name": "w2", **nothing, **unseen},
    ]
    assert environment["versions"] == {
        "python": "3.12",
        "tensorflow": "2.19",
        **VERSIONS,
        "container_runtime": "containerd://2.1.0",
    }
    assert environment["image_digest"] == DIGEST


def test_clocks_that_disagree_are_told() -> None:
    late = [stretch("worker", 0, {name: moment - 10 for name, moment in CHIEF.items()})]
    document = made(stretches=[*STRETCHES[:1], *late])
    assert document["clocks"]["notes"][0].startswith("worker-0: start ended 6.000 s before it began")
    assert [entry["name"] for entry in document["clocks"]["beside_controller"]] == ["w1", "w2"]
    assert sum(document["phases"].values()) == pytest.approx(document["wall_seconds"])


def test_nothing_ends_before_it_began() -> None:
    """The nodes' clocks are an hour behind the controller's."""
    behind = [
        stretch("worker", 0, {name: moment - 3600 for name, moment in CHIEF.items()}),
        stretch("ps", 0, {name: moment - 3600 for name, moment in PS.items()}),
    ]
    document = made(stretches=behind)
    assert document["wall_seconds"] == 0
    assert document["training"]["seconds"] == 10
    assert document["clocks"]["notes"]


def test_events_are_kept_in_few_words() -> None:
    assert kept_events([pulled("p", "w")]) == [
        {"event": "Pulled", "object": "Pod p", "type": "Normal", "count": 1, "wall": BEGIN + 2, "message": "w"}
    ]


def test_a_chief_that_was_moved_in_the_midst_is_timed_by_wall_clocks_and_the_document_says_so() -> None:
    first = stretch("worker", 0, {"started": 6, "imported": 9, "ready": 12, "released": 14})
    again = Stretch(
        "worker-0", "q", "w2", said("worker", 0, {"started": 18, "target": 24, "finished": 26}, 5, **FIELDS)
    )
    document = made(stretches=[STRETCHES[0], first, again, STRETCHES[2]])
    assert document["training"]["seconds"] == pytest.approx(10)
    assert document["training"]["clock"] == "wall clocks of the nodes that the chief ran on"
    assert sum(document["phases"].values()) == pytest.approx(document["wall_seconds"])
    assert document["tasks"][1]["restarts"] == 1
