# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an API server's refusal means: its Status to a code, the cause in its own words and the user's next step.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import ActionFailed

_FORBIDDEN = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"')
_MANAGER = re.compile(r'conflict with "(?P<manager>[^"]*)"')
_NAMESPACE = re.compile(r'namespaces? "[^"]*" not found')


class Gone(ActionFailed):
    """The resource version that was asked for is too old: list again, then watch from there."""


@dataclass(frozen=True)
class Request:
    """What was asked of the API server, as far as an error message needs it."""

    verb: str
    kind: str = ""
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        what = " ".join(part for part in (self.verb, self.kind, self.name) if part)
        return f"{what} in namespace {self.namespace}" if self.namespace else what


def refusal(request: Request, http_status: int, body: bytes) -> ActionFailed:
    """Return the failure that an answer other than 2xx stands for."""
    status = _status(body)
    message = str(status.get("message") or body.decode(errors="replace").strip()[:500] or f"HTTP status {http_status}")
    code, next_step, details = _meaning(request, http_status, status, message)
    kind = Gone if code == "gone" else ActionFailed
    return kind(code, f"{request}: {message}: {next_step}", http_status=http_status, **details)


def _status(body: bytes) -> Mapping[str, object]:
    """Return the Status an API server answered with; what stands before one answers in other ways."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and document.get("kind") == "Status" else {}


def _meaning(
    request: Request, http_status: int, status: Mapping[str, object], message: str
) -> tuple[str, str, dict[str, object]]:
    """Return code, next step and details."""
    causes = _causes(status)
    if "denied the request" in message or "ValidatingAdmissionPolicy" in message or "failed calling webhook" in message:
        return "admission", "change what the policy names, or ask who runs it for an exception", {}
    if http_status == 403:
        return _forbidden(message)
    if http_status == 409:
        return _conflict(causes)
    # An applied field that the API does not know is a plain 500.
    if http_status in (400, 422) or "failed to create typed patch object" in message:
        return _invalid(causes, message)
    if http_status == 404 and _NAMESPACE.search(message):
        return "namespace_missing", f"create it (kubectl create namespace {request.namespace})", {}
    return (*_BY_STATUS.get(http_status, _server_error(http_status)), {})


_BY_STATUS = {
    401: (
        "unauthorized",
        "the credentials are missing, wrong or expired: look at kubeconfig and context, api_key or client_cert",
    ),
    404: ("not_found", "it is not there, or this cluster does not know the kind"),
    410: ("gone", "list again, then watch from there"),
    429: ("throttled", "the API server is busy: try again in a while"),
}


def _server_error(http_status: int) -> tuple[str, str]:
    if http_status in (502, 503, 504):
        return "unreachable", "the API server does not answer at the moment: try again, or look at the control plane"
    return "server_error", "look at the API server's log"


def _causes(status: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    return causes if isinstance(causes, list) else []


def _invalid(causes: Sequence[Mapping[str, object]], message: str) -> tuple[str, str, dict[str, object]]:
    fields = [{"field": cause.get("field", ""), "message": cause.get("message", "")} for cause in causes]
    if "field is immutable" in message:
        return "invalid", "this can only change with a new object: remove the topology first", {"fields": fields}
    return "invalid", "correct the fields it names", {"fields": fields}


def _forbidden(message: str) -> tuple[str, str, dict[str, object]]:
    """Tell apart who may not, what is too much and what a policy does not let in: all three are 403."""
    found = _FORBIDDEN.search(message)
    if found:
        step = "let {user} {verb} {resource} (a Role is in docs/kubernetes.md), or use other credentials"
        return "forbidden", step.format(**found.groupdict()), found.groupdict()
    if "exceeded quota" in message:
        return "quota", "ask for less (replicas, resources), or for a larger quota", {}
    if "violates PodSecurity" in message:
        step = "change kubernetes.pod_patch or kubernetes.volumes, or the namespace's pod-security.kubernetes.io labels"
        return "admission", step, {}
    if "being terminated" in message:
        return "namespace_terminating", "wait until the namespace is gone and create it again", {}
    return "admission", "change what it names", {}


def _conflict(causes: Sequence[Mapping[str, object]]) -> tuple[str, str, dict[str, object]]:
    """Say who else owns which fields; other conflicts pass by themselves."""
    fields: dict[str, list[str]] = {}
    for cause in causes:
        found = _MANAGER.search(str(cause.get("message", "")))
        if cause.get("reason") == "FieldManagerConflict" and found:
            fields.setdefault(found["manager"], []).append(str(cause.get("field", "")))
    if not fields:
        return "changed_meanwhile", "somebody else changed it at this moment: try again", {}
    owned = "; ".join("{} owns {}".format(manager, ", ".join(paths)) for manager, paths in fields.items())
    step = f"{owned}: leave these fields to one of the two, or take them over with force_conflicts: true"
    return "conflict", step, {"managers": fields}
