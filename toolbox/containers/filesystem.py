"""A container's files from outside, whether it runs or not: work done in a process that is root of its user namespace.

A running container is seen with everything that is mounted in it, through its first process; one that does not run gets
its root file system mounted for the time being, with its volumes on it. Nothing of the container is executed.
"""

from __future__ import annotations

import os

from rootless import ids, kernel, mounts, overlay, userns
from rootless.mounts import Bind
from rootless.record import replace
from toolbox.containers import start, store, volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from toolbox.containers.record import ContainerRecord


def visit(
    container: ContainerRecord,
    task: Callable[[int], None],
    *,
    with_mounts: bool = True,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Call `task` with a descriptor of the container's root, in a process of its own; what it raises is raised here.

    The caller does `meanwhile` while the task works.
    Without `with_mounts` only what is the container's own is seen, neither volumes nor /proc and the like.
    """
    pid = store.status(container).pid
    if pid and with_mounts:
        _in_running(container, pid, task, meanwhile)
    else:
        _in_stopped(container, task, meanwhile, with_mounts=with_mounts and not pid, writable=not pid)


def _in_running(
    container: ContainerRecord, pid: int, task: Callable[[int], None], meanwhile: Callable[[], None] | None
) -> None:
    process = os.pidfd_open(pid)

    def joined() -> None:
        # Only from within its user namespace: nobody else may look into a FUSE file system (fuse(4), allow_other).
        root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        task(root)

    try:
        userns.run_joined(process, joined, meanwhile=meanwhile)
    finally:
        os.close(process)


def ask(container: ContainerRecord, question: Callable[[int], str]) -> str:
    """What `question` finds out with a descriptor of the container's root."""
    read_end, write_end = os.pipe()
    said: list[str] = []

    def answer(root: int) -> None:
        with open(write_end, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(question(root))

    def listen() -> None:
        os.close(write_end)
        with open(read_end, encoding="utf-8", errors="surrogateescape") as stream:
            said.append(stream.read())

    visit(container, answer, meanwhile=listen)
    return said[0]


def _in_stopped(
    container: ContainerRecord,
    task: Callable[[int], None],
    meanwhile: Callable[[], None] | None,
    *,
    with_mounts: bool,
    writable: bool,
) -> None:
    start.check_layers(container)
    who = ids.subordinates()
    maps = start.maps_of(container, who)

    def mounted() -> None:
        place = container.rootfs or f"{store.directory(container.id)}/rootfs"
        server = 0
        if not container.rootfs:
            layers = start.overlay_of(container, who)
            if container.ids.mode == "maps":
                # Seen from above its own map, as the files are on disk.
                layers = replace(layers, fuse=False, uid_mapping="", gid_mapping="")
            if not writable:
                layers = replace(layers, lower=(layers.upper, *layers.lower), upper="", work="")
            server = overlay.mount(layers, place)
        root = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if with_mounts:
                _attach_volumes(container, root)
            task(root)
        finally:
            os.close(root)
            if server:
                kernel.umount2(place, kernel.MNT_DETACH)
                os.kill(server, 15)
                os.waitpid(server, 0)

    userns.run_mapped(mounted, maps, flags=kernel.CLONE_NEWNS, meanwhile=meanwhile)


def _attach_volumes(container: ContainerRecord, root: int) -> None:
    binds: list[mounts.Mount] = []
    for mount in container.mounts:
        if mount.kind == "volume" and volumes.load(mount.name) is not None:
            binds.append(Bind(volumes.data(mount.name), mount.target))
        elif mount.kind == "bind":
            binds.append(Bind(mount.source, mount.target, optional=True))
    mounts.attach_all(root, mounts.prepare(sorted(binds, key=lambda one: one.target.count("/"))))


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open a path of the container's, following links as a process in it would. Raises OSError."""
    return kernel.openat2(root, path, flags, 0, kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS)


def parent_of(root: int, path: str) -> tuple[int, str]:
    """The directory that holds `path` and its last component. Raises OSError."""
    head, _slash, name = path.rstrip("/").rpartition("/")
    return open_beneath(root, head or "/", os.O_RDONLY | os.O_DIRECTORY), name
