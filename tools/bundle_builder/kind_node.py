"""What a node of Kind is made of: a host as the laboratory's, files of ours, and images in containerd's store.

A node begins with what its image has in /var, so nothing is imported when it starts: containerd finds the images in its
store and unpacks each at its first use.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from laboratory.flavours import Recipe
from laboratory.problems import LabProblem
from laboratory.store import Store as LabStore
from laboratory.store import default_folder
from laboratory.workflow import Laboratory

from .oci import Entry
from .problems import CannotBuild

FILES = Path(__file__).with_name("node_files")
STORE = "var/lib/containerd"
FIRST_PROCESS = "/usr/local/sbin/node-start"
# What systemd starts, by what wants it.
_ENABLED = ("containerd.service", "kubelet.service", "node-network.path")
_WANTED = "etc/systemd/system/multi-user.target.wants"
_CONTENT = ("io.containerd.content.v1.content/blobs/**/*", "io.containerd.metadata.v1.bolt/meta.db")
_SECONDS = 60.0


def _laboratory(say: Callable[[str], None]) -> Laboratory:
    return Laboratory(FILES.parents[2], LabStore(default_folder()), say)


def recipe() -> Recipe:
    """Return what decides how the files below a node come out."""
    return _laboratory(print).node_recipe()


def needs() -> None:
    """Refuse, before anything is made, where a node cannot be: other users' files and a containerd are for root."""
    if os.geteuid() != 0:
        raise CannotBuild("kind-node: not root: debootstrap and containerd need it; name the other parts to have those")


def base(say: Callable[[str], None]) -> Path:
    """Return the archive of the files that a node is built on."""
    try:
        return _laboratory(say).node_files()
    except LabProblem as problem:
        raise CannotBuild("\n".join(problem.reasons)) from problem


def texts() -> dict[str, str]:
    """Return the files of ours by path in the image."""
    paths = [path for path in sorted(FILES.rglob("*")) if path.is_file()]
    return {str(path.relative_to(FILES)): path.read_text(encoding="utf-8") for path in paths}


def files(kubernetes: str, pause: str) -> dict[str, Entry]:
    """Return the entries of an image for the files of ours.

    Args:
        kubernetes: the version of the node's programs, without ``v``.
        pause: full name of the image that a pod's sandbox is made of.
    """
    own = {
        path: Entry(0o755 if path.startswith("usr/local/sbin/") else 0o644, text.replace("@PAUSE@", pause).encode())
        for path, text in texts().items()
    }
    links = {f"{_WANTED}/{unit}": Entry(link=f"/etc/systemd/system/{unit}") for unit in _ENABLED}
    return {
        **own,
        **links,
        "kind/version": Entry(0o644, f"v{kubernetes}\n".encode()),
        "etc/kubernetes/manifests": Entry(),
        "var/lib/kubelet": Entry(),
    }


def stored(archives: Iterable[Path], containerd: Path, ctr: Path, scratch: Path) -> dict[str, Entry]:
    """Return the entries of containerd's store that holds some images, not unpacked.

    Args:
        archives: the images.
        containerd: the program.
        ctr: the program that talks to it.
        scratch: folder in which the store is made.
    """
    settings = scratch / "containerd.toml"
    # Only what takes images: nothing that needs a kernel's help, and nothing that a container would need.
    settings.write_text('version = 3\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n', encoding="ascii")
    root, state, socket, log = (scratch / name for name in ("root", "state", "socket", "log"))
    command: list[str | Path] = [containerd, "--config", settings, "--root", root, "--state", state]
    command += ["--address", socket]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as engine:
        try:
            _answering(ctr, socket, engine, log)
            for archive in archives:
                _run([ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", "--no-unpack", archive])
        finally:
            engine.terminate()
    kept = [path for pattern in _CONTENT for path in sorted(root.glob(pattern)) if path.is_file()]
    return {f"{STORE}/{path.relative_to(root)}": Entry(0o644, path) for path in kept}


def _answering(ctr: Path, socket: Path, engine: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while subprocess.run([ctr, "--address", socket, "version"], check=False, capture_output=True).returncode:
        if engine.poll() is not None or time.monotonic() > deadline:
            last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])
            raise CannotBuild(f"containerd does not answer; it said:\n{last}")
        time.sleep(0.2)


def _run(command: list[str | Path]) -> None:
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise CannotBuild(f"{' '.join(map(str, command))} ended with {ended.returncode}:\n{ended.stderr.strip()}")
