"""What is asked of Helm, and what its words mean."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed, InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.helm_client import (
    Chart,
    Helm,
    UnknownKind,
    failed_event,
    failure,
)


class Program:
    """Answers in Helm's place, and remembers what it was asked."""

    def __init__(self, **printed: str) -> None:
        self.printed = printed
        self.asked: list[dict[str, Any]] = []

    def __call__(self, command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        self.asked.append({"words": command[1:], **how})
        printed = self.printed[command[1]] if command[1] in self.printed else self.printed[" ".join(command[1:3])]
        if printed.startswith("Error: "):
            return subprocess.CompletedProcess(command, 1, "", printed)
        return subprocess.CompletedProcess(command, 0, printed, "")


def helm(program: Program, **more: Any) -> Helm:
    return Helm(program="helm", release_name="gpu", namespace="gpu-operator", run=program, **more)


STATUS = json.dumps(
    {
        "version": 3,
        "info": {"status": "deployed"},
        "manifest": "---\nkind: ConfigMap\n",
        "config": {"driver": {"enabled": False}},
    }
)
METADATA = json.dumps({"chart": "gpu-operator", "version": "v25.10.1", "appVersion": "v25.10.1"})


def test_a_release_is_read_with_its_chart_and_values() -> None:
    release = helm(Program(status=STATUS, **{"get metadata": METADATA})).release()
    assert release is not None
    assert (release.revision, release.status, release.pending) == (3, "deployed", False)
    assert release.chart == Chart("gpu-operator", "v25.10.1", "v25.10.1")
    assert release.values == {"driver": {"enabled": False}}


def test_a_release_that_is_not_there_is_none_and_no_failure() -> None:
    assert helm(Program(status="Error: release: not found")).release() is None


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback", "uninstalling"])
def test_a_release_in_the_midst_of_a_change_says_so(status: str) -> None:
    document = {**json.loads(STATUS), "info": {"status": status}}
    release = helm(Program(status=json.dumps(document), **{"get metadata": METADATA})).release()
    assert release is not None
    assert release.pending


def test_what_a_release_holds_is_not_in_its_words() -> None:
    release = helm(Program(status=STATUS, **{"get metadata": METADATA})).release()
    assert "driver" not in repr(release)
    assert "ConfigMap" not in repr(release)


def test_values_go_by_standard_input_and_stand_on_no_command_line() -> None:
    program = Program(template="", upgrade=json.dumps({"version": 2}))
    asked = helm(program, kubeconfig="/k", context="site")
    asked.render("/chart", {"password": "plain-to-see"}, upgrade=True)
    assert asked.put("/chart", {"password": "plain-to-see"}) == 2
    for call in program.asked:
        assert "plain-to-see" not in " ".join(call["words"])
        assert json.loads(call["stdin"]) == {"password": "plain-to-see"}
        assert {"--kubeconfig=/k", "--kube-context=site", "--namespace=gpu-operator"} <= set(call["words"])
    rendered, put = (set(call["words"]) for call in program.asked)
    assert {"--is-upgrade", "--dry-run=server", "--skip-crds"} <= rendered
    assert {"--install", "--wait=hookOnly", "--force-conflicts", "--reset-values"} <= put


def test_a_chart_is_rendered_without_the_cluster_where_its_kinds_are_not_there_yet() -> None:
    program = Program(template="")
    helm(program).render("/chart", {}, upgrade=False, kubernetes="v1.36.3", api_versions=["v1", "nvidia.com/v1"])
    words = program.asked[0]["words"]
    assert {"--kube-version=v1.36.3", "--api-versions=nvidia.com/v1"} <= set(words)
    assert "--dry-run=server" not in words
    assert "--is-upgrade" not in words


def test_nothing_of_the_users_helm_changes_what_is_done() -> None:
    program = Program(show="name: gpu-operator\nversion: v1\nappVersion: '2'\n")
    assert helm(program).chart("/chart") == Chart("gpu-operator", "v1", "2")
    environment = program.asked[0]["environment"]
    assert len({environment[name] for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}) == 1
    assert environment["HELM_DRIVER"] == "secret"


def test_a_program_that_is_not_there_is_told_with_the_next_step() -> None:
    def absent(*_command: Any, **_how: Any) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError

    with pytest.raises(ActionFailed, match="bundle has it in bin/helm") as raised:
        Helm(program="/nowhere/helm", release_name="gpu", namespace="n", run=absent).chart("/chart")
    assert raised.value.code == "helm_missing"


def test_a_program_that_does_not_end_is_told_with_its_time() -> None:
    def slow(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, how["timeout"])

    with pytest.raises(ActionFailed, match="did not end within 7 s") as raised:
        Helm(program="helm", release_name="gpu", namespace="n", timeout=7, run=slow).remove()
    assert raised.value.code == "timeout"


REFUSED = """\
Error: values don't meet the specifications of the schema(s) in the following chart(s):
gpu-operator:
- at '': additional properties 'drivr' not allowed
- at '/driver/enabled': got string, want boolean
- at '/mig': got null, want object
"""


def test_each_value_that_a_schema_refuses_is_told_by_its_place() -> None:
    error = failure("helm template gpu", REFUSED)
    assert isinstance(error, InvalidInput)
    assert [(problem.field, problem.accepted) for problem in error.problems] == [
        ("values", "additional properties 'drivr' not allowed"),
        ("values.driver.enabled", "got string, want boolean"),
        ("values.mig", "got null, want object"),
    ]


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        ("Error: release: not found", "no_release"),
        ("Error: Kubernetes cluster unreachable: Get https://192.0.2.1:6443: connection refused", "unreachable"),
        ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", "pending"),
        ("Error: failed pre-install: 1 error occurred: job x failed: BackoffLimitExceeded", "hook"),
        ("Error: UPGRADE FAILED: pre-upgrade hooks failed: timed out waiting for the condition", "timeout"),
        ('Error: unable to continue with install: ConfigMap "a" exists: invalid ownership metadata; …', "not_ours"),
        ('Error: configmaps is forbidden: User "u" cannot list resource "configmaps"', "forbidden"),
        ("Error: Chart.yaml file is missing", "chart"),
        ("Error: file '/x' does not appear to be a gzipped archive; got 'application/octet-stream'", "chart"),
        ('Error: path "/srv/none.tgz" not found', "chart"),
        ("", "helm"),
    ],
)
def test_what_helm_says_has_a_word_and_a_next_step(printed: str, code: str) -> None:
    error = failure("helm upgrade gpu", printed)
    assert isinstance(error, ActionFailed)
    assert error.code == code
    assert error.message.startswith("helm upgrade gpu: ")


