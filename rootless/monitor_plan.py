"""What a container's monitor is told: records only, so that whoever stores them need not load the monitor."""

from __future__ import annotations

from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.health import Health
    from rootless.network.connection import Network, Running
    from rootless.overlay import Overlay
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
class Plan:
    """Everything the monitor needs to know of a container.

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


@record
class Callbacks:
    """What the caller wants done in the monitor.

    `prepare` makes the configuration (config.json) before each start, as root of the namespace and with the root file
    system mounted; `running` and `ended` hear of the status, the latter to remove what must go.
    """

    prepare: Callable[[Running], dict[str, Any]]
    running: Callable[[Status], None]
    ended: Callable[[Status], None]
