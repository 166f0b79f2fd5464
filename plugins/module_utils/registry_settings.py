# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The registry's settings: its own structure laid over ours, and what may not be asked for.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from .errors import InvalidInput, Problem

#: What systemd hides from the registry, or gives it a private one of.
_HIDDEN = ("/dev", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/var/tmp")  # noqa: S108 - to refuse them
#: bcrypt reads no more of a password.
LONGEST_PASSWORD = 72


def laid_over(base: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    """Return one mapping laid over another, level by level; a null takes away what is below it."""
    merged = dict(base)
    for name, value in wanted.items():
        found = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = laid_over(found if isinstance(found, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def problems(port: object, storage: str, users: Mapping[str, object]) -> list[Problem]:
    """Return all that is wrong with a registry's settings; no password is told."""
    found = []
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        found.append(Problem("port", port, "a whole number from 1 to 65535"))
    path = PurePosixPath(storage)
    hidden = [folder for folder in _HIDDEN if PurePosixPath(folder) in (path, *path.parents)]
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 3 or hidden or re.search(r"\s", storage):
        accepted = "an absolute path of two names or more, without blanks and outside " + ", ".join(_HIDDEN)
        found.append(Problem("storage", storage, accepted))
    return found + user_problems(users)


def user_problems(users: Mapping[str, object]) -> list[Problem]:
    """Return what is wrong with names and passwords; the passwords themselves are told nobody."""
    found = []
    for name, password in users.items():
        if not re.fullmatch(r"[^\s:#\x00-\x1f]+", str(name)):
            found.append(Problem("users", name, "a name without blanks, ':' and '#'"))
        if not isinstance(password, str):
            found.append(Problem(f"users.{name}", "(hidden)", "a text (in quotes, where YAML reads a number)"))
        elif not 1 <= len(password.encode()) <= LONGEST_PASSWORD or "\0" in password:
            found.append(Problem(f"users.{name}", "(hidden)", f"a password of 1 to {LONGEST_PASSWORD} bytes"))
    return found


def configuration(
    base: Mapping[str, object], wanted: Mapping[str, object], port: object, storage: str, users: Mapping[str, object]
) -> dict[str, object]:
    """Return the registry's configuration, or raise ``InvalidInput`` with all that is wrong.

    Args:
        base: ours.
        wanted: the user's, laid over it.
        port: where it listens.
        storage: its folder.
        users: names and passwords of those whom it lets in; none lets everybody in.
    """
    found = problems(port, storage, users)
    if found:
        raise InvalidInput("the registry", found)
    return laid_over(base, wanted)


def known_hashes(text: str) -> dict[str, str]:
    """Return name to hash of a file of passwords."""
    entries: Sequence[tuple[str, str, str]] = [line.strip().partition(":") for line in text.splitlines()]
    return {name: digest for name, colon, digest in entries if colon and not name.startswith("#")}
