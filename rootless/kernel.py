"""Every syscall that Python 3.11 does not offer, as thin functions with the kernel's own names. No policy.

The only module that imports ctypes. Constants are the headers' (linux/sched.h, linux/mount.h, linux/openat2.h,
linux/prctl.h, linux/capability.h). Every call raises `OSError` with the call's errno; callers that know more about the
cause turn it into a `PtbError`. System call numbers above 423 are the same on every architecture; the others are asked
of libc, which has had them for long enough.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWTIME = 0x00000080
CLONE_INTO_CGROUP = 0x200000000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MNT_DETACH = 2

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x00000004
MOVE_MOUNT_T_EMPTY_PATH = 0x00000040

FSOPEN_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSMOUNT_CLOEXEC = 1

MOUNT_ATTR_RDONLY = 0x00000001
MOUNT_ATTR_NOSUID = 0x00000002
MOUNT_ATTR_NODEV = 0x00000004
MOUNT_ATTR_NOEXEC = 0x00000008
MOUNT_ATTR__ATIME = 0x00000070
MOUNT_ATTR_NOATIME = 0x00000010
MOUNT_ATTR_STRICTATIME = 0x00000020
MOUNT_ATTR_NODIRATIME = 0x00000080
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
SYSFS_MAGIC = 0x62656572
CGROUP2_SUPER_MAGIC = 0x63677270

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

CLOSE_RANGE_CLOEXEC = 4

KEYCTL_JOIN_SESSION_KEYRING = 1

SECCOMP_SET_MODE_FILTER = 1

IN_MODIFY = 0x00000002
IN_CLOSE_WRITE = 0x00000008
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100

_SIGPIPE = 13
_SIGXFSZ = 25

_MACHINE = os.uname().machine
_GENERIC = {"clone": 220, "keyctl": 219, "ioprio_set": 30, "sched_setattr": 274, "seccomp": 277, "bpf": 280}
_BY_MACHINE = {
    "x86_64": {"clone": 56, "keyctl": 250, "ioprio_set": 251, "sched_setattr": 314, "seccomp": 317, "bpf": 321},
    "ppc64le": {"clone": 120, "keyctl": 271, "ioprio_set": 273, "sched_setattr": 355, "seccomp": 358, "bpf": 361},
    "s390x": {"clone": 120, "keyctl": 280, "ioprio_set": 282, "sched_setattr": 345, "seccomp": 348, "bpf": 351},
}
_NR = _BY_MACHINE.get(_MACHINE, _GENERIC)
"""Numbers that differ by architecture; those without a table of their own use asm-generic/unistd.h."""

_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_CLONE3 = 435
_NR_CLOSE_RANGE = 436
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442

_LINUX_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls"),
            *("set_tid", "set_tid_size", "cgroup"),
        )
    )


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class _Statfs(ctypes.Structure):
    _fields_ = (("type", ctypes.c_long), ("rest", ctypes.c_long * 31))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _check(result: int, call: str, subject: str = "") -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{call}: {os.strerror(errno)}", subject or None)
    return result


def unshare(flags: int) -> None:
    """Leave the named namespaces for new ones (unshare(2))."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, flags: int) -> None:
    """Join the namespace that `fd` is, or those in `flags` of the process that the pidfd `fd` is (setns(2))."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns")


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    arguments = (
        os.fsencode(source),
        os.fsencode(target),
        fstype.encode() if fstype else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _check(_libc.mount(*arguments), "mount", target)


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(flags)), "umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root mount and move the old one to `put_old` (pivot_root(2))."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """A descriptor of the mount at `path`, or with OPEN_TREE_CLONE of a detached copy of it (open_tree(2))."""
    number = ctypes.c_long(_NR_OPEN_TREE)
    return _check(
        _syscall(number, ctypes.c_int(dirfd), os.fsencode(path), ctypes.c_uint(flags | OPEN_TREE_CLOEXEC)),
        "open_tree",
        path,
    )


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the mount `from_fd` on the file or directory `to_fd` (move_mount(2))."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    result = _syscall(
        ctypes.c_long(_NR_MOVE_MOUNT),
        ctypes.c_int(from_fd),
        b"",
        ctypes.c_int(to_fd),
        b"",
        ctypes.c_uint(flags),
    )
    _check(result, "move_mount")


def fsopen(fstype: str) -> int:
    """A descriptor of a file system being configured (fsopen(2))."""
    return _check(_syscall(ctypes.c_long(_NR_FSOPEN), fstype.encode(), ctypes.c_uint(FSOPEN_CLOEXEC)), "fsopen", fstype)


def fsconfig(fd: int, command: int, key: str | None, value: str | None, aux: int = 0) -> None:
    """Set one parameter of the file system being configured, or create it (fsconfig(2))."""
    result = _syscall(
        ctypes.c_long(_NR_FSCONFIG),
        ctypes.c_int(fd),
        ctypes.c_uint(command),
        key.encode() if key is not None else None,
        value.encode() if value is not None else None,
        ctypes.c_int(aux),
    )
    _check(result, "fsconfig", key or "create")


def fsmount(fd: int, attributes: int) -> int:
    """A descriptor of a detached mount of the configured file system (fsmount(2))."""
    return _check(
        _syscall(
            ctypes.c_long(_NR_FSMOUNT),
            ctypes.c_int(fd),
            ctypes.c_uint(FSMOUNT_CLOEXEC),
            ctypes.c_uint(attributes),
        ),
        "fsmount",
    )


def new_file_system(kind: str, options: Mapping[str, str | None], attributes: int) -> int:
    """A detached mount of a new file system; an option without a value is a flag (fsopen(2)). Raises OSError."""
    context = fsopen(kind)
    try:
        for key, value in options.items():
            fsconfig(context, FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING, key, value)
        fsconfig(context, FSCONFIG_CMD_CREATE, None, None)
        return fsmount(context, attributes)
    finally:
        os.close(context)


def mount_setattr(
    dirfd: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0, userns_fd: int = 0
) -> None:
    """Change attributes or propagation of a mount, with AT_RECURSIVE of all below it (mount_setattr(2))."""
    attributes = _MountAttr(attr_set, attr_clr, propagation, userns_fd)
    result = _syscall(
        ctypes.c_long(_NR_MOUNT_SETATTR),
        ctypes.c_int(dirfd),
        os.fsencode(path),
        ctypes.c_uint(flags),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, "mount_setattr", path)


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` below `dirfd` with the walk restricted by `resolve` (openat2(2)). Retries the EAGAIN of a race."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    encoded = os.fsencode(path)
    for _attempt in range(64):
        result = _syscall(
            ctypes.c_long(_NR_OPENAT2),
            ctypes.c_int(dirfd),
            encoded,
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if result >= 0 or ctypes.get_errno() != 11:
            break
    return _check(result, "openat2", os.fsdecode(path))


def syncfs(fd: int) -> None:
    """Write the file system that holds `fd` to its device (syncfs(2))."""
    _check(_libc.syncfs(ctypes.c_int(fd)), "syncfs")


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)."""
    arguments = (ctypes.c_ulong(value) for value in (arg2, arg3, arg4, arg5))
    return _check(_libc.prctl(ctypes.c_int(option), *arguments), "prctl")


