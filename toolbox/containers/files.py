"""The files that tell a container where it is: /etc/hosts, resolv.conf and hostname, and /run/.containerenv.

They are made before each start in the container's own directory and bound into it, writable, as podman and docker do.
"""

from __future__ import annotations

from rootless import system as os
from rootless.errors import NotFound
from rootless.network import hosts
from rootless.network.hosts import Names, Resolver
from toolbox import __version__
from toolbox.containers import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.network.connection import Running
    from toolbox.containers.record import ContainerRecord


def mounts(container: ContainerRecord, directory: str, root_fd: int, network: Running) -> list[dict[str, Any]]:
    """Write the files and return what binds them."""
    texts = {"/run/.containerenv": _container_env(container)}
    if container.network.mode == "container":
        other = store.need(container.network.value)
        place = f"{store.directory(other.id)}/files"
        shared = [name for name in ("hosts", "resolv.conf") if os.path.exists(f"{place}/etc-{name}")]
        found = [_bind(f"{place}/etc-{name}", f"/etc/{name}") for name in shared]
    else:
        found = []
        choice = container.network
        if choice.dns != ("none",):
            texts["/etc/resolv.conf"] = hosts.resolv_conf(
                hosts.host_resolv_conf(private=network.private),
                Resolver(choice.dns, choice.dns_search, choice.dns_options),
                forwarder=network.resolver,
                private=network.private,
                ipv6=network.ipv6,
            )
        if choice.write_hosts:
            own = Names(network.address or "127.0.1.1", (container.hostname, container.name))
            added = hosts.parse_added(choice.add_hosts, network.host)
            texts["/etc/hosts"] = hosts.hosts(_host_file(), (own,), added, network.host)
    if container.uts.mode == "private":
        texts["/etc/hostname"] = container.hostname + "\n"
    if container.secrets:
        from toolbox.containers import secrets

        texts.update(secrets.files(container.secrets))
    for target, text in texts.items():
        path = f"{directory}/files/{target.strip('/').replace('/', '-')}"
        _write(path, text)
        found.append(_bind(path, target))
    return found + _time_zone(container)


def _time_zone(container: ContainerRecord) -> list[dict[str, Any]]:
    """The host's own description of the zone, at /etc/localtime: the image need not have any."""
    name = container.time_zone
    if not name:
        return []
    source = "/etc/localtime" if name == "local" else os.path.normpath(f"/usr/share/zoneinfo/{name}")
    if not os.path.isfile(source) or (name != "local" and not source.startswith("/usr/share/zoneinfo/")):
        raise NotFound(f'time zone "{name}" is not known to this machine', hint="timedatectl list-timezones")
    return [{**_bind(os.path.realpath(source), "/etc/localtime"), "options": ["bind", "ro", "rprivate"]}]


def _host_file() -> str:
    try:
        with open("/etc/hosts", encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    """Write in place: the file may be bound already."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    os.chmod(path, 0o644)


def _bind(source: str, target: str) -> dict[str, Any]:
    options = ["bind", "rprivate", "nosuid", "nodev"]
    return {"destination": target, "type": "bind", "source": source, "options": options}


def _container_env(container: ContainerRecord) -> str:
    fields = {
        "engine": f"ptb-{__version__}",
        "name": container.name,
        "id": container.id,
        "image": container.image,
        "imageid": container.image_id,
    }
    return "".join(f'{key}="{value}"\n' for key, value in fields.items()) + "rootless=1\n"
