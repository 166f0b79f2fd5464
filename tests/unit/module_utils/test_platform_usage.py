"""What a cluster takes of its machines: recorded answers of kubelets, trees of control groups, and the difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.dtf.cluster.plugins.module_utils.platform_counters import Groups
from ansible_collections.dtf.cluster.plugins.module_utils.platform_usage import (
    PLATFORM,
    Counter,
    Reading,
    moment,
    oldest,
    part_of_pod,
    platform,
    reading_of_summary,
    with_loads,
)

ROOT = Path(__file__).resolve().parents[3]
RECORDED = ROOT / "tests" / "fixtures" / "kubernetes_api"
SCHEMA = json.loads((ROOT / "schemas" / "run.schema.json").read_text(encoding="utf-8"))["properties"]["platform"]
ETCD = "9d21b414f045de74d1cda59c3966c2ac"
PROXY = "01a7cd6c-0c39-44a8-89aa-94acaf954744"

Document = dict[str, Any]


def summaries(when: str) -> dict[str, Document]:
    """Return what the kubelets of the laboratory said, by node."""
    found: dict[str, Document] = json.loads((RECORDED / f"stats-summary-{when}.json").read_text(encoding="utf-8"))
    return found


def task(host: str, cpu: float | None, index: int = 0) -> Document:
    return {"role": "worker", "index": index, "host": host, "cpu_seconds": cpu, "max_rss_bytes": 7}


def reading(when: float, total: float, host: str = "w1", node: str = "", **counters: Counter) -> Reading:
    return Reading(host, node or host, Counter("other", when, total, 100), counters)


def by_part(found: Document | None, host: str, measure: str = "cpu_seconds") -> dict[str, Any]:
    assert found is not None
    return {part["part"]: part[measure] for part in found["parts"] if part["host"] == host}


@pytest.mark.parametrize(
    ("namespace", "name", "part"),
    [
        ("kube-system", "etcd-cp1", "control_plane"),
        ("kube-system", "kube-apiserver-cp1", "control_plane"),
        ("kube-system", "kube-controller-manager-cp1", "control_plane"),
        ("kube-system", "coredns-589f44dc88-jgcxg", "control_plane"),
        ("kube-system", "kube-proxy-9stwc", "network"),
        ("kube-flannel", "kube-flannel-ds-x2x9k", "network"),
        ("kube-system", "metrics-server-1", "other"),
        ("default", "etcd-of-somebody", "other"),
        ("training", "demo-worker-0-abcde", "other"),
    ],
)
def test_which_part_a_pod_is(namespace: str, name: str, part: str) -> None:
    assert part_of_pod(namespace, name) == part


def test_a_recorded_summary_is_read() -> None:
    found = reading_of_summary(summaries("before")["cp1"])
    parts = [counter.part for counter in found.counters.values()]
    assert (found.host, found.node, found.sampled) == ("cp1", "cp1", True)
    assert sorted(parts) == ["control_plane"] * 6 + ["network"]
    assert found.total.cpu_seconds == pytest.approx(176.471152107)
    assert found.total.time == moment("2026-11-24T01:01:21Z")
    assert oldest(found) == min(counter.time for counter in found.counters.values())
    assert oldest(found) <= found.total.time
    assert Reading.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_a_summary_without_a_count_is_refused() -> None:
    with pytest.raises(ValueError, match="not counted"):
        reading_of_summary({"node": {"nodeName": "w1"}, "pods": []})


def test_a_pod_that_has_not_been_counted_yet_is_left_out() -> None:
    summary = summaries("before")["w1"]
    summary["pods"].append({"podRef": {"namespace": "kube-system", "name": "etcd-w1", "uid": "u"}})
    assert len(reading_of_summary(summary).counters) == 1


def test_rates_of_samples_are_taken_for_the_time_of_the_run() -> None:
    """Each counter over the time between its own two samples, which are not those of the machine."""
    before, after = ([reading_of_summary(node) for node in summaries(when).values()] for when in ("before", "after"))
    document = {"wall_seconds": 10.0, "tasks": [task("w1", 1.0)]}
    found, notes = platform(before, after, document)
    assert found is not None
    assert (found["source"], found["seconds"]) == ("kubelet", 10.0)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    rates = []
    for key, counter in after[0].counters.items():
        if counter.part == "control_plane":
            first = before[0].counters[key]
            rates.append((counter.cpu_seconds - first.cpu_seconds) / (counter.time - first.time))
    assert len(rates) == 6
    assert by_part(found, "cp1")["control_plane"] == pytest.approx(sum(rates) * 10, abs=0.001)
    assert 0 < by_part(found, "cp1")["control_plane"] < 1
    # On version 1 of the control groups the kubelet knows neither itself nor the runtime.
    assert "kubelet" not in by_part(found, "w1")
    assert [note for note in notes if note.startswith("w1: no counter tells of kubelet and container_runtime")]


def test_what_the_kubelet_says_of_itself_is_a_part() -> None:
    found = []
    for when, cpu in (("before", 10), ("after", 16)):
        node = summaries(when)["w1"]
        stamp = node["node"]["cpu"]["time"]
        own = {"cpu": {"time": stamp, "usageCoreNanoSeconds": cpu * 10**9}, "memory": {"workingSetBytes": 5}}
        node["node"]["systemContainers"] += [{"name": "kubelet", **own}, {"name": "runtime", **own}]
        found.append([reading_of_summary(node)])
    document = {"wall_seconds": 25.0, "tasks": []}
    result, notes = platform(*found, document)
    # Six seconds in the fifty between the samples.
    assert by_part(result, "w1")["kubelet"] == pytest.approx(3.0)
    assert by_part(result, "w1")["container_runtime"] == pytest.approx(3.0)
    assert by_part(result, "w1", "memory_bytes")["kubelet"] == 5
    assert notes == []


def test_the_parts_add_up_to_the_machine() -> None:
    def unit(when: float, cpu: float) -> Counter:
        return Counter("kubelet", when, cpu, 10)

    before = [reading(100.0, 50.0, kubelet=unit(100.0, 5.0), runtime=Counter("container_runtime", 100.0, 1.0, None))]
    after = [reading(110.0, 62.0, kubelet=unit(110.0, 6.0), runtime=Counter("container_runtime", 110.0, 3.0, None))]
    found, notes = platform(before, after, {"wall_seconds": 9.0, "tasks": [task("w1", 4.0), task("w1", 3.0, 1)]})
    assert found is not None
    assert (found["source"], found["seconds"], notes) == ("cgroup", 10.0, [])
    assert by_part(found, "w1") == {"kubelet": 1.0, "container_runtime": 2.0, "trainer": 7.0, "other": 2.0}
    assert sum(by_part(found, "w1").values()) == pytest.approx(12.0)
    memory = {"kubelet": 10, "container_runtime": None, "trainer": 14, "other": 90}
    assert by_part(found, "w1", "memory_bytes") == memory
    jsonschema.Draft202012Validator(SCHEMA).validate(found)


def test_counters_that_began_anew_count_from_nothing() -> None:
    """A kubelet that was started again, and a pod that is new."""
    before = [reading(0.0, 10.0, kubelet=Counter("kubelet", 0.0, 9.0, 1))]
    counters = {"kubelet": Counter("kubelet", 10.0, 0.5, 1), "proxy": Counter("network", 10.0, 0.25, 1)}
    found, _notes = platform(before, [reading(10.0, 20.0, **counters)], {"wall_seconds": 9.0, "tasks": []})
    assert by_part(found, "w1") == {"kubelet": 0.5, "network": 0.25, "trainer": 0, "other": 9.25}


def test_tasks_are_their_nodes_too() -> None:
    """In pods a task's host is the node, which may be called otherwise than the inventory calls the machine."""
    pair = [[reading(when, total, "first", "node-a")] for when, total in ((0.0, 0.0), (10.0, 10.0))]
    found, _notes = platform(*pair, {"wall_seconds": 9.0, "tasks": [task("node-a", 4.0), task("elsewhere", 3.0)]})
    assert by_part(found, "first")["trainer"] == 4.0


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ([], [], "nothing was read"),
        ([reading(0.0, 1.0)], [], "w1: read only once"),
        ([], [reading(0.0, 1.0)], "w1: read only once"),
        ([reading(0.0, 9.0)], [reading(5.0, 1.0)], "w1: was booted anew"),
        ([reading(9.0, 1.0)], [reading(5.0, 2.0)], "w1: was booted anew, or its clock set"),
    ],
)
def test_what_cannot_be_told_is_told_why(before: list[Reading], after: list[Reading], says: str) -> None:
    found, notes = platform(before, after, {"wall_seconds": 9.0, "tasks": []})
    assert found is None
    assert notes[0].startswith(says)


