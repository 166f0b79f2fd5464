# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's GPUs are, what drives them and what is in the way, from what was read of it.

Everything here is a function of texts; `gpu_view.py` reads them. A problem says what was seen and what to do next.

This module util is private to the collection and imports the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from . import nvidia_smi
from .nvidia_smi import Answer, Gpu

NVIDIA = 0x10DE
#: PCI classes of what computes or draws, and of the switch that connects such cards on a board.
_DISPLAY = (0x0300, 0x0302, 0x0380)
_BRIDGE = 0x0680
#: Drivers that keep a card of a hypervisor for one of its guests.
_KEPT_FOR_GUESTS = ("vfio-pci", "pci-stub", "xen-pciback")
_VENDOR_SPECIFIC = 0x09

_MODULE = re.compile(r"NVRM version:.*?Kernel Module(?: for \S+)?\s+(?P<version>[0-9]+(?:\.[0-9]+)+)")
_LIBRARY = re.compile(r"libnvidia-ml\.so\.([0-9]+(?:\.[0-9]+)+)$")
_TOOLKIT = re.compile(r"version\s+v?([0-9]+(?:\.[0-9]+)+)")
_BY_FILE = re.compile(r"^\s*(blacklist\s+nouveau|install\s+nouveau\s+/bin/(true|false))\s*$", re.MULTILINE)
_BY_LINE = re.compile(r"\b(nouveau\.modeset=0|(modprobe\.|module_)blacklist=\S*\bnouveau\b)")
_MAKERS = {
    "microsoft corporation": "hyper-v",
    "qemu": "kvm",
    "red hat": "kvm",
    "vmware, inc.": "vmware",
    "xen": "xen",
    "google": "google",
    "amazon ec2": "amazon",
}


@dataclass(frozen=True)
class PciDevice:
    """A device as ``/sys/bus/pci/devices`` has it.

    Attributes:
        address: ``0000:01:00.0``.
        vendor: number of its maker.
        device: number that the maker gave it.
        subsystem: vendor and device of the board, as ``10de:1537``.
        category: class and subclass.
        driver: kernel driver that is bound to it; empty for none.
        path: where it hangs, which tells a Hyper-V bus.
        config: its configuration space, as far as it was readable.
    """

    address: str
    vendor: int
    device: int
    subsystem: str
    category: int
    driver: str
    path: str
    config: bytes = b""


@dataclass(frozen=True)
class Seen:
    """All that was read of a host; a text that is not there is empty.

    Attributes:
        pci: its devices.
        modules: ``/proc/modules``.
        driver: ``/proc/driver/nvidia/version``.
        installed: version of the kernel module on disk, as modinfo tells it.
        libraries: names of files called ``libnvidia-ml.so*``.
        smi: what ``nvidia-smi -q -x`` answered; ``None`` without that program.
        efi: whether the firmware is EFI.
        secure_boot: the EFI variable of that name, its four bytes of attributes included.
        shim_off: shim's variable that says it checks nothing.
        lockdown: ``/sys/kernel/security/lockdown``.
        sig_enforce: ``/sys/module/module/parameters/sig_enforce``.
        maker: the machine's maker.
        cpuinfo: ``/proc/cpuinfo``.
        dxg: whether Hyper-V's shared GPU device is there.
        container: whether this host is a container.
        kernel: release of the running kernel.
        headers: whether what modules are built against is there for it.
        modprobe: texts of the modprobe configuration.
        command_line: of the kernel.
        runfile: whether NVIDIA's own installer was used.
        operator: whether the GPU operator's driver container drives the cards.
        ours: whether the collection installed the driver.
        packages: installed packages with NVIDIA's name, with their versions.
        toolkit: what ``nvidia-ctk --version`` prints.
        cdi: specifications of CDI devices.
        fabric_manager: whether that program is there.
    """

    pci: tuple[PciDevice, ...] = ()
    modules: str = ""
    driver: str = ""
    installed: str = ""
    libraries: tuple[str, ...] = ()
    smi: Answer | None = None
    efi: bool = False
    secure_boot: bytes = b""
    shim_off: bytes = b""
    lockdown: str = ""
    sig_enforce: str = ""
    maker: str = ""
    cpuinfo: str = ""
    dxg: bool = False
    container: bool = False
    kernel: str = ""
    headers: bool = False
    modprobe: str = ""
    command_line: str = ""
    runfile: bool = False
    operator: bool = False
    ours: bool = False
    packages: dict[str, str] = field(default_factory=dict)
    toolkit: str = ""
    cdi: tuple[str, ...] = ()
    fabric_manager: bool = False


