"""Writes runs in the files that TensorBoard reads, with TensorBoard's own writer; run by the Python that has it.

Standard input is JSON, ``[{"folder": path, "points": [{"wall": seconds, "step": n, "values": {tag: value}}]}]``.
"""

from __future__ import annotations

import json
import sys

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def main() -> None:
    """Read what there is to write, and write it."""
    for run in json.load(sys.stdin):
        writer = EventFileWriter(run["folder"])
        for point in run["points"]:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in point["values"].items()]
            writer.add_event(Event(wall_time=point["wall"], step=point["step"], summary=Summary(value=values)))
        writer.close()


if __name__ == "__main__":
    main()
