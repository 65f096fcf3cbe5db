"""slirp4netns(1): a TCP/IP stack in a process of its own behind a tap interface of the container's.

In its network `cidr`, 10.0.2.0/24 by default, the container is .100, the way out .2 and the name server .3; with IPv6
it is fd00::/64. Behind .2 is the host's own loopback, but only with `allow_host_loopback`; .3 passes questions on to
the host's name server in any case.
"""

from __future__ import annotations

import _socket

from rootless import json_text
from rootless import system as os
from rootless.errors import HostUnfit, NotFound, PtbError, UsageError
from rootless.network import helper as helpers
from rootless.network.datagrams import Relay
from rootless.network.helper import Helper
from rootless.network.ports import EVERY_IPV4_ADDRESS, Held, PublishedPort, is_address, is_loopback
from rootless.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PROGRAM = "slirp4netns"
_SOCKET = "slirp.sock"
_READY_FD = 3
_INTERFACE = "tap0"
_CONTAINER, _GATEWAY, _NAME_SERVER = 100, 2, 3
_LARGEST_MTU = 65521
_LARGEST_NUMBER_OF_TRIES = 16


@record
class SlirpOptions:
    """What podman's `--network slirp4netns:…` sets; `mtu` in bytes, `outbound_addr` an address or an interface."""

    allow_host_loopback: bool = False
    enable_ipv6: bool = True
    mtu: int = 65520
    cidr: str = "10.0.2.0/24"
    outbound_addr: str = ""
    outbound_addr6: str = ""


@record
class Addresses:
    """Who is who in the network that the container sees."""

    container: str
    gateway: str
    name_server: str


def parse(text: str) -> SlirpOptions:
    """The options in `NAME=VALUE,…`, as podman spells them (podman-run(1), --network). Raises UsageError.

    `port_handler` may name any of podman's; ports are always handed to slirp4netns itself.
    """
    found: dict[str, Any] = {}
    for entry in filter(None, text.split(",")):
        name, _equals, value = entry.partition("=")
        if name in ("allow_host_loopback", "enable_ipv6") and value in ("true", "false"):
            found[name] = value == "true"
        elif name == "mtu" and value.isdecimal() and 68 <= int(value) <= _LARGEST_MTU:
            found[name] = int(value)
        elif (name == "cidr" and _is_network(value)) or (name in ("outbound_addr", "outbound_addr6") and value):
            found[name] = value
        elif name != "port_handler" or value not in ("slirp4netns", "rootlesskit", "rootlessport"):
            raise UsageError(f'slirp4netns: "{entry}" is not one of its options', hint=_hint(name))
    return SlirpOptions(**found)


def _hint(name: str) -> str:
    return {
        "mtu": f"mtu is a number of bytes from 68 to {_LARGEST_MTU}",
        "cidr": "cidr is an IPv4 network of at most 25 bits, as 10.0.2.0/24",
    }.get(
        name,
        "options: allow_host_loopback=true|false, cidr=, enable_ipv6=true|false, mtu=, outbound_addr=, outbound_addr6=,"
        " port_handler=slirp4netns",
    )


def _is_network(text: str) -> bool:
    address, _slash, bits = text.partition("/")
    return ":" not in address and is_address(address) and bits.isdecimal() and 1 <= int(bits) <= 25


def addresses(options: SlirpOptions) -> Addresses:
    """The IPv4 addresses of the container, the gateway and the name server."""
    address, _slash, bits = options.cidr.partition("/")
    network = int.from_bytes(_socket.inet_aton(address)) >> (32 - int(bits)) << (32 - int(bits))
    ends = (_CONTAINER, _GATEWAY, _NAME_SERVER)
    return Addresses(*(_socket.inet_ntoa((network + end).to_bytes(4)) for end in ends))


def start(netns_fd: int, options: SlirpOptions, ports: Sequence[PublishedPort], directory: int) -> Helper:
    """Start slirp4netns for the network namespace `netns_fd` and do not wait for it.

    `directory` is a descriptor of a directory that is the caller's alone; the API socket is made there, and whoever
    can reach it can publish ports. `ports` are published by `wait_ready`. Raises HostUnfit.
    """
    program = helpers.find(_PROGRAM, "slirp4netns")
    arguments = [
        "--configure",
        f"--mtu={options.mtu}",
        f"--cidr={options.cidr}",
        "--enable-sandbox",
        "--enable-seccomp",
        f"--ready-fd={_READY_FD}",
        f"--exit-fd={helpers.EXIT_FD}",
        f"--api-socket={_SOCKET}",
        "--netns-type=path",
    ]
    if not options.allow_host_loopback:
        arguments.append("--disable-host-loopback")
    if options.enable_ipv6 and os.path.exists("/proc/net/if_inet6"):
        arguments.append("--enable-ipv6")
    if options.outbound_addr:
        arguments.append(f"--outbound-addr={options.outbound_addr}")
    if options.outbound_addr6:
        arguments.append(f"--outbound-addr6={options.outbound_addr6}")
    arguments += [helpers.NETNS, _INTERFACE]
    relay = None if options.allow_host_loopback else Relay(netns_fd, addresses(options).container)
    return helpers.start(program, arguments, netns_fd, directory, ready_number=_READY_FD, ports=ports, relay=relay)


