"""One refreshed line on a terminal, a line now and then elsewhere, nothing where nothing is wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.dtf.cluster.plugins.plugin_utils import progress_display
from ansible_collections.dtf.cluster.plugins.plugin_utils.progress_display import ERASE_LINE, ProgressDisplay

PLAIN: dict[str, bool] = {}
REFRESHED = {"newline": False, "screen_only": True}


@pytest.mark.parametrize(
    ("mode", "terminal", "shown"),
    [
        ("none", True, []),
        ("none", False, []),
        # at 0 s, 2 s, 4 s, 5 s, 6 s and 11 s
        ("lines", True, [("t: 0", PLAIN), ("t: 5", PLAIN), ("t: 11", PLAIN), ("t: end", PLAIN)]),
        ("auto", False, [("t: 0", PLAIN), ("t: 5", PLAIN), ("t: 11", PLAIN), ("t: end", PLAIN)]),
        (
            "auto",
            True,
            [
                *((f"{ERASE_LINE}t: {moment}", REFRESHED) for moment in (0, 2, 4, 5, 6, 11)),
                (ERASE_LINE, REFRESHED),
                ("t: end", PLAIN),
            ],
        ),
    ],
)
def test_what_is_shown(mode: str, terminal: bool, shown: list[tuple[str, dict[str, bool]]]) -> None:
    calls: list[tuple[str, dict[str, bool]]] = []
    now = 0.0

    def show(text: str, **options: bool) -> None:
        calls.append((text, options))

    display = ProgressDisplay(mode, show, lambda: now, terminal, "t: ")
    for moment in (0, 2, 4, 5, 6, 11):
        now = float(moment)
        display.update(str(moment))
    display.close("end")
    assert calls == shown


@pytest.mark.parametrize("terminal", [True, False])
def test_a_display_that_never_showed_leaves_nothing_to_erase(terminal: bool) -> None:
    calls: list[str] = []
    ProgressDisplay("auto", lambda text, **_options: calls.append(text), lambda: 0.0, terminal, "").close()
    assert calls == []


def test_a_line_is_erased_from_its_beginning() -> None:
    assert ERASE_LINE == "\r\x1b[2K"


@pytest.mark.parametrize(
    ("target", "terminal"),
    [
        ("/dev/pts/3", True),
        ("/dev/tty1", True),
        ("/dev/console", True),
        ("/dev/null", False),
        ("pipe:[4711]", False),
        ("/srv/dev/pts/log", False),
        (None, False),
    ],
)
def test_the_terminal_is_the_parent_s(monkeypatch: pytest.MonkeyPatch, target: str | None, terminal: bool) -> None:
    def readlink(path: Path) -> Path:
        assert str(path) == f"/proc/{os.getppid()}/fd/1"
        if target is None:
            raise PermissionError
        return Path(target)

    monkeypatch.setattr(progress_display.Path, "readlink", readlink)
    assert progress_display.controller_has_terminal() is terminal
