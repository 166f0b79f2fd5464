"""This machine: the only file of the laboratory that starts processes or asks the kernel.

Everything is done by the programs an administrator would use (docker, ip, apt-get, debootstrap, ssh), found on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import capabilities
from .flavours import Recipe
from .problems import LabProblem

# What a program is in, if the machine does not have it.
_PACKAGES = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "ssh-keygen": "openssh-client",
    "tar": "tar",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CGROUPS = Path("/sys/fs/cgroup")
SETTINGS = Path("/proc/sys")

Say = Callable[[str], None]


class CommandFailed(LabProblem):
    """A program that was to do something for us has failed.

    Attributes:
        code: its exit code.
        output: what it had to say.
    """

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        last = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(f"{' '.join(command)[:200]} ended with {code}: {last or 'it printed nothing'}")
        self.code = code
        self.output = output


def environment() -> dict[str, str]:
    """Return the environment of the programs: the administrator's places on PATH, no translations, no questions."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def run(*command: str, text: str = "") -> str:
    """Run a program, with ``text`` to read, and return what it printed. Raises ``CommandFailed``."""
    try:
        done = subprocess.run(command, env=environment(), input=text, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise LabProblem(f"{command[0]} is not there: install it") from None
    if done.returncode:
        raise CommandFailed(command, done.returncode, done.stdout + done.stderr)
    return done.stdout


def docker(*words: str, text: str = "") -> str:
    """Run docker's client and return what it printed."""
    return run("docker", *words, text=text)


def has(program: str) -> bool:
    """Return whether a program is there."""
    return shutil.which(program, path=environment()["PATH"]) is not None


def is_root() -> bool:
    """Return whether we may change the machine."""
    return os.geteuid() == 0


def install(programs: Sequence[str], say: Say) -> None:
    """Install the packages of those programs that are not there."""
    packages = sorted({_PACKAGES[name] for name in programs if not has(name)})
    if "debootstrap" in programs and not KEYRING.exists():
        packages.append("debian-archive-keyring")
    if not packages:
        return
    if not has("apt-get"):
        raise LabProblem(f"not there, and no apt-get to install them with: {', '.join(packages)}")
    say(f"Installing {' '.join(packages)}")
    # Somebody else may be at it as well.
    apt = ("apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300")
    run(*apt, "update")
    run(*apt, "install", "--yes", "--no-install-recommends", *packages)
    if "docker" in programs and not has("docker"):
        # Newer releases have the client in a package of its own.
        run(*apt, "install", "--yes", "--no-install-recommends", "docker-cli")


def missing_capabilities() -> list[str]:
    """Return the capabilities that root lacks here."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
    return capabilities.missing(Path("/proc/self/status").read_text(encoding="utf-8"), last)


def cgroup_version() -> int:
    """Return 2 if the machine has the unified cgroups alone, else 1."""
    return 2 if (_CGROUPS / "cgroup.controllers").exists() else 1


def routes() -> list[dict[str, Any]]:
    """Return the machine's routes of all tables."""
    found: list[dict[str, Any]] = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all") or "[]")
    return found


def way_out_mtu() -> int:
    """Return the largest packet that leaves by the default route; Ethernet's if there is none."""
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "default") or "[]"):
        if "dev" in route:
            return int(Path(f"/sys/class/net/{route['dev']}/mtu").read_text(encoding="ascii"))
    return 1500


def add_blackhole(cidr: str) -> bool:
    """Make packets to a range go nowhere; return whether they did not already."""
    listed = json.loads(run("ip", "-json", "-4", "route", "show", "type", "blackhole", "exact", cidr) or "[]")
    if listed:
        return False
    run("ip", "route", "add", "blackhole", cidr)
    return True


def remove_blackhole(cidr: str) -> None:
    """Take that back; it may be gone already."""
    if json.loads(run("ip", "-json", "-4", "route", "show", "type", "blackhole", "exact", cidr) or "[]"):
        run("ip", "route", "delete", "blackhole", cidr)


def setting(name: str) -> str:
    """Return a kernel setting of this machine."""
    return (SETTINGS / name.replace(".", "/")).read_text(encoding="ascii").strip()


def set_setting(name: str, value: str) -> bool:
    """Change a kernel setting of this machine; tell whether the machine allows that."""
    try:
        (SETTINGS / name.replace(".", "/")).write_text(value, encoding="ascii")
    except OSError:
        return False
    return True


