"""Published ports: `-p` and `--expose` as docker and podman take them, and how they are shown."""

from __future__ import annotations

from rootless.errors import UsageError
from toolbox.containers.record import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Published = tuple[str, int, int, str]
    """(host address, host port, container port, protocol)"""

_PROTOCOLS = ("tcp", "udp")


def parse(texts: Iterable[str]) -> tuple[Port, ...]:
    """The ports of all `-p`, in order: `[[IP:][HOST[-HOST]]:]CONTAINER[-CONTAINER][/tcp|udp]`. Raises UsageError."""
    found: list[Port] = []
    for text in texts:
        for port in _one(text):
            if port not in found:
                found.append(port)
    taken: dict[tuple[str, int, str], Port] = {}
    for port in found:
        key = (port.host_ip, port.host_port, port.protocol)
        if port.host_port and key in taken:
            raise UsageError(f"port {port.host_port}/{port.protocol} of the host is published twice")
        taken[key] = port
    return tuple(found)


def _one(text: str) -> list[Port]:
    mapping, protocol = _split_protocol(text)
    address = ""
    if mapping.startswith("["):
        address, bracket, mapping = mapping[1:].partition("]:")
        if not bracket:
            raise _wrong(text)
    parts = mapping.split(":")
    if len(parts) == 3 and not address:
        address, parts = parts[0], parts[1:]
    if len(parts) > 2 or (address and not is_address(address)):
        raise _wrong(text)
    inside = _range(parts[-1], text)
    outside = _range(parts[0], text) if len(parts) == 2 and parts[0] else None
    count = len(inside)
    if outside is None:
        return [Port(address, 0, port, protocol) for port in inside]
    if len(outside) == count:
        return [Port(address, host, port, protocol) for host, port in zip(outside, inside, strict=True)]
    raise UsageError(f'-p "{text}": {len(outside)} ports of the host for {count} of the container')


def _split_protocol(text: str) -> tuple[str, str]:
    mapping, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise UsageError(f'-p "{text}": protocol "{protocol}" cannot be published, only tcp and udp can')
    return mapping, protocol


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def _range(text: str, whole: str) -> range:
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    if not all(number.isascii() and number.isdecimal() and 0 < int(number) < 65536 for number in numbers):
        raise _wrong(whole)
    low, high = map(int, numbers)
    if low > high:
        raise UsageError(f'-p "{whole}": the range ends before it begins')
    return range(low, high + 1)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f'-p "{text}" is not [[IP:]HOST:]CONTAINER[/PROTOCOL]', hint="as in -p 8080:80 or -p 127.0.0.1::80/udp"
    )


def exposed(texts: Iterable[str]) -> tuple[str, ...]:
    """The single ports, as `80/tcp`, of `--expose` and of an image's ExposedPorts. Raises UsageError."""
    found: list[str] = []
    for text in texts:
        numbers, protocol = _split_protocol(text)
        found += [f"{port}/{protocol}" for port in _range(numbers, text)]
    return tuple(dict.fromkeys(found))


def shown(published: Sequence[Published], exposed_ports: Sequence[str] = ()) -> str:
    """The PORTS column: consecutive ports of one kind joined, exposed ones that are not published at the end."""
    runs: list[list[Published]] = []
    for port in sorted(published, key=lambda one: (one[0], one[3], one[2], one[1])):
        last = runs[-1][-1] if runs else None
        follows = last is not None and (last[0], last[3]) == (port[0], port[3])
        if follows and last is not None and last[2] + 1 == port[2] and last[1] and last[1] + 1 == port[1]:
            runs[-1].append(port)
        else:
            runs.append([port])
    texts = [_run(run) for run in runs]
    inside = {f"{port}/{protocol}" for _ip, _host, port, protocol in published}
    return ", ".join([*texts, *(port for port in exposed_ports if port not in inside)])


def _run(run: Sequence[Published]) -> str:
    address, host, port, protocol = run[0]
    place = f"[{address}]" if ":" in address else address or "0.0.0.0"  # noqa: S104
    if len(run) == 1:
        return f"{place}:{host}->{port}/{protocol}"
    return f"{place}:{host}-{run[-1][1]}->{port}-{run[-1][2]}/{protocol}"
