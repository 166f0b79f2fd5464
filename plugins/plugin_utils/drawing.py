# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where Matplotlib comes from, and what its pictures become: the one place that imports it.

A :class:`Sheet` is one picture in points. It is written three ways from one drawing: PNG, SVG as a file of its own, and
SVG to stand inside a page. In the last, colours are variables of the page's style sheet, so that it follows light and
dark; whatever can be pointed at has its words in ``data-tip``. The same drawing gives the same bytes.

This plugin util is private to the collection.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree as ET

from ..module_utils.errors import ActionFailed

try:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import Bbox

    MISSING = ""
except ImportError as problem:
    mpl = FigureCanvasAgg = FigureCanvasSVG = Figure = Rectangle = Bbox = None  # type: ignore[assignment,misc,unused-ignore]
    MISSING = str(problem)

__all__ = ["Rectangle", "Sheet", "mpl", "nice_ticks", "require", "shortened", "style"]

#: Colours by the name of the page's variable; each value occurs once, because the page finds them by it.
INK, MUTED, GRID, PAPER = "#1c2126", "#5b6570", "#dfe3e8", "#fefefe"
#: Okabe and Ito's colours, which colour-blind readers can tell apart, in the order in which lines get them.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "D", "^", "v", "P")
#: Those of the phases; training is the blue that the measured times have. The grey is dark: a light one is the pink of
#: connecting to whoever sees no green.
PHASES = {
    "schedule": "#4a5560",
    "image": "#f0e443",
    "start, import": "#e69f01",
    "connect": "#cc79a8",
    "barrier": "#d55e01",
    "train": "#0072b3",
    "export, exit": "#009e74",
    "serves": "#56b4ea",
}
#: Those of a platform's parts, which never stand beside phases.
PARTS = dict(
    zip(
        ("control plane", "kubelet", "container runtime", "network", "registry"),
        (PHASES[kind] for kind in ("train", "start, import", "export, exit", "connect", "schedule")),
    )
)
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    **{colour: f"line-{place}" for place, colour in enumerate(LINES)},
    **{colour: f"phase-{place}" for place, colour in enumerate(PHASES.values())},
}

TITLE, TEXT = 12.5, 10.0
#: Points around a picture that stands alone; a page has margins of its own.
MARGIN = 14
#: Width of a letter over the size of its font, on the wide side.
LETTER = 0.56
#: Dots of a PNG for each point.
SHARPNESS = 2.5
Tell = Callable[[ET.Element, str], None]
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "text.color": INK,
    # A name with two dollar signs is a name, not a formula.
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": TEXT,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "path.simplify": False,
}


def require() -> None:
    """Return if Matplotlib is there.

    Raises:
        ActionFailed: it is not.
    """
    if MISSING:
        raise ActionFailed(
            "missing_library",
            f"pictures need matplotlib on the controller ({MISSING}): python -m pip install matplotlib, "
            "with the Python that runs ansible-playbook; or report without a page: report_page: false",
        )


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's own configuration of Matplotlib says."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        # A letter that the font of the PNG lacks is a box there, and itself in the page.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        yield


def shortened(text: str, width: float, size: float = TEXT) -> str:
    """Return a text that fits into a width in points, its end left out if need be."""
    most = max(4, int(width / (LETTER * size)))
    return text if len(text) <= most else text[: most - 1].rstrip(" ,") + "\N{HORIZONTAL ELLIPSIS}"


