"""Helm releases against a real API server: the life of one, what others did to it, and what stands in its way."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.kubernetes.conftest import Controller, Document
from tests.integration.kubernetes.plays import until

ROOT = Path(__file__).resolve().parents[3]
HELM = ROOT / "build/bundle/bin/helm"
#: To be seen nowhere.
SECRET = "plain-to-see"
NOTHING = ROOT / "build/bundle/manifest.json"


def definition(group: str, *fields: str) -> Document:
    """Return the definition of a kind whose objects have no namespace."""
    properties = {name: {"type": "string"} for name in fields}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"policies.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"kind": "Policy", "plural": "policies", "singular": "policy", "listKind": "PolicyList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": properties}},
                        }
                    },
                }
            ],
        },
    }


#: Each kind of thing that a chart may have: plain, secret, of a kind of its own, kept, left out, run.
TEMPLATES = {
    "settings.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {word: {{ .Values.word | quote }}, install: {{ .Release.IsInstall | quote }}}
""",
    "secret.yaml": """\
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: {{ .Values.password | quote }}}
""",
    "policy.yaml": """\
apiVersion: {{ .Values.group }}/v1
kind: Policy
metadata: {name: {{ .Release.Namespace }}}
spec: {word: {{ .Values.word | quote }}}
""",
    "kept.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}
""",
    "optional.yaml": """\
{{- if .Values.optional }}
apiVersion: v1
kind: ConfigMap
metadata: {name: optional}
{{- end }}
""",
    "hook.yaml": """\
{{- if .Values.hook }}
apiVersion: batch/v1
kind: Job
metadata:
  name: prepare
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: prepare
          image: {{ .Values.image }}
          imagePullPolicy: Never
          command: ["sh", "-c", {{ .Values.hook | quote }}]
{{- end }}
""",
}


class Chart:
    """A chart of the tests' own, with a group that no other test has."""

    def __init__(self, folder: Path, version: str = "1.0.0", *fields: str) -> None:
        self.group = f"g{uuid.uuid4().hex[:8]}.example.com"
        self.folder = folder
        self.write(version, *(fields or ("word",)))

    def write(self, version: str, *fields: str) -> None:
        """Write it anew as another version."""
        for name in ("templates", "crds"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        chart = {"apiVersion": "v2", "name": "small", "version": version, "appVersion": f"app-{version}"}
        values = {"word": "one", "password": SECRET, "group": self.group, "optional": True, "hook": "", "image": ""}
        schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "word": {"type": "string"},
                "optional": {"type": "boolean"},
                **{name: {"type": "string"} for name in ("password", "group", "hook", "image")},
            },
        }
        self._write("Chart.yaml", chart)
        self._write("values.yaml", values)
        (self.folder / "values.schema.json").write_text(json.dumps(schema), encoding="utf-8")
        self._write("crds/policies.yaml", definition(self.group, *fields))
        for name, text in TEMPLATES.items():
            (self.folder / "templates" / name).write_text(text, encoding="utf-8")

    def _write(self, name: str, document: Document) -> None:
        (self.folder / name).write_text(yaml.safe_dump(document), encoding="utf-8")

    def packed(self) -> tuple[Path, str]:
        """Return it as one file, and its digest."""
        target = self.folder.with_suffix(".tgz")
        with tarfile.open(target, "w:gz") as archive:
            archive.add(self.folder, "small")
        return target, hashlib.sha256(target.read_bytes()).hexdigest()


@pytest.fixture
def chart(tmp_path: Path, controller: Controller) -> Iterator[Chart]:
    """A chart; its definition is gone afterwards."""
    made = Chart(tmp_path / "small")
    yield made
    controller.kubectl("delete", "crd", f"policies.{made.group}", "--ignore-not-found")


def release(controller: Controller, chart: Chart | Path, check: bool = False, **more: Any) -> Document:
    """Run the module."""
    path = str(chart.folder if isinstance(chart, Chart) else chart)
    arguments = {"name": "small", "namespace": controller.namespace, "helm": str(HELM), "chart": path, **more}
    return controller.module("helm_release", check, runtime=None, **arguments)


def seen(controller: Controller, chart: Chart) -> dict[str, str]:
    """Return what there is, with the version of each that changes whenever it does."""
    found = {}
    kinds = f"configmaps,secrets,jobs,crd/policies.{chart.group}"
    for kind in kinds.split(","):
        words = ["get", kind, "--output=json", "--ignore-not-found"]
        printed = controller.kubectl(*words)
        document = json.loads(printed) if printed else {"items": []}
        for entry in document.get("items", [document]):
            metadata = entry["metadata"]
            if metadata["name"] != "kube-root-ca.crt":
                found["{}/{}".format(entry["kind"], metadata["name"])] = metadata["resourceVersion"]
    return found


