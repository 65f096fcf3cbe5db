"""Writing to /proc on a container's behalf, through a procfs that no image and no mount can have replaced.

A private instance is mounted detached, never to be seen by anyone; where the kernel refuses one, the host's own /proc,
verified by its magic number, stands in. Neither is ever the container's (CVE-2019-16884, CVE-2025-52881).
"""

from __future__ import annotations

from rootless import kernel
from rootless import system as os
from rootless.errors import KernelError, PtbError

_WITHIN = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_XDEV | kernel.RESOLVE_NO_MAGICLINKS | kernel.RESOLVE_NO_SYMLINKS
_ROOT_INODE = 1
"""Of every procfs (linux/proc_ns.h, PROC_ROOT_INO): a directory of a process bound on /proc has another."""


def open_private() -> int:
    """A descriptor of a procfs for the caller's pid namespace; to be called before the root is left. Raises PtbError."""
    try:
        context = kernel.fsopen("proc")
        try:
            kernel.fsconfig(context, kernel.FSCONFIG_CMD_CREATE, None, None)
            return kernel.fsmount(context, 0)
        finally:
            os.close(context)
    except OSError:
        return open_host()


def open_host() -> int:
    """A descriptor of the caller's own /proc. Raises PtbError if that is not the root of a procfs."""
    fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if kernel.filesystem_type(fd) != kernel.PROC_SUPER_MAGIC or os.fstat(fd).st_ino != _ROOT_INODE:
        os.close(fd)
        raise PtbError("/proc of the host is not a procfs")
    return fd


def write(proc_fd: int, path: str, text: str, subject: str) -> None:
    """Write `text` to the file `path` of the procfs; raises KernelError naming `subject`."""
    try:
        fd = kernel.openat2(proc_fd, path, os.O_WRONLY, 0, _WITHIN)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError("setting", subject, error.errno or 0) from error


def set_sysctls(proc_fd: int, settings: dict[str, str]) -> None:
    """Set what linux.sysctl asks for; the names were checked when the configuration was read. Raises KernelError."""
    for name, value in settings.items():
        path = name if "/" in name.partition(".")[0] else _path_of(name)
        write(proc_fd, f"sys/{path}", value, f'linux.sysctl "{name}"')


def _path_of(name: str) -> str:
    """sysctl(8): dots part directories; a slash stands for a dot within a name."""
    return "/".join(part.replace("/", ".") for part in name.split("."))
