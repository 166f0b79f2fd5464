"""A benchmark's page: what is drawn and what is not, what is thinned, and that names are only ever names."""

from __future__ import annotations

import copy
import html
import json
import math
import re
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import synthetic_benchmark
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.benchmark_directory import read_plan, read_runs
from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.plugin_utils import drawing, page_data, report_files
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import benchmark_document
from ansible_collections.dtf.cluster.plugins.plugin_utils.page_data import Dot
from ansible_collections.dtf.cluster.plugins.plugin_utils.scaling_laws import Times, usl

LAW = synthetic_benchmark.Law(one=60.0, contention=0.06, coherency=0.006, noise=0.03)
WORDS = {"workers": "1,2,4,8", "ps": "1,2", "runtime": "process,kubernetes", "repeats": "4"}
#: What somebody might call a thing, and a browser, an XML parser or Matplotlib might take for something else.
HOSTILE = (
    '</script><script>alert(1)</script>"\'&<b onload=x>$\\frac{1}{2}$ {{ 7 * 7 }} style="}*{color:red}" \x00\x1b\ud800'
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark that was never run, with both runtimes."""
    folder = tmp_path_factory.mktemp("results") / "synthetic"
    synthetic_benchmark.folder(folder, WORDS, LAW, 1)
    return folder


@pytest.fixture(scope="module")
def whole(results: Path) -> dict[str, Any]:
    """Its document."""
    return benchmark_document("synthetic", read_runs(results), read_plan(results))


@pytest.fixture(scope="module")
def files(results: Path, whole: dict[str, Any]) -> dict[str, bytes]:
    """All that is made of it, drawn once."""
    return report_files.report_files(results, whole, ["svg", "png"])


@pytest.fixture
def document(whole: dict[str, Any]) -> dict[str, Any]:
    """The same, to change."""
    return copy.deepcopy(whole)


def without_success(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document that the same runs would make had all of them failed."""
    runs = [run for cell in document["cells"] for run in cell["runs"]]
    for run in runs:
        run.update(state="failed", counted=False, training_seconds=None, cause={"reason": "x", "message": "y"})
    nothing = {"n": 0, "mean": None, "median": None, "minimum": None, "maximum": None, "stdev": None, "interval": None}
    for cell in document["cells"]:
        for measure in ("training_seconds", "steps_per_second", "test_accuracy", "test_loss"):
            cell[measure] = {**nothing, "outliers": []}
        for measure in ("wall_seconds", "startup_seconds"):
            cell[measure] = {**nothing, "outliers": []}
        cell.update(speed_up=None, efficiency=None, gain=None, phases=dict.fromkeys(cell["phases"]))
    for series in document["series"]:
        series["scaling"].update(steps=[], amdahl=None, usl=None, knee=None, statements=[])
    return {**document, "price": [], "doubts": [], "answer": "No run has succeeded yet."}


# --- what is drawn --------------------------------------------------------------------------------------------------


def test_every_part_has_its_pictures_and_each_tells_unit_and_runs(results: Path, document: dict[str, Any]) -> None:
    pictures = report_files._pictures(results, document)
    names = [picture.name for picture in pictures]
    assert names == [
        *("answer", "time", "speed-up", "efficiency", "map-ps", "map-ps-2", "cells", "phases", "timeline"),
        *("price-training", "price-phases", "price-platform", "accuracy-step", "accuracy-seconds"),
        *("test-loss-step", "test-loss-seconds", "loss-step", "loss-seconds"),
    ]
    assert [picture.name for picture in pictures if not re.search(r"\bn = \d", picture.subtitle)] == []
    told = [f"{picture.title} {picture.subtitle} {getattr(picture, 'axis', '')}" for picture in pictures]
    assert [text for text in told if not re.search("seconds|times as|share|promised|loss", text, re.IGNORECASE)] == []


def test_nothing_is_drawn_of_nothing(tmp_path: Path, document: dict[str, Any]) -> None:
    files = report_files.report_files(tmp_path, without_success(document), ["svg", "png"])
    assert list(files) == ["report.html"]
    text = files["report.html"].decode()
    assert "<figure" not in text
    assert "<svg" not in text
    assert "No run has succeeded yet." in text


def test_one_size_is_no_curve_of_scaling(document: dict[str, Any]) -> None:
    for series in document["series"]:
        series["cells"] = series["cells"][:1]
    assert page_data.scales(document) == []
    answer = page_data.answer_picture(document)
    assert isinstance(answer, page_data.Strip)


@pytest.mark.parametrize("axes", [{}, {"workers": [1, 2, 4, 8]}, {"ps": [1, 2]}])
def test_a_map_needs_two_words_that_differ(document: dict[str, Any], axes: dict[str, Any]) -> None:
    assert page_data.heats({**document, "axes": axes}) == []


def test_workers_and_nodes_make_a_map_too(tmp_path: Path) -> None:
    synthetic_benchmark.folder(tmp_path, {"workers": "1,2,4", "nodes": "1,2,3", "repeats": "2"}, LAW, 1)
    (heat,) = page_data.heats(benchmark_document("b", read_runs(tmp_path)))
    assert (heat.name, heat.xs, heat.ys) == ("map-nodes", ("1", "2", "4"), ("1", "2", "3"))
    assert "n = 2" in heat.subtitle
    assert None not in [value for row in heat.values for value in row]


def test_a_square_without_a_run_says_why(document: dict[str, Any]) -> None:
    cell = next(cell for cell in document["cells"] if cell["cell"]["runtime"] == "process" and cell["cell"]["ps"] == 2)
    cell.update(unfit="needs more memory", runs=[])
    cell["training_seconds"].update(n=0, mean=None)
    (heat, *_others) = page_data.heats(document)
    place = [value for row in heat.values for value in row].index(None)
    assert [text for row in heat.texts for text in row][place] == "unfit"
    assert "needs more memory" in [tip for row in heat.tips for tip in row][place]


def test_without_its_runs_a_document_is_drawn_but_for_their_curves(tmp_path: Path, document: dict[str, Any]) -> None:
    names = [picture.name for picture in report_files._pictures(tmp_path, document)]
    assert "phases" in names
    assert [name for name in names if name.startswith(("loss", "accuracy", "test-loss", "timeline"))] == []


def test_all_is_drawn_from_run_documents_alone(tmp_path: Path, results: Path, whole: dict[str, Any]) -> None:
    for run in results.glob("*/run.json"):
        (tmp_path / run.parent.name).mkdir()
        (tmp_path / run.parent.name / "run.json").write_bytes(run.read_bytes())
    alone = benchmark_document("synthetic", read_runs(tmp_path))
    assert (alone["threshold"], alone["repeats"]) == (whole["threshold"], whole["repeats"])
    drawn = report_files._pictures(tmp_path, alone)
    assert {picture.name for picture in drawn} == {picture.name for picture in report_files._pictures(results, whole)}


def test_the_bar_of_a_cell_is_as_long_as_its_runs_took(document: dict[str, Any]) -> None:
    bars = page_data.phase_bars(document)
    assert bars is not None
    for bar, cell in zip(bars.bars, document["cells"], strict=True):
        last = bar.parts[-1]
        assert last.begin + last.length == pytest.approx(cell["wall_seconds"]["mean"], abs=1e-3)
        assert [part.begin for part in bar.parts] == sorted(part.begin for part in bar.parts)


def test_a_parameter_server_serves_until_it_is_done(results: Path, document: dict[str, Any]) -> None:
    bars = report_files._timeline(results, document)
    assert bars is not None
    wall = max(bar.parts[-1].begin + bar.parts[-1].length for bar in bars.bars)
    for bar in bars.bars:
        kinds = [part.kind for part in bar.parts]
        assert ("serves" in kinds) == bar.label.startswith("ps")
        if bar.label.startswith("ps"):
            assert bar.parts[-1].begin + bar.parts[-1].length == pytest.approx(wall, abs=1e-3)


def test_dots_of_a_speed_up_agree_with_what_the_statistics_say(document: dict[str, Any]) -> None:
    speed_up = next(picture for picture in page_data.scales(document) if picture.name == "speed-up")
    compared = 0
    for line in speed_up.lines:
        for mean in line.means[1:]:
            own = [dot.y for dot in line.dots if dot.x == mean.x]
            if len(own) == mean.n == line.means[0].n:
                middle = math.exp(sum(map(math.log, own)) / len(own))
                assert middle == pytest.approx(mean.y, rel=1e-4)
                compared += 1
    assert compared


def test_the_law_is_drawn_as_it_was_fitted_and_never_beyond_the_sizes(document: dict[str, Any]) -> None:
    series = next(series for series in document["series"] if series["scaling"]["usl"])
    cells = [document["cells"][place] for place in series["cells"]]
    runs = [(cell["cell"]["workers"], run) for cell in cells for run in page_data.counted_runs(cell)]
    times = Times(
        tuple(size for size, _run in runs),
        tuple(run["training_seconds"] for _size, run in runs),
        tuple(run["repeat"] for _size, run in runs),
    )
    fit = usl(times)
    line = page_data._time_line(series, cells, 0, 100)
    assert (line.curve[0][0], line.curve[-1][0]) == pytest.approx((1, 8))
    for size, seconds in line.curve:
        assert seconds == pytest.approx(fit.seconds(size), rel=1e-3)


def test_a_law_that_the_runs_refute_is_not_drawn(document: dict[str, Any]) -> None:
    series = document["series"][0]
    cells = [document["cells"][place] for place in series["cells"]]
    laws = series["scaling"]
    for usl_misfit, amdahl_misfit, drawn in ((None, 0.5, "usl"), (0.001, 0.5, "amdahl"), (0.001, 0.001, None)):
        laws["usl"]["misfit"], laws["amdahl"]["misfit"] = usl_misfit, amdahl_misfit
        assert page_data.believed_law(series) is (laws[drawn] if drawn else None)
    assert page_data._time_line(series, cells, 0, 100).curve == ()


def test_the_picture_beside_the_answer_is_of_the_series_it_names(document: dict[str, Any]) -> None:
    named = document["series"][2]["label"]
    answer = page_data.answer_picture({**document, "answer": f"8 workers are fast ({named})."})
    assert isinstance(answer, page_data.Scale)
    assert [line.label for line in answer.lines] == [named]
    assert named in answer.title


# --- thinning -------------------------------------------------------------------------------------------------------

DOTS = st.lists(st.tuples(st.floats(0.1, 1e4), st.booleans()), max_size=300).map(
    lambda values: [Dot(1.0, y, str(place), outlier) for place, (y, outlier) in enumerate(values)]
)


@given(dots=DOTS, most=st.integers(2, 60))
def test_thinning_moves_nothing_and_keeps_the_ends(dots: list[Dot], most: int) -> None:
    thinned = page_data.thin(dots, most)
    assert len(thinned) <= max(most, 0)
    assert set(thinned) <= set(dots)
    assert [dot.y for dot in thinned] == sorted(dot.y for dot in thinned)
    if dots:
        assert {min(dot.y for dot in dots), max(dot.y for dot in dots)} <= {dot.y for dot in thinned}
    if len(dots) <= most:
        assert len(thinned) == len(dots)


def test_thinning_keeps_every_outlier_and_a_choice_of_the_others_that_is_even() -> None:
    outliers = {17, 18, 44, 90, 133}
    dots = [Dot(1.0, float(place), str(place), place in outliers) for place in range(200)]
    thinned = page_data.thin(dots, 15)
    assert len(thinned) <= 15
    assert {dot.y for dot in thinned if dot.outlier} == outliers
    places = [dot.y for dot in thinned if not dot.outlier]
    assert max(after - before for before, after in pairwise(places)) < 50


def test_what_is_left_out_is_told(document: dict[str, Any]) -> None:
    cells = document["cells"] * 3
    strip = page_data.strip({**document, "cells": cells})
    assert strip is not None
    assert len(strip.rows) == page_data.MOST_ROWS
    assert f"The first {page_data.MOST_ROWS} of {len(cells)} cells" in strip.caption


# --- the page -------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in self.raw:
            self.raw[str(self.cdata_elem)][-1] += data
        else:
            self.words.append(data)


def test_names_are_only_ever_names(
    tmp_path: Path, results: Path, document: dict[str, Any], files: dict[str, bytes]
) -> None:
    for run in results.glob("*/run.json"):
        content = json.loads(run.read_text())
        for task in content["tasks"]:
            task["host"] = HOSTILE
        folder = tmp_path / run.parent.name
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(content))
    clean = Reader(files["report.html"].decode())
    document.update(name=HOSTILE, answer=HOSTILE, shared={HOSTILE: HOSTILE})
    document["doubts"] = [
        {"code": HOSTILE, "about": HOSTILE, "seen": 1, "expected": 0, "message": HOSTILE, "run_id": None, "cell": None}
    ]
    document["environment"]["hosts"][0]["name"] = HOSTILE
    document["environment"]["differing"] = [{"what": HOSTILE, "values": [HOSTILE, {"name": HOSTILE}, None]}]
    for cell in document["cells"]:
        cell.update(label=HOSTILE + cell["label"], notes=[HOSTILE])
        cell["runs"][0]["cause"] = {"reason": HOSTILE, "message": HOSTILE}
    for series in document["series"]:
        series["label"] = HOSTILE
        series["scaling"]["statements"] = [HOSTILE]
    for entry in document["price"]:
        entry.update(label=HOSTILE, statement=HOSTILE, notes=[HOSTILE])
    made = report_files.report_files(tmp_path, document, ["svg"])
    text = made["report.html"].decode()
    page = Reader(text)
    # Their doubt and what differs are told in lists that were not there; beyond that it is the same page.
    for tag in ("script", "style", "b", "svg", "figure", "table"):
        more = 1 if tag == "b" else 0
        count = sum(found == tag for found, _attributes in page.elements)
        assert count == sum(found == tag for found, _attributes in clean.elements) + more, tag
    assert [attributes for _tag, attributes in page.elements if any(key.startswith("on") for key in attributes)] == []
    assert "color:red" not in "".join(page.raw["style"])
    assert json.loads(page.raw["script"][0])["cells"]["rows"]
    assert "alert" not in page.raw["script"][1]
    # A formula is not set, a template not filled in; what no browser takes is a sign that there was something.
    shown = "".join(page.words)
    assert "$\\frac{1}{2}$ {{ 7 * 7 }}" in shown
    assert not re.search("[\x00-\x08\x0e-\x1f\ud800-\udfff]", text)
    for name, content in made.items():
        if name.endswith(".svg"):
            ET.fromstring(content)


