"""The program that connects a container's network namespace to the host's network: starting it, and ending with it.

It is a child of the container's monitor and must not outlive it: the kernel kills it when the monitor dies, however
that comes (PR_SET_PDEATHSIG). The monitor waits for it only when the container needs its network.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import fcntl

from rootless import kernel, processes
from rootless import system as os
from rootless.errors import HostUnfit, PtbError
from rootless.network.datagrams import Relay
from rootless.network.ports import Held, PublishedPort
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NETNS = "/proc/self/fd/0"
"""Where a helper finds the network namespace: on its standard input, the one place that no program closes at its start."""

EXIT_FD = 4
"""The helper's number of the pipe that is closed when it has to end."""

_TUN = "/dev/net/tun"
_EACCES, _EPERM = 13, 1
_CHATTER = ("sent tapfd", "received tapfd", "WARNING:", "api_handler:", "Failed to send ")
"""How the lines begin that slirp4netns and pasta write when nothing is wrong."""


@record
class Helper:
    """A program that was started, and the descriptors that its monitor has of it, all closed by execve.

    `ready_fd` can be read when the network works, `exit_fd` ends slirp4netns when it is closed, `log_fd` is what it
    wrote to its standard error. `directory` is where its API socket is. `ports` are to be published; those in `held`
    are kept free for it until it is ready. `relay` does what slirp4netns does not; it is None where nothing is missing.
    """

    program: str
    pid: int
    ready_fd: int
    exit_fd: int
    log_fd: int
    directory: int
    ports: tuple[PublishedPort, ...]
    held: tuple[Held, ...] = ()
    relay: Relay | None = None


def find(program: str, package: str) -> str:
    """The path of `program` in PATH. Raises HostUnfit naming the Debian package that has it."""
    for place in os.environ.get("PATH", os.defpath).split(":"):
        if os.access(f"{place}/{program}", os.X_OK):
            return f"{place}/{program}"
    raise HostUnfit(
        f"{program} is not installed", hint=f"sudo apt install {package}, or the same with your system's tool"
    )


def start(
    program: str,
    arguments: Sequence[str],
    netns_fd: int,
    directory: int,
    *,
    ready_number: int,
    ports: Sequence[PublishedPort] = (),
    held: Sequence[Held] = (),
    relay: Relay | None = None,
) -> Helper:
    """Start `program`, a path, in the directory that the descriptor `directory` is, and do not wait for it.

    Whatever it writes to descriptor `ready_number` (1 or 3) means that the network works. Raises OSError.
    """
    name = os.path.basename(program)
    ready_fd, ready_there = os.pipe()
    exit_there, exit_fd = os.pipe()
    log_fd = os.memfd_create(name)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    places = [netns_fd, null, log_fd, null, exit_there]
    places[ready_number] = ready_there
    try:
        pid = _spawn(program, [name, *arguments], places, directory)
    finally:
        for fd in (ready_there, exit_there, null):
            os.close(fd)
    return Helper(name, pid, ready_fd, exit_fd, log_fd, directory, tuple(ports), tuple(held), relay)


def _spawn(program: str, arguments: list[str], places: list[int], directory: int) -> int:
    monitor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != monitor:
            os._exit(127)  # it died before it could be watched
        os.fchdir(directory)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(places)) for fd in places]
        for number, fd in enumerate(high):
            os.dup2(fd, number, inheritable=True)
        kernel.close_range(len(places), 0xFFFFFFFF, 0)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
        kernel.restore_signals()
        if os.geteuid() != 0:
            kernel.raise_ambient_capabilities()
        os.execv(program, arguments)
    except OSError as error:
        os.write(2, f"{program}: {os.strerror(error.errno or 0)}\n".encode())
    finally:
        os._exit(127)


def await_ready(helper: Helper) -> None:
    """Wait until the network works. Raises PtbError with what the helper said when it died instead."""
    if not os.read(helper.ready_fd, 64):
        raise _failure(helper)
    for held in helper.held:
        held.release()


def end(helper: Helper) -> None:
    """Kill the helper without waiting for it: taking its device down keeps the kernel busy for tens of milliseconds."""
    try:
        os.kill(helper.pid, _signal.SIGKILL)
    except ProcessLookupError:
        return


def stop(helper: Helper) -> None:
    """End the helper, wait for it and close what the monitor has of it."""
    if helper.relay is not None:
        helper.relay.stop()
    processes.end_child(helper.pid)
    for fd in (helper.ready_fd, helper.exit_fd, helper.log_fd):
        os.close(fd)
    for held in helper.held:
        held.release()


def _failure(helper: Helper) -> PtbError:
    lines = os.pread(helper.log_fd, 1 << 16, 0).decode(errors="replace").splitlines()
    stop(helper)
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        hint = f"sudo chmod 666 {_TUN}" if error.errno in (_EACCES, _EPERM) else "sudo modprobe tun"
        return HostUnfit(f'"{_TUN}" cannot be opened: {os.strerror(error.errno or 0)}', hint=hint)
    reason = next(
        (line for line in map(_without_time, lines) if line and not line.startswith(_CHATTER)), "it said nothing"
    )
    if "unrecognized option" in reason:
        return HostUnfit(f"{helper.program} is too old: {reason}", hint=f"install a newer {helper.program}")
    return PtbError(f"{helper.program} ended: {reason}")


def _without_time(line: str) -> str:
    """`line` without the seconds that pasta starts it with."""
    time, colon, rest = line.partition(": ")
    return rest if colon and time.replace(".", "").isdecimal() else line
