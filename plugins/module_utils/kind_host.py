# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that talks to kind, and to the container engine of a host that has Kind clusters.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import errno
import json
import shutil
import socket
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .errors import ActionFailed
from .host_files import emptied, locked, read, remove, write
from .kind_causes import MOST_KUBELET_RESTARTS, explained
from .kind_documents import CONTROL_PLANE, HostPort
from .kind_plan import Seen
from .kind_stages import Stages, sent
from .preflight_facts import busy_ports
from .programs import Ended, TimedOut, positions, run, run_watched
from .waiter import wait

ENGINES = ("docker", "podman", "nerdctl")
LABEL = "io.x-k8s.kind.cluster"
NETWORK = "kind"
#: In a node, and gone with it: what its cluster was made with.
RECORD = "/kind/dtf-cluster.json"
_BALANCER = "-external-load-balancer"
_ADMIN = "--kubeconfig=/etc/kubernetes/admin.conf"
_LINES = 20
#: Between two looks at the nodes of a cluster that is being made.
_LOOK_SECONDS = 2.0
#: Between two questions for their kubelets, which cost more.
_KUBELET_SECONDS = 5.0
#: How containers are that will not run by themselves.
_GONE = ("exited", "dead")
#: What kind says of a node that has not started; it may have ended, or have nothing to say.
_NO_LAST_LINE = "could not find a log line"
_SECOND_START_SECONDS = 5.0


def find_engine(wanted: str, environment: Mapping[str, str]) -> str:
    """Return the container engine that answers: the wanted one, or for ``auto`` the first; say what is missing."""
    told = []
    for name in ENGINES if wanted == "auto" else (wanted,):
        try:
            ended = run([name, "ps", "--quiet"], environment=dict(environment), timeout=60)
        except FileNotFoundError:
            told.append(f"{name}: not installed")
            continue
        except TimedOut:
            told.append(f"{name}: does not answer within 60 s")
            continue
        if not ended.returncode:
            return name
        told.append(f"{name}: does not work for this user: {_last(ended)}")
    advice = "Kind's nodes are containers: install and start one of " + ", ".join(ENGINES)
    raise ActionFailed("no_engine", advice + "\n  " + "\n  ".join(told))


def taken(ports: Iterable[HostPort]) -> dict[str, str]:
    """Return which ports of this host are not free, and who has them."""
    found = {}
    for port in ports:
        if _is_taken(port):
            entry = {"port": port.number, "protocol": port.protocol.lower()}
            holders = [holder["holder"] for holder in busy_ports(Path("/"), [entry])]
            found[port.field] = ", ".join(holders) or "a process that cannot be seen from here"
    return found


