"""The way of a container's readiness to whoever started the runtime (sd_notify(3)), as crun has it.

A directory of the container's own is mounted where the caller's NOTIFY_SOCKET is, and the socket in it, which is there
from `start` on, is what the process is told. `notification` does the telling.
"""

from __future__ import annotations

from rootless import notification
from rootless import state as state_module
from rootless import system as os
from rootless.record import replace
from rootless.spec import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from rootless.launch import Request
    from rootless.spec import Process, Spec

_NAME = "notify"


def add(spec: Spec, process: Process, request: Request, directory: int) -> tuple[Spec, Process]:
    """The configuration with that mount, whose source is made in the container's `directory`, and the process told."""
    os.mkdir(_NAME, 0o755, dir_fd=directory)
    source = f"{request.root}/{request.id}/{_NAME}"
    mount = Mount(request.notify_socket, "bind", source, ("bind", "nosuid", "nodev", "noexec"), (), ())
    variable = f"NOTIFY_SOCKET={request.notify_socket}/{notification.NAME}"
    spec = replace(spec, mounts=(*spec.mounts, mount))
    return spec, replace(process, environment=(*process.environment, variable))


def listen(root: str, identity: str) -> tuple[_socket.socket, int] | None:
    """The socket on which the created container will tell, and its pidfd; None where it has no such mount. Raises NotFound."""
    directory = state_module.open_directory(root, identity)
    try:
        os.stat(_NAME, dir_fd=directory)
    except FileNotFoundError:
        return None
    finally:
        os.close(directory)
    process = state_module.open_process(state_module.read(root, identity))
    if process is None:
        return None
    return notification.listen(f"{root}/{identity}/{_NAME}"), process