@dataclass(frozen=True)
class Card:
    """One GPU.

    Attributes:
        address: where it is.
        device: vendor and device, as ``10de:20b0``.
        subsystem: of the board.
        bound_to: kernel driver.
        virtual: ``no``, ``pass_through`` (a whole card in a guest) or ``vgpu`` (a share of one).
        gpu: what the driver says of it; ``None`` while none does.
    """

    address: str
    device: str
    subsystem: str
    bound_to: str
    virtual: str
    gpu: Gpu | None = None


@dataclass(frozen=True)
class Driver:
    """What drives the cards.

    Attributes:
        state: ``none``, ``installed`` (on disk), ``loaded`` (in the kernel), ``mismatched`` (kernel and libraries are
            of two versions) or ``working``.
        origin: ``collection``, ``package``, ``runfile``, ``operator``, or empty for none.
        loaded: version in the kernel.
        installed: version on disk.
        libraries: version of the libraries.
        flavour: ``open`` or ``proprietary``; empty while it is not loaded.
        cuda: newest CUDA that it serves.
    """

    state: str = "none"
    origin: str = ""
    loaded: str = ""
    installed: str = ""
    libraries: str = ""
    flavour: str = ""
    cuda: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that is in the way.

    Attributes:
        code: short stable word.
        blocks: whether training on the cards cannot work as long as it is so.
        message: what was seen.
        next: what to do.
    """

    code: str
    blocks: bool
    message: str
    next: str


@dataclass(frozen=True)
class Picture:
    """A host, as far as GPUs go.

    Attributes:
        cards: its GPUs that are its own to use.
        kept_for_guests: addresses of cards that this host, a hypervisor, keeps for its guests.
        switches: how many NVSwitches are there.
        driver: what drives them.
        toolkit: version of the container toolkit; empty for none.
        cdi: files with CDI devices.
        secure_boot: ``on``, ``off``, or ``none`` on a machine without EFI.
        signed_only: whether the kernel takes signed modules only.
        nouveau: ``loaded``, ``possible``, or ``blacklisted``.
        hypervisor: name of what this guest runs on; empty on bare metal.
        container: whether it is a container, whose kernel is another machine's.
        kernel: release.
        headers: whether modules can be built for it.
        packages: NVIDIA's packages with their versions.
        problems: what is in the way.
    """

    cards: tuple[Card, ...]
    kept_for_guests: tuple[str, ...]
    switches: int
    driver: Driver
    toolkit: str
    cdi: tuple[str, ...]
    secure_boot: str
    signed_only: bool
    nouveau: str
    hypervisor: str
    container: bool
    kernel: str
    headers: bool
    packages: dict[str, str]
    problems: tuple[Finding, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return it as a fact."""
        return asdict(self)


def picture(seen: Seen) -> Picture:
    """Return what a host's GPUs are, what drives them and what is in the way."""
    hypervisor = _hypervisor(seen)
    ours = [entry for entry in seen.pci if entry.vendor == NVIDIA and entry.category in _DISPLAY]
    kept = [entry for entry in ours if entry.driver in _KEPT_FOR_GUESTS]
    gpus = nvidia_smi.gpus(seen.smi)
    cards = tuple(_card(entry, hypervisor, gpus) for entry in ours if entry not in kept)
    found = Picture(
        cards=cards,
        kept_for_guests=tuple(entry.address for entry in kept),
        switches=sum(entry.vendor == NVIDIA and entry.category == _BRIDGE for entry in seen.pci),
        driver=_driver(seen),
        toolkit=_first(_TOOLKIT, seen.toolkit),
        cdi=seen.cdi,
        secure_boot=_secure_boot(seen),
        signed_only=_signed_only(seen),
        nouveau=_nouveau(seen),
        hypervisor=hypervisor,
        container=seen.container,
        kernel=seen.kernel,
        headers=seen.headers,
        packages=seen.packages,
    )
    return replace(found, problems=tuple(_problems(found, seen)))


def is_vgpu(config: bytes) -> bool:
    """Tell a share of a card by the signature in its vendor's PCI capability.

    Outside the guest's administrator nobody may read beyond the first 64 bytes; what was not read is taken for whole.
    """
    position = config[0x34] if len(config) > 0x34 else 0
    visited = set()
    while 0x40 <= position < len(config) - 4 and position not in visited:
        visited.add(position)
        if config[position] == _VENDOR_SPECIFIC and config[position + 3 : position + 5] == b"VF":
            return True
        position = config[position + 1]
    return False


