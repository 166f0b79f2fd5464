# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that runs a node's or a build host's programs.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def feeding(command: list[str], target: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give what a program reads, while it writes into a file; raise if it fails."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target) as process:
        if process.stdin is not None:
            yield process.stdin
    if process.returncode:
        raise OSError(f"{command[0]} ended with {process.returncode}")
