"""The mounts of a config.json, performed beneath a hostile root.

Each is made detached (open_tree(2), fsmount(2)), given its attributes, and attached to a descriptor that openat2(2)
found without leaving the root: there is no path for an image or another container to bend in between. Nothing is
mounted within a procfs but what runc allows there too.
"""

from __future__ import annotations

from rootless import kernel, mount_options, paths
from rootless import system as os
from rootless.errors import KernelError, PtbError
from rootless.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless import spec

_EPERM, _EINVAL, _EBUSY, _ENODEV, _ENOENT, _ENOTDIR = 1, 22, 16, 19, 2, 20

_WITHIN_PROC = (
    *("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev"),
    *("sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
)
"""What a bind mount may cover in /proc: the files that lxcfs serves, as in runc."""

_LOCKABLE = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC


def source_of(mount: spec.Mount, bundle: str) -> str:
    """Where a bind mount's source is: relative ones are the bundle's (config.md, mounts)."""
    return mount.source if mount.source.startswith("/") else f"{bundle}/{mount.source}"


def clone_source(mount: spec.Mount, bundle: str, *, userns_fd: int = -1) -> int:
    """A detached copy of a bind mount's source. Raises KernelError naming it.

    With `userns_fd`, files appear with their ids mapped as in that user namespace (mount_setattr(2), ID-mapped mounts).
    """
    options = mount_options.parse(mount.options)
    source = source_of(mount, bundle)
    flags = kernel.OPEN_TREE_CLONE | (kernel.AT_RECURSIVE if options.recursive_bind else 0)
    try:
        fd = kernel.open_tree(-100, source, flags)
    except OSError as error:
        raise KernelError("mounting", f'"{source}" on "{mount.destination}"', error.errno or 0) from error
    if userns_fd >= 0:
        recursive = kernel.AT_RECURSIVE if options.recursive_idmap else 0
        try:
            kernel.mount_setattr(
                fd, "", kernel.AT_EMPTY_PATH | recursive, attr_set=kernel.MOUNT_ATTR_IDMAP, userns_fd=userns_fd
            )
        except OSError as error:
            hint = None
            if error.errno == _EPERM:
                hint = "only the real root may give a mount other ids; leave its uidMappings, gidMappings and idmap out"
            if error.errno == _EINVAL:
                hint = f'this kernel cannot do it for the file system that holds "{source}"; ext4, xfs and btrfs can'
            raise KernelError(
                "mapping the ids of", f'mount "{mount.destination}"', error.errno or 0, hint=hint
            ) from error
    return fd


def perform(root_fd: int, mount: spec.Mount, bundle: str, label: str, prepared: int) -> int:
    """Make one mount of the container and attach it beneath `root_fd`; `prepared` is its detached source or -1.

    Returns its descriptor. Raises PtbError naming the mount's destination. With crun's option copy-symlink, a source that
    is a symlink is not followed and mounted, but made again; then what is returned is the link's.
    """
    options = mount_options.parse(mount.options)
    if "copy-symlink" in mount.options and (link := _link_at(source_of(mount, bundle))):
        return _copy_link(root_fd, link, mount.destination)
    try:
        if mount.is_bind:
            fd = prepared if prepared >= 0 else clone_source(mount, bundle)
            _set_attributes(fd, options, mount.destination)
        else:
            fd = _new_file_system(root_fd, mount, options, label)
        directory = os.fstat(fd).st_mode & 0o170000 == 0o040000
        point = _mount_point(root_fd, mount, directory=directory)
        try:
            kernel.move_mount(fd, point)
        finally:
            os.close(point)
        for flag, recursive in options.propagations:
            deep = kernel.AT_RECURSIVE if recursive else 0
            kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH | deep, propagation=flag)
        return fd
    except OSError as error:
        raise KernelError("mounting", f'{mount.type or "bind"} on "{mount.destination}"', error.errno or 0) from error


def _link_at(source: str) -> str:
    """Where the symlink `source` points to; "" if it is none."""
    try:
        return os.readlink(source)
    except OSError:
        return ""


