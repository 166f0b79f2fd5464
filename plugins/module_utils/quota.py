# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a topology takes of a cluster, and what a namespace's ResourceQuotas and LimitRanges would refuse of it.

Asked before anything is applied: a quota refuses pods one by one, long after the Job that wants them was accepted.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction

from .errors import Problem
from .manifests import KINDS
from .pod_template import GPU
from .quantities import parse, words

#: Of these a quota also counts what is asked for under the short name.
_SHORT_NAMES = {"cpu": "requests.cpu", "memory": "requests.memory", "ephemeral-storage": "requests.ephemeral-storage"}
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_STORAGE = "requests.storage"

Amounts = Mapping[str, Fraction]


@dataclass(frozen=True)
class Capacity:
    """What all pods of a topology ask for together; the scheduler has to find it.

    Attributes:
        pods: how many there are.
        cpu_millicores: requests of processor time, thousandths of a core.
        memory_bytes: requests of memory.
        memory_limit_bytes: what they may grow to.
        gpus: devices.
    """

    pods: int
    cpu_millicores: int
    memory_bytes: int
    memory_limit_bytes: int
    gpus: int

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def capacity(objects: Sequence[Mapping[str, object]]) -> Capacity:
    """Return the sum over the pods of a topology's objects."""
    total: Counter[str] = Counter()
    for _owner, size, spec in pods_of_sets(objects):
        requests, limits = pod_amounts(spec)
        total["pods"] += size
        total["cpu"] += int(requests.get("cpu", Fraction(0)) * 1000 * size)
        total["memory"] += int(requests.get("memory", Fraction(0)) * size)
        total["limit"] += int(limits.get("memory", Fraction(0)) * size)
        total["gpus"] += int(requests.get(GPU, Fraction(0)) * size)
    return Capacity(total["pods"], total["cpu"], total["memory"], total["limit"], total["gpus"])


def quota_problems(
    objects: Sequence[Mapping[str, object]],
    quotas: Sequence[Mapping[str, object]],
    limit_ranges: Sequence[Mapping[str, object]],
    *,
    released: Sequence[Mapping[str, object]] = (),
) -> list[Problem]:
    """Return what would be refused, with the amounts wanted, in use and allowed.

    Args:
        objects: what :func:`manifests.objects` returned.
        quotas: the namespace's ResourceQuotas, as the server has them.
        limit_ranges: its LimitRanges.
        released: objects of this topology that are in use now and make room first, or stay as they are.
    """
    problems = _limit_range_problems(objects, limit_ranges)
    wanted = [_with_defaults(document, limit_ranges) for document in objects]
    freed = [_with_defaults(document, limit_ranges) for document in released]
    for quota in quotas:
        problems.extend(_one_quota(wanted, freed, quota))
    return problems


def _one_quota(
    wanted: Sequence[Mapping[str, object]], freed: Sequence[Mapping[str, object]], quota: Mapping[str, object]
) -> Iterator[Problem]:
    name, status, spec = _name(quota), _part(quota, "status"), _part(quota, "spec")
    hard = _part(status, "hard") or _part(spec, "hard")
    yield from _missing_amounts(wanted, spec, hard, name)
    asked, given_back = _usage(wanted, spec), _usage(freed, spec)
    for resource, limit in hard.items():
        used = parse(_part(status, "used").get(resource, "0"))
        rest = used - min(given_back.get(resource, Fraction(0)), used)
        amount = asked.get(resource, Fraction(0))
        if amount and rest + amount > parse(limit):
            others = "of which others use" if rest == used else "of which others will go on using"
            accepted = (
                f"at most {words(resource, max(parse(limit) - rest, Fraction(0)))}: ResourceQuota {name!r} allows "
                f"{words(resource, parse(limit))} in the namespace, {others} {words(resource, rest)}"
            )
            yield Problem(f"quota.{resource}", words(resource, amount), accepted)


def _missing_amounts(
    wanted: Sequence[Mapping[str, object]], spec: Mapping[str, object], hard: Mapping[str, object], name: str
) -> Iterator[Problem]:
    """Yield what a quota refuses because a container leaves it open."""
    for resource in hard:
        kind, _dot, bare = _SHORT_NAMES.get(resource, resource).partition(".")
        if kind not in ("requests", "limits") or bare not in _COMPUTE:
            continue
        for owner, _size, pod in pods_of_sets(wanted):
            open_ones = [
                str(container.get("name"))
                for container in _containers(pod)
                if bare not in _part(_part(container, "resources"), kind)
            ]
            if open_ones and _in_scope(pod, spec):
                accepted = (
                    f"a value of {kind}.{bare} for every container, which ResourceQuota {name!r} counts: give it in "
                    "ps.resources and workers.resources, or have a LimitRange with a default"
                )
                yield Problem(f"quota.{resource}", f"{owner}: {', '.join(open_ones)} without", accepted)


