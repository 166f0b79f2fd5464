"""Others' manifests as topologies: what is carried over, what is listed, and what is said of one that is broken."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput, Problem
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import tasks
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import objects
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Topology
from ansible_collections.dtf.cluster.plugins.module_utils.topology_import import Imported, import_manifests
from tests.unit.module_utils.manifest_samples import RUN

T = TypeVar("T")
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "import"


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((FIXTURES / name).read_text(encoding="utf-8")))


TFJOB = documents("tfjob.yaml")
CHART = documents("chart.yaml")


def container(**more: Any) -> dict[str, Any]:
    return {"name": "tensorflow", "image": "i", **more}


def tfjob(worker: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **spec: Any) -> list[Any]:
    """Return a small TFJob with something more in its workers' container, their pod, or itself."""
    replicas = {
        "PS": {"replicas": 1, "template": {"spec": {"containers": [container()]}}},
        "Worker": {"replicas": 2, "template": {"spec": {"containers": [container(**(worker or {}))], **(pod or {})}}},
    }
    metadata = {"name": "t", "namespace": "n"}
    return [
        {
            "apiVersion": "kubeflow.org/v1",
            "kind": "TFJob",
            "metadata": metadata,
            "spec": {"tfReplicaSpecs": replicas, **spec},
        }
    ]


def left(found: Imported) -> dict[str, object]:
    """Return place → value of what was left behind; every entry has a reason."""
    assert all(entry.why for entry in found.not_carried_over)
    return {entry.path: entry.value for entry in found.not_carried_over}


def test_a_tfjob_becomes_a_topology() -> None:
    found = import_manifests(TFJOB)
    assert {name: found.params[name] for name in ("name", "runtime", "data_dir", "ps", "workers", "training")} == {
        "name": "digits",
        "runtime": "kubernetes",
        "data_dir": "/data/mnist",
        "ps": {
            "replicas": 2,
            "port": 2222,
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        },
        "workers": {
            "replicas": 4,
            "port": 2222,
            "gpus": 1,
            "resources": {"requests": {"memory": "4Gi", "cpu": "2"}, "limits": {"memory": "4Gi"}},
        },
        "training": {
            "batch_size": 50,
            "learning_rate": 0.01,
            "steps": 20000,
            "hidden_units": 500,
            "sync": True,
            "seed": 7,
        },
    }
    assert found.params["lifecycle"] == {"restart_limit": 3}
    kubernetes: Any = found.params["kubernetes"]
    patches = kubernetes.pop("pod_patch")
    assert kubernetes == {
        "backend": "indexed_job",
        "namespace": "vision",
        "image": "registry.example.com/trainer:1",
        "ttl_seconds_after_finished": 3600,
        "active_deadline_seconds": 7200,
        "priority_class": "high",
        "tolerations": [{"key": "pool", "operator": "Exists"}],
        "volumes": {
            "data": {"persistentVolumeClaim": {"claimName": "mnist"}},
            "logs": {"nfs": {"server": "nfs.example.com", "path": "/logs"}},
        },
    }
    assert set(patches) == {"chief", "worker"}
    assert patches["worker"]["spec"]["nodeSelector"] == {"accelerator": "a100"}
    assert "nodeSelector" not in patches["chief"]["spec"]
    assert [entry["name"] for entry in patches["chief"]["spec"]["containers"][0]["env"]] == [
        "TF_CPP_MIN_LOG_LEVEL",
        "TOKEN",
    ]


def test_what_of_a_tfjob_was_left_behind_is_listed() -> None:
    spec = "TFJob/digits: spec."
    pod = spec + "tfReplicaSpecs.Worker.template.spec."
    switch = "template.spec.containers[tensorflow].args --log_device_placement"
    assert set(left(import_manifests(TFJOB))) == {
        "TFJob/digits: metadata.labels.team",
        spec + "successPolicy",
        spec + "runPolicy.cleanPodPolicy",
        spec + "runPolicy.schedulingPolicy.queue",
        spec + "tfReplicaSpecs.Evaluator",
        *(f"{spec}tfReplicaSpecs.{role}.{switch}" for role in ("PS", "Chief", "Worker")),
        pod + "securityContext",
        pod + "initContainers",
        pod + "containers[proxy]",
    }


def test_the_chart_becomes_a_topology() -> None:
    found = import_manifests(CHART)
    size = {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}
    assert found.params == {
        "runtime": "kubernetes",
        "name": "mnist",
        "ps": {"replicas": 2, "port": 8000, "resources": size},
        "workers": {"replicas": 2, "port": 9000, "gpus": 2, "resources": size},
        "training": {"batch_size": 20, "learning_rate": 0.001, "steps": 0},
        "kubernetes": {"backend": "statefulset", "image": "dysproz/distributed-tf:1", "image_pull_policy": "Always"},
    }
    program = ["/bin/sh", "-c", "python3", "/app/main.py"]
    assert left(found) == {
        "Service/tensorboard:": None,
        "StatefulSet/mnist-ps: spec.template.spec.containers[ps].command": program,
        "StatefulSet/mnist-worker: spec.template.spec.containers[worker].command": program,
        "StatefulSet/mnist-worker: spec.volumeClaimTemplates": CHART[-1]["spec"]["volumeClaimTemplates"],
    }


