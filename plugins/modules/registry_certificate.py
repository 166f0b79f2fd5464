#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible module: the certificate that a registry shows, and the authority that vouches for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_certificate
short_description: Have a registry's certificate on the controller, from whatever authority the site has
version_added: 0.1.0
description:
  - Leaves a certificate and its key for one host of the registry, and the certificate of the authority that clients
    trust it by as C(ca.crt) in O(folder).
  - With O(site.certificate) that one is taken. With O(site.ca_key) the site's authority signs one. Else an authority is
    made in O(folder) and signs.
  - A certificate is made anew when its names have changed, its authority is another, or it is near its end.
  - Runs where the keys are, which is the controller.
author:
  - The dtf.cluster team (@dtf-cluster)
options:
  folder:
    description: Folder on the controller for certificates and keys.
    type: path
    required: true
  host:
    description: Name of the host in the inventory, under which its certificate is kept.
    type: str
    required: true
  state:
    description:
      - V(absent) removes the host's certificate and key, and with those of the last host the authority.
    type: str
    default: present
    choices: [present, absent]
  names:
    description: Host names and addresses by which the registry is asked, the one to try it by first.
    type: list
    elements: str
    default: []
  site:
    description: What the site brings, as paths on the controller.
    type: dict
    default: {}
    suboptions:
      certificate:
        description: Certificate of the registry, with whatever stands between it and the authority.
        type: path
      key:
        description: Its key, without a passphrase.
        type: path
      ca:
        description: Certificate of the authority.
        type: path
      ca_key:
        description: Its key, without a passphrase. Whoever gives it has certificates signed by it.
        type: path
  days:
    description: For how many days a certificate that is made here is valid.
    type: int
    default: 365
  renew_days:
    description: How many days before its end it is made anew.
    type: int
    default: 30
requirements:
  - cryptography 42 or later
attributes:
  check_mode:
    description: Tells whether a certificate would be made.
    support: full
  diff_mode:
    description: Shows names and end before and after, and never a key.
    support: full
"""

EXAMPLES = r"""
- name: Have a certificate
  dtf.cluster.registry_certificate:
    folder: /srv/secrets/registry
    host: "{{ inventory_hostname }}"
    names: [registry.bank.example, 192.0.2.7]
  delegate_to: localhost
"""

RETURN = r"""
certificate:
  description: File with the certificate.
  returned: always
  type: str
  sample: /srv/secrets/registry/cp1.crt
key:
  description: File with its key.
  returned: always
  type: str
  sample: /srv/secrets/registry/cp1.key
ca:
  description: File with the authority that clients trust it by; empty where it is one that systems know.
  returned: always
  type: str
  sample: /srv/secrets/registry/ca.crt
name:
  description: Name or address that the certificate is for.
  returned: always
  type: str
  sample: registry.bank.example
ends:
  description: When it ends.
  returned: always
  type: str
  sample: "2027-11-23"
reasons:
  description: Why a certificate was made, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [there is none]
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificate_files import (
    Pair,
    check_library,
    make_authority,
    make_server,
    may_sign,
    read_chain,
    read_key,
    read_pair,
    write_pair,
)
from ..module_utils.certificates import Wanted, authority_is_right, covered, reasons_to_renew
from ..module_utils.errors import ActionFailed, InvalidInput, Problem
from ..module_utils.host_files import read, remove, write