def _is_taken(port: HostPort) -> bool:
    """Try to take a port, as the engine will; an address that is not this network's is the engine's to judge."""
    kinds = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
    if port.protocol not in kinds:
        return False
    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    with closing(socket.socket(family, kinds[port.protocol])) as probe:
        if port.protocol == "TCP":
            # What is left of connections that are over holds no port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.address, port.number))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def archive_digests(archive: Path) -> list[str]:
    """Return what an engine may call the image in an archive: the digests of its configuration and its manifest."""
    try:
        with tarfile.open(archive) as opened:
            manifest = _document(opened, "index.json")["manifests"][0]["digest"]
            configuration = _document(opened, "blobs/" + manifest.replace(":", "/"))["config"]["digest"]
    except (OSError, tarfile.TarError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ActionFailed("no_image", f"{archive}: no archive of an image ({error!r})") from error
    return [configuration, manifest]


def _document(archive: tarfile.TarFile, name: str) -> Any:
    member = archive.extractfile(name)
    return json.loads(member.read()) if member else {}


def _last(ended: Ended) -> str:
    lines = (ended.stderr.strip() or ended.stdout.strip() or "it printed nothing").splitlines()
    return "\n".join(lines[-_LINES:])


def _named(command: list[str]) -> str:
    return " ".join(Path(word).name if word.startswith("/") else word for word in command[:3])


class KindHost:
    """One Kind cluster of this host.

    Args:
        name: the cluster's name.
        kind: path of the program.
        engine: program of the container engine.
        environment: variables for both.
        kubeconfig: file on this host for the administrator's credentials.
        stages: is told how far it is.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        engine: str,
        environment: Mapping[str, str],
        kubeconfig: Path,
        stages: Stages | None = None,
    ) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self.stages = stages or Stages()
        self._kind = kind
        self._engine = engine
        self._environment = {**environment, "KIND_EXPERIMENTAL_PROVIDER": engine}
        self._unfinished = kubeconfig.parent / f".{name}.unfinished"

    @property
    def is_known(self) -> bool:
        """Whether a run before has left something on this host."""
        return self.kubeconfig.exists() or self._unfinished.exists()

    def forget(self) -> None:
        """Remove what runs tell each other by."""
        remove(self._unfinished)
        remove(self.kubeconfig.parent / f".{self.name}.lock")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for the end of another run that is at this cluster, and be the only one.

        Programs do not inherit it: what watches a container of podman's would hold it for as long as the node lives.
        """
        folder = self.kubeconfig.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(f".{self.name}", folder):
            yield

    def look(self) -> Seen:
        """Return what there is of the cluster."""
        nodes = self.nodes()
        record: dict[str, Any] = {}
        if nodes.get(self.first):
            ended = self._in_node(self.first, "cat", RECORD)
            record = json.loads(ended.stdout) if not ended.returncode else {}
        return Seen(nodes, record.get("configuration"), record.get("image", ""), self._unfinished.exists())

    @property
    def first(self) -> str:
        """Name of the node that the cluster was made on."""
        return f"{self.name}-{CONTROL_PLANE}"

    def nodes(self) -> dict[str, bool]:
        """Return name of each node → whether it runs."""
        return {name: up for name, up in self._containers(f"{LABEL}={self.name}") if not name.endswith(_BALANCER)}

    def _containers(self, label: str) -> list[tuple[str, bool]]:
        return [(name, status.startswith("up")) for name, status in self._statuses(label)]

    def _statuses(self, label: str) -> list[tuple[str, str]]:
        form = "{{.Names}}\t{{.Status}}"
        listed = self._checked([self._engine, "ps", "--all", "--filter", f"label={label}", "--format", form])
        pairs = [line.split("\t") for line in listed.splitlines() if "\t" in line]
        return [(name, status.lower()) for name, status in pairs]

    def ended(self) -> dict[str, str]:
        """Return node → how its container ended and what it said last, of those that do not run any more."""
        gone = {name: status for name, status in self._statuses(f"{LABEL}={self.name}") if status.startswith(_GONE)}
        return {name: f"{status}\n{self._log(name)}".strip() for name, status in gone.items()}

    def _log(self, node: str) -> str:
        ended = self._run([self._engine, "logs", "--tail", str(_LINES), node])
        return f"{ended.stdout}\n{ended.stderr}".strip()

    def image_id(self, reference: str) -> str:
        """Return the digest by which the engine knows an image; empty if it has none of that name."""
        ended = self._run([self._engine, "image", "inspect", "--format", "{{.Id}}", reference])
        found = ended.stdout.strip()
        if ended.returncode or not found:
            return ""
        return found if ":" in found else f"sha256:{found}"

    def take_image(self, archive: Path) -> None:
        """Give the engine an image."""
        self.stages.begin("Giving the engine the nodes' image")
        self._with_archive([self._engine, "load", "--input", str(archive)], archive, 1, timeout=900)

    def drop_image(self, reference: str) -> bool:
        """Remove an image, unless something still needs it; return whether it is gone."""
        return not self._run([self._engine, "image", "rm", reference]).returncode

    def create(self, configuration: Mapping[str, Any], image: str, timeout: float) -> None:
        """Make the cluster; what is made of it is taken back if that fails."""
        self.kubeconfig.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(self._unfinished, "")
        # Nobody else's to read, and known to whoever comes after a run that was killed.
        folder = self.kubeconfig.parent / f".{self.name}.creation"
        emptied(folder)
        document = folder / "cluster.json"
        write(document, json.dumps(configuration))
        command = [self._kind, "create", "cluster", "--name", self.name, "--config", str(document)]
        # Its own look at the nodes says nothing when it has waited in vain; ours does. What it made stays until it has
        # been asked for the cause.
        command += ["--kubeconfig", str(folder / "kubeconfig"), "--wait", "0s", "--retain"]
        try:
            self._make(command, timeout)
        except ActionFailed:
            self.delete()
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        record = json.dumps({"configuration": configuration, "image": image}, sort_keys=True)
        ended = self._in_node(self.first, "cp", "/dev/stdin", RECORD, stdin=record)
        if ended.returncode:
            raise ActionFailed("kind_failed", f"{self.first}: its record cannot be written: {_last(ended)}")
        remove(self._unfinished)

    def _make(self, command: list[str], timeout: float) -> None:
        """Run kind, and end it as soon as it cannot succeed any more."""
        what = f"Kind cluster {self.name}: kind create cluster"
        try:
            ended = self._run_watched(command, timeout, self.stages.heard, self._watch_nodes(what))
        except TimedOut as error:
            during = f" in: {self.stages.name}" if self.stages.name else ""
            raise self._failed(f"{what} did not end within {timeout:g} s{during}", str(error.output or "")) from error
        if ended.returncode:
            raise self._failed(f"{what} ended with {ended.returncode} in: {self.stages.name}", ended.stdout)

    def _watch_nodes(self, what: str) -> Callable[[int], None]:
        """Return what looks after nodes while kind waits for them, for longer than makes sense."""
        looked = {"nodes": time.monotonic(), "kubelets": time.monotonic()}

        def is_time(for_what: str, interval: float) -> bool:
            now = time.monotonic()
            if now - looked[for_what] < interval:
                return False
            looked[for_what] = now
            return True

        def watch(_process: int) -> None:
            if is_time("nodes", _LOOK_SECONDS) and self.ended():
                raise self._failed(f"{what}: a node has ended in: {self.stages.name}", "")
            if is_time("kubelets", _KUBELET_SECONDS):
                for node, running in self.nodes().items():
                    asked = self._in_node(node, "systemctl", "show", "--property=NRestarts", "--value", "kubelet")
                    restarts = asked.stdout.strip()
                    if running and restarts.isdigit() and int(restarts) >= MOST_KUBELET_RESTARTS:
                        told = f"{what}: the kubelet of {node} has ended {restarts} times in: {self.stages.name}"
                        raise self._failed(told, "")

        return watch

    def _failed(self, what: str, printed: str) -> ActionFailed:
        """Return why the cluster cannot be made, as far as kind and the nodes tell."""
        ended = self.ended()
        if not ended and _NO_LAST_LINE in printed:
            # The engine starts a node again that has ended, once.
            ended = wait(self.ended, bool, interval=0.5, timeout=_SECOND_START_SECONDS).seen
        journals = {}
        for node, running in self.nodes().items():
            if running:
                read_journal = ("journalctl", "--unit=kubelet", "--lines=60", "--no-pager", "--output=cat")
                journals[node] = self._in_node(node, *read_journal).stdout
        code, message = explained(what, self._engine, printed, ended, journals)
        return ActionFailed(code, message, ended=ended)

    def start(self, names: Iterable[str]) -> None:
        """Start nodes that do not run."""
        self.stages.begin("Starting nodes")
        self._checked([self._engine, "start", *names], timeout=120)

    def delete(self) -> None:
        """Remove the cluster, however much of it there is."""
        self.stages.begin("Removing the cluster")
        containers = [name for name, _up in self._containers(f"{LABEL}={self.name}")]
        if containers:
            # With their anonymous volumes, which is what kind itself does; it may be gone by now.
            self._checked([self._engine, "rm", "--force", "--volumes", *containers], timeout=300)
            # With podman they are not anonymous: kind makes them, and labels each with its node's name.
            for name in containers:
                listed = self._run([self._engine, "volume", "ls", "--quiet", "--filter", f"label={name}"])
                if not listed.returncode and listed.stdout.split():
                    self._checked([self._engine, "volume", "rm", *listed.stdout.split()])
        remove(self._unfinished)

    def clear_network(self) -> bool:
        """Remove the network of all Kind clusters if no other cluster is here; return whether there was one."""
        if self._containers(LABEL) or self._run([self._engine, "network", "inspect", NETWORK]).returncode:
            return False
        return not self._run([self._engine, "network", "rm", NETWORK]).returncode

    def credentials(self) -> str:
        """Return the administrator's kubeconfig."""
        return self._checked([self._kind, "get", "kubeconfig", "--name", self.name])

    def write_credentials(self, check: bool) -> bool:
        """Write the administrator's kubeconfig; return whether it was another."""
        text = self.credentials()
        if read(self.kubeconfig) == text:
            return False
        if not check:
            write(self.kubeconfig, text, mode=0o600)
        return True

    def items(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Return objects of the cluster, asked for on its first node."""
        ended = self._in_node(self.first, "kubectl", _ADMIN, "get", kind, "--output", "json", *arguments)
        if ended.returncode:
            raise ActionFailed("api_silent", _last(ended))
        found: list[dict[str, Any]] = json.loads(ended.stdout)["items"]
        return found

    def images(self, node: str) -> dict[str, str]:
        """Return reference → digest of the images that a node has whole."""
        ended = self._in_node(node, "ctr", "--namespace", "k8s.io", "images", "check")
        if ended.returncode:
            raise ActionFailed("containerd_silent", f"{node} does not tell its images: {_last(ended)}")
        lines = [line.split() for line in ended.stdout.splitlines()[1:]]
        return {line[0]: line[2] for line in lines if len(line) > 3 and line[3] == "complete"}

    def load(self, archive: Path, nodes: Iterable[str], timeout: float) -> None:
        """Bring an image to nodes."""
        names = list(nodes)
        command = [self._kind, "load", "image-archive", str(archive), "--name", self.name, "--nodes", ",".join(names)]
        self._with_archive(command, archive, len(names), timeout)

    def _with_archive(self, command: list[str], archive: Path, readers: int, timeout: float) -> None:
        """Run a command that reads an archive, and tell how much of it is read."""
        size, path = archive.stat().st_size, archive.resolve()
        seen: set[int] = set()

        def watch(process: int) -> None:
            found = positions(process, path)
            seen.update(found)
            if found:
                self.stages.detail(sent(size, found, len(seen - found.keys()), readers))
            elif seen:
                self.stages.detail("unpacking")

        try:
            ended = self._run_watched(command, timeout, lambda _line: None, watch)
        except TimedOut as error:
            raise ActionFailed("kind_timeout", f"{_named(command)} did not end within {timeout:g} s") from error
        if ended.returncode:
            what = f"{_named(command)} ended with {ended.returncode}"
            code, message = explained(what, self._engine, ended.stdout, {}, {})
            raise ActionFailed(code, message)

    def _run_watched(
        self, command: list[str], timeout: float, heard: Callable[[str], None], watch: Callable[[int], None]
    ) -> Ended:
        try:
            return run_watched(command, heard=heard, watch=watch, environment=self._environment, timeout=timeout)
        except FileNotFoundError as error:
            raise ActionFailed("program_missing", f"{command[0]} is not on this host") from error

    def _in_node(self, node: str, *command: str, stdin: str | None = None) -> Ended:
        options = ["--interactive"] if stdin is not None else []
        return self._run([self._engine, "exec", *options, node, *command], stdin=stdin)

    def _run(self, command: list[str], stdin: str | None = None, timeout: float = 60) -> Ended:
        try:
            return run(command, stdin=stdin, environment=self._environment, timeout=timeout)
        except FileNotFoundError as error:
            raise ActionFailed("program_missing", f"{command[0]} is not on this host") from error
        except TimedOut as error:
            what = " ".join(command[:3])
            raise ActionFailed("kind_timeout", f"{what} did not end within {timeout:g} s") from error

    def _checked(self, command: list[str], timeout: float = 60) -> str:
        ended = self._run(command, timeout=timeout)
        if ended.returncode:
            raise ActionFailed("kind_failed", f"{_named(command)} ended with {ended.returncode}: {_last(ended)}")
        return ended.stdout
