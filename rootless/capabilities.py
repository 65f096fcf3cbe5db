"""Capabilities by name and number, and giving a process exactly the five sets that were asked for (capabilities(7))."""

from __future__ import annotations

from rootless import kernel
from rootless.errors import warn

NAMES = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST"),
    *("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO"),
    *("CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE"),
    *("CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE"),
    *("CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM"),
    *("CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"),
)
"""In the order of linux/capability.h, so that the index is the number."""

DEFAULT = frozenset(
    (
        *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE"),
        *("CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"),
    )
)
"""The eleven that podman gives a container unless told otherwise."""


def mask(names: tuple[str, ...]) -> int:
    """The bit mask of the named capabilities, without those that are unknown (config.md, Linux Process)."""
    bits = 0
    for name in names:
        if name in NAMES:
            bits |= 1 << NAMES.index(name)
    return bits


def warn_of_unknown(sets: dict[str, tuple[str, ...]]) -> None:
    """Warn of names that no capability has: nothing can be granted for them, and that is no failure (config.md)."""
    unknown = {name: None for names in sets.values() for name in names if name not in NAMES}
    if unknown:
        warn(f"process.capabilities: left out, since this runtime does not know them: {', '.join(unknown)}")


def last_capability() -> int:
    """The highest number this kernel knows (/proc/sys/kernel/cap_last_cap)."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as stream:
        return int(stream.read())


def drop_bounding(keep: int, last: int) -> None:
    """Take everything out of the bounding set but `keep`; `last` is the kernel's highest number. Raises OSError."""
    for number in range(last + 1):
        if not keep & 1 << number:
            try:
                kernel.prctl(kernel.PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno != 22:
                    raise


def set_ambient(wanted: int) -> None:
    """Make the ambient set exactly `wanted`, which must be permitted and inheritable. Raises OSError."""
    kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(len(NAMES)):
        if wanted & 1 << number:
            try:
                kernel.prctl(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_RAISE, number)
            except OSError as error:
                if error.errno not in (1, 22):
                    raise
