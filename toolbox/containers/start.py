"""Starting a container: a monitor is forked, early, and told which container is its own."""

from __future__ import annotations

import _socket

from rootless import attachment, errors, ids
from rootless import system as os
from rootless.errors import InUse, NotFound, PtbError, UsageError
from rootless.ids import IdMaps, Subordinates
from rootless.monitor_plan import Network, Overlay
from toolbox import paths
from toolbox.containers import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.monitor_spawn import Waiting
    from toolbox.containers.record import ContainerRecord


def begin(container: ContainerRecord, waiting: Waiting | None = None, preserved: int = 0) -> _socket.socket:
    """Have a container that does not run, and whose lock the caller has, started by `waiting` or a monitor forked now.

    It gets `preserved` descriptors of the caller's, from 3 on.

    Returns the connection over which the caller says what it wants and then `go` (see `attachment`). Raises InUse,
    NotFound for a layer or rootfs that is gone, HostUnfit.
    """
    try:
        _check(container)
        if waiting is None:
            waiting = _fork(container)
    except BaseException:
        if waiting is not None:
            waiting.abandon()
        raise
    waiting.finish()
    attachment.tell(waiting.connection, attachment.CONTAINER, f"{container.id} {preserved}".encode())
    return waiting.connection


def _check(container: ContainerRecord) -> None:
    """What can be said before there is a monitor, and clearing what a killed one left."""
    status = store.status(container)
    if status.state in ("running", "starting", "restarting"):
        raise InUse(f'container "{container.name}" runs already')
    for place in (store.runtime_directory(container.id), store.runtime_root()):
        os.makedirs(place, mode=0o700, exist_ok=True)
    if os.path.isdir(f"{store.runtime_root()}/{container.id}"):
        from rootless import oci_runtime

        oci_runtime.delete(store.runtime_root(), container.id, container.runtime)
    check_layers(container)
    network = network_of(container)
    if network.ports or network.options:
        from rootless.network import connection

        connection.check(network)


def check_layers(container: ContainerRecord) -> None:
    """Raise NotFound if a layer of its image is gone."""
    place = paths.data_home()
    for name in () if container.rootfs else _lower(container):
        if not os.path.isdir(f"{place}/{name}"):
            raise NotFound(
                f'container "{container.name}": layer {name[7:19]} of its image is gone',
                hint=f"ptb pull {container.image}",
            )


def _fork(container: ContainerRecord) -> Waiting:
    from toolbox.containers import early

    who = ids.subordinates()
    joined = _user_namespace(container)
    try:
        return early.fork(who, maps_of(container, who), removing=container.remove, joined=joined)
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
    if other.ids.mode == "maps":
        raise UsageError(f'container "{other.name}" has id maps of its own, and its namespaces cannot be shared')
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
    """The id maps of the container's monitor."""
    if container.ids.mode == "keep-id":
        return who.swap_maps(container.ids.uid, container.ids.gid)
    return who.default_maps()  # above a map of its own, which the OCI runtime makes


def _lower(container: ContainerRecord) -> tuple[str, ...]:
    return tuple(f"layers/{digest.partition(':')[2]}/diff" for digest in reversed(container.layers))


def overlay_of(container: ContainerRecord, who: Subordinates) -> Overlay:
    """The container's root file system as layers to stack."""
    place = paths.data_home()
    own = f"containers/{container.id}"
    uid_mapping, gid_mapping = _overlay_mappings(container, who)
    return Overlay(
        directory=place,
        lower=_lower(container) or (f"{own}/files",),
        upper=f"{own}/upper",
        work=f"{own}/work",
        log=f"{place}/{own}/overlay.log",
        fuse=bool(uid_mapping),
        uid_mapping=uid_mapping,
        gid_mapping=gid_mapping,
        volatile=container.remove,
    )


def _overlay_mappings(container: ContainerRecord, who: Subordinates) -> tuple[str, str]:
    own = container.ids
    if own.mode == "keep-id":
        uid, gid = (who.uid if own.uid < 0 else own.uid), (who.gid if own.gid < 0 else own.gid)
        return ids.overlay_mapping(uid, list(who.uid_ranges)), ids.overlay_mapping(gid, list(who.gid_ranges))
    if own.mode == "maps":
        from toolbox.containers import id_maps

        return ids.nested_mapping(id_maps.records(own.uids)), ids.nested_mapping(id_maps.records(own.gids))
    return "", ""


def network_of(container: ContainerRecord) -> Network:
    """How it is to be connected. Raises NotFound where the container whose network it shares does not run."""
    choice = container.network
    if choice.mode == "container":
        return Network("path", store.namespace_of(choice.value, "network"))
    ports = tuple((port.host_ip, port.host_port, port.container_port, port.protocol) for port in choice.publish)
    return Network(choice.mode, choice.value, ",".join(choice.options), ports)
