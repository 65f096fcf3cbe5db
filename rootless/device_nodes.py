"""Device nodes for a container in a new user namespace, where mknod(2) is refused: made by root from outside of it.

They are made in a file system in memory that nobody else ever sees, and each is handed on as a detached mount.
"""

from __future__ import annotations

from rootless import channel, kernel
from rootless import system as os
from rootless.errors import InvalidDocument, KernelError, PtbError
from rootless.spec import DEVICE_KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.channel import Channel
    from rootless.ids import IdMaps, IdRange
    from rootless.spec import Device


def make(devices: tuple[Device, ...], maps: IdMaps, place: str) -> dict[str, int]:
    """The devices as mounts by their paths; `maps` are the container's.

    The directory `place` is covered meanwhile, for a process that is gone afterwards. Raises PtbError.
    """
    here, there = channel.pair()
    pid = kernel.clone(kernel.CLONE_NEWNS)
    if pid == 0:
        try:
            _make(devices, maps, place, there)
        except (PtbError, OSError) as error:
            there.fail(error)
        finally:
            os._exit(0)
    there.close()
    nodes: dict[str, int] = {}
    try:
        while True:
            word, path, descriptor = here.receive()
            if word != "node":
                return nodes
            nodes[path] = descriptor
    finally:
        here.close()
        os.waitpid(pid, 0)


def _make(devices: tuple[Device, ...], maps: IdMaps, place: str, there: Channel) -> None:
    kernel.mount("", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    memory = kernel.new_file_system("tmpfs", {"mode": "700"}, 0)
    point = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    kernel.move_mount(memory, point)
    os.umask(0)
    for index, device in enumerate(devices):
        if device.type == "p":
            continue
        name = str(index)
        owner = _outside(maps.uids, device.uid, device), _outside(maps.gids, device.gid, device)
        try:
            os.mknod(
                name, DEVICE_KINDS[device.type] | device.mode, os.makedev(device.major, device.minor), dir_fd=memory
            )
            os.chown(name, *owner, dir_fd=memory)
            there.send("node", device.path, kernel.open_tree(memory, name, kernel.OPEN_TREE_CLONE))
        except OSError as error:
            raise KernelError("making", f'device "{device.path}"', error.errno or 0) from error


def _outside(ranges: tuple[IdRange, ...], inside: int, device: Device) -> int:
    for part in ranges:
        if part.inside <= inside < part.inside + part.length:
            return part.outside + inside - part.inside
    raise InvalidDocument(f'linux.devices: the owner {inside} of "{device.path}" is not among the container\'s ids')
