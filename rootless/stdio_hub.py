"""A container's standard streams on the monitor's side: to the log, to whoever is attached, and back.

Nothing is lost and nothing grows: while someone who is attached does not read, the container's output is not read
either, and while the container does not read its input, neither is theirs.
"""

from __future__ import annotations

import _socket
import select

from rootless import attachment, tty
from rootless import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = attachment.LARGEST - 1
_AGAIN = (11, 105)  # EAGAIN, ENOBUFS
_WORDS = {1: attachment.OUTPUT, 2: attachment.ERROR_OUTPUT}


class Client:
    """Someone connected: what waits to be sent to them, and whether they want the output."""

    def __init__(self, connection: _socket.socket, *, attached: bool = False) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.attached = attached
        self.waiting: list[bytes] = []


class Hub:
    """The streams of one container; `poll` is the monitor's and what is registered there by this class is its own."""

    def __init__(
        self, poll: select.poll, write_log: Callable[[int, bytes], None], *, on_message: Callable[[bytes, bytes], None]
    ) -> None:
        self._poll = poll
        self._write_log = write_log
        self._on_message = on_message
        self._outputs: dict[int, int] = {}
        self._input = -1
        self._terminal = False
        self._typed = b""
        self._input_ends = False
        self._clients: dict[int, Client] = {}
        self._stalled = False

    # --- the container's side ---

    def open(self, outputs: dict[int, int], input_fd: int, *, terminal: bool) -> None:
        """Take the container's streams: descriptors to read by their stream's number, and one to write or -1."""
        for fd in (*outputs, *((input_fd,) if input_fd >= 0 else ())):
            os.set_blocking(fd, False)
        self._outputs = dict(outputs)
        self._input, self._terminal = input_fd, terminal
        self._typed, self._input_ends, self._stalled = b"", False, False
        for fd in outputs:
            self._poll.register(fd, select.POLLIN)

    def drain_and_close(self) -> None:
        """Read what is still there, let go of the streams."""
        for fd in list(self._outputs):
            while fd in self._outputs and self._read(fd):
                pass
        for fd in list(self._outputs):
            self._close_output(fd)
        self._close_input()

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO: the terminal's last user is gone (ioctl_tty(2))
        if not data:
            self._close_output(fd)
            return False
        stream = self._outputs[fd]
        self._write_log(stream, data)
        for client in list(self._clients.values()):
            if client.attached:
                self._send(client, _WORDS[stream] + data)
        return True

    def _close_output(self, fd: int) -> None:
        del self._outputs[fd]
        if not self._stalled:
            self._poll.unregister(fd)
        if fd != self._input:
            os.close(fd)

    def _close_input(self) -> None:
        if self._input < 0:
            return
        if self._typed:
            self._poll_input(0)
        os.close(self._input)
        self._input, self._typed = -1, b""

    def _poll_input(self, wanted: int) -> None:
        """Have the poll watch for room in the container's input, or not; a terminal is read there as well."""
        reads = select.POLLIN if self._input in self._outputs and not self._stalled else 0
        if reads | wanted:
            self._poll.register(self._input, reads | wanted)
        else:
            try:
                self._poll.unregister(self._input)
            except KeyError:
                pass

    # --- the clients' side ---

    def add(self, client: Client) -> None:
        """Serve this connection from now on."""
        fd = client.connection.fileno()
        self._clients[fd] = client
        self._poll.register(fd, select.POLLIN)

    def tell_all(self, word: bytes, data: bytes = b"") -> None:
        """Tell everyone who is connected."""
        for client in list(self._clients.values()):
            self._send(client, word + data)

    def say_goodbye(self, word: bytes, data: bytes) -> None:
        """Tell everyone, waiting for each until it has been heard or has gone, and close."""
        for client in list(self._clients.values()):
            client.connection.setblocking(True)
            for message in (*client.waiting, word + data):
                attachment.tell(client.connection, message)
            self._drop(client)

    def owns(self, fd: int) -> bool:
        """Whether this descriptor is one of the hub's."""
        return fd in self._outputs or fd in self._clients or fd == self._input

    def handle(self, fd: int, events: int) -> None:
        """What poll(2) found."""
        client = self._clients.get(fd)
        if client is None:
            if fd == self._input and events & (select.POLLOUT | select.POLLERR):
                self._flush_input()
            if fd in self._outputs and events & (select.POLLIN | select.POLLHUP):
                self._read(fd)
            return
        if events & select.POLLOUT:
            self._flush(client)
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR) and fd in self._clients:
            self._receive(client)

    def _receive(self, client: Client) -> None:
        try:
            message = client.connection.recv(attachment.LARGEST + 1)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        word, data = message[:1], message[1:]
        if not word:
            self._drop(client)
        elif word == attachment.ATTACH:
            client.attached = True
        elif word == attachment.INPUT:
            self._typed += data
            self._flush_input()
        elif word == attachment.INPUT_END:
            self._input_ends = True
            self._flush_input()
        elif word == attachment.RESIZE and self._terminal and len(data) == 4 and self._input >= 0:
            tty.set_size(self._input, int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big"))
        else:
            self._on_message(word, data)

    def _flush_input(self) -> None:
        if self._input < 0:
            self._typed = b""
            return
        try:
            while self._typed:
                self._typed = self._typed[os.write(self._input, self._typed) :]
        except BlockingIOError:
            pass
        except OSError:
            self._typed, self._input_ends = b"", True  # the container has closed its end
        self._poll_input(select.POLLOUT if self._typed else 0)
        if self._input_ends and not self._typed and not self._terminal:
            self._close_input()
        self._watch_clients()

    def _send(self, client: Client, message: bytes) -> None:
        client.waiting.append(message)
        self._flush(client)

    def _flush(self, client: Client) -> None:
        before = bool(client.waiting)
        while client.waiting:
            try:
                client.connection.send(client.waiting[0], _socket.MSG_NOSIGNAL)
            except OSError as error:
                if error.errno in _AGAIN:
                    break
                self._drop(client)
                return
            del client.waiting[0]
        if before:
            self._watch_clients()
            self._watch_outputs()

    def _watch_clients(self) -> None:
        listening = 0 if self._typed else select.POLLIN
        for fd, client in self._clients.items():
            self._poll.modify(fd, listening | (select.POLLOUT if client.waiting else 0))

    def _watch_outputs(self) -> None:
        stalled = any(client.waiting for client in self._clients.values())
        if stalled == self._stalled:
            return
        self._stalled = stalled
        for fd in self._outputs:
            if fd == self._input:
                self._poll_input(select.POLLOUT if self._typed else 0)
            elif stalled:
                self._poll.unregister(fd)
            else:
                self._poll.register(fd, select.POLLIN)

    def _drop(self, client: Client) -> None:
        fd = client.connection.fileno()
        self._poll.unregister(fd)
        del self._clients[fd]
        client.waiting.clear()
        client.connection.close()
        self._watch_outputs()
