# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate as it was found and what it is wanted for → whether it is still right, and if not, why.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Certificate:
    """What counts of a certificate that was found.

    Attributes:
        names: host names and addresses it is for.
        begins: from when on it is valid.
        ends: until when.
        fits_key: whether the key beside it is its own.
        signed: whether the authority that is to vouch for it does.
    """

    names: frozenset[str]
    begins: datetime
    ends: datetime
    fits_key: bool = True
    signed: bool = True


@dataclass(frozen=True)
class Wanted:
    """What a server's certificate is wanted for.

    Attributes:
        names: host names and addresses by which the server is asked.
        days: how long a new one is valid.
        renew_days: how long before its end it is replaced.
        authority_ends: when its authority ends; nothing it signs is valid for longer.
    """

    names: frozenset[str]
    days: int
    renew_days: int
    authority_ends: datetime

    def end(self, now: datetime) -> datetime:
        """Return when a certificate that is made now ends."""
        return min(now + timedelta(days=self.days), self.authority_ends)


def reasons_to_renew(found: Certificate | None, wanted: Wanted, now: datetime) -> list[str]:
    """Return every reason for which a server's certificate has to be made anew; none where it is right."""
    if found is None:
        return ["there is none"]
    reasons = []
    if not found.fits_key:
        reasons.append("its key is not the one beside it")
    if not found.signed:
        reasons.append("the authority did not sign it")
    for text, names in (("is not for", wanted.names - found.names), ("is still for", found.names - wanted.names)):
        if names:
            reasons.append("it {} {}".format(text, ", ".join(sorted(names))))
    if found.begins > now:
        reasons.append(f"it is not valid before {found.begins:%Y-%m-%d}")
    # Close to the end of its authority a new one would end with it too: nothing is gained by making it.
    if found.ends - now < timedelta(days=wanted.renew_days) and found.ends < wanted.end(now):
        reasons.append(f"it ends at {found.ends:%Y-%m-%d}")
    return reasons


def authority_is_right(found: Certificate | None, days: int, now: datetime) -> bool:
    """Tell whether an authority of our own can go on: it has its key, and what it signs now may last its days."""
    return found is not None and found.fits_key and found.begins <= now and found.ends - now >= timedelta(days=days)


def covers(names: frozenset[str], name: str) -> bool:
    """Tell whether a certificate for these names is one for that name; a star stands for one label."""
    _label, dot, rest = name.partition(".")
    return name in names or bool(dot and f"*.{rest}" in names)


def covered(names: frozenset[str], wanted: Sequence[str]) -> str:
    """Return the first of the wanted names that a certificate is for; nothing if it is for none."""
    return next((name for name in wanted if covers(names, name)), "")
