"""What a host can still give, from its kernel's own words; the hosts of the laboratory are the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.processes import available_memory_mb

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
