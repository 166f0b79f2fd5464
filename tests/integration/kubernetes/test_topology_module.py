"""The topology's modules against a real API server: the life of a topology, and everything that stands in its way."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.kube_labels import (
    ANNOTATION_HOSTS_HASH,
    ANNOTATION_SPEC_HASH,
    LABEL_RUN_ID,
    label_selector,
)
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import KINDS
from tests.integration.kubernetes.conftest import Controller, Document
from tests.integration.kubernetes.counting_proxy import counting

BACKENDS = ("indexed_job", "statefulset")
#: On no node, so that pods wait and an end takes no time.
NOWHERE = {"image": "image.invalid/none:1", "node_selector": {"example.com/none": "none"}}


def topology(controller: Controller, check: bool = False, **changes: Any) -> Document:
    kubernetes = {"namespace": controller.namespace, **NOWHERE, **changes.pop("kubernetes", {})}
    return controller.module("topology", check, name="demo", kubernetes=kubernetes, **changes)


def ending(controller: Controller, state: str, check: bool = False) -> Document:
    kubernetes = {"namespace": controller.namespace}
    return controller.module("topology", check, name="demo", state=state, kubernetes=kubernetes)


def objects(controller: Controller) -> dict[str, tuple[str, object]]:
    """Return uid and generation of everything that a topology has, pods left out."""
    found = {}
    for _version, kind, _plural in KINDS:
        for entry in controller.cluster.list(kind, controller.namespace, labels=label_selector("demo")).items:
            metadata = entry["metadata"]
            data = str(entry.get("data")) + str(metadata.get("annotations"))
            version = data if kind == "ConfigMap" else metadata.get("generation")
            found["{}/{}".format(kind, metadata["name"])] = (metadata["uid"], version)
    return found


def pods(controller: Controller) -> list[Document]:
    return controller.cluster.list("Pod", controller.namespace, labels=label_selector("demo")).items


def until(predicate: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_twelve_steps(controller: Controller, backend: str) -> None:
    """Create, change, remove: each twice, and each time in check mode first."""
    made = {"kubernetes": {"backend": backend, "volumes": {"checkpoints": {"claim": {"size": "1Gi"}}}}}
    changed = {**made, "workers": {"replicas": 4}}
    shape = {"changed", "topology", "plan", "diff", "duration"}
    steps: list[tuple[str, Callable[[bool], Document]]] = [
        ("start", lambda check: topology(controller, check, **made)),
        ("reroll", lambda check: topology(controller, check, **changed)),
        ("remove", lambda check: ending(controller, "absent", check)),
    ]
    for action, step in steps:
        for expected in (action, "none"):
            before = objects(controller)
            tried = step(True)
            assert objects(controller) == before, f"{action} wrote something in check mode"
            done = step(False)
            for result in (tried, done):
                assert set(result) - {"invocation", "warnings"} == shape, result
                assert (result["plan"]["action"], result["changed"]) == (expected, expected != "none"), result
            assert tried["diff"]["after"] == done["diff"]["after"]
            assert (objects(controller) == before) is (expected == "none")
    assert done["topology"]["phase"] == "absent"
    assert objects(controller) == {}
    assert pods(controller) == []
    selector = label_selector("demo")
    assert controller.cluster.list("EndpointSlice", controller.namespace, labels=selector).items == []


def test_a_difference_shows_what_changes_and_nothing_else(controller: Controller) -> None:
    topology(controller)
    diff = topology(controller, check=True, workers={"replicas": 3}, training={"steps": 7})["diff"]
    before, after = diff["before"]["objects"], diff["after"]["objects"]
    assert set(before) == set(after)
    text = str(before) + str(after)
    for noise in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "status", "dtf.cluster/run", "hash"):
        assert noise not in text, noise
    assert before["Job/demo-worker"]["spec"]["completions"] == 1
    assert after["Job/demo-worker"]["spec"]["completions"] == 2
    assert not {name for name in after if name.startswith(("Service/", "NetworkPolicy/"))}
    assert topology(controller)["diff"]["before"] == topology(controller)["diff"]["after"]


def test_a_pause(controller: Controller) -> None:
    first = topology(controller)["topology"]["run_id"]
    for expected in ("stop", "none"):
        assert ending(controller, "stopped", check=True)["plan"]["action"] == expected
        done = ending(controller, "stopped")
        assert (done["plan"]["action"], done["topology"]["phase"]) == (expected, "stopped")
    jobs = controller.cluster.list("Job", controller.namespace).items
    assert [entry["spec"]["suspend"] for entry in jobs] == [True, True, True]
    again = topology(controller)
    assert (again["plan"]["action"], again["topology"]["phase"]) == ("start", "running")
    assert again["topology"]["run_id"] != first


def test_another_manager_is_named_with_its_fields(controller: Controller) -> None:
    topology(controller)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "demo-ps"},
        "spec": {"publishNotReadyAddresses": False},
    }
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=somebody-else", "-f-")
    controller.kubectl(*words, documents=[service])
    for check in (True, False):
        failed = topology(controller, check)
        assert failed["failure"]["code"] == "conflict", failed
        assert failed["failure"]["details"]["managers"] == {"somebody-else": [".spec.publishNotReadyAddresses"]}
        assert "somebody-else owns .spec.publishNotReadyAddresses" in failed["msg"]
    assert topology(controller, force_conflicts=True)["plan"]["action"] == "update"
    assert not topology(controller)["changed"]


def test_what_kubectl_removed_comes_back(controller: Controller) -> None:
    topology(controller)
    controller.kubectl("delete", "service/demo-ps", "networkpolicy/demo")
    mended = topology(controller)
    assert mended["plan"]["reason"] == "changed or removed by somebody else: Service demo-ps, NetworkPolicy demo"
    assert not topology(controller)["changed"]


def test_a_namespace_that_is_missing(controller: Controller) -> None:
    kubernetes = {**NOWHERE, "namespace": controller.namespace + "-none"}
    tried = controller.module("topology", True, name="demo", kubernetes=kubernetes)
    assert (tried["changed"], tried["plan"]["action"]) == (True, "start")
    assert "does not exist" in str(tried["warnings"])
    failed = controller.module("topology", name="demo", kubernetes=kubernetes)
    assert failed["failure"]["code"] == "namespace_missing"
    assert f"kubectl create namespace {controller.namespace}-none" in failed["msg"]


def test_a_user_who_may_not(controller: Controller) -> None:
    failed = topology(controller, impersonate_user="eve")
    assert failed["failure"]["code"] == "forbidden"
    asked = {"user": "eve", "verb": "list", "resource": "configmaps"}
    assert asked.items() <= failed["failure"]["details"].items()
    assert "let eve list configmaps" in failed["msg"]


#: What docs/kubernetes.md says a user needs.
ROLE = Path(__file__).resolve().parents[3] / "docs" / "kubernetes.md"


def test_the_role_in_the_documentation_is_enough(controller: Controller) -> None:
    text = ROLE.read_text(encoding="utf-8")
    block = next(part.split("```")[0] for part in text.split("```yaml\n") if part.startswith("apiVersion: rbac"))
    role = yaml.safe_load(block)
    role["metadata"]["namespace"] = controller.namespace
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "eve", "namespace": controller.namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}],
    }
    for document in (role, binding):
        controller.cluster.apply(document)
    eve: dict[str, Any] = {"impersonate_user": "eve"}
    until(lambda: topology(controller, check=True, **eve).get("failure") is None)
    assert topology(controller, **eve)["plan"]["action"] == "start"
    assert topology(controller, workers={"replicas": 3}, **eve)["plan"]["action"] == "reroll"
    for state in ("stopped", "absent"):
        done = controller.module(
            "topology", name="demo", state=state, kubernetes={"namespace": controller.namespace}, **eve
        )
        assert done["changed"], done


def test_a_quota_refuses_before_anything_is_there(controller: Controller) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small", "namespace": controller.namespace},
        "spec": {"hard": {"pods": "2", "requests.memory": "1Gi"}},
    }
    controller.cluster.apply(quota)
    until(lambda: (controller.cluster.get("ResourceQuota", "small", controller.namespace) or {})["status"].get("hard"))
    for check in (True, False):
        failed = topology(controller, check)
        fields = [problem["field"] for problem in failed["failure"]["problems"]]
        assert fields == ["quota.pods", "quota.requests.memory"]
        assert "ResourceQuota 'small'" in failed["msg"]
    assert objects(controller) == {}


def test_a_cluster_that_is_not_there(controller: Controller) -> None:
    failed = topology(controller, host="https://127.0.0.1:1")
    assert failed["failure"]["code"] == "unreachable"
    assert "https://127.0.0.1:1 does not answer" in failed["msg"]


def test_all_that_is_wrong_is_told_at_once(controller: Controller) -> None:
    bad = {"image": "", "namespace": "No", "backend": "indexed_job"}
    failed = controller.module("topology", name="UP", kubernetes=bad, workers={"replicas": 0})
    fields = {problem["field"] for problem in failed["failure"]["problems"]}
    assert {"name", "kubernetes.image", "kubernetes.namespace", "workers.replicas"} <= fields
    missing = controller.module("topology", name="demo")
    assert [problem["field"] for problem in missing["failure"]["problems"]] == ["kubernetes.image"]


def test_a_field_that_the_server_refuses_stops_nothing(controller: Controller) -> None:
    running = topology(controller)["topology"]["run_id"]
    patch = {"all": {"spec": {"dnsPolicy": "NoSuchPolicy"}}}
    failed = topology(controller, kubernetes={"pod_patch": patch})
    assert failed["failure"]["code"] == "invalid", failed
    assert "NoSuchPolicy" in failed["msg"]
    info = controller.module("topology_info", name="demo", kubernetes={"namespace": controller.namespace})
    assert (info["changed"], info["topology"]["run_id"], info["topology"]["phase"]) == (False, running, "running")


def test_requests_do_not_grow_with_the_workers(controller: Controller) -> None:
    counted: list[list[Counter[str]]] = []
    for workers in (2, 50):
        of_steps = []
        for check in (True, False, False):
            with counting(controller.kubeconfig) as proxy:
                result = topology(controller, check, host=proxy.address, workers={"replicas": workers})
                assert "failure" not in result, result
            of_steps.append(proxy.requests)
        counted.append(of_steps)
        ending(controller, "absent")
    assert counted[0] == counted[1]
    tried, applied, unchanged = (sum(step.values()) for step in counted[0])
    # Eight LISTs, version and groups; two of quotas; each of the 11 objects tried; applied; and looked at again.
    assert (tried, applied, unchanged) == (23, 42, 10)


def test_what_the_server_writes_down(controller: Controller, audit: Callable[[], list[Document]]) -> None:
    """By the server's own account: check mode stores nothing, and requests do not grow with the workers."""

    def of_us(begin: int) -> list[Document]:
        return [
            event
            for event in audit()[begin:]
            if event["stage"] == "ResponseComplete"
            and event.get("userAgent") == "dtf.cluster"
            # Who recorded another test's namespace may still be looking how that goes.
            and event.get("objectRef", {}).get("namespace", controller.namespace) == controller.namespace
        ]

    counts = []
    for workers in (2, 50):
        begin = len(audit())
        topology(controller, check=True, workers={"replicas": workers})
        tried = of_us(begin)
        writes = [event for event in tried if event["verb"] not in ("get", "list", "watch")]
        assert len(writes) == 11
        assert [event["requestURI"] for event in writes if "dryRun=All" not in event["requestURI"]] == []
        begin = len(audit())
        topology(controller, workers={"replicas": workers})
        counts.append((len(tried), len(of_us(begin))))
        ending(controller, "absent")
    assert counts[0] == counts[1] == (23, 42)


