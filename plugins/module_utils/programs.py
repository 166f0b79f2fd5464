# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that runs a node's or a build host's programs.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

#: Where they are; a user's session may lack the folders of administrators' programs.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: How a program ended.
Ended = subprocess.CompletedProcess[str]
#: What is raised when one takes longer than it may.
TimedOut = subprocess.TimeoutExpired


def run(
    command: list[str],
    *,
    stdin: str | None = None,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
    keep: tuple[int, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a program of :data:`SEARCH_PATH` and return how it ended, with all it printed.

    Args:
        command: the program and its arguments.
        stdin: what it reads; nothing unless given.
        environment: variables over those of the module.
        timeout: seconds after which it is killed; :class:`subprocess.TimeoutExpired` then.
        keep: descriptors that it inherits.
    """
    return subprocess.run(
        command,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C", **(environment or {})},
        timeout=timeout,
        pass_fds=keep,
    )


def run_watched(
    command: list[str],
    *,
    heard: Callable[[str], None],
    watch: Callable[[int], None],
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
    interval: float = 1.0,
) -> subprocess.CompletedProcess[str]:
    """Run a program as :func:`run` does, and look after it while it runs; both of its streams are one.

    Args:
        command: the program and its arguments.
        heard: is given each line when it is printed.
        watch: is called with the program's process every ``interval`` seconds; if it raises, the program is killed.
        environment: variables over those of the module.
        timeout: seconds after which it is killed; :class:`subprocess.TimeoutExpired` then.
        interval: seconds between two calls.
    """
    lines: queue.Queue[str | None] = queue.Queue()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C", **(environment or {})},
    )

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    told: list[str] = []
    begin = looked = time.monotonic()
    try:
        while True:
            now = time.monotonic()
            if timeout is not None and now - begin >= timeout:
                raise subprocess.TimeoutExpired(command, timeout, "".join(told))
            if now - looked >= interval:
                looked = now
                watch(process.pid)
            with suppress(queue.Empty):
                line = lines.get(timeout=interval / 4)
                if line is None:
                    break
                told.append(line)
                heard(line.rstrip("\n"))
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, "".join(told), "")


def positions(process: int, path: Path) -> dict[int, int]:
    """Return descriptor → bytes read, of those by which a process reads a file; none where the system does not tell."""
    found = {}
    folder = Path(f"/proc/{process}")
    with suppress(OSError):
        for descriptor in (folder / "fd").iterdir():
            with suppress(OSError, ValueError):
                if descriptor.readlink() == path:
                    text = (folder / "fdinfo" / descriptor.name).read_text(encoding="ascii")
                    found[int(descriptor.name)] = int(text.split("pos:", 1)[1].split()[0])
    return found


@contextmanager
def feeding(command: list[str], target: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give what a program reads, while it writes into a file; raise if it fails."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target) as process:
        if process.stdin is not None:
            yield process.stdin
    if process.returncode:
        raise OSError(f"{command[0]} ended with {process.returncode}")
