"""D-Bus: one connection, method calls, and waiting for a signal; what asking systemd for a scope takes, and no more.

After the D-Bus specification 0.42: "Authentication Protocol", "Type System", "Marshaling (Wire Format)" and "Message
Protocol". Values are plain Python: an array is a list, of bytes `bytes`, of dictionary entries a dict; a structure is a
tuple; a variant is the tuple (signature, value). File descriptors (`h`) are not passed. Little-endian is written, both are
read. A peer that breaks the protocol is an InvalidDocument, one that does not answer in time or goes away a KernelError.
"""

from __future__ import annotations

import _socket
import os
from errno import ECONNRESET, ETIMEDOUT
from struct import Struct, calcsize
from struct import error as StructError  # noqa: N812

from rootless.errors import HostUnfit, InvalidDocument, KernelError, PtbError
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any, Self

_FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_LITTLE = {code: Struct(f"<{form}") for code, form in _FIXED.items()}
_BIG = {code: Struct(f">{form}") for code, form in _FIXED.items()}
_ALIGNMENT = {**{code: calcsize(f"={form}") for code, form in _FIXED.items()}, **dict.fromkeys("soa", 4)}
_ALIGNMENT.update({"g": 1, "v": 1, "(": 8, "{": 8})

_CALL, _REPLY, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SENDER, _SIGNATURE = range(1, 9)
_NO_REPLY_EXPECTED = 1
_MOST_ARRAY = 2**26
_MOST_MESSAGE = 2**27
_MOST_DEPTH = 64

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
TIMEOUT = 25.0
"""Seconds to wait for an answer, as libdbus and sd-bus do."""


class CallFailed(PtbError):
    """A method answered with an error; `name` is the error's own, such as org.freedesktop.systemd1.UnitExists."""

    def __init__(self, member: str, name: str, text: str) -> None:
        super().__init__(f"{member}: {text or name}")
        self.name = name
        self.text = text


@record
class Message:
    """What arrives: `kind` is the message type, `fields` the header fields by their code, `body` the arguments."""

    kind: int
    fields: dict[int, Any]
    body: tuple[Any, ...]


