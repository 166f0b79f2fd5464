"""The API server takes every golden file, and every pod of it passes Pod Security's level *restricted*."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.manifests import objects
from ansible_collections.dtf.cluster.plugins.module_utils.strategic_merge import (
    MERGE_KEYS,
    MERGED_SCALARS,
    merge_template,
)
from tests.unit.module_utils import test_strategic_merge as merges
from tests.unit.module_utils.manifest_samples import GOLDEN, NAMESPACE, RUN, topology

KUBECTL = Path(__file__).resolve().parents[3] / "build/bundle/bin/kubectl"
RESTRICTED = "pod-security.kubernetes.io/enforce"
#: What admission looks up by name before it takes a pod.
NAMED = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {RESTRICTED: "restricted"}}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trainer", "namespace": NAMESPACE}},
    {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "dtf-manifests-training"},
        "value": 10,
    },
    {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "dtf-manifests-nvidia"},
        "handler": "nvidia",
    },
]


class Kubectl:
    """The real thing, on one cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        self.command = [str(KUBECTL), f"--kubeconfig={kubeconfig}"]

    def __call__(self, *words: str, documents: list[Any] | None = None) -> subprocess.CompletedProcess[str]:
        given = None if documents is None else yaml.safe_dump_all(documents)
        return subprocess.run(
            [*self.command, *words], input=given, capture_output=True, text=True, timeout=120, check=False
        )

    def dry_run(self, documents: list[Any]) -> subprocess.CompletedProcess[str]:
        words = (
            "apply",
            "--server-side",
            "--field-manager=dtf.cluster",
            "--dry-run=server",
            "--validate=strict",
            "-f-",
        )
        return self(*words, documents=documents)


@pytest.fixture(scope="module")
def kubectl(kubeconfig: Path) -> Iterator[Kubectl]:
    """A cluster with what the golden files name."""
    command = Kubectl(kubeconfig)
    made = command("apply", "-f-", documents=NAMED)
    assert made.returncode == 0, made.stderr
    yield command
    command("delete", "--ignore-not-found", "--wait", "-f-", documents=NAMED)