@pytest.mark.parametrize("manifest", [TFJOB, CHART], ids=["tfjob", "chart"])
def test_what_is_imported_is_a_topology_with_objects(manifest: list[Any]) -> None:
    before = copy.deepcopy(manifest)
    wanted = Topology.from_params(import_manifests(manifest).params)
    assert manifest == before
    assert objects(wanted, RUN)
    assert [task.role for task in tasks(wanted)].count("ps") == 2


def test_the_roles_are_told_by_the_variable_before_the_name() -> None:
    renamed = copy.deepcopy(CHART)
    for document, name in zip(renamed[-2:], ("a", "b"), strict=True):
        document["metadata"]["name"] = name
    assert import_manifests(renamed).params["ps"]["port"] == 8000  # type: ignore[index]


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_an_older_tfjob_has_its_run_policy_in_the_spec(version: str) -> None:
    job = tfjob(ttlSecondsAfterFinished=5, cleanPodPolicy="All", backoffLimit=2)
    job[0]["apiVersion"] = "kubeflow.org/" + version
    found = import_manifests(job)
    assert found.params["kubernetes"]["ttl_seconds_after_finished"] == 5  # type: ignore[index]
    assert found.params["lifecycle"] == {"restart_limit": 2}
    assert set(left(found)) == {"TFJob/t: spec.cleanPodPolicy"}


@pytest.mark.parametrize(
    ("words", "training"),
    [
        (["--batch_size=7"], {"batch_size": 7}),
        (["--batch-size", "7", "--train_steps", "5"], {"batch_size": 7, "steps": 5}),
        (["--sync_replicas", "--replicas_to_aggregate=2"], {"sync": True, "replicas_to_aggregate": 2}),
        (["--sync_replicas", "false"], {"sync": False}),
        (["-batch_size=7"], {"batch_size": 7}),
        (
            ["sh", "-c", "exec python3 -m dtf_trainer --batch_size=7 --learning_rate='1e-3'"],
            {"batch_size": 7, "learning_rate": 0.001},
        ),
        (["--job_name=worker", "--task_index=3", "--ps_hosts=a:1"], None),
    ],
)
def test_flags_are_read_as_the_trainer_reads_them(words: list[str], training: dict[str, Any] | None) -> None:
    assert import_manifests(tfjob({"args": words})).params.get("training") == training


def test_a_value_that_a_topology_refuses_is_listed_and_the_rest_stays() -> None:
    words = ["--batch_size=many", "--hidden_units=5", "--replicas_to_aggregate=2", "--profile=quick"]
    found = import_manifests(tfjob({"args": words}))
    assert found.params["training"] == {"hidden_units": 5}
    place = "TFJob/t: spec.tfReplicaSpecs.Worker.template.spec.containers[tensorflow].args --"
    assert left(found) == {
        place + "batch_size": "many",
        place + "profile": "quick",
        place + "replicas_to_aggregate": 2,
    }
    assert any("training.batch_size accepts a whole number" in entry.why for entry in found.not_carried_over)


def test_tasks_that_differ_keep_the_workers_value() -> None:
    job = tfjob({"args": ["--batch_size=7"]})
    pod = job[0]["spec"]["tfReplicaSpecs"]["PS"]["template"]["spec"]
    pod["containers"][0].update(args=["--batch_size=8"], image="other")
    found = import_manifests(job)
    assert found.params["training"] == {"batch_size": 7}
    assert list(left(found).values()) == ["8"]
    assert found.params["kubernetes"]["pod_patch"] == {  # type: ignore[index]
        "ps": {"spec": {"containers": [{"name": "trainer", "image": "other"}]}}
    }


def test_an_own_placement_takes_the_place_of_ours() -> None:
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}
    found = import_manifests(tfjob(pod={"affinity": affinity}))
    kubernetes: Any = found.params["kubernetes"]
    assert kubernetes["placement"] == {"strategy": "none"}
    assert set(kubernetes["pod_patch"]) == {"chief", "worker"}


def test_a_job_that_never_restarts_has_no_restarts() -> None:
    job = tfjob()
    for replicas in job[0]["spec"]["tfReplicaSpecs"].values():
        replicas["restartPolicy"] = "Never"
    assert import_manifests(job).params["lifecycle"] == {"restart_limit": 0}


