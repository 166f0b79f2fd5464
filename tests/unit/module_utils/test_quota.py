"""What a topology takes, and what a namespace would refuse of it, in words with numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dtf.cluster.plugins.module_utils.manifests import objects
from ansible_collections.dtf.cluster.plugins.module_utils.quantities import parse, words
from ansible_collections.dtf.cluster.plugins.module_utils.quota import Capacity, capacity, quota_problems
from tests.unit.module_utils.manifest_samples import RUN, everything, topology

MI = 2**20


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


def limits(**item: Any) -> dict[str, Any]:
    return {"metadata": {"name": "sizes"}, "spec": {"limits": [{"type": "Container", **item}]}}


def told(
    wanted: list[Any],
    quotas: list[Any] = (),
    ranges: list[Any] = (),
    **more: Any,  # type: ignore[assignment]
) -> list[str]:
    return [str(problem) for problem in quota_problems(wanted, quotas, ranges, **more)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250m", Fraction(1, 4)),
        ("1.5", Fraction(3, 2)),
        ("700Mi", Fraction(700 * MI)),
        ("1e3", Fraction(1000)),
        ("5E", Fraction(5 * 10**18)),
        ("2E3", Fraction(2000)),
        ("100n", Fraction(1, 10**7)),
        (3, Fraction(3)),
        ("-1", Fraction(-1)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
    ],
)
def test_amounts_are_read_exactly(text: object, number: Fraction) -> None:
    assert parse(text) == number


@pytest.mark.parametrize("text", ["", "Mi", "1mi", "1 Gi", "1,5", "0x1", None, True, "1e", "--1", "1e333"])
def test_what_is_no_amount_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no amount"):
        parse(text)


@given(st.integers(0, 2**60))
def test_a_whole_number_is_itself(number: int) -> None:
    assert parse(str(number)) == number
    assert parse(f"{number}Ki") == number * 1024


@pytest.mark.parametrize(
    ("resource", "number", "text"),
    [
        ("requests.memory", Fraction(2304 * MI), "2.25Gi"),
        ("memory", Fraction(100), "100"),
        ("requests.cpu", Fraction(3, 2), "1.5"),
        ("pods", Fraction(3), "3"),
        ("requests.storage", Fraction(2**40), "1Ti"),
    ],
)
def test_amounts_are_written_for_people(resource: str, number: Fraction, text: str) -> None:
    assert words(resource, number) == text


def test_what_a_topology_takes() -> None:
    assert capacity(objects(topology(), RUN)) == Capacity(3, 750, 2700 * MI, 5400 * MI, 0)
    for backend in ("indexed_job", "statefulset"):
        assert capacity(objects(everything(backend), RUN)) == Capacity(
            6, 2000, (2 * 512 + 4 * 2048) * MI, (2 * 1024 + 4 * 6144) * MI, 8
        )


@given(st.integers(1, 300), st.integers(1, 300))
def test_what_a_topology_takes_grows_with_its_tasks(ps: int, workers: int) -> None:
    taken = capacity(objects(topology(ps={"replicas": ps}, workers={"replicas": workers, "gpus": 2}), RUN))
    assert taken.as_dict() == {
        "pods": ps + workers,
        "cpu_millicores": 250 * (ps + workers),
        "memory_bytes": (700 * ps + 1000 * workers) * MI,
        "memory_limit_bytes": 2 * (700 * ps + 1000 * workers) * MI,
        "gpus": 2 * workers,
    }


def test_room_enough_is_no_problem() -> None:
    hard = {"pods": "10", "requests.memory": "8Gi", "limits.memory": "16Gi", "requests.cpu": "4", "services": "5"}
    assert told(objects(topology(), RUN), [quota(hard, {"pods": "7"})]) == []


def test_everything_that_is_too_much_is_told_with_its_numbers() -> None:
    hard = {"pods": "10", "memory": "2Gi", "count/jobs.batch": "2", "requests.nvidia.com/gpu": "1", "configmaps": "9"}
    wanted = objects(topology(workers={"gpus": 1}), RUN)
    accepted = "is not valid, accepted: at most"
    others = "in the namespace, of which others use"
    assert told(wanted, [quota(hard, {"pods": "8", "memory": "1Gi", "configmaps": "1"})]) == [
        f"quota.pods: '3' {accepted} 2: ResourceQuota 'team' allows 10 {others} 8",
        f"quota.memory: '2.637Gi' {accepted} 1Gi: ResourceQuota 'team' allows 2Gi {others} 1Gi",
        f"quota.count/jobs.batch: '3' {accepted} 2: ResourceQuota 'team' allows 2 {others} 0",
        f"quota.requests.nvidia.com/gpu: '2' {accepted} 1: ResourceQuota 'team' allows 1 {others} 0",
    ]


def test_what_is_released_makes_room_once() -> None:
    before, after = (objects(topology(workers={"replicas": number}), RUN) for number in (3, 4))
    full = quota({"pods": "5"}, {"pods": "4"})
    assert told(after, [full], released=before) == []
    assert len(told(after, [full])) == 1
    crowded = quota({"pods": "5"}, {"pods": "5"})
    (problem,) = told(after, [crowded], released=before)
    assert problem.endswith(
        "at most 4: ResourceQuota 'team' allows 5 in the namespace, of which others will go on using 1"
    )
    # What is counted as used lags behind what is there.
    assert told(after, [quota({"pods": "5"}, {"pods": "0"})], released=before) == []


def test_an_amount_that_a_quota_counts_must_be_given() -> None:
    wanted = objects(topology(), RUN)
    found = told(wanted, [quota({"limits.cpu": "100"})])
    assert [line.split(" is not valid")[0] for line in found] == [
        "quota.limits.cpu: 'demo-ps: trainer without'",
        "quota.limits.cpu: 'demo-chief: trainer without'",
        "quota.limits.cpu: 'demo-worker: trainer without'",
    ]
    assert told(wanted, [quota({"limits.cpu": "100"})], [limits(default={"cpu": "2"})]) == []
    (short,) = told(wanted, [quota({"limits.cpu": "5"})], [limits(default={"cpu": "2"})])
    assert "'6' is not valid, accepted: at most 5" in short


@pytest.mark.parametrize(
    ("spec", "refuses"),
    [
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["NotBestEffort"]}, True),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["NotBestEffort", "Terminating"]}, False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, False),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists"}]}}, True),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}}, False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                }
            },
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}]
                }
            },
            False,
        ),
    ],
)
def test_a_quota_counts_the_pods_of_its_scopes(spec: dict[str, Any], refuses: bool) -> None:
    wanted = objects(topology(kubernetes={"priority_class": "high"}), RUN)
    assert bool(told(wanted, [quota({"pods": "2"}, **spec)])) is refuses


def test_storage_is_counted_by_class_too() -> None:
    claim = {"claim": {"size": "5Gi", "storage_class": "fast"}}
    wanted = objects(topology(kubernetes={"volumes": {"checkpoints": claim}}), RUN)
    hard = {
        "requests.storage": "4Gi",
        "fast.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "slow.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "persistentvolumeclaims": "0",
    }
    assert [line.partition(":")[0] for line in told(wanted, [quota(hard)])] == [
        "quota.requests.storage",
        "quota.fast.storageclass.storage.k8s.io/requests.storage",
        "quota.persistentvolumeclaims",
    ]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"min": {"cpu": "100m"}, "max": {"memory": "4Gi"}}, []),
        ({"min": {"cpu": "500m"}}, ["'demo-ps: trainer: 0.25'", "requests.cpu from 0.5 for a Container"]),
        ({"max": {"cpu": "4"}}, ["'demo-ps: trainer: no cpu'", "limits.cpu up to 4 for a Container"]),
        ({"max": {"memory": "1Gi"}}, ["'demo-ps: trainer: 1.367Gi'", "limits.memory up to 1Gi for a Container"]),
        (
            {"maxLimitRequestRatio": {"memory": "1.5"}},
            ["'demo-ps: trainer: 1.367Gi to 700Mi'", "limits.memory at most 1.5 times requests.memory for a Container"],
        ),
        ({"max": {"cpu": "4"}, "default": {"cpu": "1"}}, []),
        ({"type": "Pod", "max": {"memory": "1Gi"}}, ["'demo-ps: 1.367Gi'", "limits.memory up to 1Gi for a Pod"]),
    ],
)
def test_a_limit_range_refuses_what_is_too_small_or_too_large(item: dict[str, Any], expected: list[str]) -> None:
    found = told(objects(topology(), RUN), [], [limits(**item)])
    assert len(found) == (3 if expected else 0)
    assert all(part in found[0] for part in expected)


def test_a_limit_range_of_claims() -> None:
    wanted = objects(topology(kubernetes={"volumes": {"logs": {"claim": {"size": "5Gi"}}}}), RUN)
    small = limits(type="PersistentVolumeClaim", min={"storage": "6Gi"})
    large = limits(type="PersistentVolumeClaim", max={"storage": "4Gi"})
    assert ["demo-logs: 5Gi" in line for line in told(wanted, [], [small, large])] == [True, True]


def test_an_init_container_counts_if_it_is_the_largest() -> None:
    patch = {"spec": {"initContainers": [{"name": "copy", "resources": {"requests": {"cpu": "3", "memory": "1Mi"}}}]}}
    wanted = objects(topology(kubernetes={"pod_patch": {"chief": patch}}), RUN)
    assert capacity(wanted).cpu_millicores == 3500
    assert capacity(wanted).memory_bytes == 2700 * MI
