"""Which capabilities this machine's root lacks: a container cannot be given what its maker does not have."""

from __future__ import annotations

# In the order of their numbers, see linux/capability.h. None is ever taken away or renumbered.
NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)


def missing(status: str, last: int) -> list[str]:
    """Return the names of the kernel's capabilities that a process lacks.

    Args:
        status: text of ``/proc/PID/status``.
        last: number of the newest capability the kernel knows (``/proc/sys/kernel/cap_last_cap``).
    """
    (line,) = [line for line in status.splitlines() if line.startswith("CapEff:")]
    mask = int(line.split()[1], 16)
    return [name for number, name in enumerate(NAMES) if number <= last and not mask >> number & 1]
