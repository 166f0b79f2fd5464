"""The price of Kubernetes: which cells are a pair, what pods add to trainings of a known law, and what may be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.stats import PHASES
from ansible_collections.dtf.cluster.plugins.plugin_utils.price import cores, price, price_table, share
from ansible_collections.dtf.cluster.plugins.plugin_utils.samples import difference

Document = dict[str, Any]
SEEDS = range(300)
WORDS = {"workers": 1, "ps": 1, "nodes": None, "runtime": "process", "backend": None, "steps": 1000}


def platform(own: float, trainer: float, seconds: float = 10.0) -> Document:
    """Return a platform that took so much on a control plane, and as much again on a node beside the trainer."""
    parts = [
        ("cp1", "control_plane", own / 2),
        ("w1", "kubelet", own / 2),
        ("w1", "trainer", trainer),
        ("w1", "other", 9.0),
    ]
    told = [{"host": host, "part": part, "cpu_seconds": cpu, "memory_bytes": 2**20} for host, part, cpu in parts]
    return {"source": "cgroup", "seconds": seconds, "parts": told}


def run(seconds: float, image: float = 0.0, repeat: int | None = 1, **more: Any) -> Document:
    """Return what the price reads of a run's document; a start takes two seconds and the image."""
    phases = dict.fromkeys(PHASES, 0.0) | {"start": 1.0, "connect": 1.0, "image": image, "train": seconds}
    return {
        "benchmark": None if repeat is None else {"name": "b", "repeat": repeat, "number": 1, "seed": 1},
        "training": {"seconds": seconds},
        "phases": phases,
        "tasks": [{"host": "w1"}, {"host": "w2"}],
        **more,
    }


def cell(runs: list[Document] | None = None, **words: Any) -> Document:
    """Return a cell; pods where it has a backend."""
    runtime = "kubernetes" if words.get("backend") else "process"
    given = {"runtime": runtime, **words}
    return {"cell": {**WORDS, **given}, "runs": [run(10.0)] if runs is None else runs}


def pods(runs: list[Document] | None = None, **words: Any) -> Document:
    return cell(runs, **{"backend": "indexed_job", **words})


def pairs(*cells: Document) -> list[tuple[int, int]]:
    return [(entry["process"], entry["kubernetes"]) for entry in price(cells)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([cell(), pods()], [(0, 1)]),
        ([pods(), cell()], [(1, 0)]),
        ([cell(), pods(), pods(backend="statefulset")], [(0, 1), (0, 2)]),
        ([cell(workers=1), cell(workers=2), pods(workers=2), pods(workers=1)], [(1, 2), (0, 3)]),
        # Pods that had all nodes, beside processes on a number of them.
        ([cell(nodes=3), pods(nodes=None)], [(0, 1)]),
        ([cell(nodes=1), cell(nodes=3), cell(nodes=2), pods(nodes=None)], [(1, 3)]),
        ([cell(nodes=None), pods(nodes=2)], [(0, 1)]),
        ([cell(nodes=1), cell(nodes=2), pods(nodes=2), pods(nodes=1)], [(1, 2), (0, 3)]),
        ([cell(nodes=1), pods(nodes=2)], []),
        ([cell(ps=1), pods(ps=2)], []),
        ([cell(steps=1000), pods(steps=2000)], []),
        ([cell(), pods([])], []),
        ([cell([]), pods()], []),
        ([cell(), cell(workers=2)], []),
        ([], []),
    ],
)
def test_which_cells_are_a_pair(cells: list[Document], expected: list[tuple[int, int]]) -> None:
    assert pairs(*cells) == expected


def test_a_pair_is_named_by_what_varies() -> None:
    assert [entry["label"] for entry in price([cell(), pods()])] == ["1 worker, 1 ps"]
    cells = [
        cell(nodes=2, steps=5),
        pods(nodes=2, steps=5),
        pods(backend="statefulset", steps=5, nodes=2),
        cell(steps=6),
    ]
    assert [entry["label"] for entry in price(cells)] == [
        "1 worker, 1 ps, 2 nodes, backend indexed job, steps 5".replace("indexed job", "indexed_job"),
        "1 worker, 1 ps, 2 nodes, backend statefulset, steps 5",
    ]


