"""The objects of a topology: as the golden files say, right in every size, and free of an older chart's faults."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.errors import InvalidInput
from ansible_collections.dtf.cluster.plugins.module_utils.hosts import PodRun, host_list, task_sets, tasks
from ansible_collections.dtf.cluster.plugins.module_utils.kube_labels import label_selector, label_value
from ansible_collections.dtf.cluster.plugins.module_utils.manifests import KINDS, objects
from ansible_collections.dtf.cluster.plugins.module_utils.spec import Host, Topology
from dtf_trainer import flags
from tests.unit.module_utils.manifest_samples import (
    GOLDEN,
    RESUMED,
    RUN,
    as_yaml,
    everything,
    golden_documents,
    topology,
)

BACKENDS = ("indexed_job", "statefulset")
SETS = ("Job", "StatefulSet")


def by_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def sets(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return component → its Job or StatefulSet."""
    found = [document for document in documents if document["kind"] in SETS]
    return {document["metadata"]["labels"]["app.kubernetes.io/component"]: document for document in found}


def pods(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return component → its pods' spec."""
    return {component: document["spec"]["template"]["spec"] for component, document in sets(documents).items()}


def trainer(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = [container for container in pod["containers"] if container["name"] == "trainer"]
    return dict(container)


def problems(caught: pytest.ExceptionInfo[InvalidInput]) -> list[tuple[str, object]]:
    return [(problem.field, problem.value) for problem in caught.value.problems]


# --- golden files ---


@pytest.mark.parametrize("name", golden_documents())
def test_objects_are_as_the_golden_files_say(name: str, renew_golden: bool) -> None:
    written = as_yaml(golden_documents()[name])
    if renew_golden:
        GOLDEN.mkdir(parents=True, exist_ok=True)
        (GOLDEN / name).write_text(written, encoding="utf-8")
    assert (GOLDEN / name).read_text(encoding="utf-8") == written


def test_every_golden_file_is_of_something() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(golden_documents())


# --- what the trainer reads in its pod ---


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("run", [RUN, RESUMED], ids=["first", "resumed"])
def test_the_trainer_in_each_pod_is_the_task_it_should_be(backend: str, run: PodRun) -> None:
    wanted = everything(backend)
    documents = objects(wanted, run)
    config = by_kind(documents, "ConfigMap")[0]["data"]
    read = {}
    for entry in task_sets(wanted):
        container = trainer(pods(documents)[entry.component])
        assert container["command"] == ["python3", "-m", "dtf_trainer"]
        for pod in range(entry.size):
            name = f"{entry.name}-{pod}" if backend == "statefulset" else f"{entry.name}-{pod}-12345"
            environ = {"JOB_COMPLETION_INDEX": str(pod)} if backend == "indexed_job" else {}
            for variable in container["env"]:
                source = variable.get("valueFrom", {})
                if "configMapKeyRef" in source:
                    assert source["configMapKeyRef"]["name"] == wanted.name
                    environ[variable["name"]] = config[source["configMapKeyRef"]["key"]]
                else:
                    environ[variable["name"]] = variable.get("value", name)
            task = flags.parse(container["args"], environ)
            read[f"{task.job_name}-{task.task_index}"] = task
    assert list(read) == [task.name for task in tasks(wanted)]
    assert {task.run_id for task in read.values()} == {run.run_id}
    assert {task.ps_hosts for task in read.values()} == {tuple(host_list(wanted, "ps").split(","))}
    assert {task.worker_hosts for task in read.values()} == {tuple(host_list(wanted, "worker").split(","))}
    assert {(task.hidden_units, task.train_steps, task.replicas_to_aggregate) for task in read.values()} == {
        (1000, 5000, 3)
    }
    chief = read.pop("worker-0")
    assert {(task.checkpoint_dir, task.export_dir, task.log_dir) for task in read.values()} == {(None, None, None)}
    kept = f"/var/lib/dtf/checkpoints/everything/{run.run_id}"
    assert (chief.checkpoint_dir, chief.export_dir) == (kept + "/checkpoint", kept + "/export")
    assert chief.log_dir == f"/var/lib/dtf/logs/everything/{run.run_id}"
    assert [run_id for run_id, _ in chief.resume_candidates] == list(run.candidates)
    assert {task.idle_when_done for task in read.values()} == {backend == "statefulset"}


def test_a_dollar_in_a_path_is_no_variable() -> None:
    wanted = topology(data_dir="/data/$(HOME)")
    assert "--data_dir=/data/$$(HOME)" in trainer(pods(objects(wanted, RUN))["ps"])["args"]


# --- every size and form ---

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
QUANTITIES = st.sampled_from(["100m", "1", "2500m", "900Mi", "3Gi"])
RESOURCES = st.fixed_dictionaries(
    {},
    optional={kind: st.dictionaries(st.sampled_from(["cpu", "memory"]), QUANTITIES) for kind in ("requests", "limits")},
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    return topology(
        draw(st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)),
        owner=draw(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=80)),
        ps={"replicas": draw(st.integers(1, 40)), "resources": draw(RESOURCES)},
        workers={
            "replicas": draw(st.integers(1, 200)),
            "gpus": draw(st.integers(0, 8)),
            "memory_mb": draw(st.integers(0, 4096)),
        },
        kubernetes={
            "backend": draw(st.sampled_from(BACKENDS)),
            "placement": draw(
                st.sampled_from([{"strategy": name} for name in ("spread", "pack", "none")])
                | st.just({"strategy": "nodes", "nodes": ["w1", "w2"]})
            ),
            "network_policy": draw(st.booleans()),
            "disruption_budget": draw(st.booleans()),
        },
    )


@given(topologies(), st.booleans(), st.sampled_from([(1, 27), (1, 28), (1, 29), (1, 36)]))
def test_what_holds_for_all(wanted: Topology, openshift: bool, version: tuple[int, int]) -> None:
    documents = objects(wanted, RUN, openshift=openshift, server_version=version)
    order = [kind for _, kind, _ in KINDS]
    assert [document["kind"] for document in documents] == sorted((d["kind"] for d in documents), key=order.index)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(set(names)) == len(names)
    selector = dict(part.split("=") for part in label_selector(wanted.name).split(","))
    for document in documents:
        assert (document["apiVersion"], document["kind"]) in {(version, kind) for version, kind, _ in KINDS}
        metadata = document["metadata"]
        assert DNS_1035.fullmatch(metadata["name"])
        assert metadata["namespace"] == "dtf-manifests"
        assert selector.items() <= metadata["labels"].items()
        template = document["spec"]["template"] if document["kind"] in SETS else {"metadata": metadata}
        for labels in (metadata["labels"], template["metadata"]["labels"]):
            assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())
    assert json.loads(json.dumps(documents)) == documents
    config = by_kind(documents, "ConfigMap")[0]
    assert len(config["data"]["ps.hostList"].split(",")) == wanted.ps.replicas
    assert len(config["data"]["worker.hostList"].split(",")) == wanted.workers.replicas
    assert Topology.from_params(json.loads(config["metadata"]["annotations"]["dtf.cluster/spec"])) == wanted
    assert sum(len(by_kind(documents, kind)) for kind in SETS) == len(task_sets(wanted))
    for document in sets(documents).values():
        assert ("podReplacementPolicy" in document["spec"]) is (document["kind"] == "Job" and version >= (1, 29))


