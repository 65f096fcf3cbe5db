"""The side of whoever is attached to a container: a terminal, or pipes, in place of the container's own streams.

The terminal is raw while the container has one and restored whatever happens; signals go on to the container; the
detach keys leave it alone.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import select
import termios

from rootless import attachment, terminal_relay, tty
from rootless import system as os
from rootless.record import record

_CHUNK = attachment.LARGEST - 1


@record
class End:
    """How being attached ended: `word` is EXIT with the status, FAILED with what failed, or empty for detached."""

    word: bytes
    data: bytes


def follow(
    connection: _socket.socket,
    *,
    terminal: bool,
    stdin: bool,
    detach_keys: bytes,
    signals: terminal_relay.Signals | None,
    outputs: tuple[bool, bool] = (True, True),
) -> End:
    """Relay until the container ends or the user detaches. `outputs` says whether standard output and error are shown.

    `signals` are passed on, or None to leave them their usual effect.
    """
    saved = terminal_relay.make_raw(0) if terminal and stdin else None
    try:
        if terminal:
            _send_size(connection)
        return _Relay(
            connection, terminal=terminal, stdin=stdin, keys=detach_keys, signals=signals, outputs=outputs
        ).run()
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _send_size(connection: _socket.socket) -> None:
    for fd in (0, 1, 2):
        try:
            size = fcntl.ioctl(fd, tty.TIOCGWINSZ, bytes(8))
        except OSError:
            continue
        rows, columns = int.from_bytes(size[:2], "little"), int.from_bytes(size[2:4], "little")
        if rows and columns:
            attachment.tell(connection, attachment.RESIZE, rows.to_bytes(2, "big") + columns.to_bytes(2, "big"))
        return


class _Relay:
    def __init__(
        self,
        connection: _socket.socket,
        *,
        terminal: bool,
        stdin: bool,
        keys: bytes,
        signals: terminal_relay.Signals | None,
        outputs: tuple[bool, bool],
    ) -> None:
        self.connection = connection
        self.terminal = terminal
        self.stdin = stdin
        self.keys = keys
        self.matched = 0
        self.signals = signals
        self.outputs = outputs
        self.gone: set[int] = set()

    def run(self) -> End:
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        if self.signals is not None:
            poll.register(self.signals.wake, select.POLLIN)
        if self.stdin:
            poll.register(0, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self.signals is not None and self.signals.wake in ready:
                self._pass_signals_on()
            if self.connection.fileno() in ready:
                word, data = attachment.hear(self.connection)
                if word in (attachment.OUTPUT, attachment.ERROR_OUTPUT):
                    self._show(word, data)
                elif word in (attachment.EXIT, attachment.FAILED, b""):
                    return End(word or attachment.FAILED, data)
            if 0 in ready:
                typed = self._read_typed()
                if typed is None:
                    return End(b"", b"")
                if not typed:
                    poll.unregister(0)

    def _show(self, word: bytes, data: bytes) -> None:
        fd = 1 if word == attachment.OUTPUT else 2
        if not self.outputs[fd - 1] or fd in self.gone:
            return
        try:
            while data:
                data = data[os.write(fd, data) :]
        except OSError:
            self.gone.add(fd)  # nobody reads it any more; the container goes on as docker's does

    def _read_typed(self) -> bytes | None:
        """What was typed and sent on, b"" at the end; None for the detach keys."""
        try:
            data = os.read(0, _CHUNK)
        except OSError:
            data = b""
        if not data:
            attachment.tell(self.connection, attachment.INPUT_END)
            return b""
        if self.terminal and self.keys:
            data = self._without_keys(data)
            if self.matched == len(self.keys):
                if data:
                    attachment.tell(self.connection, attachment.INPUT, data)
                return None
        if data:
            attachment.tell(self.connection, attachment.INPUT, data)
        return b"typed"

    def _without_keys(self, data: bytes) -> bytes:
        """`data` without what may be the beginning of the detach keys, and with what turned out not to be."""
        passed = bytearray()
        for byte in data:
            if byte == self.keys[self.matched]:
                self.matched += 1
                if self.matched == len(self.keys):
                    return bytes(passed)
                continue
            passed += self.keys[: self.matched]
            self.matched = 1 if byte == self.keys[0] else 0
            if not self.matched:
                passed.append(byte)
            elif self.matched == len(self.keys):
                return bytes(passed)
        return bytes(passed)

    def _pass_signals_on(self) -> None:
        assert self.signals is not None  # noqa: S101 # it is what woke us
        terminal_relay.drain(self.signals.wake)
        while self.signals.pending:
            number = self.signals.pending.pop(0)
            if number == _signal.SIGWINCH:
                if self.terminal:
                    _send_size(self.connection)
            else:
                attachment.tell(self.connection, attachment.SIGNAL, str(number).encode())
