"""How one container is connected: its network namespace and the helper behind it, for the container's monitor.

The namespace is made before everything else, so that the helper gets ready while file systems are mounted, and lasts as
long as the monitor: a container that restarts finds its network as it left it.
"""

from __future__ import annotations

from rootless import system as os
from rootless.errors import PtbError
from rootless.monitor_plan import Network
from rootless.network import namespace
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.network.helper import Helper
    from rootless.network.ports import PublishedPort


@record
class Running:
    """A network as it is. `path` is the namespace's, "" for the host's.

    `address` is the container's own as far as it is known, `host` the address by which it reaches the host, `resolver`
    the name server that the network itself has; "" where there is none.
    """

    path: str
    private: bool
    address: str = ""
    host: str = ""
    resolver: str = ""
    helper: Helper | None = None
    ipv6: bool = True


def check(network: Network) -> None:
    """Raise UsageError for options that are wrong, PtbError for a port that cannot be had: to be asked before anything
    is made, and outside the container's user namespace, where the kernel tells who has a port."""
    from rootless.network import pasta, ports, slirp

    if network.mode == "slirp4netns":
        slirp.parse(network.options)
    elif network.mode == "pasta":
        pasta.parse(network.options)
    ports.check(port for port in _published(network) if port.host_port)


def _published(network: Network) -> tuple[PublishedPort, ...]:
    from rootless.network.ports import PublishedPort

    return tuple(PublishedPort(*port) for port in network.ports)


def start(network: Network, directory: str, made: int = -1) -> Running:
    """Make the network, without waiting for its helper; `directory` is the container's own, for the helper's socket.

    `made` is a namespace that was made for it (`namespace.make`), or -1.
    """
    if network.mode == "host":
        return Running("", private=False, host="127.0.0.1")
    from rootless.network import hosts  # and the helpers: each kind of network loads what it needs

    if network.mode == "path":
        return Running(network.value, private=True, host=hosts.first_address())
    fd = made if made >= 0 else namespace.make()
    path = namespace.path(fd)
    if network.mode == "none":
        return Running(path, private=True)
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if network.mode == "pasta":
        from rootless.network import pasta

        asked = pasta.parse(network.options)
        helper = pasta.start(fd, asked, _published(network), place)
        own = hosts.first_address()
        return Running(
            path,
            private=True,
            address=own,
            host=pasta.host_address(asked),
            resolver=pasta.name_server(asked),
            helper=helper,
        )
    from rootless.network import slirp

    options = slirp.parse(network.options)
    helper = slirp.start(fd, options, _published(network), place)
    known = slirp.addresses(options)
    host = known.gateway if options.allow_host_loopback else hosts.first_address(known.gateway)
    return Running(
        path,
        private=True,
        address=known.container,
        host=host,
        resolver=known.name_server,
        helper=helper,
        ipv6=options.enable_ipv6,
    )


def wait_ready(running: Running) -> tuple[PublishedPort, ...]:
    """Wait until the network works and its ports are published; returns them with their numbers. Raises PtbError."""
    helper = running.helper
    if helper is None:
        return ()
    if helper.program == "pasta":
        from rootless.network import pasta

        return pasta.wait_ready(helper)
    from rootless.network import slirp

    return slirp.wait_ready(helper)


def end(running: Running) -> None:
    """Have the helper end, without waiting for it; `stop` is still to be called."""
    if running.helper is not None:
        from rootless.network import helper as helpers

        helpers.end(running.helper)


def stop(running: Running) -> None:
    """End the helper and wait until its ports are free."""
    if running.helper is not None:
        from rootless.network import helper as helpers

        try:
            helpers.stop(running.helper)
        except (OSError, PtbError):
            return  # it ended by itself
