"""The messages between the runtime and a container's init, over a SOCK_SEQPACKET pair: each a word, a text, a descriptor.

Errors travel as messages too, so that what failed inside is told outside in the same words.
"""

from __future__ import annotations

import _socket
import sys

from rootless import errors
from rootless import system as os
from rootless.errors import PtbError

_LARGEST = 1 << 18
_ENDED = (32, 104)  # EPIPE, ECONNRESET


class Channel:
    """One end. What is received out of turn is an error that names both words."""

    def __init__(self, socket: _socket.socket) -> None:
        self._socket = socket

    def send(self, word: str, text: str = "", descriptor: int = -1) -> None:
        """Send a message; one that nobody will read any more is no error."""
        data = f"{word}\0{text}".encode(errors="surrogateescape")
        rights = []
        if descriptor >= 0:
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))]
        try:
            self._socket.sendmsg([data], rights)
        except OSError as error:
            if error.errno not in _ENDED:
                raise

    def receive(self) -> tuple[str, str, int]:
        """The next (word, text, descriptor or -1); the word is "" when the other end is gone. Raises what came as error."""
        try:
            data, ancillary = self._next()
        except ConnectionResetError:
            try:
                # It went without having read everything; what it said before is still there (unix(7)).
                data, ancillary = self._next()
            except ConnectionResetError:
                return "", "", -1
        descriptor = -1
        for _level, _type, content in ancillary:
            descriptor = int.from_bytes(content[:4], sys.byteorder)
        word, _nul, text = data.decode(errors="surrogateescape").partition("\0")
        if word == "error":
            raise _rebuild(text)
        return word, text, descriptor

    def _next(self) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        data, ancillary, _flags, _address = self._socket.recvmsg(_LARGEST, 64, _socket.MSG_CMSG_CLOEXEC)
        return data, ancillary

    def expect(self, wanted: str) -> str:
        """The text of the next message, which must be `wanted`. Raises PtbError."""
        word, text, _descriptor = self.receive()
        if word != wanted:
            raise PtbError(f'the other side {f"said {word!r}" if word else "ended"} where "{wanted}" was due')
        return text

    def fail(self, error: PtbError | OSError) -> None:
        """Send an error."""
        if isinstance(error, PtbError):
            self.send("error", f"{type(error).__name__}\0{error.message}\0{error.hint or ''}"[:60000])
        else:
            subject = f'"{error.filename}": ' if error.filename else ""
            self.send("error", f"PtbError\0{subject}{error.strerror or error}\0"[:60000])

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _rebuild(text: str) -> PtbError:
    kind, message, hint = text.split("\0", 2)
    found = getattr(errors, kind, PtbError)
    if found is errors.KernelError or not (isinstance(found, type) and issubclass(found, PtbError)):
        found = PtbError
    made: PtbError = found(message, hint=hint or None)
    return made


def pair() -> tuple[Channel, Channel]:
    """Two connected ends; both are closed by execve."""
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return Channel(first), Channel(second)


def listen(directory: int, name: str) -> _socket.socket:
    """A listening socket `name` in `directory`, whatever the length of its path."""
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    made.bind(f"/proc/self/fd/{directory}/{name}")
    made.listen(16)
    return made


def accept(listener: _socket.socket) -> Channel:
    """The next connection."""
    fd, _address = listener._accept()  # type: ignore[attr-defined] # noqa: SLF001 # what socket.accept calls
    return Channel(_socket.socket(fileno=fd))


def connect(directory: int, name: str) -> Channel:
    """Connect to the listener `name` in `directory`; raises OSError when nobody listens."""
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        made.connect(f"/proc/self/fd/{directory}/{name}")
    except OSError:
        made.close()
        raise
    return Channel(made)


def connect_path(path: str) -> _socket.socket:
    """A stream connection to the socket at `path`, which may be longer than an address holds. Raises PtbError."""
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        parent, slash, name = path.rpartition("/")
        directory = os.open(parent + slash or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            made.connect(f"/proc/self/fd/{directory}/{name}")
        finally:
            os.close(directory)
    except OSError as error:
        made.close()
        raise PtbError(f'cannot connect to "{path}": {os.strerror(error.errno or 0)}') from error
    return made
