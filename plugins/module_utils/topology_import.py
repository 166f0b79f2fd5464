# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Others' manifests of a distributed training, read as a topology: a TFJob, or the StatefulSets of the thesis's chart.

What a topology has a field for becomes that field; of the pods, what has none but is harmless becomes a patch. The rest
is listed with its place and the reason. Nothing is dropped unsaid but what servers and Helm add by themselves.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import InvalidInput, Problem
from .manifest_reader import ManifestReader, NotCarriedOver
from .pod_template import CHECKPOINT_DIR, CONTAINER, DATA_DIR, GPU, LOG_DIR, SCRATCH_DIR
from .spec import Topology
from .spec_kubernetes import VOLUME_SOURCES

TFJOB_VERSIONS = ("kubeflow.org/v1", "kubeflow.org/v1beta2", "kubeflow.org/v1beta1")

#: Flag of the trainer → field of a topology.
FLAG_FIELDS = {
    "dataset": "training.dataset",
    "train_steps": "training.steps",
    "hidden_units": "training.hidden_units",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "sync_replicas": "training.sync",
    "replicas_to_aggregate": "training.replicas_to_aggregate",
    "profile": "training.profile",
    "communication_interval": "training.communication_interval",
    "seed": "training.seed",
    "evaluation_interval": "training.evaluation_interval",
    "summary_interval": "training.summary_interval",
    "checkpoint_interval_seconds": "lifecycle.checkpoint_interval_seconds",
    "peer_timeout_seconds": "lifecycle.peer_timeout_seconds",
    "data_dir": "data_dir",
}
#: Flags whose value every topology finds for itself, and the variables of other programs for the same.
_OWN_FLAGS = {"job_name", "task_index", "ps_hosts", "worker_hosts", "num_gpus", "run_id", "attempt", "pod_name"}
_OWN_VARIABLES = {"TF_CONFIG", "POD_NAME", "DTF_RUN_ID", "DTF_TASK_INDEX_OFFSET", "DTF_ATTEMPT"}
#: Flag that names a folder → the volume of a topology that takes its place.
_FOLDERS = {"data_dir": "data", "checkpoint_dir": "checkpoints", "export_dir": "checkpoints", "log_dir": "logs"}
_OUR_VOLUMES = {"config", "scratch", "data", "checkpoints", "logs"}
_SWITCHES = {"sync_replicas", "existing_servers", "log_device_placement", "download_only", "verify_only"}
#: Fields of a pod that a patch carries as they are.
_PATCHED = (
    "affinity",
    "topologySpreadConstraints",
    "dnsPolicy",
    "dnsConfig",
    "hostAliases",
    "schedulerName",
    "preemptionPolicy",
)
_OF_SERVERS = (
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
    "ownerReferences",
)
_LABELS_OF_TOOLS = r"(app\.kubernetes\.io|helm\.sh|kubernetes\.io|kubeflow\.org|training\.kubeflow\.org)/.*"
_LABELS_OF_CHARTS = ("app", "chart", "release", "heritage", "component", "role", "job-name", "tier")

_REASONS = (
    (r"\]?\.restartPolicy$", "the backend decides it; lifecycle.restart_limit says how often a task is restarted"),
    (r"cleanPodPolicy$", "finished pods stay for their logs; kubernetes.ttl_seconds_after_finished removes them"),
    (r"suspend$", "a run is paused by state stopped"),
    (r"schedulingPolicy", "pods are scheduled one by one; there is no gang"),
    (r"successPolicy$", "a run has succeeded when the chief is done and every worker said farewell"),
    (r"enableDynamicWorker$", "a change of workers is a planned re-roll"),
    (r"Evaluator", "the chief evaluates: training.evaluation_interval"),
    (r"volumeClaimTemplates", "tasks have no volume each; kubernetes.volumes has one for data, checkpoints and logs"),
    (r"ecurityContext", "pods run with what Pod Security's level restricted asks; kubernetes.pod_patch changes it"),
    (r"initContainers$", "one container trains; kubernetes.pod_patch adds to it"),
    (r"Probe$", "readiness is asked on the task's port"),
    (r"serviceName|selector|podManagementPolicy|updateStrategy", "the backend decides it"),
    (r"host(Network|PID|IPC)$", "tasks are reached by the names of their pods"),
    (r"", "a topology has no field for it"),
)


