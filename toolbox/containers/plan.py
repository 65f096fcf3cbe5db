"""What a container's monitor does on behalf of this package: its record becomes a plan, its life becomes events.

All of it runs in the monitor, which is told a container's id and finds the rest on disk.
"""

from __future__ import annotations

import _socket

from rootless import attachment, monitor, processes, signals
from rootless import system as os
from rootless.errors import PtbError
from rootless.monitor_plan import Callbacks, Plan
from toolbox.containers import events, specgen, start, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.ids import Subordinates
    from rootless.network.connection import Running
    from rootless.network.namespace import Making
    from rootless.status import Status
    from toolbox.containers.record import ContainerRecord


def serve(connection: _socket.socket, who: Subordinates, making: Making | None) -> int:
    """Be the monitor of the container whose id comes first over `connection`; returns an exit status.

    With the id comes how many descriptors from 3 on are the container's. `making` is a network namespace that was begun
    for it, or None.
    """
    word, data = attachment.hear(connection)
    if word != attachment.CONTAINER:
        return 0  # there will be none
    try:
        identity, _space, preserved = data.decode().partition(" ")
        container = store.load(identity)
        if container is None:
            return 0
        plan = _plan(container, who, int(preserved))
        network = -1 if making is None else making.finish()
    except PtbError as error:
        attachment.tell_failure(connection, error)
        return 1
    processes.close_all_but((*range(3, 3 + plan.preserve_fds), connection.fileno(), network))
    callbacks = Callbacks(
        prepare=lambda network: _prepare(container, network),
        running=lambda status: _running(container, status),
        ended=lambda status: _ended(container, status),
    )
    return monitor.main(plan, callbacks, connection, network)


def _plan(container: ContainerRecord, who: Subordinates, preserved: int) -> Plan:
    directory = store.directory(container.id)
    return Plan(
        id=container.id,
        name=container.name,
        directory=directory,
        runtime_directory=store.runtime_directory(container.id),
        runtime_root=store.runtime_root(),
        rootfs=container.rootfs or f"{directory}/rootfs",
        overlay=None if container.rootfs else start.overlay_of(container, who),
        network=start.network_of(container),
        log=container.log,
        restart=container.restart,
        terminal=container.terminal,
        open_stdin=container.open_stdin,
        stdin_once=container.stdin_once,
        stop_signal=signals.signal_number(container.stop_signal),
        stop_timeout=container.stop_timeout,
        timeout=container.timeout,
        health=container.health,
        reaper=container.init,
        systemd_cgroup=os.path.isdir("/run/systemd/system"),
        cgroup_disabled=container.cgroups == "disabled",
        preserve_fds=preserved,
        runtime=container.runtime,
        pid_file=container.pid_file,
        ready_by=container.sd_notify,
    )


def _prepare(container: ContainerRecord, network: Running) -> dict[str, Any]:
    from rootless import kernel

    directory = store.directory(container.id)
    if container.security.privileged and container.pid.mode == "host":
        # All capabilities and sight of the monitor: it must not be one to attach to (ptrace(2)).
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    return specgen.document(container, directory, container.rootfs or f"{directory}/rootfs", network)


def _running(container: ContainerRecord, status: Status) -> None:
    _note(container, "start" if not status.restarts else "restart")


def _ended(container: ContainerRecord, status: Status) -> None:
    if status.started_at:
        _note(container, "died", ContainerExitCode=status.exit_code)
    if container.remove:
        from toolbox.containers import remove

        remove.forget_at_end(container)


def _note(container: ContainerRecord, action: str, **attributes: object) -> None:
    """Add an event about the container."""
    events.note(
        "container",
        action,
        container.id,
        container.name,
        Image=container.image,
        Attributes=container.labels,
        **attributes,
    )