def _card(entry: PciDevice, hypervisor: str, gpus: Sequence[Gpu]) -> Card:
    gpu = next((gpu for gpu in gpus if gpu.address == entry.address), None)
    virtual = "pass_through" if hypervisor else "no"
    if is_vgpu(entry.config) or (gpu is not None and gpu.virtualization == "vgpu"):
        virtual = "vgpu"
    device = f"{entry.vendor:04x}:{entry.device:04x}"
    return Card(entry.address, device, entry.subsystem, entry.driver, virtual, gpu)


def _driver(seen: Seen) -> Driver:
    loaded = _first(_MODULE, seen.driver)
    there = {found[1] for name in seen.libraries if (found := _LIBRARY.search(name))}
    # Of several the one that goes with the kernel's is used.
    libraries = nvidia_smi.library_version(seen.smi) or (loaded if loaded in there else max(there, default=""))
    installed = seen.installed.strip()
    flavour = ("open" if "Open Kernel Module" in seen.driver else "proprietary") if loaded else ""
    if seen.smi and seen.smi.code == 0 and nvidia_smi.gpus(seen.smi):
        state = "working"
    elif nvidia_smi.is_mismatch(seen.smi) or (loaded and libraries and loaded != libraries):
        state = "mismatched"
    elif loaded:
        state = "loaded"
    else:
        state = "installed" if installed or libraries or seen.smi else "none"
    return Driver(state, _origin(seen, state), loaded, installed, libraries, flavour, nvidia_smi.cuda_version(seen.smi))


def _origin(seen: Seen, state: str) -> str:
    if state == "none":
        return ""
    if seen.operator:
        return "operator"
    if seen.ours:
        return "collection"
    return "runfile" if seen.runfile else "package"


def _secure_boot(seen: Seen) -> str:
    if not seen.efi:
        return "none"
    # Four bytes are the variable's attributes. shim may have been told to check nothing, which the kernel then follows.
    on = seen.secure_boot[4:5] == b"\x01" and seen.shim_off[4:5] != b"\x01"
    return "on" if on else "off"


def _signed_only(seen: Seen) -> bool:
    locked = "[integrity]" in seen.lockdown or "[confidentiality]" in seen.lockdown
    return seen.sig_enforce.strip() == "Y" or locked or _secure_boot(seen) == "on"


def _nouveau(seen: Seen) -> str:
    if any(line.split(" ", 1)[0] == "nouveau" for line in seen.modules.splitlines()):
        return "loaded"
    return "blacklisted" if _BY_FILE.search(seen.modprobe) or _BY_LINE.search(seen.command_line) else "possible"


def _hypervisor(seen: Seen) -> str:
    # A card that was passed through hangs below Hyper-V's bus, whatever the machine's maker is said to be.
    if any("/VMBUS:" in entry.path for entry in seen.pci):
        return "hyper-v"
    flags = re.search(r"^(flags|Features)\s*:.*\bhypervisor\b", seen.cpuinfo, re.MULTILINE)
    if not flags:
        return ""
    return _MAKERS.get(seen.maker.strip().lower(), "unknown")


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[found.lastindex or 1] if found else ""


def _problems(host: Picture, seen: Seen) -> Iterator[Finding]:
    """Return what is in the way, what blocks first."""
    found = [*_of_the_cards(host, seen), *_of_the_driver(host, seen), *_of_shares(host)]
    return iter(sorted(found, key=lambda finding: not finding.blocks))


def _of_the_cards(host: Picture, seen: Seen) -> Iterator[Finding]:
    if seen.dxg and not host.cards:
        yield Finding(
            "gpu_partition",
            True,
            "Hyper-V shares a GPU with this guest as a partition (/dev/dxg), which no driver for Linux serves",
            "Give the guest a whole card: on the Hyper-V host Dismount-VMHostAssignableDevice, then "
            "Add-VMAssignableDevice",
        )
    if host.kept_for_guests:
        yield Finding(
            "kept_for_guests",
            False,
            "kept for guests of this host, and not its own to use: " + ", ".join(host.kept_for_guests),
            "Nothing, if guests are to have them; else take them out of vfio-pci's list of ids and restart",
        )
    if host.cards and host.container:
        yield Finding(
            "container",
            True,
            "this host is a container: its kernel, and with it the driver, belongs to the machine below",
            "Install the driver on that machine, and have it hand its devices on",
        )
    if host.switches and not seen.fabric_manager and host.driver.origin != "operator":
        yield Finding(
            "fabric_manager",
            True,
            f"{host.switches} NVSwitches connect the cards: without NVIDIA's fabric manager CUDA does not start there",
            "Add the package of the fabric manager, of exactly the driver's version, to nvidia_driver_packages",
        )