def actions(result: Document) -> dict[str, str]:
    """Return object → what becomes of it."""
    return {
        "{}/{}".format(entry["kind"], entry["name"]): entry["action"] for entry in result["objects"] + result["crds"]
    }


def test_twelve_steps(controller: Controller, chart: Chart) -> None:
    """Create, change, remove: each twice, and each time in check mode first."""
    shape = {"changed", "diff", "objects", "crds", "record", "images", "chart", "revision"}
    crd, policy = f"CustomResourceDefinition/policies.{chart.group}", f"Policy/{controller.namespace}"
    plain = ("ConfigMap/settings", "Secret/login", "ConfigMap/kept", "ConfigMap/optional")
    new = {"word": "two", "optional": False}
    steps: list[tuple[Callable[[bool], Document], dict[str, str]]] = [
        (
            lambda check: release(controller, chart, check),
            {crd: "created", policy: "created", **dict.fromkeys(plain, "created")},
        ),
        (
            lambda check: release(controller, chart, check, values=new),
            {"ConfigMap/settings": "changed", policy: "changed", "ConfigMap/optional": "removed"},
        ),
        (
            lambda check: release(controller, chart, check, state="absent", remove_crds=True),
            {
                crd: "removed",
                policy: "removed",
                **dict.fromkeys(("ConfigMap/settings", "Secret/login"), "removed"),
                "ConfigMap/kept": "kept",
            },
        ),
    ]
    for step, expected in steps:
        for change in (expected, {}):
            before = seen(controller, chart)
            tried = step(True)
            assert seen(controller, chart) == before, "check mode wrote something"
            done = step(False)
            for result in (tried, done):
                assert "failed" not in result, result["msg"]
                assert set(result) - {"invocation", "warnings"} == shape, sorted(result)
                assert (result["changed"], actions(result)) == (bool(change), change), result["record"]
            assert tried["diff"] == done["diff"]
            assert (seen(controller, chart) == before) is (not change)
            assert SECRET not in json.dumps([tried["diff"], done["diff"], tried["objects"], done["record"]])
    assert set(seen(controller, chart)) == {"ConfigMap/kept"}


def test_a_difference_shows_what_changes_and_nothing_else(controller: Controller, chart: Chart) -> None:
    release(controller, chart)
    diff = {entry["after_header"]: entry for entry in release(controller, chart, True, values={"word": "two"})["diff"]}
    settings = diff[f"ConfigMap {controller.namespace}/settings"]
    changed = set(settings["before"].splitlines()) ^ set(settings["after"].splitlines())
    # The chart asks whether it is being installed, and it is not.
    assert {line.strip() for line in changed} == {"word: one", "word: two", "install: 'true'", "install: 'false'"}
    assert set(diff) == {
        f"ConfigMap {controller.namespace}/settings",
        f"Policy.{chart.group} {controller.namespace}",
    }
    login = release(controller, chart, True, values={"password": "another"})
    shown = next(entry for entry in login["diff"] if entry["after_header"].startswith("Secret "))
    assert "*** (before)" in shown["before"]
    assert "*** (after)" in shown["after"]
    assert "another" not in json.dumps(login["diff"])


def test_what_somebody_else_did_to_its_objects_is_seen_and_mended(controller: Controller, chart: Chart) -> None:
    release(controller, chart)
    patch = ("patch", "configmap", "settings", "--type=merge", '-p={"data":{"word":"mine","more":"theirs"}}')
    controller.kubectl(*patch)
    controller.kubectl("delete", "configmap", "optional")
    for check in (True, False):
        result = release(controller, chart, check)
        assert actions(result) == {"ConfigMap/settings": "changed", "ConfigMap/optional": "created"}
    data = json.loads(controller.kubectl("get", "configmap", "settings", "--output=json"))["data"]
    # What nobody asked for and nobody forbade is left.
    assert data == {"word": "one", "install": "false", "more": "theirs"}
    assert not release(controller, chart)["changed"]


def test_a_chart_of_another_version_brings_its_definitions_first(controller: Controller, chart: Chart) -> None:
    path, digest = chart.packed()
    assert release(controller, path, chart_sha256=digest)["chart"]["version"] == "1.0.0"
    assert not release(controller, path, chart_sha256=digest)["changed"]
    chart.write("2.0.0", "word", "more")
    path, digest = chart.packed()
    told = release(controller, path, check=True, chart_sha256=digest)
    crd = f"CustomResourceDefinition/policies.{chart.group}"
    assert actions(told)[crd] == "changed"
    assert "chart small 1.0.0 becomes small 2.0.0" in told["record"]
    assert release(controller, path, chart_sha256=digest)["changed"]
    live = json.loads(controller.kubectl("get", "crd", f"policies.{chart.group}", "--output=json"))
    schema = live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert set(schema["properties"]["spec"]["properties"]) == {"word", "more"}
    assert not release(controller, path, chart_sha256=digest)["changed"]


