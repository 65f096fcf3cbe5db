"""Published ports: reading `-p`, holding a port while its forwarder takes it over, and saying why that cannot be."""

from __future__ import annotations

import _socket

from rootless import system as os
from rootless.errors import HostUnfit, InUse, PtbError, UsageError
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EVERY_IPV4_ADDRESS = ("", "0.0.0.0")  # noqa: S104 # as users say it

_EACCES, _EADDRINUSE = 13, 98
_LISTEN, _UNCONNECTED = "0A", "07"
"""The states of a listening TCP and of a bound UDP socket in /proc/net/tcp and /proc/net/udp (proc(5))."""


@record
class PublishedPort:
    """A port of the host that leads to a port of the container.

    `host_ip` "" is every IPv4 address of the host; `host_port` 0 is any free one; `protocol` is tcp or udp.
    """

    host_ip: str
    host_port: int
    container_port: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        protocol = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"port {self.host_port}{protocol} on {self.host_ip or EVERY_IPV4_ADDRESS[1]}"


def parse(text: str) -> tuple[PublishedPort, ...]:
    """The ports that `[[IP:][HOST]:]CONTAINER[/tcp|/udp]` publishes; HOST and CONTAINER may be ranges FIRST-LAST.

    IP is IPv4, or IPv6 in brackets. Without HOST any free port is taken, for each of a range. Raises UsageError.
    """
    numbers, _slash, protocol = text.partition("/")
    front, _colon, container = numbers.rpartition(":")
    host_ip, _colon, host = front.rpartition(":")
    host_ip = host_ip.removeprefix("[").removesuffix("]")
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp"):
        raise UsageError(f'"{text}": protocol "{protocol}" cannot be published', hint="use tcp or udp")
    if host_ip and not is_address(host_ip):
        raise UsageError(f'"{text}": "{host_ip}" is not an IP address', hint="-p [[IP:][HOST]:]CONTAINER[/tcp|/udp]")
    inner = _read_range(container, text)
    outer = _read_range(host, text) if host else [0] * len(inner)
    if len(outer) != len(inner):
        raise UsageError(
            f'"{text}": {len(outer)} host ports for {len(inner)} container ports', hint="give ranges of one length"
        )
    return tuple(PublishedPort(host_ip, *pair, protocol) for pair in zip(outer, inner, strict=True))


def _read_range(numbers: str, text: str) -> list[int]:
    first, dash, last = numbers.partition("-")
    if first.isdecimal() and (last.isdecimal() or not dash):
        found = list(range(int(first), int(last or first) + 1))
        if found and found[0] >= 1 and found[-1] <= 0xFFFF:
            return found
    raise UsageError(f'"{text}": "{numbers}" is not a port or a range of ports', hint="ports are 1 to 65535")


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address without a zone."""
    try:
        _socket.inet_pton(_family(text), text)
    except (OSError, ValueError):
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether an IP address is of the loopback interface."""
    return address == "::1" or (":" not in address and address.startswith("127."))


def _family(address: str) -> int:
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


class Held:
    """A port that is the caller's until `release`: nobody else can hold it, but a forwarder can take it over.

    `port` has the number that was found free where any would do.
    """

    def __init__(
        self, port: PublishedPort, name_of: Callable[[int], str] | None = None, *, shared: bool = False
    ) -> None:
        """Take `port`; raises PtbError with what stands in the way, by name where `name_of` names a process id.

        `shared`: a UDP port that a forwarder has for all addresses already.
        """
        stream = port.protocol == "tcp"
        family = _family(port.host_ip)
        self._socket = _socket.socket(family, _socket.SOCK_STREAM if stream else _socket.SOCK_DGRAM)
        try:
            if family == _socket.AF_INET6:
                self._socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            # pasta binds with SO_REUSEADDR, and so must whoever shares a port with it. A TCP port can be shared until
            # somebody listens; a UDP port always, even a bystander's, so it is had alone before it is shared.
            if stream or shared:
                self._share()
            self._socket.bind((port.host_ip, port.host_port))
            self._share()
        except OSError as error:
            self._socket.close()
            raise _explain(port, error, name_of or _command_name) from error
        number = self._socket.getsockname()[1]
        self.port = PublishedPort(port.host_ip, number, port.container_port, port.protocol)

    def _share(self) -> None:
        self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)

    def fileno(self) -> int:
        """The descriptor of its socket, for another process to receive on."""
        return self._socket.fileno()

    def release(self) -> None:
        """Let go of the port; whoever took it over keeps it."""
        self._socket.close()


def _explain(port: PublishedPort, error: OSError, name_of: Callable[[int], str]) -> PtbError:
    if error.errno == _EADDRINUSE:
        pid = holder(port)
        who = f" by {name_of(pid)}" if pid else ""
        return InUse(
            f"{port} is in use{who}", hint="publish it on another port of the host, or on a free one: -p CONTAINER"
        )
    if error.errno == _EACCES:
        return HostUnfit(
            f"{port} cannot be published: ports below {_first_unprivileged()} are reserved for root",
            hint=f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port.host_port}, or publish another port",
        )
    return PtbError(f"{port} cannot be published: {os.strerror(error.errno or 0)}")


def _first_unprivileged() -> int:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="utf-8") as stream:
        return int(stream.read())


def check(ports: Iterable[PublishedPort], name_of: Callable[[int], str] | None = None) -> None:
    """Raise PtbError for the first port that cannot be published now.

    To be asked before anything is made, and outside the container's user namespace: from there the kernel shows who
    holds a port. `name_of` turns a process id into words, "slirp4netns" (process 12) by default.
    """
    for port in ports:
        Held(port, name_of).release()


def holder(port: PublishedPort) -> int:
    """The process that holds the port, as far as /proc tells the caller; 0 if it does not."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for pid in filter(str.isdecimal, os.listdir("/proc") if sockets else ()):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in sockets and int(pid) != os.getpid():
                    return int(pid)
        except OSError:
            continue
    return 0


def _inodes(port: PublishedPort) -> list[str]:
    state = _LISTEN if port.protocol == "tcp" else _UNCONNECTED
    found = []
    for table in (port.protocol, f"{port.protocol}6"):
        try:
            with open(f"/proc/net/{table}", encoding="utf-8") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        found += [row[9] for row in rows if row[3] == state and int(row[1].rpartition(":")[2], 16) == port.host_port]
    return found


def _command_name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return f'"{stream.read().strip()}" (process {pid})'
    except OSError:
        return f"process {pid}"
