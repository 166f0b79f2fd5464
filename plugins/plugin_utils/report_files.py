# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A benchmark's folder to the files of its page: what is read, drawn, and which of them are not made any more.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..module_utils.errors import ActionFailed
from . import page_data
from .drawing import require
from .figures import Picture
from .page import draw, page

PAGE = "report.html"
FIGURES = "figures"
#: Names that pictures ever have; whatever else lies in their folder is somebody's own.
_OURS = re.compile(
    r"(answer|time|speed-up|efficiency|cells|map-(ps|nodes)|phases|price-(training|phases|platform)|timeline"
    r"|(accuracy|test-loss|loss)-(step|seconds))(-\d+)?\.(svg|png)"
)


def read_document(directory: Path) -> dict[str, Any]:
    """Return the benchmark's document.

    Raises:
        ActionFailed: there is none, or it is of another schema.
    """
    path = directory / "benchmark.json"
    again = "summarise the runs first, with dtf.cluster.benchmark_report"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ActionFailed("no_document", f"there is no {path}: {again}") from None
    except ValueError as problem:
        raise ActionFailed("no_document", f"{path} is no JSON ({problem}): {again}") from problem
    found = document.get("schema") if isinstance(document, dict) else None
    if found != page_data.SCHEMA:
        raise ActionFailed("wrong_schema", f"{path} is of schema {found!r}, accepted: {page_data.SCHEMA!r}; {again}")
    return document


def report_files(directory: Path, document: Mapping[str, Any], extensions: Sequence[str]) -> dict[str, bytes]:
    """Return the content of each file of the report, by its path below the benchmark's folder.

    Args:
        directory: where the runs are.
        document: the benchmark's.
        extensions: of the pictures' own files, ``svg`` and ``png``.

    Raises:
        ActionFailed: Matplotlib is not there.
    """
    require()
    document = page_data.clean(document)
    drawn, rules = draw(_pictures(directory, document), extensions)
    files = {PAGE: page(document, drawn, rules).encode("utf-8")}
    for one in drawn:
        files.update({f"{FIGURES}/{one.name}.{extension}": content for extension, content in one.files.items()})
    return files


def former_files(directory: Path, files: Mapping[str, bytes]) -> list[str]:
    """Return the pictures that an earlier report has left and this one does not make."""
    found = [f"{FIGURES}/{path.name}" for path in (directory / FIGURES).glob("*") if _OURS.fullmatch(path.name)]
    return sorted(set(found) - set(files))


def _pictures(directory: Path, document: Mapping[str, Any]) -> list[Picture]:
    cells = document["cells"]
    traces = []
    for place, run_id in page_data.runs_to_read(document):
        run = _run(directory, run_id)
        if run is not None:
            kept = run["training"].get("curves") or {}
            traces.append((cells[place]["label"], page_data.size_of(cells[place]), kept))
    measured = sum(1 for cell in cells if page_data.counted_runs(cell))
    found: list[Picture | None] = [
        page_data.answer_picture(document),
        *page_data.scales(document),
        *page_data.heats(document),
        page_data.strip(document),
        page_data.phase_bars(document),
        _timeline(directory, document),
        *page_data.price_pictures(document),
        *page_data.curves(traces, measured),
    ]
    return [picture for picture in found if picture is not None]


def _timeline(directory: Path, document: Mapping[str, Any]) -> page_data.Bars | None:
    chosen = page_data.timeline_run(document)
    if chosen is None:
        return None
    place, run_id = chosen
    run = _run(directory, run_id)
    return None if run is None else page_data.timeline(run, document["cells"][place]["label"])


def _run(directory: Path, run_id: str) -> dict[str, Any] | None:
    """Return a run's document; ``None`` where it is gone: a benchmark's can be read without the runs it is from."""
    try:
        run: dict[str, Any] = page_data.clean(json.loads((directory / run_id / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return run
