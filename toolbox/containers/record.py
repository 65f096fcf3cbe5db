"""What a container was made with: `container.json` in its directory. Everything else about it is derived or volatile.

Starting a container reads nothing but this record and the image's layers, so a container that was copied, restored or
moved to another login starts as it did.
"""

from __future__ import annotations

from rootless import json_text
from rootless.errors import InvalidDocument
from rootless.monitor_plan import Health, Log, Restart, Startup
from rootless.record import record, replace, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORMAT = 1


@record
class Port:
    """One published port; `host_port` 0 is any that is free when the container starts, `host_ip` "" every address."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str


@record
class Mount:
    """Something mounted in the container. `kind` is bind, volume, tmpfs, image or devpts.

    `name` is the volume's; `source` what is mounted: a path, or an image's id. `options` are those of mount(8) and of
    `-v`: ro, z, Z, U, O, nocopy, propagation and the like.
    """

    kind: str
    target: str
    source: str = ""
    name: str = ""
    options: tuple[str, ...] = ()
    anonymous: bool = False
    subpath: str = ""


@record
class Namespace:
    """Which namespace of a kind the container has: private, host, none, container (`value` its id), path (`value`)."""

    mode: str
    value: str = ""


@record
class NetworkChoice:
    """How the container is connected. `mode` is slirp4netns, pasta, host, none, container or path."""

    mode: str
    value: str = ""
    options: tuple[str, ...] = ()
    publish: tuple[Port, ...] = ()
    exposed: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    add_hosts: tuple[str, ...] = ()
    write_hosts: bool = True
    address: str = ""


@record
class Security:
    """What the container's processes may do; `seccomp` is a profile's text, "unconfined" or "" for the default one."""

    capabilities: tuple[str, ...]
    added: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    label: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    unmasked: tuple[str, ...] = ()


@record
class Limit:
    """One of --ulimit, by its name without RLIMIT_; -1 is no limit."""

    name: str
    soft: int
    hard: int


@record
class Device:
    """A host's device in the container."""

    source: str
    target: str
    access: str = "rwm"


@record
class IdMapping:
    """How the container's ids map: `mode` is "" (root is the caller), host, keep-id or maps.

    With keep-id the caller is `uid` and `gid`, or itself where they are -1. With maps `uids` and `gids` are ranges (id in
    the container, id under the default map, length): there 0 is the caller and 1, 2, … the subordinate ids.
    """

    mode: str = ""
    uid: int = -1
    gid: int = -1
    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()


@record
class ContainerRecord:
    """One container; times are nanoseconds since 1970, sizes bytes, waits seconds."""

    id: str
    name: str
    created: int
    image: str
    image_id: str
    image_digest: str
    layers: tuple[str, ...]
    arguments: tuple[str, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[str, ...]
    directory: str
    user: str
    hostname: str
    security: Security
    rootfs: str = ""
    groups: tuple[str, ...] = ()
    terminal: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    remove: bool = False
    labels: dict[str, str] = {}  # noqa: RUF012 # records never change
    annotations: dict[str, str] = {}  # noqa: RUF012
    mounts: tuple[Mount, ...] = ()
    network: NetworkChoice = NetworkChoice("slirp4netns")
    pid: Namespace = Namespace("private")
    ipc: Namespace = Namespace("private")
    uts: Namespace = Namespace("private")
    cgroup: Namespace = Namespace("private")
    ids: IdMapping = IdMapping()
    devices: tuple[Device, ...] = ()
    resources: dict[str, Any] = {}  # noqa: RUF012
    limits: tuple[Limit, ...] = ()
    host_limits: bool = False
    sysctls: dict[str, str] = {}  # noqa: RUF012
    read_only: bool = False
    read_only_tmpfs: bool = True
    shm_size: int = 65536000
    personality: str = ""
    umask: int = 0o022
    time_zone: str = ""
    oom_score: int | None = None
    init: bool = False
    systemd: bool = False
    cgroups: str = "enabled"
    cgroup_parent: str = ""
    log: Log = Log()
    restart: Restart = Restart()
    stop_signal: str = "TERM"
    stop_timeout: float = 10.0
    timeout: float = 0.0
    health: Health | None = None
    runtime: str = ""
    create_command: tuple[str, ...] = ()
    pid_file: str = ""
    id_file: str = ""
    sd_notify: str = "conmon"
    secrets: tuple[tuple[str, ...], ...] = ()
    attach: tuple[str, ...] = ()


_NESTED: dict[str, Any] = {
    "security": Security,
    "network": NetworkChoice,
    "pid": Namespace,
    "ipc": Namespace,
    "uts": Namespace,
    "cgroup": Namespace,
    "ids": IdMapping,
    "log": Log,
    "restart": Restart,
    "health": Health,
    "startup": Startup,
}
_NESTED_LISTS: dict[str, Any] = {"mounts": Mount, "publish": Port, "limits": Limit, "devices": Device}


def to_text(container: ContainerRecord) -> str:
    """The record as JSON."""
    return json_text.dump({"format": _FORMAT, **_plain(container)}) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(type(value), "__match_args__"):
        return {name: _plain(item) for name, item in values_of(value).items()}
    return value


def from_text(text: str, where: str) -> ContainerRecord:
    """The record that `to_text` wrote. Raises InvalidDocument."""
    document = json_text.parse(text, where)
    try:
        document.pop("format")
        built: ContainerRecord = _build(ContainerRecord, document)
        return built
    except (TypeError, KeyError, AttributeError) as error:
        raise InvalidDocument(f'"{where}" is not a container\'s record: {error}') from error


def _build(kind: Any, document: dict[str, Any]) -> Any:
    fields: dict[str, Any] = {}
    for name, value in document.items():
        if name not in kind.__match_args__:
            continue  # of another version's
        if name in _NESTED and value is not None:
            value = _build(_NESTED[name], value)
        elif name in _NESTED_LISTS:
            value = tuple(_build(_NESTED_LISTS[name], item) for item in value)
        elif isinstance(value, list):
            value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
        fields[name] = value
    return kind(**fields)


def renamed(container: ContainerRecord, name: str) -> ContainerRecord:
    """The same container under another name."""
    return replace(container, name=name)
