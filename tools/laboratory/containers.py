"""How a host is asked of Docker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .spec import Host, LabSpec

LABEL = "dtf.cluster.lab"
HOST_LABEL = "dtf.cluster.host"
# Where a cluster writes most, and where a disk of its own would be: an overlay below an overlay is not allowed either.
DISKS = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd")
FIRST_PROCESS = "/usr/local/sbin/lab-init"
# A host with this one could set the clock of the machine, and of all others with it.
_WITHHELD = ("SYS_TIME",)
_OWN_HARDWARE_ADDRESS = (1, 44)


def network(spec: LabSpec, mtu: int) -> list[str]:
    """Return the arguments of docker that make a lab's network.

    Args:
        spec: the lab.
        mtu: of the machine's way out: what is larger would have to be cut on it.
    """
    return [
        *("network", "create", "--driver", "bridge", "--label", f"{LABEL}={spec.name}"),
        *("--subnet", spec.subnet, "--gateway", spec.gateway),
        *("--opt", f"com.docker.network.driver.mtu={mtu}"),
        spec.name,
    ]


def volume(spec: LabSpec, host: Host, place: str) -> str:
    """Return the name of the volume that is mounted at a place of a host."""
    return f"{spec.container(host)}-{place.rsplit('/', 1)[-1]}"


def run(
    spec: LabSpec,
    host: Host,
    *,
    image: str,
    lacking: Iterable[str],
    known: Mapping[str, str],
    present: Iterable[str],
    api: tuple[int, ...],
) -> list[str]:
    """Return the arguments of docker that make a host.

    Args:
        spec: the lab.
        host: the host.
        image: what it is made from.
        lacking: capabilities this machine's root does not have.
        known: names and addresses that only this machine's /etc/hosts knows.
        present: those of ``/lib/modules`` and ``/dev/kmsg`` that this machine has.
        api: version of the engine's interface.
    """
    dropped = [word for name in sorted({*lacking, *_WITHHELD}) for word in ("--cap-drop", name)]
    disks = [
        word
        for place in DISKS
        for word in (
            "--mount",
            f"type=volume,src={volume(spec, host, place)},dst={place},volume-label={LABEL}={spec.name}",
        )
    ]
    names = [word for name in sorted(known) for word in ("--add-host", f"{name}:{known[name]}")]
    # Older engines make the very same one from the address, and newer clients do not hand it to them.
    hardware = ("--mac-address", host.mac) if api >= _OWN_HARDWARE_ADDRESS else ()
    machine = []
    if "/lib/modules" in present:
        machine += ["--volume", "/lib/modules:/lib/modules:ro"]
    if "/dev/kmsg" in present:
        machine += ["--device", "/dev/kmsg"]
    return [
        *("run", "--detach", "--name", spec.container(host), "--hostname", host.name),
        *("--label", f"{LABEL}={spec.name}", "--label", f"{HOST_LABEL}={host.name}"),
        *("--network", spec.name, "--network-alias", host.name, "--ip", host.address, *hardware),
        *("--memory", spec.memory, *(("--cpus", f"{spec.cpus:g}") if spec.cpus else ())),
        *("--cap-add", "ALL", *dropped),
        *(word for what in ("seccomp", "apparmor", "systempaths") for word in ("--security-opt", f"{what}=unconfined")),
        # A cgroup tree of its own. With the machine's bind-mounted all hosts would share one kubelet.service.
        *("--cgroupns", "private", "--device-cgroup-rule", "a *:* rwm"),
        *("--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock", *disks, *machine, *names),
        *("--env", "container=docker", "--stop-signal", "SIGRTMIN+3", "--restart", "no"),
        *(image, FIRST_PROCESS),
    ]
