# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that runs kubectl, on a control plane and with its own credentials.

The roles that make a cluster need its API before the controller has anything to reach it with.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import ActionFailed
from .programs import run

ENVIRONMENT = {
    "KUBECONFIG": "/etc/kubernetes/admin.conf",
}
#: Who our fields belong to when several programs apply to one object.
FIELD_MANAGER = "dtf.cluster"


def items(kind: str, *arguments: str) -> list[dict[str, Any]]:
    """Return objects of a kind; raises :class:`ActionFailed` where the API does not answer."""
    listed = json.loads(_kubectl(["get", kind, "--output", "json", *arguments]))
    found: list[dict[str, Any]] = listed["items"]
    return found


def patch(kind: str, name: str, document: Mapping[str, object]) -> None:
    """Merge a document into an object; a ``None`` removes a field."""
    _kubectl(["patch", kind, name, "--type", "merge", "--patch", json.dumps(document)])


def diff(manifests: str) -> str:
    """Return how the cluster would change, as a unified diff; empty where it would not."""
    command = ["diff", "--server-side", "--force-conflicts", "--field-manager", FIELD_MANAGER, "--filename", "-"]
    return _kubectl(command, stdin=manifests, fine=(0, 1))


def apply(manifests: str) -> None:
    """Apply manifests on the server's side."""
    command = ["apply", "--server-side", "--force-conflicts", "--field-manager", FIELD_MANAGER, "--filename", "-"]
    _kubectl(command, stdin=manifests)


def names(manifests: str) -> list[str]:
    """Return which objects of manifests exist, as ``kind/name``."""
    command = ["get", "--ignore-not-found", "--output", "name", "--filename", "-"]
    return _kubectl(command, stdin=manifests).split()


def delete(manifests: str) -> None:
    """Delete the objects of manifests and wait until they are gone."""
    _kubectl(["delete", "--ignore-not-found", "--wait", "--filename", "-"], stdin=manifests)


def delete_one(kind: str, name: str) -> None:
    """Delete an object and wait until it is gone."""
    _kubectl(["delete", kind, name, "--ignore-not-found", "--wait"])


def _kubectl(arguments: list[str], stdin: str | None = None, fine: Iterable[int] = (0,)) -> str:
    try:
        ended = run(["kubectl", "--request-timeout", "30s", *arguments], stdin=stdin, environment=ENVIRONMENT)
    except FileNotFoundError as error:
        raise ActionFailed("program_missing", "kubectl is not on this host") from error
    if ended.returncode not in fine:
        command = "kubectl " + " ".join(arguments[:2])
        raise ActionFailed(
            "kubectl_failed",
            f"{command} ended with {ended.returncode}: {ended.stderr.strip()}",
            command=command,
            returncode=ended.returncode,
        )
    return ended.stdout
