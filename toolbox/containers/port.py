"""`port`: which ports of the host lead to which of a container."""

from __future__ import annotations

from rootless.errors import NotFound, UsageError
from toolbox.containers import store
from toolbox.containers.record import ContainerRecord


def show(name: str | None, port: str | None, *, all: bool, latest: bool) -> int:  # noqa: A002 - the option's name
    """`port`: a line for each, or the host's side of one of them."""
    if all:
        for container in store.everything():
            if store.status(container).state == "running":
                for line in _lines(container, ""):
                    print(f"{container.id[:12]}\t{line}")
        return 0
    if latest:
        name, port = store.newest().id, name
    container = store.need(name or "")
    lines = _lines(container, port or "")
    if port and not lines:
        raise NotFound(f'container "{container.name}" publishes no port {port}', hint=f"ptb port {container.name}")
    for line in lines:
        print(line)
    return 0


def _lines(container: ContainerRecord, wanted: str) -> list[str]:
    number, _slash, protocol = wanted.partition("/")
    if wanted and not number.isdecimal():
        raise UsageError(f'"{wanted}" is not PORT[/PROTOCOL]')
    published = store.status(container).ports or tuple(
        (port.host_ip, port.host_port, port.container_port, port.protocol) for port in container.network.publish
    )
    found = []
    for address, outside, inside, kind in sorted(published, key=lambda entry: (entry[2], entry[3], entry[0])):
        host = f"[{address}]" if ":" in address else address or "0.0.0.0"  # noqa: S104
        if not wanted:
            found.append(f"{inside}/{kind} -> {host}:{outside}")
        elif int(number) == inside and kind == (protocol or "tcp"):
            found.append(f"{host}:{outside}")
    return found