def test_check_mode_asks_for_nothing_to_be_stored(controller: Controller) -> None:
    """As a proxy sees it, for each way a topology can change."""
    topology(controller)
    kubernetes = {"namespace": controller.namespace}
    with counting(controller.kubeconfig) as proxy:
        reached = {"host": proxy.address}
        changes = (
            topology(controller, True, workers={"replicas": 5}, **reached),
            topology(controller, True, lifecycle={"restart_limit": 1}, **reached),
            *(
                controller.module("topology", True, name="demo", state=state, kubernetes=kubernetes, **reached)
                for state in ("stopped", "absent")
            ),
        )
    assert [result["plan"]["action"] for result in changes] == ["reroll", "update", "stop", "remove"]
    tried = Counter(request.split()[0] for request in proxy.requests.elements())
    assert tried["PATCH"] > 11
    assert tried["DELETE"] >= 6
    assert proxy.stored == []


@pytest.fixture
def idle(controller: Controller) -> Document:
    """What makes pods run that do nothing and end when asked: the image that every node has."""
    nodes = controller.cluster.list("Node").items
    names = [name for node in nodes for image in node["status"]["images"] for name in image["names"] or ()]
    image = next(name for name in names if "/pause" in name and "@" not in name)
    container = {"name": "trainer", "command": ["/pause"], "args": []}
    return {
        "image": image,
        "image_pull_policy": "Never",
        "node_selector": {},
        "pod_patch": {"all": {"spec": {"containers": [container]}}},
    }


