"""An image holds what its programs ask for, and what they will ask for later."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from bundle_builder import builder, contents, debian, elf, golang
from bundle_builder.debian import Unpacked
from bundle_builder.problems import CannotBuild


def program(*libraries: str, loader: str = "") -> bytes:
    """Return an ELF file that asks for some libraries, as small as one can be."""
    strings = b"\0"
    offsets = []
    for name in libraries:
        offsets.append(len(strings))
        strings += name.encode() + b"\0"
    start, count = 64, 3 if loader else 2
    place = start + 56 * count
    # The string table is found by its address in memory, which is not its place in the file.
    memory = 0x400000
    dynamic = b"".join(struct.pack("<QQ", 1, offset) for offset in offsets) + struct.pack("<QQ", 5, memory + place)
    interpreter = loader.encode() + b"\0"
    headers = [
        (1, place, memory + place, len(strings)),
        (2, place + len(strings), 0, len(dynamic)),
        (3, place + len(strings) + len(dynamic), 0, len(interpreter)),
    ][:count]
    packed = b"".join(struct.pack("<IIQQQQQQ", kind, 0, at, to, 0, size, size, 1) for kind, at, to, size in headers)
    head = b"\x7fELF\x02\x01" + b"\0" * 26 + struct.pack("<QQIHHH", start, 0, 0, 64, 56, count)
    return head.ljust(start, b"\0") + packed + strings + dynamic + interpreter


def test_what_a_program_asks_for() -> None:
    assert elf.needs(program("libm.so.6", "libc.so.6", loader="/lib64/ld.so")) == elf.Needs(
        "/lib64/ld.so", ("libm.so.6", "libc.so.6")
    )
    assert elf.needs(program()) == elf.Needs("", ())
    assert elf.needs(b"#!/bin/sh\n") is None


def test_a_real_program_asks_for_its_c_library() -> None:
    found = elf.needs(Path("/bin/sh").read_bytes())
    assert found is not None
    assert any(name.startswith(("libc.", "ld-")) for name in found.libraries)
    assert Path(found.loader).exists()


FILES = {
    "usr/sbin/tool": Unpacked(0o755, program("liba.so.1", loader="/lib64/ld.so.2")),
    "usr/lib64/ld.so.2": Unpacked(0o777, b"", "/lib/x86_64-linux-gnu/ld.so.2"),
    "usr/lib/x86_64-linux-gnu/ld.so.2": Unpacked(0o755, program()),
    "usr/lib/x86_64-linux-gnu/liba.so.1": Unpacked(0o777, b"", "liba.so.1.2"),
    "usr/lib/x86_64-linux-gnu/liba.so.1.2": Unpacked(0o644, program("libb.so.6")),
    "usr/lib/x86_64-linux-gnu/libb.so.6": Unpacked(0o644, program()),
    "usr/lib/x86_64-linux-gnu/xtables/libxt_x.so": Unpacked(0o644, program("libb.so.6")),
    "usr/share/doc/tool": Unpacked(0o644, b"words"),
}


def test_links_libraries_and_loader_come_along_and_nothing_else() -> None:
    entries = contents.closure(["usr/sbin/tool"], FILES)
    assert set(entries) == set(FILES) - {"usr/share/doc/tool", "usr/lib/x86_64-linux-gnu/xtables/libxt_x.so"}
    assert entries["usr/lib64/ld.so.2"].link == "/lib/x86_64-linux-gnu/ld.so.2"


def test_a_library_that_no_package_has_is_named() -> None:
    files = {name: file for name, file in FILES.items() if not name.endswith("libb.so.6")}
    with pytest.raises(CannotBuild, match=r"none of the packages has libb.so.6, usr/sbin/other"):
        contents.closure(["usr/sbin/tool", "usr/sbin/other"], files)


def test_a_python_without_what_only_people_and_its_own_tests_use() -> None:
    library = "usr/lib/python3.11/"
    kept = ["os.py", "ctypes/util.py", "lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so"]
    dropped = [
        *("curses/panel.py", "ensurepip/__init__.py", "lib-dynload/_curses_panel.cpython-311-x86_64-linux-gnu.so"),
        *("lib-dynload/_testcapi.cpython-311-x86_64-linux-gnu.so", "pydoc_data/topics.py"),
    ]
    authorities = "usr/share/ca-certificates/mozilla/"
    files = {
        **{library + name: Unpacked(0o644, b"text") for name in (*kept, *dropped)},
        "usr/bin/python3.11": Unpacked(0o755, program()),
        "usr/lib64/ld.so.2": Unpacked(0o755, program()),
        "usr/lib/x86_64-linux-gnu/libstdc++.so.6": Unpacked(0o777, b"", "libstdc++.so.6.0.30"),
        "usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30": Unpacked(0o644, b"C++"),
        authorities + "B.crt": Unpacked(0o644, b"B\n"),
        authorities + "A.crt": Unpacked(0o644, b"A\n"),
        "usr/share/doc/python3.11/README": Unpacked(0o644, b"words"),
    }
    entries = contents.of("python", files)
    assert {name.removeprefix(library) for name in entries if name.startswith(library)} == set(kept)
    assert entries["usr/bin/python3"].link == "python3.11"
    assert "usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30" in entries
    assert entries["etc/ssl/certs/ca-certificates.crt"].content == b"A\nB\n"
    assert not [name for name in entries if name.endswith(("/sh", "/bash", "README"))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./bin/ip", "usr/bin/ip"),
        ("./lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/lib64/ld.so.2", "usr/lib64/ld.so.2"),
        ("./usr/bin/nft", "usr/bin/nft"),
        ("./etc/protocols", "etc/protocols"),
        ("./library/x", "library/x"),
    ],
)
def test_paths_are_those_of_a_merged_system(name: str, expected: str) -> None:
    assert debian.merged(name) == expected


def test_without_a_name_no_package_is_asked_for() -> None:
    assert debian.installed([]) == {}


def test_missing_packages_are_told_with_the_command_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "installed", lambda _: {"gcc": "12"})
    monkeypatch.setattr(debian, "_root", lambda: False)
    message = (
        "missing packages: libc6-dev, libseccomp-dev; "
        "as root: apt-get install --no-install-recommends libc6-dev libseccomp-dev"
    )
    with pytest.raises(CannotBuild) as refused:
        debian.provide(["libseccomp-dev", "gcc", "libc6-dev"])
    assert str(refused.value) == message
    assert debian.provide(["gcc"]) == []


def go(folder: Path, script: str) -> None:
    """Put a `go` into a folder that answers with a script."""
    path = folder / "go"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (None, "no `go` on PATH; install go1.26.8 .*or any Go from 1.21 on"),
        ('[ "$2" = -json ] && echo "{}" || echo go1.19.8', r"go is go1.19.8, the modules pin go1.26.8; install"),
        (
            '[ "$2" = -json ] && echo "{}" && exit; echo "download go1.26.8: no network" >&2; exit 1',
            r"go is of no use \(download go1.26.8: no network\), the modules pin go1.26.8",
        ),
    ],
    ids=["none", "another", "cannot be fetched"],
)
def test_the_pinned_compiler_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, problem: str
) -> None:
    if script:
        go(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path) + (":/usr/bin:/bin" if script else ""))
    golang.compiler.cache_clear()
    golang._callers.cache_clear()
    try:
        with pytest.raises(CannotBuild, match=problem):
            golang.compiler("go1.26.8")
    finally:
        golang.compiler.cache_clear()
        golang._callers.cache_clear()


def test_a_machine_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "s390x")
    with pytest.raises(CannotBuild, match="machine 's390x' is not known; accepted: aarch64, x86_64"):
        builder.architecture()
