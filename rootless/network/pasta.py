"""pasta(1), of the package passt: the container gets a copy of the host's addresses and routes, without translation.

What the container sends to an address of the host's therefore stays in the container. `GUEST_ADDRESS` leads to the host
where pasta is new enough, and the gateway leads to the host's loopback where `--map-gw` asks for that. Debian 12's pasta
loses UDP datagrams to a published port that has another number in the container.
"""

from __future__ import annotations

import _socket

from rootless.errors import UsageError
from rootless.network import helper as helpers
from rootless.network.helper import Helper
from rootless.network.ports import Held, PublishedPort
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NAME_SERVER = "169.254.1.1"
"""The link-local address that pasta passes questions on from to the host's name server, as podman has it."""

GUEST_ADDRESS = "169.254.1.2"
"""The link-local address that stands for the host's own, as podman has it."""

_READY_FD = 1
_MAP_GATEWAY = "--map-gw"
"""podman's word for not passing --no-map-gw; pasta has no such option."""


@record
class PastaOptions:
    """The words of pasta's command line that podman's `--network pasta:…` adds."""

    arguments: tuple[str, ...] = ()

    def has(self, *names: str) -> bool:
        """Whether one of the options, by any of its names, is given."""
        return any(argument.partition("=")[0] in names for argument in self.arguments)


def parse(text: str) -> PastaOptions:
    """The options in `WORD,…`, which pasta itself understands (podman-run(1), --network).

    Raises UsageError for those that would take the container's network from its monitor.
    """
    options = PastaOptions(tuple(filter(None, text.split(","))))
    for name in ("--netns", "--pid", "-P", "--userns", "--runas", "--help", "--version"):
        if options.has(name):
            raise UsageError(f'pasta: option "{name}" cannot be given: ptb sets it')
    return options


def host_address(options: PastaOptions) -> str:
    """The address by which the container reaches the host; "" if there is none. Raises HostUnfit without pasta.

    Behind `GUEST_ADDRESS` are all services of the host but those of its loopback; behind the gateway, those only.
    """
    if _maps_guest_address(helpers.find("pasta", "passt"), options):
        return GUEST_ADDRESS
    return _gateway() if options.has(_MAP_GATEWAY) else ""


def name_server(options: PastaOptions) -> str:
    """The address that the container asks for names: the first of those given as --dns-forward, or `NAME_SERVER`."""
    words = iter(options.arguments)
    for word in words:
        name, _equals, value = word.partition("=")
        if name == "--dns-forward":
            return value or next(words, NAME_SERVER)
    return NAME_SERVER


def start(netns_fd: int, options: PastaOptions, ports: Sequence[PublishedPort], directory: int) -> helpers.Helper:
    """Start pasta for the network namespace `netns_fd` and do not wait for it; it publishes `ports` as it starts.

    `directory` is a descriptor of a directory to start it in. Raises HostUnfit, and PtbError for a port that cannot be
    published.
    """
    program = helpers.find("pasta", "passt")
    arguments = ["--config-net", *(word for word in options.arguments if word != _MAP_GATEWAY)]
    held: list[Held] = []
    try:
        for port in ports:
            held.append(Held(port))
        published = [each.port for each in held]
        for port in published:
            address = f"{port.host_ip}/" if port.host_ip else ""
            arguments += [f"-{port.protocol[0]}", f"{address}{port.host_port}:{port.container_port}"]
        given = PastaOptions(tuple(arguments))
        for names in (("-t", "--tcp-ports"), ("-u", "--udp-ports"), ("-T", "--tcp-ns"), ("-U", "--udp-ns")):
            if not given.has(*names):
                arguments += [names[0], "none"]
        if not given.has("--dns-forward"):
            arguments += ["--dns-forward", NAME_SERVER]
        if not options.has(_MAP_GATEWAY, "--no-map-gw"):
            arguments.append("--no-map-gw")
        if _maps_guest_address(program, options) and not options.has("--map-guest-addr"):
            arguments += ["--map-guest-addr", GUEST_ADDRESS]
        # Its own process id is written when everything else is done (--pid), and to be killed it has to stay a child.
        arguments += ["--foreground", "--quiet", "--pid", f"/proc/self/fd/{_READY_FD}", "--netns", helpers.NETNS]
        return helpers.start(
            program, arguments, netns_fd, directory, ready_number=_READY_FD, ports=published, held=held
        )
    except BaseException:
        for each in held:
            each.release()
        raise


def wait_ready(helper: Helper) -> tuple[PublishedPort, ...]:
    """Wait until the network works; returns the published ports with their numbers. Raises PtbError."""
    helpers.await_ready(helper)
    return helper.ports


def _maps_guest_address(program: str, options: PastaOptions) -> bool:
    """Whether this pasta has --map-guest-addr (since 2024), which its text tells sooner than starting it would."""
    with open(program, "rb") as stream:
        return b"map-guest-addr" in stream.read()


def _gateway() -> str:
    """The IPv4 gateway of the host's default route (/proc/net/route, proc(5)); "" without one."""
    with open("/proc/net/route", encoding="utf-8") as stream:
        for fields in map(str.split, stream):
            if fields[1] == "00000000" and int(fields[3], 16) & 0x2:  # RTF_GATEWAY
                return _socket.inet_ntoa(bytes.fromhex(fields[2])[::-1])
    return ""
