"""Telling whoever started us that a service is ready (sd_notify(3)): for the monitor itself, and on a container's behalf."""

from __future__ import annotations

import _socket

from rootless import system as os

NAME = "notify"
"""The socket that a container's process writes to, in the container's runtime directory."""

_PASSED_ON = ("READY=", "RELOADING=", "STOPPING=", "STATUS=", "ERRNO=", "EXTEND_TIMEOUT_USEC=", "WATCHDOG=")
_LARGEST = 1 << 16


def wanted() -> bool:
    """Whether somebody wants to know."""
    return os.environ.get("NOTIFY_SOCKET", "")[:1] in ("/", "@")


def send(*lines: str) -> None:
    """Send the lines; that nobody is there to hear them is no error."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place[:1] not in ("/", "@"):
        return
    address = "\0" + place[1:] if place[0] == "@" else place
    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        sender.sendto("\n".join(lines).encode(), address)
    except OSError:
        return
    finally:
        sender.close()


def listen(directory: str) -> _socket.socket:
    """The socket that the container gets as its own NOTIFY_SOCKET; writable by whatever user it runs as."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink(NAME, dir_fd=fd)
        except FileNotFoundError:
            pass
        made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        made.bind(f"/proc/self/fd/{fd}/{NAME}")
        os.chmod(NAME, 0o666, dir_fd=fd)  # the directory above is the user's alone
    finally:
        os.close(fd)
    made.setblocking(False)
    return made


def await_ready(listener: _socket.socket, process: int) -> None:
    """Wait until a container's process says that it is ready, and tell whoever started us; or until `process`, a pidfd, ends."""
    import select

    poll = select.poll()
    for fd in (listener.fileno(), process):
        poll.register(fd, select.POLLIN)
    ended = False
    while True:
        try:
            if b"READY=1" in listener.recv(_LARGEST).split(b"\n"):
                send("READY=1")
                return
        except BlockingIOError:
            if ended:
                return
            ended = process in dict(poll.poll())


def relay(listener: _socket.socket) -> None:
    """Pass on what the container said, with the monitor in the place of a process that only the container knows."""
    while True:
        try:
            said = listener.recv(_LARGEST)
        except OSError:
            return
        lines = [line for line in said.decode(errors="replace").split("\n") if line.startswith(_PASSED_ON)]
        if lines:
            send(f"MAINPID={os.getpid()}", *lines)