@given(topologies())
def test_every_address_leads_to_a_pod_of_a_service(wanted: Topology) -> None:
    documents = objects(wanted, RUN)
    services = {document["metadata"]["name"]: document["spec"] for document in by_kind(documents, "Service")}
    answered = set()
    for document in sets(documents).values():
        name, spec = document["metadata"]["name"], document["spec"]
        template = spec["template"]
        service = services[template["spec"]["subdomain"]]
        assert service["selector"].items() <= template["metadata"]["labels"].items()
        assert service["publishNotReadyAddresses"] is True
        assert service["clusterIP"] == "None"
        (port,) = trainer(template["spec"])["ports"]
        assert [entry["targetPort"] for entry in service["ports"]] == [port["containerPort"]]
        assert trainer(template["spec"])["readinessProbe"]["tcpSocket"]["port"] == port["containerPort"]
        for pod in range(spec.get("completions", spec.get("replicas"))):
            answered.add(f"{name}-{pod}.{name}.dtf-manifests.svc:{port['containerPort']}")
    assert answered == {task.address for task in tasks(wanted)}


@given(topologies(), st.integers(2, 300), st.integers(2, 300))
def test_more_workers_are_no_more_objects(wanted: Topology, few: int, many: int) -> None:
    counts = {len(objects(wanted.with_workers(number), RUN)) for number in (few, many)}
    assert len(counts) == 1


