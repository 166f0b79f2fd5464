"""A Docker engine in namespaces of its own: nobody else's is touched, and with it ends all that it has started.

    python tools/engine_apart.py up FOLDER [--link 172.30.34.0/30]
    python tools/engine_apart.py down FOLDER

`up` keeps one in a process of its own until `down`, and prints what a user of it needs: where it answers, the words
that bring a command into its namespaces, and the kubelet's settings on this machine. With a link this machine has the
first address of the range and the engine's network the second, at which the ports answer that its containers publish;
without one nobody outside reaches them. There is no way out in either case.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from laboratory import machine
from laboratory.inventory import machine_variables
from laboratory.problems import LabProblem

RUNTIME = Path(__file__).with_name("eased_runc.py")
SECONDS = 60.0
# The first process of the namespaces: it only waits, and lets those who have lost their parents go.
HOLD = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""
#: In the folder: what `up` prints, which is there as long as the engine is.
TOLD = "engine.json"


class CannotBeApart(LabProblem):
    """This machine does not let us."""


class EngineApart:
    """An engine with a network, processes and mounts of its own, that keeps what it has in one folder.

    Args:
        folder: an empty folder, whose path is short enough for a socket.
        link: a range of four addresses that joins its network with this machine's; none unless given.
    """

    #: What has to be on this machine.
    PROGRAMS: tuple[str, ...] = ("docker", "dockerd", "iptables", "ip")

    def __init__(self, folder: Path, link: str = "") -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self._cgroup = f"dtf-kind-{os.getpid()}"
        machine.install(list(self.PROGRAMS), print)
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._process = subprocess.Popen([*words, sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.wait()
            raise CannotBeApart("this machine does not allow namespaces")
        pid = self._process.pid
        self._first = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0]
        try:
            self._start(link)
        except BaseException:
            self.end()
            raise

    def enter(self) -> list[str]:
        """Return the words that bring a command in there."""
        return ["nsenter", "--target", self._first, "--net", "--mount", "--pid", f"--wdns={Path.cwd()}", "--"]

    @property
    def host(self) -> str:
        """Where it answers."""
        return f"unix://{self.socket}"

    def run(
        self, words: Sequence[str], environment: Mapping[str, str] | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in there."""
        return subprocess.run(
            [*self.enter(), *words],
            env={**machine.environment(), **(environment or {}), "DOCKER_HOST": self.host},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def docker(self, *words: str) -> str:
        """Run docker's client and return what it printed."""
        done = self.run(["docker", *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def told(self) -> dict[str, Any]:
        """Return what its users need to know."""
        known = machine_variables(machine.cgroup_version(), machine.missing_capabilities())
        return {
            "docker_host": self.host,
            "enter": self.enter(),
            "kubelet_configuration": known["dtf_lab_kubelet_configuration"],
        }

    def _start(self, link: str) -> None:
        for words in (["ip", "link", "set", "lo", "up"], ["mount", "-t", "tmpfs", "tmpfs", "/run"]):
            done = self.run(words)
            if done.returncode:
                raise CannotBeApart(done.stderr)
        if link:
            self._join(ipaddress.IPv4Network(link))
        self._serve()

    def _serve(self) -> None:
        """Start what answers, and wait until it does."""
        settings = self.folder / "daemon.json"
        settings.write_text(json.dumps(self._settings()), encoding="ascii")
        log = self.folder / "dockerd.log"
        with log.open("wb") as stream:
            subprocess.Popen(
                [*self.enter(), "dockerd", "--config-file", str(settings)],
                env=machine.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS
        while self.run(["docker", "version"]).returncode:
            if time.monotonic() > deadline:
                raise CannotBeApart(log.read_text(encoding="utf-8", errors="replace")[-2000:])
            time.sleep(0.2)

    def _join(self, link: ipaddress.IPv4Network) -> None:
        """Join both networks; the pair of interfaces goes when the engine's network does."""
        taken = machine.run("ip", "-4", "route", "show", "root", str(link)).strip()
        if taken:
            raise CannotBeApart(f"--link {link}: this machine has a way there already: {taken}")
        here, there = (f"{address}/{link.prefixlen}" for address in list(link.hosts())[:2])
        name = f"apart{self._first}"
        machine.run("ip", "link", "add", name, "type", "veth", "peer", "name", "apart", "netns", self._first)
        machine.run("ip", "address", "add", here, "dev", name)
        machine.run("ip", "link", "set", name, "up")
        machine.run(*self.enter(), "ip", "address", "add", there, "dev", "apart")
        machine.run(*self.enter(), "ip", "link", "set", "apart", "up")

    def _settings(self) -> dict[str, object]:
        found: dict[str, object] = {
            "hosts": [self.host],
            "data-root": str(self.folder / "data"),
            "exec-root": "/run/docker",
            "pidfile": "/run/docker.pid",
            "cgroup-parent": f"/{self._cgroup}",
        }
        runtime = self._runtime()
        if runtime:
            found |= {"runtimes": {"eased": {"path": runtime}}, "default-runtime": "eased"}
        return found

    def _runtime(self) -> str:
        """Return the path of the runtime that asks for less; empty where root may do everything."""
        lacking = machine.missing_capabilities()
        if not lacking:
            return ""
        runtime = self.folder / "runc-eased"
        shutil.copyfile(RUNTIME, runtime)
        runtime.chmod(0o755)
        refused = json.dumps([f"CAP_{name}" for name in lacking])
        (self.folder / "refused.json").write_text(refused, encoding="ascii")
        return str(runtime)

    def end(self) -> None:
        """End it with all that runs in it, and remove what it kept."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + SECONDS
        # What was killed takes a while to be gone.
        while not self._clear_cgroup() and time.monotonic() < deadline:
            time.sleep(0.1)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear_cgroup(self) -> bool:
        """Remove the control groups in which nothing runs any more; return whether none is left."""
        # One tree, or one for each controller.
        roots = [place / self._cgroup for place in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/"))]
        for root in roots:
            for group in sorted([root, *root.glob("**/")], key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    group.rmdir()
        return not any(root.exists() for root in roots)


class PodmanApart(EngineApart):
    """Podman, which this machine does not have to have: it is installed over its files, for those in there alone."""

    PROGRAMS = ("iptables", "ip")
    PACKAGES = ("podman", "netavark", "aardvark-dns", "catatonit", "runc")

    def _serve(self) -> None:
        # Where podman puts its containers, whoever starts it.
        self._cgroup = "libpod_parent"
        if any(Path("/sys/fs/cgroup").glob(f"*/{self._cgroup}")):
            raise CannotBeApart("podman has containers on this machine already, and would have ours among them")
        for name in ("usr", "etc", "var"):
            above, work = self.folder / "above" / name, self.folder / "work" / name
            above.mkdir(parents=True)
            work.mkdir(parents=True)
            layers = f"lowerdir=/{name},upperdir={above},workdir={work}"
            self._must("mount", "-t", "overlay", "overlay", "-o", layers, f"/{name}")
        # The way to packages is this machine's own network.
        outside = [word for word in self.enter() if word != "--net"]
        apt = [*outside, "apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300"]
        if not machine.has("podman"):
            # Nothing is started by a package.
            self._write("/usr/sbin/policy-rc.d", ["#!/bin/sh", "exit 101"])
            machine.run(*apt, "update")
            machine.run(*apt, "install", "--yes", "--no-install-recommends", *self.PACKAGES)
        runtime = self._runtime()
        settings = ["[engine]", 'cgroup_manager = "cgroupfs"', 'events_logger = "file"']
        if runtime:
            settings += ['runtime = "eased"', "[engine.runtimes]", f'eased = ["{runtime}"]']
        storage = ["[storage]", 'driver = "overlay"', f'graphroot = "{self.folder / "data"}"']
        files = {
            "containers.conf": settings,
            "storage.conf": [*storage, 'runroot = "/run/containers/storage"'],
            "policy.json": [json.dumps({"default": [{"type": "insecureAcceptAnything"}]})],
        }
        for name, lines in files.items():
            self._write(f"/etc/containers/{name}", lines)
        self._must("podman", "info")

    def _write(self, path: str, lines: Sequence[str]) -> None:
        script = 'mkdir -p "${0%/*}" && cat >"$0" && chmod 755 "$0"'
        self._must("sh", "-c", script, path, text="\n".join([*lines, ""]))

    def _must(self, *words: str, text: str = "") -> None:
        done = subprocess.run(
            [*self.enter(), *words], env=machine.environment(), input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CannotBeApart(f"{' '.join(words)[:200]}: {done.stderr.strip()}")


def keep(folder: Path, link: str) -> None:
    """Keep an engine until we are told to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine = EngineApart(folder, link)
    try:
        # It is read as soon as it is there.
        scratch = folder / f".{TOLD}"
        scratch.write_text(json.dumps({**engine.told(), "keeper": os.getpid()}, indent=2) + "\n", encoding="utf-8")
        scratch.rename(folder / TOLD)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        engine.end()


def up(folder: Path, link: str) -> None:
    """Have an engine in a process of its own, and say what its users need to know."""
    told = folder / TOLD
    if keeper(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        log = folder / "keeper.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), "keep", str(folder), "--link", link],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            # What it had to say is gone with its folder.
            said = log.open(encoding="utf-8")
        with said:
            while not told.exists():
                if process.poll() is not None:
                    raise LabProblem(f"the engine did not start: {said.read()[-2000:]}")
                time.sleep(0.1)
    print(told.read_text(encoding="utf-8"), end="")


def down(folder: Path, seconds: float = 60) -> None:
    """End the engine of a folder, and wait until it has gone."""
    pid = keeper(folder)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while keeper(folder) is not None:
        if time.monotonic() > deadline:
            raise LabProblem(f"the engine's keeper, process {pid}, was told to end and runs after {seconds:g} s")
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def keeper(folder: Path) -> int | None:
    """Return the process that keeps the engine of a folder, if it runs."""
    try:
        pid = int(json.loads((folder / TOLD).read_text(encoding="utf-8"))["keeper"])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError, KeyError):
        return None
    return pid if str(folder).encode() in words else None


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description="A Docker engine in namespaces of its own.")
    parser.add_argument("command", choices=("up", "keep", "down"))
    parser.add_argument("folder", type=Path, help="of all that it has; what is in there goes")
    parser.add_argument("--link", default="", help="four addresses that join its network with this machine's")
    given = parser.parse_args()
    folder = given.folder.resolve()
    try:
        if given.command == "down":
            down(folder)
        else:
            {"up": up, "keep": keep}[given.command](folder, given.link)
    except LabProblem as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