@contextmanager
def recorded(controller: Controller) -> Iterator[list[frozenset[str]]]:
    """Follow the pods; what is yielded gets every set of host lists that were alive at once."""
    seen: list[frozenset[str]] = []
    cluster = Cluster({"kubeconfig": str(controller.kubeconfig)})
    listing = cluster.list("Pod", controller.namespace)
    watch = cluster.watch("Pod", controller.namespace, resource_version=listing.resource_version)
    alive = {pod["metadata"]["uid"]: pod["metadata"]["annotations"][ANNOTATION_HOSTS_HASH] for pod in listing.items}

    def follow() -> None:
        for kind, pod in watch:
            if kind == "BOOKMARK":
                continue
            uid, over = pod["metadata"]["uid"], pod["status"].get("phase") in ("Succeeded", "Failed")
            if kind == "DELETED" or over:
                alive.pop(uid, None)
            else:
                alive[uid] = pod["metadata"]["annotations"][ANNOTATION_HOSTS_HASH]
            seen.append(frozenset(alive.values()))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield seen
    finally:
        watch.close()
        thread.join()


def running(controller: Controller, size: int) -> Callable[[], bool]:
    def look() -> bool:
        found = pods(controller)
        return len(found) == size and all(pod["status"]["phase"] == "Running" for pod in found)

    return look