def test_one_machine_that_is_lost_leaves_the_others() -> None:
    before = [reading(0.0, 1.0), reading(0.0, 1.0, "w2")]
    found, notes = platform(before, [reading(10.0, 2.0)], {"wall_seconds": 9.0, "tasks": [task("w1", None)]})
    assert found is not None
    assert {part["host"] for part in found["parts"]} == {"w1"}
    assert [note.partition(":")[0] for note in notes] == ["w2", "w1", "w1"]
    assert "what worker-0 took is in other" in notes[1]


def test_nodes_get_the_load_that_their_machines_had() -> None:
    """By the node's name; what was known is kept, and of a machine that nobody asked nothing is."""
    busy = Reading("first", "node-a", Counter("other", 0.0, 1.0, None), busy_cores=1.5)
    assert Reading.from_dict(json.loads(json.dumps(busy.as_dict()))) == busy
    hosts = [{"name": name, "cores": 2, "load_before": load} for name, load in
             (("node-a", None), ("first", 0.2), ("elsewhere", None), ("w1", None))]  # fmt: skip
    found = with_loads(hosts, [busy, reading(0.0, 1.0)])
    assert [host["load_before"] for host in found] == [1.5, 0.2, None, None]
    assert [host["cores"] for host in found] == [2, 2, 2, 2]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def group(cpu: Path, memory: Path, usec: int, held: int, cache: int) -> None:
    """Write a control group: version 2 counts its processor time, either version its memory."""
    write(cpu / "cpu.stat", f"usage_usec {usec}\nuser_usec 1\nsystem_usec 1\n")
    name, inactive = (
        ("memory.current", "inactive_file") if cpu == memory else ("memory.usage_in_bytes", "total_inactive_file")
    )
    write(memory / name, f"{held}\n")
    write(memory / "memory.stat", f"cache 1\n{inactive} {cache}\n")


