"""What an API server's refusals mean; the messages are those of a server 1.36."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.kube_errors import Gone, Request, refusal

REQUEST = Request("apply", "Job", "demo-ps", "training")


def status(message: str, **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "details": details}).encode()


CASES = [
    (401, "Unauthorized", "unauthorized", "credentials are missing, wrong or expired"),
    (
        403,
        'jobs.batch is forbidden: User "eve" cannot patch resource "jobs" in API group "batch" in the namespace "t"',
        "forbidden",
        "let eve patch jobs",
    ),
    (
        403,
        'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2',
        "quota",
        "ask for less",
    ),
    (
        403,
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes (volume "data")',
        "admission",
        "pod-security.kubernetes.io",
    ),
    (
        403,
        'jobs.batch "x" is forbidden: unable to create new content in namespace t because it is being terminated',
        "namespace_terminating",
        "wait until the namespace is gone",
    ),
    (403, 'pods "x" is forbidden: minimum cpu usage per Container is 1', "admission", "change what it names"),
    (400, 'admission webhook "policy.example" denied the request: no', "admission", "ask who runs it"),
    (500, 'Internal error occurred: failed calling webhook "policy.example"', "admission", "ask who runs it"),
    (422, "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", "admission", "policy"),
    (404, 'namespaces "training" not found', "namespace_missing", "kubectl create namespace training"),
    (404, 'pods "x" not found', "not_found", "it is not there"),
    (409, "Operation cannot be fulfilled: the object has been modified", "changed_meanwhile", "try again"),
    (410, "too old resource version", "gone", "list again"),
    (422, 'Job.batch "x" is invalid: spec.template: field is immutable', "invalid", "only change with a new object"),
    (422, 'Job.batch "x" is invalid: spec.parallelism', "invalid", "correct the fields"),
    (500, "failed to create typed patch object: .dat: field not declared in schema", "invalid", "correct the fields"),
    (429, "Too many requests", "throttled", "busy"),
    (503, "apiserver is shutting down", "unreachable", "does not answer at the moment"),
    (500, "etcdserver: request timed out", "server_error", "log"),
]


@pytest.mark.parametrize(("http_status", "message", "code", "step"), CASES, ids=[case[1][:40] for case in CASES])
def test_a_refusal(http_status: int, message: str, code: str, step: str) -> None:
    error = refusal(REQUEST, http_status, status(message))
    assert error.code == code
    assert str(error).startswith(f"apply Job demo-ps in namespace training: {message}: ")
    assert step in str(error).split(message)[1]
    assert isinstance(error, Gone) is (code == "gone")


def test_a_conflict_names_managers_and_fields() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".spec.ports"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".spec.type"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".metadata.labels.a"},
    ]
    error = refusal(REQUEST, 409, status("Apply failed with 3 conflicts", causes=causes))
    assert "kubectl owns .spec.ports, .spec.type; argocd owns .metadata.labels.a" in str(error)
    assert "force_conflicts: true" in str(error)
    owned = {"kubectl": [".spec.ports", ".spec.type"], "argocd": [".metadata.labels.a"]}
    assert error.details["managers"] == owned


def test_who_may_not_do_what_is_told_to_programs_too() -> None:
    text = 'pods is forbidden: User "eve" cannot list resource "pods" in API group ""'
    details = refusal(Request("list", "Pod", "", "t"), 403, status(text)).details
    assert details == {"http_status": 403, "user": "eve", "verb": "list", "resource": "pods"}


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b'{"kind": "Other"}', b"[]"])
def test_what_is_no_status_is_told_as_it_is(body: bytes) -> None:
    error = refusal(REQUEST, 502, body)
    assert error.code == "unreachable"
    assert (body.decode() or "HTTP status 502") in str(error)
