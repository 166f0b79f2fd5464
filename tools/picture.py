"""Draw a benchmark's summary as the README shows it: where the time of each cell goes, and what more workers brought.

``python tools/picture.py results/NAME docs/images/benchmark.png`` reads ``benchmark.json`` and nothing else.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

#: Colours of Okabe and Ito, which colour-blind readers can tell apart.
PHASES = {
    "start, import, connect": (("created", "scheduled", "image", "start", "import", "connect"), "#999999"),
    "barrier": (("barrier",), "#E69F00"),
    "training": (("train",), "#0072B2"),
    "export, exit": (("export", "exit"), "#009E73"),
}


def draw(document: dict[str, Any], target: Path) -> None:
    """Write the picture of a benchmark document (``dtf.benchmark/1``) whose cells differ in their workers."""
    cells = document["cells"]
    labels = [str(cell["cell"]["workers"]) for cell in cells]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    bottoms = [0.0] * len(cells)
    for name, (phases, colour) in PHASES.items():
        heights = [sum(cell["phases"][phase] for phase in phases) for cell in cells]
        left.bar(labels, heights, bottom=bottoms, label=name, color=colour, width=0.6)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    left.set(xlabel="workers", ylabel="seconds from created to exit (mean)", title="Where the time goes")
    left.set_ylim(top=1.35 * max(bottoms))
    left.legend(frameon=False, fontsize="small", ncols=2, loc="upper center")

    workers = [cell["cell"]["workers"] for cell in cells]
    for cell, count in zip(cells, workers, strict=True):
        for run in cell["runs"]:
            if run["state"] == "succeeded":
                right.plot(count, run["steps_per_second"], "o", color="#0072B2", alpha=0.5)
    means = [cell["steps_per_second"]["mean"] for cell in cells]
    right.plot(workers, means, "-", color="#0072B2", label="measured (every run a dot)")
    ideal = [means[0] * count / workers[0] for count in workers]
    right.plot(workers, ideal, "--", color="#999999", label="ideal")
    right.set(xlabel="workers", ylabel="global steps a second", title="What more workers bring")
    right.set_xticks(workers, labels)
    right.set_ylim(bottom=0)
    right.legend(frameon=False, fontsize="small")

    first, repeats = cells[0]["cell"], cells[0]["training_seconds"]["n"]
    interval = first["communication_interval"]
    every = "each step" if interval == 1 else f"{interval} steps"
    figure.suptitle(
        f"MNIST, {first['hidden_units']} hidden units, batch {first['batch_size']}, {first['steps']:,} steps, "
        f"{first['ps']} ps, exchange after {every}, n={repeats}",
        fontsize="medium",
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    # Without the version and the date of the drawing, equal data give equal files.
    figure.savefig(target, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="a benchmark's folder of results")
    parser.add_argument("picture", type=Path, help="the file to write, .png or .svg")
    arguments = parser.parse_args()
    draw(json.loads((arguments.results / "benchmark.json").read_text(encoding="utf-8")), arguments.picture)


if __name__ == "__main__":
    main()