class Sheet:
    """One picture, in points from its upper left corner.

    Args:
        name: names its files, and what is inside it.
        width: in points; about as many pixels on a page.
        height: of the whole; ``head`` of it is title, subtitle and legend.
        title: what is shown.
        subtitle: unit and number of runs.
        legend: colour and label of each entry, with the marker of a line or ``None`` for a patch.
    """

    def __init__(
        self,
        name: str,
        width: float,
        height: float,
        title: str,
        subtitle: str,
        legend: Sequence[tuple[str, str, str | None]] = (),
    ) -> None:
        self.name, self.width, self.title = name, width, title
        self._places = self._legend_places(legend)
        lines = textwrap.wrap(subtitle, max(20, int(width / (LETTER * TEXT))), break_long_words=True)[:2] or [""]
        above = 33.0 + 13 * (len(lines) - 1)
        self.head = above + 11 + (16 * (self._places[-1][1] + 1) if self._places else 0)
        self.height = height + self.head
        self.figure = Figure(figsize=(width / 72, self.height / 72), dpi=72)
        self._tips: dict[str, list[str]] = {}
        self.overlay = self.figure.add_axes((0, 0, 1, 1))
        self.overlay.set(xlim=(0, width), ylim=(self.height, 0))
        self.overlay.set_axis_off()
        self.overlay.text(0, 13, shortened(title, width, TITLE), size=TITLE, weight="bold", va="baseline")
        for place, line in enumerate(lines):
            self.overlay.text(0, 29 + 13 * place, line, color=MUTED, va="baseline")
        for (left, row), (colour, label, marker) in zip(self._places, legend):
            y = above + 13 + 16 * row
            if marker is None:
                self.overlay.add_patch(Rectangle((left, y - 8), 9, 9, facecolor=colour, linewidth=0))
            else:
                self.overlay.plot([left, left + 12], [y - 3.5] * 2, color=colour, linewidth=1.4)
                self.overlay.plot([left + 6], [y - 3.5], marker=marker, color=colour, markersize=5, linewidth=0)
            text = shortened(label, width - left - 16)
            self.overlay.text(left + (13 if marker is None else 17), y, text, color=MUTED, va="baseline")

    def _legend_places(self, legend: Sequence[tuple[str, str, str | None]]) -> list[tuple[float, int]]:
        """Return where each entry begins, and in which row."""
        places: list[tuple[float, int]] = []
        left, row = 0.0, 0
        for _colour, label, _marker in legend:
            wide = min(self.width, 30 + LETTER * TEXT * len(label))
            if left and left + wide > self.width:
                left, row = 0.0, row + 1
            places.append((left, row))
            left += wide
        return places

    def axes(self, left: float, right: float, bottom: float) -> Any:
        """Return the axes below the head, with margins in points."""
        size = (
            left / self.width,
            bottom / self.height,
            (self.width - left - right) / self.width,
            (self.height - self.head - bottom) / self.height,
        )
        return self.figure.add_axes(size)

    def tell(self, artist: Any, tips: Sequence[str]) -> None:
        """Let each mark of an artist tell its tip when it is pointed at."""
        key = f"tip-{len(self._tips)}"
        artist.set_gid(key)
        self._tips[key] = list(tips)

    def png(self) -> bytes:
        """Return the picture as PNG."""
        FigureCanvasAgg(self.figure)
        target = io.BytesIO()
        edge = Bbox([[-MARGIN / 72, -MARGIN / 72], [(self.width + MARGIN) / 72, (self.height + MARGIN) / 72]])
        dpi = 72 * SHARPNESS
        self.figure.savefig(target, format="png", dpi=dpi, metadata={"Software": None}, bbox_inches=edge)
        return target.getvalue()

    def svgs(self, classes: dict[str, str]) -> tuple[bytes, str]:
        """Return the picture as an SVG file, and as SVG to stand inside a page.

        Args:
            classes: name of a class by the style it stands for, of all pictures of a page; new ones are added.
        """
        FigureCanvasSVG(self.figure)
        target = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
        ET.register_namespace("", SVG)
        ET.register_namespace("xlink", XLINK)
        whole, inner = (ET.fromstring(target.getvalue()) for _twice in range(2))  # noqa: S314 (Matplotlib wrote it)
        _tidy(whole, self.name, self._tips, _title)
        _tidy(inner, f"{self.name}-{self.width:g}", self._tips, _data)
        _alone(whole, self.width, self.height)
        _into_page(inner, self.title, classes)
        file = ET.tostring(whole, encoding="utf-8", xml_declaration=True)
        return file + b"\n", ET.tostring(inner, encoding="unicode")


def _title(element: ET.Element, tip: str) -> None:
    """Let a picture file tell it: a browser shows an element's title."""
    title = ET.Element(f"{{{SVG}}}title")
    title.text = tip
    element.insert(0, title)


def _data(element: ET.Element, tip: str) -> None:
    """Let a page tell it."""
    element.set("data-tip", tip)