def test_the_page_needs_nothing_from_outside(files: dict[str, bytes]) -> None:
    text = files["report.html"].decode()
    page = Reader(text)
    targets = [
        value or ""
        for _tag, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset", "action", "data")
    ]
    assert [target for target in targets if not target.startswith(("#", "data:"))] == []
    assert re.findall(r"url\((?!#)|@import|https?://(?!www\.w3\.org/)", text) == []
    assert re.findall(r"\b(?:fetch|XMLHttpRequest|import|WebSocket|EventSource)\s*\(", page.raw["script"][1]) == []
    names = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert {target[1:] for target in targets if target.startswith("#")} <= set(names)


def test_the_same_runs_give_the_same_bytes(results: Path, document: dict[str, Any], files: dict[str, bytes]) -> None:
    assert report_files.report_files(results, document, ["png", "svg"]) == files
    assert {Path(name).suffix for name in files} == {".html", ".svg", ".png"}
    assert all(content.startswith(b"\x89PNG") for name, content in files.items() if name.endswith(".png"))


def test_every_dot_and_bar_tells_something(document: dict[str, Any], files: dict[str, bytes]) -> None:
    text = files["report.html"].decode()
    tips = [html.unescape(tip) for tip in re.findall(r'data-tip="([^"]*)"', text)]
    for run in (run for cell in document["cells"] for run in page_data.counted_runs(cell)):
        assert any(run["run_id"] in tip and f"{run['training_seconds']:.2f} s" in tip for tip in tips), run["run_id"]
    titles = ET.fromstring(files["figures/cells.svg"]).findall(".//{http://www.w3.org/2000/svg}title")
    assert len(titles) == sum(len(page_data.counted_runs(cell)) for cell in document["cells"]) + len(document["cells"])


