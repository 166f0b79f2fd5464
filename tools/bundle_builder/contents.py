"""What images hold besides programs of ours: netfilter's tools with their libraries, busybox, or Python."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from .debian import Unpacked, merged
from .elf import needs
from .oci import Entry
from .problems import CannotBuild

# Packages by what an image holds. Their libraries are found by following what they ask for.
SEEDS = {
    "nothing": (),
    "netfilter": ("conntrack", "iproute2", "iptables", "netbase", "nftables"),
    "busybox": ("busybox-static",),
    # libstdc++6 and libgcc-s1 are not Python's: compiled packages, TensorFlow above all, are linked with them.
    "python": (
        "ca-certificates",
        "libgcc-s1",
        "libpython3.11-stdlib",
        "libstdc++6",
        "media-types",
        "python3.11-minimal",
    ),
    # Not of packages' files but of a whole Debian, see kind_node.
    "node": (),
}
_TOOLS = (
    "usr/bin/ip",
    "usr/sbin/conntrack",
    "usr/sbin/ip6tables-legacy",
    "usr/sbin/ip6tables-legacy-restore",
    "usr/sbin/ip6tables-legacy-save",
    "usr/sbin/iptables-legacy",
    "usr/sbin/iptables-legacy-restore",
    "usr/sbin/iptables-legacy-save",
    "usr/sbin/nft",
    "usr/sbin/xtables-legacy-multi",
    "usr/sbin/xtables-nft-multi",
)
# What the package's installation would choose among alternatives.
_CHOSEN = [f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore")]
_PLACES = ("etc/protocols", "etc/services")
_SHELL = ("usr/bin/busybox",)
_PYTHON = "usr/lib/python3.11/"
_INTERPRETER = "usr/bin/python3.11"
# Parts of the library for terminals, converting Python 2, installing pip, databases in files and Python's own tests.
_WITHOUT = re.compile(
    "(curses|dbm|ensurepip|lib2to3|pydoc_data|turtledemo)/"
    "|lib-dynload/(_curses.*|_dbm|_ctypes_test|_test.*|_xx.*|nis|ossaudiodev|readline|xx.*)[.]cpython"
)
# What a compiled Python package may take for granted (PEP 600), whether or not Python itself asks for it.
_LIBRARIES = frozenset(
    f"lib{name}"
    for name in (
        *("c.so.6", "dl.so.2", "m.so.6", "pthread.so.0", "resolv.so.2", "rt.so.1", "util.so.1"),
        *("nss_dns.so.2", "nss_files.so.2", "gcc_s.so.1", "stdc++.so.6", "z.so.1"),
    )
)
_AUTHORITIES = "usr/share/ca-certificates/mozilla/"


def of(content: str, files: Mapping[str, Unpacked]) -> dict[str, Entry]:
    """Return the entries of an image that holds a content, from the files of its packages."""
    return {"nothing": _nothing, "netfilter": _netfilter, "busybox": _busybox, "python": _python, "node": _nowhere}[
        content
    ](files)


def _nothing(_: Mapping[str, Unpacked]) -> dict[str, Entry]:
    return {"tmp": Entry(0o1777)}


def _nowhere(_: Mapping[str, Unpacked]) -> dict[str, Entry]:
    return {}


def _netfilter(files: Mapping[str, Unpacked]) -> dict[str, Entry]:
    # The extensions are loaded by name when a rule needs them: nothing asks for them, or for their libraries, before.
    extensions = [name for name in files if "/xtables/" in name and name.endswith(".so")]
    entries = closure([*_TOOLS, *_PLACES, *extensions], files)
    links = {f"usr/sbin/{name}": Entry(link="xtables-nft-multi") for name in _CHOSEN}
    merging = {name: Entry(link=f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")}
    # iptables takes its lock below /run; kube-proxy wants a place for scratch files.
    folders = {"run": Entry(), "tmp": Entry(0o1777)}
    return {**entries, **links, **merging, **folders}


def _busybox(files: Mapping[str, Unpacked]) -> dict[str, Entry]:
    path = next((name for name in (*_SHELL, "bin/busybox") if name in files), None)
    if path is None:
        raise CannotBuild(f"the package {SEEDS['busybox'][0]} has no {_SHELL[0]}")
    links = {f"bin/{name}": Entry(link="busybox") for name in APPLETS}
    nobody = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
    return {
        "bin/busybox": Entry(0o755, files[path].content),
        **links,
        "etc/passwd": Entry(0o644, nobody),
        "tmp": Entry(0o1777),
        "var/www": Entry(),
    }


def _python(files: Mapping[str, Unpacked]) -> dict[str, Entry]:
    """Python with its library and what compiled packages need; no shell, no installer, nothing to compile with."""
    library = [name for name in files if name.startswith(_PYTHON) and not _WITHOUT.match(name.removeprefix(_PYTHON))]
    libraries = [name for name in files if posixpath.basename(name) in _LIBRARIES and _is_library(name)]
    entries = closure([_INTERPRETER, *library, *libraries], files)
    # Each package's installation would have made these.
    authorities = sorted(name for name in files if name.startswith(_AUTHORITIES))
    links = {f"usr/bin/{name}": Entry(link="python3.11") for name in ("python", "python3")}
    merging = {name: Entry(link=f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")}
    return {
        **entries,
        **links,
        **merging,
        "etc/group": Entry(0o644, b"root:x:0:\nnogroup:x:65534:\n"),
        "etc/nsswitch.conf": Entry(0o644, b"passwd: files\ngroup: files\nhosts: files dns\n"),
        "etc/passwd": Entry(0o644, b"root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        "etc/ssl/certs/ca-certificates.crt": Entry(0o644, b"".join(files[name].content for name in authorities)),
        "tmp": Entry(0o1777),
        "usr/lib/ssl/cert.pem": Entry(link="/etc/ssl/certs/ca-certificates.crt"),
        "usr/sbin": Entry(),
        "var/tmp": Entry(0o1777),
    }


def closure(wanted: Iterable[str], files: Mapping[str, Unpacked]) -> dict[str, Entry]:
    """Return some files, where their links lead and every library they need, as entries of an image."""
    entries: dict[str, Entry] = {}
    waiting = sorted(wanted, reverse=True)
    libraries = {posixpath.basename(name): name for name in sorted(files) if _is_library(name)}
    missing: list[str] = []
    while waiting:
        name = waiting.pop()
        if name in entries:
            continue
        if name not in files:
            missing.append(name)
            continue
        file = files[name]
        if file.link:
            entries[name] = Entry(link=file.link)
            waiting.append(merged(posixpath.normpath(posixpath.join("/", posixpath.dirname(name), file.link))))
            continue
        entries[name] = Entry(file.mode, file.content)
        asked = needs(file.content)
        if asked is not None:
            waiting += [merged(asked.loader)] if asked.loader else []
            waiting += [libraries.get(library, library) for library in asked.libraries]
    if missing:
        raise CannotBuild(f"none of the packages has {', '.join(sorted(set(missing)))}")
    return entries


def _is_library(name: str) -> bool:
    """Tell whether a file lies where the loader looks: `/usr/lib` or one folder below, for this architecture."""
    return name.startswith(("usr/lib/", "usr/lib64/")) and ".so" in posixpath.basename(name) and name.count("/") <= 3


APPLETS = [
    "arping",
    "ash",
    "awk",
    "base64",
    "basename",
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "false",
    "fgrep",
    "find",
    "free",
    "fuser",
    "getopt",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "httpd",
    "id",
    "ifconfig",
    "ip",
    "kill",
    "killall",
    "less",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mktemp",
    "more",
    "mount",
    "mv",
    "nc",
    "netstat",
    "nice",
    "nslookup",
    "od",
    "paste",
    "ping",
    "ping6",
    "pkill",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "route",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "tail",
    "tar",
    "tee",
    "test",
    "time",
    "timeout",
    "top",
    "touch",
    "tr",
    "traceroute",
    "true",
    "tty",
    "uname",
    "uniq",
    "uptime",
    "vi",
    "watch",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
]
