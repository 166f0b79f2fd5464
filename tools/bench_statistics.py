"""How long it takes to judge a benchmark: processor seconds to read its runs, to judge them, to write the tables.

``python tools/bench_statistics.py FOLDER`` takes a benchmark's folder of results, a real one or what
``tools/synthetic_benchmark.py`` has written, and changes nothing in it. One core is used. With ``--page`` its page and
pictures are drawn as well, in a folder that is removed again, and the page is opened in Chromium.
"""

from __future__ import annotations

import os

# Read when NumPy is imported.
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "collections")]

from ansible_collections.dtf.cluster.plugins.module_utils.benchmark_directory import (  # noqa: E402  (needs that on the path)
    read_plan,
    read_runs,
)
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_document import benchmark_document  # noqa: E402
from ansible_collections.dtf.cluster.plugins.plugin_utils.benchmark_tables import (  # noqa: E402
    cells_csv,
    runs_csv,
    table,
)
from ansible_collections.dtf.cluster.plugins.plugin_utils.report_files import PAGE, report_files  # noqa: E402

#: How often a page is opened.
OPENED = 5


def main() -> None:
    """Read the argument, judge, print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="a benchmark's folder of results")
    parser.add_argument("--page", action="store_true", help="draw the page too, and open it in Chromium")
    arguments = parser.parse_args()
    results = arguments.results
    stamps = [time.process_time()]
    plan, runs = read_plan(results), read_runs(results)
    stamps.append(time.process_time())
    if not runs:
        parser.error(f"there is no run in {results}")
    document = benchmark_document(results.name, runs, plan)
    stamps.append(time.process_time())
    size = sum(map(len, (json.dumps(document, indent=2), table(document), runs_csv(document), cells_csv(document))))
    stamps.append(time.process_time())
    read, judged, written = (after - before for before, after in itertools.pairwise(stamps))
    print(f"{len(runs)} runs of {len(document['cells'])} cells: {stamps[-1] - stamps[0]:.1f} s of one core")
    print(f"  read {read:.1f} s, judged {judged:.1f} s, {size / 2**20:.0f} MiB written {written:.1f} s")
    print(document["answer"])
    if arguments.page:
        time_page(parser, results, document)


def time_page(parser: argparse.ArgumentParser, results: Path, document: dict[str, Any]) -> None:
    """Draw the page, open it, print the seconds."""
    import headless_chromium  # noqa: PLC0415  (its packages are not needed for the rest)

    if headless_chromium.missing():
        parser.error("to open a page install " + " ".join(headless_chromium.missing()))
    begun = time.process_time()
    files = report_files(results, document, ["svg", "png"])
    drawn = time.process_time() - begun
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder) / PAGE
        page.write_bytes(files[PAGE])
        driver = headless_chromium.chromium(Path(folder) / "profile")
        try:
            opened = []
            for _time in range(OPENED):
                driver.get(page.as_uri())
                opened.append(headless_chromium.seconds_to_load(driver))
        finally:
            driver.quit()
    print(f"  {len(files)} files drawn {drawn:.1f} s, {PAGE} {len(files[PAGE]) / 1e6:.1f} MB")
    print(f"  opened in {statistics.median(opened):.2f} s of {OPENED} times, at most {max(opened):.2f} s")


if __name__ == "__main__":
    main()
