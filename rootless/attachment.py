"""The words between a container's monitor and whoever is attached to it, over a SOCK_SEQPACKET socket.

A message is one letter and its data, so that what is one write on one side is one read on the other:

    to the monitor     a  wants the output        i  data for standard input   z  standard input ends
                       w  rows, columns           k  a signal's number         s  stop: signal, seconds
                       g  go on and start         ?  wants to know of the end only
                       c  the id of the container that it is for, how many descriptors it gets
    from the monitor   o  standard output         e  standard error            x  exit status
                       r  it runs now             m  an error: kind, message and hint
"""

from __future__ import annotations

import _socket

from rootless import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.errors import PtbError

CONTAINER, ATTACH, INPUT, INPUT_END = b"c", b"a", b"i", b"z"
RESIZE, SIGNAL, STOP, GO, WAIT = b"w", b"k", b"s", b"g", b"?"
OUTPUT, ERROR_OUTPUT, EXIT, RUNNING, FAILED = b"o", b"e", b"x", b"r", b"m"

LARGEST = 1 << 16
"""Bytes of one message; a socket's buffer holds several."""


def listen(path: str) -> _socket.socket:
    """A listener at `path`, whatever its length; what a dead monitor left there goes."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = os.path.basename(path)
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        made.bind(f"/proc/self/fd/{directory}/{name}")
        made.listen(64)
    finally:
        os.close(directory)
    return made


def connect(path: str) -> _socket.socket | None:
    """A connection to the monitor that listens at `path`; None where there is none."""
    try:
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        made.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except OSError:
        made.close()
        return None
    finally:
        os.close(directory)
    return made


def tell(connection: _socket.socket, word: bytes, data: bytes = b"") -> None:
    """Send one message, waiting for room; that nobody is there any more is no error."""
    try:
        connection.send(word + data, _socket.MSG_NOSIGNAL)
    except OSError:
        return


def tell_failure(connection: _socket.socket, error: PtbError) -> None:
    """Send an error."""
    text = f"{type(error).__name__}\0{error.message}\0{error.hint or ''}"
    tell(connection, FAILED, text.encode(errors="replace")[:60000])


def hear(connection: _socket.socket) -> tuple[bytes, bytes]:
    """The next (word, data); the word is empty when the other side is gone."""
    try:
        try:
            message = connection.recv(LARGEST + 1)
        except ConnectionResetError:
            # It went without having read everything; what it said before is still there (unix(7)).
            message = connection.recv(LARGEST + 1)
    except OSError:
        return b"", b""
    return message[:1], message[1:]