def _usage(objects: Sequence[Mapping[str, object]], spec: Mapping[str, object]) -> dict[str, Fraction]:
    """Return what objects take of a quota, under every name that a quota has for it."""
    # A quota with a scope counts pods and nothing else.
    found = [*_pod_usage(objects, spec), *([] if _scopes(spec) else _object_usage(objects))]
    total: dict[str, Fraction] = {}
    for resource, amount in found:
        total[resource] = total.get(resource, Fraction(0)) + amount
    return total


def _pod_usage(objects: Sequence[Mapping[str, object]], spec: Mapping[str, object]) -> Iterator[tuple[str, Fraction]]:
    for _owner, size, pod in pods_of_sets(objects):
        if not _in_scope(pod, spec):
            continue
        requests, limits = pod_amounts(pod)
        yield from (("pods", Fraction(size)), ("count/pods", Fraction(size)))
        for resource, amount in requests.items():
            yield "requests." + resource, amount * size
            if resource in _COMPUTE:
                yield resource, amount * size
        for resource, amount in limits.items():
            if resource in _COMPUTE:
                yield "limits." + resource, amount * size


def _object_usage(objects: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, Fraction]]:
    plurals = {(version, kind): plural for version, kind, plural in KINDS}
    one = Fraction(1)
    for document in objects:
        version, kind = str(document.get("apiVersion")), str(document.get("kind"))
        plural, group = plurals.get((version, kind), kind.lower() + "s"), version.rpartition("/")[0]
        yield f"count/{plural}.{group}" if group else f"count/{plural}", one
        if not group:
            yield plural, one
        if kind == "PersistentVolumeClaim":
            claim = _part(document, "spec")
            amount = parse(_part(_part(claim, "resources"), "requests").get("storage", "0"))
            yield _STORAGE, amount
            if claim.get("storageClassName"):
                prefix = f"{claim['storageClassName']}.storageclass.storage.k8s.io/"
                yield prefix + _STORAGE, amount
                yield prefix + "persistentvolumeclaims", one


def _scopes(spec: Mapping[str, object]) -> list[Mapping[str, object]]:
    """Return a quota's scopes as selector expressions."""
    plain = spec.get("scopes")
    expressions = _part(spec, "scopeSelector").get("matchExpressions")
    return [{"scopeName": scope, "operator": "Exists"} for scope in _mappings_or_texts(plain)] + [
        entry for entry in _mappings_or_texts(expressions) if isinstance(entry, Mapping)
    ]


def _in_scope(pod: Mapping[str, object], spec: Mapping[str, object]) -> bool:
    return all(_matches(pod, scope) for scope in _scopes(spec))


def _matches(pod: Mapping[str, object], scope: Mapping[str, object]) -> bool:
    name, operator, values = scope.get("scopeName"), scope.get("operator"), scope.get("values") or ()
    if name == "PriorityClass":
        own = pod.get("priorityClassName")
        matched = {"Exists": bool(own), "DoesNotExist": not own}
        listed = isinstance(values, Sequence) and own in values
        return matched.get(str(operator), listed if operator == "In" else not listed)
    containers = list(_containers(pod))
    best_effort = not any(
        _part(_part(entry, "resources"), kind).get(resource)
        for entry in containers
        for kind in ("requests", "limits")
        for resource in ("cpu", "memory")
    )
    affinity = _part(pod, "affinity")
    crosses = any(
        "namespaces" in term or "namespaceSelector" in term
        for kind in ("podAffinity", "podAntiAffinity")
        for term in _affinity_terms(_part(affinity, kind))
    )
    known = {
        "Terminating": pod.get("activeDeadlineSeconds") is not None,
        "NotTerminating": pod.get("activeDeadlineSeconds") is None,
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
        "CrossNamespacePodAffinity": crosses,
    }
    # A scope that a later server brings is left to that server.
    return known.get(str(name), False)


