"""Starting a box: its namespaces, its root file system, and the one process that keeps them.

A box has no process of its own to hold it, since its commands live in the host's pid namespace and come and go. What
stays is its fuse-overlayfs, the *anchor*: it serves the root file system and holds a descriptor of the mount namespace
that was built on it. Entering joins both; when the anchor is gone the box has stopped. In order:

    caller                              setup process                        anchor
    fork ─────────────────────────────▶ new user and mount namespace
    newuidmap, newgidmap ─────────────▶ clone the host's mounts to bind
                                        mount FUSE, fork ──────────────────▶ mount namespace of its own, fuse-overlayfs
                                        finish the root (`populate`)
                                        attach mounts, pivot_root
    pid of the anchor ◀──────────────── done, exit
"""

from __future__ import annotations

import signal

from rootless import kernel, mounts, userns
from rootless import overlay as overlay_module
from rootless import system as os
from rootless.errors import KernelError, PtbError
from rootless.ids import IdMaps, Subordinates
from rootless.joiner import NAMESPACE_FD
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LOCK_FD = 5
"""The anchor's descriptor of the box's lock, held as long as it lives."""

_DEVICE_FD = 3
_ENOTCONN, _ECONNABORTED = 107, 103


@record
class Overlay:
    """What fuse-overlayfs is started with: its working directory, from which `options` may name paths, and a log."""

    directory: str
    options: str
    log: str


@record
class Anchor:
    """The process that keeps a box: see `rootless.processes`."""

    pid: int
    started: int


def start(
    who: Subordinates,
    maps: IdMaps,
    overlay: Overlay,
    mount_point: str,
    binds: list[mounts.Mount],
    populate: Callable[[int], None],
    lock_fd: int,
) -> Anchor:
    """Start a box and return its anchor.

    `mount_point` is an empty directory of the host's to put the root on for a moment. `populate` is called with a
    descriptor of the root file system, as container root, before anything of the host's is mounted in it. `lock_fd`
    stays open in the anchor. Raises KernelError or whatever PtbError `populate` raises; then nothing is left.
    """
    from rootless.processes import start_time

    program = overlay_module.find_program()
    report_read, report_write = os.pipe()

    def setup() -> int:
        os.close(report_read)
        os.setpgid(0, 0)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        anchor = 0
        try:
            anchor = _setup(program, overlay, mount_point, binds, populate, lock_fd, report_write)
        except (PtbError, OSError) as error:
            forbidden = userns.forbidden_by_apparmor() and getattr(error, "errno", 0) in (1, 13)
            _report(report_write, userns.explain_refusal(1) if forbidden else error)
            return 1
        os.write(report_write, b"ready\n")
        return 0 if anchor else 1

    pid = userns.fork_with_maps(who, maps, setup, flags=kernel.CLONE_NEWNS)
    os.close(report_write)
    said = b""
    anchor_pid = 0
    try:
        while chunk := os.read(report_read, 65536):
            said += chunk
            if said.startswith(b"anchor ") and b"\n" in said:
                anchor_pid = int(said.split(b"\n", 1)[0][7:])
        os.waitpid(pid, 0)
        lines = said.decode(errors="replace").split("\n")
        if "ready" in lines and anchor_pid:
            started = start_time(anchor_pid)
            if started is not None:
                return Anchor(anchor_pid, started)
        raise _failure(lines, overlay)
    except BaseException:
        _kill_quietly(pid)
        if anchor_pid:
            _kill_quietly(anchor_pid)
        raise
    finally:
        os.close(report_read)


def check_host() -> None:
    """Raises HostUnfit where the machine cannot mount an overlay; to be asked before anything is prepared for one."""
    overlay_module.find_program()
    os.close(overlay_module.open_fuse())


def _setup(
    program: str,
    overlay: Overlay,
    mount_point: str,
    binds: list[mounts.Mount],
    populate: Callable[[int], None],
    lock_fd: int,
    report: int,
) -> int:
    host_root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    prepared = mounts.prepare(binds)
    point = os.open(mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    device = overlay_module.open_fuse()
    try:
        root = mounts.fuse(device, "ptb")
    except OSError as error:
        raise KernelError("mounting", "a FUSE file system", error.errno or 0) from error
    anchor = _fork_anchor(program, overlay, device, lock_fd)
    os.close(device)
    os.write(report, f"anchor {anchor}\n".encode())
    kernel.move_mount(root, point)
    userns.become_root()
    os.umask(0o022)
    root_directory = kernel.openat2(root, ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        populate(root_directory)
    finally:
        os.close(root_directory)
    mounts.attach_all(root, prepared)
    mounts.pivot(root)
    os.close(host_root)
    return anchor


def _fork_anchor(program: str, overlay: Overlay, device: int, lock_fd: int) -> int:
    """Fork the process that becomes fuse-overlayfs, in a mount namespace of its own so that it never needs the root it
    serves; it keeps the caller's ids, to reach what only they may reach, and all capabilities, to own files for others.
    """
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(namespace)
        return pid
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        os.setsid()
        os.chdir(overlay.directory)
        null = os.open("/dev/null", os.O_RDWR)
        log = os.open(overlay.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        descriptors = {0: null, 1: log, 2: log, _DEVICE_FD: device, NAMESPACE_FD: namespace, LOCK_FD: lock_fd}
        overlay_module.become_server(program, overlay.options, descriptors, _DEVICE_FD)
    except OSError as error:
        os.write(2, f"{overlay_module.PROGRAM}: {os.strerror(error.errno or 0)}\n".encode())
    finally:
        os._exit(127)


def _report(fd: int, error: PtbError | OSError) -> None:
    if isinstance(error, PtbError):
        text = f"failed {error.message}\0{error.hint or ''}"
    else:
        text = f"failed {error}\0"
    os.write(fd, text.replace("\n", " ").encode(errors="replace")[:32768] + b"\n")


def _failure(lines: list[str], overlay: Overlay) -> PtbError:
    message, hint = "its set-up process died", ""
    for line in lines:
        if line.startswith("failed "):
            message, _nul, hint = line[7:].partition("\0")
    if any(os.strerror(number) in message for number in (_ENOTCONN, _ECONNABORTED)):
        with open(overlay.log, encoding="utf-8", errors="replace") as stream:
            said = stream.read().strip().splitlines()
        message, hint = (
            said[-1] if said else f"{overlay_module.PROGRAM} died",
            f"the whole of what it said is in {overlay.log}",
        )
    return PtbError(f"cannot start the box: {message}", hint=hint or None)


def _kill_quietly(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError, PermissionError):
        return
