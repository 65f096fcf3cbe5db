"""The configuration that `ptb-runtime spec` writes: a shell in `rootfs`, contained as a container is by default."""

from __future__ import annotations

from rootless import capabilities, seccomp_default, spec
from rootless import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MASKED_PATHS = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/dev/block"),
    *("/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux"),
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def document(*, rootless: bool) -> dict[str, Any]:
    """The config.json; with `rootless` one that an ordinary user can run, who is root in it and the only one, as in runc."""
    held = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]  # runc's
    kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup", *(["user"] if rootless else [])]
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in kinds],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "maskedPaths": list(MASKED_PATHS),
        "readonlyPaths": list(READONLY_PATHS),
        "seccomp": seccomp_default.default_profile(capabilities.DEFAULT, os.uname().machine),
    }
    if rootless:
        for key, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
            linux[key] = [{"containerID": 0, "hostID": own, "size": 1}]
    return {
        "ociVersion": spec.VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), held),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "ptb",
        "mounts": _mounts(group=None if rootless else 5),
        "linux": linux,
    }


def _mounts(group: int | None) -> list[dict[str, Any]]:
    contained = ["nosuid", "noexec", "nodev"]
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if group is not None:
        terminals.append(f"gid={group}")
    listed = (
        ("/proc", "proc", contained),
        ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", terminals),
        ("/dev/shm", "tmpfs", [*contained, "mode=1777", "size=65536k"]),  # noqa: S108 # in the container
        ("/dev/mqueue", "mqueue", contained),
        ("/sys", "sysfs", [*contained, "ro"]),
        ("/sys/fs/cgroup", "cgroup", [*contained, "relatime", "ro"]),
    )
    return [
        {"destination": destination, "type": kind, "source": kind, "options": options}
        for destination, kind, options in listed
    ]
