# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress of a module while it runs: it writes lines, and the newest is shown here.

This plugin util is private to the collection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .progress_display import ProgressDisplay

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_FOR_THE_LAST_LOOK = 5.0


@contextmanager
def watched(
    newest: Callable[[], str], display: ProgressDisplay, interval: float = SECONDS_BETWEEN_LOOKS
) -> Iterator[None]:
    """Show the newest line and the seconds so far, until what is done inside is over.

    Args:
        newest: returns the newest line, in a thread of its own; empty if there is none.
        display: shows it.
        interval: seconds between two looks.
    """
    over = threading.Event()
    begin = time.monotonic()

    def watch() -> None:
        while not over.wait(interval):
            text = ""
            # A look that fails is a line less.
            with suppress(Exception):
                text = newest()
            if text and not over.is_set():
                display.update(f"{text} · {time.monotonic() - begin:.0f} s")

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join(SECONDS_FOR_THE_LAST_LOOK)
