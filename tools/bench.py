"""Measure the trainer: thesis against fast against one process, and what a communication interval brings.

``python tools/bench.py`` (``make bench``) runs real tasks on this machine, one cluster after the other, and writes
``results/bench.json`` and ``results/bench.md``. Rates are global steps over the seconds from the release of the start
barrier to the target, both on the chief's clock. Nothing else should run meanwhile; the load before each run is kept
beside its figures. ``--quick`` takes a tenth of the steps for the slow baseline, ``--only PART`` measures one part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("startup", "floor", "profiles", "intervals")
Record = dict[str, Any]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    found: list[int] = []
    while len(found) < count:
        port = random.randint(15000, 31000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) and port not in found:
                found.append(port)
    return found


def run_cluster(ps: int, workers: int, flags: Sequence[str]) -> Record:
    """Run one training and return its figures. Raises ``RuntimeError``, with the logs, if a task fails."""
    ports = free_ports(ps + workers)
    hosts = [f"127.0.0.1:{port}" for port in ports]
    command = [sys.executable, "-m", "dtf_trainer", f"--ps_hosts={','.join(hosts[:ps])}"]
    command += [f"--worker_hosts={','.join(hosts[ps:])}", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "trainer"), "TF_CPP_MIN_LOG_LEVEL": "2"}
    load = os.getloadavg()[0]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tasks = []
        for job, count in (("ps", ps), ("worker", workers)):
            for index in range(count):
                log = Path(folder) / f"{job}{index}"
                with log.open("w") as stream:
                    task = [*command, f"--job_name={job}", f"--task_index={index}"]
                    tasks.append(subprocess.Popen(task, env=environment, stdout=stream, stderr=subprocess.STDOUT))
        codes = [task.wait(timeout=3600) for task in tasks]
        logs = {path.name: path.read_text() for path in Path(folder).iterdir()}
    if any(codes):
        raise RuntimeError(f"exit codes {codes}\n" + "\n".join(text[-2000:] for text in logs.values()))
    lines = [line for line in logs["worker0"].splitlines() if line.startswith("DTF_EVENT ")]
    events = [json.loads(line.removeprefix("DTF_EVENT ")) for line in lines]
    return {"load_before": round(load, 2), **figures(events, began)}


def figures(events: Sequence[Record], began: float) -> Record:
    """Return the figures in the chief's ``events`` of a run that began at ``began`` (monotonic)."""
    first = {event["event"]: event for event in reversed(events)}
    t0, target = first["released"]["monotonic"], first["target"]
    seconds = target["monotonic"] - t0
    scores = [event for event in events if event["event"] == "evaluated"]
    good = [event["monotonic"] - t0 for event in scores if event["test_accuracy"] >= 0.95 and not event["final"]]
    told = [event for event in events if event["event"] == "progress"]
    per_step = told[-1]["ps_bytes"] / sum(told[-1]["worker_steps"]) if told else None
    return {
        "global_steps": target["global_step"],
        "worker_steps": target["worker_steps"],
        "seconds": round(seconds, 3),
        "steps_per_second": round(target["global_step"] / seconds, 1),
        "accuracy": round(scores[-1]["test_accuracy"], 4),
        "seconds_to_95": round(good[0], 2) if good else None,
        "bytes_per_step": None if per_step is None else round(per_step),
        "start_to_first_step": round(first["first_step"]["monotonic"] - began, 2),
    }


def startup(data: str) -> Record:
    """Compare the time to the first step with importing TensorFlow in as many processes at once."""
    importing, stepping = [], []
    for _ in range(3):
        began = time.monotonic()
        running = [
            subprocess.Popen([sys.executable, "-c", "import tensorflow"], stderr=subprocess.DEVNULL) for _ in "123"
        ]
        for process in running:
            process.wait()
        importing.append(round(time.monotonic() - began, 2))
        stepping.append(run_cluster(1, 2, [f"--data_dir={data}", "--train_steps=100"])["start_to_first_step"])
    importing.sort()
    stepping.sort()
    return {"importing": importing, "to_first_step": stepping, "ratio": round(stepping[1] / importing[1], 2)}