def trained(seed: int, n: int, noise: float, drift: float, blocks: bool) -> list[Document]:
    """Return processes of 10 s, and pods that take 1.05 times as long and 3.2 s more to start."""
    generator = np.random.default_rng(seed)
    shared = np.exp(drift * generator.standard_normal(n))
    cells = []
    for seconds, image in ((10.0, 0.0), (10.5, 3.2)):
        times = seconds * np.exp(noise * generator.standard_normal(n)) * shared
        starts = image + 5 * drift * (shared - 1) + 0.2 * generator.standard_normal(n)
        repeats = range(1, n + 1) if blocks else [None] * n
        cells.append([run(float(t), float(s), r) for t, s, r in zip(times, starts, repeats, strict=True)])
    return [cell(cells[0]), pods(cells[1])]


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("blocks", [True, False])
def test_intervals_hold_what_is_true(n: int, blocks: bool) -> None:
    held = {"training": 0, "start": 0, "image": 0}
    for seed in SEEDS:
        (found,) = price(trained(seed, n, 0.03, 0.2 if blocks else 0.0, blocks))
        longer, later = found["training_seconds"], found["startup_seconds"]["difference"]
        assert (longer["design"], later["design"]) == (("paired",) * 2 if blocks else ("independent",) * 2)
        assert later["n"] == n
        held["training"] += longer["interval"]["low"] <= 1.05 <= longer["interval"]["high"]
        held["start"] += later["interval"]["low"] <= 3.2 <= later["interval"]["high"]
        image = found["phases"]["image"]["difference"]["interval"]
        held["image"] += image["low"] <= 3.2 <= image["high"]
    assert {name: 0.92 <= count / len(SEEDS) <= 0.985 for name, count in held.items()} == dict.fromkeys(held, True)


def test_a_drift_that_blocks_share_says_nothing() -> None:
    """Run in blocks, a machine that is now fast and now slow leaves the interval narrow."""
    widths = []
    for blocks in (True, False):
        (found,) = price(trained(1, 20, 0.02, 0.3, blocks))
        interval = found["training_seconds"]["interval"]
        widths.append(interval["high"] - interval["low"])
    assert widths[0] < widths[1] / 3


def test_a_difference_is_of_what_both_have() -> None:
    assert difference([8.0, 9.0, 50.0], [4.0, 4.5], (["a", "b", "c"], ["b", "a"])).value == pytest.approx(4.25)
    apart = difference([1.0, 3.0], [1.0])
    assert (apart.value, apart.interval, apart.design, apart.n) == (1.0, None, "independent", 1)
    with pytest.raises(ValueError, match="two samples"):
        difference([], [1.0])


@pytest.mark.parametrize(
    ("process", "in_pods", "statement"),
    [
        (
            [(10.0, 0.0), (10.1, 0.0), (10.2, 0.0)],
            [(10.4, 3.1), (10.5, 3.2), (10.6, 3.3)],
            "Pods train 1.038 to 1.041 times as long as processes and start 2.9 to 3.5 s later",
        ),
        (
            [(10.0, 0.0), (10.1, 0.1), (10.2, 0.2)],
            [(10.1, 0.1), (10.0, 0.0), (10.3, 0.2)],
            (
                "Pods train not measurably longer or shorter than processes (0.97 to 1.04 times as long) and start not "
                "measurably later or sooner (-0.3 to 0.3 s)"
            ),
        ),
        (
            [(10.0, 1.0), (10.1, 1.1), (10.2, 1.2)],
            [(9.1, 0.1), (9.0, 0.0), (9.2, 0.1)],
            "Pods train 0.87 to 0.93 times as long as processes and start 0.7 to 1.4 s sooner",
        ),
        (
            [(10.0, 0.0)],
            [(10.5, 3.0)],
            (
                "Pods trained 1.05 times as long as processes and started 3.0 s later; with one run of either that "
                "says little"
            ),
        ),
    ],
)
def test_only_what_intervals_support_is_said(
    process: list[tuple[float, float]], in_pods: list[tuple[float, float]], statement: str
) -> None:
    sides = [[run(*pair, repeat) for repeat, pair in enumerate(side, 1)] for side in (process, in_pods)]
    (found,) = price([cell(sides[0]), pods(sides[1])])
    assert found["statement"] == statement