@dataclass(frozen=True)
class Imported:
    """A topology read from manifests.

    Attributes:
        params: what ``Topology.from_params`` takes; what is missing is its default.
        not_carried_over: what was left behind.
    """

    params: dict[str, object]
    not_carried_over: tuple[NotCarriedOver, ...]


@dataclass
class _Group:
    """Equal tasks as a manifest has them, taken apart."""

    component: str
    reader: ManifestReader
    replicas: int = 1
    image: str = ""
    port: int | None = None
    gpus: int = 0
    resources: dict[str, dict[str, str]] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)
    job_name: str = ""
    flags: dict[str, tuple[str, str]] = field(default_factory=dict)
    """name → value, place"""
    mounts: dict[str, tuple[str, dict[str, object]]] = field(default_factory=dict)
    """path → volume's name, the mount's other fields"""
    sources: dict[str, dict[str, object]] = field(default_factory=dict)
    carried: set[str] = field(default_factory=set)
    """paths whose volume is one of the topology's own"""
    patch_metadata: dict[str, dict[str, object]] = field(default_factory=dict)
    patch_spec: dict[str, object] = field(default_factory=dict)
    patch_env: list[dict[str, object]] = field(default_factory=list)


def import_manifests(documents: Sequence[object]) -> Imported:
    """Return the topology that manifests describe.

    Args:
        documents: a TFJob, or what the thesis's chart renders to, among other objects or not.

    Raises:
        InvalidInput: they describe none, or more than one, or are not what their kind says; with every problem.
    """
    return _Import(documents).result()


