"""What this machine's apt knows: where Debian's archive is, and how to get there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# Of apt's settings those by which it reaches an archive and judges how old its lists are.
_SETTING = re.compile(r'(?:Acquire::(?:https?|ftp)::[^ ]+|Acquire::(?:Check-[A-Za-z-]+|Retries)) "[^"]+";')
# Those of the machine's own disk.
_LOCAL_SETTING = re.compile(r"::(?:ssl|)(?:cert|key|cainfo|capath|issuercert)\b", re.IGNORECASE)
_PROXY = re.compile(r'Acquire::[^ ]*Proxy[^ ]* "([^"]+)";')


@dataclass(frozen=True)
class Source:
    """An archive that apt takes packages from.

    Attributes:
        uri: its address.
        suites: those that are used.
        components: those that are used.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


def parse(files: Mapping[str, str]) -> list[Source]:
    """Return the archives of packages in apt's source files, by path: ``.sources`` or the older ``.list``."""
    found: list[Source] = []
    for path in sorted(files):
        found += _stanzas(files[path]) if path.endswith(".sources") else _lines(files[path])
    return found


def archives(sources: Iterable[Source], suite: str) -> list[Source]:
    """Return Debian's archives among the sources with the suites of one release, whichever release they are used for.

    The first is the main one. There is none on a machine with another distribution.
    """
    main, security = [], []
    for source in sources:
        place = urlsplit(source.uri).path.rstrip("/").rsplit("/", 1)[-1]
        if "main" not in source.components:
            continue
        if place == "debian" and not any(name.endswith("-security") for name in source.suites):
            used = {name.partition("-")[2] for name in source.suites}
            suites = (suite, *(f"{suite}-{kind}" for kind in ("updates",) if kind in used))
            main.append(Source(source.uri, suites, source.components))
        elif place == "debian-security" or any(name.endswith("-security") for name in source.suites):
            security.append(Source(source.uri, (f"{suite}-security",), source.components))
    main.sort(key=lambda source: -len(source.suites))
    return [*main[:1], *security[:1]] if main else []


def render(sources: Iterable[Source]) -> str:
    """Return the text of a ``.sources`` file."""
    return "\n".join(
        f"Types: deb\nURIs: {source.uri}\nSuites: {' '.join(source.suites)}\n"
        f"Components: {' '.join(source.components)}\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        for source in sources
    )


def settings(dump: str, environment: Mapping[str, str]) -> list[str]:
    """Return the lines of configuration by which a host's apt reaches the archives as this machine's does.

    Args:
        dump: what ``apt-config dump`` says.
        environment: of the caller, who may have a proxy there.
    """
    found = [line for line in dump.splitlines() if _SETTING.fullmatch(line) and not _LOCAL_SETTING.search(line)]
    for scheme in ("http", "https"):
        name = f"{scheme}_proxy"
        proxy = environment.get(name) or environment.get(name.upper())
        if proxy and not any(f"::{scheme}::proxy " in line.lower() for line in found):
            found.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return found


def remote_names(sources: Iterable[Source], lines: Iterable[str]) -> set[str]:
    """Return the names of the machines that apt talks to: archives, and the proxies in lines of its settings."""
    proxies = [match.group(1) for line in lines if (match := _PROXY.match(line))]
    addresses = [*(source.uri for source in sources), *proxies]
    return {name for address in addresses if (name := urlsplit(address).hostname)}


def known_hosts(hosts_file: str, names: Iterable[str]) -> dict[str, str]:
    """Return name → address of those names that stand in an ``/etc/hosts``: no resolver knows them."""
    wanted = set(names)
    found: dict[str, str] = {}
    for line in hosts_file.splitlines():
        words = line.partition("#")[0].split()
        for name in words[1:]:
            if name in wanted and ":" not in words[0]:
                found.setdefault(name, words[0])
    return found


def _stanzas(text: str) -> list[Source]:
    found = []
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", kept):
        values: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in {" ", "\t"}:
                values[name] = f"{values.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                values[name] = value.strip()
        if "deb" not in values.get("types", "").split() or values.get("enabled", "yes").lower() in {"no", "false"}:
            continue
        suites, components = (tuple(values.get(key, "").split()) for key in ("suites", "components"))
        found += [Source(uri, suites, components) for uri in values.get("uris", "").split()]
    return found


def _lines(text: str) -> list[Source]:
    found = []
    for line in text.splitlines():
        words = shlex.split(re.sub(r"\[.*?\]", "", line), comments=True)
        if len(words) >= 3 and words[0] == "deb":
            found.append(Source(words[1], (words[2],), tuple(words[3:])))
    return found
