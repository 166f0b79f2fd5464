"""What a user has: a playbook under way, its results, and an account of what the API server told meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.errors import ActionFailed
from ansible_collections.dtf.cluster.plugins.module_utils.kube_errors import Gone
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster
from tests.fixtures.power_cut import power_cut
from tests.integration.ansible_command import ansible_playbook, environment

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "schemas" / "run.schema.json").read_text(encoding="utf-8"))
RECORDED = ("Pod", "Job", "StatefulSet", "Event")

Document = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a playbook ended.

    Attributes:
        code: its exit code.
        printed: what it printed.
        at: when, on this machine's clock.
        document: the run document it wrote, or ``None``; it is what the schema wants.
        folder: the run's results.
    """

    code: int
    printed: str
    at: float
    document: Document | None
    folder: Path

    @property
    def run(self) -> Document:
        """Return the run document."""
        assert self.document is not None, self.printed
        return self.document

    @property
    def cause(self) -> Document:
        """Return why the run failed."""
        assert self.code != 0, self.printed
        cause: Document = self.run["cause"]
        return cause


class Play:
    """A playbook that applies a topology and waits for its run, in the background.

    Args:
        kubeconfig: the cluster.
        folder: of the play's own, which keeps its results.
        topology: the options of the topology.
        waits: whether it waits for the run.
    """

    def __init__(self, kubeconfig: Path, folder: Path, topology: Document, *, waits: bool = True) -> None:
        folder.mkdir(parents=True)
        self.results = folder / "results"
        named = {"runtime": "kubernetes", "name": topology["name"]}
        where = {"kubernetes": {"namespace": topology["kubernetes"]["namespace"]}}
        tasks: list[Document] = [{"dtf.cluster.topology": {**named, **topology}}]
        if waits:
            tasks.append({"dtf.cluster.training": {**named, **where, "results_dir": str(self.results)}})
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "module_defaults": {"group/dtf.cluster.kubernetes": {"kubeconfig": str(kubeconfig)}},
            "tasks": tasks,
        }
        playbook = folder / "play.yml"
        playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ansible_playbook("-i", "localhost,", str(playbook)),
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def under_way(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def end(self, timeout: float = 240) -> Ended:
        """Wait for its end."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still waiting after {timeout:g} s:\n{self.printed[-4000:]}") from None
        at = time.time()
        documents = sorted(self.results.glob("*/run.json"), key=lambda path: path.stat().st_mtime)
        if not documents:
            return Ended(code, self.printed, at, None, self.results)
        document = json.loads(documents[-1].read_text(encoding="utf-8"))
        jsonschema.validate(document, SCHEMA)
        return Ended(code, self.printed, at, document, documents[-1].parent)

    def kill(self) -> None:
        """End it, whatever it does."""
        power_cut(self._process)


@dataclass
class Recorder:
    """Everything that the API server tells of a namespace, and when it told.

    Attributes:
        cluster: who is asked.
        namespace: where.
        seen: each object as it was told, with this machine's time, the oldest first.
    """

    cluster: Cluster
    namespace: str
    seen: list[tuple[float, Document]] = field(default_factory=list)
    _closed: bool = False

    def __post_init__(self) -> None:
        for kind in RECORDED:
            threading.Thread(target=self._follow, args=(kind,), name=f"record {kind}", daemon=True).start()

    def close(self) -> None:
        """Record no more."""
        self._closed = True

    def first(self, is_it: Callable[[Document], object]) -> float:
        """Return when the first object was told of that a predicate takes."""
        found = next((at for at, entry in list(self.seen) if is_it(entry)), None)
        assert found is not None, "the API server never told of it"
        return found

    def _follow(self, kind: str) -> None:
        version = ""
        while not self._closed:
            try:
                if not version:
                    listing = self.cluster.list(kind, self.namespace)
                    for entry in listing.items:
                        self._note(kind, entry)
                    version = listing.resource_version
                for what, entry in self.cluster.watch(kind, self.namespace, resource_version=version):
                    version = entry["metadata"]["resourceVersion"]
                    if what != "BOOKMARK":
                        self._note(kind, {**entry, "deleted": what == "DELETED"})
                    if self._closed:
                        return
            except Gone:
                version = ""
            except ActionFailed:
                time.sleep(0.2)

    def _note(self, kind: str, entry: Document) -> None:
        # Entries of a list do not say what they are.
        self.seen.append((time.time(), {"kind": kind, **entry}))


def until(what: str, predicate: Callable[[], object], seconds: float = 90, *plays: Play) -> Any:
    """Return what a predicate gives as soon as it is something; plays that have to go on meanwhile are looked at."""
    deadline = time.monotonic() + seconds
    while True:
        found = predicate()
        if found:
            return found
        for play in plays:
            assert play.under_way, play.printed[-6000:]
        text = "\n".join(play.printed[-3000:] for play in plays)
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s\n{text}"
        time.sleep(0.1)


def container(pod: Document) -> Document:
    """Return the state of a pod's container; empty if there is none yet."""
    found: Sequence[Document] = pod.get("status", {}).get("containerStatuses") or ({},)
    return found[0]