def _tidy(root: ET.Element, name: str, tips: Mapping[str, Sequence[str]], tell: Tell) -> None:
    """Leave what is seen: no metadata, no names that nothing refers to; tips where they belong."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style", f"{{{SVG}}}clipPath"):
                parent.remove(child)
        # Nothing is drawn that would have to be cut off.
        parent.attrib.pop("clip-path", None)
    # Tips first: their groups are found by the names that are then taken away.
    for group in list(root.iter()):
        own = tips.get(group.get("id", ""))
        if own is not None:
            _tell_marks(group, own, tell)
    referred = {found[1:] for element in root.iter() if (found := element.get(f"{{{XLINK}}}href"))}
    for element in root.iter():
        key = element.attrib.pop("id", None)
        if key in referred:
            element.set("id", f"{name}-{key}")
        if element.get(f"{{{XLINK}}}href"):
            # A page has many pictures, and a name in it only one meaning.
            element.set(f"{{{XLINK}}}href", f"#{name}-{element.attrib[f'{{{XLINK}}}href'][1:]}")
        _shorten(element)
    _unwrap(root)


def _shorten(element: ET.Element) -> None:
    """Write numbers with as many digits as can be seen, and nothing that says nothing."""
    element.text, element.tail = (element.text or "").strip("\n ") or None, None
    for attribute in ("d", "x", "y", "transform"):
        value = element.get(attribute)
        if value:
            element.set(attribute, re.sub(r"-?\d+\.\d+", _rounded, " ".join(value.split())))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if not element.get("style", " "):
        del element.attrib["style"]


def _unwrap(element: ET.Element) -> None:
    """Take away the groups that only hold others together, and those that hold nothing."""
    children: list[ET.Element] = []
    for child in element:
        _unwrap(child)
        if child.tag in (f"{{{SVG}}}g", f"{{{SVG}}}defs") and not len(child):
            continue
        children += list(child) if child.tag == f"{{{SVG}}}g" and not child.attrib else [child]
    element[:] = children


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found.group()):.2f}".rstrip("0").rstrip(".")


def _tell_marks(group: ET.Element, tips: Sequence[str], tell: Tell) -> None:
    marks = [element for element in group.iter() if element.tag == f"{{{SVG}}}use"]
    if not marks:
        defined = {id(path) for defs in group.iter(f"{{{SVG}}}defs") for path in defs.iter()}
        marks = [path for path in group.iter(f"{{{SVG}}}path") if id(path) not in defined]
    if len(marks) != len(tips):
        raise ValueError(f"{len(tips)} tips for {len(marks)} marks")
    for mark, tip in zip(marks, tips):
        tell(mark, tip)


def _alone(root: ET.Element, width: float, height: float) -> None:
    """Put paper behind a picture and a margin around it."""
    size = {"width": f"{width + 2 * MARGIN:g}", "height": f"{height + 2 * MARGIN:g}"}
    corner = {"x": f"{-MARGIN}", "y": f"{-MARGIN}"}
    root.set("viewBox", f"{-MARGIN} {-MARGIN} {size['width']} {size['height']}")
    for attribute, value in size.items():
        root.set(attribute, value)
    root.insert(0, ET.Element(f"{{{SVG}}}rect", {**corner, **size, "fill": PAPER}))


def _into_page(root: ET.Element, title: str, classes: dict[str, str]) -> None:
    """Let the page choose size, colours and font; what many marks have in common is said once, in its style sheet."""
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", title)
    for element in root.iter():
        value = element.attrib.pop("style", "")
        if not value:
            continue
        for colour, variable in VARIABLES.items():
            value = value.replace(colour, f"var(--{variable})")
        value = re.sub(r"font-family: 'DejaVu Sans';? ?", "", re.sub(r"font-weight: 700", "font-weight: 600", value))
        element.set("class", classes.setdefault(value, f"k{len(classes)}"))
    # What is behind everything is the page.
    ground = root.find(f"{{{SVG}}}path")
    if ground is not None and ground.get("class") == classes.get("fill: var(--paper)"):
        root.remove(ground)


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from at most ``low`` to at least ``high``."""
    if high <= low:
        return [low]
    raw = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(place * step, 10) for place in range(first, last + 1)]