def set_process_name(name: bytes) -> None:
    """Name the calling thread as `ps` and /proc/PID/comm show it; at most 15 bytes (PR_SET_NAME)."""
    buffer = ctypes.create_string_buffer(name[:15])
    _check(_libc.prctl(ctypes.c_int(PR_SET_NAME), buffer, 0, 0, 0), "prctl")


def restore_signals() -> None:
    """Undo what the interpreter does to SIGPIPE and SIGXFSZ, which an executed program would inherit (signal(7))."""
    for number in (_SIGPIPE, _SIGXFSZ):
        _libc.signal(ctypes.c_int(number), None)


def raise_ambient_capabilities() -> None:
    """Let every permitted capability survive the next execve of an ordinary user (capabilities(7), ambient set)."""
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    for half in data:
        half.inheritable = half.permitted
        half.effective = half.permitted
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")
    for number in range(64):
        if data[number // 32].permitted & (1 << (number % 32)):
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of the calling thread, as bit masks by capability number (capset(2))."""
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    for index, half in enumerate(data):
        shift = 32 * index
        half.effective = effective >> shift & 0xFFFFFFFF
        half.permitted = permitted >> shift & 0xFFFFFFFF
        half.inheritable = inheritable >> shift & 0xFFFFFFFF
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def permitted_capabilities() -> int:
    """The permitted set of the calling thread, as a bit mask (capget(2))."""
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    return int(data[0].permitted) | int(data[1].permitted) << 32


def drop_effective_capabilities() -> None:
    """Give up every capability of the calling thread, for good (capset(2))."""
    header = _CapHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapData * 2)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def clone(flags: int, *, cgroup_fd: int = -1) -> int:
    """Fork with `flags` (CLONE_NEW…, CLONE_PARENT); the child starts in the cgroup that `cgroup_fd` is (clone3(2)).

    Returns as fork(2) does. The interpreter's own fork handlers do not run, so the caller must have one thread; the
    call is made without releasing the interpreter's lock, so that both sides hold it on return. Where an outer
    container's filter hides clone3, clone(2) stands in, and a `cgroup_fd` raises its ENOSYS.
    """
    arguments = _CloneArgs(flags=flags, exit_signal=0 if flags & CLONE_PARENT else 17)
    if cgroup_fd >= 0:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    size = ctypes.c_size_t(ctypes.sizeof(arguments))
    result = _locked_syscall(ctypes.c_long(_NR_CLONE3), ctypes.byref(arguments), size)
    if result < 0 and ctypes.get_errno() == 38 and cgroup_fd < 0:
        zero = ctypes.c_long(0)
        low = ctypes.c_ulong(flags | (0 if flags & CLONE_PARENT else 17))
        first, second = (zero, low) if _MACHINE == "s390x" else (low, zero)
        result = _locked_syscall(ctypes.c_long(_NR["clone"]), first, second, zero, zero, zero)
    return _check(result, "clone")


_locked_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_locked_syscall.restype = ctypes.c_long


def close_range(first: int, last: int, flags: int) -> None:
    """Close descriptors `first` to `last`, or with CLOSE_RANGE_CLOEXEC have execve close them (close_range(2))."""
    arguments = (ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(flags))
    _check(_syscall(ctypes.c_long(_NR_CLOSE_RANGE), *arguments), "close_range")


def filesystem_type(fd: int) -> int:
    """The magic number of the file system that `fd` is in (fstatfs(2), linux/magic.h)."""
    status = _Statfs()
    _check(_libc.fstatfs(ctypes.c_int(fd), ctypes.byref(status)), "fstatfs")
    return int(status.type) & 0xFFFFFFFF


def sethostname(name: str) -> None:
    """sethostname(2)."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), "sethostname", name)


def setdomainname(name: str) -> None:
    """Set the NIS domain name (setdomainname(2))."""
    encoded = name.encode()
    _check(_libc.setdomainname(encoded, ctypes.c_size_t(len(encoded))), "setdomainname", name)


def personality(persona: int) -> None:
    """Set the execution domain (personality(2))."""
    _check(_libc.personality(ctypes.c_ulong(persona)), "personality")


def join_session_keyring(name: str) -> None:
    """Have a session keyring of the given name, so that the caller's is not inherited (keyctl(2))."""
    arguments = (ctypes.c_int(KEYCTL_JOIN_SESSION_KEYRING), name.encode(), ctypes.c_long(0), ctypes.c_long(0))
    _check(_syscall(ctypes.c_long(_NR["keyctl"]), *arguments), "keyctl")


def ioprio_set(priority: int) -> None:
    """The calling process's I/O class and priority (ioprio_set(2))."""
    arguments = (ctypes.c_int(1), ctypes.c_int(0), ctypes.c_int(priority))
    _check(_syscall(ctypes.c_long(_NR["ioprio_set"]), *arguments), "ioprio_set")


def sched_setattr(attributes: bytes) -> None:
    """Scheduling policy of the calling thread; `attributes` is struct sched_attr (sched_setattr(2))."""
    _check(
        _syscall(ctypes.c_long(_NR["sched_setattr"]), ctypes.c_int(0), attributes, ctypes.c_uint(0)), "sched_setattr"
    )


def load_device_program(program: bytes, cgroup_fd: int) -> None:
    """Load the eBPF `program` and guard the devices of the cgroup with it, in place of the caller's last (bpf(2)).

    BPF_PROG_TYPE_CGROUP_DEVICE, attached with BPF_F_ALLOW_MULTI so that those of cgroups above hold as well.
    """
    code = ctypes.create_string_buffer(program)
    licence = ctypes.create_string_buffer(b"Apache")
    load = (ctypes.c_uint64 * 6)()
    load[0] = _BPF_PROG_TYPE_CGROUP_DEVICE | len(program) // 8 << 32
    load[1], load[2] = ctypes.addressof(code), ctypes.addressof(licence)
    loaded = _bpf(_BPF_PROG_LOAD, load)
    try:
        for old in _attached_device_programs(cgroup_fd):
            words = (ctypes.c_uint32 * 4)(cgroup_fd, old, _BPF_CGROUP_DEVICE, 0)
            _bpf(_BPF_PROG_DETACH, words)
            os.close(old)
        _bpf(_BPF_PROG_ATTACH, (ctypes.c_uint32 * 4)(cgroup_fd, loaded, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI))
    finally:
        os.close(loaded)


_BPF_PROG_LOAD, _BPF_PROG_ATTACH, _BPF_PROG_DETACH, _BPF_PROG_GET_FD_BY_ID, _BPF_PROG_QUERY = 5, 8, 9, 13, 16
_BPF_PROG_TYPE_CGROUP_DEVICE, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI = 15, 6, 2


def _bpf(command: int, attributes: ctypes.Array[ctypes.c_uint64] | ctypes.Array[ctypes.c_uint32]) -> int:
    arguments = (ctypes.c_int(command), ctypes.byref(attributes), ctypes.c_uint(ctypes.sizeof(attributes)))
    return _check(_syscall(ctypes.c_long(_NR["bpf"]), *arguments), "bpf")


def _attached_device_programs(cgroup_fd: int) -> list[int]:
    """Descriptors of the device programs attached to the cgroup itself."""
    identities = (ctypes.c_uint32 * 64)()
    query = (ctypes.c_uint32 * 8)(cgroup_fd, _BPF_CGROUP_DEVICE, 0, 0)
    query[4], query[5] = ctypes.addressof(identities) & 0xFFFFFFFF, ctypes.addressof(identities) >> 32
    query[6] = len(identities)
    _bpf(_BPF_PROG_QUERY, query)
    return [
        _bpf(_BPF_PROG_GET_FD_BY_ID, (ctypes.c_uint32 * 4)(identity, 0, 0, 0)) for identity in identities[: query[6]]
    ]


def seccomp(operation: int, flags: int, program: bytes) -> int:
    """Load the classic BPF `program`, an array of struct sock_filter (seccomp(2)); returns the listener or 0."""
    argument = _SockFprog(len(program) // 8, program)
    arguments = (ctypes.c_uint(operation), ctypes.c_uint(flags), ctypes.byref(argument))
    return _check(_syscall(ctypes.c_long(_NR["seccomp"]), *arguments), "seccomp")


def inotify_init1(flags: int) -> int:
    """A descriptor from which events of watched files are read; `flags` are O_NONBLOCK and O_CLOEXEC (inotify(7))."""
    return _check(_libc.inotify_init1(ctypes.c_int(flags)), "inotify_init1")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Have the events in `mask`, IN_…, of the file or directory `path` come to `fd` (inotify_add_watch(2))."""
    arguments = (ctypes.c_int(fd), os.fsencode(path), ctypes.c_uint32(mask))
    return _check(_libc.inotify_add_watch(*arguments), "inotify_add_watch", path)