def test_phases_are_told_apart_and_add_up() -> None:
    (found,) = price([cell([run(10.0), run(10.0, 0.0, 2)]), pods([run(11.0, 3.0), run(11.0, 5.0, 2)])])
    assert list(found["phases"]) == list(PHASES)
    assert found["phases"]["image"] | {"difference": None} == {"process": 0.0, "kubernetes": 4.0, "difference": None}
    assert found["phases"]["image"]["difference"]["value"] == 4.0
    differences = [entry["difference"]["value"] for entry in found["phases"].values()]
    assert sum(differences) == pytest.approx(found["startup_seconds"]["difference"]["value"] + 1.0)


def test_the_share_is_of_platform_and_trainer() -> None:
    """What else the machine did is neither."""
    taken = platform(1.0, 9.0, seconds=20.0)
    assert share(taken) == pytest.approx(0.1)
    assert cores(taken) == pytest.approx(0.05)
    assert share({"source": "cgroup", "seconds": 1.0, "parts": []}) == 0


def test_the_platform_beside_either() -> None:
    idle, busy = run(10.0, platform=platform(0.5, 9.5)), run(10.0, platform=platform(2.0, 8.0))
    (found,) = price([cell([idle]), pods([busy, run(10.0, repeat=2, platform=None)])])
    assert found["platform"]["process"]["share"]["mean"] == pytest.approx(0.05)
    taken = found["platform"]["kubernetes"]
    assert (taken["share"]["n"], taken["share"]["mean"]) == (1, pytest.approx(0.2))
    assert taken["cpu_seconds"] == {"control_plane": 1.0, "kubelet": 1.0, "trainer": 8.0, "other": 9.0}
    assert taken["memory_bytes"]["kubelet"] == 2**20
    assert (taken["hosts"], taken["sources"]) == (["cp1", "w1"], ["cgroup"])
    (without,) = price([cell(), pods()])
    assert (without["platform"], without["growth"]) == (None, None)


def growing(seed: int, slope: float) -> list[Document]:
    """Return cells of 1, 2 and 4 workers of which the platform takes a tenth, and a slope more with each worker."""
    generator = np.random.default_rng(seed)
    cells = []
    for workers in (1, 2, 4):
        shares = 0.1 + slope * (workers - 1) + 0.01 * generator.standard_normal(5)
        runs = [
            run(10.0, repeat=n, platform=platform(100 * each, 100 * (1 - each))) for n, each in enumerate(shares, 1)
        ]
        cells += [cell(workers=workers), pods(runs, workers=workers)]
    return cells


def test_growth_is_seen_as_often_as_it_is_promised() -> None:
    held = dict.fromkeys((0.0, 0.02), 0)
    for slope in held:
        for seed in SEEDS:
            found = price(growing(seed, slope))[0]["growth"]["share"]["interval"]
            held[slope] += found["low"] <= slope <= found["high"]
    assert {slope: 0.92 <= count / len(SEEDS) <= 0.985 for slope, count in held.items()} == {0.0: True, 0.02: True}


