"""Mounts as data, and the one function that performs a list of them beneath a hostile root.

Sources are cloned with open_tree(2) while the host's tree is still in place; targets are found by descriptor, each on
the mount that lexically holds it and on no other, so no symlink of the image can carry a mount point elsewhere.
"""

from __future__ import annotations

from rootless import kernel, paths
from rootless import system as os
from rootless.errors import KernelError
from rootless.record import record


@record
class Bind:
    """The host's file or directory `source`, with all mounted below it, at `target` of the box.

    An `optional` one is left out where the host has no source. New mounts below the source appear in the box too: a
    mount namespace of another user's is a slave of its parent's (mount_namespaces(7)).
    """

    source: str
    target: str
    read_only: bool = False
    optional: bool = False


@record
class Entry:
    """What a new tmpfs holds at `path`: a symlink to `target`, a file with `text`, or else a directory of `mode`."""

    path: str
    target: str = ""
    text: str | None = None
    mode: int = 0o755


@record
class Tmpfs:
    """A file system in memory at `target`, of container root's, that holds `entries`."""

    target: str
    entries: tuple[Entry, ...] = ()


Mount = Bind | Tmpfs


@record
class Prepared:
    """A detached mount, ready to be attached at `target`; `directory` says what its root is."""

    fd: int
    target: str
    directory: bool


def prepare(mounts: list[Mount]) -> list[Prepared]:
    """Clone or make every mount, without attaching any. Raises KernelError naming the source that cannot be had."""
    return [made for made in (_prepare_one(mount) for mount in mounts) if made is not None]


def _prepare_one(mount: Mount) -> Prepared | None:
    if isinstance(mount, Tmpfs):
        fd = tmpfs()
        _fill(fd, mount.entries)
        return Prepared(fd, mount.target, directory=True)
    try:
        fd = clone_tree(mount.source, read_only=mount.read_only)
    except OSError as error:
        if mount.optional:
            return None
        raise KernelError("mounting", f'"{mount.source}"', error.errno or 0) from error
    directory = os.fstat(fd).st_mode & 0o170000 == 0o040000
    return Prepared(fd, mount.target, directory)


def clone_tree(source: str, *, read_only: bool = False) -> int:
    """A detached copy of the mount tree at `source`; raises OSError."""
    flags = kernel.OPEN_TREE_CLONE | kernel.AT_RECURSIVE
    fd = kernel.open_tree(-100, source, flags)
    if read_only:
        attributes = kernel.MOUNT_ATTR_RDONLY
        kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE, attr_set=attributes)
    return fd


def _fill(fd: int, entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        if entry.target:
            os.symlink(entry.target, entry.path, dir_fd=fd)
        elif entry.text is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.open(entry.path, flags, entry.mode & 0o644, dir_fd=fd)
            os.write(file, entry.text.encode(errors="surrogateescape"))
            os.close(file)
        else:
            os.mkdir(entry.path, dir_fd=fd)
            os.chmod(entry.path, entry.mode, dir_fd=fd)
        os.chown(entry.path, 0, 0, dir_fd=fd, follow_symlinks=False)


def tmpfs() -> int:
    """A detached tmpfs of the caller's user namespace, owned by its root."""
    owner = {"mode": "755", "uid": "0", "gid": "0"}
    return kernel.new_file_system("tmpfs", owner, kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV)


def fuse(device: int, source: str) -> int:
    """A detached FUSE mount served by whoever reads the /dev/fuse descriptor `device`, open to every user in it.

    Needs no fusermount: the caller is root over the user namespace that opened the device (fuse(4)).
    """
    options = {
        "source": source,
        "subtype": "fuse-overlayfs",
        "fd": str(device),
        "rootmode": "40000",
        "user_id": str(os.getuid()),
        "group_id": str(os.getgid()),
        "default_permissions": None,
        "allow_other": None,
    }
    return kernel.new_file_system("fuse", options, 0)


def attach_all(root_fd: int, prepared: list[Prepared]) -> None:
    """Attach mounts in the given order beneath `root_fd`, making mount points where they are missing.

    Raises KernelError naming the target.
    """
    attached: list[tuple[str, int]] = [("/", root_fd)]
    for mount in prepared:
        holder, fd = max(
            ((target, fd) for target, fd in attached if _lies_in(mount.target, target)), key=lambda pair: len(pair[0])
        )
        inner = mount.target[len(holder) :] if holder != "/" else mount.target
        try:
            point = paths.make_mount_point(fd, inner, directory=mount.directory)
            try:
                kernel.move_mount(mount.fd, point)
            finally:
                os.close(point)
        except OSError as error:
            raise KernelError("mounting on", f'"{mount.target}"', error.errno or 0) from error
        attached.append((mount.target, mount.fd))


def _lies_in(path: str, directory: str) -> bool:
    return directory == "/" or path == directory or path.startswith(directory + "/")


def pivot(root_fd: int) -> None:
    """Make the attached mount `root_fd` the root of this mount namespace and drop the old root (pivot_root(2))."""
    os.fchdir(root_fd)
    kernel.pivot_root(".", ".")
    kernel.umount2(".", kernel.MNT_DETACH)
    os.chdir("/")
