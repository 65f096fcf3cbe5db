"""A console socket: where an OCI runtime sends the master of a container's terminal (runc, docs/terminals.md)."""

from __future__ import annotations

import _socket

from rootless import system as os
from rootless.errors import PtbError


class Listener:
    """The socket; `path` is what a runtime is told."""

    def __init__(self, path: str, socket: _socket.socket) -> None:
        self.path = path
        self._socket = socket

    def receive(self) -> int:
        """The master that arrives. Raises PtbError where what arrives has none."""
        self._socket.settimeout(60)
        fd, _address = self._socket._accept()  # type: ignore[attr-defined] # noqa: SLF001 # what socket.accept calls
        connection = _socket.socket(fileno=fd)
        try:
            _data, ancillary, _flags, _address = connection.recvmsg(4096, 64, _socket.MSG_CMSG_CLOEXEC)
        finally:
            connection.close()
        for _level, _type, content in ancillary:
            import sys

            return int.from_bytes(content[:4], sys.byteorder)
        raise PtbError("the OCI runtime sent no terminal")

    def close(self) -> None:
        """Remove it."""
        self._socket.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return


def listen(directory: str) -> Listener:
    """Listen in `directory`, whose path must leave room for a name in a socket's address of 107 bytes."""
    path = f"{directory}/tty"
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    try:
        made.bind(path)
    except OSError as error:
        raise PtbError(f'cannot listen at "{path}": {error.strerror or error}') from error
    made.listen(1)
    return Listener(path, made)