@given(topologies())
def test_requests_are_within_limits_and_memory_ends_somewhere(wanted: Topology) -> None:
    from ansible_collections.dtf.cluster.plugins.module_utils.quantities import parse

    for component, pod in pods(objects(wanted, RUN)).items():
        resources = trainer(pod)["resources"]
        group = wanted.ps if component == "ps" else wanted.workers
        given_requests = group.resources.get("requests", {})
        given_limits = group.resources.get("limits", {})
        for name in ("cpu", "memory"):
            if name in resources["limits"] and not (name in given_requests and name in given_limits):
                assert parse(resources["requests"][name]) <= parse(resources["limits"][name])
        assert "memory" in resources["limits"] or not parse(resources["requests"]["memory"])
        assert given_requests.items() <= resources["requests"].items()
        assert given_limits.items() <= resources["limits"].items()


CHANGES: dict[str, Any] = {
    "ps.replicas": 3,
    "workers.replicas": 9,
    "training.hidden_units": 77,
    "run_label": "again",
    "kubernetes.image": "dtf.cluster/trainer:2",
    "kubernetes.pod_patch": {"all": {"spec": {"hostname": "x"}}},
    "ps.memory_mb": 5,
    "lifecycle.restart_limit": 9,
    "kubernetes.ttl_seconds_after_finished": 60,
    "kubernetes.first_step_timeout_seconds": 60,
}


@pytest.mark.parametrize("field", CHANGES)
def test_the_hashes_of_pods_change_with_what_runs_and_with_nothing_else(field: str) -> None:
    wanted = topology()
    *groups, name = field.split(".")
    changes: dict[str, Any] = {groups[0]: {name: CHANGES[field]}} if groups else {name: CHANGES[field]}
    other = topology(**changes)
    spec, hosts = (
        {
            document["spec"]["template"]["metadata"]["annotations"]["dtf.cluster/" + which]
            for document in (*sets(objects(wanted, RUN)).values(), *sets(objects(other, RESUMED)).values())
        }
        for which in ("spec-hash", "hosts-hash")
    )
    assert len(spec) == 1 + (wanted.defining() != other.defining())
    assert len(hosts) == 1 + (field in ("ps.replicas", "workers.replicas"))


def test_a_host_list_that_no_environment_holds_is_refused() -> None:
    long = "n" * 40
    wanted = topology(long, workers={"replicas": 1000}, kubernetes={"namespace": "n" * 63})
    with pytest.raises(InvalidInput) as caught:
        objects(wanted, RUN)
    assert problems(caught) == [("workers.replicas", 1000)]
    assert "131071 bytes" in str(caught.value)
    objects(topology(workers={"replicas": 1000}), RUN)


def test_processes_have_no_objects() -> None:
    wanted = replace(topology(), runtime="process", kubernetes=None, hosts=(Host("a", "10.0.0.1"),))
    with pytest.raises(InvalidInput) as caught:
        objects(wanted, RUN)
    assert problems(caught) == [("runtime", "process")]


@pytest.mark.parametrize(
    ("owner", "value"),
    [
        ("site", "site"),
        ("Team Ünicorn (vision)", "Team-nicorn-vision"),
        ("-x-", "x"),
        ("a" * 62 + "..b", "a" * 62),
        ("日本", "owner-" + hashlib.sha256("日本".encode()).hexdigest()[:8]),
    ],
)
def test_an_owner_as_a_label(owner: str, value: str) -> None:
    assert label_value(owner) == value
    assert LABEL_VALUE.fullmatch(value)


