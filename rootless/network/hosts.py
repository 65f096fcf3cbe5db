"""The container's /etc/hosts and /etc/resolv.conf: text in, text out, as podman writes them (hosts(5), resolv.conf(5)).

`host.containers.internal` and `host.docker.internal` are the host. What works by that name depends on the network:

    host            127.0.0.1, everything
    slirp4netns     `first_address()`, an address of the host's own: services that listen there or on every address.
                    Those of the host's loopback answer on the gateway, 10.0.2.2, with allow_host_loopback=true only.
    pasta           `pasta.host_address()`
    none            no such name
"""

from __future__ import annotations

import _socket

from rootless.errors import UsageError
from rootless.network.ports import is_address, is_loopback
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HOST_NAMES = ("host.containers.internal", "host.docker.internal")
_HOST_GATEWAY = "host-gateway"
_DOCUMENTATION_ADDRESS = "203.0.113.1"  # RFC 5737; nothing is sent
_STUBS = {
    "127.0.0.53": "/run/systemd/resolve/resolv.conf",
    "127.0.0.1": "/run/NetworkManager/no-stub-resolv.conf",
}
"""Name servers that only forward, on the host's loopback, and the file with those that they forward to."""


@record
class Names:
    """An address and what it is called."""

    address: str
    names: tuple[str, ...]


@record
class Resolver:
    """What `--dns`, `--dns-search` and `--dns-option` ask for; what is empty comes from the host's resolv.conf.

    A search list with "." is none.
    """

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_added(entries: Iterable[str], host: str) -> tuple[Names, ...]:
    """What `--add-host NAME[;NAME…]:ADDRESS` adds; the address "host-gateway" is `host`. Raises UsageError."""
    found = []
    for entry in entries:
        names, colon, address = entry.partition(":")
        address = address.removeprefix("[").removesuffix("]")
        if not colon or not all(names.split(";")):
            raise UsageError(f'"{entry}" does not add a host', hint="--add-host NAME:ADDRESS or NAME:host-gateway")
        if address == _HOST_GATEWAY:
            if not host:
                raise UsageError(f'"{entry}": the host has no address in this network')
            address = host
        if not is_address(address):
            raise UsageError(f'"{entry}": "{address}" is not an IP address')
        found.append(Names(address, tuple(names.split(";"))))
    return tuple(found)


def hosts(base: str, own: Sequence[Names], added: Sequence[Names] = (), host: str = "") -> str:
    """The text of the container's /etc/hosts.

    First what was `added`, then `base`, the text of the host's file or of another, then localhost, the host under its
    names at the address `host` (none when ""), and the container's `own` names. A name that came before is not given
    again. Of `base` is left out what says who the host is, and the container's own names on a loopback address: there
    they would mean the host's loopback.
    """
    mine = {name for entry in own for name in entry.names}
    entries = list(added)
    for line in base.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        unwanted = {*_HOST_NAMES, *(mine if is_loopback(address) else ())}
        kept = tuple(name for name in names if name not in unwanted)
        if kept:
            entries.append(Names(address, kept))
    given = {name for entry in entries for name in entry.names}
    later = [Names("127.0.0.1", ("localhost",)), Names("::1", ("localhost",))]
    if host:
        later.append(Names(host, _HOST_NAMES))
    for entry in (*later, *own):
        free = tuple(name for name in entry.names if name not in given)
        if free:
            entries.append(Names(entry.address, free))
    return "".join(f"{entry.address}\t{' '.join(entry.names)}\n" for entry in entries)


def resolv_conf(base: str, wanted: Resolver, *, forwarder: str = "", private: bool = True, ipv6: bool = True) -> str:
    """The text of the container's /etc/resolv.conf, from `base`, the host's.

    In a network namespace of its own (`private`) the name servers are those wanted, or else the `forwarder` that the
    network has and then the host's, except for those that cannot be reached: on the host's loopback, on a link of the
    host's, or over IPv6 without `ipv6`. In the host's network they are the host's.
    """
    if not private and wanted == Resolver():
        return base
    servers, searches, options = list(wanted.servers), list(wanted.searches), list(wanted.options)
    if not servers:
        servers = [server for server in _values(base, "nameserver") if not private or _is_reachable(server, ipv6=ipv6)]
        if forwarder:
            servers.insert(0, forwarder)
    if not searches:
        searches = (_values(base, "search") or _values(base, "domain"))[:]
    if not options:
        options = _values(base, "options")
    lines = [f"search {' '.join(searches)}"] if searches and "." not in searches else []
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)


def host_resolv_conf(*, private: bool) -> str:
    """The text of the host's resolv.conf, "" without one; `private`: of the file behind a stub on its loopback."""
    text = _read("/etc/resolv.conf")
    servers = _values(text, "nameserver")
    if private and len(servers) == 1 and servers[0] in _STUBS:
        return _read(_STUBS[servers[0]]) or text
    return text


def first_address(otherwise: str = "") -> str:
    """The host's IPv4 address on the way to other machines; without such a way, `otherwise`."""
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        probe.connect((_DOCUMENTATION_ADDRESS, 9))
        address: str = probe.getsockname()[0]
        return address
    except OSError:
        return otherwise
    finally:
        probe.close()


def _values(text: str, keyword: str) -> list[str]:
    """The values of `keyword`, which adds up, except that the last line counts for search and domain (resolv.conf(5))."""
    found: list[str] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 1 and fields[0] == keyword:
            if keyword == "nameserver":
                found.append(fields[1])
            elif keyword == "options":
                found += fields[1:]
            else:
                found = fields[1:]
    return found


def _is_reachable(server: str, *, ipv6: bool) -> bool:
    return not is_loopback(server) and "%" not in server and (ipv6 or ":" not in server)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
