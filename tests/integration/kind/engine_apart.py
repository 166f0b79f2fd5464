"""A Docker engine in namespaces of its own: nobody else's is touched, and with it ends all that it has started.

    python -m tests.integration.kind.engine_apart FOLDER

keeps one for trying things, and says how to get in.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from laboratory import machine

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


class CannotBeApart(Exception):
    """This machine does not let us."""


class EngineApart:
    """An engine with a network, processes and mounts of its own, that keeps what it has in one folder.

    Args:
        folder: an empty folder, whose path is short enough for a socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self._cgroup = f"dtf-kind-{os.getpid()}"
        machine.install(["docker", "dockerd", "iptables", "ip"], print)
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._process = subprocess.Popen([*words, sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._process.wait()
            raise CannotBeApart("this machine does not allow namespaces")
        pid = self._process.pid
        self._first = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0]
        try:
            self._start()
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

    def _start(self) -> None:
        for words in (["ip", "link", "set", "lo", "up"], ["mount", "-t", "tmpfs", "tmpfs", "/run"]):
            done = self.run(words)
            if done.returncode:
                raise CannotBeApart(done.stderr)
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

    def _settings(self) -> dict[str, object]:
        found: dict[str, object] = {
            "hosts": [self.host],
            "data-root": str(self.folder / "data"),
            "exec-root": "/run/docker",
            "pidfile": "/run/docker.pid",
            "cgroup-parent": f"/{self._cgroup}",
        }
        lacking = machine.missing_capabilities()
        if lacking:
            runtime = self.folder / "runc-eased"
            shutil.copyfile(RUNTIME, runtime)
            runtime.chmod(0o755)
            refused = json.dumps([f"CAP_{name}" for name in lacking])
            (self.folder / "refused.json").write_text(refused, encoding="ascii")
            found |= {"runtimes": {"eased": {"path": str(runtime)}}, "default-runtime": "eased"}
        return found

    def end(self) -> None:
        """End it with all that runs in it, and remove what it kept."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        # One tree, or one for each controller.
        for place in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
            root = place / self._cgroup
            for group in sorted([root, *root.glob("**/")], key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    group.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)


def main() -> None:
    """Keep an engine until it is interrupted."""
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine = EngineApart(folder)
    try:
        print(f"DOCKER_HOST={engine.host}", *engine.enter(), flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        engine.end()


if __name__ == "__main__":
    main()