# --- security, network, budgets, placement ---


@pytest.mark.parametrize("openshift", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pod_may_do_no_more_than_it_needs(backend: str, openshift: bool) -> None:
    for pod in pods(objects(topology(kubernetes={"backend": backend}), RUN, openshift=openshift)).values():
        security = pod["securityContext"]
        ids = {name: security.get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")}
        assert set(ids.values()) == ({None} if openshift else {1000})
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert trainer(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


@pytest.mark.parametrize(("openshift", "dns"), [(False, {53}), (True, {53, 5353})])
def test_only_tasks_reach_tasks(openshift: bool, dns: set[int]) -> None:
    (policy,) = by_kind(
        objects(topology(ps={"port": 7}, workers={"port": 8}), RUN, openshift=openshift), "NetworkPolicy"
    )
    spec = policy["spec"]
    mine = {"matchLabels": {"app.kubernetes.io/name": "dtf-topology", "app.kubernetes.io/instance": "demo"}}
    assert spec["podSelector"] == mine
    (ingress,), (peers, names) = spec["ingress"], spec["egress"]
    assert ingress["from"] == peers["to"] == [{"podSelector": mine}]
    assert [entry["port"] for entry in ingress["ports"]] == [entry["port"] for entry in peers["ports"]] == [7, 8]
    assert {entry["port"] for entry in names["ports"]} == dns
    assert "to" not in names


@pytest.mark.parametrize(("workers", "left"), [(1, [2, 1]), (2, [2, 1, 0]), (5, [2, 1, 3])])
def test_a_drain_takes_one_worker_at_a_time(workers: int, left: list[int]) -> None:
    documents = objects(topology(ps={"replicas": 2}, workers={"replicas": workers}), RUN)
    budgets = by_kind(documents, "PodDisruptionBudget")
    assert [budget["spec"]["minAvailable"] for budget in budgets] == left
    for budget, document in zip(budgets, sets(documents).values(), strict=True):
        labels = document["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_what_is_not_wanted_is_not_there() -> None:
    documents = objects(topology(kubernetes={"network_policy": False, "disruption_budget": False}), RUN)
    assert {document["kind"] for document in documents} == {"ConfigMap", "Service", "Job"}


def test_each_strategy_of_placement() -> None:
    def placed(**placement: Any) -> dict[str, Any]:
        pod = pods(objects(topology(kubernetes={"placement": placement}), RUN))["worker"]
        return {name: pod[name] for name in ("affinity", "topologySpreadConstraints") if name in pod}

    assert placed(strategy="none") == {}
    (spread,) = placed(strategy="spread")["topologySpreadConstraints"]
    assert (spread["whenUnsatisfiable"], spread["nodeTaintsPolicy"]) == ("ScheduleAnyway", "Honor")
    assert spread["labelSelector"]["matchExpressions"][0]["values"] == ["chief", "worker"]
    packed = placed(strategy="pack")
    nobody = packed["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"]
    assert nobody == [{"key": "app.kubernetes.io/component", "operator": "DoesNotExist"}]
    (wish,) = packed["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert "app.kubernetes.io/component" not in wish["podAffinityTerm"]["labelSelector"]["matchLabels"]
    named = placed(strategy="nodes", nodes=["b", "a"])
    (term,) = named["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b", "a"]}]
    assert named["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"


# --- life ---


@pytest.mark.parametrize(
    ("limit", "replicas", "policy", "backoff"),
    [(0, 3, "Never", 0), (1, 3, "OnFailure", 4), (5, 1, "OnFailure", 6), (10**6, 1000, "OnFailure", 10**9 + 1)],
)
def test_a_job_gives_up_after_as_many_restarts_as_are_allowed(
    limit: int, replicas: int, policy: str, backoff: int
) -> None:
    wanted = topology(ps={"replicas": replicas}, lifecycle={"restart_limit": limit})
    job = sets(objects(wanted, RUN))["ps"]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == policy
    assert job["spec"]["backoffLimit"] == backoff


@pytest.mark.parametrize(("grace", "seconds"), [(0.1, 1), (10, 10), (12.5, 13)])
def test_a_task_has_the_time_to_stop_that_it_was_given(grace: float, seconds: int) -> None:
    wanted = topology(lifecycle={"stop_grace_seconds": grace})
    assert {pod["terminationGracePeriodSeconds"] for pod in pods(objects(wanted, RUN)).values()} == {seconds}


def test_only_the_chief_holds_what_is_written_and_only_workers_what_is_read() -> None:
    wanted = topology(
        kubernetes={"volumes": {"data": {"nfs": {"server": "s", "path": "/d"}}, "logs": {"claim": {"size": "1Gi"}}}}
    )
    documents = objects(wanted, RUN)
    mounted = {
        component: {mount["name"]: mount["mountPath"] for mount in trainer(pod)["volumeMounts"]}
        for component, pod in pods(documents).items()
    }
    both = {"config": "/etc/dtf", "scratch": "/tmp"}
    read = {**both, "data": "/data"}
    assert mounted == {
        "ps": both,
        "worker": read,
        "chief": {**read, "checkpoints": "/var/lib/dtf/checkpoints", "logs": "/var/lib/dtf/logs"},
    }
    for pod in pods(documents).values():
        assert {volume["name"] for volume in pod["volumes"]} == {m["name"] for m in trainer(pod)["volumeMounts"]}
    (claim,) = by_kind(documents, "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "demo-logs"
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    volumes = {volume["name"]: volume for volume in pods(documents)["chief"]["volumes"]}
    assert volumes["logs"] == {"name": "logs", "persistentVolumeClaim": {"claimName": "demo-logs"}}


# --- what was wrong with an older chart ---


@pytest.mark.parametrize(("gpus", "workers"), [(1, 1), (8, 1), (1, 8), (2, 2)])
def test_gpus_are_whole_numbers_whatever_the_number_of_workers(gpus: int, workers: int) -> None:
    documents = yaml.safe_load_all(as_yaml(objects(topology(workers={"gpus": gpus, "replicas": workers}), RUN)))
    for component, pod in pods(list(documents)).items():
        resources = trainer(pod)["resources"]
        assert resources["limits"].get("nvidia.com/gpu") == (None if component == "ps" else gpus)
        assert type(resources["limits"].get("nvidia.com/gpu", 0)) is int


def test_workers_with_gpus_go_where_gpus_are_and_a_ps_goes_anywhere() -> None:
    found = pods(objects(topology(workers={"gpus": 1}, kubernetes={"runtime_class": "nvidia"}), RUN))
    taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert {component: (pod.get("runtimeClassName"), pod.get("tolerations")) for component, pod in found.items()} == {
        "ps": (None, None),
        "chief": ("nvidia", [taint]),
        "worker": ("nvidia", [taint]),
    }
    without = pods(objects(topology(kubernetes={"runtime_class": "nvidia"}), RUN))
    assert {pod["runtimeClassName"] for pod in without.values()} == {"nvidia"}
    assert [pod.get("tolerations") for pod in without.values()] == [None] * len(without)


@pytest.mark.parametrize("key", ["nvidia.com/gpu", ""])
def test_a_toleration_of_the_users_own_for_gpus_is_the_only_one(key: str) -> None:
    own = {"key": key, "operator": "Exists"} if key else {"operator": "Exists"}
    found = pods(objects(topology(workers={"gpus": 1}, kubernetes={"tolerations": [own]}), RUN))
    assert [pod["tolerations"] for pod in found.values()] == [[own]] * len(found)


def test_devices_that_are_given_in_words_become_numbers() -> None:
    given_words = {"limits": {"nvidia.com/gpu": "2", "example.com/share": "0.5"}}
    container = trainer(pods(objects(topology(workers={"resources": given_words}), RUN))["chief"])
    assert container["resources"]["limits"] == {"memory": "2000Mi", "nvidia.com/gpu": 2, "example.com/share": "0.5"}


def test_a_finished_run_does_not_start_again() -> None:
    for job in sets(objects(topology(), RUN)).values():
        assert job["kind"] == "Job"
        assert job["spec"]["completions"] == job["spec"]["parallelism"]
        assert job["spec"]["template"]["spec"]["restartPolicy"] != "Always"
    documents = objects(topology(kubernetes={"backend": "statefulset"}), RUN)
    assert by_kind(documents, "ConfigMap")[0]["data"]["finished"] == ""
    for pod in pods(documents).values():
        container = trainer(pod)
        config = next(mount for mount in container["volumeMounts"] if mount["name"] == "config")
        assert config["mountPath"] == "/etc/dtf"
        assert "subPath" not in config  # which would never be renewed in a pod that runs
        idle = {"--idle_when_done=true", "--done_file=/tmp/done", "--finished_file=/etc/dtf/finished"}
        assert idle <= set(container["args"])


def test_scaling_never_mixes_old_host_lists_with_new_ones() -> None:
    for document in sets(objects(topology(kubernetes={"backend": "statefulset"}), RUN)).values():
        assert document["spec"]["updateStrategy"] == {"type": "OnDelete"}
    few, many = (sets(objects(topology(workers={"replicas": number}), RUN)) for number in (2, 3))
    for component, document in few.items():
        before, after = (
            entry["spec"]["template"]["metadata"]["annotations"]["dtf.cluster/hosts-hash"]
            for entry in (document, many[component])
        )
        assert before != after


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_role_downloads_the_data_set(backend: str) -> None:
    for pod in pods(objects(everything(backend), RUN)).values():
        words = " ".join(trainer(pod)["args"])
        assert "download" not in words
        assert "data_source" not in words
        assert "initContainers" not in pod


# --- patches ---


def test_patches_for_all_come_before_those_for_one() -> None:
    def env(value: str) -> dict[str, Any]:
        return {"spec": {"containers": [{"name": "trainer", "env": [{"name": "LEVEL", "value": value}]}]}}

    documents = objects(topology(kubernetes={"pod_patch": {"all": env("all"), "chief": env("chief")}}), RUN)
    found = {
        component: next(entry["value"] for entry in trainer(pod)["env"] if entry["name"] == "LEVEL")
        for component, pod in pods(documents).items()
    }
    assert found == {"ps": "all", "chief": "chief", "worker": "all"}


def test_a_patch_that_breaks_a_promise_is_refused_with_every_break() -> None:
    patch = {
        "metadata": {"labels": {"app.kubernetes.io/instance": "other", "mine": "x"}},
        "spec": {
            "restartPolicy": "Always",
            "containers": [{"name": "trainer", "$patch": "delete"}],
            "volumes": [{"name": "checkpoints", "hostPath": {"path": "/c"}}],
        },
    }
    with pytest.raises(InvalidInput) as caught:
        objects(topology(kubernetes={"pod_patch": {"chief": patch}}), RUN)
    where = "kubernetes.pod_patch.chief."
    assert problems(caught) == [
        (where + "metadata.labels.app.kubernetes.io/instance", "other"),
        (where + "spec.restartPolicy", "Always"),
        (where + "spec.containers", []),
        (where + "spec.volumes.checkpoints", ["emptyDir", "hostPath"]),
    ]


def test_a_patch_for_all_that_does_not_fit_is_told_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        objects(topology(kubernetes={"pod_patch": {"all": {"spec": {"containers": {"name": "trainer"}}}}}), RUN)
    assert problems(caught) == [("kubernetes.pod_patch.all.spec.containers", {"name": "trainer"})]


def emptied(value: object) -> None:
    """Take everything out of nested values."""
    if isinstance(value, (dict, list)):
        for entry in value.values() if isinstance(value, dict) else value:
            emptied(entry)
        value.clear()


def test_nothing_that_is_returned_is_shared() -> None:
    wanted = everything("indexed_job")
    first = objects(wanted, RUN)
    for document in first:
        emptied(document)
    assert objects(wanted, RUN) == objects(everything("indexed_job"), RUN)


def test_golden_files_lie_where_they_are_looked_for() -> None:
    assert Path(__file__).parent / "golden" / "manifests" == GOLDEN