@pytest.mark.parametrize("backend", BACKENDS)
def test_pods_with_different_host_lists_never_live_at_once(
    controller: Controller, idle: Document, backend: str
) -> None:
    first = topology(controller, kubernetes={**idle, "backend": backend})
    until(running(controller, 3))
    with recorded(controller) as seen:
        for workers, ps in ((3, 1), (3, 2), (1, 1)):
            done = topology(
                controller, kubernetes={**idle, "backend": backend}, workers={"replicas": workers}, ps={"replicas": ps}
            )
            assert (done["plan"]["action"], done["topology"]["phase"]) == ("reroll", "running"), done
            until(running(controller, workers + ps))
            run_ids = {pod["metadata"]["labels"][LABEL_RUN_ID] for pod in pods(controller)}
            assert run_ids == {done["topology"]["run_id"]} != {first["topology"]["run_id"]}
    hashes = {alone for once in seen for alone in once}
    assert len(hashes) == 4
    assert {once for once in seen if len(once) > 1} == set()


def test_from_one_backend_to_the_other(controller: Controller, idle: Document) -> None:
    topology(controller, kubernetes=idle)
    until(running(controller, 3))
    done = topology(controller, kubernetes={**idle, "backend": "statefulset"})
    assert done["plan"]["reason"].startswith("changed: kubernetes.backend")
    assert controller.cluster.list("Job", controller.namespace).items == []
    until(running(controller, 3))
    hashes = {pod["metadata"]["annotations"][ANNOTATION_SPEC_HASH] for pod in pods(controller)}
    assert len(hashes) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_upgrade_that_cannot_start_is_taken_back(controller: Controller, idle: Document, backend: str) -> None:
    good = {**idle, "backend": backend, "volumes": {"checkpoints": {"hostPath": {"path": "/var/lib/dtf-test"}}}}
    former = topology(controller, kubernetes=good)["topology"]["run_id"]
    until(running(controller, 3))
    upgrade = {**good, "image": "image.invalid/none:1", "first_step_timeout_seconds": 60}
    failed = topology(controller, kubernetes=upgrade)
    assert failed["failure"]["code"] == "rolled_back", failed
    assert failed["failure"]["details"]["cause"]["reason"].startswith("image")
    assert f"continued from {former}" in failed["msg"]
    until(running(controller, 3))
    assert {pod["spec"]["containers"][0]["image"] for pod in pods(controller)} == {good["image"]}
    assert not topology(controller, kubernetes=good)["changed"]


def test_a_claim_of_the_users_own_stays(controller: Controller) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "mine", "namespace": controller.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    controller.cluster.apply(claim)
    volumes = {"checkpoints": {"persistentVolumeClaim": {"claimName": "mine"}}, "logs": {"claim": {"size": "1Gi"}}}
    topology(controller, kubernetes={"volumes": volumes})
    assert ending(controller, "absent")["changed"]
    names = [
        entry["metadata"]["name"]
        for entry in controller.cluster.list("PersistentVolumeClaim", controller.namespace).items
    ]
    assert names == ["mine"]


def test_the_client_says_what_somebody_else_did_meanwhile(controller: Controller) -> None:
    with pytest.raises(ActionFailed, match="try again") as caught:
        controller.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": "c",
                    "namespace": controller.namespace,
                    "uid": "00000000-0000-0000-0000-000000000000",
                },
            }
        )
    assert caught.value.code == "changed_meanwhile"
