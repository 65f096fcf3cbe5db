"""How a container is connected: `--network` with its options, and what belongs to it."""

from __future__ import annotations

from rootless import system as os
from rootless.errors import NotFound, UsageError
from toolbox.containers import ports, store
from toolbox.containers.record import NetworkChoice, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KNOWN = ("slirp4netns", "pasta", "host", "none", "private")


def network(given: dict[str, Any], exposed: tuple[str, ...]) -> NetworkChoice:
    """The choice that the options make. Raises UsageError, NotFound."""
    asked = given.get("network") or []
    if len(asked) > 1:
        raise UsageError("--network: a container has one network here: those with names are not there yet")
    mode, value, options = _mode(asked[0] if asked else "")
    publish = ports.parse(given.get("publish") or ())
    if given.get("publish_all"):
        named = {(port.container_port, port.protocol) for port in publish}
        for text in exposed:
            number, _slash, protocol = text.partition("/")
            if (int(number), protocol) not in named:
                publish += (Port("", 0, int(number), protocol),)
    if publish and mode in ("none", "container", "path"):
        raise UsageError(f"-p: nothing can be published with --network {mode}")
    servers = tuple(given.get("dns") or ())
    for server in servers:
        if server != "none" and not ports.is_address(server):
            raise UsageError(f'--dns "{server}" is not an address')
    for text in given.get("add_host") or ():
        name, colon, address = text.partition(":")
        if not colon or not name or (address != "host-gateway" and not ports.is_address(address.strip("[]"))):
            raise UsageError(f'--add-host "{text}" is not NAME:IP')
    return NetworkChoice(
        mode=mode,
        value=value,
        options=options,
        publish=() if mode == "host" else publish,
        exposed=exposed,
        dns=servers,
        dns_search=tuple(given.get("dns_search") or ()),
        dns_options=tuple(given.get("dns_option") or ()),
        add_hosts=tuple(given.get("add_host") or ()),
        write_hosts=not given.get("no_hosts"),
    )


def _mode(text: str) -> tuple[str, str, tuple[str, ...]]:
    kind, colon, value = text.partition(":")
    if kind in ("", "private", "bridge", "default"):
        return "slirp4netns", "", ()
    if kind == "container":
        return "container", store.need(value).id, ()
    if kind == "ns":
        if not os.path.exists(value):
            raise NotFound(f'--network "{text}": "{value}" is not there')
        return "path", value, ()
    if kind in ("slirp4netns", "pasta"):
        return kind, "", tuple(option for option in value.split(",") if option)
    if kind in ("host", "none") and not colon:
        return kind, "", ()
    raise UsageError(
        f'--network "{text}": networks with names are not there yet',
        hint=f"use {', '.join(_KNOWN[:4])}, container:NAME or ns:PATH",
    )
