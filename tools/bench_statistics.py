"""How long it takes to judge a benchmark: processor seconds to read its runs, to judge them, to write the tables.

``python tools/bench_statistics.py FOLDER`` takes a benchmark's folder of results, a real one or what
``tools/synthetic_benchmark.py`` has written, and changes nothing in it. One core is used.
"""

from __future__ import annotations

import os

# Read when NumPy is imported.
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

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


def main() -> None:
    """Read the argument, judge, print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="a benchmark's folder of results")
    results = parser.parse_args().results
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


if __name__ == "__main__":
    main()