def _of_the_driver(host: Picture, seen: Seen) -> Iterator[Finding]:
    if not host.cards:
        return
    driver = host.driver
    if host.nouveau == "loaded" and driver.state != "working":
        yield Finding(
            "nouveau_loaded",
            True,
            "nouveau drives the cards or is ready to: NVIDIA's driver cannot take them from it",
            "The role blacklists nouveau; the host must restart once (nvidia_driver_reboot_ok)",
        )
    if driver.state == "mismatched":
        libraries = driver.libraries or "of another version"
        yield Finding(
            "version_mismatch",
            True,
            f"the kernel has the driver {driver.loaded or 'of another version'} loaded, the libraries are {libraries}",
            "Restart the host; or, with nothing on the cards, unload the modules: "
            "modprobe -r nvidia_uvm nvidia_drm nvidia_modeset nvidia",
        )
    if driver.state == "installed" and host.nouveau != "loaded" and not host.container:
        yield from _why_not_loaded(host)
    if driver.origin == "operator":
        # What talks to the cards is in its container.
        return
    if driver.state == "loaded" and seen.smi is None:
        yield Finding(
            "no_smi",
            True,
            f"the driver {driver.loaded} is loaded, but there is no nvidia-smi",
            "Install the driver's tools and libraries of the same version",
        )
    elif driver.state == "loaded":
        yield Finding(
            "driver_sees_nothing",
            True,
            "the driver is loaded, but does not talk to the cards: " + nvidia_smi.said(seen.smi),
            "See `journalctl -k | grep -e NVRM -e Xid`: a card too old or too new for the driver is named there",
        )
    if driver.state == "working":
        lost = sorted(card.address for card in host.cards if card.gpu is None)
        if lost:
            yield Finding(
                "card_lost",
                True,
                f"on the bus but unknown to the driver: {', '.join(lost)}",
                "See `journalctl -k | grep Xid`; one that fell off the bus (Xid 79) comes back when the power was off",
            )


def _why_not_loaded(host: Picture) -> Iterator[Finding]:
    if not (host.driver.installed or host.headers):
        yield Finding(
            "headers_missing",
            True,
            f"there is no kernel module for {host.kernel}, and no headers to build one",
            f"Install the headers of exactly {host.kernel}, or restart into the kernel whose headers are there",
        )
    elif host.signed_only:
        yield Finding(
            "module_not_signed",
            True,
            "the driver is on disk and not loaded, and this kernel takes signed modules only (Secure Boot)",
            "Choose modules that the distribution has signed (nvidia_driver_build: precompiled), or enrol the key of "
            "dkms: mokutil --import /var/lib/dkms/mok.pub, restart, and confirm at the console",
        )
    else:
        yield Finding(
            "driver_not_loaded",
            True,
            "the driver is on disk and not loaded",
            "modprobe nvidia, or a restart; `journalctl -k | grep NVRM` has the reason if it does not load",
        )


def _of_shares(host: Picture) -> Iterator[Finding]:
    vgpus = [card for card in host.cards if card.virtual == "vgpu"]
    if vgpus and host.driver.state == "none":
        yield Finding(
            "vgpu_needs_its_driver",
            True,
            "the card is a share of one (vGPU), which the ordinary driver does not serve",
            "Install the guest driver that goes with the hypervisor's vGPU manager, from NVIDIA's licensing portal",
        )
    if any(card.gpu is not None and card.gpu.licensed is False for card in vgpus):
        yield Finding(
            "vgpu_not_licensed",
            False,
            "a vGPU without licence computes slower and slower until it hardly does",
            "Put the site's client configuration token into /etc/nvidia/ClientConfigToken and restart nvidia-gridd",
        )
    for card in host.cards:
        gpu = card.gpu
        if gpu is None or not gpu.mig_mode:
            continue
        if gpu.mig_mode != gpu.mig_pending:
            yield Finding(
                "mig_pending",
                True,
                f"{card.address}: MIG is {gpu.mig_mode} and will be {gpu.mig_pending} after a reset",
                f"nvidia-smi --gpu-reset --id={card.address} with nothing on the card, or a restart",
            )
        elif gpu.mig_mode == "enabled" and not gpu.mig_devices:
            yield Finding(
                "mig_without_instances",
                True,
                f"{card.address}: MIG is enabled and no instance was made, so the card offers nothing",
                f"nvidia-smi mig --id {card.address} --create-gpu-instance PROFILE --default-compute-instance",
            )
