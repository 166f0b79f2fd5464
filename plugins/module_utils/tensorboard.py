# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TensorBoard over a benchmark's runs: what each is called and has to show, how the server is started. Pure.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .grid import cell_of
from .spec import Topology
from .stats import STARTUP
from .sweep import moment, repeat_of, varying_words, when_made

#: Words that name a cell even where all cells share them.
ALWAYS = ("workers", "ps")
#: What the trainer's own summaries call the columns of a document's curves.
TAGS = {
    "batch": {"loss": "cross_entropy", "steps_per_second": "global_steps_per_second"},
    "test": {"accuracy": "test_accuracy", "loss": "test_loss"},
}
#: What the server writes once it listens.
_ADDRESS = re.compile(r"^TensorBoard \S+ at (http://\S+?:[0-9]+/)", re.MULTILINE)

Document = Mapping[str, Any]


def run_names(runs: Sequence[Document]) -> dict[str, str]:
    """Return name to run id, as ``workers=2 ps=1/repeat 1``, oldest first.

    TensorBoard groups what stands before the slash. Words that all runs share are not in a name, but for the number of
    tasks; a run that did not succeed says so, and runs that would have the same name are numbered.
    """
    ordered = sorted(runs, key=when_made)
    cells = [cell_of(Topology.from_params(run["spec"])) for run in ordered]
    told = [*ALWAYS, *(word for word in varying_words(cells) if word not in ALWAYS)]
    found: dict[str, str] = {}
    for run, cell in zip(ordered, cells):
        words = " ".join(f"{word}={_value(cell[word])}" for word in told if cell[word] is not None)
        name = f"{words}/{_which(run)}"
        again = 1
        while (name if again == 1 else f"{name} ({again})") in found:
            again += 1
        found[name if again == 1 else f"{name} ({again})"] = str(run["run_id"])
    return found


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _which(run: Document) -> str:
    repeat = repeat_of(run)
    name = "run" if repeat is None else f"repeat {repeat}" if repeat else "warm-up"
    return name if run["state"] == "succeeded" else f"{name} {run['state']}"


def points(run: Document) -> list[dict[str, Any]]:
    """Return what a run that kept no summaries has to show: the curves of its document, as summaries would have them.

    Returns:
        ``{wall, step, values}`` in the order of time: seconds since the epoch, global step, value by tag. Nothing of a
        run that told nothing of its training.
    """
    released = moment(run["created"]) + sum(run["phases"][name] for name in STARTUP)
    found = []
    for name, tags in TAGS.items():
        curve = (run["training"].get("curves") or {}).get(name) or {}
        columns = (curve.get(column) or () for column in ("seconds", "global_step", *tags))
        for seconds, step, *values in zip(*columns):
            told = {tag: value for tag, value in zip(tags.values(), values) if value is not None}
            if told and seconds is not None and step is not None:
                found.append({"wall": released + seconds, "step": step, "values": told})
    return sorted(found, key=lambda point: point["wall"])


def command(python: str, folder: str, host: str, port: int) -> list[str]:
    """Return the command line of a server over a folder of runs."""
    return [python, "-m", "tensorboard.main", "--logdir", folder, "--host", host, "--port", str(port)]


def address(log: str) -> str | None:
    """Return where a server listens, from what it has written; ``None`` before it does."""
    found = _ADDRESS.search(log)
    return found.group(1) if found else None
