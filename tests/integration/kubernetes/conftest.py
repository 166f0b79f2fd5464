"""A cluster of the tests' own with everything that is asked of its API server written down, or one that is up already.

``DTF_TEST_KUBECONFIG`` names the latter, or ``DTF_TEST_LAB`` the inventory of a laboratory whose hosts may be stopped;
what only the former can tell is then skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.dtf.cluster.plugins.module_utils.kubeadm_documents import AUDIT_LOG
from ansible_collections.dtf.cluster.plugins.module_utils.kubernetes_client import Cluster
from tests.integration.ansible_command import ansible_playbook, environment
from tests.integration.kubernetes import bundle_images
from tests.integration.kubernetes.lab_hosts import LabHosts

ROOT = Path(__file__).resolve().parents[3]
NAME = "kubernetes-test"
SUBNET = "172.30.33.0/24"
PACKAGE = "ansible_collections.dtf.cluster.plugins.modules"
#: Where the trainer's image is kept between runs, beside what says what it was made of.
IMAGE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dtf" / "test-image" / "trainer.json"
#: Making the cluster counts as part of the first test.
FIRST_TEST_SECONDS = 900

Document = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(FIRST_TEST_SECONDS))


def run(*command: str, timeout: float = 600) -> str:
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
    return ended.stdout


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The inventory of three hosts that are a cluster, or nothing where a cluster is given."""
    if os.environ.get("DTF_TEST_KUBECONFIG"):
        yield None
        return
    if os.environ.get("DTF_TEST_LAB"):
        yield Path(os.environ["DTF_TEST_LAB"])
        return
    inventory = tmp_path_factory.mktemp("lab") / "inventory"
    lab = [sys.executable, str(ROOT / "tools" / "lab.py")]
    named = [f"--name={NAME}", f"--inventory={inventory}"]
    try:
        run(*lab, "up", *named, f"--subnet={SUBNET}", "--hosts=3", "--flavour=prepared")
        audit = {"kubeadm_audit_log": True, "kubeadm_audit_rules": [{"level": "Metadata"}]}
        run(*ansible_playbook("-i", str(inventory), "playbooks/cluster.yml", "-e", json.dumps(audit)))
        yield inventory
    finally:
        run(*lab, "down", *named)


@pytest.fixture(scope="session")
def kubeconfig(laboratory: Path | None) -> Path:
    """Credentials of the cluster's administrator."""
    if laboratory is None:
        return Path(os.environ["DTF_TEST_KUBECONFIG"])
    return LabHosts(laboratory).folder / "kubeconfig"


@pytest.fixture(scope="session")
def hosts(laboratory: Path | None) -> LabHosts:
    """The cluster's hosts, which may be disturbed."""
    if laboratory is None:
        pytest.skip("the hosts of a cluster that was given are not ours to disturb")
    return LabHosts(laboratory)


@pytest.fixture(scope="session")
def image(laboratory: Path | None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The trainer's image, in every node's containerd; what it was made of before is not made again."""
    if os.environ.get("DTF_TEST_IMAGE"):
        return os.environ["DTF_TEST_IMAGE"]
    if laboratory is None:
        pytest.skip("DTF_TEST_IMAGE names no image that the cluster has")
    build = {"hosts": "localhost", "connection": "local", "roles": ["dtf.cluster.dataset", "dtf.cluster.trainer_image"]}
    load = {"hosts": "kube_node", "roles": ["dtf.cluster.trainer_image"], "vars": {"trainer_image_state": "loaded"}}
    python = {"ansible_python_interpreter": sys.executable}
    playbook = tmp_path_factory.mktemp("image") / "play.yml"
    plays = [{**build, "gather_facts": False, "vars": python}, {**load, "gather_facts": False}]
    playbook.write_text(yaml.safe_dump(plays), encoding="utf-8")
    given = {"dtf_image": str(IMAGE), "dtf_registry": "", "dtf_bundle": str(ROOT / "build" / "bundle")}
    run(*ansible_playbook("-i", str(laboratory), str(playbook), "-e", json.dumps(given)))
    tagged: str = json.loads(IMAGE.read_text(encoding="utf-8"))["tagged"]
    return tagged


@pytest.fixture(scope="session")
def busybox(laboratory: Path | None) -> str:
    """An image with a shell, on every node."""
    if laboratory is None:
        pytest.skip("the hosts of a cluster that was given are not ours to put anything on")
    bundle_images.load(laboratory, "busybox")
    return bundle_images.reference("busybox")


@pytest.fixture(scope="session")
def audit(laboratory: Path | None) -> Callable[[], list[Document]]:
    """Everything the API server was asked so far by this collection, as it wrote it down."""
    if laboratory is None or os.environ.get("DTF_TEST_LAB"):
        pytest.skip("only the tests' own cluster writes down what it is asked")
    hosts = LabHosts(laboratory)

    # It writes a new file from time to time; the names of the older ones come first.
    files = f"{AUDIT_LOG.rpartition('/')[0]}/*.log"
    search = f"""LC_ALL=C grep -h '"userAgent":"dtf.cluster"' {files} || true"""

    def read() -> list[Document]:
        return [json.loads(line) for line in hosts.run(hosts.control_plane, search).splitlines()]

    return read


class Controller:
    """This machine as the one that Ansible runs on, with one namespace of the cluster for a test's own."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self.cluster = Cluster({"kubeconfig": str(kubeconfig)})
        self._arguments = folder / "arguments.json"

    def module(self, module: str, check: bool = False, **arguments: object) -> Document:
        """Run a module as Ansible does, one process each; a failed one has ``failed`` set."""
        given = {"kubeconfig": str(self.kubeconfig), "runtime": "kubernetes", **arguments}
        # Not every module knows of runtimes.
        given = {name: value for name, value in given.items() if value is not None}
        told = {**given, "_ansible_check_mode": check, "_ansible_diff": True}
        self._arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": told}), encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-m", f"{PACKAGE}.{module}", str(self._arguments)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
        )
        assert ended.stdout, ended.stderr
        result: Document = json.loads(ended.stdout)
        return result

    def kubectl(self, *words: str, documents: list[Document] | None = None) -> str:
        """Run the real thing."""
        given = None if documents is None else yaml.safe_dump_all(documents)
        command = [
            str(ROOT / "build/bundle/bin/kubectl"),
            f"--kubeconfig={self.kubeconfig}",
            "-n",
            self.namespace,
            *words,
        ]
        ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.fixture
def controller(kubeconfig: Path, tmp_path: Path) -> Iterator[Controller]:
    """A controller with a namespace that is there for one test."""
    name = f"dtf-test-{uuid.uuid4().hex[:8]}"
    own = Controller(kubeconfig, name, tmp_path)
    own.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield own
    own.cluster.delete("Namespace", name)
