"""The writer of event lines: one line, one write, never too long, never mixed."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

import pytest

from dtf_trainer.events import MAX_LINE_BYTES, PREFIX, EventLog


class Recorder(io.StringIO):
    """A stream that counts its calls."""

    def __init__(self) -> None:
        """Nothing written yet."""
        super().__init__()
        self.writes: list[str] = []
        self.flushes = 0

    def write(self, text: str) -> int:
        """Remember one call."""
        self.writes.append(text)
        return super().write(text)

    def flush(self) -> None:
        """Count one call."""
        self.flushes += 1


def log_to(stream: io.StringIO) -> EventLog:
    """Return a log whose clocks stand still."""
    return EventLog(
        run_id="r1", role="worker", index=3, attempt=1, stream=stream, wall=lambda: 1.5, monotonic=lambda: 0.25
    )


def emitted(event: str, **fields: object) -> dict[str, Any]:
    """Return the object of the one line that an event makes, after checking the line."""
    stream = Recorder()
    log_to(stream).emit(event, **fields)
    (line,) = stream.writes
    assert stream.flushes == 1
    assert line.startswith(PREFIX)
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert len(line.encode()) == len(line) <= MAX_LINE_BYTES < 4096
    record: dict[str, Any] = json.loads(line.removeprefix(PREFIX))
    return record


def test_the_line() -> None:
    stream = Recorder()
    log_to(stream).emit("ready", global_step=7)
    line = (
        'DTF_EVENT {"schema":"dtf.event/1","event":"ready","run_id":"r1","role":"worker","index":3,"attempt":1,'
        '"wall":1.5,"monotonic":0.25,"global_step":7}\n'
    )
    assert stream.writes == [line]


def test_an_unknown_event_is_an_error_and_writes_nothing() -> None:
    stream = Recorder()
    with pytest.raises(ValueError, match="'redy' is not one of"):
        log_to(stream).emit("redy", global_step=7)
    assert stream.writes == []


def test_unknown_fields_are_allowed() -> None:
    assert emitted("ready", global_step=0, colour="blue")["colour"] == "blue"


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_know(loss: float) -> None:
    record = emitted("progress", loss=loss, nested={"a": [loss]})
    assert (record["loss"], record["nested"]) == (None, {"a": [None]})


def test_numpy_values_become_plain() -> None:
    np = pytest.importorskip("numpy")
    record = emitted("target", global_step=np.int64(5), worker_steps=np.array([2, 3]), loss=np.float32("nan"))
    assert (record["global_step"], record["worker_steps"], record["loss"]) == (5, [2, 3], None)


@pytest.mark.parametrize("text", ["x" * 10000, "ü" * 5000, '"\n' * 3000, "\U0001f600" * 2000])
def test_long_texts_are_shortened(text: str) -> None:
    record = emitted("failed", reason="data", message=text)
    assert record["message"].endswith("…")
    assert text.startswith(record["message"][:-1])
    assert len(record["message"]) > 100, "as much as fits, not a stub"
    assert record["reason"] == "data"


def test_a_text_that_fits_is_whole() -> None:
    assert emitted("failed", reason="data", message="m" * 3800)["message"] == "m" * 3800


def test_what_cannot_be_shortened_is_left_out_by_name() -> None:
    record = emitted("progress", global_step=10**6, loss=0.5, worker_steps=list(range(10000)), message="m" * 9000)
    assert record["omitted"] == ["worker_steps"]
    assert "worker_steps" not in record
    assert (record["global_step"], record["loss"]) == (10**6, 0.5)


def test_the_default_stream_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    EventLog(run_id="r", role="ps", index=0, attempt=0).emit("started", pid=1, host="h")
    record = json.loads(capsys.readouterr().out.removeprefix(PREFIX))
    assert record["wall"] > 1.6e9
    assert record["monotonic"] >= 0


def test_threads_do_not_mix_lines() -> None:
    stream = Recorder()
    log = log_to(stream)
    threads = [
        threading.Thread(target=lambda: [log.emit("ready", global_step=n) for n in range(200)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1600
    assert all(json.loads(line.removeprefix(PREFIX))["event"] == "ready" for line in lines)


def test_clocks_are_read_in_the_order_of_the_lines() -> None:
    stream = Recorder()
    ticks = iter(range(10000))
    log = EventLog(run_id="r", role="ps", index=0, attempt=0, stream=stream, monotonic=lambda: float(next(ticks)))
    threads = [
        threading.Thread(target=lambda: [log.emit("ready", global_step=0) for _ in range(200)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = [json.loads(line.removeprefix(PREFIX))["monotonic"] for line in stream.getvalue().splitlines()]
    assert times == sorted(times)