def test_the_price_is_told_phase_by_phase_and_part_by_part(document: dict[str, Any], files: dict[str, bytes]) -> None:
    text = files["report.html"].decode()
    for pair in document["price"]:
        found = pair["phases"]["train"]
        both = [f'<td class="number">{page_data.number(found[side])}</td>' for side in ("process", "kubernetes")]
        assert "".join(both) in text
        connect = pair["phases"]["connect"]["difference"]
        assert f"{page_data.number(connect['value'])} ({page_data.span(connect['interval'])})" in text
        for runtime in ("process", "kubernetes"):
            usage = pair["platform"][runtime]
            (row,) = re.findall(f'<th scope="row">{re.escape(pair["label"])}, {runtime}</th>(.*?)</tr>', text)
            cells = re.findall(r">([^<]*)</td>", row)
            assert cells[1].startswith(f"{usage['share']['mean']:.1%} (")
            for part in ("kubelet", "trainer"):
                assert page_data.number(usage["cpu_seconds"][part]) in cells
            assert cells[-1] == page_data.number(usage["memory_bytes"]["trainer"] / 2**20, 0)
    assert "further pairs" not in text


def test_pictures_of_an_earlier_report_are_known_and_other_files_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    for name in ("time.svg", "time-2.png", "map-nodes-3.svg", "mine.svg", "time.pdf", "loss-step.png", "timeline.txt"):
        (folder / name).touch()
    files = {"report.html": b"", "figures/time.svg": b""}
    former = report_files.former_files(tmp_path, files)
    assert former == ["figures/loss-step.png", "figures/map-nodes-3.svg", "figures/time-2.png"]


