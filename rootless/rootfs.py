"""A container's root file system, built from the host's side before anything of the image runs.

In order: the root is cloned and attached, the configured mounts go on it, then devices and links in /dev, then, after
the hooks, what is masked or read-only; last the pivot. Every step works by descriptor (see `paths`).
"""

from __future__ import annotations

from rootless import container_mounts, kernel, paths
from rootless import system as os
from rootless.errors import KernelError, PtbError
from rootless.spec import DEVICE_KINDS, Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Spec

_EEXIST, _EPERM, _EINVAL, _ENOENT = 17, 1, 22, 2

DEFAULT_DEVICES = tuple(
    Device("c", f"/dev/{name}", major, minor, 0o666, 0, 0)
    for name, major, minor in (
        *(("null", 1, 3), ("zero", 1, 5), ("full", 1, 7)),
        *(("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)),
    )
)
"""What every container has (config-linux.md, default devices)."""

_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)

_PROPAGATION = {
    "private": kernel.MS_PRIVATE,
    "slave": kernel.MS_SLAVE,
    "shared": kernel.MS_SHARED,
    "unbindable": kernel.MS_UNBINDABLE,
}


def open_point(rootfs: str) -> int:
    """A descriptor of the directory `rootfs` in this mount namespace. Raises KernelError."""
    try:
        return os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("opening", f'the root file system "{rootfs}"', error.errno or 0) from error


def attach_root(spec: Spec, point: int) -> int:
    """Mount a copy of the tree at `point` upon itself, cut off from the host, and return its descriptor.

    Closes `point`. Raises KernelError.
    """
    wanted = spec.linux.rootfs_propagation
    try:
        if wanted not in ("shared", "rshared"):
            private = wanted in ("private", "rprivate", "unbindable", "runbindable")
            kernel.mount("", "/", None, kernel.MS_REC | (kernel.MS_PRIVATE if private else kernel.MS_SLAVE))
        if wanted in ("shared", "rshared"):
            _make_mount_private(point)
        root = kernel.open_tree(point, "", kernel.OPEN_TREE_CLONE | kernel.AT_RECURSIVE | kernel.AT_EMPTY_PATH)
        kernel.move_mount(root, point)
        os.close(point)
    except OSError as error:
        raise KernelError("mounting", f'the root file system "{spec.root_path}"', error.errno or 0) from error
    return root


def _make_mount_private(fd: int) -> None:
    """Make the mount that holds `fd` private, since pivot_root(2) refuses a new root whose parent is shared."""
    identity = _mount_id(fd)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            fields = line.split()
            if fields[0] == identity:
                kernel.mount("", _mount_point_of(fields), None, kernel.MS_PRIVATE)


def _mount_id(fd: int) -> str:
    """The id of the mount that holds `fd`, as mountinfo has it (proc_pid_mountinfo(5))."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8") as stream:
        return next(line.split()[1] for line in stream if line.startswith("mnt_id:"))


def _mount_point_of(fields: list[str]) -> str:
    """The mount point in a line of mountinfo, where blanks, tabs, line ends and backslashes are octal."""
    parts = fields[4].split("\\")
    return parts[0] + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts[1:])


def mount_all(root_fd: int, spec: Spec, bundle: str, prepared: dict[int, int]) -> tuple[dict[str, int], list[int]]:
    """Perform the configured mounts in order; `prepared` holds sources cloned beforehand, by index. Raises PtbError.

    Returns descriptors of the kernel's own file systems by where they are: what is to be hidden in them is found from
    there, since in a root file system that others share a link may be in their mount point's place by then. And those
    of each tmpfs that is to be read-only, once all that goes into it, devices too, is there.
    """
    kernels: dict[str, int] = {}
    late: list[int] = []
    for index, mount in enumerate(spec.mounts):
        fd = container_mounts.perform(root_fd, mount, bundle, spec.linux.mount_label, prepared.get(index, -1))
        place = paths.normalize(mount.destination)
        kernels = {path: kept for path, kept in kernels.items() if not _lies_in(path, place)}
        if mount.type in ("proc", "sysfs"):
            kernels[place] = fd
        elif container_mounts.becomes_read_only(mount):
            late.append(fd)
        else:
            os.close(fd)
    return kernels, late


def _lies_in(path: str, directory: str) -> bool:
    return directory == "/" or path == directory or path.startswith(directory + "/")


def has_own_dev(root_fd: int, spec: Spec) -> bool:
    """Whether /dev is the container's to fill, and not the host's: bound, a devtmpfs, of which there is only one, or the
    root file system's own where that is the host's."""
    for mount in spec.mounts:
        if mount.destination.rstrip("/") == "/dev":
            return not mount.is_bind and mount.type != "devtmpfs"
    try:
        fd = paths.open_in(root_fd, "/dev", os.O_PATH, how=paths.ACROSS_MOUNTS)
        host = os.stat("/dev")
    except OSError:
        return True
    own = os.fstat(fd)
    os.close(fd)
    return (own.st_dev, own.st_ino) != (host.st_dev, host.st_ino)


def make_devices(root_fd: int, spec: Spec, nodes: dict[str, int], *, bind: bool) -> None:
    """Make the default and the configured devices and the links of /dev.

    With `bind` (in a user namespace, where mknod(2) is refused) those in `nodes`, made by `device_nodes`, or else the
    host's devices are mounted instead. Raises KernelError naming the device.
    """
    wanted = {device.path: device for device in (*DEFAULT_DEVICES, *spec.linux.devices)}
    if paths.exists_in(root_fd, "/dev/pts/ptmx", how=paths.ACROSS_MOUNTS):
        wanted.pop("/dev/ptmx", None)  # that is a link to it
    for device in wanted.values():
        try:
            _make_device(root_fd, device, nodes.get(device.path, -1), bind=bind)
        except OSError as error:
            raise KernelError("making", f'device "{device.path}"', error.errno or 0) from error
    directory = paths.make_directories(root_fd, "/dev", how=paths.ACROSS_MOUNTS)
    try:
        for name, target in _LINKS:
            _link(directory, name, target)
        if os.access("/proc/kcore", os.F_OK):
            _link(directory, "core", "/proc/kcore")
        if paths.exists_in(directory, "pts/ptmx", how=paths.ACROSS_MOUNTS):
            _replace_by_link(directory, "ptmx", "pts/ptmx")
    finally:
        os.close(directory)


def _link(directory: int, name: str, target: str) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except OSError as error:
        if error.errno != _EEXIST:
            raise KernelError("making", f'link "/dev/{name}"', error.errno or 0) from error


def _replace_by_link(directory: int, name: str, target: str) -> None:
    try:
        if os.stat(name, dir_fd=directory, follow_symlinks=False).st_rdev == os.makedev(5, 2):
            return  # a real one, of the root file system's own: it may be the host's
        os.unlink(name, dir_fd=directory)
    except OSError:
        pass
    _link(directory, name, target)


def _make_device(root_fd: int, device: Device, source: int, *, bind: bool) -> None:
    parent, _slash, name = device.path.rpartition("/")
    number = os.makedev(device.major, device.minor)
    kind = DEVICE_KINDS[device.type]
    directory = paths.make_directories(root_fd, parent or "/", how=paths.ACROSS_MOUNTS)
    try:
        if not bind or device.type == "p":
            try:
                os.mknod(name, kind | device.mode, number if device.type != "p" else 0, dir_fd=directory)
            except OSError as error:
                if error.errno == _EEXIST and _is_device(directory, name, kind, number):
                    return
                if error.errno not in (_EPERM, _EEXIST):
                    raise
            else:
                os.chown(name, device.uid, device.gid, dir_fd=directory, follow_symlinks=False)
                return
    finally:
        os.close(directory)
    if source < 0:
        source = kernel.open_tree(-100, device.path, kernel.OPEN_TREE_CLONE)
        status = os.fstat(source)
        if status.st_mode & 0o170000 != kind or status.st_rdev != number:
            raise PtbError(f'device "{device.path}" of the host is not {device.type} {device.major}:{device.minor}')
    point = paths.make_mount_point(root_fd, device.path, directory=False, how=paths.ACROSS_MOUNTS)
    kernel.move_mount(source, point)
    os.close(point)
    os.close(source)


def _is_device(directory: int, name: str, kind: int, number: int) -> bool:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return status.st_mode & 0o170000 == kind and status.st_rdev == number


def attach_console(root_fd: int, slave: int) -> None:
    """Mount the terminal `slave` on /dev/console, which must be the root's own file and no link (CVE-2025-52565)."""
    directory = paths.make_directories(root_fd, "/dev", how=paths.ACROSS_MOUNTS)
    try:
        try:
            os.close(os.open("console", os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory))
        except FileExistsError:
            pass
        point = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        console = kernel.open_tree(slave, "", kernel.OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH)
        if os.fstat(point).st_mode & 0o170000 == 0o120000:
            raise PtbError("/dev/console is a symlink in the container: nothing is mounted on it")
        kernel.move_mount(console, point)
        os.close(point)
        os.close(console)
    finally:
        os.close(directory)


def enter(root_fd: int, propagation: str, *, pivot: bool) -> None:
    """Make `root_fd` the root of this mount namespace; without `pivot` by MS_MOVE and chroot, for a ramdisk's root.

    Then give it the propagation that linux.rootfsPropagation asks for, since what is shared cannot be pivoted to, nor
    what is unbindable be copied from before. Raises KernelError.
    """
    try:
        old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if not pivot:
            _hide_kernel_file_systems(root_fd)
        os.fchdir(root_fd)
        if pivot:
            kernel.pivot_root(".", ".")
            os.fchdir(old)  # the host must not lose what is unmounted here
            kernel.mount("", ".", None, kernel.MS_SLAVE | kernel.MS_REC)
            kernel.umount2(".", kernel.MNT_DETACH)
        else:
            kernel.mount(".", "/", None, kernel.MS_MOVE)
            os.chroot(".")
        os.chdir("/")
        os.close(old)
        if propagation:
            deep = kernel.AT_RECURSIVE if propagation.startswith("r") else 0
            flag = _PROPAGATION[propagation if propagation in _PROPAGATION else propagation[1:]]
            kernel.mount_setattr(root_fd, "", kernel.AT_EMPTY_PATH | deep, propagation=flag)
    except OSError as error:
        raise KernelError("pivoting to", "the root file system", error.errno or 0) from error


def _hide_kernel_file_systems(root_fd: int) -> None:
    """Unmount or cover each procfs and sysfs outside of the new root, which stay mounted where nothing is pivoted.

    One that is wholly visible would let the container mount another, without its masks (mount_namespaces(7)).
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        lines = [line.split() for line in stream]
    identity = _mount_id(root_fd)
    places = {fields[0]: _mount_point_of(fields) for fields in lines}
    kernel.mount("", "/", None, kernel.MS_PRIVATE | kernel.MS_REC)
    for fields in reversed(lines):
        kind, place = fields[fields.index("-") + 1], places[fields[0]]
        if kind not in ("proc", "sysfs") or _lies_in(place, places[identity]):
            continue
        try:
            kernel.umount2(place, kernel.MNT_DETACH)
        except OSError as error:
            if error.errno == _ENOENT:
                continue
            if error.errno not in (_EINVAL, _EPERM):
                raise
            kernel.mount("tmpfs", place, "tmpfs", 0, "size=0,nr_inodes=1")  # locked by who made it


def finish(root_fd: int, spec: Spec, kernels: dict[str, int], late: list[int], null: int) -> None:
    """Set what is read-only, then what is hidden. Raises KernelError naming the path.

    `kernels` and `late` are what `mount_all` returned.
    """
    path = "/"
    try:
        for fd in late:
            kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH, attr_set=kernel.MOUNT_ATTR_RDONLY)
            os.close(fd)
        if spec.root_readonly:
            kernel.mount_setattr(root_fd, "", kernel.AT_EMPTY_PATH, attr_set=kernel.MOUNT_ATTR_RDONLY)
        for path in spec.linux.readonly_paths:
            container_mounts.make_read_only(*_within(kernels, root_fd, path))
        for path in spec.linux.masked_paths:
            container_mounts.cover(*_within(kernels, root_fd, path), null)
    except OSError as error:
        raise KernelError("protecting", f'"{path}"', error.errno or 0) from error


def _within(kernels: dict[str, int], root_fd: int, path: str) -> tuple[int, str]:
    """The descriptor from which to look for `path`, and the path from there."""
    lexical = paths.normalize(path)
    for place, fd in reversed(kernels.items()):
        if _lies_in(lexical, place):
            return fd, lexical[len(place) :] or "/"
    return root_fd, path


def open_null() -> int:
    """The host's /dev/null, verified to be that device. Raises PtbError."""
    fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    status = os.fstat(fd)
    if status.st_mode & 0o170000 != 0o020000 or status.st_rdev != os.makedev(1, 3):
        raise PtbError("/dev/null of the host is not the null device", hint="sudo mknod -m 666 /dev/null c 1 3")
    return fd