def _affinity_terms(affinity: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for entry in _mappings_or_texts(affinity.get("requiredDuringSchedulingIgnoredDuringExecution")):
        if isinstance(entry, Mapping):
            yield entry
    for entry in _mappings_or_texts(affinity.get("preferredDuringSchedulingIgnoredDuringExecution")):
        if isinstance(entry, Mapping):
            yield _part(entry, "podAffinityTerm")


def _limit_range_problems(
    objects: Sequence[Mapping[str, object]], limit_ranges: Sequence[Mapping[str, object]]
) -> list[Problem]:
    problems: list[Problem] = []
    for limit_range in limit_ranges:
        for item in _items(limit_range):
            for subject, requests, limits in _subjects(objects, limit_ranges, str(item.get("type"))):
                problems.extend(_bound_problems(_name(limit_range), subject, item, requests, limits))
    return problems


def _subjects(
    objects: Sequence[Mapping[str, object]], limit_ranges: Sequence[Mapping[str, object]], kind: str
) -> Iterator[tuple[str, Amounts, Amounts]]:
    """Yield the name, the requests and the limits of everything that limits of a type look at."""
    if kind == "PersistentVolumeClaim":
        for document in objects:
            if document.get("kind") == kind:
                yield _name(document), _amounts(_part(_part(_part(document, "spec"), "resources"), "requests")), {}
        return
    for owner, _size, pod in pods_of_sets([_with_defaults(document, limit_ranges) for document in objects]):
        if kind == "Pod":
            yield (owner, *pod_amounts(pod))
        elif kind == "Container":
            for container in _containers(pod):
                resources = _part(container, "resources")
                requests, limits = _amounts(_part(resources, "requests")), _amounts(_part(resources, "limits"))
                yield f"{owner}: {container.get('name')}", {**limits, **requests}, limits


def _bound_problems(
    name: str, subject: str, item: Mapping[str, object], requests: Amounts, limits: Amounts
) -> Iterator[Problem]:
    field, kind = f"limit_range.{name}", item.get("type")
    for resource, least in _amounts(_part(item, "min")).items():
        amount = requests.get(resource)
        if amount is None or amount < least:
            accepted = f"requests.{resource} from {words(resource, least)} for a {kind}"
            yield Problem(field, f"{subject}: {_said(resource, amount)}", accepted)
    for resource, most in _amounts(_part(item, "max")).items():
        amount = (requests if kind == "PersistentVolumeClaim" else limits).get(resource)
        if amount is None or amount > most:
            what = resource if kind == "PersistentVolumeClaim" else f"limits.{resource}"
            accepted = f"{what} up to {words(resource, most)} for a {kind}"
            yield Problem(field, f"{subject}: {_said(resource, amount)}", accepted)
    for resource, ratio in _amounts(_part(item, "maxLimitRequestRatio")).items():
        asked, limit = requests.get(resource), limits.get(resource)
        if not asked or limit is None or limit > ratio * asked:
            accepted = f"limits.{resource} at most {words('', ratio)} times requests.{resource} for a {kind}"
            yield Problem(field, f"{subject}: {_said(resource, limit)} to {_said(resource, asked)}", accepted)


def _said(resource: str, amount: Fraction | None) -> str:
    return f"no {resource}" if amount is None else words(resource, amount)


def _with_defaults(
    document: Mapping[str, object], limit_ranges: Sequence[Mapping[str, object]]
) -> Mapping[str, object]:
    """Return an object with the containers' resources as the server completes them."""
    spec = _part(document, "spec")
    template = _part(spec, "template")
    pod = _part(template, "spec")
    if not pod:
        return document
    completed = {
        kind: [_completed(container, limit_ranges) for container in _mappings_or_texts(pod.get(kind))]
        for kind in ("containers", "initContainers")
        if pod.get(kind)
    }
    return {**document, "spec": {**spec, "template": {**template, "spec": {**pod, **completed}}}}


def _completed(container: object, limit_ranges: Sequence[Mapping[str, object]]) -> object:
    if not isinstance(container, Mapping):
        return container
    resources = _part(container, "resources")
    requests, limits = dict(_part(resources, "requests")), dict(_part(resources, "limits"))
    # What the API's own defaulting does comes before admission: a request that is open is the limit.
    requests = {**limits, **requests}
    for limit_range in limit_ranges:
        for item in _items(limit_range):
            if item.get("type") == "Container":
                limits = {**_part(item, "default"), **limits}
                requests = {**_part(item, "defaultRequest"), **requests}
    return {**container, "resources": {"requests": requests, "limits": limits}}


def pods_of_sets(objects: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, int, Mapping[str, object]]]:
    """Yield name, number of pods and pod spec of every set."""
    for document in objects:
        spec = _part(document, "spec")
        pod = _part(_part(spec, "template"), "spec")
        size = spec.get("completions", spec.get("replicas", 0))
        if pod and isinstance(size, int):
            yield _name(document), size, pod


def pod_amounts(pod: Mapping[str, object]) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
    """Return requests and limits of a pod: the sum of its containers, or its largest init container if that is more."""
    total: tuple[dict[str, Fraction], dict[str, Fraction]] = ({}, {})
    for kind in ("containers", "initContainers"):
        for container in _mappings_or_texts(pod.get(kind)):
            resources = _part(container, "resources") if isinstance(container, Mapping) else {}
            limits = _amounts(_part(resources, "limits"))
            requests = {**limits, **_amounts(_part(resources, "requests"))}
            for known, found in zip(total, (requests, limits)):
                for resource, amount in found.items():
                    so_far = known.get(resource, Fraction(0))
                    known[resource] = so_far + amount if kind == "containers" else max(so_far, amount)
    return total


def _containers(pod: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for kind in ("initContainers", "containers"):
        for container in _mappings_or_texts(pod.get(kind)):
            if isinstance(container, Mapping):
                yield container


def _items(limit_range: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for item in _mappings_or_texts(_part(limit_range, "spec").get("limits")):
        if isinstance(item, Mapping):
            yield item


def _amounts(given: Mapping[str, object]) -> dict[str, Fraction]:
    return {resource: parse(amount) for resource, amount in given.items()}


def _part(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _mappings_or_texts(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()


def _name(document: Mapping[str, object]) -> str:
    return str(_part(document, "metadata").get("name", ""))