class Connection:
    """An authenticated stream to a bus, or to systemd itself (`direct`), which has no names and sends every signal."""

    __slots__ = ("_buffer", "_direct", "_serial", "_signals", "_socket")

    def __init__(self, address: str | bytes, *, direct: bool) -> None:
        self._buffer = bytearray()
        self._serial = 0
        self._direct = direct
        self._signals: list[Message] = []
        # An empty identity is who the kernel says is calling (SO_PEERCRED), in the bus's own user namespace: within
        # podman's the caller is 0 and the bus knows them as somebody else. sd-bus says the same. The uid in so many
        # digits is for a server that insists.
        refusal = b""
        for identity in (b"\r\nDATA", b" " + str(host_uid()).encode().hex().encode()):
            self._buffer.clear()
            self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                self._socket.settimeout(TIMEOUT)
                self._socket.connect(address)
                refusal = self._authenticate(identity)
                if not refusal:
                    if not direct:
                        self._send(_NO_REPLY_EXPECTED, BUS, "Hello", "", ())
                    return
            except BaseException:
                self._socket.close()
                raise
            self._socket.close()
        raise InvalidDocument(f"D-Bus did not accept user {host_uid()}: {refusal.decode(errors='replace')}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, target: tuple[str, str, str], member: str, signature: str = "", *arguments: Any) -> tuple[Any, ...]:
        """Call `member` of `target`, a (bus name, object path, interface); returns what it returns, or raises CallFailed."""
        serial = self._send(0, target, member, signature, arguments)
        while True:
            message = self._receive()
            if message.fields.get(_REPLY_SERIAL) != serial:
                if message.kind == _SIGNAL:
                    self._signals.append(message)
            elif message.kind == _ERROR:
                text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
                raise CallFailed(member, str(message.fields.get(_ERROR_NAME)), text)
            elif message.kind == _REPLY:
                return message.body

    def subscribe(self, rule: str) -> None:
        """Have the bus pass on the signals that match `rule` ("Match Rules"); without waiting, for order is kept."""
        if not self._direct:
            self._send(_NO_REPLY_EXPECTED, BUS, "AddMatch", "s", (rule,))

    def await_signal(self, interface: str, member: str, wanted: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
        """The arguments of the first signal `interface.member`, of those since the connection was made, that is `wanted`."""
        while True:
            message = self._signals.pop(0) if self._signals else self._receive()
            if (message.kind, message.fields.get(_INTERFACE), message.fields.get(_MEMBER)) == (
                _SIGNAL,
                interface,
                member,
            ) and wanted(message.body):
                return message.body

    def _authenticate(self, identity: bytes) -> bytes:
        """What the server said against `identity`; nothing if it was accepted."""
        # BEGIN goes along with the rest and no message before the answer: a message that systemd reads together with
        # BEGIN lies in its buffer until something more arrives.
        self._socket.sendall(b"\0AUTH EXTERNAL" + identity + b"\r\nBEGIN\r\n")
        answer = self._line()
        if answer.startswith(b"DATA"):
            answer = self._line()
        return b"" if answer.startswith(b"OK") else answer or b"nothing"

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > 16384:
                raise InvalidDocument("D-Bus: a line of the authentication does not end")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _fill(self) -> None:
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            raise KernelError("D-Bus", "", ETIMEDOUT) from None
        except OSError as error:
            raise KernelError("D-Bus", "", error.errno or 0) from None
        if not data:
            raise KernelError("D-Bus", "", ECONNRESET)
        self._buffer += data

    def _send(
        self, flags: int, target: tuple[str, str, str], member: str, signature: str, arguments: Sequence[Any]
    ) -> int:
        self._serial += 1
        destination, path, interface = target
        body = marshal(signature, arguments)
        fields: list[tuple[int, tuple[str, Any]]] = [
            (_PATH, ("o", path)),
            (_INTERFACE, ("s", interface)),
            (_MEMBER, ("s", member)),
        ]
        if not self._direct:
            fields.append((_DESTINATION, ("s", destination)))
        if signature:
            fields.append((_SIGNATURE, ("g", signature)))
        header = marshal("yyyyuua(yv)", (ord("l"), _CALL, flags, 1, len(body), self._serial, fields))
        try:
            self._socket.sendall(header + b"\0" * (-len(header) % 8) + body)
        except OSError as error:
            raise KernelError("D-Bus", member, error.errno or ETIMEDOUT) from None
        return self._serial

    def _receive(self) -> Message:
        while (end := message_size(self._buffer)) == 0 or len(self._buffer) < end:
            self._fill()
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        return parse_message(data)


def message_size(data: bytes | bytearray) -> int:
    """How long the message that `data` begins is; 0 if its fixed part is not there yet."""
    if len(data) < 16:
        return 0
    if data[0] not in b"lB" or data[3] != 1:
        raise InvalidDocument("D-Bus: not a message of protocol version 1")
    number = _LITTLE["u"] if data[0] == ord("l") else _BIG["u"]
    (body,), (fields,) = number.unpack_from(data, 4), number.unpack_from(data, 12)
    size: int = 16 + fields + -fields % 8 + body
    if fields > _MOST_ARRAY or size > _MOST_MESSAGE:
        raise InvalidDocument("D-Bus: the message is too long")
    return size


def parse_message(data: bytes) -> Message:
    """The message that `data` is, all of it. Raises InvalidDocument."""
    little = data[0] == ord("l")
    fields, start = unmarshal("a(yv)", data, offset=12, little=little)
    header = {code: value for code, (_signature, value) in fields[0]}
    body = data[start + -start % 8 :]
    values, end = unmarshal(header.get(_SIGNATURE, ""), body, little=little)
    if end != len(body):
        raise InvalidDocument("D-Bus: the body does not end where its signature does")
    return Message(data[1], header, tuple(values))


def marshal(signature: str, values: Sequence[Any]) -> bytes:
    """The wire form of `values`, little-endian, for an offset that is a multiple of 8. Raises InvalidDocument."""
    out = bytearray()
    types = split_signature(signature)
    if len(types) != len(values):
        raise InvalidDocument(f'D-Bus: {len(values)} values for "{signature}"')
    try:
        for kind, value in zip(types, values, strict=True):
            _put(out, kind, value)
    except (TypeError, ValueError, AttributeError, StructError):
        raise InvalidDocument(f'D-Bus: {values!r} is not "{signature}"') from None
    return bytes(out)


def _put(out: bytearray, kind: str, value: Any) -> None:
    code = kind[0]
    out += b"\0" * (-len(out) % _ALIGNMENT[code])
    if code in _FIXED:
        if code == "b" and value not in (0, 1):
            raise ValueError
        out += _LITTLE[code].pack(value)
    elif code in "so":
        encoded = value.encode()
        if b"\0" in encoded:
            raise ValueError
        out += _LITTLE["u"].pack(len(encoded)) + encoded + b"\0"
    elif code == "g":
        split_signature(value)
        out += bytes([len(value)]) + value.encode() + b"\0"
    elif code == "v":
        inner, content = value
        if len(split_signature(inner)) != 1:
            raise ValueError
        _put(out, "g", inner)
        _put(out, inner, content)
    elif code == "a":
        at = len(out)
        out += b"\0\0\0\0" + b"\0" * (-(at + 4) % _ALIGNMENT[kind[1]])
        start = len(out)
        if kind == "ay":
            out += bytes(value)
        else:
            for item in value.items() if kind[1] == "{" and isinstance(value, dict) else value:
                _put(out, kind[1:], item)
        if len(out) - start > _MOST_ARRAY:
            raise ValueError
        out[at : at + 4] = _LITTLE["u"].pack(len(out) - start)
    else:
        for inner, item in zip(split_signature(kind[1:-1]), value, strict=True):
            _put(out, inner, item)


def unmarshal(signature: str, data: bytes, *, offset: int = 0, little: bool = True) -> tuple[list[Any], int]:
    """The values at `offset` of `data`, and the offset after them. Raises InvalidDocument."""
    reader = _Reader(data, offset, _LITTLE if little else _BIG)
    try:
        values = [reader.take(kind, 0) for kind in split_signature(signature)]
    except (IndexError, ValueError, TypeError, StructError):
        raise InvalidDocument(f'D-Bus: a message is not the "{signature}" it says it is') from None
    return values, reader.at


class _Reader:
    __slots__ = ("_data", "_numbers", "at")

    def __init__(self, data: bytes, at: int, numbers: dict[str, Struct]) -> None:
        self._data = data
        self.at = at
        self._numbers = numbers

    def take(self, kind: str, depth: int) -> Any:
        code = kind[0]
        self._align(_ALIGNMENT[code])
        if depth > _MOST_DEPTH:
            raise ValueError
        if code in _FIXED:
            value = self._number(code)
            if code == "b" and value > 1:
                raise ValueError
            return bool(value) if code == "b" else value
        if code in "so":
            return self._text(self._number("u"))
        if code == "g":
            return self._text(self._number("y"))
        if code == "v":
            (inner,) = split_signature(self._text(self._number("y")))
            return inner, self.take(inner, depth + 1)
        if code == "a":
            return self._array(kind[1:], depth)
        return tuple(self.take(inner, depth + 1) for inner in split_signature(kind[1:-1]))

    def _array(self, kind: str, depth: int) -> Any:
        length = self._number("u")
        self._align(_ALIGNMENT[kind[0]])
        end = self.at + length
        if length > _MOST_ARRAY or end > len(self._data):
            raise ValueError
        if kind == "y":
            start, self.at = self.at, end
            return self._data[start:end]
        items = []
        while self.at < end:
            items.append(self.take(kind, depth + 1))
        if self.at != end:
            raise ValueError
        return dict(items) if kind[0] == "{" else items

    def _number(self, code: str) -> Any:
        form = self._numbers[code]
        (value,) = form.unpack_from(self._data, self.at)
        self.at += form.size
        return value

    def _text(self, length: int) -> str:
        end = self.at + length
        if self._data[end] != 0 or self._data.find(0, self.at, end) >= 0:
            raise ValueError
        text = self._data[self.at : end].decode()
        self.at = end + 1
        return text

    def _align(self, boundary: int) -> None:
        padding = -self.at % boundary
        if any(self._data[self.at : self.at + padding]):
            raise ValueError
        self.at += padding


def split_signature(signature: str) -> list[str]:
    """The complete types `signature` is made of ("Valid Signatures"). Raises InvalidDocument."""
    types = []
    rest = 0
    try:
        if len(signature) > 255:
            raise ValueError
        while rest < len(signature):
            end = _type_end(signature, rest, 0)
            types.append(signature[rest:end])
            rest = end
    except (IndexError, ValueError):
        raise InvalidDocument(f'D-Bus: "{signature}" is not a signature') from None
    return types


def _type_end(signature: str, at: int, depth: int) -> int:
    code = signature[at]
    if code in _FIXED or code in "sogv":
        return at + 1
    if depth >= _MOST_DEPTH:
        raise ValueError
    if code == "a" and signature[at + 1] == "{":
        if signature[at + 2] not in _FIXED and signature[at + 2] not in "sog":
            raise ValueError
        end = _type_end(signature, at + 3, depth + 1)
        if signature[end] != "}":
            raise ValueError
        return end + 1
    if code == "a":
        return _type_end(signature, at + 1, depth + 1)
    if code != "(" or signature[at + 1] == ")":
        raise ValueError
    at += 1
    while signature[at] != ")":
        at = _type_end(signature, at, depth + 1)
    return at + 1


def connect(addresses: Sequence[tuple[str, bool]]) -> Connection:
    """A connection to the first of these (address, direct) that takes one. Raises HostUnfit where none does."""
    failure = "no address is known"
    for text, direct in addresses:
        for place in parse_address(text):
            try:
                return Connection(place, direct=direct)
            except OSError as error:
                failure = f"{text}: {os.strerror(error.errno or 0)}"
            except (KernelError, InvalidDocument) as error:
                failure = f"{text}: {error.message}"
    raise HostUnfit(
        f"systemd cannot be asked for a cgroup: {failure}",
        hint="log in through PAM with dbus-user-session installed, or use --cgroup-manager cgroupfs",
    )


def parse_address(text: str) -> list[str | bytes]:
    """The sockets that a D-Bus address lists, as "unix:path=" or "unix:abstract="; other transports are skipped."""
    places: list[str | bytes] = []
    for entry in text.split(";"):
        transport, _colon, options = entry.partition(":")
        if transport != "unix":
            continue
        for option in options.split(","):
            key, _equals, value = option.partition("=")
            if key == "path":
                places.append(_unescaped(value))
            elif key == "abstract":
                places.append(b"\0" + _unescaped(value))
    return places


def _unescaped(value: str) -> bytes:
    head, *escaped = os.fsencode(value).split(b"%")
    try:
        return head + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in escaped)
    except ValueError:
        raise InvalidDocument(f'D-Bus address: "{value}" has a % that escapes nothing') from None


def _escaped(path: str) -> str:
    plain = b"-_/.\\*abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return "".join(chr(byte) if byte in plain else f"%{byte:02x}" for byte in os.fsencode(path))


def systemd_addresses(*, user: bool) -> list[tuple[str, bool]]:
    """Where the user's own systemd, or the machine's, can be asked, as (address, direct): itself first, then the bus."""
    if not user:
        bus = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket")
        return [("unix:path=/run/systemd/private", True), (bus, False)]
    runtime = _escaped(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{host_uid()}")
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS", f"unix:path={runtime}/bus")
    return [(f"unix:path={runtime}/systemd/private", True), (bus, False)]


def host_uid() -> int:
    """The caller's uid as the parent user namespace knows it, from /proc/self/uid_map (user_namespaces(7))."""
    own = os.geteuid()
    try:
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            for line in lines:
                inside, outside, length = map(int, line.split())
                if inside <= own < inside + length:
                    return outside + own - inside
    except OSError:
        pass
    return own
