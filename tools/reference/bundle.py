"""Page of the addresses that a bundle comes from, for a firewall's list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.dtf.cluster.plugins.module_utils.bundle import Mirrors, addresses, read_lock
from reference.markdown import GENERATED, page, table

HEAD = ("Kind", "Address", "Redirects to", "Artifacts")
ABOUT = """What the controller asks when it fills a bundle from upstream, without mirrors. Only the controller does;
nodes ask none of these. A redirect is what the server was known to answer when this was written; it may name others.
Where a firewall cannot let a pattern through, a mirror inside the site is the way."""


def addresses_page(lock: Mapping[str, Any], source: str) -> str:
    """Return the page for a lock."""
    read = read_lock(lock, "amd64", source)
    rows = [
        (
            str(entry["kind"]),
            f"`{entry['address']}`",
            ", ".join(f"`https://{host}`" for host in _texts(entry["redirects"])) or "none known",
            ", ".join(_texts(entry["artifacts"])),
        )
        for entry in addresses(read.entries, read, Mirrors({}))
    ]
    # A member that is to be fetched only if it is asked for has an address all the same.
    optional = [entry.name for entry in read.entries if entry.optional]
    note = f"Only fetched if asked for by name: {', '.join(optional)}." if optional else ""
    return page("# Addresses of the bundle", GENERATED, f"Source: `{source}`", ABOUT, table(HEAD, rows), note)


def _texts(content: object) -> list[str]:
    assert isinstance(content, list)
    return [str(text) for text in content]
