"""Forking a container's monitor, before it is known what it will be for.

Apart from the monitor, which is loaded in the fork: while its ids are being mapped, and while the caller reads options,
looks for the image and puts the container on record. So it is forked as early as can be and told the rest when it is due.
"""

from __future__ import annotations

import _socket

from rootless import kernel, userns
from rootless import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.ids import IdMaps, Subordinates


class Waiting:
    """A monitor that waits for a message over `connection`; it ends where the other end is closed without one."""

    def __init__(self, connection: _socket.socket, pid: int, fork: userns.Fork | None) -> None:
        self.connection = connection
        self._pid = pid
        self._fork = fork

    def finish(self) -> None:
        """Make sure that it has its ids. Raises HostUnfit where it cannot have them, and then it has ended."""
        if self._fork is not None:
            self._fork.finish()

    def abandon(self) -> None:
        """End it: there is nothing to monitor."""
        self.connection.close()
        if self._fork is not None:
            self._fork.abandon()
        else:
            os.waitpid(self._pid, 0)


def fork(
    who: Subordinates,
    maps: IdMaps,
    monitor: Callable[[_socket.socket], int],
    *,
    load: Callable[[], None],
    joined: int | None = None,
) -> Waiting:
    """Fork a process that calls `monitor` with its end of a connection (see `attachment`), in a session and a mount namespace
    of its own.

    It is in a new user namespace with `maps`, or, with `joined`, a pidfd, in that of that process, whose other namespaces
    a container can share only so. `load` imports what it needs. The caller has one thread. Raises HostUnfit where there
    can be no user namespace.
    """
    here, there = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)

    def prepare() -> None:
        os.setsid()  # what is typed at the caller's terminal is for the caller
        load()

    def child() -> int:
        here.close()
        return monitor(there)

    def child_of_another() -> int:
        prepare()
        return child()

    try:
        if joined is not None:
            return Waiting(here, userns.fork_joined(joined, child_of_another, flags=kernel.CLONE_NEWNS), None)
        begun = userns.begin_fork(who, maps, child, flags=kernel.CLONE_NEWNS, meanwhile=prepare)
        return Waiting(here, begun.pid, begun)
    except BaseException:
        here.close()
        raise
    finally:
        there.close()