def _copy_link(root_fd: int, target: str, destination: str) -> int:
    parent, _slash, name = paths.normalize(destination).rpartition("/")
    directory = paths.make_directories(root_fd, parent or "/", how=paths.ACROSS_MOUNTS)
    try:
        try:
            os.symlink(target, name, dir_fd=directory)
        except FileExistsError:
            if os.readlink(name, dir_fd=directory) != target:
                raise
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        raise KernelError("linking", f'"{destination}"', error.errno or 0) from error
    finally:
        os.close(directory)


def becomes_read_only(mount: spec.Mount) -> bool:
    """Whether it is a tmpfs that nobody is to write to, but for what fills it before: that is made read-only last."""
    if mount.type != "tmpfs" or mount.is_bind:
        return False
    options = mount_options.parse(mount.options)
    return bool((options.attributes | options.recursive_attributes) & kernel.MOUNT_ATTR_RDONLY)


def _mount_point(root_fd: int, mount: spec.Mount, *, directory: bool) -> int:
    """A descriptor of where `mount` goes, made if it is missing. Raises PtbError where it must not go."""
    if mount.type in ("proc", "sysfs"):
        # Whoever could lay a link there could have kernel files written elsewhere than checked (CVE-2019-19921).
        try:
            point = paths.make_directories(
                root_fd, mount.destination, how=paths.ACROSS_MOUNTS | kernel.RESOLVE_NO_SYMLINKS
            )
        except OSError as error:
            raise PtbError(
                f'{mount.type} on "{mount.destination}" must be mounted on ordinary directory: '
                f"{os.strerror(error.errno or 0)}"
            ) from error
    else:
        follow = paths.LINKS_FOLLOWED_AT_MOST
        point = paths.make_mount_point(
            root_fd, mount.destination, directory=directory, how=paths.ACROSS_MOUNTS, follow=follow
        )
    if kernel.filesystem_type(point) == kernel.PROC_SUPER_MAGIC and mount.type != "proc":
        lexical = paths.normalize(mount.destination).lstrip("/")
        if not any(lexical == f"proc/{name}" for name in _WITHIN_PROC) and lexical != "proc":
            os.close(point)
            raise PtbError(f'"{mount.destination}" lies in a procfs, where nothing may be mounted')
    return point


def _set_attributes(fd: int, options: mount_options.MountOptions, destination: str) -> None:
    """Give a cloned mount its attributes; those it has and that are locked stay (mount_namespaces(7))."""
    for sets, clears, deep in (
        (options.attributes, options.cleared, 0),
        (options.recursive_attributes, options.recursive_cleared, kernel.AT_RECURSIVE),
    ):
        if not sets and not clears:
            continue
        clears |= kernel.MOUNT_ATTR__ATIME if sets & kernel.MOUNT_ATTR__ATIME else 0
        try:
            kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH | deep, attr_set=sets, attr_clr=clears)
        except OSError as error:
            if error.errno != _EPERM or not clears:
                raise
            _set_what_is_unlocked(fd, sets, clears, deep, destination)


def _set_what_is_unlocked(fd: int, sets: int, clears: int, deep: int, destination: str) -> None:
    statistics = os.fstatvfs(fd).f_flag
    has = statistics & (kernel.MS_RDONLY | 0x2 | 0x4 | 0x8)
    if (locked := clears & has & _LOCKABLE & ~kernel.MOUNT_ATTR_RDONLY) and not deep:
        names = [name for name, bit in (("suid", 2), ("dev", 4), ("exec", 8)) if locked & bit]
        raise PtbError(
            f'mount "{destination}": {", ".join(names)} cannot be had, the source is mounted without and locked so'
        )
    if sets:
        kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH | deep, attr_set=sets & ~kernel.MOUNT_ATTR__ATIME)