def test_growth_is_told_where_the_interval_supports_it() -> None:
    (growth, *others) = [entry["growth"] for entry in price(growing(1, 0.02))]
    assert others == [growth, growth]
    assert (growth["workers"], growth["n"]) == ([1, 2, 4], 15)
    assert growth["statement"].startswith("the platform's share of processor time grows by ")
    assert "points a worker from 1 to 4 workers; the platform's use of processors grows by " in growth["statement"]
    still = price(growing(1, 0.0))[0]["growth"]["statement"]
    assert still.startswith("the platform's share of processor time does not measurably grow (-")
    falls = price(growing(1, -0.02))[0]["growth"]["statement"]
    assert falls.startswith("the platform's share of processor time falls by ")


def test_growth_needs_sizes_and_runs() -> None:
    two = [run(10.0, repeat=n, platform=platform(1, 9)) for n in (1, 2)]
    assert price([cell(), pods([*two, *two])])[0]["growth"] is None
    one = [run(10.0, platform=platform(1, 9))]
    found = price([cell(), pods(one), cell(workers=2), pods(one, workers=2)])
    assert [entry["growth"] for entry in found] == [None, None]
    # Two backends are two series.
    apart = price([cell(), pods(two), cell(workers=2), pods(two, workers=2, backend="statefulset")])
    assert [entry["growth"] for entry in apart] == [None, None]


def test_another_placement_is_told() -> None:
    spread, packed = run(10.0), run(10.0, tasks=[{"host": "w1"}, {"host": "w1"}])
    assert price([cell([spread]), pods([spread])])[0]["notes"] == []
    (found,) = price([cell([packed]), pods([spread])])
    assert found["notes"] == ["tasks were placed differently: processes 2 on w1; pods 1 on w1, 1 on w2"]


def test_the_table() -> None:
    idle = [run(10.0, repeat=n, platform=platform(0.5, 9.5)) for n in (1, 2)]
    busy = [run(10.5, 3.0 + 0.1 * n, repeat=n, platform=platform(2.0, 8.0)) for n in (1, 2)]
    more = [run(10.5, 3.0 + 0.1 * n, repeat=n, platform=platform(2.5, 7.5)) for n in (1, 2)]
    entries = price([cell(idle), pods(busy), cell(idle, workers=2), pods(more, workers=2)])
    assert price_table([]) == []
    lines = price_table(entries)
    assert lines[0] == "The price of Kubernetes: pods beside processes"
    rows = [line.split("  ") for line in lines]
    cells = [[word.strip() for word in row if word.strip()] for row in rows]
    assert ["1 worker, 1 ps", "2", "1.050 x (1.050 to 1.050)", "2.00 s", "5.15 s", "+3.15 (+2.51 to +3.79)"] in cells
    phases = ["+0.00", "+0.00", "+3.15", "+0.00", "+0.00", "+0.00", "+0.00", "+0.50", "+0.00", "+0.00"]
    assert ["2 workers, 1 ps", *phases] in cells
    assert ["1 worker, 1 ps, process", "5.0%", "0.050", "0.25", "0.25", "9.50", "9.00", "2 MiB"] in cells
    assert ["2 workers, 1 ps, kubernetes", "25.0%", "0.250", "1.25", "1.25", "7.50", "9.00", "2 MiB"] in cells
    said = [line for line in lines if line.startswith("* ")]
    assert said[0] == "* 1 worker, 1 ps: " + entries[0]["statement"] + "."
    assert len(said) == 3
    assert said[2].startswith("* The platform's share of processor time grows by ")
    bare = price_table(price([cell(), pods()]))
    assert not [line for line in bare if "platform" in line]


def test_counters_that_never_moved_do_not_grow() -> None:
    still = platform(own=1.0, trainer=9.0)
    cells = [made([run(10.0 / workers, repeat=repeat, platform=still) for repeat in (1, 2, 3)], workers=workers)
             for workers in (1, 2) for made in (cell, pods)]  # fmt: skip
    growth = price(cells)[0]["growth"]
    assert (growth["share"]["value"], growth["share"]["interval"]["low"], growth["cores"]["value"]) == (0, 0, 0)
    assert "does not measurably grow" in growth["statement"]