#: An authority that is made here lasts for ten years.
AUTHORITY_DAYS = 3650
AUTHORITY = "ca"


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder: two hosts of one play must not make two authorities."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Certificates:
    """A folder of certificates, and what the site brings."""

    def __init__(self, options: Mapping[str, Any], *, check: bool, now: datetime) -> None:
        self.folder = Path(options["folder"])
        self.host: str = options["host"]
        self.names: list[str] = [name.lower() for name in options["names"]]
        self.site: dict[str, str] = {name: path for name, path in (options["site"] or {}).items() if path}
        self.days: int = options["days"]
        self.renew_days: int = options["renew_days"]
        self.check = check
        self.now = now
        self.changed = False

    def place(self, name: str) -> tuple[Path, Path]:
        """Return where a certificate and its key are kept."""
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def problems(self) -> list[Problem]:
        """Return all that is wrong with what was asked for, before anything is made."""
        found = []
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.host) or self.host == AUTHORITY:
            found.append(Problem("host", self.host, f"a name of letters, digits, '.', '_' and '-', not {AUTHORITY!r}"))
        if not self.names:
            found.append(Problem("names", self.names, "at least one host name or address"))
        found += [
            Problem("names", name, "a host name or an address")
            for name in self.names
            if not re.fullmatch(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+", name)
        ]
        if self.days <= self.renew_days or self.renew_days < 1:
            found.append(Problem("renew_days", self.renew_days, f"from 1 to less than days, which is {self.days}"))
        given = self.site.keys()
        for name, other in (("certificate", "key"), ("key", "certificate"), ("ca_key", "ca")):
            if name in given and other not in given:
                found.append(Problem(f"site.{other}", None, f"a file, since site.{name} is given"))
        if {"certificate", "ca_key"} <= given:
            found.append(Problem("site.ca_key", self.site["ca_key"], "nothing, since site.certificate is given"))
        elif "ca" in given and not given & {"certificate", "ca_key"}:
            found.append(Problem("site.ca", self.site["ca"], "with site.ca_key to sign, or with site.certificate"))
        return found or self.file_problems()

    def file_problems(self) -> list[Problem]:
        """Return what is wrong with the site's files."""
        found: list[Problem] = []
        for certificate, key, kind in (("certificate", "key", "the registry"), ("ca", "ca_key", "an authority")):
            pair = self.read_site(certificate, key, found)
            if pair is None:
                continue
            seen = pair.seen()
            if not seen.begins <= self.now < seen.ends:
                accepted = f"a certificate that is valid now, not from {seen.begins:%Y-%m-%d} to {seen.ends:%Y-%m-%d}"
                found.append(Problem(f"site.{certificate}", self.site[certificate], accepted))
            if key in self.site and not seen.fits_key:
                found.append(Problem(f"site.{key}", self.site[key], f"the key of site.{certificate}"))
            if kind == "an authority" and not may_sign(pair.first):
                found.append(Problem("site.ca", self.site["ca"], "a certificate that may sign others"))
            if kind == "the registry" and not covered(seen.names, self.names):
                accepted = "a certificate for {}; it is for {}".format(
                    " or ".join(self.names), ", ".join(sorted(seen.names)) or "no name at all"
                )
                found.append(Problem("site.certificate", self.site["certificate"], accepted))
        return found

    def read_site(self, certificate: str, key: str, found: list[Problem]) -> Pair | None:
        """Return a pair of the site's, noting what cannot be read."""
        if certificate not in self.site:
            return None
        chain = secret = None
        try:
            chain = read_chain(Path(self.site[certificate]))
        except (OSError, ValueError) as error:
            accepted = f"a file with PEM certificates ({error})"
            found.append(Problem(f"site.{certificate}", self.site[certificate], accepted))
        try:
            secret = read_key(Path(self.site[key])) if key in self.site else None
        except (OSError, ValueError) as error:
            found.append(Problem(f"site.{key}", self.site[key], f"a file with a PEM key without passphrase ({error})"))
        if chain is None or (secret is None and key in self.site):
            return None
        return Pair(chain, secret)

    def present(self) -> dict[str, Any]:
        """Have a certificate; return where it is and what became of it."""
        if "certificate" in self.site:
            return self.sites_own()
        authority = self.authority()
        certificate, key = self.place(self.host)
        found = read_pair(certificate, key)
        seen = found.seen(authority) if found else None
        wanted = Wanted(frozenset(self.names), self.days, self.renew_days, authority.seen().ends)
        reasons = reasons_to_renew(seen, wanted, self.now)
        before = {"names": sorted(seen.names), "ends": f"{seen.ends:%Y-%m-%d}"} if seen else {}
        after = before
        if reasons:
            self.changed = True
            made = make_server(wanted.names, authority, self.now, wanted.end(self.now))
            after = {"names": sorted(wanted.names), "ends": f"{wanted.end(self.now):%Y-%m-%d}"}
            if not self.check:
                write_pair(made, certificate, key)
        return {
            "certificate": str(certificate),
            "key": str(key),
            "ca": str(self.place(AUTHORITY)[0]),
            "name": self.names[0],
            "ends": after["ends"],
            "reasons": reasons,
            "diff": {"before": before, "after": after},
        }

    def sites_own(self) -> dict[str, Any]:
        """Return the site's certificate as it is."""
        seen = Pair(read_chain(Path(self.site["certificate"])), None).seen()
        ca = self.keep_authority(Path(self.site["ca"]).read_text(encoding="utf-8")) if "ca" in self.site else ""
        return {
            "certificate": self.site["certificate"],
            "key": self.site["key"],
            "ca": ca,
            "name": covered(seen.names, self.names),
            "ends": f"{seen.ends:%Y-%m-%d}",
            "reasons": [],
            "diff": {"before": {}, "after": {}},
        }

    def authority(self) -> Pair:
        """Return the authority that signs: the site's, or one of our own, which is made if there is none."""
        if "ca_key" in self.site:
            pair = Pair(read_chain(Path(self.site["ca"])), read_key(Path(self.site["ca_key"])))
            self.keep_authority(pair.text())
            return pair
        place = self.place(AUTHORITY)
        found = read_pair(*place)
        if found and authority_is_right(found.seen(), self.days, self.now):
            return found
        made = make_authority(f"dtf.cluster registry {self.now:%Y-%m-%d}", self.now, max(AUTHORITY_DAYS, 2 * self.days))
        self.changed = True
        if not self.check:
            write_pair(made, *place)
        return made

    def keep_authority(self, text: str) -> str:
        """Leave the site's authority where clients look for it."""
        path = self.place(AUTHORITY)[0]
        if read(path) != text:
            self.changed = True
            if not self.check:
                write(path, text)
        return str(path)

    def absent(self) -> dict[str, Any]:
        """Remove the host's pair, and the authority that nobody needs any more."""
        gone = [path for path in self.place(self.host) if path.exists()]
        others = set(self.folder.glob("*.key")) - {self.place(self.host)[1], self.place(AUTHORITY)[1]}
        if not others:
            gone += [path for path in self.place(AUTHORITY) if path.exists()]
        self.changed = bool(gone)
        if not self.check:
            for path in gone:
                remove(path)
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        before = {"files": sorted(map(str, gone))}
        certificate, key = self.place(self.host)
        return {
            "certificate": str(certificate),
            "key": str(key),
            "ca": "",
            "name": "",
            "ends": "",
            "reasons": [],
            "diff": {"before": before, "after": {"files": []}},
        }


def main() -> None:
    """Check what is asked for, then make what is lacking."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "host": {"type": "str", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "names": {"type": "list", "elements": "str", "default": []},
            "site": {
                "type": "dict",
                "default": {},
                "options": {
                    "certificate": {"type": "path"},
                    "key": {"type": "path", "no_log": False},
                    "ca": {"type": "path"},
                    "ca_key": {"type": "path", "no_log": False},
                },
            },
            "days": {"type": "int", "default": 365},
            "renew_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    certificates = Certificates(module.params, check=module.check_mode, now=datetime.now(timezone.utc))
    wanted = module.params["state"]
    try:
        check_library()
        problems = certificates.problems() if wanted == "present" else []
        if problems:
            raise InvalidInput("the registry's certificate", problems)
        if wanted == "present" and not module.check_mode:
            certificates.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held(certificates.folder) if certificates.folder.is_dir() else contextlib.nullcontext():
            result = certificates.present() if wanted == "present" else certificates.absent()
    except (ActionFailed, InvalidInput) as error:
        module.fail_json(msg=str(error), failure=error.as_failure())
    module.exit_json(changed=certificates.changed, **result)


if __name__ == "__main__":
    main()
