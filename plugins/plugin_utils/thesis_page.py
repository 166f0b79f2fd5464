# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The thesis's document to one HTML page that needs nothing beside itself, and to picture files.

Style sheet and script are those of a benchmark's page.

This plugin util is private to the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import thesis_figures
from .drawing import require, style
from .figures import NARROW, WIDE
from .page import PARTS
from .page_data import clean, number, span
from .thesis_claims import VERDICTS

PAGE, FIGURES = "thesis.html", "figures"
#: How a verdict is called on the page.
WORDS = dict(zip(VERDICTS, ("agrees", "disagrees", "not shown", "not measured")))
#: Beside the numbers at the head of the page.
COUNTED = dict(zip(VERDICTS, ("agree", "disagree", "neither shown nor refuted", "not measured")))

Document = Mapping[str, Any]


def thesis_files(document: Document, extensions: Sequence[str]) -> dict[str, bytes]:
    """Return the content of each file, by its path below the report's folder.

    Args:
        document: the thesis's (``dtf.thesis/1``).
        extensions: of the pictures' own files, ``svg`` and ``png``.

    Raises:
        ActionFailed: Matplotlib is not there.
    """
    require()
    shown: Document = clean(document)
    pictures: dict[str, list[tuple[str, Markup]]] = {}
    files: dict[str, bytes] = {}
    classes: dict[str, str] = {}
    with style():
        for experiment in shown["experiments"]:
            if not experiment["here"]:
                continue
            for width in (NARROW, WIDE):
                sheet = thesis_figures.draw(experiment, width)
                alone, inside = sheet.svgs(classes)
                # The page holds the markup that Matplotlib and ElementTree wrote, with their escapes.
                variant = ("narrow" if width == NARROW else "wide", Markup(inside))  # noqa: S704
                pictures.setdefault(experiment["name"], []).append(variant)
            files |= {
                f"{FIGURES}/{experiment['name']}.{kind}": alone if kind == "svg" else sheet.png() for kind in extensions
            }
    rules = "".join(f".picture svg .{name} {{ {text} }}\n" for text, name in classes.items())
    return {PAGE: page(shown, pictures, rules).encode("utf-8"), **files}


def page(document: Document, pictures: Mapping[str, Sequence[tuple[str, Markup]]], rules: str) -> str:
    """Return the page.

    Args:
        document: the thesis's.
        pictures: SVG of each experiment that has one, by ``narrow`` and ``wide``.
        rules: what the classes of the pictures mean.
    """
    environment = Environment(
        loader=FileSystemLoader(str(PARTS)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, span=span, listed=listed)
    own = {entry["name"]: [claim for claim in document["claims"] if claim["experiment"] == entry["name"]]
           for entry in document["experiments"]}  # fmt: skip
    return environment.get_template("thesis.html.j2").render(
        document=document,
        css=Markup((PARTS / "page.css").read_text(encoding="utf-8") + rules),  # noqa: S704
        js=Markup((PARTS / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        pictures=pictures,
        claims=own,
        minima={entry["name"]: list(_minima(entry)) for entry in document["experiments"]},
        titles={entry["name"]: entry["title"] for entry in document["experiments"]},
        words=WORDS,
        counted=COUNTED,
        versions={name.replace("_", " "): value for name, value in document["environment"]["versions"].items()},
    )


def _minima(experiment: Document) -> Iterator[str]:
    """Yield where the lines are lowest, those that are alike in one sentence."""
    alike: dict[tuple[int, bool], list[int]] = {}
    for line in experiment["lines"]:
        if line["minimum"]:
            alike.setdefault((line["minimum"]["at"], line["minimum"]["certain"]), []).append(line["nodes"])
    for (at, certain), nodes in alike.items():
        sure = "every other number is measurably slower" if certain else "the runs leave other places for it"
        some = "node" if nodes == [1] else "nodes"
        yield f"With {listed(nodes)} {some} the shortest mean time here is at {at} {experiment['varied']}; {sure}."


def listed(numbers: Sequence[int]) -> str:
    """Return numbers for a reader, a run of neighbours as its ends."""
    found = sorted(numbers)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found)) or "none"