def wait_ready(helper: Helper) -> tuple[PublishedPort, ...]:
    """Wait until the network works and publish the ports; returns them with their numbers. Raises PtbError."""
    helpers.await_ready(helper)
    return add_ports(helper, helper.ports)


def add_ports(helper: Helper, ports: Sequence[PublishedPort], container_address: str = "") -> tuple[PublishedPort, ...]:
    """Publish more ports, all or none, and return them with their numbers.

    They lead to `container_address`, or to slirp4netns's own container. Raises PtbError with what stands in the way.
    """
    added: list[PublishedPort] = []
    try:
        for port in ports:
            added.append(_publish(helper, port, container_address))
    except PtbError:
        for port in added:
            remove_port(helper, port)
        raise
    return tuple(added)


def _publish(helper: Helper, wanted: PublishedPort, container_address: str) -> PublishedPort:
    if helper.relay is None or wanted.protocol != "udp":
        return _forward(helper, wanted, container_address)
    if is_loopback(wanted.host_ip):
        return helper.relay.add(wanted, container_address)
    port = _forward(helper, wanted, container_address)
    if port.host_ip in EVERY_IPV4_ADDRESS:
        try:
            helper.relay.add(_on_loopback(port), container_address, shared=True)
        except PtbError:
            remove_port(helper, port)
            raise
    return port


def _on_loopback(port: PublishedPort) -> PublishedPort:
    return replace(port, host_ip="127.0.0.1")


def _forward(helper: Helper, wanted: PublishedPort, container_address: str) -> PublishedPort:
    for _try in range(_LARGEST_NUMBER_OF_TRIES):
        held = Held(wanted)
        port = held.port
        arguments: dict[str, object] = {
            "proto": port.protocol,
            "host_addr": port.host_ip,
            "host_port": port.host_port,
            "guest_addr": container_address,
            "guest_port": port.container_port,
        }
        held.release()
        answer = _ask(helper, "add_hostfwd", arguments)
        refusal = answer.get("error", {}).get("desc")
        if not refusal:
            return port
        if "host_addr" in refusal:
            raise HostUnfit(
                f"{port} cannot be published: this slirp4netns forwards from IPv4 addresses only",
                hint="publish it on an IPv4 address, or use --network pasta",
            )
        # slirp4netns binds what nobody else has bound. Somebody was faster: the next try finds another port, or says who.
    raise PtbError(f"{port} cannot be published: slirp4netns says: {refusal}")


def remove_port(helper: Helper, port: PublishedPort) -> None:
    """Publish a port no more. Raises NotFound when it was not, or PtbError."""
    if helper.relay is not None:
        if helper.relay.remove(port):
            return
        helper.relay.remove(_on_loopback(port))
    wanted = (port.protocol, port.host_ip or EVERY_IPV4_ADDRESS[1], port.host_port)
    listed = _ask(helper, "list_hostfwd", {})
    for entry in listed.get("return", listed).get("entries", ()):
        address = entry.get("host_addr") or entry.get("host_addr6")
        if (entry["proto"], address, entry["host_port"]) == wanted:
            answer = _ask(helper, "remove_hostfwd", {"id": entry["id"]})
            if "error" in answer:
                raise PtbError(f"{port} cannot be given back: slirp4netns says: {answer['error'].get('desc')}")
            return
    raise NotFound(f"{port} is not published")


def _ask(helper: Helper, command: str, arguments: dict[str, object]) -> dict[str, Any]:
    """The answer to one request of slirp4netns's API; a connection takes one. Raises PtbError."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(f"/proc/self/fd/{helper.directory}/{_SOCKET}")
        connection.sendall(json_text.dump({"execute": command, "arguments": arguments}).encode())
        connection.shutdown(_socket.SHUT_WR)
        said = b""
        while chunk := connection.recv(1 << 16):
            said += chunk
    except OSError as error:
        raise PtbError(f"slirp4netns does not answer: {os.strerror(error.errno or 0)}") from error
    finally:
        connection.close()
    answer: dict[str, Any] = json_text.parse(said.decode(), "slirp4netns's answer")
    return answer
