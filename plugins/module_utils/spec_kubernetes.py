# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of a topology that only pods have: its values, their defaults, their checks.

Where Kubernetes has words for a thing (volume sources, tolerations, amounts), they are its words.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from .errors import InvalidInput
from .reader import Reader

BACKENDS = ("indexed_job", "statefulset")
PULL_POLICIES = ("IfNotPresent", "Always", "Never")
STRATEGIES = ("spread", "pack", "nodes", "none")
#: Kubernetes' own volume sources that a training can use, and `claim`, a claim of which we are the owner.
VOLUME_SOURCES = ("emptyDir", "persistentVolumeClaim", "hostPath", "nfs", "csi", "ephemeral", "claim")
#: What a pod template may be patched for.
PATCH_TARGETS = ("all", "ps", "chief", "worker")
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
#: As Kubernetes writes amounts: 250m, 1.5, 700Mi, 2Gi, 1e3.
_QUANTITY = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti|e[0-9]+)?"


@dataclass(frozen=True)
class Placement:
    """Which nodes the pods of a topology go to.

    Attributes:
        strategy: ``spread`` over the nodes, ``pack`` onto as few as hold them, only the ``nodes`` that are named (and
            spread over these), or ``none``: as the scheduler likes.
        nodes: names of nodes, with strategy ``nodes``.
    """

    strategy: str = "spread"
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Volumes:
    """Where pods keep what outlives a process; each is a volume source as Kubernetes writes it, or a ``claim``.

    Attributes:
        data: the data set, mounted at ``/data``; ``None`` is the one in the image.
        checkpoints: the chief's checkpoint and the exported model.
        logs: TensorBoard summaries.
    """

    data: Mapping[str, object] | None = None
    checkpoints: Mapping[str, object] = field(default_factory=lambda: {"emptyDir": {}})
    logs: Mapping[str, object] = field(default_factory=lambda: {"emptyDir": {}})


@dataclass(frozen=True)
class Kubernetes:
    """What only pods have.

    Attributes:
        image: the trainer's image, best by digest.
        namespace: where all objects are; it has to exist.
        backend: what a set of equal tasks is: an ``indexed_job``, or a ``statefulset`` as in the thesis.
        image_pull_policy: ``IfNotPresent``, ``Always`` or ``Never``.
        image_pull_secrets: names of secrets with a registry's credentials.
        placement: which nodes.
        node_selector: labels a node must have.
        tolerations: as Kubernetes writes them. Workers with GPUs also tolerate the taint ``nvidia.com/gpu``.
        priority_class: name of a PriorityClass; empty is the cluster's default.
        runtime_class: name of a RuntimeClass; empty is the node's default. With GPUs it is that of the workers only.
        service_account: name of a ServiceAccount; its token is not mounted.
        volumes: data, checkpoints, logs.
        ttl_seconds_after_finished: after that many seconds Kubernetes deletes finished Jobs; ``None`` keeps them.
        active_deadline_seconds: a run that takes longer fails; ``None`` is no limit.
        first_step_timeout_seconds: a change whose run has not made a step by then is taken back; 0 is never.
        network_policy: whether only the tasks' ports are reachable, and only for tasks.
        disruption_budget: whether a drain has to leave the tasks alone.
        pod_patch: strategic merge patches of the pod templates, for ``all``, ``ps``, ``chief`` or ``worker``.
    """

    image: str
    namespace: str = "default"
    backend: str = "indexed_job"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    placement: Placement = field(default_factory=Placement)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, object], ...] = ()
    priority_class: str = ""
    runtime_class: str = ""
    service_account: str = ""
    volumes: Volumes = field(default_factory=Volumes)
    ttl_seconds_after_finished: int | None = None
    active_deadline_seconds: int | None = None
    first_step_timeout_seconds: float = 0.0
    network_policy: bool = True
    disruption_budget: bool = True
    pod_patch: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def namespace_of(value: object) -> str:
    """Return the namespace that a topology's options name, where its name is all else that has to be known.

    Raises:
        InvalidInput: it cannot be a namespace's name.
    """
    reader = Reader()
    given = value if isinstance(value, Mapping) else {}
    name = given.get("namespace") or Kubernetes.namespace
    found = reader.text("kubernetes.namespace", name, _DNS_LABEL, "the name of a namespace", "default")
    if reader.problems:
        raise InvalidInput("topology", reader.problems)
    return found