def floor(hidden: int) -> Record:
    """Return the steps a second of one process, by how it computes."""
    found = {}
    for kind in ("function", "xla", "numpy"):
        command = [sys.executable, str(ROOT / "tools" / "bench_floor.py"), kind, str(hidden), "3"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        found[kind] = round(json.loads(done.stdout.splitlines()[-1])["steps_per_second"], 1)
    return found


def profiles(data: str, hidden: int, *, quick: bool) -> Record:
    """Return the runs of both profiles, and of some intervals, at 1 ps and 2 workers."""
    common = [f"--data_dir={data}", f"--hidden_units={hidden}", "--progress_interval_seconds=0.2"]
    runs = {"thesis": run_cluster(1, 2, [*common, "--profile=thesis", f"--train_steps={200 if quick else 2000}"])}
    runs["fast"] = run_cluster(1, 2, [*common, "--train_steps=2000"])
    for interval, steps in ((10, 2000), (50, 20000 if hidden <= 100 else 5000)):
        rounds = [f"--communication_interval={interval}", f"--train_steps={steps}"]
        runs[f"fast, N={interval}"] = run_cluster(1, 2, [*common, *rounds])
    return runs


def intervals(data: str) -> list[Record]:
    """Return the curve of intervals by workers: a run of 2 000 steps, and one that is watched until 0.95."""
    records = []
    for workers in (1, 2, 4):
        for interval in (1, 5, 10, 50):
            common = [f"--data_dir={data}", f"--communication_interval={interval}", "--progress_interval_seconds=0.1"]
            run = run_cluster(1, workers, [*common, "--train_steps=2000"])
            watched = run_cluster(1, workers, [*common, "--train_steps=8000", "--evaluation_interval=250"])
            run["seconds_to_95"] = watched["seconds_to_95"]
            records.append({"workers": workers, "interval": interval, **run})
            say(f"{workers} workers, N={interval}: {run['steps_per_second']} steps/s, {run['accuracy']}")
    return records


def say(line: str) -> None:
    """Show how far the measurement is."""
    print(line, file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join("-" if cell is None else str(cell) for cell in row) for row in rows]
    return [f"| {line} |" for line in lines]


def render(found: Record) -> str:
    """Return the figures as Markdown."""
    lines = [f"{found['machine']}, {found['when']}", ""]
    if "startup" in found:
        start = found["startup"]
        lines.append(f"Start to first step, 1 ps + 2 workers: {start['to_first_step']} s;")
        lines.append(f"importing TensorFlow in three processes at once: {start['importing']} s;")
        lines += [f"ratio of the medians {start['ratio']}.", ""]
    for hidden, runs in found.get("profiles", {}).items():
        base = runs["thesis"]["steps_per_second"]
        rows = [
            (
                name,
                f"{r['steps_per_second']:g}",
                f"{r['steps_per_second'] / base:.1f}",
                r["accuracy"],
                r["global_steps"],
            )
            for name, r in runs.items()
        ]
        rows += [
            (f"one process, {kind}", f"{rate:g}", f"{rate / base:.1f}", None, None)
            for kind, rate in found.get("floor", {}).get(hidden, {}).items()
        ]
        lines += [f"1 ps, 2 workers, hidden {hidden}:", ""]
        lines += [*table(("", "steps/s", "times thesis", "test accuracy", "after steps"), rows), ""]
    if "intervals" in found:
        names = ("workers", "interval", "steps_per_second", "bytes_per_step", "accuracy", "seconds_to_95")
        head = ("workers", "N", "steps/s", "bytes a step", "accuracy after 2 000", "seconds to 0.95")
        lines += table(head, [[r[name] for name in names] for r in found["intervals"]])
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description="Measure the trainer on this machine.")
    parser.add_argument("--data-dir", default=str(Path("~/.cache/dtf/data").expanduser()))
    parser.add_argument("--output", type=Path, default=ROOT / "results")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    parts = options.only or PARTS
    fetch = [sys.executable, "-m", "dtf_trainer", "--download_only", f"--data_dir={options.data_dir}"]
    subprocess.run(fetch, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "trainer")}, stdout=sys.stderr)
    found: Record = {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }
    if "startup" in parts:
        found["startup"] = startup(options.data_dir)
    if "floor" in parts:
        found["floor"] = {str(hidden): floor(hidden) for hidden in (100, 1000)}
    if "profiles" in parts:
        found["profiles"] = {}
        for hidden in (100, 1000):
            found["profiles"][str(hidden)] = profiles(options.data_dir, hidden, quick=options.quick)
            say(f"hidden {hidden}: { {n: r['steps_per_second'] for n, r in found['profiles'][str(hidden)].items()} }")
    if "intervals" in parts:
        found["intervals"] = intervals(options.data_dir)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "bench.json").write_text(json.dumps(found, indent=2) + "\n")
    (options.output / "bench.md").write_text(render(found))
    print(render(found), end="")
    say(f"written to {options.output}/bench.json and bench.md")


if __name__ == "__main__":
    main()
