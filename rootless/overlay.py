"""A root file system of stacked layers, mounted in the caller's own mount namespace: by the kernel, or by fuse-overlayfs.

The kernel's overlay is as fast as the file system below and shows files under the ids they have on disk. Where a
container lives under another id map than the default one, fuse-overlayfs shows them under the ids they should have.
Nothing outlives the mount namespace.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from rootless import kernel, mounts, paths
from rootless import system as os
from rootless.errors import HostUnfit, KernelError
from rootless.monitor_plan import Overlay

PROGRAM = "fuse-overlayfs"

_DEVICE_FD = 3
_PAGE = 4095
"""The most that mount(2) takes as options."""


def mount(overlay: Overlay, target: str) -> int:
    """Mount the stack on the directory `target`; returns the pid of the process that serves it, or 0.

    The caller has all capabilities over its user and mount namespaces. Raises HostUnfit or KernelError.
    """
    if overlay.fuse:
        return _mount_fuse(overlay, target)
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened: list[int] = []
    try:
        os.chdir(overlay.directory)
        if overlay.upper:
            _forget_volatile(overlay.work)
        options = _options(overlay.lower, overlay.upper, overlay.work, volatile=overlay.volatile)
        if len(options) > _PAGE - 16:
            # A directory is one to four characters long when it is named by its descriptor.
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
            changed = (overlay.upper, overlay.work) if overlay.upper else ()
            opened = [os.open(name, flags) for name in (*changed, *overlay.lower)]
            upper, work = map(str, opened[:2]) if overlay.upper else ("", "")
            lower = tuple(map(str, opened[len(changed) :]))
            options = _options(lower, upper, work, volatile=overlay.volatile)
            os.chdir("/proc/self/fd")
        kernel.mount("overlay", target, "overlay", 0, options)
    except OSError as error:
        raise KernelError("mounting", f'an overlay on "{target}"', error.errno or 0) from error
    finally:
        for fd in opened:
            os.close(fd)
        os.fchdir(before)
        os.close(before)
    return 0


def _options(lower: tuple[str, ...], upper: str, work: str, *, volatile: bool) -> str:
    options = f"lowerdir={':'.join(lower)},userxattr"
    if upper:
        options += f",upperdir={upper},workdir={work}{',volatile' if volatile else ''}"
    return options


def _forget_volatile(work: str) -> None:
    """Let an upper layer be used again whose mount was volatile: the machine has not crashed since, or it was void anyway.

    The kernel leaves a mark and refuses (Documentation/filesystems/overlayfs.rst, "Volatile mount").
    """
    try:
        place = os.open(f"{work}/work", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        paths.remove_tree(place, "incompat")
    finally:
        os.close(place)


def _mount_fuse(overlay: Overlay, target: str) -> int:
    program = find_program()
    device = open_fuse()
    try:
        try:
            root = mounts.fuse(device, "ptb")
        except OSError as error:
            raise KernelError("mounting", "a FUSE file system", error.errno or 0) from error
        pid = _serve(program, overlay, device)
        point = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        kernel.move_mount(root, point)
        os.close(point)
        os.close(root)
    finally:
        os.close(device)
    return pid


def _serve(program: str, overlay: Overlay, device: int) -> int:
    """Fork the process that becomes fuse-overlayfs; it ends with the caller, and has all the caller's capabilities."""
    options = f"lowerdir={':'.join(overlay.lower)}"
    if overlay.upper:
        options += f",upperdir={overlay.upper},workdir={overlay.work}"
    if overlay.uid_mapping:
        options += f",uidmapping={overlay.uid_mapping},gidmapping={overlay.gid_mapping}"
    pid = os.fork()
    if pid:
        return pid
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
        os.setsid()
        os.chdir(overlay.directory)
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(overlay.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        become_server(program, options, {0: null, 1: log, 2: log, _DEVICE_FD: device}, _DEVICE_FD)
    finally:
        os._exit(127)


def become_server(program: str, options: str, descriptors: dict[int, int], device: int) -> None:
    """Execute fuse-overlayfs with these descriptors and no others; `device` is the number of the FUSE connection.

    Returns only if that fails, with a line on standard error.
    """
    import fcntl

    last = max(descriptors)
    try:
        moved = [(place, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, last + 1)) for place, fd in descriptors.items()]
        for place, fd in moved:
            os.dup2(fd, place, inheritable=True)
        kernel.close_range(last + 1, 0xFFFFFFFF, 0)
        kernel.restore_signals()
        kernel.raise_ambient_capabilities()
        os.execv(program, [PROGRAM, "-f", "-o", options, f"/dev/fd/{device}"])
    except OSError as error:
        os.write(2, f"{PROGRAM}: {os.strerror(error.errno or 0)}\n".encode())


def find_program() -> str:
    """The path of fuse-overlayfs. Raises HostUnfit."""
    for place in os.environ.get("PATH", os.defpath).split(":"):
        if os.access(f"{place}/{PROGRAM}", os.X_OK):
            return f"{place}/{PROGRAM}"
    raise HostUnfit(
        f"{PROGRAM} is not installed", hint=f"sudo apt install {PROGRAM}, or the same with your system's tool"
    )


def open_fuse() -> int:
    """A connection to the kernel's FUSE, of the caller's user namespace (fuse(4)). Raises HostUnfit."""
    try:
        return os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        raise HostUnfit('"/dev/fuse" may not be opened: permission denied', hint="sudo chmod 666 /dev/fuse") from error
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise HostUnfit(f'"/dev/fuse" cannot be opened: {reason}', hint="sudo modprobe fuse") from error