def test_a_job_without_parameter_servers_gets_one_and_says_so() -> None:
    job = tfjob()
    del job[0]["spec"]["tfReplicaSpecs"]["PS"]
    found = import_manifests(job)
    assert "ps" not in found.params
    assert set(left(found)) == {"TFJob/t: spec.tfReplicaSpecs.PS"}


def test_a_chief_of_another_size_is_patched() -> None:
    job = tfjob({"resources": {"limits": {"nvidia.com/gpu": 1, "cpu": "2"}}})
    chief = {"replicas": 1, "template": {"spec": {"containers": [container(resources={"limits": {"cpu": "3"}})]}}}
    job[0]["spec"]["tfReplicaSpecs"]["Chief"] = chief
    found = import_manifests(job)
    wanted = Topology.from_params(found.params)
    assert (wanted.workers.replicas, wanted.workers.gpus) == (3, 1)
    found_limits = {
        document["metadata"]["name"]: document["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]  # type: ignore[index]
        for document in objects(wanted, RUN)
        if document["kind"] == "Job"
    }
    assert found_limits["t-worker"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in found_limits["t-chief"]
    assert found_limits["t-chief"]["cpu"] == "3"


# --- what is broken ---


@pytest.mark.parametrize(
    ("manifest", "fields"),
    [
        ([], ["manifest"]),
        ([None], ["manifest"]),
        (["text"], ["manifest"]),
        ([{"kind": "Pod"}], ["manifest"]),
        ([*TFJOB, *TFJOB], ["manifest"]),
        ([*TFJOB, CHART[-1]], ["manifest"]),
        ([CHART[-1], CHART[-1]], ["manifest"]),
        ([{"kind": "TFJob"}], ["TFJob/None: apiVersion", "TFJob/None: spec.tfReplicaSpecs"]),
        (tfjob({"resources": {"limits": {"nvidia.com/gpu": "half"}}}), ["limits.nvidia.com/gpu"]),
        (tfjob({"resources": []}), ["resources"]),
        (tfjob({"image": 5}), ["image", "image"]),
        (tfjob({"args": "--batch_size=3"}), ["args"]),
        (tfjob(pod={"containers": []}), ["containers"]),
        (tfjob(pod={"containers": ["x"]}), ["containers[0]", "image"]),
        (tfjob(runPolicy={"backoffLimit": "3"}), ["backoffLimit"]),
    ],
)
def test_a_broken_manifest_is_told_with_every_place(manifest: list[Any], fields: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        import_manifests(manifest)
    found = [problem.field for problem in caught.value.problems]
    assert len(found) == len(fields)
    assert all(field.endswith(end) for field, end in zip(found, fields, strict=True)), found
    assert all(problem.accepted for problem in caught.value.problems)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in nested values."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


JUNK = st.sampled_from(
    [None, 0, -1, 10**30, 1.5, True, "", "x", "é" * 300, [], [None], [1], {}, {"x": None}, {"a": [1]}]
)


def attempt(function: Callable[[Any], T], argument: Any) -> tuple[T | None, list[Problem]]:
    """Return what a function returns, or the problems it refuses with."""
    try:
        return function(argument), []
    except InvalidInput as refusal:
        return None, refusal.problems


@given(st.data())
def test_whatever_is_wrong_is_said_or_carried_never_a_crash(data: st.DataObject) -> None:
    manifest = copy.deepcopy(data.draw(st.sampled_from([TFJOB, CHART])))
    path = data.draw(st.sampled_from(list(places(manifest))))
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = data.draw(JUNK)
    found, refused = attempt(import_manifests, manifest)
    if found is None:
        assert all(problem.field and problem.accepted for problem in refused)
        return
    assert all(entry.path and entry.why for entry in found.not_carried_over)
    # What has to be there and was not acceptable is left for the user to give.
    _, refused = attempt(Topology.from_params, found.params)
    assert {problem.field for problem in refused} <= {"name", "kubernetes.image"}


@given(st.sampled_from([TFJOB, CHART]), st.text(min_size=1, max_size=8).filter(str.isidentifier), st.data())
def test_a_field_that_nobody_knows_is_carried_or_listed(manifest: list[Any], name: str, data: st.DataObject) -> None:
    manifest = copy.deepcopy(manifest)
    name = "unknown" + name
    groups = [path for path in places(manifest) if path[-1] in ("spec", "metadata", "resources", "template")]
    place: Any = manifest
    for step in data.draw(st.sampled_from(groups)):
        place = place[step]
    place[name] = "mark-of-the-test"
    found = import_manifests(manifest)
    assert "mark-of-the-test" in str(found.params) + str([entry.value for entry in found.not_carried_over]) or (
        # Of an object that is no part of a topology its name says enough.
        place in [document.get(part) for document in manifest[:-2] for part in ("spec", "metadata")]
    )
