"""What a host can still give, from its kernel's own words; the hosts of the laboratory are the real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils import processes
from ansible_collections.dtf.cluster.plugins.module_utils.processes import available_memory_mb, busy_cores
from tests.fixtures.own_clock import replace_sleep

MIB = 1 << 20
MEMINFO = "MemTotal:       24683520 kB\nMemFree:         1024000 kB\nMemAvailable:   20480000 kB\n"


def host(root: Path, files: dict[str, str]) -> Path:
    """Write the files of a kernel that matter."""
    for name, content in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    return root


def version_1(limit: int, used: int, stat: str) -> dict[str, str]:
    """Return the files of a cgroup of version 1."""
    folder = "sys/fs/cgroup/memory/memory"
    return {f"{folder}.limit_in_bytes": f"{limit}\n", f"{folder}.usage_in_bytes": f"{used}\n", f"{folder}.stat": stat}


def version_2(limit: str, used: int, stat: str) -> dict[str, str]:
    """Return the files of a cgroup of version 2."""
    folder = "sys/fs/cgroup/memory"
    return {f"{folder}.max": f"{limit}\n", f"{folder}.current": f"{used}\n", f"{folder}.stat": stat}


CACHED_1 = (
    f"inactive_file 1\nactive_file 2\ntotal_inactive_file {600 * MIB}\ntotal_active_file {400 * MIB}\ntotal_shmem 9\n"
)
CACHED_2 = f"anon 5\nshmem 9\ninactive_file {600 * MIB}\nactive_file {400 * MIB}\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 20000),
        (version_1(4096 * MIB, 3000 * MIB, "total_inactive_file 0\ntotal_active_file 0\n"), 1096),
        (version_1(4096 * MIB, 3000 * MIB, CACHED_1), 2096),
        (version_2(str(4096 * MIB), 3000 * MIB, CACHED_2), 2096),
        # The kernel's own word holds where the cgroup has more, or no limit.
        (version_1(1 << 62, 3000 * MIB, CACHED_1), 20000),
        (version_2("max", 3000 * MIB, CACHED_2), 20000),
    ],
    ids=["no cgroup", "v1, nothing cached", "v1", "v2", "v1, no limit", "v2, no limit"],
)
def test_the_page_cache_is_not_in_use(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert available_memory_mb(host(tmp_path, files)) == expected


def test_cores_at_work_are_those_of_a_moment_in_which_nobody_here_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n", encoding="ascii")

    def meanwhile(_seconds: float) -> None:
        # Of 100 ticks 20 are work, 10 interrupts, 70 rest; guests' time is in the user's already.
        stat.write_text("cpu  115 5 100 860 10 4 6 0 15 5\ncpu0 1 2 3\n", encoding="ascii")

    replace_sleep(monkeypatch, processes, meanwhile)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert busy_cores(stat=stat) == 1.2
    replace_sleep(monkeypatch, processes)
    assert busy_cores(stat=stat) == 0


def test_a_machine_s_own_words_are_read() -> None:
    assert 0 <= busy_cores(0.05) <= (os.cpu_count() or 1)
