"""Network namespaces: making one that belongs to the caller's user namespace, with nobody in it."""

from __future__ import annotations

import _socket
import _struct
import fcntl

from rootless import channel, kernel
from rootless import system as os
from rootless.errors import KernelError, PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.channel import Channel

_ENOSPC = 28
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP_RUNNING = 0x1 | 0x40
_DELAYS = ("accept_dad", "router_solicitation_delay")


def make() -> int:
    """A descriptor, closed by execve, of a new network namespace with its loopback interface up (network_namespaces(7)).

    It lives as long as something has it open or is in it. The caller needs CAP_SYS_ADMIN over its user namespace and
    may have one thread only. Interfaces made there have their IPv6 addresses at once, without the seconds of waiting for
    duplicates and for others' questions that a link between two programs cannot have. Raises PtbError.
    """
    return begin().finish()


class Making:
    """A namespace that another process is making: milliseconds of the kernel's work, during which much else can be done."""

    def __init__(self, pid: int, here: Channel) -> None:
        self._pid = pid
        self._here = here

    def finish(self) -> int:
        """What `make` returns."""
        try:
            _word, _text, fd = self._here.receive()
        finally:
            self._here.close()
            os.waitpid(self._pid, 0)
        if fd < 0:
            raise PtbError("the process that makes the network namespace died")
        return fd


def begin() -> Making:
    """Begin to do what `make` does, without waiting."""
    here, there = channel.pair()
    pid = os.fork()
    if pid == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            bring_loopback_up()
            _use_addresses_at_once()
            there.send("namespace", descriptor=os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            hint = "sudo sysctl -w user.max_net_namespaces=15000" if error.errno == _ENOSPC else None
            there.fail(KernelError("making", "a network namespace", error.errno or 0, hint=hint))
        finally:
            os._exit(0)
    there.close()
    return Making(pid, here)


def path(fd: int) -> str:
    """Where others find the namespace `fd`: an OCI runtime's linux.namespaces[].path, for descendants of the caller.

    It holds as long as the caller lives, keeps `fd` open and is dumpable (PR_SET_DUMPABLE), as ptrace(2) lets only the
    equally privileged look.
    """
    return f"/proc/{os.getpid()}/fd/{fd}"


def bring_loopback_up() -> None:
    """Set the flags of `lo` in the caller's network namespace (netdevice(7)); raises OSError."""
    interface = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        request = _struct.pack("16sH22x", b"lo", 0)
        flags = _struct.unpack("16sH22x", fcntl.ioctl(interface.fileno(), _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(interface.fileno(), _SIOCSIFFLAGS, _struct.pack("16sH22x", b"lo", flags | _IFF_UP_RUNNING))
    finally:
        interface.close()


def _use_addresses_at_once() -> None:
    """Wait for nothing before IPv6 addresses are used, where the kernel has them (ip-sysctl) and /proc may be written."""
    for name in _DELAYS:
        try:
            fd = os.open(f"/proc/sys/net/ipv6/conf/default/{name}", os.O_WRONLY | os.O_CLOEXEC)
            os.write(fd, b"0")
            os.close(fd)
        except OSError:
            return