def test_names_of_all_pictures_are_known(files: dict[str, bytes]) -> None:
    names = [Path(name).name for name in files if name != report_files.PAGE]
    assert [name for name in names if not report_files._OURS.fullmatch(name)] == []


# --- colours and errors ---------------------------------------------------------------------------------------------


def test_each_colour_is_one_variable_of_the_page_in_light_and_dark() -> None:
    css = (Path(drawing.__file__).parent / "report_page" / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    named = set(drawing.VARIABLES.values())
    assert len(named) == len(drawing.VARIABLES)
    for rules in (light, dark):
        assert {name for name in named if f"--{name}:" not in rules} == set()


def linear(colour: str) -> list[float]:
    """Return how much light of red, green and blue a colour is."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, as WCAG defines it."""
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def colours(scheme: int) -> dict[str, str]:
    """Return the colours of the page by their names, of the light scheme or of the dark one."""
    css = (Path(drawing.__file__).parent / "report_page" / "page.css").read_text(encoding="utf-8")
    rules = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]
    return {
        name: value if len(value) == 7 else "#" + "".join(2 * digit for digit in value[1:])
        for name, value in re.findall(r"--([\w-]+): (#\w+)", rules)
    }


#: What is left of red, green and blue (linear) to who lacks a kind of cones: G. Machado, M. Oliveira and L. Fernandes,
#: "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 15 (2009), severity 1.
SIGHTS = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}


