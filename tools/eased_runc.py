#!/usr/bin/env python3
"""runc for a root that lacks capabilities: the same container, less what the kernel would refuse.

kind asks for privileged containers, which have every capability and limits above the machine's own. An engine is told
to start this in place of runc; what is refused here stands in `refused.json` beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REFUSED = Path(__file__).with_name("refused.json")

Process = dict[str, Any]


def value(words: list[str], *names: str) -> str | None:
    """Return the value of an option, written as one word or two."""
    for here, word in enumerate(words):
        name, equals, rest = word.partition("=")
        if name in names:
            return rest if equals else words[here + 1]
    return None


def ease(process: Process, refused: list[str]) -> None:
    """Take from a process what it would be refused."""
    for kind, held in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in held or [] if name not in refused]
    process.pop("rlimits", None)
    process.pop("oomScoreAdj", None)


def rewrite(path: Path, part: Callable[[dict[str, Any]], Process]) -> None:
    """Ease the process that a file describes."""
    document = json.loads(path.read_text(encoding="utf-8"))
    ease(part(document), json.loads(REFUSED.read_text(encoding="utf-8")))
    path.write_text(json.dumps(document), encoding="utf-8")


def main(words: list[str]) -> None:
    """Ease what is about to be started, and be runc."""
    if {"create", "run", "restore"} & set(words):
        bundle = value(words, "--bundle", "-b") or "."
        rewrite(Path(bundle) / "config.json", lambda document: document["process"])
    elif "exec" in words and (process := value(words, "--process", "-p")):
        rewrite(Path(process), lambda document: document)
    runc = shutil.which("runc", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin") or "runc"
    os.execv(runc, [runc, *words])


if __name__ == "__main__":
    main(sys.argv[1:])