@pytest.fixture(params=["unified", "hybrid"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A machine's files, with version 2 alone or beside version 1, and with either driver's names of pods."""
    base = tmp_path / "sys/fs/cgroup"
    hybrid = request.param == "hybrid"
    cpu, memory = (base / "unified", base / "memory") if hybrid else (base, base)
    write(cpu / "cgroup.controllers", "")
    pods = {
        True: (f"kubepods/burstable/pod{ETCD}", f"kubepods/besteffort/pod{PROXY}"),
        False: (
            f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{ETCD}.slice",
            "kubepods.slice/kubepods-pod{}.slice".format(PROXY.replace("-", "_")),
        ),
    }[hybrid]
    group(cpu, memory, 90_000_000, 4000, 1000)
    group(cpu / "system.slice/kubelet.service", memory / "system.slice/kubelet.service", 7_105_552, 500, 100)
    group(cpu / "system.slice/containerd.service", memory / "system.slice/containerd.service", 4_000_000, 300, 0)
    group(cpu / "system.slice/ssh.service", memory / "system.slice/ssh.service", 9_000_000, 50, 0)
    group(cpu / pods[0], memory / pods[0], 16_000_000, 700, 200)
    group(cpu / pods[1], memory / pods[1], 350_000, 90, 0)
    # A pod that is going: its logs are gone, its group is not.
    group(cpu / "kubepods/podffffffffffffffffffffffffffffffff", memory / "kubepods/podf", 1, 1, 0)
    (tmp_path / f"var/log/pods/kube-system_etcd-cp1_{ETCD}").mkdir(parents=True)
    (tmp_path / f"var/log/pods/kube-system_kube-proxy-9stwc_{PROXY}").mkdir(parents=True)
    return tmp_path


def test_control_groups_are_read(machine: Path) -> None:
    found = Groups(machine).read("cp1")
    assert (found.host, found.sampled) == ("cp1", False)
    assert (found.total.cpu_seconds, found.total.memory_bytes) == (90.0, 3000)
    told = {key: (each.part, each.cpu_seconds, each.memory_bytes) for key, each in found.counters.items()}
    assert told == {
        "unit kubelet.service": ("kubelet", 7.105552, 400),
        "unit containerd.service": ("container_runtime", 4.0, 300),
        f"pod kube-system/etcd-cp1 {ETCD}": ("control_plane", 16.0, 500),
        f"pod kube-system/kube-proxy-9stwc {PROXY}": ("network", 0.35, 90),
    }
    assert {each.part for each in found.counters.values()} <= set(PLATFORM)


def test_only_version_1_has_what_it_counts(tmp_path: Path) -> None:
    """A service without processor accounting has no group there; the whole machine is the kernel's own count."""
    base = tmp_path / "sys/fs/cgroup"
    write(base / "cpuacct/system.slice/containerd.service/cpuacct.usage", "2500000000\n")
    write(tmp_path / "proc/stat", "cpu  100 50 25 9999 777 0 25 5 0 0\ncpu0 1 1\n")
    write(tmp_path / "proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n")
    found = Groups(tmp_path).read("w1")
    assert found.counters["unit containerd.service"].cpu_seconds == 2.5
    assert found.counters["unit containerd.service"].memory_bytes is None
    assert list(found.counters) == ["unit containerd.service"]
    # 200 ticks, of which there are 100 a second.
    assert (found.total.cpu_seconds, found.total.memory_bytes) == (2.0, 600 * 1024)


def test_this_machine_is_read() -> None:
    first, second = Groups().read("here"), Groups().read("here")
    assert second.total.cpu_seconds >= first.total.cpu_seconds > 0
    assert first.total.memory_bytes


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-24T01:01:21+01:00"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time of the API"):
        moment(text)


def test_a_time_with_a_fraction() -> None:
    assert moment("1970-01-01T00:01:00.250Z") == 60.25