def seen(colour: str, sight: str) -> tuple[float, float, float]:
    """Return a colour as somebody sees it, in CIELAB, where distances are those of the eye."""
    red, green, blue = (
        min(1.0, max(0.0, sum(part * weight for part, weight in zip(linear(colour), row, strict=True))))
        for row in SIGHTS[sight]
    )
    white = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in white)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("kind", ["line", "phase"])
@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart_by_whoever_looks(scheme: int, sight: str, kind: str) -> None:
    own = {name: seen(value, sight) for name, value in colours(scheme).items() if name.startswith(kind)}
    near = {pair: math.dist(own[pair[0]], own[pair[1]]) for pair in combinations(own, 2)}
    assert {pair: distance for pair, distance in near.items() if distance < 10} == {}


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_letters_stand_out_from_their_paper(scheme: int) -> None:
    colour = colours(scheme)
    for letters in ("ink", "muted", "accent", "warn"):
        for paper in ("paper", "ground"):
            low, high = sorted((luminance(colour[letters]), luminance(colour[paper])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (letters, paper)


def test_without_matplotlib_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, results: Path, document: dict[str, Any]
) -> None:
    monkeypatch.setattr(drawing, "MISSING", "No module named 'matplotlib'")
    with pytest.raises(ActionFailed, match=r"(?s)pictures need matplotlib.*pip install matplotlib.*report_page: false"):
        report_files.report_files(results, document, ["svg"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no .*benchmark.json"),
        ("{", "is no JSON"),
        ('{"schema": "dtf.benchmark/1"}', "is of schema 'dtf.benchmark/1', accepted: 'dtf.benchmark/2'"),
        ("[]", "is of schema None"),
    ],
)
def test_a_document_that_is_none_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(ActionFailed, match=said):
        report_files.read_document(tmp_path)
