"""The words between a container's monitor and whoever is attached to it, over a SOCK_SEQPACKET socket.

A message is one letter and its data, so that what is one write on one side is one read on the other:

    to the monitor     a  wants the output        i  data for standard input   z  standard input ends
                       w  rows, columns           k  a signal's number         s  stop: signal, seconds
                       g  go on and start         ?  wants to know of the end only
    from the monitor   o  standard output         e  standard error            x  exit status
                       r  it runs now             m  an error: kind, message and hint
"""

from __future__ import annotations

import _socket
import os

ATTACH, INPUT, INPUT_END, RESIZE, SIGNAL, STOP, GO, WAIT = b"a", b"i", b"z", b"w", b"k", b"s", b"g", b"?"
OUTPUT, ERROR_OUTPUT, EXIT, RUNNING, FAILED = b"o", b"e", b"x", b"r", b"m"

LARGEST = 1 << 16
"""Bytes of one message; a socket's buffer holds several."""


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Two connected ends, closed by execve."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


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


def hear(connection: _socket.socket) -> tuple[bytes, bytes]:
    """The next (word, data); the word is empty when the other side is gone."""
    try:
        message = connection.recv(LARGEST + 1)
    except OSError:
        return b"", b""
    return message[:1], message[1:]
