"""Starting a container: its record becomes a monitor's plan, and the monitor is forked."""

from __future__ import annotations

import _socket
import os

from rootless import attachment, errors, ids, monitor_spawn, signals
from rootless.errors import InUse, NotFound, PtbError, UsageError
from rootless.ids import IdMaps, Subordinates
from rootless.monitor_plan import Callbacks, Network, Overlay, Plan
from toolbox import paths
from toolbox.containers import events, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.network.connection import Running
    from rootless.status import Status
    from toolbox.containers.record import ContainerRecord


def begin(container: ContainerRecord, held: int) -> _socket.socket:
    """Fork the monitor of a container that does not run; `held` is its lock, and still is afterwards.

    Returns the connection over which the caller says what it wants and then `go` (see `attachment`). Raises InUse,
    NotFound for a layer or rootfs that is gone, HostUnfit.
    """
    status = store.status(container)
    if status.state in ("running", "starting", "restarting"):
        raise InUse(f'container "{container.name}" runs already')
    who = ids.subordinates()
    maps = maps_of(container, who)
    for place in (store.runtime_directory(container.id), store.runtime_root()):
        os.makedirs(place, mode=0o700, exist_ok=True)
    callbacks = Callbacks(
        prepare=lambda network: _prepare(container, network),
        running=lambda status: _running(container, status),
        ended=lambda status: _ended(container, status),
    )
    if os.path.isdir(f"{store.runtime_root()}/{container.id}"):
        from rootless import oci_runtime

        oci_runtime.delete(store.runtime_root(), container.id, container.runtime)  # its monitor was killed
    plan = _plan(container, who)
    if plan.network.ports or plan.network.options:
        from rootless.network import connection

        connection.check(plan.network)
    joined = _user_namespace(container)
    try:
        return monitor_spawn.spawn(plan, callbacks, who, maps, joined=joined, load=lambda: _load(container))
    finally:
        if joined is not None:
            os.close(joined)


def _user_namespace(container: ContainerRecord) -> int | None:
    """A pidfd of the container whose namespaces this one shares, and whose user namespace owns them; None for none.

    Raises UsageError where two containers are asked for, NotFound where that one does not run.
    """
    shared = (container.network, container.pid, container.ipc, container.uts, container.cgroup)
    owners = list(dict.fromkeys(choice.value for choice in shared if choice.mode == "container"))
    if not owners:
        return None
    if len(owners) > 1:
        raise UsageError(f'container "{container.name}" cannot share the namespaces of two containers at once')
    other = store.need(owners[0])
    pid = store.status(other).pid
    if not pid:
        raise NotFound(
            f'container "{other.name}", whose namespaces are wanted, does not run', hint=f"ptb start {other.name}"
        )
    return os.pidfd_open(pid)


def await_running(container: ContainerRecord, connection: _socket.socket) -> int:
    """Wait until the container runs; its pid. Raises what starting it raised."""
    while True:
        word, data = attachment.hear(connection)
        if word == attachment.RUNNING:
            return int(data)
        if word == attachment.FAILED:
            raise failure(container, data)
        if word in (b"", attachment.EXIT):
            raise PtbError(f'container "{container.name}": its monitor died while it was started', hint="try again")


def failure(container: ContainerRecord, data: bytes) -> PtbError:
    """The error a monitor tells of, raised again here with the container's name."""
    kind, message, hint = data.decode(errors="replace").split("\0")
    found = getattr(errors, kind, PtbError)
    if not (isinstance(found, type) and issubclass(found, PtbError)) or found is errors.KernelError:
        found = PtbError
    made: PtbError = found(f'container "{container.name}": {message}', hint=hint or None)
    return made


def maps_of(container: ContainerRecord, who: Subordinates) -> IdMaps:
    """The id maps the container lives under."""
    return who.swap_maps() if container.ids.mode == "keep-id" else who.default_maps()


def _plan(container: ContainerRecord, who: Subordinates) -> Plan:
    directory = store.directory(container.id)
    return Plan(
        id=container.id,
        name=container.name,
        directory=directory,
        runtime_directory=store.runtime_directory(container.id),
        runtime_root=store.runtime_root(),
        rootfs=container.rootfs or f"{directory}/rootfs",
        overlay=None if container.rootfs else overlay_of(container, who),
        network=_network(container),
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
        preserve_fds=container.preserve_fds,
        runtime=container.runtime,
        pid_file=container.pid_file,
        ready_by=container.sd_notify,
    )


def overlay_of(container: ContainerRecord, who: Subordinates) -> Overlay:
    """The container's root file system as layers to stack. Raises NotFound where one is gone."""
    place = paths.data_home()
    lower = tuple(f"layers/{digest.partition(':')[2]}/diff" for digest in reversed(container.layers))
    for name in lower:
        if not os.path.isdir(f"{place}/{name}"):
            raise NotFound(
                f'container "{container.name}": layer {name[7:19]} of its image is gone',
                hint=f"ptb pull {container.image}",
            )
    own = f"containers/{container.id}"
    swapped = container.ids.mode == "keep-id"
    uid_ranges, gid_ranges = list(who.uid_ranges), list(who.gid_ranges)
    return Overlay(
        directory=place,
        lower=lower or (f"{own}/files",),
        upper=f"{own}/upper",
        work=f"{own}/work",
        log=f"{place}/{own}/overlay.log",
        fuse=swapped,
        uid_mapping=ids.overlay_mapping(who.uid, uid_ranges) if swapped else "",
        gid_mapping=ids.overlay_mapping(who.gid, gid_ranges) if swapped else "",
    )


def _network(container: ContainerRecord) -> Network:
    choice = container.network
    if choice.mode == "container":
        return Network("path", store.namespace_of(choice.value, "network"))
    ports = tuple((port.host_ip, port.host_port, port.container_port, port.protocol) for port in choice.publish)
    return Network(choice.mode, choice.value, ",".join(choice.options), ports)


# --- in the monitor ---


def _load(container: ContainerRecord) -> None:
    """Import what the monitor will need of this package, while it has nothing else to do."""
    from toolbox.containers import specgen  # noqa: F401

    if container.remove:
        from toolbox.containers import remove  # noqa: F401


def _prepare(container: ContainerRecord, network: Running) -> dict[str, Any]:
    from rootless import kernel
    from toolbox.containers import specgen

    directory = store.directory(container.id)
    if container.security.privileged and container.pid.mode == "host":
        # All capabilities and sight of the monitor: it must not be one to attach to (ptrace(2)).
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    return specgen.document(container, directory, container.rootfs or f"{directory}/rootfs", network)


def _running(container: ContainerRecord, status: Status) -> None:
    note(container, "start" if not status.restarts else "restart")


def _ended(container: ContainerRecord, status: Status) -> None:
    if status.started_at:
        note(container, "died", ContainerExitCode=status.exit_code)
    if container.remove:
        from toolbox.containers import remove

        remove.forget(container, with_volumes=True)


def note(container: ContainerRecord, action: str, **attributes: object) -> None:
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
