# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TensorBoard over a benchmark's runs: what each run is called, what the server is started with, what it says. Pure.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .grid import cell_of
from .spec import Topology
from .sweep import repeat_of, varying_words

#: Words that name a cell even where all cells share them.
ALWAYS = ("workers", "ps")
#: What the server writes once it listens.
_ADDRESS = re.compile(r"^TensorBoard \S+ at (http://\S+?:[0-9]+/)", re.MULTILINE)

Document = Mapping[str, Any]


def run_names(runs: Sequence[Document]) -> dict[str, str]:
    """Return name to run id, as ``workers=2 ps=1/repeat 1``, oldest first.

    TensorBoard groups what stands before the slash. Words that all runs share are not in a name, but for the number of
    tasks; a run that did not succeed says so, and runs that would have the same name are numbered.
    """
    ordered = sorted(runs, key=lambda run: (str(run["created"]), str(run["run_id"])))
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


def command(python: str, folder: str, host: str, port: int) -> list[str]:
    """Return the command line of a server over a folder of runs."""
    return [python, "-m", "tensorboard.main", "--logdir", folder, "--host", host, "--port", str(port)]


def address(log: str) -> str | None:
    """Return where a server listens, from what it has written; ``None`` before it does."""
    found = _ADDRESS.search(log)
    return found.group(1) if found else None