def read_kubernetes(reader: Reader, value: object) -> Kubernetes:
    """Return what a mapping says of pods, noting in ``reader`` what it says wrong."""
    default = Kubernetes(image="")
    given = reader.mapping("kubernetes", value, [item.name for item in fields(Kubernetes)])

    def take(name: str) -> object:
        return given.get(name, getattr(default, name))

    def named(name: str, what: str) -> str:
        return reader.text("kubernetes." + name, take(name), rf"({_DNS_NAME})?", f"the name of a {what}", "")

    def count(name: str) -> int | None:
        return None if take(name) is None else reader.integer("kubernetes." + name, take(name), 0, 10**9)

    return Kubernetes(
        image=reader.text(
            "kubernetes.image",
            given.get("image"),
            r"[a-z0-9]\S{0,511}",
            "an image, as REGISTRY/NAME@DIGEST or NAME:TAG",
            "x",
        ),
        namespace=reader.text(
            "kubernetes.namespace", take("namespace"), _DNS_LABEL, "the name of a namespace", "default"
        ),
        backend=reader.choice("kubernetes.backend", take("backend"), BACKENDS),
        image_pull_policy=reader.choice("kubernetes.image_pull_policy", take("image_pull_policy"), PULL_POLICIES),
        image_pull_secrets=reader.texts(
            "kubernetes.image_pull_secrets", take("image_pull_secrets"), _DNS_NAME, "a secret's name"
        ),
        placement=_read_placement(reader, given.get("placement")),
        node_selector=reader.labels("kubernetes.node_selector", take("node_selector")),
        tolerations=_read_tolerations(reader, take("tolerations")),
        priority_class=named("priority_class", "PriorityClass"),
        runtime_class=named("runtime_class", "RuntimeClass"),
        service_account=named("service_account", "ServiceAccount"),
        volumes=_read_volumes(reader, given.get("volumes")),
        ttl_seconds_after_finished=count("ttl_seconds_after_finished"),
        active_deadline_seconds=count("active_deadline_seconds"),
        first_step_timeout_seconds=reader.number(
            "kubernetes.first_step_timeout_seconds", take("first_step_timeout_seconds"), 0, 10**6
        ),
        network_policy=reader.boolean("kubernetes.network_policy", take("network_policy")),
        disruption_budget=reader.boolean("kubernetes.disruption_budget", take("disruption_budget")),
        pod_patch={
            name: reader.free("kubernetes.pod_patch." + name, patch)
            for name, patch in reader.mapping("kubernetes.pod_patch", take("pod_patch"), PATCH_TARGETS).items()
        },
    )


def _read_placement(reader: Reader, value: object) -> Placement:
    where = "kubernetes.placement"
    given = reader.mapping(where, value, [item.name for item in fields(Placement)])
    strategy = reader.choice(where + ".strategy", given.get("strategy", Placement.strategy), STRATEGIES)
    nodes = reader.texts(where + ".nodes", given.get("nodes", ()), _DNS_NAME, "a node's name")
    if (strategy == "nodes") != bool(nodes):
        accepted = "at least one node's name with strategy nodes, and none with another"
        reader.problem(where + ".nodes", list(nodes), accepted)
    if len(set(nodes)) < len(nodes):
        reader.problem(where + ".nodes", list(nodes), "each node once")
    return Placement(strategy, nodes)


def _read_tolerations(reader: Reader, value: object) -> tuple[Mapping[str, object], ...]:
    name = "kubernetes.tolerations"
    if not isinstance(value, Sequence) or isinstance(value, str):
        reader.problem(name, value, "a list of tolerations, as Kubernetes writes them")
        return ()
    return tuple(reader.free(f"{name}[{position}]", entry) for position, entry in enumerate(value))


def _read_volumes(reader: Reader, value: object) -> Volumes:
    known = [item.name for item in fields(Volumes)]
    given = reader.mapping("kubernetes.volumes", value, known)
    sources = {name: _read_source(reader, "kubernetes.volumes." + name, given[name]) for name in known if name in given}
    return Volumes(**sources)


def _read_source(reader: Reader, name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in VOLUME_SOURCES:
        reader.problem(name, value, "a mapping with exactly one of " + ", ".join(VOLUME_SOURCES))
        return {"emptyDir": {}}
    kind, source = next(iter(value.items()))
    if kind != "claim":
        return {kind: dict(reader.free(f"{name}.{kind}", {} if source is None else source))}
    where = name + ".claim"
    given = reader.mapping(where, source, ("size", "storage_class", "access_modes"))
    modes = reader.texts(
        where + ".access_modes",
        given.get("access_modes", ("ReadWriteOnce",)),
        "ReadWrite(Once|Many|OncePod)|ReadOnlyMany",
        "ReadWriteOnce, ReadWriteMany, ReadWriteOncePod or ReadOnlyMany",
    )
    claim: dict[str, object] = {
        "size": reader.text(where + ".size", given.get("size"), _QUANTITY, "an amount such as 5Gi", "1Gi"),
        "access_modes": list(modes),
    }
    if "storage_class" in given:
        accepted = "the name of a StorageClass, or nothing for a volume made by hand"
        claim["storage_class"] = reader.text(
            where + ".storage_class", given["storage_class"], rf"({_DNS_NAME})?", accepted, ""
        )
    return {"claim": claim}


def read_resources(reader: Reader, name: str, value: object, runtime: str) -> dict[str, dict[str, str]]:
    """Return Kubernetes' ``{requests, limits}`` of a group of tasks, noting what is wrong with them."""
    given = reader.mapping(name, value, ("requests", "limits"))
    if given and runtime == "process":
        reader.problem(name, value, "nothing, with runtime process: a process is not held to any")
    found: dict[str, dict[str, str]] = {}
    for kind, amounts in given.items():
        if not isinstance(amounts, Mapping):
            reader.problem(f"{name}.{kind}", amounts, "a mapping such as {cpu: 500m, memory: 1Gi}")
            continue
        found[kind] = {
            str(resource): reader.text(
                f"{name}.{kind}.{resource}", str(amount), _QUANTITY, "an amount such as 500m, 2 or 1Gi", "0"
            )
            for resource, amount in amounts.items()
        }
    return found