class _Import:
    """One import: collects fields with the place each came from, and what has no field."""

    def __init__(self, documents: Sequence[object]) -> None:
        self.problems: list[Problem] = []
        self.left: list[NotCarriedOver] = []
        self.places: dict[str, str] = {}
        self.params: dict[str, object] = {"runtime": "kubernetes"}
        self.readers: list[ManifestReader] = []
        self.documents = [document for document in documents if document is not None]

    def result(self) -> Imported:
        """Read everything, then take back what a topology does not accept."""
        wrong = [document for document in self.documents if not isinstance(document, Mapping)]
        self.problems.extend(Problem("manifest", document, "Kubernetes objects, as mappings") for document in wrong)
        if not wrong:
            found = [document for document in self.documents if isinstance(document, Mapping)]
            jobs = [document for document in found if document.get("kind") == "TFJob"]
            sets = [document for document in found if document.get("kind") == "StatefulSet"]
            if len(jobs) == 1 and not sets:
                self._others(found, jobs)
                self._read_tfjob(jobs[0])
            elif len(sets) == 2 and not jobs:
                self._others(found, sets)
                self._read_chart(sets)
            else:
                kinds = sorted(f"{document.get('kind')}" for document in found)
                self.problems.append(Problem("manifest", kinds, "one TFJob, or one StatefulSet each of ps and workers"))
        if self.problems:
            raise InvalidInput("manifest", self.problems)
        for reader in self.readers:
            self.left.extend(reader.rest(_REASONS))
        self._take_back_what_is_not_accepted()
        return Imported(self.params, tuple(self.left))

    # --- the two forms ---

    def _read_tfjob(self, document: Mapping[str, object]) -> None:
        reader = self._open(document)
        version = reader.text("apiVersion")
        if version not in TFJOB_VERSIONS:
            reader.problem("apiVersion", version, "one of " + ", ".join(TFJOB_VERSIONS))
        self._identity(reader)
        spec = reader.child("spec")
        self._set("kubernetes.backend", "indexed_job", "")
        # Before v1 what is now the run policy stood in the spec itself.
        for policy in (spec.child("runPolicy"), spec):
            self._run_policy(policy)
        replicas = spec.child("tfReplicaSpecs")
        groups = []
        for name, component in (("PS", "ps"), ("Chief", "chief"), ("Master", "chief"), ("Worker", "worker")):
            if replicas.has(name):
                group = self._group(component, replicas.child(name))
                groups.append(group)
        if not any(group.component in ("chief", "worker") for group in groups):
            replicas.problem("", sorted(group.component for group in groups), "at least a Chief or a Worker")
            return
        if not any(group.component == "ps" for group in groups):
            why = "there are no parameter servers there; a topology has at least one"
            self.left.append(NotCarriedOver(replicas.where("PS"), None, why))
        self._restart_policy(groups, replicas)
        self._combine(groups)

    def _run_policy(self, policy: ManifestReader) -> None:
        for name, target in (
            ("ttlSecondsAfterFinished", "kubernetes.ttl_seconds_after_finished"),
            ("activeDeadlineSeconds", "kubernetes.active_deadline_seconds"),
            ("backoffLimit", "lifecycle.restart_limit"),
        ):
            if policy.has(name):
                self._set(target, policy.integer(name), policy.where(name))
        scheduling = policy.child("schedulingPolicy")
        if scheduling.has("priorityClass"):
            place = scheduling.where("priorityClass")
            self._set("kubernetes.priority_class", scheduling.text("priorityClass"), place)

    def _restart_policy(self, groups: Sequence[_Group], replicas: ManifestReader) -> None:
        policies = {str(group.reader.take("restartPolicy")) for group in groups if group.reader.has("restartPolicy")}
        if policies == {"Never"} and "lifecycle.restart_limit" not in self.places:
            self._set("lifecycle.restart_limit", 0, replicas.where("*.restartPolicy"))
        elif policies - {"Never", "OnFailure"}:
            why = next(reason for pattern, reason in _REASONS if "restartPolicy" in pattern)
            self.left.append(NotCarriedOver(replicas.where("*.restartPolicy"), sorted(policies), why))

    def _read_chart(self, documents: Sequence[Mapping[str, object]]) -> None:
        groups = []
        for document in documents:
            reader = self._open(document)
            version = reader.text("apiVersion")
            if version not in ("apps/v1", "apps/v1beta2", "apps/v1beta1"):
                reader.problem("apiVersion", version, "apps/v1")
            metadata = reader.child("metadata")
            name = metadata.text("name")
            self._forget_tools(metadata)
            namespace = metadata.text("namespace")
            if namespace:
                self._set("kubernetes.namespace", namespace, metadata.where("namespace"))
            spec = reader.child("spec")
            for known in ("serviceName", "selector", "podManagementPolicy", "updateStrategy", "revisionHistoryLimit"):
                spec.take(known)
            group = self._group("", spec)
            group.component = self._role(group, name) or ""
            if not group.component:
                reader.problem("metadata.name", name, "a StatefulSet whose JOB_NAME, or end of name, is ps or worker")
                continue
            groups.append(group)
            stem = re.sub(r"-(ps|workers?)$", "", name)
            self._set("name", stem, metadata.where("name"))
        if sorted(group.component for group in groups) != ["ps", "worker"]:
            if not self.problems:
                names = [group.component for group in groups]
                self.problems.append(Problem("manifest", names, "one StatefulSet of ps and one of workers"))
            return
        self._set("kubernetes.backend", "statefulset", "")
        self._combine(groups)

    def _others(self, found: Sequence[Mapping[str, object]], read: Sequence[Mapping[str, object]]) -> None:
        """List the objects that are neither read nor made anew by every topology."""
        for document in found:
            if any(document is other for other in read):
                continue
            kind, path = document.get("kind"), _title(document)
            data, spec = document.get("data"), document.get("spec")
            if kind == "ConfigMap" and isinstance(data, Mapping) and "worker.hostList" in data:
                data = {key: value for key, value in data.items() if key not in ("ps.hostList", "worker.hostList")}
                if data:
                    self.left.append(NotCarriedOver(path + " data", data, "a topology's ConfigMap has its host lists"))
            elif kind == "Service" and isinstance(spec, Mapping) and spec.get("clusterIP") == "None":
                continue  # each set has its own
            else:
                self.left.append(NotCarriedOver(path, None, "no part of a topology: apply it beside, or leave it"))

    def _open(self, document: Mapping[str, object]) -> ManifestReader:
        reader = ManifestReader(document, _title(document), self.problems)
        for name in ("kind", "status"):
            reader.take(name)
        self.readers.append(reader)
        return reader

    def _identity(self, reader: ManifestReader) -> None:
        metadata = reader.child("metadata")
        self._forget_tools(metadata)
        self._set("name", metadata.text("name"), metadata.where("name"))
        if metadata.has("namespace"):
            self._set("kubernetes.namespace", metadata.text("namespace"), metadata.where("namespace"))

    def _forget_tools(self, metadata: ManifestReader) -> None:
        """Take what servers, Helm and kubectl have written of themselves."""
        for name in _OF_SERVERS:
            metadata.take(name)
        for name in ("labels", "annotations"):
            entries = metadata.child(name)
            for key in entries.names():
                if re.fullmatch(_LABELS_OF_TOOLS, key) or "kubernetes.io/" in key or key in _LABELS_OF_CHARTS:
                    entries.take(key)

    # --- a group of tasks ---

    def _group(self, component: str, reader: ManifestReader) -> _Group:
        group = _Group(component, reader)
        replicas = reader.integer("replicas")
        group.replicas = 1 if replicas is None else replicas
        template = reader.child("template")
        metadata = template.child("metadata")
        self._forget_tools(metadata)
        metadata.take("name")
        for name in ("labels", "annotations"):
            # `_forget_tools` has made a reader of it; what stayed in there is the user's.
            entries = next(child for child in metadata.opened() if child.path == metadata.where(name))
            found = entries.whole()
            if found:
                group.patch_metadata[name] = found
        spec = template.child("spec")
        self._pod(group, spec)
        return group

    def _pod(self, group: _Group, spec: ManifestReader) -> None:
        for name, option in (
            ("serviceAccountName", "service_account"),
            ("priorityClassName", "priority_class"),
            ("runtimeClassName", "runtime_class"),
        ):
            if spec.has(name):
                group.options[option] = spec.text(name)
        spec.take("serviceAccount")  # the same by its old name
        if spec.take("restartPolicy") == "Never" and not group.reader.has("restartPolicy"):
            group.options["restart"] = "Never"
        for name in ("automountServiceAccountToken", "enableServiceLinks"):
            if spec.has(name) and spec.take(name) is not False:
                self.left.append(NotCarriedOver(spec.where(name), True, "a task needs neither, so it has neither"))
        self._scheduling(group, spec)
        for volume in spec.children("volumes", "name"):
            name = volume.text("name")
            group.sources[name] = volume.whole()
        container = self._trainer(spec)
        if container is not None:
            self._container(group, container)

    def _scheduling(self, group: _Group, spec: ManifestReader) -> None:
        if spec.has("nodeSelector"):
            group.options["node_selector"] = spec.mapping("nodeSelector")
        if spec.has("tolerations"):
            group.options["tolerations"] = [toleration.whole() for toleration in spec.children("tolerations", "key")]
        if spec.has("imagePullSecrets"):
            group.options["image_pull_secrets"] = [
                entry.text("name") for entry in spec.children("imagePullSecrets", "name")
            ]
        if spec.has("terminationGracePeriodSeconds"):
            group.options["stop_grace_seconds"] = spec.integer("terminationGracePeriodSeconds")
        for name in _PATCHED:
            if spec.has(name):
                group.patch_spec[name] = spec.take(name)

    def _trainer(self, spec: ManifestReader) -> ManifestReader | None:
        containers = spec.children("containers", "name")
        named = [entry for entry in containers if entry.path.endswith(("[tensorflow]", f"[{CONTAINER}]"))]
        if not containers:
            spec.problem("containers", None, "a list with the container that trains")
            return None
        trainer = (named or containers)[0]
        for other in containers:
            if other is not trainer:
                why = "one container trains; kubernetes.pod_patch adds to it"
                self.left.append(NotCarriedOver(other.path, other.whole(), why))
        return trainer

    def _container(self, group: _Group, container: ManifestReader) -> None:
        container.take("name")
        group.image = container.text("image")
        if not group.image:
            container.problem("image", group.image, "an image")
        if container.has("imagePullPolicy"):
            group.options["image_pull_policy"] = container.text("imagePullPolicy")
        for name in ("terminationMessagePath", "terminationMessagePolicy"):
            container.take(name)
        for port in container.children("ports", "containerPort"):
            number = port.integer("containerPort")
            for name in ("name", "protocol"):
                port.take(name)
            if group.port is None:
                group.port = number
        self._resources(group, container.child("resources"))
        self._words(group, container)
        self._environment(group, container)
        for mount in container.children("volumeMounts", "mountPath"):
            path, name = mount.text("mountPath"), mount.text("name")
            group.mounts[path.rstrip("/") or "/"] = (name, mount.whole())

    def _resources(self, group: _Group, resources: ManifestReader) -> None:
        requests, limits = (
            {str(key): str(value) for key, value in resources.mapping(kind).items()} for kind in ("requests", "limits")
        )
        devices = limits.pop(GPU, requests.get(GPU, "0"))
        requests.pop(GPU, None)
        if devices.isdigit():
            group.gpus = int(devices)
        else:
            resources.problem("limits." + GPU, devices, "a whole number")
        # What is not asked for is what it is limited to.
        requests = {**{name: amount for name, amount in limits.items() if "/" not in name}, **requests}
        group.resources = {kind: amounts for kind, amounts in (("requests", requests), ("limits", limits)) if amounts}

    def _words(self, group: _Group, container: ManifestReader) -> None:
        """Read the flags of the command line; what is not one of the trainer's is listed."""
        words: list[str] = []
        for name in ("command", "args"):
            for word in container.texts(name):
                # A shell's script is words as well.
                words.extend(_split(word) if re.search(r"\s--", word) else [word])
        flags, others = _flags(words)
        place = container.where("args")
        for name, text in flags.items():
            self._flag(group, name, text, f"{place} --{name}", text)
        if others and others[1:] != ["-m", "dtf_trainer"]:
            why = "the trainer's own program runs; the image has to have it: kubernetes.image"
            self.left.append(NotCarriedOver(container.where("command"), others, why))

    def _flag(self, group: _Group, name: str, text: str, place: str, value: object) -> bool:
        """Keep a flag that means something here; return whether it does."""
        if name in FLAG_FIELDS or name in _FOLDERS:
            group.flags.setdefault(name, (text, place))
        elif name == "job_name":
            group.job_name = text
        elif name not in _OWN_FLAGS:
            if place.endswith("--" + name):
                self.left.append(NotCarriedOver(place, value, "no flag that a topology sets"))
            return False
        return True

    def _environment(self, group: _Group, container: ManifestReader) -> None:
        for variable in container.children("env", "name"):
            name, value = variable.text("name"), variable.take("value")
            rest = variable.whole()
            if name == "JOB_NAME":
                group.job_name = str(value)
            if name in _OWN_VARIABLES or name.lower() in _OWN_FLAGS:
                continue
            known = name == name.upper() and isinstance(value, str)
            if not (known and self._flag(group, name.lower(), str(value), variable.path, value)):
                given = {} if value is None else {"value": value if isinstance(value, str) else str(value)}
                group.patch_env.append({"name": name, **given, **rest})

    def _role(self, group: _Group, name: str) -> str | None:
        match = re.search(r"-(ps|worker)s?$", name)
        return group.job_name or (match[1] if match else None)

    # --- everything together ---

    def _combine(self, groups: Sequence[_Group]) -> None:
        workers = [group for group in groups if group.component != "ps"]
        main = next((group for group in workers if group.component == "worker"), workers[0])
        chiefs = [group for group in workers if group is not main]
        for group in groups:
            if group.component == "ps":
                self._tasks("ps", group, group.replicas)
        self._tasks("workers", main, main.replicas + sum(group.replicas for group in chiefs))
        self._set("kubernetes.image", main.image, main.reader.where("template.spec.containers"))
        for group in (main, *(other for other in groups if other is not main)):
            self._flags_of(group, main)
        self._folders(workers)
        self._options(groups, main)
        self._patches(groups, main)

    def _tasks(self, target: str, group: _Group, replicas: int) -> None:
        self._set(target + ".replicas", replicas, group.reader.where("replicas"))
        place = group.reader.where("template.spec.containers")
        if group.port is not None:
            self._set(target + ".port", group.port, place + ".ports")
        if group.gpus and target == "ps":
            why = "a parameter server uses no GPU"
            self.left.append(NotCarriedOver(f"{place}.resources.limits.{GPU}", group.gpus, why))
        elif group.gpus:
            self._set(target + ".gpus", group.gpus, f"{place}.resources.limits.{GPU}")
        for kind, amounts in group.resources.items():
            for name, amount in amounts.items():
                self._set(f"{target}.resources.{kind}", amount, f"{place}.resources.{kind}.{name}", name)

    def _flags_of(self, group: _Group, main: _Group) -> None:
        for name, (text, place) in group.flags.items():
            if name not in FLAG_FIELDS or name == "data_dir":
                continue
            if group is main or name not in main.flags:
                self._set(FLAG_FIELDS[name], _value(text), place)
            elif main.flags[name][0] != text:
                why = f"all tasks of a topology have one value; it is that of the workers, {main.flags[name][0]}"
                self.left.append(NotCarriedOver(place, text, why))

    def _folders(self, workers: Sequence[_Group]) -> None:
        """Carry the volumes over that hold the data, the checkpoints and the logs."""
        for group in workers:
            for name, target in _FOLDERS.items():
                if name not in group.flags:
                    continue
                folder, place = group.flags[name]
                path = next((path for path in _parents(folder) if path in group.mounts), None)
                inside = DATA_DIR + folder[len(path) :].rstrip("/") if path else folder
                if name == "data_dir" and folder:
                    self._set("data_dir", inside, place)
                if path is not None and self._volume(group, path, target):
                    continue
                if name != "data_dir" and path is None:
                    ours = LOG_DIR if target == "logs" else CHECKPOINT_DIR
                    why = f"each run has a folder of its own below {ours}: kubernetes.volumes.{target}"
                    self.left.append(NotCarriedOver(place, folder, why))

    def _volume(self, group: _Group, path: str, target: str) -> bool:
        name, mount = group.mounts[path]
        source = group.sources.get(name, {})
        if len(source) != 1 or next(iter(source)) not in VOLUME_SOURCES or "subPath" in mount:
            return False
        self._set(f"kubernetes.volumes.{target}", source, group.reader.where(f"template.spec.volumes[{name}]"))
        group.carried.add(path)
        return True

    def _options(self, groups: Sequence[_Group], main: _Group) -> None:
        """Carry over what all pods have; what only some have becomes their patch."""
        template_names = {
            "service_account": "serviceAccountName",
            "priority_class": "priorityClassName",
            "runtime_class": "runtimeClassName",
            "node_selector": "nodeSelector",
            "tolerations": "tolerations",
        }
        place = main.reader.where("template.spec")
        for name in dict.fromkeys(name for group in groups for name in group.options):
            values = [group.options.get(name) for group in groups]
            if name == "restart":
                if all(values) and "lifecycle.restart_limit" not in self.places:
                    self._set("lifecycle.restart_limit", 0, place + ".restartPolicy")
            elif name == "stop_grace_seconds":
                longest = max(value for value in values if isinstance(value, int)) if any(values) else 0
                self._set("lifecycle." + name, longest, place + ".terminationGracePeriodSeconds")
            elif name not in template_names or all(value == values[0] for value in values):
                value = next(value for value in values if value is not None)
                if "kubernetes." + name not in self.places:
                    self._set("kubernetes." + name, value, f"{place}.{template_names.get(name, name)}")
            else:
                for group in groups:
                    if group.options.get(name) is not None:
                        group.patch_spec[template_names[name]] = group.options[name]

    def _patches(self, groups: Sequence[_Group], main: _Group) -> None:
        patches = {group.component: self._patch(group, main) for group in groups}
        if "chief" not in patches and "worker" in patches:
            patches["chief"] = patches["worker"]
        if "worker" not in patches and "chief" in patches:
            patches["worker"] = patches["chief"]
        found = {component: patch for component, patch in patches.items() if patch}
        if len(found) == 3 and all(patch == found["worker"] for patch in found.values()):
            found = {"all": found["worker"]}
        if found:
            place = main.reader.where("template")
            for component, patch in found.items():
                self._set("kubernetes.pod_patch", patch, place, component)
        strategies = [group.patch_spec.get(name) for group in groups for name in _PATCHED[:2]]
        if any(strategies):
            # The user's own constraints take the place of ours.
            self._set("kubernetes.placement", {"strategy": "none"}, main.reader.where("template.spec.affinity"))

    def _patch(self, group: _Group, main: _Group) -> dict[str, object]:
        container: dict[str, object] = {}
        if group.image != main.image:
            container["image"] = group.image
        if group.component == "chief" and group is not main:
            container["resources"] = _changed_resources(group, main)
        if group.patch_env:
            container["env"] = group.patch_env
        volumes, mounts = self._other_volumes(group)
        if mounts:
            container["volumeMounts"] = mounts
        container = {name: value for name, value in container.items() if value}
        spec: dict[str, object] = dict(group.patch_spec)
        if volumes:
            spec["volumes"] = volumes
        if container:
            spec["containers"] = [{"name": CONTAINER, **container}]
        patch: dict[str, object] = {}
        if group.patch_metadata:
            patch["metadata"] = group.patch_metadata
        if spec:
            patch["spec"] = spec
        return patch

    def _other_volumes(self, group: _Group) -> tuple[list[object], list[object]]:
        volumes: dict[str, object] = {}
        mounts: list[object] = []
        place = group.reader.where("template.spec.volumes")
        carried = {group.mounts[path][0] for path in group.carried}
        for path, (name, mount) in group.mounts.items():
            if path in group.carried:
                continue
            source = group.sources.get(name)
            if name in carried and source is not None:
                why = "the volume is mounted once, where the topology wants it"
                self.left.append(NotCarriedOver(f"{place}[{name}]", path, why))
            elif source is None:
                why = "its volume is not in the template; kubernetes.volumes has those of data, checkpoints and logs"
                self.left.append(NotCarriedOver(f"{place}[{name}]", path, why))
            elif name in _OUR_VOLUMES or path == SCRATCH_DIR:
                why = "a topology's pods have a volume of this name or place: rename it and use kubernetes.pod_patch"
                self.left.append(NotCarriedOver(f"{place}[{name}]", source, why))
            else:
                volumes[name] = {"name": name, **source}
                mounts.append({"name": name, "mountPath": path, **mount})
        mounted = {name for name, _mount in group.mounts.values()}
        for name, source in group.sources.items():
            if name not in mounted:
                self.left.append(NotCarriedOver(f"{place}[{name}]", source, "nothing that trains mounts it"))
        return list(volumes.values()), mounts

    # --- fields and their places ---

    def _set(self, target: str, value: object, place: str, key: str | None = None) -> None:
        """Set a field that is reached by a dotted name; ``key`` is one name more, which may have dots itself."""
        *groups, name = target.split(".") if key is None else [*target.split("."), key]
        parent = self.params
        for group in groups:
            child = parent.setdefault(group, {})
            parent = child if isinstance(child, dict) else {}
        parent[name] = value
        self.places[target if key is None else f"{target}.{key}"] = place

    def _take_back_what_is_not_accepted(self) -> None:
        """Move fields whose value a topology refuses to what is listed, with what it would accept."""
        for _round in range(len(self.places)):
            try:
                Topology.from_params(self.params)
            except InvalidInput as refusal:
                refused = [problem for problem in refusal.problems if self._take_back(problem)]
                if not refused:
                    return
            else:
                return

    def _take_back(self, problem: Problem) -> bool:
        name = re.sub(r"\[[0-9]+\].*", "", problem.field)
        known = next((known for known in self.places if name == known or name.startswith(known + ".")), None)
        if known is None or not _remove(self.params, known):
            return False
        place = self.places.pop(known) or problem.field
        self.left.append(NotCarriedOver(place, problem.value, f"{known} accepts {problem.accepted}"))
        return True


