"""What a container's monitor is told: records only, so that whoever stores them need not load the monitor."""

from __future__ import annotations

from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.network.connection import Running
    from rootless.status import Status


@record
class Restart:
    """When to start again: `policy` is no, on-failure, always or unless-stopped; `tries` bounds on-failure, 0 is for ever."""

    policy: str = "no"
    tries: int = 0


@record
class Log:
    """Where the output is kept (see `container_log.open_log`); sizes in bytes."""

    driver: str = "k8s-file"
    max_size: int = 0
    max_files: int = 1
    tag: str = ""


@record
class Startup:
    """What is checked at first in place of the usual: until it succeeds `success` times in a row, or has failed `retries`
    times and the container is restarted (0 is never)."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 0
    success: int = 1


@record
class Health:
    """What to check and how often; times are seconds. `test` is the command, by the shell where it is CMD-SHELL.

    `on_failure` is what is done with an unhealthy container: none, kill, restart or stop.
    """

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    start_interval: float = 5.0
    retries: int = 3
    on_failure: str = "none"
    startup: Startup | None = None


@record
class Overlay:
    """Directories to stack, the topmost first in `lower`, and where changes go; names are relative to `directory`.

    `uid_mapping` and `gid_mapping` are fuse-overlayfs's (see `ids.overlay_mapping`), empty for the ids as they are on
    disk; `log` is the file that gets what fuse-overlayfs says. Without `upper` nothing can be changed. Changes that are
    `volatile` are not synced to the disk, which would be waited for at the end: for what is removed then.
    """

    directory: str
    lower: tuple[str, ...]
    upper: str
    work: str
    log: str
    fuse: bool = False
    uid_mapping: str = ""
    gid_mapping: str = ""
    volatile: bool = False


@record
class Network:
    """How the container is connected. `mode` is slirp4netns, pasta, none, host, or path for somebody else's namespace.

    `value` is that namespace's path; `options` are the helper's, as podman spells them; `ports` are to be published, each
    (host address, host port, container port, protocol) as `network.ports.PublishedPort` has them.
    """

    mode: str
    value: str = ""
    options: str = ""
    ports: tuple[tuple[str, int, int, str], ...] = ()


@record
class Plan:
    """Everything the monitor needs to know of a container.

    `ready_by` says who tells systemd that the service is ready: container, conmon (the monitor), healthy or ignore.
    `directory` is the container's own, `runtime_directory` a volatile one of its own, `runtime_root` where OCI runtimes
    keep their state; `runtime` is another OCI runtime's program or "" for ours. Times are seconds.
    """

    id: str
    name: str
    directory: str
    runtime_directory: str
    runtime_root: str
    rootfs: str
    overlay: Overlay | None
    network: Network
    log: Log
    restart: Restart
    terminal: bool
    open_stdin: bool
    stdin_once: bool
    stop_signal: int
    stop_timeout: float
    timeout: float
    health: Health | None
    reaper: bool
    systemd_cgroup: bool
    cgroup_disabled: bool
    preserve_fds: int
    runtime: str
    pid_file: str
    ready_by: str


@record
class Callbacks:
    """What the caller wants done in the monitor.

    `prepare` makes the configuration (config.json) before each start, as root of the namespace and with the root file
    system mounted; `running` and `ended` hear of the status, the latter to remove what must go.
    """

    prepare: Callable[[Running], dict[str, Any]]
    running: Callable[[Status], None]
    ended: Callable[[Status], None]