def test_a_kind_that_the_cluster_does_not_know_yet_is_an_answer_of_its_own() -> None:
    printed = (
        'Error: unable to build kubernetes objects from release manifest: resource mapping not found for name: "p" '
        'namespace: "" from "": no matches for kind "ClusterPolicy" in version "nvidia.com/v1"\n'
        "ensure CRDs are installed first"
    )
    error = failure("helm template gpu", printed)
    assert isinstance(error, UnknownKind)
    assert "ClusterPolicy of nvidia.com/v1" in error.message


@pytest.mark.parametrize(
    ("code", "words", "event"),
    [
        ("hook", "failed pre-install: job failed", "pre-install"),
        ("timeout", "post-upgrade hooks failed: timed out waiting", "post-upgrade"),
        ("unreachable", "pre-install", ""),
        ("hook", "something else", ""),
    ],
)
def test_which_hook_failed_is_read_from_helms_words(code: str, words: str, event: str) -> None:
    assert failed_event(ActionFailed(code, words)) == event


def test_a_charts_own_values_are_read_and_what_is_no_mapping_is_told() -> None:
    assert helm(Program(show="# words\ndriver: {enabled: true}\n")).defaults("/chart") == {"driver": {"enabled": True}}
    assert helm(Program(show="# nothing\n")).defaults("/chart") == {}
    with pytest.raises(ActionFailed, match="get another copy"):
        helm(Program(show="- a\n")).defaults("/chart")