def pods_of(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a pod of each set: admission judges pods, and warns of a template at most."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": document["metadata"]["name"] + "-0",
                "namespace": NAMESPACE,
                **document["spec"]["template"]["metadata"],
            },
            "spec": document["spec"]["template"]["spec"],
        }
        for document in documents
        if document["kind"] in ("Job", "StatefulSet")
    ]


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.stem)
def test_the_server_takes_a_golden_file_and_its_pods(kubectl: Kubectl, path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for given in (documents, pods_of(documents)):
        answered = kubectl.dry_run(given)
        assert answered.returncode == 0, answered.stderr
        assert answered.stdout.count("serverside-applied (server dry run)") == len(given)
        # A warning of Pod Security or of a field that the server does not know.
        assert answered.stderr == ""


def test_the_namespace_refuses_what_is_not_restricted(kubectl: Kubectl) -> None:
    """Or the test above would prove nothing."""
    careless = {"name": "trainer", "securityContext": {"allowPrivilegeEscalation": True}}
    loose = topology(kubernetes={"pod_patch": {"all": {"spec": {"containers": [careless]}}}})
    refused = kubectl.dry_run(pods_of(objects(loose, RUN)))
    assert refused.returncode != 0
    assert "violates PodSecurity" in refused.stderr


STRATEGIES: dict[str, dict[str, Any]] = {
    "spread": {"strategy": "spread"},
    "pack": {"strategy": "pack"},
    "nodes": {"strategy": "nodes", "nodes": 1},
    "none": {"strategy": "none"},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_scheduler_places_tasks_as_they_are_wanted(kubectl: Kubectl, strategy: str) -> None:
    """Nothing has to run for it: a pod is placed before its image is looked for."""
    nodes = json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]
    free = [node["metadata"]["name"] for node in nodes if not node["spec"].get("taints")]
    placement = dict(STRATEGIES[strategy])
    if strategy == "nodes":
        placement["nodes"] = free[:1]
    small = {"memory_mb": 1, "resources": {"requests": {"cpu": "1m"}}}
    kubernetes = {"image": "nowhere.invalid/image:1", "placement": placement}
    ps, workers = {**small, "replicas": 2}, {**small, "replicas": 4}
    documents = objects(topology(strategy, ps=ps, workers=workers, kubernetes=kubernetes), RUN)
    applied = kubectl("apply", "--server-side", "--field-manager=dtf.cluster", "-f-", documents=documents)
    assert (applied.returncode, applied.stderr) == (0, "")
    try:
        placed = scheduled(kubectl, strategy, count=6)
    finally:
        kubectl("delete", "--wait=false", "--ignore-not-found", "-f-", documents=documents)
    if strategy == "spread":
        assert sorted(placed.values()) == sorted(6 // len(free) for _ in free)
    elif strategy == "pack":
        assert list(placed.values()) == [6]
    elif strategy == "nodes":
        assert placed == {free[0]: 6}
    else:
        assert sum(placed.values()) == 6


def scheduled(kubectl: Kubectl, name: str, count: int) -> Counter[str]:
    """Return node → pods, when all have one."""
    deadline = time.monotonic() + 60
    selector = f"app.kubernetes.io/instance={name}"
    found: list[str] = []
    while time.monotonic() < deadline:
        pods = json.loads(kubectl("get", "pods", "-n", NAMESPACE, "-l", selector, "-o", "json").stdout)["items"]
        found = [pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")]
        if len(found) == count:
            break
        time.sleep(0.3)
    assert len(found) == count
    return Counter(found)


def test_the_server_merges_by_the_same_keys(kubectl: Kubectl) -> None:
    served = kubectl("get", "--raw", "/openapi/v2")
    assert served.returncode == 0, served.stderr
    definitions = json.loads(served.stdout)["definitions"]
    keys: dict[str, str] = {}
    scalars = set()

    def walk(definition: str, place: str, above: tuple[str, ...]) -> None:
        if definition in above:
            return
        for name, field in definitions[definition].get("properties", {}).items():
            where = f"{place}.{name}" if place else name
            strategy = field.get("x-kubernetes-patch-strategy", "")
            if "x-kubernetes-patch-merge-key" in field:
                keys[where] = field["x-kubernetes-patch-merge-key"]
            elif strategy:
                scalars.add(where)
            reference = field.get("$ref") or field.get("items", {}).get("$ref")
            if reference:
                walk(reference.rpartition("/")[2], where, (*above, definition))

    walk("io.k8s.api.core.v1.PodTemplateSpec", "", ())
    # The template of an ephemeral volume's claim has an ObjectMeta of its own, with owners that nobody patches.
    claim = "spec.volumes.ephemeral.volumeClaimTemplate.metadata."
    assert {where: key for where, key in keys.items() if not where.startswith(claim)} == dict(MERGE_KEYS)
    assert {where for where in scalars if not where.startswith(claim)} == set(MERGED_SCALARS)


@pytest.mark.parametrize("rule", merges.RULES)
def test_kubectl_merges_to_the_same(rule: str, tmp_path: Path) -> None:
    """``kubectl patch --local`` asks no server; it is the API's own code."""
    patch = merges.RULES[rule][1]
    template = tmp_path / "template.json"
    document = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "t"}}
    template.write_text(json.dumps({**document, "template": merges.TEMPLATE}), encoding="utf-8")
    command = [str(KUBECTL), "patch", "--local", "-f", str(template), "--type=strategic", "-o", "json"]
    answered = subprocess.run(
        [*command, "-p", json.dumps({"template": patch})], capture_output=True, text=True, check=False, timeout=60
    )
    assert answered.returncode == 0, answered.stderr
    mine, problems = merge_template(merges.TEMPLATE, patch, "p")
    assert problems == []
    theirs = json.loads(answered.stdout)["template"]
    assert _without_empty(theirs) == _without_empty(mine)


def _without_empty(value: Any) -> Any:
    """Return a value as an API object keeps it: what is empty or null and what it fills in by itself are not there."""
    if isinstance(value, dict):
        kept = {key: _without_empty(entry) for key, entry in value.items()}
        return {key: entry for key, entry in kept.items() if entry not in (None, {}, [], "")}
    return [_without_empty(entry) for entry in value] if isinstance(value, list) else value