def _changed_resources(group: _Group, main: _Group) -> dict[str, dict[str, object]]:
    """Return the patch that makes one group's resources of another's."""
    changed: dict[str, dict[str, object]] = {}
    for kind in ("requests", "limits"):
        mine: dict[str, object] = dict(group.resources.get(kind, {}))
        theirs: dict[str, object] = dict(main.resources.get(kind, {}))
        if kind == "limits":
            mine.update({GPU: group.gpus} if group.gpus else {})
            theirs.update({GPU: main.gpus} if main.gpus else {})
        names = [name for name in {**theirs, **mine} if mine.get(name) != theirs.get(name)]
        if names:
            changed[kind] = {name: mine.get(name) for name in names}
    return changed


def _title(document: Mapping[str, object]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return f"{document.get('kind')}/{name}:"


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is never closed
        return text.split()


def _flags(words: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return flags with their values, as the trainer would read them, and the other words."""
    flags: dict[str, str] = {}
    others: list[str] = []
    pending = list(words)
    while pending:
        word = pending.pop(0)
        name, equals, text = word.partition("=")
        if not re.fullmatch(r"--?[A-Za-z][\w-]*", name):
            others.append(word)
            continue
        name = name.lstrip("-").replace("-", "_")
        if not equals and name in ("m", "c", "u", "ec", "e"):
            others.append(word)
            continue
        if not equals and name in _SWITCHES:
            switch = bool(pending) and pending[0].lower() in ("true", "false", "1", "0")
            text = pending.pop(0) if switch else "true"
        elif not equals and pending and not pending[0].startswith("--"):
            text = pending.pop(0)
        flags[name] = text
    return flags, others


def _value(text: str) -> object:
    """Return the value that a flag's text stands for."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _parents(path: str) -> list[str]:
    """Return a path and those above it, the nearest first."""
    parts = path.rstrip("/").split("/")
    return ["/".join(parts[:count]) or "/" for count in range(len(parts), 0, -1)]


def _remove(params: dict[str, object], name: str) -> bool:
    """Remove the field of a dotted name, whose last part may have dots itself; say whether it was there."""
    if name in params:
        del params[name]
        return True
    head, _dot, tail = name.partition(".")
    child = params.get(head)
    return isinstance(child, dict) and bool(tail) and _remove(child, tail)
