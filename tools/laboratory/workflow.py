"""The commands of the laboratory: what is done in which order. What is asked of the machine is in ``machine``."""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import apt_sources, containers, flavours, inventory, machine, store
from .containers import LABEL
from .machine import docker
from .problems import LabProblem, refuse
from .spec import Host, LabSpec, changed, merged, name_problems, overlaps, problems, routes

_FILES = Path(__file__).with_name("files")
# What all hosts of a machine share, with what a dozen of them need: systemd, the kubelet and containerd of each watch
# files. With the usual 128 instances the sixth host's services begin to fail.
ROOM = {"fs.inotify.max_user_instances": 4096, "fs.inotify.max_user_watches": 524288}
# Several hosts start at once, but each start is work for the engine.
_AT_ONCE = 4


@dataclass(frozen=True)
class HostStatus:
    """What is known of a host.

    Attributes:
        host: its name.
        address: its address.
        state: of its container, or ``missing``.
        systemd: ``running``, ``degraded`` …, empty if its container does not run.
        failed_units: those that make it degraded.
    """

    host: str
    address: str
    state: str
    systemd: str = ""
    failed_units: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the host is as it should be."""
        return self.state == "running" and self.systemd == "running"


class Laboratory:
    """Labs on this machine.

    Args:
        checkout: root of the repository.
        kept: what is kept on this machine.
        say: where progress is told.
    """

    def __init__(self, checkout: Path, kept: store.Store, say: machine.Say) -> None:
        self._checkout = checkout
        self._kept = kept
        self._say = say

    def up(self, asked: dict[str, Any]) -> list[HostStatus]:
        """Make a lab, or make one whole again; return how its hosts are."""
        with self._kept.locked():
            return self._up(asked)

    def image(self, flavour: str | None) -> Path:
        """Make the hosts' image ahead of the first lab, or find it made; return its file."""
        chosen = flavour or LabSpec().flavour
        refuse([*problems(LabSpec(flavour=chosen)), *self._not_root()])
        with self._kept.locked():
            return self._archive(self._recipe(chosen))

    def node_recipe(self) -> flavours.Recipe:
        """Return how the files are made that a node in a container is built on."""
        sources = apt_sources.archives(apt_sources.parse(machine.apt_files()), flavours.SUITE)
        return flavours.node(architecture=machine.architecture(), mirror=sources[0].uri if sources else "")

    def node_files(self) -> Path:
        """Make the files that a node in a container is built on, or find them made; return their archive."""
        refuse(self._not_root())
        with self._kept.locked():
            return self._archive(self.node_recipe())

    def add(self, name: str, folder: str | None) -> list[HostStatus]:
        """Give a lab one worker more; a folder that is given has to be that of the lab's inventory."""
        with self._kept.locked():
            spec = self._existing(name)
            return self._up({"name": name, "hosts": spec.hosts + 1, "inventory": folder})

    def stop(self, name: str, wanted: str) -> list[HostStatus]:
        """Shut a host down, as its own ``poweroff`` would."""
        with self._kept.locked():
            spec, host = self._host(name, wanted)
            self._start_engine()
            self._hang_up(spec, [host])
            docker("stop", "-t", "30", spec.container(host))
            return self._statuses(spec)

    def start(self, name: str, wanted: str) -> list[HostStatus]:
        """Start a host that was stopped."""
        with self._kept.locked():
            spec, host = self._host(name, wanted)
            self._start_engine()
            docker("start", spec.container(host))
            self._hang_up(spec, [host])
            self._settle(spec, [host])
            return self._statuses(spec)

    def status(self, name: str) -> list[HostStatus]:
        """Return how a lab's hosts are; changes nothing."""
        spec = self._existing(name)
        if not machine.engine_answers():
            return [HostStatus(host.name, host.address, "no engine") for host in spec.members()]
        return self._statuses(spec)

    def down(self, name: str, folder: str | None) -> None:
        """Remove a lab, and with the last one what all labs share. It does not matter how much of it is left."""
        with self._kept.locked():
            spec = self._kept.spec(name)
            # An engine of ours that has died still has the lab on its disk.
            if not machine.engine_answers() and spec is not None:
                self._start_engine()
            if machine.engine_answers():
                if spec is not None:
                    self._hang_up(spec, spec.members())
                self._remove(name)
            self._kept.forget(name)
            if spec is None and folder is None and name == LabSpec().name:
                folder = LabSpec().inventory
            for chosen in {folder, spec.inventory if spec else None} - {None, *self._inventories()}:
                store.remove_inventory(self._checkout / str(chosen))
            self._clear_machine()
            self._say(f"Lab {name} is gone")

    def _up(self, asked: dict[str, Any]) -> list[HostStatus]:
        began = time.monotonic()
        spec = self._accepted(asked)
        self._start_engine()
        image = self._image(spec.flavour)
        self._separate(spec)
        self._make_room()
        self._kept.keep(spec)
        self._network(spec)
        self._start_missing(spec, image)
        members = spec.members()
        self._settle(spec, members)
        self._write_inventory(spec)
        found = self._statuses(spec)
        self._say(f"Lab {spec.name}: {len(members)} hosts in {time.monotonic() - began:.0f} s")
        return found

    def _accepted(self, asked: dict[str, Any]) -> LabSpec:
        """Return the spec of a lab that can be made here, or say all that is against it."""
        name = asked.get("name") or LabSpec().name
        stored = None if name_problems(name) else self._kept.spec(name)
        spec = merged(asked, stored)
        if asked.get("hosts") and asked["hosts"] < spec.hosts:
            self._say(f"Lab {name} keeps its {spec.hosts} hosts: a lab only grows")
        found = problems(spec)
        if stored is not None:
            found += changed(spec, stored)
        found += self._not_root()
        found += self._taken(spec)
        if not found:
            machine.install(["ip", "ssh-keygen", "tar"], self._say)
        if machine.has("ip"):
            found += overlaps(spec, routes(machine.routes()), exists=stored is not None)
        refuse(found)
        return spec

    def _not_root(self) -> list[str]:
        if machine.is_root():
            return []
        return [f"user: not root but uid {os.getuid()}: routes, debootstrap and the Docker engine need root"]

    def _inventories(self) -> list[str]:
        """Return the inventories of the labs that are here."""
        return [spec.inventory for name in self._kept.labs() if (spec := self._kept.spec(name))]

    def _taken(self, spec: LabSpec) -> list[str]:
        """Return how another lab is in the way."""
        folder = (self._checkout / spec.inventory).resolve()
        others = [other for name in self._kept.labs() if name != spec.name and (other := self._kept.spec(name))]
        return [
            f"--inventory: {spec.inventory} is lab {other.name}'s: choose another folder"
            for other in others
            if (self._checkout / other.inventory).resolve() == folder
        ]

    def _start_engine(self) -> None:
        if machine.engine_answers():
            return
        if os.environ.get("DOCKER_HOST"):
            raise LabProblem(
                f"DOCKER_HOST: no Docker engine answers at {os.environ['DOCKER_HOST']}: unset it to have one started"
            )
        machine.install(["docker", "dockerd", "iptables"], self._say)
        if machine.engine_answers():
            return
        self._say(f"Starting a Docker engine; its log is {self._kept.engine_log}")
        machine.start_engine(self._kept.engine_pid, self._kept.engine_log)

    def _recipe(self, flavour: str) -> flavours.Recipe:
        """Return how the hosts' image is made on this machine."""
        sources = apt_sources.archives(apt_sources.parse(machine.apt_files()), flavours.SUITE)
        lines = apt_sources.settings(machine.apt_settings(), os.environ)
        return flavours.recipe(
            flavour,
            architecture=machine.architecture(),
            mirror=sources[0].uri if sources else "",
            sources=apt_sources.render(sources),
            settings="".join(f"{line}\n" for line in lines),
            authorities=machine.certificate_authorities(),
            files={
                f"/{path.relative_to(_FILES)}": path.read_text(encoding="utf-8")
                for path in sorted(_FILES.rglob("*"))
                if path.is_file()
            },
        )

    def _archive(self, recipe: flavours.Recipe) -> Path:
        """Return the file of an image, which is made if it was never made or has changed since."""
        archive = self._kept.images / f"{recipe.tag}.tar"
        if not archive.exists():
            machine.install(["debootstrap", "tar"], self._say)
            self._say(f"Making the hosts' image ({recipe.flavour}); this takes a minute or two, once")
            machine.bootstrap(recipe, self._kept.packages, archive)
            for older in self._kept.images.glob(f"{recipe.flavour}-*.tar"):
                if older != archive:
                    older.unlink()
        return archive

    def _image(self, flavour: str) -> str:
        """Return the name of the hosts' image, which the engine has from now on."""
        recipe = self._recipe(flavour)
        if docker("image", "ls", "--quiet", recipe.reference).strip():
            return recipe.reference
        archive = self._archive(recipe)
        self._say(f"Giving the hosts' image ({flavour}) to the Docker engine")
        docker("import", str(archive), recipe.reference)
        repository = recipe.reference.partition(":")[0]
        for tag in docker("image", "ls", "--format", "{{.Tag}}", repository).split():
            if tag.startswith(f"{flavour}-") and tag != recipe.tag:
                # One that hosts still run on stays as long as they do.
                with contextlib.suppress(machine.CommandFailed):
                    docker("image", "rm", f"{repository}:{tag}")
        return recipe.reference

    def _separate(self, spec: LabSpec) -> None:
        """Keep what pods send to each other from leaving the machine by its own routes."""
        kept = self._kept.blackholes()
        for cidr in (spec.pod_cidr, spec.service_cidr):
            if machine.add_blackhole(cidr) and cidr not in kept:
                kept.append(cidr)
                self._kept.keep_blackholes(kept)

    def _make_room(self) -> None:
        """Let the hosts have what they share: to the kernel all of their services are of one user."""
        former = self._kept.settings()
        for name, least in ROOM.items():
            now = machine.setting(name)
            if int(now) >= least or not machine.set_setting(name, str(least)):
                continue
            former.setdefault(name, now)
            self._kept.keep_settings(former)

    def _network(self, spec: LabSpec) -> None:
        if spec.name not in self._names("network", spec.name):
            docker(*containers.network(spec, machine.way_out_mtu()))

    def _start_missing(self, spec: LabSpec, image: str) -> None:
        states = self._states(spec.name)
        lacking = machine.missing_capabilities()
        api = machine.engine_api()
        sources = apt_sources.parse(machine.apt_files())
        lines = apt_sources.settings(machine.apt_settings(), os.environ)
        known = apt_sources.known_hosts(machine.hosts_file(), apt_sources.remote_names(sources, lines))

        def start(host: Host) -> None:
            name = spec.container(host)
            state = states.get(name, "missing")
            if state == "running":
                return
            if state not in {"missing", "created", "dead"}:
                docker("unpause" if state == "paused" else "start", name)
                return
            # Its disks go with a host: a new one begins empty.
            self._remove_host(spec, host)
            arguments = containers.run(
                spec, host, image=image, lacking=lacking, known=known, present=machine.present(), api=api
            )
            docker(*arguments)

        waiting = [host for host in spec.members() if states.get(spec.container(host)) != "running"]
        if waiting:
            self._say(f"Starting {', '.join(host.name for host in waiting)}")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(start, waiting))
        # A connection that was kept open led to a host before its end.
        self._hang_up(spec, waiting)

    def _settle(self, spec: LabSpec, hosts: list[Host]) -> None:
        """Wait until hosts have booted, and see to it that they let us in and we know them."""
        public = machine.make_key(self._kept.key(spec.name), f"lab {spec.name}")

        def settle(host: Host) -> str:
            name = spec.container(host)
            _wait_for_boot(name)
            script = (
                'install -d -m 700 /root/.ssh && grep -qxF "$1" /root/.ssh/authorized_keys 2>/dev/null || '
                '{ echo "$1" >>/root/.ssh/authorized_keys; }; chmod 600 /root/.ssh/authorized_keys; '
                "cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub"
            )
            return docker("exec", name, "sh", "-c", script, "sh", public).strip()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            keys = dict(zip(hosts, pool.map(settle, hosts), strict=True))
        known = self._kept.lab(spec.name) / "known_hosts"
        before = known.read_text(encoding="ascii").splitlines() if known.exists() else []
        addresses = {host.address for host in hosts}
        others = [line for line in before if line.split()[0] not in addresses]
        new = [f"{host.address} {key}" for host, key in keys.items()]
        store.write(known, "".join(f"{line}\n" for line in [*others, *new]))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda host: machine.ssh(self._ssh_options(spec), f"root@{host.address}", "true"), hosts))

    def _write_inventory(self, spec: LabSpec) -> None:
        variables = inventory.machine_variables(machine.cgroup_version(), machine.missing_capabilities())
        document = inventory.document(
            spec,
            spec.members(),
            checkout=str(self._checkout),
            folder=str(self._kept.lab(spec.name)),
            machine=variables,
        )
        settings = self._checkout / LabSpec().inventory / "group_vars"
        store.write_inventory(self._checkout / spec.inventory, inventory.HEADER, document, settings)

    def _statuses(self, spec: LabSpec) -> list[HostStatus]:
        states = self._states(spec.name)

        def status(host: Host) -> HostStatus:
            state = states.get(spec.container(host), "missing")
            if state != "running":
                return HostStatus(host.name, host.address, state)
            systemd = _systemd(spec.container(host))
            failed = _failed_units(spec.container(host)) if systemd == "degraded" else ()
            return HostStatus(host.name, host.address, state, systemd, failed)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(status, spec.members()))

    def _existing(self, name: str) -> LabSpec:
        spec = self._kept.spec(name)
        if spec is None:
            there = ", ".join(self._kept.labs()) or "none"
            raise LabProblem(f"--name: there is no lab {name} here; there is: {there}")
        return spec

    def _host(self, name: str, wanted: str) -> tuple[LabSpec, Host]:
        spec = self._existing(name)
        host = spec.member(wanted)
        if host is None:
            there = ", ".join(member.name for member in spec.members())
            raise LabProblem(f"HOST: lab {name} has no host {wanted}; it has {there}")
        return spec, host

    def _states(self, name: str) -> dict[str, str]:
        """Return the state of each of a lab's containers, by their names."""
        listed = docker(
            "container", "ls", "--all", "--filter", f"label={LABEL}={name}", "--format", "{{.Names}} {{.State}}"
        )
        return {words[0]: words[1] for line in listed.splitlines() if (words := line.split())}

    def _names(self, kind: str, name: str) -> list[str]:
        """Return the names of a lab's networks or volumes."""
        return docker(kind, "ls", "--filter", f"label={LABEL}={name}", "--format", "{{.Name}}").split()

    def _remove_host(self, spec: LabSpec, host: Host) -> None:
        name = spec.container(host)
        if name in self._states(spec.name):
            docker("container", "rm", "--force", "--volumes", name)
        stale = {containers.volume(spec, host, place) for place in containers.DISKS} & set(
            self._names("volume", spec.name)
        )
        if stale:
            docker("volume", "rm", *sorted(stale))

    def _remove(self, name: str) -> None:
        """Remove what docker has of a lab."""
        if hosts := list(self._states(name)):
            docker("container", "rm", "--force", "--volumes", *hosts)
        if volumes := self._names("volume", name):
            docker("volume", "rm", *volumes)
        if networks := self._names("network", name):
            docker("network", "rm", *networks)

    def _clear_machine(self) -> None:
        """After the last lab, undo what we did for all of them."""
        if self._kept.labs():
            return
        answers = machine.engine_answers()
        # Somebody else's labs, kept in another folder, are as much in need of it.
        if answers and docker("container", "ls", "--all", "--quiet", "--filter", f"label={LABEL}"):
            return
        for cidr in self._kept.blackholes():
            machine.remove_blackhole(cidr)
        self._kept.keep_blackholes([])
        for name, before in self._kept.settings().items():
            machine.set_setting(name, before)
        self._kept.keep_settings({})
        if not answers or machine.our_engine(self._kept.engine_pid) is None:
            return
        if busy := docker("container", "ls", "--format", "{{.Names}}").split():
            self._say(f"The Docker engine stays, it runs {', '.join(busy)}")
            return
        machine.stop_engine(self._kept.engine_pid)

    def _ssh_options(self, spec: LabSpec) -> list[str]:
        return inventory.ssh_options(str(self._kept.lab(spec.name)))

    def _hang_up(self, spec: LabSpec, hosts: list[Host]) -> None:
        """End the connections that ssh keeps open."""
        for host in hosts:
            if not (self._kept.lab(spec.name) / host.address).exists():
                continue
            # One that has ended by itself in this moment is as good.
            with contextlib.suppress(machine.CommandFailed):
                machine.ssh([*self._ssh_options(spec), "-O", "exit"], f"root@{host.address}")


def _wait_for_boot(name: str, seconds: float = 90) -> None:
    """Wait until systemd has started everything, or has failed to."""
    deadline = time.monotonic() + seconds
    while True:
        (found,) = machine.inspect(name)
        if not found["State"]["Running"]:
            last = docker("logs", "--tail", "20", name)
            raise LabProblem(f"{name} ended with {found['State']['ExitCode']} when it booted: {last}")
        seen = _systemd(name)
        if seen in {"running", "degraded"}:
            return
        if time.monotonic() > deadline:
            raise LabProblem(f"{name} has not booted after {seconds:g} s: systemd says {seen}")
        time.sleep(0.2)


def _systemd(name: str) -> str:
    """Return systemd's own word for how a host is."""
    try:
        return docker("exec", name, "systemctl", "is-system-running").strip()
    except machine.CommandFailed as error:
        # Anything but "running" is also an exit code; before there is a bus, it is a sentence.
        words = error.output.strip().split()
        return words[0] if len(words) == 1 else "starting"


def _failed_units(name: str) -> tuple[str, ...]:
    listed = docker("exec", name, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
    return tuple(line.split()[0] for line in listed.splitlines())
