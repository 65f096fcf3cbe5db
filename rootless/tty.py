"""Pseudo-terminals of containers: opened in the container's own devpts, handed to whoever keeps them, and relayed."""

from __future__ import annotations

import fcntl
import sys
from _struct import pack

from rootless import kernel, paths
from rootless import system as os
from rootless.errors import PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket  # noqa: N812

    from rootless.channel import Channel
    from rootless.spec import Process

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
TIOCSCTTY = 0x540E
TIOCGWINSZ = 0x5413
TIOCSWINSZ = 0x5414


def open_terminal(root_fd: int) -> tuple[int, int]:
    """The (master, slave) of a new terminal of the devpts at /dev/pts beneath `root_fd`; the host's where it has none.

    The slave comes from the master itself and not by a name that could be someone else's (ioctl_tty(2), TIOCGPTPEER).
    Raises PtbError.
    """
    flags = os.O_RDWR | os.O_NOCTTY
    try:
        try:
            master = paths.open_in(root_fd, "/dev/pts/ptmx", flags, how=paths.ACROSS_MOUNTS)
            if kernel.filesystem_type(master) != kernel.DEVPTS_SUPER_MAGIC:
                os.close(master)
                raise FileNotFoundError
        except FileNotFoundError:
            master = os.open("/dev/ptmx", flags | os.O_CLOEXEC)
        fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
        slave = fcntl.ioctl(master, _TIOCGPTPEER, flags | os.O_CLOEXEC)
    except OSError as error:
        raise PtbError(f"a terminal cannot be opened: {os.strerror(error.errno or 0)}") from error
    return master, slave


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the window's size (ioctl_tty(2), TIOCSWINSZ)."""
    fcntl.ioctl(fd, TIOCSWINSZ, pack("HHHH", rows, columns, 0, 0))


def copy_size(source: int, target: int) -> None:
    """Give the terminal `target` the window size of `source`, if that is a terminal."""
    try:
        fcntl.ioctl(target, TIOCSWINSZ, fcntl.ioctl(source, TIOCGWINSZ, bytes(8)))
    except OSError:
        return


def take(slave: int) -> None:
    """Make `slave` the controlling terminal and the three standard descriptors of the caller, who leads a session."""
    fcntl.ioctl(slave, TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.close(slave)


def hand_over(root_fd: int, process: Process, console: Socket | None, parent: Channel) -> int:
    """Open a terminal for `process`, send its master away and return its slave, which belongs to the process's user.

    The master goes to the socket `console` as conmon and containerd expect it, with SCM_RIGHTS and a name; where there
    is none, to the parent. Raises PtbError.
    """
    import _socket

    master, slave = open_terminal(root_fd)
    if process.console_size is not None:
        set_size(master, *process.console_size)
    if console is not None:
        rights = master.to_bytes(4, sys.byteorder)
        console.sendmsg([b"/dev/ptmx"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        console.close()
    else:
        parent.send("terminal", "", master)
    os.close(master)
    try:
        os.fchown(slave, process.user.uid, -1)
    except OSError:
        pass  # not mapped: the process may still use what it inherits
    return slave
