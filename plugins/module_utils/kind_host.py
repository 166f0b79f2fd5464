# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only file that talks to kind, and to the container engine of a host that has Kind clusters.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import ActionFailed
from .host_files import read, remove, write
from .kind_documents import CONTROL_PLANE
from .kind_plan import Seen
from .programs import Ended, TimedOut, run

ENGINES = ("docker", "podman", "nerdctl")
LABEL = "io.x-k8s.kind.cluster"
NETWORK = "kind"
#: In a node, and gone with it: what its cluster was made with.
RECORD = "/kind/dtf-cluster.json"
_BALANCER = "-external-load-balancer"
_ADMIN = "--kubeconfig=/etc/kubernetes/admin.conf"
_LINES = 20


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


class KindHost:
    """One Kind cluster of this host.

    Args:
        name: the cluster's name.
        kind: path of the program.
        engine: program of the container engine.
        environment: variables for both.
        kubeconfig: file on this host for the administrator's credentials.
    """

    def __init__(self, name: str, kind: str, engine: str, environment: Mapping[str, str], kubeconfig: Path) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self._kind = kind
        self._engine = engine
        self._environment = {**environment, "KIND_EXPERIMENTAL_PROVIDER": engine}
        self._unfinished = kubeconfig.parent / f".{name}.unfinished"

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
        form = "{{.Names}}\t{{.Status}}"
        listed = self._checked([self._engine, "ps", "--all", "--filter", f"label={label}", "--format", form])
        pairs = [line.split("\t") for line in listed.splitlines() if "\t" in line]
        return [(name, status.lower().startswith("up")) for name, status in pairs]

    def image_id(self, reference: str) -> str:
        """Return the digest by which the engine knows an image; empty if it has none of that name."""
        ended = self._run([self._engine, "image", "inspect", "--format", "{{.Id}}", reference])
        found = ended.stdout.strip()
        if ended.returncode or not found:
            return ""
        return found if ":" in found else f"sha256:{found}"

    def take_image(self, archive: Path) -> None:
        """Give the engine an image."""
        self._checked([self._engine, "load", "--input", str(archive)], timeout=900)

    def drop_image(self, reference: str) -> bool:
        """Remove an image, unless something still needs it; return whether it is gone."""
        return not self._run([self._engine, "image", "rm", reference]).returncode

    def create(self, configuration: Mapping[str, Any], image: str, timeout: float) -> None:
        """Make the cluster; what is made of it is taken back if that fails."""
        self.kubeconfig.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(self._unfinished, "")
        with tempfile.TemporaryDirectory(prefix="dtf-kind-") as folder:
            document = Path(folder) / "cluster.json"
            document.write_text(json.dumps(configuration), encoding="utf-8")
            command = [self._kind, "create", "cluster", "--name", self.name, "--config", str(document)]
            # Its own look at the nodes says nothing when it has waited in vain; ours does.
            command += ["--kubeconfig", str(Path(folder) / "kubeconfig"), "--wait", "0s"]
            try:
                self._checked(command, timeout=timeout)
            except ActionFailed:
                self.delete()
                raise
        record = json.dumps({"configuration": configuration, "image": image}, sort_keys=True)
        ended = self._in_node(self.first, "cp", "/dev/stdin", RECORD, stdin=record)
        if ended.returncode:
            raise ActionFailed("kind_failed", f"{self.first}: its record cannot be written: {_last(ended)}")
        remove(self._unfinished)

    def start(self, names: Iterable[str]) -> None:
        """Start nodes that do not run."""
        self._checked([self._engine, "start", *names], timeout=120)

    def delete(self) -> None:
        """Remove the cluster, however much of it there is."""
        containers = [name for name, _up in self._containers(f"{LABEL}={self.name}")]
        if containers:
            # With their anonymous volumes, which is what kind itself does; it may be gone by now.
            self._checked([self._engine, "rm", "--force", "--volumes", *containers], timeout=300)
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
        command = [self._kind, "load", "image-archive", str(archive), "--name", self.name, "--nodes", ",".join(nodes)]
        self._checked(command, timeout=timeout)

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
            what = " ".join(Path(word).name if word.startswith("/") else word for word in command[:3])
            raise ActionFailed("kind_failed", f"{what} ended with {ended.returncode}: {_last(ended)}")
        return ended.stdout