def engine_answers() -> bool:
    """Return whether a Docker engine answers at DOCKER_HOST or its usual place."""
    if not has("docker"):
        return False
    command = ("docker", "version", "--format", "{{.Server.Version}}")
    done = subprocess.run(command, env=environment(), check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def engine_api() -> tuple[int, ...]:
    """Return the version of the engine's interface."""
    return tuple(int(part) for part in docker("version", "--format", "{{.Server.APIVersion}}").strip().split("."))


def our_engine(pid_file: Path) -> int | None:
    """Return the process id of the engine that we started, if it runs."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    # One that has ended keeps its number until somebody asks for its exit code, and nobody may.
    return pid if name == "dockerd" and _state(pid) != "Z" else None


def start_engine(pid_file: Path, log: Path, *, seconds: float = 60) -> None:
    """Start a Docker engine that outlives us, and wait for its answer."""
    if our_engine(pid_file) is None:
        # Another process has that number by now, and dockerd would think it is one of its kind.
        pid_file.unlink(missing_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            process = subprocess.Popen(
                ["dockerd", "--pidfile", str(pid_file)],
                env=environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
    else:
        process = None
    deadline = time.monotonic() + seconds
    while not engine_answers():
        if process is not None and process.poll() is not None:
            raise LabProblem(f"dockerd ended with {process.returncode}; {log} ends with: {_tail(log)}")
        if time.monotonic() > deadline:
            raise LabProblem(f"no Docker engine answers after {seconds:g} s; {log} ends with: {_tail(log)}")
        time.sleep(0.2)


def stop_engine(pid_file: Path, *, seconds: float = 60) -> None:
    """End the engine that we started, and wait until it has gone."""
    pid = our_engine(pid_file)
    if pid is None:
        pid_file.unlink(missing_ok=True)
        return
    os.kill(pid, 15)
    deadline = time.monotonic() + seconds
    while our_engine(pid_file) == pid:
        if time.monotonic() > deadline:
            raise LabProblem(f"the Docker engine, process {pid}, was told to end and runs after {seconds:g} s")
        time.sleep(0.1)
    pid_file.unlink(missing_ok=True)


def apt_files() -> dict[str, str]:
    """Return the text of apt's source files by path."""
    folder = Path("/etc/apt")
    paths = [folder / "sources.list", *folder.glob("sources.list.d/*.list"), *folder.glob("sources.list.d/*.sources")]
    return {str(path): path.read_text(encoding="utf-8") for path in paths if path.is_file()}


def apt_settings() -> str:
    """Return apt's settings as it tells them; nothing where there is no apt."""
    return run("apt-config", "dump") if has("apt-config") else ""


def architecture() -> str:
    """Return Debian's name of the machine's architecture."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return names.get(os.uname().machine, os.uname().machine)


def certificate_authorities() -> dict[str, str]:
    """Return the certificates that this machine's owner trusts beside the distribution's, by file name."""
    folder = Path("/usr/local/share/ca-certificates")
    paths = sorted(folder.glob("*.crt"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def hosts_file() -> str:
    """Return the names this machine knows by itself."""
    return Path("/etc/hosts").read_text(encoding="utf-8")


def present() -> list[str]:
    """Return what of this machine's a host shares, if it is there."""
    return [path for path in ("/lib/modules", "/dev/kmsg") if Path(path).exists()]


def bootstrap(recipe: Recipe, packages: Path, archive: Path) -> None:
    """Make the files of an image as a tar archive; all or nothing. Only one such call may run at a time."""
    packages.mkdir(parents=True, exist_ok=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    for stale in archive.parent.glob(".build-*"):
        shutil.rmtree(stale)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=archive.parent) as folder:
        root = Path(folder) / "root"
        keyring = ["--keyring", str(KEYRING)] if KEYRING.exists() else []
        # What it mounts in there goes with it however it ends, before the folder is removed.
        apart = ("unshare", "--mount")
        run(
            *(*apart, "debootstrap", "--variant=minbase", f"--arch={recipe.architecture}", f"--cache-dir={packages}"),
            *(*keyring, f"--include={','.join(recipe.packages)}", recipe.suite, str(root)),
            *((recipe.mirror,) if recipe.mirror else ()),
        )
        _furnish(root, recipe)
        partial = Path(folder) / "image.tar"
        run("tar", "--create", "--numeric-owner", "--xattrs", "--file", str(partial), "--directory", str(root), ".")
        partial.replace(archive)


def _furnish(root: Path, recipe: Recipe) -> None:
    """Turn a fresh Debian into one whose every copy becomes a host of its own."""
    if "/etc/apt/sources.list.d/debian.sources" in recipe.files:
        (root / "etc/apt/sources.list").unlink(missing_ok=True)
    for path, content in recipe.files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        target.chmod(0o755 if path in recipe.executable else 0o644)
    run("chroot", str(root), "update-ca-certificates")
    systemctl = ("systemctl", "--root", str(root))
    if not has("systemctl"):
        systemctl = ("chroot", str(root), "systemctl")
    run(*systemctl, "--quiet", "set-default", "multi-user.target")
    for verb, units in (("disable", recipe.disabled), ("mask", recipe.masked), ("enable", recipe.enabled)):
        if units:
            run(*systemctl, "--quiet", verb, *units)
    for pattern in ("etc/ssh/ssh_host_*", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*", "var/log/*.log"):
        for stale in root.glob(pattern):
            stale.unlink()
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("", encoding="ascii")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)


def make_key(path: Path, comment: str) -> str:
    """Make a key pair unless it is there; return the public one."""
    public = path.with_name(path.name + ".pub")
    if not path.exists() or not public.exists():
        path.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    return public.read_text(encoding="ascii").strip()


def ssh(options: Sequence[str], *words: str) -> str:
    """Run ssh and return what it printed."""
    return run("ssh", *options, *words)


def inspect(*names: str) -> list[Mapping[str, Any]]:
    """Return what docker knows of containers."""
    found: list[Mapping[str, Any]] = json.loads(docker("container", "inspect", *names)) if names else []
    return found


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