def _new_file_system(root_fd: int, mount: spec.Mount, options: mount_options.MountOptions, label: str) -> int:
    kind = "cgroup2" if mount.type == "cgroup" else mount.type
    attributes = options.attributes | options.recursive_attributes
    if becomes_read_only(mount):
        attributes &= ~kernel.MOUNT_ATTR_RDONLY
    if kind == "tmpfs" and "mode" not in dict(options.data):
        options = replace(options, data=(*options.data, ("mode", _mode_of(root_fd, mount.destination))))
    try:
        fd = _fsmount(kind, mount, options, label, attributes)
    except OSError as error:
        stand_in = {"sysfs": "/sys", "proc": "/proc", "cgroup2": "/sys/fs/cgroup", "mqueue": "/dev/mqueue"}.get(kind)
        if error.errno not in (_EPERM, _EBUSY, _EINVAL, _ENODEV) or stand_in is None:
            raise
        # The kernel gives a new one only to whoever owns the namespace it shows; the caller's own can be shown always.
        fd = kernel.open_tree(-100, stand_in, kernel.OPEN_TREE_CLONE | kernel.AT_RECURSIVE)
        recursive = kernel.MOUNT_ATTR_RDONLY if kind != "mqueue" else 0
        sets = attributes & ~kernel.MOUNT_ATTR__ATIME
        kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH, attr_set=sets)
        if recursive and (kind != "proc" or attributes & recursive):
            kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE, attr_set=recursive)
    if options.copy_up and kind == "tmpfs":
        from rootless import tree_copy

        tree_copy.copy_contents(root_fd, mount.destination, fd)
    return fd


def _mode_of(root_fd: int, destination: str) -> str:
    """The mode of the directory that a tmpfs covers, which it takes on as in runc and crun: /tmp stays everybody's."""
    point = paths.make_directories(root_fd, destination, how=paths.ACROSS_MOUNTS)
    mode = os.fstat(point).st_mode
    os.close(point)
    return f"{mode & 0o7777:o}"


def _fsmount(kind: str, mount: spec.Mount, options: mount_options.MountOptions, label: str, attributes: int) -> int:
    context = kernel.fsopen(kind)
    key = "type"
    try:
        if mount.source:
            kernel.fsconfig(context, kernel.FSCONFIG_SET_STRING, "source", mount.source)
        for key, value in options.data:
            if value is None:
                kernel.fsconfig(context, kernel.FSCONFIG_SET_FLAG, key, None)
            else:
                kernel.fsconfig(context, kernel.FSCONFIG_SET_STRING, key, value)
        if label and kind not in ("proc", "sysfs", "cgroup2", "mqueue"):
            key = "context"
            kernel.fsconfig(context, kernel.FSCONFIG_SET_STRING, key, label)
        key = "create"
        kernel.fsconfig(context, kernel.FSCONFIG_CMD_CREATE, None, None)
        return kernel.fsmount(context, attributes)
    except OSError as error:
        if key in ("type", "create") or error.errno == _EPERM:
            raise
        raise PtbError(
            f'mount "{mount.destination}": {kind} refuses the option "{key}": {_said(context, error)}'
        ) from error
    finally:
        os.close(context)


def _said(context: int, error: OSError) -> str:
    """What the file system itself says of the failure (fsopen(2), retrieving messages)."""
    try:
        return os.read(context, 4096).decode(errors="replace").strip().removeprefix("e ")
    except OSError:
        return os.strerror(error.errno or 0)


def cover(root_fd: int, path: str, null: int) -> None:
    """Hide `path`: a directory under an empty read-only tmpfs, anything else under `null`, the host's own /dev/null.

    What does not exist is left so. That the cover is the host's device, opened before any of the image was reached,
    is what keeps an image's own /dev/null from becoming a window (CVE-2025-31133).
    """
    point = _existing(root_fd, path)
    if point < 0:
        return
    if os.fstat(point).st_mode & 0o170000 == 0o040000:
        mount = kernel.new_file_system("tmpfs", {"size": "0", "nr_inodes": "1", "mode": "755"}, _LOCKABLE)
    else:
        mount = kernel.open_tree(null, "", kernel.OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH)
    _attach(mount, point)


def make_read_only(root_fd: int, path: str) -> None:
    """Mount `path` on itself without write access, with all below it; what does not exist is left so."""
    point = _existing(root_fd, path)
    if point < 0:
        return
    deep = kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE
    mount = kernel.open_tree(point, "", kernel.OPEN_TREE_CLONE | deep)
    kernel.mount_setattr(mount, "", deep, attr_set=kernel.MOUNT_ATTR_RDONLY)
    _attach(mount, point)


def _existing(root_fd: int, path: str) -> int:
    try:
        return paths.open_in(root_fd, path, os.O_PATH, how=paths.ACROSS_MOUNTS)
    except OSError as error:
        if error.errno in (_ENOENT, _ENOTDIR):
            return -1
        raise


def _attach(mount: int, point: int) -> None:
    kernel.move_mount(mount, point)
    os.close(mount)
    os.close(point)