def test_a_file_with_another_digest_is_refused_before_anything_is_done(controller: Controller, chart: Chart) -> None:
    path, _digest = chart.packed()
    failed = release(controller, path, chart_sha256="0" * 64, name="Not A Name", timeout_seconds=0)
    assert failed["failure"]["code"] == "invalid_input"
    assert [problem["field"] for problem in failed["failure"]["problems"]] == ["name", "timeout_seconds", "chart"]
    assert seen(controller, chart) == {}


def test_all_values_that_the_schema_refuses_are_told_at_once(controller: Controller, chart: Chart) -> None:
    for check in (True, False):
        failed = release(controller, chart, check, values={"optional": SECRET, "word": 7, "wrod": "one"})
        fields = {problem["field"] for problem in failed["failure"]["problems"]}
        assert fields == {"values", "values.optional", "values.word"}, failed["msg"]
        assert SECRET not in failed["msg"]
    assert seen(controller, chart) == {}


def test_a_namespace_that_is_not_there_is_told_or_made(controller: Controller, chart: Chart) -> None:
    name = f"{controller.namespace}-new"
    try:
        for check in (True, False):
            failed = release(controller, chart, check, namespace=name)
            assert failed["failure"]["code"] == "namespace_missing"
        told = release(controller, chart, True, namespace=name, create_namespace=True)
        assert "ConfigMap/settings" in actions(told)
        assert controller.cluster.get("Namespace", name) is None
        assert release(controller, chart, namespace=name, create_namespace=True)["changed"]
        assert not release(controller, chart, namespace=name, create_namespace=True)["changed"]
    finally:
        controller.kubectl("delete", "namespace", name, "--ignore-not-found")


def test_a_release_that_was_left_half_done_is_taken_up(controller: Controller, chart: Chart, busybox: str) -> None:
    """Helm is killed while its hook runs: what it leaves says that it is being installed, and always will."""
    values = {"hook": "sleep 600", "image": busybox}
    words = ["upgrade", "--install", "small", str(chart.folder), f"--namespace={controller.namespace}", "--values=-"]
    killed = subprocess.Popen(
        [str(HELM), *words, f"--kubeconfig={controller.kubeconfig}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert killed.stdin is not None
    killed.stdin.write(json.dumps(values))
    killed.stdin.close()
    until("the hook's pod is there", lambda: controller.cluster.list("Pod", controller.namespace).items)
    killed.kill()
    killed.wait()
    told = release(controller, chart, True)
    assert "the release is pending-install" in told["record"]
    assert release(controller, chart, pending_seconds=1)["changed"]
    assert not release(controller, chart)["changed"]


def test_a_hook_that_fails_is_told_with_its_last_words(controller: Controller, chart: Chart, busybox: str) -> None:
    values = {"hook": "echo it lacks a disk; exit 3", "image": busybox}
    failed = release(controller, chart, values=values, timeout_seconds=60)
    assert failed["failure"]["code"] == "hook", failed
    assert "it lacks a disk" in failed["msg"]
    values["hook"] = "echo fine"
    assert release(controller, chart, values=values)["changed"]
    assert not release(controller, chart, values=values)["changed"]


def test_two_that_install_the_same_release_end_with_one(controller: Controller, chart: Chart) -> None:
    results: list[Document] = []

    def install(word: str) -> None:
        other = Controller(controller.kubeconfig, controller.namespace, chart.folder.parent / word)
        (chart.folder.parent / word).mkdir()
        results.append(release(other, chart, values={"word": word}))

    threads = [threading.Thread(target=install, args=(word,)) for word in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = [result for result in results if "failed" not in result]
    assert good
    # One may have found the other at work; it says so, and has changed nothing.
    assert {result["failure"]["code"] for result in results if "failed" in result} <= {"pending", "helm"}
    word = json.loads(controller.kubectl("get", "configmap", "settings", "--output=json"))["data"]["word"]
    assert not release(controller, chart, values={"word": word})["changed"]


def test_what_is_not_to_be_had_is_told_with_the_next_step(controller: Controller, chart: Chart) -> None:
    assert release(controller, chart, helm="/nowhere/helm")["failure"]["code"] == "helm_missing"
    nowhere = release(controller, NOTHING)
    assert nowhere["failure"]["code"] == "chart", nowhere
    controller.kubectl("create", "configmap", "settings")
    for check in (True, False):
        failed = release(controller, chart, check)
        assert failed["failure"]["code"] == "not_ours", failed
